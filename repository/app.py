"""The repository: it keeps documents' bytes, gives them back [ITI-68], and destroys them when their time
is over. This is its one door.

    retrieve.py   ITI-68: what is held here, and through locator.py what others keep
    vault.py      documents by id      contents.py, sealing.py   their bytes, sealed
    keys.py, kms.py, custody.py        the master keys           rotation.py   new ones
    intake.py     what is let in       scanning.py                the scanner
    retention.py (PURE), review.py     whose time is over        holds.py      what forbids destroying
    disposals.py, certificate.py       destruction by two people    sweep.py   what is finished later
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from affinity.pack import Pack
from chassis.call import Route, Service
from chassis.mongo import Mongo
from chassis.outbox import Forwarder, Writer
from chassis.settings import Settings
from repository import doors
from repository.custody import master_keys
from repository.disposals import Disposals
from repository.holds import DATABASE, Holds
from repository.intake import Intake
from repository.locator import Locator
from repository.neighbours import Registry
from repository.retrieve import retrieve
from repository.review import Review
from repository.scanning import scanner
from repository.sweep import finishing
from repository.vault import Vault
from standards import records
from standards.mhd_retrieve import DEPOSIT, KEEP, RELEASE, RETRIEVE


@asynccontextmanager
async def open_service(
    settings: Settings, mongo: Mongo, pack: Pack, *, registry: Registry, audit: Writer
) -> AsyncIterator[Service]:
    """Open the repository: collections and indexes made, the sweep at work until it is closed.

    `registry` says which documents exist and whom they may be shown to, `pack` how long they are kept,
    `audit` makes AuditEvents durable, and records when a source outside breaks off in mid-answer.
    `Service.near` is the `Intake` (`deposit`, `keep`, `release`, `held`), which the registry asks in turn.
    Raises `KeyTroubleError` when the master keys do not fit.
    """
    async with (
        master_keys(settings, mongo) as masters,
        Forwarder(mongo, DATABASE, audit),
    ):
        vault, holds = await asyncio.gather(Vault.opened(mongo, masters), Holds.opened(mongo, pack))
        intake = Intake(vault, scanner(settings.scanner), settings.scanner_away, holds)
        disposals = await Disposals.opened(mongo, pack, vault, registry, holds)
        review = Review(vault, registry, holds, pack)
        locator = Locator(settings, pack, registry, audit)
        spool = settings.data / "spool"
        routes = (
            Route(RETRIEVE, retrieve(vault, registry, locator)),
            Route(DEPOSIT, doors.deposit(intake, spool)),
            Route(KEEP, doors.keep(intake)),
            Route(RELEASE, doors.release(intake)),
            Route(records.HELD, doors.held(intake)),
            Route(records.REVIEW.row, review.due),
            Route(records.QUARANTINE.row, review.quarantine),
            Route(records.APPROVE.row, disposals.approve),
            Route(records.DESTROY.row, disposals.destroy),
            Route(records.RELEASE.row, disposals.release),
            Route(records.WITHDRAW.row, disposals.withdraw),
            Route(records.CERTIFICATE.row, disposals.certificate),
            Route(records.HOLD.row, holds.place),
            Route(records.END_HOLD.row, holds.end),
            Route(records.HOLDS.row, holds.list),
        )
        works = {
            "repository disposals": disposals.resume,
            "repository scanning": intake.catch_up,
        }
        try:
            async with finishing(vault, registry, works):
                yield Service("repository", routes, intake, mongo.ping)
        finally:
            await locator.close()
