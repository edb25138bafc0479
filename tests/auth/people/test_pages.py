"""The pages themselves: their headers, and nothing in them that is not ours."""

from __future__ import annotations

from typing import Any

import pytest

from auth.pages import form_target
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


@pytest.mark.parametrize(
    ("uri", "target"),
    [
        ("https://app.example/cb?x=1", "https://app.example"),
        ("https://app.example:8443/cb", "https://app.example:8443"),
        ("http://127.0.0.1:3000/", "http://127.0.0.1:3000"),
        ("http://[::1]:3000/", "http://[::1]:3000"),
        ("com.example.app:/cb", "com.example.app:"),
        ("https://a;script-src%20*/", ""),
        ("https://a b/", ""),
        ("https:///nothing", ""),
        ("https://x:99999/", ""),
        ("not a uri", ""),
    ],
)
def test_a_redirect_uri_widens_the_policy_by_its_origin_only(uri: str, target: str) -> None:
    assert form_target(uri) == target


async def test_a_fault_of_ours_is_a_page_with_a_number_and_nothing_else(
    server: Server, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(type(server.authority.reception.people), "by_username", broken)
    await browser.open("/auth/sign-in")
    answer = await browser.send("/auth/sign-in", username="ann", password="some password")
    assert (answer.status_code, browser.heading) == (500, "Something went wrong")
    assert "secret detail" not in answer.text
    assert "content-security-policy" in answer.headers


async def test_a_page_is_served_with_its_own_methods_only(server: Server, browser: Browser) -> None:
    for method in ("PUT", "DELETE", "PATCH"):
        assert (await browser.http.request(method, "/auth/sign-in")).status_code == 405
    assert (await browser.http.get("/auth/account/sessions")).status_code == 405
    answer = await browser.http.post(
        "/auth/sign-in", content=b"{}", headers={"content-type": "application/json"}
    )
    assert answer.status_code == 400
    doubled = await browser.http.post(
        "/auth/sign-in",
        content=b"csrf=a&csrf=b",
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    assert doubled.status_code == 400
