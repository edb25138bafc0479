"""What can go wrong, in one table, and how FHIR says it.

A check returns every `Issue` it finds; a story raises `Refused` once, at the end of checking.
`KINDS` is the only place that knows HTTP statuses, OperationOutcome codes and the XDS error codes of
ITI TF-3 Table 4.2.4.1-2 (MHD leaves that mapping open, MHD_065, so this table is ours and published).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from standards.rows import Coded

Severity = Literal["fatal", "error", "warning", "information"]
XDS_CODES = "urn:ihe:iti:tf3:4.2.4.1"


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """One way to fail: its HTTP status, its FHIR issue code and, where TF-3 has one, its XDS code."""

    name: str
    http: int
    code: str
    meaning: str
    xds: str | None = None
    see: str = "FHIR R4 http.html#Status-Codes"


@dataclass(frozen=True, slots=True)
class Issue:
    """One finding: what kind, in words a person can act on, and the FHIRPath of the place."""

    kind: ErrorKind
    words: str
    where: str = ""
    severity: Severity = "error"
    text: str = ""  # details.text, when a profile fixes it as well as the diagnostics
    xds: str | None = None  # overrides the kind's XDS code; "" where XDS has no say (patients)

    def warn(self) -> Self:
        """The same finding as a warning: the request goes on and the answer says so."""
        return replace(self, severity="warning")

    def under(self, prefix: str) -> Self:
        """The same finding inside a larger resource: `prefix` is put before its place."""
        return replace(self, where=f"{prefix}.{self.where}" if self.where else prefix)


class Refused(Exception):  # noqa: N818  a refusal is the ordinary end of a story, not a fault
    """The request is refused for these reasons. `headers` go on the answer (WWW-Authenticate, Allow)."""

    def __init__(
        self,
        issues: Issue | Iterable[Issue],
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.issues: tuple[Issue, ...] = (issues,) if isinstance(issues, Issue) else tuple(issues)
        self.forced = status
        self.headers = dict(headers or {})
        super().__init__("; ".join(sorted({i.kind.name for i in self.issues})))

    def status(self, invalid: int | None = None) -> int:
        """The HTTP status of the first error; `invalid` replaces 409 and 422 where a profile's
        testers expect one status for every rejected body (ITI-65: 400)."""
        if self.forced is not None:
            return self.forced
        first = next((i for i in self.issues if i.severity in ("error", "fatal")), self.issues[0])
        if invalid is not None and first.kind.http in (409, 422):
            return invalid
        return first.kind.http


def refuse_if(issues: Iterable[Issue]) -> tuple[Issue, ...]:
    """Raise `Refused` if any issue is an error; else hand back the warnings to be told."""
    found = tuple(issues)
    if any(i.severity in ("error", "fatal") for i in found):
        raise Refused(found)
    return found


def outcome(issues: Sequence[Issue], coded: Coded | None = None) -> dict[str, Any]:
    """The OperationOutcome resource (a JSON-able dict) that carries these issues. `coded` gives the
    coding of each error kind where it is not the XDS code (`Transaction.coded`)."""
    return {"resourceType": "OperationOutcome", "issue": [_issue(i, coded) for i in issues]}


def _issue(issue: Issue, coded: Coded | None) -> dict[str, Any]:
    said: dict[str, Any] = {"severity": issue.severity, "code": issue.kind.code}
    xds = issue.kind.xds if issue.xds is None else issue.xds
    details: dict[str, Any] = {}
    if coded is not None:
        system, code, display = coded(issue.kind.name)
        details["coding"] = [{"system": system, "code": code, "display": display}]
    elif xds:
        details["coding"] = [{"system": XDS_CODES, "code": xds}]
    if issue.text:
        details["text"] = issue.text
    if details:
        said["details"] = details
    said["diagnostics"] = _UNFIT.sub("?", issue.words)
    if issue.where:
        said["expression"] = [_UNFIT.sub("?", issue.where)]
    return said


# What a caller sent may stand in the words; what neither XML nor a FHIR string can hold may not.
_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def _k(
    name: str, http: int, code: str, meaning: str, xds: str | None = None, see: str | None = None
) -> ErrorKind:
    kind = ErrorKind(name, http, code, meaning, xds, see or "FHIR R4 http.html#Status-Codes")
    KINDS[name] = kind
    return kind


KINDS: dict[str, ErrorKind] = {}

# -- the request itself -------------------------------------------------------------------------
STRUCTURE = _k("structure", 400, "structure", "the body or the request line cannot be read")
INVALID = _k("invalid", 400, "invalid", "a parameter or header has no valid value")
REQUIRED_PARAMETER = _k("required-parameter", 400, "required", "a parameter must be given")
UNKNOWN_PARAMETER = _k(
    "unknown-parameter",
    400,
    "not-supported",
    "no such search parameter",
    see="FHIR R4 search.html#errors",
)
NOT_SUPPORTED = _k("not-supported", 400, "not-supported", "understood, and not offered here")
TOO_COSTLY = _k(
    "too-costly", 403, "too-costly", "the answer would be too large", "XDSTooManyResults"
)
TOO_LONG = _k("too-long", 413, "too-long", "the body is larger than this server takes")
MEDIA_TYPE = _k("media-type", 415, "not-supported", "the body's media type is not FHIR JSON or XML")
NOT_ACCEPTABLE = _k("not-acceptable", 406, "not-supported", "no wanted media type can be produced")
METHOD = _k("method", 405, "not-supported", "this path does not take this method")
ROUTE = _k("route", 404, "not-found", "nothing is served at this path")
NOT_FOUND = _k("not-found", 404, "not-found", "no such resource, or none this caller may know of")
GONE = _k("gone", 410, "deleted", "the resource was here and is deleted")
MULTIPLE = _k(
    "multiple-matches", 412, "multiple-matches", "the criteria match more than one resource"
)
PRECONDITION = _k("precondition", 412, "conflict", "If-Match names another version")
RANGE = _k(
    "range", 416, "value", "the asked byte range lies outside the document", see="RFC 9110 §14"
)

# -- who may ----------------------------------------------------------------------------------
LOGIN = _k("login", 401, "login", "a bearer token is needed", see="RFC 6750 §3")
TOKEN = _k("token", 401, "login", "the token is not valid here", see="RFC 6750 §3.1")
EXPIRED = _k("expired", 401, "expired", "the token has expired", see="RFC 6750 §3.1")
FORBIDDEN = _k("forbidden", 403, "forbidden", "the token does not reach this", see="RFC 6750 §3.1")

# -- what was sent (MHD §2.7; the XDS code is TF-3 Table 4.2.4.1-2) ------------------------------
TF3 = "ITI TF-3 Table 4.2.4.1-2"
PROFILE = _k("profile", 422, "invariant", "breaks the profile", "XDSRegistryMetadataError", TF3)
REQUIRED = _k(
    "required", 422, "required", "an element must be present", "XDSRegistryMetadataError", TF3
)
VALUE = _k("value", 422, "value", "an element has no valid value", "XDSRegistryMetadataError", TF3)
CODE_INVALID = _k(
    "code-invalid",
    422,
    "code-invalid",
    "a code is outside its value set",
    "XDSRegistryMetadataError",
    TF3,
)
UNRESOLVED = _k(
    "unresolved", 422, "not-found", "a reference leads nowhere", "UnresolvedReferenceException", TF3
)
MISSING_DOCUMENT = _k(
    "missing-document", 422, "required", "metadata without its document", "XDSMissingDocument", TF3
)
MISSING_METADATA = _k(
    "missing-metadata",
    422,
    "structure",
    "a document without metadata",
    "XDSMissingDocumentMetadata",
    TF3,
)
BYTES_DIFFER = _k(
    "bytes-differ", 422, "value", "hash, size or media type do not fit the bytes",
    "XDSRepositoryMetadataError", TF3,
)  # fmt: skip
DUPLICATE_IN_MESSAGE = _k(
    "duplicate-in-message", 422, "duplicate", "one uniqueId twice in a message",
    "XDSRegistryDuplicateUniqueIdInMessage", TF3,
)  # fmt: skip
DUPLICATE = _k(
    "duplicate", 409, "duplicate", "the uniqueId is taken", "XDSDuplicateUniqueIdInRegistry", TF3
)
NON_IDENTICAL = _k(
    "non-identical",
    409,
    "duplicate",
    "the uniqueId is taken by other bytes",
    "XDSNonIdenticalHash",
    TF3,
)
UNKNOWN_PATIENT = _k(
    "unknown-patient", 422, "not-found", "the patient is not known here", "XDSUnknownPatientId", TF3
)
PATIENT_DIFFERS = _k(
    "patient-differs", 422, "business-rule", "two patients where there must be one",
    "XDSPatientIdDoesNotMatch", TF3,
)  # fmt: skip
DEPRECATED = _k(
    "deprecated", 409, "conflict", "the target is no longer current",
    "XDSRegistryDeprecatedDocumentError", TF3,
)  # fmt: skip
PARTIAL = _k("partial", 200, "incomplete", "taken, but not all of it", see="MHD 2:3.65.4.1.3")
CONFLICT = _k("conflict", 409, "conflict", "another change came first")
UNPROCESSABLE = _k("unprocessable", 422, "business-rule", "understood, and against the rules here")

# -- what a pointer may be (the NRL door; its Spine codes are in standards/nrl.py) -------------------
NRL = "NRL producer API (DocumentReference)"
NHS_NUMBER = _k("nhs-number", 400, "invalid", "not an NHS number", see=NRL)
IDENTIFIER_SYSTEM = _k("identifier-system", 400, "invalid", "another identifier system", see=NRL)
IDENTIFIER_VALUE = _k("identifier-value", 400, "invalid", "not the identifier it must be", see=NRL)
CODE_SYSTEM = _k("code-system", 400, "code-invalid", "another code system", see=NRL)
IMMUTABLE = _k(
    "immutable", 400, "business-rule", "an element that an update cannot change", see=NRL
)
CREDENTIALS = _k("credentials", 403, "forbidden", "another organisation's to do", see=NRL)

# -- what happened here -------------------------------------------------------------------------
INFORMATION = _k("information", 200, "informational", "worth knowing; nothing is wrong")
BUSY = _k(
    "busy", 503, "transient", "a part of the exchange does not answer; try again", "XDSRegistryBusy"
)
BAD_GATEWAY = _k(
    "bad-gateway", 502, "transient", "the source that holds the document did not answer"
)
EXCEPTION = _k("exception", 500, "exception", "a fault of this server", "XDSRegistryError")
