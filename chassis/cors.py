"""Cross-origin requests: which pages of other places may call us, and what they may read.

Pages of browser clients may call from the origins that they are registered with (security digest 1.16);
discovery and /metadata are for everyone. No cookies are ever taken along, and refusals carry the headers
as well, because a page could not read what is wrong without them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, MutableMapping
from time import monotonic
from typing import Any, Protocol

from pymongo.errors import PyMongoError
from starlette.types import ASGIApp, Receive, Scope, Send

from standards.outcome import Refused

_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_ALLOWED = "authorization, content-type, accept, prefer, if-match, if-none-match, if-none-exist, x-request-id"
_EXPOSED = (
    "location, etag, last-modified, content-location, www-authenticate, x-request-id, retry-after"
)
_OPEN = ("/fhir/metadata", "/fhir/.well-known/")  # say "*" themselves
_KEPT = 10.0
_MANY = 1000


class Origins(Protocol):
    """The origins of registered browser clients."""

    async def is_origin(self, origin: str) -> bool:
        """May pages of this origin call?"""
        ...


class Remembered:
    """Answers of `Origins`, kept for seconds: a page asks before every kind of request. Where nobody can
    be asked, a page may not read the answer, which is what an unknown one may not either."""

    def __init__(self, origins: Origins, clock: Callable[[], float] = monotonic) -> None:
        self._origins, self._clock = origins, clock
        self._known: OrderedDict[str, tuple[bool, float]] = OrderedDict()

    async def is_origin(self, origin: str) -> bool:
        """As `Origins.is_origin`."""
        known = self._known.get(origin)
        if known is not None and self._clock() < known[1]:
            return known[0]
        try:
            found = await self._origins.is_origin(origin)
        except (PyMongoError, Refused):
            return False
        self._known[origin] = (found, self._clock() + _KEPT)
        self._known.move_to_end(origin)
        if len(self._known) > _MANY:
            self._known.popitem(last=False)
        return found


async def serve(
    app: ASGIApp, origins: Origins | None, scope: Scope, receive: Receive, send: Send
) -> None:
    """Serve a request to the FHIR API: by `app`, with the headers that its page needs, or the answer to
    a browser's question."""
    origin = _header(scope, b"origin")
    path: str = scope["path"]
    if not origin or not path.startswith("/fhir") or path.startswith(_OPEN[1]):
        await app(scope, receive, send)
        return
    everyone = path == _OPEN[0]
    known = everyone or (origins is not None and await origins.is_origin(origin))
    allowed = "*" if everyone else origin
    if scope["method"] == "OPTIONS" and _header(scope, b"access-control-request-method"):
        await _answer(preflight(allowed) if known else {"Vary": "Origin"}, send)
        return
    told = shared(allowed) if known and not everyone else {"Vary": "Origin"}
    extra = [(k.lower().encode(), v.encode()) for k, v in told.items()]

    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *extra]
        await send(message)

    await app(scope, receive, sending)


async def _answer(headers: Mapping[str, str], send: Send) -> None:
    told = [(k.lower().encode(), v.encode()) for k, v in headers.items()]
    await send({"type": "http.response.start", "status": 204, "headers": told})
    await send({"type": "http.response.body", "body": b""})


def _header(scope: Scope, name: bytes) -> str:
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return ""


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
