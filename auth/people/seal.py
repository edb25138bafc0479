"""Secrets that must be read again (the seeds of time-based codes) are sealed as signing keys are.

With the master key file (docs/decisions/0006-access-tokens.md) they lie under AES-256-GCM, each bound to
what it belongs to; without it they are protected as the database is.
"""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from auth.keys import KeysSealed
from chassis.mongo import Doc


class Seal:
    """Seals and opens under a master key of 32 bytes, or passes through when there is none."""

    def __init__(self, master: bytes | None) -> None:
        self._master = AESGCM(master) if master is not None else None

    def close(self, secret: bytes, belongs: str) -> Doc:
        """The secret as it is kept; it can be opened only for what it belongs to."""
        if self._master is None:
            return {"open": secret}
        nonce = secrets.token_bytes(12)
        return {"nonce": nonce, "sealed": self._master.encrypt(nonce, secret, belongs.encode())}

    def open(self, kept: Doc, belongs: str) -> bytes:
        """The secret. Raises `KeysSealed` when the master key is missing or another one."""
        if "open" in kept:
            return bytes(kept["open"])
        if self._master is None:
            raise KeysSealed("Secrets of people are sealed; put the file keys/master.key back.")
        try:
            return self._master.decrypt(kept["nonce"], kept["sealed"], belongs.encode())
        except InvalidTag:
            raise KeysSealed(
                "Secrets of people are sealed with another master key; put the file keys/master.key "
                "back that was there when they were made."
            ) from None
