"""The entries of a submission are a closed list: what may lie in it may, and nothing else (MHD 2:3.65.4.1.2)."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from standards.mhd_bundle import read
from tests.makers_mhd import a_bundle, a_document, a_folder, a_patch, entry
from tests.registry.test_fhir_documents import a_fhir_document

# From the compiled profile, by hand: resource, method, url, and the slice it is. Patient has two homes.
ALLOWED = {
    ("SubmissionSet", "POST", "List"),
    ("DocumentReference", "POST", "DocumentReference"),
    ("Parameters", "PATCH", "DocumentReference/1"),
    ("Binary", "POST", "Binary"),
    ("Bundle", "POST", "Bundle"),
    ("Folder", "POST", "List"),
    ("Folder", "PUT", "List/1"),
    ("Patient", "POST", "Patient"),
    ("Patient", "PUT", "Patient/1"),
    ("Patient", "PUT", "Patient?identifier=urn:x|1"),
    ("", "GET", "Patient/1"),
    ("", "GET", "Patient?identifier=urn:x|1"),
}
MADE: dict[str, dict[str, Any]] = {
    "SubmissionSet": a_bundle(a_document())["entry"][0]["resource"],
    "DocumentReference": a_bundle(a_document())["entry"][1]["resource"],
    "Parameters": a_patch("DocumentReference/1")["resource"],
    "Binary": a_bundle(a_document())["entry"][2]["resource"],
    "Bundle": a_fhir_document(),
    "Folder": a_folder(),
    "Patient": {"resourceType": "Patient"},
    "Practitioner": {"resourceType": "Practitioner"},
    "Observation": {"resourceType": "Observation", "status": "final", "code": {"text": "x"}},
    "Provenance": {"resourceType": "Provenance"},
    "": {},
}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
URLS = sorted({url for _, _, url in ALLOWED} | {"Practitioner", "List/1/x", "List/", "Patient/", "/List", "Observation"})  # fmt: skip


def entries(kind: str, method: str, url: str) -> dict[str, Any]:
    """A submission with one entry like this: beside what it needs, or as the SubmissionSet itself."""
    bundle = a_bundle(a_document())
    made = entry(method, url, MADE[kind], "urn:uuid:5f0a7b0e-9999-4000-8000-000000000001")
    if not kind:
        made.pop("resource")
    if kind == "SubmissionSet":
        bundle["entry"][0] = made
    else:
        bundle["entry"].append(made)
    return bundle


@pytest.mark.parametrize(("kind", "method", "url"), sorted(ALLOWED))
def test_what_may_lie_in_a_submission_is_taken(kind: str, method: str, url: str) -> None:
    parts = read(entries(kind, method, url))
    assert parts.issues == ()
    assert len(parts.entries) == (3 if kind == "SubmissionSet" else 4)


@pytest.mark.parametrize("kind", sorted(MADE))
def test_nothing_else_is(kind: str) -> None:
    place = "Bundle.entry[0]" if kind == "SubmissionSet" else "Bundle.entry[3]"
    for method, url in product(METHODS, URLS):
        parts = read(entries(kind, method, url))
        found = any(i.where.startswith(place) for i in parts.issues)
        assert found == ((kind, method, url) not in ALLOWED), (method, url)


def test_a_refusal_says_what_would_be_taken() -> None:
    (issue,) = read(entries("Patient", "DELETE", "Patient/1")).issues
    assert issue.words.endswith("it takes POST Patient or PUT Patient/id.")
    (issue,) = read(entries("Folder", "PATCH", "List/1")).issues
    assert issue.words.endswith("it takes POST List or PUT List/id.")
