"""`people export`: who is whom, as a file: persons, their records and links.

One line a record (CSV) or a person (NDJSON). It names records by id, domain and number and says how sure
the link is; it holds no name, no address and no other number, so that it may be read by those who may
know who belongs together and nothing more. Sealed identities are left out whole, and so are records that
are fed under a number of tier X.
"""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import IO, Any, Literal

import orjson

from chassis.call import instant
from chassis.mongo import Doc
from pix.people import People
from pix.traits import SEALS

COLUMNS = (
    "person", "record", "system", "value", "state", "into", "source", "weight", "model", "at",
)  # fmt: skip
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Filter:
    """Which persons: with at least and at most so many records, with a record of one of these domains,
    and changed since."""

    least: int = 1
    most: int = 0
    systems: tuple[str, ...] = ()
    since: datetime | None = None


@dataclass(slots=True)
class Exported:
    """How many persons and records were written, and how many persons left out because they are sealed."""

    persons: int = 0
    records: int = 0
    sealed: int = 0


async def export(
    people: People,
    out: IO[str],
    kind: Literal["ndjson", "csv"],
    chosen: Filter,
    told: Callable[[int, int], None],
) -> Exported:
    """Write the persons of this filter. Raises what `out` raises."""
    made, done = Exported(), 0
    total = await people.persons.count({"state": "current"}, max_ms=600_000)
    table = csv.writer(out, lineterminator="\n") if kind == "csv" else None
    if table is not None:
        table.writerow(COLUMNS)
    async for batch in _persons(people, chosen):
        for person, records in await _whole(people, [row["_id"] for row in batch]):
            if not _wanted(records, chosen):
                continue
            if any(r["sealed"] for r in records) or not (rows := _shown(people, records)):
                made.sealed += 1
                continue
            made.persons += 1
            made.records += len(rows)
            if table is not None:
                table.writerows([person, *(row[c] for c in COLUMNS[1:])] for row in rows)
            else:
                line = {"person": person, "records": rows}
                out.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE).decode())
        done += len(batch)
        told(done, total)
    return made


async def _persons(people: People, chosen: Filter) -> AsyncIterator[list[Doc]]:
    where: Doc = {"state": "current"}
    if chosen.since is not None:
        where["at"] = {"$gte": chosen.since}
    batch: list[Doc] = []
    cursor = people.persons.raw.find(where, {"_id": 1}, sort=[("_id", 1)], batch_size=_BATCH)
    async for row in cursor:
        batch.append(row)
        if len(batch) >= _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


async def _whole(people: People, persons: Sequence[str]) -> list[tuple[str, list[Doc]]]:
    """The records of these persons with their links."""
    fields = dict.fromkeys(("person", "system", "value", "state", "into", "at", "own"), 1)
    where = {"person": {"$in": list(persons)}, "state": {"$ne": "removed"}}
    records = await people.records.many(where, fields, sort=[("person", 1), ("_id", 1)])
    links = await people.links.many({"_id": {"$in": [r["_id"] for r in records]}})
    by = {link["_id"]: link for link in links}
    made = []
    for person, rows in groupby(records, key=lambda r: str(r["person"])):
        made.append((person, [_row(r, by.get(r["_id"])) for r in rows]))
    return made


def _row(record: Doc, link: Doc | None) -> Doc:
    meta = (orjson.loads(bytes(record["own"])).get("meta") or {}) if record["own"] else {}
    return {
        "record": record["_id"],
        "system": record["system"],
        "value": record["value"],
        "state": record["state"],
        "into": record["into"],
        "source": link["source"] if link else "",
        "weight": round(link["weight"], 2) if link and link["weight"] is not None else None,
        "model": link["model"] if link else "",
        "at": instant(record["at"]),
        "sealed": any(label.get("code") in SEALS for label in meta.get("security") or ()),
    }


def _wanted(records: Sequence[Doc], chosen: Filter) -> bool:
    if len(records) < chosen.least or (chosen.most and len(records) > chosen.most):
        return False
    return not chosen.systems or any(r["system"] in chosen.systems for r in records)


def _shown(people: People, records: Sequence[Doc]) -> list[dict[str, Any]]:
    """Without what is sealed, and without what was only needed to know it."""
    return [
        {k: v for k, v in r.items() if k != "sealed"}
        for r in records
        if not people.domains.sealed(r["system"])
    ]
