"""Messages that could not be taken, kept with the reason until somebody decides.

    hl7v2_parked  {_id, sender, control_id, event, raw, peer, certificate, reasons, key, attempts, at,
                   tried, state: parked | retry}

A feed message of a known sender is parked when it is refused for what it says, or when this side failed
on it. `throughline hl7v2 parked` lists, retries and drops. A retry is done by the running door, in the
sender's turn, and not when a later message about the same person was taken meanwhile: old news must not
overwrite new.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pymongo import IndexModel

from chassis.mongo import Doc, Mongo
from pix.hl7v2.admission import Peer
from pix.people import DATABASE

COLLECTION = "hl7v2_parked"
KEPT_SECONDS = 180 * 24 * 3600
MOST = 5_000  # of one sender; beyond it the door only refuses, so that nobody fills the disk


@dataclass(frozen=True, slots=True)
class Held:
    """One parked message. `event` is MSH-9, `reasons` are words of ERR segments without any payload."""

    id: str
    sender: str
    control_id: str
    event: str
    raw: bytes
    peer: Peer
    reasons: tuple[str, ...]
    key: str
    attempts: int
    at: datetime
    tried: datetime
    state: str

    @classmethod
    def of(cls, row: Doc) -> Held:
        """From its document."""
        certificate = tuple(row["certificate"]) if row["certificate"] is not None else None
        return cls(
            row["_id"], row["sender"], row["control_id"], row["event"], bytes(row["raw"]),
            Peer(row["peer"], certificate), tuple(row["reasons"]), row["key"], row["attempts"],
            row["at"], row["tried"], row["state"],
        )  # fmt: skip


class Parked:
    """The parked messages."""

    def __init__(self, mongo: Mongo) -> None:
        self.mongo = mongo
        self.table = mongo.table(DATABASE, COLLECTION)

    async def prepare(self) -> None:
        """Make the collection and its indexes; what exists is kept."""
        await self.mongo.create(DATABASE, COLLECTION)
        await self.table.ensure(
            IndexModel([("sender", 1), ("digest", 1)], unique=True),
            IndexModel([("state", 1), ("at", 1)]),
            IndexModel([("tried", 1)], expireAfterSeconds=KEPT_SECONDS),
        )

    async def keep(
        self,
        *,
        sender: str,
        control_id: str,
        event: str,
        raw: bytes,
        digest: str,
        peer: Peer,
        reasons: Sequence[str],
        key: str,
        now: datetime,
    ) -> bool:
        """Park a message; one that is parked already gets the newer reason. False when the sender has
        parked too many."""
        where = {"sender": sender, "digest": digest}
        told = {"reasons": list(reasons), "key": key, "tried": now, "state": "parked"}
        if await self.table.update(where, {"$set": told, "$inc": {"attempts": 1}}):
            return True
        if await self.table.count({"sender": sender}, limit=MOST) >= MOST:
            return False
        first: dict[str, Any] = {
            "_id": str(uuid.uuid4()),
            "control_id": control_id,
            "event": event,
            "raw": raw,
            "peer": peer.address,
            "certificate": list(peer.certificate) if peer.certificate is not None else None,
            "at": now,
        }
        change = {"$set": told, "$setOnInsert": first, "$inc": {"attempts": 1}}
        await self.table.update(where, change, upsert=True)
        return True

    async def all(self) -> list[Held]:
        """Every parked message, the oldest first."""
        return [Held.of(row) for row in await self.table.many({}, sort=[("at", 1)])]

    async def ask(self, ids: Sequence[str] | None) -> int:
        """Have these messages (None: all) tried again by the door; how many that are."""
        where: dict[str, Any] = {} if ids is None else {"_id": {"$in": list(ids)}}
        return await self.table.update(where, {"$set": {"state": "retry"}}, many=True)

    async def asked(self) -> list[Held]:
        """The messages to be tried again, in the order in which they came."""
        rows = await self.table.many({"state": "retry"}, sort=[("at", 1)], limit=100)
        return [Held.of(row) for row in rows]

    async def refuse(self, held: Held, reason: str, now: datetime) -> None:
        """It stays parked, for another reason."""
        told = {"reasons": [reason], "state": "parked", "tried": now}
        await self.table.update({"_id": held.id}, {"$set": told, "$inc": {"attempts": 1}})

    async def drop(self, ids: Sequence[str] | None) -> int:
        """Forget these messages (None: all); how many went."""
        where: dict[str, Any] = {} if ids is None else {"_id": {"$in": list(ids)}}
        return await self.table.delete(where, many=True)
