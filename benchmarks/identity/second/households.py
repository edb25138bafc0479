"""PURE. Who lives with whom. Each kind of row in households.csv is one function that fills one household.

Traps for a matcher are made on purpose and where life makes them: a father and son of one name, cousins
named after one grandfather in one house, twins called Hassan and Hussain, children of a second marriage
under three surnames, forty residents behind one door, a plot beside a plot with the same two surnames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import lru_cache
from random import Random

from benchmarks.identity.second import numbers
from benchmarks.identity.second.life import TODAY, Home, Life, Name, age_on
from benchmarks.identity.second.places import NOWHERE, house, institution, room
from benchmarks.identity.second.rows import table
from benchmarks.identity.second.slips import plain
from benchmarks.identity.second.traditions import (
    Line,
    a_line,
    a_tradition,
    after,
    called,
    child,
    given,
    married,
    traditions,
)

YEAR = 365.25
ADOPTED = 0.6
HEIRS: Mapping[str, float] = {"traveller": 0.35, "romani": 0.25, "english": 0.02, "irish": 0.05, "polish": 0.03}


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
        mobile, email = _reached(dice, name, born, age)
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


def households(seed: int) -> Iterator[tuple[Life, ...]]:
    """Households without end, each from its own dice."""
    kinds = [row["kind"] for row in table("households")]
    weights = [float(row["share"]) for row in table("households")]
    serial = number = 0
    while True:
        dice = Random(f"{seed}/household/{number}")
        made = Household(seed, serial, dice)
        KINDS[dice.choices(kinds, weights)[0]](made)
        serial += len(made.lives)
        number += 1
        yield tuple(made.lives)


def _reached(dice: Random, name: Name, born: date, age: int) -> tuple[str, str]:
    mobile = f"07700900{dice.randrange(1_000):03d}" if age >= 11 else ""
    words = [w for w in (name.given[0], name.family) if w]
    local = ".".join("".join(c for c in plain(w).lower() if c.isascii() and c.isalpha()) for w in words)
    email = f"{local}{dice.choice(('', born.year % 100))}{dice.randrange(100)}@example.{dice.choice(('org', 'net', 'com'))}"
    return mobile, email if 12 <= age < 85 else ""


def _day(dice: Random, youngest: float, oldest: float) -> date:
    """A birthday of somebody between these ages."""
    return TODAY - timedelta(days=round(dice.uniform(youngest, oldest + 0.99) * YEAR) + 1)


def _ago(dice: Random, mean: float) -> date:
    return TODAY - timedelta(days=round(dice.expovariate(1 / mean) * YEAR) + 1)


def _moves(dice: Random, born: date, last: Home, mean: float = 8.0) -> tuple[tuple[date, Home], ...]:
    """A life's homes that ends in this one: most moved near, and more than once."""
    since, found = _ago(dice, mean), [last]
    days = [since]
    while since > born and len(found) < 5:
        found.append(house(dice, last.council))
        since -= timedelta(days=round(dice.expovariate(1 / mean) * YEAR) + 60)
        days.append(since)
    return tuple(zip(reversed(days), reversed(found), strict=True))


def _adult(made: Household, line: Line, sex: str, born: date, home: Home, way: str = "general") -> Life:
    name = child(line, sex, born, made.dice)
    return made.add(line, sex, born, name, _moves(made.dice, born, home), way)


def _sex(dice: Random, male: float = 0.5) -> str:
    return "male" if dice.random() < male else "female"


def _alone(made: Household) -> None:
    dice = made.dice
    life = _adult(made, a_line(a_tradition(dice), dice), _sex(dice), _day(dice, 19, 96), house(dice))
    if life.sex == "female" and life.age > 25 and dice.random() < 0.5:
        _weds(made, life, a_line(life.tradition, dice), ends=0.6)


def _weds(made: Household, wife: Life, husband: Line, ends: float = 0.12) -> Life:
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
            names.append((names[-1][0] + timedelta(days=900), married(wife.names[0][1], other, dice)))
    return made.change(wife, names=tuple(n for n in names if n[0] < TODAY))


def _two(made: Household, home: Home, youngest: float, oldest: float, way: str = "general") -> tuple[Line, Life, Life]:
    """A couple: the line that he hands on, she, he."""
    dice = made.dice
    line = a_line(a_tradition(dice), dice)
    his = _day(dice, youngest, oldest)
    hers = his + timedelta(days=round(dice.gauss(2, 3) * YEAR))
    hers = min(hers, TODAY - timedelta(days=round(18 * YEAR)))
    husband = _adult(made, line, "male", his, home, way)
    own = a_line(line.tradition if dice.random() < 0.88 else a_tradition(dice), dice)
    wife = _weds(made, _adult(made, own, "female", hers, home, way), line)
    if dice.random() < 0.08:
        wife = made.change(wife, email=husband.email)
    return line, wife, husband


def _couple(made: Household) -> None:
    _two(made, house(made.dice), 22, 88)


def _children(
    made: Household, line: Line, mother: Life, father: Name | None, way: str = "general", named: tuple[str, ...] = ()
) -> list[Life]:
    """Children from her twenties on, ten months to five years apart; some together."""
    dice = made.dice
    large = dice.random() < traditions()[line.tradition].large
    wanted = dice.randint(3, 8) if large else dice.choices((1, 2, 3, 4), (33, 42, 18, 7))[0]
    hands_on = after(line, father) if father else line
    born = mother.born + timedelta(days=round(dice.uniform(19, 36) * YEAR))
    homes, found, used = mother.homes, [], list(named)
    while len(found) < wanted and born < TODAY:
        sex = _sex(dice, 0.51)
        heir = father is not None and sex == "male" and dice.random() < HEIRS.get(line.tradition, 0.005)
        name = child(hands_on, sex, born, dice, used, father.given[0] if heir and father else "")
        if age_on(born, TODAY) < 24:
            one = made.add(line, sex, born, name, _from(homes, born), way, mother)
            found.append(one)
            used.append(name.given[0])
            if dice.random() < 0.016:
                found.append(_twin(made, hands_on, one, mother, used, way))
        else:
            wanted -= 1
        born += timedelta(days=round((dice.uniform(10 / 12, 1.5) if large else dice.uniform(1.1, 5)) * YEAR))
    persons = {one.person for one in found}
    return [life for life in made.lives if life.person in persons]


def _from(homes: tuple[tuple[date, Home], ...], born: date) -> tuple[tuple[date, Home], ...]:
    """The homes from birth on."""
    later = tuple(row for row in homes if row[0] > born)
    before = [home for since, home in homes if since <= born]
    return ((born, before[-1] if before else homes[0][1]), *later)


def _twin(made: Household, line: Line, one: Life, mother: Life, used: list[str], way: str) -> Life:
    """Born with another: like names now and then, the next NHS number mostly."""
    dice = made.dice
    sex = one.sex if dice.random() < 0.65 else _sex(dice)
    born, name = one.born, child(line, sex, one.born, dice, used)
    if sex == one.sex and dice.random() < 0.2:
        pairs = [row for row in table("twin_names") if row["sex"] == sex]
        pair = dice.choice(pairs)
        one = made.change(one, names=((born, replace(one.names[0][1], given=tuple(pair["first"].split()))),))
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


def _family(made: Household) -> None:
    line, wife, husband = _two(made, house(made.dice), 24, 56)
    _children(made, line, wife, husband.names[0][1])


def _lone_parent(made: Household) -> None:
    dice = made.dice
    mother = _adult(made, a_line(a_tradition(dice), dice), "female", _day(dice, 20, 50), house(dice))
    absent = a_line(mother.tradition if dice.random() < 0.8 else a_tradition(dice), dice)
    mother = _weds(made, mother, absent, ends=0.6) if dice.random() < 0.5 else mother
    own = Line(mother.tradition, mother.names[0][1].family, absent.father, absent.grandfather)
    _children(made, absent if dice.random() < 0.6 else own, mother, None)


def _grandparents_too(made: Household) -> None:
    dice = made.dice
    line, wife, husband = _two(made, house(dice), 26, 50)
    _children(made, line, wife, husband.names[0][1])
    born = husband.born - timedelta(days=round(dice.uniform(21, 34) * YEAR))
    same = husband.names[0][1].given[0] if dice.random() < 0.12 else ""
    name = child(line, "male", born, dice, (), same or line.father)
    made.add(line, "male", born, name, husband.homes)
    if dice.random() < 0.6:
        _weds(made, _adult(made, a_line(line.tradition, dice), "female", born, husband.homes[-1][1]), line)


def _step_family(made: Household) -> None:
    """Her children of before take his name at some offices and for some years."""
    dice = made.dice
    line, mother, husband = _two(made, house(dice), 27, 50)
    before = a_line(mother.tradition, dice)
    for one in _children(made, before, mother, None):
        if dice.random() < 0.5 and one.age > 3:
            since = one.born + timedelta(days=round(dice.uniform(1, max(2, one.age - 1)) * YEAR))
            name = Name(one.names[0][1].given, line.surname or one.names[0][1].family)
            made.change(one, names=(*one.names, (since, name)), slices=frozenset({"step child"}))
    if dice.random() < 0.6:
        _children(made, line, mother, husband.names[0][1], named=tuple(x.names[0][1].given[0] for x in made.lives))


def _cousins(made: Household) -> None:
    """Two brothers' families in one house; a child of each is named after the same grandfather."""
    dice = made.dice
    home = house(dice)
    line, wife, husband = _two(made, home, 26, 45)
    first = _children(made, line, wife, husband.names[0][1])
    born = _day(dice, 26, 45)
    brother = _adult(made, line, "male", born, home)
    other = _adult(made, a_line(line.tradition, dice), "female", born, home)
    second = _children(made, line, other, brother.names[0][1])
    if first and second and dice.random() < 0.5:
        one, two = first[0], second[0]
        if one.sex == two.sex and not (one.birth or two.birth):
            given_names = (one.names[0][1].given[0], *two.names[0][1].given[1:])
            made.change(two, names=((two.born, replace(two.names[0][1], given=given_names)),), slices=frozenset({"cousin"}))


def _father_and_son(made: Household) -> None:
    dice = made.dice
    home = house(dice)
    line = a_line(a_tradition(dice), dice)
    father = _adult(made, line, "male", _day(dice, 44, 78), home)
    born = father.born + timedelta(days=round(dice.uniform(19, 40) * YEAR))
    name = father.names[0][1]
    if dice.random() < 0.4 and len(name.given) > 1:
        name = replace(name, given=(name.given[0], given(line.tradition, "male", born.year, dice)))
    if born < TODAY:
        son = made.add(line, "male", born, name, _from(father.homes, born))
        made.change(son, slices=frozenset({"father and son"}), kin=(father.nhs,))


def _foster(made: Household) -> None:
    """Carers, and children who come from elsewhere; some are adopted and begin a sealed life."""
    dice = made.dice
    home = house(dice)
    _two(made, home, 35, 62)
    line = a_line(a_tradition(dice), dice)
    mother = Household(made.seed, 10**7 + made.serial, dice)
    parent = _adult(mother, line, "female", _day(dice, 22, 42), house(dice, home.council))
    children = _children(made, line, parent, None, "looked_after")
    for one in children:
        placed = one.born + timedelta(days=round(dice.uniform(0.1, max(0.2, one.age)) * YEAR))
        homes = tuple(row for row in one.homes if row[0] < placed) or one.homes[:1]
        homes = (*homes, (placed, house(dice, home.council)), (placed + timedelta(days=400), home))
        one = made.change(one, homes=homes, mobile="", email="")
        if one.age < 13 and dice.random() < ADOPTED:
            _adopted(made, one)


def _adopted(made: Household, one: Life) -> None:
    """A second life from the adoption on, with its own number; that both are one child is sealed."""
    dice = made.dice
    day = one.born + timedelta(days=round(dice.uniform(0.6, max(0.8, one.age)) * YEAR))
    day = min(day, TODAY - timedelta(days=60))
    line = a_line(one.tradition if dice.random() < 0.7 else a_tradition(dice), dice)
    old = one.names[0][1].given
    new = given(line.tradition, one.sex, one.born.year, dice)
    chosen = dice.choices((old, (new, *old[:1]), (new,)), (60, 15, 25))[0]
    home = house(dice, one.homes[0][1].council if dice.random() < 0.5 else "")
    parent = _reached(dice, Name((given(line.tradition, "female", 1985, dice),), line.surname), date(1985, 6, 1), 40)
    second = made.add(line, one.sex, one.born, Name(chosen, line.surname), ((one.born, home),))
    made.change(
        second, born=one.born, names=((one.born, Name(chosen, line.surname)),), mobile=parent[0], email=parent[1],
        since=day, slices=frozenset({"sealed", "after adoption"}),
    )  # fmt: skip
    made.change(one, until=day, seal=f"ADOPTION {second.person}", slices=frozenset({"sealed"}))


def _recognised(made: Household) -> None:
    """One adult whose earlier life in another gender is sealed by law."""
    _alone(made)
    dice, one = made.dice, made.lives[0]
    day = TODAY - timedelta(days=round(dice.uniform(0.5, 6) * YEAR))
    sex = "female" if one.sex == "male" else "male"
    name = Name((given(one.tradition, sex, one.born.year, dice),), one.named(TODAY).family)
    line = Line(one.tradition, name.family, "", "")
    second = made.add(line, sex, one.born, name, one.homes)
    made.change(
        second, born=one.born, names=((one.born, name),), mobile=one.mobile, since=day, slices=frozenset({"sealed"})
    )
    made.change(one, until=day, seal=f"GRA {second.person}", slices=frozenset({"sealed"}))


def _strangers(made: Household, home: Home, many: int, ages: tuple[float, float], way: str, male: float) -> None:
    """People who share a door and nothing else."""
    dice = made.dice
    for number in range(1, many + 1):
        line = a_line(_newcomer(dice) if way == "asylum" else a_tradition(dice), dice)
        life = _adult(made, line, _sex(dice, male), _day(dice, *ages), room(home, number), way)
        if life.sex == "female" and life.age > 30 and dice.random() < 0.6:
            _weds(made, life, a_line(line.tradition, dice))


def _newcomer(dice: Random) -> str:
    return dice.choice(("afghan", "eritrean", "somali", "kurdish", "arab", "arab", "slavic", "pakistani"))


def _shared_house(made: Household) -> None:
    _strangers(made, house(made.dice), made.dice.randint(3, 6), (20, 48), "general", 0.6)


def _student_house(made: Household) -> None:
    _strangers(made, house(made.dice), made.dice.randint(4, 7), (18, 23), "student", 0.5)


def _care_home(made: Household) -> None:
    home = institution("care", made.dice)
    _strangers(made, home, made.dice.randint(25, 45), (70, 101), "care", 0.3)


def _hostel(made: Household) -> None:
    home = institution("hostel", made.dice)
    _strangers(made, home, made.dice.randint(20, 60), (18, 66), "hostel", 0.8)
    for life in list(made.lives):
        if made.dice.random() < 0.5:
            made.change(life, homes=(*life.homes, (TODAY - timedelta(days=made.dice.randint(20, 900)), NOWHERE[0])))


def _asylum_hotel(made: Household) -> None:
    home = institution("hotel", made.dice)
    _strangers(made, home, made.dice.randint(50, 110), (17, 50), "asylum", 0.75)
    for life in list(made.lives):
        came = TODAY - timedelta(days=made.dice.randint(30, 1_200))
        made.change(life, homes=((life.born, home), (came, life.homes[-1][1])), since=came)


def _custody(made: Household) -> None:
    dice = made.dice
    life = _adult(made, a_line(a_tradition(dice), dice), _sex(dice, 0.93), _day(dice, 18, 62), house(dice))
    prison = _prisons(made.seed)[dice.randrange(6)]
    made.change(life, way="custody", homes=(*life.homes, (TODAY - timedelta(days=dice.randint(30, 2_000)), prison)))


@lru_cache(maxsize=8)
def _prisons(seed: int) -> tuple[Home, ...]:
    dice = Random(f"{seed}/prisons")
    return tuple(institution("custody", dice) for _ in range(6))


def _site(made: Household) -> None:
    """Families of one or two surnames, plot by plot; names come back in every generation."""
    dice = made.dice
    place = institution("site", dice)
    lines = [a_line("traveller" if dice.random() < 0.7 else "romani", dice) for _ in range(2)]
    for plot in range(1, dice.randint(5, 11)):
        line, home = dice.choice(lines), room(place, plot)
        father = _adult(made, line, "male", _day(dice, 19, 66), home, "site")
        mother = _adult(made, dice.choice(lines), "female", father.born, home, "site")
        mother = _weds(made, mother, line)
        _children(made, line, mother, father.names[0][1], "site")


def _street(made: Household) -> None:
    """Nobody's household: a year holds more addresses than a life elsewhere."""
    dice = made.dice
    life = _adult(made, a_line(a_tradition(dice), dice), _sex(dice, 0.83), _day(dice, 18, 68), house(dice))
    days = sorted(TODAY - timedelta(days=dice.randint(1, 1_800)) for _ in range(dice.randint(3, 9)))
    homes = [(day, dice.choice(NOWHERE) if dice.random() < 0.7 else house(dice)) for day in days]
    mobile = life.mobile if dice.random() < 0.5 else ""
    made.change(life, way="street", homes=(*life.homes[:1], *homes), mobile=mobile, email="")


def _refuge(made: Household) -> None:
    dice = made.dice
    line, mother, husband = _two(made, house(dice), 22, 46)
    _children(made, line, mother, husband.names[0][1])
    home = institution("refuge", dice)
    fled = TODAY - timedelta(days=dice.randint(10, 700))
    for life in list(made.lives):
        if life.person != husband.person:
            made.change(life, way="victim", homes=(*(h for h in life.homes if h[0] < fled), (fled, home)))


KINDS: Mapping[str, Callable[[Household], None]] = {
    "alone": _alone,
    "couple": _couple,
    "family": _family,
    "lone parent": _lone_parent,
    "grandparents too": _grandparents_too,
    "step family": _step_family,
    "cousins": _cousins,
    "father and son": _father_and_son,
    "foster": _foster,
    "shared house": _shared_house,
    "student house": _student_house,
    "care home": _care_home,
    "hostel": _hostel,
    "custody": _custody,
    "asylum hotel": _asylum_hotel,
    "site": _site,
    "street": _street,
    "refuge": _refuge,
    "gender recognition": _recognised,
}
