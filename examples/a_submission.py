"""Print an ITI-65 submission of one small document about a patient: `a_submission.py Patient/ID`.

Everything in it is plain JSON; copy it into whatever language your system is written in.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import uuid
from datetime import UTC, datetime
from typing import Any

MHD = "https://profiles.ihe.net/ITI/MHD"
LOCAL = "https://throughline.example/fhir/CodeSystem"


def submission(patient: str, text: bytes) -> dict[str, Any]:
    """A Comprehensive ProvideBundle with one text document."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    document, binary = f"urn:uuid:{uuid.uuid4()}", f"urn:uuid:{uuid.uuid4()}"
    author = {
        "resourceType": "Practitioner",
        "id": "author",
        "name": [{"family": "Marsh", "given": ["Alex"]}],
    }
    source = {
        "resourceType": "Patient",
        "id": "source",
        "identifier": [{"system": "https://example.org/our-case-numbers", "value": "1"}],
        "name": [{"text": "As known to the sender"}],
    }
    reference = {
        "resourceType": "DocumentReference",
        "contained": [author, source],
        "masterIdentifier": _unique(),
        "status": "current",
        "type": _code(f"{LOCAL}/document-type", "EY-ANV"),
        "category": [_code(f"{LOCAL}/document-class", "NOTE")],
        "subject": {"reference": patient},
        "date": now,
        "author": [{"reference": "#author"}],
        "securityLabel": [_code("http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "N")],
        "content": [
            {
                "attachment": {
                    "contentType": "text/plain",
                    "language": "en-GB",
                    "url": binary,
                    "size": len(text),
                    "hash": base64.b64encode(hashlib.sha1(text).digest()).decode(),  # noqa: S324  FHIR's choice
                    "title": "Antenatal contact",
                    "creation": now,
                },
                "format": {
                    "system": "http://ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode",
                    "code": "urn:ihe:iti:xds:2017:mimeTypeSufficient",
                },
            }
        ],
        "context": {
            "facilityType": _code(f"{LOCAL}/facility-type", "HOME"),
            "practiceSetting": _code("http://snomed.info/sct", "1078501000000104"),
            "sourcePatientInfo": {"reference": "#source"},
        },
    }
    submission_set = {
        "resourceType": "List",
        "contained": [author],
        "extension": [
            {
                "url": f"{MHD}/StructureDefinition/ihe-sourceId",
                "valueIdentifier": {
                    "system": "urn:ietf:rfc:3986",
                    "value": "urn:oid:2.25.1234567890",
                },
            },
            {
                "url": f"{MHD}/StructureDefinition/ihe-designationType",
                "valueCodeableConcept": _code(f"{LOCAL}/document-type", "EY-ANV"),
            },
        ],
        "identifier": [_unique()],
        "status": "current",
        "mode": "working",
        "code": _code(f"{MHD}/CodeSystem/MHDlistTypes", "submissionset"),
        "subject": {"reference": patient},
        "date": now,
        "source": {"reference": "#author"},
        "entry": [{"item": {"reference": document}}],
    }
    raw = {
        "resourceType": "Binary",
        "contentType": "text/plain",
        "data": base64.b64encode(text).decode(),
    }
    return {
        "resourceType": "Bundle",
        "meta": {"profile": [f"{MHD}/StructureDefinition/IHE.MHD.Comprehensive.ProvideBundle"]},
        "type": "transaction",
        "entry": [
            _post(f"urn:uuid:{uuid.uuid4()}", submission_set),
            _post(document, reference),
            _post(binary, raw),
        ],
    }


def _post(url: str, resource: dict[str, Any]) -> dict[str, Any]:
    return {
        "fullUrl": url,
        "resource": resource,
        "request": {"method": "POST", "url": resource["resourceType"]},
    }


def _code(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def _unique() -> dict[str, Any]:
    """A uniqueId: a fresh OID below 2.25, the arc of UUIDs."""
    return {
        "type": _code(f"{MHD}/CodeSystem/IHE.MHD.MHDIdentifierType", "uniqueId"),
        "system": "urn:ietf:rfc:3986",
        "value": f"urn:oid:2.25.{uuid.uuid4().int}",
    }


if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1].startswith("Patient/"):
        sys.exit("Say whose document it is: a_submission.py Patient/ID")
    print(json.dumps(submission(sys.argv[1], b"Seen at home. All well.\n"), indent=1))
