"""PURE. What the agencies write down about a person: the Patients their systems would feed.

Each row of `data/agencies.csv` is one column of the domain digest §9.3 with what the agency's own number
is, whom it knows and what it usually records. Mistakes are drawn per record; how a name may be written
differently follows §9.2, and what kind of slip a wrong birth date is follows §9.4. A little over 400 lines because every element
of one Patient is written here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import date
from functools import lru_cache
from random import Random
from typing import Any

from affinity.pack import NHS_NUMBER, load
from benchmarks.identity import numbers
from benchmarks.identity.names import (
    is_prefixed,
    mistyped,
    other_spelling,
    plain,
    prefixed,
    sounded,
    street_name,
    table,
)
from benchmarks.identity.naming import Form
from benchmarks.identity.people import nowhere
from benchmarks.identity.person import Address, Person

NS = load("greater_manchester").namespace
SENSITIVITY = f"{NS}/CodeSystem/sensitivity"
ADDRESS_KEY = "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-AddressKey"
KEY_TYPES = "https://fhir.hl7.org.uk/CodeSystem/UKCore-AddressKeyType"


@dataclass(frozen=True, slots=True)
class Agency:
    """One row of agencies.csv; shares are between 0 and 1."""

    agency: str
    system: str
    form: str
    age_from: int
    age_to: int
    everyday: float
    early: float
    complex: float
    homeless: float
    victim: float
    nhs_number_present: float
    nhs_wrong: float
    name_variant: float
    dob_error: float
    dob_year_only: float
    postcode_current: float
    gender_missing: float
    address_missing: float
    duplicates: float
    verified: float
    nickname: float
    uprn: float
    phone: float
    email: float
    middle: float
    former: float
    also: str

    def knows(self, person: Person) -> float:
        """How likely it holds a record of this person."""
        share: float = getattr(self, person.story)
        return share if self.age_from <= person.age <= self.age_to else 0.0


@dataclass(frozen=True, slots=True)
class Record:
    """One record as its source would feed it, with the truth about it beside it (`person` and after)."""

    system: str
    value: str
    agency: str
    patient: dict[str, Any]
    person: str
    group: str
    slices: frozenset[str]

    @property
    def key(self) -> str:
        """What the record is fed under, and called in clusters."""
        return f"{self.system}|{self.value}"


@lru_cache(maxsize=1)
def agencies() -> tuple[Agency, ...]:
    """The rows of agencies.csv."""
    kinds = {f.name: {"int": int, "float": float, "str": str}[str(f.type)] for f in fields(Agency)}
    return tuple(
        Agency(**{name: kinds[name](text) for name, text in row.items()})
        for row in table("agencies")
    )


def recorded(person: Person, seed: int) -> Iterator[Record]:
    """Every record that is held about this person, the general practice's first."""
    dice = Random(f"{seed}/record/{person.number}")
    for agency in agencies():
        share = agency.knows(person)
        if not share or dice.random() >= share:
            continue
        yield _record(agency, person, dice, 0)
        if dice.random() < agency.duplicates:
            yield _record(agency, person, dice, 1)


def _record(agency: Agency, person: Person, dice: Random, copy: int) -> Record:
    system = f"{NS}/" + agency.system.format(
        la=person.council, trust=person.trust, practice=f"P99{person.number % 487:03d}"
    )
    value = numbers.own(agency.form, person, copy)
    patient: dict[str, Any] = {"resourceType": "Patient", "active": True}
    if person.label and dice.random() < 0.5:
        patient["meta"] = {"security": [{"system": SENSITIVITY, "code": person.label}]}
    patient["identifier"] = list(_identifiers(agency, person, dice, system, value))
    patient["name"] = _names(agency, person, dice)
    phones = _telecom(agency, person, dice)
    if phones:
        patient["telecom"] = phones
    _gender(agency, person, dice, patient)
    born = _born(agency, person.born, dice)
    if born:
        patient["birthDate"] = born
    addresses = _addresses(agency, person, dice)
    if addresses:
        patient["address"] = addresses
    slices = person.slices
    if not any(i["system"] == NHS_NUMBER for i in patient["identifier"]):
        slices |= {"no NHS number"}
    if "meta" in patient:
        slices |= {"labelled"}
    return Record(system, value, agency.agency, patient, person.key, person.group, slices)


# -- identifiers ----------------------------------------------------------------------------------


def _identifiers(
    agency: Agency, person: Person, dice: Random, system: str, value: str
) -> Iterator[dict[str, Any]]:
    yield {"use": "usual", "system": system, "value": value}
    if dice.random() < agency.nhs_number_present:
        wrong = dice.random() < agency.nhs_wrong
        number = numbers.another_nhs(person, dice) if wrong else person.nhs
        sure = dice.random() < (agency.verified * 0.3 if wrong else agency.verified)
        status = "01" if sure else dice.choice(("02", "02", "03", "04", "05", "06"))
        if person.age == 0 and not sure:
            status = "08"
        yield numbers.nhs_identifier(number, status)
    chance = dice.random()
    if agency.also == "nino" and person.age >= 16 and chance < 0.45:
        yield {"system": f"{NS}/Id/nino", "value": numbers.nino(person)}
    elif agency.also == "upn" and 5 <= person.age <= 17 and chance < 0.35:
        yield {"system": f"{NS}/Id/upn", "value": numbers.upn(person)}
    elif agency.also == "uln" and person.age >= 14 and chance < 0.6:
        yield {"system": f"{NS}/Id/uln", "value": numbers.uln(person)}
    elif agency.also == "cro" and chance < 0.35:
        yield {"system": f"{NS}/Id/cro", "value": numbers.cro(person)}
    elif agency.also == "pnc" and chance < 0.85:
        yield {"system": f"{NS}/Id/pnc", "value": numbers.pnc(person, short=dice.random() < 0.3)}
        if dice.random() < 0.5:
            yield {"system": f"{NS}/Id/prison-number", "value": numbers.prison(person)}
    if agency.agency == "Housing options":
        case = f"HC-{min((person.number, *person.spouse_or_kin)):07d}"  # of the household, not of a person
        yield {"system": f"{NS}/Id/homelessness-case/{person.council}", "value": case}
    elif agency.agency == "Solicitor":
        yield {"system": f"{NS}/Id/solicitor-matter/99999", "value": f"M/{person.number // 3}"}


# -- names ----------------------------------------------------------------------------------------

_SWAPS = ("Pakistani", "Bangladeshi", "Chinese", "Vietnamese", "Somali")
_TRANSLITERATED = ("South Asian", "Somali", "Arab", "Kurdish and Iranian")


def _names(agency: Agency, person: Person, dice: Random) -> list[dict[str, Any]]:
    """The name in use as this agency has it, and the aliases it keeps beside it."""
    given, family = dice.choices(person.forms, person.weights)[0]
    married = family
    if person.former and dice.random() < 0.35:
        family = person.former[0]
    if person.step and agency.form == "upn" and dice.random() < 0.55:
        family = person.step
    if person.age < 20 and "-" in family and dice.random() < 0.4:
        family = _reordered(family, dice)
    if person.community in ("Polish", "Czech and Slovak") and person.sex == "female":
        family = _masculine_form(family) if dice.random() < 0.2 else family
    given, family = _behaved(agency, person, given, family, dice)
    if dice.random() < agency.name_variant:
        given, family = _varied(given, family, dice)
    if agency.agency in ("Police", "Ambulance") and dice.random() < 0.5:
        given, family = tuple(n.upper() for n in given), family.upper()
    if (
        person.age <= 1
        and agency.nhs_number_present > 0.9
        and dice.random() < (0.15 if person.age == 0 else 0.01)
    ):
        given = (_placeholder(person),)
    use = "usual" if agency.nhs_number_present > 0.9 else "official"
    made: list[dict[str, Any]] = [_name(use, given, family)]
    if person.former and dice.random() < agency.former * 2:
        other = person.former[0] if family != person.former[0] else married
        made.append(_name(dice.choice(("old", "maiden")), given, other))
    elif dice.random() < agency.former * (0.5 if agency.form in ("pnc", "crn") else 0.02):
        made.append(_name("nickname", (sounded(given[0], dice), *given[1:]), family))
    if agency.form in ("pnc", "crn") and dice.random() < 0.02:
        made[0], alias = _name(use, given, mistyped(family, dice)), made[0]
        made.append(alias | {"use": "old"})
    return made


def _name(use: str, given: tuple[str, ...], family: str) -> dict[str, Any]:
    """A HumanName; `given` one element a name, as systems send them."""
    made: dict[str, Any] = {"use": use}
    if family.strip():
        made["family"] = family
    if any(given):
        made["given"] = [name for name in given if name]
    return made


def _behaved(
    agency: Agency, person: Person, given: tuple[str, ...], family: str, dice: Random
) -> Form:
    """What naming and systems do to every name, mistakes apart (§9.2)."""
    if (
        len(given) > 1
        and person.community not in ("Somali", "Arab", "Vietnamese")
        and dice.random() > agency.middle
    ):
        given = (given[0], given[1][0]) if dice.random() < 0.2 else given[:1]
    if person.group in _TRANSLITERATED and dice.random() < 0.12:
        given = tuple(other_spelling(n, "transliteration", dice) for n in given)
        family = other_spelling(family, "transliteration", dice)
    if person.community in _SWAPS and dice.random() < 0.06:
        given, family = (*family.split(" "), *given[1:]), given[0]
    if is_prefixed(family) and dice.random() < 0.4:
        family = prefixed(family, dice)
    if dice.random() < agency.nickname:
        short = other_spelling(given[0], "nickname", dice)
        if agency.agency == "Rough-sleeping outreach" and dice.random() < 0.3:
            return (street_name(dice),), family if dice.random() < 0.6 else ""
        given = (short, *given[1:])
    if not (family.isascii() and all(n.isascii() for n in given)):
        keeps = (sum(map(ord, agency.agency)) + int(person.council)) % 5 >= 3  # two systems in five
        if not keeps:
            given, family = tuple(map(plain, given)), plain(family)
    return given, family


def _varied(given: tuple[str, ...], family: str, dice: Random) -> Form:
    """One mistake or variation of a kind that any name can suffer."""
    kind = dice.random()
    if kind < 0.3:
        return (given[0], *given[1:]), mistyped(family, dice)
    if kind < 0.55:
        return (mistyped(given[0], dice), *given[1:]), family
    if kind < 0.72:
        return (sounded(given[0], dice), *given[1:]), family
    if kind < 0.82:
        return given, sounded(family, dice)
    if kind < 0.86:
        return (given[0][0], *given[1:]), family
    if kind < 0.9:
        return (other_spelling(given[0], "nickname", dice), *given[1:]), family
    if kind < 0.94 and len(given) > 1:
        return given[1:], family
    if kind < 0.96:
        return (family,), given[0]
    if kind < 0.98:
        return (
            dice.choice(("Mr", "Mrs", "Miss", "MIG_ERROR_")),
            *given,
        ) if dice.random() < 0.5 else given, family
    return (sounded(given[0], dice), *given[1:]), mistyped(family, dice)


def _placeholder(person: Person) -> str:
    if "twin" in person.slices:
        return f"Twin {1 + person.number % 2}"
    return ("Baby", "Baby Boy" if person.sex == "male" else "Baby Girl", "Infant", "Female infant" if person.sex == "female" else "Male infant")[person.number % 4]  # fmt: skip


def _reordered(family: str, dice: Random) -> str:
    first, _, second = family.partition("-")
    return dice.choice((f"{second}-{first}", f"{first} {second}", first, second))


def _masculine_form(family: str) -> str:
    if family.endswith(("ska", "cka")):
        return family[:-1] + "i"
    return family.removesuffix("ová")


# -- everything else ------------------------------------------------------------------------------


def _gender(agency: Agency, person: Person, dice: Random, patient: dict[str, Any]) -> None:
    chance = dice.random()
    if chance < agency.gender_missing:
        if chance < agency.gender_missing / 2:
            patient["gender"] = "unknown"
    elif chance > 0.9989:
        patient["gender"] = "female" if person.sex == "male" else "male"
    else:
        patient["gender"] = person.sex


def _born(agency: Agency, born: date, dice: Random) -> str:
    """The birth date as the agency has it: perhaps only the year, perhaps a slip (§9.4)."""
    chance = dice.random()
    if chance < agency.dob_year_only:
        return dice.choice((f"{born.year}", f"{born.year}-01-01"))
    if chance < agency.dob_year_only + 0.001 + (
        0.04 if agency.agency == "Rough-sleeping outreach" else 0
    ):
        return dice.choice(("", "", "1900-01-01", "1970-01-01"))
    if chance > 1 - agency.dob_error:
        return _slipped(born, dice).isoformat()
    return born.isoformat()


def _slipped(born: date, dice: Random) -> date:
    kind = dice.random()
    try:
        if kind < 0.35 and born.day <= 12 and born.day != born.month:
            return born.replace(month=born.day, day=born.month)
        if kind < 0.62:
            return born.replace(year=born.year + dice.choice((-1, 1, -1, 1, -10, 10)))
        if kind < 0.63:
            return born.replace(year=born.year - 100)
        if kind < 0.8:
            return born.replace(month=(born.month + dice.choice((-1, 1)) - 1) % 12 + 1)
        return born.replace(day=max(1, min(28, born.day + dice.choice((-1, 1, -10, 10, 2, -2)))))
    except ValueError:  # 29 February, or the 31st of a shorter month
        return born.replace(day=1)


def _telecom(agency: Agency, person: Person, dice: Random) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    if person.phone and dice.random() < agency.phone:
        number, chance = person.phone, dice.random()
        if chance < 0.04:
            number = number[:-1] + str((int(number[-1]) + 1 + dice.randrange(9)) % 10)
        elif chance < 0.1:
            number = "+44 " + number[1:]
        elif chance < 0.4:
            number = number.replace(" ", "")
        made.append(
            {
                "system": "phone",
                "value": number,
                "use": "mobile" if number.startswith("07") else "home",
            }
        )
    if person.email and dice.random() < agency.email:
        said = person.email if dice.random() < 0.9 else person.email.capitalize()
        made.append({"system": "email", "value": said})
    return made


def _addresses(agency: Agency, person: Person, dice: Random) -> list[dict[str, Any]]:
    if dice.random() < agency.address_missing:
        return []
    current = dice.random() < agency.postcode_current
    home = person.address
    if not current:
        home = dice.choice(person.previous) if person.previous else home
    if person.story == "homeless" and dice.random() < 0.25:
        home = nowhere(dice)
    made = [_address(agency, home, dice)]
    if current and person.previous and dice.random() < agency.former * 0.5:
        made.append(_address(agency, person.previous[0], dice) | {"use": "old"})
    return made


def _address(agency: Agency, home: Address, dice: Random) -> dict[str, Any]:
    if home.kind == "none":
        made: dict[str, Any] = {"use": "temp", "text": "No fixed abode"}
        return made | {"postalCode": home.postcode} if home.postcode else made
    line, postcode = home.line, home.postcode
    chance = dice.random()
    if chance < 0.01:
        postcode = (
            postcode.replace("0", "O") if chance < 0.005 else postcode[:-1] + dice.choice("CIKMOV")
        )
    elif chance < 0.2:
        postcode = postcode.replace(" ", "")
    if dice.random() < 0.12:
        line = (
            line.replace("Street", "St")
            .replace("Road", "Rd")
            .replace("Avenue", "Ave")
            .replace("Flat", "Apt")
        )
    made = {"use": "temp" if home.kind in ("hostel", "refuge") else "home", "line": line.split(", "), "city": home.town, "postalCode": postcode}  # fmt: skip
    if home.uprn and dice.random() < agency.uprn:
        kind = {"url": "type", "valueCoding": {"system": KEY_TYPES, "code": "UPRN"}}
        made["extension"] = [
            {"url": ADDRESS_KEY, "extension": [kind, {"url": "value", "valueString": home.uprn}]}
        ]
    return made
