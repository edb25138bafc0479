"""SMART v2 scopes: what a token says it covers. Pure.

Grammar and mapping: SMART App Launch 2.2 "Scopes for requesting FHIR resources"; v1 words map onto
v2 letters (`read` = rs, `write` = cud, `*` = cruds).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import parse_qsl

_CLINICAL = re.compile(
    r"(patient|user|system)/(\*|[A-Z][A-Za-z]+)\.(read|write|\*|c?r?u?d?s?)(?:\?(.+))?"
)
_V1 = {"read": "rs", "write": "cud", "*": "cruds"}


@dataclass(frozen=True, slots=True)
class Scope:
    """One clinical scope: level, resource type ("*" for all), letters, and its query restriction as
    (name, value) pairs that must all hold (empty: the whole type)."""

    level: str
    resource: str
    letters: frozenset[str]
    query: frozenset[tuple[str, str]]
    raw: str


@lru_cache(maxsize=4096)  # the same few scopes come with every request
def parse(token: str) -> Scope | None:
    """The clinical scope a token spells, or None: not clinical, empty, letters out of order, or a
    query part that restricts nothing (`?&`), which must not read as the whole type."""
    found = _CLINICAL.fullmatch(token)
    if not found or not found[3]:
        return None
    if found[4] and found[3] in _V1:
        return None  # v1 has no query part
    query = _query(found[4]) if found[4] else []
    if query is None:
        return None
    letters = frozenset(_V1.get(found[3], found[3]))
    return Scope(found[1], found[2], letters, frozenset(query), token)


def _query(part: str) -> list[tuple[str, str]] | None:
    try:
        pairs = parse_qsl(part, keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError:
        return None
    return pairs if pairs and all(name for name, _ in pairs) else None


def covers(granted: Scope, wanted: Scope) -> bool:
    """Does one granted scope include everything a wanted one asks for?"""
    return (
        granted.level == wanted.level
        and granted.resource in ("*", wanted.resource)
        and wanted.letters <= granted.letters
        and granted.query <= wanted.query
    )


def outside(requested: Iterable[str], allowed: Iterable[str]) -> tuple[str, ...]:
    """The requested tokens that the allowed ones do not cover: literal tokens by equality, clinical
    ones letter by letter, so that `system/Patient.rs` lies inside `system/*.cruds`."""
    ceiling = tuple(allowed)
    have = [s for s in map(parse, ceiling) if s]
    beyond = []
    for token in requested:
        wanted = parse(token)
        if wanted is None:
            inside = token in ceiling
        else:
            inside = all(
                any(covers(g, Scope(wanted.level, wanted.resource, frozenset(letter), wanted.query, ""))
                    for g in have)
                for letter in wanted.letters
            )  # fmt: skip
        if not inside:
            beyond.append(token)
    return tuple(beyond)
