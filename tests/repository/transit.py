"""A key management service at the wire: the transit engine of OpenBao, as far as it is asked."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TOKEN = "s.of-this-test"


@dataclass
class Transit:
    """One key in versions; `down` answers as an overloaded server, `least` retires old versions."""

    versions: list[bytes] = field(default_factory=lambda: [os.urandom(32)])
    least: int = 1
    down: int = 0
    asked: list[str] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI."""
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {k.decode(): v.decode() for k, v in scope["headers"]}
        status, said = self.answer(scope["path"], headers, json.loads(body or b"null"))
        start = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": start})
        await send({"type": "http.response.body", "body": json.dumps(said).encode()})

    def answer(self, path: str, headers: dict[str, str], body: Any) -> tuple[int, Any]:
        """Status and JSON for one request."""
        self.asked.append(path)
        if self.down:
            self.down -= 1
            return 503, {"errors": ["sealed"]}
        if headers.get("x-vault-token") != TOKEN:
            return 403, {"errors": ["permission denied"]}
        verb, _, key = path.removeprefix("/v1/transit/").partition("/")
        if key != "throughline":
            return 404, {"errors": []}
        if verb == "keys":
            latest = len(self.versions)
            return 200, {"data": {"latest_version": latest, "min_decryption_version": self.least}}
        about = base64.b64decode(body["associated_data"])
        if verb == "encrypt":
            nonce = os.urandom(12)
            plain = base64.b64decode(body["plaintext"])
            sealed = nonce + AESGCM(self.versions[-1]).encrypt(nonce, plain, about)
            text = f"vault:v{len(self.versions)}:{base64.b64encode(sealed).decode()}"
            return 200, {"data": {"ciphertext": text}}
        version, sealed64 = body["ciphertext"].removeprefix("vault:v").split(":")
        if int(version) < self.least:
            return 400, {"errors": ["ciphertext version is disallowed by policy (too old)"]}
        sealed = base64.b64decode(sealed64)
        try:
            plain = AESGCM(self.versions[int(version) - 1]).decrypt(sealed[:12], sealed[12:], about)
        except InvalidTag:
            return 400, {"errors": ["cipher: message authentication failed"]}
        return 200, {"data": {"plaintext": base64.b64encode(plain).decode()}}
