"""What `throughline conformance` does: list the checks, and run them against a stated server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
from rich.console import Console

from conformance import report
from conformance.check import Result, Run
from conformance.runner import run_suite
from conformance.smart.suite import SUITES
from conformance.target import App, Target, TargetError, read
from conformance.visitor import ByHand, Lost, Visitor, Walker, arrival
from conformance.wire import Wire

PASSED, FAILED, USAGE = 0, 1, 2


def list_() -> None:
    """Print the checks of every suite."""
    console = Console(highlight=False, soft_wrap=True)
    for name, groups in SUITES.items():
        for group in groups:
            console.print(f"[bold]{name}[/]  {group.id}: {group.title}")
            for check in group.checks:
                console.print(f"    {check.id:<16}{check.words}  [dim]{check.see}[/]")


def run(
    target: Path, suite: str, *, by_hand: bool, json_file: Path | None, junit: Path | None
) -> int:
    """Run a suite and say what it came to: `PASSED`, `FAILED`, or `USAGE` when the file is not right."""
    console = Console(highlight=False, soft_wrap=True)
    if suite not in SUITES:
        console.print(f"There is no suite {suite}; there are {', '.join(SUITES)}.", markup=False)
        return USAGE
    try:
        stated = read(target)
    except TargetError as fault:
        console.print(str(fault), markup=False)
        return USAGE
    results = asyncio.run(_run(stated, suite, by_hand, console))
    report.summary(results, console)
    if json_file:
        json_file.write_text(report.as_json(results), encoding="utf-8")
    if junit:
        junit.write_bytes(report.as_junit(results, suite))
    return PASSED if report.passed(results) else FAILED


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
