"""PURE. How many of a person's documents or lists match, from what is kept of their kinds and dates.

Documents are alike when nothing that most searches ask for tells them apart: status, type, category and
the like, and who may see them. A tally counts those of one subject that are alike and of one month, and a
sheet for each month those of one day:

    {kinds: {<hash>: {status: […], type: […], …, seen}}, cells: {<hash>: {"2026-03": 41, …}}}

A filter of a search is tried on a kind and a month in place of each document. It then holds for all of
them, for none, or cannot be told: that is a month of which a search wants a part, whose days are tried
then; and the documents of a day that it wants a part of are counted themselves. A filter that speaks of
anything else is not for a tally.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

import bson

from chassis.mongo import Doc, Filter
from standards import dates

ALIKE: Mapping[str, tuple[str, ...]] = {
    "documents": (
        "status", "category", "type", "facility", "setting", "format", "security_label",
    ),
    "lists": ("status", "code", "designationType", "sourceId"),
}  # fmt: skip
UNDATED = "-"
_EMPTY: tuple[Any, ...] = (None, [])


class NotTalliedError(Exception):
    """A filter speaks of something that tells alike documents apart."""


def kind(name: str, row: Filter) -> Doc:
    """What a row of the table `name` has in common with those that are like it."""
    index = row["ix"]
    made = {field: index[field] for field in ALIKE[name] if index.get(field)}
    date = index.get("date")
    wide = {"wide": True} if date and date["hi"] > _ends(day(row))[1] else {}
    return {**made, "seen": row["seen"], **wide}


def name_of(of: Mapping[str, Any]) -> str:
    """The short name of a kind."""
    return blake2b(bson.encode(dict(sorted(of.items()))), digest_size=9).hexdigest()


def day(row: Filter) -> str:
    """The day that a row is dated on."""
    date = row["ix"].get("date")
    return date["lo"].astimezone(UTC).date().isoformat() if date else UNDATED


def month(of: str) -> str:
    """The month of a day."""
    return of[:7]


def within(said: str) -> Doc:
    """The filter of the documents of one month or day."""
    begin, end = _ends(said)
    return {"ix.date.lo": {"$gte": begin, "$lt": end}}


def grouping(name: str) -> Doc:
    """The `_id` of the group that all documents of one kind and day are in."""
    lo, first = "$ix.date.lo", {"$dateTrunc": {"date": "$ix.date.lo", "unit": "day"}}
    end = {"$dateAdd": {"startDate": first, "unit": "day", "amount": 1}}
    return {
        **{field: f"$ix.{field}" for field in ALIKE[name]},
        "seen": "$seen",
        "wide": {"$gt": ["$ix.date.hi", end]},
        "day": {"$dateToString": {"date": lo, "format": "%Y-%m-%d", "onNull": UNDATED}},
    }


def grouped(rows: Iterable[Filter]) -> tuple[dict[str, Doc], dict[tuple[str, str], int]]:
    """(kinds, cells) of what `grouping` gave, with the number as `n`."""
    kinds, cells = dict[str, Doc](), dict[tuple[str, str], int]()
    for row in rows:
        given = dict(row["_id"])
        said = given.pop("day")
        of = {k: v for k, v in given.items() if v or k == "seen"}
        short = name_of(of)
        kinds[short] = of
        cells[short, said] = cells.get((short, said), 0) + row["n"]
    return kinds, cells


@dataclass(frozen=True, slots=True)
class Counted:
    """How many match in months (or days) of which all or none of a kind do, and the other ones."""

    total: int
    open: tuple[str, ...]


def counted(tallies: Sequence[Filter], filters: Filter) -> Counted:
    """What these tallies (with their `subject`) say of a filter. Raises `NotTalliedError`."""
    sure: dict[str, int] = {}
    open_: set[str] = set()
    for tally in tallies:
        for short, cells in tally["cells"].items():
            of = {**tally["kinds"][short], "subject": tally["subject"]}
            whole = _holds(filters, of, None)
            for said, number in cells.items():
                held = whole if whole is not None else _holds(filters, of, said)
                if not number or held is False:
                    continue
                if held is None:
                    open_.add(said)
                else:
                    sure[said] = sure.get(said, 0) + number
    return Counted(sum(n for m, n in sure.items() if m not in open_), tuple(sorted(open_)))


# -- trying a filter: True for all, False for none, None for some ------------------------------------


def _holds(filters: Filter, of: Doc, said: str | None) -> bool | None:
    results = []
    for path, condition in filters.items():
        if path == "$and":
            results += [_holds(part, of, said) for part in condition]
        elif path == "$or":
            results.append(_any([_holds(part, of, said) for part in condition]))
        elif path in ("ix.date.lo", "ix.date.hi"):
            results.append(_dated(path, condition, of, said))
        else:
            results.append(_is(path, condition, of))
    return _all(results)


def _all(results: Sequence[bool | None]) -> bool | None:
    return False if False in results else None if None in results else True


def _any(results: Sequence[bool | None]) -> bool | None:
    return True if True in results else None if None in results else False


def _is(path: str, condition: Any, of: Doc) -> bool:
    field = path.removeprefix("ix.")
    if field not in ("seen", "subject") and (
        path == field or not any(field in a for a in ALIKE.values())
    ):
        raise NotTalliedError(path)
    held = of.get(field)
    if not isinstance(condition, Mapping):
        return _equal(held, condition)
    for operator, wanted in condition.items():
        if operator not in ("$in", "$nin"):
            raise NotTalliedError(operator)
        if any(_equal(held, one) for one in wanted) != (operator == "$in"):
            return False
    return True


def _equal(held: Any, wanted: Any) -> bool:
    if wanted in _EMPTY:
        return held is None
    return bool(held == wanted or (isinstance(held, list) and wanted in held))


def _dated(path: str, condition: Any, of: Doc, said: str | None) -> bool | None:
    if not isinstance(condition, Mapping):
        raise NotTalliedError(path)
    if said is None:
        return None
    if said == UNDATED:
        known = {"$in": _among_empty, "$nin": _not_among_empty}
        return all(known[o](w) if o in known else False for o, w in condition.items())
    if "$in" in condition or "$nin" in condition:  # of nothing but absence (`:missing`)
        return "$nin" in condition
    begin, end = _ends(said)
    first, last = begin, end - dates.TICK
    if path == "ix.date.hi":
        if of.get("wide"):
            return None  # it lasts into another day
        first, last = begin + dates.TICK, end
    return _all([_range(operator, wanted, first, last) for operator, wanted in condition.items()])


def _range(operator: str, wanted: datetime, first: datetime, last: datetime) -> bool | None:
    """Whether all, none or some moments from `first` to `last` compare so."""
    match operator:
        case "$gte":
            return True if first >= wanted else False if last < wanted else None
        case "$gt":
            return True if first > wanted else False if last <= wanted else None
        case "$lt":
            return True if last < wanted else False if first >= wanted else None
        case "$lte":
            return True if last <= wanted else False if first > wanted else None
        case _:
            raise NotTalliedError(operator)


def _among_empty(wanted: Sequence[Any]) -> bool:
    return None in wanted


def _not_among_empty(wanted: Sequence[Any]) -> bool:
    return None not in wanted


def _ends(said: str) -> tuple[datetime, datetime]:
    """When a month or a day begins and ends."""
    year, number, of = int(said[:4]), int(said[5:7]), int(said[8:] or 1)
    begin = datetime(year, number, of, tzinfo=UTC)
    try:
        if len(said) > 7:
            return begin, begin + timedelta(days=1)
        return begin, datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
    except (OverflowError, ValueError):  # the last of the year 9999
        return begin, dates.END
