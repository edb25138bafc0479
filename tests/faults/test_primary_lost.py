"""The primary of a three-member replica set is killed during a storm; the others elect and go on."""

from __future__ import annotations

import asyncio
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pymongo import MongoClient

from chassis.mongo import Mongo
from exchange.mongod import find_mongod
from exchange.ports import pick
from tests.faults import storm
from tests.running import running

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]


class Members:
    """Three mongods on this machine that make one replica set."""

    def __init__(self, folder: Path) -> None:
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        for number in range(3):
            port = pick()
            data = folder / f"member{number}"
            data.mkdir(parents=True)
            self.processes[f"127.0.0.1:{port}"] = subprocess.Popen(
                [
                    find_mongod(), "--dbpath", data, "--port", str(port), "--bind_ip", "127.0.0.1", "--replSet", "three",
                    "--wiredTigerCacheSizeGB", "0.25", "--quiet",
                ],
                stdout=subprocess.DEVNULL,
            )  # fmt: skip
        self.uri = f"mongodb://{','.join(self.processes)}/?replicaSet=three"
        first = next(iter(self.processes))
        for host in self.processes:  # initiating asks every member, so all must listen first
            with MongoClient(
                f"mongodb://{host}/?directConnection=true", serverSelectionTimeoutMS=30_000
            ) as one:
                one.admin.command("ping")
        with MongoClient(
            f"mongodb://{first}/?directConnection=true", serverSelectionTimeoutMS=30_000
        ) as client:
            client.admin.command(
                "replSetInitiate",
                {
                    "_id": "three",
                    "settings": {"electionTimeoutMillis": 2000},
                    "members": [{"_id": n, "host": h} for n, h in enumerate(self.processes)],
                },
            )
        self.primary()

    def primary(self) -> str:
        """Which member leads now; waits for an election."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with MongoClient(self.uri, serverSelectionTimeoutMS=2_000) as client:
                try:
                    host, port = client.admin.command("hello")["primary"].split(":")
                    return f"{host}:{port}"
                except Exception:
                    time.sleep(0.2)
        raise RuntimeError("no primary was elected")

    def lose(self) -> None:
        """Kill whoever leads."""
        self.processes[self.primary()].kill()


@contextmanager
def members(folder: Path) -> Iterator[Members]:
    made = Members(folder)
    try:
        yield made
    finally:
        for process in made.processes.values():
            process.kill()
            process.wait()


async def test_nothing_acknowledged_is_lost_and_requests_resume_when_the_primary_is_lost(
    tmp_path,
) -> None:
    prefix = f"p{uuid.uuid4().hex[:8]}_"
    with members(tmp_path) as three:
        mongo = Mongo(three.uri, prefix=prefix)
        async with running(mongo, three.uri, prefix, tmp_path / "data") as exchange:
            async with exchange.as_client() as client:
                bundles = await storm.sow(client)
                blowing = asyncio.create_task(storm.blow(client, bundles, seconds=25))
                await storm.hurting((5,), three.lose)
                before = time.monotonic()
                blown = await blowing
                assert time.monotonic() > before
                token = await exchange.token(next(iter(exchange.keys)))
                client.headers["Authorization"] = f"Bearer {token}"
                resumed = await client.post("", json=storm.afresh(bundles[0]), headers=storm.JSON)
                assert resumed.status_code == 200, resumed.text
                assert len(blown.published) > 50, blown.statuses
                await storm.assert_acknowledged_is_whole(client, blown)
            await storm.assert_nothing_is_half_there(mongo, blown)
            await storm.assert_audited(mongo, blown)
        await mongo.close()
