"""What feeding one record costs, and how that grows: `python -m benchmarks.identity.feed`.

Starts an exchange of its own, fills its store to each size in turn (filling.py), feeds records that were
held back of the very people it holds over HTTP, with audit, strictness and authorisation on, and reads
the CPU of the server's processes before and after. At each size: records a second, CPU of server and
database per record, candidates per record, memory of the server; at the end the growth exponent, that
is, the slope of log(CPU) over log(size).
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

from pydantic import SecretStr
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from affinity.pack import load
from benchmarks import processes
from benchmarks.__main__ import token_for
from benchmarks.identity import feeding
from benchmarks.identity.filling import Filling
from benchmarks.identity.population import population
from benchmarks.identity.recording import Record
from benchmarks.load import cpu_seconds
from chassis.mongo import Mongo
from chassis.settings import Settings
from pix.app import prepared
from pix.people import People
from pix.profiles import Posting, keys_of, reached, texts

RESULTS = Path("benchmarks/results/identity_feed.json")
BUDGET, GROWTH, MEMORY = 6.0, 0.10, 400
HELD_BACK = 0.05


@dataclass(frozen=True, slots=True)
class Measured:
    """One size of the store."""

    size: int
    persons: int
    fed: int
    refused: int
    per_second: float
    server_ms: float
    database_ms: float
    candidates: float
    candidates_p99: int
    memory_mb: float


def main(arguments: argparse.Namespace) -> list[Measured]:
    """Run at every size and print the table."""
    console = Console(width=140)
    sizes = sorted(int(float(s)) for s in arguments.sizes.split(","))
    environment = {"THROUGHLINE_TOKEN_SECONDS": "21600", "THROUGHLINE_LOG_LEVEL": "warning"}
    with (
        tempfile.TemporaryDirectory() as folder,
        processes.exchange(Path(folder) / "data", environment) as running,
    ):
        made = asyncio.run(_measure(running, sizes, arguments, console))
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


async def _measure(
    running: processes.Running, sizes: list[int], given: argparse.Namespace, console: Console
) -> list[Measured]:
    mongo = Mongo(running.uri, pool=8)
    settings = Settings(
        public_url=running.fhir.removesuffix("/fhir"), mongodb=SecretStr(running.uri)
    )
    people = await prepared(settings, mongo, load(settings.affinity))
    filling, dice, waiting = Filling(people), Random(given.seed), list[Record]()
    homes = population(given.seed)
    made: list[Measured] = []
    columns = (
        TextColumn("{task.description:22}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    token = await token_for(running)

    async def bearer() -> str:
        return token

    with Progress(*columns, console=console) as progress:
        for size in sizes:
            bar = progress.add_task(f"fill to {size}", total=size, completed=filling.records)
            while filling.records < size:
                _, held = next(homes)
                kept = [r for r in held if dice.random() >= HELD_BACK]
                waiting += [r for r in held if r not in kept]
                if kept:
                    await filling.person(kept)
                progress.update(bar, completed=min(filling.records, size))
            await filling.split()
            await people.counted.count(datetime.now(UTC))
            dice.shuffle(waiting)
            chosen, waiting = waiting[: given.records], waiting[given.records :]
            reach = [await _reach(people, record) for record in chosen[:300]]
            async with feeding.source(running.fhir, bearer, given.connections) as source:
                warm, chosen = chosen[: len(chosen) // 10], chosen[len(chosen) // 10 :]
                await feeding.feed(source, warm, given.connections, lambda *_: None)
                bar = progress.add_task(f"feed at {size}", total=len(chosen))
                server, database = cpu_seconds(running.server), cpu_seconds(running.database)
                began = time.perf_counter()
                fed = await feeding.feed(
                    source,
                    chosen,
                    given.connections,
                    lambda _, n: progress.advance(bar, n),  # noqa: B023
                )
                took = time.perf_counter() - began
                served = (cpu_seconds(running.server) - server) / len(chosen)
                stored = (cpu_seconds(running.database) - database) / len(chosen)
            filling.records += len(chosen) + len(warm)
            reach.sort()
            made.append(
                Measured(
                    size,
                    filling.persons,
                    len(chosen),
                    len(fed.refused),
                    len(chosen) / took,
                    served * 1000,
                    stored * 1000,
                    mean(reach),
                    reach[int(len(reach) * 0.99) - 1],
                    _memory(running),
                )
            )
    await mongo.close()
    return made


async def _reach(people: People, record: Record) -> int:
    """How many persons the keys of a record lead to."""
    from pix import showing

    keys = keys_of(people.says(showing.canonical(record.patient), record.patient))
    rows = await people.postings.many({"_id": {"$in": sorted(texts(keys))}})
    return len(reached(keys, {row["_id"]: Posting.of(row) for row in rows}))


def _memory(running: processes.Running) -> float:
    """Resident memory of the largest process of the server, in MB."""
    found = []
    for pid in running.server:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        found += [
            int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS")
        ]
    return max(found)


def _show(made: list[Measured], console: Console) -> None:
    table = Table(
        "Records", "Persons", "Fed", "Refused", "Records/s", "Server CPU ms", "Database CPU ms",
        "Candidates", "p99", "Memory MB",
    )  # fmt: skip
    for m in made:
        table.add_row(
            f"{m.size:,}", f"{m.persons:,}", str(m.fed), str(m.refused), f"{m.per_second:.0f}",
            f"{m.server_ms:.2f}", f"{m.database_ms:.2f}", f"{m.candidates:.1f}",
            str(m.candidates_p99), f"{m.memory_mb:.0f}",
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
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the figures go, as JSON")
    return parser


if __name__ == "__main__":
    main(_parser().parse_args())
