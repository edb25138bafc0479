"""Contents: the bytes of documents, sealed, each held once within the boundary of an organisation.

    blobs      one per content and boundary: {_id, size, key: {m, w}, data} up to 8 MB,
                 else {_id, size, key, upload, n}; `key` is the data key, wrapped by master key `m`
    chunks     {_id: {u: upload, n: 0…}, data}: one sealed segment of 1 MB
    uploads    {_id: upload, digest, at, dead}: chunks that no blob vouches for yet, or any longer

The wrapped key lies with the content, so that storing is one insert that cannot half succeed, two who
store the same content at once cannot end with the key of one and the bytes of the other, and what
deletes a blob destroys its key. Contents of before encryption have no `key` (and their chunks a
digest `h`); they are read as they are until `throughline keys encrypt` seals them.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha1, sha256
from typing import Protocol

from pymongo import IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import BulkWriteError, DuplicateKeyError

from chassis.mongo import Coalesced, Doc, Gathered, Mongo, Table
from repository.keys import MasterKeys, Wrapped
from repository.sealing import SEGMENT, BrokenSealError, Sealing, fresh_key, lying
from standards.outcome import BUSY, BYTES_DIFFER, Issue, Refused

WHOLE = 8 * 1024 * 1024  # up to here one MongoDB document holds the bytes (design 5)
CHUNK = SEGMENT
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


class DamagedError(Exception):
    """The stored bytes are gone, or are not those that were stored."""


def named(digest: str, owner: str) -> str:
    """The name of a content within the boundary of its owner. The same bytes have another name, and
    another key, with every owner, so that nobody learns from us what someone else holds."""
    return f"{digest}.{sha256(owner.encode()).hexdigest()[:16]}" if owner else digest


class Contents:
    """The sealed bytes."""

    def __init__(self, mongo: Mongo, masters: MasterKeys, tables: Mapping[str, Table]) -> None:
        self.mongo, self.masters = mongo, masters
        self.blobs, self.chunks = tables["blobs"], tables["chunks"]
        self.uploads = tables["uploads"]
        self._small: Coalesced[str, Doc] = Coalesced(by_id(self.blobs), limit=64)
        self._alive: Coalesced[str, Doc] = Coalesced(by_id(self.blobs, {"dying": 1}))
        self._wholes: Gathered[Doc, bool] = Gathered(self._written)

    @classmethod
    async def opened(cls, mongo: Mongo, masters: MasterKeys) -> Contents:
        """The contents over their collections, created on first use."""
        tables = await mongo.create_all("repository", ("blobs", "chunks", "uploads"))
        # What a rotation has still to do, and what was stored before encryption (no key: null).
        await tables["blobs"].ensure(IndexModel([("key.m", 1)], name="master"))
        return cls(mongo, masters, tables)

    # -- reading --------------------------------------------------------------------------------

    async def read(
        self,
        name: str,
        size: int,
        start: int = 0,
        stop: int | None = None,
        blob: Doc | None = None,
    ) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `stop` in pieces of at most 1 MB, each checked before it is
        passed on. `blob` is its row where it is at hand. Raises `DamagedError`."""
        stop = size if stop is None else stop
        if blob is None:
            there = self._small.get(name) if size <= SMALL else self.blobs.one({"_id": name})
            blob = await there
        if blob is None or blob["size"] != size:
            raise DamagedError
        if "key" not in blob:
            async for piece in self._plain(blob, start, stop):
                yield piece
            return
        sealing = await self.sealing(blob)
        whole = memoryview(blob["data"]) if "data" in blob else None
        try:
            for place, first, last in sealing.covering(start, stop):
                sealed = await self._chunk(blob, place) if whole is None else whole[lying(place)]
                piece = sealing.open(place, sealed)
                yield piece if (first, last) == (0, len(piece)) else piece[first:last]
        except BrokenSealError:
            raise DamagedError from None

    async def sealing(self, blob: Doc) -> Sealing:
        """What opens this blob's segments."""
        wrapped = Wrapped(blob["key"]["m"], bytes(blob["key"]["w"]))
        key = await self.masters.unwrap(wrapped, blob["_id"])
        return Sealing(key, blob["_id"], blob["size"])

    async def _chunk(self, blob: Doc, place: int) -> bytes:
        found = await self.chunks.one({"_id": {"u": blob["upload"], "n": place}})
        if found is None:
            raise DamagedError
        return bytes(found["data"])

    async def _plain(self, blob: Doc, start: int, stop: int) -> AsyncIterator[bytes]:
        """A content of before encryption, checked by its digest."""
        if "data" in blob:
            data = bytes(blob["data"])
            if sha256(data).hexdigest() != blob["_id"].partition(".")[0]:
                raise DamagedError
            yield data[start:stop] if (start, stop) != (0, len(data)) else data
            return
        for n in range(start // CHUNK, -(-stop // CHUNK)):
            piece = await self.chunks.one({"_id": {"u": blob["upload"], "n": n}})
            if piece is None or sha256(piece["data"]).digest() != piece["h"]:
                raise DamagedError
            base = n * CHUNK
            yield bytes(piece["data"][max(0, start - base) : stop - base])

    # -- storing --------------------------------------------------------------------------------

    async def store(self, name: str, content: Content) -> None:
        """See to it that the content is there and not about to be swept. A deposit that needs it
        already is. Raises `Refused(BYTES_DIFFER)` for other bytes than were claimed."""
        writing = self._whole if content.size <= WHOLE else self._chunked
        if content.size <= AT_ONCE and await writing(name, content):
            return
        checked = content.size <= AT_ONCE
        for _ in range(8):
            alive = await self._alive.get(name)
            if alive is None:
                if await writing(name, content):
                    return
                checked = True  # somebody was faster; see whether theirs stays
            elif "dying" in alive:
                await self.blobs.update(
                    {"_id": name, "dying": alive["dying"]}, {"$unset": {"dying": ""}}
                )
            else:
                if not checked:
                    async for _ in verified(content):
                        pass
                return
        raise Refused(Issue(BUSY, "The same document is being written and removed; send it again."))

    async def _keyed(self, name: str, size: int) -> tuple[Sealing, Doc]:
        key = fresh_key()
        wrapped = await self.masters.wrap(key, name)
        return Sealing(key, name, size), {"m": wrapped.master, "w": wrapped.sealed}

    async def _whole(self, name: str, content: Content) -> bool:
        sealing, key = await self._keyed(name, content.size)
        pieces = of_size(verified(content), SEGMENT)
        sealed = [sealing.seal(n, piece) async for n, piece in numbered(pieces)]
        data = sealed[0] if len(sealed) == 1 else b"".join(sealed)
        blob: Doc = {"_id": name, "size": content.size, "key": key, "data": data}
        if content.size <= SMALL:
            return await self._wholes.get(blob)
        try:
            await self.blobs.insert(blob)
        except DuplicateKeyError:
            return False
        return True

    async def _chunked(self, name: str, content: Content) -> bool:
        sealing, key = await self._keyed(name, content.size)
        upload, count = await self.upload(name, sealing, verified(content))

        async def vouch(session: AsyncClientSession) -> None:
            await self.vouched(upload, session)
            blob: Doc = {
                "_id": name, "size": content.size, "key": key, "upload": upload, "n": count,
            }  # fmt: skip
            await self.blobs.insert(blob, session)

        try:
            await self.mongo.transaction(vouch)
        except DuplicateKeyError:
            await self.discard(upload)
            return False
        except Refused:
            await self.discard(upload)
            raise
        return True

    async def upload(
        self, name: str, sealing: Sealing, content: AsyncIterator[bytes]
    ) -> tuple[str, int]:
        """Write sealed chunks that no blob vouches for yet: the upload's id, and how many chunks."""
        upload = secrets.token_hex(12)
        note: Doc = {"_id": upload, "digest": name, "at": datetime.now(UTC), "dead": False}
        await self.uploads.insert(note)
        count = 0
        try:
            async for place, data in numbered(of_size(content, CHUNK)):
                sealed = sealing.seal(place, data)
                await self.chunks.insert({"_id": {"u": upload, "n": place}, "data": sealed})
                count = place + 1
                if count % HEARTBEAT == 0:
                    await self.uploads.update({"_id": upload}, {"$set": {"at": datetime.now(UTC)}})
        except (Refused, DamagedError):
            await self.discard(upload)
            raise
        return upload, count

    async def vouched(self, upload: str, session: AsyncClientSession) -> None:
        """Within a transaction that writes the blob: the upload is its own from now on."""
        if not await self.uploads.delete({"_id": upload, "dead": False}, session=session):
            words = "The upload took too long and was given up; send it again."
            raise Refused(Issue(BUSY, words))

    async def discard(self, upload: str) -> None:
        """Delete the chunks of an upload that no blob vouches for, then the note of it."""
        await self.uploads.update({"_id": upload}, {"$set": {"dead": True}})
        await self.chunks.delete(
            {"_id": {"$gte": {"u": upload}, "$lt": {"u": upload + "~"}}}, many=True
        )
        await self.uploads.delete({"_id": upload})

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


def by_id(
    table: Table, fields: Mapping[str, int] | None = None
) -> Callable[[Sequence[str]], Awaitable[Mapping[str, Doc]]]:
    """How a table is asked for many ids at once."""

    async def fetch(ids: Sequence[str]) -> Mapping[str, Doc]:
        if len(ids) == 1:
            found = await table.one({"_id": ids[0]}, fields)
            return {ids[0]: found} if found else {}
        rows = await table.many({"_id": {"$in": list(ids)}}, fields)
        return {found["_id"]: found for found in rows}

    return fetch


async def verified(content: Content) -> AsyncIterator[bytes]:
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


async def of_size(pieces: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    """The same bytes in pieces of `size`, the last shorter; one empty piece when there are none."""
    waiting, given = bytearray(), False
    async for piece in pieces:
        waiting += piece
        while len(waiting) >= size:
            yield bytes(waiting[:size])
            del waiting[:size]
            given = True
    if waiting or not given:
        yield bytes(waiting)


async def numbered(pieces: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    """The pieces with their numbers, from 0."""
    place = 0
    async for piece in pieces:
        yield place, piece
        place += 1
