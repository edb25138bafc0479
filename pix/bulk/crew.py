"""Work on many records that other processes do: blocks go out and come back in their order. Effects:
processes.

A block is bytes both ways, for that is the cheapest that can be sent. With one process the work is done
here, which is also the better way for a few thousand records: a process needs a second to begin.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

from chassis import garbage

Work = Callable[[bytes], bytes]
Crew = Callable[[Iterable[bytes]], Iterator[bytes]]


@contextmanager
def crew(
    processes: int, work: Work, settle: Callable[..., None], *settled: object
) -> Iterator[Crew]:
    """`processes` that each call `settle(*settled)` once and then do `work` on blocks. What is given is a
    function from blocks to done blocks; twice as many as there are processes are under way at a time.

    `work` and `settle` are functions of a module, and `settled` can be pickled.
    """
    if processes < 2:
        settle(*settled)
        yield lambda blocks: map(work, blocks)
        return
    pool = ProcessPoolExecutor(processes, get_context("spawn"), _begin, (settle, settled))
    try:
        yield lambda blocks: _ahead(pool, work, blocks, processes * 2)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(settle: Callable[..., None], settled: tuple[object, ...]) -> None:
    settle(*settled)
    garbage.seldom()


def _ahead(
    pool: ProcessPoolExecutor, work: Work, blocks: Iterable[bytes], most: int
) -> Iterator[bytes]:
    under_way: deque[Future[bytes]] = deque()
    for block in blocks:
        under_way.append(pool.submit(work, block))
        if len(under_way) > most:
            yield under_way.popleft().result()
    while under_way:
        yield under_way.popleft().result()
