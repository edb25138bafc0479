"""PURE. The index values of an AuditEvent: what ITI-81 can find it by.

A patient may be named by reference, by identifier or both, so all forms go into one field and either
parameter finds the event. `who` and `whose` are the narrow keys that MongoDB indexes: bare values
without systems, two or three per event, where the full token forms would be a dozen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from standards.balp import ENTITY_TYPE, OBJECT_ROLE, OUTCOME_SYSTEMS
from standards.index import moments, references, strings, tokens

Json = Mapping[str, Any]
Pair = tuple[str, str]
_NONE: Json = {}
ACTION = "http://hl7.org/fhir/audit-event-action"


def index(event: Json, base: str) -> dict[str, Any]:
    """The `ix` subdocument of an event (fields as standards/atna.py names them). `base` is the public
    FHIR base: a reference below it means the same as a relative one."""
    things, patients, observer = _Named(base), _Named(base), _Named(base)
    observer.add(event.get("source", _NONE).get("observer", _NONE))
    kinds: list[Pair] = []
    parts: list[Pair] = []
    agents = event.get("agent", ())
    parties = _parties(agents, base)
    for who in parties.patients:
        patients.add(who)
    purposes = [*_concepts(event.get("purposeOfEvent", ())), *parties.purposes]
    for entity in event.get("entity", ()):
        what = entity.get("what", _NONE)
        kinds += _codes((entity.get("type", _NONE),))
        parts += _codes((entity.get("role", _NONE),))
        further = _details(entity) if "detail" in entity else ()
        things.add(what, further)
        if is_patient(entity):
            patients.add(what, further)
    made: dict[str, Any] = {
        "date": moments(event["recorded"]),
        "type": _tokens(tuple(_codes((event.get("type", _NONE),)))),
        "subtype": _tokens(tuple(_codes(event.get("subtype", ())))),
        "action": _tokens(((ACTION, event["action"]),)) if "action" in event else None,
        "outcome": _outcome(event.get("outcome")),
        "agent": parties.tokens,
        "arole": parties.roles,
        "address": parties.addresses,
        "source": observer.targets() + _tokens(tuple(observer.pairs)),
        "entity": things.targets() + tokens(_spelt(things.pairs)),
        "etype": _tokens(tuple(kinds)),
        "erole": _tokens(tuple(parts)),
        "purpose": _tokens(tuple(purposes)),
        "who": parties.bare,
        "patient": patients.targets() + tokens(_spelt(patients.pairs)),
        "whose": patients.bare(),
    }
    return {name: value for name, value in made.items() if value}


@dataclass(frozen=True, slots=True)
class _Parties:
    """What the agents of an event give to its index, and which of them are patients."""

    tokens: list[str]
    bare: list[str]
    roles: list[str]
    addresses: dict[str, Any] | None
    purposes: tuple[Pair, ...]
    patients: tuple[Json, ...]


# Our own events share the agents of one caller (standards/balp.py), so they are known by identity;
# the list is held here, so that no other can take its place in memory.
_KNOWN: dict[int, tuple[object, str, _Parties]] = {}


def _parties(agents: Sequence[Json], base: str) -> _Parties:
    held = _KNOWN.get(id(agents))
    if held is not None and held[0] is agents and held[1] == base:
        return held[2]
    named = _Named(base)
    addresses: list[str] = []
    roles: list[Pair] = []
    purposes: list[Pair] = []
    for agent in agents:
        named.add(agent.get("who", _NONE))
        addresses.append(agent.get("network", _NONE).get("address", ""))
        roles += _concepts(agent.get("role", ()))
        purposes += _concepts(agent.get("purposeOfUse", ()))
    made = _Parties(
        named.targets() + _tokens(tuple(named.pairs)),
        named.bare(),
        _tokens(tuple(roles)),
        _addresses(tuple(addresses)),
        tuple(purposes),
        tuple(a["who"] for a in agents if _names_patient(a.get("who", _NONE))),
    )
    if len(_KNOWN) >= 512:
        _KNOWN.clear()
    _KNOWN[id(agents)] = agents, base, made
    return made


class _Named:
    """What some references name: their targets and their identifiers."""

    __slots__ = ("_base", "_written", "pairs")

    def __init__(self, base: str) -> None:
        self._base = base
        self._written: list[str] = []
        self.pairs: list[Pair] = []

    def add(self, reference: Json, further: Sequence[Pair] = ()) -> None:
        if "reference" in reference:
            self._written.append(reference["reference"])
        identifier = reference.get("identifier")
        if identifier and identifier.get("value"):
            self.pairs.append((identifier.get("system", ""), identifier["value"]))
        self.pairs += further

    def targets(self) -> list[str]:
        return references(self._written, self._base) if self._written else []

    def bare(self) -> list[str]:
        return list(dict.fromkeys([*self.targets(), *(value for _, value in self.pairs)]))


def is_patient(entity: Json) -> bool:
    """Whether an entity is a patient: by what it refers to, or a person in the role of patient."""
    role = entity.get("role", _NONE)
    if role.get("code") == "1" and role.get("system") == OBJECT_ROLE:
        kind = entity.get("type", _NONE)
        if (kind.get("system", ENTITY_TYPE), kind.get("code", "1")) == (ENTITY_TYPE, "1"):
            return True
    return _names_patient(entity.get("what", _NONE))


def _names_patient(reference: Json) -> bool:
    if reference.get("type") == "Patient":
        return True
    written = reference.get("reference", "")
    return "Patient/" in written and "Patient" in written.split("/")[:-1]


def _details(entity: Json) -> list[Pair]:
    # Written by standards/balp.py for a patient with more identifiers than a Reference can hold.
    spelt = (
        str(detail.get("valueString", "")).partition("|")
        for detail in entity["detail"]
        if detail.get("type") == "identifier"
    )
    return [(system, value) for system, _, value in spelt if value]


def _codes(found: Iterable[Json]) -> list[Pair]:
    return [(one.get("system", ""), one["code"]) for one in found if one.get("code")]


def _concepts(found: Iterable[Json]) -> list[Pair]:
    return [pair for concept in found for pair in _codes(concept.get("coding", ()))]


def _spelt(pairs: Iterable[Pair]) -> list[Json]:
    return [{"system": system, "code": code} for system, code in dict.fromkeys(pairs)]


# What events have in common is most of what they say, and is spelt out once. The lists are shared:
# nobody may change them.
@lru_cache(maxsize=4096)
def _tokens(pairs: tuple[Pair, ...]) -> list[str]:
    return tokens(_spelt(pairs))


@lru_cache(maxsize=4096)
def _addresses(written: tuple[str, ...]) -> dict[str, Any] | None:
    return strings(written)


def _outcome(code: str | None) -> list[str]:
    # A code without a system in R4; both systems that have named it since are accepted (ITI-81).
    return [code, *(f"{system}|{code}" for system in OUTCOME_SYSTEMS)] if code else []
