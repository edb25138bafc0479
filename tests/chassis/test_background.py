"""Work in the background ends when it is asked to, whatever swallowed the first request."""

from __future__ import annotations

import asyncio

from chassis.background import ended, repeating
from standards.outcome import BUSY, Issue, Refused


async def for_ever(swallowed: int = 0) -> None:
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            if not swallowed:
                raise
            swallowed -= 1


async def test_a_task_that_swallows_a_cancellation_is_cancelled_again() -> None:
    task = asyncio.create_task(for_ever(swallowed=1))
    await asyncio.sleep(0)
    await asyncio.wait_for(ended([task]), 5)
    assert task.cancelled()


async def test_tasks_that_are_done_or_fail_are_no_trouble() -> None:
    async def fails() -> None:
        raise ValueError("nobody's concern")

    tasks = [asyncio.create_task(fails()), asyncio.create_task(for_ever())]
    await asyncio.sleep(0)
    await asyncio.wait_for(ended(tasks), 5)
    await asyncio.wait_for(ended(tasks), 5)
    await asyncio.wait_for(ended([]), 5)
    assert all(task.done() for task in tasks)


async def test_repeated_work_goes_on_after_what_may_go_wrong_and_ends_with_its_block() -> None:
    turns = 0

    async def work() -> None:
        nonlocal turns
        turns += 1
        if turns == 1:
            raise Refused(Issue(BUSY, "try again"))
        if turns == 2:
            raise KeyError("expected here")

    async with repeating("test", work, 0.01, besides=(KeyError,)):
        while turns < 4:
            await asyncio.sleep(0.01)
    after = turns
    await asyncio.sleep(0.05)
    assert turns == after


async def test_work_that_need_not_begin_at_once_begins_after_a_pause() -> None:
    turns: list[float] = []
    clock = asyncio.get_running_loop().time

    async def work() -> None:
        turns.append(clock())

    begun = clock()
    async with repeating("test", work, 0.05, at_once=False):
        while len(turns) < 2:
            await asyncio.sleep(0.01)
    assert turns[0] - begun >= 0.05
    async with repeating("test", work, 60):
        while len(turns) < 3:
            await asyncio.sleep(0)


async def test_a_turn_that_failed_is_made_up_for_sooner_where_that_is_wanted() -> None:
    turns = 0

    async def work() -> None:
        nonlocal turns
        turns += 1
        if turns < 3:
            raise Refused(Issue(BUSY, "try again"))

    async with repeating("test", work, 60, again=0.01):
        while turns < 3:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
    assert turns == 3
