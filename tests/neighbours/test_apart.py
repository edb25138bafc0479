"""What works together works apart: a document walks through five services that only speak HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from chassis.mongo import Mongo
from examples.a_submission import submission
from tests.neighbours.apart import Roads, apart
from tests.running import Exchange, running

NHS = "https://fhir.nhs.uk/Id/nhs-number"
SPACE = "https://throughline.example/fhir/Id"
JSON = {"Content-Type": "application/fhir+json"}
PATIENT = {
    "resourceType": "Patient",
    "active": True,
    "identifier": [{"system": NHS, "value": "9990000077"}],
    "name": [{"family": "Walker", "given": ["Lexi"]}],
    "birthDate": "2022-05-06",
}


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
        async with apart(own, mongod_uri, prefix, folder) as (made, roads):
            yield made
            assert any(p.startswith("pix/internal") for p in roads.passed)
            assert any(p.startswith("repository/internal") for p in roads.passed)
            assert any(p.startswith("audit/internal") for p in roads.passed)
    await own.close()


async def test_a_document_is_published_found_read_and_audited(exchange: Exchange) -> None:
    async with exchange.as_client() as client:
        fed = await client.put(
            "Patient", params={"identifier": f"{NHS}|9990000077"}, json=PATIENT, headers=JSON
        )
        assert fed.status_code == 201, fed.text
        patient = f"Patient/{fed.json()['id']}"

        published = await client.post("", json=submission(patient, b"All well."), headers=JSON)
        assert published.status_code == 200, published.text

        found = await client.get(
            "DocumentReference",
            params={"patient.identifier": f"{NHS}|9990000077", "status": "current"},
        )
        assert found.status_code == 200, found.text
        assert found.json()["total"] == 1
        attachment = found.json()["entry"][0]["resource"]["content"][0]["attachment"]
        assert attachment["url"].startswith(f"{exchange.base}/Binary/")

        read = await client.get(attachment["url"], headers={"Accept": "*/*"})
        assert read.status_code == 200, read.text
        assert read.content == b"All well."

        crossed = await client.get(
            "Patient/$ihe-pix", params={"sourceIdentifier": f"{NHS}|9990000077"}
        )
        assert crossed.status_code == 200

        trail = await client.get(
            "AuditEvent", params={"date": "ge2020", "patient": patient, "_count": "50"}
        )
        assert trail.status_code == 200, trail.text
        kinds = {
            code["code"]
            for entry in trail.json()["entry"]
            for code in entry["resource"]["subtype"]
            if code["system"] == "urn:ihe:event-type-code"
        }
        assert {"ITI-65", "ITI-68"} <= kinds


async def test_who_looked_is_answered_for_a_person_whichever_number_is_named(
    exchange: Exchange,
) -> None:
    here, there = f"{SPACE}/social-care-id/353", f"{SPACE}/local-patient-identifier/RM3"
    told = {
        "name": [{"family": "Vanterpool-Quaye", "given": ["Ottoline"]}],
        "birthDate": "1958-07-21",
    }
    told["telecom"] = [{"system": "phone", "value": "0161 496 0777"}]
    records = {}
    async with exchange.as_client() as client:
        for system in (here, there):
            body = {"resourceType": "Patient", "identifier": [{"system": system, "value": "W1"}]}
            fed = await client.put(
                "Patient", params={"identifier": f"{system}|W1"}, json=body | told, headers=JSON
            )
            assert fed.status_code == 201, fed.text
            records[system] = f"Patient/{fed.json()['id']}"
        await client.get(records[there])
        await client.get(
            "DocumentReference", params={"patient": records[there], "status": "current"}
        )

        async def looked(**named: str) -> list[str]:
            trail = await client.get(
                "AuditEvent", params={"date": "ge2020", "_count": "50", **named}
            )
            assert trail.status_code == 200, trail.text
            entries = trail.json()["entry"]
            assert len(entries) == trail.json()["total"]
            return sorted(e["resource"]["id"] for e in entries)

        by_number = await looked(**{"patient.identifier": f"{here}|W1"})
        assert by_number == await looked(**{"patient.identifier": f"{there}|W1"})
        assert by_number == await looked(patient=records[here])
        kinds = set()
        for event in by_number:
            said = (await client.get(f"AuditEvent/{event}")).json()
            kinds |= {(code["code"]) for code in said["subtype"]}
        assert {"ITI-104", "ITI-67", "read"} <= kinds


async def test_the_doors_between_services_are_shut_to_outsiders(exchange: Exchange) -> None:
    async with exchange.as_client("system/*.cruds") as client:
        if exchange.app.__class__.__name__ == "_Joined":
            return  # apart, the proxy does not even route them; tests/neighbours/apart.py asserts it
        answer = await client.post(
            f"{exchange.settings.origin}/internal/pix/who", json={"asked": []}
        )
        assert answer.status_code == 403
        anonymous = await exchange.http.post("/internal/pix/who", json={"asked": []})
        assert anonymous.status_code == 401


async def test_a_silent_neighbour_is_a_503_that_says_try_again(
    mongo: Mongo, mongod_uri: str, database_prefix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    prefix = f"{database_prefix}silent_"
    own = Mongo(mongod_uri, prefix=prefix)
    roads: Roads
    async with (
        apart(own, mongod_uri, prefix, tmp_path_factory.mktemp("silent")) as (
            exchange,
            roads,
        ),
        exchange.as_client() as client,
    ):
        gone = roads.apps.pop("pix")
        answer: httpx.Response = await client.get(
            "DocumentReference",
            params={"patient.identifier": f"{NHS}|9990000077", "status": "current"},
        )
        assert answer.status_code == 503, answer.text
        assert answer.json()["issue"][0]["code"] == "transient"
        roads.apps["pix"] = gone
    await own.close()
