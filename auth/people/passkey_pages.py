"""Signing in with a passkey, and keeping one's passkeys.

The script of the page (`assets/passkeys.js`) asks for options, lets the browser do its part and sends the
answer as an ordinary form. Each challenge belongs to one browser and is answered once.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from auth.authority import Authority
from auth.pages import Fault, browsing
from auth.pages.layout import SERVICE, headers
from auth.people import passkeys, trail
from auth.people.continuing import Continuing
from auth.people.passkeys import PasskeyRefused, Place
from auth.people.person import Passkey, Person
from auth.people.sign_in import form, gone, onward, prove, second_form, under_way
from auth.people.throttle import ADDRESS
from standards.sign_in import FACTOR, LOGIN

_FAILED = "This passkey did not sign you in. Try again, or sign in with your password."


async def options(request: Request, authority: Authority) -> Response:
    """The options to sign in with, for whoever comes, or as the second factor of who is half-way in."""
    desk, at = authority.reception, browsing(request)
    attempt = await desk.attempts.of(at.visit)
    person = await desk.people.get(attempt.person) if attempt else None
    own = person.passkeys if person is not None and person.active and at.form.get("second") else ()
    text, challenge = passkeys.authentication(place(authority), own)
    await desk.attempts.challenge(at.visit, challenge)
    return json_answer(text, at.secure)


async def sign_in_with_passkey(request: Request, authority: Authority) -> Response:
    """Sign in with nothing but a passkey."""
    desk, at = authority.reception, browsing(request)
    waiting: Continuing | None = None
    if at.form.get("continue"):
        waiting = await desk.waiting.get(at.form["continue"])
        if waiting is None:
            return gone(request)
    verdict = await desk.throttle.attempt(ADDRESS, at.address)
    found = await _answered(request, authority) if verdict.allowed else None
    if found is None:
        fault = Fault("passkey", _FAILED)
        return form(request, authority, waiting, errors=(fault,), status=400)
    await desk.throttle.pardoned(ADDRESS, at.address)
    person, passkey = found
    continuing = waiting.id if waiting else ""
    return await prove(request, authority, person, *passkeys.amr(passkey), continuing=continuing)


async def second_with_passkey(request: Request, authority: Authority) -> Response:
    """A passkey as the second factor after the password."""
    found = await under_way(request, authority, "second")
    if isinstance(found, Response):
        return found
    attempt, person = found
    answered = await _answered(request, authority, whose=person)
    if answered is None:
        fault = Fault("passkey", "This passkey was not accepted. Try again, or use a code.")
        return await second_form(request, authority, attempt, person, fault, 400)
    proved = passkeys.amr(answered[1])
    if not await authority.reception.attempts.prove(browsing(request).visit, *proved):
        return gone(request)
    after = await authority.reception.attempts.of(browsing(request).visit)
    return onward(request, authority, after, person) if after else gone(request)


async def registration_options(request: Request, authority: Authority, person: Person) -> Response:
    """The options to make a passkey with."""
    at = browsing(request)
    text, challenge = passkeys.registration(place(authority), person)
    await authority.reception.attempts.challenge("new " + at.csrf, challenge)
    return json_answer(text, at.secure)


async def add(request: Request, authority: Authority, person: Person) -> Fault | None:
    """Keep the new passkey of a form; what is wrong with it otherwise."""
    desk, given = authority.reception, browsing(request).form
    challenged = await desk.attempts.challenged("new " + browsing(request).csrf)
    failed = Fault("passkey", "The passkey could not be made. Try again.")
    if challenged is None:
        return failed
    if not passkeys.room_for_more(person):
        return Fault("passkey", "You have as many passkeys as you can have. Remove one first.")
    try:
        made = passkeys.registered(
            place(authority), given.get("credential", ""), challenged[0], given.get("name", ""),
            authority.clock(),
        )  # fmt: skip
    except PasskeyRefused:
        return failed
    await trail.record(request, authority, FACTOR, "Passkey added.", person=person)
    return None if await desk.people.add_passkey(person.id, made) else failed


def place(authority: Authority) -> Place:
    """Where passkeys are for."""
    return Place.of(authority.settings.origin, SERVICE)


def json_answer(text: str, secure: bool) -> Response:
    """Options as the script reads them."""
    return Response(text, 200, headers(secure), media_type="application/json")


async def _answered(
    request: Request, authority: Authority, whose: Person | None = None
) -> tuple[Person, Passkey] | None:
    """Whose passkey answered the challenge of this visit; None, and told to the trail, when none did."""
    desk, at = authority.reception, browsing(request)
    answer, challenged = at.form.get("credential", ""), await desk.attempts.challenged(at.visit)
    person: Person | None = None
    try:
        if challenged is None:
            raise PasskeyRefused("The passkey answered no challenge of this browser.")
        id_ = passkeys.credential_id(answer)
        person = await desk.people.by_passkey(id_)
        passkey = next((p for p in person.passkeys if p.id == id_), None) if person else None
        if person is None or passkey is None:
            raise PasskeyRefused("Nobody has the passkey that was used.")
        if whose is not None and whose.id != person.id:
            raise PasskeyRefused("The passkey is another person's.")
        count = passkeys.used(place(authority), answer, challenged[0], passkey, person)
        if not await desk.people.use_passkey(id_, passkey.count, count):
            raise PasskeyRefused("The passkey was used twice at once.")
    except PasskeyRefused as refusal:
        await trail.record(
            request, authority, LOGIN, str(refusal), person=whose or person, refused=True
        )
        return None
    return person, passkey
