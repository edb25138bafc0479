"""A process that is killed between any two writes leaves a whole state, and its message can be repeated."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest_asyncio

from pix.rebuild import rebuild
from tests.pix.makers import COUNCIL, HOSPITAL, SALFORD, TRUST, Pix, nhs_number, patient, replaced
from tests.pix.test_linking import told, who
from tests.pix.test_stewarding import fed


@pytest_asyncio.fixture(loop_scope="module")
async def dying(mongod_uri: str, database_prefix: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process whose children die where they are told to."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.pix.dying", mongod_uri, database_prefix,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    yield process
    assert process.stdin is not None
    process.stdin.close()
    await process.wait()


async def killed(
    pix: Pix, process: asyncio.subprocess.Process, at: int, body: dict[str, Any]
) -> bool:
    """Whether the feeding process died at the n-th place; else it came through.

    MongoDB holds what a dead client had in hand until the transaction's time is over (60 seconds);
    here it is told at once that nobody will come back for it.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps({"at": at, "body": body}).encode() + b"\n")
    await process.stdin.drain()
    while not (line := await process.stdout.readline()).startswith(b'{"killed"'):
        assert line, "the process that was to die ended"
    said = json.loads(line)
    await pix.mongo.client.admin.command({"killAllSessions": []})
    assert said["killed"] or said["code"] == 0, said
    return bool(said["killed"])


async def whole(pix: Pix) -> None:
    """Everything derived is as what was said and decided makes it."""
    made = await rebuild(pix.near.people, datetime.now(UTC), lambda *_: None)
    assert made.changed == 0, made.differed


async def test_a_join_that_dies_between_any_two_writes_has_not_happened_and_can_be_repeated(
    pix: Pix, dying: asyncio.subprocess.Process
) -> None:
    number = nhs_number(1301)
    await fed(pix, COUNCIL, "1300001", "nadia", nhs=number)
    await fed(pix, TRUST, "H1300", "nadia")
    body = patient(SALFORD, "1300002", **told("nadia"), nhs=number)
    before = await who(pix, COUNCIL, "1300001")
    deaths = 0
    while await killed(pix, dying, deaths + 1, body):
        deaths += 1
        assert (await pix.ask(SALFORD, "1300002")).status_code == 404
        assert await who(pix, COUNCIL, "1300001") == before
        await whole(pix)
    assert deaths >= 10  # records, history, identifiers, persons, postings, profiles, links, …
    joined = await who(pix, SALFORD, "1300002")
    assert joined.person == before.person
    assert len(joined.same) == 3
    assert (await pix.feed(body)).status_code == 200
    await whole(pix)


async def test_a_merge_that_dies_between_any_two_writes_has_not_happened_and_can_be_repeated(
    pix: Pix, dying: asyncio.subprocess.Process
) -> None:
    await fed(pix, HOSPITAL, "R1310", "orla")
    await fed(pix, HOSPITAL, "R1311", "pavel")
    await fed(pix, TRUST, "H1310", "orla")
    other = {"identifier": {"system": HOSPITAL, "value": "R1311"}}
    body = replaced(patient(HOSPITAL, "R1310", **told("orla")), other)
    before = await who(pix, HOSPITAL, "R1310")
    deaths = 0
    while await killed(pix, dying, deaths + 1, body):
        deaths += 1
        assert await who(pix, HOSPITAL, "R1310") == before
        if deaths % 3 == 0:
            await whole(pix)
    assert deaths >= 8
    assert (await who(pix, HOSPITAL, "R1310")).state == "subsumed"
    assert (await pix.feed(body)).status_code == 200
    await whole(pix)
