"""QPD-3 of a demographics query as a filter over records. PURE.

Each repetition is `@PID.field.component.subcomponent^value`; all of them must hold. Text is compared
without case, accents and punctuation; a value that ends in `*` stands for everything that begins so.
A date may be a year or a month.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from chassis.mongo import Filter
from chassis.search import place
from pix.hl7v2.message import Segment, part
from pix.identifiers import Domains
from standards import dates, hl7v2, index, pdqm
from standards.hl7v2 import DATA_TYPE, REQUIRED, TABLE_VALUE, UNKNOWN_KEY, Fault, Location
from standards.search import named

_PATH = re.compile(r"@PID\.(\d+(?:\.\d+){0,2})")
_BEYOND = "\U0010ffff"
NOTHING: Filter = {"_id": {"$in": []}}


@dataclass(slots=True)
class _Number:
    """The parts of one identifier, which come in repetitions of their own."""

    value: str = ""
    namespace: str = ""
    universal: str = ""
    kind: str = ""
    repetition: int = 0
    names: list[int] = field(default_factory=list)


def asked(
    qpd: Segment, domains: Domains, sees: Callable[[str], bool]
) -> tuple[list[Filter], list[Fault]]:
    """What must hold of a record, and everything that is wrong with QPD-3.

    A number of a domain that the sender may not see finds nobody.
    """
    filters: list[Filter] = []
    faults: list[Fault] = []
    numbers: dict[str, _Number] = {}
    for repetition, said in enumerate(qpd.field(3), start=1):
        path = _PATH.fullmatch(part(said, 1))
        row = hl7v2.QUERY_FIELDS.get(path[1]) if path else None
        value = part(said, 2)
        if row is None:
            words = f"People are found by {', '.join('@PID.' + p for p in hl7v2.QUERY_FIELDS)}."
            faults.append(Fault(TABLE_VALUE, words, _at(repetition, 1)))
        elif not value:
            faults.append(Fault(REQUIRED, "Say a value after the field.", _at(repetition, 2)))
        elif row.parameter == "identifier":
            number = numbers.setdefault(row.path.partition(".")[0], _Number())
            _take(number, row.kind, value, repetition)
        else:
            found = _filter(row, value, repetition)
            faults += [found] if isinstance(found, Fault) else []
            filters += [found] if not isinstance(found, Fault) else []
    for number in numbers.values():
        found = _numbered(number, domains, sees)
        faults += [found] if isinstance(found, Fault) else []
        filters += [found] if not isinstance(found, Fault) else []
    return filters, faults


def _at(repetition: int, component: int = 0) -> Location:
    return Location("QPD", 1, 3, repetition, component)


def _take(number: _Number, kind: str, value: str, repetition: int) -> None:
    match kind:
        case "number":
            number.value, number.repetition = value, repetition
        case "namespace":
            number.namespace = value
            number.names.append(repetition)
        case "universal":
            number.universal = value
            number.names.append(repetition)
        case _:
            number.kind = value.upper()


def _numbered(number: _Number, domains: Domains, sees: Callable[[str], bool]) -> Filter | Fault:
    if not number.names:
        words = (
            "Say whose number this is: @PID.3.4.1 (namespace) or @PID.3.4.2 with @PID.3.4.3^ISO."
        )
        return Fault(REQUIRED, words, _at(number.repetition or 1, 2))
    system = ""
    if number.kind == "URI":
        system = domains.system(number.universal)
        system = system if domains.of(system) else ""
    else:
        system = domains.of_authority(number.namespace, number.universal)
    if not system:
        words = "No domain of this exchange has this assigning authority."
        return Fault(UNKNOWN_KEY, words, _at(number.names[-1], 2))
    if not sees(system):
        return NOTHING
    value = domains.identifier(system, number.value).value if number.value else ""
    return {place(pdqm.IDENTIFIER): index.token(system, value)}


def _filter(row: hl7v2.QueryField, value: str, repetition: int) -> Filter | Fault:
    where = place(named(pdqm.PARAMETERS)[row.parameter])
    match row.kind:
        case "text":
            return _text(where + ".f", value)
        case "sex":
            gender = hl7v2.ADMINISTRATIVE_SEX.get(value.upper())
            if gender is None:
                words = f"Sex may be one of {', '.join(hl7v2.ADMINISTRATIVE_SEX)}."
                return Fault(TABLE_VALUE, words, _at(repetition, 2))
            return {where: gender}
        case "contact":
            return {where: index.contact(value)}
        case _:
            return _born(where, value, repetition)


def _text(where: str, value: str) -> Filter:
    folded = index.fold(value.rstrip("*"))
    if not value.endswith("*"):
        return {where: folded}
    return {where: {"$elemMatch": {"$gte": folded, "$lt": folded + _BEYOND}}}


def _born(where: str, value: str, repetition: int) -> Filter | Fault:
    found = re.fullmatch(r"(\d{4})-?(\d{2})?-?(\d{2})?.*", value)
    said = "-".join(p for p in found.groups() if p) if found else ""
    if not said or dates.problem(said):
        words = "A date is written YYYYMMDD; YYYY and YYYYMM stand for the whole year or month."
        return Fault(DATA_TYPE, words, _at(repetition, 2))
    span = dates.parse(said)
    return {where + ".lo": {"$gte": span.lo, "$lt": span.hi}}


def within(systems: Sequence[str]) -> Filter:
    """Records that have a number of one of these domains."""
    return {place(pdqm.IDENTIFIER): {"$in": [index.token(s, "") for s in systems]}}
