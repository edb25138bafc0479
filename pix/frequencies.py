"""How common names and places are among the people here, for matching to weigh what agrees.

    frequencies  {_id: "<version>|given|MOHAMMED", n}
                 {_id: "current", version, people, at, lease}

They are counted over persons, not over records, so that what chatty agencies repeat does not look
common. A count is a version: it is made by aggregation inside MongoDB, beside the one in use, which
stays frozen meanwhile. A process holds only values above a floor, so what it needs of memory does not
grow with the population. A new count is due when the population has grown by half, or daily.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from pymongo.errors import DuplicateKeyError

from chassis.background import repeating
from chassis.mongo import Table
from pix.model import Frequencies, Model

DAILY, GROWN = timedelta(days=1), 1.5
_LEASE = timedelta(minutes=30)
# What must be shared by so many people to be counted at all, and how many values a process holds at
# most: the commonest ones. What it holds not, it takes for no commoner than the model does.
_LEAST, MOST = 2, 200_000
_NAMES = re.compile(r"^(given|surname)\|")
COUNTING = "frequencies: counts everybody, in the background"  # as MongoDB's profiler notes it


class Counted:
    """The frequencies in use. `current` is what comparisons take; it changes only between them."""

    def __init__(self, table: Table, profiles: Table, model: Model) -> None:
        self.table, self.profiles, self.model = table, profiles, model
        self.current: Frequencies = model.frequencies

    async def refresh(self) -> None:
        """Take up the count in use, if it is another than the one held."""
        said = await self.table.one({"_id": "current"})
        if said and said.get("version") and said["version"] != self.current.version:
            self.current = await self._held(said["version"], said["people"])

    async def due(self, now: datetime) -> bool:
        """Whether the population has grown by half since it was counted, or a day has passed."""
        said = await self.table.one({"_id": "current"})
        people = await self._population()
        if not people:
            return False
        if not said or not said.get("version"):
            return True
        return bool(people > said["people"] * GROWN or now - said["at"] > DAILY)

    async def count(self, now: datetime) -> str:
        """Count anew and put the count in use; the version, "" when another process is at it."""
        if not await self._lease(now):
            return ""
        version = now.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%f")
        people = await self._population()
        await self._aggregate(version, people)
        await self.table.update(
            {"_id": "current"},
            {"$set": {"version": version, "people": people, "at": now, "lease": None}},
        )
        keep = {"$gte": f"{version}|", "$lt": f"{version}}}"}
        await self.table.delete({"_id": {"$not": keep, "$ne": "current"}}, many=True)
        await self.refresh()
        return version

    async def _population(self) -> int:
        async with self.table.mongo.gate:
            return await self.profiles.raw.estimated_document_count()

    async def _lease(self, now: datetime) -> bool:
        free = {"_id": "current", "$or": [{"lease": None}, {"lease": {"$lt": now - _LEASE}}]}
        try:
            return bool(await self.table.update(free, {"$set": {"lease": now}}, upsert=True))
        except DuplicateKeyError:
            return False

    async def _aggregate(self, version: str, people: int) -> None:
        named = {"$or": [{"n": {"$gte": people * self.model.floor}}, {"_id": {"$not": _NAMES}}]}
        async with self.table.mongo.gate:
            cursor = await self.profiles.raw.aggregate(
                [
                    {"$project": {"_id": 0, "f": 1}},
                    {"$unwind": "$f"},
                    {"$group": {"_id": "$f", "n": {"$sum": 1}}},
                    {"$match": {"n": {"$gte": _LEAST}, **named}},
                    {"$sort": {"n": -1, "_id": 1}},
                    {"$limit": MOST},
                    {"$set": {"_id": {"$concat": [f"{version}|", "$_id"]}}},
                    {"$merge": {"into": self.table.name}},
                ],
                allowDiskUse=True,
                comment=COUNTING,
            )
            await cursor.to_list()

    async def _held(self, version: str, people: int) -> Frequencies:
        where = {"_id": {"$gte": f"{version}|", "$lt": f"{version}}}"}}
        counts = {row["_id"].partition("|")[2]: row["n"] for row in await self.table.many(where)}
        own = Frequencies.counted(version, people, counts, self.model)
        return own.blended(self.model.frequencies)


@asynccontextmanager
async def counting(counted: Counted, *, every: float = 60.0) -> AsyncIterator[None]:
    """Keep the frequencies of a running service fresh for as long as the block runs."""

    async def turn() -> None:
        await counted.refresh()
        now = datetime.now(UTC)
        if await counted.due(now):
            await counted.count(now)

    await counted.refresh()
    async with repeating("frequencies", turn, every, at_once=False):
        yield
