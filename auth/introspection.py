"""ITI-102 / RFC 7662: what is this token, and is it still good?

The asker proves itself with an assertion or a bearer token of its own. It may ask about its own
tokens; about those of others it needs the scope ITI-102. Whoever may not learn about a token gets the
answer for a token that does not exist, so that the answer gives nothing away (RFC 7662 §2.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from authlib.oauth2.rfc6749.errors import InvalidClientError, InvalidRequestError

from auth import binding
from auth.accounts import Visit
from auth.authority import Authority, authenticate
from governance.scopes import outside
from standards import iua
from standards.outcome import Refused

INACTIVE: dict[str, Any] = {"active": False}


async def introspect(visit: Visit, authority: Authority) -> dict[str, Any]:
    """The introspection response. Raises `OAuth2Error` or `Refused` only when the asker itself is
    refused; every token that is not active here is just not active."""
    own, scope = await _asker(visit, authority)
    token = visit.value("token")
    if not token:
        raise InvalidRequestError("token is missing.")
    visit.worth_telling = False  # only refusals are audited; the token's use is, where it is used
    try:
        caller = await authority.verifier.caller(token)
    except Refused as refusal:
        if refusal.status() != 401:
            raise
        return INACTIVE
    # A token past its time is not active, whatever is tolerated between clocks elsewhere.
    if caller.expires <= authority.clock():
        return INACTIVE
    if caller.client_id != own and not _may(scope):
        visit.refused = visit.worth_telling = True
        visit.words = (
            f"The asker has no scope {iua.INTROSPECT} to learn about another client's token."
        )
        return INACTIVE
    claims: Mapping[str, Any] = caller.claims
    if iua.INTERNAL not in scope.split():
        claims = iua.told(claims, authority.settings.issuer)
    kind = "DPoP" if caller.jkt else "Bearer"
    return {"active": True, "token_type": kind, **claims}


async def _asker(visit: Visit, authority: Authority) -> tuple[str, str]:
    """The asking client's id, and its scope, which says whether it may ask about everybody's tokens."""
    kind, _, bearer = visit.authorization.partition(" ")
    if kind.lower() != "bearer":
        client = await authenticate(visit, authority)
        return client.client_id, client.scope
    if visit.value("client_assertion") or visit.value("client_secret"):
        raise InvalidRequestError("More than one way of client authentication is used.")
    caller = await binding.bearer(bearer.strip(), authority)
    visit.client = await authority.clients.get(caller.client_id)
    if visit.client is None:
        raise InvalidClientError(description="The client is not registered here.", status_code=401)
    return caller.client_id, caller.scope


def _may(scope: str) -> bool:
    held = scope.split()
    return any(not outside([one], held) for one in (iua.INTROSPECT, iua.INTERNAL))
