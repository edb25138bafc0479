"""Where this server may be made to connect to, and a client that goes nowhere else.

Others name addresses that this server calls: endpoints of subscribers, the keys of clients. Without
care that is a way to make it call anything. So the operator lists what is allowed:

    https://consumer.example            this origin; its addresses must be public
    https://*.nhs.example               every host below this domain, on the default port
    http://127.0.0.1:9000               plain http only where it is listed as such; this names its address
    10.20.0.0/16                        private addresses that listed names may lead to

A name is resolved once, every address that it has must be allowed, and the connection goes to that
very address while TLS still checks the name, so that a name which changes in between leads nowhere.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

import httpcore
import httpx

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
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
        parts = parts_of(url)
        if not self.listed:
            return (
                "This exchange sends no messages: its operators have allowed no endpoint. They list"
                " endpoints in --notify-allow."
            )
        if parts is None:
            return "This is no https URL without user name and fragment."
        if self.covers(url):
            return ""
        origin = f"{parts.scheme}://{parts.netloc}"
        return (
            "The operators of this exchange have not allowed this endpoint; ask them to put"
            f" {origin} into --notify-allow."
        )

    @property
    def listed(self) -> bool:
        """Whether any place is listed."""
        return bool(self.origins or self.domains)

    def covers(self, url: str) -> bool:
        """Whether the URL lies in a listed origin or domain."""
        parts = parts_of(url)
        if parts is None:
            return False
        scheme, host, port = origin_of(parts)
        if (scheme, host, port) in self.origins:
            return True
        below = any(host.endswith("." + domain) for domain in self.domains)
        return scheme == "https" and port == 443 and below

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
        parts = parts_of(item)
        if parts is None or parts.path.strip("/") or parts.query:
            raise ValueError(f"{item} is no origin like https://consumer.example")
        scheme, host, port = origin_of(parts)
        if not host.startswith("*."):
            origins.add((scheme, host, port))
        elif scheme == "https" and port == 443 and host.count(".") >= 2:
            domains.append(host[2:])
        else:
            raise ValueError(f"{item} is no domain like https://*.nhs.example")
    return Allowed(frozenset(origins), tuple(domains), tuple(networks))


def parts_of(url: str) -> SplitResult | None:
    """The parts of a web URL without user name and fragment; None for anything else."""
    if any(c.isspace() or not c.isprintable() for c in url) or "\\" in url:
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    plain = parts.scheme in _PORTS and parts.hostname and "@" not in parts.netloc
    return parts if plain and not parts.fragment else None


def origin_of(parts: SplitResult) -> tuple[str, str, int]:
    """Scheme, host and port of such a URL, as they are compared."""
    host = (parts.hostname or "").rstrip(".").lower()
    return parts.scheme, host, parts.port or _PORTS[parts.scheme]


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


async def looked_up(host: str, port: int) -> Sequence[str]:
    """Every address of a name, from the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(info[4][0]) for info in found]


class _Pinned(httpcore.AsyncNetworkBackend):
    """Connects to the address that was checked, and to no other."""

    def __init__(self, may: Callable[[str, str], bool], resolve: Resolve) -> None:
        self._may, self._resolve = may, resolve
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  the interface of httpcore
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout):
                found = await self._resolve(host, port)
        except (OSError, TimeoutError):
            found = ()
        if not found:
            raise httpcore.ConnectError("The name does not resolve.")
        if not all(self._may(host, one) for one in found):
            raise httpcore.ConnectError("The name leads to an address that is not allowed.")
        return await self._inner.connect_tcp(found[0], port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def guarded(
    may: Callable[[str, str], bool],
    context: ssl.SSLContext,
    *,
    resolve: Resolve = looked_up,
    seconds: float = 5.0,
) -> httpx.AsyncClient:
    """An HTTP client that connects only to addresses that `may(host, address)` allows, follows no
    redirect and heeds no proxy of the environment. A refused address is an `httpx.ConnectError`."""
    transport = httpx.AsyncHTTPTransport(verify=context, trust_env=False)
    # httpx offers no way to hand its pool a network backend; the pool itself does.
    transport._pool = httpcore.AsyncConnectionPool(
        ssl_context=context, max_connections=20, keepalive_expiry=5.0,
        network_backend=_Pinned(may, resolve),
    )  # fmt: skip
    return httpx.AsyncClient(
        transport=transport, trust_env=False, follow_redirects=False, timeout=seconds
    )
