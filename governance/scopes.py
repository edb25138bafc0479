"""SMART scopes: what a token says it covers, and what is granted of what is asked. Pure.

Grammar and mapping: SMART App Launch 2.2 "Scopes for requesting FHIR resources"; v1 words map onto
v2 letters (`read` = rs, `write` = cud, `*` = cruds). The query of a granular scope is percent-encoded,
names search parameters of the type, and means what it means in a search.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import parse_qsl, quote

_CLINICAL = re.compile(
    r"(patient|user|system)/(\*|[A-Z][A-Za-z]+)\.(read|write|\*|c?r?u?d?s?)(?:\?(.+))?"
)
_V1 = {"read": "rs", "write": "cud", "*": "cruds"}
_LETTERS = "cruds"
_QUALIFIED = "http://smarthealthit.org/fhir/scopes/"  # the long spelling of every SMART scope


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
    found = _CLINICAL.fullmatch(token.removeprefix(_QUALIFIED))
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


def granted(requested: Iterable[str], ceiling: Iterable[str]) -> tuple[str, ...]:
    """What of a request lies inside a ceiling: what the client may have at most, or what its user
    chose.

    A token that lies inside is granted as it is spelled. Of a clinical one that reaches beyond, what
    the ceiling has of it is granted: fewer letters, single types instead of the wildcard, the ceiling's
    query beside its own. Other words are granted or not. A back-end system is refused instead of given
    less than it asked for (`outside`); nobody reads what a machine was granted.
    """
    allowed = tuple(dict.fromkeys(ceiling))
    have = [s for s in map(parse, allowed) if s]
    made: dict[str, None] = {}
    for token in requested:
        wanted = parse(token)
        if not outside([token], allowed):
            made[token] = None
        elif wanted is not None:
            made.update(dict.fromkeys(_narrowed(wanted, have)))
    return tuple(made)


def _narrowed(wanted: Scope, have: Iterable[Scope]) -> list[str]:
    """What a ceiling has of one scope, nothing twice: a part that another part covers is left out."""
    parts = [part for held in have if (part := _common(wanted, held)) is not None]
    merged: dict[tuple[str, frozenset[tuple[str, str]]], frozenset[str]] = {}
    for part in parts:
        key = (part.resource, part.query)
        merged[key] = merged.get(key, frozenset()) | part.letters
    scopes = [
        Scope(wanted.level, kind, letters, query, "") for (kind, query), letters in merged.items()
    ]
    kept = [s for s in scopes if not any(covers(o, s) for o in scopes if o is not s)]
    old = wanted.raw.rpartition(".")[2] in _V1
    return [spelled(s, old=old) for s in kept]


def _common(a: Scope, b: Scope) -> Scope | None:
    if a.level != b.level or ("*" not in (a.resource, b.resource) and a.resource != b.resource):
        return None
    letters = a.letters & b.letters
    if not letters:
        return None
    kind = b.resource if a.resource == "*" else a.resource
    return Scope(a.level, kind, letters, a.query | b.query, "")


def spelled(scope: Scope, *, old: bool = False) -> str:
    """A scope as a token; in the words of v1 when that is asked for and they say the same."""
    letters = "".join(x for x in _LETTERS if x in scope.letters)
    if old and not scope.query:
        letters = next((word for word, same in _V1.items() if same == letters), letters)
    query = "&".join(
        f"{quote(n, safe=':')}={quote(v, safe=':/|,$')}" for n, v in sorted(scope.query)
    )
    return f"{scope.level}/{scope.resource}.{letters}" + (f"?{query}" if query else "")
