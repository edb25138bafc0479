"""Audit before the answer: the AuditEvents of a request are durable before its response leaves.

Concurrent requests share one write by single flight: while one batch is in the air the next gathers,
so nobody waits for a timer and at 64 clients an event costs an eighth of what it costs alone
(design §5). When the audit store cannot be reached, the writer keeps trying for `patience` seconds,
which a change of primary fits into; after that its waiters get `AuditFailed` and the chassis answers
503. Sending a batch twice is harmless: a sink keeps an event once per id.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from chassis import telemetry
from chassis.mongo import unavailable
from standards.outcome import BUSY, Issue, Refused

Event = Mapping[str, Any]
_BACKOFF = (0.05, 0.1, 0.2, 0.5, 1.0)


class AuditFailed(Refused):
    """The events could not be made durable in time; nothing may be answered (503)."""

    def __init__(self) -> None:
        super().__init__(
            Issue(
                BUSY,
                "The request could not be recorded for audit, so it is not answered; send it again.",
            )
        )


class Sink(Protocol):
    """Where AuditEvents are kept.

    `append` returns when every event of the batch is durable and can be found; an event whose id is
    already kept is skipped. It raises `Refused` with 503, or what `chassis.mongo.unavailable` knows,
    when trying again may help.
    """

    async def append(self, batch: Sequence[Event]) -> None:
        """Keep these events."""
        ...


class Poster(Protocol):
    """What is needed of `chassis.far.Far`."""

    async def post(self, path: str, body: Any, /) -> Any:
        """POST JSON to a neighbour and give back its JSON."""
        ...


class FarSink:
    """The audit service of another process, reached over HTTP."""

    def __init__(self, far: Poster) -> None:
        self._far = far

    async def append(self, batch: Sequence[Event]) -> None:
        """Keep these events there; returns when they are durable there."""
        await self._far.post("/internal/audit/append", {"events": [dict(event) for event in batch]})


@dataclass(frozen=True, slots=True)
class _Waiter:
    events: tuple[Event, ...]
    since: float
    done: asyncio.Future[None]


class AuditWriter:
    """The group commit before a sink. One per process and sink; made and used inside one event loop."""

    def __init__(self, sink: Sink, *, patience: float = 15.0, largest: int = 256) -> None:
        self._sink = sink
        self._patience = patience
        self._largest = largest
        self._waiting: deque[_Waiter] = deque()
        self._runner: asyncio.Task[None] | None = None
        self.listeners: list[Callable[[Sequence[Event]], None]] = []  # told of every durable batch
        self.recorded = 0
        self.batches = 0

    async def record(self, *events: Event) -> None:
        """Return when all these events are durable.

        Raises `AuditFailed` when the sink could not be reached in time, and what the sink raised when
        it will not take the events. A caller that is cancelled does not take its events back.
        """
        if not events:
            return
        loop = asyncio.get_running_loop()
        waiter = _Waiter(events, loop.time(), loop.create_future())
        # When nobody listens any more (the client went away), a failure is not an unretrieved fault.
        waiter.done.add_done_callback(lambda future: future.cancelled() or future.exception())
        self._waiting.append(waiter)
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run(), name="audit group commit")
        await asyncio.shield(waiter.done)

    async def close(self) -> None:
        """Wait until everything that was handed in is recorded or refused."""
        while self._runner is not None and not self._runner.done():
            await asyncio.wait({self._runner})

    async def _run(self) -> None:
        group: list[_Waiter] = []
        try:
            while self._waiting:
                group = self._gather()
                await self._commit(group)
        except asyncio.CancelledError:
            for waiter in (*group, *self._waiting):
                _settle(waiter, AuditFailed())
            self._waiting.clear()
            raise

    def _gather(self) -> list[_Waiter]:
        group = [self._waiting.popleft()]
        size = len(group[0].events)
        while self._waiting and size + len(self._waiting[0].events) <= self._largest:
            group.append(self._waiting.popleft())
            size += len(group[-1].events)
        return group

    async def _commit(self, group: list[_Waiter]) -> None:
        try:
            await self._append(
                [event for waiter in group for event in waiter.events], group[0].since
            )
        except Exception as fault:
            if len(group) > 1 and not _may_pass(fault):
                # One event that the sink will not take must not fail its neighbours.
                for waiter in group:
                    await self._commit([waiter])
                return
            refusal = AuditFailed() if _may_pass(fault) else fault
            refusal.__cause__ = fault if refusal is not fault else fault.__cause__
            for waiter in group:
                _settle(waiter, refusal)
        else:
            for waiter in group:
                _settle(waiter)

    async def _append(self, batch: Sequence[Event], since: float) -> None:
        deadline = since + self._patience
        attempt = 0
        while True:
            try:
                await self._sink.append(batch)
            except Exception as fault:
                left = deadline - asyncio.get_running_loop().time()
                if not _may_pass(fault) or left <= 0:
                    raise
                pause = _BACKOFF[min(attempt, len(_BACKOFF) - 1)]
                await asyncio.sleep(min(left, pause * random.uniform(0.5, 1.0)))  # noqa: S311
                attempt += 1
            else:
                self.recorded += len(batch)
                self.batches += 1
                telemetry.AUDIT_BATCH.observe(len(batch))
                for listener in self.listeners:
                    listener(batch)
                return


def _may_pass(fault: Exception) -> bool:
    if isinstance(fault, Refused):
        return fault.status() == BUSY.http
    return unavailable(fault) or isinstance(fault, TimeoutError)


def _settle(waiter: _Waiter, fault: Exception | None = None) -> None:
    if waiter.done.done():
        return
    if fault is None:
        waiter.done.set_result(None)
    else:
        waiter.done.set_exception(fault)
