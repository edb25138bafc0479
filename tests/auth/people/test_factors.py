"""What is proved beside the password, and the password that somebody else made: each once."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from auth.keys import master_key
from auth.people import one_time
from tests.auth.authority import Server
from tests.auth.people.browsers import GOOD, Browser, an_appointment, leads_to, somebody


async def test_a_code_of_the_app_is_the_second_factor_and_works_once(
    server: Server, browser: Browser
) -> None:
    who = await somebody(server, app=True)
    code = who.code()
    await browser.password(who)
    assert leads_to(browser.answer) == "/auth/sign-in/second"
    await browser.follow()
    assert leads_to(await browser.send(code=code)) == "/auth/sign-in/role"
    await browser.follow()
    await browser.send("/auth/sign-in/role", purpose="P-CARE")
    (session,) = [x.session for x in await server.authority.sessions.of_person(who.person.id)]
    assert (set(session.amr), session.acr) == ({"pwd", "otp", "mfa"}, "AAL2")
    again = Browser(server)
    await again.password(who)
    await again.follow()
    await again.send(code=code)
    assert (again.answer.status_code, again.errors[0][:22]) == (400, "This code is wrong or ")


async def test_of_two_that_use_one_code_at_once_one_gets_in(server: Server) -> None:
    who = await somebody(server, app=True)
    browsers = [Browser(server) for _ in range(4)]
    for browser in browsers:
        await browser.password(who)
        await browser.follow()
    code = who.code()
    answers = await asyncio.gather(*(b.send(code=code) for b in browsers))
    assert sorted(a.status_code for a in answers) == [303, 400, 400, 400]


async def test_a_recovery_code_works_once(server: Server) -> None:
    who = await somebody(server, app=True)
    codes = one_time.new_recovery_codes()
    await server.authority.reception.people.renew_recovery(
        who.person.id, one_time.recovery_digests(codes)
    )
    for used, status in (
        (codes[0].lower().replace("-", " "), 303),
        (codes[0], 400),
        (codes[1], 303),
    ):
        browser = Browser(server)
        await browser.password(who)
        await browser.follow()
        assert (await browser.send(code=used)).status_code == status
    row = await server.mongo.table("auth", "people").one({"_id": who.person.id})
    assert row is not None
    assert len(row["recovery"]) == 8
    assert codes[2] not in str(row)


async def test_guessing_codes_is_stopped(server: Server) -> None:
    who = await somebody(server, app=True)
    browser = Browser(server)
    await browser.password(who)
    await browser.follow()
    for status in [400] * 5 + [429] * 2:
        await browser.open("/auth/sign-in/second")
        assert (await browser.send(code="000000")).status_code == status
    await browser.open("/auth/sign-in/second")
    assert (await browser.send(code=who.code())).status_code == 429


async def test_where_a_second_factor_is_needed_it_is_set_up_at_sign_in_and_sealed(
    mongo: Any, folder: Any
) -> None:
    from tests.auth.authority import serving

    master_key(folder / "keys" / "master.key", make=True)
    async with serving(
        mongo, folder, password_memory=19, second_factor_roles="R-GP, R-IGO"
    ) as strict:
        assert (
            leads_to(await Browser(strict).password(await somebody(strict))) == "/auth/sign-in/role"
        )
        who = await somebody(strict, an_appointment("R-GP", "P99000"))
        browser = Browser(strict)
        await browser.password(who)
        assert leads_to(browser.answer) == "/auth/sign-in/app"
        assert leads_to(await browser.open("/auth/sign-in/role")) == "/auth/sign-in/app"
        await browser.open("/auth/sign-in/app")
        assert "<svg" in browser.answer.text
        who.seed = browser.text.split("Setup key: ")[1].split(" Code from")[0].replace(" ", "")
        assert (await browser.send(code="12345")).status_code == 400
        answer = await browser.send(code=who.code())
        assert browser.heading == "Your recovery codes"
        assert answer.text.count("<li>") == 10
        await browser.open("/auth/sign-in/role")
        await browser.send("/auth/sign-in/role", purpose="P-CARE")
        assert leads_to(browser.answer) == "/auth/account"
        row = await mongo.table("auth", "people").one({"_id": who.person.id})
        assert who.seed not in str(row)


async def test_a_one_time_password_opens_only_the_page_that_replaces_it(
    server: Server, browser: Browser
) -> None:
    who = await somebody(server, password="abcd-efgh-jkmn-pqrs", once=True, until=time.time() + 60)
    await browser.password(who)
    assert leads_to(browser.answer) == "/auth/sign-in/password"
    assert leads_to(await browser.open("/auth/sign-in/role")) == "/auth/sign-in/password"
    await browser.open("/auth/sign-in/password")
    for new, repeat, words in (
        ("short", "short", "at least 12"),
        ("Password1234", "Password1234", "common password"),
        (who.password, who.password, "Choose another password than the one"),
        (f"{who.person.username}!!", "x", "names or your organisation"),
        (GOOD, GOOD + "x", "differ"),
    ):
        answer = await browser.send(new__password=new, repeat=repeat)
        assert (answer.status_code, words in " ".join(browser.errors)) == (400, True), (
            browser.errors
        )
    assert leads_to(await browser.send(new__password=GOOD, repeat=GOOD)) == "/auth/sign-in/role"
    await browser.follow()
    await browser.send("/auth/sign-in/role", purpose="P-CARE")
    assert leads_to(browser.answer) == "/auth/account"
    again = Browser(server)
    assert (await again.password(who)).status_code == 400
    assert leads_to(await again.password(who, password=GOOD)) == "/auth/sign-in/role"


async def test_a_one_time_password_ends_by_itself(server: Server, browser: Browser) -> None:
    who = await somebody(server, once=True, until=time.time() - 1)
    await browser.password(who)
    assert "has expired" in browser.errors[0]
    await browser.password(who, password="something else entirely")
    assert "expired" not in browser.text


async def test_of_two_that_replace_a_one_time_password_one_can(server: Server) -> None:
    who = await somebody(server, once=True, until=time.time() + 60)
    browsers = [Browser(server), Browser(server)]
    for browser in browsers:
        await browser.password(who)
        await browser.follow()
    answers = await asyncio.gather(
        *(b.send(new__password=f"{GOOD} {n}", repeat=f"{GOOD} {n}") for n, b in enumerate(browsers))
    )
    assert sorted(a.status_code for a in answers) == [303, 400]
