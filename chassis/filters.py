"""Search clauses as MongoDB filters, and the indexes that serve them. PURE.

Every filter is an equality, an `$in` or a range on the values of `standards/index.py` (`:contains`
alone is a pattern, escaped), so nothing a caller writes is ever an operator.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any, cast

from pymongo import IndexModel

from chassis.mongo import Doc, Filter
from governance.permit import WHOSE, Permit
from standards.compartment import PATIENT
from standards.index import fold, token
from standards.outcome import Refused
from standards.rows import SearchParameter
from standards.search import Clause, Target, Token, When, parse

NOTHING: Filter = {"_id": {"$in": []}}  # matches no document, and MongoDB knows it without looking
ABSENT: list[Any] = [None, []]
_BEYOND = "\U0010ffff"


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


def narrow(permit: Permit, parameters: Sequence[SearchParameter], resource: str = "") -> Filter:
    """The filter that keeps an answer within the permit; {} when it reaches the whole type.

    `resource` is the type, where it has no parameters that say so. A group whose restriction cannot be
    understood for this type grants nothing.
    """
    if not permit.narrow:
        return {}
    kind = resource or (parameters[0].resource if parameters else "")
    groups = []
    for group in permit.narrow:
        filters = [_whose(kind, value) for name, value in group if name == WHOSE]
        pairs = sorted(pair for pair in group if pair[0] != WHOSE)
        try:
            asked = parse(pairs, parameters, resource="resource")
        except Refused:
            continue
        if len(asked.clauses) == len(pairs):
            groups.append(all_of([*map(compiled, asked.clauses), *filters]))
    return any_of(groups)


def _whose(kind: str, ids: str) -> Filter:
    """What belongs to the record of the patient who has these ids."""
    row = PATIENT.get(kind)
    if row is None:
        return NOTHING
    keys = [row.prefix + id_ for id_ in ids.split(",")]
    if not row.only:
        return {row.path: keys[0] if len(keys) == 1 else {"$in": keys}}
    other = {"$elemMatch": {"$regex": "^" + re.escape(row.prefix), "$nin": keys}}
    return {row.path: {"$in": keys, "$not": other}}


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
