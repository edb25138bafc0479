"""Under which keys a record is posted and looked for (matching digest §4.3)."""

from __future__ import annotations

import pytest
from hypothesis import given

from pix.blocking import MOST_KEYS, keys
from pix.traits import Address, Name, Number, Traits
from tests.pix.test_matching import ELSEWHERE, PEOPLE, somebody


def texts(traits: Traits) -> set[str]:
    return {key.text for key in keys(traits)}


def meet(one: Traits, other: Traits) -> bool:
    return not texts(one).isdisjoint(texts(other))


WHOLE = somebody(
    "HODAN", "HASSAN", "1990-03-04", middle=("ABDI",), phone="07700900123", nhs="9990000018"
)


@pytest.mark.parametrize(
    ("story", "other"),
    [
        ("the number alone", somebody("", "", "", address=None, nhs="9990000018")),
        ("the telephone alone", somebody("AMAL", "", "", address=None, phone="07700900123")),
        ("birth date and given name", somebody("HODAN", "SHAW", "1990-03-04", address=None)),
        ("birth date and surname", somebody("AMAL", "HASSAN", "1990-03-04", address=None)),
        ("birth date and second name", somebody("ABDI", "SHAW", "1990-03-04", address=None)),
        ("names exchanged", somebody("HASSAN", "HODAN", "1990-03-04", address=None)),
        ("another spelling", somebody("HODHAN", "HASAN", "1990-03-04", address=None)),
        ("birth date and home", somebody("AMAL", "SHAW", "1990-03-04")),
        ("another birth date at home", somebody("HODAN", "SHAW", "1971-11-12")),
        ("another birth date in the district", somebody("HODAN", "HASSAN", "1971-11-12", address=Address("", "M19ZZ", ""))),
        ("two letters of the postcode exchanged", somebody("HODAN", "SHAW", "1971-11-12", address=Address("", "M11KC", ""))),
        ("another year", somebody("HODAN", "HASSAN", "1991-03-04", address=None)),
        ("the year alone", somebody("HODAN", "HASSAN", "1990", address=None)),
        ("the year alone, names exchanged", somebody("HASSAN", "HODAN", "1990-01-01", address=None)),
    ],
)  # fmt: skip
def test_a_record_is_found_by(story, other):
    assert meet(WHOLE, other), story


@pytest.mark.parametrize(
    ("story", "other"),
    [
        ("a name", somebody("HODAN", "HASSAN", "1971-11-12", address=ELSEWHERE)),
        ("a birth date", somebody("PRIYA", "PATEL", "1990-03-04", address=ELSEWHERE)),
        ("a home", somebody("PRIYA", "PATEL", "1971-11-12")),
    ],
)
def test_nobody_is_found_by_one_common_thing_alone(story, other):
    assert not meet(WHOLE, other), story


def test_a_number_is_a_strong_key_and_a_name_is_not():
    strong = {key.text for key in keys(WHOLE) if key.strong}
    assert strong == {"n|nhs|9990000018"}


def test_a_local_number_is_found_only_at_its_issuer():
    def at(issuer: str) -> Traits:
        return Traits(numbers=(Number(f"scn/{issuer}", "1234567"),))

    assert meet(at("352"), at("352"))
    assert not meet(at("352"), at("355"))


def test_the_first_of_january_says_a_letter_more():
    vague = somebody("HODAN", "HASSAN", "1990-01-01", address=None)
    assert "dn|1990-01-01|HDN|H" in texts(vague)


def test_a_wide_key_is_spare_only_for_those_who_have_better_ones():
    assert {key.text for key in keys(WHOLE) if key.spare} == {"y|1990|HD|HSN", "gp|HSN|11CKM"}
    assert not any(key.spare for key in keys(somebody(born="1984", address=None)))


def test_a_full_key_has_finer_ones_for_each_sex_that_is_possible():
    def finer(sex: str) -> set[str]:
        return {
            f for key in keys(somebody(sex=sex)) if key.text.startswith("dn|") for f in key.finer
        }

    assert finer("male") < finer("")
    assert finer("male").isdisjoint(finer("female"))


def test_a_sealed_identity_is_found_by_its_own_number_only():
    assert texts(somebody(nhs="9990000018", phone="07700900123", sealed="ADOPTION")) == {
        "n|nhs|9990000018"
    }
    assert keys(somebody(nhs="9990000018", sealed="WITPROT")) == ()


def test_former_names_are_keys_too():
    both = Traits(
        names=(Name("SARAH", (), ("KHAN",)), Name("SARAH", (), ("JONES",))), born=("1984-05-06",)
    )
    assert meet(both, somebody("AMY", "JONES", address=None))
    assert meet(both, somebody("AMY", "KHAN", address=None))


@given(PEOPLE)
def test_keys_are_few_and_each_is_named_once(one):
    found = keys(one)
    assert len(found) <= MOST_KEYS
    assert len({key.text for key in found}) == len(found)
    assert keys(one) == found
