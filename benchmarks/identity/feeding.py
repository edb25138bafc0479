"""Feed the population to a running exchange (ITI-104) and read the clusters back (ITI-83).

Like any source it knows the FHIR API only. Records are sent over several connections in their order of
arrival; the cluster of a record is the set of Patients that `$ihe-pix` tells for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
import orjson

from benchmarks.identity.measures import Outcome
from benchmarks.identity.recording import Record
from chassis.mongo import Mongo

GetToken = Callable[[], Awaitable[str]]
Tell = Callable[[str, int], None]
TOKEN_LIFE = 200  # seconds after which a new token is asked for; the server's own limit may be 300
RETRIES = 6
T = TypeVar("T")
JSON = {"Content-Type": "application/fhir+json", "Accept": "application/fhir+json"}


@dataclass(slots=True)
class Fed:
    """What feeding gave: the logical id of each record, and what was refused and why."""

    ids: dict[str, str] = field(default_factory=dict)
    refused: list[tuple[int, str]] = field(default_factory=list)
    seconds: float = 0.0


class Source:
    """A client with several connections and a token that is renewed before it expires."""

    def __init__(self, http: httpx.AsyncClient, token: GetToken) -> None:
        self._http, self._token = http, token
        self._until, self._bearer = 0.0, ""
        self._renewing = asyncio.Lock()

    async def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Send it again when the connection broke or the server is busy.

        Raises the client's error when it keeps failing.
        """
        for attempt in range(RETRIES):
            headers = {**JSON, "Authorization": f"Bearer {await self._current()}"}
            try:
                answer = await self._http.request(method, path, headers=headers, **more)
            except httpx.TransportError:
                if attempt == RETRIES - 1:
                    raise
            else:
                if answer.status_code == 401 and attempt < RETRIES - 1:
                    self._until = 0.0
                elif answer.status_code not in (429, 503) or attempt == RETRIES - 1:
                    return answer
            await asyncio.sleep(0.1 * 2**attempt)
        raise AssertionError("unreachable")

    async def _current(self) -> str:
        async with self._renewing:
            if time.monotonic() > self._until:
                self._bearer = await self._token()
                self._until = time.monotonic() + TOKEN_LIFE
        return self._bearer


@asynccontextmanager
async def source(fhir: str, token: GetToken, connections: int) -> AsyncIterator[Source]:
    """A source of the exchange whose FHIR base this is."""
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    async with httpx.AsyncClient(base_url=fhir, limits=limits, timeout=60) as http:
        yield Source(http, token)


async def link(
    feeder: Source, records: Sequence[Record], connections: int, tell: Tell
) -> tuple[Outcome, Fed]:
    """Feed all records, then ask for every record whom it belongs with; `tell` is told of each step.

    A refused record stands alone. Reviews are not part of these transactions: they are None.
    """
    fed = await feed(feeder, records, connections, tell)
    clusters = await read_back(feeder, fed, connections, tell)
    return Outcome(clusters, reviews=None, seconds=fed.seconds), fed


async def feed(feeder: Source, records: Sequence[Record], connections: int, tell: Tell) -> Fed:
    """ITI-104 for every record, in order of arrival as far as several connections keep it."""
    fed, started = Fed(), time.perf_counter()

    async def one(record: Record) -> None:
        asked = {"identifier": f"{record.system}|{_escaped(record.value)}"}
        body = orjson.dumps(record.patient)
        answer = await feeder.request("PUT", "/Patient", params=asked, content=body)
        if answer.status_code in (200, 201):
            fed.ids[record.key] = str(answer.json()["id"])
        else:
            fed.refused.append((answer.status_code, _why(answer)))
        tell("fed", 1)

    await _shared(iter(records), one, connections)
    fed.seconds = time.perf_counter() - started
    return fed


async def read_back(feeder: Source, fed: Fed, connections: int, tell: Tell) -> dict[str, str]:
    """ITI-83: record key to the least logical id of those that are told for it.

    A record that another's answer named is asked for too, so answers that disagree show as clusters that
    do. Raises `RuntimeError` when the exchange does not answer for a record that it took.
    """
    clusters: dict[str, str] = {}

    async def one(key: str) -> None:
        system, _, value = key.partition("|")
        asked = {"sourceIdentifier": f"{system}|{_escaped(value)}"}
        answer = await feeder.request("GET", "/Patient/$ihe-pix", params=asked)
        if answer.status_code != 200:
            words = f"$ihe-pix answered {answer.status_code}: {_why(answer)}"
            raise RuntimeError(words)
        told = [
            p["valueReference"]["reference"].rpartition("/")[2]
            for p in answer.json().get("parameter", ())
            if p["name"] == "targetId"
        ]
        clusters[key] = min([fed.ids[key], *told])
        tell("read back", 1)

    await _shared(iter(fed.ids), one, connections)
    return clusters


async def reviewed(uri: str, fed: Fed) -> set[str] | None:
    """The keys of the records that wait for a steward, or did; None when the exchange keeps no reviews.

    No transaction tells this to a source, so it is read where the exchange keeps it (decision 0010).
    """
    mongo = Mongo(uri, pool=2)
    try:
        database = mongo.client["pix"]
        if "reviews" not in await database.list_collection_names():
            return None
        keys = {record: key for key, record in fed.ids.items()}
        found: set[str] = set()
        async for review in database["reviews"].find({}, {"records": 1}):
            found |= {keys[r] for r in review.get("records", ()) if r in keys}
        return found
    finally:
        await mongo.close()


async def _shared(items: Iterator[T], one: Callable[[T], Awaitable[None]], width: int) -> None:
    """`one` for each item, `width` at a time; the first failure ends all."""

    async def worker() -> None:
        for item in items:
            await one(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(width):
            group.create_task(worker())


def _escaped(value: str) -> str:
    """FHIR R4 search.html#escaping."""
    for letter in "\\|,$":
        value = value.replace(letter, "\\" + letter)
    return value


def _why(answer: httpx.Response) -> str:
    """The words of a refusal, which hold no payload."""
    try:
        issues = answer.json().get("issue", ())
    except ValueError:
        return ""
    return "; ".join(str(i.get("diagnostics", "")) for i in issues)
