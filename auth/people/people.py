"""The store of people who sign in, in `auth.people`. Nobody is ever deleted, so that the audit trail
keeps its meaning; a person who leaves is made inactive, which ends everything they are signed in to.

Whatever may be used once is claimed by one conditional update: a password that somebody else made, the
step of a time-based code, a recovery code, a passkey's counter.
"""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from datetime import time as clock_time
from typing import Any

from pymongo import IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from auth.people.person import Appointment, Passkey, Password, Person, username_key
from auth.people.seal import Seal
from auth.people.sessions import Sessions
from auth.revocations import Revocations
from chassis.mongo import Doc, Mongo

DRAFT_SECONDS = 900.0  # how long an authenticator app may take to be set up


class UsernameTaken(ValueError):  # noqa: N818  says what is the matter
    """Another person has or had this username."""


class People:
    """The store of people."""

    def __init__(
        self,
        mongo: Mongo,
        seal: Seal,
        sessions: Sessions,
        revocations: Revocations,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._mongo, self._table = mongo, mongo.table("auth", "people")
        self._seal, self._sessions, self._revocations = seal, sessions, revocations
        self._clock = clock

    async def prepare(self) -> None:
        """Make the collection and its indexes; kept when they exist."""
        await self._table.ensure(
            IndexModel([("key", 1)], name="key", unique=True),
            IndexModel(
                [("passkeys.id", 1)], name="passkeys", unique=True,
                partialFilterExpression={"passkeys.id": {"$exists": True}},
            ),
            IndexModel([("handle", 1)], name="handle", unique=True),
        )  # fmt: skip

    async def add(self, person: Person) -> Person:
        """Keep a new person; id, handle and dates are made here. Raises `UsernameTaken`."""
        now = self._clock()
        made = replace(
            person, id=person.id or str(uuid.uuid4()), handle=secrets.token_bytes(32),
            created=now, changed=now,
        )  # fmt: skip
        try:
            await self._table.insert(_document(made))
        except DuplicateKeyError:
            raise UsernameTaken(f"The username {made.username} is taken.") from None
        return made

    async def get(self, person_id: str) -> Person | None:
        """The person of this id, active or not; None when there is none."""
        return _person(await self._table.one({"_id": person_id}))

    async def by_username(self, username: str) -> Person | None:
        """The person of this username, active or not; None when there is none."""
        return _person(await self._table.one({"key": username_key(username)}))

    async def by_passkey(self, credential: str) -> Person | None:
        """The active person who has the passkey of this id (base64url)."""
        return _person(await self._table.one({"passkeys.id": credential, "active": True}))

    async def all(self) -> list[Person]:
        """Everyone, inactive people included, by username."""
        rows = await self._table.many({}, sort=[("key", 1)])
        return [found for row in rows if (found := _person(row)) is not None]

    async def change(self, person_id: str, **names: str) -> bool:
        """Change given, family, prefix or professional_id; False when there is nobody of this id."""
        return await self._set(person_id, names)

    async def appoint(self, person_id: str, appointment: Appointment) -> bool:
        """Give a role, or change the dates of one that is held in this organisation already."""
        row = await self._table.one({"_id": person_id}, {"appointments": 1})
        if row is None:
            return False
        same = (appointment.role, appointment.organisation)
        kept = [a for a in row["appointments"] if (a["role"], a["organisation"]) != same]
        made = [*kept, _appointment_document(appointment)]
        # The list as it was is part of the condition: two changes at once cannot lose one.
        where = {"_id": person_id, "appointments": row["appointments"]}
        if not await self._table.update(where, {"$set": {"appointments": made, **self._now()}}):
            return await self.appoint(person_id, appointment)
        if not appointment.on(datetime.fromtimestamp(self._clock(), UTC).date()):
            await self._sessions.end_all(person_id, role=appointment.role)
        return True

    async def deactivate(self, person_id: str) -> bool:
        """End a person: nothing they know or have opens anything, and everything that they are signed
        in to or have allowed ends. False when there is no active person of this id."""

        async def story(session: AsyncClientSession) -> bool:
            change = {"$set": {"active": False, "password": None, **self._now()}}
            where = {"_id": person_id, "active": True}
            if not await self._table.update(where, change, session=session):
                return False
            await self._revocations.end_person(person_id, session)
            return True

        ended = await self._mongo.transaction(story)
        if ended:
            await self._sessions.end_all(person_id)
        return ended

    async def set_password(self, person_id: str, password: Password) -> bool:
        """Set the password of an active person, whatever it was."""
        return await self._set(person_id, {"password": _password_document(password)}, active=True)

    async def replace_password(self, person_id: str, old: Password, new: Password) -> bool:
        """Put a new password in the place of this one; of two that do, one can."""
        where = {"_id": person_id, "active": True, "password.hash": old.hash}
        change = {"$set": {"password": _password_document(new), **self._now()}}
        return bool(await self._table.update(where, change))

    async def draft_codes(self, person_id: str, secret: bytes) -> None:
        """Keep the seed of an authenticator app that is being set up."""
        draft = {"sealed": self._seal.close(secret, person_id), "at": self._clock()}
        await self._table.update({"_id": person_id, "active": True}, {"$set": {"draft": draft}})

    async def drafted_codes(self, person_id: str) -> bytes | None:
        """The seed that is being set up; None when there is none or it is too old."""
        row = await self._table.one({"_id": person_id, "active": True}, {"draft": 1})
        draft = (row or {}).get("draft")
        if draft is None or draft["at"] + DRAFT_SECONDS < self._clock():
            return None
        return self._seal.open(draft["sealed"], person_id)

    async def start_codes(self, person_id: str, step: int, recovery: Sequence[str]) -> bool:
        """Make the drafted seed the one that counts, with this step used, and these digests the
        recovery codes. False when there is no draft (any more)."""
        row = await self._table.one({"_id": person_id, "active": True}, {"draft": 1})
        draft = (row or {}).get("draft")
        if draft is None:
            return False
        totp = {"sealed": draft["sealed"], "step": step, "since": self._clock()}
        where = {"_id": person_id, "active": True, "draft.at": draft["at"]}
        change = {
            "$set": {"totp": totp, "recovery": list(recovery), **self._now()},
            "$unset": {"draft": ""},
        }
        return bool(await self._table.update(where, change))

    async def stop_codes(self, person_id: str) -> bool:
        """Forget the authenticator app and the recovery codes."""
        where = {"_id": person_id, "totp": {"$ne": None}}
        return bool(
            await self._table.update(where, {"$set": {"totp": None, "recovery": [], **self._now()}})
        )

    async def codes(self, person_id: str) -> bytes | None:
        """The seed of the person's authenticator app; None without one."""
        row = await self._table.one({"_id": person_id, "active": True}, {"totp": 1})
        if row is None or row.get("totp") is None:
            return None
        return self._seal.open(row["totp"]["sealed"], person_id)

    async def use_step(self, person_id: str, step: int) -> bool:
        """Use a time step; False when it or a later one was used before."""
        where = {"_id": person_id, "active": True, "totp.step": {"$lt": step}}
        return bool(await self._table.update(where, {"$set": {"totp.step": step}}))

    async def use_recovery(self, person_id: str, digest: str) -> bool:
        """Use a recovery code up; False when it is none of the person's, or used."""
        where = {"_id": person_id, "active": True, "recovery": digest}
        return bool(await self._table.update(where, {"$pull": {"recovery": digest}}))

    async def renew_recovery(self, person_id: str, digests: Sequence[str]) -> bool:
        """Put new recovery codes in the place of all others."""
        return await self._set(person_id, {"recovery": list(digests)}, active=True)

    async def add_passkey(self, person_id: str, passkey: Passkey) -> bool:
        """Keep a passkey; False when somebody has it already."""
        where = {"_id": person_id, "active": True, "passkeys.id": {"$ne": passkey.id}}
        change = {"$push": {"passkeys": _passkey_document(passkey)}, "$set": self._now()}
        try:
            return bool(await self._table.update(where, change))
        except DuplicateKeyError:
            return False

    async def use_passkey(self, credential: str, old: int, new: int) -> bool:
        """Move a passkey's counter on; False when another use was faster, or it was removed."""
        where = {"active": True, "passkeys": {"$elemMatch": {"id": credential, "count": old}}}
        change = {"$set": {"passkeys.$.count": new, "passkeys.$.used": self._clock()}}
        return bool(await self._table.update(where, change))

    async def remove_passkey(self, person_id: str, credential: str) -> bool:
        """Forget a passkey; False when the person has none of this id."""
        where = {"_id": person_id, "passkeys.id": credential}
        change = {"$pull": {"passkeys": {"id": credential}}, "$set": self._now()}
        return bool(await self._table.update(where, change))

    async def _set(self, person_id: str, values: dict[str, Any], *, active: bool = False) -> bool:
        where: Doc = {"_id": person_id} | ({"active": True} if active else {})
        return bool(await self._table.update(where, {"$set": {**values, **self._now()}}))

    def _now(self) -> Doc:
        return {"changed": self._clock()}


def _document(person: Person) -> Doc:
    return {
        "_id": person.id,
        "username": person.username,
        "key": username_key(person.username),
        "given": person.given,
        "family": person.family,
        "prefix": person.prefix,
        "professional_id": person.professional_id,
        "appointments": [_appointment_document(a) for a in person.appointments],
        "active": person.active,
        "password": _password_document(person.password) if person.password else None,
        "totp": None,
        "recovery": [],
        "handle": person.handle,
        "created": person.created,
        "changed": person.changed,
    }


def _appointment_document(made: Appointment) -> Doc:
    return {
        "role": made.role,
        "organisation": made.organisation,
        "starts": _moment(made.starts),
        "ends": _moment(made.ends) if made.ends else None,
    }


def _password_document(made: Password) -> Doc:
    return {"hash": made.hash, "set": made.set, "once": made.once, "until": made.until}


def _passkey_document(made: Passkey) -> Doc:
    return {
        "id": made.id,
        "key": made.key,
        "count": made.count,
        "name": made.name,
        "made": made.made,
        "used": made.used,
        "transports": list(made.transports),
        "synced": made.synced,
    }


def _person(row: Doc | None) -> Person | None:
    if row is None:
        return None
    kept = row["password"]
    return Person(
        id=row["_id"],
        username=row["username"],
        given=row["given"],
        family=row["family"],
        prefix=row["prefix"],
        professional_id=row["professional_id"],
        appointments=tuple(
            Appointment(
                a["role"], a["organisation"], a["starts"].date(), a["ends"].date() if a["ends"] else None
            )
            for a in row["appointments"]
        ),
        active=row["active"],
        password=Password(kept["hash"], kept["set"], kept["once"], kept["until"]) if kept else None,
        coded=row["totp"] is not None,
        recovery=len(row["recovery"]),
        passkeys=tuple(
            Passkey(
                p["id"], bytes(p["key"]), p["count"], p["name"], p["made"], p["used"],
                tuple(p["transports"]), p["synced"],
            )
            for p in row.get("passkeys", ())
        ),
        handle=bytes(row["handle"]),
        created=row["created"],
        changed=row["changed"],
    )  # fmt: skip


def _moment(day: date) -> datetime:
    return datetime.combine(day, clock_time(0), UTC)
