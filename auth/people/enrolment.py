"""Setting up an authenticator app: a picture to scan, the same in letters, and a code to show that it
works. Recovery codes are shown once, with it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from auth.authority import Authority
from auth.pages import Fault, browsing, page
from auth.pages.layout import SERVICE
from auth.people import one_time, trail
from auth.people.person import Person
from auth.people.sign_in import ACCOUNT, under_way
from auth.people.throttle import CODE
from standards.sign_in import FACTOR


async def enrol_at_sign_in(request: Request, authority: Authority) -> Response:
    """Set up an app because signing in needs it."""
    found = await under_way(request, authority, "app")
    if isinstance(found, Response):
        return found
    _, person = found
    answer = await enrol(request, authority, person, "/auth/sign-in/role", needed=True)
    if isinstance(answer, Response):
        return answer
    await authority.reception.attempts.prove(browsing(request).visit, "otp", "mfa")
    return codes_page(request, answer, "/auth/sign-in/role")


async def enrol(
    request: Request, authority: Authority, person: Person, then: str, *, needed: bool
) -> Response | list[str]:
    """The page that sets up an app; the recovery codes once it is set up."""
    desk = authority.reception
    secret = await desk.people.drafted_codes(person.id)
    if request.method == "POST" and secret is not None:
        fault = await _confirmed(request, authority, person, secret)
        if isinstance(fault, list):
            return fault
        return _page(request, person, secret, fault, then=then, needed=needed)
    if secret is None:
        secret = one_time.new_secret()
        await desk.people.draft_codes(person.id, secret)
    return _page(request, person, secret, None, then=then, needed=needed)


def codes_page(request: Request, codes: list[str], then: str = ACCOUNT) -> Response:
    """The recovery codes, this once."""
    return page(request, "recovery_codes.jinja", codes=codes, then=then)


async def new_codes(request: Request, authority: Authority, person: Person) -> Response:
    """New recovery codes in the place of the old."""
    codes = one_time.new_recovery_codes()
    await trail.record(request, authority, FACTOR, "New recovery codes.", person=person)
    await authority.reception.people.renew_recovery(person.id, one_time.recovery_digests(codes))
    return codes_page(request, codes)


async def _confirmed(
    request: Request, authority: Authority, person: Person, secret: bytes
) -> Fault | list[str]:
    desk, code = authority.reception, browsing(request).form.get("code", "")
    verdict = await desk.throttle.attempt(CODE, "set up " + person.id)
    if not verdict.allowed:
        return Fault("code", "There were too many tries. Wait a few minutes and try again.")
    step = one_time.step_of(secret, code, authority.clock())
    if step is None:
        return Fault(
            "code", "This code is not the one of your app now. Enter the next one it shows."
        )
    codes = one_time.new_recovery_codes()
    await trail.record(request, authority, FACTOR, "Authenticator app set up.", person=person)
    if not await desk.people.start_codes(person.id, step, one_time.recovery_digests(codes)):
        return Fault("code", "This took too long. Load the page again and start anew.")
    await desk.throttle.succeeded(CODE, "set up " + person.id)
    return codes


def _page(
    request: Request,
    person: Person,
    secret: bytes,
    fault: Fault | None,
    *,
    then: str,
    needed: bool,
) -> Response:
    uri = one_time.uri(secret, person.username, SERVICE)
    return page(
        request, "app.jinja", 400 if fault else 200, errors=(fault,) if fault else (),
        picture=one_time.picture(uri), secret=one_time.grouped(secret), then=then, needed=needed,
    )  # fmt: skip
