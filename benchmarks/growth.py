"""Does find cost more in a larger city? From 10⁵ documents upwards, on one small cache.

    python -m benchmarks.growth --sizes 1e5,1e6,1e7 [--cache-gb 1] [--folder DIR] [--json FILE]

A real exchange publishes the documents of two people; the rows its registry wrote are the templates.
Each further person gets the same sixty documents under ids, identifiers and references of its own, in
order of arrival, so that one person's documents lie as far apart as the collection is large. The load
goes past the API (in bulk, indexes built afterwards), the finds go through it: the row of ITI-67 with
strict parameters, the registry's own story and a durable AuditEvent for each. Only who a patient is and
what a token means are answered from memory, because neither is the registry's.

Every size is a collection of its own, so that they can be measured in turn, `--rounds` times, and what
else the machine does meets all of them alike. `cold` asks for people drawn at random after the cache was
shrunk and opened again (the operating system's cache stays); `warm` asks for the same people once more.
Every answer is checked: twenty entries of forty.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr
from rich.console import Console
from rich.progress import Progress
from rich.table import Table as Shown

from audit.events import Events
from benchmarks import prepare, processes
from benchmarks.__main__ import token_for
from benchmarks.arrivals import EACH, Loaded, load, opened, prefix, record, templates, written
from benchmarks.load import cpu_seconds
from benchmarks.prepare import PACK, TYPES
from chassis import telemetry
from chassis.audit import AuditWriter
from chassis.call import Caller, Route
from chassis.mongo import Mongo
from chassis.service import Endpoint, Rider
from chassis.settings import Settings
from governance.permit import Permit
from registry.documents import Documents
from registry.find import Find
from registry.neighbours import Asked, Who
from standards import mhd

Doc = dict[str, Any]
HITS = 40
BASE = "http://127.0.0.1:8080/fhir"
BYTES = 3_000  # what a document, its submission and their indexes take on disk at most; said before loading
FIGURES = ("p50", "p99", "server_cpu", "database_cpu")


# -- the finds ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Known:
    """A person of two records, as `registry.neighbours.Who` says it."""

    record: str
    person: str
    same: tuple[str, ...]
    state: str = "active"
    survivor: str | None = None


class Everybody:
    """Who a patient is, from memory."""

    def __init__(self) -> None:
        self.known: dict[str, Known] = {}

    def add(self, person: int) -> str:
        """Make a person known; gives the id to ask for."""
        both = record(person, 0), record(person, 1)
        self.known[both[0]] = Known(both[0], f"TL-{person}", both)
        return both[0]

    async def who(
        self,
        asked: Sequence[Asked],
        viewer: Caller | None = None,  # noqa: ARG002  everybody may know of everybody
    ) -> Mapping[Asked, Who]:
        """As `registry.neighbours.People`."""
        return {a: self.known[a[1]] for a in asked if a[1] in self.known}

    async def patients(
        self,
        ids: Collection[str],  # noqa: ARG002  no find here brings a Patient along
        viewer: Caller,  # noqa: ARG002
        permit: Permit,  # noqa: ARG002
    ) -> list[bytes]:
        """As `registry.neighbours.People`."""
        return []

    async def lived(
        self,
        records: Sequence[str],  # noqa: ARG002  nothing is destroyed here
    ) -> Mapping[str, Sequence[str]]:
        """As `registry.neighbours.People`."""
        return {}

    async def happened(self, since: str) -> Sequence[tuple[str, str]]:  # noqa: ARG002  nothing does
        """As `registry.neighbours.People`."""
        return []


class Practitioner:
    """What a token means, from memory."""

    async def caller(self, token: str) -> Caller:
        """As `chassis.service.Identify`."""
        return Caller(
            "growth", "growth", BASE, token, "system/DocumentReference.s", "TL-DEMO", "R-SYS"
        )


def scope_of(patient: str) -> dict[str, Any]:
    """The find of `benchmarks`, as an ASGI server hands it over."""
    kinds = ",".join(f"{PACK.namespace}/CodeSystem/document-type%7C{t}" for t in TYPES[:2])
    query = (
        f"patient=Patient/{patient}&status=current&type={kinds}"
        "&date=ge2023-06-01&date=lt2027-01-01&_sort=-date&_count=20"
    )
    headers = [(b"accept", b"application/fhir+json"), (b"authorization", b"Bearer growth")]
    return {
        "type": "http", "method": "GET", "path": "/fhir/DocumentReference", "headers": headers,
        "raw_path": b"/fhir/DocumentReference", "query_string": query.encode(),
        "client": ("127.0.0.1", 1),
    }  # fmt: skip


async def answered(endpoint: Endpoint, patient: str) -> None:
    """One find; raises when its answer is not what was loaded."""
    status, body = 0, b""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status, body
        status = message.get("status", status)
        body += message.get("body", b"")

    await endpoint(scope_of(patient), receive, send)
    found = json.loads(body)
    entries = found.get("entry", ())
    if status != 200 or len(entries) != 20 or found["total"] != HITS:
        raise SystemExit(f"A find answered {status} with {len(entries)} of {found.get('total')}.")


@dataclass(frozen=True, slots=True)
class Measured:
    """One pass at one size: latency in ms, CPU in µs per find."""

    documents: int
    state: str
    p50: float
    p99: float
    server_cpu: float
    database_cpu: float


async def measure(
    uri: str, size: int, number: int, arguments: argparse.Namespace, database: Sequence[int]
) -> list[Measured]:
    """A cold and a warm pass over people drawn at random."""
    dice = random.Random(size + number)
    everybody = Everybody()
    patients = [everybody.add(dice.randrange(size // EACH)) for _ in range(arguments.finds)]
    made = {}
    async with opened(uri, prefix(size)) as mongo:
        settings = Settings(
            public_url=BASE.removesuffix("/fhir"),
            mongodb=SecretStr(uri),
            database_prefix=prefix(size),
        )
        store = await Documents.opened(mongo)
        async with Events(mongo, BASE).open() as events:
            writer = AuditWriter(events)
            rider = Rider(settings, Practitioner(), writer)
            endpoint = Endpoint(Route(mhd.ITI_67, Find(store, everybody)), rider)
            await cached(mongo, 0.0625)
            await asyncio.sleep(2)
            await cached(mongo, arguments.cache_gb)
            for state in ("cold", "warm"):
                made[state] = await once(
                    endpoint, patients, arguments.clients, state, size, database
                )
            await writer.close()
    return list(made.values())


async def once(
    endpoint: Endpoint,
    patients: Sequence[str],
    clients: int,
    state: str,
    size: int,
    database: Sequence[int],
) -> Measured:
    """All the finds, `clients` at a time."""
    waiting, taken = iter(patients), list[float]()

    async def drive() -> None:
        for patient in waiting:
            begun = time.perf_counter()
            await answered(endpoint, patient)
            taken.append(time.perf_counter() - begun)

    served, stored = time.process_time(), cpu_seconds(database)
    await asyncio.gather(*(drive() for _ in range(clients)))
    served, stored = time.process_time() - served, cpu_seconds(database) - stored
    taken.sort()
    count = len(taken)
    return Measured(
        size, state, taken[count // 2] * 1e3, taken[int(count * 0.99)] * 1e3,
        served / count * 1e6, stored / count * 1e6,
    )  # fmt: skip


async def cached(mongo: Mongo, gigabytes: float) -> None:
    """Give WiredTiger this much cache from now on."""
    size = f"cache_size={int(gigabytes * 1024)}M"
    await mongo.client.admin.command({"setParameter": 1, "wiredTigerEngineRuntimeConfig": size})


def exponent(rows: Sequence[Measured], of: str) -> float:
    """The slope of the logarithm of a figure over the logarithm of the number of documents."""
    x = [math.log(r.documents) for r in rows]
    y = [math.log(max(getattr(r, of), 1e-9)) for r in rows]
    if len(x) < 2:
        return math.nan
    middle, height = statistics.fmean(x), statistics.fmean(y)
    return sum((a - middle) * (b - height) for a, b in zip(x, y, strict=True)) / sum(
        (a - middle) ** 2 for a in x
    )


# -- the run --------------------------------------------------------------------------------------


async def main(arguments: argparse.Namespace) -> None:
    """Load, measure, load more; print the table and write JSON."""
    telemetry.configure("error")
    console = Console(width=120)
    sizes = sorted(arguments.sizes)
    needed = int(sizes[-1] * BYTES)
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="growth-") as folder:
        free = shutil.disk_usage(folder).free
        console.print(
            f"{sizes[-1]:,} documents take about {needed / 1e9:.1f} GB below {folder} "
            f"({free / 1e9:.0f} GB free); they are removed afterwards."
        )
        if free < needed * 1.5:
            raise SystemExit("That is not enough room; choose another --folder or smaller --sizes.")
        rows, loads = await _run(Path(folder), sizes, arguments, console)
    middle = _medians(rows)
    _show(middle, console)
    if arguments.json:
        said = {
            "machine": processes.machine(), "cache_gb": arguments.cache_gb,
            "loads": [asdict(said) for said in loads],
            "rows": [asdict(r) for r in middle],
            "exponents": {s: _exponents(middle, s) for s in ("cold", "warm")},
        }  # fmt: skip
        arguments.json.write_text(json.dumps(said, indent=1) + os.linesep)


async def _run(
    folder: Path, sizes: Sequence[int], arguments: argparse.Namespace, console: Console
) -> tuple[list[Measured], list[Loaded]]:
    rows: list[Measured] = []
    loads: list[Loaded] = []
    environment = {"THROUGHLINE_TOKEN_SECONDS": "3600", "THROUGHLINE_LOG_LEVEL": "error"}
    with (
        processes.exchange(folder / "data", environment) as running,
        Progress(console=console) as progress,
    ):
        headers = {"Authorization": f"Bearer {await token_for(running)}"}
        async with httpx.AsyncClient(base_url=running.fhir, headers=headers, timeout=60) as client:
            made = await prepare.prepare(client, 2, EACH, progress)
        async with opened(running.uri, "") as mongo:
            sheets = templates(await written(mongo), made.patients)
            await cached(mongo, arguments.cache_gb)
        for size in sizes:
            said = await load(running.uri, sheets, size, progress, into=prefix(size))
            console.print(str(said))
            loads.append(said)
        task = progress.add_task("Measuring", total=arguments.rounds * len(sizes))
        for number in range(arguments.rounds):
            for size in sizes:
                rows += await measure(running.uri, size, number, arguments, running.database)
                progress.advance(task)
    return rows, loads


def _medians(rows: Sequence[Measured]) -> list[Measured]:
    """One row for each size and state."""
    groups: dict[tuple[str, int], list[Measured]] = {}
    for row in rows:
        groups.setdefault((row.state, row.documents), []).append(row)
    return [
        Measured(size, state, *(statistics.median(getattr(r, f) for r in group) for f in FIGURES))
        for (state, size), group in sorted(groups.items())
    ]


def _exponents(rows: Sequence[Measured], state: str) -> dict[str, float]:
    mine = [r for r in rows if r.state == state]
    return {figure: exponent(mine, figure) for figure in FIGURES}


def _show(rows: Sequence[Measured], console: Console) -> None:
    table = Shown("Documents", "Cache", "p50 ms", "p99 ms", "Server CPU µs", "mongod CPU µs")
    for r in rows:
        table.add_row(
            f"{r.documents:,}", r.state, f"{r.p50:.2f}", f"{r.p99:.2f}", f"{r.server_cpu:.0f}",
            f"{r.database_cpu:.0f}",
        )  # fmt: skip
    console.print(table)
    for state in ("cold", "warm"):
        said = ", ".join(f"{figure} {e:+.3f}" for figure, e in _exponents(rows, state).items())
        console.print(f"Growth exponent, {state}: {said}")


def _sizes(said: str) -> list[int]:
    return [int(float(size)) for size in said.split(",")]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.growth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sizes", type=_sizes, default=[100_000, 1_000_000], help="documents")
    parser.add_argument("--finds", type=int, default=2000, help="people asked for at each size")
    parser.add_argument("--clients", type=int, default=4, help="finds at a time")
    parser.add_argument("--rounds", type=int, default=3, help="the median of so many is shown")
    parser.add_argument("--cache-gb", type=float, default=1.0, help="WiredTiger's cache")
    parser.add_argument("--folder", type=Path, help="where the data lies meanwhile")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    asyncio.run(main(parser.parse_args()))
