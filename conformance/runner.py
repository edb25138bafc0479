"""Runs a suite: each check in its order, its verdict, its words and what was said on the wire."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence

import httpx

from conformance.check import Check, Failed, Group, Result, Run, Skipped, Verdict
from conformance.visitor import Lost


async def run_suite(
    run: Run, groups: Sequence[Group], told: Callable[[Result], None] = lambda _: None
) -> list[Result]:
    """Every result, told one by one as they come. Nothing a server does ends the run."""
    results = []
    for group in groups:
        for check in group.checks:
            results.append(await _one(run, group, check))
            told(results[-1])
    return results


async def _one(run: Run, group: Group, check: Check) -> Result:
    began = time.perf_counter()
    run.warnings.clear()
    run.wire.heard.clear()
    verdict, words = Verdict.PASS, ""
    try:
        await check.run(run)
    except Skipped as why:
        verdict, words = Verdict.SKIP, str(why)
    except (Failed, Lost) as why:
        verdict, words = Verdict.FAIL, str(why)
    except httpx.HTTPError as fault:
        verdict, words = Verdict.FAIL, f"the server does not answer: {type(fault).__name__} {fault}"
    except Exception:
        verdict, words = Verdict.FAULT, traceback.format_exc(limit=-3)
    if verdict is Verdict.FAIL and check.optional:
        verdict = Verdict.WARN
    if verdict is Verdict.PASS and run.warnings:
        verdict = Verdict.WARN
    return Result(
        group=group.id,
        check=check.id,
        title=check.words,
        see=check.see,
        verdict=verdict,
        words=(*((words,) if words else ()), *run.warnings),
        exchanges=tuple(run.wire.heard),
        seconds=time.perf_counter() - began,
    )
