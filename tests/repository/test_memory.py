"""A 50 MB document goes in and out through the whole service in constant memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.repository.conftest import ORIGIN

# In a process of its own, so that what is measured is this document and nothing else.
_STORY = """
import asyncio, base64, hashlib, os, resource, sys
from contextlib import asynccontextmanager
from pathlib import Path
from affinity.pack import load
from chassis.mongo import Mongo
from chassis.onion import create
from chassis.service import Rider
from chassis.settings import Settings
from chassis.spool import read_body
from repository.app import open_service
from repository.neighbours import Cited
from standards.mhd_retrieve import TRANSACTIONS
from tests.repository.conftest import PACK, ByToken, Notebook
from tests.repository.shelf import Shelf
from tests.running import serving

LINE = bytes(range(256)) * 192
TEXT = base64.b64encode(LINE)
LINES = 1068

def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()

class Peak:
    value = 0
    def look(self):
        self.value = max(self.value, resident())

async def body(peak):
    def chunks():
        yield b'{"resourceType":"Binary","data":"'
        for _ in range(LINES):
            yield TEXT
        yield b'"}'
    left = chunks()
    async def receive():
        peak.look()
        chunk = next(left, None)
        return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}
    limits = {"max_body": 1000, "max_document": 1 << 27}
    return await read_body(receive, kind="json", spool_dir=Path(sys.argv[3]), **limits)

async def answered(app, path, headers, peak):
    digest, size, status = hashlib.sha256(), 0, 0
    async def receive():
        return {"type": "http.request"}
    async def send(message):
        nonlocal size, status
        peak.look()
        status = message.get("status", status)
        digest.update(message.get("body", b""))
        size += len(message.get("body", b""))
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": path, "raw_path": path.encode(), "root_path": "", "query_string": b"", "headers": headers,
        "server": ("repository.test", 80), "client": ("127.0.0.1", 1), "state": {},
    }
    await app(scope, receive, send)
    return status, size, digest.digest()

async def main():
    mongo = Mongo(sys.argv[1], prefix=sys.argv[2])
    settings = Settings(public_url=sys.argv[4], data=Path(sys.argv[3]), log_level="error")
    shelf, vaults = Shelf(), []
    @asynccontextmanager
    async def opening():
        async with open_service(settings, mongo, PACK, registry=shelf, audit=Notebook()) as service:
            vaults.append(service.near)
            yield [service], Rider(settings, ByToken(), Notebook())
    async with serving(create(opening, TRANSACTIONS)) as app:
        await mongo.warm()
        peak = Peak()
        before = resident()
        _, (attachment,) = await body(peak)
        kept = await vaults[0].deposit("application/octet-stream", attachment)
        peak.look()
        attachment.close()
        shelf.documents[kept.binary_id] = Cited("d", "Patient/p")
        path, token = "/fhir/Binary/" + kept.binary_id, (b"authorization", b"Bearer ITI-68")
        raw = await answered(app, path, [token], peak)
        assert raw == (200, LINES * len(LINE), attachment.sha256), raw
        wrapped = await answered(app, path, [token, (b"accept", b"application/fhir+xml")], peak)
        assert wrapped[0] == 200 and wrapped[1] > LINES * len(TEXT), wrapped
        print("more", (peak.value - before) // 1024)
    await mongo.close()

asyncio.run(main())
"""


def test_fifty_megabytes_go_in_and_out_within_thirty_of_memory(
    mongod_uri: str, database_prefix: str, mongo: object, tmp_path: Path
) -> None:
    said = subprocess.run(
        [sys.executable, "-c", _STORY, mongod_uri, database_prefix, str(tmp_path), ORIGIN],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert said.returncode == 0, said.stderr
    (more,) = [int(line.split()[1]) for line in said.stdout.splitlines() if line.startswith("more")]
    assert more < 30_000  # KB
