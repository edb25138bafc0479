"""Where a request comes from, when proxies that we trust stand in front. PURE.

A proxy appends the address it was asked from to `X-Forwarded-For`; whatever stands to the left of the
first address that is not a trusted proxy was written by somebody else and is not believed.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network


def networks(text: str) -> tuple[Network, ...]:
    """The networks of a setting, commas between. Raises `ValueError` for what is none."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def client_address(peer: str, forwarded: Iterable[str], trusted: tuple[Network, ...]) -> str:
    """The address behind the trusted proxies: `peer` is who is connected, `forwarded` the values of
    X-Forwarded-For in their order."""
    chain = [part.strip() for value in forwarded for part in value.split(",")]
    here = peer
    while chain and _within(here, trusted):
        before = chain.pop()
        if not _is_address(before):
            break
        here = before
    return here


def _within(address: str, trusted: tuple[Network, ...]) -> bool:
    return _is_address(address) and any(ip_address(address) in network for network in trusted)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
