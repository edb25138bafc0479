"""Guessing is slow, whoever guesses and however many at once, and waiting tells nothing."""

from __future__ import annotations

import asyncio
import random
import resource
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator

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
@pytest_asyncio.fixture
async def standing(server: Server, clock: Clock) -> AsyncIterator[Server]:
    """The server with the throttle's time standing still, so that no wait ends on a slow machine."""
    throttle, real = server.authority.reception.throttle, server.authority.reception.throttle.clock
    clock.now = real()
    throttle.clock = clock
    yield server
    throttle.clock = real


async def fields(browser: Browser, username: str) -> dict[str, str]:
    await browser.open("/auth/sign-in")
    csrf = browser.form("/auth/sign-in").xpath(".//input[@name='csrf']")[0].get("value")
    return {"csrf": csrf, "username": username}


async def test_a_locked_user_and_a_locked_name_of_nobody_look_the_same(
    standing: Server, clock: Clock
) -> None:
    who = await somebody(standing)
    start = len(standing.ledger.events)
    seen = []
    for n, username in enumerate((who.person.username, "no-such-user-at-all")):
        browser, found = Browser(standing, f"10.9.0.{n}"), []
        given = await fields(browser, username) | {"password": "not the password"}
        for _ in range(7):
            answer = await browser.http.post("/auth/sign-in", data=given)
            page = answer.text.replace(username, "USER").replace(given["csrf"], "CSRF")
            found.append((answer.status_code, answer.headers.get("retry-after"), page))
        seen.append(found)
    assert seen[0] == seen[1]
    assert [s for s, _, _ in seen[0]] == [400] * 5 + [429] * 2
    assert seen[0][-1][1] == "30"
    # The right password does not open it either, and does not say that it is right.
    browser = Browser(standing, "10.9.0.9")
    assert (await browser.password(who)).status_code == 429
    told = [e.get("outcomeDesc", "") for e in standing.ledger.events[start:]]
    assert sum("locked for a while" in words for words in told) == 2
    clock.now += 31
    assert (await browser.password(who)).status_code == 303


async def test_an_unknown_user_takes_as_long_as_a_wrong_password(server: Server) -> None:
    """Measured in turns of chance, in CPU time of all threads: the medians differ by less than a tenth,
    or by less than the tries of one kind differ among themselves."""
    known = [await somebody(server) for _ in range(4)]
    times: dict[str, list[float]] = {"known": [], "unknown": []}
    browser = Browser(server, "10.9.1.1")
    given = await fields(browser, "")
    for turn in range(16):
        for kind in random.sample(("known", "unknown"), 2):
            name = known[turn % 4].person.username if kind == "known" else f"nobody-{turn % 4}"
            data = given | {"username": name, "password": "not the password"}
            started = time.process_time()
            answer = await browser.http.post("/auth/sign-in", data=data)
            times[kind].append(time.process_time() - started)
            assert answer.status_code == 400
    medians = {kind: statistics.median(found) for kind, found in times.items()}
    low, _, high = statistics.quantiles(times["known"], n=4)
    apart = abs(medians["known"] - medians["unknown"])
    assert apart < max(0.1 * medians["known"], high - low), medians


@pytest.mark.parametrize(
    "each", [10, pytest.param(100, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])]
)
async def test_thousands_of_wrong_passwords_lock_and_leave_the_server_quick(
    standing: Server, each: int
) -> None:
    """From a hundred addresses at once: the name stays locked, others get in, memory does not grow."""
    who, other = await somebody(standing), await somebody(standing)
    browsers = [Browser(standing, f"10.8.{n}.{each}") for n in range(100)]
    given = [await fields(browser, who.person.username) for browser in browsers]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    statuses: Counter[int] = Counter()

    async def guess(browser: Browser, data: dict[str, str]) -> None:
        for n in range(each):
            guessed = data | {"password": f"guess number {n}"}
            answer = await browser.http.post("/auth/sign-in", data=guessed)
            statuses[answer.status_code] += 1

    storm = asyncio.gather(*(guess(b, g) for b, g in zip(browsers, given, strict=True)))
    inside = Browser(standing, "10.7.7.8")
    await inside.sign_in(other)
    await storm
    assert statuses == {400: 5, 429: 100 * each - 5}
    assert (await Browser(standing, "10.7.7.9").password(who)).status_code == 429
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    # In KiB: two hashes at a time, room to breathe, and what the test's own ledger keeps.
    assert grown < 2 * 19 * 1024 + 20 * 1024 + 10 * 100 * each


async def test_one_address_that_tries_many_names_has_to_wait(standing: Server) -> None:
    throttle = standing.authority.reception.throttle
    for _ in range(ADDRESS.free):
        await throttle.attempt(ADDRESS, "10.6.6.6")
    browser, who = Browser(standing, "10.6.6.6"), await somebody(standing)
    assert (await browser.password(who)).status_code == 429
    assert (await Browser(standing, "10.6.6.7").password(who, password=GOOD)).status_code == 303
