"""A clamd at the wire: INSTREAM over TCP or a local socket. It knows one signature, the word EVIL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Clamd:
    """`says` replaces the verdict; `hangs` never answers; `limit` is StreamMaxLength."""

    says: bytes = b""
    hangs: bool = False
    limit: int = 1 << 30
    seen: list[int] = field(default_factory=list)
    address: str = ""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One session."""
        try:
            assert await reader.readexactly(10) == b"zINSTREAM\0"
            content = b""
            while size := int.from_bytes(await reader.readexactly(4), "big"):
                content += await reader.readexactly(size)
                if len(content) > self.limit:
                    writer.write(b"INSTREAM size limit exceeded. ERROR\0")
                    return
            self.seen.append(len(content))
            if self.hangs:
                await asyncio.sleep(60)
            found = b"stream: Test.Evil-1 FOUND\0" if b"EVIL" in content else b"stream: OK\0"
            writer.write(self.says or found)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def clamd(socket: Path | None = None, **how: object) -> AsyncIterator[Clamd]:
    """A clamd that listens on a free port, or on this socket."""
    made = Clamd(**how)  # type: ignore[arg-type]
    if socket is not None:
        server = await asyncio.start_unix_server(made, str(socket))
        made.address = f"unix:{socket}"
    else:
        server = await asyncio.start_server(made, "127.0.0.1", 0)
        made.address = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
