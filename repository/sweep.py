"""The sweep: what a crash or a refusal left in the vault goes away, and nothing else does.

Runs when the service opens and then periodically, in every process; several at once do no harm.
Only deposits that are pending for longer than the grace, or released, are looked at, so that a sweep
costs what there is to sweep and not what there is to keep.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta

from chassis import telemetry
from chassis.background import repeating
from chassis.mongo import Doc
from repository.neighbours import Registry
from repository.vault import Vault

GRACE = timedelta(hours=1)  # far longer than any submission takes from its bytes to its commit
EVERY = timedelta(minutes=10)
SOON = timedelta(seconds=15)
AGAIN = 30.0  # seconds after a turn that failed
BATCH = 500


@asynccontextmanager
async def finishing(
    vault: Vault, registry: Registry, works: Mapping[str, Callable[[], Awaitable[int]]]
) -> AsyncIterator[None]:
    """Sweep, and do these `works`, now and again for as long as the block runs: disposals that a process
    left or that a neighbour was away for, documents that are to be scanned.

    Whatever a turn fails of, what is to be done keeps until the next, which is not long in coming.
    """

    async def once() -> None:
        gone = await sweep(vault, registry, datetime.now(UTC))
        if gone:
            telemetry.log(telemetry.SWEPT, service="repository", count=gone)

    async with AsyncExitStack() as stack:
        for name, work, every in (
            ("repository sweep", once, EVERY.total_seconds()),
            *((name, work, SOON.total_seconds()) for name, work in works.items()),
        ):
            turns = repeating(name, work, every, again=min(AGAIN, every), besides=(Exception,))
            await stack.enter_async_context(turns)
        yield


async def sweep(
    vault: Vault, registry: Registry, now: datetime, *, grace: timedelta = GRACE
) -> int:
    """One sweep; how many deposits went. Raises what MongoDB or the registry raise."""
    due = now - grace
    await _settle_pending(vault, registry, due)
    gone = await _remove_released(vault, now, due)
    for upload in await vault.uploads.many({"$or": [{"dead": True}, {"at": {"$lt": due}}]}):
        await _give_up(vault, upload, due)
    return gone


async def _settle_pending(vault: Vault, registry: Registry, due: datetime) -> None:
    """Pending for longer than the grace: kept if a document refers to it, else released. (The
    registry says `keep` after its commit; a crash in between is made good here.)"""
    after = ""
    while True:
        where = {"due": {"$lt": due}, "state": "pending", "_id": {"$gt": after}}
        batch = [
            d["_id"]
            for d in await vault.deposits.many(where, {"_id": 1}, sort=[("_id", 1)], limit=BATCH)
        ]
        if not batch:
            return
        referenced = await registry.referenced(batch)
        if referenced:
            await vault.deposits.update(
                {"_id": {"$in": sorted(referenced)}, "state": "pending"},
                {"$set": {"state": "kept"}, "$unset": {"due": ""}},
                many=True,
            )
        await vault.release([i for i in batch if i not in referenced])
        after = batch[-1]


async def _remove_released(vault: Vault, now: datetime, due: datetime) -> int:
    gone = 0
    after = ""
    while True:
        where = {"due": {"$exists": True}, "state": "released", "_id": {"$gt": after}}
        batch = await vault.deposits.many(
            where, {"blob": 1, "digest": 1}, sort=[("_id", 1)], limit=BATCH
        )
        if not batch:
            return gone
        for deposit in batch:
            await vault.remove(deposit.get("blob") or deposit["digest"], now, due)
            gone += await vault.deposits.delete({"_id": deposit["_id"], "state": "released"})
        after = batch[-1]["_id"]


async def _give_up(vault: Vault, upload: Doc, due: datetime) -> None:
    """Chunks that no blob vouches for: the upload stopped, or its blob was swept."""
    if upload["dead"] or await vault.uploads.update(
        {"_id": upload["_id"], "at": {"$lt": due}}, {"$set": {"dead": True}}
    ):
        await vault.contents.discard(upload["_id"])
