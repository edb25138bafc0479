"""One shape for the OAuth endpoints that take a form: read, do, account, answer.

An error is RFC 6749 §5.2's JSON with one of its statuses; no answer may be stored by anyone; and no
answer leaves before its AuditEvents are durable.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from authlib.oauth2.base import OAuth2Error
from pymongo.errors import PyMongoError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from auth import accounts
from auth.accounts import Visit
from auth.authority import Authority
from auth.forms import read_form
from chassis import cors, outbox, telemetry
from chassis.caller import REALM, printable
from chassis.mongo import unavailable
from standards import iua
from standards.outcome import Refused
from standards.rows import AuditPattern, Transaction

Story = Callable[[Visit, Authority], Awaitable[dict[str, Any]]]
NEVER_STORED = {
    "Cache-Control": "no-store",
    "Pragma": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def form_route(
    row: Transaction, story: Story, authority: Authority, *, pages: bool = False
) -> Route:
    """The Starlette route that serves a row's form endpoint with this story. With `pages`, the pages of
    registered browser clients may call it and read its answers, refusals included (digest 1.16)."""
    (_, path) = row.routes[0]

    async def serve(request: Request) -> Response:
        origin = request.headers.get("origin", "") if pages else ""
        known = bool(origin) and await authority.clients.is_origin(origin)
        if request.method == "OPTIONS" and "access-control-request-method" in request.headers:
            return Response(status_code=204, headers=cors.preflight(origin) if known else {})
        answer = await _serve(request, row, story, authority, f"POST {path}")
        telemetry.REQUESTS.labels(row.code, str(answer.status_code)).inc()
        if pages:
            answer.headers.update(cors.shared(origin) if known else {"Vary": "Origin"})
        return answer

    return Route(path, serve, methods=_METHODS, include_in_schema=False)


async def _serve(
    request: Request, row: Transaction, story: Story, authority: Authority, line: str
) -> Response:
    if request.method != "POST":
        return answered(405, error("invalid_request", "Use POST."), {"Allow": "POST"})
    visit = Visit(
        line=line,
        address=request.client.host if request.client else "",
        authorization=request.headers.get("authorization", ""),
        now=datetime.now(UTC),
        dpop=", ".join(request.headers.getlist("dpop")),
    )
    headers: Mapping[str, str] = {}
    try:
        visit.form = await read_form(request)
        body, status = await story(visit, authority), 200
    except OAuth2Error as refusal:
        body, status = dict(refusal.get_body()), refusal.status_code
        headers = _basic(visit) if status == 401 else {}
    except Refused as refusal:
        status, headers = refusal.status(), refusal.headers
        body = _busy() if status >= 500 else error("invalid_token", refusal.issues[0].words)
    except PyMongoError as fault:
        if not unavailable(fault):
            raise
        telemetry.log(
            telemetry.UNAVAILABLE, row=row.code, request_id="", fault=type(fault).__name__
        )
        return answered(503, _busy(), {"Retry-After": "2"})
    if status != 200:
        visit.refused = visit.worth_telling = True
        visit.words = f"{body['error']}: {body.get('error_description', '')}"
    if visit.worth_telling and not await _accounted(visit, row, authority, status):
        return answered(503, _busy(), {"Retry-After": "2"})
    return answered(status, body, headers)


async def _accounted(visit: Visit, row: Transaction, authority: Authority, status: int) -> bool:
    if not isinstance(row.audit, AuditPattern):
        return True
    told = accounts.events(visit, row.audit, authority.settings.issuer, status, authority.words)
    try:
        if visit.value("scope").split() == [iua.INTERNAL]:
            # The audit service may be far, and nobody reaches it before they have this very token. Its
            # event is made durable here; the outbox's forwarder hands it over once there is a way.
            for event in told:
                await outbox.put(None, authority.mongo, "auth", event)
        else:
            await authority.audit.record(*told)
    except (Refused, PyMongoError) as fault:
        telemetry.log(
            telemetry.AUDIT_FAILED, row=row.code, request_id="", fault=type(fault).__name__
        )
        return False
    return True


def answered(
    status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON answer that nobody may store."""
    return Response(
        orjson.dumps(body),
        status,
        {**NEVER_STORED, **(headers or {})},
        media_type="application/json",
    )


def error(code: str, words: str) -> dict[str, str]:
    """The error body of RFC 6749 §5.2, its description in the characters that may stand there."""
    return {"error": code, "error_description": printable(words)}


def _busy() -> dict[str, str]:
    return error("temporarily_unavailable", "A part of the exchange does not answer; try again.")


def _basic(visit: Visit) -> Mapping[str, str]:
    # RFC 6749 §5.2: who tried Basic is told so in Basic's own words. It is not offered otherwise.
    tried = visit.authorization.partition(" ")[0].lower() == "basic"
    return {"WWW-Authenticate": f'Basic realm="{REALM}"'} if tried else {}
