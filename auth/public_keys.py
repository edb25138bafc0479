"""The public keys that a client may prove itself with (SMART "client-confidential-asymmetric"). PURE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from joserfc.util import urlsafe_b64decode

_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def check_jwks(jwks: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong with a client's JWK Set, each in a sentence."""
    keys = jwks.get("keys")
    if not isinstance(keys, Sequence) or isinstance(keys, str) or not keys:
        return ["The JWK Set has no keys."]
    faults: list[str] = []
    usable = 0
    for place, jwk in enumerate(keys, 1):
        if not isinstance(jwk, Mapping):
            faults.append(f"Key {place} of the JWK Set is no JSON object.")
        elif _PRIVATE & jwk.keys():
            faults.append(f"Key {place} of the JWK Set is private; send the public part only.")
        elif not isinstance(jwk.get("kid"), str) or not jwk["kid"]:
            faults.append(f"Key {place} of the JWK Set has no kid.")
        elif algorithm(jwk) and public_key(jwk) is not None:
            usable += 1
    if not usable and not faults:
        faults.append(
            "The JWK Set has no RSA key of 2048 bits or more and no P-384 key to sign with."
        )
    return faults


def algorithm(jwk: Mapping[str, Any]) -> str:
    """The assertion algorithm a key serves: RS384, ES384, or "" for neither."""
    fits = {"RSA": "RS384", "EC": "ES384"}.get(str(jwk.get("kty")), "")
    if fits == "ES384" and jwk.get("crv") != "P-384":
        return ""
    return fits if jwk.get("use", "sig") == "sig" and jwk.get("alg", fits) == fits else ""


def public_key(jwk: Mapping[str, Any]) -> RSAKey | ECKey | None:
    """The key a public JWK spells, or None when it spells none that may sign an assertion."""
    try:
        if jwk.get("kty") == "EC":
            return ECKey.import_key({n: jwk[n] for n in ("kty", "crv", "x", "y")})
        # Above 8,192 bits a key only serves to keep this server busy.
        if not 2048 <= _bits(jwk["n"]) <= 8192 or _bits(jwk["e"]) > 32:
            return None
        return RSAKey.import_key({n: jwk[n] for n in ("kty", "n", "e")})
    except (JoseError, KeyError, TypeError, ValueError, AttributeError):
        return None


def fetchable(url: str) -> bool:
    """May this server ever fetch a JWK Set from here? https, or http on the machine itself."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if not host or parts.username or parts.password or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK)


def _bits(number: str) -> int:
    return int.from_bytes(urlsafe_b64decode(number.encode("ascii"))).bit_length()
