"""`throughline people`: what an operator does with the register of people, through pix's own store."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from affinity.pack import PackError, load
from chassis.mongo import Mongo
from chassis.settings import Settings
from exchange.exits import Exit, Trouble
from exchange.nearby import with_mongo
from exchange.progress import progress
from pix import rebuild as pix_rebuild
from pix.app import prepared
from pix.model import ModelError
from pix.rebuild import Rebuilt
from standards.outcome import Refused


def rebuild(settings: Settings, console: Console) -> Exit:
    """Derive everything about people anew and say what was not as it should be.

    Raises `Trouble` when the pack or the model cannot be read or when records were fed meanwhile.
    """
    made = with_mongo(settings, lambda mongo: _rebuild(settings, mongo, console), pool=4)
    _show(made, console)
    return Exit.OK


async def _rebuild(settings: Settings, mongo: Mongo, console: Console) -> Rebuilt:
    try:
        people = await prepared(settings, mongo, load(settings.affinity))
        with progress(console) as bars:
            tasks = {step: bars.add_task(step, total=None) for step in pix_rebuild.STEPS}

            def told(step: str, done: int, total: int) -> None:
                bars.update(tasks[step], completed=done, total=total)

            return await pix_rebuild.rebuild(people, datetime.now(UTC), told)
    except PackError as fault:
        raise Trouble(Exit.USAGE, f"--affinity: {fault}") from fault
    except ModelError as fault:
        raise Trouble(Exit.USAGE, f"--matching-model: {fault}") from fault
    except Refused as refusal:
        raise Trouble(Exit.REFUSED, refusal.issues[0].words) from refusal


def _show(made: Rebuilt, console: Console) -> None:
    table = Table("Collection", "Documents", "Were not as they should be")
    for name, differed in made.differed.items():
        table.add_row(name, f"{made.total.get(name, '')}", f"{differed}")
    console.print(table)
    words = "Everything was as it should be." if not made.changed else "It is mended."
    console.print(words)
