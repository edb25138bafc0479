"""The access tokens of apps: random, known by their digest, and nobody's business but the server's.

    access_tokens   {_id: SHA-256 of the token, jti, grant, session, person, client_id, exp, claims}

A row lives as long as its token. It says nothing of whether the token still counts: what it hangs on
ends by a revocation (`auth/revocations.py`), which every process hears of within a second.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from pymongo import IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession

from chassis.caller import OPAQUE
from chassis.mongo import Mongo
from standards import iua

_BYTES = 32


class OpaqueTokens:
    """The store of opaque access tokens, in `auth.access_tokens`."""

    def __init__(self, mongo: Mongo, issuer: str) -> None:
        self._table = mongo.table("auth", "access_tokens")
        self._issuer = issuer

    async def prepare(self) -> None:
        """Make the collection and its indexes; kept when they exist."""
        await self._table.ensure(
            IndexModel([("exp", 1)], expireAfterSeconds=600, name="exp"),
            IndexModel([("grant", 1)], name="grant"),
        )

    async def issue(
        self,
        claims: Mapping[str, Any],
        *,
        grant: str,
        session: str = "",
        person: str = "",
        transaction: AsyncClientSession | None = None,
    ) -> str:
        """A new token that stands for these claims (those of `iua.claims`, and launch context), which
        ends with its grant, session or person. The token is told once and kept nowhere."""
        made = OPAQUE + secrets.token_urlsafe(_BYTES)
        row = {
            "_id": digest(made),
            "jti": claims["jti"],
            "grant": grant,
            "session": session,
            "person": person,
            "client_id": claims["client_id"],
            "exp": datetime.fromtimestamp(claims["exp"], UTC),
            "claims": dict(claims),
        }
        await self._table.insert(row, session=transaction)
        return made

    async def claims(self, token: str) -> Mapping[str, Any] | None:
        """The claims of this token with what it hangs on (`iua.ends`), or None when there is none."""
        row = await self._table.one({"_id": digest(token)})
        if row is None:
            return None
        hangs = iua.hanging_on(
            self._issuer, grant=row["grant"], session=row["session"], person=row["person"]
        )
        return {**row["claims"], **hangs}


def digest(token: str) -> str:
    """What is kept of a token. PURE."""
    return sha256(token.encode()).hexdigest()
