"""Ending work that goes on beside the requests."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

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
