"""Signing in: username and password, the second factor, and the way from one step to the next.

`prove` is the way in for whatever else proves a person (a passkey, another provider): it begins the
sign-in and says where to go on.
"""

from __future__ import annotations

import math
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from auth.authority import Authority
from auth.pages import Fault, browsing, form_target, page, see_other, stopped
from auth.people import one_time, trail
from auth.people.attempts import Attempt, Step, next_step
from auth.people.continuing import Continuing
from auth.people.person import Password, Person, username_key
from auth.people.throttle import ADDRESS, CODE, USERNAME, Verdict
from standards.sign_in import LOGIN

ACCOUNT = "/auth/account"
_PLACES: dict[Step, str] = {
    "second": "/auth/sign-in/second",
    "password": "/auth/sign-in/password",
    "app": "/auth/sign-in/app",
    "role": "/auth/sign-in/role",
}
WRONG = Fault("username", "Your username or password is wrong. Check both and try again.")


async def sign_in(request: Request, authority: Authority) -> Response:
    """The first page: username and password, or a passkey. `continue` is the request of an app that
    goes on afterwards; `again` asks for a fresh sign-in where there is one."""
    at, desk = browsing(request), authority.reception
    given = at.form if request.method == "POST" else request.query_params
    waiting, again = None, bool(given.get("again"))
    if given.get("continue"):
        waiting = await desk.waiting.get(given["continue"])
        if waiting is None:
            return gone(request)
    if request.method == "POST":
        return await _try(request, authority, waiting, again=again)
    enough = waiting is None or (at.session is not None and waiting.content_with(at.session))
    if at.session is not None and enough and not again:
        return back(authority, waiting.id if waiting else "")
    return form(request, authority, waiting, username=waiting.login_hint[:64] if waiting else "")


def form(
    request: Request,
    authority: Authority,
    waiting: Continuing | None,
    *,
    username: str = "",
    errors: tuple[Fault, ...] = (),
    status: int = 200,
    again: bool = False,
) -> Response:
    """The sign-in page, with what was typed before except the password."""
    asked = again or bool(browsing(request).form.get("again") or request.query_params.get("again"))
    return page(
        request, "sign_in.jinja", status, errors=errors, also_to=targets(waiting),
        username=username, waiting=waiting.id if waiting else "", again=asked,
        passkeys=passkeys_work(authority), providers=authority.federation.providers(),
    )  # fmt: skip


async def prove(
    request: Request,
    authority: Authority,
    person: Person,
    *amr: str,
    continuing: str = "",
    acr: str = "",
    upstream: str = "",
    at: float | None = None,
) -> Response:
    """Begin the sign-in of a person who has proved who they are (`at` that moment, by default now), and
    go on to what is next."""
    browser = browsing(request)
    browser.renew()
    moment = authority.clock() if at is None else min(at, authority.clock())
    attempt = Attempt(person.id, amr, moment, continuing, acr, upstream)
    await authority.reception.attempts.begin(browser.visit, attempt)
    return onward(request, authority, attempt, person)


def onward(request: Request, authority: Authority, attempt: Attempt, person: Person) -> Response:
    """On to the next step of a sign-in."""
    needs = authority.reception.needs_second(person, authority.clock())
    step = next_step(attempt, person, needs_second=needs)
    return see_other(_PLACES[step], secure=browsing(request).secure)


async def under_way(
    request: Request, authority: Authority, step: Step
) -> tuple[Attempt, Person] | Response:
    """The sign-in that is at this step, or the answer that leads to where it is."""
    desk = authority.reception
    attempt = await desk.attempts.of(browsing(request).visit)
    person = await desk.people.get(attempt.person) if attempt else None
    if attempt is None or person is None or not person.active:
        return stopped(
            request, 400, "Sign in again",
            "This sign-in took longer than ten minutes, or it was finished in another window. "
            "Go back to where you came from, or open the sign-in page, and start again.",
        )  # fmt: skip
    needs = desk.needs_second(person, authority.clock())
    if next_step(attempt, person, needs_second=needs) != step:
        return onward(request, authority, attempt, person)
    return attempt, person


async def second(request: Request, authority: Authority) -> Response:
    """The second factor: a time-based code or a recovery code here, a passkey by its button."""
    found = await under_way(request, authority, "second")
    if isinstance(found, Response):
        return found
    attempt, person = found
    if request.method != "POST":
        return await second_form(request, authority, attempt, person)
    verdict = await authority.reception.throttle.attempt(CODE, person.id)
    if not verdict.allowed:
        await _refused(
            request, authority, person, "The second factor is locked after too many tries."
        )
        return _waiting(request, verdict)
    code = browsing(request).form.get("code", "")
    if not code.strip():
        words = "Enter the code from your app, or a recovery code."
        return await second_form(request, authority, attempt, person, Fault("code", words), 400)
    used = await _used(authority, person, code)
    if not used:
        locks = " It is locked for a while." if verdict.locking else ""
        await _refused(request, authority, person, "Wrong second factor." + locks)
        words = "This code is wrong or was used before. Wait for the next one and try again."
        return await second_form(request, authority, attempt, person, Fault("code", words), 400)
    await authority.reception.throttle.succeeded(CODE, person.id)
    if not await authority.reception.attempts.prove(browsing(request).visit, "otp", "mfa"):
        return gone(request)
    return see_other(_PLACES["role"], secure=browsing(request).secure)


async def second_form(
    request: Request,
    authority: Authority,
    attempt: Attempt,
    person: Person,
    fault: Fault | None = None,
    status: int = 200,
) -> Response:
    """The page of the second factor."""
    waiting = await authority.reception.waiting.get(attempt.continuing)
    return page(
        request, "second.jinja", status, errors=(fault,) if fault else (), also_to=targets(waiting),
        coded=person.coded, passkeys=bool(person.passkeys) and passkeys_work(authority),
    )  # fmt: skip


def back(authority: Authority, continuing: str) -> Response:
    """Back to the app's request, or to the account page; never to a place that a browser named."""
    secure = authority.settings.origin.startswith("https://")
    if continuing:
        return see_other(f"{authority.settings.issuer}/authorize/{continuing}", secure=secure)
    return see_other(ACCOUNT, secure=secure)


def gone(request: Request) -> Response:
    """The request of the app that this sign-in was for is not there (any more)."""
    return stopped(
        request, 400, "This sign-in is out of date",
        "The app waited longer than ten minutes, or it was answered already. "
        "Go back to the app and start again.",
    )  # fmt: skip


def targets(waiting: Continuing | None) -> tuple[str, ...]:
    """Where a sign-in for this request may end up."""
    target = form_target(waiting.redirect_uri) if waiting else ""
    return (target,) if target else ()


def passkeys_work(authority: Authority) -> bool:
    """Browsers have passkeys only where the page is safe, and never for a bare address."""
    parts = urlsplit(authority.settings.origin)
    return parts.scheme == "https" or parts.hostname == "localhost"


async def _try(
    request: Request, authority: Authority, waiting: Continuing | None, *, again: bool
) -> Response:
    desk, at = authority.reception, browsing(request)
    username, password = at.form.get("username", "").strip(), at.form.get("password", "")

    def again_(*errors: Fault) -> Response:
        return form(
            request, authority, waiting,
            username=username[:64], errors=errors, status=400, again=again,
        )  # fmt: skip

    empty = [
        Fault(field, words)
        for field, given, words in (
            ("username", username, "Enter your username."),
            ("password", password, "Enter your password."),
        )
        if not given
    ]
    if empty:
        return again_(*empty)
    address = await desk.throttle.attempt(ADDRESS, at.address)
    named = await desk.throttle.attempt(USERNAME, username_key(username))
    person = await desk.people.by_username(username)
    if not (address.allowed and named.allowed):
        await _refused(
            request, authority, person, "Not looked at: too many tries." + _who(person, username)
        )
        return _waiting(request, named if not named.allowed else address)
    kept = person.password if person is not None and person.active else None
    checked = await desk.passwords.check(kept.hash if kept else None, password)
    if person is None or kept is None or not checked.right:
        locks = " The username is locked for a while." if named.locking else ""
        words = "Wrong username or password." + locks + _who(person, username)
        await _refused(request, authority, person, words)
        return again_(WRONG)
    if not kept.usable(authority.clock()):
        await _refused(request, authority, person, "The one-time password has expired.")
        return again_(
            Fault("password", "Your one-time password has expired. Ask the people who run the service "
                  "for a new one.")
        )  # fmt: skip
    await desk.throttle.succeeded(USERNAME, username_key(username))
    await desk.throttle.pardoned(ADDRESS, at.address)
    if checked.rehash:
        made = Password(await desk.passwords.hash(password), kept.set, kept.once, kept.until)
        await desk.people.replace_password(person.id, kept, made)
    return await prove(request, authority, person, "pwd", continuing=waiting.id if waiting else "")


async def _used(authority: Authority, person: Person, code: str) -> bool:
    people = authority.reception.people
    if one_time.looks_like_recovery(code):
        return await people.use_recovery(person.id, one_time.recovery_digest(code))
    secret = await people.codes(person.id)
    step = one_time.step_of(secret, code, authority.clock()) if secret else None
    return step is not None and await people.use_step(person.id, step)


async def _refused(
    request: Request, authority: Authority, person: Person | None, words: str
) -> None:
    await trail.record(request, authority, LOGIN, words, person=person, refused=True)


def _who(person: Person | None, username: str) -> str:
    return "" if person is not None else " " + trail.unknown(username)


def _waiting(request: Request, verdict: Verdict) -> Response:
    # A small page: whoever floods this door is to keep the server as little busy as can be.
    minutes = max(1, math.ceil(verdict.seconds / 60))
    some = "a minute" if minutes == 1 else f"{minutes} minutes"
    answer = stopped(
        request, 429, "Wait before you try again",
        f"There were too many tries. Wait {some}, then go back and try again.",
    )  # fmt: skip
    answer.headers["Retry-After"] = str(math.ceil(verdict.seconds))
    return answer
