"""The walker: everything that keeps a dict from being an R4 resource, each with its place. PURE.

Slower than the fast path (accept.py) and the last word: a resource has R4's structure exactly when
this finds nothing. It needs no recursion deeper than MAX_DEPTH whatever it is given.
"""

from __future__ import annotations

from typing import Any

from standards.r4 import narrative
from standards.r4.containment import MAX_DEPTH, faults, too_deep
from standards.r4.definition import Definition, Element, definition, resource_types
from standards.r4.primitives import PRIMITIVES, is_json
from standards.words import nearest, one_of, shown


class Findings:
    """Where and what, in the order of the document; past `most` they are only counted."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.count = 0
        self.kept: list[tuple[str, str]] = []

    def add(self, where: str, words: str) -> None:
        """One more finding."""
        self.count += 1
        if self.count <= self.most:
            self.kept.append((where, words))

    @property
    def full(self) -> bool:
        """Are more findings only counted, so that finding their words would be wasted?"""
        return self.count >= self.most


def walk(resource: Any, most: int) -> Findings:
    """Every fault of structure of this resource."""
    found = Findings(most)
    if isinstance(resource, dict | list) and too_deep(resource):
        found.add("", f"nests more than {MAX_DEPTH} objects in each other: flatten it")
        return found
    _resource(resource, "", found)
    if isinstance(resource, dict) and isinstance(resource.get("resourceType"), str):
        for where, words in faults(resource, shown(resource["resourceType"]).strip("'")):
            found.add(where, words)
    return found


def _resource(value: Any, where: str, found: Findings) -> None:
    if not isinstance(value, dict):
        found.add(
            where, f"must be a resource, a JSON object with a resourceType, and is {_kind(value)}"
        )
        return
    kind = value.get("resourceType")
    if not isinstance(kind, str) or not kind:
        found.add(where, "has no resourceType: name the type of the resource, for example Patient")
        return
    if kind not in resource_types():
        near = None if found.full else nearest(kind, resource_types())
        hint = f": did you mean {near}?" if near else ""
        found.add(where or "resourceType", f"{shown(kind)} is no resource type of FHIR R4{hint}")
        return
    _object(value, definition(kind), where or kind, found)


def _object(value: Any, known: Definition, where: str, found: Findings) -> None:
    if not isinstance(value, dict):
        found.add(where, f"must be an object ({known.name}) and is {_kind(value)}")
        return
    if not value or (not known.resource and len(value) == 1 and "id" in value):
        found.add(where, "is empty: give it content or leave it out (ele-1)")
        return
    given: set[str] = set()
    for key, item in value.items():
        if key == "resourceType" and known.resource:
            continue
        element = known.elements.get(key.removeprefix("_"))
        if element is None or (key[:1] == "_" and not element.extensible):
            _unknown(key, known, where, found)
            continue
        if key[:1] == "_":
            if element.name not in value:
                given.add(element.name)
                _element(element, None, item, True, where, found)
            continue
        given.add(key)
        beside = f"_{key}"
        both = element.extensible and beside in value
        _element(element, item, value.get(beside) if both else None, both, where, found)
    _presence(known, given, where, found)


def _presence(known: Definition, given: set[str], where: str, found: Findings) -> None:
    for name in known.required:
        if name not in given:
            found.add(f"{where}.{name}", f"is required in every {known.name} and missing")
    for choice in known.choices:
        chosen = [n for n in choice.names if n in given]
        if len(chosen) > 1:
            found.add(
                f"{where}.{choice.stem}",
                f"may be given once, and here are {one_of(chosen)}: keep one",
            )
        if choice.required and not chosen:
            found.add(f"{where}.{choice.stem}", f"is required: give {one_of(choice.names)}")
    if known.name == "Extension":
        valued = any(n in given for n in known.choices[0].names)
        if valued == ("extension" in given):
            found.add(where, "an extension has either one value or nested extensions (ext-1)")


def _unknown(key: str, known: Definition, where: str, found: Findings) -> None:
    near = None if found.full else nearest(key.removeprefix("_"), known.elements)
    hint = f": did you mean '{near}'?" if near else ""
    why = f"{known.name} has no element {shown(key)} in FHIR R4"
    if key.removeprefix("_") in known.elements:
        why = f"this element cannot have a sibling {shown(key)}"
        hint = ": only primitive elements have one"
    found.add(f"{where}.{shown(key)[1:-1]}", why + hint)


def _element(
    element: Element, value: Any, beside: Any, both: bool, where: str, found: Findings
) -> None:
    """One property and, for a primitive, its `_` sibling; `both` says that a sibling is there.

    `value` None with `both` is a primitive that has only its sibling (no value at all).
    """
    place = f"{where}.{element.path}"
    absent = both and value is None
    if value is None and not both:
        found.add(place, "is null: JSON null has no meaning here, leave the element out")
    elif not element.many:
        if isinstance(value, list):
            found.add(place, "occurs once, and here it is an array: give the one value")
        elif not absent:
            _value(element, value, place, found)
        if both:
            _sibling(beside, place, found)
    else:
        _array(element, value, beside, both, place, found)


def _array(
    element: Element, value: Any, beside: Any, both: bool, place: str, found: Findings
) -> None:
    if not (both and value is None):
        if not isinstance(value, list):
            found.add(place, f"may repeat, so it must be an array, and is {_kind(value)}")
            return
        if not value:
            found.add(place, "is an empty array: give it a value or leave it out")
            return
    if both and not isinstance(beside, list):
        found.add(place, f"repeats, so its sibling '_{element.name}' must be an array too")
        return
    values, siblings = value or [], beside if both else []
    if both and values and len(values) != len(siblings):
        found.add(
            place, f"and its sibling '_{element.name}' must be of one length, with null for nothing"
        )
        return
    if both and not siblings:
        found.add(place, f"has an empty sibling '_{element.name}': leave it out")
    for at in range(max(len(values), len(siblings))):
        one = values[at] if values else None
        other = siblings[at] if siblings else None
        here = f"{place}[{at}]"
        if one is None and other is None:
            found.add(here, "is null: an item needs a value, or extensions in its sibling")
            continue
        if one is not None:
            _value(element, one, here, found)
        if other is not None:
            _sibling(other, here, found)


def _value(element: Element, value: Any, place: str, found: Findings) -> None:
    if element.type == "Resource":
        _resource(value, place, found)
    elif not element.primitive:
        _object(value, definition(element.type), place, found)
    elif not is_json(PRIMITIVES[element.type].json, value):
        row = PRIMITIVES[element.type]
        found.add(
            place, f"must be {_A[row.json]} ({element.type}: {row.right}) and is {_kind(value)}"
        )
    elif element.codes:
        if value not in element.codes:
            near = None if found.full else nearest(value, element.codes)
            hint = f"; did you mean {near}?" if near and len(element.codes) > 12 else ""
            found.add(place, f"must be {one_of(element.codes)}{hint} (required binding)")
    elif not PRIMITIVES[element.type].fits(value):
        found.add(place, _wrong(element, value))


def _wrong(element: Element, value: Any) -> str:
    if value == "":
        return "is empty: give it a value or leave it out"
    if element.type == "xhtml":
        return narrative.fault(value) or ""
    return f"is no {element.type}: it must be {PRIMITIVES[element.type].right}"


def _sibling(value: Any, place: str, found: Findings) -> None:
    """The id and extensions of a primitive, from its `_` sibling."""
    if value is None:
        found.add(place, "has a null sibling: leave the sibling out")
    elif isinstance(value, dict) and "id" in value and len(value) == 1:
        # An id alone is content enough beside a value.
        _element(_ELEMENT.elements["id"], value["id"], None, False, place, found)
    else:
        _object(value, _ELEMENT, place, found)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return "text"
    if isinstance(value, list):
        return "an array"
    return "an object" if isinstance(value, dict) else "a number"


_A = {
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
}
_ELEMENT = definition("Element")
