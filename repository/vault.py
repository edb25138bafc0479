"""The vault: documents by their id; their bytes are in `repository/contents.py`.

    deposits   one per document:
               {_id: binary id, digest, blob, owner, size, sha1, type, state, at, due, quarantine}

                 pending ──keep──► kept ──destroy──► destroyed
                    └────release──► released ──► gone with the sweep

`blob` is the name of the content within its owner's boundary. `due` is there only while pending or
released: what the sweep has to look at, and nothing else. `quarantine` says why a document is not
given out, whatever its state.

Order makes it safe without reference counts. A deposit is durable before its bytes are looked for,
and whoever removes a blob marks it `dying` before it looks for deposits; so of a racing deposit and
removal at least one sees the other: the removal spares the blob, or the deposit revives or rewrites it.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from pymongo import IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from chassis.mongo import Coalesced, Doc, Gathered, Mongo, Table
from repository.contents import (
    AT_ONCE,
    CHUNK,
    SMALL,
    WHOLE,
    Content,
    Contents,
    DamagedError,
    by_id,
    named,
)
from repository.keys import MasterKeys
from standards.outcome import EXCEPTION, Issue, Refused

__all__ = ["CHUNK", "SMALL", "WHOLE", "Content", "Held", "Kept", "Vault"]

UNNEEDING = ("released", "destroyed")
"""The states in which a deposit no longer needs its bytes."""

_ALONE = 8  # retrievals that fetch entry and content with a command of their own at one time
_BESIDE = {
    "$lookup": {
        "from": "blobs",
        "localField": "blob",
        "foreignField": "_id",
        "pipeline": [{"$match": {"size": {"$lte": AT_ONCE}}}],
        "as": "content",
    }
}

Removal = Literal["gone", "needed", "busy"]


@dataclass(frozen=True, slots=True)
class Kept:
    """What the vault holds: the id under which the bytes are retrieved, and their true measures."""

    binary_id: str
    size: int
    sha1: bytes
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Held:
    """A document's entry in the vault. `destroyed` says that its bytes are gone for good,
    `quarantine` why they are kept back ("" when they are not)."""

    binary_id: str
    digest: str
    size: int
    content_type: str
    at: datetime
    pending: bool
    blob: str = ""
    destroyed: bool = False
    quarantine: str = ""
    content: Doc | None = field(default=None, repr=False, compare=False)
    """The row of its content, where it came along with the entry."""


class Vault:
    """Documents' bytes. The registry deposits, keeps and releases; ITI-68 finds and reads."""

    def __init__(self, mongo: Mongo, deposits: Table, contents: Contents) -> None:
        self.mongo = mongo
        self.deposits, self.contents = deposits, contents
        self.blobs, self.chunks, self.uploads = contents.blobs, contents.chunks, contents.uploads
        self._entry: Coalesced[str, Doc] = Coalesced(by_id(deposits))
        self._new: Gathered[Doc, None] = Gathered(self._deposited)
        self._keeping: Gathered[Mapping[str, str], None] = Gathered(self._kept, largest=64)
        self._alone = 0

    @classmethod
    async def opened(cls, mongo: Mongo, masters: MasterKeys) -> Vault:
        """The vault over its collections, created on first use."""
        deposits = await mongo.create("repository", "deposits")
        await deposits.ensure(
            IndexModel([("due", 1)], sparse=True),
            IndexModel([("blob", 1)]),
            IndexModel([("quarantine.at", 1)], sparse=True),
        )
        # Deposits of before boundaries knew their content by its digest alone.
        await deposits.update({"blob": None}, [{"$set": {"blob": "$digest"}}], many=True)
        return cls(mongo, deposits, await Contents.opened(mongo, masters))

    async def deposit(
        self, content_type: str, content: Content, owner: str = "", quarantine: str = ""
    ) -> Kept:
        """Hold these bytes under a new id that nobody can guess, pending until `keep`.

        The same bytes of the same owner are stored once. Size, SHA-1 and SHA-256 are checked over the
        bytes as they are written: `Refused(BYTES_DIFFER)` when they differ from what the content
        claims. With `quarantine`, a reason, the document is held and not given out.
        """
        now = datetime.now(UTC)
        digest = content.sha256.hex()
        blob = named(digest, owner)
        made = Kept(secrets.token_hex(16), content.size, content.sha1, content.sha256)
        entry: Doc = {
            "_id": made.binary_id, "digest": digest, "blob": blob, "owner": owner,
            "size": content.size, "sha1": content.sha1, "type": content_type, "state": "pending",
            "at": now, "due": now,
        }  # fmt: skip
        if quarantine:
            entry["quarantine"] = {"why": quarantine, "at": now}
        await self._new.get(entry)
        try:
            await self.contents.store(blob, content)
        except Refused:
            await self.release([made.binary_id])
            raise
        return made

    async def keep(self, documents: Mapping[str, str]) -> None:
        """The documents (binary id → DocumentReference id) are committed. Idempotent."""
        await self._keeping.get(documents)

    async def release(self, binary_ids: Collection[str]) -> None:
        """No document will refer to these pending deposits; the sweep takes them. Idempotent."""
        await self.deposits.update(
            {"_id": {"$in": list(binary_ids)}, "state": "pending"},
            {"$set": {"state": "released"}},
            many=True,
        )

    async def find(self, binary_id: str) -> Held | None:
        """The entry under this id; None when there is none or it was released."""
        found = await self._entry.get(binary_id)
        if found is None or found["state"] == "released":
            return None
        return held(found)

    async def opened_at(self, binary_id: str) -> Held | None:
        """As `find`, with the content beside the entry when it is of at most 1 MB: one command for both.
        Where many ask at once, they share commands for their entries instead, which is less in all."""
        if self._alone >= _ALONE:
            return await self.find(binary_id)
        self._alone += 1
        try:
            async with self.mongo.gate:
                coming = await self.deposits.raw.aggregate(
                    [{"$match": {"_id": binary_id}}, _BESIDE], batchSize=2
                )
                rows = await coming.to_list(1)
        finally:
            self._alone -= 1
        if not rows or rows[0]["state"] == "released":
            return None
        return held(rows[0])

    async def read(
        self, held: Held, start: int = 0, stop: int | None = None
    ) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `stop`, in pieces of at most 1 MB.

        What is read is authenticated before it is passed on; bytes that are gone or damaged are
        `Refused(EXCEPTION)`, never something else.
        """
        try:
            blob = held.content
            async for piece in self.contents.read(held.blob, held.size, start, stop, blob):
                yield piece
        except DamagedError:
            words = (
                f"The stored bytes of Binary/{held.binary_id} are not those that were deposited."
            )
            raise Refused(Issue(EXCEPTION, words)) from None

    async def begun(
        self, held: Held, start: int = 0, stop: int | None = None
    ) -> AsyncIterator[bytes]:
        """As `read`, with the first piece already read and checked: what is missing or damaged at the
        beginning is refused here, while the answer can still say so."""
        pieces = self.read(held, start, stop)
        first = await anext(pieces, b"")
        return _resumed(first, pieces)

    async def remove(self, blob: str, now: datetime, due: datetime) -> Removal:
        """Destroy a content and its key unless a deposit needs it: mark, then look, then delete what
        is still marked. `busy` when another removal, begun after `due`, is at it.

        A deposit is written before its blob is looked for. Whoever looks after the mark was made
        removes the mark; whoever looked before it is seen by the look that follows the mark.
        """
        needed = {"blob": blob, "state": {"$nin": list(UNNEEDING)}}
        if await self.deposits.count(needed, limit=1):
            return "needed"
        there = await self.blobs.one({"_id": blob}, {"dying": 1, "upload": 1})
        if there is None:
            return "gone"
        if "dying" in there and there["dying"] > due:
            return "busy"
        was = {"dying": there["dying"]} if "dying" in there else {"dying": {"$exists": False}}
        if not await self.blobs.update({"_id": blob, **was}, {"$set": {"dying": now}}):
            return "busy"
        marked = {"_id": blob, "dying": now}
        if await self.deposits.count(needed, limit=1):
            await self.blobs.update(marked, {"$unset": {"dying": ""}})
            return "needed"
        upload = there.get("upload")
        if upload is None:
            return "gone" if await self.blobs.delete(marked) else "busy"

        async def disown(session: AsyncClientSession) -> bool:
            if not await self.blobs.delete(marked, session=session):
                return False
            note: Doc = {"_id": upload, "digest": blob, "at": now, "dead": True}
            await self.uploads.insert(note, session)
            return True

        if not await self.mongo.transaction(disown):
            return "busy"
        await self.contents.discard(upload)
        return "gone"

    # -- storing --------------------------------------------------------------------------------

    async def _deposited(self, entries: Sequence[Doc]) -> list[None]:
        try:
            await self.deposits.insert_all(entries)
        except DuplicateKeyError:
            if len(entries) > 1:
                raise
            # Nobody else has this id: an attempt whose answer was lost did write it.
        return [None] * len(entries)

    async def _kept(self, many: Sequence[Mapping[str, str]]) -> list[None]:
        await self.deposits.update(
            {
                "_id": {"$in": [binary_id for documents in many for binary_id in documents]},
                "state": {"$ne": "destroyed"},
            },
            {"$set": {"state": "kept"}, "$unset": {"due": ""}},
            many=True,
        )
        return [None] * len(many)


def held(row: Doc) -> Held:
    """A row of `deposits` as an entry."""
    return Held(
        row["_id"],
        row["digest"],
        row["size"],
        row["type"],
        row["at"],
        row["state"] == "pending",
        row.get("blob") or row["digest"],
        row["state"] == "destroyed",
        (row.get("quarantine") or {}).get("why", ""),
        next(iter(row.get("content") or ()), None),
    )


async def _resumed(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for piece in rest:
        yield piece
