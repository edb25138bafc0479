"""Codes and scopes of a registration that nobody agreed on: not in the pack, not a transaction's. PURE."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from affinity.pack import Pack
from auth.client import Client
from auth.registration.rules import OF_PEOPLE, Fault
from standards.rows import Needs, Transaction


@dataclass(frozen=True, slots=True)
class Agreed:
    """What a community has agreed, as far as registrations speak of it."""

    roles: frozenset[str]
    purposes: frozenset[str]
    organisations: frozenset[str]
    literals: frozenset[str]

    @classmethod
    def of(cls, pack: Pack, rows: Iterable[Transaction]) -> Agreed:
        """From the pack, and from the rows: a misspelt literal scope would register and reach nothing."""
        literals = (x for row in rows if isinstance(row.scope, Needs) for x in row.scope.literals)
        return cls(
            frozenset(pack.roles),
            frozenset(pack.purposes),
            frozenset(pack.organisations),
            frozenset(literals) | OF_PEOPLE,
        )

    def faults(self, client: Client) -> list[Fault]:
        """What of the client's codes and literal scopes is not known."""
        literals = [t for t in client.scope.split() if "/" not in t]
        return [
            *unknown("role", [client.role] if client.role else [], self.roles),
            *unknown("purposes", client.purposes, self.purposes),
            *unknown("organisations", client.organisations, self.organisations),
            *unknown("scope", literals, self.literals),
        ]


def unknown(field: str, codes: Iterable[str], known: Collection[str]) -> Iterator[Fault]:
    """A sentence for each code that nobody agreed on."""
    for code in codes:
        if code not in known:
            near = difflib.get_close_matches(code, known, 1, 0.6)
            hint = f" Did you mean {near[0]}?" if near else ""
            listed = f" There are {', '.join(sorted(known))}." if len(known) <= 40 else ""
            yield Fault(field, f"{field} {code} is not known here.{hint}{listed}")
