"""Are these bytes of the media type they are said to be? PURE.

Only what a type can be told by is checked: its signature, or for text that it is text. It is no proof
that a document is whole or harmless; it catches the wrong file, the wrong type and the disguised program.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

HEAD = 4096
"""How many bytes from the start are looked at."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A kind of file that is told by a pattern in its first bytes."""

    name: str
    pattern: re.Pattern[bytes]


def _s(name: str, pattern: bytes) -> Signature:
    return Signature(name, re.compile(pattern, re.DOTALL))


_PDF = _s("a PDF", rb".{0,1024}%PDF-\d")
_JPEG = _s("a JPEG image", rb"\xff\xd8\xff")
_PNG = _s("a PNG image", rb"\x89PNG\r\n\x1a\n")
_GIF = _s("a GIF image", rb"GIF8[79]a")
_TIFF = _s("a TIFF image", rb"II\*\x00|MM\x00[*+]|II\+\x00")
_DICOM = _s("a DICOM file", rb".{128}DICM")
_MP3 = _s("an MP3 sound", rb"ID3|\xff[\xe2-\xff]")
_MP4 = _s("an MP4 film", rb".{4}ftyp")
_RTF = _s("an RTF text", rb"\s*\{\\rtf")
_ZIP = _s("a ZIP archive", rb"PK(?:\x03\x04|\x05\x06|\x07\x08)")
_OLE = _s("an old Office document", rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
_XML = _s("XML", rb"\s*<")
_JSON = _s("JSON", rb"\s*(?:\[|\{\s*(?:[\"}]|$))")
_HTML = _s("HTML", rb"\s*<")
_MIME = _s("MIME parts", rb"(?:[!-9;-~]+:[^\n]*\n|[ \t][^\n]*\n|\s)*--")
# What is never a document here, whatever it is called.
_PROGRAMS: Sequence[Signature] = (
    _s("a Windows program", rb"MZ.{58}(?:....)"),
    _s("a Linux program", rb"\x7fELF"),
    _s("a Mac program", rb"\xcf\xfa\xed\xfe|\xca\xfe\xba\xbe"),
)
_NO_TEXT: Sequence[Signature] = (
    _PNG, _GIF, _JPEG, _DICOM, _OLE, _ZIP, _MP4, _s("a PDF", rb"%PDF-"),
    _s("a gzip archive", rb"\x1f\x8b"),
)  # fmt: skip
_BINARY: Sequence[Signature] = (
    *_NO_TEXT, _s("an RTF text", rb"\{\\rtf"), _TIFF,
)  # fmt: skip

TYPES: Mapping[str, Sequence[Signature]] = {
    "application/pdf": (_PDF,), "image/jpeg": (_JPEG,), "image/png": (_PNG,), "image/gif": (_GIF,),
    "image/tiff": (_TIFF,), "application/dicom": (_DICOM,), "audio/mpeg": (_MP3,), "video/mp4": (_MP4,),
    "text/rtf": (_RTF,), "application/rtf": (_RTF,), "application/zip": (_ZIP,),
    "application/msword": (_OLE,), "multipart/related": (_MIME,),
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": (_ZIP,),
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": (_ZIP,),
}  # fmt: skip
"""Types that are told by their first bytes."""
TEXTS: Mapping[str, Signature | None] = {
    "text/plain": None, "text/csv": None, "text/html": _HTML, "text/xml": _XML, "application/xml": _XML,
    "application/fhir+xml": _XML, "application/hl7-v3+xml": _XML, "application/fhir+json": _JSON,
    "application/json": _JSON, "image/svg+xml": _XML,
}  # fmt: skip
"""Types that are text, and how the text begins."""
_BOMS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def mismatch(content_type: str, head: bytes, *, whole: bool) -> str:
    """Why bytes that begin with `head` are not of this media type, in words; "" when they may be.

    `whole` says that `head` is all of them. An empty document and a type that is not told by its bytes
    are never a mismatch.
    """
    if not head:
        return ""
    kind = content_type.partition(";")[0].strip().lower()
    program = _found(_PROGRAMS, head)
    if program and not (
        head.startswith(b"MZ") and kind in TEXTS and _text(head, content_type, whole=whole)
    ):
        return f"The document is {program}; programs are not shared here."
    if kind in TYPES:
        return "" if _found(TYPES[kind], head) else _words(kind, head)
    if kind not in TEXTS:
        return ""
    if not _text(head, content_type, whole=whole):
        return _words(kind, head)
    begins = TEXTS[kind]
    start = _decoded(head, content_type).lstrip("\ufeff").encode()
    if begins is not None and start.strip() and not begins.pattern.match(start):
        return f"The document is said to be {kind} and does not begin like {begins.name}."
    return ""


def _words(kind: str, head: bytes) -> str:
    looks = _found(_BINARY, head)
    told = f"its bytes are {looks}" if looks else "its bytes do not begin like one"
    return f"The document is said to be {kind}, and {told}; send the type that it is."


def _found(signatures: Sequence[Signature], head: bytes) -> str:
    return next((s.name for s in signatures if s.pattern.match(head)), "")


def _text(head: bytes, content_type: str, *, whole: bool) -> bool:
    """Whether the bytes are text in their character set; NUL is in no text but UTF-16."""
    try:
        said = _decoded(head, content_type, whole=whole)
    except UnicodeDecodeError:
        return False
    return "\x00" not in said and not _found(_NO_TEXT, head)


def _decoded(head: bytes, content_type: str, *, whole: bool = False) -> str:
    name = re.search(r"charset\s*=\s*\"?([\w.:-]+)", content_type, re.IGNORECASE)
    charset = name[1] if name else ""
    if head.startswith(_BOMS[1:]):
        charset = "utf-16"
    try:
        decoder = codecs.getincrementaldecoder(charset or "utf-8")()
    except LookupError:
        decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        return decoder.decode(head, whole)
    except UnicodeDecodeError:
        if charset:
            raise
        # Nothing was said of the character set: an older one, of which any byte may be a letter.
        return head.decode("latin-1")
