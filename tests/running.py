"""A whole exchange in the test's own process, and clients that hold real tokens from it."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey
from pydantic import SecretStr

from auth.client import Client
from auth.clients import Clients
from chassis.mongo import Mongo
from chassis.settings import Settings

ORIGIN = "http://exchange.test"
MASTER_KEY = (
    "test:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="  # the one of tests/repository/shelf.py
)
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[Any]:
    """Run an ASGI application's lifespan in a task of its own, as a server would."""
    inbox: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    outbox: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    task = asyncio.create_task(
        app({"type": "lifespan", "asgi": {}, "state": {}}, inbox.get, outbox.put)
    )
    await inbox.put({"type": "lifespan.startup"})
    await _reported(outbox, task, "startup")
    try:
        yield app
    finally:
        await inbox.put({"type": "lifespan.shutdown"})
        await _reported(outbox, task, "shutdown")
        await task


async def _reported(
    outbox: asyncio.Queue[dict[str, str]], task: asyncio.Task[Any], step: str
) -> None:
    said = asyncio.create_task(outbox.get())
    await asyncio.wait({said, task}, return_when=asyncio.FIRST_COMPLETED)
    if not said.done():
        said.cancel()
        task.result()
        raise RuntimeError(f"the application ended during {step}")
    message = said.result()
    if message["type"] != f"lifespan.{step}.complete":
        raise RuntimeError(message.get("message", step))


@dataclass
class Exchange:
    """The running exchange: `http` speaks to it; `as_client` gives a client with a token."""

    settings: Settings
    mongo: Mongo
    http: httpx.AsyncClient
    app: Any
    keys: dict[str, ECKey] = field(default_factory=dict)

    @property
    def base(self) -> str:
        """The public FHIR base."""
        return self.settings.fhir_base

    async def register(
        self,
        name: str,
        scope: str = "system/*.cruds",
        *,
        organisation: str = "",
        role: str = "R-SYS",
    ) -> None:
        """Register a backend client with a fresh ES384 key."""
        key = ECKey.generate_key("P-384", {"kid": f"{name}-1", "use": "sig", "alg": "ES384"})
        self.keys[name] = key
        public = {"keys": [key.as_dict(private=False)]}
        await Clients(self.mongo).add(
            Client(
                client_id=name,
                name=name,
                jwks=public,
                scope=scope,
                organisation=organisation,
                role=role,
            )
        )

    def assertion(self, name: str, **changes: Any) -> str:
        """A client assertion of `name`; `changes` replace claims."""
        now = int(time.time())
        claims = {
            "iss": name, "sub": name, "aud": f"{self.settings.issuer}/token",
            "exp": now + 240, "iat": now, "jti": str(uuid.uuid4()),
        } | changes  # fmt: skip
        key = self.keys[name]
        header = {"alg": "ES384", "kid": key.kid, "typ": "JWT"}
        return jwt.encode(header, claims, key, algorithms=["ES384"])

    async def token(self, name: str, scope: str = "system/*.cruds", **form: str) -> str:
        """A bearer token through the real token endpoint."""
        answer = await self.http.post(
            "/auth/token",
            data={
                "grant_type": "client_credentials",
                "scope": scope,
                "client_assertion_type": ASSERTION,
                "client_assertion": self.assertion(name),
                **form,
            },
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    @asynccontextmanager
    async def as_client(
        self, scope: str = "system/*.cruds", *, role: str = "R-SYS", organisation: str = ""
    ) -> AsyncIterator[httpx.AsyncClient]:
        """An HTTP client at the FHIR base that carries a token with this scope."""
        name = f"client-{uuid.uuid4().hex[:8]}"
        await self.register(name, scope, role=role, organisation=organisation)
        token = await self.token(name, scope)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, raise_app_exceptions=True),
            base_url=self.base,
            headers={"Authorization": f"Bearer {token}", "Accept": "application/fhir+json"},
        ) as client:
            yield client


@asynccontextmanager
async def running(
    mongo: Mongo, uri: str, prefix: str, folder: Path, **changes: Any
) -> AsyncIterator[Exchange]:
    """The whole exchange over `uri`, its databases named with `prefix`."""
    from exchange.together import application

    settings = Settings(
        master_key=SecretStr(MASTER_KEY),
        public_url=ORIGIN,
        mongodb=SecretStr(uri),
        database_prefix=prefix,
        data=folder,
        log_level="error",
        **changes,
    )
    async with serving(application(settings)) as app:
        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as http:
            yield Exchange(settings, mongo, http, app)
