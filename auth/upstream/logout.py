"""A provider ends somebody's sign-ins (OpenID Connect Back-Channel Logout 1.0): a smartcard was pulled,
or somebody signed out there. Whoever signed in here by it is signed out here within a second."""

from __future__ import annotations

import orjson
from starlette.requests import Request
from starlette.responses import Response

from auth.authority import Authority
from auth.endpoint import NEVER_STORED
from auth.pages import browsing
from auth.people import trail
from auth.upstream import id_token
from auth.upstream.id_token import Unbelievable
from auth.upstream.party import Silent
from auth.upstream.providers import plain_issuer
from standards.sign_in import LOGOUT

_TYPES = ("", "jwt", "logout+jwt")


async def logout(request: Request, authority: Authority) -> Response:
    """200 when it is done, also when nobody was signed in; 400 for a token that is not believed."""
    party = authority.federation.party(str(request.path_params["provider"]))
    if party is None:
        return _answered(404, "There is no such provider.")
    journeys = authority.federation.journeys
    try:
        claims, head = await party.believed(browsing(request).form.get("logout_token"))
        if head.typ not in _TYPES:
            id_token.refuse("The token is no logout token (typ).")
        metadata = await party.metadata()
        id_token.check_logout_token(
            claims, party.provider, issuer=metadata.issuer, now=authority.clock(),
            skew=authority.settings.clock_skew,
        )  # fmt: skip
        if not await journeys.first_use(metadata.issuer, claims["jti"]):
            id_token.refuse("The logout token was used before.")
    except Unbelievable as refusal:
        told = f"A logout token of the provider {party.provider.id} was refused: {refusal}"
        await trail.record(request, authority, LOGOUT, told, refused=True)
        return _answered(400, str(refusal))
    except Silent as fault:
        return _answered(503, str(fault))
    issuer = plain_issuer(metadata.issuer)
    ended = await journeys.end(issuer, claims.get("sub", ""), claims.get("sid", ""))
    arrivals = [row["_id"] for row in ended]
    await authority.reception.attempts.drop(arrivals)
    await authority.sessions.end_upstream(arrivals)
    for person_id in dict.fromkeys(row["person"] for row in ended):
        person = await authority.reception.people.get(person_id)
        words = f"Signed out by the provider {party.provider.id}."
        await trail.record(request, authority, LOGOUT, words, person=person)
    return Response(None, 200, NEVER_STORED)


def _answered(status: int, words: str) -> Response:
    error = "invalid_request" if status < 500 else "temporarily_unavailable"
    body = orjson.dumps({"error": error, "error_description": words})
    return Response(body, status, NEVER_STORED, media_type="application/json")
