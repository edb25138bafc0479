"""The way back from a provider: taken once, by the browser that asked, from the one that was asked."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import respx

from tests.auth.authority import ORIGIN, Server
from tests.auth.people.browsers import Browser
from tests.auth.upstream.arriving import linked, told
from tests.auth.upstream.elsewhere import Elsewhere, back, go

pytestmark = pytest.mark.asyncio(loop_scope="module")


# -- the way back ------------------------------------------------------------------------------------


async def test_an_answer_is_taken_once(server: Server, browser: Browser, cis2: Elsewhere) -> None:
    await linked(server, cis2)
    asked = await go(browser, cis2)
    assert (await back(browser, cis2, asked)).status_code == 303
    assert (await back(browser, cis2, asked)).status_code == 400
    assert len(cis2.forms) == 1


async def test_an_answer_is_taken_only_in_the_browser_that_asked(
    server: Server, browser: Browser, cis2: Elsewhere
) -> None:
    await linked(server, cis2)
    asked, victim = await go(browser, cis2), Browser(server)
    assert (await back(victim, cis2, asked)).status_code == 400
    await victim.open("/auth/sign-in")
    assert (await back(victim, cis2, asked)).status_code == 400
    assert cis2.forms == []
    assert (await back(browser, cis2, asked)).status_code == 303


@pytest.mark.parametrize("changes", [{"state": None}, {"state": "made-up"}, {"state": ""}])
async def test_an_answer_without_our_state_is_refused(
    browser: Browser, cis2: Elsewhere, changes: dict[str, str | None]
) -> None:
    asked = await go(browser, cis2)
    assert (await back(browser, cis2, asked, **changes)).status_code == 400
    assert cis2.forms == []


async def test_an_answer_of_one_provider_is_not_taken_for_that_of_another(
    server: Server, browser: Browser, cis2: Elsewhere, council: Elsewhere
) -> None:
    await linked(server, cis2)
    # The browser began with one and comes back on the other's way.
    asked = await go(browser, council)
    mixed = asked | {"redirect_uri": f"{ORIGIN}/auth/upstream/cis2/return"}
    assert (await back(browser, cis2, mixed)).status_code == 400
    # On the right way, but the answer says (RFC 9207) that another one speaks, or leaves it out.
    for issuer in (cis2.issuer, None, council.issuer + "/"):
        asked = await go(browser, council)
        assert (await back(browser, council, asked, iss=issuer)).status_code == 400
    assert cis2.forms == []
    assert council.forms == []
    # One that need not say so must not say something wrong.
    asked = await go(browser, cis2)
    assert (await back(browser, cis2, asked, iss=council.issuer)).status_code == 400
    assert cis2.forms == []


async def test_a_parameter_twice_is_refused(browser: Browser, cis2: Elsewhere) -> None:
    asked = await go(browser, cis2)
    where = f"/auth/upstream/cis2/return?state={asked['state']}&code=a&code=b"
    assert (await browser.open(where)).status_code == 400
    assert cis2.forms == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ("access_denied", 403),
        ("login_required", 400),
        ("sso_login_required", 400),
        ("temporarily_unavailable", 503),
        ("server_error", 502),
        ("<script>alert(1)</script>", 400),
    ],
)
async def test_an_error_of_the_provider_is_a_page_of_ours(
    server: Server, browser: Browser, cis2: Elsewhere, error: str, status: int
) -> None:
    asked = await go(browser, cis2)
    answer = await back(
        browser, cis2, asked, code=None, error=error, error_description="<b>bold</b> words"
    )
    assert answer.status_code == status
    for echoed in ("bold", "alert(1)"):
        assert echoed not in answer.text
    assert "bold" not in told(server)
    # The journey is over with it.
    assert (await back(browser, cis2, asked)).status_code == 400


@pytest.mark.parametrize("status", [400, 401])
async def test_a_code_that_the_provider_does_not_take_signs_nobody_in(
    server: Server, browser: Browser, cis2: Elsewhere, wire: respx.MockRouter, status: int
) -> None:
    asked = await go(browser, cis2)
    wire.post(cis2.discovery["token_endpoint"]).respond(status, json={"error": "invalid_grant"})
    assert (await back(browser, cis2, asked)).status_code == 400


@pytest.mark.parametrize(
    "answer",
    [
        {"status_code": 500},
        {"status_code": 302, "headers": {"Location": "https://evil.example/"}},
        {"content": b"not json"},
        {"json": ["a"]},
        {"json": {"access_token": "x"}},
        {"json": {"access_token": "x", "token_type": "mac", "id_token": "x.y.z"}},
        {"json": {"access_token": 5, "token_type": "Bearer"}},
        {"content": b"x" * 300_000},
    ],
)
async def test_a_token_endpoint_that_answers_nonsense_is_a_page(
    server: Server, browser: Browser, cis2: Elsewhere, wire: respx.MockRouter, answer: Any
) -> None:
    asked = await go(browser, cis2)
    wire.post(cis2.discovery["token_endpoint"]).respond(**answer)
    assert (await back(browser, cis2, asked)).status_code == 502
    assert "Try again later" in browser.text


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"token_endpoint": "http://evil.example/token"},
        {"jwks_uri": None},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"userinfo_endpoint": "http://10.0.0.1/userinfo"},
    ],
)
async def test_a_discovery_document_that_is_not_its_own_leads_nowhere(
    browser: Browser, cis2: Elsewhere, metadata: dict[str, Any]
) -> None:
    cis2.metadata |= metadata
    await browser.open("/auth/upstream/cis2/start")
    assert (await browser.send()).status_code == 502
    assert cis2.forms == []


async def test_a_provider_that_is_away_is_a_page_and_is_left_alone_for_a_moment(
    browser: Browser, wire: respx.MockRouter
) -> None:
    asked = wire.get(url__regex=r"https://sso\.council\.example/.*").mock(
        side_effect=httpx.ConnectError("no")
    )
    for _ in range(3):
        await browser.open("/auth/upstream/council/start")
        assert (await browser.send()).status_code == 502
    assert asked.call_count == 1


async def test_a_new_signing_key_of_the_provider_is_found(
    server: Server, browser: Browser, council: Elsewhere
) -> None:
    await back(browser, council, await go(browser, council))
    assert browser.answer.status_code == 303
    new = type(council.key).generate_key("P-256", {"kid": "council-2"})
    council.published, council.key = [council.key, new], new
    party = server.authority.federation.parties["council"]
    party._keys_at -= 11  # eleven seconds later
    await back(browser, council, await go(browser, council))
    assert browser.answer.status_code == 303, browser.text
