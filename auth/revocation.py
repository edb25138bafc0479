"""RFC 7009: a client takes its own token back, and every process refuses it within a second."""

from __future__ import annotations

from typing import Any

from authlib.oauth2.rfc6749.errors import InvalidGrantError, InvalidRequestError

from auth.accounts import Visit
from auth.authority import Authority, authenticate
from auth.authorize import refresh
from auth.client import Client
from standards.outcome import Refused


async def revoke(visit: Visit, authority: Authority) -> dict[str, Any]:
    """An empty answer, also for a token that is unknown, spent or revoked already (§2.2). A refresh
    token takes all of its grant with it. Raises `InvalidGrantError` when the token is another client's
    (§2.1)."""
    client = await authenticate(visit, authority, public=True)
    token = visit.value("token")
    if not token:
        raise InvalidRequestError("token is missing.")
    if token.startswith(refresh.PREFIX):
        await _end_family(visit, token, client, authority)
        return {}
    try:
        caller = await authority.verifier.caller(token)
    except Refused as refusal:
        if refusal.status() != 401:
            raise
        visit.words = "The token was not valid any more."
        return {}
    if caller.client_id != client.client_id:
        raise InvalidGrantError("The token was issued to another client.")
    visit.jti = caller.jti
    skew = authority.settings.clock_skew
    await authority.revocations.end_token(caller.jti, caller.expires + skew)
    return {}


async def _end_family(visit: Visit, token: str, client: Client, authority: Authority) -> None:
    held = await authority.refresh_tokens.get(token)
    if held is None:
        visit.words = "The token is not known."
        return
    if held.client_id != client.client_id:
        raise InvalidGrantError("The token was issued to another client.")
    visit.person = await authority.grants.get(held.grant)
    visit.words = f"The grant {held.grant} has ended with all its tokens."
    await authority.grants.end(held.grant, "its app gave it back")
