"""The request of an app that a sign-in goes on to: what these pages need to know of it.

An app's request waits in `auth.requests` (auth/authorize keeps it). Its id comes in the URL and goes back
in the redirect to `{issuer}/authorize/{id}`, and to no other place: nothing that a URL says decides where
a browser is sent.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from auth.people.sessions import Session
from chassis.mongo import Mongo

_ID = re.compile(r"[A-Za-z0-9_-]{16,128}")


@dataclass(frozen=True, slots=True)
class Continuing:
    """A waiting request. `stale` is the sign-in (session, auth_time) that does not count for it, because
    the app wants a fresh one (`prompt=login`, `max_age`); `purpose` and `reason` are those of the launch
    that it came from."""

    id: str
    client_id: str
    redirect_uri: str
    login_hint: str = ""
    stale: tuple[str, int] | None = None
    purpose: str = ""
    reason: str = ""

    def content_with(self, session: Session) -> bool:
        """Is this sign-in good enough for the request?"""
        return self.stale != (session.id, session.auth_time)


class Waiting:
    """Reads waiting requests."""

    def __init__(self, mongo: Mongo, *, clock: Callable[[], float] = time.time) -> None:
        self._table, self._clock = mongo.table("auth", "requests"), clock

    async def get(self, id_: str) -> Continuing | None:
        """The request of this id while it waits; None for anything else."""
        if not _ID.fullmatch(id_):
            return None
        row = await self._table.one({"_id": id_, "answered": None, "until": {"$gt": self._clock()}})
        if row is None:
            return None
        asked, launch, stale = row["asked"], row.get("launch") or {}, row.get("stale")
        return Continuing(
            id=row["_id"],
            client_id=asked["client_id"],
            redirect_uri=asked["redirect_uri"],
            login_hint=asked.get("login_hint", ""),
            stale=(stale[0], stale[1]) if stale else None,
            purpose=launch.get("purpose", ""),
            reason=launch.get("reason", ""),
        )
