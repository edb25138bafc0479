"""The definition of one R4 type, read from its line in structures.py when first asked for. PURE."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache

from standards.r4.structures import TYPES

ABSTRACT = frozenset({"Resource", "DomainResource", "Element", "BackboneElement"})
_PRIMITIVE_NAMES_IN_WORDS = """
base64Binary boolean canonical code date dateTime decimal id instant integer markdown oid
positiveInt string time unsignedInt uri url uuid xhtml
"""
PRIMITIVE_NAMES = frozenset(_PRIMITIVE_NAMES_IN_WORDS.split())


@dataclass(frozen=True, slots=True)
class Element:
    """One JSON property of a type: `valueString` is an element of its own, with choice `value`."""

    name: str
    type: str
    required: bool = False
    many: bool = False
    codes: tuple[str, ...] = ()
    bare: bool = False  # Extension.url
    choice: str = ""  # the stem of value[x] when this is one member of it

    @property
    def primitive(self) -> bool:
        """Is it a JSON string, number or boolean?"""
        return self.type in PRIMITIVE_NAMES

    @property
    def extensible(self) -> bool:
        """May a primitive have a `_name` sibling? XML writes id and Extension.url as attributes,
        which cannot carry extensions, and xhtml has none (narrative.html)."""
        return self.primitive and not (self.bare or self.name == "id" or self.type == "xhtml")

    @property
    def path(self) -> str:
        """Its name in FHIRPath, where a choice is asked for by its stem."""
        return self.choice or self.name


@dataclass(frozen=True, slots=True)
class Choice:
    """The members of one value[x]."""

    stem: str
    required: bool
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Definition:
    """One type: its elements by JSON name, in the specification's order."""

    name: str
    base: str
    elements: dict[str, Element] = field(hash=False)
    required: tuple[str, ...]
    choices: tuple[Choice, ...]

    @property
    def resource(self) -> bool:
        """Is it a resource, with a resourceType of its own?"""
        return self.base in ("Resource", "DomainResource") or self.name in (
            "Resource",
            "DomainResource",
        )


@cache
def definition(name: str) -> Definition:
    """The definition of a type of this table; KeyError for any other name."""
    base, *parts = TYPES[name].split(" ")
    elements: dict[str, Element] = {}
    choices: list[Choice] = []
    if base != "-":
        above = definition(base)
        elements |= above.elements
        choices += above.choices
    for part in parts:
        _read(part, elements, choices)
    if name == "Extension":
        elements["url"] = replace(elements["url"], bare=True)
    required = tuple(e.name for e in elements.values() if e.required and not e.choice)
    return Definition(name, base, elements, required, tuple(choices))


@cache
def resource_types() -> frozenset[str]:
    """Every resource type of R4 that can stand alone."""
    return frozenset(
        name
        for name in TYPES
        if name not in ABSTRACT and TYPES[name].split(" ", 1)[0] in _RESOURCES
    )


@cache
def all_types() -> frozenset[str]:
    """Every type name a code may name: resources, datatypes and primitives, without their parts."""
    return resource_types() | ABSTRACT | PRIMITIVE_NAMES | _DATATYPES


_RESOURCES = frozenset({"Resource", "DomainResource"})
_DATATYPES_IN_WORDS = """
Address Age Annotation Any Attachment CodeableConcept Coding ContactDetail ContactPoint Contributor
Count DataRequirement Distance Dosage Duration ElementDefinition Expression Extension HumanName
Identifier MarketingStatus Meta Money MoneyQuantity Narrative ParameterDefinition Period Population
ProdCharacteristic ProductShelfLife Quantity Range Ratio Reference RelatedArtifact SampledData
Signature SimpleQuantity SubstanceAmount Timing TriggerDefinition Type UsageContext
"""
_DATATYPES = frozenset(_DATATYPES_IN_WORDS.split())


def _read(part: str, elements: dict[str, Element], choices: list[Choice]) -> None:
    named, _, typed = part.partition(":")
    mark = named[-1] if named[-1] in "!*+" else ""
    name = named.removesuffix(mark)
    required, many = mark in ("!", "+") and mark != "", mark in ("*", "+") and mark != ""
    if not name.endswith("[x]"):
        kind, _, codes = typed.partition("=")
        elements[name] = Element(name, kind, required, many, _codes(codes))
        return
    stem = name.removesuffix("[x]")
    members = []
    for each in typed.split("|"):
        kind, _, codes = each.partition("=")
        member = stem + kind[0].upper() + kind[1:]
        elements[member] = Element(member, kind, required, False, _codes(codes), choice=stem)
        members.append(member)
    choices.append(Choice(stem, required, tuple(members)))


def _codes(written: str) -> tuple[str, ...]:
    if written == "@resources":
        return tuple(sorted(resource_types() | {"Resource", "DomainResource"}))
    if written == "@types":
        return tuple(sorted(all_types()))
    if written == "@defined":
        return tuple(sorted(all_types() - {"Any", "Type"}))
    return tuple(written.split(",")) if written else ()
