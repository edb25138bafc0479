"""`people train`: a model from records, estimated by Splink, and what it changes.

    records ─► columns (levels.py) ─► Splink on DuckDB: u from random pairs, m from labels or by EM ─► model

Labelled, m is counted over pairs that are known to be one person. Without labels EM finds m within tight
blocks, each time for the aspects that the block does not hold fixed. What chance agreement of a personal
number is worth is never estimated: nobody has data enough to see one (training.CHANCE), and no aspect may
be surer than training.DOUBT that a difference means two people. Nor is a level learnt that fewer than
`FEW` pairs have shown: it stays as it was, and the model and the report say so. Thresholds and caps are
those of the model that is trained from; they are chosen on whole clusters, not here (matching digest §1).
"""

# ruff: noqa: S608 - statements are put together from our own rows, never from what records say

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from pix.bulk.columns import FLAGS, MANY, ONE
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

# A share that n pairs have shown is known to 1.44/√n bits (one standard deviation), so from 30 on nineteen
# in twenty are right to half a bit. One that three have shown may be two bits off, and one that a single
# pair of a small store has shown by chance was ten bits off.
FEW = 30
# Records any two of which are laid side by side to see how often an aspect says anything at all.
_ANY_TWO = 1000

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


@dataclass(frozen=True, slots=True)
class Seen:
    """The levels of one aspect among pairs: the share of each (None where none was seen), in how many of
    the pairs the aspect said anything, and how many pairs at each level do not belong among them: pairs of
    one person among those that are to show chance."""

    shares: Mapping[str, float | None]
    pairs: float
    strange: Mapping[str, float] = field(default_factory=dict)

    def of(self, level: str) -> float:
        """How many pairs showed this level, without those that do not belong."""
        shown = (self.shares.get(level) or 0.0) * self.pairs
        return max(0.0, shown - self.strange.get(level, 0.0))

    def few(self, level: str) -> bool:
        """Whether too few showed it to learn from, or fewer than are taken off, which is only reckoned."""
        return self.of(level) < max(FEW, self.strange.get(level, 0.0))


Shares = dict[
    str, tuple[Seen, Seen]
]  # by aspect: among records of one person (m), and by chance (u)


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
    model = replace(present, u={a: _whole(seen, present.u[a]) for a, seen in chance.items()})
    linker = _linker(splink, bench, "people", model)
    pairs: Counter[str] = Counter()
    named = 0.0
    if labelled:
        linker.training.estimate_m_from_label_column("person")
        pairs.update(_saying(bench, "people", "l.person = r.person"))
        told("agreement (m)", 1, 1)
    else:
        for place, block in enumerate(BLOCKS):
            learnt = linker.training.estimate_parameters_using_expectation_maximisation(block)
            # of the pairs in a block, so many are of one person, as EM has it
            matches = learnt.core_model_settings.probability_two_random_records_match
            taught = {c.output_column_name for c in learnt.core_model_settings.comparisons}
            found = _saying(bench, "people", block)
            pairs.update({a: n * matches for a, n in found.items() if a in taught})
            named = found["name"] * matches  # the last block is of those with one name
            told("agreement (m)", place + 1, len(BLOCKS))
    agreed = _shares(linker.misc.save_model_to_json(), "m_probability")
    # Nobody knows of unlabelled records whether two are one person's, so some pairs that were drawn are.
    both = max(0.1, agreed["name"]["both"] or 0.0)
    of_one = min(1.0, named / both / (len(said) * (len(said) - 1) / 2))
    return {
        a: (Seen(agreed[a], pairs[a]), _strangers(chance[a], agreed[a], of_one)) for a in agreed
    }


def _strangers(chance: Seen, agreed: Mapping[str, float | None], of_one: float) -> Seen:
    """What two people show, when this share of the pairs is of one person."""
    strange = {level: of_one * chance.pairs * (m or 0.0) for level, m in agreed.items()}
    return replace(chance, strange=strange)


def _saying(bench: Bench, table: str, condition: str) -> dict[str, float]:
    """In how many pairs of records of `table`, of those that the condition names, each aspect says
    anything."""
    columns = (*ONE, *MANY, *FLAGS)
    beside = ", ".join(f"l.{c} AS {c}_l, r.{c} AS {c}_r" for c in columns)
    sums = ", ".join(f"coalesce(sum(CASE WHEN {c.absent} THEN 0 ELSE 1 END), 0)" for c in COMPARED)
    rows = bench.rows(
        f"SELECT {sums} FROM (SELECT {beside} FROM {table} l JOIN {table} r"
        f" ON l.unique_id < r.unique_id AND {condition})"
    )
    (found,) = list(rows)
    return {c.id: float(n) for c, n in zip(COMPARED, found, strict=True)}


def _by_chance(
    splink: Any,
    bench: Bench,
    said: Sequence[bytes],
    labels: Sequence[str],
    present: Model,
    wanted: Wanted,
    told: Told,
) -> dict[str, Seen]:
    """u, over pairs of a sample among whose words every likeness is known: of people who are known to be
    two where there are labels, else of any two records."""
    one_each = list({label: place for place, label in enumerate(labels) if label}.values())
    places = one_each or range(len(said))
    if len(places) < 2:
        raise CannotTrain("All labelled records are one person's; chance shows between two people.")
    sample = sorted(Random(wanted.seed).sample(places, min(len(places), SAMPLE)))  # noqa: S311
    some = [said[place] for place in sample]
    fill(bench, some, told)
    liken_all(bench, some, told)
    bench.run("ALTER TABLE rows RENAME TO strangers")
    linker = _linker(splink, bench, "strangers", present)
    linker.training.estimate_u_using_random_sampling(max_pairs=wanted.pairs, seed=wanted.seed)
    told("chance (u)", 1, 1)
    shares = _shares(linker.misc.save_model_to_json(), "u_probability")
    # Splink looks at no more pairs of an aspect once it has seen a hundred of every level.
    pairs = min(float(wanted.pairs), len(sample) * (len(sample) - 1) / 2)
    bench.run(
        f"CREATE TABLE laid AS SELECT * FROM strangers ORDER BY hash(unique_id) LIMIT {_ANY_TWO}"
    )
    laid = min(len(sample), _ANY_TWO)
    saying = _saying(bench, "laid", "true")
    bench.run("DROP TABLE laid")
    return {a: Seen(shares[a], saying[a] / (laid * (laid - 1) / 2) * pairs) for a in shares}


def _linker(splink: Any, bench: Bench, table: str, model: Model) -> Any:
    frame = splink.DuckDBAPI(bench.con).register(table)
    # 40: errors only; levels that were not seen are told in the report
    return splink.Linker(frame, settings(model), log_level=40)


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
        "levels": {c.id: _levels(c.id, *estimated[c.id], present) for c in COMPARED},
        "kept": _kept(estimated),
        "common": {
            kind: {v: _round(n / people) for v, n in counter.most_common(400) if n / people > 2e-4}
            for kind, counter in names.items()
        },
    }


def _levels(aspect: str, agreed: Seen, chance: Seen, present: Model) -> dict[str, dict[str, float]]:
    """m and u of an aspect. Doubt is in the present m already: it is taken out and put in again."""
    doubt, before = DOUBT[aspect], present.u[aspect]
    u = _whole(chance, before)
    bare = {
        k: max(1e-9, (m - doubt * min(1.0, before[k])) / (1 - doubt))
        for k, m in present.m[aspect].items()
    }
    m = _whole(agreed, bare)
    if all(map(agreed.few, agreed.shares)):
        doubted = dict(present.m[aspect])
    else:
        doubted = {k: (1 - doubt) * m[k] + doubt * min(1.0, u[k]) for k in m}
    return {
        level: {
            "m": _round(doubted[level]),
            "u": _round(CHANCE.get((aspect, level), u[level])),
        }
        for level in agreed.shares
    }


def _whole(seen: Seen, before: Mapping[str, float]) -> dict[str, float]:
    """The shares of an aspect's levels: what was learnt, and for what too few showed the present model's,
    or `FEW` of the pairs where that would be more than these: a level that ought to have been seen often
    is not so frequent. Where nothing was learnt all is as before."""
    kept = {
        k: min(before[k], FEW / seen.pairs) if seen.pairs > FEW else before[k]
        for k in seen.shares
        if seen.few(k)
    }
    if len(kept) == len(seen.shares):
        return {k: before[k] for k in kept}
    known = {k: seen.of(k) / seen.pairs for k in seen.shares if k not in kept}
    spare = min(1.0, 0.5 / (sum(kept.values()) or 1.0))
    kept = {k: v * spare for k, v in kept.items()}
    scale = (1 - sum(kept.values())) / sum(known.values())
    return {k: kept[k] if k in kept else known[k] * scale for k in seen.shares}


def _kept(estimated: Shares) -> dict[str, dict[str, dict[str, float]]]:
    """The levels that were not learnt, by aspect, with how many pairs showed them: of one person (`m`) and
    by chance (`u`), where these are fewer than `FEW`. What is set by hand is not to be learnt."""
    made: dict[str, dict[str, dict[str, float]]] = {}
    for aspect, (agreed, chance) in estimated.items():
        for level in agreed.shares:
            few = {}
            if agreed.few(level):
                few["m"] = round(agreed.of(level), 1)
            if chance.few(level) and (aspect, level) not in CHANCE:
                few["u"] = round(chance.of(level), 1)
            if few:
                made.setdefault(aspect, {})[level] = few
    return made


def _round(share: float) -> float:
    return min(1.0, max(1e-9, float(f"{share:.3g}")))


# -- the report ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Changed:
    """One level in the new model beside the present one: m, u and bits; and, where too few pairs showed it
    to be learnt, how many did (`kept`: of m, of u)."""

    aspect: str
    level: str
    words: str
    m: float
    u: float
    bits: float
    before: float
    kept: Mapping[str, float]

    @property
    def by(self) -> float:
        """How many bits more it is worth now."""
        return self.bits - self.before


def changed(made: Mapping[str, Any], present: Model) -> list[Changed]:
    """Every level of a new model (its JSON) beside the present one, in the order of the aspects."""
    new, kept = read(made), made.get("kept", {})
    return [
        Changed(
            aspect.id, level.id, level.words, new.m[aspect.id][level.id], new.u[aspect.id][level.id],
            new.points[a][v], present.points[a][v], kept.get(aspect.id, {}).get(level.id, {}),
        )
        for a, aspect in enumerate(ASPECTS)
        for v, level in enumerate(aspect.levels)
    ]  # fmt: skip


def written(made: Mapping[str, Any]) -> str:
    """A model as its file holds it, for people to read."""
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"
