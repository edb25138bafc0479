"""A small HTTP/1.1 load client: keep-alive connections, prepared requests, every answer checked.

The client shares the machine with the server, so it is a bare asyncio protocol: no header objects,
no URL parsing, one write and one parse per request. Rates are what the machine gives both of them;
CPU per request (from /proc) is the server's alone and the figure to compare.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

Check = Callable[[int, bytes], bool]
Prepare = Callable[[int], bytes]
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Measured:
    """One workload at one concurrency: counts, latencies in ms, CPU in µs per request."""

    clients: int
    requests: int
    wrong: int
    seconds: float
    p50: float
    p99: float
    server_cpu: float
    database_cpu: float

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.buffer = bytearray()
        self.answer: asyncio.Future[tuple[int, bytes]] | None = None
        self.need = -1
        self.status = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(
                exc or ConnectionResetError("the server closed the connection")
            )

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            if self.need < 0:
                end = self.buffer.find(b"\r\n\r\n")
                if end < 0:
                    return
                head = bytes(self.buffer[:end]).lower()
                self.status = int(head[9:12])
                at = head.find(b"content-length:")
                if at >= 0:
                    self.need = int(head[at + 15 :].split(b"\r\n", 1)[0])
                elif b"transfer-encoding: chunked" in head:
                    self.need = -2
                else:
                    self.need = 0
                del self.buffer[: end + 4]
            if self.need == -2:
                if not self.buffer.endswith(b"0\r\n\r\n"):
                    return
                body = bytes(self.buffer)
                self.buffer.clear()
            elif len(self.buffer) < self.need:
                return
            else:
                body = bytes(self.buffer[: self.need])
                del self.buffer[: self.need]
            self.need = -1
            if self.answer is not None:
                self.answer.set_result((self.status, body))
            return

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        assert self.transport is not None
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self.answer


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time these processes have used so far."""
    total = 0.0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except FileNotFoundError:
            continue
        total += (int(fields[11]) + int(fields[12])) / _TICK
    return total


async def run(
    address: tuple[str, int],
    prepare: Prepare,
    check: Check,
    *,
    clients: int,
    seconds: float,
    server: Sequence[int],
    database: Sequence[int],
) -> Measured:
    """Ask for `seconds` over `clients` connections, after a tenth of that to warm up."""
    loop = asyncio.get_running_loop()
    connections = []
    for _ in range(clients):
        _, connection = await loop.create_connection(_Connection, *address)
        connections.append(connection)
    counter = iter(range(1 << 60))
    taken: list[float] = []
    wrong = 0

    async def drive(connection: _Connection, until: float, keep: bool) -> None:
        nonlocal wrong
        while time.perf_counter() < until:
            request = prepare(next(counter))
            begun = time.perf_counter()
            status, body = await connection.ask(request)
            if keep:
                taken.append(time.perf_counter() - begun)
            if not check(status, body):
                wrong += 1

    warm = time.perf_counter() + seconds / 10
    await asyncio.gather(*(drive(c, warm, False) for c in connections))
    served, stored = cpu_seconds(server), cpu_seconds(database)
    begun = time.perf_counter()
    await asyncio.gather(*(drive(c, begun + seconds, True) for c in connections))
    lasted = time.perf_counter() - begun
    served, stored = cpu_seconds(server) - served, cpu_seconds(database) - stored
    for connection in connections:
        assert connection.transport is not None
        connection.transport.close()
    taken.sort()
    count = len(taken)
    return Measured(
        clients, count, wrong, lasted,
        taken[count // 2] * 1000, taken[min(count - 1, int(count * 0.99))] * 1000,
        served / count * 1e6, stored / count * 1e6,
    )  # fmt: skip


def request(method: str, path: str, token: str = "", body: bytes = b"", media: str = "") -> bytes:
    """The bytes of one HTTP/1.1 request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: exchange\r\nAccept: application/fhir+json\r\n"
    if token:
        head += f"Authorization: Bearer {token}\r\n"
    if body:
        head += f"Content-Type: {media}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body
