"""Where a browser is on its way to a provider and back, and what came of it.

    start ──► journey (state, nonce, verifier; bound to the browser) ──► return: taken once ──► visit
    visit: who came from where, with the provider's own session, so that its logout can find it

Neither state nor nonce is kept in the clear where a digest will do.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pymongo import IndexModel
from pymongo.errors import DuplicateKeyError

from auth.upstream.claims import Identity
from chassis.mongo import Doc, Mongo

SECONDS = 600
_KEPT = timedelta(days=2)  # longer than any session lives


@dataclass(frozen=True, slots=True)
class Journey:
    """One way to a provider and back. `fresh` is True where an older sign-in there does not do."""

    provider: str
    nonce: str
    verifier: str
    continuing: str
    fresh: bool
    began: float


class Journeys:
    """The store of journeys in `auth.upstream_journeys`, of arrivals in `auth.upstream_arrivals`, and
    of logout tokens used in `auth.upstream_logouts`."""

    def __init__(self, mongo: Mongo, *, clock: Callable[[], float] = time.time) -> None:
        self._journeys = mongo.table("auth", "upstream_journeys")
        self._arrivals = mongo.table("auth", "upstream_arrivals")
        self._logouts = mongo.table("auth", "upstream_logouts")
        self._clock = clock

    async def prepare(self) -> None:
        """Make the collections and their indexes; kept when they exist."""
        ends = IndexModel([("gone", 1)], name="gone", expireAfterSeconds=0)
        await self._journeys.ensure(ends)
        await self._logouts.ensure(ends)
        await self._arrivals.ensure(
            ends, IndexModel([("iss", 1), ("sub", 1), ("sid", 1)], name="iss_sub_sid")
        )

    async def begin(self, visit: str, journey: Journey) -> str:
        """Keep a journey of the browser that holds this cookie; returns its state."""
        state, until = secrets.token_urlsafe(32), self._clock() + SECONDS
        row: Doc = {
            "_id": _digest(state), "visit": _digest(visit), "provider": journey.provider,
            "nonce": journey.nonce, "verifier": journey.verifier, "continuing": journey.continuing,
            "fresh": journey.fresh, "began": journey.began, "until": until,
            "gone": datetime.fromtimestamp(until, UTC),
        }  # fmt: skip
        await self._journeys.insert(row)
        return state

    async def take(self, visit: str, provider: str, state: str) -> Journey | None:
        """The journey of this state, taken for good; None when it is not this browser's, not to this
        provider, over, or was taken before."""
        where = {
            "_id": _digest(state), "visit": _digest(visit), "provider": provider,
            "until": {"$gt": self._clock()},
        }  # fmt: skip
        row = await self._journeys.raw.find_one_and_delete(where)
        if row is None:
            return None
        return Journey(
            row["provider"],
            row["nonce"],
            row["verifier"],
            row["continuing"],
            row["fresh"],
            row["began"],
        )

    async def arrive(self, identity: Identity, provider: str, person: str, mapped: bool) -> str:
        """Note that somebody came from a provider, and where it is `mapped`, which roles they came in;
        returns the id of the arrival."""
        pairs = [list(pair) for pair in identity.pairs] if mapped else None
        made = secrets.token_urlsafe(16)
        await self._arrivals.insert(
            {
                "_id": made, "iss": identity.issuer, "sub": identity.subject,
                "sid": identity.session, "provider": provider, "person": person,
                "pairs": pairs, "ended": None,
                "gone": datetime.now(UTC) + _KEPT,
            }
        )  # fmt: skip
        return made

    async def pairs(self, arrival: str) -> frozenset[tuple[str, str]] | None:
        """The (role, organisation) pairs that somebody came in: the only ones that they may act in; None
        where the provider says nothing of roles. None at all when the arrival is over."""
        row = await self._arrivals.one({"_id": arrival, "ended": None}, {"pairs": 1})
        if row is None:
            return frozenset()
        return None if row["pairs"] is None else frozenset((r, o) for r, o in row["pairs"])

    async def over(self, arrival: str) -> bool:
        """Has the provider ended this since?"""
        return await self._arrivals.one({"_id": arrival, "ended": None}, {"_id": 1}) is None

    async def end(self, issuer: str, subject: str, session: str) -> list[Doc]:
        """End the arrivals of a subject, of a session of theirs, or both where both are said. Returns
        those that ended, with id and person."""
        where: Doc = {"iss": issuer, "ended": None}
        where |= {"sub": subject} if subject else {}
        where |= {"sid": session} if session else {}
        rows = await self._arrivals.many(where, {"person": 1})
        ids = [row["_id"] for row in rows]
        change = {"$set": {"ended": self._clock()}}
        await self._arrivals.update({"_id": {"$in": ids}}, change, many=True)
        return rows

    async def first_use(self, issuer: str, jti: str) -> bool:
        """Use a logout token up; False when it was used before."""
        row = {
            "_id": _digest(f"{issuer} {jti}"),
            "gone": datetime.now(UTC) + timedelta(hours=1),
        }
        try:
            await self._logouts.insert(row)
        except DuplicateKeyError:
            return False
        return True


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
