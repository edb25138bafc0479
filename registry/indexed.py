"""PURE. What a DocumentReference and a List are found by: the values of `ix`, made when they are written;
and whose numbers they carry (`numbers`, see registry/shown.py), which is asked when they are shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from registry.shown import numbers
from standards.index import moments, references, strings, tokens, uris
from standards.lens import at, contained, extension_values
from standards.mhd import (
    DESIGNATION_TYPE,
    DOCUMENT_STATUS,
    HOME_COMMUNITY,
    LIST_STATUS,
    SOURCE_ID,
)

Json = Mapping[str, Any]


def document(resource: Json, base: str) -> dict[str, Any]:
    """The index values of a DocumentReference (MHD 2:3.67.4.1.2.1). `beside` are the documents and
    lists of this server among its related ones: they are few, so an index of them is small."""
    people = tuple(_people(resource, at(resource, "author")))
    identifiers = [resource.get("masterIdentifier"), *(resource.get("identifier") or ())]
    related = references(at(resource, "context.related"), base)
    return _given(
        patient=references(resource.get("subject"), base),
        status=tokens(resource.get("status"), DOCUMENT_STATUS),
        author=references(at(resource, "author"), base),
        author_given=strings(_names(people, "given")),
        author_family=strings(_names(people, "family")),
        category=tokens(at(resource, "category")),
        custodian=references(resource.get("custodian"), base),
        type=tokens(resource.get("type")),
        creation=moments(at(resource, "content.attachment.creation")),
        date=moments(resource.get("date")),
        event=tokens(at(resource, "context.event")),
        facility=tokens(at(resource, "context.facilityType")),
        format=tokens(at(resource, "content.format")),
        identifier=tokens([i for i in identifiers if i]),
        period=moments(at(resource, "context.period")),
        related=related,
        beside=[r for r in related if r.startswith(("DocumentReference/", "List/"))],
        relatesto=references(at(resource, "relatesTo.target"), base),
        security_label=tokens(at(resource, "securityLabel")),
        setting=tokens(at(resource, "context.practiceSetting")),
        targetCommunityIdList=uris(extension_values(resource, HOME_COMMUNITY)),
    ) | {"numbers": numbers(resource)}


def listed(resource: Json, base: str) -> dict[str, Any]:
    """The index values of a SubmissionSet or Folder (MHD 2:3.66.4.1.2.1). A retired Folder is also
    found as `superseded`, which is what the MHD table calls Deprecated."""
    people = tuple(_people(resource, at(resource, "source")))
    status = tokens(resource.get("status"), LIST_STATUS)
    if resource.get("status") == "retired":
        status += tokens("superseded", LIST_STATUS)
    return _given(
        patient=references(resource.get("subject"), base),
        status=status,
        code=tokens(resource.get("code")),
        date=moments(resource.get("date")),
        designationType=tokens(extension_values(resource, DESIGNATION_TYPE)),
        identifier=tokens(resource.get("identifier") or []),
        source=references(resource.get("source"), base),
        source_given=strings(_names(people, "given")),
        source_family=strings(_names(people, "family")),
        sourceId=tokens(extension_values(resource, SOURCE_ID)),
        item=references(at(resource, "entry.item"), base),
        targetCommunityIdList=uris(extension_values(resource, HOME_COMMUNITY)),
    ) | {"numbers": numbers(resource)}


def _given(**values: Any) -> dict[str, Any]:
    """Absent elements take no room: MongoDB reads a missing field as it reads null."""
    return {name: value for name, value in values.items() if value}


def _people(resource: Json, authors: Iterable[Any]) -> Iterator[Json]:
    """The contained people that author references lead to, through a PractitionerRole too."""
    for author in authors:
        held = contained(resource, author)
        if held is not None and held.get("resourceType") == "PractitionerRole":
            held = contained(resource, held.get("practitioner"))
        if held is not None:
            yield held


def _names(people: Iterable[Json], part: str) -> list[str]:
    return [n for person in people for n in at(person, f"name.{part}") if isinstance(n, str)]
