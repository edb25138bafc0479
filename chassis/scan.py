"""Finding the `data` values in a FHIR body as it streams by, JSON or XML.

Scanning is by search, not by byte: microseconds for a bundle where a tokeniser would take a
millisecond. That is sound for JSON because no string can hold an unescaped quote: `{"data":"` or
`,"data":"`, in any spelling of its letters, is either that member or not JSON at all. In XML a `<`
opens a tag unless it is in a comment, CDATA or an instruction, and those are stepped over.
What a value is replaced by contains no quote, so the rest is well formed exactly if the whole was.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path

import orjson

from chassis.attachment import KEPT_AS_SENT, Attachment, Decoding, Spool, too_long
from standards.outcome import STRUCTURE, TOO_LONG, Issue, Refused

MOST_VALUES = 10_000  # `data` values in one body
_TOKEN = "document"  # tokens begin so: legal base64, and neither a JSON number nor a JSON word  # noqa: S105


class Scan:
    """Copies a body and takes its `data` values off. Subclasses know where a value begins and ends.

    A step works on `self.buffer` from `self.at` and says whether to go on; False waits for more
    bytes, and what it left beyond `self.at` is seen again with them.
    """

    def __init__(
        self, max_body: int, max_document: int, max_total: int, folder: Path | None
    ) -> None:
        self.buffer = b""
        self.at = 0
        self.last = False
        self._step: Callable[[], bool] = self.between
        self._max_body, self._max_document, self._max_total = max_body, max_document, max_total
        self._spool = Spool(folder)
        self._made: list[Attachment] = []
        self._decoding: Decoding | None = None
        self._prefix = _TOKEN + secrets.token_hex(14)
        self._kept: list[bytes] = []
        self._size = 0
        self._total = 0

    def between(self) -> bool:
        """Look for the next value."""
        raise NotImplementedError

    def feed(self, piece: bytes) -> None:
        """Scan the next piece; `Refused(TOO_LONG)` beyond a limit."""
        self.buffer = self.buffer[self.at :] + piece
        self.at = 0
        while self._step():
            pass

    def finish(self) -> tuple[bytes, tuple[Attachment, ...]]:
        """No more comes: (the body with tokens, the attachments)."""
        self.last = True
        while self._step():
            pass
        if self._decoding is not None:
            self._decoding.refuse("it does not end")
        self.keep(len(self.buffer))
        return b"".join(self._kept), tuple(self._made)

    def discard(self) -> None:
        """Delete everything taken so far."""
        for attachment in self._made:
            attachment.close()

    def keep(self, upto: int) -> None:
        """Copy the buffer up to there into the remaining body."""
        if upto > self.at:
            self._size += upto - self.at
            if self._size > self._max_body:
                raise too_long("The body without its documents", self._max_body)
            self._kept.append(self.buffer[self.at : upto])
            self.at = upto

    def go(self, step: Callable[[], bool]) -> bool:
        """Continue with another step."""
        self._step = step
        return True

    def begin(self, value: Callable[[], bool]) -> bool:
        """A value starts here: put its token into the body instead."""
        if len(self._made) == MOST_VALUES:
            raise Refused(Issue(TOO_LONG, f"The body carries more than {MOST_VALUES} data values."))
        token = f"{self._prefix}{len(self._made):08d}"
        self._made.append(self._spool.attachment(token))
        self._decoding = Decoding(self._made[-1], self._max_document)
        self._size += len(token)
        self._kept.append(token.encode("ascii"))
        return self.go(value)

    def pass_on(self, upto: int, plain: Callable[[bytes], bytes]) -> None:
        """Hand the next characters of a value, freed of their escapes by `plain`, to its decoder."""
        if self._decoding is None or upto <= self.at:
            return
        raw = self.buffer[self.at : upto]
        self.at = upto
        self._made[-1].remember(raw)
        try:
            text = plain(raw)
        except ValueError as fault:
            self._decoding.refuse(str(fault), STRUCTURE)
            text = raw
        self._total += self._decoding.take(text)
        if self._total > self._max_total:
            raise too_long("What the documents of this body make together", self._max_total)

    def end(self, then: Callable[[], bool]) -> bool:
        """The value is over."""
        if self._decoding is not None:
            self._decoding.end()
            self._decoding = None
        return self.go(then)


# -- JSON -----------------------------------------------------------------------------------------
_W = rb"[ \t\r\n]*"
_MEMBER = re.compile(
    rb"[{,]"
    + _W
    + rb'"(?:d|\\u0064)(?:a|\\u0061)(?:t|\\u0074)(?:a|\\u0061)"'
    + _W
    + rb":"
    + _W
    + rb'"'
)
_ESCAPED_NAME = re.compile(rb"\\u00(?:64|61|74)")
_MEMBER_BEGUN = re.compile(
    rb"[{,]" + _W + rb'(?:"[data\\u0-9]{0,24}(?:"' + _W + rb"(?::" + _W + rb")?)?)?\Z"
)
_WITHIN_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_ESCAPE_BEGUN = re.compile(rb"\\u[0-9a-fA-F]{0,3}\Z")
_CONTROLS = bytes(range(32))


class JsonScan(Scan):
    """Takes the string values of members named `data`."""

    def between(self) -> bool:
        """Copy up to the opening quote of the next value."""
        found = self._member()
        if found:
            self.keep(found.end())
            return self.begin(self.value)
        upto = len(self.buffer)
        opened = max(self.buffer.rfind(b"{", self.at), self.buffer.rfind(b",", self.at))
        if not self.last and opened >= 0 and _MEMBER_BEGUN.match(self.buffer, opened):
            if upto - opened > KEPT_AS_SENT:
                raise Refused(Issue(STRUCTURE, "Too much white space before the name of a member."))
            upto = opened
        self.keep(upto)
        return False

    def _member(self) -> re.Match[bytes] | None:
        """The next member. Its plain spelling is found by substring search, ten times as fast."""
        buffer, at = self.buffer, self.at
        if _ESCAPED_NAME.search(buffer, at):
            return _MEMBER.search(buffer, at)
        name = buffer.find(b'"data"', at)
        while name >= 0:
            before = name - 1
            while before > at and buffer[before] in b" \t\r\n":
                before -= 1
            found = _MEMBER.match(buffer, before) if before >= at else None
            if found:
                return found
            name = buffer.find(b'"data"', name + 6)
        return None

    def value(self) -> bool:
        """Pass on what there is of the value."""
        end = self.buffer.find(b'"', self.at)
        closed = end >= 0
        if not closed:
            end = len(self.buffer)
        if self.buffer.find(b"\\", self.at, end) < 0:
            self.pass_on(end, _unescaped)
        else:
            found = _WITHIN_STRING.match(self.buffer, self.at)
            end = found.end() if found else self.at
            closed = end < len(self.buffer) and self.buffer[end] == 0x22
            cut = None if closed else _ESCAPE_BEGUN.search(self.buffer, max(self.at, end - 6), end)
            self.pass_on(cut.start() if cut else end, json_text)
        return self.end(self.between) if closed else False


def _unescaped(raw: bytes) -> bytes:
    # White space in a JSON string must be escaped, so the decoder may not take it for granted here.
    if len(raw.translate(None, _CONTROLS)) != len(raw):
        raise ValueError("a control character stands in a JSON string")
    return raw


def json_text(raw: bytes) -> bytes:
    r"""JSON string content without its escapes (some writers send every slash as `\/`)."""
    try:
        return str(orjson.loads(b'"' + raw + b'"')).encode("utf-8")
    except orjson.JSONDecodeError:
        raise ValueError("an escape in the JSON string is not legal") from None


# -- XML ------------------------------------------------------------------------------------------
_MARK = re.compile(rb"<(?:(!--)|(!\[CDATA\[)|(\?)|(!)|(?:[A-Za-z_][\w.-]{0,60}:)?data(?=[\s/>]))")
_MARK_LENGTH = 80
_TERMINATORS = {1: b"-->", 2: b"]]>", 3: b"?>"}
_ATTRIBUTE = re.compile(rb"\s+([\w:.-]{1,60})\s*=\s*([\"'])")
_REFERENCE = re.compile(rb"&(?:#([0-9]{1,7})|#x([0-9A-Fa-f]{1,6})|(lt|gt|amp|quot|apos));")
_REFERENCE_BEGUN = re.compile(rb"&[^;&]{0,9}\Z")
_NAMED = {b"lt": "<", b"gt": ">", b"amp": "&", b"quot": '"', b"apos": "'"}


class XmlScan(Scan):
    """Takes the `value` attributes of elements named `data`, whatever their prefix."""

    quote = b'"'

    def between(self) -> bool:
        """Copy up to the next `data` tag, over comments, CDATA and instructions."""
        found = _MARK.search(self.buffer, self.at)
        if found and found[4]:
            self.keep(found.start())
            if not self.last and len(self.buffer) - self.at < _MARK_LENGTH:
                return False  # `<!` may yet become a comment
            raise Refused(Issue(STRUCTURE, "XML with a document type declaration is not taken."))
        if found:
            self.keep(found.end())
            terminator = _TERMINATORS.get(found.lastindex or 0)
            return self.go(
                partial(self.past, terminator, self.between) if terminator else self.attributes
            )
        opened = self.buffer.rfind(b"<", self.at)
        begun = not self.last and opened >= 0 and len(self.buffer) - opened < _MARK_LENGTH
        self.keep(opened if begun else len(self.buffer))
        return False

    def past(self, terminator: bytes, then: Callable[[], bool]) -> bool:
        """Copy up to and over the terminator."""
        end = self.buffer.find(terminator, self.at)
        if end < 0:
            self.keep(len(self.buffer) - len(terminator) + 1)
            return False
        self.keep(end + len(terminator))
        return self.go(then)

    def attributes(self) -> bool:
        """Inside a `data` tag: find its `value` among its attributes."""
        found = _ATTRIBUTE.match(self.buffer, self.at)
        if found:
            self.keep(found.end())
            self.quote = found[2]
            if found[1] == b"value":
                return self.begin(self.value)
            return self.go(partial(self.past, self.quote, self.attributes))
        if self.buffer.find(b">", self.at) < 0 and len(self.buffer) - self.at < 4096:
            return False
        return self.go(self.between)

    def value(self) -> bool:
        """Pass on what there is of the value."""
        end = self.buffer.find(self.quote, self.at)
        closed = end >= 0
        if not closed:
            end = len(self.buffer)
            cut = _REFERENCE_BEGUN.search(self.buffer, max(self.at, end - 10))
            end = cut.start() if cut and not self.last else end
        self.pass_on(end, xml_text)
        return self.end(self.attributes) if closed else False


def xml_text(raw: bytes) -> bytes:
    """Attribute content without its references; only the five entities of XML are known."""
    if b"<" in raw:
        raise ValueError("'<' stands in an attribute value")
    if b"&" not in raw:
        return raw
    if _REFERENCE.sub(b"", raw).find(b"&") >= 0:
        raise ValueError("an entity in the attribute value is not known")
    return _REFERENCE.sub(_character, raw)


def _character(found: re.Match[bytes]) -> bytes:
    if found[3]:
        return _NAMED[found[3]].encode("ascii")
    return chr(int(found[1]) if found[1] else int(found[2], 16)).encode("utf-8")
