"""One document published by itself: what Simplified Publish and Generate Metadata share.

Both make the submission that the client need not make, a Bundle of SubmissionSet, DocumentReference,
Binary and, where the document names its own, Patient, and send it the way of ITI-65 (`provide.py`): the
same checks, the same transaction, the same audit. `enclosed` is PURE.

The SubmissionSet's uniqueId is made from the client and what it sent, so that the same document sent
again, after a lost answer, is recognised and changes nothing.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson

from affinity.pack import Pack
from chassis.attachment import Attachment
from chassis.body import parse_json
from chassis.call import Answer, Call, Caller, instant
from chassis.mongo import Doc
from registry.documents import Documents
from registry.draft import drafted
from registry.provide import Provide
from registry.shown import Show
from standards.index import token
from standards.lens import at, contained, first, references
from standards.mhd import (
    DESIGNATION_TYPE,
    IDENTIFIER_TYPES,
    LIST_TYPES,
    MINIMAL_BUNDLE,
    SOURCE_ID,
    URI,
)
from standards.mhd_publish import AUTHOR_ORG, SIMPLIFIED
from standards.outcome import GONE, Issue, Refused

Json = Mapping[str, Any]
_SET, _DOCUMENT, _BINARY = (f"Bundle.entry[{n}].resource" for n in range(3))
_AUTHORS = (
    "Practitioner",
    "PractitionerRole",
    "Patient",
    "Device",
)  # what List.source may be in R4


@dataclass(frozen=True, slots=True)
class Sheet:
    """One document with its metadata. `document` is the DocumentReference without `data`; `patient` the
    Patient that the document itself describes, for the identity manager to recognise. `data` says where
    in the body the bytes are.

    When the metadata were read from the document, `within` is the document's place in the body and
    `origin` says which of its elements became which of the DocumentReference's; both are empty when the
    DocumentReference is the body. `guard` is a Patient who must be the same person.
    """

    document: Json
    content: Attachment | None
    data: str
    patient: Json | None = None
    within: str = ""
    origin: Mapping[str, str] = field(default_factory=dict)
    guard: Json | None = None

    def digest(self) -> bytes:
        """Of everything that was sent."""
        said = orjson.dumps(
            [self.document, self.patient, self.guard], default=str, option=orjson.OPT_SORT_KEYS
        )
        return hashlib.sha256(said + (self.content.sha256 if self.content else b"")).digest()

    def told(self, issue: Issue) -> Issue:
        """A finding of ITI-65 on our Bundle as one on what the client sent: its place, and in the words
        the element of the document that it comes from."""
        where = issue.where
        for ours, theirs in (
            (f"{_SET}.subject", f"{_DOCUMENT}.subject"),
            (f"{_SET}.source", f"{_DOCUMENT}.author[0]"),
        ):
            if where.startswith(ours):
                where = theirs + where[len(ours) :]
        if where.startswith(f"{_BINARY}.data"):
            return replace(issue, where=self.data)
        if not where.startswith(_DOCUMENT):
            return replace(issue, where=self.within)
        inner = where[len(_DOCUMENT) :].lstrip(".")
        if self.within:
            return self.read(issue, inner)
        return replace(issue, where=f"DocumentReference.{inner}" if inner else "DocumentReference")

    def read(self, issue: Issue, element: str) -> Issue:
        """A finding on an element that was read from the document."""
        for name in sorted(self.origin, key=len, reverse=True):
            if element == name or element.startswith((f"{name}.", f"{name}[")):
                return located(issue, self.within, self.origin[name])
        return replace(issue, where=self.within)


def located(issue: Issue, within: str, place: str) -> Issue:
    """A finding at a place of a document that is itself at `within` of the body. Of a Bundle it is a
    FHIRPath; of what is inside a Binary it can only be said in words."""
    if within.endswith(".resource") and place.startswith("Bundle"):
        return replace(issue, where=within + place.removeprefix("Bundle"))
    words = f"{issue.words} In the document: {place}." if place else issue.words
    return replace(issue, words=words, where=within)


@dataclass(frozen=True, slots=True)
class Published:
    """What came of it: the row as it is now, whether it is new, and warnings."""

    row: Doc
    new: bool
    warnings: Json | None


@dataclass(frozen=True, slots=True)
class Single:
    """The story over that of ITI-65."""

    provide: Provide
    store: Documents
    pack: Pack

    async def published(self, call: Call, sheet: Sheet, issues: Sequence[Issue] = ()) -> Published:
        """Publish one document. `issues` are already found: they are told together with what ITI-65
        finds, each at its place in what the client sent.

        Raises `Refused` as ITI-65 does.
        """
        name = unique_id(call.caller, sheet.digest())
        bundle = enclosed(sheet, self.pack, call.caller, call.now, name)
        if issues or sheet.content is None:
            raise Refused(_once([*issues, *self._drafted(call, bundle, sheet)]))
        earlier = await self._earlier(call, name)
        if earlier is not None:
            return earlier
        inner = replace(call, resource=bundle, attachments=(sheet.content,))
        try:
            answer = await self.provide(inner)
        except Refused as refusal:
            earlier = await self._earlier(call, name)  # the same request, twice at once
            if earlier is not None:
                return earlier
            raise Refused(_told(refusal.issues, sheet), headers=refusal.headers) from None
        return await self._made(answer.body, new=True)

    def _drafted(self, call: Call, bundle: Json, sheet: Sheet) -> list[Issue]:
        draft = drafted(
            bundle,
            {sheet.content.token: sheet.content} if sheet.content else {},
            base=call.base,
            pack=self.pack,
            lenient=self.provide.settings.codes == "lenient",
            ids=call.ids,
        )
        found = draft.issues
        if sheet.content is None:  # that there is no Binary has been said
            absent = (f"{_DOCUMENT}.content[0].attachment.url", _BINARY)
            found = [i for i in found if not i.where.startswith(absent)]
        return _told(found, sheet)

    async def _earlier(self, call: Call, name: str) -> Published | None:
        row = await self.store.names.get(token(URI, name))
        entries = parse_json(bytes(row["answer"]))["entry"] if row and "answer" in row else []
        if row is None or len(entries) < 2 or "/DocumentReference/" not in _location(entries[1]):
            return None  # nothing, or not a submission of ours: ITI-65 then says that it is taken
        made = await self._made(bytes(row["answer"]), new=False)
        call.account.sealed = None
        call.account.submission = f"List/{row['of']}"
        call.account.data = [f"DocumentReference/{made.row['_id']}"]
        subject = made.row["subject"]
        call.account.patients = [f"Patient/{subject}"] if subject else []
        return made

    async def _made(self, answer: bytes, *, new: bool) -> Published:
        entry = parse_json(answer)["entry"][1]
        id_ = _location(entry).rpartition("DocumentReference/")[2].partition("/")[0]
        row = await self.store.documents.one({"_id": id_})
        if row is None:
            raise Refused(Issue(GONE, "This document was published before and has been removed."))
        return Published(row, new, entry["response"].get("outcome"))


def _location(entry: Json) -> str:
    return str(first(entry, "response.location") or "")


def unique_id(caller: Caller, digest: bytes) -> str:
    """The uniqueId of the SubmissionSet of what this client sent: an OID of the 2.25 arc."""
    said = hashlib.sha256(caller.client_id.encode() + b"\0" + digest).hexdigest()
    return f"urn:oid:2.25.{uuid.uuid5(uuid.NAMESPACE_URL, said).int}"


def source_id(caller: Caller, pack: Pack) -> str:
    """The system that submits, from the client's registration: one OID per client, below the pack's."""
    arc = int.from_bytes(hashlib.sha256(caller.client_id.encode()).digest()[:8], "big")
    return f"{pack.constants['source_id_arc']}.{arc}"


def enclosed(sheet: Sheet, pack: Pack, caller: Caller, now: datetime, name: str) -> dict[str, Any]:
    """The Minimal ITI-65 Bundle around one document (MHD 2:3.105.4.1.3). The set's subject, author and
    content type are the document's (PCC TF-2 4.1)."""
    urls = {n: f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, name + n)}" for n in ("d", "b", "p")}
    document = _document(sheet, urls)
    if sheet.within:  # the metadata are made now
        document["date"] = instant(now)
    entries = [
        _entry(_set(document, urls["d"], pack, caller, now, name, sheet.guard), "List"),
        _entry(document, "DocumentReference", urls["d"]),
    ]
    if sheet.content is not None:
        binary = {
            "resourceType": "Binary",
            "contentType": first(document, "content.attachment.contentType"),
            "data": sheet.content.token,
        }
        entries.append(_entry(binary, "Binary", urls["b"]))
    if sheet.patient is not None:
        entries.append(_entry(sheet.patient, "Patient", urls["p"]))
    return {
        "resourceType": "Bundle",
        "meta": {"profile": [MINIMAL_BUNDLE]},
        "type": "transaction",
        "entry": entries,
    }


def _entry(resource: Json, url: str, full_url: str = "") -> dict[str, Any]:
    made = {"resource": resource, "request": {"method": "POST", "url": url}}
    return {"fullUrl": full_url, **made} if full_url else made


def _document(sheet: Sheet, urls: Mapping[str, str]) -> dict[str, Any]:
    made = dict(sheet.document)
    profiles = [p for p in at(made, "meta.profile") if p.split("|")[0] != SIMPLIFIED]
    if len(profiles) != len(at(made, "meta.profile")):  # it says data in, url out: no longer true
        made["meta"] = {k: v for k, v in made["meta"].items() if k != "profile"}
        made["meta"] |= {"profile": profiles} if profiles else {}
    if sheet.patient is not None:
        made["subject"] = {"reference": urls["p"]}
    contents = []
    for content in made.get("content") or ():
        attachment = {k: v for k, v in content["attachment"].items() if k != "data"}
        contents.append({**content, "attachment": attachment | {"url": urls["b"]}})
    if contents:
        made["content"] = contents
    return made


def _set(
    document: Json,
    url: str,
    pack: Pack,
    caller: Caller,
    now: datetime,
    name: str,
    guard: Json | None,
) -> dict[str, Any]:
    source = {
        "url": SOURCE_ID,
        "valueIdentifier": {"system": URI, "value": source_id(caller, pack)},
    }
    extensions: list[Json] = [source]
    if document.get("type"):
        extensions.append({"url": DESIGNATION_TYPE, "valueCodeableConcept": document["type"]})
    kind = {"coding": [{"system": IDENTIFIER_TYPES, "code": "uniqueId"}]}
    made: dict[str, Any] = {
        "resourceType": "List",
        "extension": extensions,
        "identifier": [{"type": kind, "system": URI, "value": name}],
        "status": "current",
        "mode": "working",
        "code": {"coding": [{"system": LIST_TYPES, "code": "submissionset"}]},
        "date": instant(now),
        "entry": [{"item": {"reference": url}}],
    }
    subject = guard or document.get("subject")
    if subject:
        made["subject"] = subject
    who = _source(document)
    if who is not None:
        made["source"] = who
        held = _reached(document, who)
        if held:
            made["contained"] = held
    return made


def _source(document: Json) -> dict[str, Any] | None:
    """The first author that R4 lets be the source of a List; an organisation by the extension."""
    for author in document.get("author") or ():
        held = contained(document, author)
        said = str(author.get("reference") or "")
        kind = held["resourceType"] if held else str(author.get("type") or _type(said))
        if kind == "Organization":
            return {"extension": [{"url": AUTHOR_ORG, "valueReference": dict(author)}]}
        if kind in _AUTHORS or (not kind and not said):
            return dict(author)
    return None


def _type(said: str) -> str:
    parts = said.partition("/_history/")[0].split("/")
    return parts[-2] if len(parts) > 1 else ""


def _reached(document: Json, element: Json) -> list[Json]:
    """The contained resources that an element leads to, through one another."""
    found: dict[str, Json] = {}
    waiting: list[Json] = [element]
    while waiting:
        for _, reference in references(waiting.pop()):
            held = contained(document, reference)
            if held is not None and held["id"] not in found:
                found[held["id"]] = held
                waiting.append(held)
    return list(found.values())


def _told(issues: Iterable[Issue], sheet: Sheet) -> list[Issue]:
    return _once(sheet.told(i) for i in issues)


def _once(issues: Iterable[Issue]) -> list[Issue]:
    """One finding on both resources of ours is one finding to the client."""
    return list({(i.kind.name, i.words, i.where): i for i in issues}.values())


def answered(call: Call, made: Published, show: Show) -> Answer:
    """The DocumentReference as it is shown: 201 when it is new, 200 when it was here."""
    id_, version = made.row["_id"], made.row["v"]
    where = f"{call.base}/DocumentReference/{id_}/_history/{version}"
    headers = {"ETag": f'W/"{version}"'}
    headers["Location" if made.new else "Content-Location"] = where
    return Answer(201 if made.new else 200, show(made.row), headers)
