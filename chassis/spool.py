"""Request bodies in constant memory: document bytes go to a spool while the rest is read.

An ITI-65 body is a small Bundle around large base64 strings. `read_body` copies the Bundle and takes
every string value of a `data` member (JSON) or `<data value="…"/>` (XML) off into an `Attachment`,
decoded and hashed on the way; in its place stays a token that nobody can guess and that is legal
base64. `settle` then leaves tokens only in `Binary.data`, so that handlers meet them nowhere else.

    pieces ──► scan ──► remaining body (≤ max_body) ──► parser ──► settle ──► handler
                └─────► base64 ──► sha1, sha256, spool ──► Attachment ───────────┘
"""

from __future__ import annotations

import binascii
import re
import zlib
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
)
from pathlib import Path
from typing import Any, Literal

from chassis.attachment import Attachment, too_long
from chassis.scan import JsonScan, XmlScan, json_text, xml_text
from standards.outcome import MEDIA_TYPE, STRUCTURE, TOO_LONG, VALUE, Issue, Refused

__all__ = ["Attachment", "by_token", "read_body", "read_plain", "settle", "stream_body"]

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Kind = Literal["json", "xml"]

PIECE = 128 * 1024  # how much is scanned, decoded and hashed between two awaits
FREE_INFLATION = 8 * 1024 * 1024  # a gzip body may unpack to this much…
INFLATION = 100  # …and beyond it to this many times its own size


async def read_body(
    receive: Receive,
    *,
    kind: Kind,
    max_body: int,
    max_document: int,
    spool_dir: Path | None = None,
    encoding: str = "",
    max_total: int = 0,
) -> tuple[bytes, tuple[Attachment, ...]]:
    """Read an ASGI body that carries documents: (the body with tokens, the attachments).

    `max_body` bounds the body without document bytes, `max_document` one document, `max_total` all of
    them (0: four times `max_document`); beyond any of them `Refused(TOO_LONG)` before more is read.
    `encoding` is the request's Content-Encoding, `spool_dir` an existing folder for large bodies
    (None: the system's). The caller closes the attachments; when this function raises, it has done
    so itself. The body is not otherwise judged: parse it, then `settle` what was parsed.
    """
    scan = JsonScan if kind == "json" else XmlScan
    reading = scan(max_body, max_document, max_total or 4 * max_document, spool_dir)
    try:
        async for piece in _pieces(receive, encoding):
            reading.feed(piece)
        return reading.finish()
    except BaseException:
        reading.discard()
        raise


async def read_plain(receive: Receive, max_body: int, encoding: str = "") -> bytes:
    """Read a whole ASGI body; `Refused(TOO_LONG)` as soon as it is longer than `max_body` bytes."""
    parts: list[bytes] = []
    size = 0
    async for piece in _pieces(receive, encoding):
        size += len(piece)
        if size > max_body:
            raise too_long("The body", max_body)
        parts.append(piece)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def stream_body(receive: Receive, max_body: int, encoding: str = "") -> AsyncIterator[bytes]:
    """An ASGI body as it comes, in pieces; `Refused(TOO_LONG)` as soon as it is over `max_body` bytes."""
    size = 0
    async for piece in _pieces(receive, encoding):
        size += len(piece)
        if size > max_body:
            raise too_long("The body", max_body)
        yield piece


def by_token(attachments: Iterable[Attachment]) -> dict[str, Attachment]:
    """The attachments of a call by the token that stands for each in `Binary.data`."""
    return {attachment.token: attachment for attachment in attachments}


BINARIES = ("Binary.data", "Bundle.entry.resource.data")


def settle(
    resource: dict[str, Any],
    attachments: Iterable[Attachment],
    kind: Kind = "json",
    places: Iterable[str] = BINARIES,
) -> None:
    """Leave tokens at these paths only; call it on every parsed body that `read_body` read.

    `data` elements elsewhere (Attachment, Signature, SampledData) get back what was sent. Where a path
    leads to a resource, only a Binary has documents. `Refused` names every document that is not base64,
    with its FHIRPath.
    """
    waiting = by_token(attachments)
    issues: list[Issue] = []
    for where, data in _documents(resource, places):
        taken = waiting.pop(data, None)
        if taken is None:
            issues.append(Issue(VALUE, "The document is not base64 (RFC 4648 section 4).", where))
        elif taken.fault:
            issues.append(taken.issue(where))
    if issues:
        raise Refused(issues)
    if waiting:
        _put_back(resource, waiting, kind)


def _documents(resource: Mapping[str, Any], places: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Every value at these paths that can carry a document, with its FHIRPath."""
    for place in places:
        kind, *steps, last = place.split(".")
        holders: list[tuple[str, Any]] = [(kind, resource)]
        for step in steps if resource.get("resourceType") == kind else ():
            holders = [below for where, held in holders for below in _below(held, step, where)]
        for where, held in holders if resource.get("resourceType") == kind else ():
            data = held.get(last)
            if held.get("resourceType", "Binary") == "Binary" and isinstance(data, str):
                yield f"{where}.{last}", data


def _below(held: Mapping[str, Any], step: str, where: str) -> Iterator[tuple[str, Any]]:
    value = held.get(step)
    if isinstance(value, dict):
        yield f"{where}.{step}", value
    for n, member in enumerate(value if isinstance(value, list) else ()):
        if isinstance(member, dict):
            yield f"{where}.{step}[{n}]", member


def _put_back(resource: dict[str, Any], waiting: Mapping[str, Attachment], kind: Kind) -> None:
    """Replace tokens, also inside longer strings (a narrative), by what was sent."""
    prefix = next(iter(waiting))[:-8]
    token = re.compile(re.escape(prefix) + "[0-9]{8}")

    def original(found: re.Match[str]) -> str:
        taken = waiting.get(found[0])
        return _as_sent(taken, kind) if taken else found[0]

    ahead: list[Any] = [resource]
    while ahead:
        node = ahead.pop()
        for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
            if isinstance(value, str):
                if prefix in value:
                    node[key] = token.sub(original, value)
            elif isinstance(value, dict | list):
                ahead.append(value)


def _as_sent(taken: Attachment, kind: Kind) -> str:
    if taken.sent is None:
        return binascii.b2a_base64(b"".join(taken.chunks()), newline=False).decode("ascii")
    try:
        return (json_text if kind == "json" else xml_text)(taken.sent).decode("utf-8")
    except ValueError as fault:
        raise Refused(Issue(STRUCTURE, f"A data value cannot be read: {fault}.")) from fault


# -- from the socket to pieces of one size --------------------------------------------------------
async def _pieces(receive: Receive, encoding: str) -> AsyncIterator[bytes]:
    """The body in pieces of at most PIECE bytes, tiny chunks gathered, gzip undone."""
    named = encoding.strip().lower()
    if named in ("", "identity"):
        plain = _received(receive)
    elif named in ("gzip", "x-gzip"):
        plain = _inflated(_received(receive))
    else:
        raise Refused(
            Issue(MEDIA_TYPE, f"Content-Encoding {named!r} is not taken; send gzip or none."),
            headers={"Accept-Encoding": "gzip"},
        )
    gathered: list[bytes] = []
    size = 0
    async for chunk in plain:
        gathered.append(chunk)
        size += len(chunk)
        if size >= PIECE:
            whole = memoryview(gathered[0] if len(gathered) == 1 else b"".join(gathered))
            for at in range(0, size, PIECE):
                yield bytes(whole[at : at + PIECE])
            gathered, size = [], 0
    if size:
        yield gathered[0] if len(gathered) == 1 else b"".join(gathered)


async def _received(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(
                Issue(STRUCTURE, "The connection closed before the whole body had arrived.")
            )
        chunk = message.get("body", b"")
        if chunk:
            yield chunk
        if not message.get("more_body", False):
            return


async def _inflated(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Undo gzip piece by piece; a body that swells beyond all reason is refused while it does."""
    engine = zlib.decompressobj(31)
    came = went = 0
    async for chunk in chunks:
        came += len(chunk)
        rest = chunk
        while rest:
            if engine.eof:  # another member follows (RFC 1952 section 2.2)
                engine = zlib.decompressobj(31)
            try:
                piece = engine.decompress(rest, PIECE)
            except zlib.error as fault:
                raise Refused(
                    Issue(STRUCTURE, "The body is not gzip, though its header says so.")
                ) from fault
            rest = engine.unused_data if engine.eof else engine.unconsumed_tail
            went += len(piece)
            if went > FREE_INFLATION and went > came * INFLATION:
                raise Refused(
                    Issue(TOO_LONG, f"The gzip body unpacks to over {INFLATION} times its size.")
                )
            if piece:
                yield piece
    if not engine.eof:
        raise Refused(Issue(STRUCTURE, "The gzip body ends in the middle."))
