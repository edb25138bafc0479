"""From token to caller: what is believed, what is refused, and how soon a revocation bites."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping
from typing import Any

import httpx
import orjson
import pytest
from joserfc.jwk import OctKey, RSAKey

from chassis.caller import Verifier, challenge, printable
from chassis.trust import FarAuth
from standards import balp, iua
from standards.outcome import Refused
from tests.auth.authority import Server, a_backend, a_token, sign


async def minted(
    server: Server, header: Mapping[str, Any] | None = None, key: Any = None, **changes: Any
) -> str:
    """A token of this server with these claims changed (None: left out)."""
    signing = await server.authority.keys.signing()
    claims = iua.claims(
        iua.Identity(), issuer=server.settings.issuer, audience=server.settings.fhir_base, client_id="c",
        scope="ITI-67", jti=str(uuid.uuid4()), now=int(time.time()), seconds=300, words=balp.Vocabulary(),
    ) | changes  # fmt: skip
    head = {"alg": "RS256", "kid": signing.kid, "typ": "at+jwt"} | dict(header or {})
    return sign(
        {k: v for k, v in head.items() if v is not None},
        {k: v for k, v in claims.items() if v is not None},
        key or signing.key,
    )


async def why_not(verifier: Verifier, token: str) -> str:
    with pytest.raises(Refused) as refusal:
        await verifier.caller(token)
    assert refusal.value.status() == 401
    header = refusal.value.headers["WWW-Authenticate"]
    assert header.startswith(
        'Bearer realm="throughline", error="invalid_token", error_description="'
    )
    return refusal.value.issues[0].words


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"exp": 1}, "expired"),
        ({"exp": time.time() - 60 - 1}, "expired"),
        ({"nbf": time.time() + 86_400}, "not valid yet"),
        ({"iat": time.time() + 86_400}, "not valid yet"),
        ({"aud": ["https://elsewhere.example/fhir"]}, "another server"),
        ({"aud": "http://exchange.test/fhir/"}, "another server"),
        ({"aud": None}, "lacks"),
        ({"iss": "https://elsewhere.example/auth"}, "another server"),
        ({"iss": None}, "lacks"),
        ({"sub": ""}, "lacks"),
        ({"jti": None}, "lacks"),
        ({"client_id": None}, "lacks"),
        ({"client_id": ["c"]}, "lacks"),
        ({"scope": None}, "lacks"),
        ({"exp": "9999999999"}, "numbers"),
        ({"exp": True}, "numbers"),
        ({"exp": None}, "lacks"),
    ],
)
async def test_a_token_with_wrong_claims_is_refused(
    server: Server, changes: dict[str, Any], words: str
) -> None:
    assert words in await why_not(server.authority.verifier, await minted(server, **changes))


@pytest.mark.parametrize(
    "header",
    [
        {"typ": None}, {"typ": "JWT"}, {"typ": "IUA-JWT"}, {"kid": None}, {"kid": ""}, {"kid": "another"},
        {"kid": 5}, {"alg": "none"},
    ],
)  # fmt: skip
async def test_a_token_with_a_wrong_header_is_refused(
    server: Server, header: dict[str, Any]
) -> None:
    if header.get("kid") == 5:
        token = await minted(server)
        head = orjson.dumps({"alg": "RS256", "kid": 5, "typ": "at+jwt"})
        from tests.auth.authority import b64

        token = ".".join([b64(head), *token.split(".")[1:]])
    else:
        token = await minted(server, header)
    await why_not(server.authority.verifier, token)


async def test_a_token_of_another_signer_is_refused(server: Server) -> None:
    signing = await server.authority.keys.signing()
    foreign = RSAKey.generate_key(2048)
    assert "signature" in await why_not(
        server.authority.verifier, await minted(server, key=foreign)
    )
    secret = OctKey.import_key(signing.key.as_pem(private=False).replace(b"-----", b""))
    for alg in ("HS256", "HS512"):
        token = await minted(server, {"alg": alg}, secret)
        assert "signed the way" in await why_not(server.authority.verifier, token)


async def test_a_changed_token_is_refused(server: Server) -> None:
    good, evil = await minted(server), await minted(server, scope="system/*.cruds")
    head, _, signature = good.split(".")
    assert "signature" in await why_not(
        server.authority.verifier, f"{head}.{evil.split('.')[1]}.{signature}"
    )


@pytest.mark.parametrize(
    "token", ["", "x", "a.b", "..", "a.b.c", "é.é.é", "e30.e30.", "x" * 20_000, "\udcff.a.b"]
)
async def test_what_is_no_token_is_refused(server: Server, token: str) -> None:
    await why_not(server.authority.verifier, token)


async def test_the_clocks_may_differ_a_little(server: Server) -> None:
    now = time.time()
    for changes in ({"exp": now - 30}, {"nbf": now + 30, "iat": now + 30}, {"nbf": None}):
        assert (
            await server.authority.verifier.caller(await minted(server, **changes))
        ).client_id == "c"


async def test_a_known_token_expires_all_the_same(server: Server) -> None:
    now = [time.time()]
    verifier = Verifier(
        server.settings,
        server.authority.keys,
        server.authority.revocations.here,
        clock=lambda: now[0],
    )
    token = await minted(server)
    await verifier.caller(token)
    now[0] += 359
    await verifier.caller(token)
    now[0] += 2
    assert "expired" in await why_not(verifier, token)


async def test_only_so_many_tokens_are_remembered(server: Server) -> None:
    verifier = Verifier(
        server.settings, server.authority.keys, server.authority.revocations.here, remembered=3
    )
    for _ in range(10):
        await verifier.caller(await minted(server))
    assert len(verifier._known) == 3


async def test_a_known_token_is_checked_in_30_microseconds(server: Server) -> None:
    verifier, token = server.authority.verifier, await minted(server)
    await server.authority.revocations.end_token(
        str(uuid.uuid4()), time.time() + 60
    )  # a set that is not empty
    await verifier.caller(token)
    took = []
    for _ in range(20):
        started = time.thread_time()
        for _ in range(100):
            await verifier.caller(token)
        took.append((time.thread_time() - started) / 100)
    assert min(took) < 30e-6


# -- revocation ----------------------------------------------------------------------------------
async def until_refused(verifier: Verifier, token: str) -> float:
    started = time.monotonic()
    while time.monotonic() - started < 5:
        try:
            await verifier.caller(token)
        except Refused:
            assert "revoked" in await why_not(verifier, token)
            return time.monotonic() - started
        await asyncio.sleep(0.02)
    raise AssertionError("never refused")


async def test_a_revoked_token_is_refused_by_every_process_within_a_second(
    server: Server, other: Server
) -> None:
    backend = await a_backend(server)
    token, kept = await a_token(server, backend), await a_token(server, backend)
    await other.authority.verifier.caller(token)
    form = backend.form(grant_type=None, scope=None, token=token)
    assert (await server.http.post("/auth/revoke", data=form)).status_code == 200
    assert "revoked" in await why_not(server.authority.verifier, token)
    assert await until_refused(other.authority.verifier, token) < 1.0
    assert (await other.authority.verifier.caller(kept)).client_id == backend.client_id


async def test_all_tokens_of_a_revoked_client_are_refused_within_a_second(
    server: Server, other: Server
) -> None:
    backend = await a_backend(server)
    tokens = [await a_token(server, backend) for _ in range(2)]
    for token in tokens:
        await other.authority.verifier.caller(token)
    await server.authority.clients.revoke(backend.client_id)
    assert await until_refused(other.authority.verifier, tokens[0]) < 1.0
    assert await until_refused(other.authority.verifier, tokens[1]) < 0.1
    assert await until_refused(server.authority.verifier, tokens[0]) < 1.0


# -- apart -----------------------------------------------------------------------------------------
class Held:
    """A token source with a token in hand."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self) -> str:
        return self._token


async def test_a_service_apart_believes_and_disbelieves_the_same(server: Server) -> None:
    service = await a_backend(server, scope="throughline.internal")
    backend = await a_backend(server)
    token = await a_token(server, backend)
    held = Held(await a_token(server, service, scope="throughline.internal"))
    far = FarAuth(server.http, server.settings.origin, held)
    async with far.followed():
        verifier = Verifier(server.settings, far, far.revocations)
        assert (await verifier.caller(token)).client_id == backend.client_id
        await why_not(verifier, await minted(server, {"kid": "unknown"}))
        await server.authority.keys.rotate()
        newer = await a_token(server, backend)
        assert (await verifier.caller(newer)).client_id == backend.client_id
        await server.authority.revocations.end_token(
            (await verifier.caller(token)).jti, time.time() + 300
        )
        assert await until_refused(verifier, token) < 1.0


async def test_a_service_apart_takes_no_token_while_it_cannot_ask(server: Server) -> None:
    down = httpx.AsyncClient(transport=httpx.MockTransport(lambda request: httpx.Response(502)))
    far = FarAuth(down, "http://auth.test", Held("x"))
    async with far.followed():
        for revocations in (far.revocations, server.authority.revocations.here):
            with pytest.raises(Refused) as refusal:
                await Verifier(server.settings, far, revocations).caller(await minted(server))
            assert refusal.value.status() == 503
        with pytest.raises(Refused) as refusal:
            await Verifier(server.settings, server.authority.keys, far.revocations).caller(
                await minted(server)
            )
        assert refusal.value.status() == 503
    await down.aclose()


async def test_an_unknown_key_is_asked_for_once_in_a_while(server: Server) -> None:
    asked: list[str] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, json=await server.authority.keys.jwks())

    client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    far = FarAuth(client, "http://auth.test", Held("x"))
    found = await asyncio.gather(*(far.key(f"unknown-{i}") for i in range(20)))
    assert found == [None] * 20
    assert asked == ["/auth/jwks"]
    assert await far.key((await server.authority.keys.signing()).kid) is not None
    assert asked == ["/auth/jwks"]
    await client.aclose()


async def test_the_internal_door_is_for_services_only(server: Server) -> None:
    backend = await a_backend(server)
    ask = server.http.get
    none = await ask("/auth/revocations")
    bad = await ask("/auth/revocations", headers={"Authorization": "Bearer x"})
    narrow = await ask(
        "/auth/revocations", headers={"Authorization": f"Bearer {await a_token(server, backend)}"}
    )
    assert (none.status_code, bad.status_code, narrow.status_code) == (401, 401, 403)
    assert none.headers["www-authenticate"] == 'Bearer realm="throughline"'
    assert 'error="insufficient_scope"' in narrow.headers["www-authenticate"]
    assert 'scope="throughline.internal"' in narrow.headers["www-authenticate"]
    service = await a_backend(server, scope="throughline.internal")
    token = await a_token(server, service, scope="throughline.internal")
    for since in ("x", "nan", "inf", "-1", "1e300"):
        answer = await ask(
            "/auth/revocations",
            params={"since": since},
            headers={"Authorization": f"Bearer {token}"},
        )
        assert answer.status_code == 400


def test_a_challenge_says_what_is_missing_in_safe_characters() -> None:
    assert challenge() == {"WWW-Authenticate": 'Bearer realm="throughline"'}
    told = challenge("insufficient_scope", 'It needs "x"\\\r\nEvil: é', "system/Patient.r")
    assert told["WWW-Authenticate"] == (
        'Bearer realm="throughline", error="insufficient_scope", '
        'error_description="It needs ?x????Evil: ?", scope="system/Patient.r"'
    )
    assert len(printable("x" * 10_000)) == 400
