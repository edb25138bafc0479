"""Grants: what a person allowed one app, once. The family of every code and token that comes of it.

    approved ──► live ──► ended (by its person, an administrator, a replay, a reuse, sign-out, its time)

Ending a grant is one conditional update and one revocation, so that every process refuses all of the
family within a second, and no refresh gives anything from that moment on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from pymongo import IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession

from auth.revocations import Revocations
from chassis.mongo import Doc, Mongo


@dataclass(frozen=True, slots=True)
class Grant:
    """One approval. `scope` is what was approved; `context` the launch context members; `lasting` is
    "offline", "online" or ""; `until` is when it ends by itself (epoch seconds)."""

    id: str
    client_id: str
    person: str
    name: str
    session: str
    scope: str
    until: float
    context: Mapping[str, Any] = field(default_factory=dict)
    organisation: str = ""
    role: str = ""
    purpose: str = ""
    reason: str = ""
    auth_time: int = 0
    amr: tuple[str, ...] = ()
    acr: str = ""
    lasting: str = ""
    made: float = 0.0
    used: float = 0.0
    ended: str = ""

    @property
    def bound_to(self) -> str:
        """The session that its tokens die with; "" when they outlive it."""
        return "" if self.lasting == "offline" else self.session


class GrantEnded(RuntimeError):  # noqa: N818  says what happened
    """The grant has ended, so nothing may come of it any more."""


class Grants:
    """The store of grants, in `auth.grants`."""

    def __init__(self, mongo: Mongo, revocations: Revocations) -> None:
        self._table = mongo.table("auth", "grants")
        self._revocations = revocations

    async def prepare(self) -> None:
        """Make the collection and its indexes; kept when they exist."""
        await self._table.ensure(
            IndexModel([("person", 1), ("client_id", 1)], name="person_client"),
            IndexModel([("session", 1)], name="session"),
            IndexModel([("expires", 1)], expireAfterSeconds=7 * 86_400, name="expires"),
        )

    async def add(self, grant: Grant, session: AsyncClientSession) -> None:
        """Keep a new grant."""
        row = asdict(grant)
        row["_id"] = row.pop("id")
        row["expires"] = datetime.fromtimestamp(grant.until, UTC)
        row["amr"] = list(grant.amr)
        await self._table.insert(row, session)

    async def get(self, id_: str) -> Grant | None:
        """The grant of this id, ended or not."""
        row = await self._table.one({"_id": id_})
        return _grant(row) if row else None

    async def use(self, id_: str, now: float, session: AsyncClientSession) -> None:
        """Note that tokens are issued under it. Raises `GrantEnded` when it has ended."""
        where = {"_id": id_, "ended": "", "until": {"$gt": now}}
        if not await self._table.update(where, {"$set": {"used": now}}, session=session):
            raise GrantEnded(id_)

    async def of(self, person: str, now: float) -> list[Grant]:
        """The live grants of a person, the latest first."""
        where = {"person": person, "ended": "", "until": {"$gt": now}}
        return [
            _grant(row) for row in await self._table.many(where, sort=[("made", -1)], limit=500)
        ]

    async def approved(self, like: Grant, now: float) -> list[Grant]:
        """The live grants of the same person, in the same role and for the same purpose, to the same app."""
        where = {
            "person": like.person, "client_id": like.client_id, "role": like.role,
            "organisation": like.organisation, "purpose": like.purpose, "ended": "",
            "until": {"$gt": now},
        }  # fmt: skip
        return [_grant(row) for row in await self._table.many(where, sort=[("made", -1)], limit=20)]

    async def end(self, id_: str, why: str) -> bool:
        """End a grant and with it its family, here at once and everywhere within a second; False when
        it had ended before or never was."""
        ended = await self._table.update({"_id": id_, "ended": ""}, {"$set": {"ended": why}})
        if not ended and await self._table.one({"_id": id_}, {"_id": 1}) is None:
            return False
        # Also the second time: the process that ended it first may have died before it said so.
        await self._revocations.end_grant(id_)
        await self._revocations.here.refresh()
        return bool(ended)


def _grant(row: Doc) -> Grant:
    made = {k: v for k, v in row.items() if k not in ("_id", "expires", "amr")}
    return replace(Grant(id=row["_id"], amr=tuple(row["amr"]), **made))
