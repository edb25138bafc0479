"""Sending a message to the endpoint that a subscriber named (PIX digest §3.2).

Nothing is allowed unless the operator lists it (`chassis/destinations.py`). Redirects are not followed,
answers are read up to a limit, and the whole exchange has a deadline.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx

from chassis.destinations import Allowed, Resolve, looked_up, origin_of

LARGEST = 64 * 1024  # of an answer; a message is answered in a few hundred bytes


class Unsent(Exception):  # noqa: N818  an endpoint that cannot be reached is ordinary
    """A message did not get an answer; the words name nobody and say why."""


@dataclass(frozen=True, slots=True)
class Received:
    """What an endpoint answered. `after` are the seconds that it asks us to wait."""

    status: int
    media: str
    body: bytes
    after: int = 0


def trusting(trust: Path | None = None, certificate: Path | None = None) -> ssl.SSLContext:
    """How endpoints are authenticated: by the system's authorities or those in the PEM file `trust`;
    and how we are: by the PEM file `certificate`, which holds a certificate and its key.

    Raises `OSError` or `ssl.SSLError` for files that cannot be used.
    """
    made = ssl.create_default_context(cafile=str(trust) if trust else None)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate:
        made.load_cert_chain(certificate)
    return made


class Sender:
    """Sends one body to one endpoint. Every sending has a connection of its own, because a pool would
    share connections between names at one address."""

    def __init__(
        self,
        allowed_: Allowed,
        context: ssl.SSLContext,
        *,
        deadline: float = 20.0,
        resolve: Resolve = looked_up,
    ) -> None:
        self.allowed, self.context = allowed_, context
        self.deadline, self.resolve = deadline, resolve

    async def send(self, url: str, body: bytes, media: str) -> Received:
        """POST the body and hand back the answer, whatever its status.

        Raises `Unsent` when the endpoint is not allowed, cannot be reached, or does not answer in time.
        """
        fault = self.allowed.fault(url)
        if fault:
            raise Unsent(fault)
        try:
            async with asyncio.timeout(self.deadline):
                return await self._sent(url, body, media)
        except TimeoutError:
            raise Unsent(f"The endpoint did not answer within {self.deadline:g} seconds.") from None
        except httpx.ConnectError as fault_:
            tls = isinstance(fault_.__cause__, ssl.SSLError) or "SSL" in str(fault_)
            words = "TLS with the endpoint failed: its certificate or ours was not accepted."
            raise Unsent(words if tls else "The endpoint cannot be reached.") from None
        except (httpx.TransportError, OSError, ssl.SSLError):
            raise Unsent("The connection broke before the endpoint had answered.") from None

    async def _sent(self, url: str, body: bytes, media: str) -> Received:
        parts = urlsplit(url)
        _, host, port = origin_of(parts)
        address = await self._address(host, port)
        pinned = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        target = urlunsplit((parts.scheme, pinned, parts.path or "/", parts.query, ""))
        headers = {"Host": parts.netloc, "Content-Type": media, "Accept": media}
        once = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(
            verify=self.context,
            trust_env=False,
            follow_redirects=False,
            limits=once,
            timeout=self.deadline,
        ) as client:
            request = client.build_request(
                "POST", target, content=body, headers=headers, extensions={"sni_hostname": host}
            )
            answer = await client.send(request, stream=True)
            try:
                return Received(
                    answer.status_code,
                    answer.headers.get("content-type", ""),
                    await _read(answer),
                    _after(answer.headers.get("retry-after", "")),
                )
            finally:
                await answer.aclose()

    async def _address(self, host: str, port: int) -> str:
        try:
            found = await self.resolve(host, port)
        except OSError:
            found = ()
        if not found:
            raise Unsent("The name of the endpoint does not resolve.")
        if not all(self.allowed.address(host, one) for one in found):
            words = "The name of the endpoint leads to an address that is not allowed."
            raise Unsent(words)
        return found[0]


async def _read(answer: httpx.Response) -> bytes:
    """The body up to the limit; of a longer one nothing is used."""
    held = bytearray()
    async for chunk in answer.aiter_raw():
        held += chunk
        if len(held) > LARGEST:
            return b""
    return bytes(held)


def _after(said: str) -> int:
    return min(int(said), 3600) if said.isdecimal() and len(said) < 8 else 0
