"""PURE. How a household fills: a person, a couple, a wedding, children, twins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from random import Random

from benchmarks.identity.second import numbers
from benchmarks.identity.second.life import TODAY, Home, Life, Name, age_on
from benchmarks.identity.second.places import house
from benchmarks.identity.second.rows import table
from benchmarks.identity.second.slips import plain
from benchmarks.identity.second.traditions import (
    Line,
    a_line,
    a_tradition,
    after,
    called,
    child,
    married,
    traditions,
)

YEAR = 365.25
HEIRS: Mapping[str, float] = {
    "traveller": 0.35,
    "romani": 0.25,
    "english": 0.02,
    "irish": 0.05,
    "polish": 0.03,
}


@dataclass(slots=True)
class Household:
    """One household while it is being made."""

    seed: int
    serial: int
    dice: Random
    lives: list[Life] = field(default_factory=list)

    def add(
        self,
        line: Line,
        sex: str,
        born: date,
        name: Name,
        homes: tuple[tuple[date, Home], ...],
        way: str = "general",
        mother: Life | None = None,
    ) -> Life:
        """One more person; a child has the mother's telephone and e-mail address."""
        serial = self.serial + len(self.lives)
        dice, age = self.dice, age_on(born, TODAY)
        if dice.random() < traditions()[line.tradition].first_of_january and age >= 10:
            born = born.replace(month=1, day=1)
        mobile, email = reached(dice, name, born, age)
        if mother is not None and age < 14:
            mobile, email = mother.mobile, mother.email
        life = Life(
            person=f"second/{self.seed}/{serial}",
            tradition=line.tradition,
            sex=sex,
            born=born,
            names=((born, name),),
            homes=homes,
            way=way,
            called=called(line.tradition, sex, name, dice),
            mobile=mobile,
            email=email,
            nhs=numbers.nhs(serial),
            serial=serial,
            mother=mother.names[-1][1].text if mother else "",
            kin=(mother.nhs,) if mother and age < 2 else (),
        )
        self.lives.append(life)
        return life

    def change(self, life: Life, **what: object) -> Life:
        """The same person, with something more known; slices are added to."""
        at = next(n for n, held in enumerate(self.lives) if held.person == life.person)
        held = self.lives[at]
        if isinstance(more := what.get("slices"), frozenset):
            what["slices"] = held.slices | more
        self.lives[at] = replace(held, **what)  # type: ignore[arg-type]
        return self.lives[at]


def reached(dice: Random, name: Name, born: date, age: int) -> tuple[str, str]:
    mobile = f"07700900{dice.randrange(1_000):03d}" if age >= 11 else ""
    words = [w for w in (name.given[0], name.family) if w]
    local = ".".join(
        "".join(c for c in plain(w).lower() if c.isascii() and c.isalpha()) for w in words
    )
    email = f"{local}{dice.choice(('', born.year % 100))}{dice.randrange(100)}@example.{dice.choice(('org', 'net', 'com'))}"
    return mobile, email if 12 <= age < 85 else ""


def some_day(dice: Random, youngest: float, oldest: float) -> date:
    """A birthday of somebody between these ages."""
    return TODAY - timedelta(days=round(dice.uniform(youngest, oldest + 0.99) * YEAR) + 1)


def _ago(dice: Random, mean: float) -> date:
    return TODAY - timedelta(days=round(dice.expovariate(1 / mean) * YEAR) + 1)


def _moves(
    dice: Random, born: date, last: Home, mean: float = 8.0
) -> tuple[tuple[date, Home], ...]:
    """A life's homes that ends in this one: most moved near, and more than once."""
    since, found = _ago(dice, mean), [last]
    days = [since]
    while since > born and len(found) < 5:
        found.append(house(dice, last.council))
        since -= timedelta(days=round(dice.expovariate(1 / mean) * YEAR) + 60)
        days.append(since)
    return tuple(zip(reversed(days), reversed(found), strict=True))


def adult(
    made: Household, line: Line, sex: str, born: date, home: Home, way: str = "general"
) -> Life:
    name = child(line, sex, born, made.dice)
    return made.add(line, sex, born, name, _moves(made.dice, born, home), way)


def a_sex(dice: Random, male: float = 0.5) -> str:
    return "male" if dice.random() < male else "female"


def weds(made: Household, wife: Life, husband: Line, ends: float = 0.12) -> Life:
    """Her name from the wedding on, if her tradition changes it; some revert, some wed again."""
    dice = made.dice
    if dice.random() >= traditions()[wife.tradition].marries:
        return wife
    day = wife.born + timedelta(days=round(dice.uniform(19, min(38, max(20, wife.age))) * YEAR))
    names = [*wife.names, (day, married(wife.names[0][1], husband, dice))]
    if dice.random() < ends:
        names.append((day + timedelta(days=round(dice.uniform(2, 14) * YEAR)), wife.names[0][1]))
        if dice.random() < 0.4:
            other = a_line(husband.tradition, dice)
            names.append(
                (names[-1][0] + timedelta(days=900), married(wife.names[0][1], other, dice))
            )
    return made.change(wife, names=tuple(n for n in names if n[0] < TODAY))


def couple(
    made: Household, home: Home, youngest: float, oldest: float, way: str = "general"
) -> tuple[Line, Life, Life]:
    """A couple: the line that he hands on, she, he."""
    dice = made.dice
    line = a_line(a_tradition(dice), dice)
    his = some_day(dice, youngest, oldest)
    hers = his + timedelta(days=round(dice.gauss(2, 3) * YEAR))
    hers = min(hers, TODAY - timedelta(days=round(18 * YEAR)))
    husband = adult(made, line, "male", his, home, way)
    own = a_line(line.tradition if dice.random() < 0.88 else a_tradition(dice), dice)
    wife = weds(made, adult(made, own, "female", hers, home, way), line)
    if dice.random() < 0.08:
        wife = made.change(wife, email=husband.email)
    return line, wife, husband


def children(
    made: Household,
    line: Line,
    mother: Life,
    father: Name | None,
    way: str = "general",
    named: tuple[str, ...] = (),
) -> list[Life]:
    """Children from her twenties on, ten months to five years apart; some together."""
    dice = made.dice
    large = dice.random() < traditions()[line.tradition].large
    wanted = dice.randint(3, 8) if large else dice.choices((1, 2, 3, 4), (33, 42, 18, 7))[0]
    hands_on = after(line, father) if father else line
    born = mother.born + timedelta(days=round(dice.uniform(19, 36) * YEAR))
    homes, used = mother.homes, list(named)
    found: list[Life] = []
    while len(found) < wanted and born < TODAY:
        sex = a_sex(dice, 0.51)
        heir = (
            father is not None
            and sex == "male"
            and dice.random() < HEIRS.get(line.tradition, 0.005)
        )
        name = child(hands_on, sex, born, dice, used, father.given[0] if heir and father else "")
        if age_on(born, TODAY) < 24:
            one = made.add(line, sex, born, name, from_birth(homes, born), way, mother)
            found.append(one)
            used.append(name.given[0])
            if dice.random() < 0.016:
                found.append(_twin(made, hands_on, one, mother, used, way))
        else:
            wanted -= 1
        born += timedelta(
            days=round((dice.uniform(10 / 12, 1.5) if large else dice.uniform(1.1, 5)) * YEAR)
        )
    persons = {one.person for one in found}
    return [life for life in made.lives if life.person in persons]


def from_birth(homes: tuple[tuple[date, Home], ...], born: date) -> tuple[tuple[date, Home], ...]:
    """The homes from birth on."""
    later = tuple(row for row in homes if row[0] > born)
    before = [home for since, home in homes if since <= born]
    return ((born, before[-1] if before else homes[0][1]), *later)


def _twin(made: Household, line: Line, one: Life, mother: Life, used: list[str], way: str) -> Life:
    """Born with another: like names now and then, the next NHS number mostly."""
    dice = made.dice
    sex = one.sex if dice.random() < 0.65 else a_sex(dice)
    born, name = one.born, child(line, sex, one.born, dice, used)
    if sex == one.sex and dice.random() < 0.2:
        pairs = [row for row in table("twin_names") if row["sex"] == sex]
        pair = dice.choice(pairs)
        one = made.change(
            one, names=((born, replace(one.names[0][1], given=tuple(pair["first"].split()))),)
        )
        name = replace(name, given=tuple(pair["second"].split()), family=one.names[0][1].family)
    birth = f"birth:{one.person}"
    first = made.change(one, birth=birth, twin=1, slices=frozenset({birth, "twin"}))
    second = made.add(line, sex, born, name, one.homes, way, mother)
    number = numbers.nhs(one.serial, second=True) if dice.random() < 0.8 else second.nhs
    made.change(first, kin=(*first.kin, number))
    # A first of January of one is that of the other.
    return made.change(
        second, born=first.born, names=((first.born, name),), nhs=number, birth=birth, twin=2,
        kin=(*second.kin, first.nhs), slices=frozenset({birth, "twin"}),
    )  # fmt: skip
