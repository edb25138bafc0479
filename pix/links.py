"""Which record belongs to which person and why: links, what people decided, and what people must look
at. Rows are PURE; `Links` is their working set in one transaction.

    links         {_id, record, person, state, source, weight, model, explanation, decision, by, reason, at}
                  MATCH     the person of an active record; exactly one, `_id` is the record's
                  POSSIBLE  it may be another's too: for people to decide, never told by ITI-83 or ITI-78
                  NO_MATCH  a person decided that it is not this one's
    exclusions    {_id: "a b", a, b, by, reason, decision, at}   two records that are never one person
    inclusions    the same shape                                 two records that are always one person
    explanations  {_id, record, person, kind, model, comparison, vetoes, runner_up, at}
    reviews       {_id, type, priority, state, records, persons, reason, lease, approvals, at, due}

Exclusions and inclusions are what people decided; they outlive every feed, re-scoring, merge and
rebuild. Automatic links follow from the scoring and are made anew whenever it changes.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from pymongo import DeleteMany, DeleteOne, InsertOne, ReplaceOne, UpdateMany, UpdateOne

if TYPE_CHECKING:
    from pymongo.asynchronous.client_session import AsyncClientSession

    from chassis.mongo import Doc, Table
    from pix.people import People

State = Literal["MATCH", "POSSIBLE", "NO_MATCH"]
Source = Literal["automatic", "manual"]
Side = Literal["exclusions", "inclusions"]
Write = (
    InsertOne[dict[str, Any]]
    | ReplaceOne[dict[str, Any]]
    | DeleteOne
    | DeleteMany
    | UpdateOne
    | UpdateMany
)
_NAMES = uuid.UUID("6f0f1f0e-6a52-4d62-9f5a-0d3f6f9d9c10")


@dataclass(frozen=True, slots=True)
class Link:
    """One record and one person, and what is held of the two. `weight` is None where nothing was
    compared: the first record of a person, or a decision of people."""

    record: str
    person: str
    state: State
    at: datetime
    source: Source = "automatic"
    weight: float | None = None
    model: str = ""
    explanation: str = ""
    decision: str = ""
    by: str = ""
    reason: str = ""

    @property
    def id(self) -> str:
        """MATCHes by record, so that there cannot be two; the others by record and person."""
        return self.record if self.state == "MATCH" else f"{self.record} {self.person}"

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Link:
        """From its document."""
        return cls(**{k: v for k, v in document.items() if k != "_id"})

    def document(self) -> Doc:
        """As its document."""
        return {
            "_id": self.id,
            "record": self.record,
            "person": self.person,
            "state": self.state,
            "source": self.source,
            "weight": self.weight,
            "model": self.model,
            "explanation": self.explanation,
            "decision": self.decision,
            "by": self.by,
            "reason": self.reason,
            "at": self.at,
        }


@dataclass(frozen=True, slots=True)
class Edge:
    """A pair of records and who decided on it, why, and by which decision."""

    a: str
    b: str
    by: str
    reason: str
    decision: str
    at: datetime

    @classmethod
    def between(
        cls, one: str, other: str, *, by: str, reason: str, decision: str, at: datetime
    ) -> Edge:
        """The pair, whichever way round it was named."""
        a, b = sorted((one, other))
        return cls(a, b, by, reason, decision, at)

    @property
    def id(self) -> str:
        """`a b` with a < b."""
        return f"{self.a} {self.b}"

    def document(self) -> Doc:
        """As its document."""
        return {
            "_id": self.id, "a": self.a, "b": self.b, "by": self.by, "reason": self.reason,
            "decision": self.decision, "at": self.at,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReviewType:
    """A kind of question for people: how urgent (1 first), how many days they have, what is asked."""

    id: str
    priority: int
    days: int
    words: str
    see: str


REVIEWS = {
    row.id: row
    for row in (
        ReviewType("conflict", 1, 2, "A personal number is shared by people who differ.", "4.5"),
        ReviewType("vetoed", 2, 5, "They would be one person but for a veto.", "4.6"),
        ReviewType("duplicate", 2, 5, "A record fits two persons that may be one.", "4.6"),
        ReviewType("possible", 3, 20, "They may be one person.", "4.6"),
        ReviewType("number", 3, 20, "More people carry this number than can share it.", "4.3"),
        ReviewType("kept", 2, 5, "A person's decision holds together what differs.", "4.6"),
    )
}


@dataclass(frozen=True, slots=True)
class Review:
    """One question for people. The same question is asked once, however often it comes up."""

    type: str
    records: tuple[str, ...]
    persons: tuple[str, ...]
    reason: str

    @property
    def id(self) -> str:
        """The same for the same question; a name that FHIR accepts as an id."""
        about = self.records if self.type != "number" else (self.reason,)
        return str(uuid.uuid5(_NAMES, " ".join((self.type, *about, *self.persons))))

    def document(self, at: datetime) -> Doc:
        """As its document, open."""
        row = REVIEWS[self.type]
        return {
            "_id": self.id, "type": self.type, "priority": row.priority, "state": "open",
            "records": list(self.records), "persons": list(self.persons), "reason": self.reason,
            "lease": None, "approvals": [], "at": at, "due": at + timedelta(days=row.days),
        }  # fmt: skip


class Links:
    """Links, edges and reviews as one transaction sees and changes them."""

    def __init__(self, people: People, session: AsyncClientSession, now: datetime) -> None:
        self.people, self.session, self.now = people, session, now
        self.matches: dict[str, Link] = {}
        self._stored: dict[str, Link] = {}
        self._read: set[str] = set()
        self._others: list[Write] = []
        self._edges: dict[Side, list[Write]] = {"exclusions": [], "inclusions": []}
        self._explanations: list[Doc] = []
        self._hidden: list[Write] = []
        self._reviews: list[Review] = []
        self._closing: list[Write] = []

    # -- reading --------------------------------------------------------------------------------

    async def read(self, records: Iterable[str]) -> None:
        """The MATCHes of these records into the working set."""
        missing = [r for r in set(records) if r not in self._read]
        if missing:
            where = {"_id": {"$in": missing}}
            for row in await self.people.links.many(where, session=self.session):
                link = Link.of(row)
                self._stored[link.record] = link
                self.matches.setdefault(link.record, link)
            self._read.update(missing)

    async def edges(self, side: Side, records: Collection[str]) -> list[Doc]:
        """The exclusions or inclusions that touch these records."""
        if not records:
            return []
        wanted = {"$in": sorted(records)}
        where = {"$or": [{"a": wanted}, {"b": wanted}]}
        return await self._table(side).many(where, session=self.session)

    async def between(
        self, side: Side, some: Collection[str], others: Collection[str]
    ) -> list[Doc]:
        """The exclusions or inclusions between two sets of records."""
        here, there = set(some), set(others)
        return [
            e
            for e in await self.edges(side, here)
            if (e["a"] in here and e["b"] in there) or (e["b"] in here and e["a"] in there)
        ]

    # -- changing -------------------------------------------------------------------------------

    def new(self, record: str) -> None:
        """Nothing is stored of this record yet."""
        self._read.add(record)

    def match(self, link: Link) -> None:
        """This is the record's person now."""
        self.matches[link.record] = link

    def unmatch(self, record: str) -> None:
        """The record is no person's by itself: it was merged or removed."""
        self.matches.pop(record, None)

    async def moved(self, record: str, person: str) -> None:
        """The record goes with others to this person; what is held of it stays."""
        await self.read([record])
        link = self.matches.get(record)
        if link is not None and link.person != person:
            self.matches[record] = replace(link, person=person)

    def possible(self, link: Link) -> None:
        """The record may be this person's."""
        self._others.append(ReplaceOne({"_id": link.id}, link.document(), upsert=True))

    def refuse(self, link: Link) -> None:
        """A person decided that the record is not this person's."""
        self._others.append(ReplaceOne({"_id": link.id}, link.document(), upsert=True))

    def unask(self, record: str) -> None:
        """What was asked about the record before is asked no more; what must be asked still is asked
        again. Reviews that people have taken up or decided stay as they are."""
        self._others.append(DeleteMany({"record": record, "state": "POSSIBLE"}))
        where = {"records": record, "state": "open", "type": {"$ne": "number"}}
        self._closing.append(UpdateMany(where, {"$set": {"state": "gone"}}))

    def hide(self, person: str) -> None:
        """The person is sealed from now on: no question may name it."""
        self._others.append(DeleteMany({"person": person, "state": "POSSIBLE"}))
        where = {"persons": person, "state": "open"}
        self._closing.append(UpdateMany(where, {"$set": {"state": "gone"}}))
        self._hidden.append(DeleteMany({"person": person, "kind": "review"}))

    def answered(self, records: Collection[str], persons: Collection[str], decision: str) -> None:
        """People have decided what was asked about these records and persons."""
        where = {
            "records": {"$in": list(records)}, "persons": {"$in": list(persons)}, "state": "open",
        }  # fmt: skip
        self._closing.append(
            UpdateMany(where, {"$set": {"state": "decided", "decision": decision}})
        )

    async def redirected(self, person: str, to: str) -> None:
        """A person's records all went to another: what names the one names the other, and nothing asks
        whether a record is a person's that it is already."""
        mine = {"person": person, "state": {"$ne": "MATCH"}}
        rows = await self.people.links.many(mine, session=self.session)
        await self.read(row["record"] for row in rows)  # some may be the other's already
        for row in rows:
            link = replace(Link.of(row), person=to)
            self._others.append(DeleteOne({"_id": row["_id"]}))
            own = self.matches.get(link.record)
            if own is None or own.person != to:
                self._others.append(ReplaceOne({"_id": link.id}, link.document(), upsert=True))
        self._others.append(DeleteMany({"person": to, "state": "POSSIBLE", "record": {"$in": sorted(
            r for r, link in self.matches.items() if link.person == to
        )}}))  # fmt: skip
        where = {"persons": person, "state": "open"}
        self._closing.append(
            UpdateMany(where, {"$set": {"persons.$[one]": to}}, array_filters=[{"one": person}])
        )

    def bind(self, side: Side, edge: Edge) -> None:
        """People decided on this pair; an earlier decision of the same kind gives way."""
        self._edges[side].append(ReplaceOne({"_id": edge.id}, edge.document(), upsert=True))

    def loosen(self, side: Side, edges: Iterable[Mapping[str, Any]]) -> None:
        """These pairs are decided no longer."""
        self._edges[side] += [DeleteOne({"_id": e["_id"]}) for e in edges]

    def explain(self, explanation: Doc) -> None:
        """Keep why."""
        self._explanations.append(explanation)

    def ask(self, review: Review) -> None:
        """People must look at this."""
        self._reviews.append(review)

    # -- writing --------------------------------------------------------------------------------

    def edges_made(self) -> dict[str, float | None]:
        """The weights by which records are joined, as far as they were read or made here."""
        return {r: link.weight for r, link in self.matches.items()}

    def changed(self, record: str) -> bool:
        """Whether the record's MATCH is another than the stored one, as far as it was read."""
        return self.matches.get(record) != self._stored.get(record)

    async def write(self) -> None:
        """Bring what differs to MongoDB."""
        people, session = self.people, self.session
        await people.bulk(people.links, [*self._others, *self._matching()], session)
        for side in ("exclusions", "inclusions"):
            await people.bulk(self._table(side), self._edges[side], session)
        await people.bulk(
            people.explanations, [*self._hidden, *map(InsertOne, self._explanations)], session
        )
        await people.bulk(people.reviews, [*self._closing, *self._asking()], session)

    def _matching(self) -> Iterable[Write]:
        """Changes before new ones: the driver sends a command whenever the kind changes."""
        for record in self._stored.keys() - self.matches.keys():
            yield DeleteOne({"_id": record})
        new = []
        for record, link in self.matches.items():
            stored = self._stored.get(record)
            if stored is None:
                new.append(link)
            elif stored != link:
                yield ReplaceOne({"_id": record}, link.document())
        yield from (InsertOne(link.document()) for link in new)

    def _asking(self) -> Iterable[Write]:
        """A question that is new, or that had gone away, is open; one that people work on or have
        answered stays as they left it."""
        for review in {r.id: r for r in self._reviews}.values():
            document = review.document(self.now)
            again = {"_id": review.id, "state": "gone"}
            yield UpdateOne(again, {"$set": {"state": "open", "due": document["due"]}})
            rest = {k: v for k, v in document.items() if k != "_id"}
            yield UpdateOne({"_id": review.id}, {"$setOnInsert": rest}, upsert=True)

    def _table(self, side: Side) -> Table:
        return self.people.exclusions if side == "exclusions" else self.people.inclusions
