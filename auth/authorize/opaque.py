"""The access tokens of apps: `to_` and 256 random bits, of which the database has the digest only.

The row is what every service learns about the token (chassis/caller.py, ITI-102): its whole claim set.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from pymongo import IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession

from chassis.mongo import Doc, Mongo

PREFIX = "to_"


def digest(secret: str) -> str:
    """What is kept of a code, token or handle, and found by."""
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def new_token() -> str:
    """A fresh access token."""
    return PREFIX + secrets.token_urlsafe(32)


class AccessTokens:
    """The store of opaque access tokens, in `auth.access_tokens`."""

    def __init__(self, mongo: Mongo) -> None:
        self._table = mongo.table("auth", "access_tokens")

    async def prepare(self) -> None:
        """Make the collection and its indexes; kept when they exist."""
        await self._table.ensure(
            IndexModel([("until", 1)], expireAfterSeconds=3600, name="until"),
            IndexModel([("grant", 1)], name="grant"),
        )

    async def add(
        self, token: str, claims: dict[str, Any], *, grant: str, session: str, within: AsyncClientSession
    ) -> None:
        """Keep a token. `session` is "" when the token outlives the sign-in it came of."""
        row: Doc = {
            "_id": digest(token),
            "jti": claims["jti"],
            "grant": grant,
            "session": session,
            "person": claims["sub"],
            "client_id": claims["client_id"],
            "exp": claims["exp"],
            "claims": claims,
            "until": datetime.fromtimestamp(claims["exp"], UTC),
        }
        await self._table.insert(row, within)

    async def get(self, token: str) -> Doc | None:
        """The row of this token, also when it has expired, or None."""
        return await self._table.one({"_id": digest(token)})
