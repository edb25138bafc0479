"""Pages of the stewards' queries: in a stable order, continued by what the last page ended with and
never by an offset, under a sealed cursor (`chassis/cursor.py`) that is good for one caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from chassis.call import Call
from chassis.cursor import LIFE, Place, cursor_key, seal, unseal
from chassis.mongo import Mongo
from pix import operations
from pix.operations import Asked, Pair
from pix.people import DATABASE
from standards.bundle import asking
from standards.operation import Operation
from standards.outcome import Issue

COUNT = 50


@dataclass(frozen=True, slots=True)
class Page:
    """One page that is asked for: the question, how many at most, and what came before it."""

    asked: Asked
    count: int
    after: tuple[Any, ...]
    pairs: tuple[tuple[str, str], ...]


async def page(
    call: Call,
    operation: Operation,
    mongo: Mongo,
    also: Callable[[Asked], Iterable[Issue]] = lambda _: (),
) -> Page:
    """The page that a call asks for, the first or, by `_cursor`, a later one.

    Raises `Refused` (400) as `operations.read` does, and for a cursor that is not this caller's or has
    expired.
    """
    asked = operations.read(operation, call.query, call.resource, strict=call.strict)
    cursor = asked.text("_cursor")
    if not cursor:
        asked = operations.read(operation, call.query, call.resource, strict=call.strict, also=also)
        return Page(asked, asked.number("_count", COUNT), (), _pairs(asked))
    key = await cursor_key(mongo, DATABASE)
    spot = unseal(
        key, operation.code, cursor, client=_owner(call), policy=call.permit.version, now=call.now
    )
    return Page(operations.read(operation, spot.pairs, None), spot.count, spot.after, spot.pairs)


async def links(
    call: Call, operation: Operation, mongo: Mongo, page_: Page, last: tuple[Any, ...] | None
) -> list[Pair]:
    """`self` and, when the page ended with `last` and there is more, `next`."""
    url = f"{call.base}/Patient/${operation.code}"
    cursor = dict(call.query).get("_cursor")
    said = [("_cursor", cursor)] if cursor else list(page_.pairs)
    made: list[Pair] = [("self", asking(url, said))]
    if last is not None:
        spot = Place(
            pairs=page_.pairs, count=page_.count, order="", after=last, client=_owner(call),
            policy=call.permit.version, asked=call.now, until=call.now + LIFE,
        )  # fmt: skip
        key = await cursor_key(mongo, DATABASE)
        made.append(("next", asking(url, [("_cursor", seal(key, operation.code, spot))])))
    return made


def _owner(call: Call) -> str:
    return f"{call.caller.owner} {call.caller.subject} {call.caller.role}"


def _pairs(asked: Asked) -> tuple[tuple[str, str], ...]:
    return tuple((name, _text(value)) for name, values in asked.values.items() for value in values)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
