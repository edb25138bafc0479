"""PURE. The second population, in the order in which it would arrive, with the truth beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from benchmarks.identity.recording import Record
from benchmarks.identity.second.households import households
from benchmarks.identity.second.life import Life
from benchmarks.identity.second.offices import records


@dataclass(frozen=True, slots=True)
class Sealed:
    """Two identities of one human that must never be seen to be one."""

    before: str
    after: str


@lru_cache(maxsize=2)
def _city(seed: int, count: int) -> tuple[tuple[Record, ...], tuple[Sealed, ...]]:
    found: dict[str, Record] = {}
    two: list[Sealed] = []
    for household in households(seed):
        made = [(life, list(records(life, seed))) for life in household]
        held = {life.person for life, rows in made if rows}
        two += [
            Sealed(life.person, after)
            for life, _ in made
            if (after := _after(life)) in held and life.person in held
        ]
        for _, rows in made:
            found |= {record.key: record for record in rows}
        if len(found) >= count:
            break
    order = sorted(found)
    Random(f"{seed}/arrivals").shuffle(order)
    return tuple(found[key] for key in order), tuple(two)


def _after(life: Life) -> str:
    return life.seal.partition(" ")[2]


def arrivals(seed: int, count: int, updates: float = 0.0) -> Sequence[Record]:
    """About `count` records of whole households, in no order. Sending again is not part of this population.

    Raises ValueError when updates are asked for.
    """
    if updates:
        raise ValueError("The second population has no updates; leave --updates out.")
    return _city(seed, count)[0]


def sealed(seed: int, count: int) -> Sequence[Sealed]:
    """The sealed pairs of `arrivals` that have records on both sides."""
    return _city(seed, count)[1]
