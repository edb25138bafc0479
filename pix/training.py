"""Estimating a model from records whose people are known. PURE.

m is counted over pairs of records of one person, u over random pairs of people: never from households
without labels, for there "surname and address" passes for identity (matching digest §6.2). What chance
agreement of a number is worth is set by hand: nobody has data enough to see one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from random import Random
from typing import Any

from pix.likening import ASPECTS, levels, names_alike
from pix.model import tallied
from pix.traits import Traits

# How often two different people agree by chance, where drawing pairs cannot tell (matching digest §4.4).
CHANCE: Mapping[tuple[str, str], float] = {
    ("nhs", "verified"): 1e-7,
    ("nhs", "same"): 1e-5,
    ("upn", "same"): 1e-6,
    ("nino", "same"): 1e-6,
    ("pnc", "same"): 1e-6,
    ("cro", "same"): 1e-6,
    ("others", "same"): 1e-6,
    ("local", "same"): 1e-5,
    # 1 January is what systems and border officers write for an unknown day: eight bits, whatever a
    # made city says (between the caps of the matching digest §4.4 and the domain digest §1.5).
    ("born", "exact_vague"): 2.24e-5,
}
# How often a value is simply wrong, whatever the labels say: no aspect may be surer than this that a
# difference means two people. One made city is never quite like another, nor like a real one.
DOUBT: Mapping[str, float] = {
    "name": 0.0005, "born": 0.0005, "nhs": 0.004, "upn": 0.01, "nino": 0.01, "pnc": 0.2, "cro": 0.05,
    "others": 0.2, "local": 0.01, "middle": 0.05, "sex": 0.015, "address": 0.2, "phone": 0.2,
    "email": 0.3,
}  # fmt: skip
# How often one dwelling is written in two ways, at the least: a made city writes each the same everywhere,
# and would take a shared postcode for a neighbour's. In the justice matcher's data a postcode is shared by
# four true pairs in five and a line of address need not be (domain digest §1.5).
AT_LEAST: Mapping[tuple[str, str], float] = {("address", "postcode"): 0.03}
# How much likelier two people share a whole name than if given names and surnames were independent.
TOGETHER = 8.0
# Of one large person no more pairs are counted than this, so that nobody outweighs the rest.
MOST_PAIRS = 15
# A level that was never seen is taken to be this rare.
LEAST = 0.4

Counts = tuple[Counter[int], ...]


def matched_pairs(
    persons: Iterable[Sequence[Traits]], dice: Random
) -> Iterable[tuple[Traits, Traits]]:
    """Pairs of records of one person, for m."""
    for held in persons:
        pairs = list(combinations(held, 2))
        yield from pairs if len(pairs) <= MOST_PAIRS else dice.sample(pairs, MOST_PAIRS)


def random_pairs(
    persons: Sequence[Sequence[Traits]], count: int, dice: Random
) -> Iterable[tuple[Traits, Traits]]:
    """Pairs of records of two people drawn at random, for u."""
    for _ in range(count):
        one, other = dice.randrange(len(persons)), dice.randrange(len(persons))
        if one != other:
            yield dice.choice(persons[one]), dice.choice(persons[other])


def counted(pairs: Iterable[tuple[Traits, Traits]]) -> Counts:
    """How often each level of each aspect was found."""
    found: Counts = tuple(Counter() for _ in ASPECTS)
    for a, b in pairs:
        for counter, level in zip(found, levels(a, b), strict=True):
            if level >= 0:
                counter[level] += 1
    return found


def shares(counts: Counts) -> dict[str, dict[str, float]]:
    """Counts as shares of the pairs in which the aspect said anything, never quite nought."""
    made: dict[str, dict[str, float]] = {}
    for aspect, counter in zip(ASPECTS, counts, strict=True):
        total = sum(counter.values()) + LEAST * len(aspect.levels)
        made[aspect.id] = {
            level.id: (counter[place] + LEAST) / total for place, level in enumerate(aspect.levels)
        }
    return made


def trained(
    persons: Sequence[Sequence[Traits]],
    settings: Mapping[str, Any],
    *,
    version: str,
    dice: Random,
    randoms: int = 2_000_000,
    doubt: Mapping[str, float] = DOUBT,
) -> dict[str, Any]:
    """A model as JSON: levels from these people, thresholds and the rest of `settings` as they are."""
    m = shares(counted(matched_pairs(persons, dice)))
    u = shares(counted(random_pairs(persons, randoms // 5, dice)))
    # Chance agreement of a whole name is so rare that it takes many more pairs to be seen.
    u["name"] = _names_by_chance(persons, randoms, dice)
    names: dict[str, Counter[str]] = {"given": Counter(), "surname": Counter()}
    for held in persons:
        for key in tallied(held):
            kind, _, value = key.partition("|")
            if kind in names:
                names[kind][value] += 1
    people = len(persons)
    return {
        **settings,
        "version": version,
        "people": people,
        "mean": {k: _round(sum((n / people) ** 2 for n in c.values())) for k, c in names.items()},
        "levels": {
            aspect.id: {
                level.id: {
                    "m": _round(
                        max(
                            _doubted(
                                doubt[aspect.id], m[aspect.id][level.id], u[aspect.id][level.id]
                            ),
                            AT_LEAST.get((aspect.id, level.id), 0),
                        )
                    ),
                    "u": _round(CHANCE.get((aspect.id, level.id), u[aspect.id][level.id])),
                }
                for level in aspect.levels
            }
            for aspect in ASPECTS
        },
        "common": {
            kind: {v: _round(n / people) for v, n in counter.most_common(400) if n / people > 2e-4}
            for kind, counter in names.items()
        },
    }


def _names_by_chance(
    persons: Sequence[Sequence[Traits]], count: int, dice: Random
) -> dict[str, float]:
    """u of the name levels over random pairs of two people. Of the whole name it is not drawn but
    reckoned, and taken for more than the product says: names go together in families and communities
    (matching digest §4.4)."""
    names = [held[0].names[0] for held in persons if held and held[0].names]
    counter: Counter[int] = Counter()
    for _ in range(count):
        one, other = dice.randrange(len(names)), dice.randrange(len(names))
        if one != other:
            counter[names_alike(names[one], names[other]).level] += 1
    del counter[-1]
    found = shares((counter, *(Counter[int]() for _ in ASPECTS[1:])))["name"]
    people = len(names)
    given, family = (
        sum((n / people) ** 2 for n in Counter(values).values())
        for values in ((n.given for n in names), (n.family for n in names))
    )
    return {**found, "both": min(1.0, max(found["both"], TOGETHER * given * family))}


def _doubted(doubt: float, m: float, u: float) -> float:
    return (1 - doubt) * m + doubt * u


def _round(share: float) -> float:
    return float(f"{share:.3g}")
