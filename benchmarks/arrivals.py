"""Registries of any size for the benchmarks: what the registry itself wrote, under other ids, in bulk.

A submission leaves a document, a submission set and the names they are registered under. Its rows are
kept as the BSON that they are stored as; a copy is the same bytes with ids, identifiers, subject and
moment put in place of those of the original, all of the same length, so that nothing is encoded anew.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import md5
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.write_concern import WriteConcern
from rich.progress import Progress

from chassis.call import instant
from chassis.mongo import Mongo
from registry.documents import DATABASE, Documents

Doc = dict[str, Any]
EACH = 60  # documents of a person, on two records, as in `benchmarks`
START = datetime(2024, 1, 1, tzinfo=UTC)
BATCH = 2_000  # submissions
TABLES = ("documents", "lists", "registered")


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
    beside: Mapping[str, Sequence[Doc]]  # the rows that its submission wrote in the other tables

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


class Press:
    """Makes copies of one submission."""

    def __init__(self, sheet: Template) -> None:
        rows = {"documents": [sheet.row], **sheet.beside}
        (listed,) = rows["lists"]
        self.which = sheet.which
        self.rows = [(name, bson.encode(row)) for name in TABLES for row in rows[name]]
        self.ids = (sheet.row["_id"].encode(), listed["_id"].encode())
        self.binary = sheet.row["binary"].encode()
        self.names = [(n.encode(), len(n) - len(_OID)) for n in (sheet.unique, listed["unique"])]
        self.subject = sheet.row["subject"].encode()
        moments = {sheet.row["at"], listed["at"]}
        if len(moments) != 1:
            raise SystemExit("A document and its submission set were not written at one moment.")
        (self.at,) = moments
        self.moment = _moment(self.at)

    def copies(self, number: int, person: int) -> Iterator[tuple[str, RawBSONDocument]]:
        """(table, row) of one more submission, for another person."""
        fresh = os.urandom(80).hex()
        at = START + timedelta(seconds=number)
        marks = [
            (self.ids[0], _uuid(fresh[:32]).encode()), (self.ids[1], _uuid(fresh[32:64]).encode()),
            (self.binary, fresh[64:96].encode()),
            (self.subject, record(person, self.which).encode()),
            (instant(self.at).encode(), instant(at).encode()), (self.moment, _moment(at)),
        ]  # fmt: skip
        for place, (name, digits) in enumerate(self.names):
            start = 96 + 32 * place
            drawn = str(int("1" + fresh[start : start + 32], 16)).encode()
            marks.append((name, _OID.encode() + (drawn * 2)[:digits]))
        for table, row in self.rows:
            for mine, other in marks:
                row = row.replace(mine, other)  # noqa: PLW2901  this copy
            yield table, RawBSONDocument(row)


_OID = "urn:oid:2.25."


def _moment(at: datetime) -> bytes:
    """`at` as an element of a row is written in BSON."""
    return bson.encode({"at": at})[4:-1]


def templates(
    written: Mapping[str, Sequence[Doc]], people: Sequence[tuple[str, ...]]
) -> list[list[Template]]:
    """The documents of each person who was published, as templates."""
    lists = {item: row for row in written["lists"] for item in row["ix"].get("item", ())}
    names: dict[str, list[Doc]] = {}
    for row in written["registered"]:
        names.setdefault(row["of"], []).append(row)
    made = []
    for records in people:
        mine = [r for r in written["documents"] if r["subject"] in records and "binary" in r]
        sheets = []
        for row in sorted(mine, key=lambda r: str(r["at"]))[:EACH]:
            listed = lists[f"DocumentReference/{row['_id']}"]
            beside = {"lists": [listed], "registered": names[row["_id"]] + names[listed["_id"]]}
            sheets.append(Template(row, _unique(row), records.index(row["subject"]), beside))
        made.append(sheets)
    if any(len(sheets) != EACH for sheets in made):
        raise SystemExit("The exchange did not publish the documents that the load is made from.")
    return made


def _unique(row: Doc) -> str:
    return str(json.loads(bytes(row["b"]))["masterIdentifier"]["value"])


async def written(mongo: Mongo) -> dict[str, list[Doc]]:
    """Everything that a registry holds, by table."""
    return {name: await mongo.table(DATABASE, name).many({}) for name in TABLES}


def arriving(
    sheets: Sequence[Sequence[Template]], people: int
) -> Iterator[tuple[str, RawBSONDocument]]:
    """The submissions of so many people, one of each in turn, as (table, row)."""
    presses = [[Press(sheet) for sheet in mine] for mine in sheets]
    for turn in range(EACH):
        for person in range(people):
            mine = presses[person % len(presses)]
            yield from mine[(turn + person) % EACH].copies(turn * people + person, person)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load came to: seconds, and bytes in MongoDB for each document with all that goes with it."""

    documents: int
    inserting: float
    indexing: float
    bson: float
    stored: float
    indexes: float

    def __str__(self) -> str:
        rate = self.documents / (self.inserting + self.indexing)
        return (
            f"{self.documents:,} documents in {self.inserting:.0f} s and {self.indexing:.0f} s for "
            f"indexes ({rate:,.0f} a second); for each, {self.bson:,.0f} bytes of BSON, "
            f"{self.stored:,.0f} stored and {self.indexes:,.0f} of indexes"
        )


async def load(
    uri: str, sheets: Sequence[Sequence[Template]], size: int, progress: Progress, *, into: str
) -> Loaded:
    """Insert them in bulk into the registry whose database's name begins with `into`; the registry's
    own indexes are built when all are there."""
    people = size // EACH
    task = progress.add_task(f"Loading {size:,}", total=people * EACH)
    coming = arriving(sheets, people)
    async with opened(uri, into) as mongo:
        await Documents.opened(mongo)
    begun = time.perf_counter()
    with MongoClient[Any](uri) as client:
        database = client[into + DATABASE]
        tables = {
            name: database.get_collection(name, write_concern=WriteConcern(w=1)) for name in TABLES
        }
        for table in tables.values():
            table.drop_indexes()

        def insert(held: Mapping[str, list[RawBSONDocument]]) -> None:
            for name, rows in held.items():
                if rows:
                    tables[name].insert_many(rows, ordered=False)
            progress.advance(task, len(held["documents"]))

        def work() -> None:
            held: dict[str, list[RawBSONDocument]] = {name: [] for name in TABLES}
            for name, row in coming:
                if name == "documents" and len(held["documents"]) == BATCH:
                    insert(held)
                    held = {n: [] for n in TABLES}
                held[name].append(row)
            insert(held)

        await asyncio.to_thread(work)
    inserted = time.perf_counter()
    indexing = progress.add_task("Indexing", total=None)
    async with opened(uri, into) as mongo:
        await Documents.opened(mongo)
        indexed = time.perf_counter()
        await mongo.client.admin.command("fsync")
        said = [await mongo.client[into + DATABASE].command("collStats", name) for name in TABLES]
    progress.update(indexing, total=1, completed=1)
    each = [
        sum(s[of] for s in said) / (people * EACH)
        for of in ("size", "storageSize", "totalIndexSize")
    ]
    return Loaded(people * EACH, inserted - begun, indexed - inserted, *each)


@asynccontextmanager
async def opened(uri: str, into: str) -> AsyncIterator[Mongo]:
    """A way to the databases whose names begin so."""
    mongo = Mongo(uri, prefix=into)
    try:
        yield mongo
    finally:
        await mongo.close()
