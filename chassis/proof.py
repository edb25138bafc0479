"""DPoP at the resource server (RFC 9449 §7): a token that is bound to a key is worth nothing without it.

A bound token says `cnf.jkt`, the thumbprint of its holder's key. Whoever shows it sends a proof beside
it, signed with that key for this very request: its method, its URL, its token, once. `judge` is pure;
that a proof counts once is kept in MongoDB, where every process of a service sees it.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

import orjson
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from pymongo import IndexModel
from pymongo.errors import DuplicateKeyError

from chassis.mongo import Mongo

ALGORITHMS = ("ES256", "ES384", "RS256", "PS256")
LIFE = 60.0  # how long after it was made a proof is taken, beside the difference between clocks
_LONGEST = 8 * 1024
_PRIVATE = frozenset(("d", "p", "q", "dp", "dq", "qi", "oth", "k"))
_CURVES = {"ES256": "P-256", "ES384": "P-384"}
_BITS = 2048


class NoProofError(Exception):
    """The proof proves nothing; the words say why."""


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof that holds: the thumbprint of its key, its own id, and until when it could be shown."""

    jkt: str
    jti: str
    until: float


def judge(
    compact: str, *, token: str | None, method: str, url: str, now: float, skew: float
) -> Proof:
    """What a proof proves of this request (RFC 9449 §4.3). `url` is the request's without query;
    `token` is what is shown beside it, None where a token is only asked for.

    Raises `NoProofError`. PURE.
    """
    header = _header(compact)
    algorithm = header.get("alg")
    if header.get("typ") != "dpop+jwt":
        raise NoProofError("The proof's typ is not dpop+jwt.")
    if algorithm not in ALGORITHMS:
        raise NoProofError(f"A proof is signed with {', '.join(ALGORITHMS)}.")
    key = _key(header.get("jwk"), algorithm)
    registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    registry.max_header_length = _LONGEST  # an RSA key is longer than it takes by itself
    try:
        signed = jws.deserialize_compact(
            compact.encode("ascii"), key, algorithms=[algorithm], registry=registry
        )
        claims = orjson.loads(signed.payload)
    except (JoseError, ValueError):
        raise NoProofError("The proof's signature does not verify.") from None
    if not isinstance(claims, dict):
        raise NoProofError("The proof says nothing.")
    made = _number(claims.get("iat"))
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= 256:
        raise NoProofError("The proof has no jti.")
    if claims.get("htm") != method:
        raise NoProofError("The proof is for another method.")
    if _place(claims.get("htu")) != _place(url):
        raise NoProofError("The proof is for another URL.")
    if made is None or not -skew - LIFE <= made - now <= skew:
        raise NoProofError("The proof was not made just now.")
    if token is not None and claims.get("ath") != _b64(sha256(token.encode()).digest()):
        raise NoProofError("The proof is for another token.")
    return Proof(key.thumbprint(), jti, made + LIFE + skew)


def _header(compact: str) -> dict[str, Any]:
    parts = compact.split(".")
    if len(compact) > _LONGEST or len(parts) != 3 or not compact.isascii():
        raise NoProofError("The proof is no signed token, or there are several.")
    try:
        header = orjson.loads(urlsafe_b64decode(parts[0] + "=" * (-len(parts[0]) % 4)))
    except ValueError:
        raise NoProofError("The proof cannot be read.") from None
    if not isinstance(header, dict):
        raise NoProofError("The proof cannot be read.")
    return header


def _key(jwk: Any, algorithm: str) -> ECKey | RSAKey:
    """The public key that a proof carries, of the kind that its algorithm takes."""
    if not isinstance(jwk, dict) or _PRIVATE & jwk.keys():
        raise NoProofError("The proof carries no public key, or a private one.")
    try:
        if algorithm in _CURVES:
            if jwk.get("kty") != "EC" or jwk.get("crv") != _CURVES[algorithm]:
                raise NoProofError("The proof's key is not of its algorithm.")
            return ECKey.import_key(jwk)
        if jwk.get("kty") != "RSA":
            raise NoProofError("The proof's key is not of its algorithm.")
        if len(str(jwk.get("n") or "")) * 6 < _BITS:  # base64url
            raise NoProofError(f"The proof's key is shorter than {_BITS} bits.")
        key = RSAKey.import_key(jwk)
    except (JoseError, ValueError, KeyError, TypeError):
        raise NoProofError("The proof's key cannot be read.") from None
    if key.public_key.key_size < _BITS:
        raise NoProofError(f"The proof's key is shorter than {_BITS} bits.")
    return key


def _place(url: object) -> tuple[str, str, str] | None:
    """A URL as `htu` is compared: without query and fragment, host and scheme without case."""
    if not isinstance(url, str):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    host = (parts.hostname or "") + ("" if port in (None, usual) else f":{port}")
    return parts.scheme, host, parts.path or "/"


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _b64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


class Proofs:
    """The proofs that were shown, in `proofs` of a service's own database, for as long as they could be
    shown again."""

    def __init__(self, mongo: Mongo, database: str) -> None:
        self._table = mongo.table(database, "proofs")

    async def prepare(self) -> None:
        """Make the collection and its index; kept when they exist."""
        await self._table.ensure(IndexModel([("until", 1)], expireAfterSeconds=0, name="until"))

    async def use(self, proof: Proof) -> bool:
        """Use a proof up; False when it was used before."""
        name = sha256(f"{proof.jkt}\0{proof.jti}".encode()).hexdigest()
        until = datetime.fromtimestamp(proof.until, UTC)
        try:
            await self._table.insert({"_id": name, "until": until})
        except DuplicateKeyError:
            return False
        return True
