"""Master keys in a key management service: the transit interface of OpenBao and HashiCorp Vault.

    POST {kms_url}/encrypt/{key}   {"plaintext", "associated_data"}   → {"data": {"ciphertext"}}
    POST {kms_url}/decrypt/{key}   {"ciphertext", "associated_data"}  → {"data": {"plaintext"}}
    GET  {kms_url}/keys/{key}                                        → {"data": {"latest_version"}}

The master key never leaves the service; it is rotated there, and `throughline keys rotate` then wraps
every data key anew. A data key costs one request when a document is stored and one when it is read.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import random
from collections.abc import Callable
from typing import Any

import httpx

from repository.keys import Wrapped, unopened
from standards.outcome import BUSY, Issue, Refused


class TransitKeys:
    """`repository.keys.MasterKeys` over a transit engine. `token` is asked for with every request."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        url: str,
        key: str,
        token: Callable[[], str],
        *,
        tries: int = 3,
    ) -> None:
        self._client, self._url, self._key = client, url.rstrip("/"), key
        self._token, self._tries = token, tries

    async def current(self) -> str:
        """The newest version of the key, as ciphertexts name it: `vault:v3`."""
        said = await self._ask("GET", f"keys/{self._key}", None)
        return f"vault:v{int(said['latest_version'])}"

    async def wrap(self, key: bytes, name: str) -> Wrapped:
        """As `MasterKeys.wrap`; `Refused(BUSY)` when the service does not answer."""
        body = {"plaintext": _text(key), "associated_data": _text(name.encode())}
        said = await self._ask("POST", f"encrypt/{self._key}", body)
        text = str(said["ciphertext"])
        return Wrapped(text.rpartition(":")[0], text.encode())

    async def unwrap(self, wrapped: Wrapped, name: str) -> bytes:
        """As `MasterKeys.unwrap`; `Refused(BUSY)` when the service does not answer."""
        body = {"ciphertext": wrapped.sealed.decode(), "associated_data": _text(name.encode())}
        said = await self._ask("POST", f"decrypt/{self._key}", body)
        try:
            return base64.b64decode(str(said["plaintext"]), validate=True)
        except binascii.Error:
            raise unopened("The key management service gave something that is no key.") from None

    async def knows(self, master: str) -> bool:
        """Whether the service still has this version (`min_decryption_version` retires old ones)."""
        said = await self._ask("GET", f"keys/{self._key}", None)
        version = master.rpartition(":v")[2]
        least, most = int(said.get("min_decryption_version", 1)), int(said["latest_version"])
        return version.isdecimal() and least <= int(version) <= most

    async def _ask(self, method: str, path: str, body: Any) -> Any:
        """The `data` of the answer. 4xx is a fault in how we are set up, the rest may pass."""
        for attempt in range(self._tries):
            await asyncio.sleep(random.uniform(0, 0.1 * 2**attempt) if attempt else 0)  # noqa: S311
            try:
                answer = await self._client.request(
                    method,
                    f"{self._url}/{path}",
                    json=body,
                    headers={"X-Vault-Token": self._token()},
                    timeout=5.0,
                )
            except httpx.TransportError:
                continue
            if answer.status_code < 300:
                try:
                    return answer.json()["data"]
                except (ValueError, KeyError, TypeError):
                    raise unopened("The key management service gave no legible answer.") from None
            if answer.status_code < 500 and answer.status_code != 429:
                raise unopened(
                    f"The key management service refused ({answer.status_code}); see to its token,"
                    " its policy and the versions it may still decrypt."
                )
        raise Refused(Issue(BUSY, "The key management service does not answer; try again."))


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
