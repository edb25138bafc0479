"""Secrets that are handed out once: what is kept of them, and found by. PURE."""

from __future__ import annotations

from hashlib import sha256


def digest(secret: str) -> str:
    """SHA-256 of a code, token or handle. They are 256 random bits each, so no salt is needed."""
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
