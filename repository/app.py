"""The repository: it keeps documents' bytes and gives them back [ITI-68]. This is its one door.

ITI-68           retrieve.py   what is held here comes from vault.py
                 locator.py    what another organisation keeps is fetched on the caller's behalf
the registry     doors.py
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from affinity.pack import Pack
from chassis.call import Route, Service
from chassis.mongo import Mongo
from chassis.outbox import Writer
from chassis.settings import Settings
from repository import doors
from repository.locator import Locator
from repository.neighbours import Registry
from repository.retrieve import retrieve
from repository.sweep import sweep_for_ever
from repository.vault import Vault
from standards.mhd_retrieve import DEPOSIT, KEEP, RELEASE, RETRIEVE


@asynccontextmanager
async def open_service(
    settings: Settings, mongo: Mongo, pack: Pack, *, registry: Registry, audit: Writer
) -> AsyncIterator[Service]:
    """Open the repository: collections and indexes made, the sweep at work until it is closed.

    `registry` says which documents exist and whom they may be shown to; `pack` says which organisations
    keep documents outside, `audit` records when one of them breaks off in the middle of an answer.
    `Service.near` is the `Vault` (`deposit`, `keep`, `release`), which the registry asks in turn.
    """
    vault = await Vault.opened(mongo)
    locator = Locator(settings, pack, audit)
    spool = settings.data / "spool"
    routes = (
        Route(RETRIEVE, retrieve(vault, registry, locator)),
        Route(DEPOSIT, doors.deposit(vault, spool)),
        Route(KEEP, doors.keep(vault)),
        Route(RELEASE, doors.release(vault)),
    )
    sweeping = asyncio.create_task(sweep_for_ever(vault, registry), name="repository sweep")
    try:
        yield Service("repository", routes, vault, mongo.ping)
    finally:
        sweeping.cancel()
        with suppress(asyncio.CancelledError):
            await sweeping
        await locator.close()
