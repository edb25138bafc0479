"""FHIR documents that come as a Bundle inside the submission, in place of a Binary."""

from __future__ import annotations

import base64
import hashlib
import json
from copy import deepcopy
from typing import Any

import httpx
import pytest

from chassis.body import parse_json
from chassis.call import dumps
from standards import fhir_xml
from tests.makers_mhd import a_bundle, a_document, a_patient, entry, locations, publish
from tests.running import Exchange

URL = "urn:uuid:5f0a7b0e-7777-4000-8000-000000000001"
FORMS = ("application/fhir+json", "application/fhir+xml")


def a_fhir_document(**changes: Any) -> dict[str, Any]:
    """The smallest legal FHIR document, with a picture inside it."""
    made: dict[str, Any] = {
        "resourceType": "Bundle",
        "identifier": {"system": "urn:ietf:rfc:3986", "value": "urn:uuid:5f0a7b0e-7777-4000-8000-0000000000d0"},
        "type": "document",
        "timestamp": "2026-03-04T10:00:00Z",
        "entry": [
            {"fullUrl": "urn:uuid:5f0a7b0e-7777-4000-8000-0000000000d1",
             "resource": {"resourceType": "Composition", "status": "final", "type": {"text": "Summary"},
                          "date": "2026-03-04", "author": [{"display": "Ward 3"}], "title": "Summary"}},
            {"fullUrl": "urn:uuid:5f0a7b0e-7777-4000-8000-0000000000d2",
             "resource": {"resourceType": "Binary", "contentType": "image/png",
                          "data": base64.b64encode(b"a picture").decode()}},
        ],
    }  # fmt: skip
    made |= changes
    return {k: v for k, v in made.items() if v is not None}


def a_submission(person: str, form: str = FORMS[0], **changes: Any) -> dict[str, Any]:
    bundle = a_bundle(
        a_document(person, _content=None), extra=(entry("POST", "Bundle", a_fhir_document(**changes), URL),)
    )  # fmt: skip
    attachment = bundle["entry"][1]["resource"]["content"][0]["attachment"]
    attachment |= {"url": URL, "contentType": form}
    return bundle


async def found(client: httpx.AsyncClient, person: str) -> dict[str, dict[str, Any]]:
    """The person's current documents by media type."""
    answer = await client.get("/DocumentReference", params={"patient": person, "status": "current"})
    made = [e["resource"] for e in answer.json().get("entry", ())]
    return {d["content"][0]["attachment"]["contentType"]: d for d in made}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("sent", ["json", "xml"])
async def test_a_fhir_document_is_kept_in_the_form_it_names_and_in_the_other(
    source: httpx.AsyncClient, form: str, sent: str
) -> None:
    person = await a_patient(source)
    body = dumps(a_submission(person, form))
    if sent == "xml":
        body = fhir_xml.render(parse_json(body))
    kind = {"Content-Type": f"application/fhir+{sent}"}
    answer = await source.post("", content=body, headers=kind)
    made = locations(answer)
    assert [m.split("/")[0] for m in made] == ["List", "DocumentReference", "Binary"]
    documents = await found(source, person)
    assert set(documents) == set(FORMS)
    original = documents.pop(form)
    (other,) = documents.values()
    assert made[1] == f"DocumentReference/{original['id']}"
    assert other["relatesTo"] == [{"code": "transforms", "target": {"reference": made[1]}}]
    assert "relatesTo" not in original
    for copied in ("type", "category", "subject", "securityLabel", "author", "context", "status"):
        assert other[copied] == original[copied]
    assert other["masterIdentifier"]["value"] != original["masterIdentifier"]["value"]
    for document in (original, other):
        attachment = document["content"][0]["attachment"]
        raw = (await source.get(attachment["url"], headers={"Accept": "*/*"})).content
        assert attachment["size"] == len(raw)
        assert base64.b64decode(attachment["hash"]) == hashlib.sha1(raw).digest()
        read = json.loads(raw) if attachment["contentType"] == FORMS[0] else fhir_xml.parse(raw)
        assert read == a_fhir_document()
    listed = (await source.get(made[0])).json()["entry"]
    assert [e["item"]["reference"].split("/")[1] for e in listed] == [original["id"], other["id"]]


async def test_replacing_a_fhir_document_supersedes_both_its_forms(
    source: httpx.AsyncClient,
) -> None:
    person = await a_patient(source)
    old = locations(await publish(source, a_submission(person)))[1]
    new = a_submission(person)
    new["entry"][1]["resource"]["relatesTo"] = [{"code": "replaces", "target": {"reference": old}}]
    made = locations(await publish(source, new))
    current = await found(source, person)
    assert f"DocumentReference/{current[FORMS[0]]['id']}" == made[1]
    assert current[FORMS[1]]["relatesTo"][0]["target"]["reference"] == made[1]


@pytest.mark.parametrize(
    ("change", "where", "code"),
    [
        ({"type": "collection"}, "Bundle.entry[2].resource.type", "FHIRDocumentNotSupported"),
        ({"identifier": None}, "Bundle.entry[2].resource.identifier", "XDSRegistryMetadataError"),
        ({"timestamp": None}, "Bundle.entry[2].resource.timestamp", "XDSRegistryMetadataError"),
        ({"entry": None}, "Bundle.entry[2].resource.entry[0].resource", "XDSRegistryMetadataError"),
    ],
)
async def test_a_bundle_that_is_no_document_is_refused(
    source: httpx.AsyncClient, person: str, change: dict[str, Any], where: str, code: str
) -> None:
    answer = await publish(source, a_submission(person, **change))
    assert answer.status_code == 400
    (issue,) = answer.json()["issue"]
    assert (issue["expression"], issue["details"]["coding"][0]["code"]) == ([where], code)


@pytest.mark.parametrize(
    ("said", "element"),
    [
        ({"hash": "2jmj7l5rSw0yVb/vlWAYkK/YBwk="}, "hash"),
        ({"size": 7}, "size"),
        ({"contentType": "application/pdf"}, "contentType"),
    ],
)
async def test_its_reference_names_a_form_of_fhir_and_no_hash_or_size(
    source: httpx.AsyncClient, person: str, said: dict[str, Any], element: str
) -> None:
    bundle = a_submission(person)
    bundle["entry"][1]["resource"]["content"][0]["attachment"] |= said
    answer = await publish(source, bundle)
    assert answer.status_code == 400
    places = [i["expression"][0] for i in answer.json()["issue"]]
    assert places == [f"Bundle.entry[1].resource.content[0].attachment.{element}"]


async def test_a_fhir_document_belongs_to_one_reference(
    source: httpx.AsyncClient, person: str
) -> None:
    alone = a_bundle(
        a_document(person), extra=(entry("POST", "Bundle", a_fhir_document(), URL),)
    )  # fmt: skip
    assert "XDSMissingDocumentMetadata" in (await publish(source, alone)).text
    twice = a_submission(person)
    second = deepcopy(twice["entry"][1])
    second["fullUrl"] = "urn:uuid:5f0a7b0e-7777-4000-8000-000000000002"
    second["resource"]["masterIdentifier"]["value"] += "1"
    twice["entry"].append(second)
    twice["entry"][0]["resource"]["entry"].append({"item": {"reference": second["fullUrl"]}})
    assert "XDSMissingDocumentMetadata" in (await publish(source, twice)).text


async def test_a_fhir_document_needs_the_right_to_keep_bytes(
    exchange: Exchange, person: str
) -> None:
    async with exchange.as_client("system/DocumentReference.c system/List.c") as client:
        assert (await publish(client, a_submission(person))).status_code == 403


async def test_the_same_fhir_document_sent_again_changes_nothing(source: httpx.AsyncClient) -> None:
    person = await a_patient(source)
    bundle = a_submission(person)
    first, second = await publish(source, bundle), await publish(source, bundle)
    assert locations(first) == locations(second)
    assert len(await found(source, person)) == 2
