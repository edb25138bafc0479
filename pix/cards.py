"""The card of a person: everything that ITI-83 and the neighbours ask, in one document. PURE.

A card is derived from `records` and `identifiers` and written in the same transaction as they are,
so that a question costs one look-up: by an identifier (`system|value`) or a logical id
(`Patient/id`), both in `keys`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

State = Literal["active", "subsumed"]


class Told(NamedTuple):
    """One identifier that is the person's: the record that is fed under it ("" for none), the record
    that answers for it, and the ITI-83 parameter that tells it."""

    system: str
    value: str
    record: str
    by: str
    told: bytes

    @property
    def key(self) -> str:
        """`system|value`."""
        return f"{self.system}|{self.value}"


class Member(NamedTuple):
    """One record of the person: its key, its state, and the survivor if it was merged."""

    id: str
    key: str
    state: State
    root: str

    @property
    def system(self) -> str:
        """The system it is fed under; a system never holds a bar."""
        return self.key.partition("|")[0]


class Found(NamedTuple):
    """Where a key leads: the record that is fed under it or answers for it, its state, and the
    logical id that an answer leaves out because it was the question or bears it."""

    record: str
    state: State
    survivor: str
    hidden: str


@dataclass(frozen=True, slots=True)
class Card:
    """One person's card."""

    person: str
    told: tuple[Told, ...]
    members: tuple[Member, ...]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Card:
        """From its document."""
        return cls(
            document["_id"],
            tuple(Told(*t) for t in document["told"]),
            tuple(Member(*m) for m in document["members"]),
        )

    def document(self) -> dict[str, Any]:
        """As its document, without what the store adds (state, redirect, time)."""
        return {
            "_id": self.person,
            "told": [list(t) for t in self.told],
            "members": [list(m) for m in self.members],
            "keys": sorted(self.asked()),
        }

    def asked(self) -> set[str]:
        """Everything it is found by."""
        made = {t.key for t in self.told} | {f"Patient/{m.id}" for m in self.members}
        return made | {m.key for m in self.members if m.state == "subsumed"}

    def found(self, key: str) -> Found | None:
        """Where a key of this card leads."""
        for told in self.told:
            if told.system == key[: len(told.system)] and told.key == key:
                return Found(told.record or told.by, "active", "", told.record)
        for member in self.members:
            merged = member.state == "subsumed"
            if key == f"Patient/{member.id}" or (merged and key == member.key):
                return Found(member.id, member.state, member.root if merged else "", member.id)
        return None

    @property
    def same(self) -> tuple[str, ...]:
        """The ids of all its records."""
        return tuple(m.id for m in self.members)


def dealt(
    person: str,
    old: Card | None,
    touched: frozenset[str],
    told: Iterable[Told],
    members: Iterable[Member],
) -> Card:
    """The new card: of the old one what no identifier in `touched` changes, and what is told now."""
    kept = [t for t in old.told if t.key not in touched] if old else []
    return Card(person, tuple(sorted([*kept, *told])), tuple(sorted(members)))
