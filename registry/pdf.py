"""PURE. As much of PDF as its metadata takes: find objects by number, read them, unpack streams.

ISO 32000-1 §7: cross-reference tables and streams, incremental updates, object streams, Flate with the
PNG predictor that cross-reference streams use. The file is read from its end in small parts, whatever
its size, and everything that it says of itself (lengths, offsets, depths, chains) is bounded. A damaged
or encrypted file is said to be so; nothing is guessed.

The file is over 400 lines because a lexer, the two kinds of tables and the two kinds of objects are
one thing: each is only understood with the others.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Part = Callable[[int, int], bytes]
"""(at, size) → that part of the file, fewer bytes at its end."""

_WINDOW = 64 * 1024
_OBJECT = 1024 * 1024  # the longest object outside streams
_STREAM = 16 * 1024 * 1024  # the longest unpacked stream
_DEPTH = 40
_UPDATES = 256  # incremental updates followed
_SECTIONS = 4096  # ranges of object numbers
_TABLE = 2 * 1024 * 1024  # the longest table with a predictor, which is undone byte by byte
_DELIMITERS = b"()<>[]{}/%"
_WHITE = b"\x00\t\n\x0c\r "
_HEADER = re.compile(rb"\s*(\d{1,10})\s+(\d{1,5})\s+obj")
_NUMBER = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d+)")
_ESCAPES = {ord("n"): 10, ord("r"): 13, ord("t"): 9, ord("b"): 8, ord("f"): 12}


class PdfError(Exception):
    """The file cannot be read; the words complete "The PDF …"."""


class Name(str):
    """A name object, `/Title` as `Title`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Ref:
    """An indirect reference."""

    number: int


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream: its dictionary, and where its bytes begin in the file."""

    about: dict[str, Any]
    at: int


class Pdf:
    """One file. `root` and `info` are its catalog and information dictionary."""

    def __init__(self, part: Part, size: int) -> None:
        self._part, self._size = part, size
        self._sections: list[_Section] = []
        self._unpacked: dict[int, bytes] = {}
        self._busy: set[int] = set()
        if b"%PDF-" not in part(0, 1024):
            raise PdfError("has no PDF header")
        trailer = self._trailers()
        if "Encrypt" in trailer:
            raise PdfError("is encrypted; what it says of itself cannot be read")
        self.root = self._dictionary(trailer.get("Root"))
        self.info = self._dictionary(trailer.get("Info"))

    def resolved(self, value: Any) -> Any:
        """What a value is, references followed; None for one to nothing."""
        for _ in range(_DEPTH):
            if not isinstance(value, Ref):
                return value
            value = self._object(value.number)
        raise PdfError("refers to itself in a circle")

    def unpacked(self, stream: Stream) -> bytes:
        """The bytes of a stream, its filters undone."""
        length = self.resolved(stream.about.get("Length"))
        if not isinstance(length, int) or not 0 <= length <= _STREAM:
            raise PdfError("has a stream without a length, or too long a one")
        data = self._part(stream.at, length)
        filters = self.resolved(stream.about.get("Filter"))
        for name in filters if isinstance(filters, list) else [filters] if filters else []:
            if self.resolved(name) != "FlateDecode":
                raise PdfError(f"packs its metadata as {str(name)[:30]}, which is not read here")
            data = _inflated(data)
        return self._predicted(stream, data)

    def _dictionary(self, value: Any) -> dict[str, Any]:
        found = self.resolved(value)
        return found if isinstance(found, dict) else {}

    # -- where objects are ------------------------------------------------------------------------

    def _trailers(self) -> dict[str, Any]:
        """The newest trailer; every section from the newest to the oldest."""
        tail = self._part(max(0, self._size - 2048), 2048)
        found = re.findall(rb"startxref\s+(\d{1,15})", tail)
        if not found:
            raise PdfError("is damaged: it does not say where its objects are")
        waiting, seen = [int(found[-1])], set[int]()
        newest: dict[str, Any] = {}
        while waiting:
            at = waiting.pop(0)
            if at in seen or at >= self._size or len(seen) > _UPDATES:
                continue
            seen.add(at)
            trailer = self._section(at)
            newest = newest or trailer
            further = (trailer.get(name) for name in ("XRefStm", "Prev"))
            waiting += [place for place in further if isinstance(place, int)]
        return newest

    def _section(self, at: int) -> dict[str, Any]:
        if self._part(at, 32).lstrip(_WHITE).startswith(b"xref"):
            return self._table(at)
        stream = self._indirect(at, None)
        if not isinstance(stream, Stream) or stream.about.get("Type") != "XRef":
            raise PdfError("is damaged: there is no table of objects where it says")
        widths = stream.about.get("W")
        if (
            not isinstance(widths, list)
            or len(widths) != 3
            or not all(isinstance(w, int) and 0 <= w <= 8 for w in widths)
        ):
            raise PdfError("is damaged: its table of objects has no widths")
        index = stream.about.get("Index") or [0, stream.about.get("Size")]
        if not isinstance(index, list) or not all(isinstance(n, int) and n >= 0 for n in index):
            raise PdfError("is damaged: its table of objects has no range")
        rows, data = 0, self.unpacked(stream)
        for first, count in zip(index[::2], index[1::2], strict=False):
            self._sections.append(
                _Packed(first, count, data, rows, (widths[0], widths[1], widths[2]))
            )
            rows += count
        return stream.about

    def _table(self, at: int) -> dict[str, Any]:
        """A classic table: sections of rows of 20 bytes, then the trailer."""
        at += self._part(at, 64).index(b"xref") + 4
        while True:
            head = self._part(at, 256)
            found = re.match(rb"\s*(\d{1,10})\s+(\d{1,10})[ \t]*\r?\n?", head)
            if found is None:
                break
            if len(self._sections) > _SECTIONS:
                raise PdfError("has more tables of objects than this server reads")
            at += found.end()
            self._sections.append(_Plain(int(found[1]), int(found[2]), self._part, at))
            at += int(found[2]) * 20
        data = self._part(at, _WINDOW)
        place = data.find(b"trailer", 0, 256)
        if place < 0:
            raise PdfError("is damaged: its table of objects has no trailer")
        made = _Lexer(data, place + 7).value()
        return made if isinstance(made, dict) else {}

    def _object(self, number: int) -> Any:
        for section in self._sections:
            place = section.find(number)
            if place is None:
                continue
            kind, first, second = place
            if kind == 1:
                return self._indirect(first, number)
            return self._inside(first, second) if kind == 2 else None
        return None

    # -- what they are -----------------------------------------------------------------------------

    def _indirect(self, at: int, number: int | None) -> Any:
        """`n g obj` at this place: a value or a stream."""
        size = _WINDOW
        while True:
            data = self._part(at, size)
            head = _HEADER.match(data)
            if head is None or (number is not None and int(head[1]) != number):
                raise PdfError("is damaged: an object is not where it says")
            try:
                lexer = _Lexer(data, head.end())
                value = lexer.value()
                lexer.white()
                if not isinstance(value, dict) or not data.startswith(b"stream", lexer.at):
                    return value
                start = lexer.at + 6
                start += 2 if data.startswith(b"\r\n", start) else 1
                return Stream(value, at + start)
            except IndexError:
                if size >= _OBJECT or size > len(data):
                    raise PdfError("is damaged: an object has no end") from None
                size *= 4

    def _inside(self, holder: int, index: int) -> Any:
        """The object with this index in an object stream."""
        if holder in self._busy:
            raise PdfError("refers to itself in a circle")
        self._busy.add(holder)
        try:
            stream = self._object(holder)
            if not isinstance(stream, Stream) or stream.about.get("Type") != "ObjStm":
                raise PdfError("is damaged: an object is not where it says")
            if holder not in self._unpacked:
                self._unpacked[holder] = self.unpacked(stream)
            data, first = self._unpacked[holder], self.resolved(stream.about.get("First"))
            numbers = re.findall(rb"\d+", data[: first if isinstance(first, int) else 0])
            if not isinstance(first, int) or 2 * index + 1 >= len(numbers):
                raise PdfError("is damaged: an object is not where it says")
            return _Lexer(data, first + int(numbers[2 * index + 1][:12])).value()
        except IndexError:
            raise PdfError("is damaged: an object has no end") from None
        finally:
            self._busy.discard(holder)

    def _predicted(self, stream: Stream, data: bytes) -> bytes:
        about = self.resolved(stream.about.get("DecodeParms"))
        about = self.resolved(about[0]) if isinstance(about, list) and about else about
        predictor = about.get("Predictor", 1) if isinstance(about, dict) else 1
        if predictor == 1:
            return data
        columns = about.get("Columns", 1)
        plain = about.get("Colors", 1) == 1 and about.get("BitsPerComponent", 8) == 8
        known = isinstance(predictor, int) and 10 <= predictor <= 15 and len(data) <= _TABLE
        if not (known and plain and isinstance(columns, int) and 0 < columns < 65536):
            raise PdfError("packs its metadata in a way that is not read here")
        return _unpredicted(data, columns)


def _inflated(data: bytes) -> bytes:
    try:
        engine = zlib.decompressobj()
        made = engine.decompress(data, _STREAM)
    except zlib.error as fault:
        raise PdfError("is damaged: a stream cannot be unpacked") from fault
    if engine.unconsumed_tail:
        raise PdfError("has a stream that unpacks to more than this server takes")
    return made


def _unpredicted(data: bytes, columns: int) -> bytes:
    """Undo the PNG filters None, Sub and Up, which are those of cross-reference streams, and the others."""
    made, above = bytearray(), bytearray(columns)
    for start in range(0, len(data), columns + 1):
        kind, row = data[start], bytearray(data[start + 1 : start + 1 + columns])
        for n, value in enumerate(row):
            left, corner = (row[n - 1], above[n - 1]) if n else (0, 0)
            row[n] = (value + _filter(kind, left, above[n], corner)) & 255
        made += row
        above = row + bytearray(columns - len(row))
    return bytes(made)


def _filter(kind: int, left: int, above: int, corner: int) -> int:
    if kind == 4:  # Paeth
        guess = left + above - corner
        return min((left, above, corner), key=lambda v: abs(guess - v))
    try:
        return (0, left, above, (left + above) // 2)[kind]
    except IndexError:
        raise PdfError("is damaged: a stream cannot be unpacked") from None


# -- tables ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Plain:
    first: int
    count: int
    part: Part
    at: int

    def find(self, number: int) -> tuple[int, int, int] | None:
        if not self.first <= number < self.first + self.count:
            return None
        row = self.part(self.at + 20 * (number - self.first), 20)
        found = re.match(rb"(\d{10}) (\d{5}) ([nf])", row)
        if found is None:
            raise PdfError("is damaged: a row of its table of objects cannot be read")
        return (1, int(found[1]), int(found[2])) if found[3] == b"n" else (0, 0, 0)


@dataclass(frozen=True, slots=True)
class _Packed:
    first: int
    count: int
    data: bytes
    rows: int  # rows of the stream before this range
    widths: tuple[int, int, int]

    def find(self, number: int) -> tuple[int, int, int] | None:
        if not self.first <= number < self.first + self.count:
            return None
        at = (self.rows + number - self.first) * sum(self.widths)
        fields = []
        for width in self.widths:
            fields.append(int.from_bytes(self.data[at : at + width], "big"))
            at += width
        return (fields[0] if self.widths[0] else 1, fields[1], fields[2])


_Section = _Plain | _Packed


# -- values ----------------------------------------------------------------------------------------


class _Lexer:
    """Values from bytes; `IndexError` when they end in the middle."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at

    def white(self) -> None:
        while True:
            while self.data[self.at] in _WHITE:
                self.at += 1
            if self.data[self.at] != 0x25:  # %
                return
            while self.data[self.at] not in b"\r\n":
                self.at += 1

    def value(self, depth: int = 0) -> Any:
        if depth > _DEPTH:
            raise PdfError("nests its objects too deeply")
        self.white()
        data, at = self.data, self.at
        if data.startswith(b"<<", at):
            return self._dictionary(depth)
        if data[at] == 0x5B:  # [
            return self._array(depth)
        if data[at] == 0x2F:  # /
            return self._name()
        if data[at] == 0x28:  # (
            return self._literal()
        if data[at] == 0x3C:  # <
            end = data.index(b">", at) if b">" in data[at:] else len(data)
            digits = bytes(c for c in data[at + 1 : end] if c not in _WHITE)
            self.at = end + 1
            try:
                return bytes.fromhex((digits + b"0" * (len(digits) % 2)).decode("ascii"))
            except ValueError:
                raise PdfError("is damaged: a string cannot be read") from None
        return self._bare()

    def _bare(self) -> Any:
        reference = re.compile(rb"(\d{1,10})\s+(\d{1,5})\s+R(?![A-Za-z])").match(self.data, self.at)
        if reference is not None:
            self.at = reference.end()
            return Ref(int(reference[1]))
        number = _NUMBER.match(self.data, self.at)
        if number is not None:
            self.at = number.end()
            _ = self.data[self.at]  # a number that ends with the window may go on
            text = number[0].decode("ascii")[:40]
            return float(text) if "." in text else int(text)
        for word, value in ((b"true", True), (b"false", False), (b"null", None)):
            if self.data.startswith(word, self.at):
                self.at += len(word)
                return value
        raise PdfError("is damaged: an object cannot be read")

    def _dictionary(self, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        self.at += 2
        while True:
            self.white()
            if self.data.startswith(b">>", self.at):
                self.at += 2
                return made
            if self.data[self.at] != 0x2F:
                raise PdfError("is damaged: a dictionary cannot be read")
            name = self._name()
            made[name] = self.value(depth + 1)

    def _array(self, depth: int) -> list[Any]:
        made: list[Any] = []
        self.at += 1
        while True:
            self.white()
            if self.data[self.at] == 0x5D:
                self.at += 1
                return made
            made.append(self.value(depth + 1))

    def _name(self) -> Name:
        start = self.at = self.at + 1
        while self.data[self.at] not in _WHITE and self.data[self.at] not in _DELIMITERS:
            self.at += 1
        raw = re.sub(
            rb"#([0-9A-Fa-f]{2})", lambda m: bytes([int(m[1], 16)]), self.data[start : self.at]
        )
        return Name(raw.decode("latin-1"))

    def _literal(self) -> bytes:
        made, depth = bytearray(), 1
        self.at += 1
        while True:
            code = self.data[self.at]
            self.at += 1
            if code == 0x5C:
                made += self._escape()
                continue
            depth += (code == 0x28) - (code == 0x29)
            if not depth:
                return bytes(made)
            made.append(code)

    def _escape(self) -> bytes:
        octal = re.compile(rb"[0-7]{1,3}").match(self.data, self.at)
        if octal is not None:
            self.at = octal.end()
            return bytes([int(octal[0], 8) & 255])
        code = self.data[self.at]
        self.at += 1
        if code in b"\r\n":  # the line goes on
            self.at += code == 0x0D and self.data[self.at] == 0x0A
            return b""
        return bytes([_ESCAPES.get(code, code)])
