"""`Events`: the AuditEvents, kept once each, chained, and never changed.

Three collections, all insert-only, so that the database user of this service needs no right to update
or delete (design §3):

* `events`: `_id` the event's id, `b` its FHIR JSON, `ix` its index values, `at` when it was recorded,
  `c` and `n` its chain and its place there, `h` the hash (audit/chain.py);
* `chains`: one announcement per chain, with the heads of the chains before it;
* `anchors`: from time to time the head of a chain, which also goes to the log, out of reach of whoever
  can write here.

`append` is one ordered `insert_many`: what a crash leaves of a batch is a prefix of it, and a prefix of
a chain is a chain. When it is not certain what became of a batch, the chain is left as it is and the
next batch begins a new one, so that nothing that arrives late can collide with it.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import (
    BulkWriteError,
    OperationFailure,
    PyMongoError,
    WriteConcernError,
    WriteError,
)

from audit import chain as chains
from audit.facets import index
from chassis import telemetry
from chassis.background import repeating
from chassis.call import dumps, instant
from chassis.mongo import Doc, Mongo, Table
from standards import balp
from standards.outcome import BUSY, CONFLICT, Issue, Refused

DUPLICATE_KEY = 11000

# Every index here is paid for by every request of the whole exchange, so each answers a question that
# is asked at volume; what is rarer is filtered inside the time window that ITI-81 demands.
INDEXES = (
    # The chain in order; unique, so that no two records can claim one place.
    IndexModel([("c", ASCENDING), ("n", ASCENDING)], name="chain", unique=True),
    # Every ITI-81 search names a date.
    IndexModel([("ix.date.lo", DESCENDING), ("_id", DESCENDING)], name="recorded"),
    # Who has seen my record? Sparse: most system activity has no patient.
    IndexModel(
        [("ix.whose", ASCENDING), ("ix.date.lo", DESCENDING)],
        name="patient",
        partialFilterExpression={"ix.whose": {"$exists": True}},
    ),
    # What has this client or person done?
    IndexModel([("ix.who", ASCENDING), ("ix.date.lo", DESCENDING)], name="agent"),
)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """An event with everything that does not depend on its place in the chain."""

    id: str
    body: bytes
    at: datetime
    ix: dict[str, Any]


@dataclass(slots=True)
class _Chain:
    """The chain that this process is writing."""

    id: str
    seq: int
    hash: bytes
    anchored: int = -1


class Events:
    """The store; its `append` is what an `AuditWriter` writes to (`chassis.audit.Sink`)."""

    def __init__(self, mongo: Mongo, server: str) -> None:
        self.table: Table = mongo.table("audit", "events")
        self.announcements: Table = mongo.table("audit", "chains")
        self.anchors: Table = mongo.table("audit", "anchors")
        self._mongo = mongo
        self.server = server
        self._chain: _Chain | None = None
        self._one = asyncio.Lock()

    @asynccontextmanager
    async def open(self, *, anchor_every: float = 60.0) -> AsyncIterator[Events]:
        """Make collections and indexes, begin a chain, anchor it from time to time, close it."""
        await self._mongo.create_all("audit", ("events", "chains", "anchors"))
        await self.table.ensure(*INDEXES)
        async with self._one:
            self._chain = await self._begin()
        try:
            async with repeating("audit anchor", self.anchor, anchor_every, at_once=False):
                yield self
        finally:
            with suppress(PyMongoError, Refused):  # a chain that is not closed says so by itself
                await self._finish()

    async def append(self, batch: Sequence[Mapping[str, Any]]) -> None:
        """Keep these events; durable (w:majority, j:true) when this returns.

        An event that is kept already, with the same content, is skipped. Raises `Refused(BUSY)` when it
        is not certain what became of the batch (send it again), `Refused(CONFLICT)` when one of its
        ids is taken by other content, and what PyMongo raises when MongoDB cannot be reached.
        """
        rest = list({event["id"]: _prepare(event, self.server) for event in batch}.values())
        async with self._one:
            if self._chain is None:
                self._chain = await self._begin()
            try:
                await self._insert(self._chain, rest)
            except BaseException as fault:
                if not (isinstance(fault, Refused) and fault.status() == CONFLICT.http):
                    self._chain = None
                raise

    async def read(self, event_id: str) -> bytes | None:
        """The FHIR JSON of one event, or None."""
        found = await self.table.one({"_id": event_id}, {"b": 1})
        return None if found is None else bytes(found["b"])

    async def anchor(self) -> chains.Head | None:
        """Note the head of this process's chain in `anchors` and in the log, if it has moved."""
        chain = self._chain
        if chain is None or chain.anchored == chain.seq:
            return None
        head = chains.Head(chain.id, chain.seq, chain.hash)
        await self.anchors.insert(
            {"_id": f"{head.chain}/{head.seq:012d}", "h": head.hash, "at": datetime.now(UTC)}
        )
        chain.anchored = head.seq
        telemetry.log(telemetry.ANCHORED, chain=head.chain, seq=head.seq, hash=head.hash.hex())
        return head

    # -- one batch ------------------------------------------------------------------------------
    async def _insert(self, chain: _Chain, rest: list[_Prepared]) -> None:
        while rest:
            records = list(_sealed(chain, rest))
            try:
                if len(records) == 1:  # without the driver's bulk machinery
                    await self.table.insert(records[0])
                else:
                    await self.table.insert_many(records)
            except (BulkWriteError, WriteError, WriteConcernError) as fault:
                place = _first_duplicate(fault)
                if place is None:
                    raise Refused(
                        Issue(BUSY, "The audit store could not keep the events.")
                    ) from fault
                _advance(chain, records[:place])
                kept = await self._kept(rest)
                if any(event.id not in kept for event in rest[: place + 1]):
                    # Kept by another process whose write is not yet durable.
                    raise Refused(Issue(BUSY, "An event is being recorded elsewhere.")) from fault
                rest = [event for event in rest[place + 1 :] if event.id not in kept]
            else:
                _advance(chain, records)
                return

    async def _kept(self, events: Sequence[_Prepared]) -> set[str]:
        """Which of these are durable already. Raises `Refused` when one is, with other content."""
        rows = await self.table.many({"_id": {"$in": [event.id for event in events]}}, {"b": 1})
        kept = {row["_id"]: bytes(row["b"]) for row in rows}
        if any(kept.get(event.id, event.body) != event.body for event in events):
            raise Refused(Issue(CONFLICT, "An audit event with this id and other content is kept."))
        return set(kept)

    # -- the life of a chain ------------------------------------------------------------------------
    async def _begin(self) -> _Chain:
        now = datetime.now(UTC)
        announcement: Doc = {
            "_id": f"{int(now.timestamp() * 1000):011x}{secrets.token_hex(4)}",  # sorts by age
            "at": instant(now),
            "host": socket.gethostname(),
            "process": os.getpid(),
            "before": await self._heads(),
        }
        chain = _Chain(announcement["_id"], -1, chains.seed(announcement))
        opening = balp.activity(
            True, event_id=str(uuid.uuid4()), recorded=announcement["at"], server=self.server,
            detail={"chain": chain.id, "seed": chain.hash.hex()},
        )  # fmt: skip
        first = list(_sealed(chain, [_prepare(opening, self.server)]))

        async def announce(session: AsyncClientSession) -> None:
            await self.announcements.insert(announcement, session)
            await self.table.insert_many(first, session)

        # Both or neither: an announced chain without a record would look like a removed one.
        await self._mongo.transaction(announce)
        _advance(chain, first)
        telemetry.log(telemetry.CHAIN, chain=chain.id)
        return chain

    async def _finish(self) -> None:
        async with self._one:
            if self._chain is None:
                return
            closing = balp.activity(
                False, event_id=closing_id(self._chain.id), recorded=instant(datetime.now(UTC)),
                server=self.server, detail={"chain": self._chain.id},
            )  # fmt: skip
            await self._insert(self._chain, [_prepare(closing, self.server)])
            await self.anchor()
            self._chain = None

    async def _heads(self) -> list[Doc]:
        """The heads of the chains before this one that no earlier announcement has settled."""
        settled: set[str] = set()
        known: list[str] = []
        for announced in await self.announcements.many(
            {}, {"at": 1, "before": 1}, sort=[("_id", 1)]
        ):
            known.append(announced["_id"])
            settled.update(
                head["c"] for head in announced["before"] if _is_settled(head, announced["at"])
            )
        heads: list[Doc] = []
        for chain in known:
            if chain not in settled:
                last = await self.table.many(
                    {"c": chain}, {"n": 1, "h": 1, "at": 1}, sort=[("n", -1)], limit=1
                )
                heads.extend(_head(chain, row) for row in last)
        return heads


def closing_id(chain: str) -> str:
    """The id of the event that closes a chain. Nobody can send one: ids of fed events are made here."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"throughline:audit:closing:{chain}"))


def _prepare(event: Mapping[str, Any], server: str) -> _Prepared:
    # lastUpdated follows from the event, so that the same event always gives the same bytes.
    meta = {"versionId": "1", "lastUpdated": event["recorded"], **event.get("meta", {})}
    told = {"resourceType": "AuditEvent", "id": event["id"], "meta": meta}
    whole = {**told, **{name: value for name, value in event.items() if name not in told}}
    at = datetime.fromisoformat(meta["lastUpdated"])
    return _Prepared(event["id"], dumps(whole), at, index(whole, server))


def _sealed(chain: _Chain, events: Sequence[_Prepared]) -> Iterator[Doc]:
    last = chain.hash
    for seq, event in enumerate(events, chain.seq + 1):
        last = chains.seal(last, chain.id, seq, event.id, event.body)
        yield {
            "_id": event.id, "v": 1, "at": event.at, "b": event.body, "ix": event.ix,
            "c": chain.id, "n": seq, "h": last,
        }  # fmt: skip


def _advance(chain: _Chain, records: Sequence[Doc]) -> None:
    if records:
        chain.seq, chain.hash = records[-1]["n"], records[-1]["h"]


def _first_duplicate(fault: OperationFailure) -> int | None:
    """Where the batch met an id that is kept already; None when something else went wrong as well."""
    details = fault.details or {}
    # Of a single insert the details are those of its one error.
    errors = [details] if isinstance(fault, WriteError) else details.get("writeErrors", [])
    if details.get("writeConcernErrors") or not errors or errors[0].get("code") != DUPLICATE_KEY:
        return None
    if "_id" not in errors[0].get("keyPattern", {"_id": 1}):
        return None
    return int(errors[0].get("index", 0))


def _head(chain: str, row: Doc) -> Doc:
    return {
        "c": chain, "n": row["n"], "h": bytes(row["h"]).hex(), "at": instant(row["at"]),
        "closed": row["_id"] == closing_id(chain),
    }  # fmt: skip


def _is_settled(head: Doc, announced: str) -> bool:
    # A killed process leaves its chain open for ever; after a day of silence it counts as ended.
    age = datetime.fromisoformat(announced) - datetime.fromisoformat(head["at"])
    return bool(head["closed"]) or age > timedelta(days=1)


def parse(body: bytes) -> dict[str, Any]:
    """The event as a dict."""
    parsed: dict[str, Any] = orjson.loads(body)
    return parsed
