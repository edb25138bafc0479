"""Work that goes on beside the requests: doing it again and again, and ending it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any

from pymongo.errors import PyMongoError

from chassis import telemetry
from standards.outcome import Refused

_AGAIN = 1.0


async def ended(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel these tasks and wait until they are done.

    A cancellation that arrives while a driver is putting a connection away may be swallowed, and the
    task goes on; so whoever is not done within a second is cancelled again. How a task ended is
    nobody's concern any more.
    """
    waiting = {task for task in tasks if not task.done()}
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=_AGAIN)
    for task in tasks:
        if not task.cancelled():
            task.exception()


@asynccontextmanager
async def repeating(
    name: str,
    work: Callable[[], Awaitable[object]],
    pause: float,
    *,
    at_once: bool = True,
    again: float | None = None,
    besides: tuple[type[Exception], ...] = (),
) -> AsyncIterator[None]:
    """Do this work again and again, `pause` seconds apart, for as long as the block runs.

    What MongoDB or a neighbour refuses is logged under `name`, and the next turn tries again, `again`
    seconds later where that is given; so are the exceptions `besides`. Where the first turn need not be
    `at_once`, a pause comes before it.
    """
    expected: tuple[type[Exception], ...] = (PyMongoError, Refused, *besides)

    async def for_ever() -> None:
        if not at_once:
            await asyncio.sleep(pause)
        while True:
            wait = pause
            try:
                await work()
            except expected as fault:
                telemetry.log(telemetry.BACKGROUND, work=name, fault=type(fault).__name__)
                wait = pause if again is None else again
            await asyncio.sleep(wait)

    task = asyncio.create_task(for_ever(), name=name)
    try:
        yield
    finally:
        await ended([task])
