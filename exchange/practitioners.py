"""`throughline practitioners`: who may sign in, through auth's own stores."""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, TypeVar

import httpx
from rich.console import Console
from rich.table import Table

from affinity.pack import Pack, PackError, load
from auth.people import person as rules
from auth.people.passwords import Passwords, new_one_time
from auth.people.people import People, UsernameTaken
from auth.people.person import Appointment, Password, Person
from auth.people.reception import people_of, today
from auth.people.sessions import Sessions
from auth.people.throttle import CODE, USERNAME, Throttle
from auth.revocations import Revocations
from chassis import outbox
from chassis.call import Account, Caller, instant
from chassis.mongo import Mongo
from chassis.settings import Settings
from exchange.exits import Exit, Trouble
from exchange.nearby import with_mongo
from standards import balp
from standards.rows import AuditPattern
from standards.sign_in import FACTOR, ROLES

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Desk:
    """The stores as a command has them."""

    settings: Settings
    mongo: Mongo
    people: People
    sessions: Sessions
    passwords: Passwords

    async def tell(self, pattern: AuditPattern, words: str, person: Person) -> None:
        """Have it in the audit trail: it lies in the outbox until the exchange runs."""
        issuer = self.settings.issuer
        said = balp.Request(
            event_id=str(uuid.uuid4()),
            recorded=instant(datetime.now(UTC)),
            server=issuer,
            words=words,
        )
        who = Caller(
            client_id="throughline practitioners",
            subject=person.id,
            issuer=issuer,
            name=person.name,
        )
        event = balp.event(pattern, who, Account(), said)
        await outbox.put(None, self.mongo, "auth", event)


def add(settings: Settings, person: Person, hours: int) -> str:
    """Register a person and return their one-time password. Raises `Trouble`."""
    faults = rules.faults(person, _pack(settings))
    if faults:
        raise Trouble(Exit.USAGE, "\n".join(faults))

    async def story(desk: Desk) -> str:
        try:
            made = await desk.people.add(person)
        except UsernameTaken as fault:
            raise Trouble(
                Exit.REFUSED, f"{fault} Usernames of people who left stay taken."
            ) from fault
        await desk.tell(ROLES, f"Registered in a role: {_roles_of(made)}.", made)
        return await one_time_password(desk, made, hours)

    return with_desk(settings, story)


def show(settings: Settings, console: Console, *, as_json: bool) -> None:
    """Print everyone as a table, or as one JSON array."""
    found = with_desk(settings, lambda desk: desk.people.all())
    now = time.time()
    if as_json:
        print(json.dumps([_row(p, now) for p in found], indent=1, ensure_ascii=False))
        return
    table = Table()
    table.add_column("Username", no_wrap=True)
    for column in ("Name", "Roles today", "Second factor", "Password", "Active"):
        table.add_column(column, overflow="fold")
    for p in found:
        row = _row(p, now)
        held = [f"{a.role} at {a.organisation}" for a in p.on(today(now))]
        second = ", ".join(row["factors"]) or "none"
        table.add_row(
            p.username, p.name, "\n".join(held) or "none", second, row["password"],
            "yes" if p.active else "no",
        )  # fmt: skip
    console.print(table if found else "Nobody yet: throughline practitioners add --help")


def role(settings: Settings, username: str, appointment: Appointment) -> None:
    """Give somebody a role, or change its dates. Raises `Trouble`."""
    faults = rules.appointment_faults(appointment, _pack(settings))
    if faults:
        raise Trouble(Exit.USAGE, "\n".join(faults))

    async def story(desk: Desk) -> None:
        person = await known(desk, username)
        ends = f" to {appointment.ends}" if appointment.ends else ""
        words = f"{appointment.role} at {appointment.organisation} from {appointment.starts}{ends}."
        await desk.tell(ROLES, f"Role given or changed: {words}", person)
        await desk.people.appoint(person.id, appointment)

    with_desk(settings, story)
    ends = f" until {appointment.ends}" if appointment.ends else ""
    say(
        f"{username} is {appointment.role} at {appointment.organisation} from {appointment.starts}{ends}."
    )


def password(settings: Settings, username: str, hours: int, *, forget: bool) -> str:
    """A new one-time password in the place of the present one; every sign-in ends. With `forget` the
    authenticator app, recovery codes and passkeys go too. Raises `Trouble`."""

    async def story(desk: Desk) -> str:
        person = await known(desk, username)
        if not person.active:
            raise Trouble(Exit.REFUSED, f"{username} is not active and gets no password.")
        also = " Second factors forgotten." if forget else ""
        await desk.tell(FACTOR, f"New one-time password made by an operator.{also}", person)
        if forget:
            await desk.people.stop_codes(person.id)
            for passkey in person.passkeys:
                await desk.people.remove_passkey(person.id, passkey.id)
        made = await one_time_password(desk, person, hours)
        await desk.sessions.end_all(person.id)
        throttle = Throttle(desk.mongo)  # a new password is not held up by guesses at the old one
        await throttle.succeeded(USERNAME, rules.username_key(person.username))
        await throttle.succeeded(CODE, person.id)
        return made

    return with_desk(settings, story)


def deactivate(settings: Settings, username: str) -> None:
    """End a person and everything they are signed in to. Raises `Trouble`."""

    async def story(desk: Desk) -> None:
        person = await known(desk, username)
        if person.active:
            await desk.tell(ROLES, "Made inactive by an operator.", person)
        if not await desk.people.deactivate(person.id):
            raise Trouble(Exit.REFUSED, f"{username} is not active already.")

    with_desk(settings, story)
    say(f"{username} cannot sign in any more; what they were signed in to has ended.")


async def one_time_password(desk: Desk, person: Person, hours: int) -> str:
    """Set a password that opens the page to choose one's own, for so many hours, and return it."""
    made, now = new_one_time(), time.time()
    kept = Password(await desk.passwords.hash(made), now, once=True, until=now + hours * 3600)
    await desk.people.set_password(person.id, kept)
    return made


def ready(settings: Settings, wanted: Sequence[Person], hours: int) -> list[tuple[Person, str]]:
    """Have each of these people registered, and give those who have no password of their own yet a new
    one-time password; "" for the others."""

    async def one(desk: Desk, person: Person) -> tuple[Person, str]:
        found = await desk.people.by_username(person.username)
        if found is not None and found.password is not None and not found.password.once:
            return found, ""
        made = found or await desk.people.add(person)
        return made, await one_time_password(desk, made, hours)

    async def story(desk: Desk) -> list[tuple[Person, str]]:
        return list(await asyncio.gather(*(one(desk, person) for person in wanted)))

    return with_desk(settings, story)


def with_desk(settings: Settings, story: Callable[[Desk], Awaitable[T]]) -> T:
    """Do something with the stores of the exchange that these settings mean."""

    async def run(mongo: Mongo) -> T:
        async with httpx.AsyncClient() as http:
            revocations = Revocations(mongo)
            sessions = Sessions(settings, mongo, revocations)
            people = people_of(settings, mongo, sessions, revocations, make=False)
            passwords = Passwords(http, memory=settings.password_memory)
            try:
                await revocations.prepare()
                await sessions.prepare()
                await people.prepare()
                await outbox.prepare(mongo, "auth")
                return await story(Desk(settings, mongo, people, sessions, passwords))
            finally:
                passwords.close()

    return with_mongo(settings, run)


def day(text: str, flag: str, otherwise: date | None) -> date | None:
    """A date of the command line. Raises `Trouble` naming the flag."""
    if not text:
        return otherwise
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Trouble(Exit.USAGE, f"{flag} is a date like 2027-03-31 (it is {text!r}).") from None


def say(words: str) -> None:
    """To standard error, so that standard output is what a script wants."""
    print(words, file=sys.stderr)


def _pack(settings: Settings) -> Pack:
    try:
        return load(settings.affinity)
    except PackError as fault:
        raise Trouble(Exit.USAGE, f"--affinity: {fault}") from fault


async def known(desk: Desk, username: str) -> Person:
    """The person of this username. Raises `Trouble` when there is nobody."""
    person = await desk.people.by_username(username)
    if person is None:
        raise Trouble(
            Exit.REFUSED,
            f"There is nobody called {username}; see `throughline practitioners list`.",
        )
    return person


def _roles_of(person: Person) -> str:
    return ", ".join(f"{a.role} at {a.organisation}" for a in person.appointments)


def _row(person: Person, now: float) -> dict[str, Any]:
    kept = person.password
    factors = ["app"] if person.coded else []
    return {
        "id": person.id,
        "username": person.username,
        "name": person.name,
        "professional_id": person.professional_id,
        "active": person.active,
        "appointments": [
            {
                "role": a.role,
                "organisation": a.organisation,
                "from": a.starts.isoformat(),
                "to": a.ends.isoformat() if a.ends else None,
            }
            for a in person.appointments
        ],
        "factors": [*factors, *(f"passkey {p.name}" for p in person.passkeys)],
        "password": _password_words(kept, now),
        "since": datetime.fromtimestamp(person.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _password_words(kept: Password | None, now: float) -> str:
    if kept is None:
        return "none"
    if not kept.once:
        return "own"
    return "one-time" if kept.usable(now) else "one-time, expired"
