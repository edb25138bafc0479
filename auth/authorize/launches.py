"""EHR launch: a host system mints a handle for its user and one app, which opens with what was in view.

    minted ──(the app's authorization request is approved)──► used

A handle is 256 random bits, for one client and one person, for five minutes, once. What it stands for
lies here and never travels through the browser (SMART App Launch 2.2 "EHR launch", digest 1.5).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pymongo import IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession

from auth.opaque_tokens import digest
from chassis.mongo import Doc, Mongo
from standards.smart import LAUNCH_SECONDS

_KEPT = 3600  # longer than a request waits that was begun in time


class LaunchUsed(RuntimeError):  # noqa: N818  says what happened
    """The launch was used by another request."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What a handle stands for. `context` are the members of the token response; `host` is the client
    that minted it; `id` the handle's digest."""

    id: str
    client_id: str
    person: str
    host: str
    context: Mapping[str, Any] = field(default_factory=dict)
    purpose: str = ""
    reason: str = ""


class Launches:
    """The store of launches, in `auth.launches`."""

    def __init__(self, mongo: Mongo) -> None:
        self._table = mongo.table("auth", "launches")

    async def prepare(self) -> None:
        """Make the collection and its index; kept when they exist."""
        await self._table.ensure(IndexModel([("expires", 1)], expireAfterSeconds=0, name="expires"))

    async def mint(
        self, *, client_id: str, person: str, host: str, context: Mapping[str, Any], purpose: str,
        reason: str, now: float,
    ) -> str:  # fmt: skip
        """A new handle, which is told only here."""
        handle = secrets.token_urlsafe(32)
        row: Doc = {
            "_id": digest(handle),
            "client_id": client_id,
            "person": person,
            "host": host,
            "context": dict(context),
            "purpose": purpose,
            "reason": reason,
            "until": now + LAUNCH_SECONDS,
            "used": None,
            "expires": datetime.fromtimestamp(now + LAUNCH_SECONDS + _KEPT, UTC),
        }
        await self._table.insert(row)
        return handle

    async def look(self, handle: str, client_id: str, now: float) -> Launch | None:
        """What the handle stands for; None when it is unknown, used, too old or another client's."""
        where = {"_id": digest(handle), "client_id": client_id, "used": None, "until": {"$gt": now}}
        row = await self._table.one(where)
        if row is None:
            return None
        return Launch(
            row["_id"], row["client_id"], row["person"], row["host"], row["context"],
            row["purpose"], row["reason"],
        )  # fmt: skip

    async def use(self, id_: str, now: float, within: AsyncClientSession) -> None:
        """Use it up. Raises `LaunchUsed` when another request did so first."""
        if not await self._table.update(
            {"_id": id_, "used": None}, {"$set": {"used": now}}, session=within
        ):
            raise LaunchUsed(id_)
