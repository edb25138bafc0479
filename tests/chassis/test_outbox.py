"""The outbox: the AuditEvent of a committed write is recorded even when the process dies."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest
import pytest_asyncio
from pymongo.asynchronous.client_session import AsyncClientSession

from chassis import outbox
from chassis.audit import AuditFailed, AuditWriter
from chassis.mongo import Mongo, Table
from standards.outcome import CONFLICT, Issue, Refused


class Trail:
    """Keeps each event once, as the audit store does."""

    def __init__(self, *, away: bool = False, refuses: str = "") -> None:
        self.kept: dict[str, Mapping[str, Any]] = {}
        self.away = away
        self.refuses = refuses

    async def record(self, *events: Mapping[str, Any]) -> None:
        if self.away:
            raise AuditFailed
        for event in events:
            if event["id"] == self.refuses:
                raise Refused(Issue(CONFLICT, "taken"))
            self.kept[event["id"]] = event


def an_event() -> dict[str, Any]:
    return {
        "resourceType": "AuditEvent",
        "id": str(uuid.uuid4()),
        "recorded": "2026-11-24T04:05:06.789Z",
    }


@pytest_asyncio.fixture(loop_scope="module")
async def box(mongo: Mongo) -> AsyncIterator[Table]:
    table = await outbox.prepare(mongo, "registry")
    yield table
    await table.delete({}, many=True)


async def rows(table: Table) -> list[str]:
    return [row["_id"] for row in await table.many({}, {"_id": 1})]


async def test_an_event_is_in_the_outbox_exactly_when_its_transaction_commits(
    mongo: Mongo, box: Table
) -> None:
    event = an_event()

    async def story(session: AsyncClientSession) -> None:
        await outbox.put(session, mongo, "registry", event)

    async def failing(session: AsyncClientSession) -> None:
        await outbox.put(session, mongo, "registry", event)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await mongo.transaction(failing)
    assert await rows(box) == []
    await mongo.transaction(story)
    assert await rows(box) == [event["id"]]


async def test_rows_of_recorded_events_are_cleared_together(mongo: Mongo, box: Table) -> None:
    trail = Trail()
    async with outbox.Forwarder(mongo, "registry", trail, sweep=0.01) as forwarder:
        events = [an_event() for _ in range(20)]
        for event in events:
            await outbox.put(None, mongo, "registry", event)
            forwarder.done(event["id"])
        for _ in range(200):
            if not await rows(box):
                break
            await asyncio.sleep(0.01)
    assert await rows(box) == []
    assert trail.kept == {}


async def test_the_writer_tells_which_events_are_recorded(mongo: Mongo, box: Table) -> None:
    class Sink:
        async def append(self, batch: Sequence[Mapping[str, Any]]) -> None:
            """Keep nothing; what counts here is that it was taken."""

    writer = AuditWriter(Sink())
    ours, elsewhere = an_event(), an_event()
    async with outbox.Forwarder(mongo, "registry", writer, sweep=0.01):
        await outbox.put(None, mongo, "registry", ours)
        await outbox.put(None, mongo, "registry", elsewhere)
        await writer.record(ours, an_event())
        for _ in range(200):
            if await rows(box) == [elsewhere["id"]]:
                break
            await asyncio.sleep(0.01)
    assert await rows(box) == [elsewhere["id"]]
    assert writer.listeners == []


async def test_what_a_dead_process_left_is_recorded_at_the_next_start(
    mongo: Mongo, box: Table
) -> None:
    left = [an_event() for _ in range(5)]
    for event in left:
        await outbox.put(None, mongo, "registry", event)
    trail = Trail()
    async with outbox.Forwarder(mongo, "registry", trail, grace=0.0):
        for _ in range(200):
            if len(trail.kept) == 5:
                break
            await asyncio.sleep(0.01)
    assert trail.kept == {event["id"]: event for event in left}
    assert await rows(box) == []


async def test_fresh_rows_are_left_to_the_request_that_wrote_them(mongo: Mongo, box: Table) -> None:
    await outbox.put(None, mongo, "registry", an_event())
    trail = Trail()
    assert await outbox.Forwarder(mongo, "registry", trail, grace=30.0).forward() == 0
    assert trail.kept == {}


async def test_rows_stay_while_the_audit_store_is_away(mongo: Mongo, box: Table) -> None:
    event = an_event()
    await outbox.put(None, mongo, "registry", event)
    trail = Trail(away=True)
    forwarder = outbox.Forwarder(mongo, "registry", trail, grace=0.0)
    with pytest.raises(AuditFailed):
        await forwarder.forward()
    assert await rows(box) == [event["id"]]
    trail.away = False
    assert await forwarder.forward() == 1
    assert await rows(box) == []


async def test_one_event_that_is_never_taken_does_not_hold_up_the_others(
    mongo: Mongo, box: Table
) -> None:
    events = [an_event() for _ in range(3)]
    for event in events:
        await outbox.put(None, mongo, "registry", event)
    trail = Trail(refuses=events[0]["id"])
    with pytest.raises(Refused):
        await outbox.Forwarder(mongo, "registry", trail, grace=0.0).forward()
    assert trail.kept.keys() == {events[1]["id"], events[2]["id"]}
    assert await rows(box) == [events[0]["id"]]


async def test_more_rows_than_one_batch_are_all_forwarded(mongo: Mongo, box: Table) -> None:
    for _ in range(7):
        await outbox.put(None, mongo, "registry", an_event())
    trail = Trail()
    assert await outbox.Forwarder(mongo, "registry", trail, grace=0.0, largest=3).forward() == 7
    assert len(trail.kept) == 7
