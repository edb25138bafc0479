"""The document registry: one door, `open_service`.

    ITI-65          provide.py   draft.py, standing.py and submission.py are its thinking, and pure
    ITI-105         simplified.py  single.py makes the submission around one document, and both
    ITI-106         generate.py    go the way of provide.py; from_*.py read what a document says of itself
    ITI-66, ITI-67  find.py      indexed.py says what resources are found by, tallies.py keeps the totals
                                 of whom has very many; tally.py is its thinking, and pure
    read, vread     read.py
    history         versions.py
    shown.py        what of all these a caller may see
    NRL door        pointers.py  pointer.py is its thinking, and pure
    after a merge   subjects.py
    neighbours      near.py, disposal.py, assembled.py   what the repository asks
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
from chassis.sights import Sights
from registry import pointers
from registry.assembled import Assembly
from registry.disposal import Custodian
from registry.documents import DATABASE, Documents
from registry.find import Find
from registry.generate import Generate
from registry.neighbours import People, Vault
from registry.provide import Provide
from registry.read import Read
from registry.shown import Shown
from registry.simplified import Simplified
from registry.single import Single
from registry.subjects import Subjects
from registry.versions import Versions
from standards import mhd, mhd_publish, mhd_retrieve, records


@asynccontextmanager
async def open_service(
    settings: Settings, mongo: Mongo, pack: Pack, *, people: People, vault: Vault, audit: Writer
) -> AsyncIterator[Service]:
    """Open the registry. `people` says who a patient is, `vault` holds bytes, `audit` makes
    AuditEvents durable, `pack` says which codes this community shares documents under.

    `Service.near` is `registry.disposal.Custodian` (`referenced`, `document_of`, `assembled`, `aged`,
    `entomb`), which the repository asks.
    """
    store = await Documents.opened(mongo)
    assembly = Assembly(store, audit, settings.fhir_base)
    near = Custodian(store, people, assembly, settings.fhir_base)
    shown = Shown(Sights(pack, people.feeds))
    find, read = Find(store, people, shown, settings.home_community), Read(store, shown)
    provide = Provide(settings, pack, store, people, vault)
    single = Single(provide, store, pack)
    versions = Versions(store, people, read)
    subjects = Subjects(store, people, audit, settings.fhir_base)
    async with Forwarder(mongo, DATABASE, audit), subjects.following(), store.tallies.begun():
        yield Service(
            "registry",
            (
                Route(mhd.ITI_65, provide),
                Route(mhd_publish.ITI_105, Simplified(single, shown)),
                Route(mhd_publish.ITI_106, Generate(single, settings.max_body)),
                Route(mhd.ITI_66, find),
                Route(mhd.ITI_67, find),
                Route(mhd.READ_LIST, read.now),
                Route(mhd.READ_DOCUMENT, read.now),
                Route(mhd.READ_PROVENANCE, read.provenance),
                Route(mhd.LIST_VERSION, read.version),
                Route(mhd.DOCUMENT_VERSION, read.version),
                Route(mhd.LIST_HISTORY, versions.of_one),
                Route(mhd.DOCUMENT_HISTORY, versions.of_one),
                Route(mhd.LISTS_HISTORY, versions.of_person),
                Route(mhd.DOCUMENTS_HISTORY, versions.of_person),
                Route(mhd.REFERENCED, near.answer_referenced),
                Route(mhd.DOCUMENT_OF, near.answer_document_of),
                Route(mhd_retrieve.ASSEMBLED, near.answer_assembled),
                *pointers.routes(settings, pack, store, people, vault, shown),
                Route(records.AGED, near.answer_aged),
                Route(records.ENTOMB, near.answer_entomb),
            ),
            near=near,
            ready=mongo.ping,
        )
