"""The documents that say where and how to ask for a token (SMART 2.2, RFC 8414 / ITI-103, RFC 7517).

All are made from one `facts`, so that they cannot disagree, and none says more than works: there is no
`authorization_code` until people can sign in, although the Inferno test kit fails a server that only
has backend services for leaving it out, and IUA wants both grants (docs/decisions/0006-access-tokens.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from auth.assertion import ALGORITHMS
from chassis.settings import Settings

ANY_ORIGIN = {
    "Access-Control-Allow-Origin": "*",
    "X-Content-Type-Options": "nosniff",
}
_PREFLIGHT = {
    **ANY_ORIGIN,
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": "accept, content-type, authorization, prefer",
    "Access-Control-Max-Age": "86400",
}


def facts(settings: Settings, scopes: Sequence[str]) -> dict[str, Any]:
    """What every discovery document says. PURE."""
    issuer = settings.issuer
    return {
        "issuer": issuer,
        "jwks_uri": f"{issuer}/jwks",
        "token_endpoint": f"{issuer}/token",
        "registration_endpoint": f"{issuer}/register",
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "grant_types_supported": ["client_credentials"],
        "scopes_supported": list(scopes),
        "introspection_endpoint": f"{issuer}/introspect",
        "introspection_endpoint_auth_methods_supported": ["private_key_jwt", "Bearer"],
        "introspection_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "revocation_endpoint": f"{issuer}/revoke",
        "revocation_endpoint_auth_methods_supported": ["private_key_jwt"],
        "revocation_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        # SMART requires the member; it binds the code grant from the day there is one.
        "code_challenge_methods_supported": ["S256"],
    }


def smart_configuration(settings: Settings, scopes: Sequence[str]) -> dict[str, Any]:
    """SMART's document. `issuer` is left out: SMART ties it to OpenID Connect sign-in. PURE."""
    said = facts(settings, scopes)
    del said["issuer"]
    return said | {
        "capabilities": ["client-confidential-asymmetric", "permission-v1", "permission-v2"]
    }


def server_metadata(settings: Settings, scopes: Sequence[str]) -> dict[str, Any]:
    """RFC 8414's document with IHE's own member `access_token_format`. PURE."""
    return facts(settings, scopes) | {"access_token_format": ["ihe-jwt"]}


def open_route(
    path: str, document: Callable[[], Any] | Mapping[str, Any], *, seconds: int = 300
) -> Route:
    """A public JSON document that pages of any origin may read. `document` is the document itself, or
    a coroutine function that makes it."""
    fixed = orjson.dumps(document) if isinstance(document, Mapping) else None

    async def serve(request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=_PREFLIGHT)
        body = fixed if fixed is not None else orjson.dumps(await document())  # type: ignore[operator]
        headers = {**ANY_ORIGIN, "Cache-Control": f"public, max-age={seconds}"}
        return Response(body, headers=headers, media_type="application/json")

    return Route(path, serve, methods=["GET", "OPTIONS"], include_in_schema=False)
