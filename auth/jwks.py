"""The public keys of a client: registered with it, or fetched from the one URL it registered.

A fetched set is kept no longer than its `Cache-Control` allows and fetched again once for an unknown
`kid`. No redirect is followed, so an answer cannot lead this server to an address of the asker's choice.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

import httpx
import orjson
from joserfc.jwk import ECKey, RSAKey

from auth import assertion as assertions
from auth.assertion import Assertion
from auth.clients import Client
from auth.public_keys import check_jwks, fetchable

_SECONDS = 5.0
_LARGEST = 256 * 1024
_LONGEST_KEPT = 3600.0
_KEPT = 300.0
_UNKNOWN_KID_EVERY = 10.0
_CLIENTS = 1000


@dataclass(frozen=True, slots=True)
class _Fetched:
    keys: Sequence[Mapping[str, Any]]
    at: float
    until: float


class ClientKeys:
    """Finds the key that must verify an assertion."""

    def __init__(self, http: httpx.AsyncClient, clock: Callable[[], float] = monotonic) -> None:
        self._http, self._clock = http, clock
        self._fetched: OrderedDict[str, _Fetched] = OrderedDict()

    async def find(self, client: Client, assertion: Assertion) -> RSAKey | ECKey:
        """The client's one key for this assertion. Raises `InvalidClientError` when there is none."""
        assertions.check_jku(assertion, client)
        if client.jwks is not None:
            found = assertions.choose(assertion, client.jwks["keys"])
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
        kept, now = self._fetched.get(url), self._clock()
        if kept is not None:
            wanted = fresh and now - kept.at > _UNKNOWN_KID_EVERY
            if now < kept.until and not wanted:
                return kept.keys
        made = await self._fetch(url)
        self._fetched[url] = made
        self._fetched.move_to_end(url)
        if len(self._fetched) > _CLIENTS:
            self._fetched.popitem(last=False)
        return made.keys

    async def _fetch(self, url: str) -> _Fetched:
        words = "The client's registered JWK Set URL gave no usable JWK Set."
        if not fetchable(url):
            assertions.refuse(words)
        body = b""
        try:
            async with self._http.stream(
                "GET",
                url,
                headers={"Accept": "application/json"},
                timeout=_SECONDS,
                follow_redirects=False,
            ) as answer:
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > _LARGEST:
                        assertions.refuse(words)
                found = orjson.loads(body) if answer.status_code == 200 else None
                kept = _life(answer.headers.get("cache-control", ""))
        except (httpx.HTTPError, ValueError):
            assertions.refuse(words)
        if not isinstance(found, dict) or check_jwks(found):
            assertions.refuse(words)
        now = self._clock()
        return _Fetched(found["keys"], now, now + kept)


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
