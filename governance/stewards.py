"""Who may decide who is who, who may look at a sealed identity, and when two must agree. PURE.

The scope says that a client is for stewards (`throughline.steward`); the role says what its user may
do. Both are needed; the roles are the pack's (`stewards` in pack.json; decision 0014).

    watch     look at links, history, explanations and the queue
    decide    that, and decide
    guard     that, and hold one of the two keys to sealed identities
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Duty = Literal["watch", "decide", "guard"]
_WORDS: Mapping[Duty, str] = {
    "watch": "look at links",
    "decide": "decide about links",
    "guard": "hold a key to sealed identities",
}


@dataclass(frozen=True, slots=True)
class Stewards:
    """The roles of the pack that have each duty."""

    roles: Mapping[Duty, frozenset[str]]

    @classmethod
    def of(cls, constants: Mapping[str, Any]) -> Stewards:
        """From the constants of a pack; who may decide may watch, who may guard may do both."""
        said = constants.get("stewards") or {}
        guard = frozenset(said.get("guard", ()))
        decide = guard | frozenset(said.get("decide", ()))
        watch = decide | frozenset(said.get("watch", ()))
        return cls({"watch": watch, "decide": decide, "guard": guard})

    def may(self, role: str, duty: Duty) -> bool:
        """Whether a role has a duty."""
        return role in self.roles[duty]

    def refusal(self, role: str, duty: Duty) -> str:
        """Why a role may not, in words; "" when it may."""
        if self.may(role, duty):
            return ""
        needed = ", ".join(sorted(self.roles[duty])) or "no role of this pack"
        said = f"role {role}" if role else "no role"
        return f"A token with {said} may not {_WORDS[duty]}; that is for {needed}."


@dataclass(frozen=True, slots=True)
class Matter:
    """What an act is about, as far as it decides how many must agree. `agencies` are the sources of the
    records that it parts from each other, none where it parts nothing."""

    joins: bool
    sealed: bool = False
    agencies: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())


def forbidden(matter: Matter) -> str:
    """Why nobody may do this, in words; "" when somebody may.

    Before and after an adoption, a gender recognition or a change for protection are two persons; their
    one link is the sealed one (domain digest §1.6 P1–P3). A join would be told by every ITI-83.
    """
    if matter.joins and matter.sealed:
        return (
            "A sealed identity is never joined to another: what is one person is told to everyone."
        )
    return ""


def two_must_agree(matter: Matter) -> str:
    """Why a second steward must agree, in words; "" when one is enough (PIX digest §5.10)."""
    if matter.sealed:
        return "It touches a sealed identity, so two guardians must agree."
    one, other = matter.agencies
    if one and other and one != other:
        return "It parts records of different agencies, so two stewards must agree."
    return ""


def signed(approvals: Iterable[Mapping[str, Any]], by: str) -> bool:
    """Whether this steward has signed already."""
    return any(a["by"] == by for a in approvals)
