"""`throughline keys`: what an operator does with the master keys, beside a running repository."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from chassis.mongo import Mongo
from chassis.settings import Settings
from exchange.clients import near_database
from exchange.exits import Exit, Trouble
from repository.contents import Contents
from repository.custody import master_keys, ring_path
from repository.keys import FileRing, KeyTroubleError, ring_made
from repository.rotation import rewrap, seal_all
from standards.outcome import Refused


def new(settings: Settings, console: Console) -> None:
    """Make a key ring. Raises `Trouble` when there is one."""
    path = ring_path(settings)
    if not ring_made(path):
        raise Trouble(Exit.USAGE, f"{path} is there already; `throughline keys rotate` adds a key.")
    console.print(f"{path} holds one new master key. Copy it to a safe place, apart from backups.")


def rotate(settings: Settings, console: Console, *, only_wrap: bool) -> None:
    """Add a master key to the ring, unless told not to, and wrap every data key under the current one."""
    with near_database(settings) as (uri, prefix), _progress(console) as progress:
        done, current = asyncio.run(_rotate(settings, uri, prefix, progress, only_wrap=only_wrap))
    console.print(f"{done} data keys were wrapped anew; the current master key is {current}.")


async def _rotate(
    settings: Settings, uri: str, prefix: str, progress: Progress, *, only_wrap: bool
) -> tuple[int, str]:
    bar = progress.add_task("Data keys", total=None)
    async with _contents(settings, uri, prefix) as contents:
        if not only_wrap and isinstance(contents.masters, FileRing):
            contents.masters.add()
        done = await rewrap(contents, lambda n, of: progress.update(bar, completed=n, total=of))
        return done, await contents.masters.current()


def encrypt(settings: Settings, console: Console) -> Exit:
    """Seal what was stored before encryption; FAILED when something is damaged and was left."""
    with near_database(settings) as (uri, prefix), _progress(console) as progress:
        done, damaged = asyncio.run(_encrypt(settings, uri, prefix, progress))
    console.print(f"{done} contents were sealed.")
    if damaged:
        console.print(f"{damaged} contents are damaged and stay as they are.")
    return Exit.FAILED if damaged else Exit.OK


async def _encrypt(
    settings: Settings, uri: str, prefix: str, progress: Progress
) -> tuple[int, int]:
    bar = progress.add_task("Contents", total=None)
    async with _contents(settings, uri, prefix) as contents:
        return await seal_all(contents, lambda n, of: progress.update(bar, completed=n, total=of))


def retire(settings: Settings, name: str, console: Console) -> None:
    """Take an old master key out of the ring. Raises `Trouble` while a document still needs it."""
    with near_database(settings) as (uri, prefix):
        left = asyncio.run(_counts(settings, uri, prefix)).get(name, 0)
    if left:
        raise Trouble(
            Exit.REFUSED, f"{left} contents are still wrapped under {name}; rotate first."
        )
    try:
        FileRing(ring_path(settings)).retire(name)
    except KeyTroubleError as fault:
        raise Trouble(Exit.USAGE, str(fault)) from fault
    console.print(
        f"{name} is gone from the ring. Once its copies are destroyed too, nothing that was destroyed"
        " before the rotation can be read from any backup."
    )


def show(settings: Settings, console: Console) -> None:
    """How many contents are wrapped under which master key."""
    with near_database(settings) as (uri, prefix):
        counts = asyncio.run(_counts(settings, uri, prefix))
    table = Table("Master key", "Contents")
    for name, count in sorted(counts.items()):
        table.add_row(name or "none: stored before encryption", str(count))
    console.print(table)


async def _counts(settings: Settings, uri: str, prefix: str) -> dict[str, int]:
    async with _contents(settings, uri, prefix) as contents:
        async with contents.mongo.gate:
            names = await contents.blobs.raw.distinct("key.m")
        counts = {m: await contents.blobs.count({"key.m": m}) for m in names if m}
        plain = await contents.blobs.count({"key.m": None})
        return counts | ({"": plain} if plain else {})


@asynccontextmanager
async def _contents(settings: Settings, uri: str, prefix: str) -> AsyncIterator[Contents]:
    mongo = Mongo(uri, pool=4, prefix=prefix)
    try:
        async with master_keys(settings, mongo) as masters:
            yield await Contents.opened(mongo, masters)
    except KeyTroubleError as fault:
        raise Trouble(Exit.USAGE, str(fault)) from fault
    except Refused as refusal:
        raise Trouble(Exit.REFUSED, refusal.issues[0].words) from refusal
    finally:
        await mongo.close()


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description:12}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), console=console)
