"""An authenticator in software: it makes passkeys and signs challenges as WebAuthn level 3 says."""

from __future__ import annotations

import hashlib
import json
import secrets
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

PRESENT, VERIFIED, SYNCABLE, SYNCED, ATTESTED = 0x01, 0x04, 0x08, 0x10, 0x40


def b64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Authenticator:
    """One device with one passkey. `flags` are what it says of the person: present and verified."""

    origin: str
    host: str
    flags: int = PRESENT | VERIFIED
    counter: int = 0
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    handle: bytes = b""

    def create(self, options: dict[str, Any], **changes: Any) -> str:
        self.handle = unb64(options["user"]["id"])
        numbers = self.key.public_key().public_numbers()
        cose = {
            1: 2,
            3: -7,
            -1: 1,
            -2: numbers.x.to_bytes(32, "big"),
            -3: numbers.y.to_bytes(32, "big"),
        }
        attested = bytes(16) + struct.pack(">H", len(self.id)) + self.id + cbor2.dumps(cose)
        data = self._data(changes, self.flags | ATTESTED) + attested
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        return self._said(
            {
                "clientDataJSON": b64(self._client("webauthn.create", options, changes)),
                "attestationObject": b64(attestation),
                "transports": ["internal", "made-up"],
            }
        )

    def get(self, options: dict[str, Any], **changes: Any) -> str:
        self.counter = changes.get("counter", self.counter + 1)
        client = self._client("webauthn.get", options, changes)
        data = self._data(changes, changes.get("flags", self.flags))
        signature = changes.get("signer", self.key).sign(
            data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256())
        )
        return self._said(
            {
                "clientDataJSON": b64(client),
                "authenticatorData": b64(data),
                "signature": b64(signature),
                "userHandle": b64(changes.get("handle", self.handle)),
            }
        )

    def _client(self, kind: str, options: dict[str, Any], changes: dict[str, Any]) -> bytes:
        return json.dumps(
            {
                "type": kind, "challenge": changes.get("challenge", options["challenge"]),
                "origin": changes.get("origin", self.origin), "crossOrigin": False,
            }
        ).encode()  # fmt: skip

    def _data(self, changes: dict[str, Any], flags: int) -> bytes:
        host = changes.get("host", self.host)
        return hashlib.sha256(host.encode()).digest() + struct.pack(">BI", flags, self.counter)

    def _said(self, response: dict[str, Any]) -> str:
        made = {
            "id": b64(self.id),
            "rawId": b64(self.id),
            "type": "public-key",
            "clientExtensionResults": {},
        }
        return json.dumps(made | {"response": response, "authenticatorAttachment": "platform"})
