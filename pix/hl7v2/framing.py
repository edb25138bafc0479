"""The minimal lower layer protocol: where a message begins and ends on a line. PURE.

    0x0B  message  0x1C 0x0D

Bytes come in any portions; several messages may come in one. Between messages only line ends are let
pass: anything else means that the two sides do not agree where messages begin, and such a line is ended.
"""

from __future__ import annotations

from collections.abc import Iterator

START, END = b"\x0b", b"\x1c\x0d"
_BETWEEN = b"\r\n\x00 \t"


class NotFramed(Exception):  # noqa: N818  what the other side did, not a fault of ours
    """Bytes came outside a frame; the line cannot be read any further."""


class TooLong(Exception):  # noqa: N818  as above
    """A message is longer than is taken. `began` are its first bytes, enough to answer to."""

    def __init__(self, began: bytes) -> None:
        super().__init__("too long")
        self.began = began


def framed(message: bytes) -> bytes:
    """A message as it goes on the line."""
    return START + message + END


class Framing:
    """The reading side of one line. `inside` is True while a message has begun and not ended."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.inside = False
        self._held = bytearray()
        self._looked = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The messages that these bytes complete. Raises `NotFramed` and `TooLong`, after the messages
        that were whole before."""
        self._held += data
        while self._held:
            if not self.inside:
                stripped = self._held.lstrip(_BETWEEN)
                if not stripped:
                    self._held.clear()
                    return
                if stripped[:1] != START:
                    raise NotFramed
                self._held = bytearray(stripped[1:])
                self.inside, self._looked = True, 0
            end = self._held.find(END, max(0, self._looked - 1))
            if end < 0 or end > self.limit:
                self._looked = len(self._held)
                if len(self._held) > self.limit:
                    raise TooLong(bytes(self._held[:4096]))
                return
            message = bytes(self._held[:end])
            del self._held[: end + len(END)]
            self.inside = False
            yield message
