"""Guessing is slow: who fails too often must wait, twice as long every time (ASVS 5.0 6.3.1).

An attempt is counted before it is looked at, in one atomic update, so that a thousand guesses at once
are a thousand attempts. Rows live in MongoDB: a restart forgives nobody. A name that nobody has is
throttled like any other, so that waiting tells nothing.

    attempts 1 … free      no wait
    then                   first wait, doubled with each further attempt, up to the longest
    a day without failure  forgotten
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pymongo import IndexModel, ReturnDocument
from pymongo.errors import DuplicateKeyError

from chassis.mongo import Doc, Mongo

_FORGOTTEN = 86_400.0


@dataclass(frozen=True, slots=True)
class Limit:
    """How many attempts are free, and how long the first and the longest wait are, in seconds."""

    name: str
    free: int
    first: float
    longest: float


USERNAME = Limit("username", free=5, first=30.0, longest=3_600.0)
ADDRESS = Limit("address", free=100, first=30.0, longest=900.0)  # a hospital may be one address
CODE = Limit("code", free=5, first=30.0, longest=3_600.0)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an attempt may be looked at; if not, for how many seconds nobody may try. `locking` is
    true for the attempt that begins a wait."""

    allowed: bool
    seconds: float = 0.0
    locking: bool = False


class Throttle:
    """The store of limits, in `auth.throttles`: by the digest of what is limited. `clock` is its time."""

    def __init__(self, mongo: Mongo, *, clock: Callable[[], float] = time.time) -> None:
        self._mongo, self._table, self.clock = mongo, mongo.table("auth", "throttles"), clock

    async def prepare(self) -> None:
        """Make the collection and its index; kept when they exist."""
        await self._table.ensure(IndexModel([("gone", 1)], name="gone", expireAfterSeconds=60))

    async def attempt(self, limit: Limit, who: str) -> Verdict:
        """Count an attempt and say whether it may be looked at."""
        now = self.clock()
        try:
            before = await self._count(limit, _key(limit, who), now)
        except DuplicateKeyError:  # two first attempts at once; now there is a row
            before = await self._count(limit, _key(limit, who), now)
        if before is None or before["at"] + _FORGOTTEN < now:
            return Verdict(allowed=True, locking=limit.free == 0)
        if before["until"] > now:
            return Verdict(allowed=False, seconds=before["until"] - now)
        return Verdict(allowed=True, locking=before["count"] + 1 >= limit.free)

    async def succeeded(self, limit: Limit, who: str) -> None:
        """Forget the failures: this was who it should be."""
        await self._table.delete({"_id": _key(limit, who)})

    async def pardoned(self, limit: Limit, who: str) -> None:
        """Take this one attempt back; the failures before it stay."""
        await self._table.update(
            {"_id": _key(limit, who), "count": {"$gt": 0}},
            [
                {"$set": {"count": {"$subtract": ["$count", 1]}}},
                {"$set": {"until": {"$cond": [{"$lt": ["$count", limit.free]}, 0.0, "$until"]}}},
            ],
        )

    async def _count(self, limit: Limit, key: str, now: float) -> Doc | None:
        fresh = {"$lt": [{"$add": [{"$ifNull": ["$at", 0.0]}, _FORGOTTEN]}, now]}
        waiting = {"$gt": [{"$ifNull": ["$until", 0.0]}, now]}
        counted = {"$cond": [fresh, 1, {"$add": [{"$ifNull": ["$count", 0]}, 1]}]}
        doubled = {
            "$subtract": ["$count", limit.free]
        }  # 0 for the attempt that begins the first wait
        # Capped before it is raised to a power: no number of attempts overflows it.
        wait = {"$multiply": [limit.first, {"$pow": [2, {"$min": [doubled, 20]}]}]}
        until = {"$add": [now, {"$min": [wait, limit.longest]}]}
        change: list[Doc] = [
            {
                "$set": {
                    "count": {"$cond": [waiting, "$count", counted]},
                    "waiting": waiting,
                    "at": {"$cond": [waiting, "$at", now]},
                    "gone": datetime.fromtimestamp(now, UTC) + timedelta(seconds=_FORGOTTEN),
                }
            },
            {
                "$set": {
                    "until": {
                        "$cond": [
                            "$waiting",
                            "$until",
                            {"$cond": [{"$gte": ["$count", limit.free]}, until, 0.0]},
                        ]
                    }
                }
            },
            {"$unset": "waiting"},
        ]
        async with self._mongo.gate:
            return await self._table.raw.find_one_and_update(
                {"_id": key}, change, upsert=True, return_document=ReturnDocument.BEFORE
            )


def _key(limit: Limit, who: str) -> str:
    return limit.name + ":" + hashlib.sha256(who.encode("utf-8", "surrogatepass")).hexdigest()
