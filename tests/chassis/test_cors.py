"""Pages of registered origins may call the FHIR API and read what it says; others may not."""

from __future__ import annotations

from typing import Any

import pytest

from chassis.cors import Remembered
from standards.outcome import BUSY, Issue, Refused
from tests.auth.authorize.browser import an_app
from tests.running import Exchange

OURS, STRANGE = "https://app.example", "https://evil.example"
ASK = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}


@pytest.mark.asyncio(loop_scope="module")
async def test_a_registered_page_may_read_answers_and_refusals(exchange: Exchange) -> None:
    await an_app(exchange.settings, exchange.mongo)
    async with exchange.as_client() as client:
        good = await client.get("/Patient", params={"family": "x"}, headers={"Origin": OURS})
    bad = await exchange.http.get("/fhir/Patient", headers={"Origin": OURS})
    nowhere = await exchange.http.get("/fhir/Nothing/here", headers={"Origin": OURS})
    assert (good.status_code, bad.status_code, nowhere.status_code) == (200, 401, 404)
    for answer in (good, bad, nowhere):
        assert answer.headers["access-control-allow-origin"] == OURS
        assert "www-authenticate" in answer.headers["access-control-expose-headers"]
        assert "Origin" in answer.headers.get_list("vary")
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.asyncio(loop_scope="module")
async def test_a_browsers_question_is_answered_before_the_token_comes(exchange: Exchange) -> None:
    await an_app(exchange.settings, exchange.mongo)
    for path in ("/fhir/Patient/x", "/fhir/DocumentReference", "/fhir"):
        answer = await exchange.http.options(path, headers={"Origin": OURS} | ASK)
        assert answer.status_code == 204, path
        assert answer.headers["access-control-allow-origin"] == OURS
        assert "authorization" in answer.headers["access-control-allow-headers"]
        assert "if-none-exist" in answer.headers["access-control-allow-headers"]
        assert "PUT" in answer.headers["access-control-allow-methods"]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("origin", [STRANGE, "null", "https://app.example.evil.example", "x\x00"])
async def test_a_strange_page_may_read_nothing(exchange: Exchange, origin: str) -> None:
    await an_app(exchange.settings, exchange.mongo)
    for answer in (
        await exchange.http.options("/fhir/Patient", headers={"Origin": origin} | ASK),
        await exchange.http.get("/fhir/Patient", headers={"Origin": origin}),
    ):
        assert "access-control-allow-origin" not in answer.headers
        assert "Origin" in answer.headers.get_list("vary")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", ["/fhir/metadata", "/fhir/.well-known/smart-configuration"])
async def test_discovery_is_for_pages_of_any_origin(exchange: Exchange, path: str) -> None:
    answer = await exchange.http.get(path, headers={"Origin": STRANGE})
    assert answer.headers.get_list("access-control-allow-origin") == ["*"]
    asked = await exchange.http.options(path, headers={"Origin": STRANGE} | ASK)
    assert asked.status_code == 204
    assert asked.headers.get_list("access-control-allow-origin") == ["*"]


@pytest.mark.asyncio(loop_scope="module")
async def test_the_pages_of_sign_in_are_for_no_other_page(exchange: Exchange) -> None:
    await an_app(exchange.settings, exchange.mongo)
    for path in ("/auth/authorize", "/auth/apps", "/auth/sign-in"):
        answer = await exchange.http.get(path, headers={"Origin": OURS})
        assert "access-control-allow-origin" not in answer.headers


async def test_answers_are_remembered_for_seconds_and_silence_is_not() -> None:
    class Asked:
        def __init__(self) -> None:
            self.asked = 0
            self.answer: Any = True

        async def is_origin(self, origin: str) -> bool:
            self.asked += 1
            if isinstance(self.answer, Exception):
                raise self.answer
            return bool(self.answer)

    now, source = [0.0], Asked()
    known = Remembered(source, lambda: now[0])
    assert await known.is_origin(OURS)
    assert await known.is_origin(OURS)
    assert source.asked == 1
    now[0], source.answer = 11.0, Refused(Issue(BUSY, "away"))
    assert not await known.is_origin(OURS)
    source.answer = True
    assert await known.is_origin(OURS)
