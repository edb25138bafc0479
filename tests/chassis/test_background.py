"""Work in the background ends when it is asked to, whatever swallowed the first request."""

from __future__ import annotations

import asyncio

from chassis.background import ended


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
