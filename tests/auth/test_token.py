"""POST /auth/token: what is granted, and every way to be refused."""

from __future__ import annotations

import base64
import json
import time
import uuid
from typing import Any

import pytest
from joserfc.jwk import OctKey

from chassis.caller import Verifier
from standards.outcome import Refused
from tests.auth.authority import Backend, Server, a_backend, a_key, a_token, b64, public, sign


async def post(server: Server, form: Any, **more: Any) -> Any:
    answer = await server.http.post("/auth/token", data=form, **more)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    assert answer.headers["content-type"] == "application/json"
    return answer


def refused(answer: Any, status: int, error: str) -> str:
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
    words = str(answer.json()["error_description"])
    assert words.isascii()
    assert words.isprintable()
    assert not {'"', "\\"} & set(words)
    return words


@pytest.mark.parametrize("alg", ["RS384", "ES384"])
async def test_a_signed_assertion_gets_a_token_that_this_exchange_believes(
    server: Server, alg: str
) -> None:
    backend = await a_backend(
        server, alg, organisation="R0A", role="R-HV", purposes=("P-CARE", "P-AUD")
    )
    answer = await post(
        server,
        backend.form(
            scope="ITI-67 system/Patient.r", purpose_of_use="P-CARE", reason="Zoë’s visit"
        ),
    )
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"access_token", "token_type", "expires_in", "scope"}
    assert (body["token_type"], body["expires_in"], body["scope"]) == (
        "Bearer", 300, "ITI-67 system/Patient.r",
    )  # fmt: skip
    caller = await server.authority.verifier.caller(body["access_token"])
    assert (caller.client_id, caller.subject, caller.scope) == (backend.client_id,) * 2 + (
        body["scope"],
    )
    assert (caller.organisation, caller.role, caller.purpose) == ("R0A", "R-HV", "P-CARE")
    assert caller.reason == "Zoë’s visit"
    head, claims = (
        json.loads(base64.urlsafe_b64decode(p + "==")) for p in body["access_token"].split(".")[:2]
    )
    assert head["typ"] == "at+jwt"
    assert head["alg"] == "RS256"
    assert claims["aud"] == [server.settings.fhir_base]
    assert claims["extensions"]["ihe_iua"]["purpose_of_use"] == [{"code": "P-CARE"}]


@pytest.mark.parametrize("ahead", [1, 300, 355])
async def test_five_minutes_ahead_and_the_clocks_difference_are_taken(
    server: Server, ahead: int
) -> None:
    backend = await a_backend(server)
    answer = await post(server, backend.form(backend.assertion(exp=int(time.time()) + ahead)))
    assert answer.status_code == 200, answer.text


async def test_the_issuer_is_taken_as_audience_too(server: Server) -> None:
    backend = await a_backend(server)
    for aud in (server.settings.issuer, [f"{server.settings.issuer}/token"]):
        assert (await post(server, backend.form(backend.assertion(aud=aud)))).status_code == 200


def _times() -> int:
    return int(time.time())


CLAIMS: dict[str, dict[str, Any]] = {
    "expired": {"exp": _times() - 120},
    "exp too far": {"exp": _times() + 3600},
    "exp a day ahead": {"exp": _times() + 86400},
    "exp a string": {"exp": str(_times() + 100)},
    "exp true": {"exp": True},
    "exp absent": {"exp": None},
    "nbf in the future": {"nbf": _times() + 1200},
    "iat in the future": {"iat": _times() + 1200},
    "iat a string": {"iat": "now"},
    "jti absent": {"jti": None},
    "jti empty": {"jti": ""},
    "jti a number": {"jti": 7},
    "jti a document": {"jti": {"$ne": "x"}},
    "aud of another server": {"aud": "https://elsewhere.example/auth/token"},
    "aud of the FHIR base": {"aud": "http://exchange.test/fhir"},
    "aud a list of two": {"aud": ["http://exchange.test/auth/token", "https://elsewhere.example"]},
    "aud an empty list": {"aud": []},
    "aud absent": {"aud": None},
    "iss of another": {"iss": "someone-else"},
    "iss absent": {"iss": None},
    "sub absent": {"sub": None},
    "sub a number": {"sub": 5},
    "sub a document": {"sub": {"$ne": ""}, "iss": {"$ne": ""}},
    "an unknown client": {"iss": "nobody", "sub": "nobody"},
}


@pytest.mark.parametrize("case", CLAIMS)
async def test_an_assertion_with_wrong_claims_is_refused(server: Server, case: str) -> None:
    backend = await a_backend(server)
    answer = await post(server, backend.form(backend.assertion(**CLAIMS[case])))
    refused(answer, 401, "invalid_client")
    assert "www-authenticate" not in answer.headers


HEADERS: dict[str, dict[str, Any]] = {
    "no kid": {"kid": None},
    "another kid": {"kid": "k2"},
    "kid a number": {"kid": 1},
    "no typ": {"typ": None},
    "typ of an access token": {"typ": "at+jwt"},
    "foreign jku": {"jku": "https://elsewhere.example/jwks.json"},
    "empty jku": {"jku": ""},
    "jku a list": {"jku": ["https://elsewhere.example"]},
    "an unknown header": {"x-more": "1"},
    "a critical header": {"crit": ["b64"], "b64": False},
}


@pytest.mark.parametrize("case", HEADERS)
async def test_an_assertion_with_a_wrong_header_is_refused(server: Server, case: str) -> None:
    backend = await a_backend(server)
    head = {"alg": "ES384", "kid": "k1", "typ": "JWT"} | HEADERS[case]
    made = json.dumps({k: v for k, v in head.items() if v is not None}).encode()
    proper = backend.assertion().split(".")
    # Where joserfc will not sign such a header, the signature is of the proper one: refused either way.
    try:
        compact = backend.assertion(HEADERS[case])
    except Exception:
        compact = ".".join([b64(made), *proper[1:]])
    refused(await post(server, backend.form(compact)), 401, "invalid_client")


async def test_an_unsigned_assertion_is_refused(server: Server) -> None:
    backend = await a_backend(server)
    for alg in ("none", "None", None):
        head = {k: v for k, v in {"alg": alg, "kid": "k1", "typ": "JWT"}.items() if v}
        compact = f"{b64(json.dumps(head).encode())}.{b64(json.dumps(backend.claims()).encode())}."
        refused(await post(server, backend.form(compact)), 401, "invalid_client")


async def test_a_public_key_used_as_a_shared_secret_is_refused(server: Server) -> None:
    backend = await a_backend(server, "RS384")
    assert not isinstance(backend.key, OctKey)
    secret = OctKey.import_key(backend.key.as_pem(private=False).replace(b"-----", b""))
    for alg in ("HS256", "HS384"):
        compact = sign({"alg": alg, "kid": "k1", "typ": "JWT"}, backend.claims(), secret)
        refused(await post(server, backend.form(compact)), 401, "invalid_client")


async def test_rs256_is_refused_though_the_key_is_right(server: Server) -> None:
    backend = await a_backend(server, "RS384")
    plain = {k: v for k, v in backend.key.as_dict(private=True).items() if k != "alg"}
    from joserfc.jwk import RSAKey

    refused(
        await post(server, backend.form(backend.assertion({"alg": "RS256"}, RSAKey.import_key(plain)))),
        401, "invalid_client",
    )  # fmt: skip


async def test_a_foreign_key_under_the_right_kid_is_refused(server: Server) -> None:
    backend = await a_backend(server)
    words = refused(
        await post(server, backend.form(backend.assertion(key=a_key()))), 401, "invalid_client"
    )
    assert "signature" in words


async def test_two_keys_with_one_kid_are_refused(server: Server) -> None:
    mine, also = a_key(), a_key()
    backend = await a_backend(server, jwks=public(mine, also))
    backend.key = mine
    refused(await post(server, backend.form()), 401, "invalid_client")


async def test_keys_of_both_kinds_may_share_a_kid(server: Server) -> None:
    mine, also = a_key("ES384"), a_key("RS384")
    backend = await a_backend(server, jwks=public(mine, also))
    for backend.key, backend.alg in ((mine, "ES384"), (also, "RS384")):
        assert (await post(server, backend.form())).status_code == 200


@pytest.mark.parametrize(
    "compact", ["x", "a.b.c", "..", "e30.e30.e30", "é.é.é", "W10.W10.", "a." * 9000]
)
async def test_what_is_no_assertion_is_refused(server: Server, compact: str) -> None:
    backend = await a_backend(server)
    refused(await post(server, backend.form(compact)), 401, "invalid_client")


async def test_not_a_number_is_no_expiry(server: Server) -> None:
    backend = await a_backend(server)
    for number in (b"NaN", b"Infinity", b"1e999"):
        payload = (
            json.dumps(backend.claims(exp=0)).encode().replace(b'"exp": 0', b'"exp": ' + number)
        )
        compact = sign({"alg": "ES384", "kid": "k1", "typ": "JWT"}, payload, backend.key)
        refused(await post(server, backend.form(compact)), 401, "invalid_client")


async def test_an_assertion_is_good_for_one_token_in_all_processes(
    server: Server, other: Server
) -> None:
    backend = await a_backend(server)
    compact = backend.assertion()
    first = await post(server, backend.form(compact))
    again, elsewhere = (
        await post(server, backend.form(compact)),
        await post(other, backend.form(compact)),
    )
    assert first.status_code == 200
    refused(again, 401, "invalid_client")
    assert "before" in refused(elsewhere, 401, "invalid_client")


async def test_the_same_jti_of_two_clients_is_no_replay(server: Server) -> None:
    jti = str(uuid.uuid4())
    for _ in range(2):
        backend = await a_backend(server)
        assert (await post(server, backend.form(backend.assertion(jti=jti)))).status_code == 200


async def test_a_revoked_client_gets_no_token(server: Server) -> None:
    backend = await a_backend(server)
    assert await server.authority.clients.revoke(backend.client_id)
    assert not await server.authority.clients.revoke(backend.client_id)
    refused(await post(server, backend.form()), 401, "invalid_client")


# -- the form ------------------------------------------------------------------------------------
async def test_each_wrong_form_is_refused_with_its_error(server: Server) -> None:
    backend = await a_backend(server)
    rows: list[tuple[dict[str, Any], int, str]] = [
        ({"grant_type": None}, 400, "invalid_request"),
        ({"grant_type": "not_a_grant_type"}, 400, "unsupported_grant_type"),
        ({"grant_type": "authorization_code"}, 400, "unauthorized_client"),
        ({"grant_type": "refresh_token"}, 400, "unauthorized_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"client_assertion_type": "not_an_assertion_type"}, 401, "invalid_client"),
        ({"client_assertion_type": None}, 400, "invalid_request"),
        ({"client_assertion": None, "client_assertion_type": None}, 401, "invalid_client"),
        ({"client_secret": "x"}, 400, "invalid_request"),
        ({"client_id": "somebody-else"}, 401, "invalid_client"),
        ({"scope": None}, 400, "invalid_scope"),
        ({"scope": "  "}, 400, "invalid_scope"),
        ({"scope": "system/*.cruds"}, 400, "invalid_scope"),
        ({"scope": "system/DocumentReference.rs system/Patient.c"}, 400, "invalid_scope"),
        ({"scope": "ITI-65"}, 400, "invalid_scope"),
        ({"scope": "patient/*.rs"}, 400, "invalid_scope"),
        ({"scope": "user/*.rs"}, 400, "invalid_scope"),
        ({"scope": "system/Patient.sr"}, 400, "invalid_scope"),
        ({"scope": "system/Patient.rs?&"}, 400, "invalid_scope"),
        ({"scope": "openid"}, 400, "invalid_scope"),
        ({"scope": 'ITI-67 "'}, 400, "invalid_scope"),
        ({"scope": "ITI-67 Zoë"}, 400, "invalid_scope"),
        ({"scope": "ITI-67 " * 800}, 400, "invalid_scope"),
        ({"resource": "https://elsewhere.example/fhir"}, 400, "invalid_target"),
        (
            {"requested_token_type": "urn:ietf:params:oauth:token-type:saml2"},
            400,
            "invalid_request",
        ),
        ({"purpose_of_use": "not a code"}, 400, "invalid_request"),
        ({"reason": "two\nlines"}, 400, "invalid_request"),
        ({"reason": "x" * 501}, 400, "invalid_request"),
        ({"scope": "ITI-67\x00"}, 400, "invalid_request"),
    ]
    for changes, status, error in rows:
        answer = await post(server, backend.form(**changes))
        assert (answer.status_code, answer.json()["error"]) == (status, error), changes
        refused(answer, status, error)


async def test_what_iua_lets_a_client_add_is_taken(server: Server) -> None:
    backend = await a_backend(server)
    form = backend.form(
        resource=server.settings.fhir_base, requested_token_type="urn:ietf:params:oauth:token-type:jwt",
        client_id=backend.client_id, reason="", scope="system/Patient.rs system/Patient.rs system/*.read",
    )  # fmt: skip
    answer = await post(server, form)
    assert answer.status_code == 200
    assert answer.json()["scope"] == "system/Patient.rs system/*.read"


async def test_a_purpose_must_be_one_of_the_clients_own(server: Server) -> None:
    backend = await a_backend(server, purposes=("P-CARE",))
    refused(await post(server, backend.form(purpose_of_use="P-POL")), 400, "invalid_scope")
    caller = await server.authority.verifier.caller(await a_token(server, backend))
    assert caller.purpose == "P-CARE"


async def test_a_repeated_parameter_is_refused(server: Server) -> None:
    backend = await a_backend(server)
    pairs = [*backend.form().items(), ("scope", "ITI-67")]
    body = "&".join(f"{k}={v.replace(':', '%3A').replace('/', '%2F')}" for k, v in pairs)
    answer = await server.http.post(
        "/auth/token", content=body, headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert "more than once" in refused(answer, 400, "invalid_request")


async def test_two_ways_of_client_authentication_are_refused(server: Server) -> None:
    backend = await a_backend(server)
    refused(await post(server, backend.form(), auth=("x", "y")), 400, "invalid_request")


async def test_basic_alone_is_answered_in_basics_words(server: Server) -> None:
    answer = await post(
        server, {"grant_type": "client_credentials", "scope": "ITI-67"}, auth=("x", "y")
    )
    refused(answer, 401, "invalid_client")
    assert answer.headers["www-authenticate"].startswith("Basic ")


async def test_only_a_form_is_read(server: Server) -> None:
    backend = await a_backend(server)
    form = backend.form()
    for kind in ("application/json", "multipart/form-data; boundary=x", "text/plain", ""):
        headers = {"Content-Type": kind}
        answer = await server.http.post("/auth/token", content=json.dumps(form), headers=headers)
        refused(answer, 400, "invalid_request")
    for body in (b"\xff=1", b"scope=%ff", b"a=1&" * 100, b"a=" + b"x" * 70_000):
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = await server.http.post("/auth/token", content=body, headers=headers)
        refused(answer, 400, "invalid_request")
    refused(await post(server, form, params={"scope": "ITI-67"}), 400, "invalid_request")


async def test_only_post_is_served(server: Server) -> None:
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS"):
        answer = await server.http.request(method, "/auth/token")
        assert answer.status_code == 405, method
        assert answer.headers["allow"] == "POST"
        assert answer.headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in answer.headers


async def test_what_was_sent_is_never_said_back(server: Server) -> None:
    backend = await a_backend(server)
    evil = 'x"\\\r\nSet-Cookie: a=b\u2028<script>'
    for changes in (
        {"scope": evil},
        {"grant_type": evil},
        {"client_id": evil},
        {"purpose_of_use": evil},
    ):
        answer = await post(server, backend.form(**changes))
        assert answer.status_code in (400, 401)
        assert "<script" not in answer.text
        assert "set-cookie" not in answer.headers


# -- the keys of a client that publishes them ------------------------------------------------------
async def test_a_foreign_jku_makes_no_request_leave(server: Server, respx_mock: Any) -> None:
    backend = await a_backend(server)
    compact = backend.assertion({"jku": "https://elsewhere.example/jwks.json"})
    refused(await post(server, backend.form(compact)), 401, "invalid_client")
    assert not respx_mock.calls


async def a_publisher(server: Server, url: str) -> Backend:
    return await a_backend(server, jwks=None, jwks_uri=url)


async def test_keys_are_fetched_from_the_registered_url_and_kept(
    server: Server, respx_mock: Any
) -> None:
    url = f"https://{uuid.uuid4().hex}.example/jwks.json"
    backend = await a_publisher(server, url)
    fetched = respx_mock.get(url).respond(
        json=public(backend.key), headers={"Cache-Control": "max-age=60"}
    )
    for _ in range(2):
        assert (
            await post(server, backend.form(backend.assertion({"jku": url})))
        ).status_code == 200
    assert fetched.call_count == 1


async def test_an_unknown_kid_is_looked_for_again_but_not_for_ever(
    server: Server, respx_mock: Any
) -> None:
    url = f"https://{uuid.uuid4().hex}.example/jwks.json"
    backend = await a_publisher(server, url)
    fetched = respx_mock.get(url).respond(json=public(a_key(kid="another")))
    for _ in range(5):
        refused(await post(server, backend.form()), 401, "invalid_client")
    assert fetched.call_count == 1


@pytest.mark.parametrize(
    "published",
    [
        {"status_code": 302, "headers": {"Location": "http://127.0.0.1/private"}},
        {"status_code": 500},
        {"content": b"not json"},
        {"json": []},
        {"json": {"keys": "none"}},
        {"json": {"keys": [a_key().as_dict(private=True)]}},
        {"content": b"[" * 300_000},
    ],
)
async def test_an_unusable_published_set_is_refused(
    server: Server, respx_mock: Any, published: dict[str, Any]
) -> None:
    url = f"https://{uuid.uuid4().hex}.example/jwks.json"
    backend = await a_publisher(server, url)
    respx_mock.get(url).respond(**published)
    refused(await post(server, backend.form()), 401, "invalid_client")
    assert respx_mock.calls.call_count == 1


async def test_a_token_of_ours_is_no_client_assertion_and_the_reverse(server: Server) -> None:
    backend = await a_backend(server)
    token = await a_token(server, backend)
    refused(await post(server, backend.form(token)), 401, "invalid_client")
    verifier: Verifier = server.authority.verifier
    with pytest.raises(Refused):
        await verifier.caller(backend.assertion())
