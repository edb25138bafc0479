"""Notices that wait to be told, one for each consumer and person.

    hl7v2_notices  {_id: "consumer|person", consumer, person, parted, seq, at, due, attempts, state,
                   reason}          state: waiting | parked
    hl7v2_told     {_id: "consumer|person", digest, count, at}    what a consumer was told last
    hl7v2_reader   {_id: "events", token, at, holder, until}      how far the events were read, and by whom

Because a notice says how things are now, one row for a person is enough: what happens while it waits
only makes it say something newer. `seq` tells whether something happened while it was being told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pymongo import IndexModel, UpdateOne
from pymongo.errors import DuplicateKeyError

from chassis.mongo import Mongo
from pix.people import DATABASE


@dataclass(frozen=True, slots=True)
class Waiting:
    """One notice to be told."""

    id: str
    consumer: str
    person: str
    parted: bool
    seq: int
    attempts: int
    at: datetime
    reason: str = ""


class Queue:
    """The notices of all consumers."""

    def __init__(self, mongo: Mongo) -> None:
        self.mongo = mongo
        self.notices = mongo.table(DATABASE, "hl7v2_notices")
        self.told = mongo.table(DATABASE, "hl7v2_told")
        self.reader = mongo.table(DATABASE, "hl7v2_reader")

    async def prepare(self) -> None:
        """Make the collections and their indexes; what exists is kept."""
        names = (table.name for table in (self.notices, self.told, self.reader))
        await self.mongo.create_all(DATABASE, names)
        await self.notices.ensure(
            IndexModel([("consumer", 1), ("state", 1), ("due", 1)]), IndexModel([("state", 1)])
        )

    # -- who reads ------------------------------------------------------------------------------------

    async def lease(self, holder: str, now: datetime, seconds: float) -> bool:
        """Be the one process that reads events and tells consumers, for so long; whether it is."""
        until = now + timedelta(seconds=seconds)
        where = {"_id": "events", "$or": [{"holder": holder}, {"until": {"$lt": now}}]}
        try:
            change = {"$set": {"holder": holder, "until": until}}
            return await self.reader.update(where, change, upsert=True) > 0
        except DuplicateKeyError:  # it is there, and somebody else holds it
            return False

    async def release(self, holder: str, now: datetime) -> None:
        """Let another process go on at once."""
        await self.reader.update({"_id": "events", "holder": holder}, {"$set": {"until": now}})

    async def place(self) -> tuple[Any, datetime | None]:
        """How far the events were read: the change stream's token, and when that was."""
        row = await self.reader.one({"_id": "events"}, {"token": 1, "at": 1}) or {}
        return row.get("token"), row.get("at")

    async def reached(self, token: Any, now: datetime) -> None:
        """The events were read as far as this."""
        await self.reader.update({"_id": "events"}, {"$set": {"token": token, "at": now}})

    # -- what waits -----------------------------------------------------------------------------------

    async def add(
        self, consumers: Sequence[str], persons: Sequence[tuple[str, bool]], now: datetime
    ) -> None:
        """Something happened to these persons (and whether it parted them); every consumer may have to
        be told."""
        changes = [
            UpdateOne(
                {"_id": f"{consumer}|{person}"},
                {
                    "$set": {"state": "waiting"} | ({"parted": True} if parted else {}),
                    "$setOnInsert": {"consumer": consumer, "person": person, "at": now, "due": now,
                                     "attempts": 0, "reason": ""}
                    | ({} if parted else {"parted": False}),
                    "$inc": {"seq": 1},
                },
                upsert=True,
            )
            for consumer in consumers
            for person, parted in persons
        ]  # fmt: skip
        if changes:
            async with self.mongo.gate:
                await self.notices.raw.bulk_write(changes, ordered=False)

    async def due(self, consumer: str, now: datetime, limit: int = 100) -> list[Waiting]:
        """The notices of a consumer whose time has come, the oldest first."""
        where = {"consumer": consumer, "state": "waiting", "due": {"$lte": now}}
        rows = await self.notices.many(where, sort=[("due", 1)], limit=limit)
        return [_waiting(row) for row in rows]

    async def last(self, notice: Waiting) -> tuple[str | None, int]:
        """What the consumer was told of this person last, and how often it was told anything."""
        row = await self.told.one({"_id": notice.id}, {"digest": 1, "count": 1})
        return (row["digest"], row["count"]) if row else (None, 0)

    async def done(self, notice: Waiting) -> None:
        """Nothing is left to tell, unless something happened meanwhile."""
        await self.notices.delete({"_id": notice.id, "seq": notice.seq})

    async def known(self, notice: Waiting, digest: str, count: int, now: datetime) -> None:
        """The consumer knows this now."""
        row = {"_id": notice.id, "digest": digest, "count": count, "at": now}
        await self.told.replace({"_id": notice.id}, row, upsert=True)

    async def forget(self, notice: Waiting) -> None:
        """The person is no more: there is nothing that the consumer could know of it."""
        await self.told.delete({"_id": notice.id})

    async def later(self, notice: Waiting, due: datetime, reason: str) -> None:
        """The consumer did not take it; try again then."""
        told = {"due": due, "reason": reason}
        await self.notices.update({"_id": notice.id}, {"$set": told, "$inc": {"attempts": 1}})

    async def park(self, notice: Waiting, reason: str) -> None:
        """The consumer will not take it as it is; the next change of the person is a new try."""
        told = {"state": "parked", "reason": reason}
        where = {"_id": notice.id, "seq": notice.seq}
        await self.notices.update(where, {"$set": told, "$inc": {"attempts": 1}})

    # -- for operators --------------------------------------------------------------------------------

    async def parked(self) -> list[Waiting]:
        """The notices that a consumer refused."""
        rows = await self.notices.many({"state": "parked"}, sort=[("at", 1)])
        return [_waiting(row) for row in rows]

    async def ask(self, ids: Sequence[str] | None, now: datetime) -> int:
        """Tell these parked notices (None: all) again; how many that are."""
        change = {"$set": {"state": "waiting", "due": now, "attempts": 0}}
        return await self.notices.update(_of(ids), change, many=True)

    async def drop(self, ids: Sequence[str] | None) -> int:
        """Forget these parked notices (None: all); how many went."""
        return await self.notices.delete(_of(ids), many=True)


def _of(ids: Sequence[str] | None) -> dict[str, Any]:
    return {"state": "parked"} | ({} if ids is None else {"_id": {"$in": list(ids)}})


def _waiting(row: dict[str, Any]) -> Waiting:
    return Waiting(
        row["_id"], row["consumer"], row["person"], row["parted"], row["seq"], row["attempts"],
        row["at"], row["reason"],
    )  # fmt: skip
