"""Bytes are held once, whole, and for as long as a document needs them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
import pytest_asyncio

from chassis.mongo import Mongo
from repository.neighbours import Cited
from repository.sweep import sweep
from repository.vault import CHUNK, WHOLE, Held, Vault
from standards.outcome import BYTES_DIFFER, EXCEPTION, Refused
from tests.repository.shelf import RING, Shelf, all_of, some

NO_GRACE = timedelta(seconds=-1)


@pytest_asyncio.fixture
async def vault(mongo: Mongo) -> AsyncIterator[Vault]:
    opened = await Vault.opened(mongo, RING)
    for table in (opened.deposits, opened.blobs, opened.chunks, opened.uploads):
        await table.delete({}, many=True)
    yield opened


async def counts(vault: Vault) -> tuple[int, int, int, int]:
    tables = (vault.deposits, vault.blobs, vault.chunks, vault.uploads)
    return tuple([await table.count({}) for table in tables])  # type: ignore[return-value]


async def found(vault: Vault, binary_id: str) -> Held:
    held = await vault.find(binary_id)
    assert held is not None
    return held


@pytest.mark.parametrize("size", [0, 1, 10_000, CHUNK, WHOLE, WHOLE + 1, WHOLE + 2 * CHUNK])
async def test_what_is_deposited_is_what_is_read(vault: Vault, size: int) -> None:
    content = os.urandom(size)
    kept = await vault.deposit("application/pdf", some(content))
    held = await found(vault, kept.binary_id)
    assert (held.size, held.content_type, held.digest) == (
        size,
        "application/pdf",
        sha256(content).hexdigest(),
    )
    assert await all_of(vault.read(held)) == content
    for start, stop in (
        (0, 1),
        (size // 2, size),
        (size - 1, size),
        (CHUNK - 1, CHUNK + 1),
        (3, size - 3),
    ):
        if 0 <= start < stop <= size:
            assert await all_of(vault.read(held, start, stop)) == content[start:stop]


@pytest.mark.parametrize("size", [5000, 2 * CHUNK, WHOLE + 5])
async def test_the_same_bytes_are_stored_once_under_ids_of_their_own(
    vault: Vault, size: int
) -> None:
    content = os.urandom(size)
    made = await asyncio.gather(*(vault.deposit("text/plain", some(content)) for _ in range(4)))
    assert len({kept.binary_id for kept in made}) == 4
    deposits, blobs, chunks, uploads = await counts(vault)
    assert (deposits, blobs, uploads) == (4, 1, 0)
    assert chunks == (0 if size <= WHOLE else -(-size // CHUNK))
    for kept in made:
        assert await all_of(vault.read(await found(vault, kept.binary_id))) == content


@pytest.mark.parametrize("size", [100, WHOLE + 1])
@pytest.mark.parametrize("there", [False, True])
async def test_bytes_that_are_not_what_they_claim_are_refused(
    vault: Vault, size: int, there: bool
) -> None:
    content = os.urandom(size)
    if there:
        await vault.deposit("text/plain", some(content))
    for lie in ({"sha1": b"x" * 20}, {"sha256": sha256(b"other").digest()}, {"size": size - 1}):
        if there and "sha256" in lie:
            continue
        false = some(content)
        for name, value in lie.items():
            setattr(false, name, value)
        with pytest.raises(Refused) as refusal:
            await vault.deposit("text/plain", false)
        assert refusal.value.issues[0].kind is BYTES_DIFFER
    await sweep(vault, Shelf(), datetime.now(UTC), grace=timedelta(hours=1))
    assert (await counts(vault))[1] == int(there)


async def test_damaged_bytes_are_not_given_out(vault: Vault) -> None:
    small = await vault.deposit("text/plain", some(b"right"))
    large = await vault.deposit("text/plain", some(os.urandom(WHOLE + CHUNK)))
    await vault.blobs.update({"size": 5}, {"$set": {"data": b"wrong" + bytes(16)}})
    await vault.chunks.update({"_id.n": 1}, {"$set": {"data": b"wrong"}})
    for kept in (small, large):
        with pytest.raises(Refused) as refusal:
            await all_of(vault.read(await found(vault, kept.binary_id)))
        assert refusal.value.issues[0].kind is EXCEPTION
    await vault.blobs.delete({}, many=True)
    with pytest.raises(Refused):
        await vault.begun(await found(vault, small.binary_id))


# -- the sweep -------------------------------------------------------------------------------------
@pytest.mark.parametrize("size", [100, WHOLE + CHUNK])
async def test_what_no_document_refers_to_goes_and_what_one_does_stays(
    vault: Vault, size: int
) -> None:
    shelf, shared = Shelf(), os.urandom(size)
    made = [await vault.deposit("text/plain", some(c)) for c in (shared, shared, os.urandom(size))]
    shelf.documents[made[0].binary_id] = Cited("d1", "Patient/1")
    assert await sweep(vault, shelf, datetime.now(UTC), grace=timedelta(hours=1)) == 0
    assert shelf.asked == []
    assert await sweep(vault, shelf, datetime.now(UTC), grace=NO_GRACE) == 2
    deposits, blobs, chunks, uploads = await counts(vault)
    assert (deposits, blobs, uploads) == (1, 1, 0)
    assert chunks == (0 if size <= WHOLE else 9)
    held = await found(vault, made[0].binary_id)
    assert not held.pending
    assert await all_of(vault.read(held)) == shared


async def test_a_kept_document_is_not_asked_about_again(vault: Vault) -> None:
    shelf = Shelf()
    kept = await vault.deposit("text/plain", some(b"kept"))
    await vault.keep({kept.binary_id: "d1"})
    await vault.release([kept.binary_id])
    await sweep(vault, shelf, datetime.now(UTC), grace=NO_GRACE)
    assert shelf.asked == []
    assert await all_of(vault.read(await found(vault, kept.binary_id))) == b"kept"


async def test_a_released_document_is_gone_at_once_and_its_bytes_with_the_next_sweep(
    vault: Vault,
) -> None:
    kept = await vault.deposit("text/plain", some(b"refused"))
    await vault.release([kept.binary_id])
    assert await vault.find(kept.binary_id) is None
    assert await sweep(vault, Shelf(), datetime.now(UTC)) == 1
    assert await counts(vault) == (0, 0, 0, 0)


class StoppedError(Exception):
    """The process ends here."""


class Interrupted:
    """Content whose source breaks off, as when the process is killed while bytes arrive."""

    def __init__(self, content: bytes, after: int) -> None:
        whole = some(content)
        self.size, self.sha1, self.sha256 = whole.size, whole.sha1, whole.sha256
        self._content, self._after = content, after

    async def open(self) -> AsyncIterator[bytes]:
        yield self._content[: self._after]
        raise StoppedError


@pytest.mark.parametrize("size", [100, WHOLE + CHUNK])
async def test_after_a_crash_while_storing_the_retry_succeeds_and_no_orphan_stays(
    vault: Vault, size: int
) -> None:
    content, shelf = os.urandom(size), Shelf()
    with pytest.raises(StoppedError):
        await vault.deposit("text/plain", Interrupted(content, size - 1))
    kept = await vault.deposit("text/plain", some(content))
    shelf.documents[kept.binary_id] = Cited("d1", "Patient/1")
    await sweep(vault, shelf, datetime.now(UTC), grace=NO_GRACE)
    deposits, blobs, chunks, uploads = await counts(vault)
    assert (deposits, blobs, uploads) == (1, 1, 0)
    assert chunks == (0 if size <= WHOLE else 9)
    assert await all_of(vault.read(await found(vault, kept.binary_id))) == content


async def test_a_crash_between_bytes_and_metadata_leaves_nothing_after_the_sweep(
    vault: Vault,
) -> None:
    for size in (100, WHOLE + CHUNK):
        await vault.deposit("text/plain", some(os.urandom(size)))
    assert await sweep(vault, Shelf(), datetime.now(UTC), grace=NO_GRACE) == 2
    assert await counts(vault) == (0, 0, 0, 0)


async def test_a_sweep_that_died_between_its_mark_and_its_look_is_finished_by_the_next(
    vault: Vault,
) -> None:
    kept = await vault.deposit("text/plain", some(b"x"))
    await vault.release([kept.binary_id])
    long_ago = datetime.now(UTC) - timedelta(hours=5)
    await vault.blobs.update({}, {"$set": {"dying": long_ago}})
    assert await sweep(vault, Shelf(), datetime.now(UTC)) == 1
    assert await counts(vault) == (0, 0, 0, 0)


async def test_a_deposit_revives_bytes_that_a_sweep_has_marked(vault: Vault) -> None:
    first = await vault.deposit("text/plain", some(b"wanted again"))
    await vault.release([first.binary_id])
    await vault.blobs.update({}, {"$set": {"dying": datetime.now(UTC)}})
    again = await vault.deposit("text/plain", some(b"wanted again"))
    await sweep(vault, Shelf(), datetime.now(UTC))
    assert await all_of(vault.read(await found(vault, again.binary_id))) == b"wanted again"


@pytest.mark.parametrize(("size", "rounds"), [(1000, 25), (WHOLE + 1, 2)])
async def test_deposits_that_race_with_sweeps_never_lose_their_bytes(
    vault: Vault, size: int, rounds: int
) -> None:
    """Depositors of one content come and go while sweepers without any patience run all the time."""
    content, shelf = os.urandom(size), Shelf()
    ending = asyncio.Event()

    async def sweeper() -> None:
        while not ending.is_set():
            await sweep(vault, shelf, datetime.now(UTC), grace=timedelta(hours=1))
            await asyncio.sleep(0)

    async def depositor() -> None:
        for turn in range(rounds):
            kept = await vault.deposit("text/plain", some(content))
            if turn % 2:
                await vault.keep({kept.binary_id: "d1"})
            assert await all_of(vault.read(await found(vault, kept.binary_id))) == content
            await vault.deposits.update(
                {"_id": kept.binary_id}, {"$set": {"state": "released", "due": kept_at}}
            )

    kept_at = datetime.now(UTC)
    sweepers = [asyncio.create_task(sweeper()) for _ in range(2)]
    try:
        await asyncio.gather(*(depositor() for _ in range(3)))
    finally:
        ending.set()
        await asyncio.gather(*sweepers)
    while (await counts(vault))[0]:
        await sweep(vault, shelf, datetime.now(UTC), grace=NO_GRACE)
    await sweep(vault, shelf, datetime.now(UTC), grace=NO_GRACE)
    assert (await counts(vault))[1:] == (0, 0, 0)


async def test_an_upload_given_up_by_the_sweep_does_not_become_a_blob(vault: Vault) -> None:
    content = os.urandom(WHOLE + CHUNK)

    class Slow(Interrupted):
        async def open(self) -> AsyncIterator[bytes]:
            yield self._content[:-1]
            await sweep(vault, Shelf(), datetime.now(UTC), grace=NO_GRACE)
            yield self._content[-1:]

    with pytest.raises(Refused, match="busy"):
        await vault.deposit("text/plain", Slow(content, 0))
    await sweep(vault, Shelf(), datetime.now(UTC), grace=NO_GRACE)
    assert await counts(vault) == (0, 0, 0, 0)


async def test_the_sweep_asks_for_little_at_a_time_and_uses_its_index(vault: Vault) -> None:
    plan: Any = await vault.mongo.client[vault.mongo.prefix + "repository"].command(
        "explain",
        {"find": "deposits", "filter": {"due": {"$lt": datetime.now(UTC)}, "state": "pending"}},
    )
    assert "due_1" in str(plan["queryPlanner"]["winningPlan"])
