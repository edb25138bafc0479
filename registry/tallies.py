"""Exact totals of people with very many documents, kept up in the transactions that write them.

To count tens of thousands of hits MongoDB looks at each of them. So whoever has more than a thousand and
is asked about gets a tally (`registry/tally.py`) for each of their records, and every transaction that
writes documents or lists of a record that has one changes it too. Nobody else pays: most people have a few
dozen documents, which are read to be counted.

A tally is begun in four steps, so that no write is missed and none counted twice (decision 0035):

    marked    it is there, empty; every process learns of it within LEASE, or learns anew before it writes
    settled   SETTLE later nothing is under way any more that did not know of it: all writes change it
    counted   one snapshot tells what there is and what the tally says; the difference is added
    ready     totals are read from it

Differences add up in any order, so writes go on all the while.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import PyMongoError

from chassis import telemetry
from chassis.filters import all_of
from chassis.mongo import Doc, Filter, Mongo, Table
from registry import tally
from registry.tally import NotTalliedError
from standards.outcome import Refused

LEASE = 30.0  # seconds for which what is known of tallies is good for a write
SETTLE = 180.0  # LEASE, the minute that a transaction may last, and as much again
EVERY = 15.0
MOST_OPEN = 4  # months of which a search wants a part
_MOST_KINDS = 400  # of one subject; who has more is counted


class Tallies:
    """The tallies of a registry. `async with` it to have them begun; without, they are kept up."""

    def __init__(self, mongo: Mongo, table: Table) -> None:
        self.mongo, self.table = mongo, table
        self._marked: dict[str, bool] = {}
        self._learnt = -LEASE
        self._learning = asyncio.Lock()
        self._wanted: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._for_ever(), name="tallies")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _for_ever(self) -> None:
        while True:
            try:
                await self.turn()
            except (PyMongoError, Refused) as fault:
                telemetry.log(telemetry.BACKGROUND, work="tallies", fault=type(fault).__name__)
            await asyncio.sleep(EVERY)

    # -- reading -----------------------------------------------------------------------------------

    def of(self, table: Table) -> Totals:
        """The totals of one table."""
        return Totals(self, table)

    async def read(self, table: Table, subjects: Sequence[str]) -> list[Doc] | None:
        """The tallies of these subjects; None when one of them has none that is ready."""
        keys = [_key(table.name, s) for s in subjects]
        if not keys or not all(self._marked.get(k) for k in keys):
            return None
        rows = await self.table.many({"_id": {"$in": keys}, "ready": True})
        if len(rows) != len(keys):
            return None
        return [{**row, "subject": row["_id"].partition("/")[2]} for row in rows]

    def want(self, table: Table, subjects: Iterable[str]) -> None:
        """Have tallies begun for these subjects, of whom more than a few documents matched."""
        keys = {_key(table.name, s) for s in subjects}
        self._wanted |= keys - self._marked.keys()

    # -- keeping them up ---------------------------------------------------------------------------

    async def note(
        self, session: AsyncClientSession, table: Table, gone: Sequence[Doc], come: Sequence[Doc]
    ) -> None:
        """In the transaction that writes them: these rows are no longer, those are."""
        await self._know()
        if not self._marked:
            return
        kinds: dict[str, dict[str, Doc]] = {}
        cells: dict[str, Counter[str]] = {}
        for rows, step in ((gone, -1), (come, 1)):
            for row in rows:
                key = _key(table.name, row["subject"])
                if key in self._marked:
                    of = tally.kind(table.name, row)
                    short = tally.name_of(of)
                    kinds.setdefault(key, {})[short] = of
                    cells.setdefault(key, Counter())[f"{short}.{tally.month(row)}"] += step
        for key, steps in sorted(cells.items()):
            change = _change(kinds[key], {c: n for c, n in steps.items() if n})
            if change:
                await self.table.update({"_id": key}, change, session=session)

    async def _know(self) -> None:
        """What is known of tallies is no older than LEASE."""
        if time.monotonic() - self._learnt > LEASE:
            async with self._learning:
                if time.monotonic() - self._learnt > LEASE:
                    await self._learn()

    async def learn(self) -> None:
        """Look which tallies there are."""
        async with self._learning:
            await self._learn()

    async def _learn(self) -> None:
        begun = time.monotonic()
        # past the gate: every transaction in it may be waiting for this
        rows = await self.table.raw.find({}, {"ready": 1}).to_list(None)
        self._marked = {row["_id"]: bool(row["ready"]) for row in rows}
        self._learnt = begun

    # -- beginning them ----------------------------------------------------------------------------

    async def turn(self) -> None:
        """Mark those that are wanted, and count those that have settled."""
        wanted, self._wanted = self._wanted, set()
        for key in sorted(wanted):
            mark = {
                "since": {"$ifNull": ["$since", "$$NOW"]},
                **{n: {"$ifNull": ["$" + n, {"$literal": v}]} for n, v in _EMPTY.items()},
            }
            await self.table.update({"_id": key}, [{"$set": mark}], upsert=True)
        await self.learn()
        age: Doc = {"$subtract": ["$$NOW", "$since"]}
        settled = {"$expr": {"$gte": [age, int(SETTLE * 1000)]}}
        for row in await self.table.many({"ready": False, "varied": False, **settled}, {"_id": 1}):
            await self._begin(row["_id"])

    async def _begin(self, key: str) -> None:
        """Add what the tally lacks of what there is, by one snapshot, and call it ready."""
        name, _, subject = key.partition("/")
        rows = self.mongo.table(self.table.raw.database.name.removeprefix(self.mongo.prefix), name)
        group = {"$group": {"_id": tally.grouping(name), "n": {"$sum": 1}}}
        stages: list[Mapping[str, Any]] = [{"$match": {"subject": subject}}, group]
        async with self.mongo.gate, self.mongo.client.start_session(snapshot=True) as session:
            kept = await self.table.raw.find_one({"_id": key}, session=session)
            cursor = await rows.raw.aggregate(stages, session=session, maxTimeMS=120_000)
            kinds, there = tally.grouped(await cursor.to_list(None))
        if kept is None:
            return
        if len(kinds) > _MOST_KINDS:
            await self.table.update({"_id": key}, {"$set": {"varied": True}})
            return
        steps = Counter({f"{short}.{month}": n for (short, month), n in there.items()})
        steps.subtract({f"{s}.{m}": n for s, ms in kept["cells"].items() for m, n in ms.items()})
        change = _change(kinds, {c: n for c, n in steps.items() if n})
        change["$set"] = change.get("$set", {}) | {"ready": True}
        await self.table.update({"_id": key, "ready": False}, change)
        await self.learn()


_EMPTY: Mapping[str, Any] = {"ready": False, "varied": False, "kinds": {}, "cells": {}}


class Totals:
    """The totals of one table's searches (`chassis.pages.Totals`)."""

    def __init__(self, tallies: Tallies, table: Table) -> None:
        self.tallies, self.table = tallies, table

    async def total(self, filters: Filter, few: int) -> int | None:
        """How many match, or None where that is better counted: nobody with a tally is asked about, the
        filter speaks of what it does not know, or it may be few."""
        subjects = _subjects(filters)
        rows = await self.tallies.read(self.table, subjects)
        if rows is None:
            return None
        try:
            found = tally.counted(rows, filters)
        except NotTalliedError:
            return None
        if not found.open:
            return found.total
        if found.total <= few or len(found.open) > MOST_OPEN:
            return None
        parts = [all_of([filters, tally.within(month)]) for month in found.open]
        return found.total + sum(await asyncio.gather(*(self.table.count(part) for part in parts)))

    def exceeded(self, filters: Filter) -> None:
        """More than a few matched."""
        self.tallies.want(self.table, _subjects(filters))


def _key(name: str, subject: str) -> str:
    return f"{name}/{subject}"


def _subjects(filters: Filter) -> list[str]:
    """Whose documents a filter is about."""
    said = filters.get("subject")
    if said is None and "$and" in filters:
        said = filters["$and"][0].get("subject")
    if isinstance(said, str):
        return [said] if said else []
    return list(said["$in"]) if isinstance(said, Mapping) and said.keys() == {"$in"} else []


def _change(kinds: Mapping[str, Doc], steps: Mapping[str, int]) -> Doc:
    """The update that takes these steps; {} for none."""
    if not steps:
        return {}
    used = {cell.partition(".")[0] for cell in steps}
    return {
        "$inc": {f"cells.{cell}": n for cell, n in steps.items()},
        "$set": {f"kinds.{short}": kinds[short] for short in sorted(used)},
    }
