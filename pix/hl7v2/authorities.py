"""Whose number it is: CX and HD of HL7 v2 and the identifier domains of the exchange. PURE.

Inbound a namespace or a universal id of type ISO is enough (ITI TF-2x Appendix E). Outbound all three
parts are given, always. A namespace that only the sender knows does no harm beside a universal id that
everyone knows; two that name different domains name none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pix.hl7v2.message import Field, Segment, escaped, part
from pix.identifiers import Domains, Identifier
from standards.hl7v2 import REQUIRED, UNKNOWN_KEY, Ack, Fault, Location


@dataclass(frozen=True, slots=True)
class Number:
    """One CX that was sent: the identifier, and where it stood (repetitions count from 1)."""

    identifier: Identifier
    repetition: int
    type: str = ""
    start: str = ""
    end: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """The field that numbers are read from."""

    segment: Segment
    sequence: int
    number: int

    def at(self, repetition: int = 0, component: int = 0) -> Location:
        """A location in this field."""
        return Location(self.segment.name, self.sequence, self.number, repetition, component)

    @property
    def field(self) -> Field:
        """The field itself."""
        return self.segment.field(self.number)


def authority(cx: Sequence[Sequence[str]], domains: Domains) -> str | None:
    """The canonical system of a CX's assigning authority; None when it names none, "" when nobody
    knows it."""
    namespace, universal, kind = (part(cx, 4, n) for n in (1, 2, 3))
    if not namespace and not universal:
        return None
    if universal and kind.upper() == "URI":
        system = domains.system(universal)
        return system if domains.of(system) else ""
    oid = universal if kind.upper() in ("ISO", "") else ""
    agreed = domains.of_authority(namespace, oid)
    if not agreed and oid and not domains.of_authority(namespace):
        agreed = domains.of_authority("", oid)
    return agreed


def numbers(
    place: Place, domains: Domains, *, default: str = "", strange: Ack = "AR"
) -> tuple[list[Number], list[Fault]]:
    """The numbers in a field, and everything that is wrong with them.

    `default` is the authority of a number that names none (ITI TF-2a 3.8.4.1.3: one source serves one
    domain); `strange` is how an authority that nobody knows is answered.
    """
    made: list[Number] = []
    faults: list[Fault] = []
    for repetition, cx in enumerate(place.field, start=1):
        value = part(cx, 1)
        system = authority(cx, domains)
        if not value and system is None:
            continue
        if not value:
            words = "The number is missing before its assigning authority."
            faults.append(Fault(REQUIRED, words, place.at(repetition, 1)))
        if system is None and not default:
            words = (
                "Say whose number this is: its assigning authority in component 4, as namespace or as "
                "universal id with type ISO."
            )
            faults.append(Fault(REQUIRED, words, place.at(repetition, 4)))
        elif system == "":
            words = (
                "No domain of this exchange has this assigning authority, or its namespace and its "
                "universal id name two different ones."
            )
            faults.append(Fault(UNKNOWN_KEY, words, place.at(repetition, 4), strange))
        elif value:
            identifier = domains.identifier(system or default, value)
            made.append(
                Number(identifier, repetition, part(cx, 5).upper(), part(cx, 7), part(cx, 8))
            )
    return made, faults


def assigned(system: str, domains: Domains) -> str:
    """The assigning authority of a domain with all three parts, as it is written in CX.4.

    A domain without an object identifier is named by its URI, which HL7 2.5 table 0301 knows too.
    """
    names = domains.names(system)
    if names is None:
        return f"&{escaped(system)}&URI"
    namespace = escaped(names.namespace)
    if names.oid:
        return f"{namespace}&{names.oid}&ISO"
    return f"{namespace}&{escaped(names.uri)}&URI"


def stated(identifier: Identifier, domains: Domains, type_: str = "") -> str:
    """An identifier as a CX."""
    made = f"{escaped(identifier.value)}^^^{assigned(identifier.system, domains)}"
    return f"{made}^{escaped(type_)}" if type_ else made


def told_type(said: dict[str, Any]) -> str:
    """CX.5 of a FHIR Identifier: its code of table 0203."""
    for coding in (said.get("type") or {}).get("coding") or ():
        if str(coding.get("system", "")).endswith("/v2-0203"):
            return str(coding.get("code") or "")
    return ""


def authorities(place: Place, domains: Domains) -> tuple[list[str], list[Fault]]:
    """The domains that a field of CX names by component 4 alone (QPD-4, QPD-8), one fault for each
    repetition that nobody knows (`QPD^1^4^2`)."""
    made: list[str] = []
    faults: list[Fault] = []
    for repetition, system in enumerate(_each(place, domains), start=1):
        if system is None:
            words = "Name a domain in component 4, and nothing else."
            faults.append(Fault(REQUIRED, words, place.at(repetition)))
        elif not system:
            words = "No domain of this exchange has this assigning authority."
            faults.append(Fault(UNKNOWN_KEY, words, place.at(repetition)))
        else:
            made.append(system)
    return list(dict.fromkeys(made)), faults


def _each(place: Place, domains: Domains) -> Iterator[str | None]:
    for cx in place.field:
        yield authority(cx, domains)
