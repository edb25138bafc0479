"""PURE. What comes of a draft that stands: step 20 of the order in which ITI-65 is checked (MHD digest §2.1).

`registered` says every row to write and what each must find unchanged; the store writes them in one
transaction, or nothing.

    replaced document ──► superseded, and so are its transforms and addenda (one level)
    its Folders ──► also hold the new document; their date becomes now
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chassis.body import parse_json
from chassis.call import dumps, instant
from registry import indexed
from registry.elsewhere import kept, pointed
from registry.neighbours import Who
from registry.sent import Draft, Item, Link, inside
from registry.standing import Known, measures
from standards.mhd import IDENTIFIER_TYPES, URI
from standards.mhd_bundle import Entry
from standards.mhd_rules import identifier_kind
from standards.outcome import PARTIAL, Issue, outcome

Doc = dict[str, Any]
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """A row that becomes another; the store refuses to when it is no longer as it was."""

    before: Doc
    after: Doc


@dataclass(frozen=True, slots=True)
class Submission:
    """Everything one ITI-65 writes. `touched` are documents that only gain a relation: they must still
    be as they were, so that a racing replace cannot slip in between."""

    documents: list[Doc]
    lists: list[Doc]
    changed_documents: list[Change]
    changed_lists: list[Change]
    touched: list[Doc]
    registered: list[Doc]
    answer: bytes
    id: str


# -- what comes of it (step 20) -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Making:
    """What the rows are made with: who, the binaries' ids by entry number, the moment, the base, and
    the key of whom an unclassified document stays visible to."""

    draft: Draft
    whose: Mapping[int, Who]
    known: Known
    binaries: Mapping[int, str]
    now: datetime
    base: str
    submitter: str


def registered(making: Making) -> Submission:
    """The rows of a draft that stands."""
    draft = making.draft
    documents = [_document_row(making, d) for d in draft.documents]
    changed_documents, changed_lists = _superseded(making)
    lists, folders = [], []
    for item in [draft.submission, *draft.folders]:
        row = _list_row(making, item)
        if item.entry.method == "PUT":
            folders.append(Change(making.known.lists[item.id], row))
        else:
            lists.append(row)
    changed_lists = _joined(folders, changed_lists, making.base)
    versions = {r["_id"]: r["v"] for c in [*changed_documents, *changed_lists] for r in (c.after,)}
    answer = _answer(making, versions)
    return Submission(
        documents, lists, changed_documents, changed_lists, _touched(making, changed_documents),
        _registered(making, answer), answer, draft.submission.id,
    )  # fmt: skip


def _row(making: Making, id_: str, version: int, resource: Doc, who: Who | None) -> Doc:
    meta = {
        k: v for k, v in (resource.get("meta") or {}).items() if k in ("profile", "tag", "security")
    }
    meta |= {"versionId": str(version), "lastUpdated": instant(making.now)}
    whole = {"resourceType": resource["resourceType"], "id": id_, "meta": meta}
    whole |= {k: v for k, v in resource.items() if k not in whole}
    return {
        "_id": id_,
        "v": version,
        "at": making.now,
        "b": dumps(whole),
        "status": whole.get("status", "current"),
        "subject": who.record if who else "",
        "seen": "",
    }


def _resource(making: Making, item: Item) -> Doc:
    """The resource with its references and identifiers as they are stored."""
    made: Doc = _rewritten(making, item.entry, item.resource)
    who = making.whose.get(item.entry.number)
    if who is not None:
        rest = {k: v for k, v in made["subject"].items() if k in ("identifier", "display")}
        made["subject"] = {"reference": f"Patient/{who.record}", **rest}
    identifiers = [_marked(i, identifier_kind(i)) for i in made.get("identifier") or ()]
    if not item.entry_uuid:
        assigned = {"system": URI, "value": f"urn:uuid:{item.id}"}
        identifiers.insert(0, _marked(assigned, "entryUUID"))
    made["identifier"] = identifiers
    return made


def _marked(identifier: Json, kind: str) -> Doc:
    """With both marks, `type` (4.2.4) and `use` (to 4.2.3), so that every client tells them apart."""
    if kind not in ("uniqueId", "entryUUID"):
        return dict(identifier)
    made = dict(identifier)
    made["use"] = "usual" if kind == "uniqueId" else "official"
    concept = dict(made.get("type") or {})
    codings = [c for c in concept.get("coding") or () if c.get("system") != IDENTIFIER_TYPES]
    made["type"] = concept | {"coding": [{"system": IDENTIFIER_TYPES, "code": kind}, *codings]}
    return made


def _rewritten(making: Making, entry: Entry, value: Any, name: str = "") -> Any:
    if isinstance(value, Mapping):
        return {k: _rewritten(making, entry, v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [_rewritten(making, entry, v, name) for v in value]
    if name == "reference" and isinstance(value, str):
        found = inside(making.draft.parts, entry, value)
        if found is not None:
            return _local(making, found)
        if value.startswith(making.base + "/"):
            return value[len(making.base) + 1 :]
    return value


def _local(making: Making, entry: Entry) -> str:
    if entry.slice in ("Binary", "FhirDocument"):
        return f"Binary/{making.binaries[entry.number]}"
    if entry.slice == "Patient":
        return f"Patient/{making.whose[entry.number].record}"
    return f"{entry.resource['resourceType']}/{making.draft.items[entry.number].id}"


def _document_row(making: Making, item: Item) -> Doc:
    made = _resource(making, item)
    made["status"] = "current"  # all new entries are Approved, whatever was sent (digest §4.4)
    made["masterIdentifier"] = _marked(made["masterIdentifier"], "uniqueId")
    if item.content is not None:
        hash_, size = measures(item)
        made["content"][0]["attachment"] |= {"hash": hash_, "size": size}
    if item.binary is not None:
        made["content"][0]["attachment"]["url"] = f"{making.base}/{_local(making, item.binary)}"
    if item.away is not None:
        made = pointed(made, item.away, making.base)
    row = _row(making, item.id, 1, made, making.whose.get(item.entry.number))
    row["links"] = 0
    if item.away is not None and item.away.proxied:
        row |= {"binary": item.away.id, "away": kept(made, item.away)}
    if item.binary is not None:
        row["binary"] = making.binaries[item.binary.number]
    if item.unclassified:
        row["seen"] = making.submitter
    codings = [c for label in made.get("securityLabel") or () for c in label.get("coding") or ()]
    row["labels"] = [[c.get("system") or "", c.get("code") or ""] for c in codings]
    related = [(link.code, _target(making, link)) for link in item.links]
    if related:
        row["rel"] = [f"{code}|{id_}" for code, id_ in related]
    row["ix"] = indexed.document(made, making.base)
    return row


def _target(making: Making, link: Link) -> str:
    return making.draft.items[link.inside.number].id if link.inside is not None else link.id


def _list_row(making: Making, item: Item) -> Doc:
    made = _resource(making, item)
    folder = item.entry.slice == "Folder"
    version = 1
    if folder:
        made["date"] = instant(making.now)  # lastUpdateTime is the registry's (digest §4.4)
    if item.entry.method == "PUT":
        held = making.known.lists[item.id]
        version = held["v"] + 1
        given = {identifier_kind(i) for i in item.resource.get("identifier") or ()}
        earlier = parse_json(bytes(held["b"])).get("identifier") or []
        made["identifier"] = [
            *(i for i in earlier if identifier_kind(i) and identifier_kind(i) not in given),
            *(
                i
                for i in made["identifier"]
                if identifier_kind(i) != "entryUUID" or item.entry_uuid
            ),
        ]
    members = [_target(making, link) for link in item.links] if folder else []
    more = _joining(making, members) if folder else [d.id for d in making.draft.added]
    if more:
        joined = [{"item": {"reference": f"DocumentReference/{id_}"}} for id_ in more]
        made["entry"] = [*(made.get("entry") or ()), *joined]
    row = _row(making, item.id, version, made, making.whose.get(item.entry.number))
    row["kind"] = "folder" if folder else "submissionset"
    row["unique"] = item.unique_id
    if item.entry.method == "PUT" and not item.unique_id:
        row["unique"] = making.known.lists[item.id]["unique"]
    if folder:
        row["members"] = [*members, *more]
    row["ix"] = indexed.listed(made, making.base)
    return row


def _joining(making: Making, members: Sequence[str]) -> list[str]:
    """What joins a Folder of this submission because it replaces one of its members."""
    return [
        item.id
        for item in making.draft.documents
        if item.id not in members
        and any(ln.code == "replaces" and ln.id in members for ln in item.links)
    ]


def _superseded(making: Making) -> tuple[list[Change], list[Change]]:
    """What the documents of the draft replace."""
    pairs = [
        (item.id, link.id)
        for item in making.draft.documents
        for link in item.links
        if link.code == "replaces"
    ]
    return superseded(pairs, making.known, making.now, making.base)


def superseded(
    pairs: Sequence[tuple[str, str]], known: Known, now: datetime, base: str
) -> tuple[list[Change], list[Change]]:
    """Replaced documents with their transforms and addenda, and the Folders that gain the new one.
    `pairs` are (id of the new document, id of the one it replaces)."""
    documents: dict[str, Change] = {}
    joining: dict[str, tuple[Doc, list[str]]] = {}
    for new, old in pairs:
        for row in (known.documents[old], *known.children.get(old, ())):
            documents[row["_id"]] = Change(row, revised(row, now, base, status="superseded"))
        for folder in known.holding.get(old, ()):
            joining.setdefault(folder["_id"], (folder, []))[1].append(new)
    return list(documents.values()), [
        Change(folder, _gained(folder, ids, now, base)) for folder, ids in joining.values()
    ]


def revised(row: Doc, now: datetime, base: str, **elements: Any) -> Doc:
    """The next version of a stored document or Folder with these elements."""
    made = parse_json(bytes(row["b"])) | elements
    version = row["v"] + 1
    made["meta"] = made["meta"] | {"versionId": str(version), "lastUpdated": instant(now)}
    index = indexed.listed if made["resourceType"] == "List" else indexed.document
    return row | {
        "v": version,
        "at": now,
        "b": dumps(made),
        "status": made["status"],
        "ix": index(made, base),
    }


def _gained(folder: Doc, ids: Sequence[str], now: datetime, base: str) -> Doc:
    entries = parse_json(bytes(folder["b"])).get("entry") or []
    new = [i for i in ids if i not in folder["members"]]
    entries += [{"item": {"reference": f"DocumentReference/{i}"}} for i in new]
    made = revised(folder, now, base, entry=entries, date=instant(now))
    return made | {"members": [*folder["members"], *new]}


def _joined(put: Sequence[Change], gained: Sequence[Change], base: str) -> list[Change]:
    """A Folder that is both changed by PUT and joined by a replacing document changes once: to what was
    PUT, with what joined it. A member that the PUT took out stays out."""
    made = {c.before["_id"]: c for c in put}
    for change in gained:
        id_ = change.before["_id"]
        if id_ not in made:
            made[id_] = change
            continue
        own = made[id_]
        there = {*own.after["members"], *change.before["members"]}
        new = [m for m in change.after["members"] if m not in there]
        body = parse_json(own.after["b"])
        body["entry"] = [
            *(body.get("entry") or []),
            *({"item": {"reference": f"DocumentReference/{m}"}} for m in new),
        ]
        more = {"b": dumps(body), "members": [*own.after["members"], *new]}
        made[id_] = Change(own.before, own.after | more | {"ix": indexed.listed(body, base)})
    return list(made.values())


def _touched(making: Making, changed: Sequence[Change]) -> list[Doc]:
    """Documents that were relied on as current: targets of other relations, members of Folders."""
    done = {c.before["_id"] for c in changed}
    relied = [
        making.known.documents[link.id]
        for item in [*making.draft.documents, *making.draft.folders]
        for link in item.links
        if link.inside is None and link.id not in done
    ]
    return list({row["_id"]: row for row in relied}.values())


def _registered(making: Making, answer: bytes) -> list[Doc]:
    """The names that nothing else may take. The SubmissionSet's remembers the whole answer, so that
    the same submission sent again is answered alike and changes nothing."""
    draft, made = making.draft, dict[str, Doc]()
    for item in draft.items.values():
        kind = {"DocumentReference": "document", "Folder": "folder"}.get(
            item.entry.slice, "submission"
        )
        row: Doc = {"_id": item.unique_id, "kind": kind, "of": item.id}
        if kind == "document":
            row["hash"], row["size"] = measures(item)
        elif kind == "submission":
            row |= {"digest": draft.digest, "answer": answer}
        if item.unique_id:
            made[item.unique_id] = row
        if item.entry_uuid:
            made[item.entry_uuid] = {"_id": item.entry_uuid, "kind": "entry", "of": item.id}
    return [row for name, row in made.items() if name not in making.known.registered]


_NOT_FED = Issue(
    PARTIAL,
    "The Patient was recognised and not changed; a source feeds its people by ITI-104.",
    severity="information",
)


def _answer(making: Making, versions: Mapping[str, int]) -> bytes:
    """One entry per request entry, in its order (MHD 2:3.65.4.2)."""
    entries = [_response(making, e, versions) for e in making.draft.parts.entries]
    made = {"resourceType": "Bundle", "type": "transaction-response", "entry": entries}
    return dumps(made)


def _response(making: Making, entry: Entry, versions: Mapping[str, int]) -> Doc:
    said: Doc = {"status": "201 Created", "lastModified": instant(making.now)}
    if entry.slice == "Patch":
        local, version = f"DocumentReference/{entry.target}", versions[entry.target]
        said["status"] = "200 OK"
    elif entry.slice == "Patient":
        location = f"{making.base}/{_local(making, entry)}"
        answer: Doc = {"status": "200 OK", "location": location}
        if entry.method != "GET":
            answer["outcome"] = outcome([_NOT_FED])
        return {"response": answer}
    else:
        local = _local(making, entry)
        version = versions.get(local.partition("/")[2], 1)
        if entry.method == "PUT":
            said["status"] = "200 OK"
    said |= {"location": f"{making.base}/{local}", "etag": f'W/"{version}"'}
    item = making.draft.items.get(entry.number)
    if item is not None and item.warnings:
        said["outcome"] = outcome(item.warnings)
    return {"response": said}
