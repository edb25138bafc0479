"""The repository: it keeps documents' bytes and gives them back [ITI-68]. This is its one door."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from chassis.call import Route, Service
from chassis.mongo import Mongo
from chassis.settings import Settings
from repository import doors
from repository.custody import master_keys
from repository.neighbours import Registry
from repository.retrieve import retrieve
from repository.sweep import sweep_for_ever
from repository.vault import Vault
from standards.mhd_retrieve import DEPOSIT, KEEP, RELEASE, RETRIEVE


@asynccontextmanager
async def open_service(
    settings: Settings, mongo: Mongo, *, registry: Registry
) -> AsyncIterator[Service]:
    """Open the repository: collections and indexes made, the sweep at work until it is closed.

    `registry` says which documents exist and whom they may be shown to. `Service.near` is the `Vault`
    (`deposit`, `keep`, `release`), which the registry asks in turn.
    """
    async with master_keys(settings, mongo) as masters:
        vault = await Vault.opened(mongo, masters)
        async with _opened(settings, vault, registry) as service:
            yield service


@asynccontextmanager
async def _opened(settings: Settings, vault: Vault, registry: Registry) -> AsyncIterator[Service]:
    spool = settings.data / "spool"
    routes = (
        Route(RETRIEVE, retrieve(vault, registry)),
        Route(DEPOSIT, doors.deposit(vault, spool)),
        Route(KEEP, doors.keep(vault)),
        Route(RELEASE, doors.release(vault)),
    )
    sweeping = asyncio.create_task(sweep_for_ever(vault, registry), name="repository sweep")
    try:
        yield Service("repository", routes, vault, vault.mongo.ping)
    finally:
        sweeping.cancel()
        with suppress(asyncio.CancelledError):
            await sweeping
