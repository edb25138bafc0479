"""`python -m benchmarks`: the running exchange beside the ceilings of the machine, in one run.

Server CPU per request comes from /proc and is the figure to compare; rates are what two shared cores give
client, server and database together. Every workload is run in turn with its ceiling, `--repeats` times,
and the median is shown. Audit, policy and strict parameters are on; every answer is checked.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
from bson import json_util
from joserfc.jwk import ECKey
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from affinity.pack import NHS_NUMBER
from auth.client import Client
from auth.clients import Clients
from benchmarks import arrivals, load, prepare, processes
from benchmarks.load import Measured, request
from benchmarks.prepare import PACK, TYPES, Prepared
from chassis.mongo import Mongo
from exchange.token import assertion

BUDGET = {"find": 1000.0, "read": 600.0, "cross-reference": 600.0, "provide": 4000.0}
SCOPE = "system/*.cruds"


@dataclass(frozen=True)
class Workload:
    """A kind of request: how the nth is made, and whether an answer to it is right."""

    name: str
    prepare: Callable[[int], bytes]
    check: Callable[[int, bytes], bool]


def workloads(made: Prepared, token: str, path: str) -> list[Workload]:
    """The five workloads over what was prepared; `path` is the path of the FHIR base."""
    kinds = ",".join(f"{PACK.namespace}/CodeSystem/document-type%7C{t}" for t in TYPES[:2])
    window = "date=ge2023-06-01&date=lt2027-01-01"
    finds = [
        request(
            "GET",
            f"{path}/DocumentReference?patient=Patient/{p[0]}&status=current&type={kinds}&{window}&_sort=-date&_count=20",
            token,
        )
        for p in made.patients
    ]
    reads = [request("GET", f"{path}/DocumentReference/{d}", token) for d in made.documents]
    source = f"{path}/Patient/$ihe-pix?sourceIdentifier={NHS_NUMBER}%7C"
    crosses = [request("GET", source + n, token) for n in made.numbers]
    small = [_bytes(f"{path}/Binary/{b}", token) for b in made.binaries]
    large = [_bytes(f"{path}/Binary/{b}", token) for b in made.large]
    posts = [
        request("POST", path, token, prepare.fresh(made.template), "application/fhir+json")
        for _ in range(4000)
    ]

    def turn(of: list[bytes]) -> Callable[[int], bytes]:
        return lambda n: of[n % len(of)]

    def once(of: list[bytes]) -> Callable[[int], bytes]:
        def next_one(_: int) -> bytes:
            return (
                of.pop()
                if of
                else request(
                    "POST", path, token, prepare.fresh(made.template), "application/fhir+json"
                )
            )

        return next_one

    return [
        Workload("find", turn(finds), lambda s, b: s == 200 and b.count(b'"mode":"match"') == 20),
        Workload(
            "read",
            turn(reads),
            lambda s, b: s == 200 and b'"resourceType":"DocumentReference"' in b,
        ),
        Workload(
            "cross-reference", turn(crosses), lambda s, b: s == 200 and b"targetIdentifier" in b
        ),
        Workload("provide", once(posts), lambda s, b: s == 200 and b'"transaction-response"' in b),
        Workload("retrieve 560 B", turn(small), lambda s, b: s == 200 and len(b) == 560),
        Workload("retrieve 1 MB", turn(large), lambda s, b: s == 200 and len(b) == 1024 * 1024),
    ]


def _bytes(path: str, token: str) -> bytes:
    return request("GET", path, token).replace(b"Accept: application/fhir+json", b"Accept: */*")


def ceiling_finds(made: Prepared) -> list[dict[str, Any]]:
    """The raw finds whose bytes are the bytes of the find workload."""
    from datetime import UTC, datetime

    kinds = [f"{PACK.namespace}/CodeSystem/document-type|{t}" for t in TYPES[:2]]
    window = {"$gte": datetime(2023, 6, 1, tzinfo=UTC), "$lt": datetime(2027, 1, 1, tzinfo=UTC)}
    return [
        {
            "database": "registry",
            "collection": "documents",
            "filter": {
                "subject": {"$in": list(p)}, "status": "current", "ix.type": {"$in": kinds}, "ix.date.lo": window,
            },
            "sort": [["ix.date.lo", -1], ["_id", -1]],
            "limit": 20,
        }
        for p in made.patients
    ]  # fmt: skip


async def token_for(running: processes.Running) -> str:
    """Register a client and get a token that outlives the run."""
    mongo = Mongo(running.uri, pool=2)
    key = ECKey.generate_key("P-384", {"kid": "bench", "use": "sig", "alg": "ES384"})
    public = {"keys": [key.as_dict(private=False)]}
    await Clients(mongo).add(
        Client("bench", "bench", public, scope=SCOPE, role="R-SYS", organisation="TL-DEMO")
    )
    await mongo.close()
    async with httpx.AsyncClient() as http:
        answer = await http.post(
            f"{running.auth}/token",
            data={
                "grant_type": "client_credentials",
                "scope": SCOPE,
                "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                "client_assertion": assertion(
                    "bench", key, f"{running.auth}/token", int(time.time())
                ),
            },
        )
        answer.raise_for_status()
        return str(answer.json()["access_token"])


async def main(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run everything; returns what is written as JSON."""
    console = Console(width=150)
    figures: dict[str, list[Measured]] = {}
    loaded: arrivals.Loaded | None = None
    environment = {"THROUGHLINE_TOKEN_SECONDS": "7200", "THROUGHLINE_LOG_LEVEL": "warning"}
    with (
        tempfile.TemporaryDirectory(dir=arguments.folder) as folder,
        processes.exchange(Path(folder) / "data", environment) as running,
    ):
        token = await token_for(running)
        headers = {"Authorization": f"Bearer {token}"}
        limits = httpx.Limits(max_connections=16)
        with Progress(console=console) as progress:
            async with httpx.AsyncClient(
                base_url=running.fhir, headers=headers, limits=limits, timeout=30
            ) as client:
                made = await prepare.prepare(
                    client, arguments.people, arguments.documents, progress
                )
            if arguments.loaded:
                loaded = await _loaded(running.uri, made, arguments.loaded, progress)
                console.print(str(loaded))
            finds = json_util.dumps(ceiling_finds(made))
            with processes.ceilings({"CEILING_URI": running.uri, "CEILING_FINDS": finds}) as (
                address,
                pids,
            ):
                ceilings = [
                    Workload("ceiling: trivial answer", lambda _: request("GET", "/trivial"), lambda s, b: s == 200 and len(b) > 1900),
                    Workload("ceiling: raw find", lambda n: request("GET", f"/raw/{n}"), lambda s, b: s == 200 and b.count(b'"DocumentReference"') == 20),
                ]  # fmt: skip
                path = "/" + running.fhir.split("/", 3)[3]
                every = [(w, running.address, running.server) for w in workloads(made, token, path)]
                every += [(w, address, pids) for w in ceilings]
                if arguments.only:
                    every = [e for e in every if e[0].name.startswith(("ceiling", *arguments.only))]
                steps = progress.add_task(
                    "Measuring", total=arguments.repeats * len(arguments.clients) * len(every)
                )
                for _ in range(arguments.repeats):
                    for clients in arguments.clients:
                        for workload, where, server in every:
                            measured = await load.run(
                                where, workload.prepare, workload.check, clients=clients,
                                seconds=arguments.seconds, server=server, database=running.database,
                            )  # fmt: skip
                            figures.setdefault(f"{workload.name}|{clients}", []).append(measured)
                            progress.advance(steps)
    rows = [_median(name, runs) for name, runs in figures.items()]
    _show(rows, console)
    said = {"machine": processes.machine(), "arguments": vars(arguments), "rows": rows}
    return said | ({"loaded": asdict(loaded)} if loaded else {})


async def _loaded(uri: str, made: Prepared, size: int, progress: Progress) -> arrivals.Loaded:
    """The documents of other people in the exchange's registry, beside those that were published."""
    mongo = Mongo(uri, pool=2)
    sheets = arrivals.templates(await arrivals.written(mongo), made.patients)
    await mongo.close()
    return await arrivals.load(uri, sheets, size, progress, into="")


def _median(name: str, runs: list[Measured]) -> dict[str, Any]:
    def middle(of: Callable[[Measured], float]) -> float:
        return statistics.median(of(r) for r in runs)

    workload, clients = name.split("|")
    return {
        "workload": workload,
        "clients": int(clients),
        "rate": middle(lambda r: r.rate),
        "p50_ms": middle(lambda r: r.p50),
        "p99_ms": middle(lambda r: r.p99),
        "server_cpu_us": middle(lambda r: r.server_cpu),
        "database_cpu_us": middle(lambda r: r.database_cpu),
        "wrong": sum(r.wrong for r in runs),
        "runs": [asdict(r) for r in runs],
    }


def _show(rows: list[dict[str, Any]], console: Console) -> None:
    table = Table(
        "Workload",
        "Clients",
        "req/s",
        "p50 ms",
        "p99 ms",
        "Server CPU µs",
        "mongod CPU µs",
        "Of the ceiling",
        "Budget",
        "Wrong",
    )
    ceiling = {r["clients"]: r["rate"] for r in rows if r["workload"] == "ceiling: raw find"}
    for row in sorted(
        rows, key=lambda r: (r["workload"].startswith("ceiling"), r["workload"], r["clients"])
    ):
        budget = BUDGET.get(row["workload"])
        share = ""
        if row["workload"] == "find":
            share = f"{row['rate'] / ceiling[row['clients']]:.0%}"
        met = (
            ""
            if budget is None
            else f"{'met' if row['server_cpu_us'] <= budget else 'missed'} ({budget:.0f})"
        )
        table.add_row(
            row["workload"], str(row["clients"]), f"{row['rate']:.0f}", f"{row['p50_ms']:.1f}", f"{row['p99_ms']:.1f}",
            f"{row['server_cpu_us']:.0f}", f"{row['database_cpu_us']:.0f}", share, met, str(row["wrong"]),
        )  # fmt: skip
    console.print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.split("\n")[0]
    )
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="how long each measurement lasts"
    )
    parser.add_argument(
        "--clients", type=lambda s: [int(c) for c in s.split(",")], default=[1, 8, 64]
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--people", type=int, default=40)
    parser.add_argument("--documents", type=int, default=60, help="per person")
    parser.add_argument(
        "--loaded", type=lambda s: int(float(s)), default=0,
        help="documents of other people that are loaded first, in bulk (1e6)",
    )  # fmt: skip
    parser.add_argument("--folder", type=Path, help="where the data lies meanwhile")
    parser.add_argument("--only", nargs="*", help="workloads to run, by the start of their names")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    chosen = parser.parse_args()
    found = asyncio.run(main(chosen))
    out = chosen.json or Path("benchmarks/results") / time.strftime(
        "%Y%m%dT%H%M%SZ.json", time.gmtime()
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=1, default=str) + os.linesep)
    print(f"Figures: {out}")
    if any(row["wrong"] for row in found["rows"]):
        raise SystemExit("Some answers were wrong; the figures do not count.")
