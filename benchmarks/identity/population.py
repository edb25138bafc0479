"""The population on which the identity manager is measured: a stream of records with a known truth. PURE.

    records(seed, 100_000)      household by household, in constant memory
    arrivals(seed, 100_000)     the same in the order in which they reach the exchange
    arrivals(…, updates=0.05)   some are sent again, some of these revised (§5.3 of the PIX digest)

About 43,000 people have 100,000 records. The same seed gives the same records for ever; train on one seed
and report on others. Truth (`Record.person`, `group`, `slices`) never reaches what is fed (`Record.patient`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from random import Random

from benchmarks.identity.people import households
from benchmarks.identity.person import Person
from benchmarks.identity.recording import Record, recorded

__all__ = ["Record", "Sealed", "arrivals", "population", "records", "sealed"]


@dataclass(frozen=True, slots=True)
class Sealed:
    """Two identities that must never be joined: before and after adoption or gender recognition."""

    before: str
    after: str
    label: str


def population(seed: int) -> Iterator[tuple[Person, tuple[Record, ...]]]:
    """People with their records, without end, household by household."""
    for home in households(seed):
        upns: set[str] = set()
        for person in home:
            held = []
            for record in recorded(person, seed):
                if record.system.endswith(
                    "/upn"
                ):  # a school that kept the UPN re-labelled its own record
                    if record.value in upns:
                        continue
                    upns.add(record.value)
                held.append(record)
            yield person, tuple(held)


def records(seed: int, count: int) -> Iterator[Record]:
    """The first `count` records, household by household."""
    return islice((r for _, held in population(seed) for r in held), count)


def sealed(seed: int, count: int) -> tuple[Sealed, ...]:
    """The sealed pairs among the people of the first `count` records, both of whom have records."""
    seen, pairs = set[str](), []
    made = 0
    for person, held in population(seed):
        made += len(held)
        if made > count:
            break
        if held:
            seen.add(person.key)
        if person.sealed is not None and person.after and held:
            pairs.append(Sealed(f"P{person.sealed:08d}", person.key, person.label))
    return tuple(p for p in pairs if p.before in seen)


def arrivals(seed: int, count: int, *, updates: float = 0.0) -> list[Record]:
    """The first `count` records in a random order, and after their first arrival a share of them again.

    Of those that are sent again, half are unchanged and half are what the source now knows better: its
    record with another draw of its own mistakes.
    """
    dice = Random(f"{seed}/arrival")
    found = list(records(seed, count))
    dice.shuffle(found)
    if updates:
        again = dice.sample(found, int(len(found) * updates))
        found += [_revised(r, dice) if dice.random() < 0.5 else r for r in again]
    return found


def _revised(record: Record, dice: Random) -> Record:
    """The same record after its source corrected the phone or took an address away."""
    patient = {k: v for k, v in record.patient.items() if k != "telecom"}
    if dice.random() < 0.3:
        patient.pop("address", None)
    return replace(record, patient=patient)
