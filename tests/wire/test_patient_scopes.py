"""What a token reaches that was launched in one patient's record: that record, whichever way it asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio

from chassis.mongo import Mongo
from exchange.rows import ROWS
from pix import stewarding
from standards.rows import Needs
from tests.makers_mhd import (
    NHS,
    a_bundle,
    a_document,
    a_patient,
    locations,
    nhs_number,
    publish,
    related,
)  # fmt: skip
from tests.neighbours.apart import apart
from tests.registry.test_find_identity import Stewards
from tests.running import Exchange, running
from tests.wire.launched import found, launched

EVERYTHING = "patient/*.cruds"
FHIR = {"Content-Type": "application/fhir+json"}


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


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def source(exchange: Exchange) -> AsyncIterator[httpx.AsyncClient]:
    async with exchange.as_client() as client:
        yield client


@dataclass(frozen=True)
class City:
    """Anna has two records and a document in each; Ben has one of each."""

    anna: str
    annas_other: str
    ben: str
    numbers: tuple[str, ...]
    annas: tuple[tuple[str, str, str], ...]  # SubmissionSet, DocumentReference, Binary
    bens: tuple[str, str, str]

    @property
    def hers(self) -> set[str]:
        return {document for _, document, _ in self.annas}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(exchange: Exchange, source: httpx.AsyncClient) -> City:
    numbers = tuple(nhs_number(610_000 + n) for n in (0, 40, 80))
    patients = [await a_patient(source, identifier=[{"system": NHS, "value": n}]) for n in numbers]
    made = []
    for patient in patients:
        first, document, binary = locations(
            await publish(source, a_bundle(a_document(patient, content=patient.encode())))
        )
        made.append((first, document, binary))
    stewards = Stewards(exchange)
    target = await stewards.person(patients[0])
    record = patients[1].partition("/")[2]
    await stewards.decide(lambda c: stewarding.link(c, record, target, "seen with passport"))
    return City(*patients, numbers, tuple(made[:2]), made[2])


async def test_searches_find_what_is_in_the_record_and_nothing_else(
    exchange: Exchange, city: City
) -> None:
    async with launched(exchange, EVERYTHING, patient=city.anna) as app:
        for whose in (city.anna, city.annas_other):
            query = {"patient": whose, "status": "current"}
            assert await found(app, "/DocumentReference", query) == city.hers
            lists = await found(app, "/List", {**query, "code": "submissionset"})
            assert lists == {submission for submission, _, _ in city.annas}
        number = {"patient.identifier": f"{NHS}|{city.numbers[2]}", "status": "current"}
        for query in ({"patient": city.ben, "status": "current"}, number):
            assert await found(app, "/DocumentReference", query) == set()
            assert await found(app, "/List", {**query, "code": "submissionset"}) == set()
        ids = ",".join(d.partition("/")[2] for d in (*city.hers, city.bens[1]))
        assert await found(app, "/DocumentReference", {"_id": ids}) == city.hers
        patients = await found(app, "/Patient", {"birthdate": "1980-01-02"})
        assert patients == {city.anna, city.annas_other}
        assert await found(app, "/Patient", {"identifier": f"{NHS}|{city.numbers[2]}"}) == set()


async def test_reads_versions_histories_and_bytes_are_the_records(
    exchange: Exchange, city: City
) -> None:
    async with launched(exchange, EVERYTHING, patient=city.anna) as app:
        for kept in (*city.annas[0], *city.annas[1], city.anna, city.annas_other):
            assert (await app.get(kept)).status_code == 200, kept
        for kept in (*city.annas[0][:2], city.annas_other):
            assert (await app.get(f"{kept}/_history/1")).status_code == 200
            assert (await app.get(f"{kept}/_history")).json()["total"] >= 1
        for hidden in (*city.bens, city.ben):
            assert (await app.get(hidden)).status_code == 404, hidden
            if not hidden.startswith("Binary"):
                assert (await app.get(f"{hidden}/_history")).status_code == 404
                assert (await app.get(f"{hidden}/_history/1")).status_code == 404
        for kind in ("DocumentReference", "List"):
            theirs = await app.get(f"/{kind}/_history", params={"patient": city.ben})
            assert theirs.json()["total"] == 0
            hers = await app.get(f"/{kind}/_history", params={"patient": city.anna})
            assert hers.json()["total"] == 2


async def test_the_bytes_are_no_wider_than_either_scope(exchange: Exchange, city: City) -> None:
    for scope in (
        "patient/Binary.r system/DocumentReference.r",
        "system/Binary.r patient/*.r",
        "ITI-68",
    ):
        async with launched(exchange, scope, patient=city.anna) as app:
            assert (await app.get(city.annas[1][2])).status_code == 200, scope
            assert (await app.get(city.bens[2])).status_code == 404, scope


async def test_nothing_from_beyond_comes_along(
    exchange: Exchange, city: City, source: httpx.AsyncClient
) -> None:
    document = a_document(city.ben, **related("appends", city.bens[1]))
    await publish(source, a_bundle(document))
    pairs = [
        ("patient", city.ben), ("status", "current"), ("_include", "DocumentReference:patient"),
        ("_include", "DocumentReference:relatesto"), ("_revinclude", "List:item"),
    ]  # fmt: skip
    async with launched(
        exchange, "patient/*.rs user/DocumentReference.rs", patient=city.anna
    ) as app:
        made = (await app.get("/DocumentReference", params=pairs)).json()
        assert {e["resource"]["resourceType"] for e in made["entry"]} == {"DocumentReference"}
        pairs[0] = ("patient", city.anna)
        made = (await app.get("/DocumentReference", params=pairs)).json()
        came = {e["resource"]["resourceType"] for e in made["entry"]}
        assert came == {"DocumentReference", "Patient", "List"}


async def test_operations_stay_within_the_record_or_are_refused(
    exchange: Exchange, city: City
) -> None:
    async with launched(exchange, f"{EVERYTHING} records-review", patient=city.anna) as app:
        ask = lambda n: app.get("/Patient/$ihe-pix", params={"sourceIdentifier": f"{NHS}|{n}"})  # noqa: E731
        assert (await ask(city.numbers[2])).status_code == 404
        assert (await ask(city.numbers[0])).status_code == 200
        question = {
            "resourceType": "Patient",
            "identifier": [{"system": NHS, "value": city.numbers[2]}],
        }
        answer = await app.post("/Patient/$match", json=question, headers=FHIR)
        assert answer.json().get("total", 0) == 0, answer.text
        question["identifier"] = [{"system": NHS, "value": city.numbers[0]}]
        answer = await app.post("/Patient/$match", json=question, headers=FHIR)
        matched = {e["resource"]["id"] for e in answer.json()["entry"]}
        assert matched <= {p.partition("/")[2] for p in (city.anna, city.annas_other)}
        assert matched
        wide = await app.post(
            "/Binary/$retention-review", json={"resourceType": "Parameters"}, headers=FHIR
        )
        assert wide.status_code == 403
        assert "reaches beyond" in wide.json()["issue"][0]["diagnostics"]


async def test_only_what_belongs_into_the_record_can_be_put_there(
    exchange: Exchange, city: City, source: httpx.AsyncClient
) -> None:
    number = nhs_number(630_000)
    mine = await a_patient(source, identifier=[{"system": NHS, "value": number}])
    documents = exchange.mongo.table("registry", "documents")
    theirs = {"subject": city.ben.partition("/")[2]}
    before = await documents.count(theirs)
    async with launched(exchange, EVERYTHING, patient=mine) as app:
        assert (await publish(app, a_bundle(a_document(mine)))).status_code == 200
        refused = await publish(app, a_bundle(a_document(city.ben)))
        assert refused.status_code == 403
        assert "insufficient_scope" in refused.headers["www-authenticate"]
        event = {"resourceType": "AuditEvent"}
        assert (await app.post("/AuditEvent", json=event, headers=FHIR)).status_code == 403
        query = {"identifier": f"{NHS}|{city.numbers[2]}"}
        put = await app.put("/Patient", params=query, json=fed(city.numbers[2]), headers=FHIR)
        assert put.status_code == 403, put.text
        assert (await app.delete("/Patient", params=query)).status_code == 403
        own = {"identifier": f"{NHS}|{number}"}
        put = await app.put("/Patient", params=own, json=fed(number), headers=FHIR)
        assert put.status_code == 200, put.text
        ben = {"identifier": {"system": NHS, "value": city.numbers[2]}}
        away = fed(number) | {"active": False, "link": [{"type": "replaced-by", "other": ben}]}
        put = await app.put("/Patient", params=own, json=away, headers=FHIR)
        assert put.status_code == 403, "to give the record away is to reach beyond it"
        new = {"identifier": f"{NHS}|{nhs_number(640_000)}"}
        put = await app.put("/Patient", params=new, json=fed(nhs_number(640_000)), headers=FHIR)
        assert put.status_code == 403, "a new Patient is in nobody's record"
    assert (await source.get(mine)).json()["active"] is True
    assert (await source.get("/Patient", params=new)).json()["total"] == 0
    assert await documents.count(theirs) == before


def fed(number: str) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "identifier": [{"system": NHS, "value": number}],
        "name": [{"family": "Fed", "given": ["Anew"]}],
        "birthDate": "1971-01-02",
        "active": True,
    }


async def test_the_audit_trail_of_the_record_names_nobody_else(
    exchange: Exchange, city: City, source: httpx.AsyncClient
) -> None:
    await source.get(
        "/Patient", params={"birthdate": "1980-01-02"}
    )  # an event that names all of them
    async with launched(exchange, "patient/AuditEvent.rs", patient=city.anna) as app:
        pairs = {"date": "ge2020-01-01", "_count": "500"}
        bundle = (await app.get("/AuditEvent", params=pairs)).json()
        events = [e["resource"] for e in bundle["entry"] if e["search"]["mode"] == "match"]
        assert events
        for event in events:
            text = orjson.dumps(event).decode()
            assert city.ben not in text
            assert city.anna in text or city.annas_other in text
            assert (await app.get(f"/AuditEvent/{event['id']}")).status_code == 200
    async with exchange.as_client("ITI-81") as everywhere:
        pairs["patient"] = city.ben
        theirs = (await everywhere.get("/AuditEvent", params=pairs)).json()["entry"][0]["resource"]
    async with launched(exchange, "patient/AuditEvent.rs", patient=city.anna) as app:
        assert (await app.get(f"/AuditEvent/{theirs['id']}")).status_code == 404


async def test_a_record_that_is_parted_leaves_the_compartment_at_once(
    exchange: Exchange, source: httpx.AsyncClient
) -> None:
    numbers = [nhs_number(620_000), nhs_number(620_040)]
    one, other = [
        await a_patient(source, identifier=[{"system": NHS, "value": n}]) for n in numbers
    ]
    _, document, binary = locations(await publish(source, a_bundle(a_document(other))))
    stewards = Stewards(exchange)
    target, record = await stewards.person(one), other.partition("/")[2]
    async with launched(exchange, EVERYTHING, patient=one) as app:
        assert (await app.get(document)).status_code == 404
        await stewards.decide(lambda c: stewarding.link(c, record, target, "seen with passport"))
        for kept in (document, binary, other):
            assert (await app.get(kept)).status_code == 200
        await stewards.decide(lambda c: stewarding.unlink(c, record, target, "her cousin"))
        for gone in (document, binary, other):
            assert (await app.get(gone)).status_code == 404


async def test_without_a_patient_there_is_nothing(exchange: Exchange, city: City) -> None:
    for patient in ("", "nobody"):
        async with launched(exchange, EVERYTHING, patient=patient) as app:
            for path in (city.anna, city.annas[0][1], city.annas[0][2], "/List?_id=x"):
                answer = await app.get(path)
                assert answer.status_code == 403, answer.text
                assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
                assert "patient" in answer.json()["issue"][0]["diagnostics"]


async def test_a_persons_other_scopes_are_not_limited_by_the_patient(
    exchange: Exchange, city: City
) -> None:
    async with launched(exchange, f"{EVERYTHING} user/Patient.rs", patient=city.anna) as app:
        assert (await app.get(city.ben)).status_code == 200
        assert (await app.get(city.bens[1])).status_code == 404


LITERALS = {
    "ITI-66": ("/List?code=submissionset&status=current&patient=", 0),
    "ITI-67": ("/DocumentReference?status=current&patient=", 1),
    "ITI-68": ("", 2),
}


@pytest.mark.parametrize("literal", sorted(LITERALS))
async def test_a_transactions_name_reaches_that_transaction_in_the_patients_record(
    exchange: Exchange, city: City, literal: str
) -> None:
    path, place = LITERALS[literal]
    async with launched(exchange, literal, patient=city.anna) as app:
        assert (await app.get(city.annas[0][place])).status_code == 200
        assert (await app.get(city.bens[place])).status_code == 404
        if path:
            assert (await app.get(path + city.anna)).json()["total"] == 2
            assert (await app.get(path + city.ben)).json()["total"] == 0
        for other, (_, n) in LITERALS.items():
            if other != literal:
                assert (await app.get(city.annas[0][n])).status_code == 403
        assert (await publish(app, a_bundle(a_document(city.anna)))).status_code == 403
    async with launched(exchange, literal) as app:
        assert (await app.get(city.bens[place])).status_code == 200


async def test_the_name_of_publishing_publishes_for_the_patient_only(
    exchange: Exchange, city: City, source: httpx.AsyncClient
) -> None:
    another = await a_patient(source)
    async with launched(exchange, "ITI-65", patient=another) as app:
        assert (await publish(app, a_bundle(a_document(another)))).status_code == 200
        assert (await publish(app, a_bundle(a_document(city.ben)))).status_code == 403
        assert (await app.get(city.bens[1])).status_code == 403


def test_every_type_that_has_no_patient_is_out_of_reach_for_a_patients_scope() -> None:
    from governance.permit import Denied, decide
    from standards.compartment import PATIENT

    for row in ROWS:
        if not isinstance(row.scope, Needs) or not row.scope.letter:
            continue
        decision = decide("patient/*.cruds", row, ("p",))
        inside = row.scope.resource in PATIENT and row.partly
        assert isinstance(decision, Denied) != inside, row.code
