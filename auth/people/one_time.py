"""Time-based codes (RFC 6238) and recovery codes: making, showing and checking them. PURE.

A code is good for its own 30 seconds and the ones beside them, and each step once: the store claims the
step that `step_of` found (`auth.people.people.People.use_step`).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence

import pyotp
import segno

PERIOD = 30
_DRIFT = (0, -1, 1)
_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # nothing that looks like something else
RECOVERY_CODES = 10
_RECOVERY_LENGTH = 16  # 80 random bits


def new_secret() -> bytes:
    """A new seed: 160 random bits in base32, as authenticator apps take it."""
    return pyotp.random_base32(32).encode()


def uri(secret: bytes, username: str, issuer: str) -> str:
    """The otpauth URI that an authenticator app reads."""
    return pyotp.TOTP(secret.decode()).provisioning_uri(name=username, issuer_name=issuer)


def picture(text: str) -> str:
    """The text as a QR code: an SVG element without any style, so that it may stand in a page."""
    return segno.make(text, error="m").svg_inline(
        scale=4, border=2, svgclass=None, lineclass=None, omitsize=True, title="QR code"
    )


def grouped(secret: bytes) -> str:
    """The seed in groups of four, for whoever types it."""
    text = secret.decode()
    return " ".join(text[i : i + 4] for i in range(0, len(text), 4))


def step_of(secret: bytes, code: str, now: float) -> int | None:
    """The time step that this code is for, if it is one of those that count now."""
    typed = "".join(c for c in code if not c.isspace())
    if len(typed) != 6 or not typed.isascii() or not typed.isdecimal():
        return None
    totp, step = pyotp.TOTP(secret.decode()), int(now) // PERIOD
    found = None
    for drift in _DRIFT:  # all of them, whichever fits, so that the time says nothing
        if hmac.compare_digest(totp.generate_otp(step + drift), typed) and found is None:
            found = step + drift
    return found


def new_recovery_codes() -> list[str]:
    """Codes to keep on paper, for whoever has lost everything else."""
    made = (
        "".join(secrets.choice(_ALPHABET) for _ in range(_RECOVERY_LENGTH))
        for _ in range(RECOVERY_CODES)
    )
    return ["-".join(code[i : i + 4] for i in range(0, _RECOVERY_LENGTH, 4)) for code in made]


def recovery_digests(codes: Sequence[str]) -> list[str]:
    """What is kept of recovery codes. They are random enough that a plain digest cannot be searched."""
    return [recovery_digest(code) for code in codes]


def recovery_digest(code: str) -> str:
    """The digest of a recovery code, however it was typed."""
    plain = "".join(c for c in code.upper() if c in _ALPHABET)
    return hashlib.sha256(plain.encode()).hexdigest()


def looks_like_recovery(code: str) -> bool:
    """Was a recovery code typed, rather than one of an app?"""
    return len([c for c in code.upper() if c in _ALPHABET]) == _RECOVERY_LENGTH
