"""What is derived is derived from what was said and decided, and from nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from chassis.mongo import Mongo
from pix import stewarding
from pix.rebuild import Rebuilt, rebuild
from standards.outcome import Refused
from tests.pix.makers import (
    COUNCIL,
    HOSPITAL,
    NS,
    SALFORD,
    TRUST,
    Pix,
    identifier,
    nhs_number,
    patient,
    pix_service,
    replaced,
)
from tests.pix.test_linking import SENSITIVITY, told
from tests.pix.test_stewarding import decided, fed, person


async def rebuilt(pix: Pix) -> Rebuilt:
    return await rebuild(pix.near.people, datetime.now(UTC), lambda *_: None)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(service: Pix) -> AsyncIterator[Pix]:
    """A store in which everything has happened once."""
    one = await fed(service, COUNCIL, "1100001", "abdul", nhs=nhs_number(1101))
    await fed(service, TRUST, "H1101", "abdul", nhs=nhs_number(1101))
    two = await fed(service, TRUST, "H1102", "berta")
    await fed(service, SALFORD, "1100002", "berta")
    await fed(service, COUNCIL, "1100003", "cyril")
    await fed(service, COUNCIL, "1100004", "cyril of old")
    other = {"identifier": {"system": COUNCIL, "value": "1100003"}}
    await service.feed(replaced(patient(COUNCIL, "1100004", **told("cyril of old")), other))
    lone = await fed(service, HOSPITAL, "R1103", "dilip")
    first, second = await person(service, one), await person(service, two)
    await decided(service, lambda c: stewarding.merge_persons(c, first, second, "one"))
    await decided(service, lambda c: stewarding.unlink(c, one, second, "not him"))
    await decided(service, lambda c: stewarding.link(c, lone, second, "him"))
    label = {"security": [{"system": SENSITIVITY, "code": "ADOPTION"}]}
    await fed(service, HOSPITAL, "R1104", "emine", meta=label, nhs=nhs_number(1104))
    await fed(service, COUNCIL, "1100005", "farid")
    await service.remove(COUNCIL, "1100005")
    for n in range(14):
        body = patient(TRUST, f"H112{n}", born=f"{1940 + 3 * n}-0{n % 9 + 1}-1{n % 9}")
        body["identifier"].append(identifier(NS + "nino", "QQ654321C"))
        await service.feed(body)
    yield service


async def test_a_rebuild_changes_nothing_on_a_consistent_store(city: Pix) -> None:
    made = await rebuilt(city)
    assert made.differed == dict.fromkeys(made.differed, 0)
    assert made.total["profiles"] > 15
    assert made.total["postings"] > 50


@pytest.mark.parametrize("name", ["identifiers", "persons", "profiles", "postings", "links"])
async def test_what_is_lost_is_made_again(city: Pix, name: str) -> None:
    people = city.near.people
    table = getattr(people, name)
    before = await table.many({}, sort=[("_id", 1)])
    derived = {"state": "MATCH", "source": "automatic"} if name == "links" else {}
    if name == "persons":
        derived = {"state": "current"}  # a redirect is known from nowhere else
    await table.delete(derived, many=True)
    made = await rebuilt(city)
    assert made.differed[name] > 0
    after = await table.many({}, sort=[("_id", 1)])
    assert [plain(row) for row in after] == [plain(row) for row in before]
    again = await rebuilt(city)
    assert again.changed == 0
    assert (await city.ask(COUNCIL, "1100003")).status_code == 200


def plain(row: dict[str, Any]) -> dict[str, Any]:
    if "full" in row:
        return {**row, "p": sorted(row["p"])}
    lost = ("at", "weight", "model", "explanation", "reason", "decision")
    return {k: v for k, v in row.items() if k not in lost}


async def test_what_is_fed_meanwhile_stops_a_rebuild_and_nothing_is_changed(city: Pix) -> None:
    people = city.near.people
    await people.postings.delete({"_id": {"$regex": "^dn"}}, many=True)
    lost = await people.postings.count({})
    started = asyncio.Event()

    def progress(step: str, _done: int, _total: int) -> None:
        if step == "links":
            started.set()

    async def feed() -> None:
        await started.wait()
        await fed(city, COUNCIL, "1100010", "hedwig")

    done = await asyncio.gather(
        rebuild(people, datetime.now(UTC), progress), feed(), return_exceptions=True
    )
    assert isinstance(done[0], Refused)
    assert await people.postings.count({}) < lost + 30
    assert (await rebuilt(city)).differed["postings"] > 0
    assert (await rebuilt(city)).changed == 0


async def test_a_store_without_links_gets_them(mongodb_of_its_own: Pix) -> None:
    pix = mongodb_of_its_own
    await fed(pix, COUNCIL, "1100001", "ivana")
    await fed(pix, TRUST, "H1101", "ivana")
    people = pix.near.people
    for table in (people.links, people.profiles, people.postings):
        await table.delete({}, many=True)
    await rebuilt(pix)
    assert await people.links.count({"state": "MATCH"}) == 2
    await fed(pix, SALFORD, "1100002", "ivana")
    assert len(await pix.others(COUNCIL, "1100001")) == 2


@pytest_asyncio.fixture(loop_scope="module")
async def mongodb_of_its_own(mongod_uri: str, database_prefix: str) -> AsyncIterator[Pix]:
    mongo = Mongo(mongod_uri, prefix=f"{database_prefix}own")
    try:
        async with pix_service(mongo) as pix:
            yield pix
    finally:
        await mongo.client.drop_database(f"{database_prefix}ownpix")
        await mongo.close()


async def test_a_link_that_people_only_confirm_is_in_the_portrait_too(city: Pix) -> None:
    one = await fed(city, COUNCIL, "1100021", "ludmila")
    two = await fed(city, TRUST, "H1121", "ludmila")
    target = await person(city, one)
    await decided(city, lambda c: stewarding.link(c, two, target, "confirmed"))
    assert (await rebuilt(city)).changed == 0
