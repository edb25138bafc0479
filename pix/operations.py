"""The grammar of our own operations: Parameters in and out, both held to their rows. PURE.

`read` takes what was asked from the URL and the body and finds everything that is wrong with it at
once; `answer` makes the Parameters of an answer and lets nothing out that the OperationDefinition does
not promise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from chassis.call import instant
from standards import dates
from standards.operation import MANY, Operation, Parameter
from standards.outcome import (
    INVALID,
    NOT_SUPPORTED,
    REQUIRED_PARAMETER,
    UNKNOWN_PARAMETER,
    ErrorKind,
    Issue,
    Refused,
)
from standards.words import nearest, one_of, shown

Value = str | int | bool | datetime
Pair = tuple[str, Any]

# The value[x] that each type may come in; HAPI sends ids as strings or URIs.
_TEXT = (
    "valueString",
    "valueUri",
    "valueUrl",
    "valueCanonical",
    "valueId",
    "valueCode",
    "valueMarkdown",
)
_FORMS: Mapping[str, tuple[str, ...]] = {
    "string": _TEXT,
    "uri": _TEXT,
    "id": (*_TEXT, "valueUuid"),
    "code": _TEXT,
    "integer": ("valueInteger", "valueUnsignedInt", "valuePositiveInt"),
    "boolean": ("valueBoolean",),
    "dateTime": ("valueDateTime", "valueInstant", "valueDate", "valueString"),
}  # fmt: skip
_ALLOWED = ("name", "id")


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked, by parameter; only what the rows declare, in their types."""

    values: Mapping[str, tuple[Value, ...]]

    def text(self, name: str) -> str:
        """The one text, "" when it was not given."""
        return str(self.values[name][0]) if name in self.values else ""

    def texts(self, name: str) -> tuple[str, ...]:
        """All texts."""
        return tuple(map(str, self.values.get(name, ())))

    def number(self, name: str, default: int) -> int:
        """The one number."""
        found = self.values.get(name)
        return int(found[0]) if found and isinstance(found[0], int) else default

    def flag(self, name: str) -> bool:
        """Whether it was said to be so."""
        return self.values.get(name, (False,))[0] is True

    def moment(self, name: str) -> datetime | None:
        """The one moment; the beginning of a day, month or year."""
        found = self.values.get(name)
        return found[0] if found and isinstance(found[0], datetime) else None


def read(
    operation: Operation,
    query: Sequence[tuple[str, str]],
    body: Mapping[str, Any] | None,
    *,
    strict: bool = True,
    also: Callable[[Asked], Iterable[Issue]] = lambda _: (),
) -> Asked:
    """What was asked of an operation, in the URL and in a structurally legal Parameters resource.

    Raises `Refused` (400) with every issue: a parameter that there is not (left out when not `strict`),
    one that is missing, given too often, empty, too long, or of another type or code; and whatever
    `also` finds in what is sound of it.
    """
    issues: list[Issue] = []
    found: dict[str, list[Value]] = {}
    for name, where, value, fault in (*_of_query(operation, query), *_of_body(operation, body)):
        parameter = operation.taken(name)
        if parameter is None:
            if strict:
                issues.append(_unknown(operation, name, where))
            continue
        wrong = _fault(parameter, value) if fault is None else fault
        if wrong:
            issues.append(_issue(INVALID, wrong, where))
            found.setdefault(name, [])
            continue
        if parameter.most != MANY and name in found:
            issues.append(_issue(INVALID, f"Give {name} once.", where))
        found.setdefault(name, []).append(value)
    for parameter in operation.takes:
        if parameter.least and parameter.name not in found:
            words = f"${operation.code} needs {parameter.name}. {parameter.words}"
            if parameter.codes:
                words += f" One of {one_of(parameter.codes, 20)}."
            issues.append(_issue(REQUIRED_PARAMETER, words, parameter.name))
    if body is not None:
        issues += _modifiers(body)
    asked = Asked({name: tuple(values) for name, values in found.items() if values})
    issues += also(asked)
    if issues:
        raise Refused(issues, status=400)
    return asked


def _of_query(
    operation: Operation, query: Iterable[tuple[str, str]]
) -> Iterator[tuple[str, str, Any, str | None]]:
    for name, text in query:
        parameter = operation.taken(name)
        value, fault = _typed(parameter, text) if parameter else (text, None)
        yield name, name, value, fault


def _of_body(
    operation: Operation, body: Mapping[str, Any] | None
) -> Iterator[tuple[str, str, Any, str | None]]:
    for place, said in enumerate((body or {}).get("parameter") or ()):
        name, where = str(said.get("name")), f"Parameters.parameter[{place}]"
        parameter = operation.taken(name)
        if parameter is None:
            yield name, where, "", None
            continue
        forms = [k for k in said if k not in _ALLOWED]
        fitting = _FORMS[parameter.type]
        if len(forms) != 1 or (forms[0] not in fitting and not _reference(parameter, said)):
            yield name, where, "", f"Give {name} as {fitting[0]}."
            continue
        value = said[forms[0]]
        if forms[0] == "valueReference":
            value = value.get("reference") or ""
        if parameter.type in ("dateTime",):
            value, fault = _typed(parameter, str(value))
            yield name, where, value, fault
        else:
            yield name, where, value, None


def _reference(parameter: Parameter, said: Mapping[str, Any]) -> bool:
    return parameter.name.endswith("esourceId") and isinstance(said.get("valueReference"), Mapping)


def _typed(parameter: Parameter, text: str) -> tuple[Any, str | None]:
    """A text as its type, and what is wrong with it."""
    match parameter.type:
        case "integer":
            if not text.isascii() or not text.isdecimal() or len(text) > 9:
                return text, f"{parameter.name} is a whole number."
            return int(text), None
        case "boolean":
            if text not in ("true", "false"):
                return text, f"{parameter.name} is true or false."
            return text == "true", None
        case "dateTime":
            wrong = dates.problem(text)
            return (text, wrong) if wrong else (dates.parse(text).lo, None)
    return text, None


def _fault(parameter: Parameter, value: Value) -> str:
    """What is wrong with a value of the right type; "" when nothing is."""
    if isinstance(value, str):
        if not value.strip():
            return f"{parameter.name} is empty."
        if len(value) > parameter.longest:
            return f"{parameter.name} is longer than {parameter.longest} characters."
        if any(not c.isprintable() and c not in "\n\t" for c in value):
            return f"{parameter.name} holds a control character."
        if parameter.codes and value not in parameter.codes:
            near = nearest(value, parameter.codes)
            meant = f"; did you mean {near}?" if near else ""
            return f"{shown(value)} is not one of {one_of(parameter.codes, 20)}{meant}"
    if parameter.name == "_count" and not 1 <= int(str(value)) <= 200:
        return "_count is a number from 1 to 200."
    return ""


def _unknown(operation: Operation, name: str, where: str) -> Issue:
    names = [p.name for p in operation.takes]
    near = nearest(name, names)
    rest = f"; the nearest is {near}." if near else f"; it takes {one_of(names, 20)}."
    return _issue(
        UNKNOWN_PARAMETER, f"${operation.code} has no parameter {shown(name)}{rest}", where
    )


def _modifiers(body: Mapping[str, Any]) -> Iterator[Issue]:
    if "implicitRules" in body:
        yield _issue(NOT_SUPPORTED, "implicitRules is not allowed; leave it out.",
                     "Parameters.implicitRules")  # fmt: skip


def _issue(kind: ErrorKind, words: str, where: str) -> Issue:
    return Issue(kind, words, where, xds="")


# -- answering --------------------------------------------------------------------------------------


def answer(operation: Operation, pairs: Iterable[Pair]) -> dict[str, Any]:
    """The Parameters resource of an answer: (name, value) in order, a list of pairs where a parameter
    has parts; what is None or "" is left out.

    Raises `ValueError` for anything that the operation's row does not promise: that is a fault of ours.
    """
    made = _said(f"${operation.code}", operation.gives, pairs)
    return {"resourceType": "Parameters", **({"parameter": made} if made else {})}


def _said(where: str, rows: Sequence[Parameter], pairs: Iterable[Pair]) -> list[dict[str, Any]]:
    by_name = {row.name: row for row in rows}
    times = dict.fromkeys(by_name, 0)
    made: list[dict[str, Any]] = []
    for name, value in pairs:
        row = by_name.get(name)
        if row is None:
            raise ValueError(f"{where} gives no {name}")
        if value is None or value == "":
            continue
        times[name] += 1
        made.append({"name": name, **_form(f"{where}.{name}", row, value)})
    for row in rows:
        if times[row.name] < row.least or (row.most != MANY and times[row.name] > row.most):
            raise ValueError(f"{where}.{row.name} is given {times[row.name]} times")
    return made


def _form(where: str, row: Parameter, value: Any) -> dict[str, Any]:
    if row.codes and value not in row.codes:
        raise ValueError(f"{where} cannot be {value!r}")
    match row.type:
        case "part":
            return {"part": _said(where, row.parts, value)}
        case "integer" if isinstance(value, int) and not isinstance(value, bool):
            return {"valueInteger": value}
        case "decimal" if isinstance(value, int | float):
            return {"valueDecimal": round(float(value), 4) + 0.0}
        case "boolean" if isinstance(value, bool):
            return {"valueBoolean": value}
        case "instant" if isinstance(value, datetime):
            return {"valueInstant": instant(value.astimezone(UTC))}
        case "string" | "code" | "uri" | "id" if isinstance(value, str):
            # What people wrote may be longer than what is asked today; it is told whole.
            return {f"value{row.type.title()}": value}
    raise ValueError(f"{where} is no {row.type}")
