"""PURE. How each tradition names its children, and what marriage does to a name.

A `Line` is what a household hands on: the surname as its men bear it and the names of the men before. The
forms are those of the column `form` in traditions.csv; a form is one function that names one child.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from random import Random

from benchmarks.identity.second.life import Name
from benchmarks.identity.second.rows import common_first, parted, short_names, table


@dataclass(frozen=True, slots=True)
class Tradition:
    """One row of traditions.csv; shares are between 0 and 1."""

    tradition: str
    group: str
    share: float
    form: str
    respell: float
    reorder: float
    first_of_january: float
    marries: float
    second_called: float
    large: float


@dataclass(frozen=True, slots=True)
class Line:
    """What a family hands on."""

    tradition: str
    surname: str
    father: str
    grandfather: str


@lru_cache(maxsize=1)
def traditions() -> Mapping[str, Tradition]:
    """By their own name, in the order of the table."""
    words = {"tradition", "group", "form"}
    return {
        row["tradition"]: Tradition(**{k: v if k in words else float(v) for k, v in row.items()})  # type: ignore[arg-type]
        for row in table("traditions")
    }


def a_tradition(dice: Random) -> str:
    """One of them, by its share."""
    found = traditions()
    return dice.choices(list(found), weights=[t.share for t in found.values()])[0]


def a_line(tradition: str, dice: Random) -> Line:
    """A family of this tradition."""
    return Line(
        tradition,
        _surname(tradition, dice),
        given(tradition, "male", 1955, dice),
        given(tradition, "male", 1930, dice),
    )


def given(tradition: str, sex: str, year: int, dice: Random) -> str:
    """One given name, as fashion had it in that year."""
    era = "old" if year < 1960 else "mid" if year < 1991 else "new"
    lists = _given()
    names = lists.get((tradition, sex, era)) or lists[tradition, sex, "any"]
    return common_first(names, dice, 0.7)


def child(
    line: Line, sex: str, born: date, dice: Random, avoid: Collection[str] = (), first: str = ""
) -> Name:
    """The name of one child; `avoid` is what its siblings are called, `first` whom it is called after."""
    while not first:
        found = given(line.tradition, sex, born.year, dice)
        first = "" if found in avoid else found
    return FORMS[traditions()[line.tradition].form](line, sex, first, born, dice)


def after(line: Line, father: Name) -> Line:
    """What a father hands on."""
    return Line(line.tradition, line.surname, father.given[0], line.father)


def married(name: Name, husband: Line, dice: Random) -> Name:
    """A wife's name from the wedding on."""
    tradition = traditions()[husband.tradition]
    surname = _gendered(tradition.form, husband.surname, "female", True)
    if tradition.form == "gujarati":
        return Name((name.given[0], husband.father), surname)
    if tradition.form == "sikh" and name.family == "Kaur":
        return (
            Name(name.given, name.family)
            if dice.random() < 0.6
            else Name((*name.given, "Kaur"), surname)
        )
    if dice.random() < 0.06:
        return Name(name.given, f"{name.family}-{surname}")
    return Name(name.given, surname)


def called(tradition: str, sex: str, name: Name, dice: Random) -> str:
    """What people call somebody: often just the first name (empty), else a short one or the second."""
    habits = traditions()[tradition]
    if len(name.given) > 1 and dice.random() < habits.second_called:
        return name.given[1]
    if habits.form == "chinese" and dice.random() < habits.second_called:
        return dice.choice(
            next(parted(r["names"]) for r in table("western_names") if r["sex"] == sex)
        )
    shorter = short_names().get(name.given[0])
    return dice.choice(shorter) if shorter and dice.random() < 0.5 else ""


@lru_cache(maxsize=1)
def _given() -> Mapping[tuple[str, str, str], tuple[str, ...]]:
    return {
        (row["tradition"], row["sex"], row["era"]): parted(row["names"]) for row in table("given")
    }


@lru_cache(maxsize=1)
def _surnames() -> Mapping[str, tuple[str, ...]]:
    return {row["tradition"]: parted(row["names"]) for row in table("surnames")}


def _surname(tradition: str, dice: Random) -> str:
    if tradition == "english" and dice.random() < 0.4:
        (parts,) = table("surname_parts")
        return dice.choice(parted(parts["first"])) + dice.choice(parted(parts["second"]))
    slope = 1.0 if tradition in ("traveller", "bangladeshi", "vietnamese") else 0.7
    names = _surnames().get(tradition)
    return common_first(names, dice, slope) if names else ""


def _gendered(form: str, surname: str, sex: str, wife: bool = False) -> str:
    if sex == "male":
        return surname
    if form == "polish" and surname.endswith(("ski", "cki", "dzki")):
        return surname[:-1] + "a"
    if form == "czech" and not surname.endswith("a"):
        return surname[:-1] + "á" if surname.endswith("ý") else surname + "ová"
    if form == "slavic" and surname.endswith(("ov", "ev")):
        return surname + "a"
    if form == "lithuanian":
        stem = surname.removesuffix("as").removesuffix("us").removesuffix("is")
        return stem + ("ienė" if wife else "aitė")
    return surname


def _western(line: Line, sex: str, first: str, born: date, dice: Random) -> Name:
    middle = given(line.tradition, sex, born.year - 40, dice)
    names = (first, middle) if dice.random() < 0.6 and middle != first else (first,)
    if dice.random() < 0.08:
        names = (*names, given(line.tradition, sex, born.year - 60, dice))
    form = traditions()[line.tradition].form
    return Name(tuple(dict.fromkeys(names)), _gendered(form, line.surname, sex))


def _pakistani(line: Line, sex: str, first: str, _born: date, dice: Random) -> Name:
    """Men are often called by the second of two names; women seldom share a surname with anybody."""
    if sex == "female":
        tail = dice.choices(
            ("Bibi", "Begum", "Kausar", "Akhtar", line.father, line.surname), (20, 18, 6, 8, 15, 33)
        )[0]
        return Name((first,), tail)
    if dice.random() < 0.4:
        first_of_two = dice.choices(("Mohammed", "Muhammad", "Syed", "Abdul"), (60, 25, 5, 10))[0]
        return Name((first_of_two, first), line.surname if dice.random() < 0.75 else line.father)
    return Name((first,), line.surname if dice.random() < 0.75 else line.father)


def _bangladeshi(line: Line, sex: str, first: str, _born: date, dice: Random) -> Name:
    if sex == "female":
        return Name(
            (first,),
            dice.choices(("Begum", "Khatun", "Khanom", "Akter", line.surname), (45, 15, 8, 12, 20))[
                0
            ],
        )
    if first == "Abdul":
        first = "Abdul " + dice.choice(("Karim", "Malik", "Hannan", "Jalil", "Mukit", "Salam"))
    if dice.random() < 0.45:
        return Name(("Mohammed", first), line.surname)
    return Name((first,), line.surname)


def _sikh(line: Line, sex: str, first: str, _born: date, dice: Random) -> Name:
    title = "Singh" if sex == "male" else "Kaur"
    return Name((first,), title) if dice.random() < 0.4 else Name((first, title), line.surname)


def _gujarati(line: Line, _sex: str, first: str, _born: date, dice: Random) -> Name:
    return (
        Name((first, line.father), line.surname)
        if dice.random() < 0.75
        else Name((first,), line.surname)
    )


def _tamil(line: Line, _sex: str, first: str, _born: date, _dice: Random) -> Name:
    return Name((first,), line.father)


def _patronymic(line: Line, _sex: str, first: str, _born: date, dice: Random) -> Name:
    """Own name, father's, grandfather's; nobody has a surname."""
    return (
        Name((first, line.father), line.grandfather)
        if dice.random() < 0.8
        else Name((first,), line.father)
    )


def _arab(line: Line, sex: str, first: str, _born: date, dice: Random) -> Name:
    if dice.random() < 0.12:
        link = "bin" if sex == "male" else "bint"
        return Name((first, link, line.father), line.surname)
    if dice.random() < 0.25:
        return Name((first, line.father), line.grandfather)
    return (
        Name((first, line.father), line.surname)
        if dice.random() < 0.7
        else Name((first,), line.surname)
    )


def _afghan(line: Line, sex: str, first: str, born: date, dice: Random) -> Name:
    """One name is enough; papers add a tribe, a second name, or nothing."""
    if dice.random() < 0.35:
        return Name((first,), "")
    second = given("afghan", sex, born.year, dice)
    return Name((first,), second if dice.random() < 0.5 and second != first else line.surname)


def _nigerian(line: Line, sex: str, first: str, born: date, dice: Random) -> Name:
    second = given(line.tradition, sex, born.year, dice)
    return Name((first, second) if second != first else (first,), line.surname)


def _vietnamese(line: Line, sex: str, first: str, _born: date, dice: Random) -> Name:
    return Name(
        ("Thi" if sex == "female" else "Van", first) if dice.random() < 0.7 else (first,),
        line.surname,
    )


def _one(line: Line, _sex: str, first: str, _born: date, _dice: Random) -> Name:
    return Name((first,), line.surname)


def _iberian(line: Line, _sex: str, first: str, _born: date, dice: Random) -> Name:
    other = _surname("iberian", dice)
    return Name((first,), f"{other} {line.surname}" if dice.random() < 0.75 else line.surname)


Form = Callable[[Line, str, str, date, Random], Name]
FORMS: Mapping[str, Form] = {
    "western": _western,
    "polish": _western,
    "czech": _western,
    "slavic": _western,
    "lithuanian": _western,
    "pakistani": _pakistani,
    "bangladeshi": _bangladeshi,
    "sikh": _sikh,
    "gujarati": _gujarati,
    "tamil": _tamil,
    "patronymic": _patronymic,
    "arab": _arab,
    "afghan": _afghan,
    "nigerian": _nigerian,
    "chinese": _one,
    "vietnamese": _vietnamese,
    "iberian": _iberian,
}
