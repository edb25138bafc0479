"""Which layout of documents serves "the newest twenty of one person" better? (docs/decisions/0009)

    plain      _id is the FHIR id; compound index (subject, date descending, _id), as the registry has it
    clustered  a clustered collection whose _id is subject, inverted date and FHIR id; the FHIR id indexed

    python -m benchmarks.layout --mongodb URI [--documents 200000] [--per-person 100]

Loads both with the same documents in order of arrival (so that one person's lie far apart in `plain`),
then measures the find, a find over two records of one person, a read by id and durable inserts, one at
a time, by raw driver calls, so that only the layouts differ. mongod's CPU is shown where it runs on this
machine. Run it with more and with fewer documents than the cache holds to see how each layout grows.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

from pymongo import AsyncMongoClient, IndexModel
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.write_concern import WriteConcern

from benchmarks.load import cpu_seconds

Doc = dict[str, Any]
Collection = AsyncCollection[Doc]
START = datetime(2016, 1, 1, tzinfo=UTC)
LAST = 4_102_444_800  # seconds; later than any date, so that newer documents sort first
TYPES = ("GN-DISCH", "GN-OPLET", "EY-NBR", "HL-PHP")
FIELDS = {"b": 1}


def clustered_id(document: Doc) -> str:
    """Subject, inverted date, FHIR id."""
    return f"{document['subject']}/{LAST - int(document['ix']['date']['lo'].timestamp()):010d}/{document['_id']}"


def documents(count: int, per_person: int) -> Iterator[Doc]:
    """About 2.6 KB each, half of it incompressible, as arrival mixes people."""
    dice = random.Random(1)
    people = [str(uuid.UUID(int=dice.getrandbits(128))) for _ in range(max(1, count // per_person))]
    for n in range(count):
        made = START + timedelta(minutes=20 * n)
        kind = TYPES[n % 4]
        yield {
            "_id": str(uuid.UUID(int=dice.getrandbits(128))),
            "v": 1,
            "at": made,
            "b": dice.randbytes(1300) + b'{"resourceType":"DocumentReference"}' * 36,
            "status": "current" if n % 10 else "superseded",
            "subject": people[dice.randrange(len(people))],
            "seen": "",
            "ix": {
                "status": ["current"], "type": [kind, f"urn:types|{kind}", "urn:types|"],
                "date": {"lo": made, "hi": made + timedelta(seconds=1)}, "identifier": [f"urn:oid:{n}"],
            },
        }  # fmt: skip


class Plain:
    """The layout that the registry has."""

    name = "plain"

    def __init__(self, collection: Collection) -> None:
        self.collection = collection

    async def prepare(self) -> None:
        keys = [("subject", 1), ("ix.date.lo", -1), ("_id", -1)]
        await self.collection.create_indexes([IndexModel(keys), IndexModel([("ix.identifier", 1)])])

    def row(self, document: Doc) -> Doc:
        return document

    async def find(self, subjects: list[str], low: datetime, high: datetime) -> list[Doc]:
        """Patient, status, type and date window, newest first, twenty of them."""
        where = {
            "subject": {"$in": subjects}, "status": "current", "ix.type": {"$in": list(TYPES[:2])},
            "ix.date.lo": {"$gte": low, "$lt": high},
        }  # fmt: skip
        order = [("ix.date.lo", -1), ("_id", -1)]
        return await self.collection.find(where, FIELDS, sort=order, limit=20).to_list(None)

    async def read(self, document: Doc) -> Doc | None:
        return await self.collection.find_one({"_id": document["_id"]}, FIELDS)


class Clustered(Plain):
    """One person's documents side by side."""

    name = "clustered"

    async def prepare(self) -> None:
        await self.collection.create_indexes(
            [IndexModel([("id", 1)], unique=True), IndexModel([("ix.identifier", 1)])]
        )

    def row(self, document: Doc) -> Doc:
        return {**document, "_id": clustered_id(document), "id": document["_id"]}

    async def find(self, subjects: list[str], low: datetime, high: datetime) -> list[Doc]:
        """The same, as one range of _id per record; several records are merged here."""
        found: list[Doc] = []
        for subject in subjects:
            first, last = LAST - int(high.timestamp()), LAST - int(low.timestamp())
            where = {
                "_id": {"$gt": f"{subject}/{first:010d}0", "$lt": f"{subject}/{last:010d}0"},
                "status": "current", "ix.type": {"$in": list(TYPES[:2])},
            }  # fmt: skip
            found += await self.collection.find(where, FIELDS, sort=[("_id", 1)], limit=20).to_list(
                None
            )
        return sorted(found, key=lambda d: str(d["_id"]).split("/")[1])[:20]

    async def read(self, document: Doc) -> Doc | None:
        return await self.collection.find_one({"id": document["_id"]}, FIELDS)


async def timed(
    act: Callable[[], Awaitable[object]], rounds: int, mongod: int
) -> tuple[float, float, float]:
    """Median and 99th percentile in milliseconds, and mongod's CPU in microseconds, of one."""
    taken, before = [], cpu_seconds([mongod])
    for _ in range(rounds):
        started = time.perf_counter()
        await act()
        taken.append((time.perf_counter() - started) * 1000)
    used = (cpu_seconds([mongod]) - before) / rounds * 1e6
    return median(taken), sorted(taken)[int(len(taken) * 0.99)], used


async def measure(layout: Plain, some: list[Doc], count: int) -> None:
    """Print one layout's figures."""
    dice = random.Random(2)
    low, high = START, START + timedelta(minutes=20 * count)
    people = [d["subject"] for d in some]

    async def one() -> None:
        await layout.find([dice.choice(people)], low, high)

    async def two() -> None:
        await layout.find(dice.sample(people, 2), low, high)

    async def read() -> None:
        if await layout.read(dice.choice(some)) is None:
            raise RuntimeError("a document that was loaded is not there")

    durable = layout.collection.with_options(write_concern=WriteConcern(w="majority", j=True))
    fresh = documents(10**9, 10**6)

    async def insert() -> None:
        new = next(fresh) | {"_id": str(uuid.uuid4()), "subject": dice.choice(people)}
        await durable.insert_one(layout.row(new))

    mongod = int((await layout.collection.database.command("serverStatus"))["pid"])
    for what, act, rounds in (
        ("find, one record", one, 2000), ("find, two records", two, 2000), ("read", read, 2000), ("insert", insert, 500),
    ):  # fmt: skip
        p50, p99, used = await timed(act, rounds, mongod)
        print(
            f"{layout.name:10} {what:18} p50 {p50:6.2f} ms   p99 {p99:6.2f} ms   mongod {used:6.0f} µs"
        )
    size = await layout.collection.database.command("collStats", layout.collection.name)
    print(
        f"{layout.name:10} data {size['storageSize'] >> 20} MB, indexes {size['totalIndexSize'] >> 20} MB"
    )


async def run(uri: str, count: int, per_person: int) -> None:
    """Load both layouts, measure them, and drop them."""
    client: AsyncMongoClient[Doc] = AsyncMongoClient(uri, tz_aware=True)
    database = client[f"layout_{uuid.uuid4().hex[:8]}"]
    engine = {"wiredTiger": {"configString": "block_compressor=zstd"}}
    try:
        await database.create_collection("plain", storageEngine=engine)
        cluster = {"key": {"_id": 1}, "unique": True}
        await database.create_collection("clustered", clusteredIndex=cluster, storageEngine=engine)
        layouts = Plain(database["plain"]), Clustered(database["clustered"])
        some: list[Doc] = []
        for layout in layouts:
            await layout.prepare()
            started, batch = time.perf_counter(), list[Doc]()
            for n, document in enumerate(documents(count, per_person)):
                batch.append(layout.row(document))
                if layout is layouts[0] and n % 97 == 0:
                    some.append({"_id": document["_id"], "subject": document["subject"]})
                if len(batch) == 1000 or n == count - 1:
                    await layout.collection.insert_many(batch, ordered=False)
                    batch = []
            print(f"{layout.name:10} loaded {count} in {time.perf_counter() - started:.0f} s")
        low, high = START, START + timedelta(minutes=20 * count)
        for subject in [d["subject"] for d in some[:50]]:
            both = [await layout.find([subject], low, high) for layout in layouts]
            if [d["b"] for d in both[0]] != [d["b"] for d in both[1]]:
                raise RuntimeError("the layouts do not find the same documents")
        for layout in layouts:
            await measure(layout, some, count)
    finally:
        await client.drop_database(database.name)
        await client.close()


def main() -> None:
    """Read the command line."""
    said = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    said.add_argument("--mongodb", required=True)
    said.add_argument("--documents", type=int, default=200_000)
    said.add_argument("--per-person", type=int, default=100)
    given = said.parse_args()
    asyncio.run(run(given.mongodb, given.documents, given.per_person))


if __name__ == "__main__":
    main()
