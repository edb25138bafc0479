"""IHE Internet User Authorization (IUA Rev 2.4): its transactions as rows, and its token's claims.

The access token is the JWT of IUA 3.71 with RFC 9068's `typ`: registered claims at the top, IUA's
own under `extensions.ihe_iua`. `claims` writes them and `identity` reads them back. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from standards import balp
from standards.rows import Needs, Public, Transaction, Unaudited

INTROSPECT = "ITI-102"
INTERNAL = "throughline.internal"
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
TOKEN_TYPES = (
    "urn:ietf:params:oauth:token-type:jwt",
    "urn:ietf:params:oauth:token-type:access-token",
    "urn:ietf:params:oauth:token-type:access_token",  # RFC 8693's spelling of the same
)
ACCESS_TOKEN_TYPE = "at+jwt"  # noqa: S105  RFC 9068 §2.1: no other JWT of ours can pass for a token
ACCESS_TOKEN_TYPES = frozenset({ACCESS_TOKEN_TYPE, "application/at+jwt"})

_OWN_KEY = Public("the client proves itself with its own key or secret, not with a token")

GET_TOKEN = Transaction(
    code="ITI-71",
    name="Get Access Token",
    service="auth",
    interaction="internal",
    resource="",
    routes=(("POST", "/auth/token"),),
    scope=_OWN_KEY,
    audit=balp.ITI_71,
    see="IUA 3.71; SMART App Launch 2.2 Backend Services, obtain-access-token, refresh",
    body="raw",
    surface="internal",
    words="authorization_code and refresh_token for apps of people; client_credentials for systems, with a "
    "signed assertion (RS384, ES384).",
)
INCORPORATE_TOKEN = Transaction(
    code="ITI-72",
    name="Incorporate Access Token",
    service="chassis",
    interaction="internal",
    resource="",
    routes=(),
    scope=Public("it is how every other transaction shows its token, not a path of its own"),
    audit=Unaudited("the transaction that shows the token is audited, refusals included"),
    see="IUA 3.72; RFC 6750",
    surface="internal",
    words="Authorization: Bearer on every FHIR request; 401 without a valid token, 403 beyond its scope.",
)
INTROSPECT_TOKEN = Transaction(
    code="ITI-102",
    name="Introspect Token",
    service="auth",
    interaction="internal",
    resource="",
    routes=(("POST", "/auth/introspect"),),
    scope=Needs("", "", (INTROSPECT, INTERNAL)),
    audit=balp.ITI_102,
    see="IUA 3.102; RFC 7662",
    body="raw",
    surface="internal",
    words="A client may ask about its own tokens; about those of others with the scope ITI-102.",
)
GET_METADATA = Transaction(
    code="ITI-103",
    name="Get Authorization Server Metadata",
    service="auth",
    interaction="internal",
    resource="",
    routes=(("GET", "/.well-known/oauth-authorization-server/auth"),),
    scope=Public("IUA 3.103: asked without credentials"),
    audit=Unaudited("says nothing about any person"),
    see="IUA 3.103; RFC 8414",
    surface="internal",
)
DISCOVER = Transaction(
    code="smart-configuration",
    name="SMART configuration",
    service="auth",
    interaction="internal",
    resource="",
    routes=(("GET", "/fhir/.well-known/smart-configuration"),),
    scope=Public("SMART App Launch 2.2: served without authentication"),
    audit=Unaudited("says nothing about any person"),
    see="SMART App Launch 2.2 conformance",
    surface="internal",
)
REVOKE_TOKEN = Transaction(
    code="revocation",
    name="Revoke Token",
    service="auth",
    interaction="internal",
    resource="",
    routes=(("POST", "/auth/revoke"),),
    scope=_OWN_KEY,
    audit=balp.REVOCATION,
    see="RFC 7009",
    body="raw",
    surface="internal",
)
GET_KEYS = Transaction(
    code="jwks",
    name="Signing keys",
    service="auth",
    interaction="internal",
    resource="",
    routes=(("GET", "/auth/jwks"),),
    scope=Public("public keys are for everyone who must verify a token"),
    audit=Unaudited("says nothing about any person"),
    see="RFC 7517; IUA 3.103 jwks_uri",
    surface="internal",
)
REVOCATIONS = Transaction(
    code="revocations",
    name="Revoked tokens",
    service="auth",
    interaction="internal",
    resource="",
    routes=(("GET", "/auth/revocations"),),
    scope=Needs("", "", (INTERNAL,)),
    audit=Unaudited("asked twice a second by each service; each revocation itself is audited"),
    see="design §4",
    parameters=("since",),
    surface="internal",
)

TRANSACTIONS: tuple[Transaction, ...] = (
    GET_TOKEN, INCORPORATE_TOKEN, INTROSPECT_TOKEN, REVOKE_TOKEN, GET_METADATA, DISCOVER, GET_KEYS,
    REVOCATIONS,
)  # fmt: skip

_ENDS = ("grant", "session", "person")
_REQUIRED = ("iss", "sub", "client_id", "jti", "scope")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who acts, for whom and why, in the codes of the affinity pack ("" when not known)."""

    organisation: str = ""
    role: str = ""
    purpose: str = ""
    reason: str = ""
    name: str = ""


def claims(
    who: Identity,
    *,
    issuer: str,
    audience: str,
    client_id: str,
    scope: str,
    jti: str,
    now: int,
    seconds: int,
    words: balp.Vocabulary,
    generation: int = 0,
    subject: str = "",
    patient: str = "",
) -> dict[str, Any]:
    """The claims of an access token (IUA 3.71.4.2.2.1, RFC 9068 §2.2): of a backend client, or of an app
    that acts for the person `subject`, who has the record of `patient` open.

    `words` gives the code systems of the pack's codes. The organisation is a URI, as IUA wants: the
    system and, after a slash, the code. `generation` is that of the client's registration.
    """
    made: dict[str, Any] = {
        "iss": issuer,
        "sub": subject or client_id,
        "aud": [audience],
        "exp": now + seconds,
        "iat": now,
        "nbf": now,
        "jti": jti,
        "client_id": client_id,
        "scope": scope,
    }
    told: dict[str, Any] = {}
    if who.name:
        told["subject_name"] = who.name
    if who.organisation:
        told["subject_organization_id"] = (
            f"{words.organisations}/{quote(who.organisation, safe='')}"
        )
    if who.role:
        told["subject_role"] = [_coding(words.roles, who.role)]
    if who.purpose:
        told["purpose_of_use"] = [_coding(words.purposes, who.purpose)]
    if patient:
        told["person_id"] = patient
    if told:
        made["extensions"] = {"ihe_iua": told}
    if who.reason:
        made[_reason(issuer)] = who.reason
    if generation:
        made[_generation(issuer)] = generation
    return made


def missing(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """The required claims that a token lacks or that are not of their type."""
    strings = [n for n in _REQUIRED if not isinstance(claims.get(n), str)]
    empty = [n for n in _REQUIRED if n != "scope" and claims.get(n) == ""]
    return (*strings, *empty, *(n for n in ("aud", "exp", "iat") if not claims.get(n)))


def identity(claims: Mapping[str, Any], issuer: str) -> Identity:
    """What `claims` wrote, read back. Parts that are absent or of another shape read as ""."""
    extensions = claims.get("extensions")
    told = extensions.get("ihe_iua") if isinstance(extensions, Mapping) else None
    if not isinstance(told, Mapping):
        told = {}
    return Identity(
        organisation=unquote(_text(told.get("subject_organization_id")).rpartition("/")[2]),
        role=_first_code(told.get("subject_role")),
        purpose=_first_code(told.get("purpose_of_use")),
        reason=_text(claims.get(_reason(issuer))),
        name=_text(told.get("subject_name")),
    )


def generation(claims: Mapping[str, Any], issuer: str) -> int:
    """Under which generation of the client's registration the token was issued."""
    told = claims.get(_generation(issuer), 0)
    return told if isinstance(told, int) else 0


def ends(claims: Mapping[str, Any], issuer: str) -> dict[str, str]:
    """What an app's token hangs on: the `grant`, `session` and `person` that end it when they end. ""
    where the token is nobody's, as a back-end system's is."""
    return {kind: _text(claims.get(_own(issuer, kind))) for kind in _ENDS}


def hanging_on(issuer: str, *, grant: str, session: str, person: str) -> dict[str, str]:
    """The claims that `ends` reads. They are for the exchange's own services: `told` leaves them out."""
    said = {"grant": grant, "session": session, "person": person}
    return {_own(issuer, kind): said[kind] for kind in _ENDS if said[kind]}


def told(claims: Mapping[str, Any], issuer: str) -> dict[str, Any]:
    """The claims as others than our own services are told them (IUA 3.102)."""
    hidden = {_own(issuer, kind) for kind in _ENDS}
    return {name: value for name, value in claims.items() if name not in hidden}


def scopes_supported(rows: Iterable[Transaction]) -> list[str]:
    """The scopes that reach something on these rows, for discovery: each transaction's own name, each
    resource type with its letters, and the wildcard. Our own service scope is nobody else's."""
    letters: dict[str, set[str]] = {}
    literals: set[str] = set()
    for row in rows:
        if isinstance(row.scope, Needs):
            literals.update(x for x in row.scope.literals if x != INTERNAL)
            if row.scope.letter and row.scope.resource:
                letters.setdefault(row.scope.resource, set()).add(row.scope.letter)
    clinical = [
        f"system/{kind}." + "".join(x for x in "cruds" if x in found)
        for kind, found in sorted(letters.items())
    ]
    every = "".join(x for x in "cruds" if any(x in found for found in letters.values()))
    wildcard = [f"system/*.{every}"] if every else []
    return [*wildcard, *clinical, *sorted(literals, key=_by_number)]


def _by_number(literal: str) -> tuple[str, int, str]:
    prefix, _, number = literal.rpartition("-")
    return (prefix, int(number), "") if number.isdigit() else (literal, 0, literal)


def _reason(issuer: str) -> str:
    return _own(issuer, "reason")


def _own(issuer: str, name: str) -> str:
    return f"{issuer}/claims/{name}"


def _generation(issuer: str) -> str:
    return f"{issuer}/claims/client_generation"


def _coding(system: str, code: str) -> dict[str, str]:
    return {"system": system, "code": code} if system else {"code": code}


def _first_code(codings: object) -> str:
    if isinstance(codings, list) and codings and isinstance(codings[0], Mapping):
        return _text(codings[0].get("code"))
    return ""


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
