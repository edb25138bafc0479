"""Refresh tokens: rotated at every use, one live at a time in a family (RFC 9700 §4.14).

    live ──refresh──► used, and its successor is live
    used ──shown again──► the family ends

There is no grace for a second use: who has a used token is either its owner, whose answer was lost and
who signs in again, or a thief, and nobody can tell which.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from pymongo import IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession

from auth.opaque_tokens import digest
from chassis.mongo import Doc, Mongo

PREFIX = "tr_"


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """What a refresh token stands for. `used` is 0.0 while it is live; `jkt` is the key that a public
    client must prove with it (RFC 9449 §5), "" for none."""

    id: str
    grant: str
    client_id: str
    until: float
    used: float
    jkt: str = ""


class TokenReused(RuntimeError):  # noqa: N818  says what happened
    """A refresh token was shown a second time; `grant` is the family that must end."""

    def __init__(self, grant: str) -> None:
        super().__init__(grant)
        self.grant = grant


def new_token() -> str:
    """A fresh refresh token."""
    return PREFIX + secrets.token_urlsafe(32)


class RefreshTokens:
    """The store of refresh tokens, in `auth.refresh_tokens`, by digest."""

    def __init__(self, mongo: Mongo) -> None:
        self._table = mongo.table("auth", "refresh_tokens")

    async def prepare(self) -> None:
        """Make the collection and its indexes; kept when they exist."""
        await self._table.ensure(
            IndexModel([("expires", 1)], expireAfterSeconds=3600, name="expires"),
            IndexModel([("grant", 1)], name="grant"),
        )

    async def add(
        self,
        token: str,
        *,
        grant: str,
        client_id: str,
        until: float,
        jkt: str,
        within: AsyncClientSession,
    ) -> None:
        """Keep a new, live token."""
        row: Doc = {
            "_id": digest(token),
            "grant": grant,
            "client_id": client_id,
            "until": until,
            "used": 0.0,
            "jkt": jkt,
            "expires": datetime.fromtimestamp(until, UTC),
        }
        await self._table.insert(row, within)

    async def get(self, token: str) -> RefreshToken | None:
        """What this token stands for, used or not, expired or not; None when it never was one."""
        row = await self._table.one({"_id": digest(token)})
        if row is None:
            return None
        return RefreshToken(
            row["_id"], row["grant"], row["client_id"], row["until"], row["used"], row["jkt"]
        )

    async def use(self, token: RefreshToken, now: float, within: AsyncClientSession) -> None:
        """Use it up. Raises `TokenReused` when another did so first."""
        where = {"_id": token.id, "used": 0.0}
        if not await self._table.update(where, {"$set": {"used": now}}, session=within):
            raise TokenReused(token.grant)
