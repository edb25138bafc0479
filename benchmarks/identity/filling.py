"""A base population put straight into the store, by the pure functions that the feed uses.

Truth says who is one person here, so nothing has to be searched and ten thousand records take seconds.
What is written is what the feed would have written for them: records, links, identifiers, cards,
profiles and postings, full ones split.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pymongo import InsertOne, UpdateOne
from pymongo.errors import BulkWriteError

from benchmarks.identity.recording import Record as Fed
from chassis.call import dumps
from chassis.mongo import Table
from pix import claims, joining, showing
from pix.blocking import FULL, QUARANTINE
from pix.cards import Card, Member, Told
from pix.change import person_number
from pix.identifiers import Identifier
from pix.joining import Known
from pix.links import Link
from pix.people import People, Record
from pix.profiles import Portrait, Posting, Said, drawn

_BATCH, _EDGE = 400, 20.0


@dataclass(slots=True)
class Filling:
    """Fills a store; `records` and `persons` count what it holds."""

    people: People
    records: int = 0
    persons: int = 0
    _waiting: dict[str, list[Any]] = field(default_factory=dict)

    async def person(self, held: Sequence[Fed]) -> None:
        """One person with these records."""
        number, now = person_number(), datetime.now(UTC)
        known: dict[str, Known] = {}
        records = [self._record(fed, number, now, known) for fed in held]
        ids = [r.id for r in records]
        links = joining.links(ids)
        for record in records:
            record.links = list(links[record.id])
            patient = showing.shown(
                record.own, id_=record.id, version=1, at=now, domains=self.people.domains,
                links=record.links,
            )  # fmt: skip
            record.b, record.ix = dumps(patient), showing.indexed(patient)
        edges = [None, *[_EDGE] * (len(records) - 1)]
        said = [Said(r.id, self.people.says(r.own), e) for r, e in zip(records, edges, strict=True)]
        portrait = drawn(number, said)
        self._put("records", (r.document() for r in records))
        self._put("identifiers", (k.document() for k in known.values()))
        self._put(
            "links",
            (
                Link(r.id, number, "MATCH", now, weight=e).document()
                for r, e in zip(records, edges, strict=True)
            ),
        )
        self._put("profiles", [portrait.document()])
        self._put("persons", [_card(number, known, records, now)])
        self._waiting.setdefault("postings", []).extend(
            UpdateOne(
                {"_id": key.text},
                {"$push": {"p": number}, "$inc": {"n": 1}, "$set": {"full": False}},
                upsert=True,
            )
            for key in {k.text: k for k in portrait.posted()}.values()
        )
        self.records, self.persons = self.records + len(records), self.persons + 1
        if len(self._waiting["records"]) >= _BATCH:
            await self.flush()

    async def flush(self) -> None:
        """Write what waits. An identifier that two people carry is the first one's."""
        for name, writes in self._waiting.items():
            table: Table = getattr(self.people, name)
            try:
                await table.raw.bulk_write(writes, ordered=False)
            except BulkWriteError as fault:
                if any(e["code"] != 11000 for e in fault.details["writeErrors"]):
                    raise
        self._waiting.clear()

    async def split(self) -> int:
        """Hand over the keys that are full to their finer ones; how many there were."""
        await self.flush()
        postings, done = self.people.postings, 0
        async for row in postings.raw.find({"n": {"$gt": QUARANTINE}}):
            strong = row["_id"].startswith("n|")
            if not strong and row["n"] <= FULL:
                continue
            done += 1
            full = Posting(row["_id"], [], full=True).document()
            await postings.replace({"_id": row["_id"]}, full)
            if not strong:
                await self._hand_over(row)
        return done

    async def _hand_over(self, row: dict[str, Any]) -> None:
        rows = await self.people.profiles.many({"_id": {"$in": row["p"]}})
        writes = [
            UpdateOne(
                {"_id": text},
                {"$push": {"p": portrait.person}, "$inc": {"n": 1}, "$set": {"full": False}},
                upsert=True,
            )
            for portrait in map(Portrait.of, rows)
            for text in sorted(
                {t for k in portrait.posted() if k.text == row["_id"] for t in k.finer}
            )
        ]
        if writes:
            await self.people.postings.raw.bulk_write(writes, ordered=False)

    def _record(self, fed: Fed, number: str, now: datetime, known: dict[str, Known]) -> Record:
        domains = self.people.domains
        primary = domains.identifier(fed.system, fed.value)
        own = showing.canonical(fed.patient)
        record = Record(
            str(uuid.uuid4()), primary.system, primary.value, own, "fill", "", number, 1, now
        )
        claim = claims.claim(fed.patient, primary, domains)
        for key, holder in joining.holders(record.id, number, claim):
            held = next(h.identifier for h in claim.held if h.identifier.key == key)
            one = known.setdefault(key, Known(key, held.system, held.value))
            one.hold(holder)
            if holder.rank == "primary":
                one.record, one.state = record.id, "active"
        record.holds = [h.identifier.key for h in claim.held]
        record.anchor = f"{claim.anchor} {claim.born}" if claim.anchor else ""
        return record

    def _put(self, name: str, documents: Any) -> None:
        self._waiting.setdefault(name, []).extend(InsertOne(d) for d in documents)


def _card(
    number: str, known: dict[str, Known], records: Sequence[Record], now: datetime
) -> dict[str, Any]:
    told = []
    for one in known.values():
        best = one.best()
        if best is not None and one.owner() == number:
            record = one.record if one.state == "active" else ""
            told.append(Told(one.system, one.value, record, best.record, best.told))
    members = tuple(
        sorted(Member(r.id, Identifier(r.system, r.value).key, "active", "") for r in records)
    )
    card = Card(number, tuple(sorted(told)), members)
    return card.document() | {"state": "current", "redirect": None, "at": now}
