"""Writers of one person take turns within a process.

MongoDB would make them run again until each has won (and across processes it does); thirty-two
records of one person that arrive together would each be tried many times. Waiting is cheaper.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

_STRIPES = 1024


class Turns:
    """A fixed set of locks that keys are spread over."""

    def __init__(self) -> None:
        self._locks = tuple(asyncio.Lock() for _ in range(_STRIPES))

    @asynccontextmanager
    async def of(self, keys: Iterable[str]) -> AsyncIterator[None]:
        """Hold the turn of all these keys; always taken in one order, so that nobody waits in a ring."""
        places = sorted({hash(key) % _STRIPES for key in keys})
        async with AsyncExitStack() as held:
            for place in places:
                await held.enter_async_context(self._locks[place])
            yield
