"""Requests that wait for a person: validated once, kept here, and answered once.

    asked ──► signed in ──► patient chosen ──► approved or refused ──► done

The browser carries only the request's id, so that what was validated is what is granted. A request waits
for ten minutes.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from pymongo import IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession

from auth.authorize.launches import Launch
from auth.authorize.request import Asked
from auth.people.sessions import Session
from chassis.mongo import Doc, Mongo

SECONDS = 600


class RequestAnswered(RuntimeError):  # noqa: N818  says what happened
    """The request was answered before, or its time is over."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One stored request. `session` is the sign-in it goes on under, `stale` the one that does not count
    because the app asked for a fresh one, `patient` what was chosen with its words for the pages."""

    id: str
    asked: Asked
    launch: Launch | None = None
    session: str = ""
    stale: tuple[str, int] | None = None
    patient: Mapping[str, Any] = field(default_factory=dict)

    @property
    def login_hint(self) -> str:
        """The user name that the app expects, for the sign-in page."""
        return self.asked.login_hint

    @property
    def context(self) -> dict[str, Any]:
        """The launch context members, as far as they are known."""
        made = dict(self.launch.context) if self.launch else {}
        if self.patient:
            made["patient"] = self.patient["id"]
            # Who had no patient in view shows no banner either.
            made.setdefault("need_patient_banner", True)
        return made


class Requests:
    """The store of waiting requests, in `auth.requests`."""

    def __init__(self, mongo: Mongo) -> None:
        self._table = mongo.table("auth", "requests")

    async def prepare(self) -> None:
        """Make the collection and its index; kept when they exist."""
        await self._table.ensure(IndexModel([("expires", 1)], expireAfterSeconds=0, name="expires"))

    async def add(self, asked: Asked, launch: Launch | None, now: float) -> str:
        """Keep a request and give it an id that nobody can guess."""
        id_ = secrets.token_urlsafe(24)
        said = asdict(asked) | {"scope": list(asked.scope), "prompt": sorted(asked.prompt)}
        await self._table.insert(
            {
                "_id": id_,
                "asked": said,
                "launch": asdict(launch) if launch else None,
                "session": "",
                "stale": None,
                "patient": {},
                "answered": None,
                "until": now + SECONDS,
                "expires": datetime.fromtimestamp(now + SECONDS, UTC),
            }
        )
        return id_

    async def get(self, id_: str, now: float) -> Waiting | None:
        """The request of this id while it waits, or None."""
        row = await self._table.one({"_id": id_, "answered": None, "until": {"$gt": now}})
        return _waiting(row) if row else None

    async def ask_again(self, id_: str, session: Session | None) -> None:
        """Note that the sign-in there is does not count; the first note stays."""
        stale = [session.id, session.auth_time] if session else ["", 0]
        await self._table.update({"_id": id_, "stale": None}, {"$set": {"stale": stale}})

    async def take_up(self, id_: str, session: Session) -> None:
        """Go on under this sign-in. What was chosen under another one counts no more."""
        where = {"_id": id_, "session": {"$ne": session.id}, "answered": None}
        await self._table.update(where, {"$set": {"session": session.id, "patient": {}}})

    async def choose(self, id_: str, session: Session, patient: Mapping[str, Any]) -> bool:
        """Keep the choice of a patient; False when the request goes on under another sign-in."""
        where = {"_id": id_, "session": session.id, "answered": None}
        return bool(await self._table.update(where, {"$set": {"patient": dict(patient)}}))

    async def answer(self, id_: str, now: float, within: AsyncClientSession | None = None) -> None:
        """Answer it, once. Raises `RequestAnswered`."""
        where = {"_id": id_, "answered": None, "until": {"$gt": now}}
        if not await self._table.update(where, {"$set": {"answered": now}}, session=within):
            raise RequestAnswered(id_)


def _waiting(row: Doc) -> Waiting:
    said = row["asked"]
    said = said | {"scope": tuple(said["scope"]), "prompt": frozenset(said["prompt"])}
    stale = row["stale"]
    return Waiting(
        id=row["_id"],
        asked=Asked(**said),
        launch=Launch(**row["launch"]) if row["launch"] else None,
        session=row["session"],
        stale=(stale[0], stale[1]) if stale else None,
        patient=row["patient"],
    )
