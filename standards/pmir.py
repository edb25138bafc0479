"""PMIR 1.5: the rows of ITI-93 and ITI-94, and what a subscription must be. Pure.

What a message must be is in pmir_message.py. No route of ITI-93 is fixed by the profile: it is served
at `$process-message`, as FHIR messaging says, and at `Bundle`, where testers post. `POST [base]` is
ITI-65's and takes no messages (docs/decisions/0011).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote

from standards import balp
from standards.lens import modifiers
from standards.outcome import (
    CODE_INVALID,
    PROFILE,
    REQUIRED,
    UNPROCESSABLE,
    ErrorKind,
    Issue,
)
from standards.rows import Needs, ParameterType, SearchParameter, Transaction

IG = "https://profiles.ihe.net/ITI/PMIR"
REGISTRY = f"{IG}/CapabilityStatement/IHE.PMIR.Registry"
FEED = f"{IG}/MessageDefinition/IHE.PMIR.MessageDefinition"
FEED_RESPONSE = f"{IG}/MessageDefinition/IHE.PMIR.MessageDefinition.Response"
FEED_EVENT = "urn:ihe:iti:pmir:2019:patient-feed"
RESPONSE_EVENT = "urn:ihe:iti:pmir:2019:patient-feed-response"
SUBSCRIPTION_PROFILE = f"{IG}/StructureDefinition/IHE.PMIR.Subscription"
REQUEST_PROFILE = f"{IG}/StructureDefinition/IHE.PMIR.Subscription.Request"
MERGE_PROFILE = f"{IG}/StructureDefinition/IHE.PMIR.Patient.Merge"
PROCESS_MESSAGE = "http://hl7.org/fhir/OperationDefinition/MessageHeader-process-message"
_CORE = "http://hl7.org/fhir/SearchParameter/Subscription-"

ITI_93 = Transaction(
    code="ITI-93",
    name="Mobile Patient Identity Feed",
    service="pix",
    interaction="operation",
    resource="Bundle",
    routes=(("POST", "/$process-message"), ("POST", "/Bundle")),
    scope=Needs("u", "Patient", ("ITI-93",)),
    narrows=True,
    audit=balp.ITI_93,
    see="PMIR 2:3.93",
    body="resource",
    operation="process-message",
    definition=PROCESS_MESSAGE,
    profiles=(f"{IG}/StructureDefinition/IHE.PMIR.Bundle",),
    words=(
        "Takes a message that creates, updates, merges and deletes Patients, all or nothing; the "
        "answer is a message. A deletion needs `Patient.d` as well, or the literal `ITI-93`."
    ),
)


def _subscription(
    name: str,
    interaction: Literal["create", "read", "update", "delete", "search-type"],
    letter: Literal["c", "r", "u", "d", "s"],
    *routes: tuple[str, str],
    words: str,
    **more: Any,
) -> Transaction:
    pattern = {
        "create": balp.ITI_94_CREATE,
        "read": balp.ITI_94_READ,
        "update": balp.ITI_94_UPDATE,
        "delete": balp.ITI_94_DELETE,
        "search-type": balp.ITI_94_SEARCH,
    }[interaction]
    return Transaction(
        code="ITI-94",
        name=f"Subscribe to Patient Updates{name}",
        service="pix",
        interaction=interaction,
        resource="Subscription",
        routes=routes,
        scope=Needs(letter, "Subscription", ("ITI-94",)),
        audit=pattern,
        see="PMIR 2:3.94",
        profiles=(SUBSCRIPTION_PROFILE,),
        words=words,
        **more,
    )


def _p(name: str, type_: ParameterType, words: str) -> SearchParameter:
    return SearchParameter(
        name=name,
        type=type_,
        resource="Subscription",
        field=name,
        expression=f"Subscription.{'channel.endpoint' if name == 'url' else name}",
        see="FHIR R4 subscription.html#search",
        array=False,
        modifiers=("missing", "not") if type_ == "token" else (),
        definition=_CORE + name,
        words=words,
    )


STATUS = _p("status", "token", "`requested`, `active`, `error` or `off`")
URL = _p("url", "uri", "The endpoint that messages go to")
PARAMETERS: tuple[SearchParameter, ...] = (STATUS, URL)

ITI_94 = _subscription(
    "", "create", "c", ("POST", "/Subscription"),
    body="resource", max_body=64 * 1024,
    words="Asks for messages about Patients. The token must reach all Patients (`Patient.r`).",
)  # fmt: skip
ITI_94_READ = _subscription(
    ": read", "read", "r", ("GET", "/Subscription/{id}"),
    words="The subscription with its current status; `error` says why messages stopped.",
)  # fmt: skip
ITI_94_UPDATE = _subscription(
    ": enable, disable", "update", "u", ("PUT", "/Subscription/{id}"),
    body="resource", max_body=64 * 1024,
    words="`off` stops the messages, `requested` starts them (again), after a test message.",
)  # fmt: skip
ITI_94_DELETE = _subscription(
    ": delete", "delete", "d", ("DELETE", "/Subscription/{id}"), words="Ends the messages for good."
)
ITI_94_SEARCH = _subscription(
    ": search", "search-type", "s", ("GET", "/Subscription"), ("POST", "/Subscription/_search"),
    search=PARAMETERS, words="The caller's own subscriptions.",
)  # fmt: skip

TRANSACTIONS: tuple[Transaction, ...] = (
    ITI_93, ITI_94, ITI_94_READ, ITI_94_UPDATE, ITI_94_DELETE, ITI_94_SEARCH,
)  # fmt: skip

# -- what is subscribed to ------------------------------------------------------------------------

CRITERIA = "Patient, Patient?_id=X, Patient?organization=X or Patient?identifier=X"
PAYLOADS: Mapping[str, Literal["json", "xml"]] = {
    "application/fhir+json": "json",
    "application/json": "json",
    "application/fhir+xml": "xml",
    "application/xml": "xml",
    "text/xml": "xml",
}


@dataclass(frozen=True, slots=True)
class Criteria:
    """Which Patients a subscription is about. `system` None: any; "": without one; `value` "": any
    value of the system. `_id` and `organization` use `value` alone."""

    by: Literal["", "_id", "organization", "identifier"] = ""
    value: str = ""
    system: str | None = None


def criteria(text: str) -> Criteria | None:
    """The criteria in a Subscription, or None for what PMIR 2:3.94.4.1.2.1.1 does not list.

    One parameter with one value; a comma would mean a choice of several and is not listed.
    """
    if text == "Patient":
        return Criteria()
    found = re.fullmatch(r"Patient\?(_id|organization|identifier)=([^&\s]+)", text)
    if found is None:
        return None
    name, said = found[1], _decoded(found[2])
    if said is None:
        return None
    if name == "_id":
        plain = said.removeprefix("Patient/")
        return Criteria("_id", plain) if re.fullmatch(r"[A-Za-z0-9\-.]{1,64}", plain) else None
    if name == "organization":
        return Criteria("organization", said)
    system, bar, value = said.partition("|")
    if not bar:
        return Criteria("identifier", said)
    return Criteria("identifier", value, system) if system or value else None


def _decoded(text: str) -> str | None:
    try:
        plain = unquote(text, errors="strict")
    except UnicodeDecodeError:
        return None
    bare = re.sub(r"\\([\\,$|])", "", plain)
    if "," in bare or "\x00" in plain or not plain.strip():
        return None
    return re.sub(r"\\([\\,$])", r"\1", plain)


def payload(said: str) -> Literal["json", "xml"] | None:
    """The format of a mime type, whatever its parameters; None when it is no FHIR format."""
    return PAYLOADS.get(said.partition(";")[0].strip().lower())


def check_subscription(
    subscription: Mapping[str, Any], *, update: bool = False
) -> tuple[Issue, ...]:
    """Everything in which a legal R4 Subscription breaks IHE.PMIR.Subscription (and, when it is new,
    IHE.PMIR.Subscription.Request)."""
    return tuple(_faults(subscription, update=update))


def _faults(said: Mapping[str, Any], *, update: bool) -> Iterator[Issue]:
    status = said.get("status")
    allowed = ("requested", "off") if update else ("requested",)
    if status not in allowed:
        words = (
            "Send status “requested” or “off”; only this server makes a subscription active."
            if update
            else "Send status “requested”; this server makes the subscription active."
        )
        yield _issue(PROFILE, words, "Subscription.status")
    for place, contact in enumerate(said.get("contact") or ()):
        for part in ("system", "value"):
            if not contact.get(part):
                words = (
                    f"A contact needs a {part}, so that somebody can be told when messages fail."
                )
                yield _issue(REQUIRED, words, f"Subscription.contact[{place}].{part}")
    if criteria(str(said.get("criteria") or "")) is None:
        words = f"These criteria cannot be subscribed to; send {CRITERIA}, with one value."
        yield _issue(UNPROCESSABLE, words, "Subscription.criteria")
    channel = said.get("channel") or {}
    if channel.get("type") != "message":
        words = "Patient updates are sent as messages; send channel.type “message”."
        yield _issue(CODE_INVALID, words, "Subscription.channel.type")
    if not channel.get("endpoint"):
        words = "Say where messages shall be sent."
        yield _issue(REQUIRED, words, "Subscription.channel.endpoint")
    if not channel.get("payload"):
        words = "Say in which format: application/fhir+json or application/fhir+xml."
        yield _issue(REQUIRED, words, "Subscription.channel.payload")
    elif payload(channel["payload"]) is None:
        words = "Messages are sent as application/fhir+json or application/fhir+xml."
        yield _issue(CODE_INVALID, words, "Subscription.channel.payload")
    if channel.get("header"):
        words = (
            "Credentials are not exchanged in a Subscription (PMIR 2:3.94.5); leave header out and "
            "agree on TLS with the operators of this exchange."
        )
        yield _issue(PROFILE, words, "Subscription.channel.header")
    for where in modifiers(said, "Subscription"):
        words = "This could change the meaning of the subscription and is not understood here."
        yield _issue(PROFILE, words, where)


def _issue(kind: ErrorKind, words: str, where: str) -> Issue:
    return Issue(kind, words, where, xds="")
