"""Read-only lenses into FHIR JSON: follow a path, flatten lists, never fail on what is not there.

Paths are dotted element names (`content.attachment.url`); a list on the way means each of its
members. Nothing here changes a resource.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Json = Mapping[str, Any]


def at(resource: Any, path: str) -> list[Any]:
    """Every value at the path, in document order; [] when there is none. Nulls are left out."""
    found: list[Any] = [resource]
    for name in path.split("."):
        step: list[Any] = []
        for part in found:
            value = part.get(name) if isinstance(part, Mapping) else None
            if isinstance(value, list):
                step.extend(v for v in value if v is not None)
            elif value is not None:
                step.append(value)
        if not step:
            return []
        found = step
    return found


def first(resource: Any, path: str) -> Any:
    """The first value at the path, or None."""
    found = at(resource, path)
    return found[0] if found else None


def text(resource: Any, path: str) -> str:
    """The first value at the path if it is a string, else ""."""
    found = first(resource, path)
    return found if isinstance(found, str) else ""


def extensions(element: Any, url: str) -> list[Json]:
    """The extensions of an element that have this url."""
    return [e for e in at(element, "extension") if isinstance(e, Mapping) and e.get("url") == url]


def modifiers(element: Any, where: str) -> Iterator[str]:
    """Where an element or a resource in it has something that could change the meaning of the rest:
    `modifierExtension`, `implicitRules` (FHIR R4 extensibility.html#modifierExtension). Patients inside
    are left out: what they may hold is their profile's matter."""
    if isinstance(element, Mapping):
        for name, held in element.items():
            if name in ("modifierExtension", "implicitRules"):
                yield f"{where}.{name}"
            elif name != "extension" and not (
                isinstance(held, Mapping) and held.get("resourceType") == "Patient"
            ):
                yield from modifiers(held, f"{where}.{name}")
    elif isinstance(element, list):
        for place, held in enumerate(element):
            yield from modifiers(held, f"{where}[{place}]")


def value(element: Any) -> Any:
    """The `value[x]` of an extension or Parameters parameter, or None."""
    if isinstance(element, Mapping):
        for name, held in element.items():
            if name.startswith("value") and name[5:6].isupper():
                return held
    return None


def extension_values(element: Any, url: str) -> list[Any]:
    """The values of the element's extensions with this url."""
    return [v for v in map(value, extensions(element, url)) if v is not None]


def identifiers(resource: Any, system: str, path: str = "identifier") -> list[str]:
    """The values of the identifiers of one system at the path."""
    return [
        i["value"]
        for i in at(resource, path)
        if isinstance(i, Mapping) and i.get("system") == system and isinstance(i.get("value"), str)
    ]


def coding(concept: Any, system: str | None = None) -> Json | None:
    """The first coding of a CodeableConcept, of this system when one is named; None without one."""
    for held in at(concept, "coding"):
        if isinstance(held, Mapping) and (system is None or held.get("system") == system):
            return held
    return None


def contained(resource: Any, reference: Any) -> Json | None:
    """The contained resource that a Reference (or its text) with `#id` names, or None."""
    said = reference.get("reference") if isinstance(reference, Mapping) else reference
    if not isinstance(said, str) or not said.startswith("#") or len(said) == 1:
        return None
    for held in at(resource, "contained"):
        if isinstance(held, Mapping) and held.get("id") == said[1:]:
            return held
    return None


def resolved(resource: Any, path: str) -> list[Json]:
    """What the references at the path lead to inside the resource itself (contained ones only)."""
    return [held for r in at(resource, path) if (held := contained(resource, r)) is not None]


def references(resource: Any, path: str = "") -> Iterator[tuple[str, Json]]:
    """Every Reference element of a resource with its FHIRPath, contained resources included."""
    if isinstance(resource, Mapping):
        if isinstance(resource.get("reference"), str):
            yield path, resource
        for name, held in resource.items():
            yield from references(held, f"{path}.{name}" if path else name)
    elif isinstance(resource, list):
        for place, held in enumerate(resource):
            yield from references(held, f"{path}[{place}]")
