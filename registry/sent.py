"""PURE. A submission as it was sent, in our own terms: items, their links, and how references resolve."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from affinity.sources import Mechanism
from chassis.attachment import Attachment
from registry.neighbours import Asked
from standards.index import reference
from standards.mhd_bundle import Entry, Parts
from standards.outcome import (
    Issue,
)

Json = Mapping[str, Any]
SERVED = ("DocumentReference", "List", "Binary", "Patient")
_OWN = re.compile(r"(?P<type>[A-Z][A-Za-z]+)/(?P<id>[A-Za-z0-9\-.]{1,64})(?:/_history/[^/]+)?")
_RESTFUL = re.compile(r"(?P<base>https?://.+)/[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}")


@dataclass(frozen=True, slots=True)
class Link:
    """A reference of the submission: to another of its entries, or to a resource already here."""

    where: str
    code: str  # relatesTo.code, "" for a List's entry
    inside: Entry | None
    type: str = ""
    id: str = ""


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


@dataclass(slots=True)
class Item:
    """One DocumentReference, SubmissionSet or Folder of the submission. `id` is the one it gets
    (or has, for the PUT of a Folder)."""

    entry: Entry
    id: str
    unique_id: str = ""  # as a token
    entry_uuid: str = ""
    subject: tuple[Asked, ...] = ()
    links: list[Link] = field(default_factory=list)
    binary: Entry | None = None  # its Binary, or its FHIR document
    content: Attachment | None = None
    away: Away | None = None  # kept by another organisation (elsewhere.py)
    cited: list[Link] = field(default_factory=list)  # resources here that other elements refer to
    original: Item | None = None  # for the other form of a FHIR document, which is made here
    warnings: list[Issue] = field(default_factory=list)
    unclassified: bool = False

    @property
    def resource(self) -> Json:
        """As it was sent."""
        return self.entry.resource

    @property
    def where(self) -> str:
        """Its FHIRPath in the Bundle."""
        return self.entry.where


@dataclass(slots=True)
class Draft:
    """The whole submission. `digest` names its content: two equal ones are the same submission."""

    parts: Parts
    base: str
    items: dict[int, Item]
    digest: bytes
    issues: list[Issue]
    patient: dict[int, tuple[Asked, ...]] = field(default_factory=dict)  # the Patient entry's

    def of(self, slice_: str) -> list[Item]:
        """The items of one slice, in order."""
        return [i for i in self.items.values() if i.entry.slice == slice_]

    @property
    def documents(self) -> list[Item]:
        """The new DocumentReferences, those made here included."""
        return self.of("DocumentReference")

    @property
    def added(self) -> list[Item]:
        """The DocumentReferences that were not sent but are made here."""
        return [d for d in self.documents if d.original is not None]

    @property
    def folders(self) -> list[Item]:
        """The Folders, new ones and changed ones."""
        return self.of("Folder")

    @property
    def submission(self) -> Item:
        """The SubmissionSet; there is one once nothing is wrong."""
        return self.of("SubmissionSet")[0]

    @property
    def asked(self) -> list[Asked]:
        """Whom the identity manager has to be asked about."""
        named = [a for item in self.items.values() for a in item.subject]
        named += [("id", c.id) for i in self.items.values() for c in i.cited if c.type == "Patient"]
        named += [a for asked in self.patient.values() for a in asked]
        return list(dict.fromkeys(named))


def inside(parts: Parts, entry: Entry, said: str) -> Entry | None:
    """The entry that a reference of `entry` names, by the rules of bundle.html#references."""
    found = parts.by_url.get(said)
    if found is not None or "://" in said or said.startswith(("urn:", "#")):
        return found
    rest = _RESTFUL.fullmatch(entry.full_url)
    return parts.by_url.get(f"{rest['base']}/{said}") if rest else None


def own(said: str, base: str) -> tuple[str, str] | None:
    """(type, id) of a reference to a resource of this server, or None for any other."""
    found = _OWN.fullmatch(reference(said, base))
    return (found["type"], found["id"]) if found else None


def shown(said: str) -> str:
    """What was sent, short and printable, for the words of an issue."""
    return "".join(c if c.isprintable() else "?" for c in said[:100])
