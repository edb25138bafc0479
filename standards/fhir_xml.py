"""FHIR XML to the JSON form of a resource and back, led by the R4 definitions. PURE.

FHIR R4 xml.html and json.html. `parse` reads what a stranger sent, so the parser is disarmed: UTF-8
only, no DTD, hence no entities, and no network. It finds every fault of form at once; whether the
result is a right resource is `check_structure`'s question. `render` writes what has been checked.
Elements are read in any order (a robust receiver) and written in the specification's.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from lxml import etree

from standards.outcome import STRUCTURE, Issue, Refused
from standards.r4 import narrative
from standards.r4.containment import MAX_DEPTH
from standards.r4.definition import Definition, Element, definition, resource_types
from standards.words import nearest, shown

FHIR = "http://hl7.org/fhir"
MOST_ISSUES = 50

_XSI = "{http://www.w3.org/2001/XMLSchema-instance}"
_SMALL = 10_000_000  # libxml2's own limit for one text; past it the parser must be told
_INTEGER = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,18})")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,99})(?:\.[0-9]{1,100})?(?:[eE][+-]?[0-9]{1,4})?")
_SPECIAL = re.compile(r"[&<>\"\t\n\r]")
_ESCAPES = str.maketrans(
    {
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        '"': "&quot;",
        "\t": "&#9;",
        "\n": "&#10;",
        "\r": "&#13;",
    }
)


def parse(data: bytes) -> dict[str, Any]:
    """The JSON form of the resource in this XML document; decimals are Decimal, digits kept.

    Raises `Refused` with an Issue(STRUCTURE) for each fault, its line in the words.
    """
    root = _tree(data)
    found = _Found()
    resource = _Reader(found).resource(root, "", 1)
    if found.issues:
        raise Refused(found.all())
    return resource


def render(resource: dict[str, Any]) -> bytes:
    """The XML document of a resource that `check_structure` accepts.

    Raises `Refused` for a resource with a type or an element that R4 does not have.
    """
    out = ['<?xml version="1.0" encoding="UTF-8"?>']
    _write_resource(resource, out, f' xmlns="{FHIR}"')
    return "".join(out).encode()


# -- reading ----------------------------------------------------------------------------------


def disarmed(size: int, encoding: str | None = None) -> etree.XMLParser:
    """A parser for `size` bytes of strangers' XML: no DTD, hence no entities, and no network. Without
    an encoding the document says its own."""
    return etree.XMLParser(
        encoding=encoding,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        remove_comments=True,
        remove_pis=True,
        huge_tree=size > _SMALL,
    )


def _tree(data: bytes) -> etree._Element:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        raise _refused(f"the XML is not UTF-8 (byte {wrong.start})") from None
    if _has_doctype(text):
        raise _refused(
            "the XML has a DOCTYPE, which FHIR does not use and this server does not read"
        )
    try:
        root = etree.fromstring(text.encode(), disarmed(len(data), "utf-8"))
    except etree.XMLSyntaxError as wrong:
        line = f"line {wrong.lineno}: " if wrong.lineno else ""
        raise _refused(f"{line}this is not well-formed XML") from None
    except ValueError:
        raise _refused("this is not XML") from None
    return root


def _has_doctype(text: str) -> bool:
    """Is there a DOCTYPE? XML allows it only before the first element, so only there is looked."""
    at = 0
    while True:
        at = text.find("<", at)
        if at < 0:
            return False
        if text.startswith("<?", at):
            at = text.find("?>", at)
        elif text.startswith("<!--", at):
            at = text.find("-->", at)
        else:
            return text.startswith("<!", at)
        if at < 0:
            return False


def _refused(words: str) -> Refused:
    return Refused(Issue(STRUCTURE, words))


class _Found:
    """The faults so far, counted past MOST_ISSUES."""

    def __init__(self) -> None:
        self.issues: list[Issue] = []
        self.more = 0

    def add(self, node: etree._Element, where: str, words: str) -> None:
        if len(self.issues) < MOST_ISSUES:
            self.issues.append(Issue(STRUCTURE, f"line {node.sourceline}: {words}", where))
        else:
            self.more += 1

    def all(self) -> list[Issue]:
        if not self.more:
            return self.issues
        return [*self.issues, Issue(STRUCTURE, f"{self.more} more faults of form are not listed")]


class _Reader:
    """Elements to JSON; each method gives the value of one element and notes what is wrong with it."""

    def __init__(self, found: _Found) -> None:
        self.found = found

    def resource(self, node: etree._Element, where: str, depth: int) -> dict[str, Any]:
        """An element named as a resource type."""
        tag = etree.QName(node)
        if tag.namespace != FHIR:
            self.found.add(node, where, f'the namespace must be xmlns="{FHIR}"')
            return {}
        if tag.localname not in resource_types():
            near = nearest(tag.localname, resource_types())
            hint = f": did you mean {near}?" if near else ""
            self.found.add(
                node, where, f"{shown(tag.localname)} is no resource type of FHIR R4{hint}"
            )
            return {}
        made: dict[str, Any] = {"resourceType": tag.localname}
        return self.object(node, definition(tag.localname), where or tag.localname, made, depth)

    def object(
        self, node: etree._Element, known: Definition, where: str, made: dict[str, Any], depth: int
    ) -> dict[str, Any]:
        """An element with elements inside, read into `made`."""
        if depth > MAX_DEPTH:
            self.found.add(node, where, f"elements nest more than {MAX_DEPTH} deep: flatten them")
            return made
        self.attributes(node, known, where, made)
        self.silent(node, where)
        return self.children(node, known, where, made, depth)

    def children(
        self, node: etree._Element, known: Definition, where: str, made: dict[str, Any], depth: int
    ) -> dict[str, Any]:
        """The elements inside an element, put into `made` under their JSON names."""
        values: dict[str, list[Any]] = {}
        siblings: dict[str, list[Any]] = {}
        for child in node:
            element = self.named(child, known, where)
            if element is None:
                continue
            have = values.setdefault(element.name, [])
            beside = siblings.setdefault(element.name, [])
            place = f"{where}.{element.path}" + (f"[{len(have)}]" if element.many else "")
            if have and not element.many:
                self.found.add(child, place, "this element occurs once, and here it is again")
            value, sibling = self.element(child, element, place, depth)
            have.append(value)
            beside.append(sibling)
        for name, have in values.items():
            self.keep(known.elements[name], have, siblings[name], made)
        return made

    def keep(
        self, element: Element, values: list[Any], siblings: list[Any], made: dict[str, Any]
    ) -> None:
        """Put what was read under its JSON names."""
        if any(v is not None for v in values):
            made[element.name] = values if element.many else values[0]
        if any(s is not None for s in siblings):
            made[f"_{element.name}"] = siblings if element.many else siblings[0]

    def named(self, child: etree._Element, known: Definition, where: str) -> Element | None:
        """The definition of a child, or None when the type has no such element."""
        tag = etree.QName(child)
        element = known.elements.get(tag.localname)
        if element is not None and _attribute(element, known):
            element = None
        if element is None:
            near = nearest(tag.localname, [e.name for e in known.elements.values()])
            hint = f": did you mean '{near}'?" if near and near != tag.localname else ""
            words = f"{known.name} has no element {shown(tag.localname)} in FHIR R4{hint}"
            self.found.add(child, f"{where}.{shown(tag.localname)[1:-1]}", words)
            return None
        expected = narrative.XHTML if element.type == "xhtml" else FHIR
        if tag.namespace != expected:
            self.found.add(child, f"{where}.{element.path}", f"its namespace must be {expected}")
            return None
        return element

    def element(
        self, child: etree._Element, element: Element, place: str, depth: int
    ) -> tuple[Any, dict[str, Any] | None]:
        """The value of a child and, for a primitive, its id and extensions."""
        if element.type == "xhtml":
            return self.xhtml(child, place), None
        if element.type == "Resource":
            return self.inner(child, place, depth), None
        if element.primitive:
            return self.primitive(child, element, place, depth)
        return self.object(child, definition(element.type), place, {}, depth + 1), None

    def inner(self, child: etree._Element, place: str, depth: int) -> Any:
        """The resource inside `contained`, `resource` or `outcome`."""
        self.silent(child, place)
        inside = list(child)
        if len(inside) != 1:
            self.found.add(child, place, "must hold exactly one resource")
            return None
        return self.resource(inside[0], place, depth + 1)

    def primitive(
        self, child: etree._Element, element: Element, place: str, depth: int
    ) -> tuple[Any, dict[str, Any] | None]:
        """`<birthDate value="..." id="...">` with extensions inside."""
        sibling: dict[str, Any] = {}
        value = None
        rest: dict[str, str] = {}
        for name, written in child.attrib.items():
            rest[str(name)] = str(written)
        if "value" in rest:
            text = rest.pop("value")
            value = _value(element.type, text)
            if value is None:
                self.found.add(child, place, f"this value is no {element.type}")
        if element.extensible:
            if "id" in rest:
                sibling["id"] = rest.pop("id")
            if len(child):
                self.children(child, definition("Element"), place, sibling, depth + 1)
        elif len(child):
            self.found.add(child, place, "this element has a value and nothing inside")
        for name in rest:
            self.found.add(child, place, f"has no attribute {shown(name)}")
        self.silent(child, place)
        if value is None and not sibling and "value" not in child.attrib:
            self.found.add(child, place, 'is empty: write its value as value="..."')
        return value, sibling or None

    def xhtml(self, child: etree._Element, place: str) -> str:
        """The div as text, alone: without the namespaces and the text around it."""
        if wrong := narrative.element_fault(child):
            self.found.add(child, place, wrong)
            return ""
        alone = etree.fromstring(etree.tostring(child, with_tail=False))
        etree.cleanup_namespaces(alone)
        return etree.tostring(alone, encoding="unicode")

    def attributes(
        self, node: etree._Element, known: Definition, where: str, made: dict[str, Any]
    ) -> None:
        """`id`, and an extension's `url`; schema hints are passed over."""
        for key, value in node.attrib.items():
            name = str(key)
            element = known.elements.get(name)
            if element is not None and _attribute(element, known):
                made[name] = str(value)
            elif not name.startswith(_XSI):
                self.found.add(node, where, f"has no attribute {shown(name)}")

    def silent(self, node: etree._Element, where: str) -> None:
        """FHIR has values in attributes: text between elements is a mistake."""
        if (node.text and node.text.strip()) or any(c.tail and c.tail.strip() for c in node):
            self.found.add(node, where, 'has text inside: FHIR writes values as value="..."')


def _attribute(element: Element, known: Definition) -> bool:
    """Does XML write this element as an attribute?"""
    return element.bare or (element.name == "id" and not known.resource)


def _value(kind: str, text: str) -> Any:
    """The JSON value of an attribute; None when it cannot be one of this type."""
    if kind == "boolean":
        return {"true": True, "false": False}.get(text)
    if kind in ("integer", "unsignedInt", "positiveInt"):
        return int(text) if _INTEGER.fullmatch(text) else None
    if kind == "decimal":
        if not _DECIMAL.fullmatch(text):
            return None
        return int(text) if text.lstrip("-").isdigit() else Decimal(text)
    return text


# -- writing ----------------------------------------------------------------------------------


def _write_resource(resource: Any, out: list[str], namespace: str = "") -> None:
    kind = resource.get("resourceType") if isinstance(resource, dict) else None
    if kind not in resource_types():
        raise _refused("only a resource of FHIR R4 can be written as XML")
    out.append(f"<{kind}{namespace}>")
    _write_elements(resource, definition(kind), out)
    out.append(f"</{kind}>")


def _write_elements(node: dict[str, Any], known: Definition, out: list[str]) -> None:
    unknown = [k for k in node if k.removeprefix("_") not in known.elements and k != "resourceType"]
    if unknown:
        raise _refused(f"{known.name} has no element {shown(unknown[0])} in FHIR R4")
    for name, element in known.elements.items():
        value = node.get(name)
        beside = node.get(f"_{name}") if element.extensible else None
        if (value is None and beside is None) or _attribute(element, known):
            continue
        if not element.many:
            _write_element(element, value, beside, out)
            continue
        values, siblings = value or [], beside or []
        for at in range(max(len(values), len(siblings))):
            one = values[at] if at < len(values) else None
            other = siblings[at] if at < len(siblings) else None
            _write_element(element, one, other, out)


def _write_element(element: Element, value: Any, beside: Any, out: list[str]) -> None:
    name = element.name
    if element.type == "xhtml":
        if wrong := narrative.fault(value):
            raise _refused(f"this narrative {wrong}")
        out.append(value)
    elif element.type == "Resource":
        out.append(f"<{name}>")
        _write_resource(value, out)
        out.append(f"</{name}>")
    elif element.primitive:
        given = "" if value is None else f' value="{_text(value)}"'
        if beside is None:
            out.append(f"<{name}{given}/>")
        else:
            _write_object(name, given, beside, definition("Element"), out)
    else:
        _write_object(name, "", value, definition(element.type), out)


def _write_object(
    name: str, given: str, node: dict[str, Any], known: Definition, out: list[str]
) -> None:
    attributes = "".join(
        f' {e.name}="{_text(node[e.name])}"'
        for e in known.elements.values()
        if e.name in node and _attribute(e, known)
    )
    out.append(f"<{name}{attributes}{given}>")
    before = len(out)
    _write_elements(node, known, out)
    if len(out) == before:
        out[-1] = f"<{name}{attributes}{given}/>"
    else:
        out.append(f"</{name}>")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = value if isinstance(value, str) else str(value)
    return text.translate(_ESCAPES) if _SPECIAL.search(text) else text
