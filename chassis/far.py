"""A far neighbour: the same question over HTTP, with a service token, a deadline and few retries.

Near neighbours are objects handed over by `exchange/together.py`; this is what `exchange/apart.py`
hands over instead. The contract tests in tests/neighbours run against both.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterable, Mapping
from typing import Any, Protocol

import httpx
import orjson

from chassis import telemetry
from chassis.call import Caller
from chassis.client_authentication import assertion, proof_of_jwk
from standards.iua import JWT_BEARER
from standards.outcome import BUSY, Issue, Refused

SCOPE = "throughline.internal"
_LIFE = 240  # seconds of an assertion: the clocks of two containers may differ


def told(viewer: Caller) -> dict[str, str]:
    """What a neighbour needs to know of a caller to decide what it may be shown, as it is sent. PURE."""
    return {
        "client": viewer.client_id,
        "organisation": viewer.organisation,
        "role": viewer.role,
        "purpose": viewer.purpose,
    }


def heard(said: object) -> Caller:
    """The caller that `told` told of. Raises `ValueError` for what is none. PURE."""
    names = ("client", "organisation", "role", "purpose")
    if not isinstance(said, Mapping) or not all(isinstance(said.get(n), str) for n in names):
        raise ValueError("no caller")
    client, organisation, role, purpose = (said[name] for name in names)
    return Caller(client_id=client, organisation=organisation, role=role, purpose=purpose)


class TokenSource(Protocol):
    """Gives the bearer token that a service shows its neighbours."""

    async def token(self) -> str:
        """A token that is valid for at least the next few seconds."""
        ...


class ServiceToken:
    """A backend-services token of our own (SMART Backend Services), fetched before it expires."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        token_url: str,
        audience: str,
        client_id: str,
        jwk: Mapping[str, Any],
    ) -> None:
        self._client, self._url, self._audience, self._id = client, token_url, audience, client_id
        self._proof = proof_of_jwk(jwk)
        self._token, self._until = "", 0.0
        self._one = asyncio.Lock()

    async def token(self) -> str:
        """The current token, renewed when less than 30 seconds of it are left."""
        async with self._one:
            if time.time() > self._until - 30:
                made = assertion(
                    self._id, self._proof, audience=self._audience, now=time.time(), life=_LIFE
                )
                answer = await self._client.post(
                    self._url,
                    data={
                        "grant_type": "client_credentials",
                        "scope": SCOPE,
                        "client_assertion_type": JWT_BEARER,
                        "client_assertion": made,
                    },
                )
                if answer.status_code != 200:
                    raise Refused(Issue(BUSY, "The auth service gave no service token."))
                given = answer.json()
                self._token = str(given["access_token"])
                self._until = time.time() + float(given["expires_in"])
            return self._token


class Far:
    """One neighbour's origin, asked by POST."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        origin: str,
        tokens: TokenSource,
        *,
        seconds: float = 10.0,
        tries: int = 4,
    ) -> None:
        self._client, self._origin, self._tokens = client, origin.rstrip("/"), tokens
        self._seconds, self._tries = seconds, tries

    async def post(self, path: str, body: Any) -> Any:
        """POST a JSON value and return the JSON answer.

        Every internal door is idempotent, so lost connections and 5xx are tried again within the
        deadline. Raises `Refused(BUSY)` when the neighbour does not answer in time.
        """
        content = orjson.dumps(body)
        return orjson.loads(await self._ask(path, {"Content-Type": "application/json"}, content))

    async def stream(
        self, path: str, headers: Mapping[str, str], chunks: AsyncIterable[bytes]
    ) -> Any:
        """POST raw bytes as they come and return the JSON answer; not retried, the stream is spent."""
        token = await self._tokens.token()
        try:
            answer = await self._client.post(
                self._origin + path,
                content=chunks,
                headers={**headers, "Authorization": f"Bearer {token}"},
                timeout=httpx.Timeout(self._seconds, read=120, write=120),
            )
        except httpx.TransportError as fault:
            raise self._silent(fault) from fault
        if answer.status_code >= 300:
            raise self._silent(RuntimeError(str(answer.status_code)))
        return orjson.loads(answer.content)

    async def _ask(self, path: str, headers: Mapping[str, str], content: bytes) -> bytes:
        fault: Exception = RuntimeError("not asked")
        async with asyncio.timeout(self._seconds * 2):
            for attempt in range(self._tries):
                await asyncio.sleep(random.uniform(0, 0.05 * 2**attempt) if attempt else 0)  # noqa: S311
                try:
                    token = await self._tokens.token()
                    answer = await self._client.post(
                        self._origin + path,
                        content=content,
                        headers={**headers, "Authorization": f"Bearer {token}"},
                        timeout=self._seconds,
                    )
                except (httpx.TransportError, Refused) as lost:
                    fault = lost
                    continue
                if answer.status_code < 300:
                    return answer.content
                fault = RuntimeError(f"HTTP {answer.status_code}")
                if answer.status_code < 500:
                    break
        raise self._silent(fault)

    def _silent(self, fault: Exception) -> Refused:
        telemetry.log(telemetry.NEIGHBOUR, neighbour=self._origin, fault=type(fault).__name__)
        return Refused(Issue(BUSY, "Another part of the exchange does not answer; try again."))
