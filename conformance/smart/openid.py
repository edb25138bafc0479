"""OpenID Connect: the id_token, its signature and whom it names (security digest 2.3)."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from joserfc.util import urlsafe_b64decode

from conformance.check import Check, Failed, Group, Run, Skipped, expect
from conformance.smart.launch import readable

_PERSONS = ("Patient", "Practitioner", "RelatedPerson", "Person")
_LEEWAY = 60


def claims_of(run: Run, group: str) -> Mapping[str, Any]:
    """The claims of a launch's id_token, unverified. Raises `Skipped` when there is none."""
    return _part(_token(run, group), 1)


async def header(run: Run, *, group: str) -> None:
    """RS256, and a kid that the key set has."""
    said = _part(_token(run, group), 0)
    expect(said.get("alg") == "RS256", f"alg is {said.get('alg')}, not RS256.")
    rsa = [k for k in run.known.keys if k.get("kty") == "RSA"]
    kids = [k.get("kid") for k in rsa]
    if len(rsa) > 1:
        expect(said.get("kid") in kids, "kid names no key of the key set.")
    else:
        expect(said.get("kid") in (None, *kids), "kid names another key.")


async def payload(run: Run, *, group: str) -> None:
    """The signature verifies; issuer, audience and times are right."""
    token = _token(run, group)
    kid = _part(token, 0).get("kid")
    keys = [k for k in run.known.keys if k.get("kty") == "RSA" and kid in (None, k.get("kid"))]
    expect(keys, "no key of the key set fits.")
    try:
        signed = jws.deserialize_compact(
            token.encode(), RSAKey.import_key(dict(keys[0])), algorithms=["RS256"]
        )
        claims: dict[str, Any] = json.loads(signed.payload)
    except (JoseError, ValueError) as fault:
        raise Failed(f"the signature does not verify: {fault}") from fault
    for name in ("iss", "sub", "aud", "exp", "iat"):
        expect(name in claims, f"{name} is missing.")
    issuer = (run.known.openid or {}).get("issuer")
    expect(claims["iss"] == issuer, f"iss is {claims['iss']!r}, the issuer is {issuer!r}.")
    client_id = run.known.launch(group).app.client_id
    audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    expect(client_id in audience, f"aud does not name the client {client_id}.")
    expect(claims["exp"] > time.time() - _LEEWAY, "it has expired.")
    expect(0 < len(str(claims["sub"])) <= 255, "sub is empty or longer than 255 characters.")
    expect("-" not in token.split(".")[1] and "_" not in token.split(".")[1],
           "a browser's atob cannot read the payload (client-js reads it that way).")  # fmt: skip


async def fhir_user(run: Run, *, group: str) -> None:
    """fhirUser names a person whose resource the token may read."""
    found = run.known.launch(group)
    if "fhirUser" not in found.asked.split():
        raise Skipped("fhirUser was not asked for")
    who = str(claims_of(run, group).get("fhirUser", ""))
    expect(who, "fhirUser is missing.")
    kind, _, id_ = who.rpartition("/")[0].rpartition("/")[2], "", who.rpartition("/")[2]
    expect(
        kind in _PERSONS, f"fhirUser names a {kind or 'nothing'}, not one of {', '.join(_PERSONS)}."
    )
    await readable(run, found.token, f"{kind}/{id_}")


def _token(run: Run, group: str) -> str:
    token = run.known.launch(group).answer.get("id_token")
    if not isinstance(token, str):
        raise Skipped("there is no id_token")
    if token.count(".") != 2:
        raise Failed("the id_token is not a signed JWT.")
    return token


def _part(token: str, place: int) -> Mapping[str, Any]:
    try:
        found = json.loads(urlsafe_b64decode(token.split(".")[place].encode("ascii")))
    except ValueError as fault:
        raise Failed(f"the id_token cannot be read: {fault}") from fault
    if not isinstance(found, dict):
        raise Failed("a part of the id_token is not an object.")
    return found


def group(of: str) -> Group:
    """The checks of the id_token that the launch group `of` gave."""
    see = "OpenID Connect Core 1.0 §2, §3.1.3.7; SMART App Launch 2.2, Scopes for requesting identity data"
    return Group(
        f"openid-{of}",
        f"Identity of {of}",
        (
            Check("header", "RS256 with a known key", see, partial(header, group=of)),
            Check(
                "payload",
                "signed, for this client, of this issuer",
                see,
                partial(payload, group=of),
            ),
            Check("fhirUser", "fhirUser can be read", see, partial(fhir_user, group=of)),
        ),
    )
