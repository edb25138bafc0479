"""Bytes at rest are sealed: nothing that was altered, moved or cut opens, and a range opens by itself."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from chassis.mongo import Mongo, Table
from repository.contents import named
from repository.keys import KeyRing
from repository.rotation import rewrap, seal_all
from repository.sealing import SEGMENT, TAG, BrokenSealError, Sealing, fresh_key, lying
from repository.sweep import sweep
from repository.vault import CHUNK, WHOLE, Vault
from standards.outcome import EXCEPTION, Refused
from tests.repository.shelf import RING, Shelf, all_of, some
from tests.repository.test_vault import found

SIZES = [0, 1, 1000, SEGMENT - 1, SEGMENT, SEGMENT + 1, 3 * SEGMENT, WHOLE, WHOLE + 5]


@pytest_asyncio.fixture
async def vault(mongo: Mongo) -> AsyncIterator[Vault]:
    opened = await Vault.opened(mongo, RING)
    for table in (opened.deposits, opened.blobs, opened.chunks, opened.uploads):
        await table.delete({}, many=True)
    yield opened


def sealed(sealing: Sealing, content: bytes) -> list[bytes]:
    return [
        sealing.seal(n, content[n * SEGMENT : (n + 1) * SEGMENT]) for n in range(sealing.last + 1)
    ]


# -- the seal itself -----------------------------------------------------------------------------
@pytest.mark.parametrize("size", SIZES)
def test_what_was_sealed_opens_and_is_sixteen_bytes_a_segment_longer(size: int) -> None:
    content, sealing = os.urandom(size), Sealing(fresh_key(), "a", size)
    parts = sealed(sealing, content)
    assert b"".join(sealing.open(n, part) for n, part in enumerate(parts)) == content
    assert sum(map(len, parts)) == size + TAG * len(parts)
    whole = b"".join(parts)
    assert [whole[lying(n)] for n in range(len(parts))] == parts


@given(st.binary(max_size=64), st.integers(min_value=0), st.integers(0, 7))
def test_one_altered_bit_is_enough(content: bytes, place: int, bit: int) -> None:
    sealing = Sealing(fresh_key(), "a", len(content))
    (part,) = sealed(sealing, content)
    altered = bytearray(part)
    altered[place % len(part)] ^= 1 << bit
    with pytest.raises(BrokenSealError):
        sealing.open(0, bytes(altered))


def test_a_segment_opens_only_in_its_place_under_its_name_size_and_key() -> None:
    content, key = os.urandom(2 * SEGMENT + 5), fresh_key()
    sealing = Sealing(key, "a", len(content))
    first, second, last = sealed(sealing, content)
    shorter = Sealing(key, "a", 2 * SEGMENT)  # the last segment cut off
    for other, place, part in (
        (sealing, 0, second), (sealing, 1, first), (sealing, 2, second), (sealing, 1, last),
        (Sealing(key, "b", len(content)), 0, first), (shorter, 1, second), (shorter, 0, first),
        (Sealing(fresh_key(), "a", len(content)), 0, first), (sealing, 0, first[:-1]), (sealing, 0, b""),
    ):  # fmt: skip
        with pytest.raises(BrokenSealError):
            other.open(place, part)


@given(st.integers(0, 5 * SEGMENT), st.integers(0, 5 * SEGMENT))
def test_a_range_is_covered_by_the_segments_it_touches_and_no_others(a: int, b: int) -> None:
    start, stop = sorted((a, b + 1))
    parts = list(Sealing(bytes(32), "a", 5 * SEGMENT + 1).covering(start, stop))
    assert [n for n, _, _ in parts] == list(range(start // SEGMENT, -(-stop // SEGMENT) or 1))
    assert sum(last - first for _, first, last in parts) == stop - start


# -- at rest -------------------------------------------------------------------------------------
class Watched:
    """A table that counts what is asked of it."""

    def __init__(self, table: Table) -> None:
        self.table, self.asked = table, 0

    def __getattr__(self, name: str) -> object:
        self.asked += name == "one"
        return getattr(self.table, name)


@pytest.mark.parametrize("size", SIZES)
async def test_any_size_comes_back_whole_and_in_part(vault: Vault, size: int) -> None:
    content = os.urandom(size)
    kept = await vault.deposit("text/plain", some(content), "R0A")
    held = await found(vault, kept.binary_id)
    assert await all_of(vault.read(held)) == content
    for start, stop in ((0, min(size, 10)), (size // 2, size), (max(0, size - 3), size)):
        assert await all_of(vault.read(held, start, stop)) == content[start:stop]


async def test_nothing_at_rest_is_legible(vault: Vault) -> None:
    words = b"Kept between the two of us. " * 40_000
    await vault.deposit("text/plain", some(words), "R0A")
    await vault.deposit("text/plain", some(words * 9), "R0A")
    rows: Sequence[dict[str, object]] = [*await vault.blobs.many({}), *await vault.chunks.many({})]
    assert len(rows) == 12
    assert not any(b"Kept between" in bytes(r.get("data", b"")) for r in rows)  # type: ignore[call-overload]


async def test_a_range_of_a_large_document_reads_only_the_chunks_it_touches(vault: Vault) -> None:
    content = os.urandom(WHOLE + 3 * CHUNK)
    kept = await vault.deposit("text/plain", some(content), "R0A")
    held = await found(vault, kept.binary_id)
    watched = Watched(vault.chunks)
    vault.contents.chunks = watched  # type: ignore[assignment]
    try:
        got = await all_of(vault.read(held, 5 * CHUNK - 10, 5 * CHUNK + 10))
    finally:
        vault.contents.chunks = watched.table
    assert got == content[5 * CHUNK - 10 : 5 * CHUNK + 10]
    assert watched.asked == 2


async def test_chunks_that_were_swapped_or_cut_off_are_not_given_out(vault: Vault) -> None:
    kept = await vault.deposit("text/plain", some(os.urandom(WHOLE + 2 * CHUNK)), "R0A")
    held = await found(vault, kept.binary_id)
    second = await vault.chunks.one({"_id.n": 2})
    third = await vault.chunks.one({"_id.n": 3})
    assert second is not None
    assert third is not None
    await vault.chunks.update({"_id": second["_id"]}, {"$set": {"data": third["data"]}})
    with pytest.raises(Refused) as refusal:
        await all_of(vault.read(held))
    assert refusal.value.issues[0].kind is EXCEPTION
    await vault.chunks.update({"_id": second["_id"]}, {"$set": {"data": second["data"]}})
    await vault.blobs.update({}, {"$set": {"n": 3}})
    await vault.chunks.delete({"_id.n": 9})
    with pytest.raises(Refused):
        await all_of(vault.read(held))


# -- boundaries ----------------------------------------------------------------------------------
async def test_equal_documents_are_one_within_an_organisation_and_two_across(vault: Vault) -> None:
    content = os.urandom(1000)
    for owner in ("R0A", "R0A", "RM3", "client:x"):
        await vault.deposit("text/plain", some(content), owner)
    blobs = await vault.blobs.many({})
    assert len(blobs) == 3
    assert len({bytes(b["data"]) for b in blobs}) == 3, "each under a key of its own"
    assert named(some(content).sha256.hex(), "R0A") in {b["_id"] for b in blobs}


# -- master keys ---------------------------------------------------------------------------------
async def test_a_rotation_wraps_every_key_anew_and_can_be_resumed(vault: Vault) -> None:
    contents = [os.urandom(n) for n in (10, 2000, WHOLE + 1)]
    kept = [await vault.deposit("text/plain", some(c), "R0A") for c in contents]
    ring = KeyRing({**RING.keys, "next": os.urandom(32)}, "next")
    opened = await Vault.opened(vault.mongo, ring)

    class StoppedError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        assert total == 3
        if done == 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        await rewrap(opened.contents, stop)
    assert await vault.blobs.count({"key.m": "next"}) == 2
    for made, content in zip(kept, contents, strict=True):  # read in the middle of it
        assert await all_of(opened.read(await found(opened, made.binary_id))) == content
    assert await rewrap(opened.contents) == 1
    assert await rewrap(opened.contents) == 0
    alone = await Vault.opened(vault.mongo, KeyRing({"next": ring.keys["next"]}, "next"))
    for made, content in zip(kept, contents, strict=True):
        assert await all_of(alone.read(await found(alone, made.binary_id))) == content
    with pytest.raises(Refused):
        await all_of(vault.read(await found(vault, kept[0].binary_id)))


async def test_a_wrapped_key_opens_no_other_content(vault: Vault) -> None:
    one = await vault.deposit("text/plain", some(b"a" * 50), "R0A")
    await vault.deposit("text/plain", some(b"b" * 50), "R0A")
    rows = await vault.blobs.many({})
    for row, other in zip(rows, reversed(rows), strict=True):
        await vault.blobs.update(
            {"_id": row["_id"]}, {"$set": {"key": other["key"], "data": other["data"]}}
        )
    with pytest.raises(Refused):
        await all_of(vault.read(await found(vault, one.binary_id)))


# -- what was stored before ------------------------------------------------------------------------
async def as_before(vault: Vault, content: bytes) -> str:
    """A document as it was stored before encryption and boundaries."""
    from hashlib import sha1, sha256

    digest, now = sha256(content).hexdigest(), datetime.now(UTC)
    if len(content) <= WHOLE:
        await vault.blobs.insert({"_id": digest, "size": len(content), "data": content})
    else:
        pieces = [content[at : at + CHUNK] for at in range(0, len(content), CHUNK)]
        await vault.chunks.insert_many(
            [{"_id": {"u": "old", "n": n}, "h": sha256(p).digest(), "data": p} for n, p in enumerate(pieces)]
        )  # fmt: skip
        await vault.blobs.insert(
            {"_id": digest, "size": len(content), "upload": "old", "n": len(pieces)}
        )
    await vault.deposits.insert(
        {
            "_id": f"old-{len(content)}", "digest": digest, "size": len(content), "sha1": sha1(content).digest(),
            "type": "text/plain", "state": "kept", "at": now,
        }
    )  # fmt: skip
    return f"old-{len(content)}"


@pytest.mark.parametrize("size", [0, 1000, WHOLE + 2 * CHUNK + 5])
async def test_what_was_stored_before_is_read_and_then_sealed(vault: Vault, size: int) -> None:
    content = os.urandom(size)
    id_ = await as_before(vault, content)
    vault = await Vault.opened(vault.mongo, RING)
    assert await all_of(vault.read(await found(vault, id_))) == content
    reading = vault.read(await found(vault, id_))
    begun = [await anext(reading, b"")]
    assert await seal_all(vault.contents) == (1, 0)
    assert await seal_all(vault.contents) == (0, 0)
    assert b"".join([*begun, *[p async for p in reading]]) == content, "who was reading reads on"
    assert await all_of(vault.read(await found(vault, id_))) == content
    assert await vault.blobs.count({"key.m": "test"}) == 1
    await sweep(vault, Shelf(), datetime.now(UTC), grace=timedelta(seconds=-1))
    assert await all_of(vault.read(await found(vault, id_))) == content
    assert await vault.chunks.count({}) == (0 if size <= WHOLE else 11)


async def test_a_damaged_document_of_before_is_counted_and_left_as_it_is(vault: Vault) -> None:
    await as_before(vault, b"right")
    await vault.blobs.update({}, {"$set": {"data": b"wrong"}})
    assert await seal_all(vault.contents) == (0, 1)
    assert await vault.blobs.count({"data": b"wrong"}) == 1
