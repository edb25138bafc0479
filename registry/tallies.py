"""Exact totals of people with very many documents, kept up in the transactions that write them.

To count tens of thousands of hits MongoDB looks at each of them. So whoever has more than a thousand and
is asked about gets a tally (`registry/tally.py`) for each of their records, and every transaction that
writes documents or lists of a record that has one adds a slip to it. Nobody else pays: most people have a
few dozen documents, which are read to be counted. Slips are only ever inserted, so writers of one person
are never in each other's way, and are folded into the tally and its sheets every few seconds:

    {_id: "documents/x", of: itself, ready, varied, since, kinds, cells: {<kind>: {<month>: n}}}
    {_id: "documents/x/2026-03", of, month, cells: {<kind>: {<day>: n}}}          a sheet
    {_id: <random>, of, slip: true, kinds, cells: {<kind>: {<whole day>: n}}}     a slip

A tally is begun in four steps, so that no write is missed and none counted twice (decision 0035):

    marked    it is there, empty; every process learns of it within LEASE, or learns anew before it writes
    settled   SETTLE later nothing is under way any more that did not know of it: all writes add slips
    counted   one snapshot tells what there is and what tally and slips say; the difference is added
    ready     totals are read from it

Differences add up in any order, so writes go on all the while.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession

from chassis.background import repeating
from chassis.call import fresh_id
from chassis.filters import all_of
from chassis.mongo import Doc, Filter, Mongo, Table
from registry import tally
from registry.tally import NotTalliedError

LEASE = 30.0  # seconds for which what is known of tallies is good for a write
SETTLE = 180.0  # LEASE, the minute that a transaction may last, and as much again
EVERY = 15.0
MOST_OPEN = 4  # months, and days, of which a search wants a part
_MOST_KINDS = 400  # of one subject; who has more is counted


class Tallies:
    """The tallies of a registry. `async with tallies.begun()` has them begun; without, they are kept up."""

    def __init__(self, mongo: Mongo, table: Table) -> None:
        self.mongo, self.table = mongo, table
        self._marked: dict[str, bool] = {}
        self._learnt = -LEASE
        self._learning = asyncio.Lock()
        self._wanted: set[str] = set()

    def begun(self) -> AbstractAsyncContextManager[None]:
        """Begin those that are wanted for as long as the block runs."""
        return repeating("tallies", self.turn, EVERY)

    # -- reading -----------------------------------------------------------------------------------

    def of(self, table: Table) -> Totals:
        """The totals of one table."""
        return Totals(self, table)

    def ready(self, table: Table, subjects: Sequence[str]) -> list[str]:
        """The keys of these subjects' tallies; none unless each is ready."""
        keys = [_key(table.name, s) for s in subjects]
        return keys if all(self._marked.get(k) for k in keys) else []

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
        steps: dict[str, Counter[Cell]] = {}
        for rows, step in ((gone, -1), (come, 1)):
            for row in rows:
                key = _key(table.name, row["subject"])
                if key in self._marked:
                    of = tally.kind(table.name, row)
                    short = tally.name_of(of)
                    kinds.setdefault(key, {})[short] = of
                    steps.setdefault(key, Counter())[short, tally.day(row)] += step
        slips = [_slip(key, kinds[key], of) for key, of in steps.items() if any(of.values())]
        if slips:
            await self.table.insert_all(slips, session)

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
        rows = await self.table.raw.find(_WHOLE, {"ready": 1}).to_list(None)
        self._marked = {row["_id"]: bool(row["ready"]) for row in rows}
        self._learnt = begun

    # -- beginning them ----------------------------------------------------------------------------

    async def turn(self) -> None:
        """Mark those that are wanted, and count those that have settled."""
        wanted, self._wanted = self._wanted, set()
        for key in sorted(wanted):
            mark = {
                "since": {"$ifNull": ["$since", "$$NOW"]},
                "of": key,
                **{n: {"$ifNull": ["$" + n, {"$literal": v}]} for n, v in _EMPTY.items()},
            }
            await self.table.update({"_id": key}, [{"$set": mark}], upsert=True)
        await self.learn()
        age: Doc = {"$subtract": ["$$NOW", "$since"]}
        settled = {"$expr": {"$gte": [age, int(SETTLE * 1000)]}}
        for row in await self.table.many({"ready": False, "varied": False, **settled}, {"_id": 1}):
            await self._begin(row["_id"])
        slips = await self.table.many({"slip": True}, {"of": 1}, limit=20 * _TOGETHER)
        for key in sorted({row["of"] for row in slips}):
            await self._fold(key)

    async def _fold(self, key: str) -> None:
        """Put the slips of a tally into it and its sheets."""

        async def story(session: AsyncClientSession) -> None:
            slips = await self.table.many(
                {"of": key, _MONTH: None, "slip": True}, limit=_TOGETHER, session=session
            )
            if slips:
                await self._add(key, *_sum(slips), session)
                ids = [row["_id"] for row in slips]
                await self.table.delete({"_id": {"$in": ids}}, session=session, many=True)

        await self.mongo.transaction(story)

    async def _add(
        self, key: str, kinds: Filter, steps: Mapping[Cell, int], session: AsyncClientSession
    ) -> None:
        for where, change in _changes(key, kinds, steps):
            await self.table.update(where, change, session=session, upsert=_MONTH in where)

    async def _begin(self, key: str) -> None:
        """Add what the tally lacks of what there is, by one snapshot, and call it ready."""
        name, _, subject = key.partition("/")
        rows = self.mongo.table(self.table.raw.database.name.removeprefix(self.mongo.prefix), name)
        group = {"$group": {"_id": tally.grouping(name), "n": {"$sum": 1}}}
        stages: list[Mapping[str, Any]] = [{"$match": {"subject": subject}}, group]
        async with self.mongo.gate, self.mongo.client.start_session(snapshot=True) as session:
            kept = await self.table.raw.find({"of": key}, session=session).to_list(None)
            cursor = await rows.raw.aggregate(stages, session=session, maxTimeMS=120_000)
            kinds, there = tally.grouped(await cursor.to_list(None))
        if len(kinds) > _MOST_KINDS:
            await self.table.update({"_id": key}, {"$set": {"varied": True}})
            return
        steps = Counter(there)
        for row in kept:
            if row.get("slip"):
                steps.subtract(_sum([row])[1])
            else:
                undated = {s: {d: n for d, n in ds.items() if d == tally.UNDATED}
                           for s, ds in row["cells"].items()}  # fmt: skip
                days = _days(row) if _MONTH in row else undated
                steps.subtract({(short, d): n for short, ds in days.items() for d, n in ds.items()})
            kinds = {**row.get("kinds", {}), **kinds}

        async def story(inside: AsyncClientSession) -> None:
            free = {"_id": key, "ready": False}
            if await self.table.update(free, {"$set": {"ready": True}}, session=inside):
                await self._add(key, kinds, steps, inside)

        await self.mongo.transaction(story)
        await self.learn()


Cell = tuple[str, str]  # the short name of a kind, and a day
_MONTH = "month"
_WHOLE: Filter = {"ready": {"$exists": True}}  # the tallies themselves
_TOGETHER = 500  # slips of one transaction
_EMPTY: Mapping[str, Any] = {"ready": False, "varied": False, "kinds": {}, "cells": {}}


class Totals:
    """The totals of one table's searches (`chassis.pages.Totals`)."""

    def __init__(self, tallies: Tallies, table: Table) -> None:
        self.tallies, self.table = tallies, table

    async def total(self, filters: Filter, few: int) -> int | None:
        """How many match, or None where that is better counted: nobody with a tally is asked about, the
        filter speaks of what it does not know, or it may be few. All of it at one moment."""
        keys = self.tallies.ready(self.table, _subjects(filters))
        if not keys:
            return None
        mongo, kept = self.table.mongo, self.tallies.table.raw
        async with mongo.gate, mongo.client.start_session(snapshot=True) as session:
            found = await kept.find({"of": {"$in": keys}, _MONTH: None}, session=session).to_list(
                None
            )
            of = {row["_id"]: row for row in found if row.get("ready")}
            if len(of) != len(keys):
                return None
            slips = [row for row in found if row.get("slip")]
            try:
                parts = [
                    *(_said(row["of"], row["kinds"], row["cells"]) for row in of.values()),
                    *(_said(row["of"], row["kinds"], _by_month(row["cells"])) for row in slips),
                ]
                whole = tally.counted(parts, filters)
                if not whole.open:
                    return whole.total
                if len(whole.open) > MOST_OPEN:
                    return None
                names = [f"{key}/{month}" for key in keys for month in whole.open]
                sheets = await kept.find({"_id": {"$in": names}}, session=session).to_list(None)
                parts = [
                    *(_said(row["of"], of[row["of"]]["kinds"], _days(row)) for row in sheets),
                    *(
                        _said(row["of"], row["kinds"], _within(row["cells"], whole.open))
                        for row in slips
                    ),
                ]
                days = tally.counted(parts, filters)
            except NotTalliedError:
                return None
            total = whole.total + days.total
            if days.open and (total <= few or len(days.open) > MOST_OPEN):
                return None
            for day in days.open:
                part = all_of([filters, tally.within(day)])
                total += await self.table.raw.count_documents(part, session=session)
        return total

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


def _said(key: str, kinds: Filter, cells: Filter) -> Doc:
    """Cells of a tally, with what they are about."""
    return {"subject": key.partition("/")[2], "kinds": kinds, "cells": cells}


def _slip(key: str, kinds: Filter, steps: Mapping[Cell, int]) -> Doc:
    cells: dict[str, dict[str, int]] = {}
    for (short, day), n in steps.items():
        if n:
            cells.setdefault(short, {})[day] = n
    used = {short: kinds[short] for short in cells}
    return {"_id": fresh_id(), "of": key, "slip": True, "kinds": used, "cells": cells}


def _sum(slips: Iterable[Filter]) -> tuple[Doc, Counter[Cell]]:
    """The kinds of some slips, and the steps of all of them together."""
    kinds: Doc = {}
    steps: Counter[Cell] = Counter()
    for row in slips:
        kinds |= row["kinds"]
        for short, days in row["cells"].items():
            steps.update({(short, day): n for day, n in days.items()})
    return kinds, steps


def _by_month(cells: Filter) -> Doc:
    made: Doc = {}
    for short, days in cells.items():
        months: Counter[str] = Counter()
        for day, n in days.items():
            months[tally.month(day)] += n
        made[short] = months
    return made


def _within(cells: Filter, months: Sequence[str]) -> Doc:
    return {s: {d: n for d, n in ds.items() if tally.month(d) in months} for s, ds in cells.items()}


def _days(sheet: Filter) -> Doc:
    """The cells of a month's sheet, by whole days."""
    return {
        short: {f"{sheet[_MONTH]}-{day}": n for day, n in days.items()}
        for short, days in sheet["cells"].items()
    }


def _changes(key: str, kinds: Filter, steps: Mapping[Cell, int]) -> Iterator[tuple[Doc, Doc]]:
    """The updates that take these steps: of the tally, and of the sheet of each month."""
    months: Counter[str] = Counter()
    sheets: dict[str, Doc] = {}
    for (short, day), n in steps.items():
        if n:
            month = tally.month(day)
            months[f"cells.{short}.{month}"] += n
            if day != tally.UNDATED:
                sheets.setdefault(month, {})[f"cells.{short}.{day[8:]}"] = n
    if not months:
        return
    used = sorted({cell.split(".")[1] for cell in months})
    yield {"_id": key}, {"$inc": months, "$set": {f"kinds.{s}": kinds[s] for s in used}}
    for month, cells in sorted(sheets.items()):
        where = {"_id": f"{key}/{month}", "of": key, _MONTH: month}
        yield where, {"$inc": cells}
