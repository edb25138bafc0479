"""The documents that say where and how to ask for a token (SMART 2.2, OpenID Connect Discovery, RFC 8414 /
ITI-103, RFC 7517).

All are made from one `facts`, so that they cannot disagree, and none says more than works.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from auth.assertion import ALGORITHMS
from chassis import proof
from chassis.settings import Settings
from standards import iua, smart
from standards.rows import Transaction

ANY_ORIGIN = {
    "Access-Control-Allow-Origin": "*",
    "X-Content-Type-Options": "nosniff",
}
_CLAIMS = ("iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid", "fhirUser")
_PREFLIGHT = {
    **ANY_ORIGIN,
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": "accept, content-type, authorization, prefer",
    "Access-Control-Max-Age": "86400",
}


def scopes(rows: Iterable[Transaction]) -> list[str]:
    """Every scope that reaches something: those of sign-in and launch, then for each of the rows what a
    system, a user or an app with one patient in view may be given."""
    made = iua.scopes_supported((*iua.TRANSACTIONS, *smart.TRANSACTIONS, *rows))
    levels = [
        token.replace("system/", f"{level}/", 1)
        for level in ("patient", "user")
        for token in made
        if token.startswith("system/")
    ]
    return [*smart.SCOPES, *levels, *made]


def facts(settings: Settings, scopes: Sequence[str]) -> dict[str, Any]:
    """What every discovery document says. PURE."""
    issuer = settings.issuer
    confidential = ["client_secret_basic", "private_key_jwt"]
    return {
        "issuer": issuer,
        "jwks_uri": f"{issuer}/jwks",
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "registration_endpoint": f"{issuer}/register",
        "token_endpoint_auth_methods_supported": [*confidential, "none"],
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "scopes_supported": list(scopes),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "authorization_response_iss_parameter_supported": True,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
        "management_endpoint": f"{issuer}/apps",
        "introspection_endpoint": f"{issuer}/introspect",
        "introspection_endpoint_auth_methods_supported": [*confidential, "Bearer"],
        "introspection_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "revocation_endpoint": f"{issuer}/revoke",
        "revocation_endpoint_auth_methods_supported": [*confidential, "none"],
        "revocation_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "code_challenge_methods_supported": ["S256"],
        "dpop_signing_alg_values_supported": list(proof.ALGORITHMS),
    }


def smart_configuration(known: Mapping[str, Any]) -> dict[str, Any]:
    """SMART's document (SMART App Launch 2.2 conformance, digest 1.2). PURE."""
    return {**known, "capabilities": list(smart.CAPABILITIES)}


def openid_configuration(known: Mapping[str, Any]) -> dict[str, Any]:
    """OpenID Connect Discovery 1.0 §3, with RP-Initiated Logout's endpoint. PURE."""
    return {
        **known,
        "end_session_endpoint": f"{known['issuer']}/sign-out",
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "claim_types_supported": ["normal"],
        "claims_supported": list(_CLAIMS),
        "claims_parameter_supported": False,
    }


def server_metadata(known: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 8414's document with IHE's own member `access_token_format` (ITI-103). PURE."""
    return {**known, "access_token_format": ["ihe-jwt"]}


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
