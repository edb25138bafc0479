"""The patient identity cross-reference manager: one door, `open_service`.

    ITI-104  feed.py             who feeds what: sources.py
    ITI-83   crossreference.py
    ITI-78   demographics.py
    ITI-119  match.py
    ITI-93   messages.py (in), addressing.py; deliveries.py (out)
    ITI-94   subscriptions.py
    who()    near.py             what neighbours ask

What may happen to a record, whichever door it comes through: acts.py. Pure thinking: identifiers.py,
claims.py, joining.py, showing.py, cards.py, events.py. Store: people.py; one transaction over it:
change.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from pymongo import IndexModel

from affinity.pack import Pack
from chassis import search
from chassis.call import Answer, Call, Route, Service
from chassis.mongo import Mongo
from chassis.outbox import Forwarder, Writer
from chassis.settings import Settings
from pix.crossreference import CrossReference
from pix.deliveries import Deliveries, Pace
from pix.demographics import Demographics
from pix.endpoints import Sender, allowed, trusting
from pix.feed import Feed
from pix.frequencies import Counting
from pix.identifiers import Domains
from pix.masters import PREFIX, Masters
from pix.match import Match
from pix.messages import Messages
from pix.near import Neighbour
from pix.people import DATABASE, People
from pix.sight import Sights
from pix.sources import Sources
from pix.subscriptions import Subscriptions
from standards import pdqm, pixm, pmir
from standards.records import LIVED
from standards.rows import Transaction

ROWS: tuple[Transaction, ...] = (
    *pixm.TRANSACTIONS,
    *pdqm.TRANSACTIONS,
    *pmir.TRANSACTIONS,
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
    sights = Sights(people, domains)
    feed = Feed(people, sources, domains, sights)
    crossing = CrossReference(people, domains, sights)
    demographics = Demographics(people, domains, sights)
    match = Match(people, domains, sights)
    messages = Messages(people, sources)
    await messages.prepare()
    masters = Masters(people, sights)
    subscriptions = Subscriptions(mongo, domains, allowed(settings.notify_allow))
    await subscriptions.prepare()

    async def read(call: Call) -> Answer:
        """ITI-78: a record, or the master of a person."""
        whose = masters if call.path["id"].startswith(PREFIX) else demographics
        return await whose.read(call)

    near = Neighbour(people, crossing, sources)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(Counting(people.counted))
        await stack.enter_async_context(Forwarder(mongo, DATABASE, audit))
        if settings.notify_allow and settings.notify_at_once:
            await stack.enter_async_context(
                await _deliveries(settings, subscriptions, masters, audit)
            )
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
                Route(pmir.ITI_93, messages.take),
                Route(pmir.ITI_94, subscriptions.create),
                Route(pmir.ITI_94_READ, subscriptions.read),
                Route(pmir.ITI_94_UPDATE, subscriptions.update),
                Route(pmir.ITI_94_DELETE, subscriptions.delete),
                Route(pmir.ITI_94_SEARCH, subscriptions.search),
                Route(pixm.WHO, near.answer_who),
                Route(pixm.SOURCE, near.answer_source),
                Route(LIVED, near.answer_lived),
            ),
            near=near,
            ready=mongo.ping,
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
        Sender(subscriptions.allowed, context),
        audit,
        settings.fhir_base,
        pace=Pace(patience=settings.notify_patience, at_once=settings.notify_at_once),
    )
    await made.prepare()
    return made
