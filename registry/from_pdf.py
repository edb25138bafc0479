"""PURE. What a PDF says of itself as metadata: XMP first, the information dictionary where that is silent.

XMP (ISO 16684-1) carries Dublin Core's title, creator, language and identifier. Whom a PDF is about and
what kind of document it is has no property in any standard, so there are four of our own, in the
namespace `NS/xmp#`: `patient` (system|value, repeated for several numbers), `type`, `practiceSetting` and
`label` (codes of the pack). docs/decisions/0020-publishing.md shows one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from lxml import etree

from registry.from_cda import parsed
from registry.pdf import Pdf, PdfError, Stream
from registry.reading import Reading
from standards.mhd import URI
from standards.outcome import UNPROCESSABLE, VALUE, Issue

_DC = "http://purl.org/dc/elements/1.1/"
_XMP = "http://ns.adobe.com/xap/1.0/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_SNOMED = "http://snomed.info/sct"
_DATE = re.compile(
    r"(?:D:)?(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(\d\d)?(\d\d)?(?:(Z)|([+-]\d\d)'?(?:(\d\d)'?)?)?)?)?)?.*"
)
_ISO = re.compile(
    r"\d{4}(?:-\d\d(?:-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?)?)?)?"
)
# PDFDocEncoding differs from Latin-1 here (ISO 32000-1 Annex D.2).
_DOC = dict(
    zip(
        [*range(0x18, 0x20), *range(0x80, 0x9F), 0xA0],
        "˘ˇˆ˙˝˛˚˜•†‡…—–ƒ⁄‹›−‰„“”‘’‚™ﬁﬂŁŒŠŸŽıłœšž€",
        strict=True,
    )
)


def read_pdf(part: Callable[[int, int], bytes], size: int, namespace: str) -> Reading:
    """What a PDF says of itself. `part` gives parts of the file; a damaged or encrypted one is an issue."""
    made = Reading("PDF")
    made.origin |= {"subject": "the XMP property patient", "type": "the XMP property type"}
    try:
        file = Pdf(part, size)
        packet = file.resolved(file.root.get("Metadata"))
        xmp = _Xmp(file.unpacked(packet) if isinstance(packet, Stream) else b"", namespace)
        info = {name: _words(file.resolved(value)) for name, value in file.info.items()}
        language = _words(file.resolved(file.root.get("Lang")))
    except PdfError as fault:
        made.issues.append(Issue(UNPROCESSABLE, f"The PDF {fault}.", ""))
        return made
    if xmp.fault:
        made.issues.append(Issue(UNPROCESSABLE, f"The XMP of the PDF {xmp.fault}.", ""))
    _own(made, xmp, namespace)
    title = next(iter(xmp.values(_DC, "title")), info.get("Title"))
    made.say("attachment.title", title, "dc:title or Info.Title")
    said = next(iter(xmp.values(_DC, "language")), language)
    made.say("attachment.language", said, "dc:language or Catalog.Lang")
    created = next((v for v in xmp.values(_XMP, "CreateDate") if _ISO.fullmatch(v)), None)
    moment = _zoned(created) if created else dated(info.get("CreationDate") or "")
    made.say("attachment.creation", moment, "xmp:CreateDate or Info.CreationDate")
    urn = next((v for v in xmp.values(_DC, "identifier") if v.startswith("urn:")), None)
    if urn:
        made.say("masterIdentifier", {"system": URI, "value": urn}, "dc:identifier")
    authors = xmp.values(_DC, "creator") or [a for a in [info.get("Author")] if a]
    held = [
        made.hold({"resourceType": "Practitioner", "name": [{"text": name}]}, f"author{n}")
        for n, name in enumerate(authors, start=1)
    ]
    made.say("author", held, "dc:creator or Info.Author")
    return made


def _own(made: Reading, xmp: _Xmp, namespace: str) -> None:
    """The four properties of our own."""
    own = f"{namespace}/xmp#"
    identifiers = []
    for said in xmp.values(own, "patient"):
        system, bar, value = said.rpartition("|")
        if bar and system and value:
            identifiers.append({"system": system, "value": value})
        else:
            words = "The property patient is an identifier as system|value."
            made.issues.append(Issue(VALUE, words, made.origin["subject"]))
    if identifiers:
        made.patient = {"resourceType": "Patient", "identifier": identifiers}
    for code in xmp.values(own, "type")[:1]:
        coding = {"system": f"{namespace}/CodeSystem/document-type", "code": code}
        made.say("type", {"coding": [coding]}, made.origin["type"])
    for code in xmp.values(own, "practiceSetting")[:1]:
        concept = {"coding": [{"system": _SNOMED, "code": code}]}
        made.say("context.practiceSetting", concept, "the XMP property practiceSetting")
    labels = []
    for said in xmp.values(own, "label"):
        system, bar, code = said.rpartition("|")
        labels.append({"coding": [{"system": system, "code": code} if bar else {"code": code}]})
    made.say("securityLabel", labels, "the XMP property label")


class _Xmp:
    """An XMP packet: the values of a property, whether it is written as attribute, text or array."""

    def __init__(self, packet: bytes, namespace: str) -> None:
        self._namespace, self.fault = namespace, ""
        self._root: etree._Element | None = None
        text = packet.strip(b"\x00 \r\n\t")
        if text:
            found = parsed(text)
            if isinstance(found, str):
                self.fault = found
            else:
                self._root = found

    def values(self, namespace: str, name: str) -> list[str]:
        """Every value, in order."""
        if self._root is None:
            return []
        found: list[str] = []
        for description in self._root.iter(f"{{{_RDF}}}Description"):
            said = description.get(f"{{{namespace}}}{name}")
            if said:
                found.append(said)
            for element in description.findall(f"{{{namespace}}}{name}"):
                members = list(element.iter(f"{{{_RDF}}}li"))
                found += ["".join(map(str, m.itertext())) for m in members or [element]]
        return [v for v in (" ".join(f.split()) for f in found) if v]


def _words(value: Any) -> str | None:
    """A text string (ISO 32000-1 §7.9.2.2)."""
    if not isinstance(value, bytes):
        return None
    if value.startswith((b"\xfe\xff", b"\xff\xfe")):
        said = value.decode("utf-16", "replace")
    elif value.startswith(b"\xef\xbb\xbf"):
        said = value[3:].decode("utf-8", "replace")
    else:
        said = value.decode("latin-1").translate(_DOC)
    said = "".join(c if c.isprintable() else " " for c in said)
    return " ".join(said.split()) or None


def dated(said: str) -> str | None:
    """A PDF date as a FHIR dateTime; a time of day without its zone is left out, as FHIR wants both."""
    found = _DATE.fullmatch(said)
    if found is None:
        return None
    year, month, day, hour, minute, second, utc, zone, minutes = found.groups()
    date = "-".join(p for p in (year, month, day) if p)
    if not hour or not (utc or zone):
        return date
    return f"{date}T{hour}:{minute or '00'}:{second or '00'}" + (
        "Z" if utc else f"{zone}:{minutes or '00'}"
    )


def _zoned(said: str) -> str:
    """An XMP date as a FHIR dateTime, which has seconds and a zone, or no time of day."""
    date, at, time = said.partition("T")
    zone = re.search(r"(?:Z|[+-]\d\d:\d\d)$", time)
    if not at or zone is None:
        return date
    clock = time[: zone.start()]
    return f"{date}T{clock if clock.count(':') == 2 else clock + ':00'}{zone[0]}"
