"""Questions that go to MongoDB together: each gets its own answer, and none waits for a timer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from chassis.mongo import Gathered


class Desk:
    """Doubles numbers, a batch at a time, when it is let go on; refuses odd hundreds."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.open = asyncio.Event()
        self.open.set()

    async def act(self, asked: Sequence[int]) -> list[int]:
        """The doubles of a batch."""
        self.batches.append(list(asked))
        await self.open.wait()
        if any(n >= 100 for n in asked):
            raise ValueError(f"{max(asked)} is too large")
        return [2 * n for n in asked]


async def test_what_is_asked_while_a_command_is_in_the_air_goes_in_the_next() -> None:
    desk = Desk()
    gathered: Gathered[int, int] = Gathered(desk.act, largest=4, flights=1)
    desk.open.clear()
    asking = [asyncio.create_task(gathered.get(n)) for n in range(10)]
    await asyncio.sleep(0.01)
    desk.open.set()
    assert await asyncio.gather(*asking) == [2 * n for n in range(10)]
    assert [len(batch) for batch in desk.batches] == [4, 4, 2]


async def test_one_question_alone_is_asked_at_once() -> None:
    desk = Desk()
    gathered: Gathered[int, int] = Gathered(desk.act)
    assert await gathered.get(3) == 6
    assert await gathered.get(4) == 8
    assert desk.batches == [[3], [4]]


async def test_one_that_fails_does_not_fail_its_neighbours() -> None:
    desk = Desk()
    gathered: Gathered[int, int] = Gathered(desk.act, flights=1)
    told = await asyncio.gather(*(gathered.get(n) for n in (1, 2, 300)), return_exceptions=True)
    assert told[:2] == [2, 4]
    assert isinstance(told[2], ValueError)
    assert await gathered.get(5) == 10


async def test_who_goes_away_takes_nobody_along() -> None:
    desk = Desk()
    gathered: Gathered[int, int] = Gathered(desk.act, flights=1)
    desk.open.clear()
    first, second, third = (asyncio.create_task(gathered.get(n)) for n in (1, 2, 3))
    await asyncio.sleep(0.01)
    first.cancel()
    second.cancel()
    await asyncio.sleep(0.01)
    desk.open.set()
    assert await third == 6
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_no_more_commands_are_in_the_air_than_allowed() -> None:
    desk = Desk()
    gathered: Gathered[int, int] = Gathered(desk.act, largest=1, flights=2)
    desk.open.clear()
    asking = [asyncio.create_task(gathered.get(n)) for n in range(6)]
    await asyncio.sleep(0.01)
    assert len(desk.batches) == 2
    desk.open.set()
    assert await asyncio.gather(*asking) == [0, 2, 4, 6, 8, 10]


async def test_a_question_at_the_very_end_of_a_flight_is_not_forgotten() -> None:
    desk = Desk()
    gathered: Gathered[int, int] = Gathered(desk.act, flights=1)

    async def asking(turns: int) -> int:
        for _ in range(turns):  # so many turns of the loop later than the others
            await asyncio.sleep(0)
        return await gathered.get(turns)

    async with asyncio.timeout(5):
        told = await asyncio.gather(*(asking(turns) for turns in range(60)))
    assert told == [2 * turns for turns in range(60)]
