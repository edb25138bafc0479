"""A tour of publishing with fhirpy: publish, replace, append, folder, retrieve, who replaced what.

    FHIR=http://127.0.0.1:8080/fhir TOKEN=… .venv/bin/python examples/publish_tour.py

The exchange runs (`make demo`), and README.md says how to get the token. Each `# %%` is a cell; every
one prints what it did. Running it again publishes anew about the same person.
"""

# %% A client, and how a submission is sent: one transaction Bundle, all or nothing
from __future__ import annotations

import base64
import os
import uuid
from typing import Any

from a_submission import submission
from fhirpy import SyncFHIRClient

client = SyncFHIRClient(
    os.environ["FHIR"],
    authorization=f"Bearer {os.environ['TOKEN']}",
    extra_headers={"Accept": "application/fhir+json", "Content-Type": "application/fhir+json"},
)
MHD = "https://profiles.ihe.net/ITI/MHD"


def publish(bundle: dict[str, Any]) -> list[str]:
    """ITI-65. What was made or changed, as Type/id, in the order of the Bundle's entries."""
    answer = client.execute("", method="post", data=bundle)
    return ["/".join(e["response"]["location"].split("/")[-2:]) for e in answer["entry"]]


def a_document(patient: str, text: str, **elements: Any) -> dict[str, Any]:
    """A submission of one document; `elements` are added to its DocumentReference."""
    bundle = submission(patient, text.encode())
    bundle["entry"][1]["resource"] |= elements
    return bundle


def related(code: str, document: str) -> dict[str, Any]:
    """The relatesTo of a document that replaces or appends another."""
    return {"relatesTo": [{"code": code, "target": {"reference": document}}]}


# %% Somebody to write about: a source feeds its people first (ITI-104)
NUMBER = {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990004242"}
person = client.execute(
    "Patient",
    method="put",
    params={"identifier": f"{NUMBER['system']}|{NUMBER['value']}"},
    data={
        "resourceType": "Patient",
        "identifier": [NUMBER],
        "name": [{"family": "Tour", "given": ["Ada"]}],
        "birthDate": "2024-05-01",
    },
)
patient = f"Patient/{person['id']}"
print("person   ", patient)

# %% Publish a document
_, first, _ = publish(a_document(patient, "Seen at home. All well."))
print("published", first)

# %% Replace it: the old one is superseded in the same transaction
_, second, _ = publish(
    a_document(patient, "Seen at home. Weight 4.2 kg.", **related("replaces", first))
)
print("replaced ", first, "by", second)

# %% Append to it: both stay current
_, addendum, _ = publish(
    a_document(patient, "The scales were checked.", **related("appends", second))
)
print("appended ", addendum, "to", second)


# %% Put both into a Folder
def a_folder(title: str, members: list[str]) -> dict[str, Any]:
    """A submission of one Folder with these members."""
    bundle = submission(patient, b"-")
    submission_set = bundle["entry"][0]
    concept = {"coding": [{"system": "https://throughline.example/codes", "code": "first-year"}]}
    made = {
        "resourceType": "List",
        "extension": [
            {
                "url": f"{MHD}/StructureDefinition/ihe-designationType",
                "valueCodeableConcept": concept,
            }
        ],
        "identifier": [
            {
                "use": "usual",
                "system": "urn:ietf:rfc:3986",
                "value": f"urn:oid:2.25.{uuid.uuid4().int}",
            }
        ],
        "status": "current",
        "mode": "working",
        "title": title,
        "code": {"coding": [{"system": f"{MHD}/CodeSystem/MHDlistTypes", "code": "folder"}]},
        "subject": {"reference": patient},
        "entry": [{"item": {"reference": m}} for m in members],
    }
    url = f"urn:uuid:{uuid.uuid4()}"
    submission_set["resource"]["entry"] = [{"item": {"reference": url}}]
    entry = {"fullUrl": url, "resource": made, "request": {"method": "POST", "url": "List"}}
    bundle["entry"] = [submission_set, entry]
    return bundle


_, folder = publish(a_folder("First year", [second, addendum]))
print("folder   ", folder)

# %% Replace what is in it: the new document joins, the addendum falls with the old one
_, third, _ = publish(
    a_document(patient, "Seen at home. Weight 4.3 kg.", **related("replaces", second))
)
held = client.execute(folder, method="get")
members = [e["item"]["reference"] for e in held["entry"]]
print("it holds ", ", ".join(members))

# %% Find what is current (ITI-67), and retrieve it (ITI-68)
for found in client.resources("DocumentReference").search(patient=patient, status="current"):
    where = found.content[0].attachment.url
    binary = client.execute("/".join(where.split("/")[-2:]), method="get")
    print("current  ", found.to_reference().reference, base64.b64decode(binary["data"]).decode())

# %% Who replaced what: every version of every document, newest first
history = client.execute("DocumentReference/_history", method="get", params={"patient": patient})
for version in (entry["resource"] for entry in history["entry"]):
    links = [
        f"{r['code']} {r['target']['reference']}"
        for r in version.get("relatesTo", ())
        if version["meta"]["versionId"] == "1"
    ]
    print(
        "version  ",
        version["meta"]["lastUpdated"],
        f"{version['resourceType']}/{version['id']}",
        version["status"],
        *links,
    )

# %% And what was current at a time: when the second document had just come
moment = client.execute(f"{second}/_history/1", method="get")["meta"]["lastUpdated"]
asked = {"patient": patient, "status": "current", "_at": moment}
then = client.execute("DocumentReference/_history", method="get", params=asked)
for version in (entry["resource"] for entry in then["entry"]):
    print("then     ", f"{version['resourceType']}/{version['id']}", "was current at", moment)
