"""ITI-65: what a submission makes, what sending it again does, and who may submit what."""

from __future__ import annotations

import asyncio
import base64
import json
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


async def test_a_submission_built_again_under_new_fullurls_is_the_same(
    source: httpx.AsyncClient,
) -> None:
    person = await a_patient(source)
    bundle = a_bundle(a_document(person))
    again = json.dumps(bundle)
    for number, held in enumerate(bundle["entry"]):
        again = again.replace(
            held["fullUrl"], f"urn:uuid:5f0a7b0e-5555-4000-8000-00000000000{number}"
        )
    first, second = await publish(source, bundle), await publish(source, json.loads(again))
    assert locations(first) == locations(second)
    assert len(await current(source, person)) == 1


async def test_of_racing_submissions_under_one_uniqueid_exactly_one_wins(
    source: httpx.AsyncClient,
) -> None:
    """A SubmissionSet's name is never reusable; a document's only over the same bytes."""
    person = await a_patient(source)
    for shared in ("set", "document"):
        name = unique()
        racing = []
        for n in range(6):
            master = {"masterIdentifier": name} if shared == "document" else {}
            bundle = a_bundle(a_document(person, content=b"version %d" % n, **master))
            if shared == "set":
                bundle["entry"][0]["resource"]["identifier"] = [name]
            racing.append(bundle)
        answers = await asyncio.gather(*(publish(source, b) for b in racing))
        assert sorted(a.status_code for a in answers) == [200, 400, 400, 400, 400, 400]
        words = "XDSDuplicateUniqueId" if shared == "set" else "XDSNonIdenticalHash"
        assert all(words in a.text for a in answers if a.status_code == 400)
    assert len(await current(source, person)) == 2


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


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
async def test_the_patient_entry_may_be_a_get_a_post_or_a_put(
    source: httpx.AsyncClient, method: str
) -> None:
    identifier = [{"system": NHS, "value": nhs_number(1_234 + len(method) * 77 + ord(method[1]))}]
    person = await a_patient(source, identifier=identifier)
    query = f"Patient?identifier={NHS}|{identifier[0]['value']}"
    resource = {"resourceType": "Patient", "identifier": identifier}
    patient = entry(
        method, {"GET": query, "POST": "Patient", "PUT": person}[method], resource,
        "urn:uuid:5f0a7b0e-2222-4000-8000-000000000002",
    )  # fmt: skip
    if method == "GET":
        patient.pop("resource")
    answer = await publish(source, a_bundle(a_document(patient["fullUrl"]), extra=(patient,)))
    assert locations(answer)[-1] == person
    said = answer.json()["entry"][-1]["response"]
    assert said["status"] == "200 OK"
    told = [i["severity"] for i in said.get("outcome", {}).get("issue", ())]
    assert told == ([] if method == "GET" else ["information"])
    assert [f["subject"]["reference"] for f in await current(source, person)] == [person]


async def test_the_patient_entry_is_the_subject(source: httpx.AsyncClient, person: str) -> None:
    other = await a_patient(source)
    unknown = {
        "resourceType": "Patient",
        "identifier": [{"system": NHS, "value": "9999999999"}],
    }
    for patient, code in (
        (entry("PUT", other, {"resourceType": "Patient"}), "XDSPatientIdDoesNotMatch"),
        (entry("POST", "Patient", unknown), "XDSUnknownPatientId"),
        (entry("POST", "Patient", {"resourceType": "Patient"}), "XDSUnknownPatientId"),
    ):
        answer = await publish(source, a_bundle(a_document(person), extra=(patient,)))
        assert answer.status_code == 400
        assert code in answer.text
        assert answer.json()["issue"][0]["expression"] == ["Bundle.entry[3]"]


async def test_uncontained_people_are_lasting_and_those_who_are_here_are_active(
    source: httpx.AsyncClient, person: str
) -> None:
    def made(**changes: object) -> dict:
        document = a_document(person, contained=None, author=None, **changes)
        document["context"]["sourcePatientInfo"] = {"reference": person}
        return a_bundle(document, level="UnContained.Comprehensive")

    elsewhere = [{"reference": "https://directory.example/fhir/Practitioner/1"}]
    numbered = [{"identifier": {"system": "https://fhir.hl7.org.uk/Id/gmc-number", "value": "1"}}]
    for author in (elsewhere, numbered):
        bundle = made()
        bundle["entry"][1]["resource"]["author"] = author
        assert (await publish(source, bundle)).status_code == 200
    for place, value, where in (
        ("author", [{"display": "Dr Who"}], "author[0]"),
        ("author", [{"reference": "https://directory.example/fhir/Location/1"}], "author[0]"),
        ("author", [{"reference": "Patient/nobody"}], "author[0].reference"),
        ("authenticator", {"reference": "Practitioner/1"}, "authenticator.reference"),
    ):
        bundle = made()
        bundle["entry"][1]["resource"][place] = value
        answer = await publish(source, bundle)
        assert answer.status_code == 400, answer.text
        said = [i["expression"][0] for i in answer.json()["issue"]]
        assert said == [f"Bundle.entry[1].resource.{where}"]


async def test_what_context_related_names_here_must_be_here(
    source: httpx.AsyncClient, person: str
) -> None:
    made = locations(await publish(source, a_bundle(a_document(person))))[1]
    for reference, status in ((made, 200), ("DocumentReference/nothing", 400)):
        document = a_document(person)
        document["context"]["related"] = [{"reference": reference}]
        answer = await publish(source, a_bundle(document))
        assert answer.status_code == status, answer.text


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


async def test_a_folder_loses_a_member_to_who_has_seen_it(source: httpx.AsyncClient) -> None:
    person = await a_patient(source)
    made = locations(await publish(source, a_bundle(a_document(person), a_document(person))))
    first, second = made[1], made[3]
    folder = a_folder(person, members=(first, second))
    where = locations(await publish(source, a_bundle(folders=(folder,))))[1]
    shrunk = (await source.get(where)).json()
    shrunk["entry"].pop(0)

    async def put(condition: str | None) -> httpx.Response:
        bundle = a_bundle(folders=(shrunk,), also=(where,))
        bundle["entry"][0]["resource"]["entry"] = [{"item": {"reference": where}}]
        if condition:
            bundle["entry"][1]["request"]["ifMatch"] = condition
        return await publish(source, bundle)

    for condition, status, place in (
        (None, 400, "resource.entry"),
        ('W/"7"', 412, "request.ifMatch"),
        ("seven", 400, "request.ifMatch"),
    ):
        refused = await put(condition)
        assert refused.status_code == status, refused.text
        assert refused.json()["issue"][0]["expression"] == [f"Bundle.entry[1].{place}"]
    answer = await put('W/"1"')
    assert answer.json()["entry"][1]["response"]["etag"] == 'W/"2"', answer.text
    now = (await source.get(where)).json()
    assert [e["item"]["reference"] for e in now["entry"]] == [second]
    before = (await source.get(f"{where}/_history/1")).json()
    assert [e["item"]["reference"] for e in before["entry"]] == [first, second]
    assert (await put('W/"1"')).status_code == 412
    racing = await asyncio.gather(*(put('W/"2"') for _ in range(4)))
    assert sorted(a.status_code for a in racing) == [200, 412, 412, 412]


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
