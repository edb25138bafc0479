"""A session: a cookie that only the browser knows, and limits that hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from starlette.requests import Request
from starlette.responses import Response

from auth.people.sessions import Sessions, cookie_name
from auth.revocations import Revocations
from chassis.mongo import Mongo
from chassis.settings import Settings

SOMEBODY: dict[str, Any] = {
    "name": "Ann Example", "organisation": "R0A", "role": "R-HV", "purpose": "P-CARE",
    "amr": ("pwd", "otp", "mfa"), "acr": "mfa",
}  # fmt: skip


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def asking(cookie: str, secure: bool = True) -> Request:
    pair = f"{cookie_name(secure)}={cookie}".encode()
    return Request({"type": "http", "method": "GET", "path": "/", "headers": [(b"cookie", pair)]})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture
async def sessions(mongo: Mongo, tmp_path: Path, clock: Clock) -> Sessions:
    settings = Settings(public_url="https://exchange.test", data=tmp_path)
    revocations = Revocations(mongo)
    await revocations.prepare()
    made = Sessions(settings, mongo, revocations, clock=clock)
    await made.prepare()
    return made


async def test_a_session_is_found_by_its_cookie_and_by_nothing_else(
    sessions: Sessions, mongo: Mongo
) -> None:
    session, cookie = await sessions.open(person="p1", **SOMEBODY)
    assert await sessions.of(asking(cookie)) == session
    for other in ("", session.id, "x" * 43, cookie[:-1], cookie + "=", cookie.swapcase()):
        assert await sessions.of(asking(other)) is None
    row = await mongo.table("auth", "sessions").one({"_id": session.id})
    assert cookie not in str(row)


async def test_a_session_left_idle_is_over_and_use_keeps_it(
    sessions: Sessions, clock: Clock
) -> None:
    session, cookie = await sessions.open(person="p2", **SOMEBODY)
    for _ in range(3):
        clock.now += 29 * 60
        assert await sessions.of(asking(cookie)) == session
        assert await sessions.live(session.id) == session
    clock.now += 31 * 60
    assert await sessions.of(asking(cookie)) is None
    assert await sessions.live(session.id) is None
    assert await sessions.of_person("p2") == []


async def test_no_use_keeps_a_session_beyond_twelve_hours(sessions: Sessions, clock: Clock) -> None:
    _, cookie = await sessions.open(person="p3", **SOMEBODY)
    for _ in range(36):
        clock.now += 19 * 60
        assert await sessions.of(asking(cookie)) is not None
    clock.now += 36 * 60
    assert await sessions.of(asking(cookie)) is None


async def test_a_session_ends_with_the_role_that_it_is_in(sessions: Sessions, clock: Clock) -> None:
    session, _ = await sessions.open(person="p4", until=clock.now + 60, **SOMEBODY)
    assert session.until == clock.now + 60
    clock.now += 61
    assert await sessions.live(session.id) is None


async def test_ending_a_session_is_told_to_every_process(
    sessions: Sessions, mongo: Mongo, clock: Clock
) -> None:
    session, cookie = await sessions.open(person="p5", **SOMEBODY)
    assert await sessions.end(session.id)
    assert not await sessions.end(session.id)
    assert await sessions.of(asking(cookie)) is None
    told = [row.id for row in await Revocations(mongo).since(0)]
    assert told.count(f"session:{session.id}") == 1


async def test_all_sessions_of_a_person_end_but_the_one_that_asks(sessions: Sessions) -> None:
    kept, cookie = await sessions.open(person="p6", **SOMEBODY)
    for _ in range(3):
        await sessions.open(person="p6", **SOMEBODY)
    other, other_cookie = await sessions.open(person="p7", **SOMEBODY)
    assert await sessions.end_all("p6", but=kept.id) == 3
    assert [x.session.id for x in await sessions.of_person("p6")] == [kept.id]
    assert await sessions.of(asking(cookie)) == kept
    assert await sessions.of(asking(other_cookie)) == other


async def test_signing_in_once_more_keeps_the_session_and_changes_its_cookie(
    sessions: Sessions, clock: Clock
) -> None:
    session, old = await sessions.open(person="p8", **SOMEBODY)
    clock.now += 100
    renewed = await sessions.renew(session.id, auth_time=int(clock.now), amr=("hwk",), acr="mfa")
    assert renewed is not None
    again, new = renewed
    assert (again.id, again.auth_time, again.amr) == (session.id, int(clock.now), ("hwk",))
    assert await sessions.of(asking(old)) is None
    assert await sessions.of(asking(new)) == again


async def test_the_cookie_is_for_this_host_over_https_and_no_script(sessions: Sessions) -> None:
    answer = Response()
    sessions.give(answer, "c" * 43)
    told = answer.headers["set-cookie"]
    assert told.startswith("__Host-throughline=")
    for part in ("HttpOnly", "Secure", "SameSite=lax", "Path=/"):
        assert part in told
    assert "Domain" not in told
    assert "Max-Age" not in told
