"""Where the next page of a query begins: continuation pointers (HL7 2.5 §5.6.3; ITI TF-2a 3.21.4.1).

    hl7v2_pointers  {_id: the pointer, sender, tag, query, after, at}

The consumer repeats its query with the pointer in DSC-1; a pointer of another sender, tag or query leads
nowhere. An hour after the last page, or when the query is cancelled (QCN^J01), pointers are forgotten.
"""

from __future__ import annotations

import secrets
from datetime import datetime

from pymongo import IndexModel

from chassis.mongo import Mongo
from pix.people import DATABASE

COLLECTION = "hl7v2_pointers"
KEPT_SECONDS = 3600


class Pointers:
    """The continuation pointers."""

    def __init__(self, mongo: Mongo) -> None:
        self.mongo = mongo
        self.table = mongo.table(DATABASE, COLLECTION)

    async def prepare(self) -> None:
        """Make the collection and its indexes; what exists is kept."""
        await self.mongo.create(DATABASE, COLLECTION)
        await self.table.ensure(
            IndexModel([("at", 1)], expireAfterSeconds=KEPT_SECONDS),
            IndexModel([("sender", 1), ("tag", 1)]),
        )

    async def make(self, sender: str, tag: str, query: str, after: str, now: datetime) -> str:
        """A pointer to what comes after the record `after`."""
        pointer = secrets.token_hex(16).upper()
        row = {
            "_id": pointer, "sender": sender, "tag": tag, "query": query, "after": after, "at": now,
        }  # fmt: skip
        await self.table.insert(row)
        return pointer

    async def follow(self, pointer: str, sender: str, tag: str, query: str) -> str | None:
        """The record after which the page begins; None for a pointer that leads nowhere."""
        where = {"_id": pointer, "sender": sender, "tag": tag, "query": query}
        row = await self.table.one(where, {"after": 1})
        return str(row["after"]) if row else None

    async def forget(self, sender: str, tag: str) -> None:
        """The consumer wants no more pages."""
        await self.table.delete({"sender": sender, "tag": tag}, many=True)
