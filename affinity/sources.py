"""Who may hold documents outside the exchange, and where: the list that retrieval is bound to. PURE."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Literal
from urllib.parse import SplitResult, urlsplit

Mechanism = Literal["proxy", "direct"]
Network = IPv4Network | IPv6Network
_MECHANISMS: Mapping[str, Mechanism] = {"proxy": "proxy", "direct": "direct"}
_PORTS = {"http": 80, "https": 443}
_URL = re.compile(r"[!-~]{1,2000}")
# A dot segment, a slash or a backslash in disguise could lead out of the agreed folder.
_DISGUISED = re.compile(r"%2e|%2f|%5c|\\|%00", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Source:
    """One organisation's documents below one address.

    `proxy`: the exchange fetches them with its own credentials for whoever may see them; `direct`: the
    reader goes there itself. `networks` are the private networks that the host may resolve to; without
    any, public addresses only.
    """

    organisation: str
    base: str
    mechanism: Mechanism
    networks: tuple[Network, ...] = ()
    why: str = ""

    def covers(self, url: str) -> bool:
        """Whether this URL lies below the agreed address: same scheme, host and port, and in its folder."""
        said, ours = parts(url), parts(self.base)
        return (
            said is not None
            and ours is not None
            and _origin(said) == _origin(ours)
            and said.path.startswith(ours.path)
        )

    def allows(self, address: str) -> bool:
        """Whether the host may be at this IP address."""
        try:
            found: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        if any(found.version == n.version and found in n for n in self.networks):
            return True
        return found.is_global and not found.is_multicast and not _embeds(found)


def _embeds(address: IPv4Address | IPv6Address) -> bool:
    """Whether an IPv6 address carries an IPv4 one that a relay would reach (6to4, Teredo, NAT64)."""
    if isinstance(address, IPv4Address):
        return False
    translated = IPv6Network("64:ff9b::/96")
    return address.sixtofour is not None or address.teredo is not None or address in translated


def parts(url: str) -> SplitResult | None:
    """A URL taken apart, or None when it is none that may be fetched: absolute http or https, no user,
    no fragment, no step out of its folder."""
    if not _URL.fullmatch(url) or _DISGUISED.search(url):
        return None
    try:
        said = urlsplit(url)
        port = said.port
    except ValueError:
        return None
    if said.scheme not in _PORTS or not said.hostname or port == 0:
        return None
    if "@" in said.netloc or "#" in url or {".", ".."} & set(said.path.split("/")):
        return None
    return said


def _origin(said: SplitResult) -> tuple[str, str, int]:
    return said.scheme, (said.hostname or "").lower(), said.port or _PORTS[said.scheme]


def read(rows: Iterable[Mapping[str, str]], organisations: Container[str]) -> tuple[Source, ...]:
    """The rows of `retrieval_sources.csv`. Raises `ValueError`, in words that name the row, for an
    organisation that the pack does not have and for an address, mechanism or network that is none."""
    return tuple(_source(row, n, organisations) for n, row in enumerate(rows, start=2))


def _source(row: Mapping[str, str], number: int, organisations: Container[str]) -> Source:
    where = f"retrieval_sources.csv line {number}"
    if row["organisation"] not in organisations:
        raise ValueError(f"{where}: the pack has no organisation {row['organisation']!r}")
    base = parts(row["base"])
    if base is None or base.query or not base.path.endswith("/"):
        raise ValueError(
            f"{where}: base is a URL like https://documents.example/fhir/, to its last /"
        )
    if row["mechanism"] not in _MECHANISMS:
        raise ValueError(f"{where}: mechanism is {' or '.join(_MECHANISMS)}")
    try:
        networks = tuple(ip_network(n) for n in row["networks"].split("|") if n)
    except ValueError as fault:
        raise ValueError(f"{where}: {fault}") from fault
    if base.scheme == "http" and not networks:
        raise ValueError(f"{where}: over the public net documents are fetched by https only")
    return Source(
        row["organisation"], row["base"], _MECHANISMS[row["mechanism"]], networks, row["why"]
    )
