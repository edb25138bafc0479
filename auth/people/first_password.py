"""A password of one's own in the place of one that somebody else made, and changing it later."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import Response

from auth.authority import Authority
from auth.pages import Fault, browsing, page
from auth.people import passwords, trail
from auth.people.person import Password, Person
from auth.people.sign_in import gone, onward, targets, under_way
from standards.sign_in import FACTOR


async def first_password(request: Request, authority: Authority) -> Response:
    """The page that a one-time password opens: nothing else can be done before."""
    found = await under_way(request, authority, "password")
    if isinstance(found, Response):
        return found
    attempt, person = found
    errors: tuple[Fault, ...] = ()
    if request.method == "POST":
        errors = tuple(await faults(request, authority, person))
        if not errors:
            if not await replaced(request, authority, person):
                return gone(request)
            after = await authority.reception.people.get(person.id)
            return onward(request, authority, attempt, after or person)
    waiting = await authority.reception.waiting.get(attempt.continuing)
    return page(
        request, "first_password.jinja", 400 if errors else 200,
        errors=errors, also_to=targets(waiting), username=person.username,
    )  # fmt: skip


async def faults(request: Request, authority: Authority, person: Person) -> list[Fault]:
    """What is wrong with the new password that was sent."""
    given = browsing(request).form
    new, desk = given.get("new-password", ""), authority.reception
    if not new:
        return [Fault("new-password", "Enter a new password.")]
    found = passwords.faults(new, _about(authority, person))
    if not found and await desk.passwords.breached(new):
        found = ["This password is known from a breach of another service. Choose another."]
    if not found and person.password is not None:
        same = await desk.passwords.check(person.password.hash, new)
        found = ["Choose another password than the one you have."] if same.right else []
    made = [Fault("new-password", words) for words in found]
    if not made and passwords.normal(given.get("repeat", "")) != passwords.normal(new):
        made.append(Fault("repeat", "The two passwords differ. Enter the new password again."))
    return made


async def replaced(request: Request, authority: Authority, person: Person) -> bool:
    """Put the new password in its place; False when another change was faster."""
    desk = authority.reception
    new = await desk.passwords.hash(browsing(request).form["new-password"])
    if person.password is None:
        return False
    await trail.record(request, authority, FACTOR, "Password changed.", person=person)
    made = Password(new, authority.clock())
    return await desk.people.replace_password(person.id, person.password, made)


def _about(authority: Authority, person: Person) -> Iterable[str]:
    yield from (person.username, person.given, person.family, "throughline")
    for appointment in person.appointments:
        yield authority.reception.organisation(appointment.organisation)
