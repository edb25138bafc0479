"""The vault: documents by their id, bytes by their digest, each held once.

    deposits   one per document: {_id: binary id, digest, size, sha1, type, state, at, due}
                 pending ──keep──► kept            `due` only while pending or released: what the
                    └────release──► released ──►   sweep has to look at, and nothing else
    blobs      one per content: {_id: digest, size, data} up to 8 MB, else {_id, size, upload, n}
    chunks     {_id: {u: upload, n: 0…}, h: sha256 of data, data} of 1 MB
    uploads    {_id: upload, digest, at, dead}: chunks that no blob vouches for yet, or any longer

Order makes it safe without reference counts. A deposit is durable before its bytes are looked for,
and `sweep` marks a blob `dying` before it looks for deposits; so of a racing deposit and sweep at
least one sees the other: the sweep spares the blob, or the deposit revives or rewrites it.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha1, sha256
from typing import Protocol

from pymongo import IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import BulkWriteError, DuplicateKeyError

from chassis.mongo import Coalesced, Doc, Gathered, Mongo, Table
from standards.outcome import BUSY, BYTES_DIFFER, EXCEPTION, Issue, Refused

WHOLE = 8 * 1024 * 1024  # up to here one MongoDB document holds the bytes (design 5)
CHUNK = 1024 * 1024
SMALL = 64 * 1024  # up to here concurrent reads share one query
AT_ONCE = 1024 * 1024  # up to here bytes are sent without asking first whether they are there
HEARTBEAT = 16  # chunks between two signs of life of a long upload
_DUPLICATE_KEY = 11000


class Content(Protocol):
    """Bytes on their way in, with what is claimed of them. `chassis.spool.Attachment` is one."""

    @property
    def size(self) -> int:
        """How many bytes."""
        ...

    @property
    def sha1(self) -> bytes:
        """SHA-1 of them."""
        ...

    @property
    def sha256(self) -> bytes:
        """SHA-256 of them."""
        ...

    def open(self) -> AsyncIterator[bytes]:
        """The bytes, from the start; may be asked for again."""
        ...


@dataclass(frozen=True, slots=True)
class Kept:
    """What the vault holds: the id under which the bytes are retrieved, and their true measures."""

    binary_id: str
    size: int
    sha1: bytes
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Held:
    """A document's entry in the vault."""

    binary_id: str
    digest: str
    size: int
    content_type: str
    at: datetime
    pending: bool


class Vault:
    """Documents' bytes. The registry deposits, keeps and releases; ITI-68 finds and reads."""

    def __init__(
        self, mongo: Mongo, deposits: Table, blobs: Table, chunks: Table, uploads: Table
    ) -> None:
        self.mongo = mongo
        self.deposits, self.blobs, self.chunks, self.uploads = deposits, blobs, chunks, uploads
        self._entry: Coalesced[str, Doc] = Coalesced(_by_id(deposits))
        self._small: Coalesced[str, Doc] = Coalesced(_by_id(blobs), limit=64)
        self._alive: Coalesced[str, Doc] = Coalesced(_by_id(blobs, {"dying": 1}))
        self._new: Gathered[Doc, None] = Gathered(self._deposited)
        self._wholes: Gathered[Doc, bool] = Gathered(self._written)
        self._keeping: Gathered[Mapping[str, str], None] = Gathered(self._kept, largest=64)

    @classmethod
    async def opened(cls, mongo: Mongo) -> Vault:
        """The vault over its collections, created on first use."""
        names = ("deposits", "blobs", "chunks", "uploads")
        deposits, blobs, chunks, uploads = [
            await mongo.create("repository", name) for name in names
        ]
        await deposits.ensure(IndexModel([("due", 1)], sparse=True), IndexModel([("digest", 1)]))
        return cls(mongo, deposits, blobs, chunks, uploads)

    async def deposit(self, content_type: str, content: Content) -> Kept:
        """Hold these bytes under a new id that nobody can guess, pending until `keep`.

        Same bytes are stored once. Size, SHA-1 and SHA-256 are checked over the bytes as they are
        written: `Refused(BYTES_DIFFER)` when they differ from what the content claims.
        """
        now = datetime.now(UTC)
        digest = content.sha256.hex()
        made = Kept(secrets.token_hex(16), content.size, content.sha1, content.sha256)
        await self._new.get(
            {
                "_id": made.binary_id, "digest": digest, "size": content.size, "sha1": content.sha1,
                "type": content_type, "state": "pending", "at": now, "due": now,
            }
        )  # fmt: skip
        try:
            await self._store(digest, content)
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
        return Held(
            binary_id,
            found["digest"],
            found["size"],
            found["type"],
            found["at"],
            found["state"] == "pending",
        )

    async def read(
        self, held: Held, start: int = 0, stop: int | None = None
    ) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `stop`, in pieces of at most 1 MB (one piece up to 8 MB).

        What is read is checked against its digest before it is passed on; bytes that are gone or
        damaged are `Refused(EXCEPTION)`, never something else.
        """
        stop = held.size if stop is None else stop
        small = held.size <= SMALL
        blob = await (
            self._small.get(held.digest) if small else self.blobs.one({"_id": held.digest})
        )
        if blob is None or blob["size"] != held.size:
            raise _damaged(held)
        if "data" in blob:
            data = bytes(blob["data"])
            if sha256(data).hexdigest() != held.digest:
                raise _damaged(held)
            yield data[start:stop] if (start, stop) != (0, len(data)) else data
            return
        for n in range(start // CHUNK, -(-stop // CHUNK)):
            piece = await self.chunks.one({"_id": {"u": blob["upload"], "n": n}})
            if piece is None or sha256(piece["data"]).digest() != piece["h"]:
                raise _damaged(held)
            base = n * CHUNK
            yield bytes(piece["data"][max(0, start - base) : stop - base])

    async def begun(
        self, held: Held, start: int = 0, stop: int | None = None
    ) -> AsyncIterator[bytes]:
        """As `read`, with the first piece already read and checked: what is missing or damaged at the
        beginning is refused here, while the answer can still say so."""
        pieces = self.read(held, start, stop)
        first = await anext(pieces, b"")
        return _resumed(first, pieces)

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
            {"_id": {"$in": [binary_id for documents in many for binary_id in documents]}},
            {"$set": {"state": "kept"}, "$unset": {"due": ""}},
            many=True,
        )
        return [None] * len(many)

    async def _written(self, blobs: Sequence[Doc]) -> list[bool]:
        """Which of these blobs were not there before."""
        try:
            await self.blobs.insert_many(blobs, ordered=False)
        except BulkWriteError as fault:
            errors = fault.details.get("writeErrors", [])
            unsure = fault.details.get("writeConcernErrors")
            if unsure or any(e.get("code") != _DUPLICATE_KEY for e in errors):
                raise
            there = {e["index"] for e in errors}
            return [place not in there for place in range(len(blobs))]
        return [True] * len(blobs)

    async def _store(self, digest: str, content: Content) -> None:
        """See to it that the blob is there and not about to be swept. Its deposit already is."""
        writing = self._whole if content.size <= WHOLE else self._chunked
        if content.size <= AT_ONCE and await writing(digest, content):
            return
        checked = content.size <= AT_ONCE
        for _ in range(8):
            alive = await self._alive.get(digest)
            if alive is None:
                if await writing(digest, content):
                    return
                checked = True  # somebody was faster; see whether theirs stays
            elif "dying" in alive:
                await self.blobs.update(
                    {"_id": digest, "dying": alive["dying"]}, {"$unset": {"dying": ""}}
                )
            else:
                if not checked:
                    await _checked(content)
                return
        raise Refused(Issue(BUSY, "The same document is being written and removed; send it again."))

    async def _whole(self, digest: str, content: Content) -> bool:
        data = b"".join([piece async for piece in _verified(content)])
        blob: Doc = {"_id": digest, "size": content.size, "data": data}
        if content.size <= SMALL:
            return await self._wholes.get(blob)
        try:
            await self.blobs.insert(blob)
        except DuplicateKeyError:
            return False
        return True

    async def _chunked(self, digest: str, content: Content) -> bool:
        upload = secrets.token_hex(12)
        await self.uploads.insert(
            {"_id": upload, "digest": digest, "at": datetime.now(UTC), "dead": False}
        )
        try:
            count = 0
            async for data in _of_size(_verified(content), CHUNK):
                await self.chunks.insert(
                    {"_id": {"u": upload, "n": count}, "h": sha256(data).digest(), "data": data}
                )
                count += 1
                if count % HEARTBEAT == 0:
                    await self.uploads.update({"_id": upload}, {"$set": {"at": datetime.now(UTC)}})

            async def vouch(session: AsyncClientSession) -> None:
                if not await self.uploads.delete({"_id": upload, "dead": False}, session=session):
                    raise Refused(
                        Issue(BUSY, "The upload took too long and was given up; send it again.")
                    )
                blob: Doc = {"_id": digest, "size": content.size, "upload": upload, "n": count}
                await self.blobs.insert(blob, session)

            await self.mongo.transaction(vouch)
        except DuplicateKeyError:
            await self.discard(upload)
            return False
        except Refused:
            await self.discard(upload)
            raise
        return True

    async def discard(self, upload: str) -> None:
        """Delete the chunks of an upload that no blob vouches for, then the note of it."""
        await self.uploads.update({"_id": upload}, {"$set": {"dead": True}})
        await self.chunks.delete(
            {"_id": {"$gte": {"u": upload}, "$lt": {"u": upload + "~"}}}, many=True
        )
        await self.uploads.delete({"_id": upload})


def _by_id(
    table: Table, fields: Mapping[str, int] | None = None
) -> Callable[[Sequence[str]], Awaitable[Mapping[str, Doc]]]:
    async def fetch(ids: Sequence[str]) -> Mapping[str, Doc]:
        if len(ids) == 1:
            found = await table.one({"_id": ids[0]}, fields)
            return {ids[0]: found} if found else {}
        rows = await table.many({"_id": {"$in": list(ids)}}, fields)
        return {found["_id"]: found for found in rows}

    return fetch


async def _resumed(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for piece in rest:
        yield piece


async def _verified(content: Content) -> AsyncIterator[bytes]:
    """The bytes, checked as they pass; `Refused(BYTES_DIFFER)` at the latest after the last."""
    size, first, second = 0, sha1(usedforsecurity=False), sha256()
    async for piece in content.open():
        size += len(piece)
        if size > content.size:
            break
        first.update(piece)
        second.update(piece)
        yield piece
    if size != content.size:
        raise Refused(
            Issue(
                BYTES_DIFFER,
                f"The document does not have the {content.size} bytes it was said to have.",
            )
        )
    if first.digest() != content.sha1 or second.digest() != content.sha256:
        raise Refused(
            Issue(BYTES_DIFFER, "The document's bytes do not have the hash they were said to have.")
        )


async def _checked(content: Content) -> None:
    async for _ in _verified(content):
        pass


async def _of_size(pieces: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    waiting = bytearray()
    async for piece in pieces:
        waiting += piece
        while len(waiting) >= size:
            yield bytes(waiting[:size])
            del waiting[:size]
    if waiting:
        yield bytes(waiting)


def _damaged(held: Held) -> Refused:
    return Refused(
        Issue(
            EXCEPTION,
            f"The stored bytes of Binary/{held.binary_id} are not those that were deposited.",
        )
    )
