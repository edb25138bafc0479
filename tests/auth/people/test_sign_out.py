"""Signing out: what ends, who may ask for it, and where a browser may go."""

from __future__ import annotations

import json
import time
from typing import Any

from joserfc import jws

from tests.auth.authority import Server
from tests.auth.people.browsers import Browser, Somebody, leads_to, somebody


async def hint(server: Server, **changes: Any) -> str:
    signing = await server.authority.keys.signing()
    claims = {
        "iss": server.settings.issuer,
        "aud": "an-app",
        "exp": int(time.time()) - 999,
    } | changes
    header = {"alg": "RS256", "kid": signing.kid}
    return jws.serialize_compact(
        header, json.dumps(claims).encode(), signing.key, algorithms=["RS256"]
    )


async def an_app(server: Server, name: str = "an-app", *uris: str) -> None:
    await server.mongo.table("auth", "clients").replace(
        {"_id": name},
        {"_id": name, "name": name, "revoked": None, "post_logout_redirect_uris": list(uris)},
        upsert=True,
    )


async def signed_in(server: Server) -> tuple[Somebody, Browser, str]:
    who, browser = await somebody(server), Browser(server)
    await browser.sign_in(who)
    (session,) = [x.session for x in await server.authority.sessions.of_person(who.person.id)]
    return who, browser, session.id


async def test_the_button_signs_out_and_everything_that_hangs_on_it_ends(server: Server) -> None:
    who, browser, session = await signed_in(server)
    await browser.open("/auth/account/password")
    kept = browser.cookie
    start = len(server.ledger.events)
    answer = await browser.send("/auth/sign-out")
    assert (answer.status_code, browser.heading) == (200, "You are signed out")
    assert "Ann Example" not in browser.text
    assert browser.cookie == ""
    browser.http.cookies.set("throughline", kept, domain="exchange.test")
    assert leads_to(await browser.open("/auth/account")) == "/auth/sign-in"
    assert f"session:{session}" in [r.id for r in await server.authority.revocations.since(0)]
    (event,) = server.ledger.events[start:]
    assert (event["subtype"][0]["code"], event["outcomeDesc"]) == ("110123", "Signed out.")
    assert who.person.id in str(event)


async def test_a_link_alone_signs_nobody_out(server: Server) -> None:
    who, browser, _ = await signed_in(server)
    other = await somebody(server)
    foreign = await hint(server, sub=other.person.id)
    unsigned = (await hint(server, sub=who.person.id)).rsplit(".", 1)[0] + ".AAAA"
    stranger = await hint(server, sub=who.person.id, iss="https://elsewhere.example")
    for query in (
        {},
        {"id_token_hint": foreign},
        {"id_token_hint": unsigned},
        {"id_token_hint": stranger},
        {"id_token_hint": "x.y.z"},
    ):
        browser.answer = await browser.http.get("/auth/sign-out", params=query)
        assert browser.heading == "Do you want to sign out?"
    browser.answer = await browser.http.post("/auth/sign-out", data={"csrf": "0" * 64})
    assert browser.heading == "Do you want to sign out?"
    await browser.send("/auth/sign-out")
    assert browser.heading == "You are signed out"


async def test_an_app_with_its_id_token_signs_out_and_gets_the_browser_back(server: Server) -> None:
    await an_app(server, "an-app", "https://app.example/bye?x=1", "https://app.example/out")
    who, browser, session = await signed_in(server)
    token = await hint(server, sub=who.person.id, sid=session)
    browser.answer = await browser.http.get(
        "/auth/sign-out",
        params={
            "id_token_hint": token,
            "post_logout_redirect_uri": "https://app.example/bye?x=1",
            "state": "a b&c",
        },
    )
    assert browser.answer.status_code == 303
    assert browser.answer.headers["location"] == "https://app.example/bye?x=1&state=a+b%26c"
    assert await server.authority.sessions.live(session) is None


async def test_a_browser_goes_on_only_to_a_registered_place(server: Server) -> None:
    await an_app(server, "an-app", "https://app.example/out")
    await an_app(server, "other-app", "https://other.example/out")
    for place in (
        "https://app.example/out/", "https://app.example/OUT", "https://app.example/out?x", "https://evil.example",
        "https://other.example/out", "//app.example/out", "https://app.example:443/out", "javascript:alert(1)",
    ):  # fmt: skip
        who, browser, session = await signed_in(server)
        token = await hint(server, sub=who.person.id, sid=session)
        browser.answer = await browser.http.get(
            "/auth/sign-out", params={"id_token_hint": token, "post_logout_redirect_uri": place}
        )
        assert (browser.answer.status_code, browser.heading) == (200, "You are signed out")
        assert place not in browser.answer.text
    who, browser, session = await signed_in(server)
    token = await hint(server, sub=who.person.id, sid=session)
    browser.answer = await browser.http.get(
        "/auth/sign-out",
        params={
            "id_token_hint": token,
            "client_id": "other-app",
            "post_logout_redirect_uri": "https://other.example/out",
        },
    )
    assert browser.heading == "Do you want to sign out?"  # the id_token is another app's


async def test_a_form_of_another_site_needs_the_id_token_of_the_sign_in(server: Server) -> None:
    who, _, session = await signed_in(server)
    elsewhere = Browser(server)  # SameSite=Lax: such a form comes without our cookie
    elsewhere.answer = await elsewhere.http.post(
        "/auth/sign-out",
        data={"id_token_hint": await hint(server, sub="someone-else", sid=session)},
    )
    assert await server.authority.sessions.live(session) is not None
    elsewhere.answer = await elsewhere.http.post(
        "/auth/sign-out", data={"id_token_hint": await hint(server, sub=who.person.id, sid=session)}
    )
    assert elsewhere.heading == "You are signed out"
    assert await server.authority.sessions.live(session) is None


async def test_without_a_sign_in_there_is_nothing_to_end(server: Server, browser: Browser) -> None:
    await an_app(server, "an-app", "https://app.example/out")
    await browser.open("/auth/sign-out")
    assert browser.heading == "You are signed out"
    browser.answer = await browser.http.get(
        "/auth/sign-out",
        params={"client_id": "an-app", "post_logout_redirect_uri": "https://app.example/out"},
    )
    assert browser.answer.headers["location"] == "https://app.example/out"
