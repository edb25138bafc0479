"""Guessing is slow, whoever guesses and however many at once, and waiting tells nothing."""

from __future__ import annotations

import asyncio
import resource
import statistics
import time

import pytest
import pytest_asyncio

from auth.people.throttle import ADDRESS, CODE, USERNAME, Limit, Throttle
from chassis.mongo import Mongo
from tests.auth.authority import Server
from tests.auth.people.browsers import GOOD, Browser, somebody


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture
async def throttle(mongo: Mongo, clock: Clock) -> Throttle:
    made = Throttle(mongo, clock=clock)
    await made.prepare()
    return made


async def test_the_wait_doubles_with_each_failure_up_to_an_hour(
    throttle: Throttle, clock: Clock
) -> None:
    waits = []
    for _ in range(5):
        assert (await throttle.attempt(USERNAME, "a")).allowed
    for _ in range(12):
        verdict = await throttle.attempt(USERNAME, "a")
        assert not verdict.allowed
        waits.append(round(verdict.seconds))
        clock.now += verdict.seconds + 0.1
        assert (await throttle.attempt(USERNAME, "a")).allowed
    assert waits == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600, 3600, 3600]


async def test_a_success_forgets_and_so_does_a_day(throttle: Throttle, clock: Clock) -> None:
    for _ in range(5):
        await throttle.attempt(CODE, "b")
    await throttle.succeeded(CODE, "b")
    assert (await throttle.attempt(CODE, "b")).allowed
    for _ in range(5):
        await throttle.attempt(CODE, "b")
    assert not (await throttle.attempt(CODE, "b")).allowed
    clock.now += 86_401
    for _ in range(5):
        assert (await throttle.attempt(CODE, "b")).allowed
    assert not (await throttle.attempt(CODE, "b")).allowed


async def test_a_thousand_guesses_at_once_are_a_thousand_attempts(throttle: Throttle) -> None:
    verdicts = await asyncio.gather(*(throttle.attempt(USERNAME, "c") for _ in range(1000)))
    assert sum(v.allowed for v in verdicts) == 5
    assert sum(v.locking for v in verdicts) == 1


async def test_a_restart_and_another_process_forgive_nobody(
    throttle: Throttle, mongo: Mongo, clock: Clock
) -> None:
    for _ in range(5):
        await throttle.attempt(USERNAME, "d")
    assert not (await Throttle(mongo, clock=clock).attempt(USERNAME, "d")).allowed


async def test_what_succeeds_does_not_count_against_its_address(throttle: Throttle) -> None:
    few = Limit("few", free=3, first=10, longest=100)
    for _ in range(10):
        assert (await throttle.attempt(few, "10.0.0.1")).allowed
        await throttle.pardoned(few, "10.0.0.1")
    for _ in range(3):
        assert (await throttle.attempt(few, "10.0.0.1")).allowed
    assert not (await throttle.attempt(few, "10.0.0.1")).allowed


async def test_the_store_knows_no_name(throttle: Throttle, mongo: Mongo) -> None:
    await throttle.attempt(USERNAME, "somebody.known")
    rows = await mongo.table("auth", "throttles").many({})
    assert rows
    assert "somebody" not in str(rows)


# -- through the pages ---------------------------------------------------------------------------------------
async def test_a_locked_user_and_a_locked_name_of_nobody_look_the_same(server: Server) -> None:
    who = await somebody(server)
    seen = []
    for n, username in enumerate((who.person.username, "no-such-user-at-all")):
        browser = Browser(server, f"10.9.0.{n}")
        statuses = []
        await browser.open("/auth/sign-in")
        for _ in range(7):
            answer = await browser.send(
                "/auth/sign-in", username=username, password="not the password"
            )
            statuses.append((answer.status_code, tuple(browser.errors)))
        seen.append(statuses)
    assert seen[0] == seen[1]
    assert [s for s, _ in seen[0]] == [400] * 5 + [429] * 2
    # The right password does not open it either, and does not say that it is right.
    browser = Browser(server, "10.9.0.9")
    assert (await browser.password(who)).status_code == 429
    told = [e.get("outcomeDesc", "") for e in server.ledger.events]
    assert sum("locked for a while" in words for words in told) == 2


async def test_an_unknown_user_takes_as_long_as_a_wrong_password(server: Server) -> None:
    """Measured, interleaved: the medians differ by less than a tenth of what a hash takes."""
    known = [await somebody(server) for _ in range(5)]
    times: dict[str, list[float]] = {"known": [], "unknown": []}
    browser = Browser(server, "10.9.1.1")
    await browser.open("/auth/sign-in")
    for turn in range(20):
        for kind in ("known", "unknown"):
            name = known[turn % 5].person.username if kind == "known" else f"nobody-{turn % 5}"
            started = time.perf_counter()
            answer = await browser.send("/auth/sign-in", username=name, password="not the password")
            times[kind].append(time.perf_counter() - started)
            assert answer.status_code == 400
    medians = {kind: statistics.median(found) for kind, found in times.items()}
    spread = statistics.median(abs(t - medians["known"]) for t in times["known"])
    assert abs(medians["known"] - medians["unknown"]) < max(0.1 * medians["known"], 2 * spread), (
        medians
    )


@pytest.mark.timeout(170)
async def test_ten_thousand_wrong_passwords_lock_and_leave_the_server_quick(server: Server) -> None:
    """From a hundred addresses at once: the name stays locked, others get in, memory does not grow."""
    who, other = await somebody(server), await somebody(server)
    browsers = [Browser(server, f"10.8.{n}.1") for n in range(100)]
    for browser in browsers:
        await browser.open("/auth/sign-in")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    looked_at = 0

    async def guess(browser: Browser, count: int) -> None:
        nonlocal looked_at
        fields = {
            "csrf": browser.form("/auth/sign-in").xpath(".//input[@name='csrf']")[0].get("value")
        }
        for n in range(count):
            answer = await browser.http.post(
                "/auth/sign-in",
                data=fields | {"username": who.person.username, "password": f"guess number {n}"},
            )
            looked_at += answer.status_code == 400
            assert answer.status_code in (400, 429)

    storm = asyncio.gather(*(guess(browser, 100) for browser in browsers))
    waits = []
    for _ in range(10):
        await asyncio.sleep(1)
        started = time.perf_counter()
        answer = await Browser(server, "10.7.7.7").open("/auth/sign-in")
        waits.append(time.perf_counter() - started)
        assert answer.status_code == 200
    inside = Browser(server, "10.7.7.8")
    await inside.sign_in(other)
    await storm
    # Five are free; a wait may end while the storm lasts, and each end lets one more through.
    assert looked_at <= 8
    assert (await Browser(server, "10.7.7.9").password(who)).status_code == 429
    assert statistics.median(waits) < 5
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    assert grown < 200 * 1024  # KiB; the events that the test's own ledger keeps are most of it


async def test_one_address_that_tries_many_names_has_to_wait(server: Server) -> None:
    throttle = server.authority.reception.throttle
    for _ in range(ADDRESS.free):
        await throttle.attempt(ADDRESS, "10.6.6.6")
    browser, who = Browser(server, "10.6.6.6"), await somebody(server)
    assert (await browser.password(who)).status_code == 429
    assert (await Browser(server, "10.6.6.7").password(who, password=GOOD)).status_code == 303
