"""A tour with fhirpy of documents that stay where they are: the NRL door and the record locator.

    FHIR=http://127.0.0.1:8080/fhir TOKEN=… .venv/bin/python examples/pointers_tour.py

The exchange runs (`make demo`), and README.md says how to get the token. ELSEWHERE is an address that the
community lists for your organisation (`retrieval_sources.csv` of its pack; the demo's own list has none for
the demo's client). Without it the tour shows what happens to an address on no list. Each `# %%` is a cell.
"""

# %% A client, and somebody to write about: a source feeds its people first (ITI-104)
from __future__ import annotations

import base64
import os
from typing import Any

from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import OperationOutcome

client = SyncFHIRClient(
    os.environ["FHIR"],
    authorization=f"Bearer {os.environ['TOKEN']}",
    extra_headers={"Accept": "application/fhir+json", "Content-Type": "application/fhir+json"},
)
ORGANISATION = os.environ.get("ORGANISATION", "TL-DEMO")
ELSEWHERE = os.environ.get("ELSEWHERE", "https://provider.example/plans/1.pdf")
ENGLAND = "https://fhir.nhs.uk/England"
PRODUCER, CONSUMER = "nrl/producer/DocumentReference", "nrl/consumer/DocumentReference"
NUMBER = {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990004242"}
WHO = f"{NUMBER['system']}|{NUMBER['value']}"
client.execute(
    "Patient",
    method="put",
    params={"identifier": WHO},
    data={
        "resourceType": "Patient",
        "identifier": [NUMBER],
        "name": [{"family": "Tour", "given": ["Ada"]}],
        "birthDate": "2024-05-01",
    },
)


# %% What a pointer is: who, what, whose and where, in the National Record Locator's own shape
def coded(system: str, code: str) -> dict[str, Any]:
    """A CodeableConcept."""
    return {"coding": [{"system": system, "code": code}]}


def a_pointer(url: str, **elements: Any) -> dict[str, Any]:
    """A pointer to a crisis plan at this address."""
    organisation = {
        "identifier": {
            "system": "https://fhir.nhs.uk/Id/ods-organization-code",
            "value": ORGANISATION,
        }
    }
    snomed = "http://snomed.info/sct"
    stability = f"{ENGLAND}/StructureDefinition/Extension-England-ContentStability"
    static = coded(f"{ENGLAND}/CodeSystem/England-NRLContentStability", "static")
    content = {
        "attachment": {"contentType": "application/pdf", "url": url},
        "format": {
            "system": f"{ENGLAND}/CodeSystem/England-NRLFormatCode",
            "code": "urn:nhs-ic:unstructured",
        },
        "extension": [{"url": stability, "valueCodeableConcept": static}],
    }
    return {
        "resourceType": "DocumentReference",
        "status": "current",
        "type": coded(snomed, "736253002"),
        "category": [coded(snomed, "734163000")],
        "subject": {"identifier": NUMBER},
        "author": [organisation],
        "custodian": organisation,
        "content": [content],
        "context": {"practiceSetting": coded(snomed, "788002001")},
        **elements,
    }


def said(outcome: Any) -> str:
    """The code of what was done."""
    return str(outcome["issue"][0]["details"]["coding"][0]["code"])


def found(door: str) -> dict[str, dict[str, Any]]:
    """The current pointers about this person at a door, by id."""
    bundle = client.execute(door, method="get", params={"subject:identifier": WHO})
    return {e["resource"]["id"]: e["resource"] for e in bundle.get("entry", [])}


# %% Publish a pointer
before = found(PRODUCER).keys()
print("published", said(client.execute(PRODUCER, method="post", data=a_pointer(ELSEWHERE))))
(first,) = found(PRODUCER).keys() - before

# %% A consumer finds it, and sees where the document comes from
content = found(CONSUMER)[first]["content"][0]
url = content["attachment"]["url"]
for extension in content["extension"]:
    if extension["url"].endswith("/retrieval-mechanism"):
        print(
            "fetched  ",
            {x["url"]: next(iter(list(x.values())[1:])) for x in extension["extension"]},
        )
print("address  ", "of the exchange" if url.startswith(os.environ["FHIR"]) else "as sent", url)

# %% Retrieve it: the exchange asks the organisation, with its own credentials, and verifies what comes
if url.startswith(os.environ["FHIR"]):
    try:
        binary = client.execute("/".join(url.split("/")[-2:]), method="get")
        print("retrieved", base64.b64decode(binary["data"]).decode().strip())
    except (
        OperationOutcome
    ) as refusal:  # it is away, or sends something else; the pointer stays listed
        print("refused  ", refusal)

# %% Supersede it, in one step; what was superseded is history
replacing = {"relatesTo": [{"code": "replaces", "target": {"identifier": {"value": first}}}]}
print(
    "replaced ",
    said(client.execute(PRODUCER, method="post", data=a_pointer(ELSEWHERE, **replacing))),
)
(second,) = found(PRODUCER).keys() - before
old = client.execute(f"DocumentReference/{first}", method="get")
print("now      ", first, old["status"])

# %% Update it as it was read
pointer = client.execute(f"{PRODUCER}/{second}", method="get")
pointer["description"] = "Crisis plan, reviewed"
print("updated  ", said(client.execute(f"{PRODUCER}/{second}", method="put", data=pointer)))

# %% Take it back: it is gone at the door, and its history stays
print("withdrawn", said(client.execute(f"{PRODUCER}/{second}", method="delete")))
print("left     ", len(found(CONSUMER).keys() & {first, second}))
history = client.execute(f"DocumentReference/{second}/_history", method="get")
for version in (entry["resource"] for entry in history["entry"]):
    print("version  ", version["meta"]["versionId"], version["status"])
