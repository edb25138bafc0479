"""PURE. FHIR documents that come as a Bundle in the submission (MHD 1:33.2.6, the Fdoc option).

Documents are kept here as bytes, so such a Bundle is written out. Its DocumentReference leads to the
form that its contentType names and gets hash and size; a second DocumentReference with the same
metadata leads to the other form and *transforms* it, so that every reader finds one it can read:

    Bundle ──► application/fhir+json ◄── the DocumentReference sent
       └─────► application/fhir+xml  ◄── one made here ──transforms──► the one sent
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping

from affinity.pack import Pack
from chassis.attachment import Attachment
from chassis.call import dumps
from registry.sent import Draft, Item, Link
from standards import fhir_xml
from standards.index import token
from standards.lens import first, text
from standards.mhd import URI
from standards.mhd_bundle import Entry
from standards.mhd_rules import identifier_kind
from standards.outcome import BYTES_DIFFER, VALUE, Issue

OTHER = {
    "application/fhir+json": "application/fhir+xml",
    "application/fhir+xml": "application/fhir+json",
}


def described(item: Item, place: str) -> Iterator[Issue]:
    """What is wrong with a DocumentReference at `place` (its attachment) that leads to a FHIR document."""
    sent = first(item.resource, "content.attachment") or {}
    if _form(item) not in OTHER:
        words = f"A FHIR document is written as {' or as '.join(OTHER)}; say which here."
        yield Issue(VALUE, words, f"{place}.contentType")
    for name in ("hash", "size"):
        if sent.get(name) is not None:
            words = f"Leave out the {name} of a FHIR document: a Bundle has no bytes until it is written."
            yield Issue(BYTES_DIFFER, words, f"{place}.{name}")


def written(draft: Draft, pack: Pack, ids: Callable[[], str]) -> None:
    """Write out every FHIR document of a draft without faults, and add its other form."""
    number = max(draft.items, default=0) + len(draft.parts.entries) + 1
    for item in [d for d in draft.documents if d.binary and d.binary.slice == "FhirDocument"]:
        assert item.binary is not None  # noqa: S101  for mypy: the line above chose it
        form, bundle = _form(item), item.binary.resource
        item.content = Attachment.of(_bytes(bundle, form))
        if OTHER[form] in pack.mime_types:
            made = _other(item, number, ids)
            made.content = Attachment.of(_bytes(bundle, OTHER[form]))
            draft.items[number] = made
            number += 2


def _form(item: Item) -> str:
    return text(item.resource, "content.attachment.contentType").partition(";")[0].strip().lower()


def _bytes(bundle: Mapping[str, object], form: str) -> bytes:
    return dumps(bundle) if form == "application/fhir+json" else fhir_xml.render(dict(bundle))


def _other(item: Item, number: int, ids: Callable[[], str]) -> Item:
    id_, name = ids(), f"urn:oid:2.25.{uuid.uuid5(uuid.NAMESPACE_OID, ids()).int}"
    content = dict(item.resource["content"][0])
    content["attachment"] = {**content["attachment"], "contentType": OTHER[_form(item)]}
    resource = {
        **item.resource,
        "masterIdentifier": {"system": URI, "value": name},
        "identifier": [i for i in item.resource.get("identifier") or () if not identifier_kind(i)],
        "relatesTo": [{"code": "transforms", "target": {"reference": item.entry.full_url}}],
        "content": [content],
    }
    entry = Entry(number, "DocumentReference", "", "POST", "", resource)
    made = Item(
        entry, id_, unique_id=token(URI, name), subject=item.subject, unclassified=item.unclassified,
        original=item,
    )  # fmt: skip
    made.links.append(Link(f"{item.where}.relatesTo", "transforms", item.entry))
    made.binary = Entry(number + 1, "FhirDocument", "", "POST", "", {})
    return made
