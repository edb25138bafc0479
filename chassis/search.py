"""Searches against MongoDB: clauses to filters, narrowing, pages by keyset, the Bundle.

Every filter is an equality, an `$in` or a range on the values of `standards/index.py` (`:contains`
alone is a pattern, escaped). A page continues after the last (sort key, _id) of the one before it and
never skips rows, so inserting and deleting between pages neither hides nor repeats what stays.
Where a sorted element is absent the resource comes last, in either direction.

The file is long because a filter, its order and its next page must agree; they are read together.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as changed
from functools import partial
from typing import Any, cast
from urllib.parse import quote
from weakref import WeakKeyDictionary

import orjson
from pymongo import IndexModel
from pymongo.errors import ConnectionFailure, ExecutionTimeout, OperationFailure

from chassis.call import Answer, Call, instant
from chassis.cursor import LIFE, Place, cursor_key, seal, unseal
from chassis.mongo import Doc, Filter, Gathered, Mongo, Table
from governance.permit import Permit
from standards.bundle import entry, matches, searchset_bytes
from standards.index import fold, token
from standards.outcome import NOT_SUPPORTED, TOO_COSTLY, Issue, Refused, outcome
from standards.rows import SearchParameter
from standards.search import CURSOR, Clause, Search, SortKey, Target, Token, When, named, parse

NOTHING: Filter = {"_id": {"$in": []}}  # matches no document, and MongoDB knows it without looking
ABSENT: list[Any] = [None, []]
_PLAIN = re.compile(r"[A-Za-z0-9/:,|$\-._~]*").fullmatch
_BEYOND = "\U0010ffff"
_MAX_MS = 15_000
_QUICK_MS = 1_000  # what shares a command has this long; after that it is asked by itself
_TOGETHER = 50  # resources of the largest page that shares a command


# -- clauses to filters ---------------------------------------------------------------------------


def place(parameter: SearchParameter) -> str:
    """Where a parameter's values are stored: `_id` and `at` of the document, else `ix.<field>`."""
    return parameter.field if parameter.name[0] == "_" else "ix." + parameter.field


def compiled(clause: Clause) -> Doc:
    """The MongoDB filter of one clause."""
    parameter, where = clause.parameter, place(clause.parameter)
    if clause.modifier == "missing":
        leaf = where + _PRESENCE.get(parameter.type, "")
        return {leaf: {"$in": ABSENT} if clause.values[0] else {"$nin": ABSENT}}
    if parameter.type == "string":
        return any_of([_string(where, clause.modifier, cast(str, v)) for v in clause.values])
    if parameter.type == "date":
        test = _instant if where == "at" else _range
        return any_of([test(where, cast(When, v)) for v in clause.values])
    keys: list[str] = []
    for value in clause.values:
        if isinstance(value, Token):
            said = token(value.system, value.code)
            keys.append("?" + said if clause.modifier == "identifier" else said)
        elif isinstance(value, Target):
            keys.extend(value.keys)
        else:
            keys.append(cast(str, value))
    if clause.modifier == "not":
        return {where: {"$nin": keys}}
    return {where: keys[0] if len(keys) == 1 else {"$in": keys}}


_PRESENCE = {"string": ".f", "date": ".lo"}


def _string(where: str, modifier: str, text: str) -> Doc:
    folded = fold(text)
    if modifier == "exact":
        # the folded equality is implied, and lets the one index of the field serve both
        return {where + ".x": text, where + ".f": folded}
    if modifier == "contains":
        return {where + ".f": {"$regex": re.escape(folded)}}
    return {where + ".f": {"$elemMatch": {"$gte": folded, "$lt": folded + _BEYOND}}}


def _range(where: str, when: When) -> Doc:
    """search.html#prefix, for a stored span [lo, hi) and a searched span. Where the comparison of `hi`
    implies one of `lo` it is said too, because indexes are on `lo`."""
    lo, hi, span = where + ".lo", where + ".hi", when.span
    match when.prefix:
        case "eq":
            return {lo: {"$gte": span.lo, "$lt": span.hi}, hi: {"$lte": span.hi}}
        case "ne":
            return {"$or": [{lo: {"$lt": span.lo}}, {hi: {"$gt": span.hi}}]}
        case "gt":
            return {hi: {"$gt": span.hi}}
        case "lt":
            return {lo: {"$lt": span.lo}}
        case "ge":  # the span above it overlaps, or it contains the stored one
            return {"$or": [{lo: {"$gte": span.lo}}, {hi: {"$gt": span.hi}}]}
        case "le":
            return {lo: {"$lt": span.hi}, "$or": [{lo: {"$lt": span.lo}}, {hi: {"$lte": span.hi}}]}
        case "sa":
            return {lo: {"$gte": span.hi}}
        case "eb":
            return {lo: {"$lt": span.lo}, hi: {"$lte": span.lo}}
        case _:  # ap: overlaps the widened span
            return {lo: {"$lt": span.hi}, hi: {"$gt": span.lo}}


def _instant(where: str, when: When) -> Doc:
    """The same for a stored moment, which lasts a millisecond."""
    span = when.span
    match when.prefix:
        case "eq" | "ap":
            return {where: {"$gte": span.lo, "$lt": span.hi}}
        case "ne":
            return {"$or": [{where: {"$lt": span.lo}}, {where: {"$gte": span.hi}}]}
        case "gt" | "sa":
            return {where: {"$gte": span.hi}}
        case "lt" | "eb":
            return {where: {"$lt": span.lo}}
        case "ge":
            return {where: {"$gte": span.lo}}
        case _:
            return {where: {"$lt": span.hi}}


def any_of(filters: Sequence[Filter]) -> Doc:
    """OR. None of nothing is nothing."""
    if len(filters) == 1:
        return dict(filters[0])
    return {"$or": list(filters)} if filters else dict(NOTHING)


def all_of(filters: Iterable[Filter]) -> Doc:
    """AND, flat where no two filters speak of the same key."""
    made: Doc = {}
    more: list[Doc] = []
    for part in filters:
        if made.keys().isdisjoint(part):
            made.update(part)
        else:
            more.append(dict(part))
    if more:
        made = {"$and": [made, *more]}
    return made


def narrow(permit: Permit, parameters: Sequence[SearchParameter]) -> Filter:
    """The filter that keeps an answer within the permit; {} when it reaches the whole type.

    A group whose restriction cannot be understood for this type grants nothing.
    """
    if not permit.narrow:
        return {}
    groups = []
    for group in permit.narrow:
        try:
            asked = parse(sorted(group), parameters, resource="resource")
        except Refused:
            continue
        if len(asked.clauses) == len(group):
            groups.append(all_of(compiled(c) for c in asked.clauses))
    return any_of(groups)


def matching(
    call: Call, *, where: Filter | None = None, replace: Mapping[str, Filter] | None = None
) -> Doc:
    """The whole filter of a search: its clauses, the caller's `where` and the permit. `replace`
    stands in for every clause of the parameters it names."""
    replace = replace or {}
    parts: list[Filter] = [
        compiled(c) for c in _search(call).clauses if c.parameter.name not in replace
    ]
    parts += [
        f for name, f in replace.items() if any(c.name == name for c in _search(call).clauses)
    ]
    if where:
        parts.append(where)
    if call.permit.narrow:
        parts.append(narrow(call.permit, call.row.search))
    return all_of(parts)


# -- indexes --------------------------------------------------------------------------------------


def indexes(
    parameters: Iterable[SearchParameter],
    *,
    lead: Sequence[str] = (),
    only: Collection[str] | None = None,
) -> list[IndexModel]:
    """One index per parameter, ending in `_id` so that it serves equal keys in page order.

    `lead` are document paths put first (the subject, a status): they must hold one value each, as a
    compound index takes one array. `only` names the parameters that earn an index of their own;
    `_id` needs none.
    """
    made = []
    for parameter in parameters:
        if parameter.name == "_id" or (only is not None and parameter.name not in only):
            continue
        path = place(parameter) + (
            "" if parameter.name[0] == "_" else _PRESENCE.get(parameter.type, "")
        )
        keys = [(k, 1) for k in (*lead, path, "_id")]
        made.append(
            IndexModel(keys, name="search_" + "_".join((*lead, parameter.field)).replace(".", "_"))
        )
    return made


# -- order and pages ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Key:
    """One key of the order: its path, its direction, and whether documents may lack it."""

    path: str
    descending: bool
    nullable: bool

    @property
    def direction(self) -> int:
        return -1 if self.descending else 1


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


def _beyond(order: Sequence[_Key], after: Sequence[Any]) -> Doc:
    """The documents that come after these values: equal in the first n keys and past the next."""
    ways: list[Doc] = []
    for n, (key, value) in enumerate(zip(order, after, strict=True)):
        if value is None:
            continue  # absent comes last: nothing is past it
        past: Doc = {key.path: {"$lt" if key.descending else "$gt": value}}
        if key.nullable:
            past = {"$or": [past, {key.path: None}]}
        ways.append(
            all_of([*({k.path: v} for k, v in zip(order[:n], after[:n], strict=True)), past])
        )
    made = any_of(ways)
    first, value = order[0], after[0]
    if not first.nullable and len(ways) > 1:  # implied by every way, and it bounds the index scan
        made = {first.path: {"$lte" if first.descending else "$gte": value}, **made}
    return made


def _ordered(filters: Doc, order: Sequence[_Key]) -> list[Doc]:
    """The stages that put what matches in order."""
    sort: Doc = {}
    absent: Doc = {}
    for n, key in enumerate(order):
        if key.nullable and not key.descending:  # MongoDB would put absent ones first
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
    """Page and total in one round trip: the page streams from its index, the count follows it."""
    after = search.after
    page = all_of([filters, _beyond(order, after)]) if after else filters
    shown = dict.fromkeys((*fields, *(k.path for k in order)), 1)
    counting = [{"$match": filters}, {"$count": "total"}]
    return [
        *_ordered(page, order), {"$limit": search.count + 1}, {"$project": shown},
        {"$unionWith": {"coll": table.name, "pipeline": counting}},
    ]  # fmt: skip


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
) -> Found:
    """One page of the documents that match `filters`, in the order of `keys`, and the exact total.

    `few` says that the filters lead an index to few documents (one person's): then the first page
    shares its command with others that are asked for at the same time. Raises `Refused` (TOO_COSTLY)
    when MongoDB cannot do it within its time.
    """
    try:
        if search.only_count:
            return Found([], await table.count(filters, max_ms=_MAX_MS), None)
        order = _order(search, keys, replaced)
        if few and not search.after and hint is None and search.count <= _TOGETHER:
            found = await _first_page(table, search.count, filters, order, fields)
            if found is not None:
                return found
        stages = _pipeline(table, filters, order, search, fields)
        # the page, one more, the total, and room to see that nothing follows
        rows = await _run(table, stages, search.count + 3, hint)
    except ExecutionTimeout as late:
        words = "This search takes too long to answer; narrow it, by patient, date or identifier."
        raise Refused(Issue(TOO_COSTLY, words)) from late
    total = rows.pop()["total"] if rows and "total" in rows[-1] else 0
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
    (a page of more than 16 MB, or a search that is not as quick as was thought)."""
    shown = dict.fromkeys((*fields, *(k.path for k in order)), 1)
    gathered = _gathering.get(table)
    if gathered is None:
        gathered = _gathering[table] = Gathered(partial(_first_pages, table))
    asked = _First([*_ordered(filters, order), {"$project": shown}], count + 1)
    try:
        read = await gathered.get(asked)
    except (ExecutionTimeout, OperationFailure):
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


# -- the answer -----------------------------------------------------------------------------------

Include = Callable[[Sequence[Doc]], Awaitable[Sequence[bytes]]]
Show = Callable[[Doc], bytes]


async def resume(call: Call, mongo: Mongo, database: str) -> None:
    """If the call continues an earlier search by `_cursor`, put that search in its place.

    Handlers that look at `call.search` before `searchset` runs call this first. Raises `Refused`
    (400) for a cursor that is changed, expired, of another search, caller or policy.
    """
    search = call.search
    if search is None or not search.cursor or search.after is not None:
        return
    key = await cursor_key(mongo, database)
    spot = unseal(
        key, call.row.code, search.cursor,
        client=call.caller.client_id, policy=call.permit.version, now=call.now,
    )  # fmt: skip
    earlier = parse(
        spot.pairs, call.row.search, resource=call.row.resource, max_count=spot.count,
        default_count=spot.count, base=call.base, now=spot.asked,
    )  # fmt: skip
    keys = earlier.sort or _sort_keys(spot.order, call.row.search)
    call.search = changed(
        earlier, cursor=search.cursor, after=spot.after, sort=keys, asked=spot.asked
    )


async def searchset(
    call: Call,
    table: Table,
    *,
    where: Filter | None = None,
    replace: Mapping[str, Filter] | None = None,
    include: Include | None = None,
    show: Show | None = None,
    issues: Sequence[Issue] = (),
    default_sort: str = "-_lastUpdated",
    fields: Collection[str] = ("b",),
    hint: str | Doc | None = None,
    few: bool = False,
) -> Answer:
    """Serve `call.search` from a table: one page, exact total, self and next links.

    `where` is ANDed; `replace` stands in for the filters of the parameters it names; `show` gives
    the bytes of a document (default: its `b`; name what else it needs in `fields`); `include` gives
    the bytes of resources to include; `issues` are warnings to carry as an outcome entry;
    `default_sort` is a `_sort` value; `few` says that the search is of one person (see `find`).
    """
    database = table.raw.database.name.removeprefix(table.mongo.prefix)
    await resume(call, table.mongo, database)
    search = _search(call)
    told = [*search.ignored, *issues]
    if include is None and (search.include or search.revinclude):
        told.append(_no_includes(call))
    keys = search.sort or _sort_keys(default_sort, call.row.search)
    filters = matching(call, where=where, replace=replace)
    found = await find(
        table, search, filters, keys, replaced=(replace or {}).keys(), fields=fields, hint=hint,
        few=few,
    )  # fmt: skip
    kind = f"{call.base}{call.row.door}/{call.row.resource}"
    entries = matches(kind, ((r["_id"], r["b"] if show is None else show(r)) for r in found.rows))
    if include is not None and found.rows:
        entries += [_included(call.base, body) for body in await include(found.rows)]
    if told:
        entries.append(entry("", orjson.dumps(outcome(told)), "outcome"))
    links = [("self", _self(kind, search, include is not None))]
    if search.after:
        links.append(("first", await _link(call, table.mongo, database, kind, keys, ())))
    if found.after is not None:
        links.append(("next", await _link(call, table.mongo, database, kind, keys, found.after)))
    return Answer(
        200,
        searchset_bytes(
            id_=call.ids(),
            updated=instant(call.now),
            total=found.total,
            links=links,
            entries=entries,
        ),
    )


def _search(call: Call) -> Search:
    if call.search is None:
        raise RuntimeError(f"{call.row.code} has no search to serve")
    return call.search


def _sort_keys(said: str, parameters: Sequence[SearchParameter]) -> tuple[SortKey, ...]:
    rows = named(parameters)
    return tuple(
        SortKey(rows[k.removeprefix("-")], k.startswith("-")) for k in said.split(",") if k
    )


def _no_includes(call: Call) -> Issue:
    words = f"A search on {call.row.resource} includes no other resources here."
    issue = Issue(NOT_SUPPORTED, words, "_include")
    if call.strict:
        raise Refused(issue)
    return issue.warn()


def _included(base: str, body: bytes) -> bytes:
    said = orjson.loads(body)
    return entry(f"{base}/{said['resourceType']}/{said['id']}", body, "include")


def _self(kind: str, search: Search, includes: bool) -> str:
    """The search as it was understood: only what took effect."""
    if search.after is not None:
        return f"{kind}?{CURSOR}={search.cursor}"
    used = [p for p in search.used if includes or p[0] not in ("_include", "_revinclude")]
    return f"{kind}?{'&'.join(f'{_quoted(k)}={_quoted(v)}' for k, v in used)}" if used else kind


def _quoted(text: str) -> str:
    # Most of what is asked needs no escape, and finding that out is a tenth of escaping it.
    return text if _PLAIN(text) else quote(text, safe="/:,|$-._~")


async def _link(
    call: Call,
    mongo: Mongo,
    database: str,
    kind: str,
    keys: Sequence[SortKey],
    after: tuple[Any, ...],
) -> str:
    search = _search(call)
    spot = Place(
        pairs=search.used, count=search.count, order=",".join(k.said for k in keys), after=after,
        client=call.caller.client_id, policy=call.permit.version, asked=search.asked or call.now,
        until=call.now + LIFE,
    )  # fmt: skip
    key = await cursor_key(mongo, database)
    return f"{kind}?{CURSOR}={seal(key, call.row.code, spot)}"
