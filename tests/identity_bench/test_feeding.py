"""The population goes in by ITI-104 and its clusters come back by ITI-83."""

from __future__ import annotations

import httpx

from benchmarks.identity import feeding, measures
from benchmarks.identity.population import arrivals


async def test_a_whole_exchange_is_fed_and_its_clusters_are_read_back(exchange):
    crowd = arrivals(3, 120)
    await exchange.register("bench")

    async def token() -> str:
        return await exchange.token("bench")

    told = {"fed": 0, "read back": 0}

    def tell(step: str, more: int) -> None:
        told[step] += more

    transport = httpx.ASGITransport(exchange.app, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url=exchange.base) as http:
        outcome, fed = await feeding.link(feeding.Source(http, token), crowd, 4, tell)
    assert not fed.refused
    assert told == {"fed": 120, "read back": 120}
    assert set(outcome.clusters) == {r.key for r in crowd}
    found = measures.report("Throughline, http", crowd, outcome)
    assert found.all.precision > 0.9
    assert found.all.recall > 0.2
