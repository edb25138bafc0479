"""RFC 7009: a client takes its own token back, and every process refuses it within a second."""

from __future__ import annotations

from typing import Any

from authlib.oauth2.rfc6749.errors import InvalidGrantError, InvalidRequestError

from auth.accounts import Visit
from auth.authority import Authority, authenticate
from standards.outcome import Refused


async def revoke(visit: Visit, authority: Authority) -> dict[str, Any]:
    """An empty answer, also for a token that is unknown, spent or revoked already (§2.2). Raises
    `InvalidGrantError` when the token is another client's (§2.1)."""
    client = await authenticate(visit, authority)
    token = visit.value("token")
    if not token:
        raise InvalidRequestError("token is missing.")
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
