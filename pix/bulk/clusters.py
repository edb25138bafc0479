"""From pairs to persons: the decisions of the online path, taken for many records at once. PURE.

Pairs only say who may be compared. Within each group of records that pairs connect, the records are put
to the persons made so far in the order in which they came, by `matching.decide`, with its vetoes over
whole clusters, its margin and its bridges; so the same file makes the same persons whether it is loaded
or fed, as far as the frequencies of names are the same (decision 0017).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from pix.claims import NO_DATES
from pix.linking import ANCHOR, rivals
from pix.matching import Decision, Profile, Rival, decide, score
from pix.model import Frequencies, Model, tallied
from pix.profiles import Said, drawn, opened
from pix.traits import Traits


class Union:
    """Groups of places that are connected."""

    def __init__(self, count: int) -> None:
        self._root = list(range(count))

    def root(self, place: int) -> int:
        """The least place of the group."""
        root = self._root
        while root[place] != place:
            root[place] = root[root[place]]
            place = root[place]
        return place

    def join(self, one: int, other: int) -> None:
        """The two are connected."""
        a, b = self.root(one), self.root(other)
        if a != b:
            self._root[max(a, b)] = min(a, b)

    def groups(self) -> Iterator[list[int]]:
        """Every group, its places in order."""
        found: dict[int, list[int]] = {}
        for place in range(len(self._root)):
            found.setdefault(self.root(place), []).append(place)
        return iter(found.values())


def frequencies(
    said: Sequence[bytes], sure: Iterable[tuple[int, int]], model: Model, version: str
) -> Frequencies:
    """How common names and homes are among the people of these records, taking for one person whom
    `sure` connects: what chatty agencies repeat is not common for that."""
    union = Union(len(said))
    for one, other in sure:
        union.join(one, other)
    counts: dict[str, int] = defaultdict(int)
    people = 0
    for group in union.groups():
        people += 1
        for key in tallied(opened(said[place]) for place in group):
            counts[key] += 1
    return Frequencies.counted(version, people, counts, model).blended(model.frequencies)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that is left: the record may be this person (an index of `Persons`)."""

    record: int
    person: int
    rival: Rival


@dataclass(frozen=True, slots=True)
class Joined:
    """Why a record is with its person."""

    decision: Decision
    merged: tuple[int, ...] = ()


@dataclass(slots=True)
class Persons:
    """What became of the records of one group: members by person, why each joined, and questions."""

    members: dict[int, list[int]] = field(default_factory=dict)
    joined: dict[int, Joined] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    kinds: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rules:
    """By what is decided: the model, the frequencies, the day, and what people decided about pairs of
    records."""

    model: Model
    frequencies: Frequencies
    today: date
    apart: Mapping[int, Collection[int]] = field(default_factory=dict)
    tied: Mapping[int, Collection[int]] = field(default_factory=dict)


class Replay:
    """The persons of one group, as they come about."""

    def __init__(self, said: Mapping[int, bytes], rules: Rules) -> None:
        self.said, self.rules = said, rules
        self.found = Persons()
        self._of: dict[int, int] = {}
        self._edges: dict[int, float | None] = {}
        self._profiles: dict[int, Profile] = {}
        self._anchors: dict[str, set[int]] = defaultdict(set)
        self._moved: dict[int, int] = {}

    def run(self, beside: Mapping[int, Collection[int]]) -> Persons:
        """Place every record in order; `beside` are the records that it shares a pair with."""
        for record in sorted(self.said):
            self._place(record, beside.get(record, ()))
        for one in list(self.found.asked):
            person = self._now(one.person)
            if person == self._of[one.record] or person != one.person:
                self.found.asked.remove(one)
                if person != self._of[one.record]:
                    self.found.asked.append(Asked(one.record, person, one.rival))
        return self.found

    def _now(self, person: int) -> int:
        while person in self._moved:
            person = self._moved[person]
        return person

    def _place(self, record: int, beside: Collection[int]) -> None:
        traits, rules = opened(self.said[record]), self.rules
        excluded = self._persons(rules.apart.get(record, ()))
        included = self._persons(rules.tied.get(record, ()))
        anchored = set() if traits.sealed else self._anchored(traits)
        near = {self._of[o] for o in beside if o in self._of} | included | anchored
        profiles = [self._profile(p) for p in sorted(near)]
        decision = decide(
            traits, profiles, rules.model, rules.frequencies, today=rules.today,
            excluded=_named(excluded), included=_named(included), apart=self._apart(near),
        )  # fmt: skip
        if not included:
            decision = self._by_anchor(traits, decision, anchored - excluded, profiles)
        self.found.kinds[record] = decision.kind
        if decision.kind in ("join", "bridge"):
            self._join(record, decision)
        else:
            self._put(record, record, None)
        self._follow(record, decision.parted)
        asked = rivals(decision) if decision.kind == "review" else decision.others
        self.found.asked += [Asked(record, int(r.person), r) for r in asked]
        for anchor in _anchor(traits):
            self._anchors[anchor].add(record)

    def _persons(self, records: Iterable[int]) -> set[int]:
        return {self._of[r] for r in records if r in self._of}

    def _anchored(self, traits: Traits) -> set[int]:
        return {p for anchor in _anchor(traits) for p in self._persons(self._anchors[anchor])}

    def _apart(self, persons: Collection[int]) -> set[tuple[str, str]]:
        made: set[tuple[str, str]] = set()
        for person in persons if self.rules.apart else ():
            for record in self.found.members[person]:
                for other in self._persons(self.rules.apart.get(record, ())):
                    a, b = sorted(_named((person, other)))
                    made.add((a, b))
        return made

    def _by_anchor(
        self, traits: Traits, decision: Decision, anchored: set[int], profiles: Sequence[Profile]
    ) -> Decision:
        """As linking does: a verified number and the birth date are reason enough, without a veto."""
        if len(anchored) != 1:
            return decision
        (name,) = _named(anchored)
        if name in (decision.person, *decision.merged) and decision.kind in ("join", "bridge"):
            return decision
        rules = self.rules
        profile = next(p for p in profiles if p.person == name)
        rival = score(traits, profile, rules.model, rules.frequencies, rules.today)
        if rival is None or rival.vetoes:
            return decision
        others = tuple(r for r in rivals(decision) if r.person != name)
        return Decision("join", name, rival.weight, 0, rival.comparison, others, reason=ANCHOR)

    def _join(self, record: int, decision: Decision) -> None:
        persons = [int(decision.person), *map(int, decision.merged)]
        stays, *gone = sorted(persons, key=lambda p: (-len(self.found.members[p]), p))
        for person in gone:
            for member in self.found.members.pop(person):
                self._put(member, stays, self._edges[member])
            self._moved[person] = stays
            self._profiles.pop(person, None)
        self._put(record, stays, decision.weight)
        self.found.joined[record] = Joined(decision, tuple(gone))

    def _follow(self, record: int, parted: Iterable[str]) -> None:
        """Records that this one shows to be in the wrong person go where it goes."""
        for one in map(int, parted):
            left = self._of[one]
            if left != self._of[record] and len(self.found.members[left]) > 1:
                self.found.members[left].remove(one)
                self._profiles.pop(left, None)
                self._put(one, self._of[record], self._edges[one])

    def _put(self, record: int, person: int, edge: float | None) -> None:
        self._of[record], self._edges[record] = person, edge
        self.found.members.setdefault(person, []).append(record)
        self._profiles.pop(person, None)

    def _profile(self, person: int) -> Profile:
        kept = self._profiles.get(person)
        if kept is None:
            (name,) = _named((person,))
            records = self.found.members[person]
            said = [Said(_named((r,))[0], self.said[r], self._edges[r]) for r in records]
            kept = drawn(name, said).profile(self.rules.model.thresholds.join)
            self._profiles[person] = kept
        return kept


def _named(places: Iterable[int]) -> list[str]:
    """Places as names that sort as they do."""
    return [f"{p:012d}" for p in places]


def _anchor(traits: Traits) -> list[str]:
    verified = [n.value for n in traits.numbers if n.domain == "nhs" and n.verified]
    born = traits.born[0] if traits.born else ""
    return [f"{verified[0]} {born}"] if len(verified) == 1 and born and born not in NO_DATES else []


def clustered(
    said: Sequence[bytes], pairs: Sequence[tuple[int, int]], rules: Rules
) -> Iterator[Persons]:
    """The persons that these records are; `pairs` are those that may reach the review band."""
    union = Union(len(said))
    beside: dict[int, list[int]] = defaultdict(list)
    for one, other in pairs:
        union.join(one, other)
        beside[one].append(other)
        beside[other].append(one)
    for one, others in rules.tied.items():
        for other in others:
            union.join(one, other)
    for group in union.groups():
        if len(group) == 1:
            yield Persons({group[0]: group}, {}, [], {group[0]: "new"})
        else:
            yield Replay({place: said[place] for place in group}, rules).run(beside)
