"""Searches against MongoDB: filters, narrowing, one page, the Bundle and its links.

Clauses become filters in `chassis/filters.py` and pages follow one another in `chassis/pages.py`; what
may be asked is grammar and rows (`standards/search.py`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace as changed
from hashlib import blake2b
from typing import Any

import bson
import orjson

from chassis.call import Answer, Call, instant
from chassis.cursor import LIFE, Place, cursor_key, seal, unseal
from chassis.filters import NOTHING, all_of, any_of, compiled, indexes, narrow, place
from chassis.mongo import Doc, Filter, Mongo, Table
from chassis.pages import FEW, Totals, find
from standards.bundle import asking, entry, matches, searchset_bytes
from standards.outcome import NOT_SUPPORTED, Issue, Refused, outcome
from standards.rows import SearchParameter
from standards.search import CURSOR, Search, SortKey, named, parse

__all__ = [
    "NOTHING", "all_of", "any_of", "compiled", "indexes", "matching", "narrow", "place", "resume",
    "searchset",
]  # fmt: skip
Include = Callable[[Sequence[Doc]], Awaitable[Sequence[bytes]]]
Show = Callable[[Doc], bytes]


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
        client=call.caller.owner, policy=call.permit.version, now=call.now,
    )  # fmt: skip
    earlier = parse(
        spot.pairs, call.row.search, resource=call.row.resource, max_count=spot.count,
        default_count=spot.count, base=call.base, now=spot.asked, inclusions=call.row.inclusions,
    )  # fmt: skip
    keys = earlier.sort or _sort_keys(spot.order, call.row.search)
    call.search = changed(
        earlier, cursor=search.cursor, after=spot.after, sort=keys, asked=spot.asked,
        total=spot.total, counted=spot.counted,
    )  # fmt: skip


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
    totals: Totals | None = None,
) -> Answer:
    """Serve `call.search` from a table: one page, exact total, self and next links.

    `where` is ANDed; `replace` stands in for the filters of the parameters it names; `show` gives
    the bytes of a document (default: its `b`; name what else it needs in `fields`); `include` gives
    the bytes of resources to include; `issues` are warnings to carry as an outcome entry (read last,
    so that `include` may add to them);
    `default_sort` is a `_sort` value; `few` says that the search is of one person, and `totals` is what
    the service keeps of how many match (see `find`).
    """
    database = table.raw.database.name.removeprefix(table.mongo.prefix)
    await resume(call, table.mongo, database)
    search = _search(call)
    refused = include is None and (search.include or search.revinclude)
    told = [*search.ignored, *([_no_includes(call)] if refused else ())]
    keys = search.sort or _sort_keys(default_sort, call.row.search)
    filters = matching(call, where=where, replace=replace)
    if search.total is not None and search.counted != _digest(filters):
        search = changed(search, total=None)  # another permit, or who is who has changed
    found = await find(
        table, search, filters, keys, replaced=(replace or {}).keys(), fields=fields, hint=hint,
        few=few, totals=totals,
    )  # fmt: skip
    kind = f"{call.base}{call.row.door}/{call.row.resource}"
    entries = matches(kind, ((r["_id"], r["b"] if show is None else show(r)) for r in found.rows))
    if include is not None and found.rows:
        entries += [_included(call.base, body) for body in await include(found.rows)]
    told += issues
    if told:
        entries.append(entry("", orjson.dumps(outcome(told)), "outcome"))
    links = [("self", _self(kind, search, include is not None))]
    if search.after:
        spot = _spot(call, search, keys, ())
        links.append(("first", await _link(call, table.mongo, database, kind, spot)))
    if found.after is not None:
        carried = (found.total, _digest(filters)) if found.total > FEW else (None, b"")
        spot = _spot(call, search, keys, found.after, *carried)
        links.append(("next", await _link(call, table.mongo, database, kind, spot)))
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
        return asking(kind, [(CURSOR, search.cursor)])
    used = [p for p in search.used if includes or p[0] not in ("_include", "_revinclude")]
    return asking(kind, used)


def _digest(filters: Filter) -> bytes:
    return blake2b(bson.encode(filters), digest_size=12).digest()


def _spot(
    call: Call,
    search: Search,
    keys: Sequence[SortKey],
    after: tuple[Any, ...],
    total: int | None = None,
    counted: bytes = b"",
) -> Place:
    return Place(
        pairs=search.used, count=search.count, order=",".join(k.said for k in keys), after=after,
        client=call.caller.owner, policy=call.permit.version, asked=search.asked or call.now,
        until=call.now + LIFE, total=total, counted=counted,
    )  # fmt: skip


async def _link(call: Call, mongo: Mongo, database: str, kind: str, spot: Place) -> str:
    key = await cursor_key(mongo, database)
    return asking(kind, [(CURSOR, seal(key, call.row.code, spot))])
