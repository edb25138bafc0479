"""The client's proof of who it is: a signed assertion, private_key_jwt (SMART asymmetric clients).

Checked here and not by Authlib, whose own check refuses RS384 and ES384, takes assertions that live
for a day, and looks at neither `kid`, `typ` nor `jku`. Every failure is `invalid_client`. PURE but
for `Replays`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from math import isfinite
from typing import Any, NoReturn, TypeGuard

import orjson
from authlib.oauth2.rfc6749.errors import InvalidClientError
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from joserfc.util import urlsafe_b64decode
from pymongo import IndexModel
from pymongo.errors import DuplicateKeyError

from auth.client import Client
from auth.public_keys import algorithm, public_key
from chassis.mongo import Mongo

ALGORITHMS = ("RS384", "ES384")
LIFE = 300  # SMART: at most five minutes ahead
_LONGEST = 8 * 1024


class _Registry(jws.JWSRegistry):
    """joserfc's header rules, with room for a long `jku` (512 bytes are not enough)."""

    max_header_length = 4 * 1024


_REGISTRY = _Registry(algorithms=list(ALGORITHMS))


@dataclass(frozen=True, slots=True)
class Assertion:
    """An assertion that was read and not yet believed."""

    compact: str
    alg: str
    kid: str
    jku: str
    client_id: str


def read(compact: str) -> Assertion:
    """Read an assertion far enough to know whose key must verify it. Raises `InvalidClientError`."""
    parts = compact.split(".")
    if len(parts) != 3 or len(compact) > _LONGEST:
        refuse("The client assertion is not a signed JWT.")
    header, claims = _object(parts[0]), _object(parts[1])
    alg, kid, jku = header.get("alg"), header.get("kid"), header.get("jku", "")
    if alg not in ALGORITHMS:
        refuse("The client assertion must be signed with RS384 or ES384.")
    if header.get("typ") != "JWT":
        refuse("The client assertion's header needs typ JWT.")
    if not isinstance(kid, str) or not kid:
        refuse("The client assertion's header needs a kid.")
    if not isinstance(jku, str) or ("jku" in header and not jku):
        refuse("The client assertion's jku is not a URL.")
    client_id = claims.get("sub")
    if not isinstance(client_id, str) or not client_id or claims.get("iss") != client_id:
        refuse("The client assertion's iss and sub must both be the client id.")
    return Assertion(compact, str(alg), kid, jku, client_id)


def check_jku(assertion: Assertion, client: Client) -> None:
    """A `jku` may only repeat the registered URL; no other is ever fetched. Raises `InvalidClientError`."""
    if assertion.jku and assertion.jku != client.jwks_uri:
        refuse("The client assertion's jku is not the registered JWK Set URL.")


def choose(assertion: Assertion, jwks: Sequence[Mapping[str, Any]]) -> RSAKey | ECKey | None:
    """The one key of this set that fits the assertion's kid and algorithm; None when there is none.
    Raises `InvalidClientError` when there are several."""
    named = [j for j in jwks if j.get("kid") == assertion.kid and algorithm(j) == assertion.alg]
    if len(named) > 1:
        refuse("The client's JWK Set has several keys with the assertion's kid.")
    return public_key(named[0]) if named else None


def verify(
    assertion: Assertion,
    key: RSAKey | ECKey,
    *,
    audiences: Sequence[str],
    now: float,
    skew: float,
) -> tuple[str, float]:
    """Believe the assertion: its jti and its expiry. Raises `InvalidClientError`.

    `audiences` are the values of which `aud` must be exactly one. Lists of several are refused, since
    an assertion for two servers can be shown by one of them to the other.
    """
    try:
        signed = jws.deserialize_compact(
            assertion.compact.encode("ascii"), key, algorithms=[assertion.alg], registry=_REGISTRY
        )
    except (JoseError, ValueError):
        refuse("The client assertion's signature does not verify.")
    claims = _loaded(signed.payload)
    audience = claims.get("aud")
    if isinstance(audience, list) and len(audience) == 1:
        audience = audience[0]
    if not isinstance(audience, str) or audience not in audiences:
        refuse("The client assertion's aud must be this token endpoint and nothing else.")
    exp = claims.get("exp")
    if not _number(exp):
        refuse("The client assertion needs exp, a number.")
    if exp <= now - skew:
        refuse("The client assertion has expired.")
    if exp > now + LIFE + skew:
        refuse("The client assertion's exp must be at most five minutes ahead.")
    for name in ("nbf", "iat"):
        if name in claims and not _number(claims[name]):
            refuse(f"The client assertion's {name} is not a number.")
        if claims.get(name, now) > now + skew:
            refuse(f"The client assertion's {name} lies in the future.")
    jti = claims.get("jti")
    if not isinstance(jti, str) or not jti or len(jti) > 512:
        refuse("The client assertion needs a jti.")
    return jti, float(exp)


class Replays:
    """The assertions already used, in `auth.assertion_jtis`: one row per issuer and jti, for as long as
    the assertion could be shown again."""

    def __init__(self, mongo: Mongo, skew: float) -> None:
        self._table = mongo.table("auth", "assertion_jtis")
        self._skew = skew

    async def prepare(self) -> None:
        """Make the index that ends the rows; kept when it exists."""
        await self._table.ensure(IndexModel([("until", 1)], expireAfterSeconds=0, name="until"))

    async def use(self, client_id: str, jti: str, exp: float) -> None:
        """Use the assertion up. Raises `InvalidClientError` when any process used it before."""
        # Issuer and jti are the key itself: the unique index that every collection has anyway.
        key = sha256(orjson.dumps([client_id, jti])).digest()
        until = datetime.fromtimestamp(exp + self._skew, UTC) + timedelta(minutes=1)
        try:
            await self._table.insert({"_id": key, "until": until})
        except DuplicateKeyError:
            refuse("The client assertion was used before; make a new one with a new jti.")


def refuse(words: str) -> NoReturn:
    """`invalid_client`, 401 (RFC 6749 §5.2)."""
    raise InvalidClientError(description=words, status_code=401)


def _object(part: str) -> dict[str, Any]:
    try:
        return _loaded(urlsafe_b64decode(part.encode("ascii")))
    except ValueError:
        refuse("The client assertion cannot be read.")


def _loaded(raw: bytes) -> dict[str, Any]:
    try:
        made = orjson.loads(raw)  # unlike the json module it takes no NaN and no Infinity
    except ValueError:
        refuse("The client assertion cannot be read.")
    if not isinstance(made, dict):
        refuse("The client assertion cannot be read.")
    return made


def _number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
