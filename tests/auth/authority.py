"""An authorization server in the test's process, and clients that can prove themselves to it."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey
from pydantic import SecretStr
from starlette.applications import Starlette

from auth.app import open_service
from auth.authority import Authority
from auth.client import Client
from chassis.mongo import Mongo
from chassis.settings import Settings
from standards.iua import JWT_BEARER

ORIGIN = "http://exchange.test"
CEILING = "system/*.rs system/DocumentReference.c ITI-67"


class Ledger:
    """Keeps what the audit trail is told."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.fault: Exception | None = None

    async def record(self, *events: Mapping[str, Any]) -> None:
        if self.fault is not None:
            raise self.fault
        self.events.extend(json.loads(json.dumps(e)) for e in events)


@dataclass
class Server:
    """One process's authorization server."""

    authority: Authority
    http: httpx.AsyncClient
    ledger: Ledger
    settings: Settings
    mongo: Mongo
    app: Starlette


@asynccontextmanager
async def serving(mongo: Mongo, folder: Path, **changes: Any) -> AsyncIterator[Server]:
    given: dict[str, Any] = {
        "public_url": ORIGIN,
        "mongodb": SecretStr("mongodb://x"),
        "data": folder,
    }
    settings = Settings(**(given | changes))
    ledger = Ledger()
    async with open_service(settings, mongo, audit=ledger) as service:
        app = Starlette(routes=list(service.plain))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as http:
            assert isinstance(service.near, Authority)
            yield Server(service.near, http, ledger, settings, mongo, app)


@dataclass
class Backend:
    """A registered backend client and its key."""

    client_id: str
    key: RSAKey | ECKey
    alg: str
    settings: Settings
    jwks: dict[str, Any] = field(default_factory=dict)

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        made = {
            "iss": self.client_id, "sub": self.client_id, "aud": f"{self.settings.issuer}/token",
            "exp": now + 300, "iat": now, "jti": str(uuid.uuid4()),
        } | changes  # fmt: skip
        return {k: v for k, v in made.items() if v is not None}

    def assertion(
        self, header: Mapping[str, Any] | None = None, key: Any = None, **changes: Any
    ) -> str:
        head = {"alg": self.alg, "kid": self.key.kid, "typ": "JWT"} | dict(header or {})
        head = {k: v for k, v in head.items() if v is not None}
        return sign(head, self.claims(**changes), key or self.key)

    def form(self, assertion: str | None = None, **changes: str | None) -> dict[str, str]:
        made = {
            "grant_type": "client_credentials",
            "scope": "system/DocumentReference.rs",
            "client_assertion_type": JWT_BEARER,
            "client_assertion": assertion if assertion is not None else self.assertion(),
        } | changes
        return {k: v for k, v in made.items() if v is not None}


def sign(header: Mapping[str, Any], claims: Any, key: Any) -> str:
    """A JWS of anything, whatever its header says."""
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    if header.get("alg") in ("none", None):
        return f"{b64(json.dumps(header).encode())}.{b64(payload)}."
    algorithms = [header["alg"]]
    registry = jws.JWSRegistry(algorithms=algorithms, strict_check_header=False)
    registry.max_header_length = 16_000
    return jws.serialize_compact(
        dict(header), payload, key, algorithms=algorithms, registry=registry
    )


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def a_key(alg: str = "ES384", kid: str = "k1") -> RSAKey | ECKey:
    if alg == "ES384":
        return ECKey.generate_key("P-384", {"kid": kid, "use": "sig", "alg": alg})
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": alg})


def public(*keys: RSAKey | ECKey) -> dict[str, Any]:
    return {"keys": [key.as_dict(private=False) for key in keys]}


async def a_backend(server: Server, alg: str = "ES384", **changes: Any) -> Backend:
    """A freshly registered client."""
    key = a_key(alg)
    name = f"client-{uuid.uuid4().hex[:8]}"
    fields: dict[str, Any] = {"name": name, "jwks": public(key), "scope": CEILING} | changes
    await server.authority.clients.add(Client(client_id=name, **fields))
    return Backend(name, key, alg, server.settings)


async def a_token(server: Server, backend: Backend, **changes: str) -> str:
    answer = await server.http.post("/auth/token", data=backend.form(**changes))
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])
