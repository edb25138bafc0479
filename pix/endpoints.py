"""Where messages may be sent, and sending one there.

A subscriber names an endpoint, and this server calls it: without care that is a way to make it call
anything (PIX digest §3.2). So nothing is allowed unless the operator lists it:

    https://consumer.example            this origin; its addresses must be public
    https://*.nhs.example               every host below this domain, on the default port
    http://127.0.0.1:9000               plain http only where it is listed as such; this names its address
    10.20.0.0/16                        private addresses that listed names may lead to

A name is resolved once, every address that it has must be allowed, and the connection goes to that
very address while TLS still checks the name, so that a name which changes in between leads nowhere.
Redirects are not followed, answers are read up to a limit, and the whole exchange has a deadline.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit, urlunsplit

import httpx

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
LARGEST = 64 * 1024  # of an answer; a message is answered in a few hundred bytes
_PORTS = {"https": 443, "http": 80}
# Addresses that carry another one inside them and would pass for public.
_CARRIERS = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "2002::/16", "2001::/32")))


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the operator lists: origins, domains whose hosts are all allowed, private networks."""

    origins: frozenset[tuple[str, str, int]] = frozenset()
    domains: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()

    def fault(self, url: str) -> str:
        """Why messages may not be sent there, in words for the subscriber; "" when they may."""
        if not (self.origins or self.domains):
            return "This exchange sends no messages: its operators have allowed no endpoint."
        parts = _parts(url)
        if parts is None:
            return "This is no https URL without user name and fragment."
        scheme, host, port = _origin(parts)
        if (scheme, host, port) in self.origins:
            return ""
        below = any(host.endswith("." + domain) for domain in self.domains)
        if scheme == "https" and port == 443 and below:
            return ""
        return "The operators of this exchange have not allowed this endpoint; ask them to."

    def address(self, host: str, said: str) -> bool:
        """Whether a connection for `host` may go to this address."""
        found: Address = ipaddress.ip_address(said.partition("%")[0])
        inside = getattr(found, "ipv4_mapped", None)
        found = inside or found
        if any(found in network for network in self.networks if network.version == found.version):
            return True
        if any(host in (h, f"[{h}]") for _, h, _ in self.origins if _literal(h) == found):
            return True
        if host == "localhost" and found.is_loopback:
            return any(h == "localhost" for _, h, _ in self.origins)
        carried = any(found in c for c in _CARRIERS if c.version == found.version)
        return found.is_global and not found.is_multicast and not carried


def allowed(text: str) -> Allowed:
    """The list in a setting, its items apart by commas or blanks.

    Raises `ValueError` naming the item that is none of the forms above.
    """
    origins: set[tuple[str, str, int]] = set()
    domains: list[str] = []
    networks: list[Network] = []
    for item in text.replace(",", " ").split():
        if "://" not in item:
            try:
                networks.append(ipaddress.ip_network(item))
            except ValueError:
                raise ValueError(f"{item} is neither an origin nor a network") from None
            continue
        parts = _parts(item)
        if parts is None or parts.path.strip("/") or parts.query:
            raise ValueError(f"{item} is no origin like https://consumer.example")
        scheme, host, port = _origin(parts)
        if not host.startswith("*."):
            origins.add((scheme, host, port))
        elif scheme == "https" and port == 443 and host.count(".") >= 2:
            domains.append(host[2:])
        else:
            raise ValueError(f"{item} is no domain like https://*.nhs.example")
    return Allowed(frozenset(origins), tuple(domains), tuple(networks))


def _parts(url: str) -> SplitResult | None:
    if any(c.isspace() or not c.isprintable() for c in url) or "\\" in url:
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    plain = parts.scheme in _PORTS and parts.hostname and "@" not in parts.netloc
    return parts if plain and not parts.fragment else None


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    host = (parts.hostname or "").rstrip(".").lower()
    return parts.scheme, host, parts.port or _PORTS[parts.scheme]


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


# -- sending --------------------------------------------------------------------------------------


class Unsent(Exception):  # noqa: N818  an endpoint that cannot be reached is ordinary
    """A message did not get an answer; the words name nobody and say why."""


@dataclass(frozen=True, slots=True)
class Received:
    """What an endpoint answered. `after` are the seconds that it asks us to wait."""

    status: int
    media: str
    body: bytes
    after: int = 0


async def looked_up(host: str, port: int) -> Sequence[str]:
    """Every address of a name, from the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(info[4][0]) for info in found]


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
        _, host, port = _origin(parts)
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
