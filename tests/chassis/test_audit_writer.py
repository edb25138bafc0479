"""Group commit: shared batches, durable before the return, and nobody fails for another's event.

How much it saves is measured, not asserted: `python -m benchmarks.audit` prints events per second alone
and grouped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from chassis.audit import AuditFailed, AuditWriter, FarSink
from standards.outcome import BUSY, CONFLICT, Issue, Refused


class Shelf:
    """A sink in memory: counts its batches, and fails as it is told to."""

    def __init__(self, *faults: Exception | None, refuses: str = "") -> None:
        self.batches: list[list[str]] = []
        self.faults = list(faults)
        self.refuses = refuses
        self.held = asyncio.Event()
        self.held.set()
        self.asked = 0

    async def append(self, batch: Sequence[Mapping[str, Any]]) -> None:
        self.asked += 1
        await asyncio.sleep(0)
        await self.held.wait()
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            raise fault
        ids = [event["id"] for event in batch]
        if self.refuses in ids:
            raise Refused(Issue(CONFLICT, "taken"))
        self.batches.append(ids)

    @property
    def kept(self) -> list[str]:
        return [event for batch in self.batches for event in batch]


def an_event(name: object) -> dict[str, Any]:
    return {"resourceType": "AuditEvent", "id": str(name)}


async def test_sixty_four_at_once_share_few_batches() -> None:
    shelf = Shelf()
    writer = AuditWriter(shelf)
    await asyncio.gather(*(writer.record(an_event(n)) for n in range(64)))
    assert sorted(shelf.kept, key=int) == [str(n) for n in range(64)]
    assert len(shelf.batches) <= 3
    assert (writer.recorded, writer.batches) == (64, len(shelf.batches))


async def test_the_next_batch_gathers_while_one_is_in_the_air() -> None:
    shelf = Shelf()
    shelf.held.clear()
    writer = AuditWriter(shelf)
    first = asyncio.create_task(writer.record(an_event(0)))
    await asyncio.sleep(0.01)
    rest = [asyncio.create_task(writer.record(an_event(n))) for n in range(1, 10)]
    await asyncio.sleep(0.01)
    shelf.held.set()
    await asyncio.gather(first, *rest)
    assert [len(batch) for batch in shelf.batches] == [1, 9]


async def test_record_returns_only_when_the_sink_has_kept_the_event() -> None:
    shelf = Shelf()
    shelf.held.clear()
    writer = AuditWriter(shelf)
    waiting = asyncio.create_task(writer.record(an_event(1)))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    shelf.held.set()
    await waiting
    assert shelf.kept == ["1"]


async def test_a_batch_is_never_larger_than_allowed_and_events_of_one_call_stay_together() -> None:
    shelf = Shelf()
    writer = AuditWriter(shelf, largest=4)
    await asyncio.gather(*(writer.record(an_event(f"{n}a"), an_event(f"{n}b")) for n in range(7)))
    assert max(map(len, shelf.batches)) <= 4
    assert all(
        batch[i][:-1] == batch[i + 1][:-1]
        for batch in shelf.batches
        for i in range(0, len(batch), 2)
    )


async def test_a_call_with_more_events_than_a_batch_is_kept_whole() -> None:
    shelf = Shelf()
    await AuditWriter(shelf, largest=4).record(*(an_event(n) for n in range(10)))
    assert len(shelf.kept) == 10


async def test_a_lost_primary_is_waited_for() -> None:
    shelf = Shelf(AutoReconnect("stepping down"), Refused(Issue(BUSY, "later")), TimeoutError())
    await AuditWriter(shelf).record(an_event(1))
    assert shelf.kept == ["1"]
    assert shelf.asked == 4


async def test_when_the_sink_stays_away_every_waiter_fails() -> None:
    shelf = Shelf(*[AutoReconnect("gone")] * 50)
    writer = AuditWriter(shelf, patience=0.1)
    told = await asyncio.gather(
        *(writer.record(an_event(n)) for n in range(5)), return_exceptions=True
    )
    assert [type(fault) for fault in told] == [AuditFailed] * 5
    assert isinstance(told[0], AuditFailed)
    assert told[0].status() == 503
    assert isinstance(told[0].__cause__, AutoReconnect)
    assert shelf.kept == []


async def test_the_writer_works_again_after_a_failure() -> None:
    shelf = Shelf(*[AutoReconnect("gone")] * 2)
    writer = AuditWriter(shelf, patience=0.0)
    with pytest.raises(AuditFailed):
        await writer.record(an_event(1))
    shelf.faults.clear()
    await writer.record(an_event(2))
    assert shelf.kept == ["2"]


async def test_an_event_that_is_refused_does_not_fail_its_neighbours() -> None:
    shelf = Shelf(refuses="3")
    told = await asyncio.gather(
        *(
            AuditWriter.record(writer, an_event(n))
            for writer in [AuditWriter(shelf)]
            for n in range(6)
        ),
        return_exceptions=True,
    )
    assert [fault is None for fault in told] == [True, True, True, False, True, True]
    assert sorted(shelf.kept) == ["0", "1", "2", "4", "5"]


async def test_a_caller_who_leaves_does_not_take_the_event_back() -> None:
    shelf = Shelf()
    shelf.held.clear()
    writer = AuditWriter(shelf)
    leaving = asyncio.create_task(writer.record(an_event(1)))
    await asyncio.sleep(0.01)
    leaving.cancel()
    shelf.held.set()
    await writer.close()
    assert shelf.kept == ["1"]


async def test_a_writer_whose_loop_ends_fails_its_waiters() -> None:
    shelf = Shelf()
    shelf.held.clear()
    writer = AuditWriter(shelf)
    waiting = [asyncio.create_task(writer.record(an_event(n))) for n in range(3)]
    await asyncio.sleep(0.01)
    runner = writer._runner
    assert runner is not None
    runner.cancel()
    told = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(fault) for fault in told] == [AuditFailed] * 3


async def test_nothing_to_record_asks_nobody() -> None:
    shelf = Shelf()
    await AuditWriter(shelf).record()
    assert shelf.asked == 0


async def test_a_far_sink_posts_the_batch_to_the_audit_service() -> None:
    posted: list[tuple[str, Any]] = []

    class Post:
        async def post(self, path: str, body: Any, /) -> Any:
            posted.append((path, body))
            return {"recorded": 1}

    await FarSink(Post()).append([an_event(1)])
    assert posted == [("/internal/audit/append", {"events": [an_event(1)]})]
