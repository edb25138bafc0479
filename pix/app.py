"""The patient identity cross-reference manager: one door, `open_service`.

    ITI-104  feed.py             who feeds what: sources.py
    ITI-83   crossreference.py
    ITI-78   demographics.py
    ITI-119  match.py
    who()    near.py             what neighbours ask
    $link…   steward.py          what stewards decide; explain.py, linkage.py, queue.py: what they see

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
from chassis.call import Answer, Call, Route, Service
from chassis.mongo import Mongo
from chassis.outbox import Forwarder, Writer
from chassis.settings import Settings
from governance.stewards import Stewards
from pix.crossreference import CrossReference
from pix.demographics import Demographics
from pix.explain import Explain
from pix.feed import Feed
from pix.frequencies import Counting
from pix.identifiers import Domains
from pix.inspection import Inspection
from pix.linkage import Linkage
from pix.match import Match
from pix.near import Neighbour
from pix.people import DATABASE, People
from pix.queue import Queue
from pix.reviews import Reviews
from pix.sight import Sights
from pix.sources import Sources
from pix.steward import ACTS, Stewarding
from standards import pdqm, pixm, stewardship
from standards.outcome import NOT_FOUND, Issue, Refused
from standards.rows import Transaction

ROWS: tuple[Transaction, ...] = (
    *pixm.TRANSACTIONS,
    *pdqm.TRANSACTIONS,
    *stewardship.TRANSACTIONS,
)

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
    feed = Feed(people, sources, domains)
    sights = Sights(people, domains)
    crossing = CrossReference(people, domains, sights)
    demographics = Demographics(people, domains, sights)
    match = Match(people, domains, sights)
    near = Neighbour(people, crossing, sources)
    async with Counting(people.counted), Forwarder(mongo, DATABASE, audit):
        yield Service(
            "pix",
            (
                Route(pixm.ITI_83, crossing.ask),
                Route(pixm.ITI_104, feed.put),
                Route(pixm.ITI_104_REMOVE, feed.delete),
                Route(pdqm.ITI_78, demographics.search),
                Route(pdqm.ITI_119, match.ask),
                Route(pdqm.ITI_78_READ, demographics.read),
                Route(pdqm.HISTORY, demographics.history),
                Route(pdqm.VREAD, demographics.version),
                *await _for_stewards(people, sights, pack),
                Route(pixm.WHO, near.answer_who),
                Route(pixm.SOURCE, near.answer_source),
            ),
            near=near,
            ready=mongo.ping,
        )


async def _for_stewards(people: People, sights: Sights, pack: Pack) -> tuple[Route, ...]:
    """The routes of the operations that only stewards may call (decision 0014)."""
    inspection = Inspection(people, sights, Stewards.of(pack.constants))
    reviews = Reviews(people, inspection)
    await reviews.prepare()
    stewarding = Stewarding(people, inspection, reviews)
    linkage, explain = Linkage(people, inspection), Explain(people, inspection)
    queue = Queue(people, inspection, reviews, stewarding)
    rows = stewardship.ROWS
    return (
        *(Route(rows[code], stewarding.story(act)) for code, act in ACTS.items()),
        Route(rows["query-links"], linkage.query),
        Route(rows["link-history"], linkage.history),
        Route(rows["explain"], explain.ask),
        Route(rows["reviews"], queue.list),
        Route(rows["review"], queue.work),
        Route(rows["unseal"], queue.unseal),
        Route(stewardship.DEFINITION, _defined),
    )


async def _defined(call: Call) -> Answer:
    """The OperationDefinition with this id. Raises `Refused` (404) when there is none."""
    found = stewardship.DEFINITIONS.get(call.path["id"])
    if found is None:
        known = ", ".join(stewardship.DEFINITIONS)
        raise Refused(Issue(NOT_FOUND, f"There is no such OperationDefinition; there are {known}."))
    return Answer.fhir(found)
