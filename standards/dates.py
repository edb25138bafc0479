"""Partial dates, dateTimes and instants as half-open spans of time.

A FHIR `date` or `dateTime` says as much as its writer knew: `1984` is a whole year. Everything that
compares dates here compares `Span`s, [lo, hi) in UTC at millisecond precision, which is what MongoDB
keeps. A value without an offset is read as UTC: FHIR leaves it to the server (search.html#date), and
one fixed answer is the only one that gives the same result on every machine.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from standards.outcome import INVALID, Issue, Refused

BEGIN = datetime(1, 1, 1, tzinfo=UTC)  # stands for "since ever" in an open period
END = datetime(
    9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC
)  # "no end yet", and the end of year 9999
TICK = timedelta(milliseconds=1)
_LAST = END - TICK
_OFFSET_LIMIT = 14 * 60

_SHAPE = re.compile(
    r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2})"
    r"(?:T([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,18}))?)?"
    r"(?:(Z)|([+-])([0-9]{2}):([0-9]{2}))?)?)?)?",
    re.ASCII,
)
_FORMS = (
    "YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm[:ss[.sss]] with Z or an offset such as +01:00"
)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, `lo` included and `hi` not; both are aware UTC datetimes."""

    lo: datetime
    hi: datetime

    def contains(self, other: Span) -> bool:
        """Whether the other span lies wholly inside this one."""
        return self.lo <= other.lo and other.hi <= self.hi

    def overlaps(self, other: Span) -> bool:
        """Whether some moment lies in both."""
        return self.lo < other.hi and other.lo < self.hi


def parse(text: str, where: str = "") -> Span:
    """The span that a FHIR date, dateTime or instant covers at its own precision.

    Raises `Refused` (INVALID, at `where`) with words that say what is wrong: the shape, a year
    outside 0001–9999, a day the month has not, hour 24, an offset beyond 14 hours.
    """
    read = _read(text)
    if isinstance(read, str):
        raise Refused(Issue(INVALID, read, where))
    return read


def problem(text: str) -> str | None:
    """What is wrong with a date, in words, or None when `parse` would take it."""
    read = _read(text)
    return read if isinstance(read, str) else None


def period(start: str | None, end: str | None, where: str = "") -> Span | None:
    """The span of a Period, from the first moment of `start` to the last of `end`; a missing bound
    is open (`BEGIN`, `END`). None when both are missing. An end before its start counts as a moment
    at the start: the stored value stays findable, and refusing it is the profile check's business.
    """
    if not start and not end:
        return None
    first = parse(start, where) if start else None
    lo = first.lo if first else BEGIN
    hi = parse(end, where).hi if end else END
    return Span(lo, hi if hi > lo else (first.hi if first else lo + TICK))


@lru_cache(maxsize=4096)
def _read(text: str) -> Span | str:
    found = _SHAPE.fullmatch(text)
    if found is None:
        return _misshapen(text)
    year, month, day, hour, minute, second, fraction, _, sign, off_h, off_m = found.groups()
    if year == "0000":
        return "The year 0000 does not exist; years run from 0001 to 9999."
    if hour is not None:
        return _moment(text, int(hour), int(minute), second, fraction, (sign, off_h, off_m))
    try:
        lo = datetime(int(year), int(month or 1), int(day or 1), tzinfo=UTC)
    except ValueError:
        return f'There is no such day as "{text}".'
    if day:
        return Span(lo, _shifted(lo, timedelta(days=1)))
    if month:
        last = lo.month == 12
        after = (lo.year + last, 1 if last else lo.month + 1)
    else:
        after = (lo.year + 1, 1)
    return Span(lo, datetime(*after, 1, tzinfo=UTC) if after[0] <= 9999 else END)


def _moment(
    text: str,
    hour: int,
    minute: int,
    second: str | None,
    fraction: str | None,
    offset: tuple[str, ...],
) -> Span | str:
    if hour > 23:
        return f'Hours run from 00 to 23; write midnight as 00:00 of the next day, not "{text}".'
    if minute > 59 or int(second or 0) > 60:  # 60: a leap second, which FHIR allows
        return f'There is no such time as in "{text}".'
    sign, off_h, off_m = offset
    shift = int(off_h) * 60 + int(off_m) if sign else 0
    if shift > _OFFSET_LIMIT or (sign and int(off_m) > 59):
        return f'An offset lies between -14:00 and +14:00, which that of "{text}" does not.'
    try:
        start = datetime(int(text[:4]), int(text[5:7]), int(text[8:10]), hour, minute, tzinfo=UTC)
    except ValueError:
        return f'There is no such day as in "{text}".'
    precision = TICK if fraction else timedelta(seconds=1) if second else timedelta(minutes=1)
    into = timedelta(
        seconds=int(second or 0), milliseconds=int((fraction or "0")[:3].ljust(3, "0"))
    )
    lo = min(_shifted(start, into - timedelta(minutes=-shift if sign == "-" else shift)), _LAST)
    return Span(lo, _shifted(lo, precision))


def _shifted(moment: datetime, by: timedelta) -> datetime:
    """Datetime arithmetic that stops at the ends of time instead of overflowing."""
    try:
        return min(moment + by, END)
    except OverflowError:
        return END if by > timedelta(0) else BEGIN


def _misshapen(text: str) -> str:
    shown = "".join(c for c in text[:40] if c.isprintable())
    if re.match(r"[+-]?[0-9]{5,}", text, re.ASCII):
        return f'"{shown}" has a year of more than four digits; years run from 0001 to 9999.'
    if "T" in text and " " in text:
        return f'"{shown}" has a blank where its offset begins; in a URL write + as %2B.'
    return f'"{shown}" is not a date; write {_FORMS}.'
