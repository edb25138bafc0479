"""SMART App Launch 2.2: its rows, capabilities, launch context, and scopes in plain words. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from standards import balp
from standards.rows import Needs, Public, Transaction, Unaudited

MINT = "launch-mint"  # our own literal scope: a host system may open apps for its users
LAUNCH_SECONDS = 300
CODE_SECONDS = 60

# SMART App Launch 2.2 "Capabilities"; each is exercised by a test in tests/auth/authorize.
CAPABILITIES = (
    "launch-ehr", "launch-standalone", "authorize-post", "client-public",
    "client-confidential-symmetric", "client-confidential-asymmetric", "sso-openid-connect",
    "context-banner", "context-style", "context-ehr-patient", "context-ehr-encounter",
    "context-standalone-patient", "permission-offline", "permission-online", "permission-patient",
    "permission-user", "permission-v1", "permission-v2",
)  # fmt: skip

_BROWSER = Public("a person signs in; browsers carry a session, not a token")

AUTHORIZE = Transaction(
    code="authorize",
    name="Authorize an app",
    service="auth",
    interaction="internal",
    resource="",
    routes=(("GET", "/auth/authorize"), ("POST", "/auth/authorize")),
    scope=_BROWSER,
    audit=Unaudited("leads to sign-in and approval, which are audited with who did what"),
    see="SMART App Launch 2.2 obtain-authorization-code; RFC 6749 §4.1; RFC 9207",
    body="raw",
    surface="internal",
    words="Sign-in, choice of patient and approval; the answer goes to the app's redirect URI.",
)
APPROVE = Transaction(
    code="approval",
    name="Continue, choose a patient, approve",
    service="auth",
    interaction="internal",
    resource="",
    routes=(("GET", "/auth/authorize/{id}"), ("POST", "/auth/authorize/{id}")),
    scope=_BROWSER,
    audit=balp.APPROVAL,
    see="SMART App Launch 2.2 obtain-authorization-code; security digest 1.7",
    body="raw",
    surface="internal",
    words="The pages of one stored request. A form posts the CSRF token of its session and places in the "
    "stored offer; nothing that it posts can widen what was validated.",
)
LAUNCH = Transaction(
    code="launch",
    name="Mint a launch",
    service="auth",
    interaction="internal",
    resource="",
    routes=(("POST", "/auth/launches"),),
    scope=Needs("", "", (MINT,)),
    audit=balp.LAUNCH,
    see="SMART App Launch 2.2 EHR launch; security digest 1.5",
    body="json",
    surface="internal",
    words='{"client_id", "user", "patient"?, "encounter"?, "fhirContext"?, "intent"?, '
    '"need_patient_banner"?, "smart_style_url"?, "tenant"?, "purpose_of_use"?, "reason"?} gives '
    '{"launch", "expires_in", "launch_url"?}.',
)
APPS = Transaction(
    code="apps",
    name="Apps that I have allowed",
    service="auth",
    interaction="internal",
    resource="",
    routes=(("GET", "/auth/apps"), ("POST", "/auth/apps")),
    scope=_BROWSER,
    audit=balp.APPROVAL,
    see="SMART App Launch 2.2 management_endpoint; security digest 1.15",
    body="raw",
    surface="internal",
)
OPENID = Transaction(
    code="openid-configuration",
    name="OpenID provider configuration",
    service="auth",
    interaction="internal",
    resource="",
    routes=(
        ("GET", "/auth/.well-known/openid-configuration"),
        ("GET", "/.well-known/openid-configuration/auth"),
    ),
    scope=Public("OpenID Connect Discovery 1.0 §4: asked without credentials"),
    audit=Unaudited("says nothing about any person"),
    see="OpenID Connect Discovery 1.0 §4; RFC 8414 §3",
    surface="internal",
)

TRANSACTIONS: tuple[Transaction, ...] = (AUTHORIZE, APPROVE, LAUNCH, APPS, OPENID)

SCOPES = (
    "openid", "fhirUser", "profile", "launch", "launch/patient", "launch/encounter",
    "offline_access", "online_access",
)  # fmt: skip
"""The scopes of sign-in, launch and duration (SMART 2.2 "Scopes for requesting context data")."""

CONTEXT = (
    "patient", "encounter", "fhirContext", "intent", "tenant", "need_patient_banner", "smart_style_url",
)  # fmt: skip
"""The launch context members of a token response, of introspection and of a launch (SMART 2.2)."""

_REFERENCE = re.compile(r"([A-Z][A-Za-z]{1,63})/[A-Za-z0-9\-.]{1,64}")
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_TYPE = re.compile(r"[A-Z][A-Za-z]{1,63}")


def context_faults(said: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Everything that is wrong with the launch context that a host system gives: (member, words)."""
    for name in ("patient", "encounter"):
        value = said.get(name)
        if value is not None and not (isinstance(value, str) and _ID.fullmatch(value)):
            yield name, f"{name} is the logical id of the resource."
    for name in ("intent", "tenant"):
        value = said.get(name)
        if value is not None and not (
            isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable()
        ):
            yield name, f"{name} is one line of at most 200 characters."
    if not isinstance(said.get("need_patient_banner", True), bool):
        yield "need_patient_banner", "need_patient_banner is true or false."
    style = said.get("smart_style_url")
    if style is not None and not (
        isinstance(style, str) and re.fullmatch(r"https?://[\x21-\x7E]{1,500}", style)
    ):
        yield "smart_style_url", "smart_style_url is the URL of a JSON file."
    entries = said.get("fhirContext")
    if entries is None:
        return
    if not isinstance(entries, list) or len(entries) > 50:
        yield "fhirContext", "fhirContext is a list of at most 50 objects."
        return
    for place, entry in enumerate(entries):
        for words in _entry_faults(entry):
            yield f"fhirContext[{place}]", words


def _entry_faults(entry: object) -> Iterator[str]:
    """SMART 2.2 "fhirContext": objects, relative references, the patient and encounter elsewhere."""
    if not isinstance(entry, dict):
        yield "An entry of fhirContext is an object; SMART 2.1's plain strings are not taken."
        return
    if not entry.keys() & {"reference", "canonical", "identifier"}:
        yield "An entry needs reference, canonical or identifier."
    reference, canonical = entry.get("reference"), entry.get("canonical")
    found = _REFERENCE.fullmatch(reference) if isinstance(reference, str) else None
    if reference is not None and found is None:
        yield "reference is relative: a resource type, a slash and an id."
    if canonical is not None and not (
        isinstance(canonical, str) and re.fullmatch(r"https?://\S{1,500}", canonical)
    ):
        yield "canonical is a URL."
    if not isinstance(entry.get("identifier", {}), dict):
        yield "identifier is an Identifier."
    if "type" in entry and not (isinstance(entry["type"], str) and _TYPE.fullmatch(entry["type"])):
        yield "type is a resource type."
    role = entry.get("role", "launch")
    if not isinstance(role, str) or not role:
        yield "role is a URI or a word, not empty."
    if found is not None and found[1] in ("Patient", "Encounter") and role == "launch":
        yield f"A {found[1]} is named by the member {found[1].lower()} and not in fhirContext."


@dataclass(frozen=True, slots=True)
class Words:
    """A scope as a person reads it on the approval page."""

    title: str
    detail: str = ""


_PLAIN: Mapping[str, Words] = {
    "openid": Words("Know who you are", "The app learns that it is you, each time you sign in."),
    "fhirUser": Words("Read your name and your work details"),
    "profile": Words("Read your name and your work details"),
    "launch/patient": Words("Know which person you are looking at"),
    "launch/encounter": Words("Know which contact or visit you are looking at"),
    "launch": Words("Know what you were looking at when you opened the app"),
    "offline_access": Words(
        "Keep this access when you have signed out", "Until you end it, for at most {days} days."
    ),
    "online_access": Words("Keep this access while you are signed in"),
    "ITI-65": Words("Publish documents"),
    "ITI-66": Words("Find sets of documents"),
    "ITI-67": Words("Find documents"),
    "ITI-68": Words("Open documents"),
    "ITI-78": Words("Search for people by name, birth date or number"),
    "ITI-83": Words("Look up a person's other numbers"),
    "ITI-119": Words("Find a person from what is known about them"),
}
_TYPES: Mapping[str, str] = {
    "*": "all information, of the kinds there are today and of any that come later",
    "AuditEvent": "records of who looked at what",
    "Binary": "the contents of documents",
    "Condition": "conditions and problems",
    "DocumentReference": "documents",
    "Encounter": "contacts and visits",
    "List": "folders and sets of documents",
    "Observation": "measurements and observations",
    "Organization": "organisations",
    "Patient": "names, birth dates, addresses and numbers of people",
    "Practitioner": "names and work details of staff",
    "PractitionerRole": "roles of staff",
    "Subscription": "subscriptions to changes",
}
_LEVELS: Mapping[str, str] = {
    "patient": "about this person only",
    "user": "about everyone whose information you may see",
}
_SCOPE = re.compile(r"(patient|user)/(\*|[A-Z][A-Za-z]+)\.(read|write|\*|c?r?u?d?s?)(\?.+)?")
_V1 = {"read": "rs", "write": "cud", "*": "cruds"}


def plain(token: str, days: int, category: str = "") -> Words:
    """The scope in plain English. `days` is how long offline access lasts, `category` the words of the
    category that the scope is narrowed to."""
    known = _PLAIN.get(token)
    if known is not None:
        return Words(known.title, known.detail.format(days=days))
    found = _SCOPE.fullmatch(token)
    if found is None:
        return Words(token)
    level, kind, letters, query = found.groups()
    what = _TYPES.get(kind, f"{kind} records")
    narrowed = f" ({category})" if category else " (some of them)" if query else ""
    acts = _acts(_V1.get(letters, letters))
    return Words(f"{acts} {what}{narrowed}", _LEVELS[level][0].upper() + _LEVELS[level][1:] + ".")


def _acts(letters: str) -> str:
    words = []
    if "r" in letters or "s" in letters:
        words.append("read" if "r" in letters else "search")
    words += [
        word
        for letter, word in (("c", "add"), ("u", "change"), ("d", "delete"))
        if letter in letters
    ]
    told = words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
    return told[0].upper() + told[1:]


_CONDITION = "http://terminology.hl7.org/CodeSystem/condition-category"
_OBSERVATION = "http://terminology.hl7.org/CodeSystem/observation-category"
# US Core's categories, which ONC's granular selection asks for (security digest 2.8, 2.9).
CATEGORIES: Mapping[str, Sequence[tuple[str, str, str]]] = {
    "Condition": (
        (_CONDITION, "encounter-diagnosis", "diagnoses of a contact or visit"),
        (_CONDITION, "problem-list-item", "the list of problems"),
        ("http://hl7.org/fhir/us/core/CodeSystem/condition-category", "health-concern", "concerns"),
    ),
    "Observation": (
        (_OBSERVATION, "laboratory", "laboratory results"),
        (_OBSERVATION, "vital-signs", "vital signs"),
        (_OBSERVATION, "social-history", "social history"),
        (_OBSERVATION, "survey", "questionnaires"),
    ),
}
"""For a resource type, the categories it can be narrowed to: (system, code, words)."""
