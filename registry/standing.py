"""PURE. A draft against what is already registered and who the patient is: steps 11 and 14 to 19 of the
order in which ITI-65 is checked (MHD digest §2.1)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from registry.neighbours import Asked, Who
from registry.sent import Draft, Item, Link
from standards.lens import first
from standards.outcome import (
    DEPRECATED,
    DUPLICATE,
    NON_IDENTICAL,
    PATIENT_DIFFERS,
    PRECONDITION,
    PROFILE,
    UNKNOWN_PATIENT,
    UNRESOLVED,
    Issue,
)

Doc = dict[str, Any]
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Known:
    """What the registry holds of all that a draft names: rows by id, and registered names.

    `children` are the current transforms and addenda of each replaced document, `holding` the current
    Folders that have it as a member.
    """

    registered: Mapping[str, Doc] = field(default_factory=dict)
    documents: Mapping[str, Doc] = field(default_factory=dict)
    lists: Mapping[str, Doc] = field(default_factory=dict)
    children: Mapping[str, Sequence[Doc]] = field(default_factory=dict)
    holding: Mapping[str, Sequence[Doc]] = field(default_factory=dict)


# -- who it is about (step 11) ----------------------------------------------------------------------


def persons(draft: Draft, people: Mapping[Asked, Who]) -> tuple[dict[int, Who], list[Issue]]:
    """The record of each item that has a subject, and what is wrong with them as a whole."""
    found: dict[int, Who] = {}
    issues: list[Issue] = []
    named = {n: (f"{i.where}.subject", i.subject) for n, i in draft.items.items() if i.subject}
    named |= {n: (f"Bundle.entry[{n}]", asked) for n, asked in draft.patient.items()}
    for number, (place, asked) in named.items():
        whos = [people[a] for a in asked if a in people]
        who = next((w for w in whos if w.state == "active"), whos[0] if whos else None)
        if who is None or who.state == "removed":
            words = "This patient is not known here; its source feeds it by ITI-104 first."
            issues.append(Issue(UNKNOWN_PATIENT, words, place))
        elif who.state != "active":
            words = f"This record was merged into Patient/{who.survivor}; submit for that one."
            issues.append(Issue(UNKNOWN_PATIENT, words, place))
        elif len({w.person for w in whos}) > 1:
            words = "The identifiers of this Patient belong to several people."
            issues.append(Issue(PATIENT_DIFFERS, words, place))
        else:
            found[number] = who
    first_who = next(iter(found.values()), None)
    for number, who in found.items():
        if first_who is not None and who.person != first_who.person:
            words = "All subjects of a submission must be one patient; this is another."
            issues.append(Issue(PATIENT_DIFFERS, words, named[number][0]))
    return found, [*issues, *_people_cited(draft, people)]


def _people_cited(draft: Draft, people: Mapping[Asked, Who]) -> Iterator[Issue]:
    """Patients of this server whom other elements refer to (sourcePatientInfo, author) must resolve
    and be active (MHD 1:33.2.5)."""
    for item in draft.items.values():
        for link in item.cited:
            who = people.get(("id", link.id)) if link.type == "Patient" else None
            if link.type == "Patient" and (who is None or who.state != "active"):
                words = f"There is no active Patient/{link.id} here."
                yield Issue(UNRESOLVED, words, link.where)


# -- what is already there (steps 14 to 19) ---------------------------------------------------------


def standing(draft: Draft, whose: Mapping[int, Who], known: Known) -> list[Issue]:
    """Everything in which the draft does not fit what is registered."""
    return [
        *_names(draft, known),
        *(i for d in draft.documents for i in _targets(d, whose, known)),
        *_appended_inside(draft),
        *_patches(draft),
        *_listed(draft, known),
        *_cited(draft, known),
        *(i for f in draft.folders for i in _folder(f, whose, known)),
    ]


def _names(draft: Draft, known: Known) -> Iterator[Issue]:
    for item in draft.items.values():
        held = known.registered.get(item.unique_id)
        own = item.entry.method == "PUT" and held is not None and held.get("of") == item.id
        if held is not None and not own:
            place = f"{item.where}.identifier"
            if item.entry.slice == "DocumentReference" and held["kind"] == "document":
                yield from _same_bytes(item, held)
            else:
                yield Issue(DUPLICATE, f"{item.unique_id} is already registered.", place)
        uuid = item.entry_uuid
        held = known.registered.get(uuid) if uuid else None
        bare = uuid.removeprefix("urn:uuid:")
        if not uuid or (
            item.entry.method == "PUT" and (bare == item.id or (held or {}).get("of") == item.id)
        ):
            continue
        if held is not None or bare in known.documents or bare in known.lists:
            words = f"The entryUUID {uuid} is in use; leave it out and one is assigned."
            yield Issue(DUPLICATE, words, f"{item.where}.identifier")


def measures(item: Item) -> tuple[str, int | None]:
    """Hash (FHIR form) and size of a document: of the bytes sent, else as its source claims."""
    if item.content is not None:
        return b64encode(item.content.sha1).decode(), item.content.size
    sent = first(item.resource, "content.attachment") or {}
    return str(sent.get("hash") or ""), sent.get("size")


def _same_bytes(item: Item, held: Doc) -> Iterator[Issue]:
    """One uniqueId may occur again over the same bytes only (step 15)."""
    hash_, size = measures(item)
    if hash_ and (hash_, size) == (held["hash"], held["size"]):
        return
    differs = "size" if hash_ == held["hash"] else "hash"
    words = f"{item.unique_id} is registered for a document with another {differs}."
    xds = "XDSNonIdenticalSize" if differs == "size" else None
    yield Issue(NON_IDENTICAL, words, f"{item.where}.masterIdentifier", xds=xds)


def _targets(item: Item, whose: Mapping[int, Who], known: Known) -> Iterator[Issue]:
    for link in item.links:
        if link.inside is not None:
            continue
        held = known.documents.get(link.id)
        if held is None:
            yield Issue(UNRESOLVED, f"No document here has the id {link.id}.", link.where)
        elif not _same_patient(held, whose.get(item.entry.number)):
            words = "The document it is related to belongs to another patient."
            yield Issue(PATIENT_DIFFERS, words, link.where)
        elif held["status"] != "current":
            words = f"DocumentReference/{link.id} is superseded; relate to the current one."
            yield Issue(DEPRECATED, words, link.where)
        elif link.code == "appends" and _is_transformation(held.get("rel") or ()):
            yield Issue(PROFILE, _NOT_APPENDED, link.where)


_NOT_APPENDED = "A transformation takes no addendum (TF-3 4.2.2.2); append to what it transforms."


def _is_transformation(relations: Sequence[str]) -> bool:
    """Whether a document is another form of one that still stands beside it. What transforms and
    replaces at once (XFRM_RPLC) has taken its place and is a document of its own."""
    of = {r.partition("|")[2] for r in relations if r.startswith("transforms|")}
    return bool(of - {r.partition("|")[2] for r in relations if r.startswith("replaces|")})


def _appended_inside(draft: Draft) -> Iterator[Issue]:
    for item in draft.documents:
        for link in item.links:
            if link.code == "appends" and link.inside is not None:
                target = draft.items[link.inside.number]
                relations = [f"{ln.code}|{ln.inside or ln.id}" for ln in target.links]
                if _is_transformation(relations):
                    yield Issue(PROFILE, _NOT_APPENDED, link.where)


def _same_patient(held: Doc, who: Who | None) -> bool:
    if who is None:
        return not held["subject"]
    return held["subject"] in (who.record, *who.same)


def _patches(draft: Draft) -> Iterator[Issue]:
    """A PATCH says what a `replaces` does anyway (step 18); alone it is no MHD transaction. Two
    documents cannot replace one: after the first it is no longer current."""
    replaced: dict[str, int] = {}
    for document in draft.documents:
        for link in document.links:
            if link.code == "replaces":
                if link.id in replaced:
                    words = f"DocumentReference/{link.id} is replaced twice."
                    yield Issue(DEPRECATED, words, link.where)
                replaced[link.id] = document.entry.number
    for document in draft.documents:
        for link in document.links:
            by = replaced.get(link.id) if link.code != "replaces" else None
            if by is not None and (by != document.entry.number or link.code != "transforms"):
                words = f"This very submission replaces DocumentReference/{link.id}."
                yield Issue(DEPRECATED, words, link.where)
    for patch in draft.parts.of("Patch"):
        if patch.target not in replaced:
            words = f"No document of the submission replaces DocumentReference/{patch.target}."
            yield Issue(UNRESOLVED, words, f"Bundle.entry[{patch.number}].request.url")


def _listed(draft: Draft, known: Known) -> Iterator[Issue]:
    for link in draft.submission.links:
        if link.inside is None:
            held = (known.documents if link.type == "DocumentReference" else known.lists).get(
                link.id
            )
            if held is None:
                yield Issue(UNRESOLVED, f"There is no {link.type}/{link.id} here.", link.where)
            elif link.type == "List" and held["kind"] != "folder":
                words = "A SubmissionSet may list documents and Folders only."
                yield Issue(PROFILE, words, link.where)


def _cited(draft: Draft, known: Known) -> Iterator[Issue]:
    """Documents and lists of this server that other elements refer to (context.related) are there."""
    for item in draft.items.values():
        for link in item.cited:
            table = {"DocumentReference": known.documents, "List": known.lists}.get(link.type)
            if table is not None and link.id not in table:
                yield Issue(UNRESOLVED, f"There is no {link.type}/{link.id} here.", link.where)


def _folder(item: Item, whose: Mapping[int, Who], known: Known) -> Iterator[Issue]:
    who = whose.get(item.entry.number)
    for link in item.links:
        if link.inside is not None:
            other = whose.get(link.inside.number)
            if (other.person if other else "") != (who.person if who else ""):
                yield Issue(PATIENT_DIFFERS, "Folder and member must have one patient.", link.where)
            continue
        held = known.documents.get(link.id)
        if held is None:
            yield Issue(UNRESOLVED, f"No document here has the id {link.id}.", link.where)
        elif not _same_patient(held, who):
            yield Issue(PATIENT_DIFFERS, "Folder and member must have one patient.", link.where)
        elif held["status"] != "current" and not _was_member(item, link, known):
            words = f"DocumentReference/{link.id} is superseded and cannot join a Folder."
            yield Issue(DEPRECATED, words, link.where)
    if item.entry.method == "PUT":
        yield from _changed_folder(item, who, known)


def _was_member(item: Item, link: Link, known: Known) -> bool:
    return link.id in (known.lists.get(item.id) or {}).get("members", ())


def _changed_folder(item: Item, who: Who | None, known: Known) -> Iterator[Issue]:
    held = known.lists.get(item.id)
    place = f"Bundle.entry[{item.entry.number}].request.url"
    if held is None or held["kind"] != "folder":
        words = f"There is no Folder with the id {item.id}; create it by POST."
        yield Issue(UNRESOLVED, words, place)
        return
    if not _same_patient(held, who):
        yield Issue(PATIENT_DIFFERS, "A Folder stays with its patient.", f"{item.where}.subject")
    if held["status"] != "current":
        yield Issue(DEPRECATED, "This Folder is no longer current.", place)
    if item.unique_id and item.unique_id != held["unique"]:
        yield Issue(PROFILE, "A Folder keeps its uniqueId.", f"{item.where}.identifier")
    gone = set(held["members"]) - {link.id for link in item.links}
    seen = item.entry.seen
    if seen is not None and seen != held["v"]:
        words = f"This Folder is at version {held['v']}; read it again and change that."
        yield Issue(PRECONDITION, words, f"Bundle.entry[{item.entry.number}].request.ifMatch")
    elif gone and seen is None:
        words = (
            f"DocumentReference/{min(gone)} is missing. A Folder loses a member only to who says, by "
            "request.ifMatch, which version it has seen."
        )
        yield Issue(PROFILE, words, f"{item.where}.entry")
