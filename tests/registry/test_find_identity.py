"""What is found follows who is who at once, in one process and apart; hidden numbers find nothing."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

import httpx
import pytest
import pytest_asyncio

from affinity.pack import load
from chassis.mongo import Mongo
from pix import stewarding
from pix.acts import committed
from pix.change import Acting, Actor, Change
from pix.identifiers import Domains
from pix.people import People
from tests.makers_mhd import NHS, NS, a_bundle, a_document, a_patient, nhs_number, publish
from tests.neighbours.apart import apart
from tests.running import Exchange, running

STEWARD = Actor("viewer", "QOP", "R-DS", "request 1", "steward 7")
PNC, TRUST = f"{NS}/Id/pnc", f"{NS}/Id/local-patient-identifier/RM3"


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["together", "apart"])
async def exchange(
    request: pytest.FixtureRequest,
    mongo: Mongo,
    mongod_uri: str,
    database_prefix: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Exchange]:
    """The same exchange in both compositions, over databases of its own."""
    prefix = f"{database_prefix}{request.param}_"
    own = Mongo(mongod_uri, prefix=prefix)
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "together":
        async with running(own, mongod_uri, prefix, folder) as made:
            yield made
    else:
        async with apart(own, mongod_uri, prefix, folder) as (made, _):
            yield made
    await own.close()


class Stewards:
    """People who decide about persons, beside the running exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self.people = People(
            exchange.mongo, Domains(load(exchange.settings.affinity), exchange.base)
        )

    async def decide(self, act: Callable[[Change], Awaitable[str]]) -> str:
        async def story(change: Change) -> str:
            done = await act(change)
            await change.write()
            return done

        acting = Acting(STEWARD, datetime.now(UTC), lambda: str(uuid.uuid4()))
        return await committed(self.people, acting, ["a steward"], story)

    async def person(self, record: str) -> str:
        row = await self.people.records.one({"_id": record.partition("/")[2]}, {"person": 1})
        assert row is not None
        return str(row["person"])


async def found(client: httpx.AsyncClient, whose: str) -> int:
    """How many documents a search finds by a Patient id or an NHS number."""
    name, value = ("patient", whose) if "/" in whose else ("patient.identifier", f"{NHS}|{whose}")
    answer = await client.get("/DocumentReference", params={name: value, "status": "current"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["total"] == len(answer.json().get("entry", ()))
    return int(answer.json()["total"])


async def two(source: httpx.AsyncClient, serial: int) -> tuple[list[str], list[str]]:
    """Two people who have one document each: their Patients and their NHS numbers."""
    numbers = [nhs_number(serial), nhs_number(serial + 40)]
    patients = [await a_patient(source, identifier=[{"system": NHS, "value": n}]) for n in numbers]
    for patient in patients:
        assert (await publish(source, a_bundle(a_document(patient)))).status_code == 200
    return patients, numbers


async def all_find(source: httpx.AsyncClient, names: list[str], expected: int) -> None:
    for name in names:
        assert await found(source, name) == expected, name


async def test_linked_records_show_one_view_and_unlinked_ones_two_at_once(
    exchange: Exchange, source: httpx.AsyncClient
) -> None:
    (one, other), numbers = await two(source, 410_000)
    names = [one, other, *numbers]
    stewards = Stewards(exchange)
    await all_find(source, names, 1)
    target = await stewards.person(one)
    record = other.partition("/")[2]
    await stewards.decide(lambda c: stewarding.link(c, record, target, "seen with passport"))
    await all_find(source, names, 2)
    await stewards.decide(lambda c: stewarding.unlink(c, record, target, "her cousin"))
    await all_find(source, names, 1)


async def test_merged_persons_show_one_view_and_unmerged_ones_two_at_once(
    exchange: Exchange, source: httpx.AsyncClient
) -> None:
    (one, other), numbers = await two(source, 420_000)
    names = [one, other, *numbers]
    stewards = Stewards(exchange)
    gone, kept = await stewards.person(one), await stewards.person(other)
    done = await stewards.decide(lambda c: stewarding.merge_persons(c, gone, kept, "one woman"))
    await all_find(source, names, 2)
    await stewards.decide(lambda c: stewarding.unmerge(c, done, "two women"))
    await all_find(source, names, 1)


async def test_documents_of_a_merged_patient_are_shown_under_its_survivor(
    source: httpx.AsyncClient,
) -> None:
    (one, other), numbers = await two(source, 450_000)
    survivor = {"other": {"identifier": {"system": NHS, "value": numbers[1]}}}
    link = [{**survivor, "type": "replaced-by"}]
    await a_patient(
        source, identifier=[{"system": NHS, "value": numbers[0]}], active=False, link=link
    )
    await all_find(source, [one, other, *numbers], 2)
    shown: set[str] = set()
    for _ in range(80):
        query = {"patient": other, "status": "current"}
        bundle = (await source.get("/DocumentReference", params=query)).json()
        shown = {e["resource"]["subject"]["reference"] for e in bundle["entry"]}
        if shown == {other}:
            break
        await asyncio.sleep(0.1)
    assert shown == {other}


async def test_a_view_that_changes_between_pages_is_counted_anew(
    exchange: Exchange, source: httpx.AsyncClient
) -> None:
    (one, other), _ = await two(source, 430_000)
    for _ in range(3):
        assert (await publish(source, a_bundle(a_document(one)))).status_code == 200
    stewards = Stewards(exchange)
    target, record = await stewards.person(one), other.partition("/")[2]
    await stewards.decide(lambda c: stewarding.link(c, record, target, "seen with passport"))
    query = {"patient": one, "status": "current", "_count": "2", "_sort": "_lastUpdated"}
    page = (await source.get("/DocumentReference", params=query)).json()
    assert page["total"] == 5
    await stewards.decide(lambda c: stewarding.unlink(c, record, target, "her cousin"))
    following = next(ln["url"] for ln in page["link"] if ln["relation"] == "next")
    page = (await source.get(following)).json()
    assert page["total"] == 4
    assert {e["resource"]["subject"]["reference"] for e in page["entry"]} == {one}


async def test_a_number_hidden_from_the_caller_finds_nothing(
    exchange: Exchange, source: httpx.AsyncClient
) -> None:
    number, pnc = nhs_number(440_000), "2002/0073319Z"
    name = [{"family": "Seenonly", "given": ["Ada"]}]
    verified = {
        "system": NHS, "value": number,
        "extension": [{
            "url": "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-NHSNumberVerificationStatus",
            "valueCodeableConcept": {"coding": [{
                "system": "https://fhir.hl7.org.uk/CodeSystem/UKCore-NHSNumberVerificationStatusEngland",
                "code": "01",
            }]},
        }],
    }  # fmt: skip
    trust = await a_patient(
        source, identifier=[{"system": TRUST, "value": "H440"}, verified], name=name
    )
    police = await a_patient(
        source, identifier=[{"system": PNC, "value": pnc}, verified], name=name
    )
    assert await Stewards(exchange).person(trust) == await Stewards(exchange).person(police)
    assert (await publish(source, a_bundle(a_document(trust)))).status_code == 200
    asked = [
        {"patient.identifier": f"{PNC}|{pnc}", "status": "current"},
        {"patient": police, "status": "current"},
    ]
    for query in asked:
        answer = await source.get("/DocumentReference", params=query)
        assert answer.json()["total"] == 1, query
    scope = "system/DocumentReference.rs"
    async with exchange.as_client(scope, role="R-GP", organisation="P99000") as practice:
        for query in asked:
            answer = await practice.get("/DocumentReference", params=query)
            assert answer.status_code == 200
            assert answer.json()["total"] == 0, query
            whose = {k: v for k, v in query.items() if k != "status"}
            before = await practice.get("/DocumentReference/_history", params=whose)
            assert before.status_code == 200
            assert before.json()["total"] == 0, query
            known = await source.get("/DocumentReference/_history", params=whose)
            assert known.json()["total"] == 1, query
        assert await found(practice, number) == 1
    scope += " system/Patient.rs"
    here = {"patient.identifier": f"{NHS}|{number}", "status": "current"}
    along = {**here, "_include": "DocumentReference:patient"}
    assert (await publish(source, a_bundle(a_document(police)))).status_code == 200
    for role, organisation, shown in (("R-GP", "P99000", {trust}), ("R-SYS", "", {trust, police})):
        async with exchange.as_client(scope, role=role, organisation=organisation) as client:
            bundle = (await client.get("/DocumentReference", params=along)).json()
            brought = [e for e in bundle["entry"] if e["search"]["mode"] == "include"]
            assert {f"Patient/{e['resource']['id']}" for e in brought} == shown, role
            assert {e["fullUrl"] for e in brought} == {f"{exchange.base}/{p}" for p in shown}
            assert bundle["total"] == 2
            if role == "R-GP":
                assert pnc not in str(brought)
    async with exchange.as_client(scope, role="R-POL", organisation="GMP") as force:
        for query in asked:
            answer = await force.get("/DocumentReference", params=query)
            assert answer.json()["total"] == 2, query
