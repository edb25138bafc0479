"""Everything derived, made anew from what was said and decided: `throughline people rebuild`.

    records, links ─► one person at a time ─► profiles, members, holdings, keys   (rebuilt_*)
                     one person at a time ─► what its records are found by
    holdings by identifier ─► identifiers, and what each person's card tells
    members and tellings by person ─► persons
    keys ─► postings; full ones hand over to their finer ones

Nothing is held in memory but one batch: what has to be put in another order is written to a collection
of its own and read back by its index. The new collections are compared with those in use, and take
their place only where they differ, and only if nothing was fed meanwhile. On a consistent store a
rebuild changes nothing (tests/pix/test_rebuild.py).

A store of a version without links gets them here: each active record is the person it already was.

One file, because each step reads what the one before has written.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any

from pymongo import InsertOne, UpdateOne

from chassis.mongo import Doc, Table
from pix import claims, joining, places, showing
from pix.blocking import FULL, QUARANTINE
from pix.cards import Card, Member, Told
from pix.joining import Holder, Known
from pix.links import Link
from pix.people import DATABASE, People
from pix.profiles import Portrait, Posting, Said, drawn
from pix.record import Record
from standards.outcome import CONFLICT, Issue, Refused

Progress = Callable[[str, int, int], None]
STEPS = ("links", "persons", "identifiers", "cards", "postings", "comparing", "frequencies")
FED_MEANWHILE = (
    "Records were fed while the store was rebuilt. Nothing was changed: stop what feeds the exchange, "
    "then rebuild again."
)
_BATCH = 500


@dataclass(slots=True)
class Rebuilt:
    """How many documents of each collection there are, and how many of them were not as they should
    be."""

    total: dict[str, int] = field(default_factory=dict)
    differed: dict[str, int] = field(default_factory=dict)

    @property
    def changed(self) -> int:
        """How many documents differed in all."""
        return sum(self.differed.values())


async def rebuild(people: People, now: datetime, progress: Progress) -> Rebuilt:
    """Derive identifiers, persons, profiles, postings and frequencies anew.

    `progress` is told a step's name, how much of it is done and how much there is. Raises `Refused`
    (409), with nothing changed, when records were fed meanwhile.
    """
    before = await _latest(people)
    made = Rebuilt()
    made.differed["links"] = await _linked(people, now, progress)
    async with _Scratch(people) as scratch:
        made.differed["records"] = await _persons(people, scratch, progress)
        await _identifiers(scratch, progress)
        await _cards(people, scratch, now, progress)
        await _postings(scratch, progress)
        names = ("profiles", "identifiers", "persons", "postings")
        for place, name in enumerate(names):
            made.differed[name] = await _differing(people, scratch, name)
            made.total[name] = await scratch.table(name).count({})
            progress("comparing", place + 1, len(names))
        if await _latest(people) != before:
            raise Refused(Issue(CONFLICT, FED_MEANWHILE))
        for name in names:
            if made.differed[name]:
                await scratch.replace(name)
    await people.counted.count(now)
    progress("frequencies", 1, 1)
    return made


async def _latest(people: People) -> str:
    rows = await people.events.many({}, {"_id": 1}, sort=[("_id", -1)], limit=1)
    return str(rows[0]["_id"]) if rows else ""


class _Scratch:
    """The collections that a rebuild works in; gone afterwards."""

    def __init__(self, people: People) -> None:
        self.people = people
        self.tables: dict[str, Table] = {}

    async def __aenter__(self) -> _Scratch:
        for name in (
            "profiles", "identifiers", "persons", "postings", "holdings", "tellings", "keys", "finer",
        ):  # fmt: skip
            await self._drop(name)
            self.tables[name] = await self.people.mongo.create(DATABASE, f"rebuilt_{name}")
        return self

    async def __aexit__(self, *_: object) -> None:
        for name in self.tables:
            await self._drop(name)

    def table(self, name: str) -> Table:
        return self.tables[name]

    async def put(self, name: str, documents: Iterable[Doc]) -> None:
        waiting = [InsertOne(d) for d in documents]
        if waiting:
            async with self.people.mongo.gate:
                await self.tables[name].raw.bulk_write(waiting, ordered=False)

    async def replace(self, name: str) -> None:
        """The rebuilt collection takes the place of the one in use, with its indexes."""
        await self.people.index(self.tables[name], name)
        async with self.people.mongo.gate:
            await self.tables[name].raw.rename(name, dropTarget=True)

    async def _drop(self, name: str) -> None:
        async with self.people.mongo.gate:
            await self.people.mongo.table(DATABASE, f"rebuilt_{name}").raw.drop()


async def _all(
    table: Table,
    where: Doc | None = None,
    fields: Doc | None = None,
    by: Iterable[str] = ("_id",),
) -> AsyncIterator[Doc]:
    """Every document in the order of an index, a batch at a time."""
    cursor = table.raw.find(
        where or {},
        fields,
        sort=[(name, 1) for name in by],
        batch_size=_BATCH,
        no_cursor_timeout=False,
    )
    async for row in cursor:
        yield row


async def _batches(rows: AsyncIterator[Doc], size: int = _BATCH) -> AsyncIterator[list[Doc]]:
    batch: list[Doc] = []
    async for row in rows:
        batch.append(row)
        if len(batch) >= size:
            yield batch
            batch = []
    if batch:
        yield batch


# -- links ----------------------------------------------------------------------------------------


async def _linked(people: People, now: datetime, progress: Progress) -> int:
    """A MATCH for every active record that has none."""
    total, done, made = await people.records.count({"state": "active"}), 0, 0
    rows = _all(people.records, {"state": "active"}, {"person": 1})
    async for batch in _batches(rows):
        ids = [row["_id"] for row in batch]
        known = {r["_id"] for r in await people.links.many({"_id": {"$in": ids}}, {"_id": 1})}
        new = [
            Link(row["_id"], row["person"], "MATCH", now).document()
            for row in batch
            if row["_id"] not in known
        ]
        await people.links.insert_many(new)
        made, done = made + len(new), done + len(batch)
        progress("links", done, total)
    return made


# -- one person at a time -------------------------------------------------------------------------------


async def _persons(people: People, scratch: _Scratch, progress: Progress) -> int:
    """Portraits and keys of every person; who is a member and who holds what, for the next steps.
    The number of records that did not know their person, or by what they are found."""
    total, done, wrong = await people.links.count({"state": "MATCH"}), 0, 0
    rows = _all(people.links, {"state": "MATCH"}, by=("person", "state"))
    carried: list[Doc] = []  # the last person of a batch may go on in the next
    async for batch in _batches(rows):
        done += len(batch)
        whole = [*carried, *batch]
        carried = [row for row in whole if row["person"] == batch[-1]["person"]]
        wrong += await _some(people, scratch, whole[: len(whole) - len(carried)])
        progress("persons", done, total)
    return wrong + await _some(people, scratch, carried)


async def _some(people: People, scratch: _Scratch, links: list[Doc]) -> int:
    edges = {row["record"]: row["weight"] for row in links}
    person = {row["record"]: row["person"] for row in links}
    found = [Record.of(d) for d in await people.records.many({"_id": {"$in": list(edges)}})]
    under = await people.records.many({"root": {"$in": list(edges)}, "state": "subsumed"})
    tails = [Record.of(d) for d in under]
    for record in tails:
        person[record.id] = person[record.root]
    wrong = [r for r in (*found, *tails) if r.person != person[r.id]]
    await _corrected(people, wrong, person)
    found_by: list[UpdateOne] = []
    profiles: list[Doc] = []
    keys: list[Doc] = []
    cards: list[Doc] = []
    holdings: list[Doc] = []
    by_person = sorted((*found, *tails), key=lambda r: (person[r.id], r.id))
    for number, group in groupby(by_person, key=lambda r: person[r.id]):
        records = list(group)
        found_by += _found_by(records)
        active = [r for r in records if r.state == "active"]
        said = [Said(r.id, people.says(r.own), edges[r.id]) for r in active]
        portrait = drawn(number, said)
        if portrait.members:
            profiles.append(portrait.document())
            keys += _keys(portrait)
        members = [Member(r.id, r.primary.key, _state(r), r.root) for r in records]
        cards.append({"_id": number, "members": [list(m) for m in sorted(members)]})
        holdings += [row for r in records for row in _holdings(people, r, number)]
    if found_by:
        async with people.mongo.gate:
            await people.records.raw.bulk_write(found_by, ordered=False)
    await scratch.put("profiles", profiles)
    await scratch.put("keys", keys)
    await scratch.put("persons", cards)
    await scratch.put("holdings", holdings)
    return len(wrong) + len(found_by)


def _found_by(records: list[Record]) -> Iterator[UpdateOne]:
    """What the records of one person are found by, and whether it is told where they live, where that
    is another than is stored. One that was fed meanwhile knows better."""
    secret = any(places.labelled(r.own) for r in records)
    for r in records:
        ix = showing.indexed(showing.opened(r.b), secret=secret)
        if (r.secret, r.ix) != (secret, ix):
            where = {"_id": r.id, "v": r.v, "secret": r.secret or None}
            told: Doc = {"$set": {"secret": True}} if secret else {"$unset": {"secret": ""}}
            yield UpdateOne(where, {**told, "$set": {**told.get("$set", {}), "ix": ix}})


def _state(record: Record) -> Any:
    return "subsumed" if record.state == "subsumed" else "active"


async def _corrected(people: People, wrong: list[Record], person: dict[str, str]) -> None:
    """The link says whose a record is; the record follows it."""
    if wrong:
        changes = [UpdateOne({"_id": r.id}, {"$set": {"person": person[r.id]}}) for r in wrong]
        async with people.mongo.gate:
            await people.records.raw.bulk_write(changes)


def _keys(portrait: Portrait) -> Iterator[Doc]:
    found = portrait.posted()
    finer: dict[str, set[str]] = {}
    strong = {}
    for key in found:
        finer.setdefault(key.text, set()).update(key.finer)
        strong[key.text] = key.strong
    for text, more in finer.items():
        yield {
            "_id": {"k": text, "p": portrait.person}, "strong": strong[text], "finer": sorted(more),
        }  # fmt: skip


def _holdings(people: People, record: Record, person: str) -> Iterator[Doc]:
    """Every identifier that a record holds, as a row of its own; a subsumed one holds its claim."""
    if record.state == "subsumed":
        yield {
            "_id": {"k": record.primary.key, "r": record.id},
            "system": record.system, "value": record.value, "state": "subsumed",
        }  # fmt: skip
        return
    claim = claims.claim(showing.opened(record.own), record.primary, people.domains)
    named = {h.identifier.key: h.identifier for h in claim.held}
    for key, holder in joining.holders(record.id, person, claim):
        yield {
            "_id": {"k": key, "r": record.id},
            "system": named[key].system, "value": named[key].value, "state": "active",
            "p": person, "rank": holder.rank, "b": holder.born, "t": holder.told,
        }  # fmt: skip


# -- in other orders ----------------------------------------------------------------------------------


async def _grouped(rows: AsyncIterator[Doc], part: str) -> AsyncIterator[tuple[str, list[Doc]]]:
    """Rows that come in the order of one part of their `_id`, together."""
    group: list[Doc] = []
    async for row in rows:
        if group and group[0]["_id"][part] != row["_id"][part]:
            yield group[0]["_id"][part], group
            group = []
        group.append(row)
    if group:
        yield group[0]["_id"][part], group


async def _identifiers(scratch: _Scratch, progress: Progress) -> None:
    total, done = await scratch.table("holdings").count({}), 0
    known: list[Doc] = []
    told: list[Doc] = []
    async for key, rows in _grouped(_all(scratch.table("holdings")), "k"):
        one = _known(key, rows)
        if not one.empty:
            known.append(one.document())
        best, owner = one.best(), one.owner()
        if best is not None and owner is not None:
            record = one.record if one.state == "active" else ""
            row = Told(one.system, one.value, record, best.record, best.told)
            told.append({"_id": {"p": owner, "k": key}, "told": list(row)})
        done += len(rows)
        if len(known) >= _BATCH:
            await scratch.put("identifiers", known)
            await scratch.put("tellings", told)
            known, told = [], []
            progress("identifiers", done, total)
    await scratch.put("identifiers", known)
    await scratch.put("tellings", told)
    progress("identifiers", total, total)


def _known(key: str, rows: list[Doc]) -> Known:
    known = Known(key, rows[0]["system"], rows[0]["value"])
    for row in rows:
        record = row["_id"]["r"]
        if row["state"] == "subsumed":
            known.record, known.state = record, "subsumed"
            continue
        known.hold(Holder(record, row["p"], row["rank"], row["b"], bytes(row["t"])))
        if row["rank"] == "primary":
            known.record, known.state = record, "active"
    return known


async def _cards(people: People, scratch: _Scratch, now: datetime, progress: Progress) -> None:
    """The cards of those who have records, and of those who once had: they redirect as before."""
    total, done = await scratch.table("persons").count({}), 0
    told = _grouped(_all(scratch.table("tellings")), "p")
    telling = await anext(told, None)
    rows = _all(scratch.table("persons"))
    async for batch in _batches(rows):
        changes = []
        stored = await _stored_at(people, [row["_id"] for row in batch])
        for row in batch:
            while telling is not None and telling[0] < row["_id"]:
                telling = await anext(told, None)
            mine = telling[1] if telling is not None and telling[0] == row["_id"] else []
            card = Card(
                row["_id"],
                tuple(sorted(Told(*t["told"]) for t in mine)),
                tuple(Member(*m) for m in row["members"]),
            )
            document = card.document() | {"state": "current", "redirect": None}
            document["at"] = stored.get(row["_id"], now)
            changes.append(UpdateOne({"_id": row["_id"]}, {"$set": _without_id(document)}))
        async with people.mongo.gate:
            await scratch.table("persons").raw.bulk_write(changes, ordered=False)
        done += len(batch)
        progress("cards", done, total)
    empty = _all(people.persons, {"members": []})
    async for batch in _batches(empty):
        ids = [row["_id"] for row in batch]
        there = await scratch.table("persons").many({"_id": {"$in": ids}}, {"_id": 1})
        known = {row["_id"] for row in there}
        await scratch.put("persons", (row for row in batch if row["_id"] not in known))


async def _stored_at(people: People, persons: list[str]) -> dict[str, datetime]:
    rows = await people.persons.many({"_id": {"$in": persons}}, {"at": 1})
    return {row["_id"]: row["at"] for row in rows}


def _without_id(document: Doc) -> Doc:
    return {k: v for k, v in document.items() if k != "_id"}


async def _postings(scratch: _Scratch, progress: Progress) -> None:
    total, done = await scratch.table("keys").count({}), 0
    for name in ("keys", "finer"):
        made: list[Doc] = []
        async for key, rows in _grouped(_all(scratch.table(name)), "k"):
            done += len(rows)
            strong = rows[0]["strong"]
            full = len(rows) > (QUARANTINE if strong else FULL)
            persons = [] if full else [row["_id"]["p"] for row in rows]
            made.append(Posting(key, persons, full).document())
            if full and not strong:
                for row in rows:
                    await scratch.put(
                        "finer",
                        (
                            {"_id": {"k": text, "p": row["_id"]["p"]}, "strong": False, "finer": []}
                            for text in row["finer"]
                        ),
                    )
            if len(made) >= _BATCH:
                await scratch.put("postings", made)
                made = []
                progress("postings", min(done, total), total)
        await scratch.put("postings", made)
    progress("postings", total, total)


# -- comparing ------------------------------------------------------------------------------------


async def _differing(people: People, scratch: _Scratch, name: str) -> int:
    """How many documents of a collection are others than the rebuilt ones, or on one side only."""
    mine, theirs = _all(scratch.table(name)), _all(getattr(people, name))
    new, old = await anext(mine, None), await anext(theirs, None)
    differ = 0
    while new is not None or old is not None:
        if old is None or (new is not None and new["_id"] < old["_id"]):
            differ, new = differ + 1, await anext(mine, None)
        elif new is None or old["_id"] < new["_id"]:
            differ, old = differ + 1, await anext(theirs, None)
        else:
            differ += _plain(new) != _plain(old)
            new, old = await anext(mine, None), await anext(theirs, None)
    return differ


def _plain(document: Doc) -> Doc:
    """Without what says nothing: the order in which persons came to a key."""
    if "p" in document and "full" in document:
        return {**document, "p": sorted(document["p"])}
    return document
