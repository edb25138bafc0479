"""The pages themselves: their headers, and nothing in them that is not ours."""

from __future__ import annotations

from typing import Any

from tests.auth.authority import Server
from tests.auth.people.browsers import Browser, a_request, somebody


async def test_every_page_has_the_headers_that_keep_it_ours(
    server: Server, browser: Browser
) -> None:
    request = await a_request(server)
    for path in (
        "/auth/sign-in",
        f"/auth/sign-in?continue={request}",
        "/auth/sign-out",
        "/auth/sign-in/role",
    ):
        headers = (await browser.open(path)).headers
        policy = headers["content-security-policy"]
        for part in (
            "default-src 'none'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "object-src 'none'",
            "script-src 'self'",
        ):
            assert part in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert "strict-transport-security" not in headers
    policy = (await browser.open(f"/auth/sign-in?continue={request}")).headers[
        "content-security-policy"
    ]
    assert "form-action 'self' https://app.example;" in policy


async def test_over_https_the_cookies_are_host_bound_and_the_browser_stays_on_https(
    mongo: Any, folder: Any
) -> None:
    from tests.auth.authority import serving

    async with serving(
        mongo, folder, password_memory=19, public_url="https://exchange.test"
    ) as safe:
        browser = Browser(safe)
        answer = await browser.open("/auth/sign-in")
        assert answer.headers["strict-transport-security"].startswith("max-age=63072000")
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-throughline-visit=")
        for part in ("HttpOnly", "Secure", "SameSite=lax", "Path=/"):
            assert part in cookie
        assert 'data-passkey="get"' in answer.text
        answer = await browser.sign_in(await somebody(safe))
        cookies = answer.headers.get_list("set-cookie")
        assert any(
            c.startswith("__Host-throughline=") and "Secure" in c and "HttpOnly" in c
            for c in cookies
        )


async def test_no_page_has_a_script_or_style_in_it(server: Server, browser: Browser) -> None:
    await browser.sign_in(await somebody(server, app=True))
    for path in (
        "/auth/account",
        "/auth/account/app",
        "/auth/account/password",
        "/auth/account/role",
        "/auth/sign-out",
    ):
        text = (await browser.open(path)).text
        assert " style=" not in text
        assert " onclick" not in text
        assert text.count("<script") == text.count('<script type="module" src="/auth/assets/')
