"""`throughline conformance`: run the checks against this or any server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console

from conformance import report
from conformance.check import Result, Run
from conformance.runner import run_suite
from conformance.smart.suite import SUITES
from conformance.target import App, Target, TargetError, read
from conformance.visitor import ByHand, Lost, Visitor, Walker, arrival
from conformance.wire import Wire

app = typer.Typer(help="Run conformance checks against this or any server.", no_args_is_help=True)


@app.command(name="list")
def list_() -> None:
    """List the checks of every suite."""
    console = Console(highlight=False, soft_wrap=True)
    for name, groups in SUITES.items():
        for group in groups:
            console.print(f"[bold]{name}[/]  {group.id}: {group.title}")
            for check in group.checks:
                console.print(f"    {check.id:<16}{check.words}  [dim]{check.see}[/]")


@app.command()
def run(
    target: Annotated[Path, typer.Argument(help="TOML file that states the server and its clients")],
    suite: Annotated[str, typer.Option(help="smart or backend")] = "smart",
    by_hand: Annotated[bool, typer.Option(help="Print each request and wait for you")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Results with every exchange")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML")] = None,
) -> None:  # fmt: skip
    """Run a suite; exit code 0 when nothing failed, 1 when something did, 2 when the file is not right."""
    console = Console(highlight=False, soft_wrap=True)
    if suite not in SUITES:
        console.print(f"There is no suite {suite}; there are {', '.join(SUITES)}.", markup=False)
        raise typer.Exit(2)
    try:
        stated = read(target)
    except TargetError as fault:
        console.print(str(fault), markup=False)
        raise typer.Exit(2) from None
    results = asyncio.run(_run(stated, suite, by_hand, console))
    report.summary(results, console)
    if json_file:
        json_file.write_text(report.as_json(results), encoding="utf-8")
    if junit:
        junit.write_bytes(report.as_junit(results, suite))
    raise typer.Exit(0 if report.passed(results) else 1)


async def _run(target: Target, suite: str, by_hand: bool, console: Console) -> list[Result]:
    def say(words: str) -> None:
        console.print(words, markup=False)

    visitor: Visitor | None = None
    if by_hand:
        visitor = ByHand(say)
    elif target.walk.fields:
        visitor = Walker(target.walk)

    async def launcher(app: App) -> str:
        say(f"Launch {app.client_id} from the other system now: {app.launch_uri}")
        came = await arrival(app.launch_uri, 600)
        if came.get("iss", "").rstrip("/") != target.fhir or not came.get("launch"):
            raise Lost("The launch did not name this server in iss, or has no launch parameter.")
        return came["launch"]

    async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
        made = Run(target, Wire(http), visitor, launcher if by_hand else None)
        return await run_suite(made, SUITES[suite], lambda r: console.print(report.line(r)))
