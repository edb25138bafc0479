"""The server process is killed with -9 in the middle of a submission, when part of its bytes is kept and
nothing of its metadata: the same submission sent again succeeds, and the sweep leaves no orphan."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from audit.events import Events
from chassis.audit import AuditWriter
from chassis.mongo import Mongo
from chassis.settings import Settings
from registry.assembled import Assembly
from registry.documents import Documents
from registry.near import Neighbour
from repository.sweep import sweep
from repository.vault import Vault
from tests.makers_mhd import a_bundle, a_document, a_patient, locations, publish
from tests.repository.shelf import RING
from tests.running import Exchange

pytestmark = [pytest.mark.fault, pytest.mark.timeout(180)]
ROOT = Path(__file__).parents[2]


class Server:
    """`throughline serve together`; its workers can be killed, and are started again."""

    def __init__(self, data: Path, uri: str, prefix: str) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "exchange", "serve", "--port", "0", "--data", str(data), "--mongodb", uri,
                "--database-prefix", prefix, "--log-level", "error",
            ],
            stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.ready: dict[str, Any] = json.loads(self.process.stdout.readline())
        self.origin = str(self.ready["fhir"]).removesuffix("/fhir")

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        found = [int(pid) for pid in children.split()]
        return [pid for pid in found if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def kill_workers(self) -> None:
        for pid in self.workers():
            os.kill(pid, signal.SIGKILL)


@contextmanager
def server(data: Path, uri: str, prefix: str) -> Iterator[Server]:
    made = Server(data, uri, prefix)
    try:
        yield made
    finally:
        made.process.send_signal(signal.SIGTERM)
        made.process.communicate(timeout=60)


async def serving_again(http: httpx.AsyncClient) -> None:
    for _ in range(600):
        with suppress(httpx.TransportError):
            if (await http.get("/fhir/metadata")).status_code == 200:
                return
        await asyncio.sleep(0.1)
    raise AssertionError("the server did not come back")


async def test_the_same_submission_succeeds_and_no_orphan_survives_the_sweep(
    mongo: Mongo, mongod_uri: str, database_prefix: str, tmp_path: Path
) -> None:
    deposits = mongo.table("repository", "deposits")
    documents, lists = mongo.table("registry", "documents"), mongo.table("registry", "lists")
    with server(tmp_path, mongod_uri, database_prefix) as running:
        settings = Settings(public_url=running.origin, mongodb=SecretStr(mongod_uri))
        async with httpx.AsyncClient(base_url=running.origin, timeout=60) as http:
            exchange = Exchange(settings, mongo, http, None)
            await exchange.register("source")
            bearer = {"Authorization": f"Bearer {await exchange.token('source')}"}
            async with httpx.AsyncClient(
                base_url=f"{running.origin}/fhir", headers=bearer, timeout=60
            ) as client:
                person = await a_patient(client)
                bytes_of = random.Random(1)
                bundle = a_bundle(
                    *(
                        a_document(person, content=bytes_of.randbytes(15_000).hex().encode())
                        for _ in range(60)
                    )
                )
                submitting = asyncio.create_task(publish(client, bundle))
                while await deposits.count({}) < 5:
                    await asyncio.sleep(0.002)
                running.kill_workers()
                with pytest.raises(httpx.TransportError):
                    await submitting
                await asyncio.sleep(1)  # what was on its way to the database arrives
                left = await deposits.count({})
                assert 5 <= left < 60
                assert await documents.count({}) == 0
                assert await lists.count({}) == 0

                await serving_again(http)
                answer = await publish(client, bundle)
                assert len(locations(answer)) == 121
                assert await documents.count({}) == 60
                assert await deposits.count({}) == 60 + left

                store = await Documents.opened(mongo)
                writer = AuditWriter(Events(mongo, running.origin))  # a sweep assembles nothing
                registry = Neighbour(store, Assembly(store, writer, settings.fhir_base))
                vault = await Vault.opened(mongo, RING)
                for _ in range(2):  # what one sweep releases goes with the next
                    await sweep(vault, registry, datetime.now(UTC), grace=timedelta(seconds=-5))
                assert await deposits.count({}) == 60
                assert await deposits.count({"state": "kept"}) == 60
                assert await mongo.table("repository", "blobs").count({}) == 60
                for place in locations(answer)[2::2]:
                    got = await client.get(place, headers={"Accept": "*/*"})
                    assert got.status_code == 200
                    assert len(got.content) == 30_000
