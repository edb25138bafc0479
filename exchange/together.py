"""Together: every service in one process, on one port, under one FHIR base, neighbours near.

This is the composition root. It opens the services in the order in which they need one another and
hands each its neighbours as objects; nothing else in the product knows which services exist.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from starlette.types import ASGIApp

import audit.app
import auth.app
import pix.app
import registry.app
import repository.app
from affinity.pack import load
from chassis import garbage, onion, telemetry
from chassis.audit import AuditWriter
from chassis.call import Service
from chassis.cors import Remembered
from chassis.mongo import Mongo
from chassis.proof import Proofs
from chassis.service import Rider
from chassis.settings import Settings
from exchange.compartments import Compartments
from exchange.rows import ROWS
from exchange.vocabulary import vocabulary


def create_app() -> ASGIApp:
    """What the server loads in each worker: the settings come from THROUGHLINE_* variables."""
    garbage.seldom()
    return application(Settings())


def application(settings: Settings) -> ASGIApp:
    """The whole exchange as one ASGI application; services open when its lifespan starts."""
    telemetry.configure(settings.log_level)
    return onion.create(lambda: opened(settings), ROWS)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[tuple[Sequence[Service], Rider]]:
    """Open every service; leave them in the opposite order."""
    pack = load(settings.affinity)
    async with AsyncExitStack() as stack:
        mongo = Mongo(
            settings.mongodb.get_secret_value(), pool=settings.pool, prefix=settings.database_prefix
        )
        stack.push_async_callback(mongo.close)
        await mongo.warm()
        words = vocabulary(pack)
        identities = Later()
        trail = await stack.enter_async_context(
            audit.app.open_service(settings, mongo, people=identities)
        )
        writer = AuditWriter(trail.near)
        stack.push_async_callback(writer.close)
        tokens = await stack.enter_async_context(
            auth.app.open_service(
                settings, mongo, audit=writer, patients=identities, words=words, rows=ROWS
            )
        )
        people = await stack.enter_async_context(
            pix.app.open_service(settings, mongo, pack, audit=writer, words=words)
        )
        identities.open(people.near)
        shelves = Later()
        documents = await stack.enter_async_context(
            registry.app.open_service(
                settings, mongo, pack, people=people.near, vault=shelves, audit=writer
            )
        )
        vault = await stack.enter_async_context(
            repository.app.open_service(
                settings, mongo, pack, registry=documents.near, audit=writer
            )
        )
        shelves.open(vault.near)
        proofs = Proofs(mongo, "auth")
        await proofs.prepare()
        rider = Rider(
            settings,
            tokens.near.verifier,
            writer,
            words,
            Compartments(people.near),
            origins=Remembered(tokens.near.clients),
            proofs=proofs,
        )
        yield (trail, tokens, people, documents, vault), rider


class Later:
    """A neighbour that is opened after the one who asks it: registry and repository need each other, and
    the authorization server lets people choose a patient.

    Nothing asks before every service is open, because requests are served only then.
    """

    def __init__(self) -> None:
        self._neighbour: Any = None

    def open(self, neighbour: object) -> None:
        """From now on this is the neighbour."""
        self._neighbour = neighbour

    def __getattr__(self, name: str) -> Any:
        return getattr(self._neighbour, name)
