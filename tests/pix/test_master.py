"""The master record: whose word survives, and what is never published. Values only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affinity.pack import load
from pix.identifiers import Domains, Identifier
from pix.master import Master, Number, Word, master, matches, merged
from standards.pmir import Criteria, criteria
from standards.r4.check import check_structure
from tests.pix.makers import BASE, COUNCIL, NHS, NS, TRUST, patient

DOMAINS = Domains(load("greater_manchester"), BASE)
T0 = datetime(2026, 1, 1, tzinfo=UTC)
PERSON = "TL-0123456789AB"


def word(record: str, days: int = 0, *, verified: bool = False, **said: Any) -> Word:
    body = {k: v for k, v in patient(COUNCIL, record, **said).items() if v is not None}
    return Word(record, body, T0 + timedelta(days=days), verified, "352/E08000003")


def number(system: str, value: str, by: str, *, old: bool = False) -> Number:
    return Number(Identifier(system, value), by, old)


def made(*words: Word, numbers: tuple[Number, ...] = ()) -> Master:
    found = master(PERSON, words, numbers, DOMAINS)
    assert found is not None
    assert check_structure(dict(found.patient)) == ()
    return found


def as_known(found: Master) -> dict[str, Any]:
    return {
        "person": found.person,
        "records": found.records,
        "identifiers": found.identifiers,
        "organisations": found.organisations,
    }


def test_the_word_that_was_said_last_survives() -> None:
    said = made(word("a", 1, gender="female"), word("b", 2, gender="male")).patient
    assert said["gender"] == "male"


def test_a_verified_record_comes_before_one_that_spoke_later() -> None:
    said = made(word("a", 1, verified=True, gender="female"), word("b", 2, gender="male")).patient
    assert said["gender"] == "female"


def test_what_the_best_record_leaves_out_is_taken_from_the_next() -> None:
    best = word("a", 1, verified=True, born="")
    said = made(best, word("b", 0, born="1980-02-03", telecom=[{"value": "0161 496 0000"}])).patient
    assert said["birthDate"] == "1980-02-03"
    assert said["telecom"] == [{"value": "0161 496 0000"}]


def test_an_absent_name_is_no_name() -> None:
    unknown = [{"extension": [{"url": "http://x.example/absent", "valueCode": "unknown"}]}]
    said = made(word("a", 2, name=unknown), word("b", 1)).patient
    assert said["name"][0]["family"] == word("b").patient["name"][0]["family"]


def test_a_death_outweighs_a_later_silence_and_denial() -> None:
    said = made(
        word("a", 1, deceasedDateTime="2025-12-01"),
        word("b", 2, deceasedBoolean=False),
        word("c", 3),
    ).patient
    assert said["deceasedDateTime"] == "2025-12-01"
    assert "deceasedBoolean" not in said


def test_numbers_are_united_under_our_own_number_and_merged_ones_are_old() -> None:
    found = made(
        word("a"),
        word("b"),
        numbers=(
            number(COUNCIL, "1", "a"),
            number(TRUST, "T1", "b"),
            number(NHS, "9990000018", "a"),
            number(COUNCIL, "2", "a", old=True),
        ),
    )
    first, *others = found.patient["identifier"]
    assert first == {"use": "official", "system": NS + "enterprise-person", "value": PERSON}
    assert {(i["system"], i["value"]) for i in others} == {
        (COUNCIL, "1"), (TRUST, "T1"), (NHS, "9990000018"), (COUNCIL, "2"),
    }  # fmt: skip
    assert [i["value"] for i in others if i.get("use") == "old"] == ["2"]


@pytest.mark.parametrize(
    "system",
    ["upn-former", "pnc", "nino", "upn", "home-office-ref", "homelessness-case/352", "uprn"],
)
def test_sealed_and_single_purpose_numbers_are_not_published(system: str) -> None:
    found = made(word("a"), numbers=(number(NS + system, "X1", "a"),))
    assert "X1" not in str(found.patient)


def test_an_unknown_domain_is_not_published() -> None:
    found = made(word("a"), numbers=(number("https://unknown.example", "X1", "a"),))
    assert "X1" not in str(found.patient)


@pytest.mark.parametrize("label", ["ADOPTION", "GRA", "WITPROT"])
def test_nothing_of_a_sealed_record_is_published(label: str) -> None:
    meta = {"security": [{"system": NS + "label", "code": label}]}
    secret = word("a", 9, verified=True, meta=meta, gender="other")
    numbers = (number(COUNCIL, "secret", "a"), number(TRUST, "T1", "b"))
    found = made(secret, word("b", gender="female"), numbers=numbers)
    assert found.patient["gender"] == "female"
    assert "secret" not in str(found.patient)
    assert found.records == ("b",)
    assert master(PERSON, [secret], numbers, DOMAINS) is None


def test_a_confidential_address_is_published_from_no_source() -> None:
    meta = {"security": [{"code": "ADDRCONF"}]}
    home = {"address": [{"city": "Salford"}], "telecom": [{"value": "0161 496 0001"}]}
    said = made(word("a", meta=meta), word("b", **home)).patient
    assert "address" not in said
    assert "telecom" not in said


def test_photographs_contacts_and_extensions_stay_with_their_source() -> None:
    said = made(
        word(
            "a",
            photo=[{"url": "https://x.example/p.png"}],
            contact=[{"name": {"text": "Somebody"}}],
            extension=[{"url": "https://x.example/e", "valueBoolean": True}],
        )
    ).patient
    assert not {"photo", "contact", "extension"} & said.keys()


def test_a_merged_person_names_the_survivor_and_nothing_else() -> None:
    found = merged(PERSON, "TL-BA9876543210", T0, DOMAINS)
    assert check_structure(dict(found.patient)) == ()
    assert found.patient["active"] is False
    (link,) = found.patient["link"]
    assert link == {"other": {"reference": "Patient/TL-BA9876543210"}, "type": "replaced-by"}


def test_the_digest_changes_with_what_is_said_and_not_with_when() -> None:
    first = made(word("a", 1)).digest
    assert made(word("a", 2)).digest == first
    assert made(word("a", 1, gender="male")).digest != first


@given(st.permutations(range(5)))
def test_the_order_of_reading_changes_nothing(order: list[int]) -> None:
    words = [
        word(f"r{n}", n % 3, verified=n == 4, gender=["male", "female"][n % 2]) for n in range(5)
    ]
    numbers = tuple(number(COUNCIL, f"{n}", f"r{n}") for n in order)
    straight = master(PERSON, words, sorted(numbers), DOMAINS)
    assert master(PERSON, [words[n] for n in order], numbers, DOMAINS) == straight


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Patient", Criteria()),
        ("Patient?_id=abc", Criteria("_id", "abc")),
        ("Patient?_id=Patient/abc", Criteria("_id", "abc")),
        ("Patient?organization=Organization/352", Criteria("organization", "Organization/352")),
        ("Patient?identifier=https://a.example%7C17", Criteria("identifier", "17", "https://a.example")),
        ("Patient?identifier=https://a.example|", Criteria("identifier", "", "https://a.example")),
        ("Patient?identifier=|17", Criteria("identifier", "17", "")),
        ("Patient?identifier=17", Criteria("identifier", "17")),
        ("Patient?identifier=a%5C,b", Criteria("identifier", "a,b")),
        ("Patient?", None),
        ("Patient?name=a", None),
        ("Patient?_id=a,b", None),
        ("Patient?_id=a&organization=b", None),
        ("Patient?identifier=|", None),
        ("Patient?identifier=%FF", None),
        ("Observation", None),
        ("patient", None),
        ("Patient?_id=", None),
    ],
)  # fmt: skip
def test_the_four_criteria_are_read_and_nothing_else(text: str, expected: Criteria | None) -> None:
    assert criteria(text) == expected


@given(st.text(max_size=40))
def test_no_criteria_whatever_break_the_reading(text: str) -> None:
    criteria(text)
    criteria("Patient?identifier=" + text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Patient", True),
        (f"Patient?_id={PERSON}", True),
        ("Patient?_id=a", True),
        ("Patient?_id=b", False),
        ("Patient?organization=E08000003", False),
        ("Patient?organization=352/E08000003", True),
        ("Patient?organization=Organization/7", True),
        ("Patient?organization=7", True),
        (f"Patient?identifier={COUNCIL}|1", True),
        (f"Patient?identifier={COUNCIL}|", True),
        ("Patient?identifier=1", True),
        ("Patient?identifier=|1", False),
        (f"Patient?identifier={TRUST}|", False),
    ],
)
def test_criteria_find_the_people_they_name(text: str, *, expected: bool) -> None:
    body = word("a", managingOrganization={"reference": "Organization/7"})
    found = made(body, numbers=(number(COUNCIL, "1", "a"),))
    asked = criteria(text)
    assert asked is not None
    assert matches(asked, as_known(found)) is expected
