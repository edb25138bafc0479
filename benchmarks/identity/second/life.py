"""PURE. A life as it was, before anybody wrote it down."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import date
from typing import TypeVar

T = TypeVar("T")
TODAY = date(2026, 1, 1)


@dataclass(frozen=True, slots=True)
class Name:
    """A name as its bearer would write it; `family` is empty where there is none."""

    given: tuple[str, ...]
    family: str

    @property
    def text(self) -> str:
        """In its own order, given first."""
        return " ".join((*self.given, self.family)).strip()


@dataclass(frozen=True, slots=True)
class Home:
    """Where somebody lives: `kind` is house, flat, hostel, care, custody, hotel, hall, site, refuge or none."""

    kind: str
    lines: tuple[str, ...]
    town: str
    postcode: str
    uprn: str
    council: str
    landline: str = ""


@dataclass(frozen=True, slots=True)
class Life:
    """One person. `names` and `homes` are ordered by the day from which they held, the first from birth on.

    `way` is what became of them (a column of offices.csv), `birth` what twins share, `twin` their place in
    it, `kin` the NHS numbers that a hurried clerk could take for this one's, `mother` the mother's name.
    Records of it were written between `since` and `until`. `seal` is the label of an identity that a sealed
    one replaced.
    """

    person: str
    tradition: str
    sex: str
    born: date
    names: tuple[tuple[date, Name], ...]
    homes: tuple[tuple[date, Home], ...]
    way: str = "general"
    called: str = ""
    mobile: str = ""
    email: str = ""
    nhs: str = ""
    serial: int = 0
    birth: str = ""
    twin: int = 0
    kin: tuple[str, ...] = ()
    mother: str = ""
    since: date | None = None
    until: date | None = None
    seal: str = ""
    slices: frozenset[str] = frozenset()

    @property
    def age(self) -> int:
        """In whole years, today."""
        return age_on(self.born, TODAY)

    def named(self, day: date) -> Name:
        """The legal name on that day."""
        return _held(self.names, day)

    def home(self, day: date) -> Home:
        """Where they lived on that day."""
        return _held(self.homes, day)


def age_on(born: date, day: date) -> int:
    """Age in whole years."""
    return day.year - born.year - ((day.month, day.day) < (born.month, born.day))


def _held(rows: tuple[tuple[date, T], ...], day: date) -> T:
    return rows[max(0, bisect_right([since for since, _ in rows], day) - 1)][1]
