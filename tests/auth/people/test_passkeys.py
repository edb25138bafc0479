"""Passkeys: made, used alone or as the second factor, and refused in every way that they must be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec

from chassis.mongo import Mongo
from tests.auth.authority import Server, serving
from tests.auth.people.authenticator import PRESENT, SYNCABLE, SYNCED, VERIFIED, Authenticator, b64
from tests.auth.people.browsers import Browser, Somebody, a_request, leads_to, somebody

ORIGIN = "https://exchange.test"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(mongo: Mongo, folder: Path) -> AsyncIterator[Server]:
    async with serving(mongo, folder, password_memory=19, public_url=ORIGIN) as made:
        yield made


def device(**given: Any) -> Authenticator:
    return Authenticator(ORIGIN, "exchange.test", **given)


async def asked(browser: Browser, path: str, **more: str) -> dict[str, Any]:
    csrf = browser.form().xpath("//input[@name='csrf']")[0].get("value")
    answer = await browser.http.post(path, data={"csrf": csrf, **more})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = json.loads(answer.text)
    return found


async def with_passkey(
    server: Server, key: Authenticator, who: Somebody | None = None
) -> tuple[Somebody, Browser]:
    made, browser = who or await somebody(server), Browser(server)
    await browser.sign_in(made)
    await browser.open("/auth/account")
    options = await asked(browser, "/auth/account/passkey/options")
    await browser.send(
        "/auth/account/passkey", credential=key.create(options), name="  Work\tphone "
    )
    assert leads_to(browser.answer) == "/auth/account", browser.text
    return made, browser


async def try_in(
    server: Server, key: Authenticator, continuing: str = "", **changes: Any
) -> Browser:
    browser = Browser(server)
    await browser.open("/auth/sign-in" + (f"?continue={continuing}" if continuing else ""))
    options = await asked(browser, "/auth/sign-in/passkey/options")
    await browser.send("/auth/sign-in/passkey", credential=key.get(options, **changes))
    return browser


async def test_a_passkey_signs_in_without_username_and_password(server: Server) -> None:
    key = device()
    who, browser = await with_passkey(server, key)
    await browser.open("/auth/account")
    assert "Work phone" in browser.text
    request = await a_request(server)
    visitor = await try_in(server, key, request)
    assert leads_to(visitor.answer) == "/auth/sign-in/role"
    await visitor.follow()
    await visitor.send("/auth/sign-in/role", purpose="P-CARE")
    assert leads_to(visitor.answer) == f"{ORIGIN}/auth/authorize/{request}"
    newest = (await server.authority.sessions.of_person(who.person.id))[0].session
    assert (newest.amr, newest.acr) == (("hwk", "user", "mfa"), "AAL2")
    row = await server.mongo.table("auth", "people").one({"_id": who.person.id})
    assert row is not None
    assert (row["passkeys"][0]["transports"], row["passkeys"][0]["count"]) == (["internal"], 1)


async def test_options_ask_for_a_verified_user_and_a_passkey_that_names_its_owner(
    server: Server,
) -> None:
    browser = Browser(server)
    await browser.sign_in(await somebody(server))
    await browser.open("/auth/account")
    options = await asked(browser, "/auth/account/passkey/options")
    assert options["authenticatorSelection"] == {
        "residentKey": "required",
        "requireResidentKey": True,
        "userVerification": "required",
    }
    assert options["rp"]["id"] == "exchange.test"
    assert options["attestation"] == "none"
    assert len(options["challenge"]) >= 43


async def test_a_synced_passkey_is_told_as_one(server: Server) -> None:
    key = device(flags=PRESENT | VERIFIED | SYNCABLE | SYNCED)
    who, _ = await with_passkey(server, key)
    visitor = await try_in(server, key)
    await visitor.follow()
    await visitor.send("/auth/sign-in/role", purpose="P-CARE")
    assert (await server.authority.sessions.of_person(who.person.id))[0].session.amr[0] == "swk"


@pytest.mark.parametrize(
    "changes",
    [
        {"challenge": b64(b"x" * 64)}, {"origin": "https://evil.example"}, {"host": "evil.example"},
        {"flags": PRESENT}, {"flags": 0}, {"counter": 0}, {"handle": b"somebody else"},
        {"signer": ec.generate_private_key(ec.SECP256R1())},
    ],
    ids=lambda c: next(iter(c)),
)  # fmt: skip
async def test_a_passkey_that_does_not_hold_signs_nobody_in(
    server: Server, changes: dict[str, Any]
) -> None:
    key = device(counter=5)
    await with_passkey(server, key)
    start = len(server.ledger.events)
    visitor = await try_in(server, key, **changes)
    assert (visitor.answer.status_code, len(visitor.errors)) == (400, 1)
    (event,) = [e for e in server.ledger.events[start:] if e["subtype"][0]["code"] == "110122"]
    assert event["outcome"] == "8"


async def test_an_answer_is_good_once_and_for_its_own_browser(server: Server) -> None:
    key = device()
    await with_passkey(server, key)
    first, second = Browser(server), Browser(server)
    await first.open("/auth/sign-in")
    await second.open("/auth/sign-in")
    options = await asked(first, "/auth/sign-in/passkey/options")
    answer = key.get(options)
    assert (await second.send("/auth/sign-in/passkey", credential=answer)).status_code == 400
    both = await asyncio.gather(
        *(first.http.post("/auth/sign-in/passkey", data={
            "csrf": first.form().xpath("//input[@name='csrf']")[0].get("value"), "credential": answer,
        }) for _ in range(3))
    )  # fmt: skip
    assert sorted(a.status_code for a in both).count(303) == 1


async def test_a_passkey_of_nobody_and_no_passkey_at_all_are_refused(server: Server) -> None:
    for credential in ("", "{}", "[]", "null", '{"id": 1, "response": {}}', "not json"):
        browser = Browser(server)
        await browser.open("/auth/sign-in")
        await asked(browser, "/auth/sign-in/passkey/options")
        assert (
            await browser.send("/auth/sign-in/passkey", credential=credential)
        ).status_code == 400
    key = device()
    key.handle = b"h" * 32
    assert (await try_in(server, key)).answer.status_code == 400


async def test_a_passkey_is_the_second_factor_of_its_owner_only(server: Server) -> None:
    key, foreign = device(), device()
    who, _ = await with_passkey(server, key)
    await with_passkey(server, foreign)
    browser = Browser(server)
    await browser.password(who)
    assert leads_to(browser.answer) == "/auth/sign-in/second"
    await browser.follow()
    options = await asked(browser, "/auth/sign-in/passkey/options", second="yes")
    assert [c["id"] for c in options["allowCredentials"]] == [b64(key.id)]
    await browser.send("/auth/sign-in/second/passkey", credential=foreign.get(options))
    assert browser.answer.status_code == 400
    options = await asked(browser, "/auth/sign-in/passkey/options", second="yes")
    await browser.send("/auth/sign-in/second/passkey", credential=key.get(options))
    assert leads_to(browser.answer) == "/auth/sign-in/role"
    await browser.follow()
    await browser.send("/auth/sign-in/role", purpose="P-CARE")
    assert set((await server.authority.sessions.of_person(who.person.id))[0].session.amr) == {
        "pwd",
        "hwk",
        "user",
        "mfa",
    }


async def test_several_passkeys_are_kept_and_removed_by_their_owner(server: Server) -> None:
    first, second = device(), device()
    who, browser = await with_passkey(server, first)
    await browser.open("/auth/account")
    options = await asked(browser, "/auth/account/passkey/options")
    assert [c["id"] for c in options["excludeCredentials"]] == [b64(first.id)]
    await browser.send(
        "/auth/account/passkey", credential=second.create(options), name="<b>key</b>"
    )
    await browser.follow()
    assert "<b>key</b>" in browser.text
    _, theirs = await with_passkey(server, device())
    await theirs.open("/auth/account")
    await theirs.send("/auth/account/passkey/remove", passkey=b64(first.id))
    await browser.open("/auth/account")
    await browser.send("/auth/account/passkey/remove", passkey=b64(second.id))
    left = await server.authority.reception.people.get(who.person.id)
    assert left is not None
    assert [p.id for p in left.passkeys] == [b64(first.id)]
    assert (await try_in(server, second)).answer.status_code == 400
    assert (await try_in(server, first)).answer.status_code == 303


@pytest.mark.parametrize(
    "changes",
    [{"challenge": b64(b"y" * 64)}, {"origin": "http://exchange.test"}, {"host": "test"}],
    ids=str,
)
async def test_a_passkey_that_was_not_made_here_is_not_kept(
    server: Server, changes: dict[str, Any]
) -> None:
    who, browser = await somebody(server), Browser(server)
    await browser.sign_in(who)
    await browser.open("/auth/account")
    options = await asked(browser, "/auth/account/passkey/options")
    await browser.send(
        "/auth/account/passkey", credential=device().create(options, **changes), name="x"
    )
    assert browser.answer.status_code == 400
    unverified = device(flags=PRESENT)
    await browser.open("/auth/account")
    options = await asked(browser, "/auth/account/passkey/options")
    await browser.send("/auth/account/passkey", credential=unverified.create(options), name="x")
    assert browser.answer.status_code == 400
    found = await server.authority.reception.people.get(who.person.id)
    assert found is not None
    assert found.passkeys == ()


async def test_a_passkey_cannot_belong_to_two(server: Server) -> None:
    key = device()
    await with_passkey(server, key)
    browser = Browser(server)
    await browser.sign_in(await somebody(server))
    await browser.open("/auth/account")
    options = await asked(browser, "/auth/account/passkey/options")
    await browser.send("/auth/account/passkey", credential=key.create(options), name="x")
    assert browser.answer.status_code == 400


async def test_who_is_inactive_has_no_passkey(server: Server) -> None:
    key = device()
    who, _ = await with_passkey(server, key)
    await server.authority.reception.people.deactivate(who.person.id)
    assert (await try_in(server, key)).answer.status_code == 400
