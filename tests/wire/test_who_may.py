"""Tokens that are none, on every row: 401 or 403 with a challenge and an OperationOutcome, nothing
stored, and an AuditEvent of the refusal."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import orjson
import pytest
from joserfc import jws
from joserfc.jwk import RSAKey

from auth.keys import Keys, SigningKey
from exchange.rows import ROWS
from standards import balp, iua
from standards.rows import AuditPattern, Needs, Public, Transaction
from tests.makers_mhd import a_bundle, a_document
from tests.running import Exchange

GUARDED = [
    r for r in ROWS if r.surface == "fhir" and isinstance(r.scope, Needs)
]  # fmt: skip
FHIR = {"Content-Type": "application/fhir+json", "Accept": "application/fhir+json"}
Forged = Callable[[Exchange], Awaitable[str]]


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


_SIGNING: dict[str, SigningKey] = {}  # by exchange; reading a private key costs more than a request


async def signing_key(exchange: Exchange) -> SigningKey:
    """The key that the exchange signs with."""
    prefix = exchange.settings.database_prefix
    if prefix not in _SIGNING:
        _SIGNING[prefix] = await Keys.of(exchange.settings, exchange.mongo).signing()
    return _SIGNING[prefix]


async def minted(
    exchange: Exchange, header: dict[str, Any] | None = None, key: Any = None, **changes: Any
) -> str:
    """A token of this exchange with some claims changed (None: left out)."""
    signing = await signing_key(exchange)
    claims = iua.claims(
        iua.Identity(role="R-SYS"), issuer=exchange.settings.issuer, audience=exchange.base, client_id="forger",
        scope="system/*.cruds", jti=str(uuid.uuid4()), now=int(time.time()), seconds=300, words=balp.Vocabulary(),
    ) | changes  # fmt: skip
    head = {"alg": "RS256", "kid": signing.kid, "typ": "at+jwt"} | (header or {})
    payload = json.dumps({k: v for k, v in claims.items() if v is not None}).encode()
    return jws.serialize_compact(head, payload, key or signing.key, algorithms=[head["alg"]])


async def expired(exchange: Exchange) -> str:
    return await minted(exchange, exp=int(time.time()) - 3600, iat=int(time.time()) - 7200)


async def foreign(exchange: Exchange) -> str:
    return await minted(exchange, key=RSAKey.generate_key(2048))


async def foreign_key_of_its_own(exchange: Exchange) -> str:
    return await minted(exchange, {"kid": "theirs"}, RSAKey.generate_key(2048))


async def unsigned(exchange: Exchange) -> str:
    return ".".join([*(await minted(exchange)).split(".")[:2], ""])


async def alg_none(exchange: Exchange) -> str:
    whole = (await minted(exchange)).split(".")
    head = b64(json.dumps({"alg": "none", "typ": "at+jwt"}).encode())
    return f"{head}.{whole[1]}."


async def signed_with_the_public_key(exchange: Exchange) -> str:
    signing = await signing_key(exchange)
    public = signing.key.as_pem(private=False)
    head = b64(json.dumps({"alg": "HS256", "kid": signing.kid, "typ": "at+jwt"}).encode())
    body = (await minted(exchange)).split(".")[1]
    return f"{head}.{body}.{b64(hmac.digest(public, f'{head}.{body}'.encode(), hashlib.sha256))}"


async def for_another_server(exchange: Exchange) -> str:
    return await minted(exchange, aud=["https://elsewhere.example/fhir"])


async def of_another_issuer(exchange: Exchange) -> str:
    return await minted(exchange, iss="https://elsewhere.example/auth")


async def not_yet(exchange: Exchange) -> str:
    return await minted(exchange, nbf=int(time.time()) + 3600)


async def without_scope(exchange: Exchange) -> str:
    return await minted(exchange, scope=None)


async def an_id_token(exchange: Exchange) -> str:
    return await minted(exchange, {"typ": "JWT"})


async def words(exchange: Exchange) -> str:
    return "let-me-in"


async def two_tokens(exchange: Exchange) -> str:
    return f"{await minted(exchange)} {await minted(exchange)}"


FORGED: tuple[Forged, ...] = (
    expired, foreign, foreign_key_of_its_own, unsigned, alg_none, signed_with_the_public_key, for_another_server,
    of_another_issuer, not_yet, without_scope, an_id_token, words, two_tokens,
)  # fmt: skip


def asked(row: Transaction) -> tuple[str, str, bytes]:
    """A request of this row that would be served to the right caller, or at least be read."""
    method, path = row.routes[-1]
    path = "/fhir" + path.replace("{id}", "x").replace("{vid}", "1")
    if path == "/fhir/":
        return method, "/fhir", json.dumps(a_bundle(a_document("Patient/x"))).encode()
    body = b""
    if method in ("POST", "PUT"):
        body = orjson.dumps({"resourceType": row.resource})
    return method, path, body


async def told_of(exchange: Exchange, request_id: str) -> list[dict[str, Any]]:
    """The AuditEvents that name this request, which was answered just now: they are among the last."""
    table = exchange.mongo.table("audit", "events")
    rows = await table.many({"b": {"$exists": True}}, {"b": 1}, sort=[("$natural", -1)], limit=50)
    events = [orjson.loads(row["b"]) for row in rows]
    return [
        e
        for e in events
        if any(
            x.get("what", {}).get("identifier", {}).get("value") == request_id
            for x in e.get("entity", ())
        )
    ]


async def stored(exchange: Exchange) -> dict[str, int]:
    held = (
        ("pix", "records"),
        ("registry", "documents"),
        ("registry", "lists"),
        ("repository", "deposits"),
    )
    return {f"{d}.{t}": await exchange.mongo.table(d, t).count({}) for d, t in held}


def refused(answer: httpx.Response, status: int, error: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith('Bearer realm="throughline"')
    assert (f'error="{error}"' in challenge) == bool(error)
    outcome = answer.json()
    assert outcome["resourceType"] == "OperationOutcome"
    assert outcome["issue"][0]["code"] in ("login", "expired", "forbidden")
    assert len(outcome["issue"][0]["diagnostics"]) > 10
    return outcome["issue"][0]


@pytest.mark.parametrize("forged", FORGED, ids=lambda f: f.__name__)
async def test_a_token_that_is_none_opens_nothing_and_is_audited(
    exchange: Exchange, forged: Forged
) -> None:
    token = await forged(exchange)
    before = await stored(exchange)
    for row in GUARDED:
        method, path, body = asked(row)
        answer = await exchange.http.request(
            method, path, content=body, headers=FHIR | {"Authorization": f"Bearer {token}"}
        )
        issue = refused(answer, 401, "invalid_token")
        assert issue["code"] == ("expired" if forged is expired else "login")
        assert token not in answer.text
        if row is GUARDED[0]:
            (event,) = await told_of(exchange, answer.headers["x-request-id"])
            assert event["outcome"] in ("4", "8")
            assert token not in orjson.dumps(event).decode()
    assert await stored(exchange) == before


@pytest.mark.parametrize("row", GUARDED, ids=lambda r: f"{r.code}-{r.interaction}-{r.resource}")
async def test_without_a_token_there_is_nothing_and_it_is_audited(
    exchange: Exchange, row: Transaction
) -> None:
    method, path, body = asked(row)
    for said in ({}, {"Authorization": "Basic eDp5"}, {"Authorization": "Bearer"}):
        answer = await exchange.http.request(method, path, content=body, headers=FHIR | said)
        refused(answer, 401, "")
    if isinstance(row.audit, AuditPattern):
        (event,) = await told_of(exchange, answer.headers["x-request-id"])
        assert event["outcome"] in ("4", "8")


@pytest.mark.parametrize("row", GUARDED, ids=lambda r: f"{r.code}-{r.interaction}-{r.resource}")
async def test_a_scope_for_another_resource_is_403_and_says_which_would_do(
    exchange: Exchange, row: Transaction
) -> None:
    assert isinstance(row.scope, Needs)
    needs = row.scope
    other = "Basic" if needs.resource != "Basic" else "Flag"
    letters = "".join(x for x in "cruds" if x != needs.letter)
    before = await stored(exchange)
    for scope in (
        f"system/{other}.cruds", f"system/{needs.resource}.{letters}", f"patient/{needs.resource}.cruds", "ITI-0",
    ):  # fmt: skip
        token = await minted(exchange, scope=scope)
        method, path, body = asked(row)
        answer = await exchange.http.request(
            method, path, content=body, headers=FHIR | {"Authorization": f"Bearer {token}"}
        )
        issue = refused(answer, 403, "insufficient_scope")
        wanted = f"system/{needs.resource}.{needs.letter}" if needs.letter else needs.literals[0]
        assert wanted in issue["diagnostics"]
        assert f'scope="{wanted}"' in answer.headers["www-authenticate"]
    if isinstance(row.audit, AuditPattern):
        (event,) = await told_of(exchange, answer.headers["x-request-id"])
        assert event["outcome"] in ("4", "8")
        assert event["agent"]
    assert await stored(exchange) == before


async def test_a_patients_scope_opens_no_row_for_a_patient_whom_nobody_has(
    exchange: Exchange,
) -> None:
    for row in GUARDED:
        assert isinstance(row.scope, Needs)
        scope = f"patient/{row.scope.resource}.cruds"
        for changes, words in (({}, "has no patient"), ({"patient": "x"}, "Nobody is known")):
            token = await minted(exchange, scope=scope, **changes)
            method, path, body = asked(row)
            answer = await exchange.http.request(
                method, path, content=body, headers=FHIR | {"Authorization": f"Bearer {token}"}
            )
            issue = refused(answer, 403, "insufficient_scope")
            if row.scope.letter:
                assert words in issue["diagnostics"], row.name


async def test_bytes_need_the_right_to_their_document_reference_too(exchange: Exchange) -> None:
    token = await minted(exchange, scope="system/Binary.r")
    answer = await exchange.http.get(
        "/fhir/Binary/x", headers={"Authorization": f"Bearer {token}", "Accept": "*/*"}
    )
    issue = refused(answer, 403, "insufficient_scope")
    assert "system/DocumentReference.r" in issue["diagnostics"]
    assert 'scope="system/DocumentReference.r"' in answer.headers["www-authenticate"]


async def test_every_entry_of_a_submission_must_be_in_reach(exchange: Exchange) -> None:
    """Scopes for one kind of entry do not carry the others in."""
    whole = ("system/DocumentReference.c", "system/List.c", "system/Binary.c")
    body = json.dumps(a_bundle(a_document("Patient/x")))
    for left_out in whole:
        token = await minted(exchange, scope=" ".join(s for s in whole if s != left_out))
        answer = await exchange.http.post(
            "/fhir", content=body, headers=FHIR | {"Authorization": f"Bearer {token}"}
        )
        issue = refused(answer, 403, "insufficient_scope")
        assert left_out in issue["diagnostics"]


async def test_a_body_is_not_read_before_the_caller_may_send_it(exchange: Exchange) -> None:
    """A flood without a token costs its headers only."""
    read = 0

    async def endless() -> Any:
        nonlocal read
        for _ in range(64):
            read += 1
            yield b" " * 65536

    scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "path": "/fhir", "raw_path": b"/fhir", "query_string": b"",
        "root_path": "", "scheme": "http", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
        "headers": [(b"content-type", b"application/fhir+json")],
    }  # fmt: skip
    source, sent = endless(), []

    async def receive() -> Any:
        return {"type": "http.request", "body": await anext(source), "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    await exchange.app(scope, receive, send)
    assert sent[0]["status"] == 401
    assert read == 0


def test_only_the_capability_statement_is_public() -> None:
    public = [r for r in ROWS if r.surface == "fhir" and isinstance(r.scope, Public) and not r.door]
    kinds = [(r.interaction, r.resource) for r in public]
    definitions = [("read", "OperationDefinition"), ("read", "SearchParameter")]
    assert kinds == [("capabilities", ""), *definitions], "what it is, and what that names"


def test_another_base_has_nothing_public_but_its_capability_statement() -> None:
    public = [r for r in ROWS if r.door and isinstance(r.scope, Public)]
    assert {r.interaction for r in public} == {"capabilities"}
    assert {r.door for r in public} == {r.door for r in ROWS if r.door}
