"""Writers of one person take turns within a process.

MongoDB would make them run again until each has won (and across processes it does); thirty-two
records of one person that arrive together, or of one hostel, would each be tried many times. Waiting
is cheaper.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Turn:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    wanted: int = 0


class Turns:
    """One lock for each key that somebody holds or waits for, and none for any other."""

    def __init__(self) -> None:
        self._turns: dict[str, _Turn] = {}

    @asynccontextmanager
    async def of(self, keys: Iterable[str]) -> AsyncIterator[None]:
        """Hold the turn of all these keys; always taken in one order, so that nobody waits in a ring."""
        order = sorted(set(keys))
        turns = [self._turn(key) for key in order]
        held: list[_Turn] = []
        try:
            for turn in turns:
                await turn.lock.acquire()
                held.append(turn)
            yield
        finally:
            for turn in held:
                turn.lock.release()
            for key, turn in zip(order, turns, strict=True):
                turn.wanted -= 1
                if not turn.wanted:
                    del self._turns[key]

    def _turn(self, key: str) -> _Turn:
        turn = self._turns.get(key)
        if turn is None:
            turn = self._turns[key] = _Turn()
        turn.wanted += 1
        return turn
