"""Cross-origin requests: which pages of other places may call us, and what they may read. PURE but for
`Origins`, which asks.

Pages of browser clients may call from the origins that they are registered with (security digest 1.16);
discovery and /metadata are for everyone. No cookies are ever taken along, and refusals carry the headers
as well, because a page could not read what is wrong without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_ALLOWED = "authorization, content-type, accept, prefer, if-match, if-none-match, if-none-exist, x-request-id"
_EXPOSED = (
    "location, etag, last-modified, content-location, www-authenticate, x-request-id, retry-after"
)


class Origins(Protocol):
    """The origins of registered browser clients."""

    async def is_origin(self, origin: str) -> bool:
        """May pages of this origin call?"""
        ...


def shared(origin: str) -> Mapping[str, str]:
    """The headers that let a page of this origin read an answer."""
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": _EXPOSED,
        "Vary": "Origin",
    }


def preflight(origin: str) -> Mapping[str, str]:
    """The headers that answer a browser's question before a request of this origin."""
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": _METHODS,
        "Access-Control-Allow-Headers": _ALLOWED,
        "Access-Control-Max-Age": "600",
        "Vary": "Origin",
    }
