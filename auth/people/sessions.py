"""Who is signed in: one row per session, found by the digest of the cookie that the browser holds.

    open ──(each request)──► seen ──► ended: sign-out, idle too long, absolute end, taken away

The cookie is 256 random bits and a new one at every sign-in; the database has its SHA-256 only. Ending
a session notes `session:<id>` in the revocation feed, so that what was allowed for as long as somebody
is signed in ends in every process within a second (docs/decisions/0026-sign-in-and-launch.md).
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from pymongo import IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession
from starlette.requests import Request
from starlette.responses import Response

from auth.revocations import Revocations
from chassis.mongo import Doc, Mongo
from chassis.settings import Settings

_COOKIE = "throughline"
_TOUCH = 60.0  # a session in use is written at most this often
_KEPT = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Session:
    """A person who is signed in, in one role, for one purpose.

    `organisation`, `role` and `purpose` are codes of the affinity pack. `auth_time` (epoch seconds) is
    when the person last proved who they are, `amr` how (RFC 8176: pwd, otp, hwk, mfa …) and `acr` how
    strongly; `until` is when the session ends at the latest.
    """

    id: str
    person: str
    name: str
    organisation: str
    role: str
    purpose: str
    reason: str
    auth_time: int
    amr: tuple[str, ...]
    acr: str
    until: float
    upstream: str = ""


@dataclass(frozen=True, slots=True)
class Listed:
    """A session as its owner sees it in a list: with the browser that it was opened in."""

    session: Session
    opened: float
    seen: float
    browser: str
    address: str


class Sessions:
    """The store of sessions, in `auth.sessions`."""

    def __init__(
        self,
        settings: Settings,
        mongo: Mongo,
        revocations: Revocations,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._mongo, self._table = mongo, mongo.table("auth", "sessions")
        self._revocations, self._clock = revocations, clock
        self._idle, self._longest = settings.session_idle_seconds, settings.session_seconds
        self._secure = settings.origin.startswith("https://")

    async def prepare(self) -> None:
        """Make the collection and its indexes; kept when they exist."""
        await self._table.ensure(
            IndexModel([("digest", 1)], name="digest", unique=True),
            IndexModel([("person", 1)], name="person"),
            IndexModel([("upstream", 1)], name="upstream"),
            IndexModel([("gone", 1)], name="gone", expireAfterSeconds=60),
        )

    async def of(self, request: Request) -> Session | None:
        """The session of the browser that asks; None when nobody is signed in there (any more). Asking
        counts as use."""
        cookie = request.cookies.get(cookie_name(self._secure), "")
        if not 40 <= len(cookie) <= 64:
            return None
        row = await self._table.one({"digest": _digest(cookie), "ended": None})
        now = self._clock()
        if row is None or not self._fresh(row, now):
            return None
        if now - row["seen"] > _TOUCH:
            await self._table.update({"_id": row["_id"], "ended": None}, {"$set": {"seen": now}})
        return _session(row)

    async def live(self, session_id: str) -> Session | None:
        """The session of this id if it has not ended and was not left idle; asking is not use."""
        row = await self._table.one({"_id": session_id, "ended": None})
        return _session(row) if row is not None and self._fresh(row, self._clock()) else None

    async def open(
        self,
        *,
        person: str,
        name: str,
        organisation: str,
        role: str,
        purpose: str,
        reason: str = "",
        amr: tuple[str, ...],
        acr: str,
        auth_time: int | None = None,
        until: float | None = None,
        browser: str = "",
        address: str = "",
        upstream: str = "",
    ) -> tuple[Session, str]:
        """A new session and the value of its cookie, which is told only here. It ends at `until` if
        that comes before the absolute limit."""
        now = self._clock()
        latest = now + self._longest
        made = Session(
            id=secrets.token_urlsafe(16),
            person=person,
            name=name,
            organisation=organisation,
            role=role,
            purpose=purpose,
            reason=reason,
            auth_time=int(now) if auth_time is None else auth_time,
            amr=amr,
            acr=acr,
            until=latest if until is None else min(latest, until),
            upstream=upstream,
        )
        cookie = secrets.token_urlsafe(32)
        row = _document(made, cookie, now)
        await self._table.insert(row | {"browser": browser[:120], "address": address})
        return made, cookie

    async def renew(
        self,
        session_id: str,
        *,
        auth_time: int,
        amr: tuple[str, ...],
        acr: str,
        upstream: str = "",
    ) -> tuple[Session, str] | None:
        """The same session after its person has signed in once more: a new cookie, the old one is
        worth nothing. None when the session has ended meanwhile."""
        now = self._clock()
        cookie = secrets.token_urlsafe(32)
        change = {
            "digest": _digest(cookie), "seen": now,
            "auth_time": auth_time, "amr": list(amr), "acr": acr, "upstream": upstream,
        }  # fmt: skip
        row = await self._table.claim({"_id": session_id, "ended": None}, {"$set": change})
        if row is None or not self._fresh(row, now):
            return None
        made = replace(_session(row), auth_time=auth_time, amr=amr, acr=acr, upstream=upstream)
        return made, cookie

    async def end(self, session_id: str) -> bool:
        """End a session, and with it what was allowed while somebody is signed in; False when there
        is none to end."""
        return bool(await self._end({"_id": session_id}))

    async def end_all(self, person: str, *, but: str = "", role: str = "") -> int:
        """End every session of a person (those in `role`, when one is named), except the session `but`.
        Returns how many ended."""
        where: Doc = {"person": person, "_id": {"$ne": but}}
        return await self._end(where | ({"role": role} if role else {}))

    async def end_upstream(self, arrivals: Sequence[str]) -> int:
        """End the sessions that came of these arrivals from another provider."""
        return await self._end({"upstream": {"$in": list(arrivals)}}) if arrivals else 0

    async def of_person(self, person: str) -> list[Listed]:
        """The live sessions of a person, last used first."""
        now = self._clock()
        rows = await self._table.many({"person": person, "ended": None}, sort=[("seen", -1)])
        return [
            Listed(_session(r), r["opened"], r["seen"], r["browser"], r["address"])
            for r in rows
            if self._fresh(r, now)
        ]

    def give(self, answer: Response, cookie: str) -> None:
        """Let the browser that gets this answer hold the session. The cookie has no lifetime of its
        own: it goes with the browser, and the limits are kept here."""
        answer.set_cookie(
            cookie_name(self._secure), cookie,
            path="/", secure=self._secure, httponly=True, samesite="lax",
        )  # fmt: skip

    def take(self, answer: Response) -> None:
        """Let the browser forget its session."""
        answer.delete_cookie(
            cookie_name(self._secure),
            path="/", secure=self._secure, httponly=True, samesite="lax",
        )  # fmt: skip

    async def _end(self, where: Doc) -> int:
        async def story(session: AsyncClientSession) -> int:
            rows = await self._table.many(where | {"ended": None}, {"_id": 1}, session=session)
            for row in rows:
                change = {"$set": {"ended": self._clock()}}
                await self._table.update({"_id": row["_id"]}, change, session=session)
                await self._revocations.end_session(row["_id"], session)
            return len(rows)

        ended = await self._mongo.transaction(story)
        if ended:
            await self._revocations.here.refresh()
        return ended

    def _fresh(self, row: Doc, now: float) -> bool:
        return bool(row["seen"] + self._idle > now and row["until"] > now)


def cookie_name(secure: bool) -> str:
    """The name of the session cookie: a browser takes `__Host-` only from https, for this host alone."""
    return f"__Host-{_COOKIE}" if secure else _COOKIE


def _digest(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()


def _document(session: Session, cookie: str, now: float) -> Doc:
    return {
        "_id": session.id,
        "digest": _digest(cookie),
        "person": session.person,
        "name": session.name,
        "organisation": session.organisation,
        "role": session.role,
        "purpose": session.purpose,
        "reason": session.reason,
        "auth_time": session.auth_time,
        "amr": list(session.amr),
        "acr": session.acr,
        "opened": now,
        "seen": now,
        "until": session.until,
        "upstream": session.upstream,
        "ended": None,
        "gone": datetime.fromtimestamp(session.until, UTC) + _KEPT,
    }


def _session(row: Doc) -> Session:
    return Session(
        id=row["_id"],
        person=row["person"],
        name=row["name"],
        organisation=row["organisation"],
        role=row["role"],
        purpose=row["purpose"],
        reason=row["reason"],
        auth_time=row["auth_time"],
        amr=tuple(row["amr"]),
        acr=row["acr"],
        until=row["until"],
        upstream=row.get("upstream", ""),
    )
