"""The document registry: one door, `open_service`.

    ITI-65          provide.py   draft.py and submission.py are its thinking, and pure
    ITI-66, ITI-67  find.py      indexed.py says what resources are found by
    read, history   read.py
    neighbours      near.py, disposal.py   what the repository asks
                    neighbours.py          whom the registry asks

Store: documents.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from affinity.pack import Pack
from chassis.call import Route, Service
from chassis.mongo import Mongo
from chassis.outbox import Forwarder, Writer
from chassis.settings import Settings
from registry.disposal import Custodian
from registry.documents import DATABASE, Documents
from registry.find import Find
from registry.neighbours import People, Vault
from registry.provide import Provide
from registry.read import Read
from standards import mhd, records


@asynccontextmanager
async def open_service(
    settings: Settings, mongo: Mongo, pack: Pack, *, people: People, vault: Vault, audit: Writer
) -> AsyncIterator[Service]:
    """Open the registry. `people` says who a patient is, `vault` holds bytes, `audit` makes
    AuditEvents durable, `pack` says which codes this community shares documents under.

    `Service.near` is `registry.disposal.Custodian` (`referenced`, `document_of`, `aged`, `entomb`), which
    the repository asks.
    """
    store = await Documents.opened(mongo)
    near = Custodian(store, people, settings.fhir_base)
    find, read = Find(store, people), Read(store)
    async with Forwarder(mongo, DATABASE, audit):
        yield Service(
            "registry",
            (
                Route(mhd.ITI_65, Provide(settings, pack, store, people, vault)),
                Route(mhd.ITI_66, find),
                Route(mhd.ITI_67, find),
                Route(mhd.READ_LIST, read.now),
                Route(mhd.READ_DOCUMENT, read.now),
                Route(mhd.LIST_VERSION, read.version),
                Route(mhd.DOCUMENT_VERSION, read.version),
                Route(mhd.LIST_HISTORY, read.versions),
                Route(mhd.DOCUMENT_HISTORY, read.versions),
                Route(mhd.REFERENCED, near.answer_referenced),
                Route(mhd.DOCUMENT_OF, near.answer_document_of),
                Route(records.AGED, near.answer_aged),
                Route(records.ENTOMB, near.answer_entomb),
            ),
            near=near,
            ready=mongo.ping,
        )
