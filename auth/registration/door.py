"""One shape for the JSON doors of registration: admit, read, do, account, answer.

A change and its AuditEvent are one transaction (`Errand.seal`); everything else is recorded before the
answer leaves. A refusal is RFC 7591 §3.2.2's JSON with `errors`, which has each fault with its member.
No answer may be stored by anyone.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import PyMongoError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from auth import binding
from auth.authority import Authority
from auth.client import Client
from auth.endpoint import NEVER_STORED, answered, error
from auth.registration import telling
from auth.registration.metadata import member_of
from auth.registration.rules import Fault
from chassis import outbox, telemetry
from chassis.body import parse_json
from chassis.call import ANYONE, Caller, instant
from chassis.caller import challenge, printable
from chassis.mongo import unavailable
from chassis.spool import read_plain
from governance.permit import Denied, decide
from standards import balp
from standards.outcome import Refused
from standards.rows import Transaction

_LARGEST = 64 * 1024


class Reply(NamedTuple):
    """What a story answers."""

    status: int
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = {}


class Declined(Exception):  # noqa: N818  a refusal is ordinary
    """The errand is refused: status, error code of RFC 7591 and RFC 6750, faults or words."""

    def __init__(
        self,
        status: int,
        code: str,
        *faults: Fault,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code)
        self.status, self.code, self.faults = status, code, faults
        self.headers = headers or {}

    @property
    def words(self) -> str:
        """All faults, one after the other."""
        return " ".join(fault.words for fault in self.faults)


@dataclass(slots=True)
class Errand:
    """One request at such a door, and what was learned about it. `about` is the client or invitation
    that it concerns; `told` goes into the AuditEvent beside it."""

    authority: Authority
    row: Transaction
    line: str
    address: str
    bearer: str
    if_match: str
    now: datetime
    id: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)
    caller: Caller = ANYONE
    about: str = ""
    told: dict[str, str] = field(default_factory=dict)
    sealed: dict[str, Any] | None = None
    event_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    async def seal(self, session: AsyncClientSession, before: Client | None, after: Client) -> None:
        """Put the AuditEvent of a client's change into the transaction that makes it."""
        self.about = after.client_id
        self.told |= telling.changes(before, after)
        await self.put(session)

    async def put(self, session: AsyncClientSession) -> None:
        """Put the AuditEvent into the session's transaction, as a success."""
        self.sealed = self.event(200)
        await outbox.put(session, self.authority.mongo, "auth", self.sealed)

    def event(self, status: int, words: str = "") -> dict[str, Any]:
        """The AuditEvent of this errand."""
        request = balp.Request(
            event_id=self.event_id,
            recorded=instant(self.now),
            server=self.authority.settings.issuer,
            outcome=balp.outcome_of(status),
            words=words,
            client_address=self.address,
        )
        return telling.event(
            self.row, self.caller, request, self.authority.words,
            about=self.about or self.id, told=self.told,
        )  # fmt: skip


Story = Callable[[Errand], Awaitable[Reply]]
Admit = Callable[[Errand], Awaitable[None]]


def json_route(
    path: str, doors: Sequence[tuple[Transaction, Story]], admit: Admit, authority: Authority
) -> Route:
    """The Starlette route of one path: a story for each row's method, behind one way in."""
    known = {row.routes[0][0]: (row, story) for row, story in doors}

    async def serve(request: Request) -> Response:
        found = known.get("GET" if request.method == "HEAD" else request.method)
        if found is None:
            words = f"Use {' or '.join(known)}."
            return answered(405, error("invalid_request", words), {"Allow": ", ".join(known)})
        answer = await _serve(request, *found, admit, authority)
        telemetry.REQUESTS.labels(found[0].code, str(answer.status_code)).inc()
        return answer

    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    return Route(path, serve, methods=methods, include_in_schema=False)


async def _serve(
    request: Request, row: Transaction, story: Story, admit: Admit, authority: Authority
) -> Response:
    kind, _, bearer = request.headers.get("authorization", "").partition(" ")
    errand = Errand(
        authority=authority,
        row=row,
        line=f"{request.method} {row.routes[0][1]}",
        address=request.client.host if request.client else "",
        bearer=bearer.strip() if kind.lower() == "bearer" else "",
        if_match=request.headers.get("if-match", ""),
        now=datetime.now(UTC),
        id=str(request.path_params.get("id", "")),
    )
    words = ""
    try:
        await admit(errand)
        if row.body == "json":
            errand.body = await _read(request)
        reply = await story(errand)
    except Declined as refusal:
        words = refusal.words
        reply = Reply(refusal.status, _refusal(refusal), refusal.headers)
    except Refused as refusal:
        words = refusal.issues[0].words
        code = "temporarily_unavailable" if refusal.status() >= 500 else "invalid_token"
        reply = Reply(refusal.status(), error(code, words), refusal.headers)
    except PyMongoError as fault:
        if not unavailable(fault):
            raise
        return _unavailable(row, fault)
    told = errand.sealed or errand.event(reply.status, words)
    try:
        await authority.audit.record(told)
    except (Refused, PyMongoError) as fault:
        if errand.sealed is None:
            return _unavailable(row, fault)
        # The event is in the outbox, in the same transaction as the change; the forwarder records it.
        telemetry.log(
            telemetry.AUDIT_FAILED, row=row.code, request_id="", fault=type(fault).__name__
        )
    if reply.body is None:
        return Response(None, reply.status, {**NEVER_STORED, **reply.headers})
    return answered(reply.status, reply.body, reply.headers)


async def as_administrator(errand: Errand) -> None:
    """The way in of the admin API: a bearer token of this server with the row's scope."""
    if not errand.bearer:
        raise Declined(
            401, "invalid_token", Fault("", "A bearer token is needed."), headers=challenge()
        )
    errand.caller = await binding.bearer(errand.bearer, errand.authority)
    decision = decide(errand.caller.scope, errand.row)
    if isinstance(decision, Denied):
        told = challenge("insufficient_scope", decision.words, decision.scope)
        raise Declined(403, "insufficient_scope", Fault("", decision.words), headers=told)


def unusable(faults: Sequence[Fault]) -> Declined:
    """The refusal of a registration that cannot be accepted, with everything that is wrong with it."""
    said = [Fault(member_of(fault.field), fault.words) for fault in faults]
    uris = all(fault.field == "redirect_uris" for fault in said)
    return Declined(400, "invalid_redirect_uri" if uris else "invalid_client_metadata", *said)


async def _read(request: Request) -> dict[str, Any]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        words = "Send application/json."
        raise Declined(415, "invalid_request", Fault("", words))
    try:
        body = await read_plain(request.receive, _LARGEST)
    except Refused as refusal:
        fault = Fault("", refusal.issues[0].words)
        raise Declined(refusal.status(), "invalid_request", fault) from None
    try:
        return parse_json(body)
    except Refused as refusal:
        words = refusal.issues[0].words
        raise Declined(400, "invalid_client_metadata", Fault("", words)) from None


def _refusal(refusal: Declined) -> dict[str, Any]:
    made: dict[str, Any] = {
        "error": refusal.code,
        "error_description": printable(refusal.words, 4000),
    }
    if any(fault.field for fault in refusal.faults):
        made["errors"] = [{"member": fault.field, "words": fault.words} for fault in refusal.faults]
    return made


def _unavailable(row: Transaction, fault: Exception) -> Response:
    telemetry.log(telemetry.UNAVAILABLE, row=row.code, request_id="", fault=type(fault).__name__)
    words = "A part of the exchange does not answer; try again."
    return answered(503, error("temporarily_unavailable", words), {"Retry-After": "2"})
