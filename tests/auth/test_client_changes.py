"""Changing a client and ending it: what it held before stops to work, everywhere, within a second."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from time import monotonic
from typing import Any

import pytest

from auth.client import Client, new_secret
from auth.clients import ClientInvalid, ClientMoved, Clients
from chassis.mongo import Mongo
from standards.outcome import Refused
from tests.auth.authority import CEILING, Server, a_backend, a_token

pytestmark = pytest.mark.asyncio(loop_scope="module")

APP = Client(
    client_id="",
    name="Ward list",
    kind="public",
    grants=("authorization_code", "refresh_token"),
    redirect_uris=("https://app.example/back",),
    scope="launch/patient openid fhirUser offline_access patient/*.rs",
)


@pytest.mark.parametrize(
    "change",
    [
        {"scope": "system/DocumentReference.rs"},
        {"purposes": ("P-CARE",)},
        {"organisation": "R0A"},
        {"role": "R-SYS"},
        {"jwks": None, "jwks_uri": "https://keys.example/jwks"},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_a_change_of_what_a_token_stands_on_ends_the_tokens_from_before_within_a_second(
    server: Server, other: Server, change: dict[str, Any]
) -> None:
    backend = await a_backend(server)
    token = await a_token(server, backend)
    await other.authority.verifier.caller(token)
    changed = await server.authority.clients.change(
        backend.client_id, lambda client: replace(client, **change)
    )
    assert changed.generation == 1
    started = monotonic()
    while True:
        try:
            await other.authority.verifier.caller(token)
        except Refused as refusal:
            assert refusal.status() == 401
            break
        assert monotonic() - started < 1.0
        await asyncio.sleep(0.02)


async def test_the_tokens_from_after_a_change_work_at_once(server: Server, other: Server) -> None:
    backend = await a_backend(server)
    for scope in ("system/DocumentReference.rs", CEILING):
        await server.authority.clients.change(
            backend.client_id, lambda client, scope=scope: replace(client, scope=scope)
        )
        token = await a_token(server, backend)
        for one in (server, other):
            await one.authority.revocations.here.refresh()
            caller = await one.authority.verifier.caller(token)
            assert caller.client_id == backend.client_id


async def test_a_change_of_words_ends_nothing(server: Server) -> None:
    backend = await a_backend(server)
    token = await a_token(server, backend)
    changed = await server.authority.clients.change(
        backend.client_id, lambda client: replace(client, name="Another name", owner="R0A")
    )
    await server.authority.revocations.here.refresh()
    assert (changed.name, changed.generation) == ("Another name", 0)
    assert (await server.authority.verifier.caller(token)).client_id == backend.client_id


async def test_a_change_that_changes_nothing_leaves_the_record_as_it_was(server: Server) -> None:
    backend = await a_backend(server)
    clients = server.authority.clients
    before = await clients.get(backend.client_id)
    assert await clients.change(backend.client_id, lambda client: client) == before
    assert await clients.get(backend.client_id) == before


async def test_an_unusable_change_is_refused_and_nothing_changes(server: Server) -> None:
    backend = await a_backend(server)
    clients = server.authority.clients
    before = await clients.get(backend.client_id)
    with pytest.raises(ClientInvalid) as refusal:
        await clients.change(
            backend.client_id, lambda client: replace(client, scope="", kind="public")
        )
    assert {fault.field for fault in refusal.value.faults} == {"scope", "jwks", "grants"}
    assert await clients.get(backend.client_id) == before


async def test_a_revoked_or_unknown_client_cannot_be_changed(server: Server) -> None:
    backend = await a_backend(server)
    clients = server.authority.clients
    await clients.revoke(backend.client_id)
    for name in (backend.client_id, "nobody-at-all"):
        with pytest.raises(ClientMoved, match=name):
            await clients.change(name, lambda client: replace(client, name="x"))


async def test_a_change_can_alter_neither_the_id_nor_the_history(server: Server) -> None:
    backend = await a_backend(server)
    clients = server.authority.clients
    before = await clients.get(backend.client_id)
    assert before is not None
    after = await clients.change(
        backend.client_id,
        lambda client: replace(
            client,
            client_id="other",
            created=None,
            generation=9,
            name="New",
            revoked=client.created,
        ),
    )
    assert after.client_id == backend.client_id
    assert (after.created, after.generation, after.revoked) == (before.created, 0, None)


async def test_a_new_secret_ends_the_old_one(mongo: Mongo) -> None:
    clients = Clients(mongo)
    first, digest = new_secret()
    await clients.add(
        replace(APP, client_id="keeps-a-secret", kind="symmetric", secret_digest=digest)
    )
    kept = await clients.get("keeps-a-secret")
    assert kept is not None
    assert kept.proves(first)
    assert first not in repr(kept)
    assert digest.hex() not in repr(kept)
    second, digest = new_secret()
    changed = await clients.change("keeps-a-secret", lambda c: replace(c, secret_digest=digest))
    assert changed.generation == 1
    assert changed.proves(second)
    assert not changed.proves(first)
    assert not changed.proves("")


async def test_the_origins_of_an_app_are_those_of_its_pages_until_it_is_revoked(
    mongo: Mongo,
) -> None:
    clients = Clients(mongo)
    app = replace(
        APP,
        client_id="has-pages",
        redirect_uris=("https://App.pages.example:443/back", "com.example.app:/back"),
        origins=("http://localhost:3000",),
    )
    assert app.web_origins == {"https://app.pages.example", "http://localhost:3000"}
    await clients.add(app)
    assert await clients.is_origin("https://app.pages.example")
    assert not await clients.is_origin("https://evil.example")
    await clients.revoke("has-pages")
    assert not await clients.is_origin("https://app.pages.example")


async def test_a_client_that_an_earlier_release_registered_is_a_backend(mongo: Mongo) -> None:
    clients = Clients(mongo)
    old = {
        "_id": "of-old", "name": "of-old", "jwks": {"keys": []}, "jwks_uri": "", "scope": "ITI-67",
        "organisation": "", "role": "", "purposes": [], "created": None, "revoked": None,
    }  # fmt: skip
    await mongo.table("auth", "clients").insert(old)
    kept = await clients.get("of-old")
    assert kept is not None
    assert (kept.kind, kept.grants, kept.redirect_uris) == (
        "asymmetric", ("client_credentials",), (),
    )  # fmt: skip
