"""The id_token: who signed in, for the app alone (OpenID Connect Core 1.0 §2; SMART 2.2 `fhirUser`). PURE."""

from __future__ import annotations

import json
from typing import Any

from joserfc import jws

from auth.authorize.grants import Grant
from auth.keys import SigningKey

# Base64url differs from base64 by "-" and "_" alone. In ASCII text these can only come of the
# characters whose last six bits are 62 or 63, and JSON may write those another way; so the payload
# reads the same to a plain base64 decoder, such as the one of SMART's JavaScript client.
_ESCAPED = str.maketrans({c: f"\\u{ord(c):04x}" for c in ">?~\x7f"})


def claims(
    grant: Grant, *, issuer: str, base: str, nonce: str, now: int, seconds: int
) -> dict[str, Any]:
    """The claims of the id_token of this grant. `sub` is the person, as in introspection."""
    made: dict[str, Any] = {
        "iss": issuer,
        "sub": grant.person,
        "aud": grant.client_id,
        "exp": now + seconds,
        "iat": now,
        "auth_time": grant.auth_time,
        "sid": grant.session,  # so that an app's sign-out ends this sign-in and no other
    }
    if nonce:
        made["nonce"] = nonce
    if grant.acr:
        made["acr"] = grant.acr
    if grant.amr:
        made["amr"] = list(grant.amr)
    if "fhirUser" in grant.scope.split():
        made["fhirUser"] = fhir_user(base, grant.person)
    return made


def fhir_user(base: str, person: str) -> str:
    """The person as a resource. Practitioner, because Inferno and ONC refuse PractitionerRole."""
    return f"{base}/Practitioner/{person}"


def signed(said: dict[str, Any], signing: SigningKey) -> str:
    """The id_token, RS256, `typ: JWT`: it can never pass for an access token, which is `at+jwt`."""
    payload = json.dumps(said, separators=(",", ":")).translate(_ESCAPED).encode("ascii")
    header = {"alg": "RS256", "kid": signing.kid, "typ": "JWT"}
    return jws.serialize_compact(header, payload, signing.key, algorithms=["RS256"])
