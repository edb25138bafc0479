"""The audit record repository's rows: ITI-20 and ITI-81 (RESTful ATNA 3.4, FHIR R4 AuditEvent).

ITI-81 fixes the search parameters; `patient`, `agent`, `entity`, `action`, `agent-role` and `purpose`
are ours beside them, and `source` and `entity-id` are older spellings that printed examples still use.
"""

from __future__ import annotations

from typing import Any

from standards import balp
from standards.outcome import REQUIRED, VALUE, Issue
from standards.rows import Needs, ParameterType, SearchParameter, Transaction, Unaudited

SEE_20 = "RESTful ATNA 2:3.20"
SEE_81 = "RESTful ATNA 2:3.81.4.1.2"
_CORE = "http://hl7.org/fhir/SearchParameter/AuditEvent-"


def _row(
    name: str, kind: ParameterType, field: str, expression: str, words: str, *, see: str = SEE_81,
    array: bool = True, core: str = "", targets: tuple[str, ...] = (),
) -> SearchParameter:  # fmt: skip
    return SearchParameter(
        name, kind, "AuditEvent", field, expression, see, array, (), targets, None,
        _CORE + core if core else "", words,
    )  # fmt: skip


_FHIR = "FHIR R4 auditevent.html#search"
_OURS = "decision 0008"

SEARCH: tuple[SearchParameter, ...] = (
    _row("date", "date", "date", "AuditEvent.recorded", "When it was recorded; at least one is required",
         array=False, core="date"),
    _row("address", "string", "address", "AuditEvent.agent.network.address",
         "Any part of the network address of an agent", core="address"),
    _row("agent.identifier", "token", "agent", "AuditEvent.agent.who.identifier",
         "Who took part: a client, a person, an organisation or a server"),
    _row("patient.identifier", "token", "patient",
         "AuditEvent.agent.who.identifier | AuditEvent.entity.what.identifier",
         "An identifier of the patient whom it is about"),
    _row("entity.identifier", "token", "entity", "AuditEvent.entity.what.identifier",
         "An identifier of what was touched"),
    _row("entity-type", "token", "etype", "AuditEvent.entity.type", "The type of what was touched",
         core="entity-type"),
    _row("entity-role", "token", "erole", "AuditEvent.entity.role", "The role of what was touched",
         core="entity-role"),
    _row("source.identifier", "token", "source", "AuditEvent.source.observer.identifier",
         "The system that recorded it"),
    _row("type", "token", "type", "AuditEvent.type", "The kind of event", core="type"),
    _row("subtype", "token", "subtype", "AuditEvent.subtype",
         "The transaction or interaction, e.g. urn:ihe:event-type-code|ITI-67", core="subtype"),
    _row("outcome", "token", "outcome", "AuditEvent.outcome", "0 success, 4, 8 or 12 failure",
         core="outcome"),
    _row("action", "token", "action", "AuditEvent.action", "C, R, U, D or E", see=_FHIR, core="action"),
    _row("patient", "reference", "patient", "AuditEvent.entity.what.where(resolve() is Patient)",
         "The patient whom it is about", see=_FHIR, core="patient", targets=("Patient",)),
    _row("agent", "reference", "agent", "AuditEvent.agent.who", "Who took part", see=_FHIR, core="agent",
         targets=("Practitioner", "PractitionerRole", "Organization", "Device", "Patient", "RelatedPerson")),
    _row("entity", "reference", "entity", "AuditEvent.entity.what", "What was touched", see=_FHIR,
         core="entity"),
    _row("agent-role", "token", "arole", "AuditEvent.agent.role", "The role in which somebody acted",
         see=_FHIR, core="agent-role"),
    _row("purpose", "token", "purpose", "AuditEvent.purposeOfEvent | AuditEvent.agent.purposeOfUse",
         "For what purpose", see=_OURS),
    _row("source", "token", "source", "AuditEvent.source.observer.identifier",
         "Older spelling of source.identifier"),
    _row("entity-id", "token", "entity", "AuditEvent.entity.what.identifier",
         "Older spelling of entity.identifier"),
)  # fmt: skip

RECORD = Transaction(
    "ITI-20", "Record Audit Event", "audit", "create", "AuditEvent", (("POST", "/AuditEvent"),),
    Needs("c", "AuditEvent", ("ITI-20",)), balp.ITI_20, SEE_20, body="resource", narrows=False,
    words="Keeps one AuditEvent of another system. Updates and deletions are never possible.",
)  # fmt: skip
RETRIEVE = Transaction(
    "ITI-81", "Retrieve ATNA Audit Event", "audit", "search-type", "AuditEvent",
    (("GET", "/AuditEvent"), ("POST", "/AuditEvent/_search")),
    Needs("s", "AuditEvent", ("ITI-81",)), balp.ITI_81, SEE_81, search=SEARCH,
    words="Finds AuditEvents of a time window. Reading the audit trail is itself audited.",
)  # fmt: skip
READ = Transaction(
    "ITI-81", "Read an audit event", "audit", "read", "AuditEvent", (("GET", "/AuditEvent/{id}"),),
    Needs("r", "AuditEvent", ("ITI-81",)), balp.ITI_81_READ, SEE_81,
)  # fmt: skip
APPEND = Transaction(
    "", "Append audit events", "audit", "internal", "AuditEvent", (("POST", "/internal/audit/append"),),
    Needs("", "", ("throughline.internal",)),
    Unaudited("it carries the audit events of other services; auditing it would never end"),
    "design §4", body="json", surface="internal",
)  # fmt: skip

TRANSACTIONS: tuple[Transaction, ...] = (RECORD, RETRIEVE, READ, APPEND)


def check_record(event: dict[str, Any]) -> list[Issue]:
    """What keeps a fed event from being findable or legal beyond its structure (R4 sev-1, recorded).

    BALP profiles are not checked: an event that fails one is still worth keeping (RESTful ATNA 3.20).
    """
    issues = []
    if not event.get("agent"):
        issues.append(
            Issue(REQUIRED, "An AuditEvent names at least one agent.", "AuditEvent.agent")
        )
    if len(str(event.get("recorded", ""))) < len("2026-01-01T00:00:00Z"):
        words = "recorded is an instant: date, time and time zone."
        issues.append(Issue(REQUIRED, words, "AuditEvent.recorded"))
    for place, entity in enumerate(event.get("entity", ())):
        if "name" in entity and "query" in entity:
            words = "An entity has a name or a query, not both."
            issues.append(Issue(VALUE, words, f"AuditEvent.entity[{place}]"))
    return issues
