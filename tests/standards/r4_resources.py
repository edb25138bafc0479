"""Right R4 resources by the dozen, and single faults put into them, for the property tests."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from decimal import Decimal
from random import Random
from typing import Any

from standards.r4.definition import Definition, Element, definition

# What this product stores, answers with or is sent.
_OURS_IN_WORDS = """
Patient DocumentReference List Binary Bundle Parameters OperationOutcome AuditEvent Provenance
CapabilityStatement Organization Practitioner PractitionerRole Composition QuestionnaireResponse
Subscription Consent RelatedPerson Location Group Encounter
"""
OURS = _OURS_IN_WORDS.split()

Fault = Callable[[Random, dict[str, Any], Definition, Element], bool]

DIV = '<div xmlns="http://www.w3.org/1999/xhtml"><p class="a">Seen &amp; <b>well</b></p><br/></div>'
VALUES: dict[str, list[Any]] = {
    "base64Binary": ["QUJD", "aGVsbG8=", "QQ=="],
    "boolean": [True, False],
    "canonical": ["http://example.org/StructureDefinition/a|1.0"],
    "code": ["en", "application/pdf", "two words"],
    "date": ["2024", "2024-02", "2024-02-29"],
    "dateTime": [
        "2024",
        "2024-05",
        "2024-05-17",
        "2024-05-17T09:30:00+01:00",
        "2024-05-17T09:30:00.25Z",
    ],
    "decimal": [0, -3, Decimal("1.50"), Decimal("0.001"), Decimal("12345678.900")],
    "id": ["a", "A-1.b", "x" * 64],
    "instant": ["2024-05-17T09:30:00.000+01:00", "2016-12-31T23:59:59Z"],
    "integer": [0, -7, 2147483647],
    "markdown": ["# Heading\n\n* one", "plain"],
    "oid": ["urn:oid:1.2.840.113619"],
    "positiveInt": [1, 2147483647],
    "string": ["text", " spaced ", "naïve – 手 🙂", 'a "quoted" <tag> & more\r\n\tlines'],
    "time": ["09:30:00", "23:59:59.5"],
    "unsignedInt": [0, 9],
    "uri": ["urn:oid:1.2.3", "http://example.org/a?b=c&d"],
    "url": ["http://example.org/a", "https://example.org/b?c=d"],
    "uuid": ["urn:uuid:0c3a1f5e-8a4f-4a5e-9d0e-1b2c3d4e5f60"],
    "xhtml": [DIV],
}
WRONG_TEXT: dict[str, list[str]] = {
    "base64Binary": ["QQ", "Q===", "not base64!"],
    "code": [" a", "a ", "a  b"],
    "date": ["2024-13", "2023-02-29", "0000", "24-01-01", "2024-05-17T09:30:00Z"],
    "dateTime": [
        "2024-05-17T09:30:00",
        "2024-05-17T25:00:00Z",
        "2024-02-30",
        "99999",
        "2024-05-17T09:30Z",
    ],
    "id": ["a b", "x" * 65, "a_b"],
    "instant": ["2024-05-17", "2024-05-17T09:30:00", "2024-02-30T09:30:00Z"],
    "oid": ["1.2.3", "urn:oid:"],
    "time": ["24:00:00", "9:30:00", "09:30", "09:30:00Z"],
    "uri": ["a b"],
    "uuid": ["urn:uuid:1"],
}


def a_resource(
    random: Random, kind: str, *, siblings: bool = False, contained: bool = True
) -> dict[str, Any]:
    """A right resource of this type: its required elements and some others, to a small depth."""
    made = {"resourceType": kind} | _node(random, definition(kind), 0, siblings)
    if contained and "contained" in definition(kind).elements and random.random() < 0.3:
        inner = {"resourceType": "Organization", "id": "c1"}
        inner |= {
            k: v
            for k, v in _node(random, definition("Organization"), 2, siblings).items()
            if k not in inner
        }
        made["contained"] = [inner]
        made.setdefault("extension", []).append(
            {"url": "http://example.org/tied", "valueReference": {"reference": "#c1"}}
        )
    if kind in ("Bundle",) and random.random() < 0.7:
        made["entry"] = [
            {"fullUrl": "urn:uuid:1", "resource": a_resource(random, random.choice(OURS[:4]))}
        ]
    return made


def _node(random: Random, known: Definition, depth: int, siblings: bool) -> dict[str, Any]:
    made: dict[str, Any] = {}
    # An element with nothing in it is wrong, so try again, and at last take what is at hand.
    for share in (0.35 / (depth + 1), 0.5, 1.0):
        for element in known.elements.values():
            if element.choice or element.type == "Resource" or known.name == "Extension":
                continue
            deep = depth >= 2 and not element.primitive and share < 1
            if element.required or (random.random() < share and not deep):
                _give(random, made, element, depth, siblings)
        for choice in known.choices:
            if choice.required or (random.random() < share and known.name != "Extension"):
                kinds = [known.elements[n] for n in choice.names]
                simple = [e for e in kinds if e.primitive] or kinds
                _give(random, made, random.choice(simple if depth >= 1 else kinds), depth, siblings)
        if known.name == "Extension":
            made["url"] = "http://example.org/extension"
            made["valueString"] = "value"
        if set(made) - {"id"} or known.resource:
            return made
    raise AssertionError(known.name)


def _give(
    random: Random, made: dict[str, Any], element: Element, depth: int, siblings: bool
) -> None:
    if element.choice and any(k.removeprefix("_").startswith(element.choice) for k in made):
        return
    count = random.randint(1, 2) if element.many else 1
    values = [_value(random, element, depth, siblings) for _ in range(count)]
    made[element.name] = values if element.many else values[0]
    if siblings and element.extensible and random.random() < 0.3:
        beside: dict[str, Any] = {
            "extension": [{"url": "http://example.org/e", "valueDecimal": Decimal("2.0")}]
        }
        if random.random() < 0.5:
            beside = {"id": "s1"} | beside
        made[f"_{element.name}"] = [beside] + [None] * (count - 1) if element.many else beside


def _value(random: Random, element: Element, depth: int, siblings: bool) -> Any:
    if element.codes:
        return random.choice(element.codes)
    if element.primitive:
        return random.choice(VALUES[element.type])
    return _node(random, definition(element.type), depth + 1, siblings)


# -- one fault ----------------------------------------------------------------------------------


def places(node: dict[str, Any], known: Definition) -> list[tuple[dict[str, Any], Definition]]:
    """Every object in a resource with its definition, nested resources included."""
    found = [(node, known)]
    for name, value in node.items():
        element = known.elements.get(name)
        if element is None or element.primitive:
            continue
        for item in value if isinstance(value, list) else [value]:
            inner = item["resourceType"] if element.type == "Resource" else element.type
            found += places(item, definition(inner))
    return found


def with_fault(random: Random, resource: dict[str, Any], fault: Fault) -> dict[str, Any] | None:
    """A copy with this one fault somewhere in it; None when it has no place for it."""
    broken = deepcopy(resource)
    spots = [
        (node, known, known.elements[name])
        for node, known in places(broken, definition(broken["resourceType"]))
        for name in node
        if name in known.elements
    ]
    random.shuffle(spots)
    for node, known, element in spots:
        if fault(random, node, known, element):
            return broken
    return None


def unknown_element(
    random: Random, node: dict[str, Any], known: Definition, element: Element
) -> bool:
    node[element.name + "X"] = node.pop(element.name)
    return not element.required


def missing_element(
    random: Random, node: dict[str, Any], known: Definition, element: Element
) -> bool:
    if not element.required or element.choice or len(node) < 3:
        return False
    node.pop(element.name)
    node.pop(f"_{element.name}", None)
    return True


def null(random: Random, node: dict[str, Any], known: Definition, element: Element) -> bool:
    if f"_{element.name}" in node or (element.required and not element.choice):
        return False
    node[element.name] = None
    return True


def empty_list(random: Random, node: dict[str, Any], known: Definition, element: Element) -> bool:
    if not element.many or f"_{element.name}" in node:
        return False
    node[element.name] = []
    return True


def empty_object(random: Random, node: dict[str, Any], known: Definition, element: Element) -> bool:
    if element.primitive or element.type == "Resource":
        return False
    inner = definition(element.type)
    if inner.required or any(c.required for c in inner.choices) or inner.name == "Extension":
        return False
    _put(node, element, {})
    return True


def empty_text(random: Random, node: dict[str, Any], known: Definition, element: Element) -> bool:
    if not element.primitive or not isinstance(_one(node[element.name]), str):
        return False
    _put(node, element, "")
    return True


def object_for_primitive(
    random: Random, node: dict[str, Any], known: Definition, element: Element
) -> bool:
    if not element.primitive:
        return False
    _put(node, element, {"a": 1})
    return True


def text_for_object(
    random: Random, node: dict[str, Any], known: Definition, element: Element
) -> bool:
    if element.primitive:
        return False
    _put(node, element, "text")
    return True


def list_for_one(random: Random, node: dict[str, Any], known: Definition, element: Element) -> bool:
    if element.many:
        return False
    node[element.name] = [node[element.name]]
    return True


def one_for_list(random: Random, node: dict[str, Any], known: Definition, element: Element) -> bool:
    if not element.many or not element.primitive:
        return False
    node[element.name] = node[element.name][0]
    return True


def object_for_list(
    random: Random, node: dict[str, Any], known: Definition, element: Element
) -> bool:
    if not element.many or element.primitive:
        return False
    node[element.name] = node[element.name][0]
    return True


def text_for_number(
    random: Random, node: dict[str, Any], known: Definition, element: Element
) -> bool:
    if element.type not in ("integer", "positiveInt", "unsignedInt", "decimal", "boolean"):
        return False
    _put(node, element, "true" if element.type == "boolean" else "1")
    return True


def number_for_text(
    random: Random, node: dict[str, Any], known: Definition, element: Element
) -> bool:
    if not element.primitive or not isinstance(_one(node[element.name]), str):
        return False
    _put(node, element, 12)
    return True


def wrong_format(random: Random, node: dict[str, Any], known: Definition, element: Element) -> bool:
    if element.type not in WRONG_TEXT or element.codes:
        return False
    _put(node, element, random.choice(WRONG_TEXT[element.type]))
    return True


def number_out_of_range(
    random: Random, node: dict[str, Any], known: Definition, element: Element
) -> bool:
    wrong = {"integer": 2**31, "positiveInt": 0, "unsignedInt": -1}.get(element.type)
    if wrong is None:
        return False
    _put(node, element, wrong)
    return True


def bogus_code(random: Random, node: dict[str, Any], known: Definition, element: Element) -> bool:
    if not element.codes:
        return False
    _put(node, element, "bogus")
    return True


def second_choice(
    random: Random, node: dict[str, Any], known: Definition, element: Element
) -> bool:
    if not element.choice:
        return False
    choice = next(c for c in known.choices if c.stem == element.choice)
    others = [
        known.elements[n] for n in choice.names if n not in node and known.elements[n].primitive
    ]
    if not others:
        return False
    other = random.choice(others)
    node[other.name] = VALUES[other.type][0]
    return True


def dangling_reference(
    random: Random, node: dict[str, Any], known: Definition, element: Element
) -> bool:
    if element.type != "Reference":
        return False
    _put(node, element, {"reference": "#nowhere"})
    return True


def _one(value: Any) -> Any:
    return value[0] if isinstance(value, list) else value


def _put(node: dict[str, Any], element: Element, value: Any) -> None:
    if element.many:
        node[element.name] = [value, *node[element.name][1:]]
    else:
        node[element.name] = value


FAULTS: list[Fault] = [
    unknown_element,
    missing_element,
    null,
    empty_list,
    empty_object,
    empty_text,
    object_for_primitive,
    text_for_object,
    list_for_one,
    one_for_list,
    object_for_list,
    text_for_number,
    number_for_text,
    wrong_format,
    number_out_of_range,
    bogus_code,
    second_choice,
    dangling_reference,
]
