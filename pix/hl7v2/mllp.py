"""The listener: lines come in, messages go to the door, answers go back on the line they came from.

    async with listening(line, door): ...

A line may carry any number of messages and stay open as long as the other side likes; only a message
that has begun must end in time. The port itself says which of several processes is the door: whoever has
it serves, the others wait until it is free, so that one sender's messages are never worked on in two
processes at once.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from chassis import telemetry
from chassis.background import ended
from chassis.settings import Settings
from pix.hl7v2.admission import Peer
from pix.hl7v2.framing import Framing, NotFramed, TooLong, framed


class Answers(Protocol):
    """What is needed of the door."""

    async def answer(self, raw: bytes, peer: Peer, /) -> bytes:
        """The answer to a whole message."""
        ...

    async def refuse_length(self, began: bytes, limit: int, peer: Peer, /) -> bytes:
        """The answer to a message that is too long, of which these are the first bytes."""
        ...


_PORTION = 64 * 1024
_AGAIN = 1.0  # seconds between two looks whether the port has become free


@dataclass(frozen=True, slots=True)
class Line:
    """Where and how the door listens."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    limit: int = 1024 * 1024
    lines: int = 200
    patience: float = 30.0  # for the rest of a message that has begun, and for an answer to be read
    grace: float = 10.0  # for messages in work when the door closes


def line_of(settings: Settings) -> Line:
    """The line that the settings describe. Raises `OSError` and `ssl.SSLError` for files that cannot be
    used, `ValueError` in words for settings that do not go together."""
    return Line(
        settings.hl7v2_host,
        settings.hl7v2_port,
        server_tls(settings),
        settings.hl7v2_max_message,
        settings.hl7v2_lines,
    )


def server_tls(settings: Settings) -> ssl.SSLContext | None:
    """TLS as the settings say: both sides show a certificate, as ATNA asks (ITI TF-2a 3.19.6)."""
    if not settings.hl7v2_certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _loaded(context, settings)
    if settings.hl7v2_authority:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_tls(settings: Settings) -> ssl.SSLContext:
    """The same for lines that we open."""
    context = ssl.create_default_context(cafile=settings.hl7v2_authority or None)
    if settings.hl7v2_certificate:
        _loaded(context, settings)
    return context


def _loaded(context: ssl.SSLContext, settings: Settings) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(
        settings.hl7v2_certificate, settings.hl7v2_key.get_secret_value() or None
    )
    if settings.hl7v2_authority:
        context.load_verify_locations(settings.hl7v2_authority)


@asynccontextmanager
async def listening(line: Line, door: Answers) -> AsyncIterator[Listener]:
    """Listen for as long as the block runs; messages in work are finished before it ends.

    Raises `OSError` when the address cannot be listened on for another reason than that it is taken.
    """
    listener = Listener(line, door)
    await listener.open()
    try:
        yield listener
    finally:
        await listener.close()


@dataclass
class Listener:
    """The open lines of one process."""

    line: Line
    door: Answers
    open_: bool = False
    _server: asyncio.Server | None = None
    _waiting: asyncio.Task[None] | None = None
    _lines: dict[asyncio.Task[Any], bool] = field(
        default_factory=dict
    )  # task: a message is in work

    async def open(self) -> None:
        """Take the port, or begin to wait for it."""
        if not await self._take():
            telemetry.log(telemetry.DOOR_WAITS, port=self.line.port)
            self._waiting = asyncio.create_task(self._wait(), name="hl7v2 door")

    async def close(self) -> None:
        """No new lines, no new messages; what is in work is answered."""
        if self._waiting is not None:
            await ended([self._waiting])
        if self._server is not None:
            self._server.close()
        idle = [task for task, working in self._lines.items() if not working]
        for task in idle:
            task.cancel()
        left = set(self._lines)
        if left:
            _, late = await asyncio.wait(left, timeout=self.line.grace)
            await ended(late)

    async def _take(self) -> bool:
        try:
            self._server = await asyncio.start_server(
                self._connected, self.line.host, self.line.port, ssl=self.line.tls,
                limit=_PORTION, ssl_handshake_timeout=10 if self.line.tls else None,
            )  # fmt: skip
        except OSError as fault:
            if fault.errno != errno.EADDRINUSE:
                raise
            return False
        self.open_ = True
        telemetry.log(
            telemetry.DOOR, host=self.line.host, port=self.line.port, tls=int(bool(self.line.tls))
        )
        return True

    async def _wait(self) -> None:
        taken = False
        while not taken:
            await asyncio.sleep(_AGAIN)
            taken = await self._take()

    # -- one line -----------------------------------------------------------------------------------

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a line is served by a task")
        try:
            if len(self._lines) >= self.line.lines:
                telemetry.log(telemetry.LINE_ENDED, reason="too many lines")
                return
            self._lines[task] = False
            await self._speak(task, reader, writer)
        except (NotFramed, TooLong) as fault:
            reason = "too long" if isinstance(fault, TooLong) else "not framed"
            telemetry.log(telemetry.LINE_ENDED, reason=reason)
            if isinstance(fault, TooLong):
                with suppress(OSError, TimeoutError):
                    await self._say(
                        writer,
                        await self.door.refuse_length(fault.began, self.line.limit, _peer(writer)),
                    )
        except TimeoutError:
            telemetry.log(telemetry.LINE_ENDED, reason="too slow")
        except (OSError, asyncio.IncompleteReadError):
            pass  # the other side is gone; what it sent whole was worked on, and can be sent again
        except asyncio.CancelledError:
            pass  # the door closes; the line ends between two messages
        finally:
            self._lines.pop(task, None)
            writer.close()
            with suppress(OSError, TimeoutError, asyncio.CancelledError):
                await asyncio.wait_for(writer.wait_closed(), 2.0)

    async def _speak(
        self, task: asyncio.Task[Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        framing, peer = Framing(self.line.limit), _peer(writer)
        while True:
            patience = self.line.patience if framing.inside else None
            async with asyncio.timeout(patience):
                data = await reader.read(_PORTION)
            if not data:
                return
            for message in framing.feed(data):
                self._lines[task] = True
                await self._say(writer, await self.door.answer(message, peer))
                self._lines[task] = False

    async def _say(self, writer: asyncio.StreamWriter, answer: bytes) -> None:
        writer.write(framed(answer))
        async with asyncio.timeout(self.line.patience):
            await writer.drain()


def _peer(writer: asyncio.StreamWriter) -> Peer:
    address = writer.get_extra_info("peername")
    shown = str(address[0]) if address else ""
    tls: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
    if tls is None:
        return Peer(shown)
    certificate = tls.getpeercert(binary_form=True)
    if certificate is None:
        return Peer(shown, ())
    subject = (tls.getpeercert() or {}).get("subject", ())
    names = [str(pair[1]) for rdn in subject for pair in rdn if pair[0] == "commonName"]
    return Peer(shown, (*names, hashlib.sha256(certificate).hexdigest()))
