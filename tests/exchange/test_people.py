"""`throughline people`, as an operator runs it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

from chassis.mongo import Mongo
from tests.pix.makers import COUNCIL, TRUST, patient, pix_service
from tests.pix.test_linking import told
from tests.running import ORIGIN


async def test_people_rebuild_mends_what_is_derived_and_says_so(
    mongo: Mongo, mongod_uri: str, database_prefix: str
) -> None:
    async with pix_service(mongo) as pix:
        await pix.feed(patient(COUNCIL, "1200001", **told("jens")))
        await pix.feed(patient(TRUST, "H1201", **told("jens")))
        await pix.near.people.profiles.delete({}, many=True)
        await pix.near.people.identifiers.delete({}, many=True)
        first = await asyncio.to_thread(_rebuild, mongod_uri, database_prefix)
        assert first.returncode == 0, first.stderr
        assert "It is mended" in first.stderr
        assert await pix.near.people.profiles.count({}) == 1
        assert await pix.others(COUNCIL, "1200001") == [(TRUST, "H1201")]
        again = await asyncio.to_thread(_rebuild, mongod_uri, database_prefix)
        assert "Everything was as it should be" in again.stderr


def _rebuild(uri: str, prefix: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "THROUGHLINE_MONGODB": uri,
        "THROUGHLINE_DATABASE_PREFIX": prefix,
        "THROUGHLINE_PUBLIC_URL": ORIGIN,
    }
    command = [sys.executable, "-m", "exchange", "people", "rebuild"]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
