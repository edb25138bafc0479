"""PURE. The records that each agency holds about a person, as the Patients its system would feed.

Every agency knows people under its own number. Whether it also holds the NHS number, and how often it
gets a name or a birth date wrong, follows the affinity digest §9.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any

from affinity.pack import NHS_NUMBER, Pack
from exchange.city.people import Person, table

VERIFICATION = (
    "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-NHSNumberVerificationStatus"
)
STATUSES = "https://fhir.hl7.org.uk/CodeSystem/UKCore-NHSNumberVerificationStatusEngland"


@dataclass(frozen=True, slots=True)
class Agency:
    """How one kind of agency keeps people: its number, who it knows, and how well."""

    kind: str
    system: str  # {la} council code, {trust} trust code; below the pack's namespace unless absolute
    value: str  # {n} person number
    stories: tuple[str, ...]  # empty: everybody
    ages: tuple[int, int]
    share: float
    nhs: float  # how often the NHS number is on the record
    name_error: float
    birth_error: float


@lru_cache(maxsize=1)
def agencies() -> tuple[Agency, ...]:
    """The rows of agencies.csv."""
    return tuple(
        Agency(
            r["kind"],
            r["system"],
            r["value"],
            tuple(s for s in r["stories"].split("|") if s),
            (int(r["age_from"]), int(r["age_to"])),
            float(r["share"]),
            float(r["nhs"]),
            float(r["name_error"]),
            float(r["birth_error"]),
        )
        for r in table("agencies")
    )


_LETTERS = "ABCDEFGHJKLMNPQRTUVWXYZ"
_PNC = "ZABCDEFGHJKLMNPQRTUVWXY"


@dataclass(frozen=True, slots=True)
class Record:
    """One agency's record: the identifier it is fed under and the Patient."""

    agency: str
    person: Person
    system: str
    value: str
    patient: dict[str, Any]


def records(person: Person, pack: Pack, seed: int = 1) -> Iterator[Record]:
    """The records that the agencies hold about this person; the GP's comes first."""
    for agency in agencies():
        dice = Random(f"{seed}/{person.number}/{agency.kind}")  # noqa: S311  reproducible, not secret
        low, high = agency.ages
        if agency.stories and person.story not in agency.stories:
            continue
        if low <= person.age <= high and dice.random() < agency.share:
            yield _record(agency, person, pack, dice)


def upn(person: Person) -> str:
    """A unique pupil number of a school that does not exist, with a right check letter."""
    rest = f"{person.council}9999{(person.born.year + 4) % 100:02d}{person.number % 1000:03d}"
    total = sum(int(d) * w for d, w in zip(rest, range(2, 14), strict=True))
    return _LETTERS[total % 23] + rest


def pnc(person: Person) -> str:
    """A police national computer id from the range kept for tests, with a right check letter."""
    serial = 9_000_000 + person.number % 999_999
    return f"1999/{serial:07d}{_PNC[int(f'99{serial:07d}') % 23]}"


def _record(agency: Agency, person: Person, pack: Pack, dice: Random) -> Record:
    system = agency.system.format(la=person.council, trust=person.trust)
    if not system.startswith("http"):
        system = f"{pack.namespace}/{system}"
    value = agency.value.format(
        n=person.number, nhs=person.nhs_number, upn=upn(person), pnc=pnc(person)
    )
    identifiers = [_identifier(system, value)]
    if agency.kind != "gp" and dice.random() < agency.nhs:
        identifiers.append(_identifier(NHS_NUMBER, person.nhs_number))
    given, born = list(person.given), person.born.isoformat()
    if dice.random() < agency.name_error:
        given = given[:1] if len(given) > 1 else [given[0][: max(3, len(given[0]) - 2)]]
    if dice.random() < agency.birth_error:
        born = born[:4]
    patient: dict[str, Any] = {
        "resourceType": "Patient",
        "active": True,
        "identifier": identifiers,
        "name": [{"use": "official", "family": person.family, "given": given}],
        "gender": person.sex,
        "birthDate": born,
        "address": [_address(person)],
    }
    if person.age >= 16:
        patient["telecom"] = [{"system": "phone", "value": person.phone, "use": "mobile"}]
    return Record(agency.kind, person, system, value, patient)


def _identifier(system: str, value: str) -> dict[str, Any]:
    said: dict[str, Any] = {"system": system, "value": value}
    if system == NHS_NUMBER:
        code = {"system": STATUSES, "code": "01", "display": "Number present and verified"}
        said = {
            "extension": [{"url": VERIFICATION, "valueCodeableConcept": {"coding": [code]}}],
            "use": "official",
        } | said
    return said


def _address(person: Person) -> dict[str, Any]:
    home = person.address
    if not home.fixed:
        return {"use": "temp", "text": "No fixed abode", "postalCode": home.postcode}
    return {
        "use": "home",
        "line": [home.line],
        "city": home.town,
        "district": "Greater Manchester",
        "postalCode": home.postcode,
    }
