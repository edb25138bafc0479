"""PURE. The offices that hold records, each with its reach and its habits (offices.csv), and the UK Core
Patient that each would feed about one person.

A record was written on some day and says what was true then: an office that saw somebody last seven years
ago has the name and the address of then. `lag` is how many years that is on average.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import date, timedelta
from functools import lru_cache
from random import Random
from typing import Any

from affinity.pack import NHS_NUMBER, load
from benchmarks.identity.recording import Record
from benchmarks.identity.second import numbers, slips
from benchmarks.identity.second.life import TODAY, Home, Life, Name, age_on
from benchmarks.identity.second.rows import parted, table
from benchmarks.identity.second.traditions import Tradition, traditions

NS = load("greater_manchester").namespace
UK = "https://fhir.hl7.org.uk"
STATUS = f"{UK}/StructureDefinition/Extension-UKCore-NHSNumberVerificationStatus"
STATUSES = f"{UK}/CodeSystem/UKCore-NHSNumberVerificationStatusEngland"
ADDRESS_KEY = f"{UK}/StructureDefinition/Extension-UKCore-AddressKey"
ADDRESS_KEYS = f"{UK}/CodeSystem/UKCore-AddressKeyType"
SEALING = frozenset(
    {
        "practice",
        "hospital",
        "child health",
        "children's services",
        "looked after return",
        "mental health",
    }
)
LABELS = f"{NS}/CodeSystem/sensitivity"
KEPT = 5
WRITES_MARKS = frozenset({"practice", "school", "college", "children's services"})


@dataclass(frozen=True, slots=True)
class Office:
    """One row of offices.csv: reach by what became of somebody (`general` to `street`), then habits."""

    office: str
    system: str
    places: str
    shape: str
    youngest: int
    oldest: int
    general: float
    hostel: float
    care: float
    student: float
    custody: float
    looked_after: float
    victim: float
    asylum: float
    site: float
    street: float
    again: float
    nhs: float
    verified: float
    nhs_wrong: float
    spell: float
    typo: float
    heard: float
    called: float
    odd: float
    date_slip: float
    vague: float
    undated: float
    sex_wrong: float
    sex_missing: float
    unplaced: float
    address_slip: float
    uprn: float
    phone: float
    email: float
    middle: float
    former: float
    lag: float

    def reach(self, life: Life) -> float:
        """How likely it holds a record of this person; whoever grew out of it is forgotten within years."""
        found: float = getattr(self, life.way)
        age = age_on(life.born, life.until or TODAY)
        if not self.youngest <= age <= self.oldest + KEPT:
            return 0.0
        return found if age <= self.oldest else found * 0.6


@lru_cache(maxsize=1)
def offices() -> tuple[Office, ...]:
    """The rows of offices.csv."""
    kinds = {"str": str, "int": int, "float": float}
    return tuple(
        Office(
            *(
                kinds[str(f.type)](cell)
                for f, cell in zip(fields(Office), row.values(), strict=True)
            )
        )
        for row in table("offices")
    )


def records(life: Life, seed: int) -> Iterator[Record]:
    """Every record that is held about this person."""
    dice = Random(f"{seed}/records/{life.serial}")
    for office in offices():
        if dice.random() >= office.reach(life):
            continue
        yield _record(office, life, 0, dice)
        if dice.random() < office.again:
            yield _record(office, life, 1, dice)


def _record(office: Office, life: Life, copy: int, dice: Random) -> Record:
    day = _seen(office, life, dice)
    habits = traditions()[life.tradition]
    place = _place(office, life, day, dice)
    system = office.system.replace("NS/", f"{NS}/").replace("{place}", place)
    value = _own_number(office, life, copy)
    newborn = (
        office.office in ("child health", "hospital")
        and age_on(life.born, TODAY) <= 6
        and not life.since
    )
    baby = newborn and dice.random() < (0.06 if office.office == "child health" else 0.12)
    day = life.born + timedelta(days=dice.randint(0, 20)) if baby else day
    patient: dict[str, Any] = {
        "resourceType": "Patient",
        "meta": {"profile": [f"{UK}/StructureDefinition/UKCore-Patient"]},
        "identifier": [
            {"use": "usual", "system": system, "value": value},
            *_numbers(office, life, baby, dice),
        ],
        "active": True,
        "name": _names(office, life, day, baby, habits, dice),
    }
    slices = {life.way, *life.slices}
    if life.seal and office.office in SEALING:
        patient["meta"]["security"] = [{"system": LABELS, "code": life.seal.split()[0]}]
        slices.add("labelled")
    if not any(i["system"] == NHS_NUMBER for i in patient["identifier"]):
        slices.add("no NHS number")
    slices.update(_birth_and_sex(office, life, patient, dice))
    _reach(office, life, day, patient, dice)
    if (address := _address(office, life.home(day), dice)) is not None:
        patient["address"] = [address]
    if life.twin and office.office in ("child health", "hospital") and dice.random() < 0.3:
        patient["multipleBirthInteger"] = life.twin
    slices.add("baby" if baby else "named")
    return Record(
        system, value, office.office, patient, life.person, habits.group, frozenset(slices)
    )


def _seen(office: Office, life: Life, dice: Random) -> date:
    """The day on which what it holds was last true."""
    last = min(life.until or TODAY, _birthday(life.born, office.oldest + 1))
    first = max(life.since or life.born, _birthday(life.born, office.youngest))
    back = timedelta(days=round(dice.expovariate(1 / office.lag) * 365))
    return max(first, last - timedelta(days=1) - back)


def _birthday(born: date, age: int) -> date:
    return date(born.year + age, born.month, min(born.day, 28))


def _place(office: Office, life: Life, day: date, dice: Random) -> str:
    """The branch: near by, mostly."""
    found = parted(office.places)
    if not found[0]:
        return ""
    council = life.home(day).council
    near = [p for p in found if p == council] or [found[int(council) % len(found)]]
    return near[0] if dice.random() < 0.9 else dice.choice(found)


def _own_number(office: Office, life: Life, copy: int) -> str:
    """What the office files the person under; a second file has its own number."""
    serial = life.serial * 2 + copy
    return {
        "digits": f"{1_000_000 + serial}",
        "letter": f"{office.office[0].upper()}{100_000 + serial}",
        "short": f"{10_000 + serial}",
        "upn": _upn(life),
        "uln": numbers.uln(serial),
        "pnc": _pnc(life, copy),
        "prison": f"{'ABCD'[copy]}{serial % 10_000:04d}{numbers.letters(serial // 10_000)}",
        "crn": f"{'XDEF'[serial // 1_000_000 % 4]}{serial % 1_000_000:06d}",
    }[office.shape]


def _numbers(office: Office, life: Life, baby: bool, dice: Random) -> Iterator[dict[str, Any]]:
    """National numbers that the office holds beside its own."""
    if dice.random() < office.nhs:
        value, verified = life.nhs, dice.random() < office.verified and not baby
        if dice.random() < office.nhs_wrong:
            value, verified = _wrong(value, life.kin, dice), verified and dice.random() < 0.3
        code = "01" if verified else "08" if baby else dice.choice(("02", "03", "04"))
        status = {
            "url": STATUS,
            "valueCodeableConcept": {"coding": [{"system": STATUSES, "code": code}]},
        }
        yield {"use": "official", "system": NHS_NUMBER, "value": value, "extension": [status]}
    adult = life.age >= 17
    for name, system, value, share in (
        ("landlord", "nino", numbers.nino(life.serial), 0.6 * adult),
        ("advice", "nino", numbers.nino(life.serial), 0.3 * adult),
        ("probation", "nino", numbers.nino(life.serial), 0.3 * adult),
        ("outreach", "nino", numbers.nino(life.serial), 0.12 * adult),
        ("college", "upn", _upn(life), 0.3),
        ("children's services", "upn", _upn(life), 0.5 * (4 <= life.age <= 17)),
        ("looked after return", "upn", _upn(life), 0.9 * (4 <= life.age <= 17)),
        ("youth justice", "upn", _upn(life), 0.3 * (4 <= life.age <= 17)),
        ("prison", "pnc", _pnc(life), 0.7),
        ("probation", "pnc", _pnc(life), 0.8),
    ):
        if name == office.office and dice.random() < share:
            yield {"use": "secondary", "system": f"{NS}/Id/{system}", "value": value}


def _upn(life: Life) -> str:
    """Issued once, by the first school."""
    return numbers.upn(life.serial * 2, life.homes[0][1].council, life.born.year + 4)


def _pnc(life: Life, copy: int = 0) -> str:
    """Some have two, under which an alias hid."""
    return numbers.pnc(life.serial * 2 + copy, max(1995, life.born.year + 16))


def _wrong(value: str, kin: tuple[str, ...], dice: Random) -> str:
    """A relative's number, or two digits the other way round."""
    if kin and dice.random() < 0.6:
        return dice.choice(kin)
    at = dice.randrange(3, 9)
    return value[:at] + value[at + 1] + value[at] + value[at + 2 :]


def _names(
    office: Office, life: Life, day: date, baby: bool, habits: Tradition, dice: Random
) -> list[dict[str, Any]]:
    legal = life.named(day)
    if baby:
        surname = (
            legal.family if dice.random() < 0.6 or not life.mother else life.mother.split()[-1]
        )
        return [
            {"use": "usual", **slips.of_a_baby(life.mother, life.sex, life.twin, surname, dice)}
        ]
    name = _as_given(office, life, legal, dice)
    name = _slipped(office, name, habits, dice)
    if dice.random() < habits.reorder * (0.4 if office.verified > 0.9 else 1.0):
        shape = slips.reordered(name, habits.form, dice)
    elif dice.random() < office.odd:
        shape = slips.misshapen(name, dice)
    else:
        shape = slips.written(name.given, name.family)
    found: list[dict[str, Any]] = [{"use": dice.choice(("usual", "official", "usual")), **shape}]
    if dice.random() < office.former and (other := _other(life, legal, dice)):
        found.append(other)
    return found


def _as_given(office: Office, life: Life, legal: Name, dice: Random) -> Name:
    """The names that were said: the short one, the street name, with the middle ones or without."""
    given = legal.given
    if office.office == "outreach" and dice.random() < 0.06:
        return Name(
            (dice.choice(parted(table("street_names")[0]["names"])),),
            legal.family if dice.random() < 0.3 else "",
        )
    if life.called and dice.random() < office.called * 4:
        return Name((life.called,), legal.family)
    if len(given) > 1 and dice.random() >= office.middle:
        given = given[:2] if given[0] in ("Thi", "Van") and dice.random() < 0.9 else given[:1]
    elif len(given) > 1 and dice.random() < 0.1:
        given = (given[0], *(g[0] for g in given[1:]))
    return Name(given, legal.family)


def _slipped(office: Office, name: Name, habits: Tradition, dice: Random) -> Name:
    given, family = list(name.given), name.family
    parts = [(given, n) for n in range(len(given))]
    for held, n in parts:
        held[n] = _written(held[n], False, office, habits, dice)
    family = _written(family, True, office, habits, dice) if family else ""
    if office.office not in WRITES_MARKS or dice.random() < 0.5:
        given, family = [slips.plain(g) for g in given], slips.plain(family)
    return Name(tuple(g for g in given if g) or name.given, family)


def _written(text: str, family: bool, office: Office, habits: Tradition, dice: Random) -> str:
    if dice.random() < habits.respell * office.spell:
        text = slips.respelt(text, dice)
    if dice.random() < office.typo:
        text = (
            slips.typed(text, dice)
            if dice.random() < 0.75
            else slips.replaced(text, slips.SCANNED, dice)
        )
    if dice.random() < office.heard:
        text = slips.replaced(text, slips.HEARD, dice)
    if not text.isalpha() and dice.random() < 0.2:
        text = slips.joined_differently(text, family, dice)
    return text


def _other(life: Life, legal: Name, dice: Random) -> dict[str, Any] | None:
    """A second name: a maiden or former one, or what people say."""
    former = [name for _, name in life.names if name.family != legal.family]
    if former:
        use = dice.choice(("maiden", "old")) if life.sex == "female" and life.age > 17 else "old"
        return {"use": use, **slips.written(legal.given[:1], former[0].family)}
    if life.called:
        return {"use": "nickname", "given": [life.called]}
    return None


def _birth_and_sex(
    office: Office, life: Life, patient: dict[str, Any], dice: Random
) -> Iterator[str]:
    sex = life.sex
    if dice.random() < office.sex_wrong:
        sex = "female" if sex == "male" else "male"
    if dice.random() >= office.sex_missing:
        patient["gender"] = sex
    elif dice.random() < 0.5:
        patient["gender"] = "unknown"
    roll = dice.random()
    if roll < office.undated:
        if dice.random() < 0.3:
            patient["birthDate"] = dice.choice(("1900-01-01", "1970-01-01"))
        yield "undated"
    elif roll < office.undated + office.vague:
        patient["birthDate"] = slips.vague(life.born, dice)
        yield "vague date"
    elif roll < office.undated + office.vague + office.date_slip:
        patient["birthDate"] = slips.misdated(life.born, dice)
        yield "wrong date"
    else:
        patient["birthDate"] = life.born.isoformat()


def _reach(office: Office, life: Life, day: date, patient: dict[str, Any], dice: Random) -> None:
    found = []
    landline = life.home(day).landline
    if life.mobile and dice.random() < office.phone:
        found.append(
            {"system": "phone", "value": slips.dialled(life.mobile, dice), "use": "mobile"}
        )
    elif landline and dice.random() < office.phone * 0.5:
        found.append({"system": "phone", "value": slips.dialled(landline, dice), "use": "home"})
    if life.email and dice.random() < office.email:
        found.append({"system": "email", "value": life.email})
    if found:
        patient["telecom"] = found


def _address(office: Office, home: Home, dice: Random) -> Mapping[str, Any] | None:
    if dice.random() < office.unplaced or (home.kind == "refuge" and dice.random() < 0.5):
        return None
    lines, postcode = list(home.lines), home.postcode
    if dice.random() < office.address_slip * 3:
        lines = slips.misaddressed(lines, dice)
    if postcode and dice.random() < office.address_slip:
        postcode = slips.mispost(postcode, dice)
    address: dict[str, Any] = {
        "use": "temp" if home.kind in ("none", "hotel", "refuge") else "home",
        "line": lines,
    }
    if home.town:
        address["city"] = home.town
    if postcode and dice.random() > 0.01:
        address["postalCode"] = postcode
    if home.uprn and dice.random() < office.uprn:
        address["extension"] = [{
            "url": ADDRESS_KEY,
            "extension": [
                {"url": "type", "valueCodeableConcept": {"coding": [{"system": ADDRESS_KEYS, "code": "UPRN"}]}},
                {"url": "value", "valueString": home.uprn},
            ],
        }]  # fmt: skip
    return address
