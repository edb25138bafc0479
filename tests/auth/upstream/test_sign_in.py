"""Signing in with another provider: there and back, who is let in as what, and every way to be refused."""

from __future__ import annotations

import base64
import time
from typing import Any
from urllib.parse import quote

import pytest

from tests.auth.authority import ORIGIN, Server
from tests.auth.people.browsers import Browser, a_request, an_appointment
from tests.auth.upstream.arriving import choose, linked, signed_in
from tests.auth.upstream.conftest import OURS, SECRET
from tests.auth.upstream.elsewhere import (
    Elsewhere,
    assertion_of,
    back,
    go,
    recorded,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_practitioner_signs_in_with_a_smartcard_in_the_role_they_selected_there(
    server: Server, browser: Browser, cis2: Elsewhere
) -> None:
    held = an_appointment("R-HV", "R0A"), an_appointment("R-MW", "RM3")
    person = await linked(server, cis2, *held)
    waiting = await a_request(server)
    asked = await go(browser, cis2, waiting)
    assert asked["redirect_uri"] == f"{ORIGIN}/auth/upstream/cis2/return"
    assert asked["scope"].split()[0] == "openid"
    assert "selectedrole" in asked["scope"]
    assert (asked["acr_values"], asked["max_age"]) == ("AAL2_OR_AAL3_ANY", "900")
    assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
    assert len(asked["state"]) >= 43
    assert len(asked["nonce"]) >= 43
    answer = await back(browser, cis2, asked)
    assert answer.headers["location"] == "/auth/sign-in/role"
    await browser.follow()
    assert "Health visitor" in browser.text  # the one role that was selected, so nothing to choose
    assert "Midwife" not in browser.text
    await browser.send(purpose="P-CARE")
    assert browser.answer.headers["location"] == f"{server.settings.issuer}/authorize/{waiting}"
    session = await signed_in(server, browser)
    assert session is not None
    assert (session.person, session.role, session.organisation) == (person.id, "R-HV", "R0A")
    assert (session.acr, session.amr[:2]) == ("AAL3_ANY", ("fed", "mfa"))
    assert abs(session.auth_time - (time.time() - 30)) < 10
    # Another role is another selection there, not a page here.
    await browser.open("/auth/account/role")
    assert "Midwife" not in browser.text


async def test_we_prove_ourselves_with_a_signed_assertion(
    server: Server, browser: Browser, cis2: Elsewhere, nhs_login: Elsewhere
) -> None:
    for there, alg in ((cis2, "RS256"), (nhs_login, "RS512")):
        await linked(server, there)
        await back(browser, there, await go(browser, there))
        form = there.forms[-1]
        header, claims = assertion_of(form, OURS, alg)
        assert (header["alg"], header["typ"]) == (alg, "JWT")
        client = recorded(there.name, "id_token")["aud"]
        assert claims["iss"] == claims["sub"] == client
        assert claims["aud"] == there.discovery["token_endpoint"]
        assert 0 < claims["exp"] - claims["iat"] <= 300
        assert form["grant_type"] == "authorization_code"
        assert "client_secret" not in form
        keys = (await server.http.get(f"/auth/upstream/{there.name}/keys")).json()["keys"]
        assert header["kid"] in [key["kid"] for key in keys]
        assert not {"d", "p", "q"} & keys[0].keys()


async def test_a_citizens_login_asks_for_vectors_of_trust_and_uses_no_pkce(
    server: Server, browser: Browser, nhs_login: Elsewhere
) -> None:
    person = await linked(server, nhs_login)
    asked = await go(browser, nhs_login)
    assert asked["vtr"] == '["P9.Cp.Cd","P9.Cp.Ck","P9.Cm"]'
    for absent in ("code_challenge", "acr_values", "max_age"):
        assert absent not in asked
    assert asked["prompt"] == "login"
    await back(browser, nhs_login, asked)
    assert "code_verifier" not in nhs_login.forms[-1]
    await choose(browser)
    session = await signed_in(server, browser)
    assert session is not None
    assert (session.person, session.acr) == (person.id, "P9.Cp.Cd")


async def test_somebody_new_is_let_in_where_the_row_says_so_and_their_roles_follow_the_provider(
    server: Server, browser: Browser, council: Elsewhere
) -> None:
    await back(browser, council, await go(browser, council))
    pair = base64.b64decode(council.heads[-1]["authorization"].removeprefix("Basic ")).decode()
    assert pair == f"throughline:{quote(SECRET, safe='')}"
    assert "client_secret" not in council.forms[-1]
    await choose(browser)
    session = await signed_in(server, browser)
    assert session is not None
    assert (session.name, session.role, session.organisation) == ("Carl Example", "R-CSW", "352")
    again = Browser(server)
    await back(again, council, await go(again, council))
    await choose(again)
    other = await signed_in(server, again)
    assert other is not None
    assert other.person == session.person
    # The provider takes the role away: nobody signs in, and it is over here too.
    council.spoil["groups"] = ["staff"]
    await back(again, council, await go(again, council))
    assert again.answer.status_code == 403
    assert "no role" in again.text
    found = await server.authority.reception.people.get(session.person)
    assert found is not None
    assert found.password is None


async def test_nobody_is_let_in_by_a_name_or_an_address(
    server: Server, browser: Browser, cis2: Elsewhere
) -> None:
    cis2.spoil |= {"sub": "999999999999", "preferred_username": "admin", "email": "a@b.example"}
    cis2.userinfo |= {"sub": "999999999999"}
    before = len(await server.authority.reception.people.all())
    await back(browser, cis2, await go(browser, cis2))
    assert browser.answer.status_code == 403
    assert "not known here" in browser.text
    assert "999999999999" in browser.text  # what the operator needs to link them
    assert await signed_in(server, browser) is None
    assert len(await server.authority.reception.people.all()) == before


async def test_somebody_who_left_is_not_let_in(
    server: Server, browser: Browser, cis2: Elsewhere
) -> None:
    person = await linked(server, cis2)
    await server.authority.reception.people.deactivate(person.id)
    await back(browser, cis2, await go(browser, cis2))
    assert browser.answer.status_code == 403


async def test_a_selected_role_that_is_not_held_here_opens_nothing(
    server: Server, browser: Browser, cis2: Elsewhere
) -> None:
    await linked(server, cis2, an_appointment("R-GP", "R0A"))
    await back(browser, cis2, await go(browser, cis2))
    await browser.follow()
    assert browser.answer.status_code == 403
    assert "no role" in browser.text


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"selected_roleid": "555099999999999"}, 400),
        ({"nhsid_nrbac_roles": None, "selected_roleid": None}, 403),
        ({"nhsid_nrbac_roles": [], "selected_roleid": None}, 403),
        ({"nhsid_nrbac_roles": "many", "selected_roleid": None}, 403),
        ({"nhsid_nrbac_roles": [{"role_code": 5, "org_code": "R0A"}], "selected_roleid": None}, 403),
        ({"nhsid_nrbac_roles": [{"role_code": "R8001", "org_code": "NOWHERE"}],
          "selected_roleid": None}, 403),
    ],
)  # fmt: skip
async def test_roles_that_lead_nowhere_open_nothing(
    server: Server, browser: Browser, cis2: Elsewhere, changes: dict[str, Any], status: int
) -> None:
    await linked(server, cis2)
    cis2.userinfo |= changes
    cis2.spoil |= {"selected_roleid": changes.get("selected_roleid")}
    await back(browser, cis2, await go(browser, cis2))
    assert browser.answer.status_code == status
    assert await signed_in(server, browser) is None


async def test_a_weak_sign_in_there_needs_a_second_factor_here(
    server: Server, browser: Browser, council: Elsewhere
) -> None:
    await linked(server, council, an_appointment("R-CSW", "352"), app=True)
    party = server.authority.federation.parties["council"]
    kept = party.provider
    party.provider = type(kept)(
        **{f: getattr(kept, f) for f in kept.__slots__} | {"acr_values": (), "strong": ()}
    )
    try:
        council.spoil |= {
            "acr": "mfa",
            "amr": ["mfa", "otp"],
        }  # its own word alone counts for nothing
        await back(browser, council, await go(browser, council))
    finally:
        party.provider = kept
    assert browser.answer.headers["location"] == "/auth/sign-in/second"


async def test_an_app_that_wants_a_fresh_sign_in_gets_one(
    server: Server, browser: Browser, cis2: Elsewhere
) -> None:
    await linked(server, cis2)
    waiting = await a_request(server, stale=["some-session", 1])
    asked = await go(browser, cis2, waiting)
    assert (asked["prompt"], asked["max_age"]) == ("login", "0")
    cis2.spoil["auth_time"] = int(time.time()) - 300
    await back(browser, cis2, asked)
    assert browser.answer.status_code == 400
    asked = await go(browser, cis2, waiting)
    cis2.spoil["auth_time"] = int(time.time())
    await back(browser, cis2, asked)
    assert browser.answer.status_code == 303


# -- before and around -------------------------------------------------------------------------------


async def test_the_sign_in_page_lists_every_provider_and_takes_the_request_along(
    server: Server, browser: Browser
) -> None:
    waiting = await a_request(server)
    await browser.open(f"/auth/sign-in?continue={waiting}")
    for id_, label in (
        ("cis2", "NHS CIS2"),
        ("nhs_login", "NHS login"),
        ("council", "the council"),
    ):
        assert f"/auth/upstream/{id_}/start?continue={waiting}" in browser.answer.text
        assert f"Sign in with {label}" in browser.text
    assert server.authority.federation.providers()[0] == ("cis2", "NHS CIS2")


async def test_a_link_alone_begins_nothing(browser: Browser, cis2: Elsewhere) -> None:
    answer = await browser.open("/auth/upstream/cis2/start")
    assert answer.status_code == 200
    assert "location" not in answer.headers
    forged_form = await browser.http.post("/auth/upstream/cis2/start", data={"csrf": "x"})
    assert forged_form.status_code == 403
    for page in (answer, forged_form):
        policy = page.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["start", "return"])
async def test_an_unknown_provider_is_a_page(browser: Browser, path: str) -> None:
    assert (await browser.open(f"/auth/upstream/nobody/{path}")).status_code == 404


async def test_a_request_that_no_longer_waits_is_a_page(browser: Browser, cis2: Elsewhere) -> None:
    gone = await browser.open("/auth/upstream/cis2/start?continue=" + "x" * 24)
    assert gone.status_code == 400
    elsewhere = await browser.open("/auth/upstream/cis2/start?continue=https://evil.example/")
    assert elsewhere.status_code == 400
