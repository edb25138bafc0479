"""ITI-106 Generate Metadata: publish a document that says itself what it is.

    Bundle (document)                   from_fhir_document.py
    Binary, FHIR JSON or XML            from_fhir_document.py, from_questionnaire.py
    Binary, XML with a ClinicalDocument from_cda.py
    Binary, PDF                         from_pdf.py

The document is stored in the media type it came in. A Bundle is written in that of the request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lxml import etree

from affinity.pack import Pack
from chassis import body as bodies
from chassis.attachment import Attachment
from chassis.call import Answer, Call, dumps
from chassis.negotiate import Format, body_format
from chassis.search import all_of
from chassis.spool import by_token
from registry.documents import visible
from registry.from_cda import V3, parsed, read_cda
from registry.from_fhir_document import read_document
from registry.from_pdf import read_pdf
from registry.from_questionnaire import read_questionnaire
from registry.reading import Reading, completed, unfiled, unnamed
from registry.single import Sheet, Single, located
from standards import fhir_xml
from standards.index import token
from standards.mhd_publish import asked
from standards.outcome import (
    BYTES_DIFFER,
    TOO_LONG,
    VALUE,
    Issue,
    Refused,
    refuse_if,
)

Json = Mapping[str, Any]
_FHIR: Mapping[str, Format] = {
    "application/fhir+json": "json",
    "application/json": "json",
    "application/fhir+xml": "xml",
}
_XML = ("text/xml", "application/xml", "application/hl7-v3+xml")
_PDF = "application/pdf"
_STRUCTURED = ("Bundle", "QuestionnaireResponse")


@dataclass(frozen=True, slots=True)
class Generate:
    """The story of ITI-106. `most` is the largest structured document that is read, in bytes."""

    single: Single
    most: int

    async def __call__(self, call: Call) -> Answer:
        """Publish the one document of the Parameters in the body (MHD 2:3.106.4.1).

        Answers 200 with Parameters that hold the reference of the DocumentReference. Raises `Refused` with
        every issue: 422 when the document does not say enough, or something that this community does not
        take, and else as ITI-105 does.
        """
        place, resource, issues = asked(call.resource or {})
        refuse_if(issues)
        whole = resource["resourceType"] == "Bundle"
        within = place if whole else f"{place}.data"
        content, media = self._content(call, resource, place)
        try:
            if whole:
                reading = read_document(resource)
            else:  # in a thread: a document is as large and as crooked as its sender wants
                reading = await asyncio.to_thread(self._read, content, media, place)
            guard = _guard(resource)
            if guard is not None and reading.patient is None and reading.subject is None:
                reading.subject, reading.origin["subject"] = guard, "Binary.securityContext"
            reading.issues += unnamed(reading)
            sheet, issues = await self._sheet(call, reading, content, media, within)
            sheet = replace(sheet, guard=guard)
            made = await self.single.published(call, sheet, issues)
        finally:
            if whole:
                content.close()
        said = {"reference": f"DocumentReference/{made.row['_id']}"}
        parameter = {"name": "DocumentReference", "valueReference": said}
        return Answer(200, dumps({"resourceType": "Parameters", "parameter": [parameter]}))

    def _content(self, call: Call, resource: Json, place: str) -> tuple[Attachment, str]:
        """The document's bytes and media type."""
        if resource["resourceType"] == "Bundle":
            kind = body_format(call.headers.get("content-type", ""))
            whole = dict(resource)
            made = Attachment.of(dumps(whole) if kind == "json" else fhir_xml.render(whole))
            made.token = "document"  # noqa: S105  stands for the bytes, as on a body that was spooled
            return made, f"application/fhir+{kind}"
        held = by_token(call.attachments).get(str(resource["data"]))
        if held is None:
            words = "The document is not base64 (RFC 4648 section 4)."
            raise Refused(Issue(BYTES_DIFFER, words, f"{place}.data"))
        return held, str(resource["contentType"])

    def _read(self, content: Attachment, media: str, place: str) -> Reading:
        """What the document in a Binary says of itself."""
        pack, kind = self.single.pack, media.partition(";")[0].strip().lower()
        if kind == _PDF:
            return read_pdf(content.part, content.size, pack.namespace)
        if kind not in _FHIR and kind not in _XML:
            words = f"Metadata are read from {', '.join([*_FHIR, *_XML, _PDF])}; publish others by ITI-105."
            raise Refused(Issue(VALUE, words, f"{place}.contentType"))
        if content.size > self.most:
            words = (
                f"A structured document is read up to {self.most} bytes; publish this by ITI-105."
            )
            raise Refused(Issue(TOO_LONG, words, f"{place}.data"))
        data = b"".join(content.chunks())
        if kind in _FHIR:
            return _fhir(data, _FHIR[kind], pack, place)
        root = parsed(data)
        if isinstance(root, str):
            words = f"The document {root}."
            raise Refused(Issue(BYTES_DIFFER, words, f"{place}.data"))
        if etree.QName(root).namespace == fhir_xml.FHIR:
            return _fhir(data, "xml", pack, place)
        if etree.QName(root).namespace != V3:
            words = "The XML is neither a CDA document (urn:hl7-org:v3) nor FHIR."
            raise Refused(Issue(VALUE, words, f"{place}.data"))
        return read_cda(root, pack.register.canonical)

    async def _sheet(
        self, call: Call, reading: Reading, content: Attachment, media: str, within: str
    ) -> tuple[Sheet, list[Issue]]:
        document = completed(reading, self.single.pack, media=media, digest=content.sha256)
        relations, unresolved = await self._related(call, reading)
        if relations:
            document["relatesTo"] = relations
        sheet = Sheet(document, content, within, reading.patient, within, reading.origin)
        issues = [*reading.issues, *unresolved]
        return sheet, [located(i, within, i.where) for i in issues]

    async def _related(
        self, call: Call, reading: Reading
    ) -> tuple[list[dict[str, Any]], list[Issue]]:
        """The documents that are here under the identifiers that the document names."""
        relations: list[dict[str, Any]] = []
        issues = []
        for related in reading.related:
            named = {"ix.identifier": token(related.system, related.value), "status": "current"}
            where = all_of([named, visible(call.caller)])
            rows = await self.single.store.documents.many(where, {"_id": 1}, limit=2)
            if len(rows) == 1:
                target = {"reference": f"DocumentReference/{rows[0]['_id']}"}
                relations.append({"code": related.code, "target": target})
            else:
                issues.append(unfiled(related, len(rows)))
        return relations, issues


def _fhir(data: bytes, kind: Format, pack: Pack, place: str) -> Reading:
    try:
        resource = bodies.parse_resource(data, kind, _STRUCTURED)
    except Refused as refusal:
        raise Refused(
            Issue(BYTES_DIFFER, i.words.replace("The body", "The document", 1), f"{place}.data")
            for i in refusal.issues
        ) from None
    if resource["resourceType"] == "Bundle":
        return read_document(resource)
    return read_questionnaire(resource, pack.namespace)


def _guard(resource: Json) -> Json | None:
    """A Binary may name the Patient whose rights it has (FHIR R4 binary.html, securityContext). It says
    whom a document is about that does not say so itself; of one that does, it must be the same person."""
    context = resource.get("securityContext") or {}
    said = str(context.get("reference") or "")
    if "Patient/" not in said and context.get("type") != "Patient":
        return None
    return {k: context[k] for k in ("reference", "identifier") if k in context}
