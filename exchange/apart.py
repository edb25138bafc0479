"""Apart: one service in this process, its neighbours far.

The image is the same for every service; a reverse proxy joins them under one FHIR base. Each process
has the same public URL, so issuer, audience and document links are the same wherever they are made.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from starlette.types import ASGIApp

from affinity.pack import load
from auth.neighbours import FarPatients
from chassis import garbage, onion, telemetry
from chassis.audit import AuditWriter, FarSink, Sink
from chassis.call import Service
from chassis.caller import Verifier
from chassis.cors import Origins, Remembered
from chassis.far import Far, ServiceToken, TokenSource
from chassis.mongo import Mongo
from chassis.proof import Proofs
from chassis.service import Identify, Rider
from chassis.settings import Settings
from chassis.trust import FarAuth
from exchange.compartments import Compartments
from exchange.rows import ROWS
from exchange.vocabulary import vocabulary
from registry.neighbours import FarPeople, FarVault, People
from repository.neighbours import FarRegistry

SERVICES = ("pix", "registry", "repository", "auth", "audit")


def create_app(service: str) -> ASGIApp:
    """What the server loads for one service; the settings come from THROUGHLINE_* variables."""
    garbage.seldom()
    return application(Settings(), service)


def application(
    settings: Settings, service: str, *, transport: httpx.AsyncBaseTransport | None = None
) -> ASGIApp:
    """One service as an ASGI application. `transport` is how its neighbours are reached (default: HTTP)."""
    if service not in SERVICES:
        raise ValueError(f"There is no service {service}; there are {', '.join(SERVICES)}.")
    telemetry.configure(settings.log_level)
    return onion.create(lambda: opened(settings, service, transport), ROWS)


@asynccontextmanager
async def opened(
    settings: Settings, service: str, transport: httpx.AsyncBaseTransport | None
) -> AsyncIterator[tuple[Sequence[Service], Rider]]:
    """Open one service with far neighbours. Only that one is imported: of the others nothing is needed."""
    pack = load(settings.affinity)
    async with AsyncExitStack() as stack:
        mongo = Mongo(
            settings.mongodb.get_secret_value(), pool=settings.pool, prefix=settings.database_prefix
        )
        stack.push_async_callback(mongo.close)
        await mongo.warm()
        client = await stack.enter_async_context(
            httpx.AsyncClient(transport=transport, trust_env=False, follow_redirects=False)
        )
        far = _Neighbours(settings, client, _token(settings, service, client))
        words = vocabulary(pack)
        sink: Sink = FarSink(far.at(settings.audit_url))
        opened_service: Service
        identify: Identify | None = None
        origins: Origins | None = None
        people: People = FarPeople(far.at(settings.pix_url))
        if service == "audit":
            import audit.app

            opened_service = await stack.enter_async_context(
                audit.app.open_service(settings, mongo, people=people)
            )
            sink = opened_service.near
        writer = AuditWriter(sink)
        stack.push_async_callback(writer.close)
        if service == "auth":
            import auth.app

            opened_service = await stack.enter_async_context(
                auth.app.open_service(
                    settings,
                    mongo,
                    audit=writer,
                    patients=FarPatients(far.at(settings.pix_url)),
                    words=words,
                    rows=ROWS,
                )
            )
            identify = opened_service.near.verifier
            origins = Remembered(opened_service.near.clients)
        elif service == "pix":
            import pix.app

            opened_service = await stack.enter_async_context(
                pix.app.open_service(settings, mongo, pack, audit=writer, words=words)
            )
            people = opened_service.near
        elif service == "registry":
            import registry.app

            opened_service = await stack.enter_async_context(
                registry.app.open_service(
                    settings,
                    mongo,
                    pack,
                    people=people,
                    vault=FarVault(far.at(settings.repository_url)),
                    audit=writer,
                )
            )
        elif service == "repository":
            import repository.app

            opened_service = await stack.enter_async_context(
                repository.app.open_service(
                    settings,
                    mongo,
                    pack,
                    registry=FarRegistry(far.at(settings.registry_url)),
                    audit=writer,
                )
            )
        if identify is None:
            trust = FarAuth(client, settings.auth_url, far.tokens)
            origins = Remembered(trust)
            await stack.enter_async_context(trust.followed())
            identify = Verifier(settings, trust, trust.revocations, tokens=trust)
        proofs = Proofs(mongo, service)
        await proofs.prepare()
        rider = Rider(
            settings, identify, writer, words, Compartments(people), origins=origins, proofs=proofs
        )
        yield (opened_service,), rider


class _Neighbours:
    def __init__(self, settings: Settings, client: httpx.AsyncClient, tokens: TokenSource) -> None:
        self.settings, self.client, self.tokens = settings, client, tokens

    def at(self, origin: str) -> Far:
        """The neighbour at this origin."""
        return Far(self.client, origin, self.tokens)


def _token(settings: Settings, service: str, client: httpx.AsyncClient) -> ServiceToken:
    """The service's own way to a token: its private JWK, registered with auth as `service-NAME`."""
    path = Path(settings.service_key.get_secret_value())
    if not path.is_file():
        raise ValueError(
            f"{service} has no key of its own. Make one with `throughline clients keygen`, register it as "
            f"service-{service} with the scope throughline.internal, and set THROUGHLINE_SERVICE_KEY."
        )
    jwk: dict[str, Any] = json.loads(path.read_text())
    token_url = f"{settings.auth_url.rstrip('/')}/auth/token"
    return ServiceToken(client, token_url, f"{settings.issuer}/token", f"service-{service}", jwk)
