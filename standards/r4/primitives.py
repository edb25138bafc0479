"""The primitive types of R4: which JSON value each takes, and how to say so. PURE.

A row's `fits` is the one judge: the fast path and the walker both ask it, so they cannot disagree.
See FHIR R4 datatypes.html#primitive.
"""

from __future__ import annotations

import binascii
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from standards.r4 import narrative

MOST_CHARACTERS = 1024 * 1024  # "Strings SHALL NOT exceed 1MB in size"
# What XML cannot carry, and R4's string therefore excludes.
UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_YEAR = r"(?!0000)\d{4}"
_DAY = r"(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
_CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?"
_ZONE = r"(?:Z|[+-](?:(?:0\d|1[0-3]):[0-5]\d|14:00))"
DATE = re.compile(rf"{_YEAR}(?:-(?:{_DAY}|(?:0[1-9]|1[0-2])))?", re.ASCII)
DATE_TIME = re.compile(rf"{_YEAR}(?:-(?:{_DAY}(?:T{_CLOCK}{_ZONE})?|(?:0[1-9]|1[0-2])))?", re.ASCII)
INSTANT = re.compile(rf"{_YEAR}-{_DAY}T{_CLOCK}{_ZONE}", re.ASCII)
TIME = re.compile(_CLOCK, re.ASCII)
ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
CODE = re.compile(r"\S+(?: \S+)*")
URI = re.compile(r"\S+")
OID = re.compile(r"urn:oid:[0-2](?:\.(?:0|[1-9]\d*))+", re.ASCII)
UUID = re.compile(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")


@dataclass(frozen=True, slots=True)
class Primitive:
    """One primitive type: what a right value is, in words and as a test of one JSON value."""

    name: str
    json: str  # "string", "number", "integer" or "boolean"
    right: str
    fits: Callable[[Any], bool]


def is_json(kind: str, value: object) -> bool:
    """Is it this kind of JSON value? True is no number, and 1.0 no integer."""
    if kind == "string":
        return isinstance(value, str)
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _text(value: Any) -> bool:
    return (
        isinstance(value, str)
        and 0 < len(value) <= MOST_CHARACTERS
        and (value.isprintable() or UNPRINTABLE.search(value) is None)
    )


def _like(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    full = pattern.fullmatch
    return lambda value: (
        isinstance(value, str)
        and full(value) is not None
        and (value.isprintable() or UNPRINTABLE.search(value) is None)
    )


def _calendar(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    full = pattern.fullmatch

    def fits(value: Any) -> bool:
        if not isinstance(value, str) or full(value) is None:
            return False
        # The pattern leaves only the days a month may lack; a day after the 28th is worth a look.
        return len(value) < 10 or value[8:10] <= "28" or _exists(value[:10])

    return fits


def _exists(day: str) -> bool:
    try:
        date.fromisoformat(day)
    except ValueError:
        return False
    return True


def _base64(value: Any) -> bool:
    if not isinstance(value, str) or not value:
        return False
    compact = value if _strict(value) else "".join(value.split())
    return bool(compact) and _strict(compact)


def _strict(value: str) -> bool:
    try:
        binascii.a2b_base64(value, strict_mode=True)
    except ValueError:
        return False
    return len(value) % 4 == 0


def _decimal(value: Any) -> bool:
    if isinstance(value, Decimal):
        return value.is_finite()
    return is_json("number", value) and (isinstance(value, int) or math.isfinite(value))


def _between(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: is_json("integer", value) and low <= value <= high


_WORDS = "text that is not empty, up to 1,048,576 characters, without control characters"
_INT = 2**31 - 1

PRIMITIVES: dict[str, Primitive] = {
    row.name: row
    for row in (
        Primitive("base64Binary", "string", "base64 (RFC 4648 §4), padded", _base64),
        Primitive("boolean", "boolean", "true or false", lambda v: isinstance(v, bool)),
        Primitive(
            "canonical", "string", "a URI without spaces, with |version if wanted", _like(URI)
        ),
        Primitive(
            "code", "string", "a code without leading, trailing or double spaces", _like(CODE)
        ),
        Primitive("date", "string", "a real date: 2024, 2024-05 or 2024-05-17", _calendar(DATE)),
        Primitive(
            "dateTime",
            "string",
            "a real date, or a date with time, seconds and offset: 2024-05-17T09:30:00+01:00",
            _calendar(DATE_TIME),
        ),
        Primitive("decimal", "number", "a number", _decimal),
        Primitive("id", "string", "1 to 64 of A-Z, a-z, 0-9, - and .", _like(ID)),
        Primitive(
            "instant",
            "string",
            "a date with time, seconds and offset: 2024-05-17T09:30:00.000+01:00",
            _calendar(INSTANT),
        ),
        Primitive("integer", "integer", "a whole number of 32 bits", _between(-_INT - 1, _INT)),
        Primitive("markdown", "string", _WORDS, _text),
        Primitive("oid", "string", "urn:oid: and a dotted OID", _like(OID)),
        Primitive(
            "positiveInt", "integer", "a whole number from 1 to 2147483647", _between(1, _INT)
        ),
        Primitive("string", "string", _WORDS, _text),
        Primitive("time", "string", "hh:mm:ss without offset", _like(TIME)),
        Primitive(
            "unsignedInt", "integer", "a whole number from 0 to 2147483647", _between(0, _INT)
        ),
        Primitive("uri", "string", "a URI without spaces", _like(URI)),
        Primitive("url", "string", "a URL without spaces", _like(URI)),
        Primitive("uuid", "string", "urn:uuid: and a UUID in lower case", _like(UUID)),
        Primitive(
            "xhtml",
            "string",
            "one XHTML <div> of plain formatting",
            lambda v: isinstance(v, str) and narrative.fault(v) is None,
        ),
    )
}
