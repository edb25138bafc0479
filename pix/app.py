"""The patient identity cross-reference manager: one door, `open_service`.

    ITI-104  feed.py             who feeds what: sources.py
    ITI-83   crossreference.py
    ITI-78   demographics.py
    who()    near.py             what neighbours ask

What may happen to a record, whichever door it comes through: acts.py. Pure thinking: identifiers.py,
claims.py, joining.py, showing.py, cards.py, events.py. Store: people.py; one transaction over it:
change.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pymongo import IndexModel

from affinity.pack import Pack
from chassis import search
from chassis.call import Route, Service
from chassis.mongo import Mongo
from chassis.outbox import Forwarder, Writer
from chassis.settings import Settings
from pix.crossreference import CrossReference
from pix.demographics import Demographics
from pix.feed import Feed
from pix.flights import Flights
from pix.frequencies import Counting
from pix.identifiers import Domains
from pix.near import Neighbour
from pix.people import DATABASE, People
from pix.sources import Sources
from standards import pdqm, pixm
from standards.rows import Transaction

ROWS: tuple[Transaction, ...] = (*pixm.TRANSACTIONS, *pdqm.TRANSACTIONS)

# What few values share out among many people finds nobody by itself: gender, active, state and
# country narrow a search that another parameter leads. The pairs are PDQm's mandatory combinations.
_LEADING = (
    "identifier", "family", "given", "telecom", "birthdate", "address", "address-city",
    "address-postalcode", "mothersMaidenName",
)  # fmt: skip
_INDEXES = (
    *search.indexes(pdqm.PARAMETERS, only=_LEADING),
    IndexModel([("ix.family.f", 1), ("ix.birthdate.lo", 1)], name="search_family_birthdate"),
    IndexModel([("at", 1), ("_id", 1)], name="search__lastUpdated"),
)


async def prepared(settings: Settings, mongo: Mongo, pack: Pack) -> People:
    """The People store with its collections and indexes, for the service and for the command line."""
    people = People(mongo, Domains(pack, settings.fhir_base))
    await people.prepare(_INDEXES)
    return people


@asynccontextmanager
async def open_service(
    settings: Settings, mongo: Mongo, pack: Pack, *, audit: Writer
) -> AsyncIterator[Service]:
    """Open the service; its near object is `pix.near.Neighbour`, with `who` and `assign`.

    `pack` says which identifier domains exist; `audit` makes AuditEvents durable.
    """
    people = await prepared(settings, mongo, pack)
    domains = people.domains
    sources = Sources(people, domains)
    feed = Feed(people, sources, domains, Flights(people))
    crossing = CrossReference(people, domains)
    demographics = Demographics(people, domains)
    near = Neighbour(people, crossing, sources)
    async with Counting(people.counted), Forwarder(mongo, DATABASE, audit):
        yield Service(
            "pix",
            (
                Route(pixm.ITI_83, crossing.ask),
                Route(pixm.ITI_104, feed.put),
                Route(pixm.ITI_104_REMOVE, feed.delete),
                Route(pdqm.ITI_78, demographics.search),
                Route(pdqm.ITI_78_READ, demographics.read),
                Route(pdqm.HISTORY, demographics.history),
                Route(pdqm.VREAD, demographics.version),
                Route(pixm.WHO, near.answer_who),
                Route(pixm.SOURCE, near.answer_source),
            ),
            near=near,
            ready=mongo.ping,
        )
