"""PURE. The bytes of the city's documents: real PDF, real FHIR JSON, plain text.

Questionnaires carry totals and zones only; the wording of licensed instruments is not in here.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson


def pdf(title: str, lines: Sequence[str]) -> bytes:
    """A one-page PDF 1.4 with a heading and lines of text (WinAnsi; other letters become `?`)."""
    text = ["BT /F1 16 Tf 60 780 Td", f"({_escaped(title)}) Tj", "/F1 11 Tf 0 -30 Td 15 TL"]
    text += [f"({_escaped(line)}) Tj T*" for line in lines]
    stream = zlib.compress("\n".join([*text, "ET"]).encode("cp1252", "replace"))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R /Lang (en-GB) >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        (
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
            b" /Resources << /Font << /F1 5 0 R >> >> >>"
        ),
        b"<< /Length %d /Filter /FlateDecode >>\nstream\n%b\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Title (%b) /Producer (Throughline demo city) >>"
        % _escaped(title).encode("cp1252", "replace"),
    ]
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer << /Size %d /Root 1 0 R /Info 6 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1, start,
    )  # fmt: skip
    return bytes(out)


def questionnaire(
    url: str, subject: Mapping[str, Any], authored: str, answers: Mapping[str, int | str]
) -> bytes:
    """A QuestionnaireResponse (FHIR JSON) of totals and zones, no item wording."""
    return orjson.dumps(
        {
            "resourceType": "QuestionnaireResponse",
            "questionnaire": url,
            "status": "completed",
            "subject": dict(subject),
            "authored": authored,
            "item": [
                {
                    "linkId": name,
                    "answer": [{"valueInteger": v} if isinstance(v, int) else {"valueString": v}],
                }
                for name, v in answers.items()
            ],
        }
    )


def document(
    title: str, code: Mapping[str, Any], subject: Mapping[str, Any], authored: str, words: str
) -> bytes:
    """A FHIR document: a Bundle whose first entry is a Composition (FHIR JSON)."""
    div = f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{words}</p></div>'
    composition = {
        "resourceType": "Composition",
        "status": "final",
        "type": dict(code),
        "subject": dict(subject),
        "date": authored,
        "author": [{"display": "Throughline demo city"}],
        "title": title,
        "section": [{"title": title, "text": {"status": "generated", "div": div}}],
    }
    return orjson.dumps(
        {
            "resourceType": "Bundle",
            "type": "document",
            "timestamp": authored,
            "identifier": {
                "system": "urn:ietf:rfc:3986",
                "value": f"urn:oid:2.25.{abs(hash_of(words))}",
            },
            "entry": [
                {
                    "fullUrl": "urn:uuid:00000000-0000-4000-8000-000000000001",
                    "resource": composition,
                }
            ],
        }
    )


def hash_of(text: str) -> int:
    """A number that is the same for the same text on every run."""
    return zlib.crc32(text.encode()) + (zlib.adler32(text.encode()) << 32)


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
