"""In which form a document is wanted, and how it is dressed: bytes or Binary resource. PURE."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Literal
from xml.sax.saxutils import quoteattr

from chassis.call import dumps, instant
from standards.outcome import NOT_ACCEPTABLE, Issue, Refused

Form = Literal["raw", "json", "xml"]

_FHIR: dict[str, Form] = {"application/fhir+json": "json", "application/fhir+xml": "xml"}
# Not application/xml: browsers name it in every Accept, and they want the document.
_TOLERATED: dict[str, Form] = {"application/json": "json", "text/json": "json"}
_SHORT: dict[str, Form] = {
    "json": "json", "text/json": "json", "application/json": "json",
    "xml": "xml", "text/xml": "xml", "application/xml": "xml",
}  # fmt: skip
_MEDIA_TYPE = re.compile(
    r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}(?:[ \t]*;[\x20-\x7e]{1,200})?"
)
_EXTENSIONS = {
    "application/dicom": "dcm", "application/fhir+json": "json", "application/fhir+xml": "xml",
    "application/hl7-v3+xml": "xml", "application/json": "json", "application/msword": "doc",
    "application/pdf": "pdf", "application/rtf": "rtf", "application/xml": "xml",
    "application/zip": "zip", "audio/mpeg": "mp3", "image/gif": "gif", "image/jpeg": "jpg",
    "image/png": "png", "image/svg+xml": "svg", "image/tiff": "tif", "text/csv": "csv",
    "text/html": "html", "text/plain": "txt", "text/rtf": "rtf", "text/xml": "xml", "video/mp4": "mp4",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
}  # fmt: skip


def form(accept: str, format_parameter: str | None, content_type: str) -> Form:
    """Raw bytes or a Binary resource? `Refused(NOT_ACCEPTABLE)` when neither is wanted.

    `_format` beats Accept. A FHIR media type asks for the resource (FHIR R4 binary.html) unless it is
    the document's own, which ITI-68 promises to give as it is (MHD 2:3.68.4.1.2); then `_format`, or
    the other FHIR media type, still gives the resource.
    """
    if format_parameter is not None:
        wanted = format_parameter.replace(" ", "+").partition(";")[0].lower()
        found = _FHIR.get(wanted) or _SHORT.get(wanted)
        if found is None and wanted != _bare(content_type):
            raise _neither(content_type)
        return found or "raw"
    if not accept.strip():
        return "raw"
    ranges = [_range(part) for part in accept.split(",") if part.strip()]
    own = _bare(content_type)
    offers: list[tuple[float, Form]] = [(_weight(ranges, own), "raw")]
    offers += [
        (_weight(ranges, fhir, widest="application/*"), made)
        for fhir, made in _FHIR.items()
        if fhir != own
    ]
    offers += [(q, _TOLERATED[name]) for name, q in ranges if name in _TOLERATED and name != own]
    weight, best = max(offers, key=lambda offer: offer[0])  # the first of equals: raw
    if weight <= 0:
        raise _neither(content_type)
    return best


def safe_type(content_type: str) -> str:
    """The stored media type if it can stand in a header, else that of any bytes."""
    return content_type if _MEDIA_TYPE.fullmatch(content_type) else "application/octet-stream"


def file_name(document: str, content_type: str) -> str:
    """A name to save the document under: its id and kind, never its title, which may name a person."""
    stem = re.sub(r"[^A-Za-z0-9.-]", "-", document)[:64] or "document"
    return f"{stem}.{_EXTENSIONS.get(_bare(content_type), 'bin')}"


def wrapped(
    made: Form, binary_id: str, document: str, content_type: str, at: datetime, size: int
) -> tuple[bytes, bytes]:
    """What stands before and after the base64 of a Binary resource in that form."""
    about = f"DocumentReference/{document}"
    if made == "xml":
        element = (
            f'<Binary xmlns="http://hl7.org/fhir"><id value={quoteattr(binary_id)}/>'
            f'<meta><versionId value="1"/><lastUpdated value="{instant(at)}"/></meta>'
            f"<contentType value={quoteattr(content_type)}/>"
            f"<securityContext><reference value={quoteattr(about)}/></securityContext>"
        )
        data, tail = ('<data value="', b'"/></Binary>') if size else ("", b"</Binary>")
        return (element + data).encode(), tail
    members = dumps(
        {
            "resourceType": "Binary",
            "id": binary_id,
            "meta": {"versionId": "1", "lastUpdated": instant(at)},
            "contentType": content_type,
            "securityContext": {"reference": about},
        }
    )[:-1]
    return (members + b',"data":"', b'"}') if size else (members, b"}")


async def in_base64(head: bytes, pieces: AsyncIterator[bytes], tail: bytes) -> AsyncIterator[bytes]:
    """Head, the pieces as one base64 text, tail."""
    yield head
    rest = b""
    async for piece in pieces:
        whole = rest + piece
        cut = len(whole) - len(whole) % 3
        rest = whole[cut:]
        yield base64.b64encode(whole[:cut])
    yield base64.b64encode(rest) + tail


def _neither(content_type: str) -> Refused:
    return Refused(
        Issue(
            NOT_ACCEPTABLE,
            f"The document is {safe_type(content_type)}; ask for that, for application/fhir+json or "
            "for application/fhir+xml.",
            "Accept",
        )
    )


def _bare(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _range(part: str) -> tuple[str, float]:
    name, *parameters = part.split(";")
    weight = 1.0
    for parameter in parameters:
        key, _, value = parameter.strip().partition("=")
        if key.lower() == "q":
            try:
                weight = min(1.0, max(0.0, float(value)))
            except ValueError:
                weight = 0.0
    return name.strip().lower(), weight


def _weight(ranges: list[tuple[str, float]], media: str, widest: str = "*/*") -> float:
    """The weight of the most precise range that covers this media type (RFC 9110 12.5.1)."""
    for name in (media, media.partition("/")[0] + "/*", widest):
        found = [q for asked, q in ranges if asked == name]
        if found:
            return max(found)
    return 0.0
