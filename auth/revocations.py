"""What was revoked: single tokens by `jti`, and all that hangs on a client, a grant, a session or a
person.

Every process keeps the live ones in memory (`chassis.trust.Revoked`), so that a token check costs two
set look-ups. A row lives as long as a token it could refuse.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pymongo import IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession

from chassis.mongo import Mongo
from chassis.trust import BEFORE, PERSON, Ended, Revoked

# Longer than any access token may live (IUA 3.71: one hour at most).
_LONG = timedelta(days=1)


class Revocations:
    """The store of revocations, in `auth.revocations`. `here` is this process's copy of the live ones."""

    def __init__(self, mongo: Mongo) -> None:
        self._table = mongo.table("auth", "revocations")
        self.here = Revoked(self.since)

    async def prepare(self) -> None:
        """Make the collection and its indexes; kept when they exist."""
        await self._table.ensure(
            IndexModel([("until", 1)], expireAfterSeconds=60, name="until"),
            IndexModel([("at", 1)], name="at"),
        )

    async def end_token(self, jti: str, until: float) -> None:
        """Refuse this token from now until it would have expired; nothing changes the second time."""
        await self._end(
            "jti:" + jti, datetime.fromtimestamp(until, UTC) + timedelta(minutes=5), None
        )
        await self.here.refresh()

    async def end_client(self, client_id: str, session: AsyncClientSession) -> None:
        """Refuse every token of this client, as part of the transaction that ends the client."""
        await self._end("client:" + client_id, datetime.now(UTC) + _LONG, session)

    async def end_grant(self, grant: str, session: AsyncClientSession | None = None) -> None:
        """Refuse every token that comes of this approval."""
        await self._end("grant:" + grant, datetime.now(UTC) + _LONG, session)

    async def end_session(self, sign_in: str, session: AsyncClientSession | None = None) -> None:
        """Refuse every token that hangs on this sign-in."""
        await self._end("session:" + sign_in, datetime.now(UTC) + _LONG, session)

    async def end_person(self, person: str, session: AsyncClientSession | None = None) -> None:
        """Refuse every token that this person has been given until now; one who may sign in again gets
        new ones."""
        until = datetime.now(UTC) + _LONG
        await self._end(PERSON + person, until, session, again=True)

    async def end_before(
        self, client_id: str, generation: int, session: AsyncClientSession
    ) -> None:
        """Refuse the tokens that this client got before this generation of its registration, as part
        of the transaction that changes the client."""
        key = f"{BEFORE}{generation}:{client_id}"
        await self._end(key, datetime.now(UTC) + _LONG, session)

    async def since(self, moment: float) -> list[Ended]:
        """The live revocations noted at or after this moment (epoch seconds), oldest first."""
        after = datetime.fromtimestamp(moment, UTC)
        rows = await self._table.many({"at": {"$gte": after}}, sort=[("at", 1)])
        return [Ended(r["_id"], r["at"].timestamp(), r["until"].timestamp()) for r in rows]

    async def _end(
        self, key: str, until: datetime, session: AsyncClientSession | None, *, again: bool = False
    ) -> None:
        # A pipeline, so that `at` is the database's clock and not one of many processes'.
        at = "$$NOW" if again else {"$ifNull": ["$at", "$$NOW"]}
        change = [{"$set": {"at": at, "until": until}}]
        await self._table.update({"_id": key}, change, upsert=True, session=session)
