"""When a document's time is over: a retention class, the dates of its metadata, and what holds it. PURE.

A date that is needed and not known never makes a document due: it is listed as one whose day cannot be
worked out. Of two periods the one that ends later counts. Whether a longer period applies is asked when
a document is about to be destroyed, not when it was filed (domain digest 4.8).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from affinity.pack import Pack
from affinity.retention import AGED_17, Clock, RetentionClass


@dataclass(frozen=True, slots=True)
class Fellow:
    """Another document of the same person: its types as (system, code), and when its service ended."""

    types: tuple[tuple[str, str], ...]
    end: date | None


@dataclass(frozen=True, slots=True)
class Aged:
    """What the registry says of a document that is kept here. `same` are the ids of all records of the
    person it is about, `fellows` all of that person's documents, this one included."""

    document: str
    binary: str
    subject: str
    status: str
    types: tuple[tuple[str, str], ...]
    end: date | None
    birth: date | None
    death: date | None
    same: tuple[str, ...]
    fellows: tuple[Fellow, ...]


@dataclass(frozen=True, slots=True)
class Due:
    """The class that decides, the first day on which the document may go (None: it cannot be worked
    out), and why in words."""

    cls: RetentionClass | None
    on: date | None
    why: str

    def reached(self, today: date) -> bool:
        """Whether the document's time is over."""
        return self.on is not None and self.on <= today


def due(aged: Aged, pack: Pack) -> Due:
    """When this document's time is over. Where its types belong to several classes, the longest."""
    classes = classes_of(aged.types, pack)
    if not classes:
        return Due(None, None, "Its type has no retention class in the affinity pack.")
    found = [_of_class(aged, pack, one) for one in classes]
    unknown = [f for f in found if f.on is None]
    if unknown:
        return unknown[0]
    return max(found, key=lambda f: f.on or date.min)


def classes_of(types: Collection[tuple[str, str]], pack: Pack) -> list[RetentionClass]:
    """The retention classes of a document of these types, as (system, code)."""
    codes = {
        pack.document_types[code].retention
        for system, code in types
        if system == f"{pack.namespace}/CodeSystem/document-type" and code in pack.document_types
    }
    return [pack.retention[code] for code in sorted(codes)]


def _of_class(aged: Aged, pack: Pack, cls: RetentionClass) -> Due:
    clocks: Mapping[Clock, date | None] = {
        "birth": aged.birth,
        "death": aged.death,
        "end": aged.end,
        "last": _last(aged, pack, cls),
    }
    years, since = cls.years, clocks[cls.since]
    words = cls.rule
    if cls.longer_when and _longer(aged, pack, cls):
        years = max(years, cls.longer_years)
    if since is None:
        return Due(cls, None, f"{words}: the {_NAMES[cls.since]} is not known.")
    on = years_after(since, years)
    if cls.least_since is not None:
        least = clocks[cls.least_since]
        if least is None:
            return Due(cls, None, f"{words}: the {_NAMES[cls.least_since]} is not known.")
        on = max(on, years_after(least, cls.least_years))
    return Due(cls, on, words)


_NAMES: Mapping[Clock, str] = {
    "birth": "date of birth",
    "death": "date of death",
    "end": "date of the service",
    "last": "date of the last contact",
}


def _last(aged: Aged, pack: Pack, cls: RetentionClass) -> date | None:
    ends = [f.end for f in aged.fellows if f.end and cls in classes_of(f.types, pack)]
    return max([*ends, *([aged.end] if aged.end else [])], default=None)


def _longer(aged: Aged, pack: Pack, cls: RetentionClass) -> bool:
    if cls.longer_when == AGED_17:
        if aged.birth is None or aged.end is None:
            return True  # the longer, as long as nobody knows
        return years_after(aged.birth, 17) <= aged.end < years_after(aged.birth, 18)
    other = pack.retention[cls.longer_when]
    return any(other in classes_of(f.types, pack) for f in aged.fellows)


def years_after(day: date, years: int) -> date:
    """The same day so many years later; a 29 February becomes 1 March where there is none."""
    try:
        return day.replace(year=day.year + years)
    except ValueError:
        return date(day.year + years, 3, 1)


def latest(text: str) -> date | None:
    """The last day that a FHIR date, dateTime or part of one may mean; None for none."""
    parts = text[:10].split("-")
    try:
        year, month, day = (int(p) for p in [*parts, "0", "0"][:3])
        if day:
            return date(year, month, day)
        following = date(year + 1, 1, 1) if month in (0, 12) else date(year, month + 1, 1)
    except ValueError:
        return None
    return date.fromordinal(following.toordinal() - 1)


@dataclass(frozen=True, slots=True)
class Hold:
    """A legal hold: on documents, on everything about a person, or on a whole retention class."""

    id: str
    ground: str
    documents: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()


def holding(aged: Aged, cls: RetentionClass | None, holds: Sequence[Hold]) -> list[Hold]:
    """The holds that forbid destroying this document, whatever its time."""
    about = {f"Patient/{i}" for i in aged.same} | {aged.subject}
    return covering(aged.document, about, [cls] if cls is not None else [], holds)


def covering(
    document: str,
    about: Collection[str],
    classes: Collection[RetentionClass],
    holds: Sequence[Hold],
) -> list[Hold]:
    """The holds that stand on a document by itself, by whom it is about (`Patient/x`) or by class."""
    codes = {cls.code for cls in classes}
    return [
        hold
        for hold in holds
        if document in hold.documents
        or set(about) & set(hold.subjects)
        or codes & set(hold.classes)
    ]
