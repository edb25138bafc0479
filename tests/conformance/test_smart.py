"""The SMART App Launch 2.2 suite against the running exchange."""

from __future__ import annotations

import httpx

from conformance.check import Result, Run, Verdict
from conformance.runner import run_suite
from conformance.smart.backend import GROUP as BACKEND
from conformance.smart.discovery import GROUP as DISCOVERY
from conformance.target import Backend, Target
from conformance.wire import Wire
from tests.running import Exchange


def failures(results: list[Result]) -> list[str]:
    """What did not pass, in words."""
    bad = (Verdict.FAIL, Verdict.FAULT)
    return [f"{r.group}/{r.check}: {'; '.join(r.words)}" for r in results if r.verdict in bad]


async def test_backend_services_pass_every_check(exchange: Exchange) -> None:
    scope = "system/DocumentReference.rs"
    await exchange.register("conformance-backend", scope)
    key = exchange.keys["conformance-backend"].as_dict(private=True)
    target = Target(exchange.base, backend=Backend("conformance-backend", key, scope))
    transport = httpx.ASGITransport(exchange.app)
    async with httpx.AsyncClient(transport=transport) as http:
        results = await run_suite(Run(target, Wire(http), None), (DISCOVERY, BACKEND))
    assert [r for r in results if r.group == "backend" and r.verdict is Verdict.SKIP] == []
    assert failures(results) == []
