"""`throughline token`: what any backend client does to get a token (SMART Backend Services).

Discovery, a signed assertion, the token endpoint: nothing here knows more than a stranger would.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from exchange import whereabouts
from exchange.exits import Exit, Trouble

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class Asked:
    """What to ask for, and as whom."""

    client: str
    scope: str
    purpose: str = ""
    reason: str = ""


def token_of(asked: Asked, key: Path, fhir: str, data: Path) -> str:
    """The access token. `fhir` is the FHIR base; "" means of the exchange that runs in `data`.

    Raises `Trouble`: USAGE for a key that cannot sign, NOT_RUNNING when nobody answers, REFUSED with
    the server's own words when it says no.
    """
    signing = private_key(key)
    base = (fhir or _near(data)).rstrip("/")
    try:
        with httpx.Client(timeout=20, trust_env=not _loopback(base)) as http:
            endpoint = _discovered(http, base)
            answer = http.post(
                endpoint,
                data={
                    "grant_type": "client_credentials",
                    "scope": asked.scope,
                    "client_assertion_type": ASSERTION,
                    "client_assertion": assertion(
                        asked.client, signing, endpoint, int(time.time())
                    ),
                }
                | ({"purpose_of_use": asked.purpose} if asked.purpose else {})
                | ({"reason": asked.reason} if asked.reason else {}),
            )
    except (httpx.HTTPError, httpx.InvalidURL) as fault:
        raise Trouble(
            Exit.NOT_RUNNING,
            f"No exchange answers at {base} ({type(fault).__name__}). Start one with `throughline serve`,"
            " or name its FHIR base with --fhir URL.",
        ) from fault
    said = _json(answer)
    if answer.status_code != 200 or "access_token" not in said:
        raise Trouble(Exit.REFUSED, _refusal(answer.status_code, said))
    return str(said["access_token"])


def private_key(file: Path) -> ECKey | RSAKey:
    """The signing key of a JWK file, or of a JWK Set with one private key. Raises `Trouble`."""
    try:
        found = json.loads(file.read_text())
    except OSError as fault:
        raise Trouble(Exit.USAGE, f"--key {file} cannot be read: {fault.strerror}.") from fault
    except ValueError as fault:
        raise Trouble(
            Exit.USAGE, f"--key {file} is not JSON; a private JWK is expected."
        ) from fault
    keys = found.get("keys", [found]) if isinstance(found, dict) else []
    private = [key for key in keys if isinstance(key, dict) and "d" in key]
    if len(private) != 1:
        raise Trouble(
            Exit.USAGE,
            f"--key {file} has {len(private) or 'no'} private keys and must have one. Make one with"
            " `throughline clients keygen FILE`.",
        )
    try:
        if private[0]["kty"] == "EC":
            return ECKey.import_key(private[0])
        if private[0]["kty"] == "RSA":
            return RSAKey.import_key(private[0])
        raise ValueError("neither EC nor RSA")
    except (JoseError, KeyError, TypeError, ValueError) as fault:
        raise Trouble(Exit.USAGE, f"--key {file} is no RSA or P-384 key that can sign.") from fault


def assertion(client: str, key: ECKey | RSAKey, audience: str, now: int) -> str:
    """A client assertion that is valid for four minutes (SMART client-confidential-asymmetric)."""
    alg = "ES384" if isinstance(key, ECKey) else "RS384"
    header: dict[str, Any] = {"alg": alg, "typ": "JWT"}
    header["kid"] = key.kid or key.thumbprint()
    claims = {
        "iss": client, "sub": client, "aud": audience,
        "iat": now, "exp": now + 240, "jti": str(uuid.uuid4()),
    }  # fmt: skip
    return jwt.encode(header, claims, key, algorithms=[alg])


def _near(data: Path) -> str:
    found = whereabouts.read(data)
    if found is None:
        raise Trouble(
            Exit.NOT_RUNNING,
            f"No exchange runs in {data}. Start one with `throughline serve`, name its data folder with"
            " --data DIR, or its FHIR base with --fhir URL.",
        )
    return found.fhir


def _loopback(base: str) -> bool:
    """Proxies of the environment are for the world, not for this machine."""
    host = urlsplit(base).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _discovered(http: httpx.Client, base: str) -> str:
    answer = http.get(
        f"{base}/.well-known/smart-configuration", headers={"Accept": "application/json"}
    )
    endpoint = _json(answer).get("token_endpoint")
    if answer.status_code != 200 or not isinstance(endpoint, str):
        raise Trouble(
            Exit.NOT_RUNNING,
            f"{base} does not say where its token endpoint is (status {answer.status_code}). Is it the"
            " FHIR base of an exchange?",
        )
    return endpoint


def _json(answer: httpx.Response) -> Mapping[str, Any]:
    try:
        said = answer.json()
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _refusal(status: int, said: Mapping[str, Any]) -> str:
    error = str(said.get("error", f"status {status}"))
    words = [f"The exchange refused: {error}. {said.get('error_description', '')}".strip()]
    if error in ADVICE:
        words.append(ADVICE[error])
    return "\n".join(words)


ADVICE = {
    "invalid_client": "Is the client registered (`throughline clients list`), and is this its key?",
    "invalid_scope": "`throughline clients list` shows the most that the client may ask for.",
}
