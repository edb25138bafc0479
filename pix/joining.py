"""Whose an identifier is, and what records with one anchor say of each other. PURE.

Two records that hold the same *verified* NHS number and the same birth date, written alike, are one
person unless something else about them speaks plainly against it (linking.py; PIX digest §8.5).

An identifier belongs to a person when its source feeds that person under it; else when everyone who
verified it agrees on one person; else when everyone who carries it does. Where holders disagree it
belongs to nobody: it neither answers a query nor is named in an answer, so that no identifier is
ever told of two persons.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pix.claims import Claim, Rank

# An identifier carried for more different persons than this is a placeholder in disguise: it is no
# longer followed, which keeps its document small (PIX digest §9, block skew).
CROWD = 32
_RANKS: tuple[Rank, ...] = ("primary", "verified", "carried")


@dataclass(frozen=True, slots=True)
class Holder:
    """One record that holds an identifier. `born` is set where this is the record's anchor."""

    record: str
    person: str
    rank: Rank
    born: str
    told: bytes


@dataclass(slots=True)
class Known:
    """One identifier as the index keeps it: the record that is fed under it and everyone who holds
    it. `state` is that record's: active or subsumed, "" when nobody feeds it."""

    key: str
    system: str
    value: str
    record: str = ""
    state: str = ""
    crowd: bool = False
    holders: list[Holder] = field(default_factory=list)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Known:
        """From its document."""
        return cls(
            document["_id"],
            document["system"],
            document["value"],
            document["record"],
            document["state"],
            document["crowd"],
            [Holder(h["r"], h["p"], h["k"], h["b"], bytes(h["t"])) for h in document["holders"]],
        )

    def document(self) -> dict[str, Any]:
        """As its document; `person` is whose it is."""
        return {
            "_id": self.key,
            "system": self.system,
            "value": self.value,
            "record": self.record,
            "state": self.state,
            "crowd": self.crowd,
            "person": self.owner(),
            "holders": [
                {"r": h.record, "p": h.person, "k": h.rank, "b": h.born, "t": h.told}
                for h in sorted(self.holders, key=lambda h: h.record)
            ],
        }

    @property
    def empty(self) -> bool:
        """Whether nobody holds it any more."""
        return not self.holders and not self.record and not self.crowd

    def best(self) -> Holder | None:
        """The holder that answers for it: the highest rank, then the lowest record id."""
        order = sorted(self.holders, key=lambda h: (_RANKS.index(h.rank), h.record))
        return order[0] if order else None

    def owner(self) -> str | None:
        """The person it belongs to, None when nobody or when its holders disagree."""
        if self.state == "subsumed":
            return None
        for rank in _RANKS:
            persons = {h.person for h in self.holders if h.rank == rank}
            if rank == "carried" and self.crowd:
                return None
            if persons:
                return persons.pop() if len(persons) == 1 else None
        return None

    def drop(self, record: str) -> None:
        """This record holds it no longer."""
        self.holders = [h for h in self.holders if h.record != record]

    def moved(self, records: Collection[str], person: str) -> None:
        """These records are another person now."""
        self.holders = [
            replace(h, person=person) if h.record in records else h for h in self.holders
        ]

    def hold(self, holder: Holder) -> None:
        """This record holds it now."""
        self.drop(holder.record)
        if holder.rank == "carried":
            others = {h.person for h in self.holders if h.rank == "carried"}
            if self.crowd or len(others | {holder.person}) > CROWD:
                self.crowd = True
                self.holders = [h for h in self.holders if h.rank != "carried"]
                return
        self.holders.append(holder)


def companions(record: str, claim: Claim, known: Mapping[str, Known]) -> tuple[str, ...]:
    """The persons whose records hold the same anchor as this one: one, as a rule; several where
    something else keeps them apart."""
    if not claim.anchor or claim.anchor not in known:
        return ()
    persons = {
        h.person for h in known[claim.anchor].holders if h.born == claim.born and h.record != record
    }
    return tuple(sorted(persons))


def holders(record: str, person: str, claim: Claim) -> list[tuple[str, Holder]]:
    """Every identifier key that a record holds, with its holding."""
    made = []
    for held in claim.held:
        born = claim.born if held.identifier.key == claim.anchor else ""
        made.append((held.identifier.key, Holder(record, person, held.rank, born, held.told)))
    return made


def links(members: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """For each active record of one person, the others, in a stable order."""
    order = sorted(members)
    return {one: tuple(o for o in order if o != one) for one in order}
