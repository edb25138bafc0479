"""The five services apart, each its own application with its own MongoDB connection, their neighbours far.

They are joined the way the proxy joins them (deploy/): by path. Every hop is HTTP with a service token
from the real token endpoint; only the sockets are left out.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from joserfc.jwk import ECKey
from pydantic import SecretStr

from auth.client import Client
from auth.clients import Clients
from chassis.mongo import Mongo
from chassis.settings import Settings
from exchange.apart import SERVICES, application
from tests.running import MASTER_KEY, ORIGIN, Exchange, serving

PATHS = (
    ("/fhir/Patient", "pix"),
    ("/fhir/AuditEvent", "audit"),
    ("/fhir/Binary", "repository"),
    ("/fhir/Practitioner", "auth"),
    ("/fhir/Organization", "auth"),
    ("/fhir/.well-known", "auth"),
    ("/auth", "auth"),
    ("/.well-known", "auth"),
    ("/", "registry"),
)


class Roads(httpx.AsyncBaseTransport):
    """Takes a request to the service its host names, or, at the public origin, its path."""

    def __init__(self) -> None:
        self.apps: dict[str, Any] = {}
        self.passed: list[str] = []
        self.closed: set[str] = set()  # internal doors that nobody can reach for now
        self.settings: dict[str, Settings] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host, path = request.url.host, request.url.path
        service = host.removesuffix(".inside")
        if not host.endswith(".inside"):
            service = next(name for start, name in PATHS if path.startswith(start))
            assert not path.startswith("/internal"), "the proxy never routes internal doors"
        else:
            self.passed.append(f"{service}{path}")
            if path in self.closed:
                raise httpx.ConnectError(f"{path} is closed")
        if service not in self.apps:
            raise httpx.ConnectError(f"{service} is down")
        return await httpx.ASGITransport(self.apps[service]).handle_async_request(request)


@asynccontextmanager
async def apart(
    mongo: Mongo, uri: str, prefix: str, folder: Path
) -> AsyncIterator[tuple[Exchange, Roads]]:
    """Every service open, apart; the exchange as an outsider sees it, and the roads between them."""
    roads = Roads()
    async with AsyncExitStack() as stack:
        settings = None
        for service in ("auth", "audit", "pix", "registry", "repository"):
            key = ECKey.generate_key("P-384", {"kid": f"{service}-1", "use": "sig", "alg": "ES384"})
            path = folder / f"{service}.jwk"
            path.write_text(json.dumps(key.as_dict(private=True)))
            public = {"keys": [key.as_dict(private=False)]}
            await Clients(mongo).add(
                Client(
                    client_id=f"service-{service}",
                    name=service,
                    jwks=public,
                    scope="throughline.internal",
                )
            )
            settings = Settings(
                public_url=ORIGIN,
                mongodb=SecretStr(uri),
                database_prefix=prefix,
                master_key=SecretStr(MASTER_KEY),
                data=folder / service,
                log_level="error",
                service_key=SecretStr(str(path)),
                **{f"{name}_url": f"http://{name}.inside" for name in SERVICES},
            )
            app = application(settings, service, transport=roads)
            await stack.enter_async_context(serving(app))
            roads.apps[service] = app
            roads.settings[service] = settings
        assert settings is not None
        http = await stack.enter_async_context(httpx.AsyncClient(transport=roads, base_url=ORIGIN))
        yield Exchange(settings, mongo, http, _Joined(roads)), roads


class _Joined:
    """The public origin as an ASGI application, so that `Exchange.as_client` can speak to it."""

    def __init__(self, roads: Roads) -> None:
        self._roads = roads

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        service = next(name for start, name in PATHS if scope["path"].startswith(start))
        await self._roads.apps[service](scope, receive, send)
