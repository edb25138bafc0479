"""Pointers for tests: a_pointer() is one in the NRL's shape; `change` is it with one thing different."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import httpx

from tests.makers_mhd import NHS, SNOMED, a_patient, concept

ODS = "https://fhir.nhs.uk/Id/ods-organization-code"
ENGLAND = "https://fhir.nhs.uk/England"
OURS, THEIRS = "R0A", "RXV"
PRODUCER, CONSUMER = "nrl/producer/DocumentReference", "nrl/consumer/DocumentReference"
JSON = {"Content-Type": "application/fhir+json"}


def organisation(code: str) -> dict[str, Any]:
    return {"identifier": {"system": ODS, "value": code}}


def extension(name: str, system: str, code: str) -> dict[str, Any]:
    return {
        "url": f"{ENGLAND}/StructureDefinition/Extension-England-{name}",
        "valueCodeableConcept": concept(f"{ENGLAND}/CodeSystem/England-{system}", code),
    }


def a_pointer(number: str, custodian: str = OURS, **changes: Any) -> dict[str, Any]:
    """A pointer to a mental health crisis plan."""
    made: dict[str, Any] = {
        "resourceType": "DocumentReference",
        "status": "current",
        "docStatus": "final",
        "type": concept(SNOMED, "736253002"),
        "category": [concept(SNOMED, "734163000")],
        "subject": {"identifier": {"system": NHS, "value": number}},
        "author": [organisation(custodian)],
        "custodian": organisation(custodian),
        "description": "Crisis plan",
        "content": [
            {
                "attachment": {
                    "contentType": "application/pdf",
                    "url": "https://provider.example/plans/1.pdf",
                },
                "format": {
                    "system": f"{ENGLAND}/CodeSystem/England-NRLFormatCode",
                    "code": "urn:nhs-ic:unstructured",
                },
                "extension": [
                    extension("ContentStability", "NRLContentStability", "static"),
                    extension("NRLRetrievalMechanism", "NRLRetrievalMechanism", "Direct"),
                ],
            }
        ],
        "context": {"practiceSetting": concept(SNOMED, "788002001")},
    }
    return {k: v for k, v in (made | changes).items() if v is not None}


def change(pointer: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with another value at a dotted path (numbers index lists); None takes it away."""
    made = deepcopy(pointer)
    *way, last = [int(p) if p.isdigit() else p for p in path.split(".")]
    held: Any = made
    for step in way:
        held = held[step]
    if value is None:
        del held[last]
    else:
        held[last] = value
    return made


def relating(code: str, *ids: str) -> dict[str, Any]:
    return {"relatesTo": [{"code": code, "target": {"identifier": {"value": i}}} for i in ids]}


async def a_number(client: httpx.AsyncClient) -> str:
    """The NHS number of a person who is known here."""
    person = (await client.get(await a_patient(client))).json()
    return str(person["identifier"][0]["value"])


async def post(client: httpx.AsyncClient, pointer: dict[str, Any]) -> httpx.Response:
    return await client.post(PRODUCER, json=pointer, headers=JSON)


async def made(client: httpx.AsyncClient, pointer: dict[str, Any]) -> str:
    """The id of a pointer that was taken."""
    answer = await post(client, pointer)
    assert answer.status_code == 201, answer.text
    return answer.headers["location"].rpartition("/")[2]


def code(answer: httpx.Response) -> str:
    """The first code of the outcome."""
    return str(answer.json()["issue"][0]["details"]["coding"][0]["code"])
