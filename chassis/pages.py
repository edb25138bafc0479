"""Pages by keyset: one page of what matches, in order, with the exact total.

A page continues after the last (sort key, …, _id) of the one before it and never skips rows, so
inserting and deleting between pages neither hides nor repeats what stays where it is in the order.
Where a sorted element is absent the resource comes last, in either direction.

Every page counts what matches when it is read. Only where more than `FEW` match is the total that of
the first page, which later ones carry: it would cost them more than all else they do.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as changed
from functools import partial
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from pymongo.errors import ConnectionFailure, ExecutionTimeout, OperationFailure

from chassis.filters import all_of, place
from chassis.mongo import Doc, Filter, Gathered, Table
from standards.outcome import TOO_COSTLY, Issue, Refused
from standards.search import Search, SortKey

_MAX_MS = 15_000
_QUICK_MS = 1_000  # what shares a command has this long; after that it is asked by itself
_TOGETHER = 50  # resources of the largest page that shares a command
FEW = 1_000  # documents that are read whole to count them, and are counted for every page


@dataclass(frozen=True, slots=True)
class _Key:
    """One key of the order: its path, its direction, and whether documents may lack it."""

    path: str
    descending: bool
    nullable: bool

    @property
    def direction(self) -> int:
        return -1 if self.descending else 1

    def sure(self) -> _Key:
        """The same key where no document lacks it."""
        return _Key(self.path, self.descending, False)


def _order(search: Search, keys: Sequence[SortKey], replaced: Collection[str]) -> list[_Key]:
    order = []
    for key in keys:
        parameter, path = key.parameter, place(key.parameter)
        own = parameter.name[0] == "_"
        if not own:
            path += ".lo" if parameter.type == "date" or not key.descending else ".hi"
        sure = own or (parameter.name not in replaced and search.has(parameter.name))
        order.append(_Key(path, key.descending, not sure))
        if path == "_id":
            return order
    order.append(_Key("_id", order[-1].descending if order else False, False))
    return order


def _pieces(order: Sequence[_Key], after: Sequence[Any]) -> list[tuple[Doc, Sequence[_Key]]]:
    """What is left of an order after these values, cut into pieces that each lie together in an index
    and follow one another: equal in all keys but the last and past that, equal in one fewer, and so
    on; what lacks a key comes after what has it. Each with the keys that still order it: MongoDB does
    not see that an index is in order when it is told to sort by what is equal throughout.

    Every piece begins where an index can go to at once, however many documents share a value, so that
    a page costs the same wherever it is.
    """
    if not after:
        first = order[0]
        if first.nullable and not first.descending:  # MongoDB would put absent ones first
            there = ({first.path: {"$ne": None}}, [first.sure(), *order[1:]])
            return [there, ({first.path: None}, order[1:])]
        return [({}, order)]
    made: list[tuple[Doc, Sequence[_Key]]] = []
    for n in reversed(range(len(order))):
        key, value = order[n], after[n]
        if value is None:
            continue  # absent comes last: nothing is past it
        same = {k.path: v for k, v in zip(order[:n], after[:n], strict=True)}
        past = {**same, key.path: {"$lt" if key.descending else "$gt": value}}
        made.append((past, [key.sure(), *order[n + 1 :]]))
        if key.nullable:
            made.append(({**same, key.path: None}, order[n + 1 :]))
    return made


def _ordered(filters: Doc, order: Sequence[_Key]) -> list[Doc]:
    """The stages that put what matches in order."""
    sort: Doc = {}
    absent: Doc = {}
    for n, key in enumerate(order):
        if key.nullable and not key.descending:
            flag = f"absent{n}"
            absent[flag] = {"$lte": ["$" + key.path, None]}
            sort[flag] = 1
        sort[key.path] = key.direction
    made: list[Doc] = [{"$match": filters}]
    if absent:
        made.append({"$set": absent})
    return [*made, {"$sort": sort}]


def _pipeline(
    table: Table, filters: Doc, order: Sequence[_Key], search: Search, fields: Collection[str]
) -> list[Doc]:
    """Page and total in one round trip: the page streams from its index, and the count follows it
    where it is not known from the page before."""
    size: Doc = {"$limit": search.count + 1}
    shown = {"$project": dict.fromkeys((*fields, *(k.path for k in order)), 1)}
    pieces = [
        [*_ordered(all_of([filters, piece]), keys), size, shown]
        for piece, keys in _pieces(order, search.after or ())
    ]
    stages = pieces[0]
    if len(pieces) > 1:
        stages += [{"$unionWith": {"coll": table.name, "pipeline": p}} for p in pieces[1:]]
        stages.append(size)  # a piece is not begun when those before it fill the page
    if search.total is None:
        counting = [{"$match": filters}, {"$count": "total"}]
        stages.append({"$unionWith": {"coll": table.name, "pipeline": counting}})
    return stages


@dataclass(frozen=True, slots=True)
class Found:
    """One page: its documents, how many match in all, and the values the next page starts after
    (None when this is the last)."""

    rows: list[Doc]
    total: int
    after: tuple[Any, ...] | None


@dataclass(frozen=True, slots=True)
class _First:
    """A first page among few documents: they are read once, for the page and for the total."""

    stages: list[Doc]  # what matches, in order, as it is shown
    size: int


class Totals(Protocol):
    """What a service keeps of how many documents match, so that they need not be counted."""

    async def total(self, filters: Filter, few: int) -> int | None:
        """How many match; None when that has to be counted, as what may be `few` always is."""
        ...

    def exceeded(self, filters: Filter) -> None:
        """More than a few matched; whoever keeps totals may want to know."""
        ...


async def find(
    table: Table,
    search: Search,
    filters: Doc,
    keys: Sequence[SortKey],
    *,
    replaced: Collection[str] = (),
    fields: Collection[str] = ("b",),
    hint: str | Doc | None = None,
    few: bool = False,
    totals: Totals | None = None,
) -> Found:
    """One page of the documents that match `filters`, in the order of `keys`, and the exact total.

    `few` says that the filters lead an index to few documents (one person's): then the first page
    shares its command with others that are asked for at the same time. A total that `search` brings
    from an earlier page stands, and one that `totals` knows is not counted. Raises `Refused`
    (TOO_COSTLY) when MongoDB cannot do it within its time.
    """
    try:
        if totals is not None and search.total is None:
            search = changed(search, total=await totals.total(filters, FEW))
        if search.only_count:
            counted = search.total
            if counted is None:
                counted = await table.count(filters, max_ms=_MAX_MS)
                if totals is not None and counted > FEW:
                    totals.exceeded(filters)
            return Found([], counted, None)
        order = _order(search, keys, replaced)
        alone = search.after or hint is not None or (search.total or 0) > FEW
        if few and not alone and search.count <= _TOGETHER:
            found = await _first_page(table, search.count, filters, order, fields)
            if found is not None:
                return found
        stages = _pipeline(table, filters, order, search, fields)
        # the page, one more, the total, and room to see that nothing follows
        rows = await _run(table, stages, search.count + 3, hint)
    except ExecutionTimeout as late:
        words = "This search takes too long to answer; narrow it, by patient, date or identifier."
        raise Refused(Issue(TOO_COSTLY, words)) from late
    total = search.total
    if total is None:
        total = rows.pop()["total"] if rows and "total" in rows[-1] else 0
        if totals is not None and total > FEW:
            totals.exceeded(filters)
    return _found(rows, total, search.count, order)


def _found(rows: list[Doc], total: int, count: int, order: Sequence[_Key]) -> Found:
    if len(rows) <= count:
        return Found(rows, total, None)
    del rows[count:]
    return Found(rows, total, tuple(_value(rows[-1], k.path) for k in order))


# Half of what a find costs the driver and a third of what it costs MongoDB is the command around it.
_gathering: WeakKeyDictionary[Table, Gathered[_First, Doc]] = WeakKeyDictionary()


async def _first_page(
    table: Table, count: int, filters: Doc, order: Sequence[_Key], fields: Collection[str]
) -> Found | None:
    """The page and total by one reading, in one command with others; None when that cannot be done
    (a page of more than 16 MB, or a search of more documents or less quick than was thought)."""
    shown = dict.fromkeys((*fields, *(k.path for k in order)), 1)
    gathered = _gathering.get(table)
    if gathered is None:
        gathered = _gathering[table] = Gathered(partial(_first_pages, table))
    ordered = [*_ordered(filters, order), {"$limit": FEW + 1}, {"$project": shown}]
    try:
        read = await gathered.get(_First(ordered, count + 1))
    except (ExecutionTimeout, OperationFailure):
        return None
    if read.get("total", 0) > FEW:
        return None
    return _found(read.get("page", []), read.get("total", 0), count, order)


async def _first_pages(table: Table, asked: Sequence[_First]) -> list[Doc]:
    """{total, page} of each; {} where nothing matches."""
    each = []
    for number, first in enumerate(asked):
        page = {"$firstN": {"n": first.size, "input": "$$ROOT"}}
        group = {"_id": number, "total": {"$sum": 1}, "page": page}
        each.append([*first.stages, {"$group": group}])
    stages = each[0]
    stages += [{"$unionWith": {"coll": table.name, "pipeline": p}} for p in each[1:]]
    made: list[Doc] = [{} for _ in asked]
    for row in await _run(table, stages, len(asked) + 1, None, _QUICK_MS):
        made[row["_id"]] = row
    return made


async def _run(
    table: Table, stages: list[Doc], size: int, hint: str | Doc | None, max_ms: int = _MAX_MS
) -> list[Doc]:
    """Run a pipeline whose result fits one reply. As a plain command it costs the driver half of what
    a cursor does; the driver repeats only cursors' reads on a lost primary, so that is done here."""
    command: Doc = {
        "aggregate": table.name, "pipeline": stages, "cursor": {"batchSize": size},
        "maxTimeMS": max_ms, "readConcern": {"level": "majority"},
    }  # fmt: skip
    if hint is not None:
        command["hint"] = hint
    database, codec = table.raw.database, table.raw.codec_options
    async with table.mongo.gate:
        try:
            reply = await database.command(command, codec_options=codec)
        except ConnectionFailure:
            reply = await database.command(command, codec_options=codec)
        rows: list[Doc] = reply["cursor"]["firstBatch"]
        rest = reply["cursor"]["id"]
        if rest:  # more than 16 MB: read it again as a stream
            await database.command({"killCursors": table.name, "cursors": [rest]})
            options: Doc = {"hint": hint} if hint is not None else {}
            cursor = await table.raw.aggregate(stages, maxTimeMS=max_ms, **options)
            rows = await cursor.to_list(None)
    return rows


def _value(row: Doc, path: str) -> Any:
    held: Any = row
    for name in path.split("."):
        held = held.get(name) if isinstance(held, Mapping) else None
    return held
