"""The loads: files of people that were taken in, how far, and what of them waits to be linked.

    loads    {_id: job, number, file, digest, size, domain, state, after, line, counts, rejects, …}
             loading ─► loaded ─► linked
    loaded   {_id: "system|value", o: own, d: digest, m: merge, n: order}

The order says of which load a record is and on which line it stood: number << 36 | line. A block of lines
and the place behind it are committed in one transaction, so a load that was killed goes on where it
stood: nothing is lost, nothing is taken in twice, and counts are of what happened. What is in `loaded`
is told to nobody, for whose it is has not been asked yet; ITI-83 says so (503).
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pymongo import InsertOne, ReplaceOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from chassis import outbox
from chassis.mongo import Doc
from pix.bulk.accounts import Operator
from pix.bulk.admission import Admitted
from pix.identifiers import Identifier
from pix.people import DATABASE, People

COUNTS = ("staged", "repeated", "revised", "unchanged", "refused", "blank")


@dataclass(slots=True)
class Load:
    """One load of one file. `after` and `line` are how far it has come, `rejects` how long the rejects
    file was then."""

    id: str
    number: int
    file: str
    digest: str
    size: int
    domain: str
    client: str
    organisation: str
    at: datetime
    state: str = "loading"
    after: int = 0
    line: int = 0
    rejects: int = 0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Load:
        """From its document."""
        return cls(id=document["_id"], **{k: v for k, v in document.items() if k != "_id"})

    def document(self) -> Doc:
        """As its document."""
        names = [n for n in self.__dataclass_fields__ if n != "id"]
        return {"_id": self.id, **{n: getattr(self, n) for n in names}}


@dataclass(frozen=True, slots=True)
class Waiting:
    """A record that waits to be linked."""

    key: str
    own: bytes
    merge: bool
    order: int
    load: Load

    @property
    def primary(self) -> Identifier:
        """The identifier that it is fed under."""
        return Identifier.of(self.key)


_LINES = 36  # bits for the line


class Loads:
    """The store of loads."""

    def __init__(self, people: People) -> None:
        self.people = people
        self._by_number: dict[int, Load] = {}

    async def begin(self, load: Load) -> Load:
        """The load as it stands: where it was interrupted, or at its beginning."""
        found = await self.people.loads.one({"_id": load.id})
        if found is not None:
            return Load.of(found)
        while True:
            last = await self.people.loads.many({}, {"number": 1}, sort=[("number", -1)], limit=1)
            load.number = last[0]["number"] + 1 if last else 1
            try:
                await self.people.loads.insert(load.document())
            except DuplicateKeyError:  # another load began at the same moment
                continue
            return load

    async def known(self, keys: Collection[str]) -> set[str]:
        """Which of these identifiers a record is fed under already."""
        rows = await self.people.records.many({"claim": {"$in": list(keys)}}, {"claim": 1})
        return {row["claim"] for row in rows}

    async def take(self, load: Load, admitted: Sequence[Admitted]) -> None:
        """Keep these records and how far the load has come, in one transaction.

        A number that comes again says what its source says now: the same is passed over, another takes
        its place, as ITI-104 would have it.
        """
        before = dict(load.counts)

        async def story(session: AsyncClientSession) -> None:
            load.counts = dict(before)
            await self._stage(load, admitted, session)
            await self.people.loads.replace({"_id": load.id}, load.document(), session=session)

        await self.people.mongo.transaction(story, tries=24)

    async def _stage(
        self, load: Load, admitted: Sequence[Admitted], session: AsyncClientSession
    ) -> None:
        last: dict[str, Admitted] = {}
        for one in admitted:
            key = f"{one.system}|{one.value}"
            if key in last:
                same = last[key].digest == one.digest
                load.counts["repeated" if same else "revised"] += 1
            last[key] = one
        there = await self.people.loaded.many(
            {"_id": {"$in": list(last)}}, {"d": 1}, session=session
        )
        known = {row["_id"]: bytes(row["d"]) for row in there}
        writes: list[InsertOne[Doc] | ReplaceOne[Doc]] = []
        for key, one in last.items():
            document = self._document(load, key, one)
            if key not in known:
                load.counts["staged"] += 1
                writes.append(InsertOne(document))
            elif known[key] == one.digest:
                load.counts["repeated"] += 1
            else:
                load.counts["revised"] += 1
                writes.append(ReplaceOne({"_id": key}, document))
        await self.people.bulk(self.people.loaded, writes, session)

    def _document(self, load: Load, key: str, one: Admitted) -> Doc:
        return {
            "_id": key, "o": one.own, "d": one.digest, "m": one.merge,
            "n": load.number << _LINES | one.number,
        }  # fmt: skip

    async def close(self, load: Load, event: Doc) -> None:
        """The whole file is in; the audit is told of it in the same transaction."""

        async def story(session: AsyncClientSession) -> None:
            load.state = "loaded"
            await self.people.loads.replace({"_id": load.id}, load.document(), session=session)
            await tell(self.people, [event], session)

        await self.people.mongo.transaction(story)

    # -- what waits -----------------------------------------------------------------------------

    async def waiting(self, *, merges: bool) -> int:
        """How many records wait to be linked, or how many merges to be made."""
        return await self.people.loaded.count({"m": merges}, max_ms=600_000)

    async def waits(self, load: Load) -> int:
        """How many records of this load wait to be linked."""
        of = {"n": {"$gte": load.number << _LINES, "$lt": load.number + 1 << _LINES}}
        return await self.people.loaded.count(of, max_ms=600_000)

    async def all(self, *, merges: bool, size: int = 2000) -> AsyncIterator[list[Waiting]]:
        """Everything that waits, a batch at a time."""
        batch: list[Doc] = []
        cursor = self.people.loaded.raw.find({"m": merges}, batch_size=size)
        async for row in cursor:
            batch.append(row)
            if len(batch) >= size:
                yield await self._waiting(batch)
                batch = []
        if batch:
            yield await self._waiting(batch)

    async def some(
        self, keys: Sequence[str], session: AsyncClientSession | None = None
    ) -> dict[str, Waiting]:
        """Those of these that still wait."""
        rows = await self.people.loaded.many({"_id": {"$in": list(keys)}}, session=session)
        return {one.key: one for one in await self._waiting(rows)}

    async def _waiting(self, rows: Sequence[Doc]) -> list[Waiting]:
        numbers = {row["n"] >> _LINES for row in rows}
        if strange := numbers - self._by_number.keys():
            found = await self.people.loads.many({"number": {"$in": sorted(strange)}})
            self._by_number |= {d["number"]: Load.of(d) for d in found}
        return [
            Waiting(
                row["_id"], bytes(row["o"]), row["m"], row["n"], self._by_number[row["n"] >> _LINES]
            )
            for row in rows
        ]

    async def unfinished(self) -> list[Load]:
        """Loads that were interrupted and not taken up again."""
        return [Load.of(d) for d in await self.people.loads.many({"state": "loading"})]

    async def linked(self, session: AsyncClientSession) -> None:
        """Nothing waits any more."""
        await self.people.loads.update(
            {"state": "loaded"}, {"$set": {"state": "linked"}}, session=session, many=True
        )


async def tell(people: People, events: Iterable[Doc], session: AsyncClientSession | None) -> None:
    """Put AuditEvents into the outbox, as part of the session's transaction."""
    await people.mongo.table(DATABASE, outbox.COLLECTION).insert_many(list(events), session)


def identity(digest: str, operator: Operator, domain: str, columns: str) -> str:
    """What makes two loads the same load: the file, for whom, and how it is read."""
    said = "\n".join((digest, operator.client, operator.organisation, domain, columns))
    return hashlib.sha256(said.encode()).hexdigest()[:24]
