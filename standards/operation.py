"""What an operation of our own takes and gives, as rows, and its OperationDefinition. PURE.

FHIR R4 operationdefinition.html. The rows are the grammar by which requests are read and answers are
checked (`pix/operations.py`), and what `/metadata` and `/OperationDefinition/…` say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Type = Literal[
    "string", "code", "uri", "id", "integer", "decimal", "boolean", "dateTime", "instant", "part"
]
CANONICAL = "https://throughline.example/fhir/OperationDefinition"
MANY = 0  # a parameter that may be given any number of times


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. `most` is `MANY` for any number; `codes` are the values a code may take;
    `longest` how many characters a text may have. `parts` are those of a composed one."""

    name: str
    type: Type
    least: int
    most: int
    words: str
    codes: tuple[str, ...] = ()
    parts: tuple[Parameter, ...] = ()
    longest: int = 200


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation on the type Patient. `writes` when it changes something: such are POSTed and
    `affectsState`."""

    code: str
    title: str
    writes: bool
    words: str
    takes: tuple[Parameter, ...]
    gives: tuple[Parameter, ...]
    see: str

    @property
    def id(self) -> str:
        """The logical id of its OperationDefinition."""
        return f"Patient-{self.code}"

    @property
    def canonical(self) -> str:
        """The canonical URL of its OperationDefinition."""
        return f"{CANONICAL}/{self.id}"

    def taken(self, name: str) -> Parameter | None:
        """The parameter of this name that a request may have."""
        return next((p for p in self.takes if p.name == name), None)


def definition(operation: Operation, *, version: str, date: str) -> dict[str, Any]:
    """The OperationDefinition resource (JSON-able dict) of an operation."""
    return {
        "resourceType": "OperationDefinition",
        "id": operation.id,
        "url": operation.canonical,
        "version": version,
        "name": "".join(w.title() for w in operation.id.split("-")),
        "title": operation.title,
        "status": "active",
        "kind": "operation",
        "date": date,
        "publisher": "Throughline",
        "description": operation.words,
        "affectsState": operation.writes,
        "code": operation.code,
        "resource": ["Patient"],
        "system": False,
        "type": True,
        "instance": False,
        "parameter": [
            *(_parameter(p, "in") for p in operation.takes),
            *(_parameter(p, "out") for p in operation.gives),
        ],
    }


def _parameter(parameter: Parameter, use: str) -> Mapping[str, Any]:
    made: dict[str, Any] = {
        "name": parameter.name,
        "use": use,
        "min": parameter.least,
        "max": "*" if parameter.most == MANY else str(parameter.most),
        "documentation": parameter.words + _codes(parameter),
    }
    if parameter.type == "part":
        made["part"] = [_parameter(p, use) for p in parameter.parts]
    else:
        made["type"] = parameter.type
    return made


def _codes(parameter: Parameter) -> str:
    return f" One of: {', '.join(parameter.codes)}." if parameter.codes else ""
