"""What somebody can see and change of their own, and nobody else."""

from __future__ import annotations

import time

from tests.auth.authority import Server
from tests.auth.people.browsers import (
    GOOD,
    Browser,
    Somebody,
    an_appointment,
    leads_to,
    somebody,
)  # fmt: skip


async def signed_in(server: Server, who: Somebody | None = None) -> tuple[Somebody, Browser]:
    made, browser = who or await somebody(server), Browser(server)
    await browser.sign_in(made)
    return made, browser


async def aged(server: Server, who: Somebody, seconds: float) -> None:
    rows = server.mongo.table("auth", "sessions")
    for x in await server.authority.sessions.of_person(who.person.id):
        earlier = {"$set": {"auth_time": x.session.auth_time - int(seconds)}}
        await rows.update({"_id": x.session.id}, earlier)


async def test_a_password_is_changed_with_the_present_one_and_other_sign_ins_end(
    server: Server,
) -> None:
    who, browser = await signed_in(server)
    _, other = await signed_in(server, who)
    await browser.open("/auth/account/password")
    for given, words in (
        (
            {"password": "wrong one", "new__password": GOOD + "!", "repeat": GOOD + "!"},
            "not your present password",
        ),
        ({"password": "", "new__password": GOOD + "!", "repeat": GOOD + "!"}, "Enter your present"),
        ({"password": GOOD, "new__password": "short", "repeat": "short"}, "at least 12"),
        ({"password": GOOD, "new__password": GOOD, "repeat": GOOD}, "another password than"),
    ):
        assert (await browser.send(**given)).status_code == 400
        assert words in browser.errors[0]
    assert (
        leads_to(await browser.send(password=GOOD, new__password=GOOD + "!", repeat=GOOD + "!"))
        == "/auth/account"
    )
    assert (await browser.open("/auth/account")).status_code == 200
    assert leads_to(await other.open("/auth/account")) == "/auth/sign-in"
    assert (await Browser(server).password(who)).status_code == 400


async def test_the_present_password_cannot_be_guessed_in_a_stolen_session(server: Server) -> None:
    who, browser = await signed_in(server)
    await browser.open("/auth/account/password")
    for n in range(5):
        await browser.send(
            password=f"guess number {n}", new__password=GOOD + "!", repeat=GOOD + "!"
        )
    await browser.send(password=GOOD, new__password=GOOD + "!", repeat=GOOD + "!")
    assert "too many tries" in browser.errors[0]
    assert (
        await server.authority.reception.people.get(who.person.id)
    ).password == who.person.password  # type: ignore[union-attr]


async def test_an_app_is_set_up_used_and_removed(server: Server) -> None:
    who, browser = await signed_in(server)
    start = len(server.ledger.events)
    await browser.open("/auth/account/app")
    who.seed = browser.text.split("Setup key: ")[1].split(" Code from")[0].replace(" ", "")
    await browser.open("/auth/account/app")
    assert who.seed[:4] in browser.answer.text  # the same until it is confirmed
    assert not (await server.authority.reception.people.get(who.person.id)).coded  # type: ignore[union-attr]
    await browser.send(code=who.code())
    assert browser.heading == "Your recovery codes"
    codes = browser.items("tl-codes")
    assert len(codes) == 10
    browser = Browser(server)
    await browser.password(who)
    assert leads_to(browser.answer) == "/auth/sign-in/second"
    await browser.follow()
    assert (
        await browser.send(code=who.code())
    ).status_code == 400  # the step that set it up is used
    assert leads_to(await browser.send(code=codes[0])) == "/auth/sign-in/role"
    await browser.follow()
    await browser.send("/auth/sign-in/role", purpose="P-CARE")
    await browser.open("/auth/account")
    assert "Recovery codes left: 9" in browser.text
    await browser.send("/auth/account/recovery")
    assert codes[1] not in browser.answer.text
    await browser.open("/auth/account")
    assert leads_to(await browser.send("/auth/account/app/remove")) == "/auth/account"
    assert leads_to(await Browser(server).password(who)) == "/auth/sign-in/role"
    words = [
        e["outcomeDesc"]
        for e in server.ledger.events[start:]
        if e["subtype"][0]["code"] == "110137"
    ]
    assert words == [
        "Authenticator app set up.",
        "New recovery codes.",
        "Authenticator app removed.",
    ]
    assert who.seed not in str(server.ledger.events)


async def test_what_lets_others_in_needs_a_recent_sign_in(server: Server) -> None:
    who, browser = await signed_in(server)
    await aged(server, who, 901)
    assert leads_to(await browser.open("/auth/account/app")) == "/auth/sign-in?again=yes"
    await browser.follow()
    assert "Sign in once more" in browser.text
    await browser.send("/auth/sign-in", username=who.person.username, password=GOOD)
    await browser.follow()
    await browser.send("/auth/sign-in/role", purpose="P-CARE")
    assert (await browser.open("/auth/account/app")).status_code == 200


async def test_one_sees_and_ends_ones_own_sign_ins_only(server: Server) -> None:
    who, browser = await signed_in(server)
    _, second = await signed_in(server, who)
    _, third = await signed_in(server, who)
    stranger, theirs = await signed_in(server)
    (foreign,) = [
        x.session.id for x in await server.authority.sessions.of_person(stranger.person.id)
    ]
    await browser.open("/auth/account")
    assert browser.text.count("A browser") >= 3
    assert (
        leads_to(await browser.send("/auth/account/sessions", session=foreign)) == "/auth/account"
    )
    assert (await theirs.open("/auth/account")).status_code == 200
    await browser.open("/auth/account")
    await browser.send("/auth/account/sessions", session="others")
    for ended in (second, third):
        assert leads_to(await ended.open("/auth/account")) == "/auth/sign-in"
    assert (await browser.open("/auth/account")).status_code == 200


async def test_another_role_is_another_session_with_the_same_proof(server: Server) -> None:
    who = await somebody(server, an_appointment("R-HV", "R0A"), an_appointment("R-CSW", "350-CSC"))
    browser = Browser(server)
    await browser.password(who)
    await browser.follow()
    await browser.send("/auth/sign-in/role", **{"as": "R-HV@R0A"})
    await browser.send("/auth/sign-in/role", purpose="P-CARE")
    (before,) = [x.session for x in await server.authority.sessions.of_person(who.person.id)]
    await browser.open("/auth/account/role")
    await browser.send("/auth/account/role", **{"as": "R-CSW@350-CSC"})
    await browser.send("/auth/account/role", purpose="P-FAM")
    assert leads_to(browser.answer) == "/auth/account"
    (after,) = [x.session for x in await server.authority.sessions.of_person(who.person.id)]
    assert (after.role, after.purpose) == ("R-CSW", "P-FAM")
    assert (after.auth_time, after.amr) == (before.auth_time, before.amr)
    assert after.id != before.id


async def test_a_second_factor_that_is_needed_cannot_be_removed(server: Server) -> None:
    desk = server.authority.reception
    who = await somebody(server, an_appointment("R-HV", "R0A"), app=True)
    browser = Browser(server)
    await browser.sign_in(who)
    object.__setattr__(desk, "roles_need_second", frozenset({"R-HV"}))
    try:
        await browser.open("/auth/account")
        await browser.send("/auth/account/app/remove")
        assert "You need a second factor" in browser.errors[0]
    finally:
        object.__setattr__(desk, "roles_need_second", frozenset())
    assert (await desk.people.get(who.person.id)).coded  # type: ignore[union-attr]


async def test_a_role_that_is_ended_ends_its_sign_ins(server: Server) -> None:
    from datetime import timedelta

    from auth.people.reception import today

    who, browser = await signed_in(server)
    yesterday = today(time.time()) - timedelta(days=1)
    await server.authority.reception.people.appoint(who.person.id, an_appointment(ends=yesterday))
    assert leads_to(await browser.open("/auth/account")) == "/auth/sign-in"
