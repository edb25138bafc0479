"""PID of HL7 v2 and Patient of FHIR, both ways. PURE.

`told` reads what a message says of a person; `revised` puts it into what was known. HL7 v2 speaks of
changes: a field that is absent says nothing and what was known stays, `""` says that it is no longer so
(HL7 2.5 §2.5.3). Numbers of a domain that the message names replace those of the same domain.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from affinity.pack import NHS_NUMBER
from pix.claims import STATUSES, VERIFICATION
from pix.hl7v2.authorities import Number, Place, numbers
from pix.hl7v2.message import Field, Message, Segment, part
from pix.identifiers import Domains, Identifier, parts
from pix.showing import opened
from standards import dates, hl7v2, pixm
from standards.hl7v2 import DATA_TYPE, REQUIRED, TABLE_VALUE, Fault, Location
from standards.outcome import Issue

Json = Any
_TIME = re.compile(r"(\d{4})(\d{2})?(\d{2})?(\d{2}(\d{2}(\d{2}(\.\d{1,4})?)?)?)?([+-]\d{4})?")
_ABSENT_NAME = {"extension": [{"url": pixm.DATA_ABSENT, "valueCode": "unknown"}]}


@dataclass(frozen=True, slots=True)
class Told:
    """What a message says of one person: its numbers in order, and by element of Patient what is
    known now (None: no longer anything). An element that is absent was not spoken of."""

    numbers: tuple[Number, ...]
    elements: Mapping[str, Json]
    traced: str = ""


# -- in --------------------------------------------------------------------------------------------------


def told(
    message: Message, domains: Domains, *, default: str = "", national: str = ""
) -> tuple[Told, list[Fault]]:
    """What PID says, and everything that is wrong with it.

    `default` is the authority of numbers that name none, `national` that of PID-19 ("": not read).
    """
    pid = message.first("PID")
    found, faults = numbers(Place(pid, 1, 3), domains, default=default)
    if not found and not faults:
        faults.append(Fault(REQUIRED, "PID-3 must hold a number of the person.", _at(3)))
    if national and pid.value(19):
        found.append(Number(domains.identifier(national, pid.value(19)), 1, "NH"))
    flags = {part(r, 1).upper() for r in pid.field(32)}
    unknown = pid.value(31).upper() == "Y"
    elements: dict[str, Json] = {}
    reading = _Reading(pid, flags, faults)
    for read in _READERS:
        element, number, value = read(reading)
        if pid.nulls(number):
            elements[element] = None
        elif value is not None:
            elements[element] = value
    if "name" not in elements or elements["name"] is None:
        if unknown:
            elements["name"] = [_ABSENT_NAME]
        else:
            faults.append(Fault(REQUIRED, "PID-5 must hold the person's name.", _at(5)))
    status = next((hl7v2.TRACED[f] for f in sorted(flags) if f in hl7v2.TRACED), "")
    return Told(tuple(found), elements, status), faults


Read = tuple[str, int, Json | None]
"""The element of Patient, the field that speaks of it, and what it says (None: nothing)."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """PID while it is read: its reliability flags (PID-32), and the faults found so far."""

    pid: Segment
    flags: set[str]
    faults: list[Fault]


def _at(field: int, repetition: int = 0, component: int = 0) -> Location:
    return Location("PID", 1, field, repetition, component)


def _names(read: _Reading) -> Read:
    use = "anonymous" if "AL" in read.flags else ""
    return "name", 5, _listed(read.pid.field(5), lambda r: _name(r, use)) or None


def _aliases(read: _Reading) -> Read:
    return "alias", 9, _listed(read.pid.field(9), lambda r: _name(r, "nickname")) or None


def _name(xpn: Sequence[Sequence[str]], use: str = "") -> dict[str, Json]:
    made: dict[str, Json] = {}
    said = use or hl7v2.NAME_USE.get(part(xpn, 7).upper(), "")
    if said:
        made["use"] = said
    if part(xpn, 1):
        made["family"] = part(xpn, 1)
    given = [part(xpn, 2), *part(xpn, 3).split()]
    for element, values in (
        ("given", given), ("prefix", [part(xpn, 5)]), ("suffix", [part(xpn, 4), part(xpn, 6)]),
    ):  # fmt: skip
        kept = [v for v in values if v]
        if kept:
            made[element] = kept
    return made if made.keys() & {"family", "given"} else {}


def _maiden(read: _Reading) -> Read:
    field = read.pid.field(6)
    said = " ".join(p for p in (part(field[0], 2), part(field[0], 1)) if p) if field else ""
    family = part(field[0], 1) if field else ""
    return "maiden", 6, (family or said) or None


def _born(read: _Reading) -> Read:
    if "UD" in read.flags:  # an unknown date, for which a default was sent
        return "birthDate", 7, None
    return "birthDate", 7, _date(read, 7)


def _date(read: _Reading, number: int) -> str | None:
    said = read.pid.value(number)
    if not said:
        return None
    found = _TIME.fullmatch(said)
    made = "-".join(p for p in found.groups()[:3] if p) if found else ""
    why = dates.problem(made) if made else "A date is written YYYY, YYYYMM or YYYYMMDD."
    if why:
        read.faults.append(Fault(DATA_TYPE, why, _at(number)))
        return None
    return made


def _sex(read: _Reading) -> Read:
    return "gender", 8, _coded(read, 8, hl7v2.ADMINISTRATIVE_SEX)


def _coded(read: _Reading, number: int, table: Mapping[str, str]) -> str | None:
    said = read.pid.value(number).upper()
    if not said:
        return None
    if said not in table:
        words = f"PID-{number} may be one of {', '.join(table)}."
        read.faults.append(Fault(TABLE_VALUE, words, _at(number)))
    return table.get(said)


def _addresses(read: _Reading) -> Read:
    if "UA" in read.flags:  # an unknown address, for which a default was sent
        return "address", 11, None
    return "address", 11, _listed(read.pid.field(11), _address) or None


def _address(xad: Sequence[Sequence[str]]) -> dict[str, Json]:
    use = hl7v2.ADDRESS_USE.get(part(xad, 7).upper(), "")
    street = " ".join(p for p in (part(xad, 1, 3), part(xad, 1, 2)) if p)
    lines = [v for v in (part(xad, 1) or street, part(xad, 2)) if v]
    district = part(xad, 9) or part(xad, 8)
    elements = {
        "line": lines, "city": part(xad, 3), "district": district, "state": part(xad, 4),
        "postalCode": part(xad, 5), "country": part(xad, 6),
    }  # fmt: skip
    made = {element: value for element, value in elements.items() if value}
    return ({"use": use} if use else {}) | made if made else {}


def _home(read: _Reading) -> Read:
    return "home", 13, _listed(read.pid.field(13), lambda r: _contact(r, "home")) or None


def _work(read: _Reading) -> Read:
    return "work", 14, _listed(read.pid.field(14), lambda r: _contact(r, "work")) or None


def _contact(xtn: Sequence[Sequence[str]], use: str) -> dict[str, Json]:
    kind, email = part(xtn, 3).upper(), part(xtn, 4)
    pieces = [part(xtn, n) for n in (5, 6, 7)]
    number = part(xtn, 1) or part(xtn, 12) or "".join(p for p in pieces if p)
    if email or (kind in ("INTERNET", "X.400") and number) or "@" in number:
        return {"system": "email", "value": email or number, "use": use}
    if not number:
        return {}
    system = hl7v2.CONTACT_SYSTEM.get(kind, "phone")
    said = "mobile" if kind == "CP" else hl7v2.CONTACT_USE.get(part(xtn, 2).upper()) or use
    return {"system": system, "value": number, "use": use if use == "work" else said}


def _marital(read: _Reading) -> Read:
    code = hl7v2.MARITAL_STATUS.get(read.pid.value(16).upper())
    if code is None:
        return "maritalStatus", 16, None
    system = hl7v2.MARITAL_SYSTEM
    if code == "UNK":
        system = "http://terminology.hl7.org/CodeSystem/v3-NullFlavor"
    return "maritalStatus", 16, {"coding": [{"system": system, "code": code}]}


def _births(read: _Reading) -> Read:
    order = read.pid.value(25)
    if order.isdecimal() and 0 < int(order[:3]) < 100:
        return "multipleBirth", 24, {"multipleBirthInteger": int(order[:3])}
    said = _coded(read, 24, {"Y": "true", "N": "false"})
    return "multipleBirth", 24, {"multipleBirthBoolean": said == "true"} if said else None


def _death(read: _Reading) -> Read:
    when = _date(read, 29)
    if when:
        return "deceased", 29, {"deceasedDateTime": when}
    said = _coded(read, 30, {"Y": "true", "N": "false"})
    return "deceased", 30, {"deceasedBoolean": said == "true"} if said else None


_READERS: tuple[Callable[[_Reading], Read], ...] = (
    _names, _aliases, _maiden, _born, _sex, _addresses, _home, _work, _marital, _births, _death,
)  # fmt: skip


def _listed(
    field: Field, one: Callable[[Sequence[Sequence[str]]], dict[str, Json]]
) -> list[dict[str, Json]]:
    return [made for made in map(one, field) if made]


# -- what was known, and what is said now ------------------------------------------------------------------


def revised(before: bytes, said: Told, domains: Domains) -> dict[str, Json]:
    """The Patient after this message; `before` is what its source said until now (empty: nothing)."""
    was = opened(before) if before else {}
    made = {**was, "resourceType": "Patient"}
    made["identifier"] = _identifiers(was, said, domains)
    for element in ("birthDate", "gender", "address", "maritalStatus"):
        _put(made, element, said.elements)
    for choice in ("multipleBirth", "deceased"):
        if choice in said.elements:
            for key in [k for k in made if k.startswith(choice)]:
                del made[key]
            made |= said.elements[choice] or {}
    made["name"] = _kept(
        was.get("name"), said.elements, "name", "alias", lambda n: n.get("use") == "nickname"
    )
    made["telecom"] = _kept(
        was.get("telecom"), said.elements, "home", "work", lambda t: t.get("use") == "work"
    )
    made["extension"] = _extensions(was, said.elements)
    return {k: v for k, v in made.items() if v not in ([], None)}


def _put(made: dict[str, Json], element: str, elements: Mapping[str, Json]) -> None:
    if element in elements:
        made.pop(element, None)
        if elements[element] is not None:
            made[element] = elements[element]


def _kept(
    was: Sequence[Json] | None,
    elements: Mapping[str, Json],
    first: str,
    second: str,
    is_second: Callable[[Json], bool],
) -> list[Json]:
    """One list of Patient that two fields of PID speak of; what both say is said once."""
    old = list(was or ())
    one = elements.get(first) or [] if first in elements else [o for o in old if not is_second(o)]
    two = elements.get(second) or [] if second in elements else [o for o in old if is_second(o)]
    return [*one, *(o for o in two if o not in one)]


def _extensions(was: Mapping[str, Json], elements: Mapping[str, Json]) -> list[Json]:
    old = list(was.get("extension") or ())
    if "maiden" not in elements:
        return old
    kept = [e for e in old if e.get("url") != pixm.MAIDEN_NAME]
    if elements["maiden"] is None:
        return kept
    return [*kept, {"url": pixm.MAIDEN_NAME, "valueString": elements["maiden"]}]


def _identifiers(was: Mapping[str, Json], said: Told, domains: Domains) -> list[Json]:
    old = {domains.identifier(*parts(i)): i for i in was.get("identifier") or ()}
    made: dict[Identifier, Json] = {}
    for number in said.numbers:
        made.setdefault(
            number.identifier, _identifier(number, said.traced, old.get(number.identifier))
        )
    named = {n.identifier.system for n in said.numbers}
    rest = [i for known, i in old.items() if known.system not in named]
    return [*made.values(), *rest]


def _identifier(number: Number, traced: str, before: Json | None) -> dict[str, Json]:
    made: dict[str, Json] = {"system": number.identifier.system, "value": number.identifier.value}
    if number.type and number.type.isalnum():
        made["type"] = {"coding": [{"system": _TYPES, "code": number.type}]}
    period = {
        key: day for key, day in (("start", _day(number.start)), ("end", _day(number.end))) if day
    }
    if period:
        made["period"] = period
    if number.identifier.system != NHS_NUMBER:
        return made
    if traced:
        concept = {"coding": [{"system": STATUSES[0], "code": traced}]}
        made["extension"] = [{"url": VERIFICATION, "valueCodeableConcept": concept}]
    elif before is not None and before.get("extension"):
        made["extension"] = before["extension"]  # not spoken of: the tracing status stays
    return made


_TYPES = "http://terminology.hl7.org/CodeSystem/v2-0203"


def _day(text: str) -> str:
    found = _TIME.fullmatch(text) if text else None
    made = "-".join(p for p in found.groups()[:3] if p) if found else ""
    return made if made and dates.problem(made) is None else ""


# -- where in the message a fault of the Patient lies --------------------------------------------------------

_FIELDS = {
    "name": 5, "birthDate": 7, "gender": 8, "address": 11, "telecom": 13, "maritalStatus": 16,
    "multipleBirth": 24, "deceased": 29, "extension": 6, "identifier": 3,
}  # fmt: skip
_PATH = re.compile(r"(?:Patient\.)?([a-zA-Z]+)(?:\[(\d+)\])?")


def located(issue: Issue, said: Told) -> Location:
    """The field of PID that a fault of the composed Patient comes from."""
    found = _PATH.match(issue.where)
    element, index = (found[1], found[2]) if found else ("", None)
    field = next((n for e, n in _FIELDS.items() if element.startswith(e)), 0)
    if field == 3 and index is not None and int(index) < len(said.numbers):
        return _at(3, said.numbers[int(index)].repetition, 1)
    return _at(field or 3)
