"""Collections of any size for `benchmarks.growth`: the registry's own rows under other ids, in bulk."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import md5
from typing import Any

from pymongo import MongoClient
from pymongo.write_concern import WriteConcern
from rich.progress import Progress

from chassis.call import instant
from chassis.mongo import Mongo
from registry.documents import DATABASE, Documents

Doc = dict[str, Any]
EACH = 60  # documents of a person, on two records, as in `benchmarks`
START = datetime(2024, 1, 1, tzinfo=UTC)
BATCH = 2_000


@lru_cache(maxsize=1 << 16)
def record(person: int, which: int) -> str:
    """The id of one of a person's two records."""
    return _uuid(md5(f"{person}/{which}".encode(), usedforsecurity=False).hexdigest())


def _uuid(digits: str) -> str:
    """32 hexadecimal digits as a UUID is written; the loads make millions of them."""
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def prefix(size: int) -> str:
    """What the names of a size's databases begin with."""
    return f"growth{size}_"


@dataclass(frozen=True, slots=True)
class Template:
    """A row that the registry wrote, and the words in it that make it this document and no other."""

    row: Doc
    unique: str
    which: int

    def stamped(self, number: int, person: int) -> Doc:
        """The same row as the document of another person."""
        fresh = os.urandom(48).hex()
        id_, binary = _uuid(fresh[:32]), fresh[32:64]
        at = START + timedelta(seconds=number)
        subject, unique = record(person, self.which), f"urn:oid:2.25.{int(fresh[64:], 16)}"
        old = self.row
        body = bytes(old["b"])
        for mine, other in (
            (old["_id"], id_), (old["subject"], subject), (old["binary"], binary),
            (self.unique, unique), (instant(old["at"]), instant(at)),
        ):  # fmt: skip
            body = body.replace(mine.encode(), other.encode())
        identifiers = [
            t.replace(self.unique, unique).replace(old["_id"], id_) for t in old["ix"]["identifier"]
        ]
        ix = {**old["ix"], "patient": [f"Patient/{subject}"], "identifier": identifiers}
        return {
            **old, "_id": id_, "at": at, "b": body, "subject": subject, "binary": binary, "ix": ix,
        }  # fmt: skip


def templates(rows: Sequence[Doc], people: Sequence[tuple[str, ...]]) -> list[list[Template]]:
    """The documents of each person who was published, as templates."""
    made = []
    for records in people:
        mine = [r for r in rows if r["subject"] in records and "binary" in r]
        made.append(
            [
                Template(r, _unique(r), records.index(r["subject"]))
                for r in sorted(mine, key=lambda r: str(r["at"]))[:EACH]
            ]
        )
    if any(len(sheets) != EACH for sheets in made):
        raise SystemExit("The exchange did not publish the documents that the load is made from.")
    return made


def _unique(row: Doc) -> str:
    return str(json.loads(bytes(row["b"]))["masterIdentifier"]["value"])


def arriving(sheets: Sequence[Sequence[Template]], people: int) -> Iterator[Doc]:
    """The documents of so many people, one of each in turn."""
    for turn in range(EACH):
        for person in range(people):
            mine = sheets[person % len(sheets)]
            yield mine[(turn + person) % EACH].stamped(turn * people + person, person)


async def load(
    uri: str, sheets: Sequence[Sequence[Template]], size: int, progress: Progress
) -> None:
    """Insert them in bulk; the registry's own indexes are built when all are there."""
    people = size // EACH
    task = progress.add_task(f"Loading {size:,}", total=people * EACH)
    coming = arriving(sheets, people)
    async with opened(uri, size) as mongo:
        await Documents.opened(mongo)
    with MongoClient[Doc](uri, tz_aware=True) as client:
        documents = client[prefix(size) + DATABASE].get_collection(
            "documents", write_concern=WriteConcern(w=1)
        )
        documents.drop_indexes()

        def work() -> None:
            batch: list[Doc] = []
            for row in coming:
                batch.append(row)
                if len(batch) == BATCH:
                    documents.insert_many(batch, ordered=False)
                    progress.advance(task, len(batch))
                    batch = []
            if batch:
                documents.insert_many(batch, ordered=False)
                progress.advance(task, len(batch))

        await asyncio.to_thread(work)
    indexing = progress.add_task("Indexing", total=None)
    async with opened(uri, size) as mongo:
        await Documents.opened(mongo)
    progress.update(indexing, total=1, completed=1)


@asynccontextmanager
async def opened(uri: str, size: int) -> AsyncIterator[Mongo]:
    """A way to the databases of one size."""
    mongo = Mongo(uri, prefix=prefix(size))
    try:
        yield mongo
    finally:
        await mongo.close()
