"""What is scored and where it is found: the portraits of persons and the postings that lead to them.
PURE.

    profiles   {_id: person, n, members: [{r: [records], t: traits, e: [edges]}], f}
    postings   {_id: key, n, p: [persons], full}

A *portrait* is a function of the records of its person: each distinct set of traits once, with the
records that say it and the weights by which they are joined; at most 32 of them, the best joined
ones, so that scoring stays flat however often a record is sent. Where one record is sealed the whole
person is, and is posted under nothing but what a sealed identity may be found by.

A *posting* is one blocking key and the persons under it. At its cap it is *full* and holds nobody:
its finer keys take over. A number that more persons share than can share it by right is *full*
without finer keys, that is, in quarantine (docs/decisions/0010). Both are derived, and both are the
locks that keep two writers from making two persons of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from msgspec.structs import replace

from pix.blocking import FULL, QUARANTINE, Key, keys
from pix.matching import Member, Profile
from pix.model import tallied
from pix.traits import Traits, packed, unpacked

MEMBERS = 32
_LONE = float("inf")  # a record that no weight joined stands for its person like the best joined


class Said(NamedTuple):
    """What one record says, and the weight that joined it (None: it was there first, or a person
    decided)."""

    record: str
    traits: bytes
    edge: float | None


@dataclass(frozen=True, slots=True)
class Likeness:
    """One distinct set of traits, who says it, and their edges in the same order."""

    traits: bytes
    records: tuple[str, ...]
    edges: tuple[float | None, ...]

    @property
    def best(self) -> float:
        """The edge by which it is held best."""
        return max(_LONE if e is None else e for e in self.edges)


@dataclass(frozen=True, slots=True)
class Portrait:
    """A person as it is scored. `n` counts its records that may be compared, also those that found no
    place among the 32."""

    person: str
    n: int = 0
    members: tuple[Likeness, ...] = ()

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Portrait:
        """From its document."""
        return cls(
            document["_id"],
            document["n"],
            tuple(
                Likeness(bytes(m["t"]), tuple(m["r"]), tuple(m["e"])) for m in document["members"]
            ),
        )

    def document(self) -> dict[str, Any]:
        """As its document; `f` is what frequencies are counted over (frequencies.py)."""
        return {
            "_id": self.person,
            "n": self.n,
            "members": [
                {"r": list(m.records), "t": m.traits, "e": list(m.edges)} for m in self.members
            ],
            "f": sorted(tallied(opened(m.traits) for m in self.members)),
        }

    def posted(self) -> frozenset[Key]:
        """The keys under which the person is posted."""
        seal = self.seal
        return frozenset(k for m in self.members for k in keys_of(m.traits, seal))

    def grown_from(self, old: Portrait) -> bool:
        """Whether everything that stood in an earlier portrait still does."""
        return self.seal == old.seal and self._traits >= old._traits

    def keys_beyond(self, old: Portrait) -> frozenset[Key]:
        """The keys of what an earlier portrait did not say."""
        seal = self.seal
        return frozenset(k for t in self._traits - old._traits for k in keys_of(t, seal))

    @property
    def _traits(self) -> frozenset[bytes]:
        return frozenset(m.traits for m in self.members)

    @property
    def seal(self) -> str:
        """The label under which the person is sealed, "" when it is not."""
        return min((s for m in self.members if (s := opened(m.traits).sealed)), default="")

    def said(self) -> Iterable[Said]:
        """What its records say, record by record."""
        for member in self.members:
            for record, edge in zip(member.records, member.edges, strict=True):
                yield Said(record, member.traits, edge)

    def profile(self, join: float, without: str = "") -> Profile:
        """As it is scored, `without` what this record alone says. `join` is the threshold from which an
        edge is firm."""
        members = []
        for member in self.members:
            kept = [
                (r, e) for r, e in zip(member.records, member.edges, strict=True) if r != without
            ]
            if kept:
                firm = any(e is None or e >= join for _, e in kept)
                members.append(Member(tuple(r for r, _ in kept), opened(member.traits), firm))
        return Profile(self.person, tuple(members))


def drawn(person: str, said: Iterable[Said]) -> Portrait:
    """The portrait of a person from what its records say, in whatever order they came."""
    groups: dict[bytes, list[Said]] = {}
    n = 0
    for one in said:
        n += 1
        groups.setdefault(one.traits, []).append(one)
    made = []
    for traits, ones in groups.items():
        ones.sort()
        made.append(Likeness(traits, tuple(o.record for o in ones), tuple(o.edge for o in ones)))
    best = sorted(made, key=lambda m: (-m.best, m.traits))[:MEMBERS]
    return Portrait(person, n, tuple(sorted(best, key=lambda m: m.traits)))


@lru_cache(1 << 14)
def opened(traits: bytes) -> Traits:
    """Traits as they are kept in a portrait; what is compared often is opened once."""
    return unpacked(traits)


@lru_cache(1 << 14)
def keys_of(traits: bytes, seal: str = "") -> tuple[Key, ...]:
    """The blocking keys of traits as they are kept, and of a sealed person when `seal` says so."""
    said = opened(traits)
    return keys(replace(said, sealed=seal) if seal else said)


def kept(traits: Traits) -> bytes:
    """Traits as they are kept."""
    return packed(traits)


# -- postings -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Posting:
    """One key and the persons under it. A full one holds nobody."""

    key: str
    persons: list[str] = field(default_factory=list)
    full: bool = False

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Posting:
        """From its document."""
        return cls(document["_id"], list(document["p"]), document["full"])

    def document(self) -> dict[str, Any]:
        """As its document."""
        return {"_id": self.key, "n": len(self.persons), "p": self.persons, "full": self.full}

    def room(self, key: Key) -> bool:
        """Whether one more person may be posted under this key."""
        return len(self.persons) < (QUARANTINE if key.strong else FULL)


def texts(found: Iterable[Key]) -> set[str]:
    """Every posting that has to be read for these keys: themselves and their finer ones, so that one
    round trip is enough whichever of them is full."""
    return {text for key in found for text in (key.text, *key.finer)}


def places(found: Iterable[Key], postings: Mapping[str, Posting]) -> dict[str, Key]:
    """The postings under which a person with these keys belongs, as far as they are full now."""
    made: dict[str, Key] = {}
    for key in found:
        posting = postings.get(key.text)
        if posting is None or not posting.full:
            made[key.text] = key
        elif not key.strong:
            for text in key.finer:
                finer = postings.get(text)
                if finer is None or not finer.full:
                    made[text] = Key(text)
    return made


def reached(found: Sequence[Key], postings: Mapping[str, Posting]) -> dict[str, int]:
    """The persons that these keys lead to, and by how many keys each. The widest keys (`spare`) count
    only where the others found nobody."""
    counts: dict[str, int] = {}
    for spare in (False, True):
        if spare and counts:
            break
        for text in places([k for k in found if k.spare is spare], postings):
            posting = postings.get(text)
            for person in posting.persons if posting else ():
                counts[person] = counts.get(person, 0) + 1
    return counts
