"""PURE. Who lives with whom. Each kind of row in households.csv is one function that fills one household.

Traps for a matcher are made on purpose and where life makes them: a father and son of one name, cousins
named after one grandfather in one house, twins called Hassan and Hussain, children of a second marriage
under three surnames, forty residents behind one door, a plot beside a plot with the same two surnames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date, timedelta
from functools import lru_cache
from random import Random

from benchmarks.identity.second.kin import (
    YEAR,
    Household,
    a_sex,
    adult,
    children,
    couple,
    from_birth,
    reached,
    some_day,
    weds,
)
from benchmarks.identity.second.life import TODAY, Home, Life, Name
from benchmarks.identity.second.places import NOWHERE, house, institution, room
from benchmarks.identity.second.rows import table
from benchmarks.identity.second.traditions import (
    Line,
    a_line,
    a_tradition,
    child,
    given,
)

ADOPTED = 0.6


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


def _alone(made: Household) -> None:
    dice = made.dice
    life = adult(
        made, a_line(a_tradition(dice), dice), a_sex(dice), some_day(dice, 19, 96), house(dice)
    )
    if life.sex == "female" and life.age > 25 and dice.random() < 0.5:
        weds(made, life, a_line(life.tradition, dice), ends=0.6)


def _couple(made: Household) -> None:
    couple(made, house(made.dice), 22, 88)


def _family(made: Household) -> None:
    line, wife, husband = couple(made, house(made.dice), 24, 56)
    children(made, line, wife, husband.names[0][1])


def _lone_parent(made: Household) -> None:
    dice = made.dice
    mother = adult(
        made, a_line(a_tradition(dice), dice), "female", some_day(dice, 20, 50), house(dice)
    )
    absent = a_line(mother.tradition if dice.random() < 0.8 else a_tradition(dice), dice)
    mother = weds(made, mother, absent, ends=0.6) if dice.random() < 0.5 else mother
    own = Line(mother.tradition, mother.names[0][1].family, absent.father, absent.grandfather)
    children(made, absent if dice.random() < 0.6 else own, mother, None)


def _grandparents_too(made: Household) -> None:
    dice = made.dice
    line, wife, husband = couple(made, house(dice), 26, 50)
    children(made, line, wife, husband.names[0][1])
    born = husband.born - timedelta(days=round(dice.uniform(21, 34) * YEAR))
    same = husband.names[0][1].given[0] if dice.random() < 0.12 else ""
    name = child(line, "male", born, dice, (), same or line.father)
    made.add(line, "male", born, name, husband.homes)
    if dice.random() < 0.6:
        weds(
            made,
            adult(made, a_line(line.tradition, dice), "female", born, husband.homes[-1][1]),
            line,
        )


def _step_family(made: Household) -> None:
    """Her children of before take his name at some offices and for some years."""
    dice = made.dice
    line, mother, husband = couple(made, house(dice), 27, 50)
    before = a_line(mother.tradition, dice)
    for one in children(made, before, mother, None):
        if dice.random() < 0.5 and one.age > 3:
            since = one.born + timedelta(days=round(dice.uniform(1, max(2, one.age - 1)) * YEAR))
            name = Name(one.names[0][1].given, line.surname or one.names[0][1].family)
            made.change(one, names=(*one.names, (since, name)), slices=frozenset({"step child"}))
    if dice.random() < 0.6:
        children(
            made,
            line,
            mother,
            husband.names[0][1],
            named=tuple(x.names[0][1].given[0] for x in made.lives),
        )


def _cousins(made: Household) -> None:
    """Two brothers' families in one house; a child of each is named after the same grandfather."""
    dice = made.dice
    home = house(dice)
    line, wife, husband = couple(made, home, 26, 45)
    first = children(made, line, wife, husband.names[0][1])
    born = some_day(dice, 26, 45)
    brother = adult(made, line, "male", born, home)
    other = adult(made, a_line(line.tradition, dice), "female", born, home)
    second = children(made, line, other, brother.names[0][1])
    if first and second and dice.random() < 0.5:
        one, two = first[0], second[0]
        if one.sex == two.sex and not (one.birth or two.birth):
            given_names = (one.names[0][1].given[0], *two.names[0][1].given[1:])
            made.change(
                two,
                names=((two.born, replace(two.names[0][1], given=given_names)),),
                slices=frozenset({"cousin"}),
            )


def _father_and_son(made: Household) -> None:
    dice = made.dice
    home = house(dice)
    line = a_line(a_tradition(dice), dice)
    father = adult(made, line, "male", some_day(dice, 44, 78), home)
    born = father.born + timedelta(days=round(dice.uniform(19, 40) * YEAR))
    name = father.names[0][1]
    if dice.random() < 0.4 and len(name.given) > 1:
        name = replace(name, given=(name.given[0], given(line.tradition, "male", born.year, dice)))
    if born < TODAY:
        son = made.add(line, "male", born, name, from_birth(father.homes, born))
        made.change(son, slices=frozenset({"father and son"}), kin=(father.nhs,))


def _foster(made: Household) -> None:
    """Carers, and children who come from elsewhere; some are adopted and begin a sealed life."""
    dice = made.dice
    home = house(dice)
    couple(made, home, 35, 62)
    line = a_line(a_tradition(dice), dice)
    mother = Household(made.seed, 10**7 + made.serial, dice)
    parent = adult(mother, line, "female", some_day(dice, 22, 42), house(dice, home.council))
    born_here = children(made, line, parent, None, "looked_after")
    for child_ in born_here:
        placed = child_.born + timedelta(days=round(dice.uniform(0.1, max(0.2, child_.age)) * YEAR))
        homes = tuple(row for row in child_.homes if row[0] < placed) or child_.homes[:1]
        homes = (*homes, (placed, house(dice, home.council)), (placed + timedelta(days=400), home))
        one = made.change(child_, homes=homes, mobile="", email="")
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
    parent = reached(
        dice,
        Name((given(line.tradition, "female", 1985, dice),), line.surname),
        date(1985, 6, 1),
        40,
    )
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
        second,
        born=one.born,
        names=((one.born, name),),
        mobile=one.mobile,
        since=day,
        slices=frozenset({"sealed"}),
    )
    made.change(one, until=day, seal=f"GRA {second.person}", slices=frozenset({"sealed"}))


def _strangers(
    made: Household, home: Home, many: int, ages: tuple[float, float], way: str, male: float
) -> None:
    """People who share a door and nothing else."""
    dice = made.dice
    for number in range(1, many + 1):
        line = a_line(_newcomer(dice) if way == "asylum" else a_tradition(dice), dice)
        life = adult(made, line, a_sex(dice, male), some_day(dice, *ages), room(home, number), way)
        if life.sex == "female" and life.age > 30 and dice.random() < 0.6:
            weds(made, life, a_line(line.tradition, dice))


def _newcomer(dice: Random) -> str:
    return dice.choice(
        ("afghan", "eritrean", "somali", "kurdish", "arab", "arab", "slavic", "pakistani")
    )


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
            made.change(
                life,
                homes=(
                    *life.homes,
                    (TODAY - timedelta(days=made.dice.randint(20, 900)), NOWHERE[0]),
                ),
            )


def _asylum_hotel(made: Household) -> None:
    home = institution("hotel", made.dice)
    _strangers(made, home, made.dice.randint(50, 110), (17, 50), "asylum", 0.75)
    for life in list(made.lives):
        came = TODAY - timedelta(days=made.dice.randint(30, 1_200))
        made.change(life, homes=((life.born, home), (came, life.homes[-1][1])), since=came)


def _single(made: Household, men: float, youngest: int, oldest: int) -> Life:
    """One grown-up of any tradition, a man with this likelihood, who had a house at first."""
    dice = made.dice
    line, sex = a_line(a_tradition(dice), dice), a_sex(dice, men)
    return adult(made, line, sex, some_day(dice, youngest, oldest), house(dice))


def _custody(made: Household) -> None:
    dice = made.dice
    life = _single(made, 0.93, 18, 62)
    prison = _prisons(made.seed)[dice.randrange(6)]
    made.change(
        life,
        way="custody",
        homes=(*life.homes, (TODAY - timedelta(days=dice.randint(30, 2_000)), prison)),
    )


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
        father = adult(made, line, "male", some_day(dice, 19, 66), home, "site")
        mother = adult(made, dice.choice(lines), "female", father.born, home, "site")
        mother = weds(made, mother, line)
        children(made, line, mother, father.names[0][1], "site")


def _street(made: Household) -> None:
    """Nobody's household: a year holds more addresses than a life elsewhere."""
    dice = made.dice
    life = _single(made, 0.83, 18, 68)
    days = sorted(TODAY - timedelta(days=dice.randint(1, 1_800)) for _ in range(dice.randint(3, 9)))
    homes = [(day, dice.choice(NOWHERE) if dice.random() < 0.7 else house(dice)) for day in days]
    mobile = life.mobile if dice.random() < 0.5 else ""
    made.change(life, way="street", homes=(*life.homes[:1], *homes), mobile=mobile, email="")


def _refuge(made: Household) -> None:
    dice = made.dice
    line, mother, husband = couple(made, house(dice), 22, 46)
    children(made, line, mother, husband.names[0][1])
    home = institution("refuge", dice)
    fled = TODAY - timedelta(days=dice.randint(10, 700))
    for life in list(made.lives):
        if life.person != husband.person:
            made.change(
                life, way="victim", homes=(*(h for h in life.homes if h[0] < fled), (fled, home))
            )


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
