"""Every page in a real browser: accessible by axe, at 320 pixels, without JavaScript, with a passkey.

`SCREENSHOTS=folder pytest -m browser tests/auth/people` leaves a picture of each.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from chassis.mongo import Mongo
from tests.auth.authority import Server, serving
from tests.auth.people.browsers import GOOD, Somebody, a_request, an_appointment, somebody

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(mongo: Mongo, folder: Path) -> AsyncIterator[Server]:
    from granian.server.embed import Server as Embedded

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    origin = f"http://localhost:{port}"
    async with serving(mongo, folder, password_memory=19, public_url=origin) as made:
        web = Embedded(made.app, address="127.0.0.1", port=port, interface="asginl")
        running = asyncio.create_task(web.serve())
        for _ in range(100):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            except OSError:
                await asyncio.sleep(0.1)
        try:
            yield made
        finally:
            web.stop()
            await running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Any]:
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


class Window:
    """A page that is watched: what it says on the console, and what it asks of other hosts."""

    def __init__(self, server: Server, page: Any) -> None:
        self.server, self.page = server, page
        self.origin = server.settings.origin
        self.trouble: list[str] = []
        page.on("console", lambda m: self.trouble.append(f"console: {m.text}"))
        page.on("pageerror", lambda e: self.trouble.append(f"error: {e}"))
        page.on(
            "request",
            lambda r: r.url.startswith(self.origin) or self.trouble.append(f"foreign: {r.url}"),
        )

    async def open(self, path: str) -> None:
        await self.page.goto(self.origin + path)

    async def check(self, name: str) -> None:
        """Axe, one h1, a title, no sideways scrolling at 320 pixels, and a picture."""
        from axe_playwright_python.async_playwright import Axe

        found = await Axe().run(self.page, options={"runOnly": {"type": "tag", "values": TAGS}})
        assert found.violations_count == 0, f"{name}: {found.generate_report()}"
        assert await self.page.locator("h1").count() == 1, name
        assert (await self.page.title()).endswith("– Throughline"), name
        await self._picture(name)
        await self.page.set_viewport_size({"width": 320, "height": 800})
        width = await self.page.evaluate("document.documentElement.scrollWidth")
        await self._picture(f"{name}-320")
        await self.page.set_viewport_size({"width": 1024, "height": 800})
        assert width <= 320, f"{name} is {width} pixels wide at 320"

    async def _picture(self, name: str) -> None:
        folder = os.environ.get("SCREENSHOTS")
        if folder:
            await self.page.screenshot(path=f"{folder}/{name}.png", full_page=True)

    async def press(self, words: str) -> None:
        await self.page.get_by_role("button", name=words, exact=True).click()

    async def sign_in(self, who: Somebody, password: str = "") -> None:
        await self.page.fill("#username", who.person.username)
        await self.page.fill("#password", password or who.password)
        await self.press("Sign in")


@asynccontextmanager
async def window(server: Server, chromium: Any, **context: Any) -> AsyncIterator[Window]:
    opened = await chromium.new_context(viewport={"width": 1024, "height": 800}, **context)
    try:
        made = Window(server, await opened.new_page())
        yield made
        made.trouble = [t for t in made.trouble if "status of 4" not in t]  # refusals are 4xx pages
        assert made.trouble == [], made.trouble
    finally:
        await opened.close()


async def seed_of(page: Any) -> str:
    return str(await page.locator("main .tl-secret").inner_text()).replace(" ", "")


async def test_every_page_of_signing_in_and_of_the_account_is_accessible(
    server: Server, chromium: Any
) -> None:
    two = (an_appointment("R-GP", "P99000"), an_appointment("R-HV", "RMC"))
    who = await somebody(
        server, *two, once=True, until=time.time() + 600, password="abcd-efgh-jkmn-pqrs"
    )
    request = await a_request(server)
    async with window(server, chromium) as at:
        await at.open("/auth/sign-in")
        await at.check("sign-in")
        await at.press("Sign in")
        assert (await at.page.title()).startswith("Error: ")
        focused = await at.page.evaluate("document.activeElement.className")
        assert "error-summary" in focused
        await at.check("sign-in-empty")
        await at.sign_in(who, "not this one")
        await at.check("sign-in-wrong")
        await at.sign_in(who)
        await at.check("first-password")
        await at.page.fill("#new-password", "password1234")
        await at.page.fill("#repeat", "x")
        await at.press("Save and continue")
        await at.check("first-password-common")
        await at.page.fill("#new-password", GOOD)
        await at.page.fill("#repeat", GOOD)
        await at.press("Save and continue")
        await at.check("role")
        await at.press("Continue")
        await at.check("role-none")
        await at.page.get_by_label("GP or practice clinician").check()
        await at.press("Continue")
        await at.check("purpose")
        await at.page.get_by_label("Break-glass").check()
        await at.check("purpose-reason")
        await at.press("Continue")
        await at.check("purpose-no-reason")
        await at.page.get_by_label("Direct health or adult-social care").check()
        await at.press("Continue")
        await at.check("account-plain")
        await at.page.get_by_role("link", name="Set up an authenticator app").click()
        await at.check("app")
        who.seed = await seed_of(at.page)
        await at.page.fill("#code", "000000")
        await at.press("Continue")
        await at.check("app-wrong")
        await at.page.fill("#code", who.code())
        await at.press("Continue")
        await at.check("recovery-codes")
        await at.page.get_by_role("button", name="I have kept them").click()
        await at.check("account-app")
        await at.page.get_by_role("link", name="Change your password").click()
        await at.check("password")
        await at.open("/auth/sign-out")
        await at.check("sign-out")
        await at.page.get_by_role("main").get_by_role("button", name="Sign out").click()
        await at.check("signed-out")
        await at.open(f"/auth/sign-in?continue={request}")
        await at.sign_in(who, GOOD)
        await at.check("second")
        await at.page.fill("#code", "123456")
        await at.press("Continue")
        await at.check("second-wrong")
        await at.open("/auth/sign-in?continue=" + "x" * 32)
        await at.check("out-of-date")


async def test_a_passkey_is_made_and_signs_in_in_a_real_browser(
    server: Server, chromium: Any
) -> None:
    who = await somebody(server)
    async with window(server, chromium) as at:
        devtools = await at.page.context.new_cdp_session(at.page)
        await devtools.send("WebAuthn.enable")
        await devtools.send(
            "WebAuthn.addVirtualAuthenticator",
            {
                "options": {
                    "protocol": "ctap2", "transport": "internal", "hasResidentKey": True,
                    "hasUserVerification": True, "isUserVerified": True,
                }
            },
        )  # fmt: skip
        await at.open("/auth/sign-in")
        await at.sign_in(who)
        await at.page.get_by_label("Direct health or adult-social care").check()
        await at.press("Continue")
        await at.page.fill("#passkey-name", "Ward laptop")
        await at.press("Add a passkey")
        await at.page.locator("dt", has_text="Ward laptop").wait_for()
        await at.check("account-passkey")
        await at.page.get_by_role("banner").get_by_role("button", name="Sign out").click()
        await at.page.get_by_role("link", name="Sign in again").click()
        await at.press("Sign in with a passkey")
        await at.page.get_by_text("What do you need the records for?").first.wait_for()
        await at.page.get_by_label("Direct health or adult-social care").check()
        await at.press("Continue")
        assert await at.page.locator("h1").inner_text() == "Your account"
        # As the second factor, after the password.
        await at.page.get_by_role("banner").get_by_role("button", name="Sign out").click()
        await at.open("/auth/sign-in")
        await at.sign_in(who)
        await at.check("second-passkey")
        await at.press("Use a passkey")
        await at.page.get_by_text("What do you need the records for?").first.wait_for()


async def test_signing_in_works_without_javascript(server: Server, chromium: Any) -> None:
    who = await somebody(server, an_appointment("R-GP", "P99000"), app=True)
    async with window(server, chromium, java_script_enabled=False) as at:
        await at.open("/auth/sign-in")
        assert not await at.page.get_by_role("button", name="Sign in with a passkey").is_visible()
        await at.sign_in(who)
        await at.page.fill("#code", who.code())
        await at.press("Continue")
        await at.page.get_by_label("Safeguarding a child").check()
        await at.page.fill("#reason", "Strategy meeting this afternoon")
        await at.press("Continue")
        assert await at.page.locator("h1").inner_text() == "Your account"
        await at.page.get_by_role("banner").get_by_role("button", name="Sign out").click()
        assert await at.page.locator("h1").inner_text() == "You are signed out"


async def test_the_first_page_can_be_used_with_the_keyboard_alone(
    server: Server, chromium: Any
) -> None:
    who = await somebody(server)
    async with window(server, chromium) as at:
        await at.open("/auth/sign-in")
        order = []
        for _ in range(5):
            await at.page.keyboard.press("Tab")
            order.append(
                await at.page.evaluate(
                    "document.activeElement.id || document.activeElement.innerText"
                )
            )
        assert order[0] == "Skip to main content"
        assert order[1:3] == ["username", "password"]
        await at.page.focus("#username")
        await at.page.keyboard.type(who.person.username)
        await at.page.keyboard.press("Tab")
        await at.page.keyboard.type(GOOD)
        await at.page.keyboard.press("Enter")
        await at.page.get_by_text("What do you need the records for?").first.wait_for()
