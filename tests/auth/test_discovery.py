"""The discovery documents: true, agreeing, and readable from any page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata

from auth import discovery
from chassis.settings import Settings
from standards import iua
from tests.auth.authority import ORIGIN, Server, a_backend, a_token

SMART = "/fhir/.well-known/smart-configuration"
RFC_8414 = "/.well-known/oauth-authorization-server/auth"


async def document(server: Server, path: str) -> dict[str, Any]:
    answer = await server.http.get(
        path, headers={"Accept": "application/fhir+json", "Origin": "https://a.example"}
    )
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
    made = answer.json()
    assert isinstance(made, dict)
    return made


async def test_both_documents_agree_wherever_both_speak(server: Server) -> None:
    smart, rfc = await document(server, SMART), await document(server, RFC_8414)
    shared = set(smart) & set(rfc)
    assert {"token_endpoint", "jwks_uri", "introspection_endpoint", "scopes_supported"} <= shared
    assert {k: smart[k] for k in shared} == {k: rfc[k] for k in shared}
    assert rfc["issuer"] == server.settings.issuer
    assert all(v not in ([], "", None) for v in (*smart.values(), *rfc.values()))


async def test_every_endpoint_that_is_named_answers(server: Server) -> None:
    said = await document(server, RFC_8414)
    assert said["token_endpoint"] == f"{ORIGIN}/auth/token"
    for name in ("token_endpoint", "introspection_endpoint", "revocation_endpoint"):
        answer = await server.http.post(said[name], data={"x": "y"})
        assert answer.status_code in (400, 401), name
    assert (await server.http.get(said["jwks_uri"])).json()["keys"]


async def test_smart_says_what_works_and_no_more(server: Server) -> None:
    said = await document(server, SMART)
    assert said["grant_types_supported"] == ["client_credentials"]
    assert said["token_endpoint_auth_signing_alg_values_supported"] == ["RS384", "ES384"]
    assert said["capabilities"] == [
        "client-confidential-asymmetric",
        "permission-v1",
        "permission-v2",
    ]
    assert said["code_challenge_methods_supported"] == ["S256"]
    assert "authorization_endpoint" not in said
    assert "issuer" not in said


async def test_every_scope_that_is_listed_can_be_had(server: Server) -> None:
    scopes = (await document(server, SMART))["scopes_supported"]
    assert "throughline.internal" not in scopes
    backend = await a_backend(server, scope="system/*.cruds ITI-102")
    assert await a_token(server, backend, scope=" ".join(scopes))


async def test_the_server_metadata_is_what_rfc_8414_wants_of_it(server: Server) -> None:
    said = AuthorizationServerMetadata(await document(server, RFC_8414))
    for check in (
        said.validate_issuer, said.validate_token_endpoint, said.validate_jwks_uri,
        said.validate_scopes_supported, said.validate_grant_types_supported,
        said.validate_token_endpoint_auth_methods_supported, said.validate_revocation_endpoint,
        said.validate_introspection_endpoint, said.validate_code_challenge_methods_supported,
    ):  # fmt: skip
        try:
            check()
        except ValueError as fault:  # Authlib wants https; the test's own origin is not
            assert "https" in str(fault)


@pytest.mark.parametrize("path", [SMART, RFC_8414, "/auth/jwks"])
async def test_pages_of_any_origin_may_read_it(server: Server, path: str) -> None:
    preflight = await server.http.options(
        path, headers={"Origin": "https://a.example", "Access-Control-Request-Method": "GET"}
    )
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert "GET" in preflight.headers["access-control-allow-methods"]
    assert (await server.http.head(path)).status_code == 200
    assert (await server.http.post(path)).status_code == 405


def test_the_public_url_is_the_only_source_of_addresses() -> None:
    settings = Settings(public_url="https://exchange.example/", port=9)

    def addresses(said: Mapping[str, Any]) -> list[str]:
        return [v for v in said.values() if isinstance(v, str)]

    for made in (
        discovery.smart_configuration(settings, ["x"]),
        discovery.server_metadata(settings, ["x"]),
    ):
        assert addresses(made)
        assert all(a.startswith("https://exchange.example/auth") for a in addresses(made))


def test_every_row_of_the_service_has_its_route(server: Server) -> None:
    served = {route.path for route in server.app.routes}  # type: ignore[attr-defined]
    rows = {path for row in iua.TRANSACTIONS for _, path in row.routes}
    assert rows <= served
