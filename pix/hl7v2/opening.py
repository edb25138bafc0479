"""The HL7 v2 side of the pix service, opened: listener, retries of parked messages, notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

from affinity.partners import Partners, load
from chassis.background import repeating
from chassis.settings import Settings
from pix.crossreference import CrossReference
from pix.hl7v2.door import Door
from pix.hl7v2.feed import Feed
from pix.hl7v2.mllp import line_of, listening
from pix.hl7v2.notices import Notices
from pix.hl7v2.parked import Parked
from pix.hl7v2.pointers import Pointers
from pix.hl7v2.queries import Queries
from pix.hl7v2.taken import Taken
from pix.hl7v2.visit import House
from pix.identifiers import Domains
from pix.people import People
from pix.sight import Sights
from pix.sources import Sources
from standards import balp, hl7v2

_LOOK = 1.0  # seconds between two looks for parked messages that are to be tried again


class Record(Protocol):
    """What is needed of `chassis.audit.AuditWriter`."""

    async def record(self, *events: Mapping[str, Any]) -> None:
        """Return when these events are durable."""
        ...


def partners(settings: Settings, domains: Domains) -> Partners:
    """The partners of the settings. Raises `PartnersError` when a table cannot be used."""
    return load(
        domains.pack,
        settings.affinity,
        transactions=hl7v2.TRANSACTIONS,
        senders=settings.hl7v2_senders,
        consumers=settings.hl7v2_consumers,
    )


@asynccontextmanager
async def opened(
    settings: Settings,
    *,
    people: People,
    sources: Sources,
    crossing: CrossReference,
    sights: Sights,
    audit: Record,
    words: balp.Vocabulary,
) -> AsyncIterator[Door | None]:
    """The door, open for as long as the block runs; None when the settings keep it shut."""
    known = partners(settings, people.domains)
    house = House(
        settings.hl7v2_application,
        settings.hl7v2_facility,
        settings.fhir_base,
        words,
        settings.hl7v2_processing,
    )
    async with AsyncExitStack() as stack:
        if known.consumers:
            notices = Notices(people, house, known.consumers, settings, audit)
            await notices.prepare()
            await stack.enter_async_context(notices.going_out())
        if not settings.hl7v2_port:
            yield None
            return
        taken, parked = Taken(people.mongo), Parked(people.mongo)
        pointers = Pointers(people.mongo)
        await asyncio.gather(*(store.prepare() for store in (taken, parked, pointers)))
        queries = Queries(people, people.domains, crossing, sights, pointers, settings.find_limit)
        feed = Feed(people, sources, people.domains, taken)
        door = Door(house, known, feed, queries, taken, parked, audit, settings.hl7v2_parallel)
        listener = await stack.enter_async_context(listening(line_of(settings), door))

        async def retries() -> None:
            """Try the parked messages again that somebody asked for; only where the door is open, so
            that the sender's turn is the one turn that there is."""
            for held in await parked.asked() if listener.open_ else ():
                await door.retry(held)

        await stack.enter_async_context(repeating("hl7v2 retries", retries, _LOOK))
        yield door
