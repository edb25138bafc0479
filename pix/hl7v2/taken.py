"""The register of messages that were answered: a message that comes again is answered the same.

    hl7v2_messages  {_id: "application|facility|MSH-10", digest, said, answer, key, at}

A row is written in the transaction of what the message did, so that a message is done and registered or
neither. After 30 days a control id may be used anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pymongo import IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession

from chassis.mongo import Mongo
from pix.hl7v2.visit import Done, Visit
from pix.people import DATABASE
from standards.hl7v2 import DUPLICATE_KEY, Ack, Fault, Location

COLLECTION = "hl7v2_messages"
KEPT_SECONDS = 30 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Earlier:
    """A message with the same sender and control id that was answered before."""

    digest: str
    said: Ack
    answer: bytes


class Taken:
    """The register."""

    def __init__(self, mongo: Mongo) -> None:
        self.mongo = mongo
        self.table = mongo.table(DATABASE, COLLECTION)

    async def prepare(self) -> None:
        """Make the collection and its indexes; what exists is kept."""
        await self.mongo.create(DATABASE, COLLECTION)
        await self.table.ensure(
            IndexModel([("at", 1)], expireAfterSeconds=KEPT_SECONDS),
            IndexModel([("sender", 1), ("key", 1), ("at", 1)]),
        )

    async def earlier(
        self, visit: Visit, session: AsyncClientSession | None = None
    ) -> Earlier | None:
        """The message of this sender and control id that was answered before."""
        row = await self.table.one(
            {"_id": visit.key}, {"digest": 1, "said": 1, "answer": 1}, session
        )
        return Earlier(row["digest"], row["said"], bytes(row["answer"])) if row else None

    async def keep(
        self, visit: Visit, done: Done, session: AsyncClientSession | None = None
    ) -> None:
        """Register how a message was answered, in the transaction of what it did."""
        row = {
            "_id": visit.key,
            "sender": visit.sender.name,
            "digest": visit.digest,
            "said": done.said,
            "answer": done.answer,
            "key": done.key,
            "at": visit.now,
        }
        await self.table.replace({"_id": visit.key}, row, session=session, upsert=True)

    async def later(self, sender: str, key: str, than: datetime) -> bool:
        """Whether a later message of this sender about the same number was accepted."""
        if not key:
            return False
        where = {"sender": sender, "key": key, "said": "AA", "at": {"$gt": than}}
        return await self.table.one(where, {"_id": 1}) is not None


def repeated(visit: Visit, earlier: Earlier | None) -> tuple[bytes | None, Fault | None]:
    """What a register's row means for a message. PURE.

    The same content again: the same answer. Another content after an acceptance: a fault, because one
    of the two would be lost in silence. After a refusal a corrected message may bear the same id.
    """
    if earlier is None:
        return None, None
    if earlier.digest == visit.digest:
        if visit.again and earlier.said != "AA":
            return None, None
        return earlier.answer, None
    if earlier.said != "AA":
        return None, None
    words = (
        "This control id was used for another message, which was accepted; send this one with an id of "
        "its own."
    )
    return None, Fault(DUPLICATE_KEY, words, Location("MSH", 1, 10))
