"""The door that every page is behind: cookies, form, CSRF, and errors as pages.

A form carries a token that is an HMAC under the cookie which the browser holds: the session's, or
before sign-in the visit's, a random value of its own. Who cannot read the cookie cannot make the token,
nothing of it is stored, and a token made before sign-in is no good after it. Where the browser says
where a request comes from (Sec-Fetch-Site, Origin), that must be this place too.
"""

from __future__ import annotations

import hmac
import secrets
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from authlib.oauth2.rfc6749.errors import InvalidRequestError
from pymongo.errors import PyMongoError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from auth.authority import Authority
from auth.forms import read_form
from auth.pages.layout import headers, page
from auth.people.sessions import Session, cookie_name
from chassis import telemetry
from chassis.address import client_address, networks
from chassis.mongo import unavailable
from standards.outcome import Refused

Story = Callable[[Request, Authority], Awaitable[Response]]
CSRF = "csrf"
_LABEL = b"throughline page form"


@dataclass(slots=True)
class Browsing:
    """What is known of the browser that asks: who is signed in, and the fields that it sent."""

    secure: bool
    visit: str
    csrf: str
    session: Session | None = None
    form: Mapping[str, str] = field(default_factory=dict)
    address: str = ""
    known: bool = True  # the browser holds `visit` already
    ours: bool = False  # the form was sent by a page of ours, shown to this very browser

    def renew(self) -> None:
        """Give the browser another visit: what was begun in the old one can be finished by nobody."""
        self.visit, self.known = secrets.token_urlsafe(32), False
        self.csrf = token_for(self.visit)


def browsing(request: Request) -> Browsing:
    """The browser behind a request that came through a door."""
    at = request.state.browsing
    assert isinstance(at, Browsing)  # noqa: S101  a story outside a door is a bug
    return at


def token_for(cookie: str) -> str:
    """The CSRF token of a browser that holds this cookie. PURE."""
    return hmac.new(cookie.encode(), _LABEL, sha256).hexdigest()


def door(
    path: str,
    story: Story,
    authority: Authority,
    *,
    methods: tuple[str, ...] = ("GET", "POST"),
    csrf: bool = True,
) -> Route:
    """The route that serves a story's pages. `csrf=False` is for a form that others may send, and whose
    story acts on nothing but what it proves."""

    async def serve(request: Request) -> Response:
        answer = await _serve(request, story, authority, csrf=csrf)
        at = browsing(request)
        if not at.known:
            answer.set_cookie(
                visit_name(at.secure), at.visit,
                path="/", secure=at.secure, httponly=True, samesite="lax",
            )  # fmt: skip
        telemetry.REQUESTS.labels("page", str(answer.status_code)).inc()
        return answer

    return Route(path, serve, methods=list(methods), include_in_schema=False)


def visit_name(secure: bool) -> str:
    """The name of the cookie of a visit; it lasts as long as the browser is open."""
    return cookie_name(secure) + "-visit"


def see_other(where: str, *, secure: bool) -> Response:
    """On to another page by GET, whatever this request was (RFC 9700 4.11: 303, never 307)."""
    return RedirectResponse(where, 303, headers(secure))


def stopped(
    request: Request, status: int, title: str, words: str, *, reference: str = ""
) -> Response:
    """A page that says why it does not go on, and what to do."""
    return page(request, "stopped.jinja", status, title=title, words=words, reference=reference)


async def _serve(request: Request, story: Story, authority: Authority, *, csrf: bool) -> Response:
    secure = authority.settings.origin.startswith("https://")
    held = request.cookies.get(visit_name(secure), "")
    visit = held if 40 <= len(held) <= 64 else secrets.token_urlsafe(32)
    at = Browsing(secure, visit, token_for(visit), known=visit == held)
    at.address = client_address(
        request.client.host if request.client else "",
        request.headers.getlist("x-forwarded-for"),
        networks(authority.settings.trusted_proxies),
    )
    request.state.browsing = at
    try:
        at.session = await authority.sessions.of(request)
        if at.session is not None:
            at.csrf = token_for(request.cookies[cookie_name(secure)])
        if request.method == "POST":
            at.form = dict(await read_form(request))
            at.ours = _ours(request, authority.settings.origin, at)
            if csrf and not at.ours:
                return stopped(
                    request, 403, "This page is out of date",
                    "What you sent does not belong to your present sign-in. Nothing was changed. "
                    "Go back, load the page again and repeat what you did.",
                )  # fmt: skip
        return await story(request, authority)
    except InvalidRequestError as refusal:
        return stopped(request, 400, "This cannot be read", refusal.description or "")
    except Refused as refusal:
        if refusal.status() >= 500:
            return _busy(request)
        return stopped(request, refusal.status(), "Not done", refusal.issues[0].words)
    except PyMongoError as fault:
        if not unavailable(fault):
            return _broken(request, fault)
        telemetry.log(telemetry.UNAVAILABLE, row="page", request_id="", fault=type(fault).__name__)
        return _busy(request)
    except Exception as fault:
        return _broken(request, fault)


def _ours(request: Request, origin: str, at: Browsing) -> bool:
    """Did a page of ours, shown to this very browser, send this form?"""
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return False
    # A page that sends no referrer has its forms sent with `Origin: null`; the token decides then.
    if request.headers.get("origin", "null") not in ("null", origin):
        return False
    return at.known and hmac.compare_digest(at.form.get(CSRF, "").encode(), at.csrf.encode())


def _busy(request: Request) -> Response:
    answer = stopped(
        request, 503, "Try again in a moment",
        "A part of the exchange does not answer. Nothing was changed. Wait a few seconds and try again.",
    )  # fmt: skip
    answer.headers["Retry-After"] = "2"
    return answer


def _broken(request: Request, fault: Exception) -> Response:
    reference = str(uuid.uuid4())
    telemetry.log(
        telemetry.FAULT, row="page", request_id=reference, fault=type(fault).__name__,
        at=telemetry.place(fault.__traceback__),
    )  # fmt: skip
    return stopped(
        request, 500, "Something went wrong",
        "This is a fault of the service and not yours. If it happens again, tell the people who run it "
        "this number.", reference=reference,
    )  # fmt: skip
