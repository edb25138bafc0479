"""PURE. Documents that another organisation keeps: who may point where, and how it is shown.

A DocumentReference without a Binary points to an absolute URL. The community's list
(`retrieval_sources.csv` of the pack) says below which addresses whose documents are, and whether the
exchange fetches them (`proxy`) or the reader goes there itself (`direct`). Only the organisation that
keeps a document, or a system of record, may point to it: the exchange fetches with its own
credentials, and would else be talked into showing another's documents under metadata of one's choice.

    sent    url https://documents.mft.example/fhir/Binary/7
    proxy   url <base>/Binary/<id>, retrieval-mechanism proxy, and where it is kept in the row's `away`
    direct  url as sent, retrieval-mechanism direct
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from affinity.pack import Pack
from affinity.sources import Mechanism
from registry.sent import Draft, Item, inside
from standards.lens import extensions, first
from standards.mhd_rules import EMPTY_SHA1
from standards.outcome import BYTES_DIFFER, MISSING_DOCUMENT, UNPROCESSABLE, VALUE, Issue

ORGANISATIONS = "https://fhir.nhs.uk/Id/ods-organization-code"


@dataclass(frozen=True, slots=True)
class Away:
    """Where a document is kept. `id` is that of the Binary it is retrieved as, `extension` the canonical
    of retrieval-mechanism."""

    id: str
    url: str
    organisation: str
    mechanism: Mechanism
    extension: str

    @property
    def proxied(self) -> bool:
        """Whether the exchange fetches it."""
        return self.mechanism == "proxy"


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
    claimed = _claimed(item, extension)
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
    source = pack.source_of(url)
    if source is None:
        words = (
            "This community has agreed on no organisation that keeps documents at this address; send the "
            "document in a Binary, or have the address added to retrieval_sources.csv of the pack."
        )
        yield Issue(MISSING_DOCUMENT, words, f"{place}.attachment.url")
        return
    if not system and organisation != source.organisation:
        words = "Only the organisation that keeps documents at this address may point to them."
        yield Issue(UNPROCESSABLE, words, f"{place}.attachment.url")
    if claimed is not None and claimed != source.mechanism:
        words = f"Documents at this address are retrieved by the mechanism {source.mechanism}."
        yield Issue(VALUE, words, f"{place}.extension")
    if attachment.get("size") and not attachment.get("hash"):
        words = "Give the hash with the size; a document made on demand has neither."
        yield Issue(BYTES_DIFFER, words, f"{place}.attachment.hash")
    item.away = Away(ids(), url, source.organisation, source.mechanism, extension)


def _claimed(item: Item, extension: str) -> str | None:
    """The mechanism that the sender names, by code or inside the whole extension."""
    found = extensions(first(item.resource, "content"), extension)
    if not found:
        return None
    whole = extensions(found[0], "mechanism")
    return str((whole[0] if whole else found[0]).get("valueCode"))


def pointed(made: dict[str, Any], away: Away, base: str) -> dict[str, Any]:
    """The DocumentReference as it is stored and shown: how the document is retrieved, and who keeps it."""
    content = made["content"][0]
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
    content |= {"extension": [*others, shown], "attachment": attachment}
    return made


def kept(made: Mapping[str, Any], away: Away) -> dict[str, Any]:
    """What the row remembers of a proxied document. Made on demand or still to be assembled, it has no
    hash or size to hold the source to."""
    attachment = first(made, "content.attachment")
    hash_, size = str(attachment.get("hash") or ""), attachment.get("size")
    if not hash_ or hash_ == EMPTY_SHA1:
        hash_, size = "", None
    return {
        "url": away.url,
        "organisation": away.organisation,
        "type": attachment["contentType"],
        "hash": hash_,
        "size": size,
    }
