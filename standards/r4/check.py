"""Is this resource an R4 resource at all? All that is wrong with its structure, at once. PURE.

Measure it: `python -m standards.r4.check` prints the microseconds per check of a 3 KB
DocumentReference, on the accepting and on the refusing path.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from standards.outcome import STRUCTURE, Issue
from standards.r4.accept import plainly_right
from standards.r4.walk import walk

MOST_ISSUES = 50


def check_structure(resource: dict[str, Any]) -> tuple[Issue, ...]:
    """Every way in which this parsed JSON object is no legal base R4 (4.0.1) resource; () when it is.

    Names, JSON types, cardinalities, choices, primitive formats, required codes, extensions,
    contained resources and narratives are looked at, in nested resources too; profiles are not.
    Each issue is of kind STRUCTURE with the FHIRPath of the place; past 50 they are counted only.
    Numbers may be int, float or Decimal. Nothing is raised, whatever the input.
    """
    if isinstance(resource, dict) and plainly_right(resource):
        return ()
    found = walk(resource, MOST_ISSUES)
    issues = [Issue(STRUCTURE, _sentence(where, words), where) for where, words in found.kept]
    if found.count > MOST_ISSUES:
        more = found.count - MOST_ISSUES
        issues.append(Issue(STRUCTURE, f"{more} more faults of structure are not listed"))
    return tuple(issues)


def _sentence(where: str, words: str) -> str:
    """The words are read without the place beside them in logs and toasts, so they name it."""
    return f"{where or 'The body'}: {words}"


def measure(rounds: int = 5000) -> dict[str, float]:
    """Microseconds per check of an ordinary 3 KB DocumentReference, right and with three faults."""
    right = an_ordinary_document()
    wrong = right | {"status": "now", "dat": "x", "content": []}
    taken = {}
    for name, resource in (("accept", right), ("refuse", wrong)):
        check_structure(resource)
        started = time.perf_counter()
        for _ in range(rounds):
            check_structure(resource)
        taken[name] = (time.perf_counter() - started) / rounds * 1e6
    return taken


def an_ordinary_document() -> dict[str, Any]:
    """A comprehensive DocumentReference of about 3 KB, contained author and patient included."""
    loinc = "http://loinc.org"

    def concept(system: str, code: str, display: str) -> dict[str, Any]:
        return {"coding": [{"system": system, "code": code, "display": display}], "text": display}

    return {
        "resourceType": "DocumentReference",
        "id": "3f1b9c52-1f0e-4f2e-9a55-0a6c2a5b7c11",
        "meta": {
            "versionId": "1",
            "lastUpdated": "2026-03-02T10:15:30.123+00:00",
            "profile": [
                "https://profiles.ihe.net/ITI/MHD/StructureDefinition/IHE.MHD.Comprehensive.DocumentReference"
            ],
            "security": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality",
                    "code": "N",
                }
            ],
        },
        "contained": [
            {
                "resourceType": "Practitioner",
                "id": "author",
                "identifier": [
                    {"system": "https://fhir.nhs.uk/Id/sds-user-id", "value": "5551234"}
                ],
                "name": [{"family": "Okafor", "given": ["Ngozi", "A"], "prefix": ["Ms"]}],
                "telecom": [
                    {"system": "email", "value": "ngozi.okafor@example.nhs.uk", "use": "work"}
                ],
            },
            {
                "resourceType": "Patient",
                "id": "source",
                "identifier": [
                    {
                        "use": "usual",
                        "system": "https://fhir.nhs.uk/Id/nhs-number",
                        "value": "9990000018",
                    }
                ],
                "name": [{"use": "official", "family": "Example", "given": ["Amal"]}],
                "gender": "female",
                "birthDate": "2021-07-09",
                "address": [
                    {"line": ["1 Sample Street"], "city": "Salford", "postalCode": "M5 0XX"}
                ],
            },
        ],
        "masterIdentifier": {
            "system": "urn:ietf:rfc:3986",
            "value": "urn:oid:1.2.826.0.1.3680043.10.99.1",
        },
        "identifier": [
            {
                "use": "official",
                "system": "urn:ietf:rfc:3986",
                "value": "urn:uuid:0c3a1f5e-8a4f-4a5e-9d0e-1b2c3d4e5f60",
            }
        ],
        "status": "current",
        "docStatus": "final",
        "type": concept(loinc, "34105-7", "Hospital Discharge summary"),
        "category": [concept(loinc, "18842-5", "Discharge summary")],
        "subject": {"reference": "Patient/9f8d2f70-3f3c-4d0c-8a7e-2f1f0b0a9c55"},
        "date": "2026-03-02T10:15:30.000+00:00",
        "author": [{"reference": "#author"}],
        "custodian": {"display": "Salford Royal"},
        "relatesTo": [
            {
                "code": "replaces",
                "target": {"reference": "DocumentReference/77a3c1d0-77c0-4d55-8a2b-1a1b1c1d1e1f"},
            }
        ],
        "description": "Discharge summary after an overnight stay on the children's ward",
        "securityLabel": [
            concept("http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "N", "normal")
        ],
        "content": [
            {
                "attachment": {
                    "contentType": "application/pdf",
                    "language": "en-GB",
                    "url": "Binary/5f2c9c52-1f0e-4f2e-9a55-0a6c2a5b7c99",
                    "size": 10240,
                    "hash": "2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
                    "title": "Discharge summary",
                    "creation": "2026-03-02T09:58:00+00:00",
                },
                "format": {
                    "system": "http://ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode",
                    "code": "urn:ihe:iti:xds-sd:pdf:2008",
                },
            }
        ],
        "context": {
            "period": {"start": "2026-03-01T18:00:00+00:00", "end": "2026-03-02T09:30:00+00:00"},
            "facilityType": concept("http://snomed.info/sct", "22232009", "Hospital"),
            "practiceSetting": concept(
                "http://snomed.info/sct", "408443003", "General medical practice"
            ),
            "sourcePatientInfo": {"reference": "#source"},
        },
    }


if __name__ == "__main__":
    for path, microseconds in measure().items():
        sys.stdout.write(f"{path}: {microseconds:.1f} µs\n")
