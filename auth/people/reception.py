"""The parts that signing in is made of, and the rules that go with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime

import httpx

from affinity.choices import Choice
from affinity.pack import Pack
from auth.keys import master_key
from auth.people.attempts import Attempts
from auth.people.continuing import Waiting
from auth.people.passwords import Passwords
from auth.people.people import People
from auth.people.person import Appointment, Person, needs_second_factor
from auth.people.seal import Seal
from auth.people.sessions import Sessions
from auth.people.throttle import Throttle
from auth.revocations import Revocations
from chassis.mongo import Mongo
from chassis.settings import Settings


@dataclass(frozen=True, slots=True)
class Reception:
    """Where people are signed in: the stores, the pack whose roles and purposes are offered, and who
    needs a second factor."""

    people: People
    passwords: Passwords
    throttle: Throttle
    attempts: Attempts
    waiting: Waiting
    pack: Pack
    everyone_needs_second: bool
    roles_need_second: frozenset[str]

    def appointments(self, person: Person, now: float) -> tuple[Appointment, ...]:
        """What the person may sign in as today: held, known to the pack, and with a purpose."""
        return tuple(a for a in person.on(today(now)) if self.pack.choices.get(a.role))

    def choices(self, role: str) -> tuple[Choice, ...]:
        """The purposes that go with a role."""
        return self.pack.choices.get(role, ())

    def needs_second(self, person: Person, now: float) -> bool:
        """Must this person have more than a password?"""
        held = person.on(today(now))
        return needs_second_factor(held, self.everyone_needs_second, self.roles_need_second)

    def organisation(self, code: str) -> str:
        """The name of an organisation."""
        found = self.pack.organisations.get(code)
        return found.name if found else code


def today(now: float) -> date:
    """The day on which roles begin and end."""
    return datetime.fromtimestamp(now, UTC).date()


def people_of(
    settings: Settings,
    mongo: Mongo,
    sessions: Sessions,
    revocations: Revocations,
    *,
    make: bool = False,
) -> People:
    """The store of people as the settings protect it (the master key file of the signing keys).
    `make` the file when it is missing: that is for the service with its embedded mongod alone."""
    master = master_key(settings.data / "keys" / "master.key", make=make)
    return People(mongo, Seal(master), sessions, revocations)


@asynccontextmanager
async def opened(
    settings: Settings,
    mongo: Mongo,
    http: httpx.AsyncClient,
    pack: Pack,
    sessions: Sessions,
    revocations: Revocations,
) -> AsyncIterator[Reception]:
    """The reception, ready, for as long as the block runs."""
    passwords = Passwords(
        http, memory=settings.password_memory, range_url=settings.breached_passwords_url
    )
    embedded = not settings.mongodb.get_secret_value()
    try:
        made = Reception(
            people=people_of(settings, mongo, sessions, revocations, make=embedded),
            passwords=passwords,
            throttle=Throttle(mongo),
            attempts=Attempts(mongo),
            waiting=Waiting(mongo),
            pack=pack,
            everyone_needs_second=settings.second_factor == "required",
            roles_need_second=frozenset(
                code.strip() for code in settings.second_factor_roles.split(",") if code.strip()
            ),
        )
        await asyncio.gather(
            made.people.prepare(), made.throttle.prepare(), made.attempts.prepare()
        )
        yield made
    finally:
        passwords.close()
