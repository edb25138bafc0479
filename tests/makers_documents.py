"""Documents that say themselves what they are: FHIR, CDA and PDF, of people who do not exist."""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Mapping
from typing import Any

from tests.makers_mhd import NHS, NS, an_oid, concept

Json = dict[str, Any]
COMPOSITION, PATIENT, AUTHOR, ORGANISATION = (
    f"urn:uuid:00000000-0000-4000-8000-00000000000{n}" for n in range(1, 5)
)


def a_fhir_document(number: str, *, kind: str = "GN-GPSUM", **changes: Any) -> Json:
    """A FHIR document about the person with this NHS number; `changes` replace elements of the
    Composition (None leaves one out)."""
    div = '<div xmlns="http://www.w3.org/1999/xhtml"><p>Nobody.</p></div>'
    composition: Json = {
        "resourceType": "Composition",
        "language": "en-GB",
        "status": "final",
        "type": concept(f"{NS}/CodeSystem/document-type", kind),
        "subject": {"reference": PATIENT},
        "date": "2026-03-03T09:00:00Z",
        "author": [{"reference": AUTHOR}],
        "title": "Summary of nobody",
        "confidentiality": "N",
        "attester": [{"mode": "legal", "party": {"reference": AUTHOR}}],
        "custodian": {"reference": ORGANISATION},
        "event": [{"code": [concept(f"{NS}/CodeSystem/event", "EYS1")], "period": {"start": "2026-03-01", "end": "2026-03-02"}}],
        "section": [{"title": "All", "text": {"status": "generated", "div": div}}],
    } | changes  # fmt: skip
    patient = {
        "resourceType": "Patient", "identifier": [{"system": NHS, "value": number}],
        "name": [{"family": "Nobody", "given": ["Nia"]}], "birthDate": "1980-01-02",
    }  # fmt: skip
    role = {
        "resourceType": "PractitionerRole",
        "practitioner": {"display": "Dr Öztürk"},
        "organization": {"reference": ORGANISATION},
    }
    resources = (
        (COMPOSITION, {k: v for k, v in composition.items() if v is not None}), (PATIENT, patient), (AUTHOR, role),
        (ORGANISATION, {"resourceType": "Organization", "name": "Canal Street Surgery"}),
    )  # fmt: skip
    return {
        "resourceType": "Bundle",
        "identifier": {"system": "urn:ietf:rfc:3986", "value": an_oid()},
        "type": "document",
        "timestamp": "2026-03-03T09:00:00Z",
        "entry": [{"fullUrl": url, "resource": resource} for url, resource in resources],
    }


def a_response(subject: Json, **changes: Any) -> Json:
    """A completed QuestionnaireResponse of the community's own questionnaire EY-HLE."""
    made: Json = {
        "resourceType": "QuestionnaireResponse",
        "questionnaire": f"{NS}/Questionnaire/EY-HLE",
        "status": "completed",
        "subject": subject,
        "authored": "2026-03-03T09:00:00Z",
        "author": {"display": "H. Visitor"},
        "item": [{"linkId": "total", "answer": [{"valueInteger": 31}]}],
        "identifier": {"system": "urn:ietf:rfc:3986", "value": an_oid()},
    } | changes
    return {k: v for k, v in made.items() if v is not None}


def a_cda(
    number: str,
    *,
    identifier: str = "",
    code: str = "",
    extra: str = "",
    patient: str = "",
    relation: str = "",
) -> bytes:
    """A CDA discharge summary; `extra` stands in the header before the recordTarget."""
    root = identifier or an_oid().removeprefix("urn:oid:")
    code = code or (
        '<code code="18842-5" codeSystem="2.16.840.1.113883.6.1" displayName="Discharge summary">'
        '<translation code="373942005" codeSystem="2.16.840.1.113883.6.96"/></code>'
    )
    patient = (
        patient
        or f"""<recordTarget><patientRole>
        <id root="2.16.840.1.113883.2.1.4.1" extension="{number}"/>
        <addr><streetAddressLine>1 No Street</streetAddressLine><city>Bolton</city><postalCode>BL0 0AA</postalCode></addr>
        <patient><name><given>Nia</given><family>Nobody</family></name><administrativeGenderCode code="F"/><birthTime value="19800102"/></patient>
      </patientRole></recordTarget>"""
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
    <ClinicalDocument xmlns="urn:hl7-org:v3">
      <typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>
      <id root="{root}"/>{code}<title>Discharge of <b>nobody</b></title>
      <effectiveTime value="20260303091500+0000"/>
      <confidentialityCode code="R" codeSystem="2.16.840.1.113883.5.25"/><languageCode code="en-GB"/>{extra}{patient}
      <author><time value="20260303"/><assignedAuthor><id root="1.2.3" extension="doc-7"/>
        <assignedPerson><name><given>Zoë</given><family>Öztürk</family></name></assignedPerson>
        <representedOrganization><id root="1.2.4" extension="R0A"/><name>Manchester Trust</name></representedOrganization>
      </assignedAuthor></author>
      <custodian><assignedCustodian><representedCustodianOrganization><name>Manchester Trust</name></representedCustodianOrganization></assignedCustodian></custodian>
      <legalAuthenticator><assignedEntity><id root="1.2.3" extension="doc-8"/><assignedPerson><name>Dr Legal</name></assignedPerson></assignedEntity></legalAuthenticator>
      {relation}
      <documentationOf><serviceEvent><effectiveTime><low value="20260301"/><high value="20260303"/></effectiveTime></serviceEvent></documentationOf>
      <component><nonXMLBody><text>Nothing.</text></nonXMLBody></component>
    </ClinicalDocument>""".encode()


def an_xmp(**own: Any) -> bytes:
    """An XMP packet: title, creator, language, and our own properties (`patient` may be a list)."""

    def written(name: str, value: Any) -> str:
        values = value if isinstance(value, list) else [value]
        members = "".join(f"<rdf:li>{v}</rdf:li>" for v in values)
        return (
            f"<tl:{name}><rdf:Bag>{members}</rdf:Bag></tl:{name}>"
            if isinstance(value, list)
            else f"<tl:{name}>{value}</tl:{name}>"
        )

    said = "".join(written(k, v) for k, v in own.items())
    return f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
    <x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
      <rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
          xmlns:tl="{NS}/xmp#" xmp:CreateDate="2026-03-03T09:15+01:00">
        <dc:title><rdf:Alt><rdf:li xml:lang="x-default">Letter about nobody</rdf:li></rdf:Alt></dc:title>
        <dc:creator><rdf:Seq><rdf:li>Zoë Öztürk</rdf:li><rdf:li>A. Second</rdf:li></rdf:Seq></dc:creator>
        <dc:language><rdf:Bag><rdf:li>cy</rdf:li></rdf:Bag></dc:language>
        <dc:identifier>urn:uuid:{uuid.uuid4()}</dc:identifier>{said}
      </rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>""".encode()


def a_pdf(
    xmp: bytes | None = None,
    *,
    info: Mapping[str, bytes] | None = None,
    root: bytes = b"",
    trailer: bytes = b"",
    packed: bool = False,
) -> bytes:
    """A one-page PDF. `info` are written objects of the information dictionary, `root` and `trailer` more
    of those dictionaries. `packed`: PDF 1.5, objects in an object stream, a cross-reference stream."""
    objects: dict[int, bytes] = {
        1: b"<</Type/Catalog/Pages 2 0 R" + (b"/Metadata 5 0 R" if xmp is not None else b"") + root + b">>",
        2: b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        3: b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 10 10]>>",
    }  # fmt: skip
    if info is not None:
        said = b"".join(b"/" + name.encode() + b" " + value for name, value in info.items())
        objects[4] = b"<<" + said + b">>"
    streams = {}
    if xmp is not None:
        streams[5] = b"/Type/Metadata/Subtype/XML", xmp
    ends = b"/Root 1 0 R" + (b"/Info 4 0 R" if info is not None else b"") + trailer
    return _packed(objects, streams, ends) if packed else _plain(objects, streams, ends)


def _stream(about: bytes, data: bytes) -> bytes:
    return b"<<" + about + b"/Length %d>>\nstream\r\n" % len(data) + data + b"\nendstream"


def _plain(
    objects: dict[int, bytes], streams: dict[int, tuple[bytes, bytes]], ends: bytes
) -> bytes:
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    every = objects | {n: _stream(about, data) for n, (about, data) in streams.items()}
    at = {}
    for n, value in every.items():
        at[n] = len(out)
        out += b"%d 0 obj\n" % n + value + b"\nendobj\n"
    size = max(every) + 1
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % size
    for n in range(1, size):
        out += b"%010d 00000 n \n" % at[n] if n in at else b"0000000000 00000 f \n"
    out += b"trailer\n<</Size %d" % size + ends + b">>\nstartxref\n%d\n%%%%EOF\n" % start
    return bytes(out)


def _packed(
    objects: dict[int, bytes], streams: dict[int, tuple[bytes, bytes]], ends: bytes
) -> bytes:
    out = bytearray(b"%PDF-1.5\n%\xe2\xe3\xcf\xd3\n")
    rows: dict[int, tuple[int, int, int]] = {0: (0, 0, 65535)}
    for n, (about, data) in streams.items():
        rows[n] = (1, len(out), 0)
        out += (
            b"%d 0 obj\n" % n
            + _stream(about + b"/Filter/FlateDecode", zlib.compress(data))
            + b"\nendobj\n"
        )
    head, body = b"", b""
    for index, (n, value) in enumerate(objects.items()):
        head += b"%d %d " % (n, len(body))
        body += value + b" "
        rows[n] = (2, 8, index)
    rows[8] = (1, len(out), 0)
    about = b"/Type/ObjStm/N %d/First %d/Filter/FlateDecode" % (len(objects), len(head))
    out += b"8 0 obj\n" + _stream(about, zlib.compress(head + body)) + b"\nendobj\n"
    start = len(out)
    rows[9] = (1, start, 0)
    table, above = b"", bytes(6)
    for n in range(10):
        kind, first, second = rows.get(n, (0, 0, 0))
        row = bytes([kind]) + first.to_bytes(4, "big") + second.to_bytes(2, "big")[1:]
        table += b"\x02" + bytes((a - b) & 255 for a, b in zip(row, above, strict=True))
        above = row
    about = (
        b"/Type/XRef/Size 10/W[1 4 1]/Filter/FlateDecode/DecodeParms<</Predictor 12/Columns 6>>"
        + ends
    )
    out += (
        b"9 0 obj\n"
        + _stream(about, zlib.compress(table))
        + b"\nendobj\nstartxref\n%d\n%%%%EOF\n" % start
    )
    return bytes(out)
