"""The patient identity cross-reference manager: one door, `open_service`.

    ITI-104  feed.py             who feeds what: sources.py
    ITI-83   crossreference.py
    ITI-78   demographics.py
    ITI-119  match.py
    ITI-93   messages.py (in), addressing.py; deliveries.py (out), endpoints.py, tokens.py
    ITI-94   subscriptions.py
    who()    near.py             what neighbours ask
    $link…   steward.py          what stewards decide; explain.py, linkage.py, queue.py: what they see
    ITI-8 ITI-9 ITI-10 ITI-21 ITI-30   hl7v2/   the same over HL7 v2 (docs/hl7v2.md)

What may happen to a record, whichever door it comes through: acts.py. Pure thinking: identifiers.py,
claims.py, joining.py, showing.py, cards.py, events.py. Store: people.py; one transaction over it:
change.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from pymongo import IndexModel

from affinity.pack import Pack
from chassis import search
from chassis.call import Answer, Call, Route, Service
from chassis.destinations import allowed
from chassis.mongo import Mongo
from chassis.outbox import Forwarder, Writer
from chassis.settings import Settings
from governance.stewards import Stewards
from pix import model as models
from pix.crossreference import CrossReference
from pix.deliveries import Deliveries, Pace
from pix.demographics import Demographics
from pix.endpoints import Sender
from pix.explain import Explain
from pix.feed import Feed
from pix.flights import Flights
from pix.frequencies import counting
from pix.hl7v2 import opening
from pix.identifiers import Domains
from pix.inspection import Inspection
from pix.linkage import Linkage
from pix.masters import PREFIX, Masters
from pix.match import Match
from pix.messages import Messages
from pix.near import Neighbour
from pix.people import DATABASE, People
from pix.plans import ACTS
from pix.queue import Queue
from pix.reviews import Reviews
from pix.sight import Sights
from pix.sources import Sources
from pix.steward import Stewarding
from pix.subscriptions import Subscriptions
from pix.tokens import load as credentials
from pix.wire import trusting
from standards import balp, pdqm, pixm, pmir, stewardship
from standards.records import LIVED
from standards.rows import Transaction

ROWS: tuple[Transaction, ...] = (
    *pixm.TRANSACTIONS,
    *pdqm.TRANSACTIONS,
    *pmir.TRANSACTIONS,
    *stewardship.TRANSACTIONS,
)

_INDEXES = (
    *search.indexes(pdqm.PARAMETERS, only=pdqm.LEADING),
    # the pairs are PDQm's mandatory combinations
    IndexModel([("ix.family.f", 1), ("ix.birthdate.lo", 1)], name="search_family_birthdate"),
    IndexModel([("at", 1), ("_id", 1)], name="search__lastUpdated"),
)

_PLAIN = balp.Vocabulary()


async def prepared(settings: Settings, mongo: Mongo, pack: Pack) -> People:
    """The People store with its collections and indexes, for the service and for the command line.

    Raises `ModelError` when the model of the settings cannot be used.
    """
    people = People(
        mongo,
        Domains(pack, settings.fhir_base),
        models.load(settings.matching_model or models.LATEST),
    )
    await people.prepare(_INDEXES)
    return people


@asynccontextmanager
async def open_service(
    settings: Settings,
    mongo: Mongo,
    pack: Pack,
    *,
    audit: Writer,
    words: balp.Vocabulary = _PLAIN,
) -> AsyncIterator[Service]:
    """Open the service; its near object is `pix.near.Neighbour`, with `who` and `assign`.

    `pack` says which identifier domains exist; `audit` makes AuditEvents durable, `words` are the code
    systems that they name roles and purposes by.
    """
    people = await prepared(settings, mongo, pack)
    domains = people.domains
    sources = Sources(people, domains)
    sights = Sights(people, domains)
    feed = Feed(people, sources, domains, sights, Flights(people))
    crossing = CrossReference(people, domains, sights)
    demographics = Demographics(people, domains, sights)
    match = Match(people, domains, sights)
    messages = Messages(people, sources, sights)
    masters = Masters(people, sights)
    subscriptions = Subscriptions(mongo, domains, allowed(settings.notify_allow))
    await asyncio.gather(messages.prepare(), subscriptions.prepare())

    async def read(call: Call) -> Answer:
        """ITI-78: a record, or the master of a person."""
        whose = masters if call.path["id"].startswith(PREFIX) else demographics
        return await whose.read(call)

    near = Neighbour(people, crossing, sources, demographics)
    door = opening.opened(
        settings, people=people, sources=sources, crossing=crossing, sights=sights, audit=audit,
        words=words,
    )  # fmt: skip
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(counting(people.counted))
        await stack.enter_async_context(Forwarder(mongo, DATABASE, audit))
        if settings.notify_allow and settings.notify_at_once:
            await stack.enter_async_context(
                await _deliveries(settings, subscriptions, masters, audit)
            )
        await stack.enter_async_context(door)
        yield Service(
            "pix",
            (
                Route(pixm.ITI_83, crossing.ask),
                Route(pixm.ITI_104, feed.put),
                Route(pixm.ITI_104_REMOVE, feed.delete),
                Route(pdqm.ITI_78, demographics.search),
                Route(pdqm.ITI_119, match.ask),
                Route(pdqm.ITI_78_READ, read),
                Route(pdqm.HISTORY, demographics.history),
                Route(pdqm.VREAD, demographics.version),
                *await _for_stewards(people, sights, pack),
                Route(pmir.ITI_93, messages.take),
                Route(pmir.ITI_94, subscriptions.create),
                Route(pmir.ITI_94_READ, subscriptions.read),
                Route(pmir.ITI_94_UPDATE, subscriptions.update),
                Route(pmir.ITI_94_DELETE, subscriptions.delete),
                Route(pmir.ITI_94_SEARCH, subscriptions.search),
                Route(pixm.WHO, near.answer_who),
                Route(pixm.PATIENTS, near.answer_patients),
                Route(pixm.FIND, near.answer_find),
                Route(pixm.HAPPENED, near.answer_happened),
                Route(pixm.FEEDS, near.answer_feeds),
                Route(pixm.SOURCE, near.answer_source),
                Route(LIVED, near.answer_lived),
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
    )


async def _deliveries(
    settings: Settings, subscriptions: Subscriptions, masters: Masters, audit: Writer
) -> Deliveries:
    """The worker that sends messages, with the operators' list and credentials."""
    trust, certificate = settings.notify_trust, settings.notify_certificate
    context = trusting(Path(trust) if trust else None, Path(certificate) if certificate else None)
    made = Deliveries(
        subscriptions,
        masters,
        Sender(
            subscriptions.allowed,
            context,
            credentials=credentials(settings.notify_credentials, subscriptions.allowed),
        ),
        audit,
        settings.fhir_base,
        pace=Pace(patience=settings.notify_patience, at_once=settings.notify_at_once),
    )
    await made.prepare()
    return made
