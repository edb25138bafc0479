"""PURE. The documents of a submission against their metadata (steps 8, 10, 12 and 13 of MHD digest §2.1)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from affinity.pack import Pack, ValueSet
from chassis.attachment import Attachment
from registry.fhir_documents import described
from registry.sent import Draft, Item, Json, inside, shown
from standards.lens import first, text
from standards.mhd_bundle import Entry
from standards.mhd_rules import CODED, EMPTY_SHA1, values
from standards.outcome import (
    BYTES_DIFFER,
    CODE_INVALID,
    MISSING_DOCUMENT,
    MISSING_METADATA,
    VALUE,
    Issue,
)
from standards.signatures import HEAD, mismatch


def carried(
    draft: Draft, item: Item, attachments: Mapping[str, Attachment], pack: Pack
) -> Iterator[Issue]:
    """Find the bytes that a document describes (`item.binary`, `item.content`) and check them against
    its hash, size and media type."""
    sent = first(item.resource, "content.attachment")
    if not isinstance(sent, Mapping):
        return
    place = f"{item.where}.content[0].attachment"
    kind = media_type(str(sent.get("contentType") or ""))
    if kind and kind not in {media_type(m) for m in pack.mime_types}:
        words = f"Documents of media type {shown(kind)} are not shared here."
        yield Issue(VALUE, words, f"{place}.contentType")
    url = str(sent.get("url") or "")
    found = inside(draft.parts, item.entry, url) if url else None
    if found is not None and found.slice == "FhirDocument":
        item.binary = found
        yield from described(item, place)
        return
    if found is None or found.slice != "Binary":
        if url:
            yield from _elsewhere(draft, url, found, sent, place)
        return
    item.binary = found
    item.content = attachments.get(str(found.resource.get("data")))
    if item.content is None:
        yield Issue(MISSING_DOCUMENT, "This Binary has no data.", f"{found.where}.data")
        return
    yield from _measured(sent, item.content, place)
    if media_type(text(found.resource, "contentType")) != kind:
        words = "The contentType of the Binary and that of the attachment differ."
        yield Issue(BYTES_DIFFER, words, f"{place}.contentType")


def _elsewhere(
    draft: Draft, url: str, found: Entry | None, sent: Json, place: str
) -> Iterator[Issue]:
    """A document that is not in the Bundle: held elsewhere, On-Demand or Delayed, at an https URL."""
    if found is not None:
        yield Issue(
            MISSING_DOCUMENT, "The url must lead to a Binary or a FHIR document.", f"{place}.url"
        )
        return
    parts = urlsplit(url) if url.isprintable() else urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.netloc:
        words = (
            f"No Binary of the Bundle has the fullUrl {shown(url)}; send the document with its "
            "metadata, or give the absolute URL where it is held."
        )
        yield Issue(MISSING_DOCUMENT, words, f"{place}.url")
    elif url.startswith(draft.base + "/"):
        words = (
            "A document held here is submitted with its metadata; it cannot be referred to again."
        )
        yield Issue(MISSING_DOCUMENT, words, f"{place}.url")
    elif sent.get("hash") and not sent.get("size") and sent.get("hash") != EMPTY_SHA1:
        words = "Give the size with the hash; a document made on demand has neither."
        yield Issue(BYTES_DIFFER, words, f"{place}.size")


def _measured(sent: Json, content: Attachment, place: str) -> Iterator[Issue]:
    true = b64encode(content.sha1).decode()
    if sent.get("hash") is not None and sent["hash"] != true:
        words = f"The hash is not that of the document sent, which is {true}."
        yield Issue(BYTES_DIFFER, words, f"{place}.hash")
    if sent.get("size") is not None and sent["size"] != content.size:
        words = f"The document sent has {content.size} bytes, not {sent['size']}."
        yield Issue(BYTES_DIFFER, words, f"{place}.size")
    if not content.fault:
        head = next(content.chunks(), b"")[:HEAD]
        kind = str(sent.get("contentType") or "")
        differs = mismatch(kind, head, whole=content.size <= HEAD)
        if differs:
            yield Issue(BYTES_DIFFER, differs, f"{place}.contentType")


def media_type(said: str) -> str:
    """The compared form of a media type: lower case, no blanks, its parameters kept."""
    return said.lower().replace(" ", "")


def used_once(draft: Draft) -> Iterator[Issue]:
    """Every Binary and every FHIR document is described by exactly one DocumentReference of the Bundle
    (step 8)."""
    users: dict[int, list[Item]] = {}
    for document in draft.documents:
        if document.binary is not None:
            users.setdefault(document.binary.number, []).append(document)
    for binary in (*draft.parts.of("Binary"), *draft.parts.of("FhirDocument")):
        using = users.get(binary.number, [])
        named = "Binary" if binary.slice == "Binary" else "FHIR document"
        if not using:
            words = f"No DocumentReference of the Bundle describes this {named}."
            yield Issue(MISSING_METADATA, words, binary.where)
        for extra in using[1:]:
            words = f"Another DocumentReference already describes this {named}."
            yield Issue(MISSING_METADATA, words, f"{extra.where}.content[0].attachment.url")


# -- codes (step 12) --------------------------------------------------------------------------------


def codes(draft: Draft, item: Item, pack: Pack, lenient: bool) -> None:
    """Codes outside the value sets of the pack: errors, or warnings that make the document unclassified."""
    for row in CODED:
        allowed = pack.value_set(row.value_set)
        for place, concept in values(item.resource, row.path):
            if _member(allowed, concept):
                continue
            words = f"The code is not in the value set {allowed.title} ({allowed.url})."
            issue = Issue(CODE_INVALID, words, f"{item.where}.{place}")
            if lenient:
                item.unclassified = True
                item.warnings.append(issue.warn())
            else:
                draft.issues.append(issue)


def _member(allowed: ValueSet, concept: Json) -> bool:
    """Whether one of its codings is a member; the others are translations. Displays say nothing."""
    codings = (
        concept.get("coding") or () if "coding" in concept or "text" in concept else (concept,)
    )
    return any(allowed.contains(c.get("system"), c.get("code")) for c in codings)
