"""The online linking of the identity manager with nothing but memory under it.

The same pure steps in the same order as the feed takes them: traits, keys, postings that split when
they are full, the profiles of the persons they name, the decision, its application, frequencies
counted anew whenever the population has grown by half. What takes the exchange an hour takes a minute
here, so that a model can be tuned; what it cannot show (races, transactions) the server's tests do.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Protocol

from affinity.pack import load as load_pack
from pix.blocking import FULL, QUARANTINE, Key, keys
from pix.identifiers import Domains
from pix.matching import Decision, Member, Profile, decide
from pix.model import Frequencies, Model, tallied
from pix.traits import Traits, traits

TODAY = date(2026, 11, 25)
# How many distinct sets of traits a profile holds, and how many persons are scored for one record.
MOST_MEMBERS, MOST_SCORED = 32, 500


class Fed(Protocol):
    """What is fed: a source's record with its Patient."""

    @property
    def system(self) -> str: ...

    @property
    def value(self) -> str: ...

    @property
    def patient(self) -> Mapping[str, Any]: ...


@dataclass(slots=True)
class Outcome:
    """What became of the records. `clusters`: record key → person; `reviews`: the records that went to
    a person; `keys`: what each record was posted under, from which the pairs that no key brings
    together follow; `candidates`: persons scored per record."""

    clusters: dict[str, str] = field(default_factory=dict)
    reviews: set[str] = field(default_factory=set)
    keys: dict[str, frozenset[str]] = field(default_factory=dict)
    candidates: list[int] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    decisions: dict[str, Decision] = field(default_factory=dict)
    traits: dict[str, Traits] = field(default_factory=dict)
    full: int = 0
    seconds: float = 0


@dataclass(slots=True)
class _Person:
    members: dict[Traits, tuple[list[str], bool]] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)

    made: Profile | None = None

    def profile(self, person: str) -> Profile:
        if self.made is None:
            self.made = Profile(
                person, tuple(Member(tuple(r), t, firm) for t, (r, firm) in self.members.items())
            )
        return self.made

    def add(self, record: str, t: Traits, firm: bool) -> None:
        self.made = None
        if t in self.members:
            self.members[t][0].append(record)
        elif len(self.members) < MOST_MEMBERS:
            self.members[t] = ([record], firm)


class Store:
    """Persons, profiles and postings in dictionaries."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.frequencies: Frequencies = model.frequencies
        self.persons: dict[str, _Person] = {}
        self.postings: dict[str, dict[str, None]] = {}
        self.full: set[str] = set()
        self.counted_at = 1000
        self.made = 0

    def candidates(self, found: tuple[Key, ...]) -> list[str]:
        """The persons that keys name, those of most keys first; full keys by their finer ones."""
        hits: Counter[str] = Counter()
        spare: Counter[str] = Counter()
        for key in found:
            for text in key.finer if key.text in self.full else (key.text,):
                posted = self.postings.get(text, {})
                if key.strong and len(posted) > QUARANTINE:
                    continue
                (spare if key.spare else hits).update(posted.keys())
        ranked = hits or spare
        return [p for p, _ in sorted(ranked.items(), key=lambda i: (-i[1], i[0]))[:MOST_SCORED]]

    def post(self, person: str, found: tuple[Key, ...]) -> None:
        for key in found:
            for text in key.finer if key.text in self.full else (key.text,):
                self._put(text, person)
            posted = self.postings.get(key.text, {})
            if len(posted) > FULL and not key.strong and key.text not in self.full:
                self._split(key.text, tuple(posted))

    def _put(self, text: str, person: str) -> None:
        self.postings.setdefault(text, {})[person] = None
        self.persons[person].keys.add(text)

    def _split(self, text: str, persons: tuple[str, ...]) -> None:
        self.full.add(text)
        for person in persons:
            for t in list(self.persons[person].members):
                for key in keys(t):
                    if key.text == text:
                        for finer in key.finer:
                            self._put(finer, person)
        del self.postings[text]

    def merge(self, kept: str, gone: str) -> None:
        left = self.persons.pop(gone)
        for text in left.keys:
            posted = self.postings.get(text)
            if posted is not None:
                posted.pop(gone, None)
                self._put(text, kept)
        for t, (records, firm) in left.members.items():
            for record in records:
                self.persons[kept].add(record, t, firm)

    def part(self, left: str, person: str, record: str, t: Traits) -> None:
        """A record leaves a person for another, and its keys with it where nobody else has them."""
        old = self.persons[left]
        old.made = None
        records = old.members[t][0]
        records.remove(record)
        if not records:
            del old.members[t]
        kept = {text for m in old.members for k in keys(m) for text in (k.text, *k.finer)}
        for text in {text for k in keys(t) for text in (k.text, *k.finer)} - kept:
            self.postings.get(text, {}).pop(left, None)
            old.keys.discard(text)
        self.persons[person].add(record, t, True)
        self.post(person, keys(t))

    def count(self) -> None:
        """Frequencies anew, once the population has grown by half."""
        if len(self.persons) < self.counted_at:
            return
        self.counted_at = len(self.persons) * 3 // 2
        counts: Counter[str] = Counter()
        for person in self.persons.values():
            counts.update(tallied(person.members))
        own = Frequencies.counted("own", len(self.persons), counts, self.model)
        self.frequencies = own.blended(self.model.frequencies)


def run(
    records: Iterable[Fed],
    model: Model,
    *,
    known: Mapping[str, Traits] | None = None,
    today: date = TODAY,
) -> Outcome:
    """Feeds records in their order and tells what became of each. `known` are traits made before."""
    domains = Domains(load_pack("greater_manchester"), "https://exchange.example/fhir")
    store, outcome = Store(model), Outcome()
    moved: dict[str, str] = {}
    began = time.process_time()
    for record in records:
        key = f"{record.system}|{record.value}"
        t = known[key] if known is not None else traits(record.patient, domains)
        found = keys(t)
        candidates = store.candidates(found)
        profiles = [store.persons[p].profile(p) for p in candidates]
        decision = decide(t, profiles, model, store.frequencies, today=today)
        person = decision.person
        if decision.kind in ("review", "new"):
            store.made += 1
            person = f"P{store.made:07d}"
            store.persons[person] = _Person()
        for gone in decision.merged:
            store.merge(person, gone)
            moved[gone] = person
        for one in decision.parted:
            store.part(_now(outcome.clusters[one], moved), person, one, outcome.traits[one])
            outcome.clusters[one] = person
        store.persons[person].add(key, t, True)
        store.post(person, found)
        store.count()
        outcome.clusters[key] = person
        outcome.kinds[decision.kind] += 1
        outcome.candidates.append(len(candidates))
        outcome.keys[key] = frozenset(k.text for k in found)
        outcome.decisions[key] = decision
        outcome.traits[key] = t
        if decision.kind == "review" or decision.others:
            outcome.reviews.add(key)
    outcome.seconds = time.process_time() - began
    outcome.full = len(store.full)
    for key, last in outcome.clusters.items():
        outcome.clusters[key] = _now(last, moved)
    return outcome


def _now(person: str, moved: Mapping[str, str]) -> str:
    """The person that a person has become."""
    while person in moved:
        person = moved[person]
    return person
