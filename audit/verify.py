"""Is the audit trail what was written? Walks every chain and names what is wrong.

Reads only, in pages, so it runs beside a working exchange and in constant memory. Heads that were noted
elsewhere (anchors, later announcements, and log lines that an operator hands in, see `heads_in_log`)
are compared as well, because only they can show that the end of a chain is gone.
"""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from audit.chain import Break, Head, Link, Walker, seed
from audit.events import Events, closing_id, parse
from audit.facets import index
from chassis import telemetry
from chassis.mongo import Doc

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Report:
    """What the check found. `breaks` stops at `limit` of `verify`; the first one names the place."""

    chains: int
    records: int
    breaks: tuple[Break, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.breaks


async def verify(events: Events, *, heads: Iterable[Head] = (), limit: int = 100) -> Report:
    """Check every chain, each record's index values, and that no record is outside a chain.

    `heads` are places known from outside the database: the `head of an audit chain` lines of the log.
    """
    chains = records = 0
    breaks: list[Break] = []
    async for found in _everything(events, list(heads)):
        if isinstance(found, Break):
            breaks.append(found)
            if len(breaks) >= limit:
                break
        elif found == "record":
            records += 1
        else:
            chains += 1
    return Report(chains, records, tuple(breaks))


async def verify_chain(events: Events, chain: str, *, heads: Iterable[Head] = ()) -> Report:
    """As `verify`, for one chain."""
    announced = await events.announcements.one({"_id": chain})
    if announced is None:
        return Report(0, 0, (Break(chain, 0, "unannounced", "no such chain was announced"),))
    records = 0
    breaks: list[Break] = []
    async for found in _one(events, announced, list(heads)):
        if isinstance(found, Break):
            breaks.append(found)
        else:
            records += 1
    return Report(1, records, tuple(breaks))


def heads_in_log(lines: Iterable[str]) -> Iterator[Head]:
    """The heads that a log tells, from its JSON lines of the event `ANCHORED`; other lines are passed
    over. A log that was shipped away holds what nobody with the database's rights can change."""
    for line in lines:
        if telemetry.ANCHORED.code in line:
            try:
                said = orjson.loads(line)
                yield Head(str(said["chain"]), int(said["seq"]), bytes.fromhex(said["hash"]))
            except (ValueError, KeyError, TypeError):
                continue  # a line that only mentions the code


async def _everything(events: Events, heads: list[Head]) -> AsyncIterator[Break | str]:
    announced = await events.announcements.many({}, sort=[("_id", 1)])
    named = {doc["_id"] for doc in announced}
    told = [Head(h["c"], h["n"], bytes.fromhex(h["h"])) for doc in announced for h in doc["before"]]
    known = heads + told
    for head in sorted({head.chain for head in known} - named):
        yield Break(
            head, 0, "announcement", "a chain that was noted elsewhere is no longer announced"
        )
    async for stray in _strays(events, named):
        yield stray
    for doc in announced:
        yield "chain"
        async for found in _one(events, doc, [head for head in known if head.chain == doc["_id"]]):
            yield found


async def _strays(events: Events, named: set[str]) -> AsyncIterator[Break]:
    """Records of chains that nobody announced, and records of no chain."""
    last: Any = None
    while True:
        after = {} if last is None else {"c": {"$gt": last}}
        row = await events.table.many(after, {"c": 1, "n": 1}, sort=[("c", 1), ("n", 1)], limit=1)
        if not row:
            return
        chain = row[0].get("c")
        if not isinstance(chain, str):
            yield Break("", 0, "inserted", "a record outside every chain", row[0]["_id"])
            last = ""
            continue
        # A chain may have been opened since the announcements were read.
        if chain not in named and await events.announcements.one({"_id": chain}) is None:
            words = "records of a chain that was never announced"
            yield Break(chain, int(row[0]["n"]), "unannounced", words, row[0]["_id"])
        last = chain


async def _one(events: Events, announced: Doc, heads: list[Head]) -> AsyncIterator[Break | str]:
    chain = announced["_id"]
    anchors = [head async for head in _anchors(events, chain)]
    noted = heapq.merge(anchors, sorted(heads, key=_place), key=_place)
    walker = Walker(chain, seed(announced), noted)
    closing = closing_id(chain)
    last = -1
    while True:
        page = await events.table.many(
            {"c": chain, "n": {"$gt": last}},
            {"n": 1, "h": 1, "b": 1, "ix": 1},
            sort=[("c", 1), ("n", 1)],
            limit=_PAGE,
        )
        for row in page:
            link = Link(
                chain, row["n"], row["_id"], bytes(row["b"]), bytes(row["h"]), row["_id"] == closing
            )
            for broken in walker.step(link):
                yield broken
            for broken in _indexed(link, row, events.server):
                yield broken
            yield "record"
            last = row["n"]
        if len(page) < _PAGE:
            break
    for broken in walker.end():
        yield broken


async def _anchors(events: Events, chain: str) -> AsyncIterator[Head]:
    last = f"{chain}/"
    while True:
        page = await events.anchors.many(
            {"_id": {"$gt": last, "$lt": f"{chain}0"}}, sort=[("_id", 1)], limit=_PAGE
        )
        for row in page:
            yield Head(chain, int(row["_id"].rpartition("/")[2]), bytes(row["h"]))
        if len(page) < _PAGE:
            return
        last = page[-1]["_id"]


def _indexed(link: Link, row: Doc, server: str) -> Iterator[Break]:
    # The hash covers the bytes; an event whose index values were changed would hide from every search.
    if row.get("ix") != index(parse(link.body), server):
        words = "its index values are not those of its content"
        yield Break(link.chain, link.seq, "index", words, link.event_id)


def _place(head: Head) -> int:
    return head.seq
