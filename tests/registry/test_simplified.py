"""ITI-105: one document with its bytes inside, published the way every submission is."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from typing import Any

import httpx
import pytest

from chassis.body import parse_json
from chassis.call import dumps
from standards import fhir_xml
from standards.mhd_publish import SIMPLIFIED
from tests.makers_mhd import MHD, NHS, TYPES, a_document, a_patient, concept, sha1, unique
from tests.running import Exchange, running

TABLES = ("documents", "lists", "registered", "documents_history", "lists_history")
Document = dict[str, Any]


def a_publication(person: str, content: bytes = b"A letter.", **changes: Any) -> Document:
    """A DocumentReference as ITI-105 takes it; None leaves an element out."""
    made = a_document(person, **changes)
    made.pop("_content")
    made["content"][0]["attachment"]["data"] = base64.b64encode(content).decode()
    return made


async def post(client: httpx.AsyncClient, document: Document, **headers: str) -> httpx.Response:
    return await client.post(
        "/DocumentReference", json=document,
        headers={"Content-Type": "application/fhir+json", **{k.replace("_", "-"): v for k, v in headers.items()}},
    )  # fmt: skip


async def stored(exchange: Exchange) -> list[int]:
    counts = [await exchange.mongo.table("registry", t).count({}) for t in TABLES]
    return [*counts, await exchange.mongo.table("repository", "deposits").count({})]


async def test_a_published_document_is_stored_with_its_bytes_moved_to_a_binary(
    exchange: Exchange, source: httpx.AsyncClient, person: str
) -> None:
    content = bytes(range(32, 128)) * 800
    answer = await post(source, a_publication(person, content))
    assert answer.status_code == 201, answer.text
    made = answer.json()
    attachment = made["content"][0]["attachment"]
    assert "data" not in attachment
    assert (attachment["size"], attachment["hash"]) == (len(content), sha1(content))
    where = f"{exchange.base}/DocumentReference/{made['id']}"
    assert (answer.headers["location"], answer.headers["etag"]) == (f"{where}/_history/1", 'W/"1"')
    assert (await source.get(where)).json() == made
    assert (
        await source.get(attachment["url"], headers={"Accept": "text/plain"})
    ).content == content
    found = await source.get(
        "/DocumentReference", params={"patient": person, "status": "current", "_id": made["id"]}
    )
    assert found.json()["total"] == 1


async def test_the_exchange_makes_the_submission_set(
    source: httpx.AsyncClient, person: str
) -> None:
    made = (await post(source, a_publication(person, b"set"))).json()
    answer = await source.get(
        "/List", params={"patient": person, "code": "submissionset", "status": "current"}
    )
    sets = [e["resource"] for e in answer.json()["entry"]]
    item = {"reference": f"DocumentReference/{made['id']}"}
    (submission,) = [s for s in sets if {"item": item} in s["entry"]]
    extensions = {x["url"].rpartition("/")[2]: x for x in submission["extension"]}
    assert extensions["ihe-sourceId"]["valueIdentifier"]["value"].startswith("urn:oid:2.25.")
    assert extensions["ihe-designationType"]["valueCodeableConcept"] == made["type"]
    assert submission["subject"] == made["subject"]
    assert submission["source"] == {"reference": "#author"}
    assert [c["id"] for c in submission["contained"]] == ["author"]
    names = {i["type"]["coding"][0]["code"]: i["value"] for i in submission["identifier"]}
    assert names["uniqueId"].startswith("urn:oid:2.25.")


async def test_an_organisation_alone_becomes_the_authororg_of_the_set(
    source: httpx.AsyncClient, person: str
) -> None:
    document = a_publication(person, b"by an organisation")
    document["contained"][0] = {"resourceType": "Organization", "id": "author", "name": "Open Door"}
    made = await post(source, document)
    assert made.status_code == 201, made.text
    answer = await source.get(
        "/List", params={"patient": person, "code": "submissionset", "status": "current", "_count": "1"}
    )  # fmt: skip
    submission = answer.json()["entry"][0]["resource"]
    (extension,) = submission["source"]["extension"]
    assert extension["url"] == f"{MHD}/StructureDefinition/ihe-authorOrg"
    assert submission["contained"][0]["name"] == "Open Door"


async def test_the_same_document_again_changes_nothing(
    exchange: Exchange, source: httpx.AsyncClient, person: str
) -> None:
    document = a_publication(person, b"sent twice, because the answer was lost")
    first = await post(source, document)
    before = await stored(exchange)
    second = await post(source, document)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert second.headers["content-location"] == first.headers["location"]
    assert await stored(exchange) == before


async def test_one_document_sent_many_times_at_once_is_made_once(
    source: httpx.AsyncClient, person: str
) -> None:
    document = a_publication(person, b"all at once")
    answers = await asyncio.gather(*(post(source, document) for _ in range(6)))
    assert sorted(a.status_code for a in answers) == [200] * 5 + [201]
    assert len({a.json()["id"] for a in answers}) == 1


async def test_xml_and_prefer_are_served_as_for_every_create(
    source: httpx.AsyncClient, person: str
) -> None:
    document = fhir_xml.render(parse_json(dumps(a_publication(person, b"in XML"))))
    answer = await source.post(
        "/DocumentReference", content=document,
        headers={"Content-Type": "application/fhir+xml", "Accept": "application/fhir+xml", "Prefer": "return=representation"},
    )  # fmt: skip
    assert answer.status_code == 201, answer.text
    assert b"<data" not in answer.content
    minimal = await post(source, a_publication(person, b"minimal"), Prefer="return=minimal")
    assert (minimal.status_code, minimal.content) == (201, b"")
    assert "location" in minimal.headers


async def test_a_subject_may_be_named_by_identifier(source: httpx.AsyncClient) -> None:
    number = {"system": NHS, "value": "9990548609"}
    person = await a_patient(source, identifier=[number])
    answer = await post(source, a_publication({"identifier": number}))
    assert answer.status_code == 201, answer.text
    assert answer.json()["subject"]["reference"] == person


async def test_the_profile_of_the_request_is_not_claimed_by_what_is_stored(
    source: httpx.AsyncClient, person: str
) -> None:
    document = a_publication(person, b"profiled", meta={"profile": [SIMPLIFIED, "urn:other"]})
    assert (await post(source, document)).json()["meta"]["profile"] == ["urn:other"]


async def test_addenda_are_taken_and_replacements_are_sent_by_iti_65(
    exchange: Exchange, source: httpx.AsyncClient, person: str
) -> None:
    first = (await post(source, a_publication(person, b"first"))).json()["id"]

    def relation(code: str) -> Document:
        target = {"reference": f"DocumentReference/{first}"}
        return {"relatesTo": [{"code": code, "target": target}]}

    addendum = await post(source, a_publication(person, b"more", **relation("appends")))
    assert addendum.status_code == 201, addendum.text
    before = await stored(exchange)
    refused = await post(source, a_publication(person, b"instead", **relation("replaces")))
    assert refused.status_code == 422
    assert refused.json()["issue"][0]["expression"] == ["DocumentReference.relatesTo[0]"]
    assert await stored(exchange) == before


# -- what is refused -------------------------------------------------------------------------------
def _attachment(document: Document) -> Document:
    return document["content"][0]["attachment"]


def _uuid() -> Document:
    return unique() | {
        "type": concept(TYPES, "entryUUID"),
        "value": "urn:uuid:5f0a7b0e-1111-4000-8000-00000000000a",
    }


BREACHES: dict[str, tuple[Callable[[Document], object], str, str]] = {
    "no subject": (lambda d: d.pop("subject"), "DocumentReference.subject", "XDSRegistryMetadataError"),
    "a stranger": (lambda d: d.update(subject={"reference": "Patient/nobody"}), "DocumentReference.subject", "XDSUnknownPatientId"),
    "superseded": (lambda d: d.update(status="superseded"), "DocumentReference.status", "XDSRegistryMetadataError"),
    "an entryUUID": (lambda d: d.update(identifier=[_uuid()]), "DocumentReference.identifier[0]", "XDSRegistryMetadataError"),
    "no uniqueId": (lambda d: d.pop("masterIdentifier"), "DocumentReference.masterIdentifier", "XDSRegistryMetadataError"),
    "no data": (lambda d: _attachment(d).pop("data"), "DocumentReference.content.attachment.data", "XDSRegistryMetadataError"),
    "a url": (lambda d: _attachment(d).update(url="urn:x"), "DocumentReference.content[0].attachment.url", "XDSRegistryMetadataError"),
    "no base64": (lambda d: _attachment(d).update(data="A=B"), "DocumentReference.content[0].attachment.data", "XDSRegistryMetadataError"),
    "another hash": (lambda d: _attachment(d).update(hash=sha1(b"x")), "DocumentReference.content[0].attachment.hash", "XDSRepositoryMetadataError"),
    "a size off by one": (lambda d: _attachment(d).update(size=10), "DocumentReference.content[0].attachment.size", "XDSRepositoryMetadataError"),
    "two contents": (lambda d: d["content"].append(deepcopy(d["content"][0])), "DocumentReference.content[1]", "XDSRegistryMetadataError"),
    "no media type": (lambda d: _attachment(d).pop("contentType"), "DocumentReference.content.attachment.contentType", "XDSRegistryMetadataError"),
    "a media type that is not shared": (lambda d: _attachment(d).update(contentType="application/x-tar"), "DocumentReference.content[0].attachment.contentType", "XDSRegistryMetadataError"),
    "a docStatus": (lambda d: d.update(docStatus="final"), "DocumentReference.docStatus", "XDSRegistryMetadataError"),
    "two categories": (lambda d: d["category"].append(d["category"][0]), "DocumentReference.category[1]", "XDSRegistryMetadataError"),
    "a type nobody agreed on": (lambda d: d.update(type=concept("urn:x", "y")), "DocumentReference.type", "XDSRegistryMetadataError"),
    "an author who is not here": (lambda d: (d["contained"].pop(0), d.update(author=[{"reference": "Practitioner/1"}])), "DocumentReference.author[0].reference", "UnresolvedReferenceException"),
    "a modifierExtension": (lambda d: d.update(modifierExtension=[{"url": "urn:x", "valueCode": "y"}]), "DocumentReference.modifierExtension[0]", "XDSRegistryMetadataError"),
}  # fmt: skip


@pytest.mark.parametrize("name", BREACHES)
async def test_a_document_that_breaks_a_rule_is_refused_and_nothing_is_stored(
    exchange: Exchange, source: httpx.AsyncClient, person: str, name: str
) -> None:
    change, where, xds = BREACHES[name]
    document = a_publication(person)
    change(document)
    before = await stored(exchange)
    answer = await post(source, document)
    assert answer.status_code == 422, answer.text
    issues = answer.json()["issue"]
    assert [(i["expression"], i["details"]["coding"][0]["code"]) for i in issues] == [
        ([where], xds)
    ]
    assert await stored(exchange) == before


@pytest.mark.parametrize(
    "pair",
    list(zip(BREACHES, [*list(BREACHES)[5:], *list(BREACHES)[:5]], strict=True)),
    ids=" and ".join,
)
async def test_two_breaches_at_once_are_findings_and_never_a_fault(
    exchange: Exchange, source: httpx.AsyncClient, person: str, pair: tuple[str, str]
) -> None:
    document = a_publication(person)
    for name in pair:
        with suppress(KeyError, IndexError):  # this breach needs what the other took away
            BREACHES[name][0](document)
    before = await stored(exchange)
    answer = await post(source, document)
    assert answer.status_code in (400, 422), answer.text
    assert all(i["expression"] and i["diagnostics"] for i in answer.json()["issue"])
    assert await stored(exchange) == before


async def test_all_faults_are_told_at_once_each_at_its_place(
    source: httpx.AsyncClient, person: str
) -> None:
    document = a_publication(person)
    for name in (
        "superseded",
        "an entryUUID",
        "another hash",
        "a type nobody agreed on",
        "a docStatus",
    ):
        BREACHES[name][0](document)
    answer = await post(source, document)
    places = {i["expression"][0] for i in answer.json()["issue"]}
    assert places == {
        "DocumentReference.status", "DocumentReference.identifier[0]", "DocumentReference.type", "DocumentReference.docStatus",
        "DocumentReference.content[0].attachment.hash",
    }  # fmt: skip


async def test_a_uniqueid_over_other_bytes_is_taken(source: httpx.AsyncClient, person: str) -> None:
    name = unique()
    assert (await post(source, a_publication(person, masterIdentifier=name))).status_code == 201
    taken = await post(source, a_publication(person, b"other bytes", masterIdentifier=name))
    assert taken.status_code == 409
    assert taken.json()["issue"][0]["details"]["coding"][0]["code"] == "XDSNonIdenticalHash"


async def test_a_longer_document_than_the_server_takes_is_refused(
    exchange: Exchange, mongod_uri: str, database_prefix: str, tmp_path: Any
) -> None:
    async with (
        running(exchange.mongo, mongod_uri, database_prefix, tmp_path, max_document=1000) as small,
        small.as_client() as client,
    ):
        person = await a_patient(client)
        assert (await post(client, a_publication(person, b"x" * 1001))).status_code == 413
        assert (await post(client, a_publication(person, b"x" * 1000))).status_code == 201


# -- who may, and what is told of it ---------------------------------------------------------------
@pytest.mark.parametrize(
    ("scope", "status"),
    [
        ("system/DocumentReference.c", 201),
        ("ITI-105", 201),
        ("system/DocumentReference.rs", 403),
        ("ITI-65", 403),
        ("system/List.c system/Binary.c", 403),
    ],
)
async def test_the_scope_is_that_of_creating_a_documentreference(
    exchange: Exchange, person: str, scope: str, status: int
) -> None:
    async with exchange.as_client(scope) as client:
        answer = await post(client, a_publication(person, scope.encode()))
        assert answer.status_code == status, answer.text


async def test_a_narrowed_scope_publishes_only_what_it_covers(
    exchange: Exchange, person: str
) -> None:
    space = "https://throughline.example/fhir/CodeSystem/document-class"
    async with exchange.as_client(f"system/DocumentReference.c?category={space}|DISCH") as client:
        assert (await post(client, a_publication(person, b"inside"))).status_code == 201
        before = await stored(exchange)
        outside = a_publication(person, b"outside", category=[concept(space, "NOTE")])
        assert (await post(client, outside)).status_code == 403
        assert (await stored(exchange))[:5] == before[:5]


async def test_the_audit_names_the_document_the_patient_and_the_transaction(
    source: httpx.AsyncClient,
) -> None:
    person = await a_patient(source)
    made = (await post(source, a_publication(person, b"audited"))).json()["id"]
    answer = await source.get(
        "/AuditEvent", params={"date": "ge2026-01-01", "patient": person, "_count": "20"}
    )
    events = [e["resource"] for e in answer.json()["entry"]]
    (event,) = [e for e in events if any(s["code"] == "ITI-105" for s in e["subtype"])]
    assert (event["action"], event["outcome"]) == ("C", "0")
    said = {e["what"].get("reference") for e in event["entity"]}
    assert {f"DocumentReference/{made}", person} <= said
    assert any(
        p.endswith("IHE.MHD.SimplifiedPublish.Audit.Recipient") for p in event["meta"]["profile"]
    )


async def test_lenient_codes_are_told_as_warnings_when_asked_for(
    exchange: Exchange, mongod_uri: str, database_prefix: str, tmp_path: Any
) -> None:
    async with (
        running(exchange.mongo, mongod_uri, database_prefix, tmp_path, codes="lenient") as lenient,
        lenient.as_client() as client,
    ):
        person = await a_patient(client)
        document = a_publication(person, b"odd", type=concept("urn:x", "y"))
        answer = await post(client, document, Prefer="return=OperationOutcome")
        assert answer.status_code == 201, answer.text
        assert answer.json()["issue"][0]["severity"] == "warning"
