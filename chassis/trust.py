"""What a process believes of the issuer: which tokens were taken back, and (apart) which keys are its.

`Revoked` is the copy in memory that both ways keep: near it asks the auth service's store, far it asks
over HTTP, twice a second either way, so that a revoked token is refused everywhere within a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from time import monotonic, time
from typing import Any, NamedTuple

import httpx
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from pymongo.errors import PyMongoError

from chassis import telemetry
from chassis.background import repeating
from chassis.far import TokenSource
from standards.outcome import BUSY, Issue, Refused

REFRESH = 0.5
PERSON = "person:"
# A revocation carries the database's clock when its statement ran; its transaction may commit later.
OVERLAP = 15.0
_KEYS_EVERY = 60.0
_UNKNOWN_KID_EVERY = 3.0
_SECONDS = 5.0


BEFORE = "before:"


class Ended(NamedTuple):
    """One revocation: `jti:…`, `client:…`, `grant:…`, `session:…`, `person:…`, or
    `before:{generation}:{client}` for the tokens that a client got before its registration was changed;
    when it was noted and until when it matters (epoch)."""

    id: str
    at: float
    until: float


class Revoked:
    """The live revocations as this process knows them. `ask` gives those noted since a moment."""

    def __init__(
        self, ask: Callable[[float], Awaitable[Sequence[Ended]]], *, stale: float = 10.0
    ) -> None:
        self._ask, self._stale = ask, stale
        self._live: dict[str, Ended] = {}
        self._oldest: dict[str, int] = {}  # client to the oldest generation whose tokens are good
        self._newest = 0.0
        self._asked = float("-inf")
        self._one = asyncio.Lock()

    def revoked(
        self, keys: Sequence[str], issued: float, client_id: str = "", generation: int = 0
    ) -> bool:
        """Is anything among the revoked that a token issued at this moment hangs on, or the generation
        of the client's registration that it was issued under?

        A person may sign in again: `person:` ends what was issued until then. The others never come
        back.
        """
        live = self._live
        if not live:
            return False
        if generation < self._oldest.get(client_id, 0):
            return True
        if live.keys().isdisjoint(keys):
            return False
        found = (live[key] for key in keys if key in live)
        return any(not e.id.startswith(PERSON) or issued <= e.at for e in found)

    @property
    def stale(self) -> bool:
        """True when nothing was heard for longer than the copy may be trusted."""
        return monotonic() - self._asked > self._stale

    async def refresh(self) -> None:
        """Learn what was revoked since the last time; raises what asking raises."""
        async with self._one:
            started = monotonic()
            for row in await self._ask(max(self._newest - OVERLAP, 0.0)):
                self._live[row.id] = row
                self._newest = max(self._newest, row.at)
                if row.id.startswith(BEFORE):
                    _, generation, client = row.id.split(":", 2)
                    self._oldest[client] = max(self._oldest.get(client, 0), int(generation))
            self._asked = started
            now = time()
            for gone in [key for key, row in self._live.items() if row.until < now]:
                del self._live[gone]

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Keep the copy fresh for as long as the block runs. An issuer that does not answer at first
        is asked again; until it does the copy is stale and no token is taken."""
        await self._try()
        async with repeating("revocations", self._try, REFRESH, at_once=False):
            yield

    async def _try(self) -> None:
        try:
            await self.refresh()
        except (PyMongoError, Refused) as fault:
            if self.stale:
                telemetry.log(telemetry.BACKGROUND, work="revocations", fault=type(fault).__name__)


class FarAuth:
    """The auth service of another process: its public keys, its revocations and what its opaque tokens
    stand for, over HTTP.

    `async with far.followed():` keeps `far.revocations` fresh; `far` itself answers for the rest.
    """

    def __init__(self, client: httpx.AsyncClient, origin: str, tokens: TokenSource) -> None:
        self._client, self._origin, self._tokens = client, origin.rstrip("/"), tokens
        self._keys: dict[str, RSAKey] = {}
        self._fetched = float("-inf")
        self._one = asyncio.Lock()
        self.revocations = Revoked(self._since)

    async def key(self, kid: str) -> RSAKey | None:
        """The issuer's key of this id. Unknown ids make it ask again, at most once in a few seconds.
        Raises `Refused(BUSY)` when it has to ask and gets no answer."""
        age = monotonic() - self._fetched
        if age > _KEYS_EVERY or (kid not in self._keys and age > _UNKNOWN_KID_EVERY):
            await self._fetch(kid)
        return self._keys.get(kid)

    async def claims(self, token: str) -> Mapping[str, Any] | None:
        """The claims of an opaque token, or None when it is not active (ITI-102, with this service's own
        token). Raises `Refused(BUSY)` when the auth service gives no answer."""
        try:
            own = await self._tokens.token()
            answer = await self._client.post(
                self._origin + "/auth/introspect",
                data={"token": token},
                headers={"Authorization": f"Bearer {own}"},
                timeout=_SECONDS,
            )
            said = answer.json() if answer.status_code == 200 else None
        except (httpx.HTTPError, ValueError):
            said = None
        if not isinstance(said, dict) or not isinstance(said.get("active"), bool):
            raise _silent()
        return said if said["active"] else None

    async def is_origin(self, origin: str) -> bool:
        """May pages of this origin call? Asked the way a browser asks. Raises `Refused(BUSY)` when the
        auth service gives no answer."""
        asking = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        try:
            answer = await self._client.options(
                self._origin + "/auth/token", headers=asking, timeout=_SECONDS
            )
        except httpx.HTTPError:
            raise _silent() from None
        return bool(answer.headers.get("access-control-allow-origin") == origin)

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Keep the revocations fresh for as long as the block runs."""
        async with self.revocations.followed():
            yield

    async def _fetch(self, kid: str) -> None:
        asked = monotonic()
        async with self._one:
            if self._fetched >= asked:  # someone else asked while this one waited
                return
            try:
                answer = await self._get("/auth/jwks", {})
                self._keys = {str(jwk["kid"]): RSAKey.import_key(jwk) for jwk in answer["keys"]}
            except (Refused, JoseError, KeyError, TypeError):
                if kid not in self._keys:
                    raise _silent() from None
            self._fetched = monotonic()

    async def _since(self, moment: float) -> list[Ended]:
        try:
            token = await self._tokens.token()
        except httpx.HTTPError:
            raise _silent() from None
        answer = await self._get(
            f"/auth/revocations?since={moment}", {"Authorization": f"Bearer {token}"}
        )
        try:
            return [
                Ended(str(r["id"]), float(r["at"]), float(r["until"])) for r in answer["revoked"]
            ]
        except (KeyError, TypeError, ValueError):
            raise _silent() from None

    async def _get(self, path: str, headers: dict[str, str]) -> Any:
        try:
            answer = await self._client.get(self._origin + path, headers=headers, timeout=_SECONDS)
            if answer.status_code == 200:
                return answer.json()
        except (httpx.HTTPError, ValueError):
            pass
        raise _silent()


def _silent() -> Refused:
    return Refused(
        Issue(BUSY, "The auth service does not answer, so no token can be checked; try again."),
        headers={"Retry-After": "2"},
    )
