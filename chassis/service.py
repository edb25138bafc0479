"""One request, five words: parse → identify → decide → handle → account.

`Endpoint` is a bare ASGI application per row. It owns everything that is the same for every
transaction, so that a handler is only its story. Nothing is sent before the AuditEvent is durable.
"""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from time import perf_counter, time
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote

from pymongo.errors import PyMongoError
from starlette.types import Receive, Scope, Send

from chassis import body as bodies
from chassis import telemetry
from chassis.audit import AuditFailed
from chassis.call import ANYONE, Account, Answer, Call, Caller, Route, dumps, fresh_id, instant
from chassis.caller import challenge, dpop_challenge
from chassis.cors import Origins
from chassis.mongo import unavailable
from chassis.negotiate import (
    MEDIA,
    accepts_fhir,
    accepts_gzip,
    body_format,
    names,
    prefer,
    wanted_format,
    wanted_media,
)
from chassis.proof import NoProofError, Proofs, judge
from chassis.settings import Settings
from chassis.spool import Attachment, read_body, read_plain, settle, stream_body
from governance.permit import Denied, Permit, decide
from standards import balp, fhir_xml, search, subset
from standards.outcome import (
    BUSY,
    EXCEPTION,
    FORBIDDEN,
    INFORMATION,
    INVALID,
    LOGIN,
    MEDIA_TYPE,
    NOT_SUPPORTED,
    STRUCTURE,
    UNKNOWN_PARAMETER,
    Issue,
    Refused,
    outcome,
)  # fmt: skip
from standards.rows import AuditPattern, Public, Transaction

FORM = "application/x-www-form-urlencoded"
_ALWAYS = ("_format", "_pretty")
_FORM_LIMIT = 1024 * 1024
_SEARCHES = ("search-type",)
_READS = ("read", "vread", "history-instance", "history-type")
_WRITES = ("create", "update", "patch")
_SAFE = ("GET", "HEAD")  # these carry no body, and a 304 answers both (RFC 9110 §9.3.2, §15.4.5)


class Identify(Protocol):
    """Turns a bearer token into a caller; raises `Refused` (401) when it is not valid here."""

    async def caller(self, token: str) -> Caller:
        """The caller a token stands for."""
        ...


class Compartments(Protocol):
    """Knows whose record is whose."""

    async def records(self, patient: str, viewer: Caller) -> tuple[str, ...]:
        """The ids of all records of the person who has this one, as far as this viewer may know of it;
        () when nobody has it."""
        ...


class Record(Protocol):
    """Makes AuditEvents durable; returns only when they are."""

    async def record(self, *events: Mapping[str, Any]) -> None:
        """Write these events."""
        ...


@dataclass(frozen=True, slots=True)
class Rider:
    """What every endpoint of a process shares."""

    settings: Settings
    identify: Identify
    audit: Record
    words: balp.Vocabulary = balp.Vocabulary()  # noqa: RUF009  frozen, so sharing it is safe
    compartments: Compartments | None = None  # None: patient/ scopes reach nothing
    origins: Origins | None = None  # whose pages may call from elsewhere; None: nobody's
    proofs: Proofs | None = None  # None: tokens that are bound to a key are not taken


class Endpoint:
    """The ASGI application that serves one route of one row."""

    def __init__(self, route: Route, rider: Rider) -> None:
        self.row, self.handle, self.rider = route.row, route.handle, rider
        self.base, self.words = rider.settings.fhir_base, rider.words
        # IUA wants 401 where RFC 6750 has 403 (IUA 3.72.4.1.3); which, is the community's choice.
        self.only_401 = self.row.code in rider.settings.iua_401.replace(",", " ").split()
        self.served = {
            status: telemetry.REQUESTS.labels(self.row.code or self.row.name, str(status))
            for status in (200, 201, 204, 304, 400, 401, 403, 404)
        }
        self.seconds = telemetry.SECONDS.labels(self.row.code or self.row.name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; nothing escapes but a lost connection."""
        started = perf_counter()
        call = self._opened(scope)
        try:
            try:
                await self._prepare(call, scope, receive)
                answer = await self.handle(call)
                status = answer.status
                issues: tuple[Issue, ...] = ()
            except BaseException as fault:
                answer, issues = self._refusal(call, fault)
                status = answer.status
            try:
                await self._account(call, status, issues)
            except (AuditFailed, PyMongoError, Refused) as fault:
                answer = self._unaudited(call, fault)
            await _send(call, answer, send)
        finally:
            for attachment in call.attachments:
                attachment.close()
        self.seconds.observe(perf_counter() - started)
        served = self.served.get(answer.status) or telemetry.REQUESTS.labels(
            self.row.code or self.row.name, str(answer.status)
        )
        served.inc()

    # -- parse ----------------------------------------------------------------------------------

    def _opened(self, scope: Scope) -> Call:
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        if len(headers) != len(scope["headers"]):
            headers = _joined(scope["headers"])
        given = headers.get("x-request-id", "")
        request_id = given if given and len(given) <= 64 and _plain(given) else fresh_id()
        client = scope.get("client")
        now = datetime.now(UTC)
        return Call(
            row=self.row,
            method=scope["method"],
            path=scope.get("path_params") or {},
            query=(),
            headers=headers,
            base=self.base,
            caller=ANYONE,
            permit=Permit(),
            now=now.replace(microsecond=now.microsecond // 1000 * 1000),
            request_id=request_id,
            account=Account(),
            client_address=client[0] if client else "",
        )

    async def _prepare(self, call: Call, scope: Scope, receive: Receive) -> None:
        """Parse, identify, decide; leaves the call as its handler expects it."""
        row, headers = self.row, call.headers
        raw_query: bytes = scope.get("query_string", b"")
        call.raw = call.method.encode() + b" " + scope.get("raw_path", b"")
        if raw_query:
            call.raw += b"?" + raw_query
        pairs = _pairs(raw_query)
        formats = [v for k, v in pairs if k == "_format"]
        if row.interaction != "internal":
            self._negotiate(call, formats)
        call.caller = await self._identify(call, scope)
        if call.caller.patient:
            call.patients = await self._record(call.caller)
        call.permit = self._decide(call)
        preference = prefer(headers["prefer"]) if "prefer" in headers else None
        if preference is not None:
            call.strict, call.prefer = preference.strict, preference.wants
        if row.interaction in _SEARCHES and call.method == "POST":
            form = await self._form(call, receive)
            pairs = pairs + form
            formats = formats + [v for k, v in form if k == "_format"]
            self._negotiate(call, formats)
        elif row.body in ("resource", "bundle", "parameters", "json") and call.method not in _SAFE:
            await self._body(call, receive)
        elif row.body == "raw":
            limit = max(row.max_body, self.rider.settings.max_document)
            call.content = stream_body(receive, limit, headers.get("content-encoding", ""))
        call.query = tuple(p for p in pairs if p[0] not in _ALWAYS)
        if row.search:
            call.search = search.parse(
                call.query,
                row.search,
                resource=row.resource,
                strict=call.strict,
                max_count=self.rider.settings.find_limit,
                base=call.base,
                now=call.now,
                inclusions=row.inclusions,
            )
        else:
            if row.interaction in _READS and row.resource != "Binary":
                _partly(call)
            call.query = _known(call)
        if "if-none-exist" in headers:
            raise Refused(
                Issue(
                    NOT_SUPPORTED,
                    "If-None-Exist is not taken by this request; a conditional write here is "
                    "PUT [type]?identifier=system|value.",
                    "If-None-Exist",
                )
            )
        if isinstance(row.audit, AuditPattern):
            call.audit_event = lambda account, status: self._sealed(call, account, status)

    def _negotiate(self, call: Call, formats: Sequence[str]) -> None:
        if len(set(formats)) > 1:
            raise Refused(
                Issue(INVALID, "_format is given more than once; give it once.", "_format")
            )
        accept = call.headers.get("accept", "")
        if self.row.resource == "Binary":
            # The bytes' own media type is the handler's to weigh; only a FHIR wish is settled here.
            if accepts_fhir(accept, formats[0] if formats else None):
                call.format = wanted_format(accept, formats[0] if formats else None)
            return
        said = formats[0] if formats else None
        if self.row.media:
            call.media = wanted_media(accept, said, self.row.media)
            if call.media:
                return
        call.format = wanted_format(accept, said)

    async def _form(self, call: Call, receive: Receive) -> list[tuple[str, str]]:
        body = await read_plain(receive, _FORM_LIMIT)
        kind = call.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != FORM:
            if not body:
                return []
            raise Refused(
                Issue(
                    MEDIA_TYPE, f"A POST search takes its parameters as {FORM}, in the URL or both."
                )
            )
        call.raw += b"\n\n" + body
        return _pairs(body)

    async def _body(self, call: Call, receive: Receive) -> None:
        row, settings = self.row, self.rider.settings
        limit = min(row.max_body, settings.max_body)
        if row.body == "json":
            call.resource = bodies.parse_json(await read_plain(receive, limit))
            return
        if row.body == "parameters" and row.parameters and await _bodiless(call, receive):
            return
        kind = body_format(call.headers.get("content-type", ""))
        encoding = call.headers.get("content-encoding", "identity").lower()
        attachments: tuple[Attachment, ...] = ()
        if row.body == "bundle" or row.documents:
            raw, attachments = await read_body(
                receive,
                kind=kind,
                max_body=limit,
                max_document=settings.max_document,
                spool_dir=settings.data / "spool",
                encoding=encoding,
            )
        else:
            raw = await read_plain(receive, limit, encoding=encoding)
        call.attachments = attachments
        expected: tuple[str, ...] = ("Parameters",) if row.body == "parameters" else ()
        if row.body == "bundle":
            expected = ("Bundle",)
        elif row.body == "resource" and row.resource:
            expected = (row.resource,)
        expected = row.takes or expected
        if row.interaction == "operation":  # its body is the question, and belongs to the audit
            call.raw += b"\n\n" + raw
        call.resource = bodies.parse_resource(raw, kind, expected)
        if row.body == "bundle":
            settle(call.resource, attachments, kind)
        elif row.documents:
            settle(call.resource, attachments, kind, row.documents)

    # -- identify, decide -------------------------------------------------------------------------

    async def _identify(self, call: Call, scope: Scope) -> Caller:
        said = call.headers.get("authorization", "")
        if not said:
            if isinstance(self.row.scope, Public):
                return ANYONE
            raise Refused(
                Issue(LOGIN, "Send a bearer token: Authorization: Bearer …"), headers=challenge()
            )
        kind, _, token = said.partition(" ")
        proved = kind.lower() == "dpop"
        if not (proved or kind.lower() == "bearer") or not token.strip():
            raise Refused(
                Issue(LOGIN, "The Authorization header must be: Bearer, a blank, and the token."),
                headers=challenge(),
            )
        if isinstance(self.row.scope, Public):
            return ANYONE
        caller = await self.rider.identify.caller(token.strip())
        if caller.jkt or proved:
            await self._proved(call, scope, caller, token.strip() if proved else "")
        return caller

    async def _proved(self, call: Call, scope: Scope, caller: Caller, token: str) -> None:
        """A token that is bound to a key comes with a proof of that key, and only such a one does
        (RFC 9449 §7). Raises `Refused` (401)."""
        words, proofs = "", self.rider.proofs
        if not caller.jkt:
            words = "The token is bound to no key; show it as Bearer."
        elif not token or proofs is None:
            words = "The token is bound to a key; show it as DPoP, with a proof."
        if words or proofs is None:
            raise Refused(Issue(LOGIN, words), headers=dpop_challenge("invalid_token", words))
        settings = self.rider.settings
        try:
            proof = judge(
                call.headers.get("dpop", ""),
                token=token,
                method=call.method,
                url=settings.origin + scope.get("raw_path", b"").decode("latin-1"),
                now=time(),
                skew=float(settings.clock_skew),
            )
            if proof.jkt != caller.jkt:
                raise NoProofError("The proof is of another key than the token's.")
            if not await proofs.use(proof):
                raise NoProofError("The proof was used before.")
        except NoProofError as fault:
            told = dpop_challenge("invalid_dpop_proof", str(fault))
            raise Refused(Issue(LOGIN, str(fault)), headers=told) from None

    async def _record(self, caller: Caller) -> tuple[str, ...]:
        """The records of the person in whose record the token was launched."""
        known = self.rider.compartments
        return await known.records(caller.patient, caller) if known is not None else ()

    def _decide(self, call: Call) -> Permit:
        decision = decide(call.caller.scope, self.row, call.patients)
        if isinstance(decision, Denied):
            raise Refused(
                Issue(FORBIDDEN, decision.words),
                headers=challenge("insufficient_scope", decision.words, decision.scope),
            )
        return decision

    # -- account ----------------------------------------------------------------------------------

    async def _account(self, call: Call, status: int, issues: tuple[Issue, ...]) -> None:
        if not isinstance(self.row.audit, AuditPattern):
            return
        if call.account.sealed is not None and status < 400:
            await self.rider.audit.record(call.account.sealed)
            return
        facts = self._facts(call, status, issues)
        made = balp.events(self.row.audit, call.caller, call.account, facts, self.words)
        await self.rider.audit.record(*made)

    def _sealed(self, call: Call, account: Account, status: int) -> Mapping[str, Any]:
        pattern = self.row.audit
        if not isinstance(pattern, AuditPattern):
            raise TypeError(f"{self.row.code} has no audit pattern")
        return balp.event(pattern, call.caller, account, self._facts(call, status, ()), self.words)

    def _facts(self, call: Call, status: int, issues: tuple[Issue, ...]) -> balp.Request:
        return balp.Request(
            event_id=fresh_id(),
            recorded=instant(call.now),
            server=call.base,
            outcome=balp.outcome_of(status),
            words=issues[0].words if issues else "",
            client_address=call.client_address,
            request_id=call.request_id,
            raw=call.raw,
            issues=outcome(issues) if issues else None,
        )

    # -- when it does not go well ---------------------------------------------------------------

    def _refusal(self, call: Call, fault: BaseException) -> tuple[Answer, tuple[Issue, ...]]:
        if isinstance(fault, Refused):
            if any(i.kind is EXCEPTION for i in fault.issues):
                telemetry.log(
                    telemetry.FAULT, row=self.row.code, request_id=call.request_id,
                    fault="refused", at=telemetry.place(fault.__traceback__),
                )  # fmt: skip
            return self._refused(fault)
        if unavailable(fault):
            telemetry.log(
                telemetry.UNAVAILABLE, row=self.row.code, request_id=call.request_id,
                fault=type(fault).__name__,
            )  # fmt: skip
            words = (
                "The database is changing over or cannot be reached; nothing was lost. Try again."
            )
            return self._refused(Refused(Issue(BUSY, words), headers={"Retry-After": "2"}))
        if not isinstance(fault, Exception):
            raise fault
        telemetry.log(
            telemetry.FAULT, row=self.row.code, request_id=call.request_id,
            fault=type(fault).__name__, at=telemetry.place(fault.__traceback__),
        )  # fmt: skip
        words = f"This server failed. Quote {call.request_id} to its operators."
        return self._refused(Refused(Issue(EXCEPTION, words)))

    def _refused(self, refusal: Refused) -> tuple[Answer, tuple[Issue, ...]]:
        status = refusal.status(self.row.invalid)
        if status == 403 and self.only_401:
            status = 401
        answer = Answer.fhir(outcome(refusal.issues, self.row.coded), status)
        answer.headers.update(refusal.headers)
        return answer, refusal.issues

    def _unaudited(self, call: Call, fault: Exception) -> Answer:
        telemetry.log(
            telemetry.AUDIT_FAILED, row=self.row.code, request_id=call.request_id,
            fault=type(fault).__name__,
        )  # fmt: skip
        words = "The audit trail cannot be written, so nothing may be answered. Try again."
        answer = Answer.fhir(outcome([Issue(BUSY, words)]), 503)
        answer.headers["Retry-After"] = "2"
        return answer


def _joined(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Header lines of one name as one line (RFC 9110 §5.3): Accept and Prefer may come in several, and
    of two Authorization or Content-Type lines neither is believed."""
    made: dict[str, str] = {}
    for key, value in raw:
        name, said = key.decode("latin-1"), value.decode("latin-1")
        made[name] = f"{made[name]}, {said}" if name in made else said
    return made


def _pairs(raw: bytes) -> list[tuple[str, str]]:
    """Decoded name-value pairs in order. Raises `Refused` for escapes that are not UTF-8 and for NUL."""
    if not raw:
        return []
    try:
        text = raw.decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=1000)
    except UnicodeDecodeError:
        raise Refused(Issue(STRUCTURE, "The query is not percent-encoded UTF-8.")) from None
    except ValueError:
        raise Refused(Issue(STRUCTURE, "The query has more than 1,000 parameters.")) from None
    if any("\x00" in k or "\x00" in v for k, v in pairs):
        raise Refused(Issue(STRUCTURE, "The query holds a NUL character."))
    return pairs


async def _bodiless(call: Call, receive: Receive) -> bool:
    """Whether there is no body to read. A POSTed operation may say all it has to say in the URL."""
    if call.headers.get("content-length") == "0":
        return True
    if call.headers.get("content-type"):
        return False
    # Whoever sends something without saying what it is, is told so; no body needs no type.
    return not await read_plain(receive, call.row.max_body)


def _partly(call: Call) -> None:
    """Take `_summary` and `_elements` out of the query of a read. Raises `Refused` for what is wrong."""
    said = [p for p in call.query if p[0] in subset.NAMES]
    if said:
        call.query = tuple(p for p in call.query if p[0] not in subset.NAMES)
        call.subset, issues = subset.wanted(call.row.resource, said, searching=False)
        if issues:
            raise Refused(issues)


def _known(call: Call) -> tuple[tuple[str, str], ...]:
    """The query parameters a row declares. Unknown ones are refused, or left out when lenient."""
    names = call.row.parameters
    unknown = [k for k, _ in call.query if k not in names]
    if not unknown:
        return call.query
    if not call.strict:
        return tuple(p for p in call.query if p[0] in names)
    raise Refused(
        Issue(UNKNOWN_PARAMETER, _nearest(k, names, call.row), _plainly(k)) for k in unknown
    )


def _nearest(name: str, names: Sequence[str], row: Transaction) -> str:
    close = get_close_matches(name, names, 1, 0.5)
    if close:
        return f"{row.name} has no parameter {_plainly(name)}; the nearest is {close[0]}."
    if names:
        return f"{row.name} has no parameter {_plainly(name)}; it takes {', '.join(names)}."
    return f"{row.name} takes no parameter {_plainly(name)}."


def _plain(text: str) -> bool:
    return text.isascii() and all(c.isalnum() or c in "-_.:/=+" for c in text)


def _plainly(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in unquote(text)[:60])


# -- out ----------------------------------------------------------------------------------------


async def _send(call: Call, answer: Answer, send: Send) -> None:
    _shape(call, answer)
    headers = [
        (k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in answer.headers.items()
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if answer.stream is not None and call.method != "HEAD":
        await _streamed(answer, answer.stream, send)
        return
    body = b"" if call.method == "HEAD" else answer.body
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _streamed(answer: Answer, pieces: AsyncIterator[bytes], send: Send) -> None:
    """The pieces as they come. Where the length was announced the last one says that it is: a server
    that knows so at once sends it without the machinery of streams."""
    left = int(answer.headers.get("Content-Length", -1))
    async for piece in pieces:
        if piece:
            left -= len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": left != 0})
    if left != 0:
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _shape(call: Call, answer: Answer) -> None:
    """Preferred return, not-modified, XML, compression and the headers every answer carries."""
    headers = answer.headers
    headers["X-Request-Id"] = call.request_id
    headers["X-Content-Type-Options"] = "nosniff"
    headers.setdefault("Cache-Control", "no-store")
    if answer.stream is not None:
        headers.setdefault("Content-Type", answer.media or "application/octet-stream")
        return
    if call.row.interaction in _WRITES and answer.status in (200, 201) and call.prefer:
        _preferred(call, answer)
    if call.method in _SAFE and "ETag" in headers and _matches(call, headers["ETag"]):
        answer.status, answer.body = 304, b""
    if answer.body:
        if answer.media is None and call.row.interaction != "internal":
            part = call.search.subset if call.search is not None else call.subset
            if part is not None and answer.status == 200:
                answer.body = dumps(part.of(bodies.parse_json(answer.body)))
            if call.format == "xml":
                answer.body = fhir_xml.render(bodies.parse_json(answer.body))
            headers["Content-Type"] = MEDIA[call.format]
            headers["Vary"] = "Accept, Accept-Encoding"
        else:
            headers.setdefault("Content-Type", answer.media or "application/json")
        if len(answer.body) > 1400 and accepts_gzip(call.headers.get("accept-encoding", "")):
            answer.body = gzip.compress(answer.body, 1, mtime=0)
            headers["Content-Encoding"] = "gzip"
    if answer.status not in (204, 304):
        headers.setdefault("Content-Length", str(len(answer.body)))


def _preferred(call: Call, answer: Answer) -> None:
    if call.prefer == "minimal":
        answer.body = b""
    elif call.prefer == "OperationOutcome":
        answer.body = dumps(outcome([Issue(INFORMATION, "Stored.", severity="information")]))


def _matches(call: Call, etag: str) -> bool:
    asked = call.headers.get("if-none-match", "")
    return bool(asked) and names(asked, etag)
