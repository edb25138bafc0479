"""PURE. Bytes on their way through: counted and hashed, and never passed on whole unless they are right.

The last piece is held back until everything is verified. Whoever reads a document whose source sent
other bytes gets an error or an answer that ends too early, and never a whole one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha1


class DiffersError(Exception):
    """The source's bytes are not the ones that were registered. The words complete "The organisation
    that keeps this document …"."""


@dataclass(frozen=True, slots=True)
class Promise:
    """What the bytes are held to: size (None: unknown), SHA-1 in hex ("": unknown), and how many they may
    be at all. `settled` is told SHA-1 and size of bytes that were not known before, and may raise what
    `verified` does."""

    size: int | None
    sha1: str
    limit: int
    settled: Callable[[str, int], Awaitable[None]] | None = None


async def verified(pieces: AsyncIterator[bytes], promise: Promise) -> AsyncIterator[bytes]:
    """The pieces, the last one when all is as promised. Raises `DiffersError` as soon as it is not."""
    digest, count, held = sha1(usedforsecurity=False), 0, b""
    most = promise.limit if promise.size is None else min(promise.size, promise.limit)
    async for piece in pieces:
        count += len(piece)
        if count > most:
            words = "sends more bytes than were registered"
            raise DiffersError(words if promise.size is not None else "sends too much")
        digest.update(piece)
        if held and piece:  # an empty piece is not the last one to hold back
            yield held
        held = piece or held
    if promise.size is not None and count != promise.size:
        raise DiffersError("sends fewer bytes than were registered")
    if promise.sha1 and digest.hexdigest() != promise.sha1:
        raise DiffersError("sends other bytes than were registered: the hash differs")
    if promise.settled is not None:
        await promise.settled(digest.hexdigest(), count)
    if held:
        yield held
