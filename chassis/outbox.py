"""The outbox: the AuditEvent of a committed write cannot be lost.

A story that writes puts its AuditEvent into `<database>.audit_outbox` inside its own transaction. The
chassis then records the same event before it answers; the writer tells the `Forwarder`, which clears
the row in the background. A process that dies in between leaves the row, and the forwarder of any
process of that service records it later; the event's id keeps that from making a second record.

    story commits ── row in the outbox ──► recorded ──► answer sent ──► row cleared (batched)
                            └─ process dies ─► forwarder ─► recorded ─► row cleared
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable
from weakref import WeakKeyDictionary

import orjson
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import PyMongoError

from chassis import telemetry
from chassis.background import repeating
from chassis.call import dumps
from chassis.mongo import Doc, Mongo, Table

COLLECTION = "audit_outbox"


# What this process has put and not yet cleared, by database, and when: so that a forwarder can tell its
# own events among all that are recorded. Entries of transactions that came to nothing are forgotten.
_put: WeakKeyDictionary[Mongo, dict[str, dict[str, float]]] = WeakKeyDictionary()
_FORGET = 120.0


class Writer(Protocol):
    """What is needed of `chassis.audit.AuditWriter`."""

    async def record(self, *events: Mapping[str, Any]) -> None:
        """Return when these events are durable."""
        ...


@runtime_checkable
class Telling(Protocol):
    """A writer that tells what it has recorded."""

    listeners: list[Callable[[Sequence[Mapping[str, Any]]], None]]


async def prepare(mongo: Mongo, database: str) -> Table:
    """Make the outbox of a service before its first transaction; kept when it exists."""
    return await mongo.create(database, COLLECTION)


async def put(
    session: AsyncClientSession | None, mongo: Mongo, database: str, *events: Mapping[str, Any]
) -> None:
    """Write the events into the outbox of `database` as part of the session's transaction."""
    mine, now = _mine(mongo, database), datetime.now(UTC)
    rows: list[Doc] = []
    for event in events:
        mine[event["id"]] = time.monotonic()
        rows.append({"_id": event["id"], "at": now, "b": dumps(event)})
    await mongo.table(database, COLLECTION).insert_all(rows, session)


async def put_many(
    session: AsyncClientSession | None,
    mongo: Mongo,
    database: str,
    events: Sequence[Mapping[str, Any]],
) -> None:
    """Write several events into the outbox of `database`, in one round trip."""
    now, mine = time.monotonic(), _mine(mongo, database)
    mine.update((event["id"], now) for event in events)
    rows = [{"_id": e["id"], "at": datetime.now(UTC), "b": dumps(e)} for e in events]
    await mongo.table(database, COLLECTION).insert_many(rows, session)


def _mine(mongo: Mongo, database: str) -> dict[str, float]:
    return _put.setdefault(mongo, {}).setdefault(database, {})


class Forwarder:
    """Empties the outbox of one service: `async with Forwarder(mongo, "registry", writer): ...`.

    It listens to the writer for events of its own that are recorded, and deletes their rows together, a
    moment later. Rows older than `grace` seconds, left by another process, are recorded here.
    """

    def __init__(
        self,
        mongo: Mongo,
        database: str,
        writer: Writer,
        *,
        grace: float = 10.0,
        interval: float = 3.0,
        sweep: float = 0.5,
        largest: int = 200,
    ) -> None:
        self._mongo = mongo
        self._database = database
        self._writer = writer
        self._grace = timedelta(seconds=grace)
        self._interval = interval
        self._sweep = sweep
        self._largest = largest
        self._recorded: set[str] = set()
        self._wake = asyncio.Event()
        self._works = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await prepare(self._mongo, self._database)
        if isinstance(self._writer, Telling):
            self._writer.listeners.append(self._heard)
        for work in (
            repeating("outbox clear", self._clear_recorded, 0),
            repeating("outbox forward", self._forward_waiting, self._interval),
        ):
            await self._works.enter_async_context(work)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(self._writer, Telling):
            self._writer.listeners.remove(self._heard)
        await self._works.aclose()
        with suppress(PyMongoError):  # rows left behind are forwarded at the next start
            await self.clear()

    def done(self, event_id: str) -> None:
        """This event is recorded; its row may go."""
        self._recorded.add(event_id)
        self._wake.set()

    def _heard(self, recorded: Sequence[Mapping[str, Any]]) -> None:
        mine = _mine(self._mongo, self._database)
        for event in recorded if mine else ():
            if event["id"] in mine:
                self.done(event["id"])

    async def clear(self) -> int:
        """Delete the rows of recorded events now and say how many went."""
        gone = 0
        while self._recorded:
            some = [self._recorded.pop() for _ in range(min(len(self._recorded), 1000))]
            try:
                gone += await self._table.delete({"_id": {"$in": some}}, many=True)
            except BaseException:
                self._recorded.update(some)
                raise
            self._forget(some)
        return gone

    async def forward(self) -> int:
        """Record what has waited longer than the grace, and say how many events that were.

        Raises what the writer raised for the first event that the audit store did not take; the rows
        of such events stay, the others go.
        """
        total = 0
        while True:
            waiting = {
                "at": {"$lte": datetime.now(UTC) - self._grace},
                "_id": {"$nin": list(self._recorded)},
            }
            rows = await self._table.many(waiting, {"b": 1}, limit=self._largest)
            if not rows:
                return total
            # One record each, so that an event which is never taken does not hold up the others.
            told = await asyncio.gather(
                *(self._writer.record(orjson.loads(row["b"])) for row in rows),
                return_exceptions=True,
            )
            kept = [row["_id"] for row, fault in zip(rows, told, strict=True) if fault is None]
            self._recorded.update(kept)
            total += len(kept)
            await self.clear()
            for fault in told:
                if fault is not None:
                    raise fault

    def _forget(self, cleared: Sequence[str]) -> None:
        mine = _mine(self._mongo, self._database)
        for event_id in cleared:
            mine.pop(event_id, None)
        old = time.monotonic() - _FORGET
        for event_id in [known for known, since in mine.items() if since < old]:
            del mine[event_id]

    @property
    def _table(self) -> Table:
        return self._mongo.table(self._database, COLLECTION)

    async def _clear_recorded(self) -> None:
        await self._wake.wait()
        await asyncio.sleep(self._sweep)  # one delete for all that is recorded in this time
        self._wake.clear()
        try:
            await self.clear()
        except PyMongoError:
            self._wake.set()
            raise

    async def _forward_waiting(self) -> None:
        try:
            forwarded = await self.forward()
            if forwarded:
                telemetry.log(telemetry.FORWARDED, service=self._database, count=forwarded)
        finally:
            self._forget(())
