"""`throughline keys`: what an operator does with the master keys, beside a running repository."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from chassis.mongo import Mongo
from chassis.settings import Settings
from exchange.exits import Exit, Trouble
from exchange.nearby import with_mongo
from exchange.progress import progress
from repository.contents import Contents
from repository.custody import master_keys, ring_path
from repository.keys import FileRing, KeyTroubleError, ring_made
from repository.rotation import rewrap, seal_all
from standards.outcome import Refused

T = TypeVar("T")


def new(settings: Settings, console: Console) -> None:
    """Make a key ring. Raises `Trouble` when there is one."""
    path = ring_path(settings)
    if not ring_made(path):
        raise Trouble(Exit.USAGE, f"{path} is there already; `throughline keys rotate` adds a key.")
    console.print(f"{path} holds one new master key. Copy it to a safe place, apart from backups.")


def rotate(settings: Settings, console: Console, *, only_wrap: bool) -> None:
    """Add a master key to the ring, unless told not to, and wrap every data key under the current one."""

    async def story(contents: Contents) -> tuple[int, str]:
        if not only_wrap and isinstance(contents.masters, FileRing):
            contents.masters.add()
        with progress(console) as bars:
            bar = bars.add_task("Data keys", total=None)
            done = await rewrap(contents, lambda n, of: bars.update(bar, completed=n, total=of))
        return done, await contents.masters.current()

    done, current = _with_contents(settings, story)
    console.print(f"{done} data keys were wrapped anew; the current master key is {current}.")


def encrypt(settings: Settings, console: Console) -> Exit:
    """Seal what was stored before encryption; FAILED when something is damaged and was left."""

    async def story(contents: Contents) -> tuple[int, int]:
        with progress(console) as bars:
            bar = bars.add_task("Contents", total=None)
            return await seal_all(contents, lambda n, of: bars.update(bar, completed=n, total=of))

    done, damaged = _with_contents(settings, story)
    console.print(f"{done} contents were sealed.")
    if damaged:
        console.print(f"{damaged} contents are damaged and stay as they are.")
    return Exit.FAILED if damaged else Exit.OK


def retire(settings: Settings, name: str, console: Console) -> None:
    """Take an old master key out of the ring. Raises `Trouble` while a document still needs it."""
    left = _with_contents(settings, _counts).get(name, 0)
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
    counts = _with_contents(settings, _counts)
    table = Table("Master key", "Contents")
    for name, count in sorted(counts.items()):
        table.add_row(name or "none: stored before encryption", str(count))
    console.print(table)


async def _counts(contents: Contents) -> dict[str, int]:
    async with contents.mongo.gate:
        names = await contents.blobs.raw.distinct("key.m")
    counts = {m: await contents.blobs.count({"key.m": m}) for m in names if m}
    plain = await contents.blobs.count({"key.m": None})
    return counts | ({"": plain} if plain else {})


def _with_contents(settings: Settings, story: Callable[[Contents], Awaitable[T]]) -> T:
    async def run(mongo: Mongo) -> T:
        async with master_keys(settings, mongo) as masters:
            return await story(await Contents.opened(mongo, masters))

    try:
        return with_mongo(settings, run, pool=4)
    except KeyTroubleError as fault:
        raise Trouble(Exit.USAGE, str(fault)) from fault
    except Refused as refusal:
        raise Trouble(Exit.REFUSED, refusal.issues[0].words) from refusal
