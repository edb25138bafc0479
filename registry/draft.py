"""PURE. A submission as it was sent: sorted, checked against itself, with ids for what is new.

Steps 4 to 10, 12 and 13 of the order in which ITI-65 is checked (MHD digest §2.1): all that can be
judged without knowing what is already registered or who the patient is. Nothing is raised; `issues`
holds every finding.

    Bundle ──read──► Parts ──drafted──► Draft ──standing, with what is known──► registered (submission.py)
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from urllib.parse import parse_qsl

import orjson

from affinity.pack import Pack
from chassis.attachment import Attachment
from registry.content import carried, codes, used_once
from registry.fhir_documents import written
from registry.neighbours import Asked
from registry.recipients import unreached
from registry.sent import SERVED, Draft, Item, Json, Link, inside, own, shown
from standards.index import token
from standards.lens import first, references
from standards.mhd_bundle import Entry, read
from standards.mhd_rules import check, identifier_kind
from standards.outcome import (
    DUPLICATE_IN_MESSAGE,
    PROFILE,
    UNRESOLVED,
    Issue,
)


def drafted(
    bundle: Json,
    attachments: Mapping[str, Attachment],
    *,
    base: str,
    pack: Pack,
    lenient: bool,
    ids: Callable[[], str],
) -> Draft:
    """Read a structurally legal Bundle. `attachments` are its documents by the token that stands for
    each; `base` is this server's FHIR base; `lenient` turns unknown codes into warnings."""
    parts = read(bundle)
    items = {
        e.number: Item(e, e.target if e.slice == "Folder" and e.method == "PUT" else ids())
        for e in parts.entries
        if e.slice in ("DocumentReference", "SubmissionSet", "Folder")
    }
    draft = Draft(parts, base, items, _digest(bundle, attachments), list(parts.issues))
    for item in items.values():
        draft.issues += check(item.entry.slice, item.resource, parts.level, item.where)  # type: ignore[arg-type]
        _name(item)
        draft.issues += _references(draft, item)
        item.subject, wrong = _subject(draft, item)
        draft.issues += wrong
    for document in draft.documents:
        draft.issues += _relations(draft, document)
        draft.issues += carried(draft, document, attachments, pack)
        codes(draft, document, pack, lenient)
    for listed in [*draft.of("SubmissionSet"), *draft.folders]:
        draft.issues += _members(draft, listed)
    for submission in draft.of("SubmissionSet"):
        submission.warnings += unreached(draft, pack)
    draft.patient = {e.number: _patient_entry(e) for e in parts.of("Patient")}
    draft.issues += [*_whole(draft), *used_once(draft), *_distinct(draft), *_acyclic(draft)]
    if not any(i.severity == "error" for i in draft.issues):
        written(draft, pack, ids)
    return draft


def _digest(bundle: Json, attachments: Mapping[str, Attachment]) -> bytes:
    """Of everything that was sent; documents count by their own digest, and what an entry is called in
    this message counts for nothing: whoever sends again may give new fullUrls."""
    entries = bundle.get("entry") or ()
    said = {**bundle, "entry": [_settled(e, attachments) for e in entries]}
    raw = orjson.dumps(said, default=str, option=orjson.OPT_SORT_KEYS)
    for number, entry in enumerate(entries):
        url = entry.get("fullUrl")
        if isinstance(url, str) and url.startswith("urn:uuid:"):
            quoted, place = orjson.dumps(url), b'"entry %d"' % number
            for name in (b'"fullUrl":', b'"reference":', b'"url":'):
                raw = raw.replace(name + quoted, name + place)
    return hashlib.sha256(raw).digest()


def _settled(entry: Json, attachments: Mapping[str, Attachment]) -> Json:
    data = first(entry, "resource.data")
    held = attachments.get(data) if isinstance(data, str) else None
    if held is None:
        return entry
    return {**entry, "resource": {**entry["resource"], "data": held.sha256.hex()}}


def _name(item: Item) -> None:
    for identifier in item.resource.get("identifier") or ():
        kind = identifier_kind(identifier)
        if kind == "uniqueId":
            item.unique_id = token(identifier.get("system") or "", str(identifier.get("value")))
        elif kind == "entryUUID":
            item.entry_uuid = str(identifier.get("value"))
    master = item.resource.get("masterIdentifier")
    if item.entry.slice == "DocumentReference" and master:
        item.unique_id = token(master.get("system") or "", str(master.get("value")))


def _references(draft: Draft, item: Item) -> Iterator[Issue]:
    """References that no row looks at further: they must not dangle."""
    for path, held in references(item.resource):
        said = str(held["reference"])
        if said.startswith("#") or path.startswith(("relatesTo[", "subject", "entry[")):
            continue
        place = f"{item.where}.{path}.reference"
        found = inside(draft.parts, item.entry, said)
        if found is not None:
            continue
        if said.startswith("urn:"):
            yield Issue(UNRESOLVED, f"No entry of the Bundle has the fullUrl {shown(said)}.", place)
            continue
        local = own(said, draft.base)
        if local is not None and local[0] in ("Patient", "DocumentReference", "List"):
            item.cited.append(Link(place, "", None, *local))
        elif local is not None and local[0] not in SERVED:
            words = (
                f"This server holds no {local[0]}; contain it, give its absolute URL elsewhere, or "
                "name it by identifier."
            )
            yield Issue(UNRESOLVED, words, place)
        elif local is None and "://" not in said:
            yield Issue(UNRESOLVED, f"{shown(said)} leads nowhere.", place)


def _subject(draft: Draft, item: Item) -> tuple[tuple[Asked, ...], list[Issue]]:
    """Whom the item is about, as questions to the identity manager; none when nobody is named."""
    subject = item.resource.get("subject")
    if not isinstance(subject, Mapping):
        return (), []
    said, named = str(subject.get("reference") or ""), subject.get("identifier") or {}
    if not said:
        if named.get("system") and named.get("value"):
            return (("identifier", named["system"], named["value"]),), []
        return (), []
    found = inside(draft.parts, item.entry, said)
    if found is not None and found.slice == "Patient":
        return _patient_entry(found), []
    local = own(said, draft.base)
    if local is not None and local[0] == "Patient":
        return (("id", local[1]),), []
    words = (
        f"{shown(said)} is no Patient of this server or of the Bundle; use Patient/id, or an "
        "identifier that a source has fed."
    )
    return (), [Issue(UNRESOLVED, words, f"{item.where}.subject", xds="XDSUnknownPatientId")]


def _patient_entry(entry: Entry) -> tuple[Asked, ...]:
    """The Patient of the Bundle: identities are fed by ITI-104, so it must be one already known."""
    path, _, query = entry.target.partition("?")
    made: list[Asked] = []
    if "/" in path:
        made.append(("id", path.split("/")[1]))
    for name, value in parse_qsl(query):
        system, bar, code = value.partition("|")
        if name == "identifier" and bar:
            made.append(("identifier", system, code))
    made += [
        ("identifier", i["system"], i["value"])
        for i in entry.resource.get("identifier") or ()
        if i.get("system") and i.get("value")
    ]
    return tuple(dict.fromkeys(made))


def _relations(draft: Draft, item: Item) -> Iterator[Issue]:
    for n, relation in enumerate(item.resource.get("relatesTo") or ()):
        place = f"{item.where}.relatesTo[{n}].target"
        link, wrong = _link(
            draft, item, relation.get("target") or {}, place, ("DocumentReference",)
        )
        code = str(relation.get("code"))
        if wrong:
            yield wrong
        elif link is not None and link.inside is not None and link.inside is item.entry:
            yield Issue(PROFILE, "A document cannot be related to itself.", place)
        elif link is not None and link.inside is not None and code == "replaces":
            words = (
                "What is replaced must already be registered; it cannot come in the same Bundle."
            )
            yield Issue(UNRESOLVED, words, place)
        elif link is not None:
            item.links.append(Link(place, code, link.inside, link.type, link.id))


def _members(draft: Draft, item: Item) -> Iterator[Issue]:
    folder = item.entry.slice == "Folder"
    allowed = ("DocumentReference",) if folder else ("DocumentReference", "List")
    seen: set[tuple[int | None, str]] = set()
    for n, entry in enumerate(item.resource.get("entry") or ()):
        place = f"{item.where}.entry[{n}].item"
        link, wrong = _link(draft, item, entry.get("item") or {}, place, allowed)
        if wrong:
            yield wrong
        if link is None:
            continue
        key = (link.inside.number if link.inside else None, link.id)
        if key in seen:
            yield Issue(PROFILE, "This entry is listed twice.", place)
        seen.add(key)
        item.links.append(link)


def _link(
    draft: Draft, item: Item, target: Json, place: str, allowed: Sequence[str]
) -> tuple[Link | None, Issue | None]:
    said = str(target.get("reference") or "")
    if not said:
        return None, Issue(UNRESOLVED, "Give the reference of a resource here.", place)
    types = " or ".join(allowed)
    found = inside(draft.parts, item.entry, said)
    if found is not None:
        if str(found.resource.get("resourceType")) not in allowed or found.slice == "SubmissionSet":
            return None, Issue(PROFILE, f"This must lead to a {types}.", place)
        return Link(place, "", found), None
    local = own(said, draft.base)
    if local is None:
        words = f"{shown(said)} is neither in the Bundle nor a resource of this server."
        return None, Issue(UNRESOLVED, words, place)
    if local[0] not in allowed:
        return None, Issue(PROFILE, f"This must lead to a {types}.", place)
    return Link(place, "", None, *local), None


def _whole(draft: Draft) -> Iterator[Issue]:
    """SubmissionSet.entry lists every new DocumentReference and every Folder (2:3.65.4.1.2)."""
    for submission in draft.of("SubmissionSet")[:1]:
        listed = {link.inside.number for link in submission.links if link.inside is not None}
        ids = {link.id for link in submission.links}
        for item in [*draft.documents, *draft.folders]:
            changed = item.entry.method == "PUT"
            if item.entry.number not in listed and not (changed and item.id in ids):
                words = f"The SubmissionSet does not list this {item.entry.slice} in its entry."
                yield Issue(UNRESOLVED, words, item.where)


def _distinct(draft: Draft) -> Iterator[Issue]:
    """Step 9."""
    seen: dict[str, str] = {}
    for item in draft.items.values():
        for name in filter(None, (item.unique_id, item.entry_uuid)):
            if name in seen and seen[name] != item.where:
                words = f"{shown(name)} also names {seen[name]}."
                yield Issue(DUPLICATE_IN_MESSAGE, words, f"{item.where}.identifier")
            seen.setdefault(name, item.where)


def _acyclic(draft: Draft) -> Iterator[Issue]:
    """Documents of one submission may be related to one another, but not in a circle."""
    follows = {
        d.entry.number: [ln.inside.number for ln in d.links if ln.inside is not None]
        for d in draft.documents
    }
    for start, item in ((d.entry.number, d) for d in draft.documents):
        reached, waiting = set[int](), list(follows[start])
        while waiting:
            number = waiting.pop()
            if number not in reached:
                reached.add(number)
                waiting += follows.get(number, [])
        if start in reached:
            words = "The relations of these documents form a circle."
            yield Issue(PROFILE, words, f"{item.where}.relatesTo")
