"""Where somebody lives, when that is not to be told. PURE.

A record that its source labels as restricted (`v3-Confidentiality` R, V) or its address as confidential
(ADDRCONF) says who somebody is and not where: no address, telecom, contact, general practitioner or
place of birth, no property number, and nobody is found by these (domain digest §1.6 P4; PDS does the
same, PIX digest §8.4). Its own source, which said it, and the exchange's own jobs read it whole.

It holds for every record of the person, whoever fed it: another agency's word tells the same place, and
the most restricted label counts (§1.6 P11). `secret` of a stored record says so, so that no reader has
to look at the others; every change keeps it up (`writing.py`), a rebuild makes it anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import orjson

from affinity.domains import Register
from governance.identifiers import Sight
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


def labelled(own: bytes) -> bool:
    """The same of a canonical Patient; most say nothing of security, and are not parsed."""
    return b'"security"' in own and secret(orjson.loads(own))


def told(patient: dict[str, Any], sight: Sight, *, fed: str, guarded: bool) -> dict[str, Any]:
    """A Patient as far as this viewer may know where they live: whole to the source of the domain that
    the record is `fed` under. `guarded` is whether any record of the person asks for it."""
    if (guarded or secret(patient)) and not sight.owns(fed):
        return without(patient, sight.register)
    return patient


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
