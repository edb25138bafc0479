"""`throughline conformance`: run the checks against this or any server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Run conformance checks against this or any server.", no_args_is_help=True)


@app.command(name="list")
def list_() -> None:
    """List the checks of every suite."""
    from conformance import command

    command.list_()


@app.command()
def run(
    target: Annotated[Path, typer.Argument(help="TOML file that states the server and its clients")],
    suite: Annotated[str, typer.Option(help="smart or backend")] = "smart",
    by_hand: Annotated[bool, typer.Option(help="Print each request and wait for you")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Results with every exchange")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML")] = None,
) -> None:  # fmt: skip
    """Run a suite; exit code 0 when nothing failed, 1 when something did, 2 when the file is not right."""
    from conformance import command

    raise typer.Exit(command.run(target, suite, by_hand=by_hand, json_file=json_file, junit=junit))
