"""Audit as the Basic Audit Log Patterns say it (BALP 1.1.4, MHD 2.8, PIXm 4.1, IUA 3.70). Pure.

`ITI_65` … are the fixed parts, one `AuditPattern` per transaction, which the rows of the other
modules of this package import. `event` and `events` put the facts of one request into a pattern and
give back legal R4 AuditEvents as JSON-able dicts.

Choices, where the profiles leave room or contradict one another:

* Success claims the transaction's own profile when everything that the profile demands is there, the
  generic BALP profile when only that fits, and nothing otherwise. A refusal has the same shape with
  another `outcome`, the OperationOutcome as an entity, and claims nothing: BALP fixes outcome 0.
* The user agent carries two codings, because slices are told apart by `agent.type` and one agent must
  satisfy both the pattern's user slice and the OAuth mix-in (`OAUTHaccessTokenUse.Minimal`).
* One AuditEvent per patient. Where the profile takes a query without a patient (ITI-78), the query is
  recorded once without and once more for each patient that it returned.

The file is long because half of it is the table; the other half is read from `event` downwards.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, NamedTuple, Protocol
from urllib.parse import urlencode

from standards.rows import AuditPattern

Action = Literal["C", "R", "U", "D", "E"]
Outcome = Literal["0", "4", "8", "12"]
Coding = tuple[str, str, str]

BALP = "https://profiles.ihe.net/ITI/BALP/"
DCM = "http://dicom.nema.org/resources/ontology/DCM"
EVENT_TYPE = "http://terminology.hl7.org/CodeSystem/audit-event-type"
RESTFUL = "http://hl7.org/fhir/restful-interaction"
ITI = "urn:ihe:event-type-code"
ENTITY_TYPE = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
RESOURCE_TYPES = "http://hl7.org/fhir/resource-types"
OBJECT_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
ROLE_CLASS = "http://terminology.hl7.org/CodeSystem/v3-RoleClass"
PARTICIPANT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
SOURCE_TYPE = "http://terminology.hl7.org/CodeSystem/security-source-type"
USER_AGENT = BALP + "CodeSystem/UserAgentTypes"
REQUEST_ID = BALP + "CodeSystem/BasicAuditEntityType"
URI = "urn:ietf:rfc:3986"
OUTCOME_SYSTEMS = (
    "http://hl7.org/fhir/audit-event-outcome",
    "http://terminology.hl7.org/CodeSystem/audit-event-outcome",
)

REST: Coding = (EVENT_TYPE, "rest", "Restful Operation")

_ROLES: dict[str, Coding] = {
    "110150": (DCM, "110150", "Application"),
    "110152": (DCM, "110152", "Destination Role ID"),
    "110153": (DCM, "110153", "Source Role ID"),
    "custodian": (PARTICIPANT, "custodian", "Custodian"),
    "AuthzOauthService": (USER_AGENT, "AuthzOauthService", "OAuth authorization service"),
}
# Who is source and who is destination follows the data: on a read it flows from the server.
_SIDES: dict[str, tuple[str, str]] = {
    "C": ("110153", "110152"),
    "R": ("110152", "110153"),
    "U": ("110153", "110152"),
    "D": ("110150", "custodian"),
    "E": ("110153", "110152"),
}
_GENERIC: dict[str, str] = {"C": "Create", "R": "Read", "U": "Update", "D": "Delete", "E": "Query"}
# The restful-interaction codes that each generic profile takes.
_FAMILY: dict[str, tuple[str, ...]] = {
    "C": ("create",),
    "R": ("read", "vread"),
    "U": ("update", "patch"),
    "D": ("delete",),
    "E": ("search", "search-type", "search-system"),
}

_MHD = "https://profiles.ihe.net/ITI/MHD/StructureDefinition/IHE.MHD."
_PIXM = "https://profiles.ihe.net/ITI/PIXm/StructureDefinition/IHE.PIXm."
_PDQM = "https://profiles.ihe.net/ITI/PDQm/StructureDefinition/IHE.PDQm."
_PMIR = "https://profiles.ihe.net/ITI/PMIR/StructureDefinition/IHE.PMIR."
_IUA_71 = BALP + "StructureDefinition/IHE.IUA.71"


def basic(name: str) -> str:
    """The canonical of a generic BALP profile: `basic("PatientRead")`."""
    return f"{BALP}StructureDefinition/IHE.BasicAudit.{name}"


_TOKEN_USE = basic("OAUTHaccessTokenUse.Minimal")


def rest(
    action: Action,
    interaction: str,
    entities: tuple[Literal["query", "data", "patient"], ...],
    *,
    iti: tuple[str, str] | None = None,
    profile: str | None = None,
    data_role: str = "4",
    see: str = "BALP 1.1.4 RESTful activities",
) -> AuditPattern:
    """A pattern of the RESTful family (security digest 5.2): one restful-interaction subtype, and the
    IHE transaction as the second."""
    client, server = _SIDES[action]
    patient = "Patient" if "patient" in entities else ""
    subtypes: tuple[Coding, ...] = ((RESTFUL, interaction, interaction),)
    if iti is not None:
        subtypes += ((ITI, *iti),)
    return AuditPattern(
        REST, action, subtypes, client, server,
        profile or basic(patient + _GENERIC[action]), entities, data_role, see,
    )  # fmt: skip


def _iti(code: str, name: str) -> tuple[Coding, ...]:
    return ((ITI, code, name),)


# -- one row per transaction -------------------------------------------------------------------
ITI_65 = AuditPattern(
    (DCM, "110107", "Import"), "C", _iti("ITI-65", "Provide Document Bundle"), "110153", "110152",
    _MHD + "ProvideBundle.Audit.Recipient", ("patient", "submission"), see="MHD 2:3.65.5.1",
)  # fmt: skip
_LISTS = ("ITI-66", "Find Document Lists")
ITI_66 = rest(
    "E", "search-type", ("query", "patient"), iti=_LISTS,
    profile=_MHD + "FindDocumentLists.Audit.Responder", see="MHD 2:3.66.5.1",
)  # fmt: skip
ITI_66_READ = rest("R", "read", ("data", "patient"), iti=_LISTS, see="MHD 2:3.66.5.1")
_REFERENCES = ("ITI-67", "Find Document References")
ITI_67 = rest(
    "E", "search-type", ("query", "patient"), iti=_REFERENCES,
    profile=_MHD + "FindDocumentReferences.Audit.Responder", see="MHD 2:3.67.5.1",
)  # fmt: skip
ITI_67_READ = rest("R", "read", ("data", "patient"), iti=_REFERENCES, see="MHD 2:3.67.5.1")
ITI_68 = rest(
    "R", "read", ("data", "patient"), iti=("ITI-68", "Retrieve Document"),
    profile=_MHD + "RetrieveDocument.Audit.Responder", data_role="3", see="MHD 2:3.68.5.1",
)  # fmt: skip
ITI_105 = rest(
    "C", "create", ("data", "patient"), iti=("ITI-105", "Simplified Publish"),
    profile=_MHD + "SimplifiedPublish.Audit.Recipient", see="MHD 2:3.105.5.1",
)  # fmt: skip
ITI_106 = rest(
    "C", "create", ("data", "patient"), iti=("ITI-106", "Generate Metadata"),
    profile=_MHD + "GenerateMetadata.Audit.Recipient", see="MHD 2:3.106.5.1",
)  # fmt: skip
_DEMOGRAPHICS = ("ITI-78", "Mobile Patient Demographics Query")
ITI_78 = rest(
    "E", "search-type", ("query", "patient"), iti=_DEMOGRAPHICS,
    profile=_PDQM + "Query.Audit.Supplier", see="PDQm 2:3.78.5.1",
)  # fmt: skip
ITI_119 = rest(
    "E", "search", ("query", "patient"), iti=("ITI-119", "Patient Demographics Match"),
    profile=_PDQM + "Match.Audit.Supplier", see="PDQm 2:3.119.5.1",
)  # fmt: skip
ITI_78_READ = rest("R", "read", ("data", "patient"), iti=_DEMOGRAPHICS, see="PDQm 2:3.78.5.1")
ITI_83 = rest(
    "E", "search", ("query", "patient"),
    iti=("ITI-83", "Mobile Patient Identifier Cross-reference Query"),
    profile=_PIXM + "Query.Audit.Manager", see="PIXm 2:3.83.5.1",
)  # fmt: skip
_FEED = ("ITI-104", "Patient Identity Feed FHIR")
ITI_104_CREATE = rest(
    "C", "create", ("data", "patient"), iti=_FEED,
    profile=_PIXM + "Feed.Create.Audit.Manager", see="PIXm 2:3.104.5.1",
)  # fmt: skip
ITI_104_UPDATE = rest(
    "U", "update", ("data", "patient"), iti=_FEED,
    profile=_PIXM + "Feed.Update.Audit.Manager", see="PIXm 2:3.104.5.1",
)  # fmt: skip
ITI_104_DELETE = rest(
    "D", "delete", ("data", "patient"), iti=_FEED,
    profile=_PIXM + "Feed.Delete.Audit.Manager", see="PIXm 2:3.104.5.1",
)  # fmt: skip
ITI_71 = AuditPattern(
    (DCM, "110114", "User Authentication"), "E", _iti("ITI-71", "Get Access Token"), "110150",
    "AuthzOauthService", _IUA_71, ("token",), see="IUA 3.71.5; BALP IHE.IUA.71",
)  # fmt: skip
ITI_102 = AuditPattern(
    (DCM, "110113", "Security Alert"), "E", _iti("ITI-102", "Introspect Token"), "110150",
    "AuthzOauthService", None, ("token",), see="IUA 3.102; security digest 5.12",
)  # fmt: skip
REVOCATION = AuditPattern(
    (DCM, "110113", "Security Alert"), "E", (), "110150", "AuthzOauthService", None, ("token",),
    see="RFC 7009; security digest 5.12",
)  # fmt: skip
# A person lets an app in, refuses it or takes that back; a host system opens an app for its user.
APPROVAL = AuditPattern(
    (DCM, "110114", "User Authentication"), "E", (), "110150", "AuthzOauthService", None,
    ("token", "patient"), see="security digest 5.12",
)  # fmt: skip
LAUNCH = AuditPattern(
    (DCM, "110114", "User Authentication"), "E", (), "110150", "AuthzOauthService", None,
    ("token", "patient"), see="SMART App Launch 2.2 EHR launch; security digest 5.12",
)  # fmt: skip
ITI_20 = rest(
    "C", "create", ("data",), iti=("ITI-20", "Record Audit Event"), see="RESTful ATNA 3.20.5"
)
_RETRIEVE = _iti("ITI-81", "Retrieve ATNA Audit Event")
ITI_81 = AuditPattern(
    (DCM, "110101", "Audit Log Used"), "R", _RETRIEVE, "110153", "110152", None,
    ("query", "audit-log"), see="RESTful ATNA 3.81.5",
)  # fmt: skip
ITI_81_READ = AuditPattern(
    (DCM, "110101", "Audit Log Used"), "R", _RETRIEVE, "110153", "110152", None,
    ("data", "audit-log"), see="RESTful ATNA 3.81.5",
)  # fmt: skip
ITI_93 = AuditPattern(
    (DCM, "110110", "Patient Record"), "E", _iti("ITI-93", "Mobile Patient Identity Feed"), "110153",
    "110152", _PMIR + "Feed.Audit", ("patient", "message"), see="PMIR 2:3.93.5.1",
)  # fmt: skip
_SUBSCRIBE = ("ITI-94", "Subscribe to Patient Updates")
_SUBSCRIPTION = _PMIR + "Audit.Subscription."
_SEE_94 = "PMIR 2:3.94.5.1"
ITI_94_CREATE = rest(
    "C", "create", ("data",), iti=_SUBSCRIBE, profile=_SUBSCRIPTION + "Create", see=_SEE_94
)
ITI_94_READ = rest(
    "R", "read", ("data",), iti=_SUBSCRIBE, profile=_SUBSCRIPTION + "Read", see=_SEE_94
)
ITI_94_UPDATE = rest(
    "U", "update", ("data",), iti=_SUBSCRIBE, profile=_SUBSCRIPTION + "Update", see=_SEE_94
)
ITI_94_DELETE = rest(
    "D", "delete", ("data",), iti=_SUBSCRIBE, profile=_SUBSCRIPTION + "Delete", see=_SEE_94
)
ITI_94_SEARCH = rest("E", "search-type", ("query",), iti=_SUBSCRIBE, see=_SEE_94)

# -- FHIR interactions that belong to no IHE transaction ----------------------------------------
CREATE = rest("C", "create", ("data",))
READ = rest("R", "read", ("data",))
VREAD = rest("R", "vread", ("data",))
HISTORY = replace(rest("R", "history-instance", ("data",)), profile=None)
UPDATE = rest("U", "update", ("data",))
DELETE = rest("D", "delete", ("data",))
SEARCH = rest("E", "search-type", ("query",))

PATTERNS: Mapping[str, AuditPattern] = {
    "ITI-20": ITI_20, "ITI-65": ITI_65, "ITI-66": ITI_66, "ITI-66 read": ITI_66_READ,
    "ITI-67": ITI_67, "ITI-67 read": ITI_67_READ, "ITI-68": ITI_68, "ITI-71": ITI_71,
    "ITI-105": ITI_105, "ITI-106": ITI_106, "ITI-119": ITI_119, "ITI-78": ITI_78,
    "ITI-78 read": ITI_78_READ, "ITI-81": ITI_81, "ITI-81 read": ITI_81_READ,
    "ITI-83": ITI_83, "ITI-102": ITI_102, "ITI-104 create": ITI_104_CREATE,
    "ITI-104 update": ITI_104_UPDATE, "ITI-104 delete": ITI_104_DELETE, "create": CREATE,
    "read": READ, "vread": VREAD, "history": HISTORY, "update": UPDATE, "delete": DELETE,
    "search": SEARCH, "revocation": REVOCATION, "ITI-93": ITI_93, "ITI-94 create": ITI_94_CREATE,
    "ITI-94 read": ITI_94_READ, "ITI-94 update": ITI_94_UPDATE, "ITI-94 delete": ITI_94_DELETE,
    "ITI-94 search": ITI_94_SEARCH, "approval": APPROVAL, "launch": LAUNCH,
}  # fmt: skip

# Profiles that do without a patient (PDQm: patient 0..1), and those that want it by identifier:
# "also" beside a reference (PIXm 3.83), "only" without one (PIXm 3.104: reference 0..0).
_PATIENT_OPTIONAL = frozenset({ITI_78.profile, ITI_119.profile})
_BY_IDENTIFIER: Mapping[str | None, Literal["also", "only"]] = {
    ITI_83.profile: "also",
    ITI_104_CREATE.profile: "only",
    ITI_104_UPDATE.profile: "only",
    ITI_104_DELETE.profile: "only",
}
# The token request may show these; everything else in the form is a secret or a proof (BALP strips
# code_verifier; assertions, codes, refresh tokens and client secrets go the same way).
_TOKEN_FORM = frozenset(
    {
        "audience", "client_id", "grant_type", "redirect_uri", "requested_token_type", "resource",
        "scope", "token_type_hint", "client_assertion_type",
    }
)  # fmt: skip


class Bearer(Protocol):
    """Who called, as `chassis.call.Caller` says it."""

    @property
    def client_id(self) -> str:
        """The registered client."""
        ...

    @property
    def subject(self) -> str:
        """Who acts; the client itself for backend services."""
        ...

    @property
    def issuer(self) -> str:
        """Who issued the token."""
        ...

    @property
    def jti(self) -> str:
        """The token's id."""
        ...

    @property
    def name(self) -> str:
        """The display name of the subject."""
        ...

    @property
    def role(self) -> str:
        """The role code of the affinity pack."""
        ...

    @property
    def organisation(self) -> str:
        """The organisation code."""
        ...

    @property
    def purpose(self) -> str:
        """The purpose-of-use code of the affinity pack."""
        ...


class Touched(Protocol):
    """What was touched, as `chassis.call.Account` says it.

    In `patients` an identifier belongs to the reference before it; identifiers that come before any
    reference belong to the first one. So `["Patient/a", (system, value)]` is one patient in two forms.
    """

    @property
    def patients(self) -> Sequence[str | tuple[str, str]]:
        """References and identifiers of patients."""
        ...

    @property
    def data(self) -> Sequence[str]:
        """References of what was read or written."""
        ...

    @property
    def labels(self) -> Sequence[tuple[str, str]]:
        """Security labels of the data, as (system, code)."""
        ...

    @property
    def submission(self) -> str:
        """The reference of the SubmissionSet of an ITI-65."""
        ...

    @property
    def holder(self) -> tuple[str, str] | None:
        """The organisation outside that a document was fetched from: (code, origin)."""
        ...

    @property
    def query(self) -> str:
        """The query in readable form."""
        ...

    @property
    def profile(self) -> str | None:
        """Overrides the pattern's profile."""
        ...

    @property
    def action(self) -> Action | None:
        """Overrides the pattern's action."""
        ...

    @property
    def interaction(self) -> str:
        """Overrides the pattern's restful-interaction code."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """The facts of one request that are the same whatever it touched.

    `server` is the public FHIR base. `raw` is the request line and, after a blank line, the form body
    of a POSTed search; for the token endpoint it must come from `token_request`. `issues` is the
    OperationOutcome of a refusal. `recorded` is a FHIR instant.
    """

    event_id: str
    recorded: str
    server: str
    outcome: Outcome = "0"
    words: str = ""
    client_address: str = ""
    request_id: str = ""
    raw: bytes = b""
    issues: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The code systems of the affinity pack that the caller's short codes belong to."""

    roles: str = ""
    purposes: str = ""
    organisations: str = "https://fhir.nhs.uk/Id/ods-organization-code"


@dataclass(frozen=True, slots=True)
class Patient:
    """One patient in the forms that are known: a reference, identifiers, or both."""

    reference: str = ""
    identifiers: tuple[tuple[str, str], ...] = ()


def outcome_of(status: int) -> Outcome:
    """The AuditEvent outcome of an HTTP status: refused access is serious (8), another refusal is
    minor (4), a fault of the server is major (12)."""
    if status < 400:
        return "0"
    if status in (401, 403):
        return "8"
    return "4" if status < 500 else "12"


def variant(pattern: AuditPattern, action: Action | None) -> AuditPattern:
    """The pattern of the same transaction for another action. A conditional update only knows when
    it is done whether it created (PIXm: the Manager can tell and must)."""
    if action is None or action == pattern.action:
        return pattern
    ours = {code for system, code, _ in pattern.subtypes if system == ITI}
    for other in PATTERNS.values():
        same = {code for system, code, _ in other.subtypes if system == ITI}
        if other.action == action and same == ours and other.type == pattern.type:
            return other
    raise ValueError(f"no audit pattern for action {action} beside {pattern.profile}")


def token_request(line: str, form: Iterable[tuple[str, str]]) -> bytes:
    """The raw token request that may be recorded: without codes, verifiers, assertions, refresh tokens
    and secrets (their names stay, so that a reader sees what was sent)."""
    shown = [(name, value if name in _TOKEN_FORM else "***") for name, value in form]
    return f"{line}\n\n{urlencode(shown, safe=':/ *')}".encode()


def patients_of(forms: Iterable[str | tuple[str, str]]) -> list[Patient]:
    """The patients that `Touched.patients` names, each once, in order."""
    made: list[Patient] = []
    early: list[tuple[str, str]] = []
    for form in forms:
        if isinstance(form, str):
            made.append(Patient(form, tuple(early)))
            early = []
        elif made:
            made[-1] = replace(made[-1], identifiers=(*made[-1].identifiers, form))
        else:
            early.append(form)
    if early:
        made.append(Patient("", tuple(early)))
    merged: dict[str | tuple[tuple[str, str], ...], Patient] = {}
    for patient in made:
        key = patient.reference or patient.identifiers
        known = merged.get(key)
        forms_of = (known.identifiers if known else ()) + patient.identifiers
        merged[key] = Patient(patient.reference, tuple(dict.fromkeys(forms_of)))
    return list(merged.values())


def event(
    pattern: AuditPattern,
    caller: Bearer,
    account: Touched,
    request: Request,
    vocabulary: Vocabulary = Vocabulary(),
) -> dict[str, Any]:
    """One AuditEvent with everything that was touched: what a story seals into its transaction.

    Raises `ValueError` when `account.action` has no pattern beside `pattern`.
    """
    chosen = variant(pattern, account.action)
    return _build(chosen, caller, account, request, vocabulary, patients_of(account.patients))


def events(
    pattern: AuditPattern,
    caller: Bearer,
    account: Touched,
    request: Request,
    vocabulary: Vocabulary = Vocabulary(),
) -> list[dict[str, Any]]:
    """All AuditEvents of one request: one per patient, never none.

    The first has `request.event_id`; the ids of the others follow from it, so that recording the same
    request twice records nothing new. A query that needs no patient (ITI-78) and found several is
    recorded once as the query and once for each of them.
    """
    chosen = variant(pattern, account.action)
    patients = patients_of(account.patients)
    if len(patients) < 2 or "patient" not in chosen.entities or "message" in chosen.entities:
        return [_build(chosen, caller, account, request, vocabulary, patients)]
    groups: list[list[Patient]] = [[patient] for patient in patients]
    if chosen.profile in _PATIENT_OPTIONAL:
        groups.insert(0, [])
    made = []
    for place, group in enumerate(groups):
        about = (
            request if place == 0 else replace(request, event_id=_next_id(request.event_id, place))
        )
        made.append(_build(chosen, caller, account, about, vocabulary, group))
    return made


def _next_id(first: str, place: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{first}#{place}"))


# -- putting it together --------------------------------------------------------------------------
def _build(
    pattern: AuditPattern,
    caller: Bearer,
    account: Touched,
    request: Request,
    vocabulary: Vocabulary,
    patients: Sequence[Patient],
) -> dict[str, Any]:
    made: dict[str, Any] = {"resourceType": "AuditEvent", "id": request.event_id}
    profiles = _claims(pattern, caller, account, request, patients)
    if profiles:
        made["meta"] = {"profile": profiles}
    if request.issues is not None:
        made["contained"] = [{**request.issues, "id": "outcome"}]
    made["type"] = _coding(pattern.type)
    if pattern.subtypes:
        made["subtype"] = [_coding(_said(s, account.interaction)) for s in pattern.subtypes]
    made["action"] = pattern.action
    made["recorded"] = request.recorded
    made["outcome"] = request.outcome
    if request.words:
        made["outcomeDesc"] = request.words
    if caller.purpose:
        made["purposeOfEvent"] = [_concept(vocabulary.purposes, caller.purpose)]
    made["agent"] = _agents(pattern, caller, request, vocabulary)
    if account.holder is not None:  # a list of its own: agents are shared between events
        made["agent"] = [*made["agent"], _holder(account.holder, vocabulary)]
    made["source"] = {
        "observer": observer(request.server),
        "type": [_coding((SOURCE_TYPE, "4", "Application Server"))],
    }
    entities = _entities(pattern, account, request, patients)
    if entities:
        made["entity"] = entities
    return made


def observer(server: str) -> dict[str, Any]:
    """The reference that names this server, the same as agent and as `source.observer`
    (val-audit-source)."""
    return {"type": "Device", "identifier": {"system": URI, "value": server}}


def _said(subtype: Coding, interaction: str) -> Coding:
    if interaction and subtype[0] == RESTFUL:
        return (RESTFUL, interaction, interaction)
    return subtype


def _claims(
    pattern: AuditPattern,
    caller: Bearer,
    account: Touched,
    request: Request,
    patients: Sequence[Patient],
) -> list[str]:
    # Every profile fixes outcome 0 and wants who and network of both sides.
    if request.outcome != "0" or not request.client_address or not caller.client_id:
        return []
    profile = account.profile or pattern.profile
    own = _fulfils(profile, pattern, account, patients)
    if not own:
        profile = _generic(pattern, account, patients)
    if profile is None:
        return []
    if caller.jti and "token" not in pattern.entities:
        return [profile, _TOKEN_USE]
    return [profile]


def _fulfils(
    profile: str | None, pattern: AuditPattern, account: Touched, patients: Sequence[Patient]
) -> bool:
    if profile is None:
        return False
    wanted = pattern.entities
    if "data" in wanted and len(account.data) != 1:
        return False
    if "submission" in wanted and not account.submission:
        return False
    if "message" in wanted:  # PMIR 2:3.93.5.1: one message, one or more patients by reference
        return len(account.data) == 1 and bool(patients) and all(p.reference for p in patients)
    if "patient" in wanted:
        least = 0 if profile in _PATIENT_OPTIONAL else 1
        if not least <= len(patients) <= 1:
            return False
        if profile in _BY_IDENTIFIER and not all(p.identifiers for p in patients):
            return False
    return True


def _generic(pattern: AuditPattern, account: Touched, patients: Sequence[Patient]) -> str | None:
    if pattern.type != REST or len(patients) > 1:
        return None
    said = account.interaction or pattern.subtypes[0][1]
    if said not in _FAMILY[pattern.action]:
        return None
    if "data" in pattern.entities and len(account.data) != 1:
        return None
    return basic(("Patient" if patients else "") + _GENERIC[pattern.action])


class _Bearer(NamedTuple):
    """What the agents say of a `Bearer`."""

    client_id: str
    subject: str
    issuer: str
    jti: str
    name: str
    role: str
    organisation: str
    purpose: str


def _agents(
    pattern: AuditPattern, caller: Bearer, request: Request, vocabulary: Vocabulary
) -> list[dict[str, Any]]:
    said = _Bearer(
        caller.client_id, caller.subject, caller.issuer, caller.jti, caller.name, caller.role,
        caller.organisation, caller.purpose,
    )  # fmt: skip
    sides = pattern.client_role, pattern.server_role
    token = "token" in pattern.entities
    return _parties(
        sides, pattern.action, token, said, request.client_address, request.server, vocabulary
    )


# Whoever calls once calls again, and the agents are half of an event. They are shared between events
# (audit/facets.py knows them again by that): nobody may change them.
@lru_cache(maxsize=1024)
def _parties(
    sides: tuple[str, str],
    action: str,
    token: bool,
    caller: _Bearer,
    address: str,
    server: str,
    vocabulary: Vocabulary,
) -> list[dict[str, Any]]:
    client: dict[str, Any] = {"type": {"coding": [_coding(_ROLES[sides[0]])]}}
    if caller.client_id:
        client["who"] = {"type": "Device", "identifier": {"value": caller.client_id}}
    else:
        client["who"] = {"display": "unidentified caller"}
    client["requestor"] = False
    if address:
        client["network"] = {"address": address, "type": "2"}
    made = [
        client,
        {
            "type": {"coding": [_coding(_ROLES[sides[1]])]},
            "who": observer(server),
            "requestor": False,
            "network": {"address": server, "type": "5"},
        },
    ]
    if caller.subject and not (token and caller.subject == caller.client_id):
        made.append(_user(action, token, caller, vocabulary))
    elif token:
        client["requestor"] = True  # IHE.IUA.71: nobody stands behind a backend client
    if caller.organisation and not token:  # IHE.IUA.71 closes its list of agents
        who = {"type": "Organization", "identifier": {"value": caller.organisation}}
        if vocabulary.organisations:
            who["identifier"] = {"system": vocabulary.organisations, "value": caller.organisation}
        made.append(
            {
                "type": {"coding": [_coding((ROLE_CLASS, "PROV", "healthcare provider"))]},
                "who": who,
                "requestor": False,
            }
        )
    return made


def _holder(holder: tuple[str, str], vocabulary: Vocabulary) -> dict[str, Any]:
    """The other end of a retrieval on a caller's behalf: who keeps the document, and where."""
    code, origin = holder
    return {
        "type": {"coding": [_coding(_ROLES["custodian"])]},
        "who": {
            "type": "Organization",
            "identifier": _identifier(vocabulary.organisations, code),
        },
        "requestor": False,
        "network": {"address": origin, "type": "5"},
    }


def _user(action: str, token: bool, caller: _Bearer, vocabulary: Vocabulary) -> dict[str, Any]:
    part: Coding = (PARTICIPATION, "IRCP", "information recipient")
    if action in ("C", "U", "D"):
        part = (PARTICIPATION, "CST", "custodian")
    codings = [_coding(part)]
    if caller.jti and not token:
        codings.insert(0, _coding((USER_AGENT, "UserOauthAgent", "User OAuth Agent participant")))
    who: dict[str, Any] = {"identifier": {"value": caller.subject}}
    if caller.issuer:
        who["identifier"] = {"system": caller.issuer, "value": caller.subject}
    if caller.name:
        who["display"] = caller.name
    made: dict[str, Any] = {"type": {"coding": codings}}
    if caller.role:
        made["role"] = [_concept(vocabulary.roles, caller.role)]
    made["who"] = who
    if caller.name:
        made["name"] = caller.name
    made["requestor"] = True
    if caller.jti:
        made["policy"] = ["urn:ietf:params:oauth:jti:" + caller.jti]
    if caller.purpose:
        made["purposeOfUse"] = [_concept(vocabulary.purposes, caller.purpose)]
    return made


def _entities(
    pattern: AuditPattern, account: Touched, request: Request, patients: Sequence[Patient]
) -> list[dict[str, Any]]:
    wanted = pattern.entities
    made: list[dict[str, Any]] = []
    refused = request.outcome != "0"
    if "token" in wanted:
        made.append(_query_entity(request))
    elif request.request_id and ("message" not in wanted or refused):
        made.append(_request_entity(request, "query" not in wanted and refused))
    if "query" in wanted:
        made.append(_query_entity(request, account.query))
    if "audit-log" in wanted:
        made.append(
            {
                "what": {"identifier": {"system": URI, "value": request.server + "/AuditEvent"}},
                "type": _coding((ENTITY_TYPE, "2", "System Object")),
                "role": _coding((OBJECT_ROLE, "13", "Security Resource")),
                "name": "Security Audit Log",
            }
        )
    if "message" in wanted:
        made.extend(_message_entity(reference) for reference in account.data)
    else:
        made.extend(
            _data_entity(reference, pattern.data_role, account.labels) for reference in account.data
        )
    form = _BY_IDENTIFIER.get(account.profile or pattern.profile)
    made.extend(_patient_entity(patient, form) for patient in patients)
    if account.submission:
        made.append(_data_entity(account.submission, "20", ()))
    if request.issues is not None:
        made.append(
            {
                "what": {"reference": "#outcome"},
                "type": _coding((RESOURCE_TYPES, "OperationOutcome", "OperationOutcome")),
            }
        )
    return made


_DATA_ROLES = {"3": "Report", "4": "Domain Resource", "20": "Job"}


def _request_entity(request: Request, with_line: bool) -> dict[str, Any]:
    # A refused request may have reached nothing that another entity could name, so its line is kept.
    made: dict[str, Any] = {
        "what": {"identifier": {"value": request.request_id}},
        "type": _coding((REQUEST_ID, "XrequestId", "X-Request-Id")),
    }
    line = request.raw.partition(b"\n")[0].decode("utf-8", "replace").strip()
    if with_line and line:
        made["detail"] = [{"type": "request", "valueString": line}]
    return made


def _query_entity(request: Request, cleaned: str = "") -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": _coding((ENTITY_TYPE, "2", "System Object")),
        "role": _coding((OBJECT_ROLE, "24", "Query")),
    }
    if cleaned:
        made["description"] = cleaned
    made["query"] = base64.b64encode(request.raw or b"-").decode()
    return made


def _data_entity(reference: str, role: str, labels: Sequence[tuple[str, str]]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "what": {"reference": reference},
        "type": _coding((ENTITY_TYPE, "2", "System Object")),
        "role": _coding((OBJECT_ROLE, role, _DATA_ROLES[role])),
    }
    if labels:
        made["securityLabel"] = [{"system": system, "code": code} for system, code in labels]
    return made


def _message_entity(reference: str) -> dict[str, Any]:
    return {
        "what": {"reference": reference},
        "type": _coding((RESOURCE_TYPES, "MessageHeader", "MessageHeader")),
        "name": "urn:ihe:iti:pmir:2019:patient-feed",
    }


def _patient_entity(patient: Patient, form: Literal["also", "only"] | None) -> dict[str, Any]:
    what: dict[str, Any] = {}
    if patient.reference and not (form == "only" and patient.identifiers):
        what["reference"] = patient.reference
    what["type"] = "Patient"
    if patient.identifiers:
        what["identifier"] = _identifier(*patient.identifiers[0])
    made: dict[str, Any] = {
        "what": what,
        "type": _coding((ENTITY_TYPE, "1", "Person")),
        "role": _coding((OBJECT_ROLE, "1", "Patient")),
    }
    # A Reference holds one identifier; the further ones must still lead ITI-81 to this event.
    others = patient.identifiers[1:]
    if others:
        made["detail"] = [{"type": "identifier", "valueString": f"{s}|{v}"} for s, v in others]
    return made


def _identifier(system: str, value: str) -> dict[str, str]:
    return {"system": system, "value": value} if system else {"value": value}


def _coding(coding: Coding) -> dict[str, str]:
    system, code, display = coding
    return {"system": system, "code": code, "display": display}


def _concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code} if system else {"code": code}]}


def activity(
    started: bool, *, event_id: str, recorded: str, server: str, detail: Mapping[str, str]
) -> dict[str, Any]:
    """The AuditEvent of an application that starts or stops (DCM 110100), with facts about the run."""
    said = ("110120", "Application Start") if started else ("110121", "Application Stop")
    return {
        "resourceType": "AuditEvent",
        "id": event_id,
        "type": _coding((DCM, "110100", "Application Activity")),
        "subtype": [_coding((DCM, *said))],
        "action": "E",
        "recorded": recorded,
        "outcome": "0",
        "agent": [
            {
                "type": {"coding": [_coding(_ROLES["110150"])]},
                "who": observer(server),
                "requestor": False,
                "network": {"address": server, "type": "5"},
            }
        ],
        "source": {
            "observer": observer(server),
            "type": [_coding((SOURCE_TYPE, "4", "Application Server"))],
        },
        "entity": [
            {
                "what": {"identifier": {"system": URI, "value": server + "/AuditEvent"}},
                "type": _coding((ENTITY_TYPE, "2", "System Object")),
                "role": _coding((OBJECT_ROLE, "13", "Security Resource")),
                "name": "Security Audit Log",
                "detail": [{"type": name, "valueString": value} for name, value in detail.items()],
            }
        ],
    }


def message_sent(
    *,
    event_id: str,
    recorded: str,
    server: str,
    destination: str,
    message: str,
    patients: Sequence[str],
    failure: str = "",
) -> dict[str, Any]:
    """The AuditEvent of an ITI-93 message that this server sent to `destination` (PMIR 2:3.93.5.1,
    supplier's side). `patients` are references; `failure` is why it was not taken, in words that name
    nobody. A test message is about no patient and so cannot claim the profile."""
    made: dict[str, Any] = {"resourceType": "AuditEvent", "id": event_id}
    if patients and not failure and ITI_93.profile:
        made["meta"] = {"profile": [ITI_93.profile]}
    made |= {
        "type": _coding(ITI_93.type),
        "subtype": [_coding(s) for s in ITI_93.subtypes],
        "action": ITI_93.action,
        "recorded": recorded,
        "outcome": "8" if failure else "0",
    }
    if failure:
        made["outcomeDesc"] = failure
    made["agent"] = [
        {
            "type": {"coding": [_coding(_ROLES["110153"])]},
            "who": observer(server),
            "requestor": True,
            "network": {"address": server, "type": "5"},
        },
        {
            "type": {"coding": [_coding(_ROLES["110152"])]},
            "who": observer(destination),
            "requestor": False,
            "network": {"address": destination, "type": "5"},
        },
    ]
    made["source"] = {
        "observer": observer(server),
        "type": [_coding((SOURCE_TYPE, "4", "Application Server"))],
    }
    made["entity"] = [
        *(_patient_entity(Patient(reference), None) for reference in patients),
        _message_entity(message),
    ]
    return made
