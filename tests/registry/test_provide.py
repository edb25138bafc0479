"""ITI-65: what a submission makes, what sending it again does, and who may submit what."""

from __future__ import annotations

import asyncio
import base64
from copy import deepcopy
from pathlib import Path

import httpx
import pytest

from chassis.mongo import Mongo
from standards.mhd_rules import EMPTY_SHA1
from tests.makers_mhd import (
    NHS,
    a_bundle,
    a_document,
    a_folder,
    a_patient,
    concept,
    entry,
    locations,
    nhs_number,
    publish,
    sha1,
    unique,
)
from tests.running import Exchange, running


async def current(client: httpx.AsyncClient, patient: str, **more: str) -> list[dict]:
    answer = await client.get(
        "/DocumentReference", params={"patient": patient, "status": "current", **more}
    )
    assert answer.status_code == 200, answer.text
    return [e["resource"] for e in answer.json().get("entry", ())]


async def test_a_document_is_found_and_retrieved_as_it_was_submitted(
    source: httpx.AsyncClient,
) -> None:
    person = await a_patient(source)
    content = bytes(range(1, 256)) * 40
    answer = await publish(source, a_bundle(a_document(person, content=content)))
    assert [w.split("/")[0] for w in locations(answer)] == ["List", "DocumentReference", "Binary"]
    (found,) = await current(source, person)
    attachment = found["content"][0]["attachment"]
    assert (attachment["size"], attachment["hash"]) == (len(content), sha1(content))
    raw = await source.get(attachment["url"], headers={"Accept": "text/plain"})
    assert raw.content == content
    assert {i["use"] for i in found["identifier"]} == {"official"}


async def test_hash_and_size_are_filled_in_when_they_were_not_sent(
    source: httpx.AsyncClient,
) -> None:
    person = await a_patient(source)
    bundle = a_bundle(a_document(person, content=b"unmeasured"), level="Minimal")
    for name in ("hash", "size"):
        bundle["entry"][1]["resource"]["content"][0]["attachment"].pop(name)
    assert (await publish(source, bundle)).status_code == 200
    (found,) = await current(source, person)
    assert found["content"][0]["attachment"]["size"] == 10
    assert found["content"][0]["attachment"]["hash"] == sha1(b"unmeasured")


@pytest.mark.parametrize("level", ["Minimal", "UnContained.Comprehensive", "Comprehensive"])
@pytest.mark.parametrize("style", ["type", "use", "both"])
async def test_each_level_is_taken_with_each_identifier_style(
    source: httpx.AsyncClient, person: str, level: str, style: str
) -> None:
    bundle = a_bundle(a_document(person, masterIdentifier=unique(style=style)), level=level)
    bundle["entry"][0]["resource"]["identifier"] = [unique(style=style)]
    answer = await publish(source, bundle)
    made = await source.get(locations(answer)[0])
    kinds = {(i["use"], i["type"]["coding"][0]["code"]) for i in made.json()["identifier"]}
    assert kinds == {("usual", "uniqueId"), ("official", "entryUUID")}


async def test_a_republished_submission_changes_nothing(
    exchange: Exchange, source: httpx.AsyncClient
) -> None:
    person = await a_patient(source)
    bundle = a_bundle(a_document(person))
    first, second = await publish(source, bundle), await publish(source, bundle)
    assert first.text == second.text
    assert len(await current(source, person)) == 1
    bundle["entry"][0]["resource"]["title"] = "another"
    third = await publish(source, bundle)
    assert third.status_code == 400
    assert "XDSDuplicateUniqueIdInRegistry" in third.text


async def test_one_submission_sent_twice_at_once_is_made_once(source: httpx.AsyncClient) -> None:
    person = await a_patient(source)
    bundle = a_bundle(a_document(person))
    answers = await asyncio.gather(*(publish(source, bundle) for _ in range(6)))
    assert {a.status_code for a in answers} == {200}
    assert len({a.text for a in answers}) == 1
    assert len(await current(source, person)) == 1


async def test_a_uniqueid_may_occur_again_over_the_same_bytes_only(
    source: httpx.AsyncClient,
) -> None:
    person, other = await a_patient(source), await a_patient(source)
    name = unique()
    assert (
        await publish(source, a_bundle(a_document(person, masterIdentifier=name)))
    ).status_code == 200
    assert (
        await publish(source, a_bundle(a_document(other, masterIdentifier=name)))
    ).status_code == 200
    refused = await publish(
        source, a_bundle(a_document(other, masterIdentifier=name, content=b"other"))
    )
    assert refused.status_code == 400
    assert "XDSNonIdenticalHash" in refused.text
    taken = a_bundle(a_document(other))
    taken["entry"][0]["resource"]["identifier"] = [name]
    assert "XDSDuplicateUniqueIdInRegistry" in (await publish(source, taken)).text


async def test_an_entryuuid_in_use_is_refused(source: httpx.AsyncClient, person: str) -> None:
    made = locations(await publish(source, a_bundle(a_document(person))))[1].split("/")[1]
    uuid = {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{made}", "use": "official"}
    again = await publish(source, a_bundle(a_document(person, identifier=[uuid])))
    assert again.status_code == 400
    mine = {**uuid, "value": "urn:uuid:5f0a7b0e-1111-4000-8000-000000000001"}
    assert (
        await publish(source, a_bundle(a_document(person, identifier=[mine])))
    ).status_code == 200
    assert (
        await publish(source, a_bundle(a_document(person, identifier=[mine])))
    ).status_code == 400


async def test_a_subject_may_be_named_by_identifier_absolute_url_or_patient_entry(
    exchange: Exchange, source: httpx.AsyncClient
) -> None:
    number = nhs_number(424242)
    identifier = [{"system": NHS, "value": number}]
    person = await a_patient(source, identifier=identifier)
    logical = {"identifier": identifier[0]}
    assert (await publish(source, a_bundle(a_document(logical)))).status_code == 200
    assert (
        await publish(source, a_bundle(a_document(f"{exchange.base}/{person}")))
    ).status_code == 200
    patient = entry(
        "POST",
        "Patient",
        {"resourceType": "Patient", "identifier": identifier},
        "urn:uuid:5f0a7b0e-2222-4000-8000-000000000001",
    )
    answer = await publish(source, a_bundle(a_document(patient["fullUrl"]), extra=(patient,)))
    assert locations(answer)[-1] == person
    found = await current(source, person)
    assert [f["subject"]["reference"] for f in found] == [person] * 3


async def test_documents_on_demand_delayed_and_held_elsewhere_need_no_binary(
    source: httpx.AsyncClient,
) -> None:
    person = await a_patient(source)
    bundle = a_bundle(*(a_document(person, _content=None) for _ in range(3)))
    measures = ({}, {"size": 0, "hash": EMPTY_SHA1}, {"size": 5, "hash": sha1(b"there")})
    for n, measure in enumerate(measures, start=1):
        attachment = bundle["entry"][n]["resource"]["content"][0]["attachment"]
        attachment |= {"url": f"https://elsewhere.example/{n}", **measure}
    answer = await publish(source, bundle)
    assert answer.status_code == 200, answer.text
    urls = {d["content"][0]["attachment"]["url"] for d in await current(source, person)}
    assert urls == {f"https://elsewhere.example/{n}" for n in (1, 2, 3)}


async def test_a_bundle_in_xml_is_the_same_submission(
    exchange: Exchange, source: httpx.AsyncClient
) -> None:
    from chassis.body import parse_json
    from chassis.call import dumps
    from standards import fhir_xml

    person = await a_patient(source)
    body = fhir_xml.render(parse_json(dumps(a_bundle(a_document(person)))))
    answer = await source.post(
        "",
        content=body,
        headers={"Content-Type": "application/fhir+xml", "Accept": "application/fhir+xml"},
    )
    assert answer.status_code == 200, answer.text
    assert '<type value="transaction-response"/>' in answer.text
    assert len(await current(source, person)) == 1


async def test_the_audit_of_a_submission_names_it_and_the_patient(
    source: httpx.AsyncClient,
) -> None:
    person = await a_patient(source)
    made = locations(await publish(source, a_bundle(a_document(person))))
    said = await source.get(
        "/AuditEvent", params={"patient": person, "date": "ge2020", "subtype": "ITI-65"}
    )
    (event,) = [e["resource"] for e in said.json()["entry"]]
    assert event["outcome"] == "0"
    assert {e["what"].get("reference") for e in event["entity"]} >= {person, made[0]}


async def test_a_refused_submission_leaves_its_bytes_to_the_sweep(
    mongo: Mongo, source: httpx.AsyncClient, person: str
) -> None:
    name = unique()
    await publish(source, a_bundle(a_document(person, masterIdentifier=name)))
    await publish(source, a_bundle(a_document(person, masterIdentifier=name, content=b"more")))
    deposits = mongo.table("repository", "deposits")
    assert await deposits.count({"state": "pending"}) == 0


@pytest.mark.parametrize(
    ("scope", "status"),
    [
        ("ITI-65", 200),
        ("system/DocumentReference.c system/List.c system/Binary.c", 200),
        ("system/DocumentReference.c system/List.c", 403),
        ("system/DocumentReference.c system/Binary.c", 403),
        ("system/DocumentReference.rs system/List.cruds system/Binary.c", 403),
        ("system/DocumentReference.c?type=GN-DISCH system/List.c system/Binary.c", 200),
        ("system/DocumentReference.c?type=GN-OPLET system/List.c system/Binary.c", 403),
    ],
)
async def test_a_token_must_reach_every_entry(
    exchange: Exchange, person: str, scope: str, status: int
) -> None:
    before = await exchange.mongo.table("registry", "documents").count({})
    async with exchange.as_client(scope) as client:
        answer = await publish(client, a_bundle(a_document(person)))
    assert answer.status_code == status, answer.text
    made = await exchange.mongo.table("registry", "documents").count({}) - before
    assert made == (status == 200)


async def test_a_minimal_submission_may_be_about_nobody(source: httpx.AsyncClient) -> None:
    name = unique()
    bundle = a_bundle(a_document("Patient/x", masterIdentifier=name), level="Minimal")
    for place in (0, 1):
        bundle["entry"][place]["resource"].pop("subject")
    assert (await publish(source, bundle)).status_code == 200
    found = await source.get("/DocumentReference", params={"identifier": name["value"]})
    assert found.json()["total"] == 1


async def test_a_folder_only_gains_members(source: httpx.AsyncClient) -> None:
    person = await a_patient(source)
    document = {**a_document(person), "_url": "urn:uuid:5f0a7b0e-3333-4000-8000-000000000001"}
    bundle = a_bundle(document, folders=(a_folder(person, members=(document["_url"],)),))
    made = locations(await publish(source, bundle))
    folder = (await source.get(made[-1])).json()
    assert [e["item"]["reference"] for e in folder["entry"]] == [made[1]]
    new = {**a_document(person), "_url": "urn:uuid:5f0a7b0e-3333-4000-8000-000000000002"}
    changed = deepcopy(folder)
    changed["entry"].append({"item": {"reference": new["_url"]}})
    answer = await publish(source, a_bundle(new, folders=(changed,)))
    assert answer.json()["entry"][-1]["response"]["etag"] == 'W/"2"'
    grown = (await source.get(made[-1])).json()
    assert len(grown["entry"]) == 2
    assert grown["date"] > folder["date"]
    assert [i["value"] for i in grown["identifier"]] == [i["value"] for i in folder["identifier"]]
    shrunk = deepcopy(grown)
    shrunk["entry"].pop(0)
    refused = await publish(source, a_bundle(a_document(person), folders=(shrunk,)))
    assert refused.status_code == 400
    history = (await source.get(f"{made[-1]}/_history")).json()
    assert [e["resource"]["meta"]["versionId"] for e in history["entry"]] == ["2", "1"]


async def test_lenient_codes_are_stored_for_their_submitter_only(
    mongod_uri: str, mongo: Mongo, database_prefix: str, tmp_path: Path
) -> None:
    async with running(mongo, mongod_uri, database_prefix, tmp_path, codes="lenient") as lenient:  # noqa: SIM117  the clients need it open
        async with (
            lenient.as_client() as system,
            lenient.as_client(role="R-GP", organisation="RM3") as mine,
            lenient.as_client(role="R-GP", organisation="R0A") as other,
        ):
            person = await a_patient(system)
            answer = await publish(mine, a_bundle(a_document(person, type=concept("urn:x", "odd"))))
            warning = answer.json()["entry"][1]["response"]["outcome"]["issue"][0]
            assert (warning["severity"], warning["code"]) == ("warning", "code-invalid")
            _, document, binary = locations(answer)
            for client, total, status in ((system, 1, 200), (mine, 1, 200), (other, 0, 404)):
                found = await client.get(
                    "/DocumentReference", params={"patient": person, "status": "current"}
                )
                assert found.json()["total"] == total
                assert (await client.get(document)).status_code == status
                raw = await client.get(binary, headers={"Accept": "*/*"})
                assert raw.status_code == status


async def test_fifty_documents_go_in_together(source: httpx.AsyncClient) -> None:
    person = await a_patient(source)
    bundle = a_bundle(*(a_document(person, content=f"number {n}".encode()) for n in range(50)))
    made = locations(await publish(source, bundle))
    assert len(made) == 101
    assert base64.b64decode((await source.get(made[2])).json()["data"]) == b"number 0"
