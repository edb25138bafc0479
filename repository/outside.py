"""One GET to an organisation outside: only to where the community agreed, and no further.

The host is resolved once, every address it has must be one the source may have, and the connection goes
to an address that was checked (a name that answers differently the second time leads nowhere else).
Certificates are checked against the name. Redirects are followed within the source's own list. Nothing
waits without end.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

import httpx

from affinity.sources import Source
from repository.credentials import Credentials

_T = TypeVar("_T")
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
_HOPS = 3
_REDIRECTS = (301, 302, 303, 307, 308)
_AT_ONCE = 16  # connections to one source
_SLOWEST = 10  # how many times longer than the source a reader may take
_PIECE = 128 * 1024
_WORDS: Mapping[int, str] = {
    401: "does not accept the exchange's credentials",
    403: "does not let the exchange have it",
    404: "says that it has no such document",
    410: "says that it no longer has it",
    416: "holds a document of another size",
    429: "is too busy",
}


class UnreachableError(Exception):
    """The source gave no document. The words complete "The organisation that keeps this document …"."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """The IP addresses of a host, by the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(place[4][0]) for place in found))


@dataclass(slots=True)
class Patience:
    """How long a source may be silent, and how long it may take in all, in seconds. Only waiting for
    the source counts, not for the reader whom the bytes are passed on to."""

    silence: float
    left: float

    async def wait(self, answer: Awaitable[_T]) -> _T:
        """What it answers. Raises `UnreachableError` when patience is at an end."""
        clock = asyncio.get_running_loop().time
        begun = clock()
        try:
            async with asyncio.timeout(min(self.silence, self.left)):
                return await answer
        except TimeoutError as fault:
            raise UnreachableError("does not answer in time") from fault
        finally:
            self.left -= clock() - begun


@dataclass(slots=True)
class Fetched:
    """An answer that has begun: its status, its headers, and its bytes as they come, undecoded."""

    status: int
    headers: Mapping[str, str]
    pieces: AsyncIterator[bytes]


class Outside:
    """The way to every source. Close it when done."""

    def __init__(
        self,
        credentials: Mapping[str, Credentials],
        *,
        silence: float,
        seconds: float,
        resolving: Resolve = resolve,
    ) -> None:
        self._credentials = credentials
        self._silence, self._seconds, self._resolve = silence, seconds, resolving
        self._clients: dict[str, httpx.AsyncClient] = {}

    async def close(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            await client.aclose()

    async def get(self, source: Source, url: str, headers: Mapping[str, str]) -> Fetched:
        """GET a URL of this source. The caller exhausts or closes `pieces`.

        Raises `UnreachableError` when the host is not at an allowed address, does not answer in time,
        cannot prove who it is, leads off its list, or answers with anything but the document.
        """
        patience = Patience(self._silence, self._seconds)
        try:
            shown = self._own(source).headers()
        except OSError as fault:
            raise UnreachableError("cannot be asked: our credentials are missing") from fault
        for _ in range(_HOPS + 1):
            if not source.covers(url):
                raise UnreachableError("sends us to an address that is not on the list")
            response = await self._answered(source, url, {**headers, **shown}, patience)
            if response.status_code not in _REDIRECTS:
                return await _judged(response, patience, self._seconds * _SLOWEST)
            await response.aclose()
            url = urljoin(url, response.headers.get("location", ""))
        raise UnreachableError("sends us from one address to the next")

    def _own(self, source: Source) -> Credentials:
        return self._credentials.get(source.organisation, Credentials())

    async def _answered(
        self, source: Source, url: str, headers: Mapping[str, str], patience: Patience
    ) -> httpx.Response:
        said = urlsplit(url)
        host = said.hostname or ""
        port = said.port or (443 if said.scheme == "https" else 80)
        address = await self._address(source, host, port, patience)
        client = self._client(source)
        request = client.build_request(
            "GET",
            httpx.URL(url).copy_with(host=address),
            headers={**headers, "Host": said.netloc},
            extensions={"sni_hostname": host},
        )
        try:
            return await patience.wait(client.send(request, stream=True))
        except httpx.TimeoutException as fault:
            raise UnreachableError("does not answer in time") from fault
        except httpx.HTTPError as fault:
            raise UnreachableError(_why(fault)) from fault

    async def _address(self, source: Source, host: str, port: int, patience: Patience) -> str:
        try:
            found = await patience.wait(self._resolve(host, port))
        except (OSError, UnicodeError) as fault:
            raise UnreachableError("has no address that can be found") from fault
        if not found or not all(source.allows(address) for address in found):
            raise UnreachableError("is at an address that is not on the list")
        return found[0]

    def _client(self, source: Source) -> httpx.AsyncClient:
        """One per source, so that no connection or credential is shared between two of them."""
        if source.base not in self._clients:
            self._clients[source.base] = httpx.AsyncClient(
                verify=self._own(source).context(),
                trust_env=False,
                follow_redirects=False,
                timeout=httpx.Timeout(self._silence),
                limits=httpx.Limits(max_connections=_AT_ONCE, keepalive_expiry=20),
                headers={"User-Agent": "Throughline", "Accept-Encoding": "identity"},
            )
        client = self._clients[source.base]
        client.cookies.clear()  # what one document's answer sets is not told with the next
        return client


async def _judged(response: httpx.Response, patience: Patience, longest: float) -> Fetched:
    """The answer if it carries a document as it is."""
    status = response.status_code
    words = _WORDS.get(status, f"answers with {status}") if status not in (200, 206) else ""
    if not words and response.headers.get("content-encoding", "identity") != "identity":
        words = "sends the document packed, which it was not asked to"
    if words:
        await response.aclose()
        raise UnreachableError(words)
    return Fetched(status, response.headers, _pieces(response, patience, longest))


async def _pieces(
    response: httpx.Response, patience: Patience, longest: float
) -> AsyncIterator[bytes]:
    """The bytes. A reader who takes them too slowly, or not at all, loses the connection after `longest`
    seconds: there are few to each source, and others wait."""
    closing: list[asyncio.Task[None]] = []
    timer = asyncio.get_running_loop().call_later(
        longest, lambda: closing.append(asyncio.ensure_future(response.aclose()))
    )
    coming = response.aiter_raw(_PIECE)
    try:
        while True:
            try:
                piece = await patience.wait(anext(coming, None))
            except httpx.TimeoutException as fault:
                raise UnreachableError("falls silent in the middle of the document") from fault
            except (httpx.HTTPError, httpx.StreamError) as fault:
                words = (
                    "is not waited for any longer"
                    if closing
                    else "breaks off in the middle of the document"
                )
                raise UnreachableError(words) from fault
            if piece is None:
                return
            yield piece
    finally:
        timer.cancel()
        await response.aclose()


def _why(fault: BaseException) -> str:
    inner: BaseException | None = fault
    while inner is not None:
        if isinstance(inner, ssl.SSLError):
            return "cannot be reached safely: TLS fails"
        inner = inner.__cause__ or inner.__context__
    return "cannot be reached"
