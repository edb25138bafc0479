"""Believing an id_token or a logout token of a provider (OpenID Connect Core 1.0 §3.1.3.7, Back-Channel
Logout 1.0 §2.6), and nothing that only looks like one. PURE.

Everything that is not as it must be is `Unbelievable`, with words for the audit trail that hold nothing
of the token.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, NoReturn, TypeGuard

import orjson
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from joserfc.util import urlsafe_b64decode

from auth.upstream.providers import Provider

_LONGEST = 64 * 1024
_OLDEST = 600.0  # a token that was made longer ago was not made for this request
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
_FOREIGN = frozenset({"jku", "jwk", "x5u", "x5c", "crit", "b64", "zip"})
_LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


class Unbelievable(Exception):  # noqa: N818  that a token is refused is ordinary
    """The token is not believed; the text says why."""


class _Registry(jws.JWSRegistry):
    max_header_length = 4 * 1024


@dataclass(frozen=True, slots=True)
class Head:
    """What a token says of itself before it is believed: how and with which key it was signed."""

    compact: str
    alg: str
    kid: str
    typ: str


def head(compact: object, algorithms: Sequence[str]) -> Head:
    """Read a token's header. Raises `Unbelievable` unless it is signed in one of these ways."""
    if not isinstance(compact, str) or compact.count(".") != 2 or len(compact) > _LONGEST:
        refuse("The provider's token is no signed JWT.")
    header = _object(_decoded(compact.partition(".")[0]))
    alg, kid, typ = header.get("alg"), header.get("kid", ""), header.get("typ", "")
    if not isinstance(alg, str) or alg not in algorithms:
        refuse("The provider's token is signed in a way that is not agreed with it.")
    if _FOREIGN & header.keys():
        refuse("The provider's token names keys of its own or extensions.")
    if not isinstance(kid, str) or not isinstance(typ, str):
        refuse("The header of the provider's token cannot be read.")
    return Head(compact, alg, kid, typ.lower())


def choose(said: Head, keys: Iterable[Mapping[str, Any]]) -> RSAKey | ECKey | None:
    """The key that must have signed the token: the one of its kid, or, for a token that names none,
    the only one that fits. None when there is none or there are several."""
    fitting = [key for key in keys if _fits(key, said.alg)]
    if said.kid:
        fitting = [key for key in fitting if key.get("kid") == said.kid]
    if len(fitting) != 1:
        return None
    try:
        if said.alg.startswith("ES"):
            return ECKey.import_key({n: fitting[0][n] for n in ("kty", "crv", "x", "y")})
        size = int.from_bytes(urlsafe_b64decode(str(fitting[0]["n"]).encode())).bit_length()
        if not 2048 <= size <= 8192:
            return None
        return RSAKey.import_key({n: fitting[0][n] for n in ("kty", "n", "e")})
    except (JoseError, KeyError, TypeError, ValueError, AttributeError):
        return None


def _fits(key: Mapping[str, Any], alg: str) -> bool:
    if key.get("use", "sig") != "sig" or key.get("alg", alg) != alg:
        return False
    if alg.startswith("ES"):
        return key.get("kty") == "EC" and key.get("crv") == _CURVES[alg]
    return key.get("kty") == "RSA"


def opened(said: Head, key: RSAKey | ECKey) -> dict[str, Any]:
    """The claims of a token whose signature verifies with this key. Raises `Unbelievable`."""
    try:
        signed = jws.deserialize_compact(
            said.compact.encode("ascii"),
            key,
            algorithms=[said.alg],
            registry=_Registry(algorithms=[said.alg]),
        )
    except (JoseError, ValueError):
        refuse("The signature of the provider's token does not verify.")
    return _object(signed.payload)


def check_id_token(
    claims: Mapping[str, Any],
    provider: Provider,
    *,
    issuer: str,
    nonce: str,
    alg: str,
    access_token: str,
    max_age: float | None,
    now: float,
    skew: float,
) -> None:
    """Raises `Unbelievable` unless the claims are for us, for this request, fresh, and as strong as was
    asked for. `max_age` is None where no fresh sign-in was asked for."""
    _check_party(claims, provider, issuer)
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 1 <= len(subject) <= 255 or not subject.isprintable():
        refuse("The id_token has no subject.")
    _check_times(claims, now, skew)
    if not _number(claims.get("exp")):
        refuse("The id_token has no expiry.")
    given = claims.get("nonce")
    if not isinstance(given, str) or not hmac.compare_digest(given.encode(), nonce.encode()):
        refuse("The id_token is for another request (nonce).")
    if "at_hash" in claims and claims["at_hash"] != half_hash(access_token, alg):
        refuse("The id_token is for another access token (at_hash).")
    if max_age is not None:
        proved = claims.get("auth_time")
        if not _number(proved):
            refuse("The id_token does not say when the person signed in (auth_time).")
        if proved > now + skew or now - proved > max_age + skew:
            refuse("The sign-in at the provider is older than was asked for (auth_time).")
    accepted = provider.accepted or provider.acr_values
    if accepted and claims.get("acr") not in accepted:
        refuse("The sign-in at the provider was not of the strength asked for (acr).")
    if provider.vtr and not satisfies(claims.get("vot"), provider.vtr):
        refuse("The sign-in at the provider was not of the strength asked for (vot).")


def check_logout_token(
    claims: Mapping[str, Any], provider: Provider, *, issuer: str, now: float, skew: float
) -> None:
    """Raises `Unbelievable` unless the claims ask us to end somebody's sign-ins."""
    _check_party(claims, provider, issuer)
    _check_times(claims, now, skew)
    events = claims.get("events")
    if not isinstance(events, Mapping) or not isinstance(events.get(_LOGOUT_EVENT), Mapping):
        refuse("The token is no logout token (events).")
    if "nonce" in claims:  # an id_token must not pass for one
        refuse("A logout token has no nonce.")
    for name in ("sub", "sid", "jti"):
        if name in claims and (not isinstance(claims[name], str) or not claims[name]):
            refuse(f"The logout token's {name} is no string.")
    if "jti" not in claims:
        refuse("The logout token has no jti.")
    if "sub" not in claims and "sid" not in claims:
        refuse("The logout token says neither who nor which session.")


def satisfies(vot: object, vtr: Iterable[str]) -> bool:
    """Does what was reached satisfy one of the vectors asked for (RFC 8485)? Every component must be
    there; of proofing (P0, P5, P9) more is enough."""
    if not isinstance(vot, str):
        return False
    reached = vot.split(".")
    return any(all(_reached(part, reached) for part in one.split(".")) for one in vtr)


def _reached(part: str, reached: Sequence[str]) -> bool:
    if part[:1] == "P" and part[1:].isdecimal():
        levels = [int(r[1:]) for r in reached if r[:1] == "P" and r[1:].isdecimal()]
        return len(levels) == 1 and levels[0] >= int(part[1:])
    return part in reached


def is_strong(claims: Mapping[str, Any], provider: Provider) -> bool:
    """Does the sign-in at the provider count as two factors here?"""
    if provider.vtr:
        return bool(provider.strong) and satisfies(claims.get("vot"), provider.strong)
    return claims.get("acr") in provider.strong


def half_hash(token: str, alg: str) -> str:
    """`at_hash`: the left half of the token's hash, by the hash of the signature (§3.1.3.6)."""
    digest = hashlib.new("sha" + alg[2:], token.encode("ascii", "replace")).digest()
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()


def refuse(words: str) -> NoReturn:
    """Raises `Unbelievable`."""
    raise Unbelievable(words)


def _check_party(claims: Mapping[str, Any], provider: Provider, issuer: str) -> None:
    if claims.get("iss") != issuer:
        refuse("The token was issued by somebody else (iss).")
    audience = claims.get("aud")
    audience = [audience] if isinstance(audience, str) else audience
    if audience != [provider.client_id]:  # nobody else whom we would have to trust, either
        refuse("The token is not for this service alone (aud).")
    if claims.get("azp", provider.client_id) != provider.client_id:
        refuse("The token was asked for by somebody else (azp).")


def _check_times(claims: Mapping[str, Any], now: float, skew: float) -> None:
    issued = claims.get("iat")
    if not _number(issued):
        refuse("The token does not say when it was issued (iat).")
    if issued > now + skew or issued < now - _OLDEST - skew:
        refuse("The token was not issued just now (iat).")
    for name in ("exp", "nbf"):
        if name in claims and not _number(claims[name]):
            refuse(f"The token's {name} is no number.")
    if claims.get("exp", now + 1) <= now - skew:
        refuse("The token has expired (exp).")
    if claims.get("nbf", now) > now + skew:
        refuse("The token is not valid yet (nbf).")


def _decoded(part: str) -> bytes:
    try:
        return urlsafe_b64decode(part.encode("ascii"))
    except ValueError:
        refuse("The provider's token cannot be read.")


def _object(raw: bytes) -> dict[str, Any]:
    try:
        made = orjson.loads(raw)
    except ValueError:
        refuse("The provider's token cannot be read.")
    if not isinstance(made, dict):
        refuse("The provider's token cannot be read.")
    return made


def _number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
