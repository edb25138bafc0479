"""The audit record repository: one door, `open_service`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from audit.events import Events
from audit.neighbours import People
from audit.record import Record
from audit.retrieve import Retrieve
from chassis.audit import AuditWriter
from chassis.call import Route, Service
from chassis.mongo import Mongo
from chassis.settings import Settings
from standards import atna


@asynccontextmanager
async def open_service(
    settings: Settings, mongo: Mongo, *, people: People | None = None
) -> AsyncIterator[Service]:
    """Open the service; its near object is `Events`, a sink for `chassis.audit.AuditWriter`.

    `people` says which records are one person's; without it a search by patient finds the record that it
    names alone. Opening begins a hash chain and leaving closes it, so close this service after every other.
    """
    events = Events(mongo, settings.fhir_base)
    async with events.open():
        writer = AuditWriter(events)
        record, retrieve = Record(events, writer), Retrieve(events, people)
        try:
            yield Service(
                "audit",
                (
                    Route(atna.RECORD, record.create),
                    Route(atna.RETRIEVE, retrieve.search),
                    Route(atna.READ, retrieve.read),
                    Route(atna.APPEND, record.append),
                ),
                near=events,
                ready=mongo.ping,
            )
        finally:
            await writer.close()
