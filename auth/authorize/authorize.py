"""The authorization endpoint: check the request once, keep it, and go on under its id (RFC 6749 §3.1).

    GET or POST /auth/authorize ──303──► /auth/authorize/{id} ──► sign-in, patient, approval (approval.py)

Nobody's session is looked at here. A POST from an app's page carries no cookie of ours (SameSite=Lax);
the GET that follows it does, so both ways in end at the same place.
"""

from __future__ import annotations

from authlib.oauth2.rfc6749.errors import InvalidRequestError
from pymongo.errors import PyMongoError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from auth.authority import Authority
from auth.authorize.request import (
    Mistaken,
    Pairs,
    Unanswerable,
    answer_uri,
    check,
    client_of,
    parsed,
)
from auth.forms import read_body
from auth.pages import Browsing, see_other, stopped
from chassis import telemetry
from chassis.mongo import unavailable
from standards import smart

_TITLE = "This app cannot be opened"
_ADVICE = "Go back to the app and try again. If it happens again, tell the people who run the app."


def route(authority: Authority) -> Route:
    """The Starlette route of the endpoint."""
    path = smart.AUTHORIZE.routes[0][1]

    async def serve(request: Request) -> Response:
        secure = authority.settings.origin.startswith("https://")
        request.state.browsing = Browsing(secure, "", "")
        try:
            answer = await _begin(request, authority, secure=secure)
        except Unanswerable as wrong:
            answer = stopped(request, 400, _TITLE, f"{wrong} {_ADVICE}")
        except InvalidRequestError as wrong:
            answer = stopped(request, 400, _TITLE, f"{wrong.description} {_ADVICE}")
        except Mistaken as wrong:
            answer = refused(wrong, authority.settings.issuer, secure=secure)
        except PyMongoError as fault:
            if not unavailable(fault):
                raise
            telemetry.log(
                telemetry.UNAVAILABLE, row="authorize", request_id="", fault=type(fault).__name__
            )
            words = "A part of the exchange does not answer. Wait a few seconds and try again."
            answer = stopped(request, 503, "Try again in a moment", words)
            answer.headers["Retry-After"] = "2"
        telemetry.REQUESTS.labels(smart.AUTHORIZE.code, str(answer.status_code)).inc()
        return answer

    return Route(path, serve, methods=["GET", "POST"], include_in_schema=False)


async def _begin(request: Request, authority: Authority, *, secure: bool) -> Response:
    encoded = (
        await read_body(request) if request.method == "POST" else request.scope["query_string"]
    )
    pairs = parsed(encoded)
    id_ = await take(pairs, authority)
    return see_other(f"{authority.settings.issuer}/authorize/{id_}", secure=secure)


async def take(pairs: Pairs, authority: Authority) -> str:
    """Check the request and keep it; its id. Raises `Unanswerable` or `Mistaken`."""
    now = authority.clock()
    client = await authority.clients.get(client_of(pairs))
    if client is None or client.revoked is not None:
        raise Unanswerable("The app is not registered here.")
    asked = check(pairs, client, (authority.settings.fhir_base,))
    launch = None
    if asked.launch:
        launch = await authority.launches.look(asked.launch, client.client_id, now)
        if launch is None:
            raise Mistaken(
                "invalid_request", "launch is unknown, used, too old or another app's.",
                asked.redirect_uri, asked.state,
            )  # fmt: skip
    return await authority.requests.add(asked, launch, now)


def refused(wrong: Mistaken, issuer: str, *, secure: bool) -> Response:
    """Back to the app with an error: `state` as it came, and `iss` (RFC 9207)."""
    where = answer_uri(
        wrong.redirect_uri, error=wrong.error, error_description=wrong.words, state=wrong.state,
        iss=issuer,
    )  # fmt: skip
    return see_other(where, secure=secure)
