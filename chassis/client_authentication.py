"""How the exchange proves itself at somebody else's token endpoint (RFC 6749 §2.3, RFC 7523, SMART App
Launch 2.2 client-confidential-asymmetric): with a key of its own, or with a secret that both know.

Keys and secrets lie in files of their own and never in a database. PURE but for `proof_of`, which reads
one.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from standards.iua import JWT_BEARER

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
METHODS = ("private_key_jwt", "client_secret_basic", "client_secret_post")
_CURVES: Mapping[str, str] = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_BITS = 2048  # SMART App Launch 2.2 takes no shorter RSA key
_LIFE = 60  # seconds of an assertion, which is used at once


class UnprovenError(ValueError):
    """A file holds nothing that could prove us; the words say what is the matter with it."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What proves us: a private key with its id and algorithm, or a secret. Never shown."""

    key: RSAKey | ECKey | None = field(default=None, repr=False)
    kid: str = ""
    alg: str = ""
    secret: str = field(default="", repr=False)


def proof_of(file: Path, method: str, *, kid: str = "", alg: str = "") -> Proof:
    """What the file holds for this method: a private JWK or an unencrypted PEM key, else a secret.

    `kid` and `alg` outdo what the key says of itself; an RSA key signs RS384 by default, an EC key what
    its curve is for. Raises `UnprovenError`.
    """
    try:
        raw = file.read_bytes()
    except OSError as fault:
        raise UnprovenError(f"{file.name} cannot be read: {fault.strerror}.") from None
    if method != "private_key_jwt":
        secret = raw.decode("utf-8", "replace").strip()
        if not secret:
            raise UnprovenError(f"{file.name} is empty.")
        return Proof(secret=secret)
    try:
        key = _key(raw)
    except (ValueError, TypeError, KeyError, JoseError):
        words = f"{file.name} is neither a private JWK nor an unencrypted PEM key."
        raise UnprovenError(words) from None
    alg = alg or _usual(key)
    kind = "EC" if alg.startswith("ES") else "RSA"
    fits = key.key_type == kind and (isinstance(key, RSAKey) or _usual(key) == alg)
    if not key.is_private or not fits:
        raise UnprovenError(f"{file.name} is no private {kind} key, which {alg} needs.")
    if isinstance(key, RSAKey) and key.public_key.key_size < _BITS:
        raise UnprovenError(f"{file.name} is shorter than {_BITS} bits.")
    try:  # a key may say of itself what it is for
        jws.serialize_compact({"alg": alg}, b"", key, algorithms=[alg])
    except JoseError:
        raise UnprovenError(f"{file.name} is a key that may not sign.") from None
    return Proof(key=key, kid=kid or str(key.kid or key.thumbprint()), alg=alg)


def proof_of_jwk(jwk: Mapping[str, Any]) -> Proof:
    """The proof that a private JWK is. Raises `JoseError`, `KeyError` or `ValueError` for what is none."""
    key = _of_jwk(jwk)
    return Proof(key=key, kid=str(jwk["kid"]), alg=_usual(key))


def shown(
    method: str, client_id: str, proof: Proof, *, audience: str, now: float
) -> tuple[dict[str, str], dict[str, str]]:
    """The headers and the members of the form that prove us to the token endpoint. PURE but for the
    assertion's own id, which is drawn."""
    if method == "private_key_jwt":
        made = assertion(client_id, proof, audience=audience, now=now)
        return {}, {"client_assertion_type": JWT_BEARER, "client_assertion": made}
    if method == "client_secret_basic":
        pair = f"{quote(client_id, safe='')}:{quote(proof.secret, safe='')}"
        return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}, {}
    if method == "client_secret_post":
        return {}, {"client_id": client_id, "client_secret": proof.secret}
    return {}, {"client_id": client_id}


def assertion(client_id: str, proof: Proof, *, audience: str, now: float, life: int = _LIFE) -> str:
    """A signed assertion for this token endpoint, to be used once and at once (RFC 7523 §3); `life` is
    how many seconds it counts."""
    if proof.key is None:
        raise RuntimeError("private_key_jwt needs a key")
    claims = {
        "iss": client_id, "sub": client_id, "aud": audience,
        "jti": secrets.token_urlsafe(24), "iat": int(now), "exp": int(now) + life,
    }  # fmt: skip
    header = {"alg": proof.alg, "kid": proof.kid, "typ": "JWT"}
    return jws.serialize_compact(header, orjson.dumps(claims), proof.key, algorithms=[proof.alg])


def _key(raw: bytes) -> RSAKey | ECKey:
    if raw.lstrip().startswith(b"{"):
        return _of_jwk(json.loads(raw))
    loaded = load_pem_private_key(raw, None)
    if isinstance(loaded, RSAPrivateKey):
        return RSAKey.import_key(raw)
    if isinstance(loaded, EllipticCurvePrivateKey):
        return ECKey.import_key(raw)
    raise ValueError("neither RSA nor EC")


def _of_jwk(jwk: Mapping[str, Any]) -> RSAKey | ECKey:
    return RSAKey.import_key(dict(jwk)) if jwk.get("kty") == "RSA" else ECKey.import_key(dict(jwk))


def _usual(key: RSAKey | ECKey) -> str:
    return "RS384" if isinstance(key, RSAKey) else _CURVES.get(str(key.curve_name), "")
