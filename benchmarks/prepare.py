"""The data the workloads run on, published through the public API like anybody's.

`People` are joined from two records each (a GP's and a trust's, both with the verified NHS number); each
has `documents` small documents of three types over three years, on both records. What is published while
it is measured, and what is large, belongs to one more person, so that nobody's finds grow meanwhile.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import uuid
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import islice
from random import Random
from typing import Any

import httpx
import orjson
from rich.progress import Progress

from affinity.pack import NHS_NUMBER, load
from exchange.city.documents import Planned, Sheet, bundle
from exchange.city.people import TODAY, people
from exchange.city.records import Record, records

PACK = load("greater_manchester")
TYPES = ("GN-GPSUM", "GN-PCSP", "GN-OPLET")
JSON = {"Content-Type": "application/fhir+json"}


@dataclass
class Prepared:
    """What the workloads ask for: per person the Patient ids and NHS number; all document and binary ids."""

    patients: list[tuple[str, ...]] = field(default_factory=list)
    numbers: list[str] = field(default_factory=list)
    documents: list[str] = field(default_factory=list)
    binaries: list[str] = field(default_factory=list)
    large: list[str] = field(default_factory=list)
    template: dict[str, Any] = field(default_factory=dict)


def planned(type_: str, agency: str) -> Planned:
    """A row as exchange/city/plan.csv would have it."""
    return Planned(
        type_, agency, (), (0, 120), None, 1.0, "GP", "788007007", "General practitioner"
    )


def with_bytes(made: dict[str, Any], content: bytes, media: str = "text/plain") -> dict[str, Any]:
    """The same bundle with other bytes in its one document."""
    attachment = made["entry"][1]["resource"]["content"][0]["attachment"]
    attachment |= {
        "contentType": media,
        "size": len(content),
        "hash": base64.b64encode(hashlib.sha1(content).digest()).decode(),
    }
    made["entry"][2]["resource"] |= {
        "contentType": media,
        "data": base64.b64encode(content).decode(),
    }
    made["entry"][1]["resource"]["content"][0]["format"] = {
        "system": "http://ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode",
        "code": "urn:ihe:iti:xds:2017:mimeTypeSufficient",
    }
    return made


async def prepare(
    client: httpx.AsyncClient, count: int, documents: int, progress: Progress
) -> Prepared:
    """Feed `count` joined people with `documents` documents each, and one more without."""
    made = Prepared()
    chosen: list[dict[str, Record]] = []
    for person in people(count * 3 + 30, seed=11):
        held = {r.agency: r for r in records(person, PACK, 11)}
        verified = (
            [i for i in held["trust"].patient["identifier"] if i["system"] == NHS_NUMBER]
            if "trust" in held
            else []
        )
        if verified and held["trust"].patient["birthDate"] == held["gp"].patient["birthDate"]:
            chosen.append(held)
    if len(chosen) <= count:
        raise SystemExit("The demo city has too few joined people for this many.")
    chosen, writer = chosen[:count], chosen[count]
    feeding = progress.add_task("People", total=len(chosen) + 1)
    publishing = progress.add_task("Documents", total=len(chosen) * documents)

    async def fed(held: dict[str, Record]) -> list[str]:
        ids = []
        for agency in ("gp", "trust"):
            record = held[agency]
            answer = await client.put(
                "Patient",
                params={"identifier": f"{record.system}|{record.value}"},
                json=record.patient,
                headers=JSON,
            )
            answer.raise_for_status()
            ids.append(answer.json()["id"])
        progress.advance(feeding)
        return ids

    async def one(held: dict[str, Record]) -> None:
        ids = await fed(held)
        made.patients.append(tuple(ids))
        made.numbers.append(held["gp"].value)
        dice = Random(held["gp"].value)
        for number in range(documents):
            agency = ("gp", "trust")[number % 2]
            sheet = Sheet(
                planned(TYPES[number % 3], agency), held[agency], f"Patient/{ids[number % 2]}",
                TODAY - timedelta(days=dice.randrange(1, 1000)), PACK, seed=1000 + number,
            )  # fmt: skip
            answer = await client.post(
                "", json=with_bytes(bundle(sheet), b"A short note. " * 40), headers=JSON
            )
            answer.raise_for_status()
            places = [
                e["response"]["location"].split("/_history")[0] for e in answer.json()["entry"]
            ]
            made.documents.append(places[1].rsplit("/", 1)[1])
            made.binaries.append(places[2].rsplit("/", 1)[1])
            progress.advance(publishing)

    await _together(one, chosen)
    ids = await fed(writer)
    sheet = Sheet(planned(TYPES[0], "gp"), writer["gp"], f"Patient/{ids[0]}", TODAY, PACK, seed=5)
    made.template = with_bytes(bundle(sheet), b"x" * 10_240)
    for number in range(8):
        content = b"\xff\xd8\xff" + Random(number).randbytes(1024 * 1024 - 3)  # begins like a JPEG
        large = with_bytes(bundle(replace(sheet, seed=9_000 + number)), content, "image/jpeg")
        answer = await client.post("", json=large, headers=JSON, timeout=60)
        answer.raise_for_status()
        made.large.append(
            answer.json()["entry"][2]["response"]["location"]
            .split("/_history")[0]
            .rsplit("/", 1)[1]
        )
    return made


async def _together(
    one: Callable[[dict[str, Record]], Awaitable[None]], todo: Iterable[dict[str, Record]]
) -> None:
    waiting = iter(todo)

    async def worker() -> None:
        for held in waiting:
            await one(held)

    await asyncio.gather(*(worker() for _ in range(12)))


def fresh(template: dict[str, Any]) -> bytes:
    """The provide body as a new submission: new uniqueIds for its set and document."""
    made = orjson.loads(orjson.dumps(template))
    made["entry"][0]["resource"]["identifier"][0]["value"] = f"urn:oid:2.25.{uuid.uuid4().int}"
    made["entry"][1]["resource"]["masterIdentifier"]["value"] = f"urn:oid:2.25.{uuid.uuid4().int}"
    return orjson.dumps(made)


def first(items: list[str], count: int) -> list[str]:
    """The first `count` of a list."""
    return list(islice(items, count))
