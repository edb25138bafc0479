"""PURE. The documents that agencies publish about a person, as ITI-65 Comprehensive bundles.

`plan.csv` says which types belong to which story and age; each is written by the agency that writes it in
life and carries that type's class, format, labels and facility from the affinity pack.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from random import Random
from typing import Any

from affinity.pack import DocumentType, Pack
from exchange.city import papers
from exchange.city.people import TODAY, Person, table
from exchange.city.records import Record

MHD = "https://profiles.ihe.net/ITI/MHD"
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
SNOMED = "http://snomed.info/sct"
ODS = "https://fhir.nhs.uk/Id/ods-organization-code"
_NATIONAL = {"SEX", "STD", "HIV", "MH", "PSYTHPN", "SUD", "SDV"}
_SPACE = uuid.UUID("6d0c5a1e-0b5b-4c62-9a54-5d0b8f6b2f11")


@dataclass(frozen=True, slots=True)
class Planned:
    """One type in the life of people with a story: who writes it, when, how often it happens."""

    type: str
    agency: str
    stories: tuple[str, ...]
    ages: tuple[int, int]  # whole years of the subject on the city's day
    born_plus: int | None  # days after birth, or None for some time in the last three years
    share: float
    facility: str
    setting: str
    role: str


@lru_cache(maxsize=1)
def plan() -> tuple[Planned, ...]:
    """The rows of plan.csv: which types belong to which story and age."""
    return tuple(
        Planned(
            r["type"],
            r["agency"],
            tuple(s for s in r["stories"].split("|") if s),
            (int(r["age_from"]), int(r["age_to"])),
            int(r["days_after_birth"]) if r["days_after_birth"] else None,
            float(r["share"]),
            r["facility"],
            r["setting"],
            r["role"],
        )
        for r in table("plan")
    )


@dataclass(frozen=True, slots=True)
class Paper:
    """One document to publish: the agency's record it belongs to, and the bundle."""

    record: Record
    type: str
    bundle: dict[str, Any]


def plan_for(
    person: Person, held: Mapping[str, Record], seed: int = 1
) -> Iterator[tuple[Planned, date]]:
    """Which documents exist about a person, with their dates, given who holds a record."""
    dice = Random(f"{seed}/{person.number}/plan")  # noqa: S311  reproducible, not secret
    for row in plan():
        chance, days = dice.random(), dice.randrange(5, 1000)
        low, high = row.ages
        if row.agency not in held or (row.stories and person.story not in row.stories):
            continue
        made = TODAY - timedelta(days=days)
        if row.born_plus is not None:
            made = person.born + timedelta(days=row.born_plus)
        if low <= person.age <= high and chance < row.share and made <= TODAY:
            yield row, made


def papers_of(
    person: Person,
    held: Mapping[str, Record],
    patients: Mapping[str, str],
    pack: Pack,
    seed: int = 1,
) -> Iterator[Paper]:
    """The bundles to publish. `patients` maps an agency to the Patient reference its feed was given."""
    for row, made in plan_for(person, held, seed):
        if row.type in pack.document_types:
            record = held[row.agency]
            yield Paper(
                record, row.type, bundle(Sheet(row, record, patients[row.agency], made, pack, seed))
            )


@dataclass(frozen=True, slots=True)
class Sheet:
    """What one document is made from."""

    row: Planned
    record: Record
    patient: str
    made: date
    pack: Pack
    seed: int

    @property
    def name(self) -> str:
        """What its identifiers are derived from, so that the same seed gives the same ones."""
        return f"{self.seed}/{self.record.person.number}/{self.row.agency}/{self.row.type}"

    @property
    def kind(self) -> DocumentType:
        """Its row in the document type register."""
        return self.pack.document_types[self.row.type]

    @property
    def stamp(self) -> str:
        """When it was written, as a FHIR dateTime."""
        return f"{self.made.isoformat()}T10:00:00Z"


def bundle(sheet: Sheet) -> dict[str, Any]:
    """One document as a Comprehensive ITI-65 transaction Bundle (MHD 2:3.65.4.1.2)."""
    name = sheet.name
    content, media = _content(sheet)
    document, binary = _uuid(name + "/document"), _uuid(name + "/binary")
    reference = _reference(sheet, content, media, binary)
    entries = [
        _entry(
            _uuid(name + "/set"),
            "List",
            _submission(sheet, document),
        ),
        _entry(document, "DocumentReference", reference),
        _entry(
            binary,
            "Binary",
            {
                "resourceType": "Binary",
                "contentType": media,
                "data": base64.b64encode(content).decode(),
            },
        ),
    ]
    profile = f"{MHD}/StructureDefinition/IHE.MHD.Comprehensive.ProvideBundle"
    return {
        "resourceType": "Bundle",
        "meta": {"profile": [profile]},
        "type": "transaction",
        "entry": entries,
    }


def _content(sheet: Sheet) -> tuple[bytes, str]:
    kind, row, made, stamp = sheet.kind, sheet.row, sheet.made, sheet.stamp
    person, subject = sheet.record.person, {"reference": sheet.patient}
    if kind.format == "QR":
        dice = Random(f"{person.number}/{row.type}")  # noqa: S311  reproducible, not secret
        answers: dict[str, int | str] = {
            "completed-by": row.role,
            "total": dice.randrange(10, 60),
            "zone": dice.choice(("on schedule", "on schedule", "monitor", "further assessment")),
            "action": dice.choice(("none", "review at next contact", "referral discussed")),
        }
        url = f"{sheet.pack.namespace}/Questionnaire/{row.type}"
        return papers.questionnaire(url, subject, stamp, answers), "application/fhir+json"
    words = [
        f"Written by: {row.role}",
        f"Date: {made.day} {made:%B %Y}",
        f"About: {person.given[0]} {person.family}, born {person.born.day} {person.born:%B %Y}",
        "",
        "This person does not exist. The document is part of a synthetic city.",
    ]
    if kind.format == "FHIRDOC":
        code = {
            "coding": [
                {"system": f"{sheet.pack.namespace}/CodeSystem/document-type", "code": row.type}
            ]
        }
        return papers.document(
            kind.display, code, subject, stamp, ". ".join(w for w in words if w)
        ), ("application/fhir+json")
    if row.type == "HL-MEDEV":
        return "\n".join([kind.display, *words]).encode(), "text/plain"
    return papers.pdf(kind.display, words), "application/pdf"


def _reference(sheet: Sheet, content: bytes, media: str, binary: str) -> dict[str, Any]:
    kind, row, record, name, stamp = sheet.kind, sheet.row, sheet.record, sheet.name, sheet.stamp
    pack, space, person = sheet.pack, sheet.pack.namespace, sheet.record.person
    return {
        "resourceType": "DocumentReference",
        "contained": [
            {"resourceType": "Practitioner", "id": "author", "name": [_author(name, row.role)]},
            {
                "resourceType": "Patient",
                "id": "source",
                "identifier": [{"system": record.system, "value": record.value}],
                "name": [{"family": person.family, "given": list(person.given)}],
                "gender": person.sex,
                "birthDate": person.born.isoformat(),
            },
        ],
        "masterIdentifier": _unique(name + "/document"),
        "status": "current",
        "type": _concept(f"{space}/CodeSystem/document-type", kind.code, kind.display),
        "category": [_category(kind.category, pack)],
        "subject": {"reference": sheet.patient},
        "date": stamp,
        "author": [{"reference": "#author"}],
        "custodian": {"identifier": {"system": ODS, "value": _custodian(row.agency, person)}},
        "securityLabel": [_label(kind.confidentiality, space, confidentiality=True)]
        + [_label(code, space) for code in kind.labels],
        "content": [
            {
                "attachment": {
                    "contentType": media,
                    "language": pack.language,
                    "url": binary,
                    "size": len(content),
                    "hash": base64.b64encode(hashlib.sha1(content).digest()).decode(),  # noqa: S324  FHIR's
                    "title": kind.display,
                    "creation": stamp,
                },
                "format": _format(kind.format, pack),
            }
        ],
        "context": {
            "event": [],
            "period": {"start": stamp, "end": f"{sheet.made.isoformat()}T10:45:00Z"},
            "facilityType": _concept(f"{space}/CodeSystem/facility-type", row.facility, ""),
            "practiceSetting": _concept(SNOMED, row.setting, ""),
            "sourcePatientInfo": {"reference": "#source"},
        },
    }


def _submission(sheet: Sheet, document: str) -> dict[str, Any]:
    kind, row, record, name = sheet.kind, sheet.row, sheet.record, sheet.name
    space = sheet.pack.namespace
    extensions = f"{MHD}/StructureDefinition"
    return {
        "resourceType": "List",
        "contained": [
            {"resourceType": "Practitioner", "id": "author", "name": [_author(name, row.role)]}
        ],
        "extension": [
            {
                "url": f"{extensions}/ihe-sourceId",
                "valueIdentifier": {
                    "system": "urn:ietf:rfc:3986",
                    "value": f"urn:oid:2.25.{papers.hash_of(_custodian(row.agency, record.person))}",
                },
            },
            {
                "url": f"{extensions}/ihe-designationType",
                "valueCodeableConcept": _concept(
                    f"{space}/CodeSystem/document-type", kind.code, kind.display
                ),
            },
        ],
        "identifier": [_unique(name + "/set") | {"type": _identifier_type("uniqueId")}],
        "status": "current",
        "mode": "working",
        "title": kind.display,
        "code": _concept(f"{MHD}/CodeSystem/MHDlistTypes", "submissionset", ""),
        "subject": {"reference": sheet.patient},
        "date": f"{sheet.made.isoformat()}T11:00:00Z",
        "source": {"reference": "#author"},
        "entry": [{"item": {"reference": document}}],
    }


def _custodian(agency: str, person: Person) -> str:
    place = int(person.council) - 350
    return {
        "gp": f"P99{place:03d}", "trust": person.trust, "school": f"URN9990{place:02d}",
        "csc": f"{person.council}-CSC", "housing": "VCS-01", "outreach": "VCS-03", "police": "GMP",
        "victim": "VCS-04", "advice": "VCS-05",
    }[agency]  # fmt: skip


_FAMILIES = (
    "Marsh",
    "Okoro",
    "Hanif",
    "Doyle",
    "Brennan",
    "Chowdhury",
    "Lowe",
    "Petrova",
    "Quinn",
    "Rowan",
)
_GIVEN = ("Alex", "Sam", "Nadia", "Ruth", "Imran", "Grace", "Tomasz", "Leah", "Joy", "Daniel")


def _author(name: str, role: str) -> dict[str, Any]:
    dice = Random(name + role)  # noqa: S311  reproducible, not secret
    return {"family": dice.choice(_FAMILIES), "given": [dice.choice(_GIVEN)], "text": role}


def _entry(url: str, kind: str, resource: Mapping[str, Any]) -> dict[str, Any]:
    return {"fullUrl": url, "resource": _full(resource), "request": {"method": "POST", "url": kind}}


def _full(value: Any) -> Any:
    """Without empty lists and strings, which FHIR does not allow."""
    if isinstance(value, Mapping):
        return {k: made for k, v in value.items() if (made := _full(v)) not in ([], {}, "")}
    return [_full(v) for v in value] if isinstance(value, list) else value


def _uuid(name: str) -> str:
    return f"urn:uuid:{uuid.uuid5(_SPACE, name)}"


def _unique(name: str) -> dict[str, Any]:
    return {
        "system": "urn:ietf:rfc:3986",
        "value": f"urn:oid:2.25.{uuid.uuid5(_SPACE, name + '/oid').int}",
    } | ({"type": _identifier_type("uniqueId")} if name.endswith("/document") else {})


def _identifier_type(code: str) -> dict[str, Any]:
    return _concept(f"{MHD}/CodeSystem/IHE.MHD.MHDIdentifierType", code, "")


def _concept(system: str, code: str, display: str) -> dict[str, Any]:
    return {"coding": [_full({"system": system, "code": code, "display": display})]}


def _category(code: str, pack: Pack) -> dict[str, Any]:
    return _concept(f"{pack.namespace}/CodeSystem/document-class", code, "")


def _label(code: str, space: str, *, confidentiality: bool = False) -> dict[str, Any]:
    if confidentiality:
        return _concept(CONFIDENTIALITY, code, "")
    return _concept(ACT if code in _NATIONAL else f"{space}/CodeSystem/sensitivity", code, "")


def _format(code: str, pack: Pack) -> dict[str, Any]:
    if code in ("QR", "FHIRDOC"):
        local = {"QR": "questionnaireresponse", "FHIRDOC": "document-bundle"}[code]
        return {
            "system": f"{pack.namespace}/CodeSystem/format",
            "code": f"throughline:fhir:{local}:r4",
        }
    return {
        "system": "http://ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode",
        "code": "urn:ihe:iti:xds:2017:mimeTypeSufficient",
    }
