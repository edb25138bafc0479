"""Which records may be one person, and how much speaks for it: blocking and scoring in DuckDB.

    traits ─► columns, keys ─► pairs that share a key ─► words that are alike ─► levels ─► weights

Keys are those of blocking.py and fall through to their finer ones as postings do online. The widest keys
count only for a record that has found nobody earlier by another. Pairs are scored in partitions, so that
what does not fit into memory need not.
"""

# ruff: noqa: S608 - statements are put together from our own rows, never from what records say

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pix.blocking import FULL, QUARANTINE, keys
from pix.bulk.columns import FLAGS, MANY, ONE, Alike, near, plain, words
from pix.bulk.engine import Bench
from pix.bulk.levels import COMPARED, case, scored
from pix.model import Model
from pix.names import sound
from pix.profiles import opened
from pix.traits import Traits, unpacked

Told = Callable[[str, int, int], None]
# How far below the review band a pair of records may stay and still be put to matching.py, which lays a
# record beside all that a person's records say together: that may weigh more than any pair of them.
REACH = 14.0
PARTITION = 2_000_000
_NEAR = (
    "given_near", "swap_near", "given_sound", "cross_near", "family_one_near", "family_near",
    "family_sound", "tokens_near", "middle_near",
)  # fmt: skip


class Pair(NamedTuple):
    """Two records by their places, the earlier first, with the weight at ordinary frequencies and the
    most that it can be."""

    left: int
    right: int
    plain: float
    most: float


@dataclass(frozen=True, slots=True)
class Found:
    """How many pairs the keys made, how many words had to be compared, and the pairs within reach of
    the review band."""

    compared: int
    words: int
    pairs: list[Pair]


def paired(bench: Bench, said: Sequence[bytes], model: Model, people: int, told: Told) -> Found:
    """The pairs among these records (packed traits, in order of arrival) that may matter."""
    fill(bench, said, told)
    compared = block(bench, told)
    words = liken(bench, said, told)
    found = list(score(bench, model, people, compared, told))
    return Found(compared, words, found)


# -- columns ------------------------------------------------------------------------------------------


def fill(bench: Bench, said: Sequence[bytes], told: Told) -> None:
    """The table `plain`: the columns of every record that need no other, and its keys."""
    texts = [f"{c}: 'VARCHAR'" for c in ONE]
    lists = [f"{c}: 'VARCHAR[]'" for c in MANY if c not in _NEAR]
    flags = [f"{c}: 'TINYINT'" for c in FLAGS]
    more = [
        "unique_id: 'BIGINT'", "who: 'VARCHAR'", "keys: 'VARCHAR[]'", "kinds: 'TINYINT[]'",
        "finer: 'VARCHAR[][]'", "words: 'VARCHAR[]'",
    ]  # fmt: skip
    rows = (_row(place, unpacked(t)) for place, t in enumerate(said))
    bench.read(
        "plain", [*more, *texts, *lists, *flags], rows, lambda n: told("columns", n, len(said))
    )


def _row(place: int, traits: Traits) -> dict[str, object]:
    found = keys(traits)
    first = traits.names[0].given if traits.names else ""
    return {
        "unique_id": place,
        "who": f"{traits.born[0] if traits.born else ''}|{sound(first)}",
        "keys": [k.text for k in found],
        "kinds": [1 if k.strong else 2 if k.spare else 0 for k in found],
        "finer": [list(k.finer) for k in found],
        "words": words(traits),
        **plain(traits),
    }


# -- blocking -----------------------------------------------------------------------------------------


def block(bench: Bench, told: Told) -> int:
    """The table `pairs` of all records that share a key."""
    bench.run(
        "CREATE TABLE posted AS SELECT unique_id, who, unnest(keys) AS key, unnest(kinds) AS kind,"
        " unnest(finer) AS finer FROM plain"
    )
    bench.run(
        "CREATE TABLE full_keys AS SELECT key FROM posted GROUP BY key"
        " HAVING count(DISTINCT who) >"
        f" CASE WHEN max(CAST(kind = 1 AS INT)) = 1 THEN {QUARANTINE} ELSE {FULL} END"
    )
    bench.run(
        "CREATE TABLE ways AS"
        " SELECT unique_id, who, key, kind FROM posted ANTI JOIN full_keys USING (key)"
        " UNION SELECT unique_id, who, unnest(finer) AS key, posted.kind FROM posted"
        " SEMI JOIN full_keys USING (key) WHERE posted.kind <> 1"
    )
    bench.run(
        "CREATE TABLE too_many AS SELECT key FROM ways WHERE kind <> 1 GROUP BY key"
        f" HAVING count(DISTINCT who) > {FULL}"
    )
    # Whether a key is the widest is a matter of who searches, the later one; who was there before is
    # posted under it in any case.
    for name, kinds in (("narrow", "kind <> 2"), ("wide", "kind = 2")):
        bench.run(
            f"CREATE TABLE {name} AS SELECT DISTINCT a.unique_id AS l, b.unique_id AS r"
            f" FROM (SELECT * FROM ways ANTI JOIN too_many USING (key)) a"
            f" JOIN (SELECT * FROM ways WHERE {kinds}) b"
            " ON a.key = b.key AND a.unique_id < b.unique_id"
        )
    bench.run(
        "CREATE TABLE pairs AS SELECT l, r FROM narrow"
        " UNION ALL SELECT l, r FROM wide WHERE r NOT IN (SELECT r FROM narrow)"
    )
    for name in ("posted", "ways", "narrow", "wide"):
        bench.run(f"DROP TABLE {name}")
    made = int(bench.one("SELECT count(*) FROM pairs"))
    told("pairs", made, made)
    return made


# What is less alike than this is not alike by any rule of names.py but a nickname, which columns.py
# knows; letters beyond ASCII are counted otherwise there.
_MAYBE = (
    "(jaro_winkler_similarity({a}, {b}) >= 0.55 OR strlen({a}) <> length({a})"
    " OR strlen({b}) <> length({b}))"
)

# -- what is alike --------------------------------------------------------------------------------------


def liken(bench: Bench, said: Sequence[bytes], told: Told) -> int:
    """The table `rows`: `plain` and the lists of what is alike, for the words that meet in a pair."""
    bench.run(
        "CREATE TABLE met AS SELECT DISTINCT least(a, b) AS a, greatest(a, b) AS b FROM ("
        "SELECT a, unnest(y.words) AS b FROM ("
        "SELECT unnest(x.words) AS a, r FROM pairs JOIN plain x ON x.unique_id = l"
        ") JOIN plain y ON y.unique_id = r) WHERE a <> b AND " + _MAYBE.format(a="a", b="b")
    )
    return _alike(bench, said, told)


def liken_all(bench: Bench, said: Sequence[bytes], told: Told) -> int:
    """The same for a sample any two of whose records may be laid side by side."""
    pair = _MAYBE.format(a="x.w", b="y.w")
    bench.run(
        "CREATE TABLE met AS WITH every AS (SELECT DISTINCT unnest(words) AS w FROM plain)"
        " SELECT x.w AS a, y.w AS b FROM every x JOIN every y ON x.w < y.w"
        f" WHERE {pair}"
    )
    return _alike(bench, said, told)


def _alike(bench: Bench, said: Sequence[bytes], told: Told) -> int:
    count = int(bench.one("SELECT count(*) FROM met"))
    alike = Alike()
    for place, (a, b) in enumerate(bench.rows("SELECT a, b FROM met")):
        alike.ask(((a, b),))
        if place % 50_000 == 0:
            told("words", place, count)
    told("words", count, count)
    bench.run("DROP TABLE met")
    columns = ["unique_id: 'BIGINT'", *(f"{c}: 'VARCHAR[]'" for c in _NEAR)]
    rows = ({"unique_id": i, **near(opened(t), alike)} for i, t in enumerate(said))
    bench.read("nears", columns, rows, lambda n: told("alike", n, len(said)))
    bench.run("CREATE TABLE rows AS SELECT * FROM plain JOIN nears USING (unique_id)")
    bench.run("DROP TABLE plain")
    bench.run("DROP TABLE nears")
    return count


# -- scoring ------------------------------------------------------------------------------------------


def levelled(source: str) -> str:
    """SQL that gives every pair of `source` (l, r) its level in every aspect."""
    every = (*ONE, *MANY, *FLAGS)
    beside = ", ".join(f"a.{c} AS {c}_l, b.{c} AS {c}_r" for c in every)
    levels = ", ".join(f"{case(c)} AS gamma_{c.id}" for c in COMPARED)
    return (
        f"SELECT l, r, {levels} FROM (SELECT l, r, {beside} FROM {source} p"
        " JOIN rows a ON a.unique_id = p.l JOIN rows b ON b.unique_id = p.r)"
    )


def score(bench: Bench, model: Model, people: int, count: int, told: Told) -> Iterator[Pair]:
    """The pairs that come within reach of the review band, a partition at a time."""
    parts = max(1, -(-count // PARTITION))
    least = model.thresholds.review - REACH
    for part in range(parts):
        source = f"(SELECT * FROM pairs WHERE (l * 7919 + r) % {parts} = {part})"
        # Kept in between, or the engine would work out every level anew for each place it is named at.
        bench.run(f"CREATE OR REPLACE TEMP TABLE levels AS {levelled(source)}")
        bench.run(f"CREATE OR REPLACE TEMP TABLE weights AS {scored(model, people, 'levels')}")
        yield from (
            Pair(*row)
            for row in bench.rows(f"SELECT l, r, plain, most FROM weights WHERE most >= {least}")
        )
        told("scoring", part + 1, parts)
