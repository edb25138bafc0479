"""Where somebody lives, when that is not to be told. PURE.

A record that its source labels as restricted (`v3-Confidentiality` R, V) or its address as confidential
(ADDRCONF) says who somebody is and not where: no address, telecom, contact, general practitioner or
place of birth, no property number, and nobody is found by these (domain digest §1.6 P4; PDS does the
same, PIX digest §8.4). Its own source, which said it, and the exchange's own jobs read it whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from affinity.domains import Register
from pix.traits import Traits
from standards.lens import at

CONFIDENTIAL = "ADDRCONF"
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
RESTRICTED = ("R", "V")
BIRTH_PLACE = "http://hl7.org/fhir/StructureDefinition/patient-birthPlace"
_WITHHELD = ("address", "telecom", "contact", "generalPractitioner", "text")
_INSIDE = ("address", "telecom", "text")  # of contained resources, which others may refer to


def secret(patient: Mapping[str, Any]) -> bool:
    """Whether it is not to be told where this Patient lives."""
    return any(
        label.get("code") == CONFIDENTIAL
        or (label.get("system") == CONFIDENTIALITY and label.get("code") in RESTRICTED)
        for label in at(patient, "meta.security")
    )


def without(patient: Mapping[str, Any], register: Register) -> dict[str, Any]:
    """A Patient without what says where they live or can be met."""
    made = {k: v for k, v in patient.items() if k not in _WITHHELD}
    made["identifier"] = [
        i for i in at(patient, "identifier") if not _of_place(str(i.get("system")), register)
    ]
    extensions = [e for e in at(patient, "extension") if e.get("url") != BIRTH_PLACE]
    made["extension"] = extensions
    made["contained"] = [
        {k: v for k, v in inside.items() if k not in _INSIDE} for inside in at(patient, "contained")
    ]
    return {k: v for k, v in made.items() if v != []}


def placeless(said: Traits) -> Traits:
    """What a record says, without what tells where somebody is: what may not be read may not be asked
    for piece by piece either."""
    return msgspec.structs.replace(said, addresses=(), phones=(), emails=())


def _of_place(system: str, register: Register) -> bool:
    domain = register.domain_of(system)
    return domain is not None and domain.of == "place"
