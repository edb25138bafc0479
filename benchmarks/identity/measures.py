"""How well records were put together, in figures. PURE.

Everything is counted from the sizes of the cells in which a true person and a made cluster meet, so a
hundred thousand records take a moment; `tests/identity_bench/test_measures.py` counts the same pair by
pair. A *pair* is two records; it is true when both are of one person, and made when both are in one cluster.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Protocol

Key = str


class Known(Protocol):
    """What is known of a record: its key, and the truth about it."""

    @property
    def key(self) -> Key:
        """What it is called in clusters."""

    @property
    def person(self) -> str:
        """The true person."""

    @property
    def group(self) -> str:
        """The naming group of the person."""

    @property
    def agency(self) -> str:
        """Who holds it."""

    @property
    def slices(self) -> frozenset[str]:
        """What it is an example of."""


class Linked(Protocol):
    """What a way of linking made of the records; `Outcome` says what each means."""

    @property
    def clusters(self) -> Mapping[Key, str]:
        """Record to person."""

    @property
    def reviews(self) -> Collection[Key] | None:
        """Records for a steward."""

    @property
    def keys(self) -> Mapping[Key, Collection[str]]:
        """Record to blocking keys."""

    @property
    def candidates(self) -> Sequence[int]:
        """Persons scored."""

    @property
    def seconds(self) -> float:
        """How long it took."""


class Pair(Protocol):
    """Two identities that must never be joined."""

    @property
    def before(self) -> str:
        """The person before."""

    @property
    def after(self) -> str:
        """The person after."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a way of linking made of the records.

    `clusters`: record key to the person made for it. `reviews`: the records sent to a steward; None where
    that cannot be seen. `keys`:
    the blocking keys by which each record could be found (empty where a method has none). `candidates`:
    how many persons were scored per record, in order of arrival.
    """

    clusters: Mapping[Key, str]
    reviews: Collection[Key] | None = frozenset()
    keys: Mapping[Key, Collection[str]] = field(default_factory=dict)
    candidates: Sequence[int] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs counted: true ones, made ones, and those that are both."""

    true: int = 0
    made: int = 0
    both: int = 0

    @property
    def precision(self) -> float:
        """The share of made pairs that are true; 1 when none was made."""
        return self.both / self.made if self.made else 1.0

    @property
    def recall(self) -> float:
        """The share of true pairs that were made; 1 when there are none."""
        return self.both / self.true if self.true else 1.0

    @property
    def f1(self) -> float:
        """Their harmonic mean."""
        return 2 * self.both / (self.true + self.made) if self.true + self.made else 1.0

    def __sub__(self, other: Pairs) -> Pairs:
        return Pairs(self.true - other.true, self.made - other.made, self.both - other.both)


def pairs(truth: Mapping[Key, str], clusters: Mapping[Key, str]) -> Pairs:
    """Pairs among all records of `truth`; a record without a cluster stands alone."""
    persons, made, cells = Counter(truth.values()), Counter[str](), Counter[tuple[str, str]]()
    for key, person in truth.items():
        cluster = clusters.get(key)
        if cluster is not None:
            made[cluster] += 1
            cells[person, cluster] += 1
    return Pairs(_two(persons.values()), _two(made.values()), _two(cells.values()))


def pairs_with(
    truth: Mapping[Key, str], clusters: Mapping[Key, str], some: Collection[Key]
) -> Pairs:
    """Pairs in which at least one record is one of `some`."""
    others = {key: person for key, person in truth.items() if key not in some}
    return pairs(truth, clusters) - pairs(others, clusters)


def merged_people(truth: Mapping[Key, str], clusters: Mapping[Key, str]) -> set[str]:
    """The true persons of whom some record is in one cluster with a record of somebody else."""
    inside: dict[str, set[str]] = defaultdict(set)
    for key, person in truth.items():
        if key in clusters:
            inside[clusters[key]].add(person)
    return {person for persons in inside.values() if len(persons) > 1 for person in persons}


def joined(truth: Mapping[Key, str], clusters: Mapping[Key, str], two: Iterable[Pair]) -> int:
    """How many pairs of persons share a cluster that must not."""
    held: dict[str, set[str]] = defaultdict(set)
    for key, person in truth.items():
        if key in clusters:
            held[person].add(clusters[key])
    return sum(bool(held[pair.before] & held[pair.after]) for pair in two)


def merged_siblings(records: Iterable[Known], clusters: Mapping[Key, str]) -> tuple[int, int]:
    """Of the persons of a multiple birth who have a sibling's records here: how many share a cluster
    with one, and how many there are. Siblings are told by slices `birth:…`."""
    births: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for record in records:
        for name in record.slices:
            if name.startswith("birth:"):
                births[name][record.person].add(clusters.get(record.key, record.key))
    merged = everyone = 0
    for siblings in births.values():
        if len(siblings) > 1:
            everyone += len(siblings)
            merged += sum(
                any(mine & theirs for other, theirs in siblings.items() if other != person)
                for person, mine in siblings.items()
            )
    return merged, everyone


def missed_by_blocking(truth: Mapping[Key, str], keys: Mapping[Key, Collection[str]]) -> Pairs:
    """True pairs, and of these the ones whose records share a key (`both`); no key brings the rest
    together, though another record of the same person still may."""
    held: dict[str, list[frozenset[str]]] = defaultdict(list)
    for key, person in truth.items():
        held[person].append(frozenset(keys.get(key, ())))
    true = both = 0
    for members in held.values():
        true += _two([len(members)])
        both += sum(not a.isdisjoint(b) for a, b in combinations(members, 2))
    return Pairs(true, 0, both)


def components(members: Sequence[Key], keys: Mapping[Key, Collection[str]]) -> dict[Key, Key]:
    """Member to one member of its component, where members that share a key are connected: what pairs
    become when they are taken for clusters."""
    parent = {m: m for m in members}

    def root(member: Key) -> Key:
        while parent[member] != member:
            parent[member] = parent[parent[member]]
            member = parent[member]
        return member

    first: dict[str, Key] = {}
    for member in members:
        for key in keys.get(member, ()):
            one, other = root(first.setdefault(key, member)), root(member)
            if one != other:
                parent[other] = one
    return {m: root(m) for m in members}


def by_group(records: Iterable[Known], clusters: Mapping[Key, str]) -> dict[str, Pairs]:
    """Pairs per naming group; a wrong pair across groups counts in the group of each of its records."""
    found = list(records)
    truth = {r.key: r.person for r in found}
    members: dict[str, set[Key]] = defaultdict(set)
    for record in found:
        members[record.group].add(record.key)
    return {group: pairs_with(truth, clusters, keys) for group, keys in sorted(members.items())}


def by_agency(records: Iterable[Known], clusters: Mapping[Key, str]) -> dict[str, Pairs]:
    """Pairs in which at least one record is an agency's own."""
    found = list(records)
    truth = {r.key: r.person for r in found}
    members: dict[str, set[Key]] = defaultdict(set)
    for record in found:
        members[record.agency].add(record.key)
    return {name: pairs_with(truth, clusters, keys) for name, keys in sorted(members.items())}


def _share(some: Collection[Key] | None, truth: Mapping[Key, str]) -> float | None:
    if some is None:
        return None
    return len(set(some) & truth.keys()) / len(truth) if truth else 0.0


def _two(sizes: Iterable[int]) -> int:
    return sum(n * (n - 1) // 2 for n in sizes)


@dataclass(frozen=True, slots=True)
class Report:
    """Every measure of the accuracy table for one way of linking. Shares are between 0 and 1."""

    method: str
    records: int
    people: int
    all: Pairs
    no_nhs: Pairs
    unlabelled: Pairs
    merged_per_100k: float
    sealed_joined: int
    sealed: int
    twins: int
    twins_merged: int
    reviews: float | None
    missed: float | None
    groups: Mapping[str, Pairs]
    agencies: Mapping[str, Pairs]
    candidates: float | None
    candidates_most: int
    seconds: float

    @property
    def twins_merged_per_100k(self) -> float:
        """Per 100,000 twins."""
        return self.twins_merged / self.twins * 100_000 if self.twins else 0.0

    @property
    def worst_group(self) -> tuple[str, float]:
        """The naming group with the lowest recall, and that recall over the best group's."""
        return _worst(self.groups)

    @property
    def worst_agency(self) -> tuple[str, float]:
        """The agency with the lowest recall, and that recall over the best agency's."""
        return _worst(self.agencies)


def _worst(found: Mapping[str, Pairs]) -> tuple[str, float]:
    counted = {name: p.recall for name, p in found.items() if p.true}
    if not counted:
        return "", 1.0
    name = min(counted, key=counted.__getitem__)
    best = max(counted.values())
    return name, counted[name] / best if best else 1.0


def report(
    method: str, records: Sequence[Known], outcome: Linked, sealed: Iterable[Pair] = ()
) -> Report:
    """Measure an outcome against the truth. Each record counts once, however often it was sent."""
    once = list({r.key: r for r in records}.values())
    truth = {r.key: r.person for r in once}
    clusters, two = outcome.clusters, list(sealed)
    people = len(set(truth.values()))
    without = {r.key for r in once if "no NHS number" in r.slices}
    merged, everyone = merged_siblings(once, clusters)
    # What carries the label of a sealed identity is nobody's candidate, and is meant to stay alone.
    open_ = {r.key: r.person for r in once if "labelled" not in r.slices}
    blocked = missed_by_blocking(open_, outcome.keys) if outcome.keys else None
    return Report(
        method=method,
        records=len(once),
        people=people,
        all=pairs(truth, clusters),
        no_nhs=pairs_with(truth, clusters, without),
        unlabelled=pairs(open_, clusters),
        merged_per_100k=len(merged_people(truth, clusters)) / people * 100_000 if people else 0.0,
        sealed_joined=joined(truth, clusters, two),
        sealed=len(two),
        twins=everyone,
        twins_merged=merged,
        reviews=_share(outcome.reviews, truth),
        missed=1 - blocked.recall if blocked else None,
        groups=by_group(once, clusters),
        agencies=by_agency(once, clusters),
        candidates=sum(outcome.candidates) / len(outcome.candidates)
        if outcome.candidates
        else None,
        candidates_most=max(outcome.candidates, default=0),
        seconds=outcome.seconds,
    )
