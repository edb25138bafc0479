"""Refresh tokens: rotation, reuse, scope, how long they last, and what ends them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from auth.people.person import Appointment
from tests.auth.authority import Server
from tests.auth.authorize.browser import App, Browser, a_browser, an_app
from tests.auth.authorize.test_code import introspected

pytestmark = pytest.mark.asyncio(loop_scope="module")
WIDE = "openid user/*.rs patient/Observation.rs launch/patient offline_access"


@pytest_asyncio.fixture(loop_scope="module")
async def browser(server: Server) -> Browser:
    return await a_browser(server.http, server.settings, server.mongo)


@pytest_asyncio.fixture(loop_scope="module")
async def app(server: Server) -> App:
    return await an_app(server.settings, server.mongo)


async def refused(answer: Any) -> str:
    assert answer.status_code == 400, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return str(answer.json()["error"])


async def test_every_use_gives_a_new_token_and_spends_the_old(browser: Browser, app: App) -> None:
    token = (await browser.tokens(app))["refresh_token"]
    seen = {token}
    for _ in range(3):
        answer = await browser.refresh(app, token)
        assert answer.status_code == 200, answer.text
        assert answer.headers["pragma"] == "no-cache"
        said = answer.json()
        assert isinstance(said["expires_in"], int)
        token = said["refresh_token"]
        assert token not in seen
        seen.add(token)


async def test_a_token_that_is_used_twice_ends_the_family(
    server: Server, browser: Browser, app: App
) -> None:
    first = await browser.tokens(app)
    second = (await browser.refresh(app, first["refresh_token"])).json()
    assert await refused(await browser.refresh(app, first["refresh_token"])) == "invalid_grant"
    assert await refused(await browser.refresh(app, second["refresh_token"])) == "invalid_grant"
    for made in (first, second):
        assert not (await introspected(server, made["access_token"]))["active"]


async def test_of_two_that_race_for_a_refresh_none_keeps_a_live_family(
    server: Server, other: Server, browser: Browser, app: App
) -> None:
    elsewhere = Browser(other.http, other.settings, browser.sessions, browser.people)
    for _ in range(4):
        token = (await browser.tokens(app))["refresh_token"]
        answers = await asyncio.gather(browser.refresh(app, token), elsewhere.refresh(app, token))
        good = [a.json() for a in answers if a.status_code == 200]
        assert len(good) <= 1
        for made in good:  # the loser found the token used, and ended the family
            assert (await browser.refresh(app, made["refresh_token"])).status_code == 400
            await server.authority.revocations.here.refresh()
            assert not (await introspected(server, made["access_token"]))["active"]


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        (None, "openid user/DocumentReference.rs offline_access"),
        ("openid user/DocumentReference.r", "openid user/DocumentReference.r"),
        (
            "user/DocumentReference.rs?category=s|PLAN offline_access",
            "user/DocumentReference.rs?category=s|PLAN offline_access",
        ),
    ],
)
async def test_less_may_be_asked_for_and_the_next_may_ask_for_all_again(
    server: Server, browser: Browser, app: App, asked: str | None, given: str
) -> None:
    scope = "openid user/DocumentReference.rs offline_access"
    made = await browser.tokens(app, scope)
    answer = await browser.refresh(app, made["refresh_token"], scope=asked)
    assert answer.json()["scope"] == given
    assert (await introspected(server, answer.json()["access_token"]))["scope"] == given
    again = await browser.refresh(app, answer.json()["refresh_token"])
    assert again.json()["scope"] == scope


@pytest.mark.parametrize(
    "asked",
    [
        "openid fhirUser user/DocumentReference.rs user/Patient.rs",
        "user/DocumentReference.cruds",
        "user/*.rs",
        "system/*.rs",
        "patient/DocumentReference.rs",
        "ITI-67",
        "launch-mint",
    ],
)
async def test_more_is_never_given(browser: Browser, app: App, asked: str) -> None:
    made = await browser.tokens(app)
    assert (
        await refused(await browser.refresh(app, made["refresh_token"], scope=asked))
        == "invalid_scope"
    )
    # A refused request spends nothing.
    assert (await browser.refresh(app, made["refresh_token"])).status_code == 200


async def test_client_js_refreshes_without_saying_who_it_is(browser: Browser, app: App) -> None:
    made = await browser.tokens(app)
    answer = await browser.refresh(app, made["refresh_token"], client_id=None)
    assert answer.status_code == 200, answer.text


async def test_a_confidential_apps_token_is_no_proof_of_it(
    server: Server, browser: Browser
) -> None:
    app = await an_app(server.settings, server.mongo, "symmetric")
    made = await browser.tokens(app)
    data = {"grant_type": "refresh_token", "refresh_token": made["refresh_token"]}
    answer = await server.http.post("/auth/token", data=data)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_a_token_is_its_own_clients_only(server: Server, browser: Browser, app: App) -> None:
    made = await browser.tokens(app)
    thief = await an_app(server.settings, server.mongo)
    assert await refused(await browser.refresh(thief, made["refresh_token"])) == "invalid_grant"
    assert (await browser.refresh(app, made["refresh_token"])).status_code == 200


@pytest.mark.parametrize("token", ["", "tr_made-up", "to_" + "x" * 43])
async def test_what_is_no_refresh_token_is_refused(browser: Browser, app: App, token: str) -> None:
    assert await refused(await browser.refresh(app, token)) in ("invalid_grant", "invalid_request")


async def test_without_offline_or_online_there_is_none(browser: Browser, app: App) -> None:
    assert "refresh_token" not in await browser.tokens(app, "openid user/Patient.rs")


async def test_offline_access_outlives_the_sign_in_and_online_access_does_not(
    server: Server, browser: Browser, app: App
) -> None:
    offline = await browser.tokens(app, "openid offline_access")
    online = await browser.tokens(app, "openid online_access")
    once = await browser.tokens(app, "openid")
    assert browser.session is not None
    await server.authority.sessions.end(browser.session.id)
    assert (await introspected(server, offline["access_token"]))["active"]
    assert not (await introspected(server, online["access_token"]))["active"]
    assert not (await introspected(server, once["access_token"]))["active"]
    assert (await browser.refresh(app, offline["refresh_token"])).status_code == 200
    assert await refused(await browser.refresh(app, online["refresh_token"])) == "invalid_grant"


async def test_a_sign_in_that_was_left_alone_ends_online_access(
    server: Server, browser: Browser, app: App
) -> None:
    online = await browser.tokens(app, "openid online_access")
    assert browser.session is not None
    table = server.mongo.table("auth", "sessions")
    await table.update({"_id": browser.session.id}, {"$set": {"seen": 1.0}})
    assert await refused(await browser.refresh(app, online["refresh_token"])) == "invalid_grant"


async def test_access_ends_with_the_person_and_with_the_role(
    server: Server, browser: Browser, app: App
) -> None:
    made = await browser.tokens(app)
    assert browser.session is not None
    person, today = browser.session.person, datetime.now(UTC).date()
    over = Appointment("R-HV", "RM3", today - timedelta(days=9), today - timedelta(days=1))
    await browser.people.appoint(person, over)
    assert await refused(await browser.refresh(app, made["refresh_token"])) == "invalid_grant"

    await browser.sign_in()
    made = await browser.tokens(app)
    await browser.people.deactivate(browser.session.person)
    await server.authority.revocations.here.refresh()
    assert not (await introspected(server, made["access_token"]))["active"]
    assert await refused(await browser.refresh(app, made["refresh_token"])) == "invalid_grant"


async def test_a_token_that_is_not_used_for_long_expires(
    server: Server, browser: Browser, app: App
) -> None:
    made = await browser.tokens(app)
    table = server.mongo.table("auth", "refresh_tokens")
    row = await table.one({"used": 0.0, "client_id": app.id})
    assert row is not None
    days = (row["until"] - server.authority.clock()) / 86_400
    assert 29.9 < days < 30.1
    await table.update({"client_id": app.id}, {"$set": {"until": 1.0}}, many=True)
    assert await refused(await browser.refresh(app, made["refresh_token"])) == "invalid_grant"


async def test_a_scope_that_the_client_lost_is_given_no_more(
    server: Server, browser: Browser, app: App
) -> None:
    made = await browser.tokens(app, "openid user/*.rs offline_access")
    narrower = "openid offline_access user/Patient.rs"
    await server.authority.clients.change(app.id, lambda c: replace(c, scope=narrower))
    answer = await browser.refresh(app, made["refresh_token"])
    assert answer.json()["scope"] == "openid user/Patient.rs offline_access"


async def test_revoking_a_refresh_token_ends_everything(
    server: Server, browser: Browser, app: App
) -> None:
    made = await browser.tokens(app)
    fields, headers = app.proof()
    answer = await server.http.post(
        "/auth/revoke", data={"token": made["refresh_token"], **fields}, headers=headers
    )
    assert (answer.status_code, answer.json()) == (200, {})
    assert await refused(await browser.refresh(app, made["refresh_token"])) == "invalid_grant"
    assert not (await introspected(server, made["access_token"]))["active"]


async def test_revoking_an_access_token_leaves_the_refresh_token(
    server: Server, browser: Browser, app: App
) -> None:
    made = await browser.tokens(app)
    fields, _ = app.proof()
    await server.http.post("/auth/revoke", data={"token": made["access_token"], **fields})
    assert not (await introspected(server, made["access_token"]))["active"]
    assert (await browser.refresh(app, made["refresh_token"])).status_code == 200


async def test_nobody_revokes_anothers_token(server: Server, browser: Browser, app: App) -> None:
    made = await browser.tokens(app)
    thief = await an_app(server.settings, server.mongo)
    fields, _ = thief.proof()
    for token in (made["refresh_token"], made["access_token"]):
        answer = await server.http.post("/auth/revoke", data={"token": token, **fields})
        assert await refused(answer) == "invalid_grant"
    assert (await browser.refresh(app, made["refresh_token"])).status_code == 200
