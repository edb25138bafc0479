"""The process is killed with -9 between a document's bytes and its metadata."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chassis.mongo import Mongo
from repository.neighbours import Cited
from repository.sweep import sweep
from repository.vault import CHUNK, WHOLE, Vault
from tests.repository.shelf import RING, Shelf, all_of, some

ROOT = Path(__file__).parents[2]
_STORY = """
import asyncio, random, sys, time
from chassis.attachment import Attachment
from chassis.mongo import Mongo
from repository.vault import Vault
from tests.repository.shelf import RING

class Slowly:
    def __init__(self, content, pause):
        whole = Attachment.of(content)
        self.size, self.sha1, self.sha256 = whole.size, whole.sha1, whole.sha256
        self.content, self.pause = content, pause
    async def open(self):
        half = len(self.content) * 3 // 4
        yield self.content[:half]
        if self.pause:
            print("half", flush=True)
            time.sleep(60)
        yield self.content[half:]

async def main():
    vault = await Vault.opened(Mongo(sys.argv[1], prefix=sys.argv[2]), RING)
    content = random.Random(7).randbytes(int(sys.argv[3]))
    await vault.deposit("application/pdf", Slowly(content, sys.argv[4] == "half"))
    print("whole", flush=True)
    time.sleep(60)

asyncio.run(main())
"""


@pytest.mark.fault
@pytest.mark.parametrize("size", [20_000, WHOLE + 4 * CHUNK])
@pytest.mark.parametrize("moment", ["half", "whole"])
async def test_the_retry_succeeds_and_no_orphan_survives_the_sweep(
    mongo: Mongo, mongod_uri: str, database_prefix: str, size: int, moment: str
) -> None:
    vault, shelf, content = (
        await Vault.opened(mongo, RING),
        Shelf(),
        random.Random(7).randbytes(size),
    )
    process = subprocess.Popen(
        [sys.executable, "-c", _STORY, mongod_uri, database_prefix, str(size), moment],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline().strip() == moment
        process.send_signal(signal.SIGKILL)
        process.wait()
    # What the process had already sent is still being written by the database for a moment.
    await asyncio.sleep(1)
    assert await vault.deposits.count({"state": "pending"}) == 1

    kept = await vault.deposit("application/pdf", some(content))
    shelf.documents[kept.binary_id] = Cited("d", "Patient/p")
    await vault.keep({kept.binary_id: "d"})
    await sweep(vault, shelf, datetime.now(UTC), grace=timedelta(seconds=-1))

    held = await vault.find(kept.binary_id)
    assert held is not None
    assert await all_of(vault.read(held)) == content
    assert await vault.deposits.count({}) == 1
    assert await vault.blobs.count({}) == 1
    assert await vault.chunks.count({}) == (0 if size <= WHOLE else 12)
    assert await vault.uploads.count({}) == 0
    await vault.deposits.update({}, {"$set": {"state": "released", "due": datetime.now(UTC)}})
    await sweep(vault, shelf, datetime.now(UTC))
    assert await vault.chunks.count({}) == 0
