"""ITI-71: an access token. Backend clients get theirs here (SMART Backend Services, IUA client
credentials); apps, for a code or a refresh token, in `auth/bridge.py`."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Collection
from typing import Any

from authlib.oauth2.base import OAuth2Error
from authlib.oauth2.rfc6749.errors import (
    InvalidGrantError,
    InvalidRequestError,
    InvalidScopeError,
    UnauthorizedClientError,
    UnsupportedGrantTypeError,
)
from joserfc import jws

from auth import binding, bridge
from auth.accounts import Visit
from auth.authority import Authority, authenticate
from auth.client import Client
from auth.keys import SigningKey
from governance.scopes import outside
from standards import iua

_TOKEN = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+")
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LONGEST_SCOPE = 4096
_LONGEST_REASON = 500


class InvalidTargetError(OAuth2Error):
    """The `resource` asked for is not served here (RFC 8707 §2)."""

    error = "invalid_target"


async def get_token(visit: Visit, authority: Authority) -> dict[str, Any]:
    """The token response. Raises `OAuth2Error` for every refusal of RFC 6749 §5.2."""
    grant = visit.value("grant_type")
    check_grant(grant)
    if grant in bridge.GRANTS:
        await name_the_client(visit, authority)
        client = await authenticate(visit, authority, public=True)
        check_allowed(grant, client)
        check_request(visit, authority.settings.fhir_base)
        return await bridge.exchange(visit, client, authority)
    client = await authenticate(visit, authority)
    check_allowed(grant, client)
    check_request(visit, authority.settings.fhir_base)
    scope = granted(visit.value("scope"), client.scope)
    purpose = agreed(visit.value("purpose_of_use"), authority.purposes)
    who = acting(client, purpose, visit.value("reason"))
    jkt = await binding.thumbprint(visit, authority)
    signing = await authority.keys.signing()
    visit.jti, visit.purpose = str(uuid.uuid4()), who.purpose
    visit.granted = {"scope": scope, "reason": who.reason}
    seconds = authority.settings.token_seconds
    claims = iua.claims(
        who,
        issuer=authority.settings.issuer,
        audience=authority.settings.fhir_base,
        client_id=client.client_id,
        scope=scope,
        jti=visit.jti,
        now=int(authority.clock()),
        seconds=seconds,
        words=authority.words,
        generation=client.generation,
    )
    if jkt:
        claims["cnf"] = {"jkt": jkt}
    return {
        "access_token": signed(claims, signing),
        "token_type": "DPoP" if jkt else "Bearer",
        "expires_in": seconds,
        "scope": scope,
    }


async def name_the_client(visit: Visit, authority: Authority) -> None:
    """SMART's JavaScript client refreshes without saying who it is: a refresh token names its client,
    which is enough for one that has no proof to give (security digest 8.1)."""
    silent = not visit.authorization and not visit.value("client_assertion")
    if visit.value("grant_type") == "refresh_token" and silent and not visit.value("client_id"):
        held = await authority.refresh_tokens.get(visit.value("refresh_token"))
        if held is None:
            raise InvalidGrantError("The refresh token is not one of this server.")
        visit.form = (*visit.form, ("client_id", held.client_id))


def check_grant(grant: str) -> None:
    """The three grants there are. PURE."""
    if not grant:
        raise InvalidRequestError("grant_type is missing.")
    if grant not in (*bridge.GRANTS, "client_credentials"):
        error = UnsupportedGrantTypeError("")
        error.description = (
            "This server takes authorization_code, refresh_token and client_credentials."
        )
        raise error


def check_allowed(grant: str, client: Client) -> None:
    """Only the grants that the client is registered for. PURE."""
    if not client.allows(grant):
        raise UnauthorizedClientError(f"The client is not registered for the grant {grant}.")


def check_request(visit: Visit, base: str) -> None:
    """IUA 3.71's optional parameters: the one resource server there is, and a JWT. PURE."""
    resource = visit.value("resource")
    if resource and resource.rstrip("/") != base:
        raise InvalidTargetError("This server issues tokens for its own FHIR base only.")
    kind = visit.value("requested_token_type")
    if kind and kind not in iua.TOKEN_TYPES:
        raise InvalidRequestError("requested_token_type must be a JWT access token.")


def granted(asked: str, ceiling: str) -> str:
    """The scope to grant: all that was asked, in its own spelling, or `InvalidScopeError`.

    A backend client is refused whole rather than given less than it asked for, because nobody reads
    what a machine was granted (security digest 1.13). PURE.
    """
    tokens = list(dict.fromkeys(asked.split(" "))) if asked else []
    tokens = [t for t in tokens if t]
    if not tokens:
        raise InvalidScopeError("Ask for a scope, for example system/DocumentReference.rs.")
    if len(asked) > _LONGEST_SCOPE or not all(map(_TOKEN.fullmatch, tokens)):
        raise InvalidScopeError("The scope cannot be read.")
    beyond = outside(tokens, ceiling.split())
    if beyond:
        words = "The client is not registered for all of the scope."
        # Tokens match RFC 6749's own alphabet, so they may be named in the description.
        raise InvalidScopeError(f"{words} Beyond it: {' '.join(beyond)[:200]}")
    return " ".join(tokens)


def agreed(purpose: str, purposes: Collection[str]) -> str:
    """The stated purpose, if it is one of the community's; the audit trail keeps it as a code of its
    code system, so another would be a code that does not exist. PURE."""
    if purpose and not _CODE.fullmatch(purpose):
        raise InvalidRequestError("purpose_of_use is not a code.")
    if purpose and purpose not in purposes:
        raise InvalidScopeError(
            f"purpose_of_use {purpose} is not agreed here. There are {', '.join(sorted(purposes))}."
        )
    return purpose


def acting(client: Client, purpose: str, reason: str) -> iua.Identity:
    """For whom and why the client acts. A client with a single purpose need not repeat it.

    IUA treats such claims as part of what is asked for, so a purpose beyond the client's is
    `invalid_scope`. PURE.
    """
    if len(reason) > _LONGEST_REASON or not reason.isprintable():
        raise InvalidRequestError("reason is one line of at most 500 characters.")
    if purpose and client.purposes and purpose not in client.purposes:
        raise InvalidScopeError("The client is not registered for this purpose_of_use.")
    if not purpose and len(client.purposes) == 1:
        purpose = client.purposes[0]
    return iua.Identity(client.organisation, client.role, purpose, reason, client.name)


def signed(claims: dict[str, Any], signing: SigningKey) -> str:
    """The access token: RS256, `typ: at+jwt`. PURE."""
    header = {"alg": "RS256", "kid": signing.kid, "typ": iua.ACCESS_TOKEN_TYPE}
    # json.dumps escapes what is not ASCII, which keeps the token readable with a plain base64 reader.
    payload = json.dumps(claims, separators=(",", ":")).encode()
    return jws.serialize_compact(header, payload, signing.key, algorithms=["RS256"])
