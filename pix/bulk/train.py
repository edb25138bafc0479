"""`people train`: a model from records, estimated by Splink, and what it changes.

    records ─► columns (levels.py) ─► Splink on DuckDB: u from random pairs, m from labels or by EM ─► model

Labelled, m is counted over pairs that are known to be one person. Without labels EM finds m within tight
blocks, each time for the aspects that the block does not hold fixed. What chance agreement of a personal
number is worth is never estimated: nobody has data enough to see one (training.CHANCE), and no aspect may
be surer than training.DOUBT that a difference means two people. Thresholds and caps are those of the
model that is trained from; they are chosen on whole clusters, not here (matching digest §1).
"""

# ruff: noqa: S608 - statements are put together from our own rows, never from what records say

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from pix.bulk.engine import Bench, needed, workplace
from pix.bulk.levels import COMPARED, settings
from pix.bulk.pairs import fill, liken, liken_all
from pix.likening import ASPECTS
from pix.model import Model, read, tallied
from pix.profiles import opened
from pix.training import CHANCE, DOUBT

Told = Callable[[str, int, int], None]
STEPS = ("columns", "words", "alike", "chance (u)", "agreement (m)")
# Tight blocks for EM, and why two of them: what a block holds fixed it cannot teach (Splink's own advice).
BLOCKS = (
    "l.born = r.born AND l.born <> '' AND l.first_postcode = r.first_postcode",
    "l.first_given = r.first_given AND l.first_family = r.first_family AND l.first_given <> ''",
)

# Records that are drawn for u: their pairs are millions, their words still few.
SAMPLE = 3000


class CannotTrain(Exception):  # noqa: N818  something for the operator, in words
    """There is too little to learn from, and of what."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """How to train: the version of the new model, the most random pairs for u, and the seed by which they
    are drawn."""

    version: str
    pairs: int = 2_000_000
    seed: int = 1
    folder: Path | None = None
    memory: str = ""
    threads: int = 0


def train(
    said: Sequence[bytes],
    labels: Sequence[str],
    present: Model,
    shown: Mapping[str, Any],
    wanted: Wanted,
    told: Told,
) -> dict[str, Any]:
    """The new model as JSON.

    `said` are packed traits of records, `labels` the person of each ("" where it is not known; none at
    all: EM). `shown` is the present model's JSON, of which thresholds and caps are kept. Raises
    `CannotTrain`, and `engine.Missing` without Splink.
    """
    if len(said) < 100:
        raise CannotTrain(
            f"There are {len(said)} records; a model is not learnt from fewer than 100."
        )
    with workplace(wanted.folder, wanted.memory, wanted.threads) as bench:
        estimated = _estimated(bench, said, labels, present, wanted, told)
    persons = _persons(said, labels)
    made = _model(estimated, persons, present, shown, wanted.version)
    read(made)  # says what is wrong with it, if anything is
    return made


Shares = dict[str, dict[str, tuple[float | None, float | None]]]


def _estimated(
    bench: Bench,
    said: Sequence[bytes],
    labels: Sequence[str],
    present: Model,
    wanted: Wanted,
    told: Told,
) -> Shares:
    splink = needed("splink")
    chance = _by_chance(splink, bench, said, labels, present, wanted, told)
    fill(bench, said, told)
    if labelled := any(labels):
        rows = ({"unique_id": i, "person": p} for i, p in enumerate(labels) if p)
        bench.read("labels", ["unique_id: 'BIGINT'", "person: 'VARCHAR'"], rows)
    else:
        bench.run("CREATE TABLE labels (unique_id BIGINT, person VARCHAR)")
    bench.run(
        "CREATE TABLE beside AS SELECT unique_id, labels.person, coalesce(given[1], '') AS first_given,"
        " coalesce(family[1], '') AS first_family, coalesce(postcodes[1], '') AS first_postcode, born"
        " FROM plain LEFT JOIN labels USING (unique_id)"
    )
    blocks = ("l.person = r.person",) if labelled else BLOCKS
    union = " UNION ".join(
        "SELECT l.unique_id AS l, r.unique_id AS r FROM beside l JOIN beside r"
        f" ON l.unique_id < r.unique_id AND {block}"
        for block in blocks
    )
    bench.run(f"CREATE TABLE pairs AS {union}")
    if not bench.one("SELECT count(*) FROM pairs"):
        raise CannotTrain("No two records can be of one person; there is nothing to learn from.")
    liken(bench, said, told)
    bench.run(
        "CREATE TABLE people AS SELECT * FROM rows"
        " JOIN (SELECT * EXCLUDE (born) FROM beside) USING (unique_id)"
    )
    model = replace(present, u={a: {**present.u[a], **_seen(u)} for a, u in chance.items()})
    linker = _linker(splink, bench, "people", model)
    if labelled:
        linker.training.estimate_m_from_label_column("person")
        told("agreement (m)", 1, 1)
    else:
        for place, block in enumerate(BLOCKS):
            linker.training.estimate_parameters_using_expectation_maximisation(block)
            told("agreement (m)", place + 1, len(BLOCKS))
    agreed = _shares(linker.misc.save_model_to_json(), "m_probability")
    return {a: {v: (agreed[a][v], chance[a][v]) for v in agreed[a]} for a in agreed}


def _by_chance(
    splink: Any,
    bench: Bench,
    said: Sequence[bytes],
    labels: Sequence[str],
    present: Model,
    wanted: Wanted,
    told: Told,
) -> dict[str, dict[str, float | None]]:
    """u, over pairs of a sample among whose words every likeness is known."""
    one_each = list({label or f"?{place}": place for place, label in enumerate(labels)}.values())
    places = one_each if labels else range(len(said))
    sample = sorted(Random(wanted.seed).sample(places, min(len(places), SAMPLE)))  # noqa: S311
    some = [said[place] for place in sample]
    fill(bench, some, told)
    liken_all(bench, some, told)
    bench.run("ALTER TABLE rows RENAME TO strangers")
    linker = _linker(splink, bench, "strangers", present)
    linker.training.estimate_u_using_random_sampling(max_pairs=wanted.pairs, seed=wanted.seed)
    told("chance (u)", 1, 1)
    return _shares(linker.misc.save_model_to_json(), "u_probability")


def _linker(splink: Any, bench: Bench, table: str, model: Model) -> Any:
    frame = splink.DuckDBAPI(bench.con).register(table)
    # 40: errors only; levels that were not seen are told in the report
    return splink.Linker(frame, settings(model), log_level=40)


def _seen(shares: Mapping[str, float | None]) -> dict[str, float]:
    return {k: v for k, v in shares.items() if isinstance(v, float) and v > 0}


def _shares(saved: Mapping[str, Any], name: str) -> dict[str, dict[str, float | None]]:
    made: dict[str, dict[str, float | None]] = {}
    for comparison in saved["comparisons"]:
        aspect = next(a for a in ASPECTS if a.id == comparison["output_column_name"])
        rows = [c for c in comparison["comparison_levels"] if not c.get("is_null_level")]
        made[aspect.id] = {
            level.id: row.get(name) for level, row in zip(aspect.levels, rows, strict=False)
        }
    return made


def _persons(said: Sequence[bytes], labels: Sequence[str]) -> list[list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for place, traits in enumerate(said):
        label = labels[place] if place < len(labels) else ""
        found.setdefault(label or f"?{place}", []).append(traits)
    return list(found.values())


def _model(
    estimated: Shares,
    persons: Sequence[Sequence[bytes]],
    present: Model,
    shown: Mapping[str, Any],
    version: str,
) -> dict[str, Any]:
    names: dict[str, Counter[str]] = {"given": Counter(), "surname": Counter()}
    for held in persons:
        for key in tallied(opened(t) for t in held):
            kind, _, value = key.partition("|")
            if kind in names:
                names[kind][value] += 1
    people = len(persons)
    return {
        **shown,
        "version": version,
        "about": f"Estimated by Splink from records of {people} people; thresholds of {present.version}.",
        "people": people,
        "mean": {k: _round(sum((n / people) ** 2 for n in c.values())) for k, c in names.items()},
        "levels": {c.id: _levels(c.id, estimated[c.id], present) for c in COMPARED},
        "common": {
            kind: {v: _round(n / people) for v, n in counter.most_common(400) if n / people > 2e-4}
            for kind, counter in names.items()
        },
    }


def _levels(
    aspect: str, found: Mapping[str, tuple[float | None, float | None]], present: Model
) -> dict[str, dict[str, float]]:
    """m and u of an aspect. A level that was not seen keeps its place in the present model, so that the
    rest is scaled and never nought."""
    m = _whole({k: pair[0] for k, pair in found.items()}, present.m[aspect])
    u = _whole({k: pair[1] for k, pair in found.items()}, present.u[aspect])
    doubt = DOUBT[aspect]
    return {
        level: {
            "m": _round((1 - doubt) * m[level] + doubt * min(1.0, u[level])),
            "u": _round(CHANCE.get((aspect, level), u[level])),
        }
        for level in found
    }


def _whole(seen: Mapping[str, float | None], before: Mapping[str, float]) -> dict[str, float]:
    unseen = {k: before[k] for k, v in seen.items() if not isinstance(v, float) or not v}
    rest = max(1e-6, 1 - min(0.5, sum(unseen.values())))
    known = {k: v for k, v in seen.items() if k not in unseen and isinstance(v, float)}
    total = sum(known.values()) or 1.0
    left = {k: min(v, 0.5) for k, v in unseen.items()}
    return {k: left[k] if k in left else known[k] / total * rest for k in seen}


def _round(share: float) -> float:
    return min(1.0, max(1e-9, float(f"{share:.3g}")))


# -- the report ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Changed:
    """One level in the new model beside the present one: m, u and bits."""

    aspect: str
    level: str
    words: str
    m: float
    u: float
    bits: float
    before: float

    @property
    def by(self) -> float:
        """How many bits more it is worth now."""
        return self.bits - self.before


def changed(new: Model, present: Model) -> list[Changed]:
    """Every level of a new model beside the present one, in the order of the aspects."""
    return [
        Changed(
            aspect.id, level.id, level.words, new.m[aspect.id][level.id], new.u[aspect.id][level.id],
            new.points[a][v], present.points[a][v],
        )
        for a, aspect in enumerate(ASPECTS)
        for v, level in enumerate(aspect.levels)
    ]  # fmt: skip


def written(made: Mapping[str, Any]) -> str:
    """A model as its file holds it, for people to read."""
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"
