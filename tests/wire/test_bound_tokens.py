"""Tokens that are bound to a key (DPoP, RFC 9449): worth nothing without a proof for this very request."""

from __future__ import annotations

import asyncio
import base64
import time
import uuid
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from chassis.proof import NoProofError, judge
from tests.makers_mhd import a_patient
from tests.running import Exchange
from tests.wire.launched import app_token

KEY = ECKey.generate_key("P-256")
OTHER = ECKey.generate_key("P-256")
URL = "http://exchange.test/fhir/Patient/x"


def proof(
    token: str,
    key: Any = KEY,
    header: dict[str, Any] | None = None,
    alg: str = "ES256",
    **changes: Any,
) -> str:
    """A proof for GET URL with changes (None: left out)."""
    head = {"typ": "dpop+jwt", "alg": alg, "jwk": key.as_dict(private=False)} | (header or {})
    ath = base64.urlsafe_b64encode(sha256(token.encode()).digest()).rstrip(b"=").decode()
    said = {
        "jti": str(uuid.uuid4()), "htm": "GET", "htu": URL, "iat": time.time(), "ath": ath,
    } | changes  # fmt: skip
    registry = jws.JWSRegistry(algorithms=[head["alg"]], strict_check_header=False)
    registry.max_header_length = 8_000
    payload = orjson.dumps({k: v for k, v in said.items() if v is not None})
    return jws.serialize_compact(
        {k: v for k, v in head.items() if v is not None}, payload, key, algorithms=[head["alg"]],
        registry=registry,
    )  # fmt: skip


def judged(compact: str, token: str = "t", method: str = "GET", url: str = URL) -> str:
    return judge(compact, token=token, method=method, url=url, now=time.time(), skew=5.0).jkt


@pytest.mark.parametrize(
    ("alg", "key"),
    [("ES256", KEY), ("ES384", ECKey.generate_key("P-384")), ("RS256", RSAKey.generate_key(2048)),
     ("PS256", RSAKey.generate_key(2048))],
)  # fmt: skip
def test_a_proof_says_which_key_made_it(alg: str, key: Any) -> None:
    assert judged(proof("t", key, alg=alg)) == key.thumbprint()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"htm": "POST"}, "another method"),
        ({"htu": "http://exchange.test/fhir/Patient/y"}, "another URL"),
        ({"htu": "https://exchange.test/fhir/Patient/x"}, "another URL"),
        ({"htu": "http://exchange.test:81/fhir/Patient/x"}, "another URL"),
        ({"htu": None}, "another URL"),
        ({"htu": 5}, "another URL"),
        ({"htu": "http://exchange.test:port/x"}, "another URL"),
        ({"iat": 1}, "just now"),
        ({"iat": time.time() + 900}, "just now"),
        ({"iat": "now"}, "just now"),
        ({"iat": None}, "just now"),
        ({"ath": None}, "another token"),
        ({"ath": "x"}, "another token"),
        ({"jti": None}, "no jti"),
        ({"jti": ""}, "no jti"),
        ({"jti": "x" * 300}, "no jti"),
    ],
)
def test_a_proof_for_something_else_proves_nothing(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(NoProofError, match=words):
        judged(proof("t", **changes))


def test_a_proof_is_of_its_own_key_and_of_no_weak_or_private_one() -> None:
    for header, words in (
        ({"typ": "JWT"}, "typ"),
        ({"typ": None}, "typ"),
        ({"jwk": None}, "no public key"),
        ({"jwk": KEY.as_dict(private=True)}, "private"),
        ({"jwk": {"kty": "oct", "k": "AAAA"}}, "private"),
        ({"jwk": {"kty": "EC", "crv": "P-256"}}, "cannot be read"),
        ({"jwk": RSAKey.generate_key(2048).as_dict(private=False)}, "not of its algorithm"),
        ({"jwk": OTHER.as_dict(private=False)}, "signature"),
    ):
        with pytest.raises(NoProofError, match=words):
            judged(proof("t", header=header))
    weak = {"kty": "RSA", "n": "AQAB" * 40, "e": "AQAB"}
    strong = RSAKey.generate_key(2048)
    with pytest.raises(NoProofError, match="shorter"):
        judged(proof("t", strong, {"jwk": weak}, alg="RS256"))
    for nothing in ("", "x", "a.b.c", "é.é.é", "x" * 10_000, f"{proof('t')}, {proof('t')}"):
        with pytest.raises(NoProofError):
            judged(nothing)


def test_query_port_and_case_make_no_other_place() -> None:
    for htu in (f"{URL}?a=b", f"{URL}#a", URL.replace("exchange.test", "EXCHANGE.test:80")):
        judged(proof("t", htu=htu))


@dataclass
class Holder:
    """A client that holds a bound token and its key."""

    http: httpx.AsyncClient
    token: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)

    async def ask(self, shown: str = "", kind: str = "DPoP") -> httpx.Response:
        headers = {"Authorization": f"{kind} {self.token}", "Accept": "application/fhir+json"}
        if shown:
            headers["DPoP"] = shown
        return await self.http.get(self.path, headers=headers)

    def proof(self, **changes: Any) -> str:
        said = {"htu": f"http://exchange.test{self.path}"} | changes
        return proof(self.token, said.pop("key", KEY), **said)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def holder(exchange: Exchange) -> Holder:
    async with exchange.as_client() as source:
        patient = await a_patient(source)
    token = await app_token(exchange, "user/Patient.r", cnf={"jkt": KEY.thumbprint()})
    return Holder(exchange.http, token, f"/fhir/{patient}")


async def test_a_bound_token_opens_with_a_proof_and_not_without(holder: Holder) -> None:
    assert (await holder.ask(holder.proof())).status_code == 200
    for shown, kind, error in (
        ("", "Bearer", "invalid_token"),
        (holder.proof(), "Bearer", "invalid_token"),
        ("", "DPoP", "invalid_dpop_proof"),
        (holder.proof(key=OTHER), "DPoP", "invalid_dpop_proof"),
        (holder.proof(htm="POST"), "DPoP", "invalid_dpop_proof"),
    ):
        answer = await holder.ask(shown, kind)
        assert answer.status_code == 401, (kind, error)
        told = answer.headers["www-authenticate"]
        assert told.startswith('DPoP realm="throughline"')
        assert f'error="{error}"' in told
        assert 'algs="ES256' in told
        assert answer.json()["resourceType"] == "OperationOutcome"


async def test_a_proof_counts_once_however_many_show_it_at_once(holder: Holder) -> None:
    shown = holder.proof()
    answers = await asyncio.gather(*(holder.ask(shown) for _ in range(8)))
    assert sorted(a.status_code for a in answers) == [200] + [401] * 7


async def test_a_token_that_is_bound_to_no_key_is_shown_as_bearer(
    exchange: Exchange, holder: Holder
) -> None:
    free = Holder(exchange.http, await app_token(exchange, "user/Patient.r"), holder.path)
    assert (await free.ask(kind="Bearer")).status_code == 200
    assert (await free.ask(free.proof())).status_code == 401
