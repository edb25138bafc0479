"""Conditional and range requests on a document (RFC 9110 sections 13 and 14). PURE."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from standards.outcome import RANGE, Issue, Refused

_ONE_RANGE = re.compile(r"bytes[ \t]*=[ \t,]*([0-9]*)-([0-9]*)[ \t,]*", re.IGNORECASE)
_TAG = re.compile(r'(W/)?"[\x21\x23-\x7e\x80-\xff]*"')


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes [start, stop) of a document of `size` bytes; `partial` when they were asked for."""

    start: int
    stop: int
    size: int
    partial: bool = False

    @property
    def length(self) -> int:
        """How many bytes."""
        return self.stop - self.start

    @property
    def content_range(self) -> str:
        """The Content-Range header of a 206."""
        return f"bytes {self.start}-{self.stop - 1}/{self.size}"


def span(headers: Mapping[str, str], size: int, etag: str) -> Span:
    """What part of the document these request headers ask for.

    One range is served. Several ranges, other units, an illegal Range and one whose If-Range does not
    hold are answered with the whole document, as RFC 9110 14.2 allows. `Refused(RANGE)`, 416, when the
    range lies beyond the end.
    """
    whole = Span(0, size, size)
    found = _ONE_RANGE.fullmatch(headers.get("range", "").strip())
    if found is None or not (found[1] or found[2]):
        return whole
    if "if-range" in headers and headers["if-range"].strip() != etag:
        return whole
    if not found[1]:
        start, stop = max(0, size - _number(found[2])), size
    else:
        start = _number(found[1])
        stop = min(size, _number(found[2]) + 1) if found[2] else size
        if found[2] and _number(found[2]) < start:
            return whole
    if start >= size or start >= stop:
        raise Refused(
            Issue(RANGE, f"The document has {size} bytes; the range lies beyond them.", "Range"),
            headers={"Content-Range": f"bytes */{size}"},
        )
    return Span(start, stop, size, partial=True)


def unchanged(headers: Mapping[str, str], etag: str) -> bool:
    """Whether If-None-Match names this tag, so that the answer is 304 (weak comparison, 13.1.2)."""
    asked = headers.get("if-none-match", "").strip()
    if asked == "*":
        return True
    opaque = etag.removeprefix("W/")
    return any(tag[0].removeprefix("W/") == opaque for tag in _TAG.finditer(asked))


def _number(digits: str) -> int:
    # Longer numbers than any file has; int() of a megabyte of digits would be an attack.
    return int(digits) if len(digits) <= 18 else 10**18
