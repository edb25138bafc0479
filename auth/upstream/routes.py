"""The routes of signing in elsewhere, for each provider of the settings.

/auth/upstream/{provider}/start     sign_in.py     /auth/upstream/{provider}/logout    logout.py
/auth/upstream/{provider}/return    sign_in.py     /auth/upstream/{provider}/keys      our public key
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from auth.authority import Authority
from auth.endpoint import answered
from auth.pages import door
from auth.upstream.logout import logout
from auth.upstream.sign_in import come_back, start

_UNDER = "/auth/upstream/{provider}"


def upstream_routes(authority: Authority) -> tuple[Route, ...]:
    """Every route; an unknown provider is a page that says so."""

    async def keys(request: Request) -> Response:
        party = authority.federation.party(str(request.path_params["provider"]))
        return answered(200 if party else 404, party.own_keys() if party else {"keys": []})

    return (
        door(f"{_UNDER}/start", start, authority),
        door(f"{_UNDER}/return", come_back, authority, methods=("GET",)),
        # A provider sends it, with no cookie of ours; what counts is the token's signature.
        door(f"{_UNDER}/logout", logout, authority, methods=("POST",), csrf=False),
        Route(f"{_UNDER}/keys", keys, methods=["GET"], include_in_schema=False),
    )
