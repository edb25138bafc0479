"""The discovery documents: true, agreeing, and readable from any page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata

from auth import discovery
from auth.authorize.scope import negotiated
from chassis.settings import Settings
from exchange.rows import ROWS
from standards import capability, iua, registration, smart
from tests.auth.authority import ORIGIN, Server, a_backend, a_token

SMART = "/fhir/.well-known/smart-configuration"
RFC_8414 = "/.well-known/oauth-authorization-server/auth"
OPENID = "/auth/.well-known/openid-configuration"
DOCUMENTS = (SMART, RFC_8414, OPENID, "/.well-known/openid-configuration/auth")


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


async def test_the_documents_agree_wherever_two_of_them_speak(server: Server) -> None:
    said = [await document(server, path) for path in DOCUMENTS]
    for one in said:
        assert one["issuer"] == server.settings.issuer
        assert all(v not in ([], "", None) for v in one.values())
        for another in said:
            shared = one.keys() & another.keys()
            assert {"token_endpoint", "authorization_endpoint", "jwks_uri", "issuer"} <= shared
            assert {k: one[k] for k in shared} == {k: another[k] for k in shared}


def test_the_capability_statement_names_the_same_endpoints() -> None:
    settings = Settings(public_url="https://exchange.example")
    known = discovery.facts(settings, ["x"])
    made = capability.statement(ROWS, base=settings.fhir_base, auth=settings.issuer)
    security = made["rest"][0]["security"]
    uris = {e["url"]: e["valueUri"] for e in security["extension"][0]["extension"]}
    assert uris == {
        "authorize": known["authorization_endpoint"],
        "token": known["token_endpoint"],
        "introspect": known["introspection_endpoint"],
        "revoke": known["revocation_endpoint"],
        "manage": known["management_endpoint"],
    }
    codes = [service["coding"][0]["code"] for service in security["service"]]
    assert codes == ["SMART-on-FHIR", "IUA"]
    assert security["cors"] is True


async def test_every_endpoint_that_is_named_answers(server: Server) -> None:
    said = await document(server, RFC_8414)
    assert said["token_endpoint"] == f"{ORIGIN}/auth/token"
    for name in ("token_endpoint", "introspection_endpoint", "revocation_endpoint"):
        answer = await server.http.post(said[name], data={"x": "y"})
        assert answer.status_code in (400, 401), name
    assert (await server.http.get(said["authorization_endpoint"])).status_code == 400
    assert (await server.http.get(said["management_endpoint"])).status_code == 303
    assert (await server.http.get(said["jwks_uri"])).json()["keys"]


async def test_smart_says_what_works(server: Server) -> None:
    said = await document(server, SMART)
    assert set(said["grant_types_supported"]) == {
        "authorization_code", "refresh_token", "client_credentials",
    }  # fmt: skip
    assert said["token_endpoint_auth_signing_alg_values_supported"] == ["RS384", "ES384"]
    assert said["code_challenge_methods_supported"] == ["S256"]
    assert said["authorization_response_iss_parameter_supported"] is True
    assert {"launch-ehr", "launch-standalone", "sso-openid-connect"} <= set(said["capabilities"])
    assert not any("app-state" in name for name in said["capabilities"])


async def test_openid_says_how_id_tokens_are_signed(server: Server) -> None:
    said = await document(server, OPENID)
    assert said["id_token_signing_alg_values_supported"] == ["RS256"]
    assert said["subject_types_supported"] == ["public"]
    assert said["response_types_supported"] == ["code"]


async def test_every_scope_that_is_listed_can_be_had(server: Server) -> None:
    scopes = (await document(server, SMART))["scopes_supported"]
    assert "throughline.internal" not in scopes
    app = [t for t in scopes if t in smart.SCOPES or t.startswith(("patient/", "user/"))]
    rest = [t for t in scopes if t not in app]
    backend = await a_backend(server, scope="system/*.cruds ITI-102 launch-mint")
    assert await a_token(server, backend, scope=" ".join(rest))
    assert set(negotiated(app, [*smart.SCOPES, "patient/*.cruds", "user/*.cruds"])) | {
        "online_access"  # offline_access includes it
    } == set(app)


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


@pytest.mark.parametrize("path", [*DOCUMENTS, "/auth/jwks"])
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

    known = discovery.facts(settings, ["x"])
    for made in (
        discovery.smart_configuration(known),
        discovery.server_metadata(known),
        discovery.openid_configuration(known),
    ):
        assert addresses(made)
        assert all(a.startswith("https://exchange.example/auth") for a in addresses(made))


def test_every_row_of_the_service_has_its_route(server: Server) -> None:
    served = {route.path for route in server.app.routes}  # type: ignore[attr-defined]
    known = (*iua.TRANSACTIONS, *smart.TRANSACTIONS, *registration.TRANSACTIONS)
    rows = {path for row in known for _, path in row.routes}
    assert rows <= served
    # What else there is are pages, and the ways to other providers: no transactions (tests/house).
    pages = ("/auth/sign-in", "/auth/sign-out", "/auth/account", "/auth/assets/", "/auth/upstream/")
    assert all(path.startswith(pages) for path in served - rows)
