"""Discovery: what a server says of itself before anyone signs in (security digest 1.1–1.3, 2.1, 2.8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from conformance.check import Check, Failed, Group, Run, expect

_SEE = "SMART App Launch 2.2, Conformance"
_STANDALONE = (
    "launch-standalone", "client-public", "client-confidential-symmetric", "client-confidential-asymmetric",
    "sso-openid-connect", "context-standalone-patient", "permission-offline", "permission-patient",
    "authorize-post", "permission-v2", "permission-v1",
)  # fmt: skip
_EHR = (
    "launch-ehr", "client-confidential-symmetric", "client-confidential-asymmetric",
    "sso-openid-connect", "context-banner", "context-ehr-patient", "permission-offline",
    "permission-user", "authorize-post", "permission-v2", "permission-v1",
)  # fmt: skip
_OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"


async def configuration(run: Run) -> None:
    """GET the document; JSON whatever the Accept header says."""
    url = f"{run.target.fhir}/.well-known/smart-configuration"
    for accept in ("application/json", "application/fhir+xml"):
        answer = await run.wire.get(url, Accept=accept)
        expect(
            answer.status_code == 200, f"{url} answers {answer.status_code} to Accept: {accept}."
        )
        kind = answer.headers.get("content-type", "")
        expect(
            kind.startswith("application/json"), f"Content-Type is {kind or 'absent'}, not JSON."
        )
    run.known.smart = _object(answer.json(), url)


async def fields(run: Run) -> None:
    """Required members are there, of their type and not empty."""
    said = _smart(run)
    for name in ("authorization_endpoint", "token_endpoint"):
        expect(isinstance(said.get(name), str) and said[name], f"{name} is not a string.")
    for name in ("capabilities", "grant_types_supported", "code_challenge_methods_supported"):
        value = said.get(name)
        expect(isinstance(value, list) and value, f"{name} is not an array with something in it.")
        expect(
            all(isinstance(v, str) for v in value or ()), f"{name} holds something not a string."
        )
    expect(
        "authorization_code" in said["grant_types_supported"], "authorization_code is not offered."
    )
    methods = said["code_challenge_methods_supported"]
    expect("S256" in methods, "PKCE with S256 is not offered.")
    expect("plain" not in methods, "PKCE with plain is offered; it must not be.")
    if "sso-openid-connect" in said["capabilities"]:
        for name in ("issuer", "jwks_uri"):
            expect(isinstance(said.get(name), str), f"{name} is missing beside sso-openid-connect.")
    else:
        run.warn("issuer" not in said, "issuer is there without sso-openid-connect.")
    for name, value in said.items():
        if name.endswith(("_endpoint", "_uri")):
            expect(
                isinstance(value, str) and value.startswith(("http://", "https://")),
                f"{name} is not an absolute URL.",
            )


async def standalone_capabilities(run: Run) -> None:
    """What a server for patients' and practitioners' own apps lists."""
    _lists(run, _STANDALONE)


async def ehr_capabilities(run: Run) -> None:
    """What a server that is launched from another system lists."""
    _lists(run, _EHR)


async def algorithms(run: Run) -> None:
    """Asymmetric clients can know which algorithm to sign with."""
    said = _smart(run)
    if "private_key_jwt" in said.get("token_endpoint_auth_methods_supported", ()):
        offered = said.get("token_endpoint_auth_signing_alg_values_supported", [])
        expect({"RS384", "ES384"} & set(offered), "neither RS384 nor ES384 is offered.")


async def capability_statement(run: Run) -> None:
    """The CapabilityStatement names the same endpoints, for clients that read nothing else."""
    answer = await run.wire.get(f"{run.target.fhir}/metadata", Accept="application/fhir+json")
    expect(answer.status_code == 200, f"/metadata answers {answer.status_code}.")
    run.known.capability = statement = _object(answer.json(), "/metadata")
    security = statement.get("rest", [{}])[0].get("security", {})
    codes = {c.get("code") for s in security.get("service", ()) for c in s.get("coding", ())}
    expect("SMART-on-FHIR" in codes, "rest.security.service does not say SMART-on-FHIR.")
    named = {
        e["url"]: e.get("valueUri")
        for outer in security.get("extension", ())
        if outer.get("url") == _OAUTH_URIS
        for e in outer.get("extension", ())
    }
    said = _smart(run)
    for name, member in (("authorize", "authorization_endpoint"), ("token", "token_endpoint")):
        expect(named.get(name) == said.get(member), f"oauth-uris {name} is {named.get(name)!r}.")


async def cors(run: Run) -> None:
    """A page of any origin may read discovery and metadata."""
    for path in ("/.well-known/smart-configuration", "/metadata"):
        answer = await run.wire.get(run.target.fhir + path, Origin="https://app.example")
        allowed = answer.headers.get("access-control-allow-origin")
        expect(allowed in ("*", "https://app.example"), f"{path}: no Access-Control-Allow-Origin.")


async def openid(run: Run) -> None:
    """OpenID Connect discovery at the issuer agrees with SMART's."""
    said = _smart(run)
    if "issuer" not in said:
        raise Failed("discovery names no issuer.")
    url = str(said["issuer"]).rstrip("/") + "/.well-known/openid-configuration"
    answer = await run.wire.get(url)
    expect(answer.status_code == 200, f"{url} answers {answer.status_code}.")
    run.known.openid = found = _object(answer.json(), url)
    for name in (
        "issuer", "authorization_endpoint", "token_endpoint", "jwks_uri", "response_types_supported",
        "subject_types_supported", "id_token_signing_alg_values_supported",
    ):  # fmt: skip
        expect(name in found, f"{name} is missing.")
    expect("RS256" in found["id_token_signing_alg_values_supported"], "RS256 is not offered.")
    for name in ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri"):
        expect(found[name] == said.get(name), f"{name} differs from smart-configuration's.")


async def keys(run: Run) -> None:
    """The key set has an RSA key and every key can be read."""
    answer = await run.wire.get(run.known.endpoint("jwks_uri"))
    expect(answer.status_code == 200, f"jwks_uri answers {answer.status_code}.")
    run.known.keys = found = _object(answer.json(), "jwks_uri").get("keys", [])
    rsa = [k for k in found if k.get("kty") == "RSA"]
    expect(rsa, "there is no RSA key.")
    for key in rsa:
        expect(not {"d", "p", "q"} & set(key), "a private key is published.")
        try:
            RSAKey.import_key(dict(key))
        except (JoseError, ValueError) as fault:
            raise Failed(f"key {key.get('kid')} cannot be read: {fault}") from fault


async def server_metadata(run: Run) -> None:
    """RFC 8414's document stands where RFC 8414 and IUA say, and agrees with the others."""
    said = _smart(run)
    issuer = str((run.known.openid or said).get("issuer", ""))
    expect(issuer, "no issuer is known.")
    scheme, _, rest = issuer.partition("://")
    host, _, path = rest.partition("/")
    url = f"{scheme}://{host}/.well-known/oauth-authorization-server" + (f"/{path}" if path else "")
    answer = await run.wire.get(url)
    expect(answer.status_code == 200, f"{url} answers {answer.status_code}.")
    found = _object(answer.json(), url)
    for name in ("authorization_endpoint", "token_endpoint"):
        expect(found.get(name) == said.get(name), f"{name} differs from smart-configuration's.")
    expect(found.get("issuer") == issuer, "issuer differs.")
    expect("code" in found.get("response_types_supported", ()), "response type code is missing.")
    wanted = {"client_credentials", "authorization_code"}
    expect(wanted <= set(found.get("grant_types_supported", ())), f"IUA wants {sorted(wanted)}.")
    if "introspection_endpoint" in found:
        methods = found.get("introspection_endpoint_auth_methods_supported", ())
        expect("Bearer" in methods, "IUA wants Bearer at the introspection endpoint.")


def _smart(run: Run) -> Mapping[str, Any]:
    if run.known.smart is None:
        raise Failed("there is no smart-configuration.")
    return run.known.smart


def _lists(run: Run, wanted: tuple[str, ...]) -> None:
    lacking = [c for c in wanted if c not in _smart(run).get("capabilities", ())]
    expect(not lacking, f"capabilities lacks {', '.join(lacking)}.")


def _object(found: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(found, dict):
        raise Failed(f"{where} is not a JSON object.")
    return found


GROUP = Group(
    "discovery",
    "Discovery",
    (
        Check("well-known", "smart-configuration is JSON", _SEE, configuration),
        Check("fields", "its required members are there and right", _SEE, fields),
        Check("algorithms", "RS384 or ES384 for asymmetric clients", _SEE, algorithms),
        Check("standalone", "capabilities for standalone launch", "ONC (g)(10)", standalone_capabilities),
        Check("ehr", "capabilities for launch from another system", "ONC (g)(10)", ehr_capabilities),
        Check("metadata", "the CapabilityStatement says the same", "oauth-uris", capability_statement),
        Check("cors", "pages of any origin may read both", "SMART App Launch 2.2, CORS", cors, optional=True),
        Check("openid", "openid-configuration agrees", "OpenID Connect Discovery 1.0", openid),
        Check("keys", "the key set can be used", "RFC 7517", keys),
        Check("rfc8414", "oauth-authorization-server agrees", "RFC 8414; IUA 3.103", server_metadata),
    ),
)  # fmt: skip
