"""May this caller make this request, and how far does the answer reach? Pure.

`decide` answers with a `Permit`, which travels with every query: the store narrows by it before it
counts, sorts or reads, so that a total or a page can give nothing away.
"""

from __future__ import annotations

from dataclasses import dataclass

from governance.scopes import Scope, parse
from standards.rows import Needs, Public, Transaction

POLICY_VERSION = "1"  # part of every paging cursor: a page of an older policy is not continued


@dataclass(frozen=True, slots=True)
class Permit:
    """What was decided. `narrow` is an OR of AND-groups of (search parameter, value); empty means
    the whole type. `by` names the scopes that granted it, for the audit trail."""

    by: tuple[str, ...] = ()
    narrow: tuple[frozenset[tuple[str, str]], ...] = ()
    version: str = POLICY_VERSION


@dataclass(frozen=True, slots=True)
class Denied:
    """Why not, in words the caller may know, and the scope that would have done."""

    words: str
    scope: str


def decide(scope: str, row: Transaction) -> Permit | Denied:
    """May a token with this scope string make a request of this row?

    `system/` and `user/` scopes count; `patient/` scopes need a patient context, which tokens of
    this server do not carry before the launch flows exist, so they grant nothing.
    """
    if isinstance(row.scope, Public):
        return Permit()
    return grant(scope, row.scope)


def grant(scope: str, needs: Needs) -> Permit | Denied:
    """As `decide`, for one need: a letter on a resource type or one of the literal scopes."""
    tokens = scope.split()
    literal = tuple(t for t in needs.literals if t in tokens)
    if literal:
        return Permit(literal)
    hits = [s for s in map(parse, tokens) if s is not None and _reaches(s, needs)]
    if not hits:
        wanted = (
            f"system/{needs.resource}.{needs.letter}" if needs.letter else " ".join(needs.literals)
        )
        return Denied(f"The token's scopes do not reach this; it needs {wanted}.", wanted)
    by = tuple(s.raw for s in hits)
    if any(not s.query for s in hits):
        return Permit(by)
    return Permit(by, tuple(s.query for s in hits))


def _reaches(scope: Scope, needs: Needs) -> bool:
    return (
        bool(needs.letter)
        and scope.level in ("system", "user")
        and scope.resource in ("*", needs.resource)
        and needs.letter in scope.letters
    )
