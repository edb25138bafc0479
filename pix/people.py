"""The People store: source records, their identifiers, the persons they make up, and the log.

    records          one per source record; `_id` is its FHIR logical id, `claim` is unique
    records_history  every earlier version
    sources          which clients and organisations may feed a domain
    links            which person a record is, or may be; one MATCH each (links.py)
    exclusions, inclusions     what people decided about pairs of records
    decisions        append-only: what was joined, split, merged or removed, by whom, on what evidence
    explanations, reviews      why, and what people must look at
    events           what happened, for notices to others (events.py); kept for 90 days
    loads, loaded    files of people, and what of them waits to be linked (bulk/loads.py)
    ── all below is derived from the above (rebuild.py) ──
    identifiers      one per (system, value): who is fed under it, who holds it, whose it is
    persons          one card per cluster (cards.py); an emptied one redirects to where its records went
    profiles, postings         what is scored, and the keys that lead to it (profiles.py)
    frequencies      how common names and places are among the people here (frequencies.py)

Two writers that could change the same cluster always write one same document (the record's, the
anchor's in `identifiers`, a posting or a profile), so MongoDB makes one of them run again
(docs/decisions/0007, 0010).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pymongo import ASCENDING, DeleteOne, IndexModel, InsertOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import BulkWriteError, DuplicateKeyError

from chassis import outbox
from chassis.mongo import Mongo, Table
from pix import claims, showing
from pix.cards import Card
from pix.claims import Claim
from pix.events import MOVING
from pix.frequencies import Counted
from pix.identifiers import Domains, Identifier
from pix.model import Model, load
from pix.profiles import kept
from pix.record import Record
from pix.traits import traits
from pix.turns import Turns

DATABASE = "pix"
_REMEMBERED = 256
# Events are for notices: deliveries.py marks what it has handled, notices.py goes on from where it was.
# Who was with whom, and why, is for ever in `decisions`.
_KEPT = 90 * 86_400


class People:
    """The collections, and what every transaction over them shares.

    `between` is called before each write of a change with the collection's name, and with "commit" when
    all is written: the places where a test lets the process die.
    """

    def __init__(self, mongo: Mongo, domains: Domains, model: Model | None = None) -> None:
        self.mongo, self.domains = mongo, domains
        self.model = model or load()
        self.turns = Turns()
        self._said: OrderedDict[bytes, bytes] = OrderedDict()
        self._claims: OrderedDict[tuple[Identifier, bytes], Claim] = OrderedDict()
        self.between: Callable[[str], None] | None = None

        def table(name: str) -> Table:
            return mongo.table(DATABASE, name)

        self.records, self.history = table("records"), table("records_history")
        self.identifiers, self.persons = table("identifiers"), table("persons")
        self.links, self.explanations = table("links"), table("explanations")
        self.exclusions, self.inclusions = table("exclusions"), table("inclusions")
        self.decisions, self.events = table("decisions"), table("events")
        self.reviews, self.sources = table("reviews"), table("sources")
        self.loads, self.loaded = table("loads"), table("loaded")
        self.profiles, self.postings = table("profiles"), table("postings")
        self.counted = Counted(table("frequencies"), self.profiles, self.model)

    async def prepare(self, search_indexes: Sequence[IndexModel]) -> None:
        """Make the collections and their indexes; what exists is kept."""
        tables = (
            self.records, self.history, self.identifiers, self.persons, self.links,
            self.explanations, self.exclusions, self.inclusions, self.decisions, self.events,
            self.reviews, self.sources, self.profiles, self.postings, self.counted.table,
            self.loads, self.loaded,
        )  # fmt: skip
        await self.mongo.create_all(DATABASE, (*(t.name for t in tables), outbox.COLLECTION))
        # The registry asks for these every second, and most events are others (near.py).
        told = {"type": {"$in": list(MOVING)}}
        await asyncio.gather(
            self.records.ensure(
                _unique("claim"), _some("was"), IndexModel([("person", 1), ("state", 1)]),
                _some("root"), _some("into"), *search_indexes,
            ),
            self.history.ensure(IndexModel([("of", 1), ("v", -1)])),
            self.loads.ensure(IndexModel([("number", 1)], unique=True)),
            self.index(self.persons, "persons"),
            self.links.ensure(
                IndexModel(
                    [("record", 1)],
                    unique=True,
                    partialFilterExpression={"state": "MATCH"},
                    name="match",
                ),
                IndexModel([("person", 1), ("state", 1)]),
                IndexModel([("record", 1), ("state", 1)]),
            ),
            *(
                edges.ensure(IndexModel([("a", 1)]), IndexModel([("b", 1)]))
                for edges in (self.exclusions, self.inclusions)
            ),
            self.explanations.ensure(
                IndexModel([("record", 1), ("at", -1)]), IndexModel([("person", 1), ("at", -1)])
            ),
            self.reviews.ensure(
                IndexModel([("state", 1), ("priority", 1), ("at", 1)]),
                IndexModel([("records", 1)]), IndexModel([("persons", 1)]),
            ),
            self.events.ensure(
                IndexModel([("at", 1)], name="kept", expireAfterSeconds=_KEPT),
                IndexModel([("type", 1), ("_id", 1)], name="moving", partialFilterExpression=told),
            ),
            self.decisions.ensure(
                IndexModel([("records", 1), ("at", 1)]), IndexModel([("persons", 1), ("at", 1)])
            ),
        )  # fmt: skip

    def says(self, own: bytes, patient: Mapping[str, Any] | None = None) -> bytes:
        """The traits of a canonical Patient as they are kept. A record that is being fed is asked for
        them several times, so the last ones are remembered."""
        found = self._said.get(own)
        if found is None:
            found = kept(traits(patient or showing.opened(own), self.domains))
            self._said[own] = found
            while len(self._said) > _REMEMBERED:
                self._said.popitem(last=False)
        return found

    def claim(
        self, primary: Identifier, own: bytes, patient: Mapping[str, Any] | None = None
    ) -> Claim:
        """The claim of a canonical Patient that is fed under `primary`; remembered like its traits."""
        found = self._claims.get((primary, own))
        if found is None:
            found = claims.claim(patient or showing.opened(own), primary, self.domains)
            self._claims[primary, own] = found
            while len(self._claims) > _REMEMBERED:
                self._claims.popitem(last=False)
        return found

    def reached(self, place: str) -> None:
        """The change has come so far."""
        if self.between is not None:
            self.between(place)

    async def bulk(self, table: Table, writes: Sequence[Any], session: AsyncClientSession) -> None:
        """These writes, in order, as part of the session's transaction.

        Raises `DuplicateKeyError` when another writer made what these writes make.
        """
        if not writes:
            return
        self.reached(table.name)
        try:
            await table.raw.bulk_write(writes, session=session)
        except BulkWriteError as fault:
            errors = fault.details.get("writeErrors") or [{}]
            if errors[0].get("code") == 11000:
                raise DuplicateKeyError("made by another writer", 11000) from fault
            raise

    async def each(self, table: Table, writes: Iterable[Any], session: AsyncClientSession) -> None:
        """These writes, each of a document of its own, as part of the session's transaction: what goes,
        then what changes, then what is new, so that a claim is free before it is taken.

        The driver sends a command whenever the kind changes; in the order in which acts made them, the
        postings of 32 feeds went in 16 commands. Raises `DuplicateKeyError` like `bulk`.
        """
        await self.bulk(table, sorted(writes, key=_kind), session)

    async def index(self, table: Table, name: str) -> None:
        """The indexes of a derived collection, on it or on the one that will take its place."""
        if name == "persons":
            await table.ensure(IndexModel([("keys", ASCENDING)]))

    async def record(self, id_: str, session: AsyncClientSession | None = None) -> Record | None:
        """The record with this logical id, whatever its state."""
        found = await self.records.one({"_id": id_}, session=session)
        return Record.of(found) if found else None

    async def cards(self, keys: Sequence[str]) -> Mapping[str, Card]:
        """The cards that these keys lead to (`system|value` or `Patient/id`)."""
        where = {"keys": {"$in": list(keys)}}
        rows = await self.persons.many(where, {"told": 1, "members": 1, "keys": 1})
        wanted = set(keys)
        return {
            key: card
            for row in rows
            for card in (Card.of(row),)
            for key in row["keys"]
            if key in wanted
        }

    async def removed(self, identifier: Identifier, session: AsyncClientSession) -> bool:
        """Whether a record was once fed under this identifier and is removed."""
        found = await self.records.one({"was": identifier.key}, {"_id": 1}, session)
        return found is not None


def _kind(write: object) -> int:
    return 0 if isinstance(write, DeleteOne) else 2 if isinstance(write, InsertOne) else 1


def _unique(name: str) -> IndexModel:
    return IndexModel(
        [(name, ASCENDING)], unique=True, partialFilterExpression={name: {"$exists": True}}
    )


def _some(name: str) -> IndexModel:
    return IndexModel([(name, ASCENDING)], partialFilterExpression={name: {"$gt": ""}})
