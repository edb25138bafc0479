"""Keys that clients publish: how long they are kept, where they may be, and what makes us ask again."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import httpx
import pytest
from authlib.oauth2.rfc6749.errors import InvalidClientError

from auth import assertion as assertions
from auth.assertion import Assertion
from auth.client import Client
from auth.jwks import ClientKeys, may_publish
from chassis.destinations import allowed
from tests.auth.authority import a_key, public, sign

NOW = 1000.0


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def a_client(url: str = "") -> Client:
    return Client("c", "c", jwks_uri=url or f"https://{uuid.uuid4().hex}.example/jwks")


def shown(key: Any, **header: Any) -> Assertion:
    head = {"alg": "ES384", "kid": key.kid, "typ": "JWT"} | header
    return assertions.read(sign(head, {"iss": "c", "sub": "c"}, key))


async def found(keys: ClientKeys, client: Client, key: Any) -> bool:
    try:
        await keys.find(client, shown(key))
    except InvalidClientError:
        return False
    return True


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("max-age=60", 60),
        ("public, max-age=600", 600),
        ("max-age=99999999", 3600),
        ("", 300),
        ("max-age=never", 300),
    ],
)
async def test_a_set_is_kept_as_long_as_its_owner_says_within_bounds(
    respx_mock: Any, header: str, seconds: float
) -> None:
    clock, key, client = Clock(), a_key(), a_client()
    fetched = respx_mock.get(client.jwks_uri).respond(
        json=public(key), headers={"Cache-Control": header}
    )
    async with httpx.AsyncClient() as http:
        keys = ClientKeys(http, clock=clock)
        assert await found(keys, client, key)
        clock.now += seconds - 1
        assert await found(keys, client, key)
        assert fetched.call_count == 1
        clock.now += 2
        assert await found(keys, client, key)
        assert fetched.call_count == 2


@pytest.mark.parametrize("header", ["no-store", "no-cache", "max-age=0"])
async def test_a_set_that_may_not_be_kept_is_fetched_every_time(
    respx_mock: Any, header: str
) -> None:
    key, client, clock = a_key(), a_client(), Clock()
    fetched = respx_mock.get(client.jwks_uri).respond(
        json=public(key), headers={"Cache-Control": header}
    )
    async with httpx.AsyncClient() as http:
        keys = ClientKeys(http, clock=clock)
        for count in (1, 2, 3):
            clock.now += 1
            assert await found(keys, client, key)
            assert fetched.call_count == count


async def test_a_new_key_is_found_at_its_first_use_and_unknown_ones_ask_once_in_ten_seconds(
    respx_mock: Any,
) -> None:
    clock, old, new, client = Clock(), a_key(kid="old"), a_key(kid="new"), a_client()
    fetched = respx_mock.get(client.jwks_uri).respond(json=public(old))
    async with httpx.AsyncClient() as http:
        keys = ClientKeys(http, clock=clock)
        assert await found(keys, client, old)
        fetched = respx_mock.get(client.jwks_uri).respond(json=public(old, new))
        before = fetched.call_count
        clock.now += 11
        assert await found(keys, client, new)
        assert fetched.call_count == before + 1
        for _ in range(20):
            assert not await found(keys, client, a_key(kid="made-up"))
        assert fetched.call_count == before + 1
        clock.now += 11
        assert not await found(keys, client, a_key(kid="made-up"))
        assert fetched.call_count == before + 2


async def test_a_place_that_gives_nothing_is_left_alone_for_a_moment(respx_mock: Any) -> None:
    clock, key, client = Clock(), a_key(), a_client()
    broken = respx_mock.get(client.jwks_uri).respond(503)
    async with httpx.AsyncClient() as http:
        keys = ClientKeys(http, clock=clock)
        for _ in range(20):
            assert not await found(keys, client, key)
        assert broken.call_count == 1
        respx_mock.get(client.jwks_uri).respond(json=public(key))
        clock.now += 4
        assert await found(keys, client, key)


async def test_askers_at_once_share_one_fetch(respx_mock: Any) -> None:
    key, client = a_key(), a_client()

    async def slowly(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.05)
        return httpx.Response(200, json=public(key), headers={"Cache-Control": "no-store"})

    fetched = respx_mock.get(client.jwks_uri).mock(side_effect=slowly)
    async with httpx.AsyncClient() as http:
        keys = ClientKeys(http)
        assert all(await asyncio.gather(*(found(keys, client, key) for _ in range(20))))
    assert fetched.call_count == 1


@pytest.mark.parametrize(
    ("listed", "url", "may"),
    [
        ("", "https://keys.example/jwks", True),
        ("", "http://127.0.0.1:9/jwks", False),
        ("", "http://keys.example/jwks", False),
        ("https://keys.example", "https://keys.example/jwks", True),
        ("https://keys.example", "https://other.example/jwks", False),
        ("https://*.nhs.example", "https://gp.nhs.example/jwks", True),
        ("https://*.nhs.example", "https://nhs.example.evil.example/jwks", False),
        ("http://127.0.0.1:9", "http://127.0.0.1:9/jwks", True),
        ("http://127.0.0.1:9", "http://127.0.0.1:10/jwks", False),
        ("https://keys.example", "https://keys.example@evil.example/jwks", False),
    ],
)
@pytest.mark.respx(assert_all_called=False)
async def test_keys_are_fetched_only_from_where_the_operator_allows(
    respx_mock: Any, listed: str, url: str, may: bool
) -> None:
    assert may_publish(url, allowed(listed)) is may
    key, client = a_key(), a_client(url)
    respx_mock.get(url).respond(json=public(key))
    async with httpx.AsyncClient() as http:
        assert await found(ClientKeys(http, allowed(listed)), client, key) is may
    assert bool(respx_mock.calls) is may


async def test_a_foreign_jku_and_a_client_without_keys_make_no_request_leave(
    respx_mock: Any,
) -> None:
    key, client = a_key(), a_client()
    async with httpx.AsyncClient() as http:
        keys = ClientKeys(http)
        for jku in ("https://elsewhere.example/jwks", client.jwks_uri + "/", "http://127.0.0.1/"):
            with pytest.raises(InvalidClientError):
                await keys.find(client, shown(key, jku=jku))
        with pytest.raises(InvalidClientError):
            await keys.find(Client("c", "c", kind="public"), shown(key))
    assert not respx_mock.calls
