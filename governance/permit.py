"""May this caller make this request, and how far does the answer reach? Pure.

`decide` answers with a `Permit`, which travels with every query: the store narrows by it before it
counts, sorts or reads, so that a total or a page can give nothing away.

    system/, user/   the whole type, or what their query says, of what the caller may see at all
    patient/         the same within the record of the token's patient; without one nothing
    ITI-67 …         the transaction of that name (IUA 3.71); of a token with a patient, within the record

The record of a patient are the resources of all source records of the same person, as the identity
manager knows them while the request runs (SMART App Launch 2.2 leaves `Patient.link` to the server;
docs/decisions/0031). Scopes are added up, and the pairs of one scope must all hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from governance.scopes import Scope, parse
from standards.compartment import PATIENT
from standards.rows import Needs, Public, Transaction

POLICY_VERSION = "2"  # part of every paging cursor: a page of an older policy is not continued
# The pair of a group that says in whose record: ids with commas between. No query has a nameless one.
WHOSE = ""
_NOBODY = frozenset(
    {("_nobody", "")}
)  # no type has such a parameter, so this group reaches nothing

Group = frozenset[tuple[str, str]]
OWN: Group = frozenset({("_own", "")})  # what is the caller's own, where a story knows what that is


@dataclass(frozen=True, slots=True)
class Permit:
    """What was decided. `narrow` is an OR of AND-groups of (search parameter, value), where `WHOSE`
    limits to a patient's record; empty means the whole type. `by` names the scopes that granted it."""

    by: tuple[str, ...] = ()
    narrow: tuple[Group, ...] = ()
    version: str = POLICY_VERSION

    @property
    def unasked(self) -> Permit:
        """As far as it reaches without a query: into earlier versions, which are not indexed, and to
        what has no search parameters."""
        if not self.narrow:
            return self
        kept = tuple(g for g in self.narrow if all(name == WHOSE for name, _ in g))
        return Permit(self.by, kept or (_NOBODY,), self.version)

    def both(self, other: Permit) -> Permit:
        """What lies within this one and the other."""
        if not self.narrow or not other.narrow:
            return self if self.narrow else other
        groups = dict.fromkeys(a | b for a in self.narrow for b in other.narrow)
        return Permit(self.by, tuple(groups), self.version)

    def told(self) -> dict[str, Any]:
        """The permit as one service tells it another, in JSON."""
        narrow = [sorted(list(pair) for pair in group) for group in self.narrow]
        return {"by": list(self.by), "narrow": narrow, "version": self.version}

    @classmethod
    def heard(cls, said: Mapping[str, Any]) -> Permit:
        """The permit that `told` told. Raises `KeyError`, `TypeError` or `ValueError` for what is
        none."""
        narrow = tuple(frozenset((str(n), str(v)) for n, v in group) for group in said["narrow"])
        return cls(tuple(str(b) for b in said["by"]), narrow, str(said["version"]))


@dataclass(frozen=True, slots=True)
class Denied:
    """Why not, in words the caller may know, and the scope that would have done."""

    words: str
    scope: str


def decide(
    scope: str, row: Transaction, patients: tuple[str, ...] | None = None
) -> Permit | Denied:
    """May a token with this scope string make a request of this row?

    `patients` are the ids of the records in whose compartment `patient/` scopes reach: all of the
    person that the token's patient is. None: the token has no patient; (): nobody is known by its.
    """
    if isinstance(row.scope, Public):
        return Permit()
    found = grant(scope, row.scope, patients)
    if isinstance(found, Permit) and found.narrow and not row.partly:
        wanted = _wanted(scope, row.scope)
        words = (
            f"{row.name} reaches beyond what the token's scopes cover; it needs {wanted}, whole."
        )
        return Denied(words, wanted)
    return found


@lru_cache(maxsize=4096)  # the same few questions come with every request
def grant(scope: str, needs: Needs, patients: tuple[str, ...] | None = None) -> Permit | Denied:
    """As `decide`, for one need: a letter on a resource type or one of the literal scopes."""
    tokens = scope.split()
    within = _within(needs.resource, patients)
    groups: dict[Group, None] = {}
    group: Group | None
    by: dict[str, None] = {}
    for token in tokens:
        if token in needs.own:
            group = OWN
        elif token in needs.literals:
            group = Group() if patients is None or not needs.resource else within
        else:
            group = _group(parse(token), needs, within)
        if group is not None:
            groups[group] = by[token] = None
    if not by:
        return _denied(scope, needs, patients)
    if Group() in groups:
        literals = tuple(t for t in by if t in needs.literals)
        whole = patients is None or not needs.resource
        return Permit(literals if literals and whole else tuple(by))
    return Permit(tuple(by), tuple(groups))


def _within(resource: str, patients: tuple[str, ...] | None) -> Group | None:
    """The group of the patient's record; None where the token or the type has none."""
    if not patients or resource not in PATIENT:
        return None
    return Group({(WHOSE, ",".join(patients))})


def _group(scope: Scope | None, needs: Needs, within: Group | None) -> Group | None:
    """What one clinical scope grants; None for nothing."""
    if scope is None or not needs.letter or needs.letter not in scope.letters:
        return None
    if scope.resource not in ("*", needs.resource):
        return None
    if scope.level != "patient":
        return scope.query
    return None if within is None else scope.query | within


def _denied(scope: str, needs: Needs, patients: tuple[str, ...] | None) -> Denied:
    wanted = _wanted(scope, needs)
    words = f"The token's scopes do not reach this; it needs {wanted}."
    if patients is None and "patient/" in scope:
        words += " The token has no patient, so that its patient/ scopes reach nothing."
    elif not patients and patients is not None:
        words += " Nobody is known by the token's patient any more."
    return Denied(words, wanted)


def _wanted(scope: str, needs: Needs) -> str:
    """The scope that would do, at the level at which the token has others."""
    if not needs.letter:
        return " ".join(needs.literals)
    levels = {s.level for s in map(parse, scope.split()) if s is not None}
    level = "user" if "user" in levels and "system" not in levels else "system"
    return f"{level}/{needs.resource}.{needs.letter}"
