"""The NRL-shaped door: rows, code systems and outcomes of NHS England's National Record Locator. Pure.

A producer that publishes pointers to the national service publishes them here in the same shape, and a
consumer finds them as it does there. Both doors are FHIR bases of their own below `/fhir/nrl`, because
the same interactions on DocumentReference mean something else at `/fhir` (decision 0025). What a
pointer must be is in `standards/nrl_rules.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from standards import balp
from standards.mhd import DOCUMENT_PARAMETERS
from standards.rows import (
    AuditPattern,
    Interaction,
    Needs,
    Public,
    SearchParameter,
    Transaction,
    Unaudited,
)

PRODUCER, CONSUMER = "/nrl/producer", "/nrl/consumer"
NHS_NUMBER_SYSTEM = "https://fhir.nhs.uk/Id/nhs-number"
ODS = "https://fhir.nhs.uk/Id/ods-organization-code"
SPINE = "https://fhir.nhs.uk/CodeSystem/Spine-ErrorOrWarningCode"
RESPONSES = "https://fhir.nhs.uk/ValueSet/NRL-ResponseCode"

# -- outcomes ---------------------------------------------------------------------------------------
_SPINE: Mapping[str, str] = {
    "ACCESS_DENIED": "Access has been denied to process this request",
    "AUTHOR_CREDENTIALS_ERROR": "Author credentials error",
    "BAD_REQUEST": "Bad request",
    "DUPLICATE_REJECTED": "Create would lead to creation of a duplicate resource",
    "INTERNAL_SERVER_ERROR": "Unexpected internal server error",
    "INVALID_CODE_SYSTEM": "Invalid code system",
    "INVALID_CODE_VALUE": "Invalid code value",
    "INVALID_IDENTIFIER_SYSTEM": "Invalid identifier system",
    "INVALID_IDENTIFIER_VALUE": "Invalid identifier value",
    "INVALID_NHS_NUMBER": "Invalid NHS number",
    "INVALID_PARAMETER": "Invalid parameter",
    "INVALID_RESOURCE": "Invalid validation of resource",
    "MISSING_OR_INVALID_HEADER": "There is a required header missing or invalid",
    "NO_RECORD_FOUND": "No record found",
    "UNPROCESSABLE_ENTITY": "Unprocessable Entity",
}
_OF_KIND: Mapping[str, str] = {
    "structure": "INVALID_RESOURCE",
    "required": "INVALID_RESOURCE",
    "value": "INVALID_RESOURCE",
    "profile": "INVALID_RESOURCE",
    "invalid": "INVALID_PARAMETER",
    "required-parameter": "INVALID_PARAMETER",
    "unknown-parameter": "INVALID_PARAMETER",
    "media-type": "MISSING_OR_INVALID_HEADER",
    "not-acceptable": "MISSING_OR_INVALID_HEADER",
    "login": "ACCESS_DENIED",
    "token": "ACCESS_DENIED",
    "expired": "ACCESS_DENIED",
    "forbidden": "ACCESS_DENIED",
    "credentials": "AUTHOR_CREDENTIALS_ERROR",
    "not-found": "NO_RECORD_FOUND",
    "gone": "NO_RECORD_FOUND",
    "code-invalid": "INVALID_CODE_VALUE",
    "code-system": "INVALID_CODE_SYSTEM",
    "identifier-system": "INVALID_IDENTIFIER_SYSTEM",
    "identifier-value": "INVALID_IDENTIFIER_VALUE",
    "nhs-number": "INVALID_NHS_NUMBER",
    "duplicate": "DUPLICATE_REJECTED",
    "unknown-patient": "UNPROCESSABLE_ENTITY",
    "patient-differs": "UNPROCESSABLE_ENTITY",
    "unprocessable": "UNPROCESSABLE_ENTITY",
    "conflict": "UNPROCESSABLE_ENTITY",
    "exception": "INTERNAL_SERVER_ERROR",
    "busy": "INTERNAL_SERVER_ERROR",
}
_RESPONSES: Mapping[str, tuple[str, str]] = {
    "RESOURCE_CREATED": ("Resource created", "The pointer has been created."),
    "RESOURCE_SUPERSEDED": (
        "Resource created and resource(s) deleted",
        "The pointer has been created, and what it replaces is superseded and kept as history.",
    ),
    "RESOURCE_UPDATED": ("Resource updated", "The pointer has been updated."),
    "RESOURCE_DELETED": (
        "Resource deleted",
        "The pointer has been withdrawn; its history is kept.",
    ),
}


def coded(kind: str) -> tuple[str, str, str]:
    """The Spine coding (system, code, display) of an error kind; BAD_REQUEST where it has none."""
    code = _OF_KIND.get(kind, "BAD_REQUEST")
    return SPINE, code, _SPINE[code]


def said(code: str) -> dict[str, Any]:
    """The OperationOutcome that tells what was done: RESOURCE_CREATED and its like."""
    display, words = _RESPONSES[code]
    return {
        "resourceType": "OperationOutcome",
        "issue": [
            {
                "severity": "information",
                "code": "informational",
                "details": {"coding": [{"system": RESPONSES, "code": code, "display": display}]},
                "diagnostics": words,
            }
        ],
    }


# -- search -----------------------------------------------------------------------------------------
SUBJECT = SearchParameter(
    name="subject",
    type="reference",
    resource="DocumentReference",
    field="subject",
    expression="DocumentReference.subject",
    see="NRL consumer API, subject:identifier",
    modifiers=("identifier",),
    targets=("Patient",),
    definition="http://hl7.org/fhir/SearchParameter/DocumentReference-subject",
    words="Whose it is: subject:identifier=https://fhir.nhs.uk/Id/nhs-number|…; all records of that "
    "person are searched",
)
CUSTODIAN = SearchParameter(
    name="custodian",
    type="reference",
    resource="DocumentReference",
    field="custodian",
    expression="DocumentReference.custodian",
    see="NRL consumer API, custodian:identifier",
    modifiers=("identifier",),
    definition="http://hl7.org/fhir/SearchParameter/DocumentReference-custodian",
    words="Who holds it: custodian:identifier=https://fhir.nhs.uk/Id/ods-organization-code|…",
)
# The parameters of MHD come with them, so that a scope narrowed by one of them means the same here.
PARAMETERS: tuple[SearchParameter, ...] = (
    SUBJECT,
    CUSTODIAN,
    *(p for p in DOCUMENT_PARAMETERS if p.name not in ("patient", "subject", "custodian")),
)


# -- rows -------------------------------------------------------------------------------------------


def _row(
    door: str,
    name: str,
    interaction: Interaction,
    routes: tuple[tuple[str, str], ...],
    letter: Any,
    audit: AuditPattern,
    words: str,
    *,
    search: tuple[SearchParameter, ...] = (),
) -> Transaction:
    who = door.rpartition("/")[2]
    takes = interaction in ("create", "update")
    return Transaction(
        code=f"NRL-{who}",
        name=name,
        service="registry",
        interaction=interaction,
        resource="DocumentReference",
        routes=tuple((m, f"{door}/DocumentReference{p}") for m, p in routes),
        scope=Needs(letter, "DocumentReference"),
        audit=audit,
        see=f"NRL {who} API; decision 0025",
        body="resource" if takes else "none",
        search=search,
        invalid=400 if takes else None,
        door=door,
        coded=coded,
        words=words,
    )


_CREATE = balp.rest("C", "create", ("data", "patient"))
_UPDATE = balp.rest("U", "update", ("data", "patient"))
_DELETE = balp.rest("D", "delete", ("data", "patient"))
_READ = balp.rest("R", "read", ("data", "patient"))
_SEARCH = balp.rest("E", "search-type", ("query", "patient"))
_FIND = (("GET", ""), ("POST", "/_search"))

CREATE = _row(
    PRODUCER, "Create a pointer", "create", (("POST", ""),), "c", _CREATE,
    "Publishes a pointer; with relatesTo `replaces` it supersedes earlier ones in the same step.",
)  # fmt: skip
UPSERT = _row(
    PRODUCER, "Create a pointer under the producer's own id", "update", (("PUT", ""),), "c", _UPDATE,
    "As create, under the id in the body; a pointer that has this id already is updated.",
)  # fmt: skip
UPDATE = _row(
    PRODUCER, "Update a pointer", "update", (("PUT", "/{id}"),), "u", _UPDATE,
    "Changes what may change in a pointer; the version before is kept.",
)  # fmt: skip
DELETE = _row(
    PRODUCER, "Withdraw a pointer", "delete", (("DELETE", "/{id}"),), "d", _DELETE,
    "The pointer is entered-in-error: at these doors it is gone, its history stays.",
)  # fmt: skip
PRODUCER_READ = _row(
    PRODUCER, "Read a pointer of one's own", "read", (("GET", "/{id}"),), "r", _READ,
    "A current pointer of the caller's organisation.",
)  # fmt: skip
PRODUCER_SEARCH = _row(
    PRODUCER, "Find pointers of one's own", "search-type", _FIND, "s", _SEARCH,
    "Current pointers of the caller's organisation. Needs subject:identifier, or _id or identifier.",
    search=PARAMETERS,
)  # fmt: skip
CONSUMER_READ = _row(
    CONSUMER, "Read a pointer", "read", (("GET", "/{id}"),), "r", _READ, "A current pointer.",
)  # fmt: skip
CONSUMER_SEARCH = _row(
    CONSUMER, "Find pointers", "search-type", _FIND, "s", _SEARCH,
    "Current pointers of a person; _summary=count gives their number. Needs subject:identifier, or "
    "_id or identifier.",
    search=PARAMETERS,
)  # fmt: skip


def _metadata(door: str) -> Transaction:
    who = door.rpartition("/")[2]
    return Transaction(
        code=f"NRL-{who}-capabilities",
        name=f"Capabilities of the NRL {who} door",
        service="registry",
        interaction="capabilities",
        resource="",
        routes=(("GET", f"{door}/metadata"),),
        scope=Public("FHIR R4 http.html#capabilities: read before a client can ask for a token"),
        audit=Unaudited("says nothing about any person"),
        see="FHIR R4 http.html#capabilities",
        parameters=("mode",),
        door=door,
        coded=coded,
    )


METADATA: tuple[Transaction, ...] = (_metadata(PRODUCER), _metadata(CONSUMER))
TRANSACTIONS: tuple[Transaction, ...] = (
    CREATE, UPSERT, UPDATE, DELETE, PRODUCER_READ, PRODUCER_SEARCH, CONSUMER_READ, CONSUMER_SEARCH,
    *METADATA,
)  # fmt: skip
