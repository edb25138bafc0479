"""A guarded client connects to what was checked and to nothing else."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx
import pytest

from chassis.destinations import Allowed, allowed, guarded


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server on this machine that redirects; its port, and the heads of what it was asked."""
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(
            b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n"
            b"Connection: close\r\n\r\n"
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], asked


def resolving(*addresses: str) -> object:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolve


def client(listed: Allowed, *addresses: str) -> httpx.AsyncClient:
    context = ssl.create_default_context()
    if not addresses:
        return guarded(listed.address, context)
    return guarded(listed.address, context, resolve=resolving(*addresses))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "addresses",
    [
        ("127.0.0.1",),
        ("10.1.2.3",),
        ("169.254.169.254",),
        ("::1",),
        ("::ffff:127.0.0.1",),
        ("64:ff9b::7f00:1",),
        ("0.0.0.0",),
        ("203.0.113.9", "127.0.0.1"),
        (),
    ],
    ids=str,
)
async def test_a_name_that_leads_inside_is_not_connected_to(addresses: tuple[str, ...]) -> None:
    async with listening() as (port, asked):
        nowhere = addresses or ("192.168.0.1",)
        async with client(Allowed(), *nowhere) as http:
            with pytest.raises(httpx.ConnectError):
                await http.get(f"http://public.example:{port}/")
        assert asked == []


async def test_a_literal_address_inside_is_not_connected_to() -> None:
    async with listening() as (port, asked), client(Allowed()) as http:
        for host in ("127.0.0.1", "localhost", "[::1]", "2130706433"):
            with pytest.raises(httpx.ConnectError):
                await http.get(f"http://{host}:{port}/")
        assert asked == []


async def test_a_listed_network_is_connected_to_under_its_name_and_no_redirect_is_followed() -> (
    None
):
    async with listening() as (port, asked):
        listed = allowed("https://keys.example 127.0.0.0/8")
        async with client(listed, "127.0.0.1") as http:
            answer = await http.get(f"http://keys.example:{port}/jwks")
        assert answer.status_code == 302
        (head,) = asked
        assert head.startswith(b"GET /jwks HTTP/1.1\r\n")
        assert f"host: keys.example:{port}".encode() in head.lower()


async def test_a_name_that_does_not_resolve_is_a_connection_that_failed() -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        raise OSError("no such name")

    http = guarded(Allowed().address, ssl.create_default_context(), resolve=resolve)
    async with http:
        with pytest.raises(httpx.ConnectError, match="resolve"):
            await http.get("https://nowhere.example/")
