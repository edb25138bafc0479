"""What somebody who is signed in can see and change of their own: password, app, passkeys, sign-ins.

What would let somebody else in (a new passkey or app, removing one) needs a sign-in of the last fifteen
minutes (ASVS 5.0 7.5.1); older ones are asked to sign in again first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from auth.authority import Authority
from auth.pages import Fault, Story, browsing, page, see_other, stopped
from auth.people import enrolment, passkey_pages, trail
from auth.people.first_password import faults, replaced
from auth.people.person import Person
from auth.people.sessions import Session
from auth.people.sign_in import ACCOUNT, passkeys_work
from auth.people.throttle import CODE
from standards.sign_in import FACTOR, LOGOUT

RECENT = 900
Own = Callable[[Request, Authority, Person, Session], Awaitable[Response]]


def own(story: Own, *, recent: bool = False) -> Story:
    """The story of somebody who is signed in; others are led to the sign-in page."""

    async def serve(request: Request, authority: Authority) -> Response:
        at = browsing(request)
        person = await authority.reception.people.get(at.session.person) if at.session else None
        if at.session is None or person is None or not person.active:
            return see_other("/auth/sign-in", secure=at.secure)
        if recent and authority.clock() - at.session.auth_time > RECENT:
            return see_other("/auth/sign-in?again=yes", secure=at.secure)
        return await story(request, authority, person, at.session)

    return serve


async def account(
    request: Request, authority: Authority, person: Person, session: Session
) -> Response:
    """The page of one's own account."""
    return await _account(request, authority, person, session)


async def change_password(
    request: Request, authority: Authority, person: Person, session: Session
) -> Response:
    """Change the password, with the present one."""
    errors: list[Fault] = []
    if request.method == "POST":
        errors = await _wrong_now(request, authority, person)
        errors += await faults(request, authority, person) if not errors else []
        if not errors:
            if not await replaced(request, authority, person):
                return stopped(request, 409, "Not changed", "Your password was changed elsewhere.")
            await authority.sessions.end_all(person.id, but=session.id)
            return see_other(ACCOUNT, secure=browsing(request).secure)
    return page(
        request, "password.jinja", 400 if errors else 200, errors=errors, username=person.username
    )


async def app(request: Request, authority: Authority, person: Person, _: Session) -> Response:
    """Set up an authenticator app, in the place of the one there is."""
    answer = await enrolment.enrol(request, authority, person, ACCOUNT, needed=False)
    if isinstance(answer, Response):
        return answer
    return enrolment.codes_page(request, answer)


async def stop_app(
    request: Request, authority: Authority, person: Person, session: Session
) -> Response:
    """Forget the app, unless this person has to have a second factor and no other is left."""
    needs = authority.reception.needs_second(person, authority.clock())
    if needs and not person.passkeys:
        fault = Fault("", "You need a second factor. Add a passkey before you remove the app.")
        return await _account(request, authority, person, session, fault)
    await trail.record(request, authority, FACTOR, "Authenticator app removed.", session=session)
    await authority.reception.people.stop_codes(person.id)
    return see_other(ACCOUNT, secure=browsing(request).secure)


async def recovery(request: Request, authority: Authority, person: Person, _: Session) -> Response:
    """New recovery codes."""
    if not person.coded:
        return see_other(ACCOUNT, secure=browsing(request).secure)
    return await enrolment.new_codes(request, authority, person)


async def passkey_options(
    request: Request, authority: Authority, person: Person, _: Session
) -> Response:
    """What the browser needs to make a passkey."""
    return await passkey_pages.registration_options(request, authority, person)


async def add_passkey(
    request: Request, authority: Authority, person: Person, session: Session
) -> Response:
    """Keep a passkey that the browser has made."""
    fault = await passkey_pages.add(request, authority, person)
    if fault is not None:
        return await _account(request, authority, person, session, fault)
    return see_other(ACCOUNT, secure=browsing(request).secure)


async def remove_passkey(
    request: Request, authority: Authority, person: Person, session: Session
) -> Response:
    """Forget a passkey of one's own, unless it is the last second factor of somebody who needs one."""
    needs = authority.reception.needs_second(person, authority.clock())
    if needs and not person.coded and len(person.passkeys) == 1:
        fault = Fault("", "You need a second factor. Set up another one before you remove this.")
        return await _account(request, authority, person, session, fault)
    await trail.record(request, authority, FACTOR, "Passkey removed.", session=session)
    given = browsing(request).form.get("passkey", "")
    await authority.reception.people.remove_passkey(person.id, given)
    return see_other(ACCOUNT, secure=browsing(request).secure)


async def end_sessions(
    request: Request, authority: Authority, person: Person, session: Session
) -> Response:
    """End one of one's own sign-ins, or all but this one."""
    given = browsing(request).form.get("session", "")
    mine = [x.session for x in await authority.sessions.of_person(person.id)]
    ending = [s for s in mine if s.id != session.id and given in (s.id, "others")]
    for other in ending:
        await trail.record(request, authority, LOGOUT, "Ended from another sign-in.", session=other)
        await authority.sessions.end(other.id)
    return see_other(ACCOUNT, secure=browsing(request).secure)


async def _wrong_now(request: Request, authority: Authority, person: Person) -> list[Fault]:
    desk, given = authority.reception, browsing(request).form.get("password", "")
    if not given:
        return [Fault("password", "Enter your present password.")]
    verdict = await desk.throttle.attempt(CODE, "password " + person.id)
    if not verdict.allowed:
        return [Fault("password", "There were too many tries. Wait a few minutes and try again.")]
    kept = person.password
    if kept is None or not (await desk.passwords.check(kept.hash, given)).right:
        await trail.record(
            request, authority, FACTOR, "Wrong present password.", person=person, refused=True
        )
        return [Fault("password", "This is not your present password.")]
    await desk.throttle.succeeded(CODE, "password " + person.id)
    return []


async def _account(
    request: Request,
    authority: Authority,
    person: Person,
    session: Session,
    fault: Fault | None = None,
) -> Response:
    desk = authority.reception
    sessions = [
        {
            "id": x.session.id,
            "role": desk.pack.roles.get(x.session.role, x.session.role),
            "browser": browser_words(x.browser),
            "seen": said(x.seen),
            "here": x.session.id == session.id,
        }
        for x in await authority.sessions.of_person(person.id)
    ]
    keys = [
        {
            "id": p.id,
            "name": p.name,
            "made": said(p.made),
            "used": said(p.used) if p.used else "never",
        }
        for p in person.passkeys
    ]
    return page(
        request, "account.jinja", 400 if fault else 200, errors=(fault,) if fault else (),
        person=person, sessions=sessions, passkeys=keys, passkeys_work=passkeys_work(authority),
        role=desk.pack.roles.get(session.role, session.role),
        organisation=desk.organisation(session.organisation),
        purpose=desk.pack.purposes.get(session.purpose, session.purpose),
        password_set=said(person.password.set) if person.password else "",
    )  # fmt: skip


def said(moment: float) -> str:
    """A moment as pages write it, in universal time. PURE."""
    return datetime.fromtimestamp(moment, UTC).strftime("%-d %B %Y at %H:%M UTC")


def browser_words(agent: str) -> str:
    """A User-Agent in the words its owner knows it by. PURE."""
    browsers = (
        ("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    )  # fmt: skip
    systems = (
        ("Windows", "Windows"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Mac OS X", "Mac"),
        ("Android", "Android"), ("Linux", "Linux"),
    )  # fmt: skip
    browser = next((words for mark, words in browsers if mark in agent), "A browser")
    system = next((words for mark, words in systems if mark in agent), "")
    return f"{browser} on {system}" if system else browser
