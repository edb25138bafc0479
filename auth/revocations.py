"""What was revoked: single tokens by `jti`, and clients with everything they hold.

Every process keeps the live ones in memory (`chassis.trust.Revoked`), so that a token check costs two
set look-ups. A row lives as long as a token it could refuse.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pymongo import IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession

from chassis.mongo import Mongo
from chassis.trust import BEFORE, Ended, Revoked

_CLIENT_ROW = timedelta(
    days=1
)  # longer than any access token may live (IUA 3.71: one hour at most)


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
        await self._end("client:" + client_id, datetime.now(UTC) + _CLIENT_ROW, session)

    async def end_before(
        self, client_id: str, generation: int, session: AsyncClientSession
    ) -> None:
        """Refuse the tokens that this client got before this generation of its registration, as part
        of the transaction that changes the client."""
        key = f"{BEFORE}{generation}:{client_id}"
        await self._end(key, datetime.now(UTC) + _CLIENT_ROW, session)

    async def end_session(self, session_id: str, session: AsyncClientSession) -> None:
        """Refuse what hangs on this sign-in, as part of the transaction that ends it."""
        await self._end("session:" + session_id, datetime.now(UTC) + _CLIENT_ROW, session)

    async def end_person(self, person: str, session: AsyncClientSession) -> None:
        """Refuse everything that this person allowed, as part of the transaction that ends them."""
        await self._end("person:" + person, datetime.now(UTC) + _CLIENT_ROW, session)

    async def end_family(self, grant: str, until: float) -> None:
        """Refuse every token of this grant from now until then."""
        await self._end("grant:" + grant, datetime.fromtimestamp(until, UTC), None)
        await self.here.refresh()

    async def since(self, moment: float) -> list[Ended]:
        """The live revocations noted at or after this moment (epoch seconds), oldest first."""
        after = datetime.fromtimestamp(moment, UTC)
        rows = await self._table.many({"at": {"$gte": after}}, sort=[("at", 1)])
        return [Ended(r["_id"], r["at"].timestamp(), r["until"].timestamp()) for r in rows]

    async def _end(self, key: str, until: datetime, session: AsyncClientSession | None) -> None:
        # A pipeline, so that `at` is the database's clock and not one of many processes'.
        change = [{"$set": {"at": {"$ifNull": ["$at", "$$NOW"]}, "until": until}}]
        await self._table.update({"_id": key}, change, upsert=True, session=session)
