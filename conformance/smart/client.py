"""An app as SMART describes one: its authorization request, its token request, its proof of who it is.

The shapes are those that test kits and common clients send: a verifier of 73 characters, an assertion
that ends in exactly 300 seconds, Basic without form-encoding (security digest 1.12, 2.2, 2.5). PURE,
but for random numbers and the clock.
"""

from __future__ import annotations

import base64
import hmac as hmac_
import json
import time
import uuid
from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from conformance.target import App, Backend

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def verifier() -> str:
    """A PKCE verifier: two UUIDs and a hyphen, 73 characters."""
    return f"{uuid.uuid4()}-{uuid.uuid4()}"


def challenge(of: str) -> str:
    """Its S256 challenge (RFC 7636 §4.2)."""
    return base64.urlsafe_b64encode(sha256(of.encode("ascii")).digest()).rstrip(b"=").decode()


def request(
    app: App,
    *,
    scope: str,
    aud: str,
    proof: str,
    state: str,
    launch: str = "",
    changes: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, str]:
    """The parameters of an authorization request; `changes` replace or, when "", remove some."""
    said = {
        "response_type": "code",
        "client_id": app.client_id,
        "redirect_uri": app.redirect_uri,
        "scope": scope,
        "state": state,
        "aud": aud,
        "code_challenge": challenge(proof) if proof else "",
        "code_challenge_method": "S256",
        "launch": launch,
    } | dict(changes)
    return {k: v for k, v in said.items() if v}


def address(endpoint: str, parameters: Mapping[str, str]) -> str:
    """The endpoint with these parameters, its own query kept."""
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(parameters)}"


def assertion(
    client_id: str,
    key: Mapping[str, Any],
    endpoint: str,
    *,
    header: Mapping[str, Any] | None = None,
    **changes: Any,
) -> str:
    """A client assertion (SMART asymmetric authentication); `changes` replace claims, `header` members."""
    now = int(time.time())
    claims = {
        "iss": client_id, "sub": client_id, "aud": endpoint, "exp": now + 300, "jti": str(uuid.uuid4()),
    } | changes  # fmt: skip
    claims = {k: v for k, v in claims.items() if v is not None}
    private = RSAKey.import_key(dict(key)) if key["kty"] == "RSA" else ECKey.import_key(dict(key))
    alg = "RS384" if key["kty"] == "RSA" else "ES384"
    said = {"alg": alg, "kid": key["kid"], "typ": "JWT"} | dict(header or {})
    return jwt.encode(
        said, claims, private, algorithms=["RS256", "RS384", "ES384", "PS384", "RS512"]
    )


def proofs(app: App, token_endpoint: str) -> tuple[dict[str, str], dict[str, str]]:
    """How the app proves itself at the token endpoint: form fields and headers."""
    if app.kind == "symmetric":
        pair = base64.b64encode(f"{app.client_id}:{app.secret}".encode()).decode()
        return {}, {"Authorization": f"Basic {pair}"}
    if app.kind == "asymmetric":
        made = assertion(app.client_id, app.key, token_endpoint)
        return {"client_assertion_type": ASSERTION, "client_assertion": made}, {}
    return {"client_id": app.client_id}, ({"Origin": app.origin} if app.origin else {})


def code_form(app: App, code: str, proof: str) -> dict[str, str]:
    """The form that redeems a code, without the app's proof of itself."""
    return {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": app.redirect_uri,
        "code_verifier": proof,
    }


def backend_form(
    client: Backend, token_endpoint: str, *, header: Mapping[str, Any] | None = None, **changes: Any
) -> dict[str, str]:
    """The form of a backend service's token request; `changes` replace claims of its assertion."""
    made = assertion(client.client_id, client.key, token_endpoint, header=header, **changes)
    return {
        "grant_type": "client_credentials",
        "scope": client.scope,
        "client_assertion_type": ASSERTION,
        "client_assertion": made,
    }


def compact(found: Mapping[str, Any]) -> str:
    """JSON without blanks, members in order of their names."""
    return json.dumps(found, separators=(",", ":"), sort_keys=True)


def encoded(found: Mapping[str, Any]) -> str:
    """One part of a compact JWS."""
    return base64.urlsafe_b64encode(compact(found).encode()).rstrip(b"=").decode()


def hmac(signed: str, secret: OctKey) -> str:
    """The HS256 signature part over `signed` with this secret, whatever it is."""
    made = hmac_.new(secret.raw_value, signed.encode("ascii"), sha256).digest()
    return base64.urlsafe_b64encode(made).rstrip(b"=").decode()
