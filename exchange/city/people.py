"""PURE. Households and the people in them, made from a seed.

Names follow the community shares of the affinity digest §9.1; every identifier and address is one that
can never be issued: NHS numbers begin 999 (or another never-issued prefix beyond 900,000 people),
postcodes end in letters that are not used, phones are in the ranges kept for drama.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from importlib.resources import files
from random import Random

TODAY = date(2026, 11, 1)  # the city's own day, so that the same seed makes the same city for ever

# council name, DfE code, postcode area, towns
COUNCILS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("Bolton", "350", "BL", ("Bolton", "Farnworth", "Horwich")),
    ("Bury", "351", "BL", ("Bury", "Radcliffe", "Ramsbottom")),
    ("Manchester", "352", "M", ("Manchester", "Wythenshawe", "Gorton")),
    ("Oldham", "353", "OL", ("Oldham", "Chadderton", "Royton")),
    ("Rochdale", "354", "OL", ("Rochdale", "Heywood", "Middleton")),
    ("Salford", "355", "M", ("Salford", "Eccles", "Swinton")),
    ("Stockport", "356", "SK", ("Stockport", "Cheadle", "Marple")),
    ("Tameside", "357", "OL", ("Ashton-under-Lyne", "Hyde", "Stalybridge")),
    ("Trafford", "358", "M", ("Stretford", "Sale", "Urmston")),
    ("Wigan", "359", "WN", ("Wigan", "Leigh", "Atherton")),
)
# council DfE code -> the trusts that its residents mostly use (maternity, community, acute)
TRUSTS = {
    "350": "RMC", "351": "RM3", "352": "R0A", "353": "RM3", "354": "RM3",
    "355": "RM3", "356": "RWJ", "357": "RMP", "358": "R0A", "359": "RRF",
}  # fmt: skip
STREETS = (
    "Alder", "Birch", "Cross", "Dale", "Elm", "Ferry", "Grange", "Hope", "Irk", "Jubilee", "Kiln", "Lock",
    "Mill", "Navigation", "Orchard", "Park", "Quarry", "Rushford", "Spinner", "Tenter", "Union", "Viaduct",
    "Weaver", "Yarrow",
)  # fmt: skip
NEVER_ISSUED = "CIKMOV"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a household lives; `fixed` is False for no fixed abode."""

    line: str
    town: str
    postcode: str
    uprn: str
    fixed: bool = True


@dataclass(frozen=True, slots=True)
class Person:
    """One synthetic person. `number` counts people from 0 and is the root of every identifier."""

    number: int
    family: str
    given: tuple[str, ...]
    sex: str
    born: date
    community: str
    council: str
    trust: str
    address: Address
    phone: str
    story: str  # "early years", "homelessness", "complex family", "victim", "everyday"
    mother: int | None = None

    @property
    def age(self) -> int:
        """Whole years on the city's day."""
        return (TODAY - self.born).days // 365

    @property
    def nhs_number(self) -> str:
        """Ten digits that pass the check and were never issued."""
        return nhs_number(self.number)


@dataclass(frozen=True, slots=True)
class Community:
    """A row of names.csv."""

    name: str
    weight: float
    women: tuple[str, ...]
    men: tuple[str, ...]
    surnames: tuple[str, ...]


def table(name: str) -> list[dict[str, str]]:
    """The rows of one of the city's CSV files."""
    text = files("exchange.city").joinpath(f"{name}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


@lru_cache(maxsize=1)
def communities() -> tuple[Community, ...]:
    """The naming communities and their shares."""
    return tuple(
        Community(
            r["community"],
            float(r["weight_pct"]),
            tuple(r["given_f"].split(";")),
            tuple(r["given_m"].split(";")),
            tuple(r["surnames"].split(";")),
        )
        for r in table("names")
    )


def nhs_number(number: int) -> str:
    """The never-issued NHS number of the `number`-th person, with a right check digit.

    One serial in eleven has no check digit; those people borrow from a range of their own.
    """
    nine = 999_000_000 + number if number < 1_000_000 else 800_000_000 + number
    while True:
        total = sum(int(d) * w for d, w in zip(f"{nine:09d}", range(10, 1, -1), strict=True))
        check = (11 - total % 11) % 11
        if check != 10:
            return f"{nine:09d}{check}"
        nine -= 50_000_000


def people(count: int, seed: int = 1) -> Iterator[Person]:
    """`count` people, household by household; the same seed gives the same people."""
    number, household = 0, 0
    while number < count:
        for person in _household(number, household, seed):
            if number >= count:
                return
            yield person
            number += 1
        household += 1


def _household(first: int, household: int, seed: int) -> Iterator[Person]:
    dice = Random(f"{seed}/{household}")  # noqa: S311  reproducible people, not secrets
    _, code, area, towns = COUNCILS[household % len(COUNCILS)]
    community = dice.choices(communities(), [c.weight for c in communities()])[0]
    story = dice.choices(
        ("early years", "complex family", "homelessness", "victim", "everyday"), (30, 12, 12, 8, 38)
    )[0]
    address = _address(dice, area, dice.choice(towns), household, fixed=story != "homelessness")
    surname = dice.choice(community.surnames)
    trust, phone = TRUSTS[code], f"07700 9{dice.randrange(100000):05d}"
    made = 0

    def one(sex: str, born: date, mother: int | None = None) -> Person:
        nonlocal made
        given = [dice.choice(community.women if sex == "female" else community.men)]
        if dice.random() < 0.4:
            given.append(dice.choice(community.women if sex == "female" else community.men))
        family = surname
        if "/" in family:  # Kowalski/Kowalska: the second form is the woman's
            family = family.split("/")[1 if sex == "female" else 0]
        person = Person(
            first + made, family, tuple(given), sex, born, community.name, code, trust, address, phone,
            story, mother,
        )  # fmt: skip
        made += 1
        return person

    if story == "homelessness" and dice.random() < 0.7:
        yield one(dice.choice(("male", "male", "female")), _born(dice, 19, 64))
        return
    adult = one("female", _born(dice, 20, 44 if story == "early years" else 70))
    yield adult
    if dice.random() < 0.6:
        yield one("male", _born(dice, 20, 70))
    if story == "everyday" and dice.random() < 0.5:
        return
    children = 1 if story == "early years" else dice.choice((1, 2, 2, 3, 4))
    for _ in range(children):
        oldest = 5 if story == "early years" else 17
        born = _born(dice, 0, min(oldest, max(adult.age - 18, 0)))
        child = one(dice.choice(("male", "female")), born, adult.number)
        yield child
        if dice.random() < 0.014:  # twins: same day, same surname, same address
            yield one(dice.choice(("male", "female")), born, adult.number)


def _born(dice: Random, youngest: int, oldest: int) -> date:
    days = dice.randrange(youngest * 365, oldest * 365 + 330) + 20
    return TODAY - timedelta(days=days)


def _address(dice: Random, area: str, town: str, household: int, *, fixed: bool) -> Address:
    if not fixed:
        return Address("No fixed abode", town, "ZZ99 3VZ", "", fixed=False)
    letters = f"{dice.choice(NEVER_ISSUED)}{dice.choice(NEVER_ISSUED)}"
    postcode = f"{area}{dice.randrange(1, 20)} {dice.randrange(1, 9)}{letters}"
    line = (
        f"{dice.randrange(1, 180)} {dice.choice(STREETS)} {dice.choice(('Street', 'Road', 'Lane'))}"
    )
    return Address(line, town, postcode, f"9999{household:08d}")
