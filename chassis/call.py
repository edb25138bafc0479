"""A call and its answer: what a handler is given and what it gives back.

Every row is served in five words, in `chassis/service.py`: parse → identify → decide → handle →
account. By the time a handler runs, the first three are done and their results are fields here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from os import urandom
from typing import TYPE_CHECKING, Any, Literal

import orjson

from governance.permit import Denied, Permit, grant
from standards.rows import Needs, Transaction

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from chassis.spool import Attachment
    from standards.search import Search

Format = Literal["json", "xml"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as the verified token says. `anonymous` only where the row is public."""

    client_id: str = ""
    subject: str = ""
    issuer: str = ""
    jti: str = ""
    scope: str = ""
    organisation: str = ""  # organisation code from the affinity pack, "" when the client has none
    role: str = ""  # role code from the affinity pack (R-SYS, R-HV, …)
    purpose: str = ""  # purpose-of-use code from the affinity pack (P-CARE, …)
    reason: str = ""
    name: str = ""
    expires: float = 0.0
    generation: int = 0  # of the client's registration, under which the token was issued
    patient: str = ""  # id of the Patient in whose record the token was launched
    person: str = ""  # who signed in, where somebody did; the subject of the token then
    grant: str = ""  # the approval that the token comes of
    session: str = ""  # the sign-in that the approval was given in
    jkt: str = ""  # thumbprint of the key that its holder must prove to have (RFC 9449)
    fhir_user: str = ""  # where the FHIR base shows who signed in
    claims: Mapping[str, Any] = field(default_factory=dict)

    @property
    def anonymous(self) -> bool:
        """True when no token was shown."""
        return not self.client_id

    @property
    def owner(self) -> str:
        """Whose a page is that can be continued: the client's, and the person's who uses it."""
        return f"{self.client_id} {self.person} {self.patient}" if self.person else self.client_id


ANYONE = Caller()


@dataclass(slots=True)
class Account:
    """What the AuditEvent will say besides the request itself. Handlers add to it as they learn.

    `patients` are references ("Patient/x") or (system, value) identifiers; `data` are references of
    what was read or written; `submission` is the SubmissionSet of an ITI-65; `holder` is the
    organisation outside that a document was fetched from, as (code, origin).
    """

    patients: list[str | tuple[str, str]] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    labels: list[tuple[str, str]] = field(default_factory=list)
    submission: str = ""
    holder: tuple[str, str] | None = None
    query: str = ""  # the query in readable form; filled by the chassis
    profile: str | None = None  # when the transaction has several (create, update, delete)
    action: Literal["C", "R", "U", "D", "E"] | None = None
    interaction: str = ""
    sealed: Mapping[str, Any] | None = (
        None  # the AuditEvent a story already wrote in its transaction
    )


@dataclass(slots=True)
class Answer:
    """An HTTP answer. `body` is canonical FHIR JSON (or raw bytes when `media` says so); `stream`
    replaces it for documents. The chassis turns JSON into XML when that was negotiated."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    media: str | None = None  # None: FHIR, in the negotiated format
    stream: AsyncIterator[bytes] | None = None

    @classmethod
    def fhir(cls, resource: Mapping[str, Any] | bytes, status: int = 200, **headers: str) -> Answer:
        """An answer that carries a FHIR resource; header names use underscores for dashes."""
        body = resource if isinstance(resource, bytes) else dumps(resource)
        return cls(status, body, {k.replace("_", "-"): v for k, v in headers.items()})


@dataclass(slots=True)
class Call:
    """One request that has been parsed, identified and decided upon."""

    row: Transaction
    method: str
    path: Mapping[str, str]  # path parameters, e.g. {"id": "…"}
    query: tuple[
        tuple[str, str], ...
    ]  # decoded pairs in order, URL then form body, without _format
    headers: Mapping[str, str]  # lower-case names; repeated lines joined by commas
    base: str  # the public FHIR base, no trailing slash
    caller: Caller
    permit: Permit
    now: datetime
    request_id: str
    account: Account
    client_address: str = ""
    raw: bytes = (
        b""  # for the audit: the request line; after a blank line a POSTed form or question
    )
    strict: bool = True  # Prefer: handling=lenient makes this False
    prefer: str = ""  # "minimal", "representation", "OperationOutcome" or ""
    format: Format = "json"
    media: str = ""  # the media type that is wanted instead of FHIR, one of `row.media`
    resource: dict[str, Any] | None = None  # the parsed, structurally legal body
    attachments: Sequence[
        Attachment
    ] = ()  # large `data` values spooled off the body (row.body="bundle")
    content: AsyncIterator[bytes] | None = None  # the body as it comes (row.body="raw")
    search: Search | None = None  # parsed search, when the row has search parameters
    audit_event: Callable[[Account, int], Mapping[str, Any]] | None = None
    ids: Callable[[], str] = lambda: fresh_id()  # noqa: PLW0108  defined below
    # The records of the person whom the token's patient is; None when it has no patient.
    patients: tuple[str, ...] | None = None

    def grant(self, needs: Needs) -> Permit | Denied:
        """How far the token reaches for something else that the story does or brings along."""
        return grant(self.caller.scope, needs, self.patients)

    def seal(self, status: int = 200) -> Mapping[str, Any]:
        """The AuditEvent of this call as JSON-able dict, to be written inside the story's own
        transaction (the outbox). The chassis then records this very event and no second one."""
        if self.audit_event is None:
            raise RuntimeError("this call has no audit pattern")
        if self.account.sealed is None:
            self.account.sealed = self.audit_event(self.account, status)
        return self.account.sealed


Handler = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Route:
    """A transaction row and the story that serves it."""

    row: Transaction
    handle: Handler


@dataclass(frozen=True, slots=True)
class Service:
    """One service, opened: its FHIR routes, its plain HTTP routes, and the object neighbours get.

    `plain` are Starlette routes at the origin (OAuth endpoints, JWKS); `ready` raises when the
    service cannot work; `near` is what the composition root hands to neighbours.
    """

    name: str
    routes: tuple[Route, ...]
    near: Any
    ready: Callable[[], Awaitable[None]]
    plain: tuple[BaseRoute, ...] = ()
    admin: tuple[Any, ...] = ()


def instant(moment: datetime) -> str:
    """A FHIR instant in UTC with milliseconds: `2026-11-24T04:05:06.789Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def fresh_id() -> str:
    """A random UUID (version 4) as it is written. `uuid.uuid4` costs three times as much, and every
    request makes several."""
    digits = urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def dumps(resource: Mapping[str, Any]) -> bytes:
    """Canonical FHIR JSON bytes of a resource; decimals keep their written digits."""
    return orjson.dumps(resource, default=_decimal)


def _decimal(value: object) -> object:
    from decimal import Decimal  # noqa: PLC0415

    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    raise TypeError(f"{type(value).__name__} is not JSON")
