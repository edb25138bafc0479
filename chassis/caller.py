"""From a bearer token to the caller behind it, and how to say no (RFC 6750, security digest 1.20).

Systems show signed tokens, apps opaque ones (`to_…`, docs/decisions/0026): of the first the signature
is checked, for the second the auth service is asked. Either way a token is checked once and remembered
by its digest until it expires; what stays to be done for a known one is a look-up, a comparison with
the clock and a question about revocation. Keys, revocations and what opaque tokens stand for come from
the auth service itself or, apart, from `chassis/trust.py`.
"""

from __future__ import annotations

import re
import time
from binascii import Error as NotBase64
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from math import isfinite
from typing import Any, NamedTuple, NoReturn, Protocol

import orjson
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from joserfc.util import urlsafe_b64decode

from chassis.call import Caller
from chassis.proof import ALGORITHMS
from chassis.settings import Settings
from standards import iua
from standards.outcome import EXPIRED, TOKEN, ErrorKind, Issue, Refused

REALM = "throughline"
OPAQUE = "to_"
_LONGEST = 16 * 1024
_RANDOM = re.compile(r"to_[A-Za-z0-9_-]{40,128}").fullmatch


class Keys(Protocol):
    """The issuer's public keys."""

    async def key(self, kid: str) -> RSAKey | None:
        """The key of this id, or None when the issuer publishes none."""
        ...


class Revocations(Protocol):
    """What the issuer took back."""

    @property
    def stale(self) -> bool:
        """True when the copy is older than may be trusted."""
        ...

    async def refresh(self) -> None:
        """Learn what is new; raises when the issuer cannot be asked."""
        ...

    def revoked(
        self, keys: Sequence[str], issued: float, client_id: str = "", generation: int = 0
    ) -> bool:
        """Is anything revoked that a token issued at this moment hangs on: `jti:…`, `client:…`,
        `grant:…`, `session:…`, `person:…`, or that generation of the client's registration?"""
        ...


class Tokens(Protocol):
    """What the issuer's opaque tokens stand for."""

    async def claims(self, token: str) -> Mapping[str, Any] | None:
        """The claims of this token, or None when there is no such token. Raises `Refused(BUSY)` when
        the issuer cannot be asked."""
        ...


class Verifier:
    """Verifies access tokens of this exchange; one per process."""

    def __init__(
        self,
        settings: Settings,
        keys: Keys,
        revocations: Revocations,
        *,
        tokens: Tokens | None = None,
        clock: Callable[[], float] = time.time,
        remembered: int = 10_000,
    ) -> None:
        self._issuer, self._audience = settings.issuer, settings.fhir_base
        self._skew = float(settings.clock_skew)
        self._keys, self._revocations, self._tokens = keys, revocations, tokens
        self._clock, self._limit = clock, remembered
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    async def caller(self, token: str) -> Caller:
        """The caller a token stands for.

        Raises `Refused` with 401 and the challenge of RFC 6750 when the token is not valid here, has
        expired or was revoked, and with 503 when nobody can say whether it was.
        """
        digest = sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._known.get(digest)
        if known is None:
            known = self._accepted(await self._claims(token))
            self._known[digest] = known
            if len(self._known) > self._limit:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(digest)
        caller, keys, issued = known
        if self._clock() >= caller.expires + self._skew:
            self._known.pop(digest, None)
            _refuse("The token has expired; ask for a new one.", EXPIRED)
        if self._revocations.stale:
            await self._revocations.refresh()
        if self._revocations.revoked(keys, issued, caller.client_id, caller.generation):
            _refuse("The token has been revoked.")
        return caller

    async def _claims(self, token: str) -> Any:
        """What the token says: of itself when it is signed, or as the issuer knows it."""
        if not token.startswith(OPAQUE):
            return await self._verified(token)
        if self._tokens is None or not _RANDOM(token):
            _refuse("The token is not one of this server.")
        claims = await self._tokens.claims(token)
        if claims is None:
            _refuse("The token is not one of this server, or no longer.")
        return claims

    async def _verified(self, token: str) -> Any:
        header = _header(token)
        if header.get("alg") != "RS256":
            _refuse("The token is not signed the way this server signs.")
        if str(header.get("typ", "")).lower() not in iua.ACCESS_TOKEN_TYPES:
            _refuse("This is not an access token.")
        kid = header.get("kid")
        if not isinstance(kid, str) or not kid:
            _refuse("The token does not say which key signed it.")
        key = await self._keys.key(kid)
        if key is None:
            _refuse("The token is signed with a key that this server does not know.")
        try:
            signed = jws.deserialize_compact(token.encode("ascii"), key, algorithms=["RS256"])
            return orjson.loads(signed.payload)
        except (JoseError, ValueError):
            _refuse("The token's signature does not verify.")

    def _accepted(self, claims: Any) -> _Known:
        if not isinstance(claims, dict) or iua.missing(claims):
            _refuse("The token lacks a required claim.")
        if claims["iss"] != self._issuer:
            _refuse("The token was issued by another server.")
        audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        if self._audience not in audience:
            _refuse("The token is meant for another server.")
        now, skew = self._clock(), self._skew
        times = [claims["exp"], claims["iat"], claims.get("nbf", claims["iat"])]
        if not all(_number(t) for t in times):
            _refuse("The token's times are not numbers.")
        if now >= times[0] + skew:
            _refuse("The token has expired; ask for a new one.", EXPIRED)
        if times[1] > now + skew or times[2] > now + skew:
            _refuse("The token is not valid yet.")
        caller = _caller(claims, self._issuer)
        return _Known(caller, _keys(caller), float(times[1]))


class _Known(NamedTuple):
    """A token that was accepted: its caller, what it hangs on, and when it was issued."""

    caller: Caller
    keys: tuple[str, ...]
    issued: float


def _caller(claims: Mapping[str, Any], issuer: str) -> Caller:
    who, ends = iua.identity(claims, issuer), iua.ends(claims, issuer)
    patient, fhir_user = claims.get("patient"), claims.get("fhirUser")
    cnf = claims.get("cnf")
    jkt = cnf.get("jkt") if isinstance(cnf, Mapping) else None
    return Caller(
        client_id=claims["client_id"],
        subject=claims["sub"],
        issuer=claims["iss"],
        jti=claims["jti"],
        scope=claims["scope"],
        organisation=who.organisation,
        role=who.role,
        purpose=who.purpose,
        reason=who.reason,
        name=who.name,
        expires=float(claims["exp"]),
        patient=patient if isinstance(patient, str) else "",
        person=ends["person"],
        grant=ends["grant"],
        session=ends["session"],
        jkt=jkt if isinstance(jkt, str) else "",
        fhir_user=fhir_user if isinstance(fhir_user, str) else "",
        generation=iua.generation(claims, issuer),
        claims=claims,
    )


def _keys(caller: Caller) -> tuple[str, ...]:
    """The names of everything whose end is the end of the token."""
    ends = (("grant", caller.grant), ("session", caller.session), ("person", caller.person))
    return (
        "jti:" + caller.jti,
        "client:" + caller.client_id,
        *(f"{kind}:{one}" for kind, one in ends if one),
    )


def challenge(error: str = "", words: str = "", scope: str = "") -> dict[str, str]:
    """The `WWW-Authenticate` header of a refusal (RFC 6750 §3).

    Without `error` it only says that a bearer token is needed; `error` is `invalid_token` or
    `insufficient_scope`, `words` become its description and `scope` what would have done.
    """
    parts = [f'realm="{REALM}"']
    for name, value in (("error", error), ("error_description", words), ("scope", scope)):
        if value:
            parts.append(f'{name}="{printable(value)}"')
    return {"WWW-Authenticate": "Bearer " + ", ".join(parts)}


def dpop_challenge(error: str, words: str) -> dict[str, str]:
    """The `WWW-Authenticate` header of a refusal to who shows a token with a proof (RFC 9449 §7.1)."""
    algorithms = " ".join(ALGORITHMS)
    said = f'error="{error}", error_description="{printable(words)}", algs="{algorithms}"'
    return {"WWW-Authenticate": f'DPoP realm="{REALM}", {said}'}


def printable(text: str, longest: int = 400) -> str:
    """Text that may stand in an `error_description` (RFC 6749 §5.2): ASCII, one line, no quotes and
    no backslashes; what may not becomes a question mark."""
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "?" for c in text[:longest])


def _refuse(words: str, kind: ErrorKind = TOKEN) -> NoReturn:
    raise Refused(Issue(kind, words), headers=challenge("invalid_token", words))


def _header(token: str) -> dict[str, Any]:
    parts = token.split(".")
    if len(parts) != 3 or len(token) > _LONGEST:
        _refuse("The token is not a signed token of this server.")
    try:
        header = orjson.loads(urlsafe_b64decode(parts[0].encode("ascii")))
    except (ValueError, NotBase64):
        _refuse("The token cannot be read.")
    if not isinstance(header, dict):
        _refuse("The token cannot be read.")
    return header


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
