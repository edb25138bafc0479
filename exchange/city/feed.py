"""Feed the city to a running exchange through its public FHIR API, many requests at a time.

Nothing here knows how the exchange is built: it is a client like any other (fhirpy), with a token from
the token endpoint, that PUTs Patients (ITI-104) and POSTs transaction Bundles (ITI-65).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import aiohttp
from fhirpy import AsyncFHIRClient

from affinity.pack import Pack
from exchange.city.documents import papers_of
from exchange.city.people import Person, people
from exchange.city.records import records

GetToken = Callable[[], Awaitable[str]]
TOKEN_LIFE = 200  # seconds after which a new token is asked for; the server's own limit is 300
RETRIES = 5


@dataclass(slots=True)
class Fed:
    """How far the feed is: people, records and documents so far."""

    people: int = 0
    records: int = 0
    documents: int = 0


Tell = Callable[[Fed], None]


async def feed(
    fhir: str,
    token: GetToken,
    pack: Pack,
    *,
    count: int,
    seed: int = 1,
    parallel: int = 16,
    tell: Tell,
) -> Fed:
    """Publish the first `count` people of the city made from `seed`; `tell` is called as it goes.

    Feeding the same city again changes nothing: records are revised to what they are and submissions
    are recognised. Raises the client's error for the first request that keeps failing.
    """
    fed = Fed()
    # Identity encoding spares both sides of a loopback the compression.
    client = AsyncFHIRClient(fhir, extra_headers={"Accept-Encoding": "identity"})
    bearer = _Bearer(client, token)
    crowd = people(count, seed)
    waiting: set[asyncio.Task[None]] = set()
    while batch := list(islice(crowd, parallel)):
        waiting |= {asyncio.create_task(_one(bearer, p, pack, seed, fed, tell)) for p in batch}
        while len(waiting) > parallel:
            waiting = await _settled(waiting)
    while waiting:
        waiting = await _settled(waiting)
    return fed


async def _settled(waiting: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
    done, rest = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
    return rest


async def _one(
    bearer: _Bearer, person: Person, pack: Pack, seed: int, fed: Fed, tell: Tell
) -> None:
    held = {record.agency: record for record in records(person, pack, seed)}
    given: dict[str, str] = {}
    for agency, record in held.items():
        made = await bearer.execute(
            "Patient", "put", record.patient, {"identifier": f"{record.system}|{record.value}"}
        )
        given[agency] = f"Patient/{made['id']}"
        fed.records += 1
        tell(fed)
    for paper in papers_of(person, held, given, pack, seed):
        await bearer.execute("", "post", paper.bundle)
        fed.documents += 1
        tell(fed)
    fed.people += 1
    tell(fed)


class _Bearer:
    """The client with a token that is renewed before it expires."""

    def __init__(self, client: AsyncFHIRClient, token: GetToken) -> None:
        self._client, self._token, self._until = client, token, 0.0
        self._renewing = asyncio.Lock()

    async def execute(
        self, path: str, method: str, data: dict[str, Any], params: dict[str, str] | None = None
    ) -> dict[str, Any]:
        async with self._renewing:
            if time.monotonic() > self._until:
                self._client.authorization = f"Bearer {await self._token()}"
                self._until = time.monotonic() + TOKEN_LIFE
        for attempt in range(RETRIES):
            try:
                made: dict[str, Any] = await self._client.execute(
                    path, method=method, data=data, params=params
                )
            except aiohttp.ClientConnectionError:
                if attempt == RETRIES - 1:
                    raise
                await asyncio.sleep(0.2 * 2**attempt)
            else:
                return made
        raise AssertionError("unreachable")
