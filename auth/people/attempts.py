"""Sign-ins under way: who has proved what so far, by the digest of the visit's cookie.

    username and password ─┬─► second factor ─┬─► new password ─┬─► set up an app ─┬─► role ──► session
    passkey ───────────────┴──────────────────┴─ (only where it was somebody's) ───┘
                                                   else's word)

A sign-in that is not finished within ten minutes begins anew. The browser gets another visit with the
first proof, so that nobody can prepare a visit for somebody else to sign in to.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pymongo import IndexModel

from auth.people.person import Person
from chassis.mongo import Doc, Mongo

SECONDS = 600
PASSWORD_ONLY, STRONG = "AAL1", "AAL2"  # NIST SP 800-63B's names

Step = Literal["second", "password", "app", "role"]
_SECOND = frozenset({"otp", "hwk", "swk", "mfa"})


@dataclass(frozen=True, slots=True)
class Attempt:
    """A sign-in that is under way. `amr` is what was proved (RFC 8176), `at` when (epoch seconds);
    `continuing` is the id of the request of an app that it goes on to; `acr` is what another provider
    said of its strength, and `upstream` the arrival from there (auth/upstream/journeys.py)."""

    person: str
    amr: tuple[str, ...]
    at: float
    continuing: str = ""
    acr: str = ""
    upstream: str = ""

    @property
    def strength(self) -> str:
        """The `acr` of the session that comes of it."""
        return self.acr or (STRONG if "mfa" in self.amr else PASSWORD_ONLY)


def next_step(attempt: Attempt, person: Person, *, needs_second: bool) -> Step:
    """What is to be done next. PURE."""
    second = bool(_SECOND & set(attempt.amr)) or bool(attempt.acr)
    if person.second_factor and not second:
        return "second"
    if "pwd" in attempt.amr and person.password is not None and person.password.once:
        return "password"
    if needs_second and not second:
        return "app"
    return "role"


class Attempts:
    """The store of sign-ins under way and of challenges to passkeys, in `auth.sign_ins`."""

    def __init__(self, mongo: Mongo, *, clock: Callable[[], float] = time.time) -> None:
        self._table, self._clock = mongo.table("auth", "sign_ins"), clock

    async def prepare(self) -> None:
        """Make the collection and its index; kept when they exist."""
        await self._table.ensure(IndexModel([("gone", 1)], name="gone", expireAfterSeconds=0))

    async def begin(self, visit: str, attempt: Attempt) -> None:
        """Keep the sign-in of this visit."""
        row = self._row(_key("visit", visit)) | {
            "person": attempt.person, "amr": list(attempt.amr), "at": attempt.at,
            "continuing": attempt.continuing, "acr": attempt.acr, "upstream": attempt.upstream,
        }  # fmt: skip
        await self._table.replace({"_id": row["_id"]}, row, upsert=True)

    async def of(self, visit: str) -> Attempt | None:
        """The sign-in of this visit, if one is under way."""
        return self._attempt(await self._table.one({"_id": _key("visit", visit)}))

    async def prove(self, visit: str, *amr: str) -> bool:
        """Add to what was proved; False when the sign-in is over."""
        where = {"_id": _key("visit", visit), "until": {"$gt": self._clock()}}
        change = {"$addToSet": {"amr": {"$each": list(amr)}}, "$set": {"at": self._clock()}}
        return bool(await self._table.update(where, change))

    async def finish(self, visit: str) -> bool:
        """End the sign-in of this visit; of two that finish it, one gets True."""
        return bool(await self._table.delete({"_id": _key("visit", visit)}))

    async def drop(self, arrivals: Sequence[str]) -> None:
        """End the sign-ins under way of these arrivals from elsewhere."""
        await self._table.delete({"upstream": {"$in": list(arrivals)}}, many=True)

    async def challenge(self, of: str, challenge: bytes, **facts: Any) -> None:
        """Keep the challenge that a passkey must answer, one for each cookie."""
        row = self._row(_key("challenge", of)) | {"challenge": challenge, "facts": facts}
        await self._table.replace({"_id": row["_id"]}, row, upsert=True)

    async def challenged(self, of: str) -> tuple[bytes, Doc] | None:
        """Take the challenge back, with what was kept beside it: each can be answered once."""
        row = await self._table.raw.find_one_and_delete(
            {"_id": _key("challenge", of), "until": {"$gt": self._clock()}}
        )
        return (bytes(row["challenge"]), row["facts"]) if row is not None else None

    def _row(self, key: str) -> Doc:
        until = self._clock() + SECONDS
        return {"_id": key, "until": until, "gone": datetime.fromtimestamp(until, UTC)}

    def _attempt(self, row: Doc | None) -> Attempt | None:
        if row is None or row["until"] <= self._clock():
            return None
        return Attempt(
            row["person"], tuple(row["amr"]), row["at"], row["continuing"], row["acr"],
            row.get("upstream", ""),
        )  # fmt: skip


def _key(kind: str, cookie: str) -> str:
    return kind + ":" + hashlib.sha256(cookie.encode()).hexdigest()
