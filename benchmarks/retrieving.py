"""`python -m benchmarks.retrieving`: documents over HTTP against what the machine can do with their bytes.

Retrieval (ITI-68) of 1 MB from the running exchange, in turn with two ceilings in the same run, on the
same HTTP server and the same MongoDB: *raw driver* answers the bytes of one `find_one` of the very blob,
with no token, no registry, no opening of the seal and no audit; *from memory* answers 1 MB that is
there already. And how much memory 50 MB in and out take of the serving process, by its high-water mark.

Audit, policy and sealing are on; every answer's length and first and last bytes are checked, and the
50 MB by their digest. With `--memory` the memory alone.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import statistics
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import httpx
import orjson
from bson import json_util
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks import load, prepare, processes
from benchmarks.__main__ import Workload, token_for
from benchmarks.load import Measured, request
from chassis.mongo import Mongo

MB = 1024 * 1024
LARGE = 50
LINE = 48 * 1024  # bytes of the large document that are told at a time; a multiple of three
BUDGET_RATE, BUDGET_MEMORY = 0.5, 30 * MB


async def main(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure and print; what is written as JSON."""
    console = Console(width=130)
    environment = {"THROUGHLINE_TOKEN_SECONDS": "7200", "THROUGHLINE_LOG_LEVEL": "warning"}
    with (
        tempfile.TemporaryDirectory() as folder,
        processes.exchange(Path(folder) / "data", environment) as running,
    ):
        headers = {"Authorization": f"Bearer {await token_for(running)}"}
        async with httpx.AsyncClient(base_url=running.fhir, headers=headers, timeout=120) as client:
            with Progress(console=console) as progress:
                made = await prepare.prepare(client, 1, 2, progress)
            rows = []
            if not arguments.memory:
                token = headers["Authorization"].removeprefix("Bearer ")
                rows = await _rates(running, made, token, arguments)
                _show(rows, console)
            memory = await _memory(client, made, running.server)
    for what, more in memory.items():
        verdict = "met" if more < BUDGET_MEMORY else "missed"
        print(f"{LARGE} MB {what}: {more / MB:.1f} MB of extra memory ({verdict})")
    return {"machine": processes.machine(), "rows": rows, "memory": memory}


# -- rates ------------------------------------------------------------------------------------------


async def _rates(
    running: processes.Running, made: prepare.Prepared, token: str, arguments: argparse.Namespace
) -> list[dict[str, Any]]:
    path = "/" + running.fhir.split("/", 3)[3]
    asked = [
        request("GET", f"{path}/Binary/{b}", token).replace(
            b"Accept: application/fhir+json", b"Accept: */*"
        )
        for b in made.large
    ]
    blobs = json_util.dumps(await _blobs(running.uri, made.large))
    figures: dict[tuple[str, int], list[Measured]] = {}
    with processes.ceilings({"CEILING_URI": running.uri, "CEILING_BLOBS": blobs}) as (where, pids):
        ours = Workload("retrieve 1 MB", lambda n: asked[n % len(asked)], _whole)
        raw = Workload("ceiling: raw driver", lambda n: request("GET", f"/blob/{n}"), _sealed)
        held = Workload("ceiling: from memory", lambda _: request("GET", "/megabyte"), _sealed)
        turns: Sequence[tuple[Workload, tuple[str, int], tuple[int, ...]]] = (
            (ours, running.address, running.server), (raw, where, pids), (held, where, pids),
        )  # fmt: skip
        for number in range(arguments.repeats):
            for clients in arguments.clients:
                for workload, address, server in turns[number % 3 :] + turns[: number % 3]:
                    measured = await load.run(
                        address, workload.prepare, workload.check, clients=clients,
                        seconds=arguments.seconds, server=server, database=running.database,
                    )  # fmt: skip
                    figures.setdefault((workload.name, clients), []).append(measured)
    return [_row(name, clients, runs, figures) for (name, clients), runs in figures.items()]


def _whole(status: int, body: bytes) -> bool:
    return status == 200 and len(body) == MB and body[:3] == b"\xff\xd8\xff"


def _sealed(status: int, body: bytes) -> bool:
    return status == 200 and len(body) >= MB


async def _blobs(uri: str, binaries: Sequence[str]) -> list[str]:
    """The names of the contents of these documents."""
    mongo = Mongo(uri, pool=2)
    try:
        rows = await mongo.table("repository", "deposits").many({"_id": {"$in": list(binaries)}})
        return [row["blob"] for row in rows]
    finally:
        await mongo.close()


def _row(
    name: str, clients: int, runs: list[Measured], figures: dict[tuple[str, int], list[Measured]]
) -> dict[str, Any]:
    raw = figures["ceiling: raw driver", clients]
    shares = [r.rate / c.rate for r, c in zip(runs, raw, strict=True)]
    spent = [
        (c.server_cpu + c.database_cpu) / (r.server_cpu + r.database_cpu)
        for r, c in zip(runs, raw, strict=True)
    ]
    middle = statistics.median
    return {
        "workload": name,
        "clients": clients,
        "rate": middle(r.rate for r in runs),
        "p50_ms": middle(r.p50 for r in runs),
        "server_cpu_us": middle(r.server_cpu for r in runs),
        "database_cpu_us": middle(r.database_cpu for r in runs),
        "rate_of_raw": middle(shares),
        "cpu_of_raw": middle(spent),
        "wrong": sum(r.wrong for r in runs),
        "runs": [asdict(r) for r in runs],
    }


def _show(rows: list[dict[str, Any]], console: Console) -> None:
    table = Table(
        "Workload", "Clients", "req/s", "p50 ms", "Server CPU µs", "mongod CPU µs",
        "Rate, of raw", "CPU, raw of it", "Wrong",
    )  # fmt: skip
    for row in sorted(rows, key=lambda r: (r["clients"], r["workload"])):
        table.add_row(
            row["workload"], str(row["clients"]), f"{row['rate']:.0f}", f"{row['p50_ms']:.1f}",
            f"{row['server_cpu_us']:.0f}", f"{row['database_cpu_us']:.0f}", f"{row['rate_of_raw']:.0%}",
            f"{row['cpu_of_raw']:.0%}", str(row["wrong"]),
        )  # fmt: skip
    console.print(table)


# -- memory -----------------------------------------------------------------------------------------


async def _memory(
    client: httpx.AsyncClient, made: prepare.Prepared, server: Sequence[int]
) -> dict[str, int]:
    """The extra memory of the server while 50 MB go in, and out as bytes and as a resource."""
    content = _lines()
    size = sum(len(line) for line in content)
    whole = hashlib.sha256(b"".join(content)).digest()
    found: dict[str, int] = {}
    before = _begun(server)
    answer = await client.post(
        "", content=_told(made, content, size), headers={"Content-Type": "application/fhir+json"}
    )
    found["in (ITI-65)"] = _peak(server) - before
    answer.raise_for_status()
    place = answer.json()["entry"][2]["response"]["location"].split("/_history")[0]
    for what, accept in (("out (ITI-68)", "*/*"), ("out, as a Binary", "application/fhir+json")):
        before = _begun(server)
        digest, length = hashlib.sha256(), 0
        async with client.stream("GET", place, headers={"Accept": accept}) as coming:
            async for piece in coming.aiter_raw(256 * 1024):
                digest.update(piece)
                length += len(piece)
        found[what] = _peak(server) - before
        right = digest.digest() == whole if accept == "*/*" else length > size * 4 // 3
        if coming.status_code != 200 or not right:
            raise SystemExit(
                "The document did not come out as it went in; the figures do not count."
            )
    return found


def _lines() -> list[bytes]:
    """The large document in pieces: it begins like a JPEG, and no two pieces are alike."""
    count = LARGE * MB // LINE + 1
    dice = Random(50)
    first = b"\xff\xd8\xff" + dice.randbytes(LINE - 3)
    return [first, *(n.to_bytes(8, "big") + first[8:] for n in range(1, count))]


async def _told(
    made: prepare.Prepared, content: Sequence[bytes], size: int
) -> AsyncIterator[bytes]:
    """The submission of the large document, as it is sent, never whole."""
    template = json.loads(prepare.fresh(made.template))
    prepare.with_bytes(template, b"", "image/jpeg")
    attachment = template["entry"][1]["resource"]["content"][0]["attachment"]
    attachment |= {"size": size, "hash": _sha1(content)}
    template["entry"][2]["resource"]["data"] = "HERE"
    head, _, tail = orjson.dumps(template).partition(b"HERE")
    yield head
    for line in content:
        yield base64.b64encode(line)
    yield tail


def _sha1(content: Sequence[bytes]) -> str:
    digest = hashlib.sha1(usedforsecurity=False)
    for line in content:
        digest.update(line)
    return base64.b64encode(digest.digest()).decode()


def _begun(pids: Sequence[int]) -> int:
    """Forget the high-water marks of these processes; the memory they have now."""
    for pid in pids:
        with suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text("5")
    return _status(pids, "VmRSS")


def _peak(pids: Sequence[int]) -> int:
    return _status(pids, "VmHWM")


def _status(pids: Sequence[int], field: str) -> int:
    total = 0
    for pid in pids:
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith(field + ":"))
    return total * 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retrieving")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument(
        "--clients", type=lambda s: [int(c) for c in s.split(",")], default=[1, 8, 32]
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="measure the memory alone")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    chosen = parser.parse_args()
    figures_ = asyncio.run(main(chosen))
    if chosen.json:
        chosen.json.write_text(json.dumps(figures_, indent=1))
    if any(row["wrong"] for row in figures_["rows"]):
        raise SystemExit("Some answers were wrong; the figures do not count.")
