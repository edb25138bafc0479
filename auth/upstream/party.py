"""Speaking with one provider: its discovery document, its keys, its token endpoint and its userinfo.

Every answer is bounded in size and time and no redirect is followed. What is said of a failure names the
step and nothing that was sent or received.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx
import orjson

from auth.upstream import id_token
from auth.upstream.id_token import Head, Unbelievable
from auth.upstream.providers import Provider, plain_issuer, safe
from chassis import client_authentication
from chassis.client_authentication import Proof

_SECONDS = 5.0
_LARGEST = 256 * 1024
_METADATA_KEPT = 3600.0
_KEYS_KEPT = 3600.0
_UNKNOWN_KID_EVERY = 10.0
_FAILED_KEPT = 3.0


class Silent(Exception):  # noqa: N818  that a provider does not answer is ordinary
    """The provider does not answer, or not as providers do; the text says at which step."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What we use of a provider's discovery document (OpenID Connect Discovery 1.0 §3)."""

    issuer: str
    authorization: str
    token: str
    jwks: str
    userinfo: str
    says_issuer: bool  # RFC 9207: the answer to the authorization request has `iss`


class Party:
    """One provider and us. `clock` is epoch seconds."""

    def __init__(
        self,
        provider: Provider,
        proof: Proof,
        http: httpx.AsyncClient,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.provider, self._proof = provider, proof
        self._http, self._clock = http, clock
        self._metadata: tuple[float, Metadata] | None = None
        self._keys: Sequence[Mapping[str, Any]] = ()
        self._keys_at = self._failed_at = float("-inf")
        self._one = asyncio.Lock()

    async def metadata(self) -> Metadata:
        """The provider's discovery document, kept for an hour. Raises `Silent`."""
        async with self._one:
            return await self._found()

    async def authorization(
        self, *, redirect_uri: str, state: str, nonce: str, verifier: str, fresh: bool
    ) -> str:
        """Where the browser goes to sign in. `fresh`: a sign-in from before does not do. Raises
        `Silent`."""
        metadata, provider = await self.metadata(), self.provider
        asked = {
            "response_type": "code",
            "client_id": provider.client_id,
            "redirect_uri": redirect_uri,
            "scope": provider.scope,
            "state": state,
            "nonce": nonce,
        }
        if provider.pkce:
            asked |= {
                "code_challenge": challenge_of(verifier),
                "code_challenge_method": "S256",
            }
        if provider.acr_values:
            asked["acr_values"] = " ".join(provider.acr_values)
        if provider.vtr:
            asked["vtr"] = orjson.dumps(list(provider.vtr)).decode()
        if fresh or provider.prompt:
            asked["prompt"] = "login" if fresh else provider.prompt
        if provider.max_age:
            asked["max_age"] = "0" if fresh else str(provider.max_age)
        join = "&" if "?" in metadata.authorization else "?"
        return metadata.authorization + join + urlencode(asked)

    async def tokens(self, *, code: str, redirect_uri: str, verifier: str) -> dict[str, Any]:
        """The answer of the token endpoint. Raises `Silent`, and `Unbelievable` when the provider
        refuses the code."""
        metadata, provider = await self.metadata(), self.provider
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        if provider.pkce:
            form["code_verifier"] = verifier
        headers, proving = client_authentication.shown(
            provider.method, provider.client_id, self._proof,
            audience=metadata.token, now=self._clock(),
        )  # fmt: skip
        form |= proving
        status, said = await self._ask("POST", metadata.token, "token endpoint", headers, form)
        if status in (400, 401):
            id_token.refuse("The provider did not take the code (token endpoint).")
        kind = said.get("token_type")
        if status != 200 or not isinstance(kind, str) or kind.lower() != "bearer":
            raise Silent("The provider's token endpoint did not answer as it must.")
        if not isinstance(said.get("access_token"), str):
            raise Silent("The provider's token endpoint did not answer as it must.")
        return said

    async def believed(self, compact: object) -> tuple[dict[str, Any], Head]:
        """The claims of a token that the provider signed, and how. Raises `Unbelievable`, `Silent`."""
        said = id_token.head(compact, self.provider.algorithms)
        key = id_token.choose(said, await self._set(fresh=False))
        if key is None:
            key = id_token.choose(said, await self._set(fresh=True))
        if key is None:
            raise Unbelievable("The provider publishes no key that the token could be signed with.")
        return id_token.opened(said, key), said

    async def userinfo(self, access_token: str) -> dict[str, Any]:
        """What the provider's userinfo endpoint says; {} where the row does not want it. Raises
        `Silent`."""
        if not self.provider.userinfo:
            return {}
        metadata = await self.metadata()
        if not metadata.userinfo:
            raise Silent("The provider has no userinfo endpoint.")
        headers = {"Authorization": f"Bearer {access_token}"}
        status, said = await self._ask("GET", metadata.userinfo, "userinfo endpoint", headers)
        if status != 200:
            raise Silent("The provider's userinfo endpoint did not answer as it must.")
        return said

    def own_keys(self) -> dict[str, Any]:
        """Our public key as the provider may fetch it (CIS2 asks for a JWK Set)."""
        key = self._proof.key
        if key is None:
            return {"keys": []}
        said = {"kid": self._proof.kid, "use": "sig", "alg": self.provider.key_alg}
        return {"keys": [key.as_dict(private=False) | said]}

    async def _found(self) -> Metadata:
        now = self._clock()
        if self._metadata is not None and now - self._metadata[0] < _METADATA_KEPT:
            return self._metadata[1]
        if now - self._failed_at < _FAILED_KEPT:
            raise Silent("The provider's discovery document cannot be had.")
        try:
            made = await self._discovered()
        except Silent:
            self._failed_at = now
            raise
        self._metadata = now, made
        return made

    async def _discovered(self) -> Metadata:
        url = self.provider.issuer.rstrip("/") + "/.well-known/openid-configuration"
        status, said = await self._ask("GET", url, "discovery document")
        if status != 200:
            raise Silent("The provider's discovery document cannot be had.")
        issuer = said.get("issuer")
        if not isinstance(issuer, str) or plain_issuer(issuer) != plain_issuer(
            self.provider.issuer
        ):
            raise Silent("The provider's discovery document is of another issuer.")
        places = {}
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"):
            place = said.get(name, "")
            needed = name != "userinfo_endpoint"
            if not isinstance(place, str) or (not place and needed):
                raise Silent("The provider's discovery document lacks an endpoint.")
            if place and not safe(place, query=True):
                raise Silent("An endpoint of the provider's discovery document is not safe.")
            places[name] = place
        return Metadata(
            issuer=issuer,
            authorization=places["authorization_endpoint"],
            token=places["token_endpoint"],
            jwks=places["jwks_uri"],
            userinfo=places["userinfo_endpoint"],
            says_issuer=said.get("authorization_response_iss_parameter_supported") is True,
        )

    async def _set(self, *, fresh: bool) -> Sequence[Mapping[str, Any]]:
        async with self._one:
            age = self._clock() - self._keys_at
            if age < _KEYS_KEPT and not (fresh and age > _UNKNOWN_KID_EVERY):
                return self._keys
            metadata = await self._found()
            status, said = await self._ask("GET", metadata.jwks, "JWK Set")
            keys = said.get("keys")
            if status != 200 or not isinstance(keys, list):
                raise Silent("The provider's JWK Set cannot be had.")
            self._keys = [key for key in keys if isinstance(key, dict)]
            self._keys_at = self._clock()
            return self._keys

    async def _ask(
        self,
        method: str,
        url: str,
        step: str,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, Any]]:
        """Status and JSON object of an answer; {} where a refusal has no such body. Raises `Silent`."""
        body = bytearray()
        try:
            async with (
                asyncio.timeout(_SECONDS),
                self._http.stream(
                    method, url, data=dict(form) if form else None, follow_redirects=False,
                    headers={"Accept": "application/json", **(headers or {})}, timeout=_SECONDS,
                ) as answer,
            ):  # fmt: skip
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > _LARGEST:
                        raise Silent(f"The provider's {step} is too large.")
                status = answer.status_code
        except (httpx.HTTPError, TimeoutError):
            raise Silent(f"The provider's {step} cannot be reached.") from None
        try:
            said = orjson.loads(bytes(body))
        except ValueError:
            said = None
        if isinstance(said, dict):
            return status, said
        if status < 400:
            raise Silent(f"The provider's {step} is not JSON.")
        return status, {}


def challenge_of(verifier: str) -> str:
    """The S256 challenge of a verifier (RFC 7636 §4.2). PURE."""
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
