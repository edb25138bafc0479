"""Documents taken off a request body: one spool per request, one `Attachment` per document.

All documents of a request lie one after the other in one spool (memory up to 256 KB, then one
unnamed temporary file), so that neither their size nor their number costs memory or descriptors.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import AsyncIterator, Iterator
from hashlib import sha1, sha256
from pathlib import Path
from tempfile import SpooledTemporaryFile

from standards.outcome import TOO_LONG, VALUE, ErrorKind, Issue, Refused

IN_MEMORY = 256 * 1024  # a spool becomes a file beyond this
CHUNK = 256 * 1024  # how much `Attachment.open` gives at a time
KEPT_AS_SENT = 64 * 1024  # a value up to this long can be put back exactly as it was written…
KEPT_ALTOGETHER = 1024 * 1024  # …while all such values of a request are within this


class Spool:
    """The documents of one request, end to end. Deleted when the last of them is closed."""

    def __init__(self, folder: Path | None) -> None:
        self._file: SpooledTemporaryFile[bytes] = SpooledTemporaryFile(  # noqa: SIM115 see close()
            max_size=IN_MEMORY, dir=str(folder) if folder else None, prefix="spool-"
        )
        self._folder = folder
        self.size = 0
        self.kept = 0  # characters kept as sent
        self._open = 0

    def attachment(self, token: str) -> Attachment:
        """A new document that begins where the last one ended."""
        self._open += 1
        return Attachment(token, self)

    def write(self, content: bytes) -> None:
        """Add to the last document."""
        if self._folder and self.size <= IN_MEMORY < self.size + len(content):
            self._folder.mkdir(parents=True, exist_ok=True)
        self._file.seek(self.size)
        self._file.write(content)
        self.size += len(content)

    def read(self, at: int, size: int) -> bytes:
        """Some bytes; every reader keeps its own place."""
        self._file.seek(at)
        return self._file.read(size)

    def let_go(self) -> None:
        """One document is no longer needed."""
        self._open -= 1
        if self._open == 0:
            self._file.close()


class Attachment:
    """One document's bytes, taken off a request body.

    `token` stands for it in the body. `size`, `sha1` and `sha256` are those of the decoded bytes.
    `fault` says in words why the value is not base64 ("" when it is); `open` then refuses. `close`
    deletes the bytes and may be called twice.
    """

    __slots__ = (
        "_closed",
        "_spool",
        "_start",
        "fault",
        "kind",
        "sent",
        "sha1",
        "sha256",
        "size",
        "token",
    )

    def __init__(self, token: str, spool: Spool) -> None:
        self.token = token
        self.size = 0
        self.sha1 = b""
        self.sha256 = b""
        self.fault = ""
        self.kind: ErrorKind = VALUE
        self.sent: bytes | None = b""  # the characters as written, None once they are too many
        self._spool = spool
        self._start = spool.size
        self._closed = False

    @staticmethod
    def of(content: bytes) -> Attachment:
        """An attachment with this content, for bytes that did not come as base64 in a body."""
        made = Spool(None).attachment("")
        made.write(content)
        made.sha1 = sha1(content, usedforsecurity=False).digest()
        made.sha256 = sha256(content).digest()
        return made

    async def open(self) -> AsyncIterator[bytes]:
        """The decoded bytes in chunks, from the start; may be opened again. `Refused` on a fault."""
        for chunk in self.chunks():
            yield chunk

    def chunks(self) -> Iterator[bytes]:
        """As `open`, for callers that do not await."""
        if self.fault:
            raise Refused(self.issue())
        at = 0
        while at < self.size:
            chunk = self._spool.read(self._start + at, min(CHUNK, self.size - at))
            at += len(chunk)
            yield chunk

    def part(self, at: int, size: int) -> bytes:
        """Some of the decoded bytes, fewer at the end: for formats that are read from the back."""
        return self._spool.read(self._start + at, max(0, min(size, self.size - at)))

    def issue(self, where: str = "") -> Issue:
        """The fault as a finding at this place."""
        return Issue(self.kind, self.fault, where)

    def write(self, content: bytes) -> None:
        """Add decoded bytes; only the document that was begun last may grow."""
        self.size += len(content)
        self._spool.write(content)

    def remember(self, raw: bytes) -> None:
        """Keep the characters as written while they are few."""
        if self.sent is None:
            return
        self._spool.kept += len(raw)
        if len(self.sent) + len(raw) > KEPT_AS_SENT or self._spool.kept > KEPT_ALTOGETHER:
            self._spool.kept -= len(self.sent) + len(raw)
            self.sent = None
        else:
            self.sent += raw

    def close(self) -> None:
        """Delete the bytes, in memory or on disk."""
        if not self._closed:
            self._closed = True
            self.sent = None
            self._spool.let_go()


_WHITE = b" \t\r\n"
_WHITE_RUN = re.compile(rb"[ \t\r\n]+")


class Decoding:
    """Decodes one base64 value as it comes, into its attachment.

    FHIR R4 (datatypes.html#base64Binary) allows white space between groups of four characters and
    nowhere else; padding ends the value. A value that breaks this is read past and marked; one longer
    than `limit` bytes is `Refused(TOO_LONG)` at once.
    """

    def __init__(self, attachment: Attachment, limit: int) -> None:
        self.attachment = attachment
        self._limit = limit
        self._quartet = b""
        self._padded = False
        self._length = 0
        self._sha1 = sha1(usedforsecurity=False)
        self._sha256 = sha256()

    def take(self, text: bytes) -> int:
        """Decode the next characters; how many bytes they gave."""
        self._length += len(text)
        if self._length > 2 * self._limit + 1024:  # more than base64 and its line ends ever take
            raise too_long("A document", self._limit)
        if self.attachment.fault:
            return 0
        text = self._quartet + text
        if self._padded and text.strip(_WHITE):
            return self.refuse("characters follow the padding")
        try:
            decoded = self._groups(text)
        except ValueError as fault:
            return self.refuse(str(fault).rstrip(".").lower())
        self._padded = self._padded or text[: len(text) - len(self._quartet)].rstrip(
            _WHITE
        ).endswith(b"=")
        self._write(decoded)
        return len(decoded)

    def refuse(self, why: str, kind: ErrorKind = VALUE) -> int:
        """Note why this is no document; the rest of the value is read past."""
        if not self.attachment.fault:
            self.attachment.fault = f"The data value is not base64 (RFC 4648 section 4): {why}."
            self.attachment.kind = kind
        return 0

    def end(self) -> None:
        """The value is complete."""
        made = self.attachment
        if not self._length:
            made.fault = "The data value is empty; FHIR leaves an empty element out."
        elif self._quartet.strip(_WHITE):
            self.refuse("its length is not a multiple of four")
        if not made.fault:
            made.sha1, made.sha256 = self._sha1.digest(), self._sha256.digest()

    def _groups(self, text: bytes) -> bytes:
        """Decode the whole groups of four and keep the rest; `ValueError` says what is wrong."""
        cut = len(text) - len(text) % 4
        try:
            decoded = binascii.a2b_base64(text[:cut], strict_mode=True)
        except binascii.Error:
            close = text.translate(None, _WHITE)
            if len(close) == len(text):
                raise
            removed = 0
            for run in _WHITE_RUN.finditer(text):
                if (run.start() - removed) % 4:
                    raise ValueError(
                        "white space stands inside a group of four characters"
                    ) from None
                removed += run.end() - run.start()
            text, cut = close, len(close) - len(close) % 4
            decoded = binascii.a2b_base64(text[:cut], strict_mode=True)
        self._quartet = text[cut:]
        return decoded

    def _write(self, decoded: bytes) -> None:
        if self.attachment.size + len(decoded) > self._limit:
            raise too_long("A document", self._limit)
        self._sha1.update(decoded)
        self._sha256.update(decoded)
        self.attachment.write(decoded)


def too_long(what: str, limit: int) -> Refused:
    """The refusal of something that is larger than this server takes."""
    return Refused(
        Issue(TOO_LONG, f"{what} is longer than {limit} bytes, the most this server takes.")
    )
