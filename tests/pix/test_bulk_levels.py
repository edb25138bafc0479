"""The levels in SQL say what the levels in Python say, in DuckDB as they would in Spark."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest

from affinity.pack import load as load_pack
from benchmarks.identity.population import records
from pix import model
from pix.blocking import keys
from pix.bulk import columns, pairs
from pix.bulk.engine import Bench, workplace
from pix.bulk.levels import COMPARED, case, scored, settings
from pix.identifiers import Domains
from pix.likening import ASPECTS, levels, looks
from pix.matching import weigh
from pix.profiles import kept
from pix.traits import Traits, traits
from tests.pix.makers import BASE

pytest.importorskip("duckdb")
sqlglot = pytest.importorskip("sqlglot")
CITY, DRAWN = 700, 12_000


@pytest.fixture(scope="module")
def city() -> list[Traits]:
    domains = Domains(load_pack("greater_manchester"), BASE)
    return [traits(r.patient, domains) for r in records(17, CITY)]


def drawn(city: list[Traits]) -> list[tuple[int, int]]:
    """Every pair that shares a key, and random ones."""
    by: dict[str, list[int]] = {}
    for place, one in enumerate(city):
        for key in keys(one):
            by.setdefault(key.text, []).append(place)
    found = {(a, b) for places in by.values() for a in places for b in places if a < b}
    dice = Random(5)
    while len(found) < DRAWN:
        a, b = sorted(dice.sample(range(len(city)), 2))
        found.add((a, b))
    return sorted(found)


def laid(bench: Bench, city: list[Traits], wanted: list[tuple[int, int]]) -> None:
    said = [kept(t) for t in city]
    pairs.fill(bench, said, lambda *_: None)
    rows = ({"l": a, "r": b} for a, b in wanted)
    bench.read("pairs", ["l: 'BIGINT'", "r: 'BIGINT'"], rows)
    pairs.liken(bench, said, lambda *_: None)


def test_every_level_is_the_same_in_sql_and_in_python(city: list[Traits]) -> None:
    wanted = drawn(city)
    with workplace() as bench:
        laid(bench, city, wanted)
        found = list(bench.rows(f"SELECT * FROM ({pairs.levelled('pairs')}) ORDER BY l, r"))
    assert len(found) == len(wanted)
    differ, weaker, seen = 0, [], {a.id: set[int]() for a in ASPECTS}
    for left, right, *said in found:
        one, other = city[left], city[right]
        python = levels(one, other)
        for aspect, sql, level in zip(ASPECTS, said, python, strict=True):
            seen[aspect.id].add(level)
            if sql == level:
                continue
            differ += 1
            several = len(one.names) > 1 or len(other.names) > 1
            # A record with several names is looked at name by name in Python, as a whole in SQL, which
            # therefore may say more; it never says less, or a pair would be overlooked.
            if sql > level or (aspect.id != "name" and not several):
                weaker.append((aspect.id, sql, level))
    assert not weaker
    assert differ <= len(found) / 1000
    assert len(seen["name"]) >= 14
    assert len(seen["born"]) >= 8


def test_no_pair_weighs_more_online_than_sql_says_it_can(city: list[Traits]) -> None:
    chosen = model.load()
    wanted = drawn(city)[:6000]
    with workplace() as bench:
        laid(bench, city, wanted)
        bench.run(f"CREATE TABLE levels AS {pairs.levelled('pairs')}")
        sql = scored(chosen, chosen.people, "levels")
        found = list(bench.rows(f"SELECT l, r, plain, most FROM ({sql})"))
    assert len(found) == len(wanted)
    for left, right, _, most in found:
        weight = weigh(looks(city[left], city[right]), chosen, chosen.frequencies)
        assert weight <= most + 1e-6


def test_the_conditions_are_read_by_spark_and_mean_the_same_there() -> None:
    for compared in COMPARED:
        text = f"SELECT {case(compared)} AS level FROM pairs"
        spark = sqlglot.parse_one(text, read="spark")
        assert sqlglot.parse_one(spark.sql(dialect="spark"), read="spark") == spark
        spoken = {f.name.upper() for f in spark.find_all(sqlglot.exp.Anonymous)}
        assert spoken <= {"SIZE", "ARRAYS_OVERLAP", "ARRAY_INTERSECT"}
        duck = sqlglot.transpile(text, read="spark", write="duckdb")[0]
        assert sqlglot.parse_one(duck, read="duckdb") is not None


def test_the_settings_are_one_json_that_splink_takes(city: list[Traits]) -> None:
    splink = pytest.importorskip("splink")
    said = json.loads(json.dumps(settings(model.load())))
    assert [c["output_column_name"] for c in said["comparisons"]] == [a.id for a in ASPECTS]
    with workplace() as bench:
        laid(bench, city, drawn(city)[:500])
        frame = splink.DuckDBAPI(bench.con).register("rows")
        linker = splink.Linker(frame, said, log_level=None)
        made = linker.inference.predict(threshold_match_probability=0.5)
        assert bench.one(f"SELECT count(*) FROM {made.physical_name}") > 5


def test_every_aspect_and_level_has_its_condition() -> None:
    assert [c.id for c in COMPARED] == [a.id for a in ASPECTS]
    for compared, aspect in zip(COMPARED, ASPECTS, strict=True):
        assert tuple(compared.levels) == tuple(v.id for v in aspect.levels[:-1])


def test_every_column_is_made_and_has_its_kind(city: list[Traits]) -> None:
    for row in columns.table(city[:40]):
        kinds: dict[str, Any] = {k: type(v) for k, v in row.items()}
        assert {k for k, v in kinds.items() if v is str} == set(columns.ONE)
        assert {k for k, v in kinds.items() if v is list} == set(columns.MANY)
        assert {k for k, v in kinds.items() if v is int} == set(columns.FLAGS)
