"""The message of ITI-93, read, checked and made (PMIR 2:3.93.4). Pure.

    Bundle type=message
      entry[0]  MessageHeader    who sends what to whom
      entry[1]  Bundle           type=history: what has happened to which Patients

`RULES` are what IHE.PMIR.Bundle, .MessageHeader, .Bundle.History, .Patient.Merge and .Patient.Related
say. What we send breaks none of them. Of what we are sent, the tolerated ones are warnings: published
connectathon messages break them, and what was meant is plain all the same (PIX digest §3.1, §11).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qsl

from standards import pmir
from standards.lens import at, modifiers, text
from standards.outcome import (
    CODE_INVALID,
    DUPLICATE_IN_MESSAGE,
    PROFILE,
    REQUIRED,
    UNPROCESSABLE,
    VALUE,
    ErrorKind,
    Issue,
)

Json = Mapping[str, Any]
Method = Literal["POST", "PUT", "DELETE"]
Code = Literal["ok", "transient-error", "fatal-error"]
METHODS = ("POST", "PUT", "DELETE")
_BUNDLE = "PMIR IHE.PMIR.Bundle"
_HEADER = "PMIR IHE.PMIR.MessageHeader"
_HISTORY = "PMIR IHE.PMIR.Bundle.History"
_MERGE = "PMIR IHE.PMIR.Patient.Merge"
_RELATED = "PMIR IHE.PMIR.Patient.Related"
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")


class Place(NamedTuple):
    """One entry of the history: its FHIRPath and what it holds."""

    where: str
    entry: Json

    @property
    def method(self) -> str:
        """The method that was used at the sender."""
        return text(self.entry, "request.method")

    @property
    def resource(self) -> Json:
        """The resource, {} for none."""
        held = self.entry.get("resource")
        return held if isinstance(held, Mapping) else {}

    @property
    def links(self) -> list[Json]:
        """The links of its Patient."""
        return list(self.resource.get("link") or ()) if self.is_patient else []

    @property
    def is_patient(self) -> bool:
        """Whether it speaks of a Patient."""
        kind = self.resource.get("resourceType")
        return kind == "Patient" if kind else text(self.entry, "request.url").startswith("Patient")

    def linked(self, type_: str) -> list[Json]:
        """Its links of one type."""
        return [link for link in self.links if link.get("type") == type_]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: `find` gives the FHIRPath of every place that breaks it."""

    see: str
    words: str
    find: Callable[[Json], Iterable[str]]
    kind: ErrorKind = PROFILE
    tolerated: bool = False


def _header(bundle: Json) -> Json:
    first: Json = next(iter(at(bundle, "entry")), {})
    held: Json = first.get("resource") or {}
    return held if held.get("resourceType") == "MessageHeader" else {}


def _history_at(bundle: Json) -> int:
    """Where the history lies: entry[1], or the first Bundle after it where a sender put something
    between them; -1 for none."""
    for number, entry in enumerate(at(bundle, "entry")):
        if number and (entry.get("resource") or {}).get("resourceType") == "Bundle":
            return number
    return -1


def _history(bundle: Json) -> Json:
    number = _history_at(bundle)
    held: Json = at(bundle, "entry")[number]["resource"] if number > 0 else {}
    return held


def places(bundle: Json) -> list[Place]:
    """The entries of the history."""
    stem = f"Bundle.entry[{_history_at(bundle)}].resource.entry"
    return [Place(f"{stem}[{n}]", e) for n, e in enumerate(at(_history(bundle), "entry"))]


def _when(found: bool, where: str) -> tuple[str, ...]:
    return (where,) if found else ()


def _each(test: Callable[[Place], bool], below: str = "") -> Callable[[Json], Iterator[str]]:
    def find(bundle: Json) -> Iterator[str]:
        for place in places(bundle):
            if test(place):
                yield place.where + below

    return find


def _without_url(bundle: Json) -> Iterator[str]:
    for number, entry in enumerate(at(bundle, "entry")[:2]):
        if not entry.get("fullUrl"):
            yield f"Bundle.entry[{number}].fullUrl"


def _focus(bundle: Json) -> bool:
    focus = [text(f, "reference") for f in at(_header(bundle), "focus")]
    url = next((e.get("fullUrl") for e in at(bundle, "entry")[1:2]), None)
    return len(focus) != 1 or focus[0] != url


def _twice(bundle: Json) -> Iterator[str]:
    seen: set[str] = set()
    for place in places(bundle):
        names = set(_names(place)) if place.is_patient else set()
        if names & seen:
            yield place.where
        seen |= names


def _survivor_unnamed(place: Place) -> bool:
    return any(
        not text(link, "other.reference") and not text(link, "other.identifier.value")
        for link in place.linked("replaced-by")
    )


def _related(place: Place) -> bool:
    return any(
        "RelatedPerson" in (text(link, "other.reference") + text(link, "other.type"))
        for link in place.linked("seealso")
    )


RULES: tuple[Rule, ...] = (
    Rule(
        _BUNDLE, "A message is a Bundle of type “message”.",
        lambda b: _when(b.get("type") != "message", "Bundle.type"),
    ),
    Rule(
        _BUNDLE, "The first entry must be the MessageHeader.",
        lambda b: _when(not _header(b), "Bundle.entry[0].resource"), REQUIRED,
    ),
    Rule(
        _BUNDLE, "The second entry must be the Bundle with the history of the Patients.",
        lambda b: _when(_history_at(b) < 0, "Bundle.entry[1].resource"), REQUIRED,
    ),
    Rule(
        _BUNDLE, "The message holds the MessageHeader and the history and nothing else; the rest is left.",
        lambda b: _when(len(at(b, "entry")) > 2, "Bundle.entry[2]"), tolerated=True,
    ),
    Rule(_BUNDLE, "Both entries need a fullUrl.", _without_url, REQUIRED, tolerated=True),
    Rule(
        _BUNDLE, "This could change the meaning of the message and is not understood here; leave it out.",
        lambda b: modifiers(b, "Bundle"),
    ),
    Rule(
        _HEADER, f"The event is {pmir.FEED_EVENT}.",
        lambda b: _when(bool(_header(b)) and _header(b).get("eventUri") != pmir.FEED_EVENT,
                        "Bundle.entry[0].resource.eventUri"), CODE_INVALID,
    ),
    Rule(
        _HEADER, "This is the answer to a message; only messages are taken here.",
        lambda b: _when("response" in _header(b), "Bundle.entry[0].resource.response"), UNPROCESSABLE,
    ),
    Rule(
        _HEADER, "Give the MessageHeader an id: the answer names it, and a repetition is known by it.",
        lambda b: _when(bool(_header(b)) and not _message_id(b), "Bundle.entry[0].resource.id"), REQUIRED,
    ),
    Rule(
        _HEADER, "Say whom the message is for.",
        lambda b: _when(bool(_header(b)) and not at(_header(b), "destination"),
                        "Bundle.entry[0].resource.destination"),
        REQUIRED, tolerated=True,
    ),
    Rule(
        _HEADER, "The one focus is the fullUrl of the history.",
        lambda b: _when(bool(_header(b)) and _focus(b), "Bundle.entry[0].resource.focus"), tolerated=True,
    ),
    Rule(
        _HEADER, f"The definition is {pmir.FEED}.",
        lambda b: _when(bool(_header(b)) and text(_header(b), "definition").partition("|")[0] != pmir.FEED,
                        "Bundle.entry[0].resource.definition"), tolerated=True,
    ),
    Rule(
        _HISTORY, "The focus of the message is a Bundle of type “history”.",
        lambda b: _when(_history_at(b) > 0 and _history(b).get("type") != "history",
                        f"Bundle.entry[{_history_at(b)}].resource.type"),
    ),
    Rule(
        _HISTORY, "A message without entries changes nothing.",
        lambda b: _when(_history_at(b) > 0 and not places(b),
                        f"Bundle.entry[{_history_at(b)}].resource.entry"), REQUIRED, tolerated=True,
    ),
    Rule(
        _HISTORY, "Only Patients are taken; this entry is left.",
        _each(lambda p: not p.is_patient), tolerated=True,
    ),
    Rule(
        _HISTORY, "The method is POST (create), PUT (update, merge) or DELETE.",
        _each(lambda p: p.is_patient and p.method not in METHODS, ".request.method"), CODE_INVALID,
    ),
    Rule(
        _HISTORY, "The entry of a Patient that was created or updated must hold it.",
        _each(lambda p: p.is_patient and p.method in ("POST", "PUT") and not p.resource, ".resource"),
        REQUIRED,
    ),
    Rule(
        _HISTORY, "Say with what status the change succeeded at the sender.",
        _each(lambda p: p.is_patient and not text(p.entry, "response.status"), ".response.status"),
        REQUIRED, tolerated=True,
    ),
    Rule(
        _HISTORY, "Only changes that succeeded at the sender are told; leave this entry out.",
        _each(lambda p: text(p.entry, "response.status")[:1] not in ("", "2"), ".response.status"), VALUE,
    ),
    Rule(
        _HISTORY, "A Patient may be in a message once; send the later change in another message.",
        _twice, DUPLICATE_IN_MESSAGE,
    ),
    Rule(
        _MERGE, "A Patient that is replaced must have active=false.",
        _each(lambda p: bool(p.linked("replaced-by")) and p.resource.get("active") is not False,
              ".resource.active"),
    ),
    Rule(
        _MERGE, "A merge is told with the method PUT.",
        _each(lambda p: bool(p.linked("replaced-by")) and p.method == "POST", ".request.method"),
        tolerated=True,
    ),
    Rule(
        _MERGE, "A Patient can be replaced by one other only.",
        _each(lambda p: len(p.linked("replaced-by")) > 1, ".resource.link[1]"),
    ),
    Rule(
        _MERGE, "A Patient that is replaced has this one link only; the others are kept as they are.",
        _each(lambda p: len(p.linked("replaced-by")) == 1 < len(p.links), ".resource.link"),
        tolerated=True,
    ),
    Rule(
        _MERGE, "Name the survivor by other.reference, or by other.identifier.",
        _each(_survivor_unnamed, ".resource.link[0].other"), REQUIRED,
    ),
    Rule(
        _RELATED, "A Patient with a related person has this one link only; the others are kept.",
        _each(lambda p: _related(p) and len(p.links) > 1, ".resource.link"), tolerated=True,
    ),
)  # fmt: skip


def check(bundle: Json, *, strict: bool = True) -> tuple[Issue, ...]:
    """Everything in which a legal R4 Bundle breaks the profiles of ITI-93; unless `strict`, what is
    tolerated is a warning."""
    return tuple(
        Issue(rule.kind, rule.words, where, xds="", severity=_severity(rule, strict))
        for rule in RULES
        for where in rule.find(bundle)
    )


def _severity(rule: Rule, strict: bool) -> Literal["error", "warning"]:
    return "warning" if rule.tolerated and not strict else "error"


# -- reading ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """One change to one Patient. `names` are the ids that the sender knows it by, `criteria` its
    `identifier=…` where the URL is a search."""

    where: str
    method: Method
    names: tuple[str, ...]
    criteria: str
    patient: Json | None

    @property
    def merges(self) -> bool:
        """Whether it says that another Patient replaces this one."""
        links = (self.patient or {}).get("link") or ()
        return any(link.get("type") == "replaced-by" for link in links)

    @property
    def turn(self) -> int:
        """When it is done: what is created and revised first, then merges, which may name them, then
        deletions. The order in the message means nothing, because each Patient is in it once."""
        if self.method == "DELETE":
            return 3
        return 2 if self.merges else (0 if self.method == "POST" else 1)


@dataclass(frozen=True, slots=True)
class Message:
    """A message that can be answered. `related` are its RelatedPersons by their names."""

    id: str
    endpoint: str
    entries: tuple[Entry, ...]
    related: Mapping[str, Json]


def read(bundle: Json) -> tuple[Message | None, tuple[Issue, ...]]:
    """The message in a legal R4 Bundle and everything that is wrong with it.

    The message is None when it cannot even be answered: no MessageHeader, another event, no id.
    """
    issues = check(bundle, strict=False)
    id_, header = _message_id(bundle), _header(bundle)
    if not id_ or header.get("eventUri") != pmir.FEED_EVENT or "response" in header:
        return None, issues
    found = [p for p in places(bundle) if p.is_patient]
    entries = tuple(_entry(p) for p in found if p.method in METHODS)
    related = {
        name: p.resource
        for p in places(bundle)
        if p.resource.get("resourceType") == "RelatedPerson"
        for name in _names(p)
    }
    return Message(id_, text(header, "source.endpoint"), entries, related), issues


def _entry(place: Place) -> Entry:
    url = text(place.entry, "request.url")
    query = url.partition("?")[2]
    criteria = next((v for k, v in parse_qsl(query) if k == "identifier"), "")
    method: Any = place.method
    return Entry(place.where, method, tuple(_names(place)), criteria, place.resource or None)


def _message_id(bundle: Json) -> str:
    said = text(_header(bundle), "id")
    if said:
        return said
    first: Json = next(iter(at(bundle, "entry")), {})
    return named(first.get("fullUrl") or "")


def named(reference: str) -> str:
    """The id in a reference or URL, however it is written: `Patient/x`, `https://…/Patient/x`,
    `…/Patient/x/_history/2`, `urn:uuid:x`; "" for none."""
    said = reference.partition("/_history/")[0].partition("?")[0]
    if said.startswith("urn:"):
        said = said.removeprefix("urn:uuid:").removeprefix("urn:oid:")
    elif "/" in said:
        said = said.rpartition("/")[2]
    else:
        return ""
    return said if _ID.fullmatch(said) else ""


def _names(place: Place) -> Iterator[str]:
    said = (
        named(text(place.entry, "request.url")),
        text(place.resource, "id"),
        named(text(place.entry, "fullUrl")),
    )
    return iter(dict.fromkeys(name for name in said if name))


def reply(resource: Json, message_id: str) -> Code | None:
    """What an answer to our message says of it; None for what is no answer to it.

    Answers that repeat the request's event or carry more entries are read all the same (§11 row 9).
    """
    if resource.get("resourceType") != "Bundle":
        return None
    header = _header(resource)
    code: Any = text(header, "response.code")
    if text(header, "response.identifier") != message_id:
        return None
    return code if code in ("ok", "transient-error", "fatal-error") else None


# -- making -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Told:
    """One change as we tell it: `patient` is the whole Patient, None for a deletion."""

    method: Method
    id: str
    patient: Json | None = None


_STATUS: Mapping[Method, str] = {"POST": "201", "PUT": "200", "DELETE": "202"}


def message(
    told: Sequence[Told], *, id_: str, base: str, destination: str, instant: str
) -> dict[str, Any]:
    """The message that tells these changes, as IHE.PMIR.Bundle wants it; without changes it is the
    test message that a subscription begins with."""
    history_url = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, id_ + '#history')}"
    header = {
        "resourceType": "MessageHeader",
        "id": id_,
        "eventUri": pmir.FEED_EVENT,
        "destination": [{"endpoint": destination}],
        "source": _source(base),
        "focus": [{"reference": history_url}],
        "definition": pmir.FEED,
    }
    history: dict[str, Any] = {"resourceType": "Bundle", "type": "history", "total": len(told)}
    if told:
        history["entry"] = [_told(one, base, instant) for one in told]
    return {
        "resourceType": "Bundle",
        "type": "message",
        "timestamp": instant,
        "entry": [
            {"fullUrl": f"urn:uuid:{id_}", "resource": header},
            {"fullUrl": history_url, "resource": history},
        ],
    }


def _told(one: Told, base: str, instant: str) -> dict[str, Any]:
    url = "Patient" if one.method == "POST" else f"Patient/{one.id}"
    made: dict[str, Any] = {"fullUrl": f"{base}/Patient/{one.id}"}
    if one.patient is not None:
        made["resource"] = dict(one.patient)
    made["request"] = {"method": one.method, "url": url}
    made["response"] = {"status": _STATUS[one.method], "lastModified": instant}
    return made


def response(
    request: str, code: Code, *, id_: str, base: str, instant: str, details: Json | None = None
) -> dict[str, Any]:
    """The answer to the message `request`, as IHE.PMIR.MessageHeader.Response wants it. `details` is
    an OperationOutcome that says what became of every entry; it travels inside the header, because
    the answer has one entry only."""
    said: dict[str, Any] = {"identifier": request, "code": code}
    header: dict[str, Any] = {"resourceType": "MessageHeader", "id": id_}
    if details is not None:
        header["contained"] = [{**details, "id": "details"}]
        said["details"] = {"reference": "#details"}
    header |= {
        "eventUri": pmir.RESPONSE_EVENT,
        "source": _source(base),
        "response": said,
        "definition": pmir.FEED_RESPONSE,
    }
    return {
        "resourceType": "Bundle",
        "type": "message",
        "timestamp": instant,
        "entry": [{"fullUrl": f"urn:uuid:{id_}", "resource": header}],
    }


def _source(base: str) -> dict[str, str]:
    return {
        "name": "Throughline",
        "software": "Throughline",
        "endpoint": f"{base}/$process-message",
    }
