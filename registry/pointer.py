"""PURE. A pointer of the NRL door against what is registered, and the rows that come of it.

    POST, PUT with a new id    a document of its own; what it replaces is superseded, as by ITI-65
    PUT of a known id          the next version of the same document; the one before is history
    DELETE                     the next version too, entered-in-error

The stored resource keeps the NRL's shape and gains what MHD needs beside it: `subject.reference`, a
uniqueId and an entryUUID, and a reference to each related pointer. Both doors show the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chassis.body import parse_json
from chassis.call import dumps, instant
from registry import indexed
from registry.elsewhere import placed
from registry.neighbours import Who
from registry.sent import Away
from registry.standing import Known
from registry.submission import Change, Doc, Submission, revised, superseded
from standards.index import token
from standards.lens import at, first
from standards.mhd import IDENTIFIER_TYPES, URI
from standards.mhd_rules import identifier_kind
from standards.outcome import (
    DEPRECATED,
    DUPLICATE,
    IMMUTABLE,
    PATIENT_DIFFERS,
    UNKNOWN_PATIENT,
    UNPROCESSABLE,
    UNRESOLVED,
    Issue,
)

Json = Mapping[str, Any]
IMMUTABLES = (
    "masterIdentifier", "identifier", "status", "type", "subject", "custodian", "relatesTo", "author",
)  # fmt: skip
"""What an update cannot change (NRL producer API, updateDocumentReference)."""
WITHDRAWN = "entered-in-error"
PLACES = 100
"""How many places of one pointer stay retrievable, so that its row cannot grow without end."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """A pointer as it was sent: its id, custodian, the (code, id) of what it relates to, and where each
    of its contents is that the community has agreed on."""

    resource: Json
    id: str
    custodian: str
    related: tuple[tuple[str, str], ...]
    places: tuple[Away | None, ...] = ()

    @property
    def number(self) -> str:
        """Its subject's NHS number, "" when it names none."""
        return str(first(self.resource, "subject.identifier.value") or "")

    @property
    def unique_id(self) -> str:
        """Its masterIdentifier as a token, "" when it has none."""
        master = self.resource.get("masterIdentifier")
        if not master or not master.get("value"):
            return ""
        return token(master.get("system") or "", str(master["value"]))

    @property
    def replaces(self) -> list[str]:
        """The ids of the pointers that it replaces."""
        return [id_ for code, id_ in self.related if code == "replaces"]


def read(resource: Json, id_: str, custodian: str) -> Pointer:
    """The pointer in a legal body."""
    related = tuple(
        (str(r.get("code")), str(value))
        for r in at(resource, "relatesTo")
        if (value := first(r, "target.identifier.value"))
    )
    return Pointer(resource, id_, custodian, related)


# -- against what is registered ---------------------------------------------------------------------


def standing(pointer: Pointer, who: Who | None, known: Known) -> Iterator[Issue]:
    """Everything in which a new pointer does not fit what is registered."""
    if pointer.unique_id in known.registered:
        words = "This masterIdentifier is registered; a new pointer needs a new one, or none."
        yield Issue(DUPLICATE, words, "masterIdentifier")
    yield from _whose(pointer, who)
    for number, (code, id_) in enumerate(pointer.related):
        yield from _target(pointer, who, known.documents.get(id_), code, number)


def _whose(pointer: Pointer, who: Who | None) -> Iterator[Issue]:
    if not pointer.number:
        return
    if who is None or who.state == "removed":
        words = "Nobody here has this NHS number; a source feeds the person first (ITI-104, ITI-8)."
        yield Issue(UNKNOWN_PATIENT, words, "subject.identifier.value")
        return
    said = first(pointer.resource, "subject.reference")
    if said and str(said).rpartition("Patient/")[2] not in (who.record, who.survivor, *who.same):
        words = "The reference and the NHS number are of two people; send the NHS number alone."
        yield Issue(PATIENT_DIFFERS, words, "subject.reference")


def _target(
    pointer: Pointer, who: Who | None, held: Doc | None, code: str, number: int
) -> Iterator[Issue]:
    where = f"relatesTo[{number}].target.identifier.value"
    if held is None or held.get("pointer") != pointer.custodian:
        yield Issue(UNRESOLVED, "Your organisation has no pointer with this id here.", where)
        return
    if held["status"] != "current":
        yield Issue(DEPRECATED, "That pointer is no longer current; relate to what is.", where)
    if who is not None and held["subject"] not in (who.record, who.survivor, *who.same):
        yield Issue(PATIENT_DIFFERS, "That pointer is of another person.", where)
    if code == "replaces" and not _same_type(pointer.resource, held):
        words = "A pointer replaces pointers of its own type only."
        yield Issue(UNPROCESSABLE, words, where)


def _same_type(resource: Json, held: Doc) -> bool:
    def said(of: Json) -> list[tuple[Any, Any]]:
        return [(c.get("system"), c.get("code")) for c in at(of, "type.coding")]

    return said(resource) == said(parse_json(bytes(held["b"])))


def unchanged(after: Json, before: Json) -> Iterator[Issue]:
    """What an update would change and must not."""
    for name in IMMUTABLES:
        if after.get(name) != before.get(name):
            words = f"An update cannot change {name}; publish a new pointer that replaces this one."
            yield Issue(IMMUTABLE, words, name)


# -- what comes of it -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Making:
    """What rows are made with: whose it is, what is known, a fresh UUID, the moment and the base."""

    who: Who
    known: Known
    uuid: str
    now: datetime
    base: str


def published(pointer: Pointer, making: Making) -> Submission:
    """All that a new pointer writes."""
    now, base = making.now, making.base
    made = _shaped(pointer, making.who.survivor or making.who.record, making.uuid)
    made["date"] = instant(now)
    fetched = placed(made, pointer.places, base)
    row = _row(pointer, made, making) | _away(fetched)
    pairs = [(pointer.id, old) for old in pointer.replaces]
    documents, lists = superseded(pairs, making.known, now, base)
    done = {c.before["_id"] for c in documents}
    touched = [making.known.documents[id_] for _, id_ in pointer.related if id_ not in done]
    unique = made["masterIdentifier"]
    names: list[Doc] = [
        {
            "_id": token(unique.get("system") or "", str(unique["value"])),
            "kind": "document",
            "of": pointer.id,
            "hash": str(first(made, "content.attachment.hash") or ""),
            "size": first(made, "content.attachment.size"),
        },
        {"_id": f"urn:uuid:{making.uuid}", "kind": "entry", "of": pointer.id},
    ]
    return Submission([row], [], documents, lists, touched, names, b"", pointer.id)


def updated(
    pointer: Pointer, held: Doc, now: datetime, base: str
) -> tuple[Submission, list[Issue]]:
    """The next version of a pointer, and what it changes though it must not. Where its contents were
    is remembered, because the versions before lead there."""
    before = parse_json(bytes(held["b"]))
    made = _shaped(pointer, held["subject"], "", before)
    issues = list(unchanged(made, before))
    made["date"] = before["date"]
    fetched = placed(made, pointer.places, base)
    now_at = {place["id"] for place in fetched}
    fetched += [place for place in held.get("away") or () if place["id"] not in now_at]
    after = revised(held | {"b": dumps(made)} | _away(fetched), now, base)
    return changed([Change(held, after)], pointer.id), issues


def _away(fetched: list[Doc]) -> Doc:
    """What a row remembers of the places that the exchange fetches from, the newest first."""
    kept = fetched[:PLACES]
    return {"binary": [place["id"] for place in kept], "away": kept} if kept else {}


def withdrawn(held: Doc, now: datetime, base: str) -> Submission:
    """The pointer that was DELETEd: its last version, entered-in-error."""
    return changed([Change(held, revised(held, now, base, status=WITHDRAWN))], held["_id"])


def changed(changes: list[Change], id_: str) -> Submission:
    """A submission that changes these documents and adds none."""
    return Submission([], [], changes, [], [], [], b"", id_)


def _shaped(pointer: Pointer, record: str, uuid: str, before: Json | None = None) -> Doc:
    """The resource as it is stored: the NRL's shape, and what MHD needs beside it."""
    earlier = before or {}
    made: Doc = {
        "resourceType": "DocumentReference",
        "id": pointer.id,
        "meta": _meta(pointer.resource) if before is None else _meta(pointer.resource, earlier),
    }
    made |= {k: v for k, v in pointer.resource.items() if k not in made}
    made["subject"] = {"reference": f"Patient/{record}", **_without(made["subject"], "reference")}
    master = made.get("masterIdentifier") or earlier.get("masterIdentifier")
    made["masterIdentifier"] = _marked(
        master or {"system": URI, "value": f"urn:uuid:{uuid}"}, "uniqueId"
    )
    own = _marked({"system": URI, "value": f"urn:uuid:{uuid}"}, "entryUUID")
    if before is not None:
        own = before["identifier"][0]
    others = [i for i in made.get("identifier") or () if i.get("value") != own["value"]]
    made["identifier"] = [own, *others]
    if pointer.related:
        made["relatesTo"] = [_linked(r) for r in at(made, "relatesTo")]
    return made


def _meta(resource: Json, earlier: Json | None = None) -> Doc:
    """Its tags and labels; version and time are the registry's."""
    sent = resource.get("meta") or {}
    kept = {k: v for k, v in sent.items() if k in ("profile", "tag", "security")}
    if earlier is None:
        return kept
    held = earlier["meta"]
    return kept | {"versionId": held["versionId"], "lastUpdated": held["lastUpdated"]}


def _without(element: Json, name: str) -> Doc:
    return {k: v for k, v in element.items() if k != name}


def _marked(identifier: Json, kind: str) -> Doc:
    """With the mark by which MHD tells them apart (`type`, since 4.2.4)."""
    if identifier_kind(identifier) == kind:
        return dict(identifier)
    concept = {"coding": [{"system": IDENTIFIER_TYPES, "code": kind}]}
    return {**identifier, "use": "usual" if kind == "uniqueId" else "official", "type": concept}


def _linked(related: Json) -> Doc:
    target = related["target"]
    reference = f"DocumentReference/{target['identifier']['value']}"
    return {**related, "target": {**target, "reference": reference}}


def _row(pointer: Pointer, made: Doc, making: Making) -> Doc:
    made["meta"] |= {"versionId": "1", "lastUpdated": instant(making.now)}
    codings = [c for label in made.get("securityLabel") or () for c in label.get("coding") or ()]
    row: Doc = {
        "_id": pointer.id,
        "v": 1,
        "at": making.now,
        "b": dumps(made),
        "status": "current",
        "subject": making.who.survivor or making.who.record,
        "seen": "",
        "links": 0,
        "labels": [[c.get("system") or "", c.get("code") or ""] for c in codings],
        "pointer": pointer.custodian,
        "ix": indexed.document(made, making.base),
    }
    if pointer.related:
        row["rel"] = [f"{code}|{id_}" for code, id_ in pointer.related]
    return row
