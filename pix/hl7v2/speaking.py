"""The calling side of a line: say a message, hear its acknowledgement."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from pix.hl7v2.framing import Framing, NotFramed, TooLong, framed

_LARGEST = 4 * 1024 * 1024


class Unanswered(Exception):  # noqa: N818  the line, not the message
    """The other side could not be reached, ended the line, or did not answer in time. `why` is a word
    for logs, without any payload."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Line:
    """One open line. Messages go one after the other: each waits for its answer."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, patience: float
    ) -> None:
        self._reader, self._writer, self._patience = reader, writer, patience
        self._framing = Framing(_LARGEST)

    async def say(self, message: bytes) -> bytes:
        """The answer to this message. Raises `Unanswered`; the line is of no more use then."""
        try:
            async with asyncio.timeout(self._patience):
                self._writer.write(framed(message))
                await self._writer.drain()
                while True:
                    data = await self._reader.read(64 * 1024)
                    if not data:
                        raise Unanswered("the line was ended")
                    for answer in self._framing.feed(data):
                        return answer
        except TimeoutError:
            raise Unanswered("no answer in time") from None
        except (NotFramed, TooLong):
            raise Unanswered("the answer is not framed") from None
        except OSError as fault:
            raise Unanswered(fault.strerror or type(fault).__name__) from fault

    async def close(self) -> None:
        """End the line."""
        self._writer.close()
        with suppress(OSError, TimeoutError):
            await asyncio.wait_for(self._writer.wait_closed(), 2.0)


async def opened(
    host: str, port: int, tls: ssl.SSLContext | None = None, *, patience: float = 30.0
) -> Line:
    """A line to a listener. Raises `Unanswered` when it cannot be opened."""
    try:
        async with asyncio.timeout(min(patience, 10.0)):
            reader, writer = await asyncio.open_connection(host, port, ssl=tls)
    except TimeoutError:
        raise Unanswered("no connection in time") from None
    except (OSError, ssl.SSLError) as fault:
        raise Unanswered(fault.strerror or type(fault).__name__) from fault
    return Line(reader, writer, patience)


@asynccontextmanager
async def speaking(
    host: str, port: int, tls: ssl.SSLContext | None = None, *, patience: float = 30.0
) -> AsyncIterator[Line]:
    """A line for as long as the block runs."""
    line = await opened(host, port, tls, patience=patience)
    try:
        yield line
    finally:
        await line.close()
