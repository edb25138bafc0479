"""Contained resources and the references to them: dom-2, dom-3, ref-1 of FHIR R4. PURE.

A scope is one resource with everything in it. `#id` must be the id of a resource contained in the
same scope; a resource in a Bundle entry, a Parameters parameter or an entry's outcome begins a
scope of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

# Objects may nest this deep. Of the examples published with R4 the deepest has 11.
MAX_DEPTH = 64
_OWN_SCOPE = frozenset({"resource", "outcome"})


def too_deep(root: Any) -> bool:
    """Do objects nest deeper than MAX_DEPTH? Asked before anything recurses.

    An array around an object is no level of its own; an array straight inside an array is.
    """
    level = [root]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for node in level:
            for each in node.values() if isinstance(node, dict) else node:
                if isinstance(each, dict):
                    below.append(each)
                elif isinstance(each, list):
                    below += [item for item in each if isinstance(item, dict | list)]
        if not below:
            return False
        level = below
    return True


@dataclass(slots=True)
class _Scope:
    contained: dict[str, str] = field(default_factory=dict)  # id -> where
    nameless: list[str] = field(default_factory=list)
    repeated: list[tuple[str, str]] = field(default_factory=list)
    nested: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)  # every string that begins with '#'
    references: list[tuple[str, str, bool]] = field(default_factory=list)  # target, where, inside


def faults(root: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """Where and what is wrong with containment anywhere in this resource.

    Values of a wrong type are passed over: the walker reports them.
    """
    scopes = [_Scope()]
    # node, its path, its scope, whether it lies in a contained resource
    stack: list[tuple[dict[str, Any], str, _Scope, bool]] = [(root, path, scopes[0], False)]
    while stack:
        node, where, scope, inside = stack.pop()
        for key, value in node.items():
            items = value if type(value) is list else (value,)
            many = type(value) is list
            for at, item in enumerate(items):
                if type(item) is str:
                    if item[:1] == "#":
                        scope.used.add(item)
                        if key == "reference":
                            place = f"{where}.{key}[{at}]" if many else f"{where}.{key}"
                            scope.references.append((item, place, inside))
                elif type(item) is dict:
                    place = f"{where}.{key}[{at}]" if many else f"{where}.{key}"
                    below, within = scope, inside
                    if key == "contained" and "resourceType" in item:
                        _contain(scope, item, place, inside)
                        within = True
                    elif key in _OWN_SCOPE and "resourceType" in item:
                        below, within = _Scope(), False
                        scopes.append(below)
                    stack.append((item, place, below, within))
    for scope in scopes:
        yield from _judge(scope)


def _contain(scope: _Scope, item: dict[str, Any], place: str, inside: bool) -> None:
    known = item.get("id")
    if inside:
        scope.nested.append(place)
    elif not isinstance(known, str):
        scope.nameless.append(place)
    elif known in scope.contained:
        scope.repeated.append((known, place))
    else:
        scope.contained[known] = place


def _judge(scope: _Scope) -> Iterator[tuple[str, str]]:
    for place in scope.nested:
        yield (
            place,
            "a contained resource may not contain another: move it up beside the first (dom-2)",
        )
    for place in scope.nameless:
        yield place, "a contained resource needs an id, so that it can be referred to as '#id'"
    for known, place in scope.repeated:
        first = scope.contained[known]
        yield (
            f"{place}.id",
            f"this id is already used by {first}: give each contained resource its own",
        )
    for target, place, inside in scope.references:
        if target == "#":
            if not inside:
                yield (
                    place,
                    "'#' means the containing resource and is only meant inside a contained one",
                )
        elif target[1:] not in scope.contained:
            yield (
                place,
                "refers to a contained resource that is not here: contain it or correct the id",
            )
    for known, place in scope.contained.items():
        # dom-3 also lets a contained resource be the one that refers, to its container by '#'.
        if f"#{known}" not in scope.used and "#" not in scope.used:
            todo = f"refer to it as '#{known}' or leave it out (dom-3)"
            yield place, f"nothing refers to this contained resource: {todo}"
