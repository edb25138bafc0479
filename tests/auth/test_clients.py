"""Registering clients: what is kept, and what is not accepted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from joserfc.jwk import ECKey

from auth.client import Client
from auth.clients import ClientInvalid, Clients, ClientTaken
from auth.public_keys import fetchable
from auth.registration.rules import check
from chassis.mongo import Mongo
from tests.auth.authority import a_key, b64, public

GOOD = Client(
    client_id="bolton-gp", name="Bolton GP", jwks=public(a_key()), scope="system/*.rs ITI-67"
)


async def test_a_client_is_kept_as_it_was_registered(mongo: Mongo) -> None:
    clients = Clients(mongo)
    full = replace(GOOD, organisation="R0A", role="R-GP", purposes=("P-CARE",))
    await clients.add(full)
    kept = await clients.get("bolton-gp")
    assert kept is not None
    assert replace(kept, created=None) == full
    assert kept.created is not None
    assert await clients.get("nobody") is None
    everyone = [c.client_id for c in await clients.all()]
    assert "bolton-gp" in everyone
    assert everyone == sorted(everyone)


async def test_an_id_is_never_given_twice_not_even_after_revocation(mongo: Mongo) -> None:
    clients, client = Clients(mongo), replace(GOOD, client_id="once")
    await clients.add(client)
    with pytest.raises(ClientTaken, match="once"):
        await clients.add(client)
    assert await clients.revoke("once")
    with pytest.raises(ClientTaken):
        await clients.add(client)
    kept = await clients.get("once")
    assert kept is not None
    assert kept.revoked is not None
    assert not await clients.revoke("nobody")


def spoilt(**changes: Any) -> dict[str, Any]:
    jwk = a_key().as_dict(private=False) | changes
    return {"keys": [{k: v for k, v in jwk.items() if v is not None}]}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"client_id": ""}, "client id"),
        ({"client_id": "with space"}, "client id"),
        ({"client_id": "a/b"}, "client id"),
        ({"client_id": "x" * 129}, "client id"),
        ({"scope": ""}, "scope"),
        ({"scope": "system/Patient.sr"}, "system/Patient.sr"),
        ({"scope": "patient/x"}, "patient/x"),
        ({"jwks": None}, "public keys"),
        ({"jwks_uri": "https://a.example/jwks"}, "public keys"),
        ({"jwks": None, "jwks_uri": "http://a.example/jwks"}, "https"),
        ({"jwks": {"keys": []}}, "public keys|no keys"),
        ({"jwks": {"keys": "none"}}, "no keys"),
        ({"jwks": {"x": 1}}, "no keys"),
        ({"jwks": {"keys": ["none"]}}, "no JSON object"),
        ({"jwks": {"keys": [a_key().as_dict(private=True)]}}, "private"),
        ({"jwks": {"keys": [{"kty": "oct", "kid": "k", "k": "c2VjcmV0"}]}}, "private"),
        ({"jwks": spoilt(kid=None)}, "no kid"),
        ({"jwks": spoilt(x=None)}, "2048"),
        ({"jwks": spoilt(x="!!")}, "2048"),
        ({"jwks": spoilt(use="enc")}, "2048"),
        ({"jwks": spoilt(alg="ES256")}, "2048"),
        ({"jwks": public(ECKey.generate_key("P-256", {"kid": "k"}))}, "2048"),
    ],
)
async def test_an_unusable_registration_is_refused_with_words(
    mongo: Mongo, changes: dict[str, Any], words: str
) -> None:
    client = replace(GOOD, **({"client_id": "unusable"} | changes))
    with pytest.raises(ClientInvalid, match=words):
        await Clients(mongo).add(client)
    assert await Clients(mongo).get(client.client_id) is None


@pytest.mark.parametrize("size", [128, 255, 2048])
def test_an_rsa_key_of_an_unfit_size_is_refused(size: int) -> None:
    unfit = {"kty": "RSA", "kid": "k", "n": b64(b"\xc1" * size), "e": "AQAB"}
    assert check(replace(GOOD, jwks={"keys": [unfit]}))
    assert check(
        replace(GOOD, jwks={"keys": [unfit | {"n": b64(b"\xc1" * 256), "e": b64(b"\x01" * 9)}]})
    )
    assert not check(replace(GOOD, jwks={"keys": [unfit, *public(a_key("RS384"))["keys"]]}))


@pytest.mark.parametrize(
    ("url", "may"),
    [
        ("https://a.example/jwks.json", True), ("http://localhost:8080/jwks", True),
        ("http://127.0.0.1/jwks", True), ("http://a.example/jwks", False), ("file:///etc/passwd", False),
        ("https://", False), ("https://user:pw@a.example/", False), ("https://a.example/#x", False),
        ("http://[::1", False), ("gopher://a.example", False),
    ],
)  # fmt: skip
def test_only_https_is_fetched_or_this_machine(url: str, may: bool) -> None:
    assert fetchable(url) is may
