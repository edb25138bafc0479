"""Signing in, from the first page to the session, and everything that must not happen on the way."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from auth.people.reception import today
from tests.auth.authority import Server
from tests.auth.people.browsers import (
    GOOD,
    Browser,
    a_request,
    an_appointment,
    leads_to,
    somebody,
)  # fmt: skip


def sign_ins(server: Server, start: int = 0) -> list[tuple[str, str, str]]:
    return [
        (e["subtype"][0]["display"], e["outcome"], e.get("outcomeDesc", ""))
        for e in server.ledger.events[start:]
        if e["type"]["code"] == "110114"
    ]


async def test_somebody_signs_in_with_a_password_and_a_purpose(
    server: Server, browser: Browser
) -> None:
    who = await somebody(server)
    start = len(server.ledger.events)
    answer = await browser.sign_in(who)
    assert leads_to(answer) == "/auth/account"
    await browser.follow()
    assert browser.heading == "Your account"
    assert "Ann Example" in browser.text
    (session,) = [x.session for x in await server.authority.sessions.of_person(who.person.id)]
    assert (session.role, session.organisation, session.purpose) == ("R-HV", "R0A", "P-CARE")
    assert (session.amr, session.acr) == (("pwd",), "AAL1")
    assert abs(session.auth_time - time.time()) < 10
    assert sign_ins(server, start) == [("Login", "0", "Signed in (pwd).")]
    event = server.ledger.events[-1]
    user = next(a for a in event["agent"] if a["requestor"])
    assert user["who"]["identifier"]["value"] == who.person.id
    assert event["agent"][0]["network"]["address"] == "10.1.2.3"


async def test_a_sign_in_for_an_app_goes_back_to_its_request_and_nowhere_else(
    server: Server, browser: Browser
) -> None:
    who, request = await somebody(server), await a_request(server)
    answer = await browser.sign_in(who, request)
    assert leads_to(answer) == f"/auth/authorize/{request}"
    # Signed in already: straight back.
    assert (
        leads_to(await browser.open(f"/auth/sign-in?continue={request}"))
        == f"/auth/authorize/{request}"
    )


@pytest.mark.parametrize(
    "place",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "x" * 32,
        "../../x",
        "%0d%0aLocation:x",
    ],
)
async def test_no_url_says_where_a_sign_in_goes(server: Server, place: str) -> None:
    browser, who = Browser(server), await somebody(server)
    await browser.open("/auth/sign-in")
    answer = await browser.http.get("/auth/sign-in", params={"continue": place})
    assert answer.status_code == 400
    assert "evil" not in answer.text
    for name in ("next", "return_to", "redirect_uri", "continue_to"):
        answer = await browser.sign_in(who)
        assert leads_to(answer) == "/auth/account"
        browser.answer = await browser.http.get("/auth/sign-in", params={name: place})
        assert leads_to(browser.answer) == "/auth/account"
        browser.http.cookies.clear()
        break


async def test_an_answered_or_old_request_is_told_so(server: Server, browser: Browser) -> None:
    for asked in ({"answered": 1.0}, {"until": time.time() - 1}):
        request = await a_request(server, **asked)
        await browser.open(f"/auth/sign-in?continue={request}")
        assert (browser.answer.status_code, browser.heading) == (400, "This sign-in is out of date")


async def test_the_page_proposes_the_user_that_the_app_expects(
    server: Server, browser: Browser
) -> None:
    request = await a_request(server, login_hint='ann"><script>')
    answer = await browser.open(f"/auth/sign-in?continue={request}")
    assert browser.form().xpath(".//input[@name='username']")[0].get("value") == 'ann"><script>'
    assert "<script>" not in answer.text.split("<body>")[1]


async def test_a_sign_in_that_does_not_count_for_the_app_is_done_once_more(
    server: Server, browser: Browser
) -> None:
    who = await somebody(server)
    await browser.sign_in(who)
    (before,) = [x.session for x in await server.authority.sessions.of_person(who.person.id)]
    request = await a_request(server, stale=[before.id, before.auth_time])
    await browser.open(f"/auth/sign-in?continue={request}")
    assert browser.heading == "Sign in"
    old = browser.cookie
    assert leads_to(await browser.sign_in(who, request)) == f"/auth/authorize/{request}"
    (after,) = [x.session for x in await server.authority.sessions.of_person(who.person.id)]
    assert after.id == before.id  # the same role and purpose: what hangs on it goes on
    assert after.auth_time > before.auth_time
    assert browser.cookie != old


async def test_another_person_in_the_same_browser_ends_the_session_before(
    server: Server, browser: Browser
) -> None:
    first, second = await somebody(server), await somebody(server)
    await browser.sign_in(first)
    await browser.open("/auth/sign-in?again=yes")
    await browser.send("/auth/sign-in", username=second.person.username, password=GOOD)
    await browser.follow()
    await browser.send("/auth/sign-in/role", purpose="P-CARE")
    assert await server.authority.sessions.of_person(first.person.id) == []
    assert len(await server.authority.sessions.of_person(second.person.id)) == 1


async def test_a_wrong_password_an_unknown_user_and_an_inactive_one_look_the_same(
    server: Server,
) -> None:
    known, gone = await somebody(server), await somebody(server)
    await server.authority.reception.people.deactivate(gone.person.id)
    pages = []
    for username, password in (
        (known.person.username, "wrong password here"), ("nobody-at-all", GOOD), (gone.person.username, GOOD),
    ):  # fmt: skip
        browser = Browser(server)
        await browser.open("/auth/sign-in")
        answer = await browser.send("/auth/sign-in", username=username, password=password)
        csrf = browser.form().xpath(".//input[@name='csrf']")[0].get("value")
        pages.append(
            (
                answer.status_code,
                answer.text.replace(username, "USER").replace(csrf, "CSRF"),
                browser.title,
            )
        )
    assert pages[0] == pages[1] == pages[2]
    assert pages[0][2].startswith("Error: ")


async def test_what_was_typed_is_told_to_nobody(
    server: Server, browser: Browser, capfd: pytest.CaptureFixture[str]
) -> None:
    start = len(server.ledger.events)
    typed = "my secret\r\nlevel=error injected=yes \x1b[31m\u2028"
    await browser.open("/auth/sign-in")
    answer = await browser.send("/auth/sign-in", username=typed, password="hunter2 hunter2")
    assert answer.status_code == 400
    told = str(server.ledger.events[start:])
    out, err = capfd.readouterr()
    for text in (told, out, err):
        assert "my secret" not in text
        assert "injected" not in text
        assert "hunter2" not in text
    assert sign_ins(server, start)[0][1] == "8"
    assert "SHA-256" in sign_ins(server, start)[0][2]


async def test_nothing_is_done_without_the_token_of_the_page(server: Server) -> None:
    who = await somebody(server)
    browser, other = Browser(server), Browser(server)
    await other.open("/auth/sign-in")
    theirs = other.form().xpath(".//input[@name='csrf']")[0].get("value")
    await browser.open("/auth/sign-in")
    for csrf in ("", "0" * 64, theirs):
        answer = await browser.send(
            "/auth/sign-in", username=who.person.username, password=GOOD, csrf=csrf
        )
        assert answer.status_code == 403
        await browser.open("/auth/sign-in")
    for headers in (
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        answer = await browser.send(
            "/auth/sign-in", username=who.person.username, password=GOOD, headers=headers
        )
        assert answer.status_code == 403
        await browser.open("/auth/sign-in")
    answer = await browser.send(
        "/auth/sign-in",
        username=who.person.username,
        password=GOOD,
        headers={"Origin": "null", "Sec-Fetch-Site": "same-origin"},
    )
    assert answer.status_code == 303


async def test_a_prepared_visit_is_worth_nothing_after_the_password(
    server: Server, browser: Browser
) -> None:
    who = await somebody(server)
    await browser.open("/auth/sign-in")
    planted = browser.http.cookies["throughline-visit"]
    await browser.password(who)
    assert browser.http.cookies["throughline-visit"] != planted
    attacker = Browser(server)
    attacker.http.cookies.set("throughline-visit", planted, domain="exchange.test")
    await attacker.open("/auth/sign-in/role")
    assert (attacker.answer.status_code, attacker.heading) == (400, "Sign in again")


async def test_no_step_can_be_left_out(server: Server, browser: Browser) -> None:
    who = await somebody(server, app=True)
    await browser.password(who)
    for path in ("/auth/sign-in/role", "/auth/sign-in/password", "/auth/sign-in/app"):
        assert leads_to(await browser.open(path)) == "/auth/sign-in/second"
    assert leads_to(await browser.open("/auth/account")) == "/auth/sign-in"


async def test_one_of_several_roles_is_chosen_with_a_purpose_of_that_role(
    server: Server, browser: Browser
) -> None:
    who = await somebody(server, an_appointment("R-HV", "R0A"), an_appointment("R-CSW", "350-CSC"))
    await browser.password(who)
    await browser.follow()
    assert browser.heading == "Which role do you work in now?"
    await browser.send("/auth/sign-in/role")
    assert browser.errors == ["Choose the role that you work in now."]
    await browser.send("/auth/sign-in/role", **{"as": "R-CSW@350-CSC"})
    assert "Children's social worker, Bolton children's services" in browser.text
    for purpose in ("P-HOME", "P-AUDIT", "nonsense", ""):
        assert (await browser.send("/auth/sign-in/role", purpose=purpose)).status_code == 400
    await browser.send("/auth/sign-in/role", purpose="P-FAM")
    (session,) = [x.session for x in await server.authority.sessions.of_person(who.person.id)]
    assert (session.role, session.organisation, session.purpose) == ("R-CSW", "350-CSC", "P-FAM")


async def test_a_role_that_is_not_held_cannot_be_chosen(server: Server, browser: Browser) -> None:
    who = await somebody(server, an_appointment("R-HV", "R0A"), an_appointment("R-CSW", "350-CSC"))
    await browser.password(who)
    await browser.follow()
    await browser.send("/auth/sign-in/role", **{"as": "R-CSW@350-CSC"})
    answer = await browser.send("/auth/sign-in/role", purpose="P-AUDIT", **{"as": "R-IGO@QOP"})
    assert browser.heading == "Which role do you work in now?"
    assert answer.status_code == 200
    assert await server.authority.sessions.of_person(who.person.id) == []


async def test_a_purpose_that_asks_for_a_reason_gets_one(server: Server, browser: Browser) -> None:
    who = await somebody(server)
    await browser.password(who)
    await browser.follow()
    for reason in ("", "x", "   short   "):
        answer = await browser.send("/auth/sign-in/role", purpose="P-SAFE-C", reason=reason)
        assert answer.status_code == 400
    await browser.send(
        "/auth/sign-in/role",
        purpose="P-SAFE-C",
        reason="Section 47 enquiry, strategy meeting",
    )
    (session,) = [x.session for x in await server.authority.sessions.of_person(who.person.id)]
    assert session.reason == "Section 47 enquiry, strategy meeting"


async def test_break_glass_is_for_an_hour_and_for_roles_that_may(server: Server) -> None:
    who = await somebody(server, an_appointment("R-GP", "P99000"))
    browser = Browser(server)
    await browser.password(who)
    await browser.follow()
    await browser.send("/auth/sign-in/role", purpose="P-BTG", reason="Unconscious in the surgery")
    (session,) = [x.session for x in await server.authority.sessions.of_person(who.person.id)]
    assert 3500 < session.until - time.time() <= 3600
    visitor = Browser(server)
    await visitor.password(await somebody(server))
    await visitor.follow()
    assert (
        await visitor.send("/auth/sign-in/role", purpose="P-BTG", reason="x" * 20)
    ).status_code == 400


async def test_roles_begin_and_end_on_their_days(server: Server) -> None:
    day = today(time.time())
    over = an_appointment("R-HV", "R0A", ends=day - timedelta(days=1))
    later = an_appointment("R-MW", "RM3", starts=day + timedelta(days=1))
    browser = Browser(server)
    await browser.password(await somebody(server, over, later))
    await browser.follow()
    assert (browser.answer.status_code, browser.heading) == (403, "You have no role at present")
    last = await somebody(server, an_appointment("R-HV", "R0A", ends=day))
    browser = Browser(server)
    await browser.sign_in(last)
    (session,) = [x.session for x in await server.authority.sessions.of_person(last.person.id)]
    assert session.until - time.time() <= 86_400


async def test_who_is_made_inactive_is_out_everywhere(server: Server, browser: Browser) -> None:
    who = await somebody(server)
    await browser.sign_in(who)
    half = Browser(server)
    await half.password(who)
    assert await server.authority.reception.people.deactivate(who.person.id)
    assert leads_to(await browser.open("/auth/account")) == "/auth/sign-in"
    await half.open("/auth/sign-in/role")
    assert half.heading == "Sign in again"
    told = [r.id for r in await server.authority.revocations.since(0)]
    assert f"person:{who.person.id}" in told


async def test_a_sign_in_that_cannot_be_recorded_does_not_happen(
    server: Server, browser: Browser
) -> None:
    from standards.outcome import BUSY, Issue, Refused

    who = await somebody(server)
    await browser.password(who)
    await browser.follow()
    server.ledger.fault = Refused(Issue(BUSY, "no"))
    try:
        answer = await browser.send("/auth/sign-in/role", purpose="P-CARE")
    finally:
        server.ledger.fault = None
    assert (answer.status_code, browser.heading) == (503, "Try again in a moment")
    assert await server.authority.sessions.of_person(who.person.id) == []
    assert browser.cookie == ""
