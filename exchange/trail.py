"""`throughline audit verify`: is the audit trail what was written? For those who must vouch for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from audit.chain import Head
from audit.events import Events
from audit.verify import Report, heads_in_log, verify
from chassis.mongo import Mongo
from chassis.settings import Settings
from exchange import whereabouts
from exchange.exits import EXITS, Exit, Trouble
from exchange.nearby import with_mongo
from exchange.options import with_settings

trail = typer.Typer(help="Vouch for the audit trail.", no_args_is_help=True)


@trail.callback()
def _trail() -> None:
    """Keep `verify` a command of its own, however few there are."""


@trail.command("verify", epilog=EXITS)
@with_settings("data", "mongodb", "database_prefix", "public_url")
def verify_(
    settings: Settings,
    log: Annotated[
        list[Path] | None,
        typer.Option(help="A log that was kept elsewhere, whose THL013 lines must fit; repeatable"),
    ] = None,
) -> None:
    """Walk every chain of the audit trail and name what was changed, slipped in or taken away.

    It reads only, beside a working exchange. That the newest records are gone, or that everything was
    made anew, only a log that was kept elsewhere can show: give it with --log. Exit code 1 when
    something is wrong.
    """
    report = made(settings, tuple(log or ()))
    show(report, Console())
    raise typer.Exit(Exit.OK if report.sound else Exit.FAILED)


def made(settings: Settings, logs: tuple[Path, ...]) -> Report:
    """What the check finds. Raises `Trouble` when a log cannot be read."""
    heads = [head for file in logs for head in _heads(file)]
    running = whereabouts.read(settings.data)
    near = running is not None and not settings.mongodb.get_secret_value()
    base = running.fhir if running is not None and near else settings.fhir_base

    async def story(mongo: Mongo) -> Report:
        return await verify(Events(mongo, base), heads=heads)

    return with_mongo(settings, story, pool=4)


def show(report: Report, console: Console) -> None:
    """The report in words, each break with its place."""
    if report.sound:
        console.print(
            f"The audit trail is sound: {report.records} records in {report.chains} chains."
        )
        return
    table = Table("Chain", "Place", "What", "Why", "Event")
    for found in report.breaks:
        table.add_row(found.chain, str(found.seq), found.kind, found.words, found.event_id)
    console.print(table)
    console.print(f"{len(report.breaks)} places are not as they were written.")


def _heads(file: Path) -> list[Head]:
    try:
        with file.open(encoding="utf-8", errors="replace") as lines:
            return list(heads_in_log(lines))
    except OSError as fault:
        raise Trouble(Exit.USAGE, f"--log {file} cannot be read: {fault.strerror}.") from fault
