"""Authorization codes: 256 random bits, for a minute, for one client, once (decision 0026).

A code is claimed by one conditional update before anything of it is checked, so that of two that race
one finds it used; a wrong verifier burns it. A spent row is kept for a day, so that a replay is noticed
and ends the family.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pymongo import IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession

from auth.opaque_tokens import digest
from chassis.mongo import Doc, Mongo

_KEPT = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Code:
    """What a code stands for."""

    grant: str
    client_id: str
    redirect_uri: str
    challenge: str
    nonce: str
    until: float


class CodeReplayed(RuntimeError):  # noqa: N818  says what happened
    """The code was used before; `grant` is the family that must end."""

    def __init__(self, grant: str) -> None:
        super().__init__(grant)
        self.grant = grant


def new_code() -> str:
    """A fresh code, of characters that need no encoding: client-js sends it as it is."""
    return secrets.token_urlsafe(32)


class Codes:
    """The store of codes, in `auth.codes`, by digest."""

    def __init__(self, mongo: Mongo) -> None:
        self._table = mongo.table("auth", "codes")

    async def prepare(self) -> None:
        """Make the collection and its index; kept when they exist."""
        await self._table.ensure(IndexModel([("kept", 1)], expireAfterSeconds=0, name="kept"))

    async def add(self, code: str, means: Code, session: AsyncClientSession) -> None:
        """Keep a new code."""
        row: Doc = {
            "_id": digest(code),
            "grant": means.grant,
            "client_id": means.client_id,
            "redirect_uri": means.redirect_uri,
            "challenge": means.challenge,
            "nonce": means.nonce,
            "until": means.until,
            "used": None,
            "kept": datetime.fromtimestamp(means.until, UTC) + _KEPT,
        }
        await self._table.insert(row, session)

    async def redeem(self, code: str, client_id: str, now: float) -> Code | None:
        """Use the code up, for its own client only. None when there is no such code for this client or
        its minute is over; raises `CodeReplayed` when it was used before."""
        where = {"_id": digest(code), "client_id": client_id}
        row = await self._table.claim({**where, "used": None}, {"$set": {"used": now}})
        if row is None:
            spent = await self._table.one(where, {"grant": 1})
            if spent is not None:
                raise CodeReplayed(spent["grant"])
            return None
        if row["until"] <= now:
            return None
        return Code(
            row["grant"], row["client_id"], row["redirect_uri"], row["challenge"], row["nonce"],
            row["until"],
        )  # fmt: skip
