"""A base population put straight into the store, by the pure functions that the feed uses.

Truth says who is one person here, so nothing has to be searched or decided. What is written is what the
feed would have left of them (records, links, profiles, identifiers, cards, postings with full ones
split), so that `throughline people rebuild --check` finds nothing to do; the log of how it came about
(decisions, explanations, events, audit) is empty. Worker processes make and insert in batches; what must
be put in another order on the way goes through bucket files (buckets.py), so memory stays flat:

    persons ─► records, links, profiles      ─► holdings by identifier, keys, members by person
    holdings ─► identifiers                  ─► what is told, by person
    keys ─► postings                         ─► finer keys of the full ones ─► postings
    members and what is told, by person ─► cards

Indexes are made afterwards, by the store itself.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from pymongo import MongoClient

from affinity.pack import load
from benchmarks.identity.buckets import Buckets, gathered
from benchmarks.identity.recording import Record as Fed
from chassis.call import dumps
from chassis.mongo import Doc, Mongo
from chassis.settings import Settings
from pix import claims, joining, places, showing
from pix.app import prepared
from pix.blocking import FULL, QUARANTINE
from pix.cards import Card, Member, Told
from pix.change import person_number
from pix.identifiers import Domains
from pix.joining import Holder, Known
from pix.links import Link
from pix.people import DATABASE, People
from pix.profiles import Posting, Said, drawn, kept
from pix.record import Record
from pix.traits import traits

Tell = Callable[[str, int], None]
Held = Sequence[Fed]
A = TypeVar("A")
B = TypeVar("B")
FILLED = ("records", "links", "profiles", "identifiers", "persons", "postings")
_EDGE, _CHUNK, _INSERT = 20.0, 200, 2000


@dataclass(frozen=True, slots=True)
class Filled:
    """What a store holds now."""

    records: int
    persons: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where to fill: the server, the prefix of its databases, the settings and the folder of buckets."""

    uri: str
    prefix: str
    settings: Settings
    folder: Path


async def fill(
    mongo: Mongo,
    uri: str,
    settings: Settings,
    people: Iterable[Held],
    *,
    workers: int,
    tell: Tell,
) -> Filled:
    """Fill an empty store with these people (each the records of one person) and make its indexes.

    `tell` is told of each step and how many records or rows it has come to. No two records may be fed
    under one identifier. Raises what MongoDB raises.
    """
    for name in FILLED:
        await mongo.create(DATABASE, name)
    with TemporaryDirectory() as folder:
        place = Place(uri, mongo.prefix, settings, Path(folder))
        made = await asyncio.to_thread(_filled, place, people, workers, tell)
    tell("indexes", 0)
    store: People = await prepared(settings, mongo, load(settings.affinity))
    await store.counted.count(datetime.now(UTC))
    return made


def kept_back(
    homes: Iterable[tuple[object, Held]],
    size: int,
    share: float,
    dice: Random,
    back: list[Fed],
) -> Iterator[list[Fed]]:
    """The people of the first `size` records that stay, one after the other so that a large city needs
    no more memory than a small one; the records that are held back of them go into `back`. An identifier
    that was given twice is its first bearer's."""
    seen: set[int] = set()
    count = 0
    for _, held in homes:
        mine: list[Fed] = []
        for record in held:
            under = hash((record.system, record.value))
            if under in seen:
                continue
            seen.add(under)
            (back if dice.random() < share else mine).append(record)
        if mine:
            yield mine
        count += len(mine)
        if count >= size:
            break


def _filled(place: Place, people: Iterable[Held], workers: int, tell: Tell) -> Filled:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _open, (place,)) as pool:
        records = persons = 0
        for chunk, done in _mapped(pool, _persons, _chunks(people), 2 * workers):
            records, persons = records + done, persons + len(chunk)
            tell("records", records)
        for name, act in (
            ("holdings", _identifiers),
            ("keys", _postings),
            ("finer", _finer),
            ("members", _cards),
        ):
            rows = 0
            for _, done in _mapped(pool, act, iter(Buckets.numbers()), 2 * workers):
                rows += done
                tell(name, rows)
    return Filled(records, persons)


def _chunks(people: Iterable[Held]) -> Iterator[list[Held]]:
    chunk: list[Held] = []
    for held in people:
        chunk.append(held)
        if len(chunk) >= _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _mapped(
    pool: ProcessPoolExecutor, act: Callable[[A], B], asked: Iterator[A], ahead: int
) -> Iterator[tuple[A, B]]:
    """`act` of each, at most `ahead` at a time, so that what waits stays small."""
    waiting: list[tuple[A, Future[B]]] = []
    for one in asked:
        waiting.append((one, pool.submit(act, one)))
        if len(waiting) >= ahead:
            first, done = waiting.pop(0)
            yield first, done.result()
    for first, done in waiting:
        yield first, done.result()


# -- in a worker --------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Desk:
    """What one worker works with."""

    database: Any
    domains: Domains
    buckets: Buckets

    def insert(self, name: str, documents: Sequence[Doc]) -> None:
        """All of them, in any order; durable when the store is closed."""
        for start in range(0, len(documents), _INSERT):
            self.database[name].insert_many(documents[start : start + _INSERT], ordered=False)


_desks: list[_Desk] = []


def _open(place: Place) -> None:
    settings = place.settings
    domains = Domains(load(settings.affinity), settings.fhir_base)
    client: MongoClient[Doc] = MongoClient(place.uri, tz_aware=True, w=1)
    _desks.append(_Desk(client[place.prefix + DATABASE], domains, Buckets(place.folder)))


def _persons(chunk: Sequence[Held]) -> int:
    """These people: records, links and profiles; the rest is put in order for the next stages."""
    (desk,) = _desks
    now = datetime.now(UTC)
    records: list[Doc] = []
    links: list[Doc] = []
    profiles: list[Doc] = []
    for held in chunk:
        number = person_number()
        mine = [_record(desk, fed, number, now) for fed in held]
        linked = joining.links([r.id for r in mine])
        secret = any(places.labelled(r.own) for r in mine)
        said = []
        for place, record in enumerate(mine):
            record.links = list(linked[record.id])
            patient = showing.shown(
                record.own, id_=record.id, version=1, at=now, domains=desk.domains,
                links=record.links,
            )  # fmt: skip
            record.secret = secret
            record.b, record.ix = dumps(patient), showing.indexed(patient, secret=secret)
            edge = _EDGE if place else None
            own = showing.opened(record.own)
            said.append(Said(record.id, kept(traits(own, desk.domains)), edge))
            links.append(Link(record.id, number, "MATCH", now, weight=edge).document())
            records.append(record.document())
        portrait = drawn(number, said)
        profiles.append(portrait.document())
        finer: dict[str, set[str]] = {}
        strong = {}
        for key in portrait.posted():
            finer.setdefault(key.text, set()).update(key.finer)
            strong[key.text] = key.strong
        for text, more in finer.items():
            desk.buckets.put("keys", text, [text, number, strong[text], sorted(more)])
        for record in mine:
            desk.buckets.put("members", number, [number, [record.id, record.primary.key], None])
    desk.insert("records", records)
    desk.insert("links", links)
    desk.insert("profiles", profiles)
    desk.buckets.flush()
    return len(records)


def _record(desk: _Desk, fed: Fed, number: str, now: datetime) -> Record:
    primary = desk.domains.identifier(fed.system, fed.value)
    record = Record(
        str(uuid.uuid4()), primary.system, primary.value, showing.canonical(fed.patient), "fill", "",
        number, 1, now, now,
    )  # fmt: skip
    claim = claims.claim(fed.patient, primary, desk.domains)
    named = {h.identifier.key: h.identifier for h in claim.held}
    for key, holder in joining.holders(record.id, number, claim):
        row = [
            key, named[key].system, named[key].value, record.id, number, holder.rank, holder.born,
            holder.told.decode(),
        ]  # fmt: skip
        desk.buckets.put("holdings", key, row)
    record.holds = list(named)
    record.anchor = f"{claim.anchor} {claim.born}" if claim.anchor else ""
    return record


def _identifiers(bucket: int) -> int:
    """Whose the identifiers of this bucket are; what may be told of them goes on to the cards."""
    (desk,) = _desks
    documents = []
    for key, rows in gathered(desk.buckets.rows("holdings", bucket)):
        known = Known(key, rows[0][1], rows[0][2])
        for _, _, _, record, person, rank, born, told in sorted(rows, key=lambda r: str(r[3])):
            known.hold(Holder(record, person, rank, born, told.encode()))
            if rank == "primary":
                known.record, known.state = record, "active"
        documents.append(known.document())
        best, owner = known.best(), known.owner()
        if best is not None and owner is not None:
            record = known.record if known.state == "active" else ""
            row = [known.system, known.value, record, best.record, best.told.decode()]
            desk.buckets.put("members", owner, [owner, None, row])
    desk.insert("identifiers", documents)
    desk.buckets.flush()
    return len(documents)


def _postings(bucket: int) -> int:
    """The postings of this bucket; full ones hand over to their finer keys."""
    (desk,) = _desks
    documents = []
    for key, rows in gathered(desk.buckets.rows("keys", bucket)):
        strong = rows[0][2]
        full = len(rows) > (QUARANTINE if strong else FULL)
        documents.append(Posting(key, [] if full else [r[1] for r in rows], full).document())
        for _, person, _, finer in rows if full and not strong else ():
            for text in finer:
                desk.buckets.put("finer", text, [text, person])
    desk.insert("postings", documents)
    desk.buckets.flush()
    return len(documents)


def _finer(bucket: int) -> int:
    (desk,) = _desks
    documents = []
    for key, rows in gathered(desk.buckets.rows("finer", bucket)):
        persons = sorted({r[1] for r in rows})
        full = len(persons) > FULL
        documents.append(Posting(key, [] if full else persons, full).document())
    desk.insert("postings", documents)
    return len(documents)


def _cards(bucket: int) -> int:
    (desk,) = _desks
    now = datetime.now(UTC)
    documents = []
    rows = sorted(desk.buckets.rows("members", bucket), key=lambda r: str(r[0]))
    for number, group in groupby(rows, key=lambda r: str(r[0])):
        members: list[Member] = []
        told: list[Told] = []
        for _, member, telling in group:
            if member is not None:
                members.append(Member(member[0], member[1], "active", ""))
            else:
                system, value, record, by, parameter = telling
                told.append(Told(system, value, record, by, parameter.encode()))
        card = Card(number, tuple(sorted(told)), tuple(sorted(members)))
        documents.append(card.document() | {"state": "current", "redirect": None, "at": now})
    desk.insert("persons", documents)
    return len(documents)
