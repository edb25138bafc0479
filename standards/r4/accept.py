"""The fast path: does a resource plainly have R4's structure? Yes costs microseconds. PURE.

Two passes say yes together. `_sweep` looks at every value once for what no type can say (empty
objects, control characters, depth) and finds the nested resources; then msgspec converts each
resource to a Struct made from its definition, which knows names, types, codes and cardinalities.
"Not plainly" is no refusal: primitive extensions and everything odd go to the walker (walk.py),
which alone decides and finds words. So this file may be incomplete, and must never be too generous:
tests/standards/test_structure.py holds it to that.
"""

from __future__ import annotations

import threading
from functools import cache, lru_cache
from typing import Annotated, Any, ClassVar, ForwardRef, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, ValidationError, convert, defstruct
from msgspec.structs import astuple

from standards.r4.containment import MAX_DEPTH, faults
from standards.r4.definition import Definition, Element, definition, resource_types
from standards.r4.primitives import MOST_CHARACTERS, PRIMITIVES, UNPRINTABLE, Primitive

_MOST = 2**31 - 1
_SHORT = 128
_building = threading.Lock()
_ready: dict[str, type[Struct]] = {}


def plainly_right(resource: dict[str, Any]) -> bool:
    """Does this dict certainly have the structure of an R4 resource? False means: ask the walker."""
    resources: list[dict[str, Any]] = []
    local: set[str] = set()
    if "resourceType" not in resource:
        return False
    if not _sweep(resource, resources, local) or not _tied(resource, resources, local):
        return False
    known = resource_types()
    try:
        for each in resources:
            kind = each["resourceType"]
            if type(kind) is not str or kind not in known:
                return False
            convert(each, _struct(kind), dec_hook=_fits)
    except (ValidationError, ValueError, RecursionError):
        return False
    return True


def _sweep(  # noqa: PLR0912  the hottest loop of the check stays in one place
    resource: dict[str, Any], resources: list[dict[str, Any]], local: set[str]
) -> bool:
    """Look at every value once; find the resources in here and the strings that begin with '#'."""
    texts: list[str] = [""]
    level: list[Any] = [resource]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for node in level:
            if "resourceType" in node:
                resources.append(node)
            elif len(node) < 2 and (not node or "id" in node):
                return False  # ele-1: an element has a value or children besides its id
            for value in node.values():
                kind = type(value)
                if kind is str:
                    texts.append(value)
                elif kind is dict:
                    below.append(value)
                elif kind is list:
                    for item in value:
                        kind = type(item)
                        if kind is dict:
                            below.append(item)
                        elif kind is str:
                            texts.append(item)
                        elif kind is list:
                            return False
        if not below:
            return _readable(texts, local)
        level = below
    return False


def _readable(texts: list[str], local: set[str]) -> bool:
    # One look at all texts together is many times cheaper than one at each.
    together = "|".join(texts)
    if "|#" in together:
        local.update(text for text in texts if text.startswith("#"))
    return together.isprintable() or UNPRINTABLE.search(together) is None


def _tied(resource: dict[str, Any], resources: list[dict[str, Any]], local: set[str]) -> bool:
    """Do the contained resources and the references to them fit each other?"""
    if len(resources) == 1 and not local and "contained" not in resource:
        return True
    contained = resource.get("contained")
    if type(contained) is list and len(resources) == len(contained) + 1:
        ids = {f"#{each.get('id')}" for each in contained if type(each) is dict}
        if len(ids) == len(contained) and ids == local:
            return not any("contained" in each for each in contained)
    return next(faults(resource, ""), None) is None


class _Choosing(Struct, kw_only=True):
    """A type with a value[x]: at most one member of each, and one where it is required."""

    spans: ClassVar[tuple[tuple[int, int, bool], ...]] = ()

    def __post_init__(self) -> None:
        values = astuple(self)
        for first, last, required in self.spans:
            given = last - first - values[first:last].count(UNSET)
            if given > 1 or (required and not given):
                raise ValueError


class _Extending(_Choosing, kw_only=True):
    """Extension: a value or nested extensions, and not both (ext-1)."""

    def __post_init__(self) -> None:
        values = astuple(self)
        first, last, _ = self.spans[0]
        given = last - first - values[first:last].count(UNSET)
        if given + (self.extension is not UNSET) != 1:  # type: ignore[attr-defined]
            raise ValueError


class _Nested(Struct):
    """Where a resource stands inside another: `_sweep` has found it, it is converted on its own."""

    resourceType: str  # noqa: N815  FHIR's name


def _struct(name: str) -> type[Struct]:
    made = _ready.get(name)
    if made is None:
        # Threads that meet a type for the first time together must not see it half made.
        with _building:
            made = _ready[name] = _make(name)
    return made


@cache
def _make(name: str) -> type[Struct]:
    """The Struct of one type and, through its names, of every type it needs.

    msgspec looks a quoted annotation up in the Struct's module when it first converts to it, which
    lets types refer to each other in circles; so each one is put into this module under `_key`.
    """
    known = definition(name)
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    if known.resource:
        fields.append(("resourceType", Literal[name]))
    rename: dict[str, str] = {"resourceType": "resourceType"}
    needed: set[str] = set()
    for at, element in enumerate(known.elements.values()):
        field = f"e{at}"  # element names such as `class` and `import` are no Python names
        rename[field] = element.name
        if not element.primitive and element.type != "Resource":
            needed.add(element.type)
        kind = _annotation(element)
        fields.append((field, kind) if _always(element) else (field, kind | UnsetType, UNSET))
    made = defstruct(
        _key(name),
        fields,
        bases=(_base(known),),
        namespace=_namespace(known),
        module=__name__,
        rename=rename,
        kw_only=True,
        forbid_unknown_fields=True,
        gc=False,
    )
    globals()[_key(name)] = made
    for other in sorted(needed):
        if _key(other) not in globals():
            _make(other)
    return made


def _key(name: str) -> str:
    return f"R4{name}"


def _base(known: Definition) -> type[Struct]:
    if known.name == "Extension":
        return _Extending
    return _Choosing if known.choices else Struct


def _namespace(known: Definition) -> dict[str, Any]:
    if not known.choices:
        return {}
    names = list(known.elements)
    # All fields are by keyword, so msgspec keeps the required ones in place: an index is an index.
    start = 1 if known.resource else 0
    spans = tuple(
        (start + names.index(c.names[0]), start + names.index(c.names[-1]) + 1, c.required)
        for c in known.choices
    )
    held: dict[str, Any] = {"spans": spans}
    if known.name == "Extension":
        held["extension"] = property(lambda self: getattr(self, f"e{names.index('extension')}"))
    return held


def _always(element: Element) -> bool:
    return element.required and not element.choice


def _annotation(element: Element) -> Any:
    kind = _scalar(element)
    return Annotated[list[kind], Meta(min_length=1)] if element.many else kind  # type: ignore[valid-type]


def _scalar(element: Element) -> Any:
    if element.codes:
        return Literal[element.codes]
    if element.type == "Resource":
        return _Nested
    return _PRIMITIVE[element.type] if element.primitive else ForwardRef(_key(element.type))


class _Judged:
    """A primitive that its row judges: msgspec hands the value to `_fits`."""

    row: ClassVar[Primitive]


def _fits(kind: Any, value: Any) -> Any:
    short = type(value) is str and len(value) < _SHORT
    if _remembered(kind, value) if short else kind.row.fits(value):
        return kind.ok
    raise ValueError


@lru_cache(1 << 12)
def _remembered(kind: Any, value: str) -> bool:
    """The same codes, systems and days are met again and again."""
    return bool(kind.row.fits(value))


def _judged(name: str) -> Any:
    made: Any = type(f"_{name}", (_Judged,), {"row": PRIMITIVES[name]})
    made.ok = made()
    return made


_TEXT = Annotated[str, Meta(min_length=1, max_length=MOST_CHARACTERS)]
_PRIMITIVE: dict[str, Any] = {name: _judged(name) for name in PRIMITIVES} | {
    "string": _TEXT,
    "markdown": _TEXT,
    "boolean": bool,
    "integer": Annotated[int, Meta(ge=-_MOST - 1, le=_MOST)],
    "unsignedInt": Annotated[int, Meta(ge=0, le=_MOST)],
    "positiveInt": Annotated[int, Meta(ge=1, le=_MOST)],
}
