"""Scanning for malware: clamd's INSTREAM over TCP or a local socket (clamd(8)).

zINSTREAM NUL, then chunks of <length, 4 bytes big-endian><bytes>, then a length of 0
answers:  stream: OK NUL  |  stream: NAME FOUND NUL  |  … ERROR NUL
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

_FOUND = re.compile(r"stream: (.+) FOUND")
_ANSWER = 4096
_CHUNK = 64 * 1024


class AwayError(Exception):
    """The scanner does not answer, or not with a verdict."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the scanner found: the name of what it recognised, "" for nothing."""

    found: str

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.found


Scanner = Callable[[AsyncIterator[bytes]], Awaitable[Verdict]]
"""Looks at one document. Raises `AwayError` when there is no verdict to be had."""


class Clamd:
    """A clamd at an address."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]],
        *,
        seconds: float = 30.0,
    ) -> None:
        self._connect, self._seconds = connect, seconds

    async def __call__(self, content: AsyncIterator[bytes]) -> Verdict:
        """The verdict on these bytes. Every step has the deadline; raises `AwayError`."""
        try:
            async with asyncio.timeout(self._seconds):
                reader, writer = await self._connect()
        except (OSError, TimeoutError) as fault:
            raise AwayError(type(fault).__name__) from fault
        try:
            return _verdict(await self._asked(reader, writer, content))
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as fault:
            raise AwayError(type(fault).__name__) from fault
        finally:
            writer.close()

    async def _asked(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        content: AsyncIterator[bytes],
    ) -> str:
        writer.write(b"zINSTREAM\0")
        async for piece in content:
            for at in range(0, len(piece), _CHUNK):
                part = piece[at : at + _CHUNK]
                writer.write(len(part).to_bytes(4, "big") + part)
                async with asyncio.timeout(self._seconds):
                    await writer.drain()
        writer.write(bytes(4))
        async with asyncio.timeout(self._seconds):
            await writer.drain()
            return (await reader.readuntil(b"\0")).rstrip(b"\0\n").decode("utf-8", "replace")


def scanner(address: str) -> Scanner | None:
    """The scanner at `tcp://host:port` or `unix:/path`; None for "". Raises `ValueError` for another."""
    if not address:
        return None
    parts = urlsplit(address)
    if parts.scheme == "unix" and parts.path:
        return Clamd(lambda: asyncio.open_unix_connection(parts.path, limit=_ANSWER))
    if parts.scheme == "tcp" and parts.hostname and parts.port:
        host, port = parts.hostname, parts.port
        return Clamd(lambda: asyncio.open_connection(host, port, limit=_ANSWER))
    raise ValueError(f"{address!r} is no scanner; give tcp://host:port or unix:/path/to/clamd.ctl.")


def _verdict(answer: str) -> Verdict:
    found = _FOUND.fullmatch(answer)
    if found:
        return Verdict(found[1])
    if answer == "stream: OK":
        return Verdict("")
    raise AwayError(answer.rpartition(" ")[2] or "no answer")
