"""The public keys of a client: registered with it, or fetched from the one URL it registered.

A fetched set is kept no longer than its `Cache-Control` allows and fetched again once for an unknown
`kid`; a URL that gave nothing is left alone for a moment, so that nobody can make this server hammer
it. The URL's host must be one that the operator lists, or, where none is listed, have public addresses
only; no redirect is followed. So nobody can lead this server to an address of their choice.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import httpx
import orjson
from joserfc.jwk import ECKey, RSAKey

from auth import assertion as assertions
from auth.assertion import Assertion
from auth.client import Client
from auth.public_keys import check_jwks, fetchable
from chassis.destinations import Allowed

_SECONDS = 5.0
_LARGEST = 256 * 1024
_LONGEST_KEPT = 3600.0
_KEPT = 300.0
_UNKNOWN_KID_EVERY = 10.0
_FAILED_KEPT = 3.0
_CLIENTS = 1000
_NOTHING_LISTED = Allowed()


@dataclass(slots=True)
class _Place:
    """What is known of one URL. `keys` are None after it gave nothing usable."""

    one: asyncio.Lock = field(default_factory=asyncio.Lock)
    keys: Sequence[Mapping[str, Any]] | None = None
    at: float = float("-inf")
    until: float = float("-inf")


def may_publish(url: str, listed: Allowed) -> bool:
    """May a client publish its keys at this URL? PURE."""
    if listed.listed:
        return fetchable(url) and listed.covers(url)
    return fetchable(url) and url.startswith("https:")


class ClientKeys:
    """Finds the key that must verify an assertion. `http` must connect only where `listed` allows
    (`chassis.destinations.guarded`)."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        listed: Allowed = _NOTHING_LISTED,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._http, self._listed, self._clock = http, listed, clock
        self._places: OrderedDict[str, _Place] = OrderedDict()

    async def find(self, client: Client, assertion: Assertion) -> RSAKey | ECKey:
        """The client's one key for this assertion. Raises `InvalidClientError` when there is none."""
        assertions.check_jku(assertion, client)
        if client.jwks is not None:
            found = assertions.choose(assertion, client.jwks["keys"])
        elif not client.jwks_uri:
            assertions.refuse("The client has no keys; it authenticates in another way.")
        else:
            found = assertions.choose(assertion, await self._set(client.jwks_uri, fresh=False))
            if found is None:
                found = assertions.choose(assertion, await self._set(client.jwks_uri, fresh=True))
        if found is None:
            assertions.refuse(
                "The client's JWK Set has no key with the assertion's kid and algorithm."
            )
        return found

    async def _set(self, url: str, *, fresh: bool) -> Sequence[Mapping[str, Any]]:
        place = self._places.setdefault(url, _Place())
        self._places.move_to_end(url)
        if len(self._places) > _CLIENTS:
            self._places.popitem(last=False)
        asked = self._clock()
        async with place.one:
            now = self._clock()
            # Whoever waited while another fetched takes what that one found.
            known = place.at >= asked or now < place.until
            if not known or (fresh and now - place.at > _UNKNOWN_KID_EVERY):
                place.keys, kept = await self._fetched(url)
                place.at = self._clock()
                place.until = place.at + kept
        if place.keys is None:
            assertions.refuse("The client's registered JWK Set URL gave no usable JWK Set.")
        return place.keys

    async def _fetched(self, url: str) -> tuple[Sequence[Mapping[str, Any]] | None, float]:
        """The keys, or None, and for how many seconds to keep that."""
        nothing = None, _FAILED_KEPT
        if not may_publish(url, self._listed):
            return nothing
        body = b""
        try:
            async with (
                asyncio.timeout(_SECONDS),
                self._http.stream(
                    "GET",
                    url,
                    headers={"Accept": "application/json"},
                    timeout=_SECONDS,
                    follow_redirects=False,
                ) as answer,
            ):
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > _LARGEST:
                        return nothing
                found = orjson.loads(body) if answer.status_code == 200 else None
                kept = _life(answer.headers.get("cache-control", ""))
        except (httpx.HTTPError, ValueError, TimeoutError):
            return nothing
        if not isinstance(found, dict) or check_jwks(found):
            return nothing
        return found["keys"], kept


def _life(cache_control: str) -> float:
    """For how many seconds an answer with this header may be kept."""
    told = [part.strip().lower() for part in cache_control.split(",")]
    if "no-store" in told or "no-cache" in told:
        return 0.0
    for part in told:
        name, _, value = part.partition("=")
        if name == "max-age" and value.isdigit():
            return min(float(value), _LONGEST_KEPT)
    return _KEPT
