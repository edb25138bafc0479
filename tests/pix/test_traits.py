"""What of a Patient is compared, and what is as good as absent (domain digest §1.1–1.4)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affinity.domains import Register
from affinity.pack import load
from pix.claims import STATUSES, VERIFICATION
from pix.identifiers import Domains
from pix.traits import (
    Address,
    Name,
    Number,
    Traits,
    email,
    gathered,
    line_key,
    packed,
    phone,
    postcode,
    traits,
    unpacked,
)

DOMAINS = Domains(load("greater_manchester"), "https://exchange.example/fhir")
NS = "https://throughline.example/fhir/Id/"
NHS = "https://fhir.nhs.uk/Id/nhs-number"
UPRN = "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-AddressKey"


def of(**patient: Any) -> Traits:
    return traits({"resourceType": "Patient", **patient}, DOMAINS)


def numbers(*said: dict[str, Any]) -> tuple[Number, ...]:
    return of(identifier=list(said)).numbers


def number(system: str, value: str, status: str = "", **more: Any) -> dict[str, Any]:
    coding = {"system": STATUSES[0], "code": status}
    extension = [{"url": VERIFICATION, "valueCodeableConcept": {"coding": [coding]}}]
    return {
        "system": system,
        "value": value,
        **({"extension": extension} if status else {}),
        **more,
    }


def test_the_name_in_use_comes_first_and_former_ones_follow():
    found = of(name=[
        {"use": "maiden", "given": ["Ayşe"], "family": "Jones"},
        {"use": "usual", "given": ["Ayşe", "Nur"], "family": "Smith-Ahmed"},
    ])  # fmt: skip
    assert found.names == (Name("AYSE", ("NUR",), ("SMITH", "AHMED")), Name("AYSE", (), ("JONES",)))


def test_a_name_that_is_only_a_text_is_read():
    assert of(name=[{"text": "O'BRIEN, Mary Kate"}]).names == (
        Name("MARY", ("KATE",), ("OBRIEN",)),
    )
    assert of(name=[{"text": "Mary Kate O'Brien"}]).names == (Name("MARY", ("KATE",), ("OBRIEN",)),)


@pytest.mark.parametrize(
    ("said", "whole"),
    [
        ({"given": ["Piotr Michalski"], "family": "-"}, Name("PIOTR", (), ("MICHALSKI",))),
        ({"given": ["Mary", "Kate", "O'Brien"]}, Name("MARY", ("KATE",), ("OBRIEN",))),
        ({"family": "Philip Ronald Johnson"}, Name("PHILIP", ("RONALD",), ("JOHNSON",))),
        ({"given": ["FNU"], "family": "Ann Smith-Jones"}, Name("ANN", (), ("SMITH", "JONES"))),
    ],
)
def test_a_whole_name_in_one_field_is_read_as_given_name_and_surname(said, whole):
    assert of(name=[said]).names[0] == whole


def test_what_stands_last_among_given_names_is_never_taken_for_a_second_given_name():
    found = of(name=[{"given": ["Willie", "McDonagh"], "family": "LNU"}])
    assert found.names == (
        Name("WILLIE", (), ("MCDONAGH",)), Name("WILLIE"), Name(family=("WILLIE",)),
    )  # fmt: skip


def test_a_single_name_is_read_as_a_surname_too_and_a_single_surname_stays_one():
    assert of(name=[{"given": ["Malalai"]}]).names == (Name("MALALAI"), Name(family=("MALALAI",)))
    assert of(name=[{"family": "Malalai"}]).names == (Name(family=("MALALAI",)),)


@pytest.mark.parametrize(
    "said",
    [
        {"family": "de Souza"},
        {"family": "Smith-Jones"},
        {"family": "O Brien"},
        {"given": ["Ellie-Mae"]},
        {"use": "nickname", "given": ["Big Dave"]},
        {"given": ["Baby of Sarah"], "family": "-"},
    ],
)
def test_a_part_of_a_name_is_not_taken_for_a_whole_one(said):
    assert not any(n.given and n.family for n in of(name=[said]).names)


def test_a_child_not_yet_named_has_only_a_surname():
    found = of(name=[{"given": ["Baby", "Girl"], "family": "Shaw"}])
    assert (found.names, found.newborn) == ((Name("", (), ("SHAW",)),), True)


def test_an_anonymous_name_is_no_name():
    assert of(name=[{"use": "anonymous", "given": ["John"], "family": "Doe"}]).names == ()


@pytest.mark.parametrize("born", ["1900-01-01", "1970-01-01", "0000-05-01", "yesterday", ""])
def test_a_birth_date_that_stands_for_none_is_absent(born):
    assert of(birthDate=born).born == ()


@pytest.mark.parametrize("born", ["1984", "1984-03", "1984-03-05"])
def test_a_birth_date_may_be_partial(born):
    assert of(birthDate=born).born == (born,)


@pytest.mark.parametrize(
    ("gender", "sex"), [("female", "female"), ("unknown", ""), ("other", ""), (None, "")]
)
def test_only_a_known_sex_is_compared(gender, sex):
    assert of(gender=gender).sex == sex


@pytest.mark.parametrize(
    ("said", "compared"),
    [
        ("M1 1AA", "M11AA"), ("m11aa", "M11AA"), ("0L1 2CV", "OL12CV"), ("SK1 OAA", "SK10AA"), ("M2O 3CK", "M203CK"),
        ("W1A 1AA", "W1A1AA"), ("EC1A 1BB", "EC1A1BB"), ("ZZ99 3VZ", ""), ("NF1 1NF", ""), ("NF1 1FA", ""),
        ("NFA", ""), ("", ""), ("4558", "4558"),
    ],
)  # fmt: skip
def test_a_postcode_is_put_right_and_pseudo_postcodes_are_absent(said, compared):
    assert postcode(said) == compared


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        (("Flat 3", "10 Mill Street", "Manchester"), "3-10-MILL"),
        (("10 Mill St",), "10-MILL"),
        (("Pitch 7", "Greenhill Site"), "7-GREENHILL"),
        (("No fixed abode",), "FIXED"),
        ((), ""),
    ],
)
def test_the_first_line_has_a_key(lines, key):
    assert line_key(lines) == key


def test_an_address_may_carry_its_uprn_in_either_way():
    key = {"url": UPRN, "extension": [
        {"url": "type", "valueCodeableConcept": {"coding": [{"code": "UPRN"}]}},
        {"url": "value", "valueString": "999900000001"},
    ]}  # fmt: skip
    home = {"line": ["10 Mill Street"], "postalCode": "M1 1CK"}
    wanted = (Address("999900000001", "M11CK", "10-MILL"),)
    assert of(address=[{**home, "extension": [key]}]).addresses == wanted
    assert of(address=[home], identifier=[number(NS + "uprn", "999900000001")]).addresses == wanted


def test_no_fixed_abode_is_no_address():
    assert of(address=[{"line": ["No fixed abode"], "postalCode": "ZZ99 3VZ"}]).addresses == ()


@pytest.mark.parametrize(
    ("said", "compared"),
    [
        ("+44 7700 900123", "07700900123"), ("07700 900 123", "07700900123"), ("0044 161 496 0000", "01614960000"),
        ("+44 (0)161 496 0000", "01614960000"), ("447700900123", "07700900123"), ("7700900123", "07700900123"),
        ("00000000000", ""), ("12345", ""), ("none", ""),
    ],
)  # fmt: skip
def test_a_telephone_number_has_its_national_form(said, compared):
    assert phone(said) == compared


@pytest.mark.parametrize(
    ("said", "compared"),
    [
        (" Ann@Example.ORG ", "ann@example.org"),
        ("ann+gp@example.org", "ann@example.org"),
        ("none@example.org", ""),
        ("n/a", ""),
    ],
)
def test_an_email_address_is_folded(said, compared):
    assert email(said) == compared


def test_a_verified_nhs_number_is_told_from_one_that_is_not():
    assert numbers(number(NHS, "999 000 0018", "01")) == (Number("nhs", "9990000018", True),)
    assert numbers(number(NHS, "9990000018", "02")) == (Number("nhs", "9990000018", False),)
    assert numbers(number(NHS, "9990000018"), number(NHS, "9990000018", "01")) == (
        Number("nhs", "9990000018", True),
    )


@pytest.mark.parametrize("value", ["0000000000", "9999999999", "9990000019", "12345"])
def test_an_nhs_number_that_stands_for_none_or_is_wrong_is_absent(value):
    assert numbers(number(NHS, value)) == ()


@pytest.mark.parametrize(
    ("system", "value", "compared"),
    [
        (NS + "nino", "QQ 12 34 56 C", Number("nino", "QQ123456")),
        (NS + "nino", "QQ123456", Number("nino", "QQ123456")),
        (NS + "pnc", "99/1Q", Number("pnc", "1999/0000001Q")),
        (NS + "pnc", "1999/0000001Q", Number("pnc", "1999/0000001Q")),
        (NS + "upn", "R352999924003", Number("upn", "R352999924003")),
        (NS + "social-care-id/352", "1234567", Number("scn/352", "1234567")),
        (NS + "local-patient-identifier/RM3", "H1234567", Number("mrnat/RM3", "H1234567")),
    ],
)
def test_numbers_have_one_form(system, value, compared):
    assert numbers(number(system, value)) == (compared,)


@pytest.mark.parametrize(("system", "value"), [(NHS, "9990000018"), (NS + "nino", "QQ123456C")])
def test_a_test_number_is_compared_only_where_the_pack_accepts_test_numbers(system, value):
    strict = tuple(replace(d, accepts_test=False) for d in DOMAINS.pack.domains)
    pack = replace(DOMAINS.pack, register=Register.of(strict))
    said = {"resourceType": "Patient", "identifier": [number(system, value)]}
    assert len(traits(said, DOMAINS).numbers) == 1
    assert traits(said, Domains(pack, DOMAINS.base)).numbers == ()


@pytest.mark.parametrize(
    ("system", "value"),
    [
        (NS + "homelessness-case/352", "HC-1"),
        (NS + "crime-reference", "06A/1"),
        (NS + "solicitor-matter/1", "SMI001/2"),
        (NS + "uk-passport", "999000001"),
        (NS + "upn-former", "R352999924003"),
        (NS + "enterprise-person", "TL-000000000001"),
        (NS + "cro", "000000/00Z"),
        ("https://elsewhere.example/Id", "1"),
    ],
)
def test_numbers_of_cases_matters_documents_and_sealed_ones_are_never_compared(system, value):
    assert numbers(number(system, value)) == ()


def test_the_case_number_of_a_trust_counts_with_who_assigned_it():
    system = "https://fhir.nhs.uk/Id/local-patient-identifier"
    assigned = number(system, "H1234567", assigner={"identifier": {"value": "RM3"}})
    assert numbers(assigned) == (Number("mrn/RM3", "H1234567"),)
    assert numbers(number(system, "H1234567")) == ()


@pytest.mark.parametrize("code", ["ADOPTION", "GRA", "WITPROT"])
def test_a_seal_is_seen(code):
    label = {"system": "https://throughline.example/fhir/CodeSystem/sensitivity", "code": code}
    assert of(meta={"security": [label]}).sealed == code
    assert of(meta={"security": [{**label, "system": "https://elsewhere.example/x"}]}).sealed == ""


def test_the_place_in_a_multiple_birth_is_kept():
    assert (of(multipleBirthInteger=2).order, of(multipleBirthBoolean=True).order) == ("2", "?")
    assert of(multipleBirthInteger=9).order == ""


JUNK: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["name", "given", "family", "text", "use", "system", "value", "extension", "url", "line", "code",
         "postalCode", "identifier", "assigner", "security", "coding", "valueString"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(
    ["name", "birthDate", "gender", "address", "telecom", "identifier", "meta", "multipleBirthInteger"]), JUNK))  # fmt: skip
def test_nothing_that_is_sent_breaks_the_reading(patient):
    assert isinstance(traits(patient, DOMAINS), Traits)


def test_traits_are_kept_and_read_back():
    whole = of(
        name=[{"given": ["Ann"], "family": "Shaw"}], birthDate="1984-05-06", gender="female",
        address=[{"line": ["10 Mill Street"], "postalCode": "M1 1CK"}],
        telecom=[{"system": "phone", "value": "07700900123"}, {"system": "email", "value": "a@example.org"}],
        identifier=[number(NHS, "9990000018", "01")],
    )  # fmt: skip
    assert unpacked(packed(whole)) == whole


def test_what_several_records_say_is_gathered_once():
    one = of(name=[{"given": ["Ann"], "family": "Shaw"}], gender="female", birthDate="1984-05-06")
    two = of(name=[{"given": ["Ann"], "family": "Khan"}], gender="female", birthDate="1984-05-06")
    together = gathered([one, two, one])
    assert together.names == (*one.names, *two.names)
    assert (together.born, together.sex) == (("1984-05-06",), "female")
