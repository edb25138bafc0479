"""A filled store is as feeding would have left it: nothing derived in it has to be made anew."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from random import Random

import pytest_asyncio

from affinity.pack import load
from benchmarks.identity import filling
from benchmarks.identity.filling import Filled, kept_back
from benchmarks.identity.population import population
from benchmarks.identity.recording import Record
from chassis.mongo import Mongo
from chassis.settings import Settings
from pix.app import prepared
from pix.people import People
from pix.rebuild import rebuild
from tests.pix.makers import pix_service
from tests.running import ORIGIN

SETTINGS = Settings(public_url=ORIGIN, log_level="error")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def filled(
    mongo: Mongo, mongod_uri: str
) -> AsyncIterator[tuple[People, Filled, list[list[Record]], list[Record]]]:
    """A store of a good thousand records, and what was held back of its people."""
    back: list[Record] = []
    people = list(kept_back(population(5), 1200, 0.05, Random(5), back))
    people += [[_crowded(home[0], n)] for n, home in enumerate(people[:230])]
    made = await filling.fill(mongo, mongod_uri, SETTINGS, people, workers=1, tell=lambda *_: None)
    yield await prepared(SETTINGS, mongo, load(SETTINGS.affinity)), made, people, back


def _crowded(record: Record, number: int) -> Record:
    """Somebody else of the same name and birth date as a good two hundred others, so that keys fill
    up."""
    value = f"H9{number:06d}"
    system = "https://throughline.example/fhir/Id/local-patient-identifier/RM3"
    patient = {
        "resourceType": "Patient",
        "identifier": [{"system": system, "value": value}],
        "name": [{"family": "Khan", "given": ["Mohammed"]}],
        "birthDate": "1988-01-01",
        "gender": "male",
    }
    return replace(record, system=system, value=value, patient=patient, person=str(uuid.uuid4()))


async def test_a_rebuild_changes_nothing_in_a_filled_store(filled):
    people, made, held, _ = filled
    assert made.records == sum(map(len, held)) == await people.records.count({"client": "fill"})
    assert await people.postings.count({"full": True}) > 0
    rebuilt = await rebuild(people, datetime.now(UTC), lambda *_: None)
    assert rebuilt.differed == dict.fromkeys(rebuilt.differed, 0)
    assert made.persons == len(held) <= rebuilt.total["profiles"]


async def test_what_was_held_back_is_fed_to_the_people_it_is_of(filled, mongo):
    people, _, _, back = filled
    async with pix_service(mongo) as pix:
        chosen = back[:40]
        answers = [await pix.put(r.system, r.value, r.patient) for r in chosen]
    assert {a.status_code for a in answers} == {201}
    ids = {r.key: a.json()["id"] for r, a in zip(chosen, answers, strict=True)}
    joined = await people.links.count(
        {"_id": {"$in": list(ids.values())}, "state": "MATCH", "weight": {"$ne": None}}
    )
    assert joined > len(chosen) / 2
    rebuilt = await rebuild(people, datetime.now(UTC), lambda *_: None)
    assert rebuilt.changed == 0
