"""One POST to a place outside: only to where the operator listed, and no further (PIX digest §3.2).

Nothing is allowed unless the operator lists it (`chassis/destinations.py`). Redirects are not followed,
answers are read up to a limit, and all that belongs to one sending has one deadline. Messages to
endpoints and requests for tokens to their authorisation servers go the same way (endpoints.py,
tokens.py).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx

from chassis.destinations import Allowed, Resolve, looked_up, origin_of

LARGEST = 64 * 1024  # of an answer; a message is answered in a few hundred bytes
ENDPOINT = "The endpoint"


class Unsent(Exception):  # noqa: N818  an endpoint that cannot be reached is ordinary
    """A message did not get an answer; the words name nobody and say why. `after` are the seconds that
    the other side asks us to wait."""

    def __init__(self, words: str, after: int = 0) -> None:
        super().__init__(words)
        self.after = after


@dataclass(frozen=True, slots=True)
class Received:
    """What was answered. `after` are the seconds that the other side asks us to wait."""

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


@dataclass(frozen=True, slots=True)
class Wire:
    """The way out. Every POST has a connection of its own, because a pool would share connections
    between names at one address."""

    allowed: Allowed
    context: ssl.SSLContext
    deadline: float = 20.0
    resolve: Resolve = looked_up

    def until(self) -> float:
        """The time of the event loop at which what begins now is given up."""
        return asyncio.get_running_loop().time() + self.deadline

    async def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        until: float,
        who: str = ENDPOINT,
    ) -> Received:
        """POST the body and hand back the answer, whatever its status.

        `until` is what `until()` said when the sending began, `who` the other side in words. Raises
        `Unsent` when the place is not allowed, cannot be reached, or does not answer in time.
        """
        fault = self.allowed.fault(url)
        if fault:
            raise Unsent(fault if who == ENDPOINT else f"{who} is not among the places allowed.")
        try:
            async with asyncio.timeout_at(until):
                return await self._posted(url, body, headers, who)
        except TimeoutError:
            raise self.late(who) from None
        except httpx.ConnectError as fault_:
            tls = isinstance(fault_.__cause__, ssl.SSLError) or "SSL" in str(fault_)
            words = f"TLS failed: the certificate of {_low(who)} or ours was not accepted."
            raise Unsent(words if tls else f"{who} cannot be reached.") from None
        except (httpx.TransportError, OSError, ssl.SSLError):
            words = f"The connection broke before {_low(who)} had answered."
            raise Unsent(words) from None

    def late(self, who: str) -> Unsent:
        """That the other side took too long."""
        return Unsent(f"{who} did not answer within {self.deadline:g} seconds.")

    async def _posted(
        self, url: str, body: bytes, headers: Mapping[str, str], who: str
    ) -> Received:
        parts = urlsplit(url)
        _, host, port = origin_of(parts)
        address = await self._address(host, port, who)
        pinned = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        target = urlunsplit((parts.scheme, pinned, parts.path or "/", parts.query, ""))
        once = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(
            verify=self.context,
            trust_env=False,
            follow_redirects=False,
            limits=once,
            timeout=None,  # noqa: S113  the deadline is around all of it
        ) as client:
            request = client.build_request(
                "POST", target, content=body, headers={"Host": parts.netloc, **headers},
                extensions={"sni_hostname": host},
            )  # fmt: skip
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

    async def _address(self, host: str, port: int, who: str) -> str:
        try:
            found = await self.resolve(host, port)
        except OSError:
            found = ()
        if not found:
            raise Unsent(f"The name of {_low(who)} does not resolve.")
        if not all(self.allowed.address(host, one) for one in found):
            raise Unsent(f"The name of {_low(who)} leads to an address that is not allowed.")
        return found[0]


def _low(who: str) -> str:
    return who[0].lower() + who[1:]


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
