"""Rotation: wrap every data key anew under the current master key, and seal what never was.

What is still to do is what the index says, so an interrupted run is resumed by running it again, and
several at once do no harm. Readers and writers go on meanwhile: a wrapped key is replaced only where
it is still the one that was read, and the chunks of an old upload stay until the sweep's grace is over,
for those who are reading them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

from pymongo.asynchronous.client_session import AsyncClientSession

from chassis.mongo import Doc
from repository.contents import WHOLE, Contents, DamagedError, numbered, of_size
from repository.keys import Wrapped
from repository.sealing import SEGMENT, Sealing, fresh_key
from standards.outcome import Refused

BATCH = 200
Told = Callable[[int, int], None]
"""Called with how many are done and how many there were."""


def _silent(_done: int, _total: int) -> None:
    """Nobody wants to know how far it is."""


async def rewrap(contents: Contents, told: Told = _silent) -> int:
    """Wrap the data key of every content under the current master key; how many were.

    Contents that are stored meanwhile under the old key are done too. Raises `Refused` when a key does
    not open; everything wrapped so far stays so.
    """
    done = 0
    while True:
        current = await contents.masters.current()
        old = {"key.m": {"$nin": [None, current]}}
        total = done + await contents.blobs.count(old)
        batch = await contents.blobs.many(old, {"key": 1}, limit=BATCH)
        if not batch:
            return done
        for blob in batch:
            done += await _rewrapped(contents, blob)
            told(done, max(done, total))


async def _rewrapped(contents: Contents, blob: Doc) -> int:
    was = Wrapped(blob["key"]["m"], bytes(blob["key"]["w"]))
    key = await contents.masters.unwrap(was, blob["_id"])
    now = await contents.masters.wrap(key, blob["_id"])
    return await contents.blobs.update(
        {"_id": blob["_id"], "key.w": was.sealed},
        {"$set": {"key": {"m": now.master, "w": now.sealed}}},
    )


async def seal_all(contents: Contents, told: Told = _silent) -> tuple[int, int]:
    """Seal every content of before encryption: how many were, and how many could not be because they
    are damaged (they stay as they are)."""
    done, damaged, after = 0, 0, ""
    total = await contents.blobs.count({"key.m": None})
    while True:
        where = {"key.m": None, "_id": {"$gt": after}, "dying": {"$exists": False}}
        fields = {"size": 1, "upload": 1, "n": 1}
        batch = await contents.blobs.many(where, fields, sort=[("_id", 1)], limit=BATCH)
        if not batch:
            return done, damaged
        for blob in batch:
            try:
                done += await _sealed(contents, blob)
            except DamagedError:
                damaged += 1
            told(done + damaged, max(total, done + damaged))
        after = batch[-1]["_id"]


async def _sealed(contents: Contents, blob: Doc) -> int:
    name, size = blob["_id"], blob["size"]
    key = fresh_key()
    wrapped = await contents.masters.wrap(key, name)
    sealing = Sealing(key, name, size)
    plain = contents.read(name, size)
    stored = {"m": wrapped.master, "w": wrapped.sealed}
    unsealed = {"_id": name, "key": {"$exists": False}, "dying": {"$exists": False}}
    if size <= WHOLE and "upload" not in blob:
        parts = [sealing.seal(n, piece) async for n, piece in numbered(of_size(plain, SEGMENT))]
        change = {"$set": {"key": stored, "data": b"".join(parts)}}
        return await contents.blobs.update(unsealed, change)
    return await _sealed_chunks(contents, blob, sealing, stored, plain)


async def _sealed_chunks(
    contents: Contents, blob: Doc, sealing: Sealing, stored: Doc, plain: AsyncIterator[bytes]
) -> int:
    upload, count = await contents.upload(blob["_id"], sealing, plain)

    async def change(session: AsyncClientSession) -> int:
        await contents.vouched(upload, session)
        where = {"_id": blob["_id"], "upload": blob["upload"], "dying": {"$exists": False}}
        made = await contents.blobs.update(
            where, {"$set": {"key": stored, "upload": upload, "n": count}}, session=session
        )
        if not made:
            raise _SweptError
        note: Doc = {
            "_id": blob["upload"], "digest": blob["_id"], "at": datetime.now(UTC), "dead": False,
        }  # fmt: skip
        await contents.uploads.insert(note, session)
        return made

    try:
        return await contents.mongo.transaction(change)
    except _SweptError:
        await contents.discard(upload)
        return 0
    except Refused:
        await contents.discard(upload)
        raise


class _SweptError(Exception):
    """The content was removed, or sealed by another run, meanwhile."""
