"""A publishing storm, and the three questions to ask after a fault: is every acknowledged submission
whole, is none half there, and does every acknowledged request have its AuditEvent?"""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from base64 import b64decode
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from affinity.pack import load
from chassis.mongo import Mongo
from exchange.city.documents import papers_of
from exchange.city.people import people
from exchange.city.records import records

PACK = load("greater_manchester")
JSON = {"Content-Type": "application/fhir+json"}


@dataclass
class Storm:
    """What was acknowledged: request ids of answers under 400, and the published bundles by their answer."""

    acknowledged: list[str] = field(default_factory=list)
    published: list[tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    broken: int = 0


async def sow(client: httpx.AsyncClient, count: int = 12) -> list[dict[str, Any]]:
    """Feed a few people and give back the bundles that could be published about them."""
    bundles = []
    for person in people(count, seed=77):
        held = {r.agency: r for r in records(person, PACK, 77)}
        given = {}
        for agency, record in held.items():
            answer = await client.put(
                "Patient",
                params={"identifier": f"{record.system}|{record.value}"},
                json=record.patient,
                headers=JSON,
            )
            assert answer.status_code in (200, 201), answer.text
            given[agency] = f"Patient/{answer.json()['id']}"
        bundles += [p.bundle for p in papers_of(person, held, given, PACK, 77)]
    return bundles


def afresh(bundle: dict[str, Any]) -> dict[str, Any]:
    """The same bundle as a new submission: new uniqueIds for its set and its documents."""
    import copy

    made = copy.deepcopy(bundle)
    for entry in made["entry"]:
        resource = entry["resource"]
        for identifier in [resource.get("masterIdentifier"), *resource.get("identifier", [])]:
            if identifier and resource["resourceType"] in ("List", "DocumentReference"):
                identifier["value"] = f"urn:oid:2.25.{uuid.uuid4().int}"
    return made


async def blow(
    client: httpx.AsyncClient,
    bundles: Sequence[dict[str, Any]],
    *,
    seconds: float,
    writers: int = 8,
) -> Storm:
    """Publish and read for `seconds`, whatever happens; a 503 or a broken connection is tried again later."""
    storm = Storm()
    until = time.monotonic() + seconds

    async def publish(number: int) -> None:
        turn = number
        while time.monotonic() < until:
            bundle = afresh(bundles[turn % len(bundles)])
            turn += writers
            answer = await _ask(client.post("", json=bundle, headers=JSON), storm)
            if answer is not None and answer.status_code == 200:
                storm.published.append((bundle, answer.json()))

    async def read() -> None:
        while time.monotonic() < until:
            await _ask(client.get("Patient", params={"family": "Smith"}), storm)

    await asyncio.gather(*(publish(n) for n in range(writers)), read())
    return storm


async def _ask(asking: Awaitable[httpx.Response], storm: Storm) -> httpx.Response | None:
    try:
        answer = await asking
    except httpx.TransportError:
        storm.broken += 1
        await asyncio.sleep(0.1)
        return None
    storm.statuses[answer.status_code] += 1
    if answer.status_code < 400:
        storm.acknowledged.append(answer.headers["x-request-id"])
    else:
        assert answer.status_code == 503, answer.text
        await asyncio.sleep(0.1)
    return answer


async def assert_acknowledged_is_whole(
    client: httpx.AsyncClient, storm: Storm, sample: int = 60
) -> None:
    """Each acknowledged submission can be read: its set, its documents, its bytes."""
    step = max(1, len(storm.published) // sample)
    for bundle, answer in storm.published[::step]:
        places = [e["response"]["location"] for e in answer["entry"]]
        for entry, place in zip(bundle["entry"], places, strict=True):
            resource, where = entry["resource"], place.split("/_history")[0]
            kind = resource["resourceType"]
            accept = "*/*" if kind == "Binary" else "application/fhir+json"
            got = await client.get(where, headers={"Accept": accept})
            assert got.status_code == 200, f"{kind} {got.status_code}"
            if kind == "Binary":
                want = b64decode(resource["data"])
                assert hashlib.sha256(got.content).digest() == hashlib.sha256(want).digest()


async def assert_nothing_is_half_there(mongo: Mongo, storm: Storm) -> None:
    """Every document is in a submission set and every set's documents exist; none is missing."""
    documents = {r["_id"] for r in await mongo.table("registry", "documents").many({}, {"_id": 1})}
    members: set[str] = set()
    import orjson

    for row in await mongo.table("registry", "lists").many({}, {"b": 1}):
        for entry in orjson.loads(row["b"]).get("entry", ()):
            members.add(entry["item"]["reference"].rsplit("DocumentReference/", 1)[-1])
    assert members == documents
    assert len(documents) >= len(storm.published)


async def assert_audited(mongo: Mongo, storm: Storm) -> None:
    """Every acknowledged request has an AuditEvent that names its request id."""
    import orjson

    seen: set[str] = set()
    for row in await mongo.table("audit", "events").many(
        {"b": {"$exists": True}}, {"b": 1}, max_ms=120_000
    ):
        event = orjson.loads(row["b"])
        for entity in event.get("entity", ()):
            seen.add(entity.get("what", {}).get("identifier", {}).get("value", ""))
    missing = set(storm.acknowledged) - seen
    assert not missing, (
        f"{len(missing)} of {len(storm.acknowledged)} acknowledged requests have no AuditEvent"
    )


Hurt = Callable[[], None]


async def hurting(after: Sequence[float], hurt: Hurt) -> None:
    """Call `hurt` after each of these delays."""
    for delay in after:
        await asyncio.sleep(delay)
        await asyncio.to_thread(hurt)
