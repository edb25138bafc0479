"""Bytes sealed in segments: AES-256-GCM, with the order of the segments and their end authentic. PURE.

A content of n bytes becomes segments of 1 MB (the last is shorter). Segment i is sealed under the
content's own data key with the nonce `00…00 | i | last` (the STREAM construction of Hoang, Reyhanitabar,
Rogaway and Vizár, 2015), so a segment that was moved, left out, added or cut off does not open. The
content's name and size are authenticated with every segment, so no segment opens under another name.
Any segment opens by itself: a byte range costs what it covers.

A data key seals exactly one content and is made afresh for every attempt to store it, which is what
makes counted nonces safe (NIST SP 800-38D 8.2.1).
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SEGMENT = 1024 * 1024
TAG = 16
KEY = 32


class BrokenSealError(Exception):
    """These bytes were not sealed under this key, name, size and place."""


def fresh_key() -> bytes:
    """A new AES-256 key."""
    return os.urandom(KEY)


class Sealing:
    """Seals and opens the segments of one content of `size` bytes, known as `name`."""

    __slots__ = ("_about", "_cipher", "last", "size")

    def __init__(self, key: bytes, name: str, size: int) -> None:
        self._cipher = AESGCM(key)
        self._about = f"throughline 1 {size} {name}".encode()
        self.size = size
        self.last = max(0, -(-size // SEGMENT) - 1)  # nothing at all is one empty segment

    def seal(self, place: int, plain: bytes) -> bytes:
        """Segment number `place`, sealed: 16 bytes longer."""
        return self._cipher.encrypt(self._nonce(place), plain, self._about)

    def open(self, place: int, sealed: bytes | memoryview) -> bytes:
        """The bytes of segment number `place`. Raises `BrokenSealError` for anything else."""
        try:
            return self._cipher.decrypt(self._nonce(place), sealed, self._about)
        except InvalidTag:
            raise BrokenSealError from None

    def covering(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """The segments that hold bytes [start, stop): (number, from, to) within each."""
        for place in range(start // SEGMENT, max(start // SEGMENT + 1, -(-stop // SEGMENT))):
            base = place * SEGMENT
            yield place, max(0, start - base), min(SEGMENT, stop - base)

    def _nonce(self, place: int) -> bytes:
        return bytes(7) + place.to_bytes(4, "big") + bytes((place == self.last,))


def lying(place: int) -> slice:
    """Where segment number `place` lies among sealed segments that stand end to end."""
    return slice(place * (SEGMENT + TAG), (place + 1) * (SEGMENT + TAG))
