"""`python -m benchmarks.identity.bulk`: how fast people are loaded, paired, weighed and entered.

    python -m benchmarks.identity.bulk                       100,000 records
    python -m benchmarks.identity.bulk --records 20000 --store   also into an embedded MongoDB
    python -m benchmarks.identity.bulk --records 1e6 --only-load only `people load`, of a city's file

Stages are told apart, for each has a ceiling of its own: judging lines (CPU of this language), staging
(MongoDB), pairing and weighing (DuckDB), deciding (CPU again), writing (MongoDB). Beside the weighing
stands Splink's own comparison library over the same pairs. Rates are by wall clock and by CPU of the
process, since a shared machine makes the first say little.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from affinity.pack import load as load_pack
from benchmarks.identity import baselines, measures
from benchmarks.identity.population import arrivals, records
from benchmarks.identity.recording import Record
from benchmarks.load import cpu_seconds
from benchmarks.processes import databases, started
from pix import model
from pix.bulk import pairs, saying
from pix.bulk.admission import Admitted, Desk
from pix.bulk.clusters import Rules, clustered, frequencies
from pix.bulk.crew import crew
from pix.bulk.engine import Bench, workplace
from pix.bulk.files import described, lines
from pix.bulk.levels import settings
from pix.bulk.load import Wanted, judged, judging

RESULTS = Path(__file__).parent.parent / "results" / "bulk.json"
AFFINITY, BASE = "greater_manchester", "https://exchange.example/fhir"


@dataclass(slots=True)
class Stage:
    """One stage: how many, of what, in how many seconds of the clock and of CPU (children included)."""

    name: str
    count: int = 0
    of: str = "records"
    seconds: float = 0.0
    cpu: float = 0.0


@dataclass(slots=True)
class Stages:
    """The stages in their order."""

    made: list[Stage] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str, of: str = "records") -> Iterator[Stage]:
        """Time a stage; its count is set inside."""
        one = Stage(name, 0, of)
        wall, cpu = time.perf_counter(), _cpu()
        yield one
        one.seconds, one.cpu = time.perf_counter() - wall, _cpu() - cpu
        self.made.append(one)


def _cpu() -> float:
    """Of this process and all that it started, those that still live included."""
    told = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(t.ru_utime + t.ru_stime for t in told) + cpu_seconds(started(os.getpid()))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.identity.bulk")
    parser.add_argument("--records", type=lambda n: int(float(n)), default=100_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--processes", type=int, default=2, help="that judge lines (2)")
    parser.add_argument("--store", action="store_true", help="also into an embedded MongoDB")
    parser.add_argument("--only-load", action="store_true", help="`people load` and nothing else")
    parser.add_argument("--no-splink", action="store_true", help="without Splink's own library")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    console, stages = Console(width=110), Stages()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "people.ndjson"
        if given.only_load:
            with file.open(
                "wb"
            ) as out:  # a line at a time: a city fits into a file and not into memory
                out.writelines(
                    orjson.dumps(r.patient) + b"\n" for r in records(given.seed, given.records)
                )
        else:
            city = arrivals(given.seed, given.records)
            file.write_bytes(b"".join(orjson.dumps(r.patient) + b"\n" for r in city))
            said = before_a_store(stages, file, given.processes)
            linking(stages, city, said, console, splink=not given.no_splink)
            if not given.no_splink:
                by_splink(stages, city)
        if given.store or given.only_load:
            asyncio.run(
                storing(stages, file, Path(folder), given.processes, link=not given.only_load)
            )
    peak = max(
        resource.getrusage(w).ru_maxrss for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    table = Table("Stage", "Count", "Seconds", "Per second", "CPU s", "µs CPU each")
    for one in stages.made:
        table.add_row(
            one.name, f"{one.count:,} {one.of}", f"{one.seconds:.1f}" if one.seconds else "",
            f"{one.count / one.seconds:,.0f}" if one.seconds else "", f"{one.cpu:.1f}",
            f"{one.cpu / max(one.count, 1) * 1e6:,.0f}",
        )  # fmt: skip
    console.print(table)
    console.print(f"Largest process: {peak / 1024:,.0f} MB")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    told = [{n: getattr(s, n) for n in s.__dataclass_fields__} for s in stages.made]
    given.out.write_bytes(
        orjson.dumps({"stages": told, "peak_kb": peak}, option=orjson.OPT_INDENT_2)
    )


def before_a_store(stages: Stages, file: Path, processes: int) -> list[bytes]:
    """Reading, checking as ITI-104 does and canonical form, and traits, before any store."""
    source = described(file)
    plan: Any = Wanted(source, AFFINITY, BASE, None, file, processes=processes)  # type: ignore[arg-type]
    own: list[bytes] = []
    with judging(plan, None) as judges:
        list(
            judged(judges, islice(lines(source), 1), 1)
        )  # the processes are up before the clock starts
        with stages.stage(f"judge lines, {processes} processes") as one:
            for block in judged(judges, lines(source), plan.block):
                own += [a.own for a in block.admitted]
            one.count = len(own)
    pack = load_pack(AFFINITY)
    with crew(processes, saying.said, saying.settle, pack, BASE) as hands:
        list(saying.asked(hands, [[o] for o in own[:8]]))
        with stages.stage(f"traits, {processes} processes") as one:
            blocks = (own[at : at + 2000] for at in range(0, len(own), 2000))
            said = [traits for block in saying.asked(hands, blocks) for traits in block]
            one.count = len(said)
    alone = Desk(AFFINITY, BASE)
    some = list(islice(lines(source), 20_000))
    with stages.stage("judge lines, in this process") as one:
        one.count = sum(isinstance(alone.line(line), Admitted) for line in some)
    return said


def linking(
    stages: Stages, city: Sequence[Record], said: list[bytes], console: Console, *, splink: bool
) -> None:
    """Pairing, weighing and deciding, without a store; and how well it came out."""
    chosen = model.load()
    silent = lambda *_: None  # noqa: E731
    with workplace() as bench:
        with stages.stage("columns and keys into DuckDB") as one:
            pairs.fill(bench, said, silent)
            one.count = len(said)
        with stages.stage("pair by keys", "pairs") as one:
            one.count = count = pairs.block(bench, silent)
        with stages.stage("which words are alike", "words") as one:
            one.count = pairs.liken(bench, said, silent)
        with stages.stage("weigh pairs in SQL", "pairs") as one:
            found = list(pairs.score(bench, chosen, chosen.people, count, silent))
            one.count = count
        if splink:
            with stages.stage("the same settings run by Splink: block and weigh", "pairs") as one:
                one.count = by_the_same_settings(bench, chosen)
    with stages.stage("count frequencies") as one:
        sure = ((p.left, p.right) for p in found if p.plain >= chosen.thresholds.join)
        shares = frequencies(said, sure, chosen, "own")
        one.count = len(said)
    clusters: dict[str, str] = {}
    with stages.stage("decide, as online") as one:
        rules = Rules(chosen, shares, date(2026, 11, 25))
        for group in clustered(said, [(p.left, p.right) for p in found], rules):
            for person, members in group.members.items():
                clusters.update({city[m].key: str(person) for m in members})
        one.count = len(said)
    truth = {r.key: r.person for r in city}
    got = measures.pairs(truth, clusters)
    merged = len(measures.merged_people(truth, clusters)) * 1e5 / max(1, len(set(truth.values())))
    console.print(
        f"Linked in bulk: precision {got.precision:.4f}, recall {got.recall:.4f},"
        f" merged people {merged:.0f} per 100,000"
    )


def by_the_same_settings(bench: Bench, chosen: model.Model) -> int:
    """How many pairs Splink's own engine weighs by the settings that `people train` writes (`rows` holds
    the columns they name)."""
    from splink import DuckDBAPI, Linker

    frame = DuckDBAPI(bench.con).register("rows")
    linker = Linker(frame, settings(chosen), log_level=40)
    made = linker.inference.predict()
    return int(bench.one(f"SELECT count(*) FROM {made.physical_name}"))


def by_splink(stages: Stages, city: Sequence[Record]) -> None:
    """Splink's own comparison library on the same people: its blocking, its levels, its weights."""
    import pandas  # type: ignore[import-untyped]
    import splink.comparison_library as cl
    from splink import DuckDBAPI, Linker, SettingsCreator, block_on

    frame = pandas.DataFrame([baselines.flat(r) for r in city])
    plan = SettingsCreator(
        link_type="dedupe_only",
        blocking_rules_to_generate_predictions=[
            block_on("nhs"), block_on("phone"), block_on("born", "postcode"),
            block_on("born", "substr(given, 1, 3)"), block_on("born", "substr(family, 1, 3)"),
            block_on("given", "family", "substr(postcode, 1, 4)"),
        ],
        comparisons=[
            cl.NameComparison("given"), cl.NameComparison("family"), cl.ExactMatch("middle"),
            cl.DateOfBirthComparison("born", input_is_string=True), cl.PostcodeComparison("postcode"),
            *(cl.ExactMatch(f) for f in ("sex", "phone", "email", "nhs", "upn", "nino", "pnc")),
        ],
    )  # fmt: skip
    linker = Linker(DuckDBAPI().register(frame), plan, log_level=None)
    with stages.stage("Splink's own library: block and weigh", "pairs") as one:
        made = linker.inference.predict()
        one.count = len(made.as_pandas_dataframe())  # type: ignore[no-untyped-call]


async def storing(stages: Stages, file: Path, folder: Path, processes: int, *, link: bool) -> None:
    """The same file by `people load`, and `people link`, into an embedded MongoDB."""
    from chassis.mongo import Mongo
    from chassis.settings import Settings
    from exchange.mongod import embedded
    from pix.app import prepared
    from pix.bulk import link as linkage
    from pix.bulk import load as loading
    from pix.bulk.accounts import Operator

    settings, operator = (
        Settings(public_url=BASE.removesuffix("/fhir")),
        Operator("bench", "", BASE),
    )
    with embedded(folder / "mongod") as uri:
        mongo = Mongo(uri, pool=8)
        people = await prepared(settings, mongo, load_pack(AFFINITY))
        plan = Wanted(
            described(file),
            AFFINITY,
            BASE,
            operator,
            file.with_suffix(".rejects"),
            processes=processes,
        )
        with stages.stage("people load, into MongoDB") as one:
            mongod = databases(os.getpid())
            before = cpu_seconds(mongod)
            made = await loading.load(people, plan, lambda _: None)
            one.count = made.counts["staged"]
        stages.made.append(Stage("  of which MongoDB", one.count, cpu=cpu_seconds(mongod) - before))
        if not link:
            return await mongo.close()
        with stages.stage("people link, all of it") as one:
            linked = await linkage.link(people, linkage.Wanted(operator), lambda *_: None)
            one.count = linked.records
        return await mongo.close()


if __name__ == "__main__":
    main()
