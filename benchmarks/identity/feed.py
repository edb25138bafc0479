"""What feeding one record costs, and how that grows: `python -m benchmarks.identity.feed`.

For each size a store of its own is filled (filling.py) and an exchange started over it; then records
that were held back of the very people it holds are fed over HTTP, with audit, strictness and
authorisation on, and the CPU of the server's processes is read before and after. At each size: records
a second, CPU of server and database per record, candidates per record, greatest memory of the server;
at the end the growth exponent, that is, the slope of log(CPU) over log(size).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from statistics import mean

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from affinity.pack import load
from benchmarks import processes
from benchmarks.__main__ import token_for
from benchmarks.identity import feeding
from benchmarks.identity.filling import Filled, fill, kept_back
from benchmarks.identity.population import population
from benchmarks.identity.recording import Record
from benchmarks.load import cpu_seconds
from chassis.mongo import Mongo
from chassis.settings import Settings
from exchange.mongod import embedded
from pix import showing
from pix.app import prepared
from pix.people import People
from pix.profiles import Posting, keys_of, reached, texts

RESULTS = Path("benchmarks/results/identity_feed.json")
BUDGET, GROWTH, MEMORY = 6.0, 0.10, 400
HELD_BACK, HELD = 0.05, 20_000  # this share of the records, and no more than so many
_ENVIRONMENT = {"THROUGHLINE_TOKEN_SECONDS": "21600", "THROUGHLINE_LOG_LEVEL": "warning"}


@dataclass(frozen=True, slots=True)
class Measured:
    """One size of the store."""

    size: int
    persons: int
    filled_per_second: float
    fed: int
    refused: int
    per_second: float
    server_ms: float
    database_ms: float
    candidates: float
    candidates_p99: int
    candidates_most: int
    memory_mb: float


def main(arguments: argparse.Namespace) -> list[Measured]:
    """Run at every size and print the table."""
    console = Console(width=150)
    sizes = sorted(int(float(s)) for s in arguments.sizes.split(","))
    made = []
    columns = (
        TextColumn("{task.description:22}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        for size in sizes:
            with tempfile.TemporaryDirectory() as folder:
                data = Path(folder) / "data"
                store = asyncio.run(_fill(data, size, arguments, progress))
                with processes.exchange(data, _ENVIRONMENT) as running:
                    made.append(asyncio.run(_measure(running, store, arguments, progress)))
    _show(made, console)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    said = {
        "machine": processes.machine(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "growth": growth(made),
        "sizes": [asdict(m) for m in made],
    }
    arguments.out.write_text(json.dumps(said, indent=1) + "\n")
    return made


def growth(made: list[Measured]) -> float | None:
    """The exponent with which the server's CPU per record grows, by least squares over logarithms."""
    if len(made) < 2:
        return None
    points = [(math.log(m.size), math.log(m.server_ms)) for m in made]
    x, y = mean(p[0] for p in points), mean(p[1] for p in points)
    return sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)


@dataclass(frozen=True, slots=True)
class _Store:
    """A store that was filled to a size, what is fed to it, and the persons its keys lead to."""

    size: int
    filled: Filled
    per_second: float
    fed: list[Record]
    reach: list[int]


async def _fill(data: Path, size: int, given: argparse.Namespace, progress: Progress) -> _Store:
    bars: dict[str, TaskID] = {}

    def tell(step: str, done: int) -> None:
        if step not in bars:
            total = size if step == "records" else None
            bars[step] = progress.add_task(f"{size:,}: {step}", total=total)
        progress.update(bars[step], completed=done)

    dice = Random(given.seed)
    back: list[Record] = []
    people = kept_back(population(given.seed), size, min(HELD_BACK, HELD / size), dice, back)
    began = time.perf_counter()
    data.mkdir(parents=True)
    with embedded(data) as uri:
        mongo = Mongo(uri, pool=8)
        try:
            settings = Settings(public_url="http://127.0.0.1:8080")
            filled = await fill(mongo, uri, settings, people, workers=given.workers, tell=tell)
            took = time.perf_counter() - began
            dice.shuffle(back)
            chosen = back[: given.records]
            store = await prepared(settings, mongo, load(settings.affinity))
            reach = sorted([await _reach(store, record) for record in chosen])
        finally:
            await mongo.close()
    return _Store(size, filled, filled.records / took, chosen, reach)


async def _measure(
    running: processes.Running, store: _Store, given: argparse.Namespace, progress: Progress
) -> Measured:
    token = await token_for(running)

    async def bearer() -> str:
        return token

    async with feeding.source(running.fhir, bearer, given.connections) as source:
        tenth = len(store.fed) // 10
        warm, chosen = store.fed[:tenth], store.fed[tenth:]
        await feeding.feed(source, warm, given.connections, lambda *_: None)
        bar = progress.add_task(f"{store.size:,}: feed", total=len(chosen))
        server, database = cpu_seconds(running.server), cpu_seconds(running.database)
        began = time.perf_counter()
        fed = await feeding.feed(
            source, chosen, given.connections, lambda _, n: progress.advance(bar, n)
        )
        took = time.perf_counter() - began
        served = (cpu_seconds(running.server) - server) / len(chosen)
        stored = (cpu_seconds(running.database) - database) / len(chosen)
    return Measured(
        size=store.size,
        persons=store.filled.persons,
        filled_per_second=store.per_second,
        fed=len(chosen),
        refused=len(fed.refused),
        per_second=len(chosen) / took,
        server_ms=served * 1000,
        database_ms=stored * 1000,
        candidates=mean(store.reach),
        candidates_p99=store.reach[int(len(store.reach) * 0.99) - 1],
        candidates_most=store.reach[-1],
        memory_mb=_memory(running),
    )


async def _reach(people: People, record: Record) -> int:
    """How many persons the keys of a record lead to."""
    keys = keys_of(people.says(showing.canonical(record.patient), record.patient))
    rows = await people.postings.many({"_id": {"$in": sorted(texts(keys))}})
    return len(reached(keys, {row["_id"]: Posting.of(row) for row in rows}))


def _memory(running: processes.Running) -> float:
    """The greatest resident memory that a process of the server has had, in MB."""
    found = []
    for pid in running.server:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        found += [
            int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM")
        ]
    return max(found)


def _show(made: list[Measured], console: Console) -> None:
    table = Table(
        "Records", "Persons", "Filled/s", "Fed", "Refused", "Records/s", "Server CPU ms", "Database CPU ms",
        "Candidates", "p99", "most", "Memory MB",
    )  # fmt: skip
    for m in made:
        table.add_row(
            f"{m.size:,}", f"{m.persons:,}", f"{m.filled_per_second:,.0f}", str(m.fed), str(m.refused), f"{m.per_second:.0f}",
            f"{m.server_ms:.2f}", f"{m.database_ms:.2f}", f"{m.candidates:.1f}",
            str(m.candidates_p99), str(m.candidates_most), f"{m.memory_mb:.0f}",
        )  # fmt: skip
    console.print(table)
    exponent = growth(made)
    last = made[-1]
    met = "met" if last.server_ms <= BUDGET else "missed"
    console.print(
        f"Server CPU at {last.size:,}: {last.server_ms:.2f} ms; budget {BUDGET} ms: {met}."
    )
    if exponent is not None:
        met = "met" if exponent <= GROWTH else "missed"
        console.print(f"Growth exponent {exponent:.3f}; budget {GROWTH}: {met}.")
    met = "met" if last.memory_mb <= MEMORY else "missed"
    console.print(f"Memory {last.memory_mb:.0f} MB; budget {MEMORY} MB: {met}.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", default="1e4,1e5", help="records in the store (1e4,1e5)")
    parser.add_argument("--records", type=int, default=2000, help="how many are fed at each (2000)")
    parser.add_argument("--connections", type=int, default=32, help="how many at a time (32)")
    parser.add_argument("--workers", type=int, default=2, help="processes that fill the store (2)")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the figures go, as JSON")
    return parser


if __name__ == "__main__":
    main(_parser().parse_args())
