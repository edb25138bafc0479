"""Submissions for tests: a_document() is one document, a_bundle() the ITI-65 around some of them."""

from __future__ import annotations

import base64
import hashlib
import itertools
import uuid
from copy import deepcopy
from typing import Any

import httpx

MHD = "https://profiles.ihe.net/ITI/MHD"
PROFILE = MHD + "/StructureDefinition/IHE.MHD.{}.ProvideBundle"
TYPES = f"{MHD}/CodeSystem/IHE.MHD.MHDIdentifierType"
NS = "https://throughline.example/fhir"
SNOMED = "http://snomed.info/sct"
NHS = "https://fhir.nhs.uk/Id/nhs-number"
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
FORMAT = "http://ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode"

_family = itertools.count()


def concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def an_oid() -> str:
    return f"urn:oid:2.25.{uuid.uuid4().int}"


def unique(value: str = "", *, style: str = "type") -> dict[str, Any]:
    """A uniqueId, marked by `type` (4.2.4), by `use` (to 4.2.3) or by both."""
    made: dict[str, Any] = {"system": "urn:ietf:rfc:3986", "value": value or an_oid()}
    if style in ("type", "both"):
        made["type"] = concept(TYPES, "uniqueId")
    if style in ("use", "both"):
        made["use"] = "usual"
    return made


def a_document(
    subject: str | dict[str, Any] = "Patient/1",
    *,
    content: bytes = b"A discharge summary of nobody.",
    kind: str = "GN-DISCH",
    **changes: Any,
) -> dict[str, Any]:
    """A Comprehensive DocumentReference whose `url` and bytes `a_bundle` fills in; `changes` replace
    elements (None leaves one out)."""
    made: dict[str, Any] = {
        "resourceType": "DocumentReference",
        "contained": [
            {
                "resourceType": "Practitioner",
                "id": "author",
                "name": [{"family": "Öztürk", "given": ["Zoë"]}],
            },
            {
                "resourceType": "Patient",
                "id": "source",
                "identifier": [{"system": f"{NS}/Id/local", "value": "42"}],
            },
        ],
        "masterIdentifier": unique(),
        "status": "current",
        "type": concept(f"{NS}/CodeSystem/document-type", kind),
        "category": [concept(f"{NS}/CodeSystem/document-class", "DISCH")],
        "subject": {"reference": subject} if isinstance(subject, str) else subject,
        "date": "2026-03-04T10:00:00Z",
        "author": [{"reference": "#author"}],
        "securityLabel": [concept(CONFIDENTIALITY, "N")],
        "content": [
            {
                "attachment": {
                    "contentType": "text/plain",
                    "language": "en-GB",
                    "creation": "2026-03-03T09:00:00Z",
                    "title": "Discharge summary",
                },
                "format": {"system": FORMAT, "code": "urn:ihe:iti:xds:2017:mimeTypeSufficient"},
            }
        ],
        "context": {
            "period": {"start": "2026-03-01", "end": "2026-03-03"},
            "facilityType": concept(f"{NS}/CodeSystem/facility-type", "HOSP"),
            "practiceSetting": concept(SNOMED, "310000008"),
            "sourcePatientInfo": {"reference": "#source"},
        },
        "_content": content,
    }
    made |= changes
    return {k: v for k, v in made.items() if v is not None}


def related(code: str, target: str) -> dict[str, Any]:
    """The relatesTo of a document."""
    return {"relatesTo": [{"code": code, "target": {"reference": target}}]}


def a_folder(
    subject: str = "Patient/1", *, members: tuple[str, ...] = (), **changes: Any
) -> dict[str, Any]:
    """A Comprehensive Folder."""
    made: dict[str, Any] = {
        "resourceType": "List",
        "extension": [
            {"url": f"{MHD}/StructureDefinition/ihe-designationType",
             "valueCodeableConcept": concept(f"{NS}/CodeSystem/folder", "case")}
        ],
        "identifier": [unique()],
        "status": "current",
        "mode": "working",
        "title": "A case",
        "code": concept(f"{MHD}/CodeSystem/MHDlistTypes", "folder"),
        "subject": {"reference": subject},
        "entry": [{"item": {"reference": m}} for m in members],
    }  # fmt: skip
    made |= changes
    return {k: v for k, v in made.items() if v not in (None, [])}


def a_bundle(
    *documents: dict[str, Any],
    level: str = "Comprehensive",
    subject: str | dict[str, Any] | None = None,
    folders: tuple[dict[str, Any], ...] = (),
    also: tuple[str, ...] = (),
    extra: tuple[dict[str, Any], ...] = (),
) -> dict[str, Any]:
    """The transaction Bundle of a submission: a SubmissionSet, each document with its Binary, folders.

    Entry 0 is the SubmissionSet; then come DocumentReference and Binary by turns; then folders and
    `extra` entries. A folder with an `id` is PUT. `also` are references that the SubmissionSet lists.
    """
    entries: list[dict[str, Any]] = []
    items: list[str] = []
    for given in documents:
        document = deepcopy(given)
        content = document.pop("_content", None)
        url = document.pop("_url", f"urn:uuid:{uuid.uuid4()}")
        items.append(url)
        entries.append(entry("POST", "DocumentReference", document, url))
        if content is not None:
            binary = f"urn:uuid:{uuid.uuid4()}"
            attachment = document["content"][0]["attachment"]
            measured = {"hash": sha1(content), "size": len(content)}
            document["content"][0]["attachment"] = {"url": binary, **measured, **attachment}
            entries.append(
                entry(
                    "POST",
                    "Binary",
                    {
                        "resourceType": "Binary",
                        "contentType": attachment.get("contentType", "text/plain"),
                        "data": base64.b64encode(content).decode(),
                    },
                    binary,
                )
            )
    for given in folders:
        folder = deepcopy(given)
        url = folder.pop("_url", f"urn:uuid:{uuid.uuid4()}")
        if "id" in folder:
            entries.append(entry("PUT", f"List/{folder['id']}", folder, url))
        else:
            entries.append(entry("POST", "List", folder, url))
        items.append(url)
    whose = subject or (documents[0].get("subject") if documents else folders[0].get("subject"))
    whose = {"reference": whose} if isinstance(whose, str) else whose
    return {
        "resourceType": "Bundle",
        "meta": {"profile": [PROFILE.format(level)]},
        "type": "transaction",
        "entry": [
            entry(
                "POST", "List", a_submission_set([*items, *also], whose), f"urn:uuid:{uuid.uuid4()}"
            ),
            *entries,
            *extra,
        ],
    }


def a_submission_set(items: list[str], subject: dict[str, Any] | None) -> dict[str, Any]:
    made: dict[str, Any] = {
        "resourceType": "List",
        "contained": [
            {"resourceType": "Practitioner", "id": "author", "name": [{"family": "Marsh", "given": ["Ruth"]}]}
        ],
        "extension": [
            {"url": f"{MHD}/StructureDefinition/ihe-sourceId",
             "valueIdentifier": {"system": "urn:ietf:rfc:3986", "value": "urn:oid:2.25.7"}},
            {"url": f"{MHD}/StructureDefinition/ihe-designationType",
             "valueCodeableConcept": concept(f"{NS}/CodeSystem/document-type", "GN-DISCH")},
        ],
        "identifier": [unique()],
        "status": "current",
        "mode": "working",
        "code": concept(f"{MHD}/CodeSystem/MHDlistTypes", "submissionset"),
        "subject": subject,
        "date": "2026-03-04T11:00:00Z",
        "source": {"reference": "#author"},
        "entry": [{"item": {"reference": i}} for i in items],
    }  # fmt: skip
    return {k: v for k, v in made.items() if v not in (None, [])}


def entry(method: str, url: str, resource: dict[str, Any], full_url: str = "") -> dict[str, Any]:
    made: dict[str, Any] = {"resource": resource, "request": {"method": method, "url": url}}
    return {"fullUrl": full_url, **made} if full_url else made


def a_patch(document: str) -> dict[str, Any]:
    """The PATCH entry that turns a document superseded; `document` is `DocumentReference/x`."""
    parts = [
        {"name": "path", "valueString": "DocumentReference.status"},
        {"name": "type", "valueCode": "replace"},
        {"name": "value", "valueCode": "superseded"},
    ]
    operation = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}
    return entry("PATCH", document, operation)


def sha1(content: bytes) -> str:
    return base64.b64encode(hashlib.sha1(content).digest()).decode()


def nhs_number(number: int) -> str:
    """The valid NHS number of the test range 999… with this serial."""
    while True:
        nine = f"999{number % 1_000_000:06d}"
        check = 11 - sum(int(d) * (10 - i) for i, d in enumerate(nine)) % 11
        if check != 10:
            return nine + str(check % 11)
        number += 1


async def a_patient(client: httpx.AsyncClient, **elements: Any) -> str:
    """A person fed by ITI-104; `Patient/x`. Another call without an identifier feeds another person."""
    identifier = elements.pop(
        "identifier", [{"system": NHS, "value": nhs_number(next(_family) * 7 + 100)}]
    )
    patient = {
        "resourceType": "Patient",
        "identifier": identifier,
        "name": [{"family": f"Test{next(_family)}", "given": ["Anna"]}],
        "birthDate": "1980-01-02",
        "active": True,
        **elements,
    }
    first = identifier[0]
    answer = await client.put(
        "/Patient", params={"identifier": f"{first['system']}|{first['value']}"}, json=patient,
        headers={"Content-Type": "application/fhir+json"},
    )  # fmt: skip
    assert answer.status_code in (200, 201), answer.text
    return f"Patient/{answer.json()['id']}"


async def publish(
    client: httpx.AsyncClient, bundle: dict[str, Any], **headers: str
) -> httpx.Response:
    """ITI-65."""
    return await client.post(
        "", json=bundle, headers={"Content-Type": "application/fhir+json", **headers}
    )


def locations(answer: httpx.Response) -> list[str]:
    """What was made or changed, as `Type/id`, one per request entry."""
    assert answer.status_code == 200, answer.text
    said = [e["response"]["location"] for e in answer.json()["entry"]]
    return ["/".join(url.split("/fhir/")[1].split("/")[:2]) for url in said]
