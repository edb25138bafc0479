"""Does a page cost more the deeper it lies? One person with 100,000 documents, read to the end.

    python -m benchmarks.paging [--documents 100000] [--count 100] [--totals] [--folder DIR] [--json FILE]

The rows are the registry's own under other ids, in bulk, as in `benchmarks.growth`; the pages go through
the row of ITI-67 with strict parameters, the registry's own story and a durable AuditEvent for each. Seven
documents share each date, and all share one `_lastUpdated`, as after a migration: the worst there is for
an order that has to go on in the middle of equals. Every answer is checked: all documents, each once.

`counting` compares one page alone, with its exact total counted, and as it is served (by the tally that is
kept of whoever has very many), under a scope that is narrowed to one type: for somebody with sixty
documents, and for the one with 100,000.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import SecretStr
from rich.console import Console
from rich.progress import Progress
from rich.table import Table as Shown

from audit.events import Events
from benchmarks import prepare, processes
from benchmarks.__main__ import token_for
from benchmarks.arrivals import (
    EACH,
    START,
    Template,
    opened,
    prefix,
    record,
    templates,
    written,
)
from benchmarks.growth import BASE, Everybody, Practitioner
from benchmarks.load import cpu_seconds
from benchmarks.prepare import PACK, TYPES
from chassis import telemetry
from chassis.audit import AuditWriter
from chassis.call import Route
from chassis.filters import all_of, compiled, narrow
from chassis.mongo import Mongo
from chassis.pages import find
from chassis.service import Endpoint, Rider
from chassis.settings import Settings
from governance.permit import Permit
from registry import tallies
from registry.documents import Documents
from registry.find import Find
from standards import mhd
from standards.search import SortKey, named, parse

Doc = dict[str, Any]
SIZE = 1  # the name of the databases, and the number of the person
ORDERS = ("-date", "date", "-_lastUpdated")
PARTS = 10


def rows(sheets: Sequence[Template], many: int) -> list[Doc]:
    """The documents of the person with many, and the sixty of another."""
    made = []
    for number in range(many):
        row = sheets[number % EACH].stamped(number, SIZE)
        day = START + timedelta(hours=number // 7)
        date = {"lo": day, "hi": day + timedelta(milliseconds=1)}
        made.append(
            {**row, "subject": record(SIZE, 0), "at": START, "ix": {**row["ix"], "date": date}}
        )
    return made + [sheet.stamped(many + n, SIZE + 1) for n, sheet in enumerate(sheets)]


async def load(mongo: Mongo, documents: Sequence[Doc], progress: Progress) -> Documents:
    """Insert them; gives the store over them."""
    store = await Documents.opened(mongo)
    task = progress.add_task("Loading", total=len(documents))
    for start in range(0, len(documents), 2_000):
        await store.documents.insert_many(documents[start : start + 2_000], ordered=False)
        progress.advance(task, 2_000)
    return store


# -- deep pages -----------------------------------------------------------------------------------


async def fetched(endpoint: Endpoint, url: str) -> Doc:
    """One page."""
    path, _, query = url.partition("?")
    status, body = 0, b""

    async def receive() -> Doc:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status, body
        status = message.get("status", status)
        body += message.get("body", b"")

    headers = [(b"accept", b"application/fhir+json"), (b"authorization", b"Bearer growth")]
    scope = {
        "type": "http", "method": "GET", "path": "/fhir/DocumentReference", "headers": headers,
        "raw_path": path.encode(), "query_string": query.encode(), "client": ("127.0.0.1", 1),
    }  # fmt: skip
    await endpoint(scope, receive, send)
    if status != 200:
        raise SystemExit(f"A page answered {status}: {body[:300]!r}")
    made: Doc = json.loads(body)
    return made


async def traversed(
    endpoint: Endpoint, order: str, arguments: argparse.Namespace, database: Sequence[int]
) -> list[Doc]:
    """Every page of one order; what a page cost in each tenth of the way (ms, µs of CPU)."""
    pages = arguments.documents // arguments.count
    url = (
        f"/DocumentReference?patient={record(SIZE, 0)}&status=current&_count={arguments.count}"
        f"&_sort={order}"
    )
    seen: set[str] = set()
    made: list[Doc] = []
    taken: list[float] = []
    served, stored = time.process_time(), cpu_seconds(database)
    first = 0.0
    while url:
        begun = time.perf_counter()
        page = await fetched(endpoint, url)
        spent = (time.perf_counter() - begun) * 1e3
        if not seen:  # it counts everything, which no later page does
            first = spent
            served, stored = time.process_time(), cpu_seconds(database)
        else:
            taken.append(spent)
        if page["total"] != arguments.documents:
            raise SystemExit(f"A page counts {page['total']}.")
        seen.update(e["resource"]["id"] for e in page["entry"])
        url = next((x["url"] for x in page["link"] if x["relation"] == "next"), "")
        if taken and (len(taken) % (pages // PARTS) == 0 or not url):
            now = time.process_time(), cpu_seconds(database)
            many = len(taken) - sum(m["pages"] for m in made)
            if many:
                made.append({
                    "order": order, "part": len(made), "pages": many, "first": first,
                    "p50": statistics.median(taken[-many:]),
                    "server_cpu": (now[0] - served) / many * 1e6,
                    "database_cpu": (now[1] - stored) / many * 1e6,
                })  # fmt: skip
            served, stored = now
    if len(seen) != arguments.documents:
        raise SystemExit(f"{order}: {len(seen)} documents were given, not {arguments.documents}.")
    return made


# -- counting -------------------------------------------------------------------------------------


async def timed(act: Callable[[], Awaitable[object]], times: int) -> float:
    """Median milliseconds."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        await act()
        taken.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(taken)


CASES: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("status, type by scope", ()),
    ("and months", (("date", "ge2024-02"), ("date", "lt2025-03"))),
    ("and days", (("date", "ge2024-02-10"), ("date", "lt2025-03-10"))),
    ("and creation, which no tally knows", (("creation", "ge2010"),)),
)


async def counting(store: Documents) -> list[Doc]:
    """What the exact total adds to a page of twenty, under a narrowed scope, with and without tallies."""
    kind = f"{PACK.namespace}/CodeSystem/document-type|{TYPES[0]}"
    permit = Permit(("bench",), (frozenset({("type", kind)}),))
    table = store.documents
    tallies.SETTLE = 0.0  # nobody else writes here
    for _ in range(2):
        store.tallies.want(table, [record(SIZE, 0), record(SIZE, 1)])
        await store.tallies.turn()
    known = store.tallies.of(table)
    made = []
    for who, person, times in (("sixty", SIZE + 1, 100), ("many", SIZE, 5)):
        for what, more in CASES:
            asked = parse(
                [("status", "current"), ("_count", "20"), *more],
                mhd.DOCUMENT_PARAMETERS, resource="DocumentReference",
            )  # fmt: skip
            whose = {"$in": [record(person, 0), record(person, 1)]}
            filters = all_of([
                {"subject": whose}, {"seen": {"$in": ["", "TL-DEMO"]}},
                *map(compiled, asked.clauses), narrow(permit, mhd.DOCUMENT_PARAMETERS),
            ])  # fmt: skip
            keys = (SortKey(named(mhd.DOCUMENT_PARAMETERS)["date"], True),)
            page = replace(asked, total=0)
            ways = {
                "page": lambda: find(table, page, filters, keys),  # noqa: B023  called in this turn
                "counted": lambda: find(table, asked, filters, keys, few=True),  # noqa: B023
                "served": lambda: find(table, asked, filters, keys, few=True, totals=known),  # noqa: B023
                "count": lambda: table.count(filters),  # noqa: B023
            }
            found = await find(table, asked, filters, keys, few=True, totals=known)
            if found.total != await table.count(filters):
                raise SystemExit(f"A tally counts {found.total}.")
            said: Doc = {"who": who, "what": what, "hits": found.total}
            for rounds in (1, times):  # the first is to warm up
                for way, act in ways.items():
                    said[way] = await timed(act, rounds)
            made.append(said)
    return made


# -- the run --------------------------------------------------------------------------------------


async def main(arguments: argparse.Namespace) -> None:
    """Load, read to the end in each order, count; print the tables and write JSON."""
    telemetry.configure("error")
    console = Console(width=120)
    environment = {"THROUGHLINE_TOKEN_SECONDS": "3600", "THROUGHLINE_LOG_LEVEL": "error"}
    with (
        tempfile.TemporaryDirectory(dir=arguments.folder, prefix="paging-") as folder,
        processes.exchange(Path(folder) / "data", environment) as running,
        Progress(console=console) as progress,
    ):
        headers = {"Authorization": f"Bearer {await token_for(running)}"}
        async with httpx.AsyncClient(base_url=running.fhir, headers=headers, timeout=60) as client:
            prepared = await prepare.prepare(client, 1, EACH, progress)
        async with opened(running.uri, prefix(SIZE)) as mongo:
            own = Mongo(running.uri)
            (sheets,) = templates(await written(own), prepared.patients)
            await own.close()
            store = await load(mongo, rows(sheets, arguments.documents), progress)
            pages = []
            if not arguments.totals:
                pages = await _pages(mongo, store, running, arguments, progress)
            counts = await counting(store)
    _show(pages, counts, console)
    if arguments.json:
        said = {"machine": processes.machine(), "pages": pages, "counting": counts}
        arguments.json.write_text(json.dumps(said, indent=1) + "\n")


async def _pages(
    mongo: Mongo, store: Documents, running: Any, arguments: argparse.Namespace, progress: Progress
) -> list[Doc]:
    everybody = Everybody()
    everybody.add(SIZE)
    settings = Settings(public_url=BASE.removesuffix("/fhir"), mongodb=SecretStr(running.uri))
    made: list[Doc] = []
    async with Events(mongo, BASE).open() as events:
        writer = AuditWriter(events)
        rider = Rider(settings, Practitioner(), writer)
        endpoint = Endpoint(Route(mhd.ITI_67, Find(store, everybody)), rider)
        for order in progress.track(ORDERS, description="Reading to the end"):
            made += await traversed(endpoint, order, arguments, running.database)
        await writer.close()
    return made


def _show(pages: Sequence[Doc], counts: Sequence[Doc], console: Console) -> None:
    table = Shown(
        "Order", "Tenth", "Pages", "p50 ms", "Server CPU µs", "mongod CPU µs", "First page ms"
    )
    for p in pages:
        if p["part"] in (0, 4, PARTS - 1):
            table.add_row(
                quote(p["order"]), str(p["part"] + 1), str(p["pages"]), f"{p['p50']:.2f}",
                f"{p['server_cpu']:.0f}", f"{p['database_cpu']:.0f}", f"{p['first']:.0f}",
            )  # fmt: skip
    if pages:
        console.print(table)
    table = Shown(
        "Who",
        "Asked",
        "Hits",
        "Page ms",
        "Total counted ms",
        "As served ms",
        "Count alone ms",
        "Ratio",
    )
    for c in counts:
        table.add_row(
            c["who"], c["what"], f"{c['hits']:,}",
            *(f"{c[w]:.2f}" for w in ("page", "counted", "served", "count")),
            f"{c['served'] / c['page']:.2f}",
        )  # fmt: skip
    console.print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.paging", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--documents", type=int, default=100_000, help="of the one person")
    parser.add_argument("--count", type=int, default=100, help="documents of a page")
    parser.add_argument(
        "--totals", action="store_true", help="measure what totals cost, and no pages"
    )
    parser.add_argument("--folder", type=Path, help="where the data lies meanwhile")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    asyncio.run(main(parser.parse_args()))
