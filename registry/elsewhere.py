"""PURE. Documents that another organisation keeps: who may point where, and how it is shown.

A DocumentReference without a Binary points to an absolute URL. The community's list
(`retrieval_sources.csv` of the pack) says below which addresses whose documents are, and whether the
exchange fetches them (`proxy`) or the reader goes there itself (`direct`). Only the organisation that
keeps a document, or a system of record, may point to it: the exchange fetches with its own
credentials, and would else be talked into showing another's documents under metadata of one's choice.

    sent    url https://documents.mft.example/fhir/Binary/7
    proxy   url <base>/Binary/<id>, retrieval-mechanism proxy, and where it is kept in the row's `away`
    direct  url as sent, retrieval-mechanism direct

A pointer of the NRL door is the same with more freedom: it may have several contents, and an address
that is on nobody's list is kept as sent, because that door's consumers follow it themselves.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from affinity.pack import Pack
from affinity.sources import Source
from registry.sent import Away, Draft, Item, inside
from standards.lens import extensions, first
from standards.mhd_rules import EMPTY_SHA1
from standards.nrl_rules import STABILITY
from standards.outcome import (
    BYTES_DIFFER,
    MISSING_DOCUMENT,
    UNPROCESSABLE,
    UNRESOLVED,
    VALUE,
    Issue,
)

Json = Mapping[str, Any]
ORGANISATIONS = "https://fhir.nhs.uk/Id/ods-organization-code"


def located(
    draft: Draft, pack: Pack, *, organisation: str, system: bool, ids: Callable[[], str]
) -> list[Issue]:
    """Find out where each document without bytes is kept (`item.away`), and say what is wrong with it.
    `organisation` is the submitter's, `system` whether it is a system of record."""
    return [
        issue
        for item in draft.documents
        for issue in _located(draft, item, pack, organisation, system, ids)
    ]


def _located(
    draft: Draft, item: Item, pack: Pack, organisation: str, system: bool, ids: Callable[[], str]
) -> Iterator[Issue]:
    extension = f"{pack.namespace}/StructureDefinition/retrieval-mechanism"
    claimed = _claimed(first(item.resource, "content") or {}, extension)
    place = f"{item.where}.content[0]"
    attachment = first(item.resource, "content.attachment") or {}
    url = str(attachment.get("url") or "")
    if (
        not url.startswith(("http://", "https://"))
        or url.startswith(draft.base + "/")
        or inside(draft.parts, item.entry, url) is not None
    ):
        if claimed is not None:
            words = (
                "A document that comes with its bytes is held here; it has no retrieval-mechanism."
            )
            yield Issue(VALUE, words, f"{place}.extension")
        return
    source = pack.source_of(url, organisation)
    if source is None:
        words = (
            "This community has agreed on no organisation that keeps documents at this address; send the "
            "document in a Binary, or have the address added to retrieval_sources.csv of the pack."
        )
        yield Issue(MISSING_DOCUMENT, words, f"{place}.attachment.url")
        return
    yield from _agreed(source, attachment, claimed, place, organisation, system)
    item.away = Away(ids(), url, source.organisation, source.mechanism, extension)


def _agreed(
    source: Source,
    attachment: Json,
    claimed: str | None,
    place: str,
    organisation: str,
    system: bool,
) -> Iterator[Issue]:
    """Whether who points to an agreed address may, and says of it what can be."""
    if not system and organisation != source.organisation:
        words = "Only the organisation that keeps documents at this address may point to them."
        yield Issue(UNPROCESSABLE, words, f"{place}.attachment.url")
    if claimed is not None and claimed != source.mechanism:
        words = f"Documents at this address are retrieved by the mechanism {source.mechanism}."
        yield Issue(VALUE, words, f"{place}.extension")
    if attachment.get("size") and not attachment.get("hash"):
        words = "Give the hash with the size; a document made on demand has neither."
        yield Issue(BYTES_DIFFER, words, f"{place}.attachment.hash")


def _claimed(content: Json, extension: str) -> str | None:
    """The mechanism that the sender names, by code or inside the whole extension."""
    found = extensions(content, extension)
    if not found:
        return None
    whole = extensions(found[0], "mechanism")
    return str((whole[0] if whole else found[0]).get("valueCode"))


# -- the contents of a pointer ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """What says where a pointer's contents are: the organisation that publishes it, the pack, our own
    base, and what makes ids. `held` are the places that the pointer has had so far (`away` of its
    row); None before it is known which pointer it is."""

    organisation: str
    pack: Pack
    base: str
    ids: Callable[[], str]
    held: Sequence[Json] | None = ()

    def listed(self, url: str) -> bool:
        """Whether the exchange gives out or fetches what is there for this organisation."""
        if self._own(url):
            return True
        source = self.pack.source_of(url, self.organisation)
        return source is not None and source.organisation == self.organisation

    def _own(self, url: str) -> bool:
        return url.startswith(self.base + "/Binary/")

    def of(self, pointer: Json) -> tuple[list[Away | None], list[Issue]]:
        """Where each content is; None for one at an address that is on no list. And what is wrong:
        an address of another organisation, a mechanism that was not agreed on, a hash that cannot be
        held to."""
        places: list[Away | None] = []
        issues: list[Issue] = []
        for number, content in enumerate(pointer.get("content") or ()):
            place = f"content[{number}]"
            away, wrong = self._of(content, place)
            places.append(away)
            issues += wrong
        return places, issues

    def _of(self, content: Json, place: str) -> tuple[Away | None, list[Issue]]:
        extension = f"{self.pack.namespace}/StructureDefinition/retrieval-mechanism"
        attachment = content.get("attachment") or {}
        url, claimed = str(attachment.get("url") or ""), _claimed(content, extension)
        if self._own(url):
            if self.held is None:
                return None, []
            was = _by_id(self.held, url.rpartition("/")[2])
            if was is None:
                words = (
                    "The exchange gives this document out for another pointer, or holds it itself; give "
                    "the address at your organisation."
                )
                return None, [Issue(UNRESOLVED, words, f"{place}.attachment.url")]
            url = str(was["url"])
        source = self.pack.source_of(url, self.organisation)
        if source is None:
            if claimed is None:
                return None, []
            words = "No mechanism is agreed on for this address; leave it out."
            return None, [Issue(VALUE, words, f"{place}.extension")]
        issues = list(_agreed(source, attachment, claimed, place, self.organisation, system=False))
        issues += _lasting(content, source, place)
        id_ = _same(self.held or (), url, attachment) or self.ids()
        return Away(id_, url, source.organisation, source.mechanism, extension), issues


def _lasting(content: Json, source: Source, place: str) -> Iterator[Issue]:
    """What the exchange fetches is held to a hash, which therefore must be one and be lasting."""
    attachment = content.get("attachment") or {}
    hash_ = str(attachment.get("hash") or "")
    if source.mechanism != "proxy" or not hash_:
        return
    if hash_ == EMPTY_SHA1 and attachment.get("size") != 0:
        words = "A document that is still to be assembled has the hash of no bytes and the size 0."
        yield Issue(BYTES_DIFFER, words, f"{place}.attachment.size")
    if len(b64decode(hash_)) != 20:
        words = "The hash of a document is its SHA-1, 20 bytes in base64."
        yield Issue(BYTES_DIFFER, words, f"{place}.attachment.hash")
    if attachment.get("size") is None:
        words = "Give the size with the hash; a document made on demand has neither."
        yield Issue(BYTES_DIFFER, words, f"{place}.attachment.size")
    codings = [
        c
        for e in extensions(content, STABILITY)
        for c in (e.get("valueCodeableConcept") or {}).get("coding") or ()
    ]
    if hash_ != EMPTY_SHA1 and any(c.get("code") == "dynamic" for c in codings):
        words = "Dynamic content has no lasting hash; leave hash and size out, or say static."
        yield Issue(BYTES_DIFFER, words, f"{place}.attachment.hash")


def _by_id(held: Sequence[Json], id_: str) -> Json | None:
    return next((h for h in held if h["id"] == id_), None)


def _same(held: Sequence[Json], url: str, attachment: Json) -> str:
    """The id of the Binary as which the very same document is given out already."""
    said = {"url": url, "delayed": None, **_measured(attachment)}
    return next((str(h["id"]) for h in held if all(h.get(k) == v for k, v in said.items())), "")


def placed(made: dict[str, Any], places: Sequence[Away | None], base: str) -> list[dict[str, Any]]:
    """The contents of a pointer as they are stored and shown; `made` is changed. What its row
    remembers of those that the exchange fetches."""
    contents = [dict(content) for content in made["content"]]
    made["content"] = contents
    fetched = []
    for content, away in zip(contents, places, strict=True):
        if away is None:
            continue
        if away.proxied:
            fetched.append({"id": away.id, **_kept(content["attachment"], away)})
        content.update(_pointed(content, away, base))
    return fetched


# -- as it is stored ----------------------------------------------------------------------------------


def pointed(made: dict[str, Any], away: Away, base: str) -> dict[str, Any]:
    """The DocumentReference as it is stored and shown: how the document is retrieved, and who keeps it."""
    made["content"][0] |= _pointed(made["content"][0], away, base)
    return made


def _pointed(content: Json, away: Away, base: str) -> dict[str, Any]:
    holder = {"system": ORGANISATIONS, "value": away.organisation}
    shown = {
        "url": away.extension,
        "extension": [
            {"url": "mechanism", "valueCode": away.mechanism},
            {"url": "holder", "valueIdentifier": holder},
        ],
    }
    others = [x for x in content.get("extension") or () if x.get("url") != away.extension]
    attachment = content["attachment"]
    if away.proxied:
        attachment = attachment | {"url": f"{base}/Binary/{away.id}"}
    return {"extension": [*others, shown], "attachment": attachment}


def kept(made: Json, away: Away) -> dict[str, Any]:
    """What the row remembers of a proxied document."""
    return _kept(first(made, "content.attachment"), away)


def _kept(attachment: Json, away: Away) -> dict[str, Any]:
    return {"url": away.url, "organisation": away.organisation, **_measured(attachment)}


def _measured(attachment: Json) -> dict[str, Any]:
    """What the source is held to. Made on demand, a document has no hash or size; still to be assembled
    (`delayed`), it gets them when it is first retrieved (`registry/assembled.py`)."""
    hash_, size = str(attachment.get("hash") or ""), attachment.get("size")
    delayed = hash_ == EMPTY_SHA1
    if not hash_ or delayed:
        hash_, size = "", None
    made = {"type": attachment["contentType"], "hash": hash_, "size": size}
    return made | {"delayed": True} if delayed else made
