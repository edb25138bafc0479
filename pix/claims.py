"""What one source record says about who it is. PURE.

A claim holds the number that the source feeds under (primary), and the further numbers that it
carries. Only an NHS number with verification status 01 and a birth date is an anchor, that is, may
join records (domain digest §1.6 P9).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from affinity.pack import NHS_NUMBER
from pix.identifiers import Domains, Identifier, parts
from standards import pixm
from standards.outcome import CODE_INVALID, CONFLICT, UNPROCESSABLE, VALUE, Issue

Rank = Literal["primary", "verified", "carried"]
VERIFICATION = (
    "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-NHSNumberVerificationStatus"
)
# The first is in use; PDS samples still say the second, which is retired (PIX digest §8.2).
STATUSES = (
    "https://fhir.hl7.org.uk/CodeSystem/UKCore-NHSNumberVerificationStatusEngland",
    "https://fhir.hl7.org.uk/CodeSystem/UKCore-NHSNumberVerificationStatus",
)
VERIFIED = "01"
# Dates that systems write for "not known" (domain digest §1.4).
NO_DATES = ("1900-01-01", "1970-01-01")
# What no register of people needs; beyond it a body is an attempt to fill the index.
MOST, LONGEST = 200, 500


@dataclass(frozen=True, slots=True)
class Held:
    """One identifier that a record holds: its standing, and the ITI-83 parameter that tells it."""

    identifier: Identifier
    rank: Rank
    told: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """The identifiers of a record that can answer for it, the primary one first, and its anchor:
    the key of the verified NHS number and the birth date that goes with it ("" and "" for none)."""

    held: tuple[Held, ...]
    anchor: str = ""
    born: str = ""

    @property
    def primary(self) -> Identifier:
        """The identifier that the source feeds under."""
        return self.held[0].identifier


def claim(patient: Mapping[str, Any], primary: Identifier, domains: Domains) -> Claim:
    """The claim of a Patient that is fed under `primary`."""
    held = {primary.key: (primary, _sent(patient, primary, domains))}
    verified: set[str] = set()
    for said in patient.get("identifier") or ():
        identifier = domains.identifier(*parts(said))
        if said.get("use") == "old" or not domains.usable(identifier):
            continue
        held.setdefault(identifier.key, (identifier, said))
        if identifier.system == NHS_NUMBER and _verified(said):
            verified.add(identifier.key)
    born = str(patient.get("birthDate") or "")
    # Two verified numbers: which of them is right is not ours to say.
    anchor = verified.pop() if len(verified) == 1 and born and born not in NO_DATES else ""
    return Claim(
        tuple(
            Held(identifier, _rank(key, primary, anchor), _told(identifier, said, domains))
            for key, (identifier, said) in held.items()
        ),
        anchor,
        born if anchor else "",
    )


def _rank(key: str, primary: Identifier, anchor: str) -> Rank:
    if key == primary.key:
        return "primary"
    return "verified" if key == anchor else "carried"


def faults(
    patient: Mapping[str, Any],
    primary: Identifier,
    domains: Domains,
    carried: Sequence[Identifier] | None = None,
) -> list[Issue]:
    """Everything that keeps a Patient from being fed under `primary` (PIX digest §1.3): what the profile
    wants of it, and what `check` finds."""
    return [*pixm.check(patient), *check(patient, primary, domains, carried)]


def said(patient: Mapping[str, Any], domains: Domains) -> list[Identifier]:
    """The identifiers of a Patient in their stored form, in its order; "" for what one lacks."""
    return [domains.identifier(*parts(i)) for i in patient.get("identifier") or ()]


def check(
    patient: Mapping[str, Any],
    primary: Identifier,
    domains: Domains,
    carried: Sequence[Identifier] | None = None,
) -> Iterator[Issue]:
    """Everything in which a Patient does not fit the identifier it is fed under, an NHS number that is
    called verified and cannot be one, and as warnings what a soft check doubts. Other numbers of other
    domains that are out of form are what the source was told: kept, and never matched on (PIX digest
    §1.3, server validation list). `carried` is what `said` gives, where that is known already."""
    if carried is None:
        carried = said(patient, domains)
    if primary not in carried:
        yield Issue(
            VALUE,
            "The body must hold the identifier of the request; else the stored record would no longer "
            "be found by it.",
            "Patient.identifier",
            xds="",
        )
    if len(carried) > MOST:
        words = f"A person may have {MOST} identifiers; this one has {len(carried)}."
        yield Issue(UNPROCESSABLE, words, "Patient.identifier", xds="")
    for place, identifier in enumerate(carried):
        if len(identifier.system) + len(identifier.value) >= LONGEST:
            words = f"System and value together may have {LONGEST} characters."
            yield Issue(VALUE, words, f"Patient.identifier[{place}]", xds="")
    why = domains.unfeedable(primary.system)
    if why:
        yield Issue(
            CODE_INVALID, f"People cannot be fed under this domain: {why}.", "identifier", xds=""
        )
    for place, identifier in enumerate(carried):
        where = f"Patient.identifier[{place}].value"
        fault = domains.fault(identifier)
        if fault and (identifier == primary or _vouched(patient, place, identifier, domains)):
            yield Issue(VALUE, fault, where, xds="")
        elif doubt := domains.doubt(identifier):
            yield Issue(VALUE, doubt, where, xds="").warn()


def _vouched(
    patient: Mapping[str, Any], place: int, identifier: Identifier, domains: Domains
) -> bool:
    """Whether the source says of an NHS number that it was verified: then it cannot be malformed."""
    if identifier.system != NHS_NUMBER or domains.placeholder(identifier):
        return False
    return _verified(patient["identifier"][place])


def other_issuer(
    before: Mapping[str, Any], patient: Mapping[str, Any], primary: Identifier, domains: Domains
) -> Issue | None:
    """The conflict of two organisations that use one number of a system they share, as case numbers
    of the NHS are told apart by their assigner (domain digest §1.1, mrn); None where there is none.
    Without it the second organisation's patient would take the place of the first one's."""
    domain = domains.of(primary.system)
    if domain is None or domain.prefix or domain.scope != "organisation":
        return None
    was, now = (_issuer(_sent(p, primary, domains)) for p in (before, patient))
    if not was or not now or was == now:
        return None
    words = (
        f"This {domain.name} is another organisation's; feed yours under a system of its own, as "
        "local-patient-identifier/<ODS code> of the pack's namespace."
    )
    return Issue(CONFLICT, words, "identifier", xds="")


def _issuer(said: Mapping[str, Any]) -> str:
    named = (said.get("assigner") or {}).get("identifier") or {}
    return str(named.get("value") or "").upper()


def survivor(patient: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """`link.other` of the record that replaces this one, or None when the body is no merge."""
    for link in patient.get("link") or ():
        if link.get("type") == "replaced-by":
            other: Mapping[str, Any] = link.get("other") or {}
            return other
    return None


def _verified(said: Mapping[str, Any]) -> bool:
    codes = [
        coding.get("code")
        for extension in said.get("extension") or ()
        if extension.get("url") == VERIFICATION
        for coding in (extension.get("valueCodeableConcept") or {}).get("coding") or ()
        if coding.get("system") in STATUSES
    ]
    return bool(codes) and all(code == VERIFIED for code in codes)


def _sent(
    patient: Mapping[str, Any], identifier: Identifier, domains: Domains
) -> Mapping[str, Any]:
    for said in patient.get("identifier") or ():
        if domains.identifier(*parts(said)) == identifier:
            found: Mapping[str, Any] = said
            return found
    return {}


def _told(identifier: Identifier, said: Mapping[str, Any], domains: Domains) -> bytes:
    """The parameter that tells this number, as it will stand in every answer of ITI-83: an
    identifier, or a reference where it is another FHIR server's own id."""
    if identifier.system in domains.servers:
        reference = {"reference": f"{identifier.system}/{identifier.value}"}
        return orjson.dumps({"name": "targetId", "valueReference": reference})
    told: dict[str, Any] = {"system": identifier.system, "value": identifier.value}
    name = (said.get("assigner") or {}).get("display") or domains.assigner(identifier.system)
    if name:
        told["assigner"] = {"display": name}
    return orjson.dumps({"name": "targetIdentifier", "valueIdentifier": told})
