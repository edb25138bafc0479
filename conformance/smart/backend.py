"""Backend services: a signed assertion for a token, and what is none (digest 1.12, 2.5, 2.10)."""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from joserfc.jwk import ECKey, OctKey

from conformance.check import Check, Group, Run, Skipped, expect
from conformance.smart import client
from conformance.target import Backend

_SEE = "SMART App Launch 2.2, Backend Services; Asymmetric client authentication"
Change = Callable[[Backend, str], dict[str, str]]


async def accepted(run: Run) -> None:
    """An assertion of exactly 300 seconds gets a token."""
    who, endpoint = _client(run)
    answer = await run.wire.form(endpoint, client.backend_form(who, endpoint))
    expect(
        answer.status_code in (200, 201), f"it answers {answer.status_code}: {answer.text[:300]}"
    )
    run.known.backend = body = answer.json()
    for name in ("access_token", "token_type", "expires_in", "scope"):
        expect(body.get(name) not in (None, ""), f"{name} is missing.")
    expect(str(body["token_type"]).lower() == "bearer", f"token_type is {body['token_type']}.")
    expect(isinstance(body["expires_in"], int | float), "expires_in is not a number.")
    run.warn(body["expires_in"] <= 300, "the token lives longer than five minutes.")
    expect("refresh_token" not in body, "a backend service got a refresh token.")
    expect("no-store" in answer.headers.get("cache-control", ""), "the answer may be stored.")


async def unknown_grant(run: Run) -> None:
    """A grant type that does not exist is exactly 400."""
    who, endpoint = _client(run)
    form = client.backend_form(who, endpoint) | {"grant_type": "not_a_grant_type"}
    answer = await run.wire.form(endpoint, form)
    expect(answer.status_code == 400, f"it answers {answer.status_code}, not 400.")
    expect(answer.json().get("error") == "unsupported_grant_type", "error is another.")


async def replay(run: Run) -> None:
    """An assertion is good once."""
    who, endpoint = _client(run)
    form = client.backend_form(who, endpoint)
    first = await run.wire.form(endpoint, form)
    expect(first.status_code == 200, f"the first use answers {first.status_code}.")
    _refused((await run.wire.form(endpoint, form)).status_code)


async def beyond(run: Run) -> None:
    """More than the client may have is refused whole."""
    who, endpoint = _client(run)
    form = client.backend_form(who, endpoint) | {
        "scope": "patient/*.cruds system/*.cruds user/*.rs"
    }
    answer = await run.wire.form(endpoint, form)
    if answer.status_code == 200:
        gained = set(str(answer.json().get("scope", "")).split()) - set(who.scope.split())
        expect(not gained, f"it granted {' '.join(sorted(gained))}.")
    else:
        expect(
            answer.json().get("error") == "invalid_scope", f"error is {answer.json().get('error')}."
        )


def _wrong(change: Change) -> Callable[[Run], Awaitable[None]]:
    async def check(run: Run) -> None:
        who, endpoint = _client(run)
        answer = await run.wire.form(endpoint, change(who, endpoint))
        _refused(answer.status_code)
        expect("no-store" in answer.headers.get("cache-control", ""), "the refusal may be stored.")

    return check


def _type(who: Backend, endpoint: str) -> dict[str, str]:
    return client.backend_form(who, endpoint) | {"client_assertion_type": "not_an_assertion_type"}


def _day(who: Backend, endpoint: str) -> dict[str, str]:
    return client.backend_form(who, endpoint, exp=int(time.time()) + 86_400)


def _expired(who: Backend, endpoint: str) -> dict[str, str]:
    return client.backend_form(who, endpoint, exp=int(time.time()) - 600)


def _other_audience(who: Backend, endpoint: str) -> dict[str, str]:
    return client.backend_form(who, endpoint, aud="https://other.example/token")


def _two_audiences(who: Backend, endpoint: str) -> dict[str, str]:
    return client.backend_form(who, endpoint, aud=[endpoint, "https://other.example/token"])


def _other_subject(who: Backend, endpoint: str) -> dict[str, str]:
    return client.backend_form(who, endpoint, sub="somebody-else")


def _no_jti(who: Backend, endpoint: str) -> dict[str, str]:
    return client.backend_form(who, endpoint, jti=None)


def _unknown_kid(who: Backend, endpoint: str) -> dict[str, str]:
    return client.backend_form(who, endpoint, header={"kid": str(uuid.uuid4())})


def _foreign_jku(who: Backend, endpoint: str) -> dict[str, str]:
    return client.backend_form(who, endpoint, header={"jku": "https://other.example/jwks.json"})


def _other_key(who: Backend, endpoint: str) -> dict[str, str]:
    key = ECKey.generate_key("P-384", {"kid": str(who.key["kid"])}).as_dict(private=True)
    return client.backend_form(Backend(who.client_id, key, who.scope), endpoint)


def _none(who: Backend, endpoint: str) -> dict[str, str]:
    form = client.backend_form(who, endpoint)
    payload = form["client_assertion"].split(".")[1]
    header = client.encoded({"alg": "none", "kid": who.key["kid"], "typ": "JWT"})
    return form | {"client_assertion": f"{header}.{payload}."}


def _hmac(who: Backend, endpoint: str) -> dict[str, str]:
    """HS256 with the public key's own text as the secret, the classic confusion of algorithms."""
    form = client.backend_form(who, endpoint)
    public = {k: v for k, v in who.key.items() if k not in ("d", "p", "q", "dp", "dq", "qi")}
    header = client.encoded({"alg": "HS256", "kid": who.key["kid"], "typ": "JWT"})
    signed = f"{header}.{form['client_assertion'].split('.')[1]}"
    secret = OctKey.import_key(client.compact(public).encode())
    return form | {"client_assertion": f"{signed}.{client.hmac(signed, secret)}"}


def _garbage(who: Backend, endpoint: str) -> dict[str, str]:
    return client.backend_form(who, endpoint) | {"client_assertion": "not.a.jwt"}


def _client(run: Run) -> tuple[Backend, str]:
    if run.target.backend is None:
        raise Skipped("no backend service is stated")
    return run.target.backend, run.known.endpoint("token_endpoint")


def _refused(status: int) -> None:
    expect(status in (400, 401), f"it answers {status}, not 400 or 401.")


_REFUSALS: Mapping[str, tuple[str, Change]] = {
    "type": ("another client_assertion_type", _type),
    "day": ("an assertion that lives for a day", _day),
    "expired": ("an expired assertion", _expired),
    "audience": ("an assertion for another server", _other_audience),
    "audiences": ("an assertion for two servers", _two_audiences),
    "subject": ("iss and sub that differ", _other_subject),
    "jti": ("an assertion without jti", _no_jti),
    "kid": ("a key nobody knows", _unknown_kid),
    "jku": ("keys at another address", _foreign_jku),
    "key": ("a signature by another key", _other_key),
    "none": ("an unsigned assertion", _none),
    "hs256": ("HS256 with the public key", _hmac),
    "garbage": ("what is no JWT", _garbage),
}


def example(found: Mapping[str, Any] | None) -> str:
    """The access token that `accepted` got, or "". PURE."""
    return str((found or {}).get("access_token", ""))


GROUP = Group(
    "backend",
    "Backend services",
    (
        Check("accepted", "a signed assertion gets a token", _SEE, accepted),
        Check("grant", "an unknown grant type is 400", "RFC 6749 §5.2", unknown_grant),
        Check("replay", "an assertion is good once", "RFC 7523 §3", replay),
        Check("beyond", "scopes beyond the registration are not granted", _SEE, beyond),
        *(
            Check(id_, f"{words} is refused", _SEE, _wrong(change))
            for id_, (words, change) in _REFUSALS.items()
        ),
    ),
)
