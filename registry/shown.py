"""What of a document's metadata a caller is shown: everything but numbers that it may not see.

Metadata carry numbers of people as their source wrote them: in the contained Patient of
`sourcePatientInfo`, beside the reference of `subject`, in `context.related`. They are stored as they
came, for ever, and each caller is shown those that `$ihe-pix` would tell it too (decision 0027). The
stored bytes go out untouched wherever nothing is hidden: `ix.numbers` of a row says whose numbers there
are, so that no find parses a document to learn that there is nothing to do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from chassis import search
from chassis.body import parse_json
from chassis.call import Call, dumps
from chassis.mongo import Doc, Filter
from chassis.sights import Sights
from governance.identifiers import Sight
from standards.search import Clause, Search, Token

FIELD = "ix.numbers"
UNSAID = ""
"""In place of a system: a number of a person without one, of which nobody knows who may see it."""
_OWN = ("identifier", "masterIdentifier", "meta")  # the document's own names
_PEOPLE = ("Patient", "Person", "RelatedPerson")
Show = Callable[[Doc], bytes]


@dataclass(frozen=True, slots=True)
class Shown:
    """What each caller is shown of documents and lists."""

    sights: Sights

    async def asked(self, call: Call, asked: Search) -> dict[str, Filter]:
        """What stands in for clauses that ask by an identifier inside the metadata
        (`related:identifier`): a number that may not be seen is in no document, and a value without its
        system is looked for where no such number is."""
        sight = await self.sights.of(call.caller)
        named = {c.name for c in asked.clauses if c.modifier == "identifier"}
        return {
            name: search.all_of(
                _allowed(c, sight) if c.modifier == "identifier" else search.compiled(c)
                for c in asked.of(name)
            )
            for name in named
        }

    async def to(self, call: Call) -> Show:
        """The bytes of a row, as this caller is shown them."""
        sight = await self.sights.of(call.caller)

        def show(row: Doc) -> bytes:
            body = bytes(row["b"])
            numbers = (row.get("ix") or {}).get("numbers")  # rows of the history have none
            if numbers is not None and all(_sees(sight, system) for system in numbers):
                return body
            return cleared(body, sight)

        return show


# -- PURE ---------------------------------------------------------------------------------------------


def _allowed(clause: Clause, sight: Sight) -> Filter:
    """The filter of a clause on identifiers, without those that may not be seen."""
    tokens = [v for v in clause.values if isinstance(v, Token)]
    said = tuple(v for v in tokens if v.system and _sees(sight, v.system))
    bare = tuple(v for v in tokens if not v.system)
    ways: list[Filter] = []
    if said:
        ways.append(search.compiled(Clause(clause.parameter, clause.modifier, said)))
    if bare:
        unseen = {FIELD: {"$nin": _unseen(sight)}}
        ways.append(
            search.all_of(
                [search.compiled(Clause(clause.parameter, clause.modifier, bare)), unseen]
            )
        )
    return search.any_of(ways)


def _unseen(sight: Sight) -> list[str | re.Pattern[str]]:
    """The systems of numbers that may not be seen; of families whose members are not all seen, all."""
    domains = sight.register.domains
    single: list[str | re.Pattern[str]] = [
        d.system for d in domains if not d.prefix and not sight.sees(d.system)
    ]
    return [*single, *(re.compile("^" + re.escape(d.system)) for d in domains if d.prefix)]


def numbers(resource: Mapping[str, Any]) -> list[str]:
    """The systems of all identifiers in a document's or list's metadata, its own names apart."""
    return sorted(set(_systems({k: v for k, v in resource.items() if k not in _OWN})))


def cleared(body: bytes, sight: Sight) -> bytes:
    """The resource without the numbers that may not be seen; the same bytes when there are none."""
    resource = parse_json(body)
    if all(_sees(sight, system) for system in numbers(resource)):
        return body
    made = {k: v if k in _OWN else _without(v, sight) for k, v in resource.items()}
    return dumps({k: v for k, v in made.items() if v is not None})


def _sees(sight: Sight, system: str) -> bool:
    """A number may be said under another name of its domain, as an OID."""
    if system == UNSAID:
        return sight.everything
    return sight.sees(sight.register.canonical(system))


def _systems(value: Any, person: bool = False) -> Iterator[str]:
    if isinstance(value, Mapping):
        if _is_number(value, person):
            yield str(value.get("system") or UNSAID)
        kind = value.get("resourceType")
        for name, inner in value.items():
            yield from _systems(inner, kind in _PEOPLE and name == "identifier")
    elif isinstance(value, list):
        for inner in value:
            yield from _systems(inner, person)


def _is_number(value: Mapping[str, Any], person: bool) -> bool:
    """Whether this is an Identifier. Of other types with a system and a value (ContactPoint, Quantity)
    the system is of no domain, so they are always seen."""
    system = value.get("system")
    if not isinstance(value.get("value"), str):
        return False
    return ":" in system if isinstance(system, str) else person


def _without(value: Any, sight: Sight, person: bool = False) -> Any:
    """The value without numbers that may not be seen; None when nothing is left of it."""
    if isinstance(value, list):
        made_ = ((inner, _without(inner, sight, person)) for inner in value)
        kept = [after for before, after in made_ if after is not None or before is None]
        return kept or None  # null stands where an element has an extension only
    if not isinstance(value, Mapping):
        return value
    if _is_number(value, person) and not _sees(sight, str(value.get("system") or UNSAID)):
        return None
    kind = value.get("resourceType")
    made = {
        name: _without(inner, sight, kind in _PEOPLE and name == "identifier")
        for name, inner in value.items()
    }
    if made == value:
        return value
    left = {name: inner for name, inner in made.items() if inner is not None}
    if kind is not None:
        left.pop("text", None)  # a narrative says the same numbers in words
        if kind == "RelatedPerson":  # R4 wants to know of whom
            left.setdefault("patient", {"display": "not shown"})
        return left
    return None if _empty(left) else left


def _empty(left: Mapping[str, Any]) -> bool:
    """Whether what is left says nothing: an extension without its value, a reference without whom."""
    return not left.keys() - {"url", "type", "id"}
