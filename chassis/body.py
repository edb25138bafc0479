"""A request body becomes a resource, or a refusal that says where it is broken. Pure.

Duplicate keys must be refused (two readers could see two different patients), decimals must keep their
digits, and a refusal says where the body is broken. The standard library's parser does all of that. Most
bodies are plain, and of those a faster one reads the same; whatever it stumbles over goes to the other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from itertools import accumulate
from typing import Any, NoReturn

import msgspec

from chassis.negotiate import Format
from standards import fhir_xml
from standards.outcome import STRUCTURE, Issue, Refused
from standards.r4.check import check_structure

MAX_DEPTH = 100  # the deepest legal resources in practice stay under 20


class _TwiceError(ValueError):
    pass


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        raise _TwiceError(next(k for k, _ in pairs if k in seen or seen.add(k)))  # type: ignore[func-returns-value]
    return made


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_float=Decimal, parse_constant=_constant)
_FAST = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)
_AGAIN = msgspec.json.Encoder(decimal_format="number")


def parse_json(body: bytes) -> dict[str, Any]:
    """JSON bytes as a dict with Decimal numbers.

    Raises `Refused(STRUCTURE)` for an empty body, bytes that are not UTF-8, NUL characters, broken
    JSON (with line and column), a key given twice, nesting beyond `MAX_DEPTH`, or a body that is not
    one object.
    """
    if not body:
        raise _refused("The body is empty; send one FHIR resource.")
    plain = _plain(body)
    return _careful(body) if plain is None else plain


def _plain(body: bytes) -> dict[str, Any] | None:
    """A body without escapes, shallow and without a key given twice; None where that is not plain.

    Without a backslash every quotation mark in the body begins or ends a string. A key that came twice
    is not in what was read, so written again that has fewer of them.
    """
    if b"\\" in body or _too_deep(body):
        return None
    try:
        made = _FAST.decode(body)
        same = _AGAIN.encode(made).count(b'"') == body.count(b'"')
    except (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError):
        return None
    return made if same else None


def _careful(body: bytes) -> dict[str, Any]:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as wrong:
        raise _refused(f"The body is not UTF-8: byte {wrong.start} cannot be read.") from None
    if "\x00" in text or "\\u0000" in text:
        raise _refused("The body holds a NUL character, which FHIR strings may not contain.")
    if _too_deep(body):
        raise _refused(f"The body is nested deeper than {MAX_DEPTH} levels.")
    try:
        made = _DECODER.decode(text.lstrip("\ufeff"))
    except _TwiceError as twice:
        raise _refused(f"The member “{_shown(str(twice))}” is given twice in one object.") from None
    except json.JSONDecodeError as wrong:
        raise _refused(
            f"The body is not JSON: {wrong.msg.lower()} at line {wrong.lineno}, column {wrong.colno}."
        ) from None
    except (ValueError, ArithmeticError, RecursionError):  # a number beyond all that can be held
        raise _refused("The body is not JSON that can be read.") from None
    if not isinstance(made, dict):
        raise _refused("The body is not a JSON object; send one FHIR resource.")
    return made


def parse_resource(body: bytes, format_: Format, expected: Sequence[str] = ()) -> dict[str, Any]:
    """A structurally legal R4 resource of one of the `expected` types; all findings at once.

    Raises `Refused` with every structural issue, each with its FHIRPath.
    """
    resource = parse_json(body) if format_ == "json" else fhir_xml.parse(body)
    kind = resource.get("resourceType")
    if expected and isinstance(kind, str) and kind not in expected:
        raise _refused(
            f"The body is a {_shown(kind)}; this request takes {' or '.join(expected)}.",
            "resourceType",
        )
    issues = check_structure(resource)
    if issues:
        raise Refused(issues)
    return resource


_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NOT_BRACKETS = bytes(b for b in range(256) if b not in b"{}[]")
_STEP = {0x7B: 1, 0x5B: 1, 0x7D: -1, 0x5D: -1}


def _too_deep(body: bytes) -> bool:
    """Whether the brackets ever nest beyond the limit, all in C-speed passes over the bytes."""
    if body.count(b"{") + body.count(b"[") <= MAX_DEPTH:
        return False
    brackets = _STRINGS.sub(b"", body).translate(None, _NOT_BRACKETS)
    return max(accumulate(_STEP[b] for b in brackets), default=0) > MAX_DEPTH


def _refused(words: str, where: str = "") -> Refused:
    return Refused(Issue(STRUCTURE, words, where))


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:60])
