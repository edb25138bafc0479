"""The CapabilityStatement, derived from the rows. Pure.

MHD 1:33 and 2:3.65-68, PIXm 2:3.83/104, PDQm 2:3.78: which requirement statements each actor
instantiates, and what a server of them must declare.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from standards import mhd, pmir
from standards.rows import Public, Transaction, Unaudited
from standards.search import COMMON

VERSION = "0.1.0"
DATE = "2026-11-25"
_ITI = "https://profiles.ihe.net/ITI"
_MHD = f"{_ITI}/MHD/CapabilityStatement/IHE.MHD"


@dataclass(frozen=True, slots=True)
class Actor:
    """A requirement statement of IHE, and what must be served to claim it: these transactions, and,
    where an option is about one, a profile or a search parameter."""

    canonical: str
    guide: str
    codes: tuple[str, ...]
    profile: str = ""
    parameter: str = ""

    def played(self, rows: Collection[Transaction]) -> bool:
        """Whether these rows are all that it asks for."""
        return (
            {r.code for r in rows}.issuperset(self.codes)
            and (not self.profile or any(self.profile in r.profiles for r in rows))
            and (
                not self.parameter or any(p.name == self.parameter for r in rows for p in r.search)
            )
        )


_GUIDES = {
    "MHD": f"{_ITI}/MHD/ImplementationGuide/ihe.iti.mhd",
    "PIXm": f"{_ITI}/PIXm/ImplementationGuide/ihe.iti.pixm",
    "PDQm": f"{_ITI}/PDQm/ImplementationGuide/ihe.iti.pdqm",
    "PMIR": f"{_ITI}/PMIR/ImplementationGuide/ihe.iti.pmir",
}
ACTORS: tuple[Actor, ...] = (
    Actor(f"{_MHD}.DocumentRecipient", "MHD", ("ITI-65",), mhd.MINIMAL_BUNDLE),
    Actor(f"{_MHD}.DocumentRecipient.Comprehensive", "MHD", ("ITI-65",), mhd.COMPREHENSIVE_BUNDLE),
    Actor(f"{_MHD}.DocumentRecipient.UnContained", "MHD", ("ITI-65",), mhd.UNCONTAINED_BUNDLE),
    Actor(f"{_MHD}.DocumentRecipient.Fdoc", "MHD", ("ITI-65",)),
    Actor(f"{_MHD}.DocumentRecipient.Simplified", "MHD", ("ITI-65", "ITI-105")),
    Actor(f"{_MHD}.DocumentRecipient.Generate", "MHD", ("ITI-65", "ITI-106")),
    Actor(f"{_MHD}.DocumentResponder", "MHD", ("ITI-66", "ITI-67", "ITI-68")),
    Actor(f"{_MHD}.DocumentResponder.Target", "MHD", ("ITI-66", "ITI-67", "ITI-68"),
          parameter="targetCommunityIdList"),
    Actor(f"{_ITI}/PIXm/CapabilityStatement/IHE.PIXm.Manager", "PIXm", ("ITI-83", "ITI-104")),
    Actor(f"{_ITI}/PDQm/CapabilityStatement/IHE.PDQm.PatientDemographicsSupplier", "PDQm", ("ITI-78",)),
    Actor(f"{_ITI}/PDQm/CapabilityStatement/IHE.PDQm.PatientDemographicsSupplierMatch", "PDQm",
          ("ITI-78", "ITI-119")),
    Actor(pmir.REGISTRY, "PMIR", ("ITI-93", "ITI-94")),
)  # fmt: skip

METADATA = Transaction(
    code="capabilities",
    name="Capabilities",
    service="chassis",
    interaction="capabilities",
    resource="",
    routes=(("GET", "/metadata"),),
    scope=Public("FHIR R4 http.html#capabilities: a client reads it before it can ask for a token"),
    audit=Unaudited("says nothing about any person"),
    see="FHIR R4 http.html#capabilities",
    parameters=("mode",),
)

_SECURITY_SERVICE = "http://terminology.hl7.org/CodeSystem/restful-security-service"
_IHE_SECURITY = "http://profiles.ihe.net/fhir/ihe.securityTypes/CodeSystem/securityTypes"
_CONDITIONAL = {"update": "conditionalUpdate", "delete": "conditionalDelete"}


def statement(
    rows: Iterable[Transaction], *, base: str, auth: str, door: str = ""
) -> dict[str, Any]:
    """The CapabilityStatement (JSON-able dict) of a server at `base` whose OAuth lives at `auth`; of
    another of its doors when that is named, which claims no IHE actor."""
    every = [r for r in rows if r.surface == "fhir" and r.door == door]
    if door:
        base += door
    whole = [r for r in every if _of_system(r)]
    served = [r for r in every if not _of_system(r)]
    actors = [a for a in ACTORS if a.played(every)]
    kinds = sorted({r.resource for r in served if r.resource and r.interaction != "transaction"})
    rest: dict[str, Any] = {
        "mode": "server",
        "documentation": (
            "Every interaction needs a bearer token and is audited, but for this statement and the "
            "definitions that it names."
        ),
        "security": _security(auth),
        "resource": [_resource(kind, [r for r in served if r.resource == kind]) for kind in kinds],
    }
    transactions = [r for r in served if r.interaction == "transaction"]
    if transactions:
        rest["interaction"] = [
            {"code": "transaction", "documentation": f"{r.code} {r.name}"} for r in transactions
        ]
    if whole:
        rest["operation"] = [{"name": r.operation, "definition": r.definition} for r in whole]
    claims: dict[str, Any] = {} if door else {"instantiates": [a.canonical for a in actors]}
    guides: dict[str, Any] = {}
    if not door:
        guides["implementationGuide"] = list(dict.fromkeys(_GUIDES[a.guide] for a in actors))
    return {
        "resourceType": "CapabilityStatement",
        "url": f"{base}/metadata",
        "version": VERSION,
        "name": "Throughline",
        "title": "Throughline: a longitudinal record and document registry",
        "status": "active",
        "date": DATE,
        "kind": "instance",
        **claims,
        "software": {"name": "Throughline", "version": VERSION},
        "implementation": {"description": "Throughline", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "application/fhir+xml", "json", "xml"],
        **guides,
        "rest": [rest],
    } | _messaging(whole, base)


def _of_system(row: Transaction) -> bool:
    """Whether an operation belongs to the whole server and to no resource type."""
    return row.interaction == "operation" and row.routes[0][1].startswith("/$")


def _messaging(rows: list[Transaction], base: str) -> dict[str, Any]:
    """What messages are taken and sent (PMIR 1:49: the Registry does both)."""
    if pmir.ITI_93 not in rows:
        return {}
    protocol = {
        "system": "http://terminology.hl7.org/CodeSystem/message-transport",
        "code": "http",
    }
    return {
        "messaging": [
            {
                "endpoint": [
                    {"protocol": protocol, "address": f"{base}{path}"}
                    for _, path in pmir.ITI_93.routes
                ],
                "reliableCache": 30 * 24 * 60,
                "supportedMessage": [
                    {"mode": "receiver", "definition": pmir.FEED},
                    {"mode": "sender", "definition": pmir.FEED},
                ],
            }
        ]
    }


def _security(auth: str) -> dict[str, Any]:
    """SMART's and IUA's service codes, and SMART's extension for clients that read no other discovery
    (SMART App Launch 2.2 conformance; IUA 3.72; security digest 1.2, 3.1)."""
    uris = {
        "authorize": f"{auth}/authorize",
        "token": f"{auth}/token",
        "introspect": f"{auth}/introspect",
        "revoke": f"{auth}/revoke",
        "manage": f"{auth}/apps",
    }
    return {
        "cors": True,
        "service": [
            {"coding": [{"system": _SECURITY_SERVICE, "code": "SMART-on-FHIR"}]},
            {"coding": [{"system": _IHE_SECURITY, "code": "IUA"}]},
        ],
        "extension": [
            {
                "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
                "extension": [{"url": name, "valueUri": uri} for name, uri in uris.items()],
            }
        ],
    }


def _resource(kind: str, rows: list[Transaction]) -> dict[str, Any]:
    said: dict[str, Any] = {"type": kind}
    profiles = [p for r in rows for p in r.profiles]
    if profiles:
        said["supportedProfile"] = list(dict.fromkeys(profiles))
    interactions: dict[str, list[Transaction]] = {}
    for row in rows:
        if row.interaction != "operation":
            interactions.setdefault(row.interaction, []).append(row)
    said["interaction"] = [
        {"code": code, "documentation": "; ".join(f"{r.code} {r.name}" for r in made)}
        for code, made in interactions.items()
    ]
    said["versioning"] = "versioned" if "vread" in interactions else "no-version"
    said["readHistory"] = "vread" in interactions
    for row in rows:
        if "identifier" in row.parameters and row.interaction == "update":
            said |= {"conditionalCreate": True, "conditionalUpdate": True}
        if "identifier" in row.parameters and row.interaction == "delete":
            said["conditionalDelete"] = "single"
    parameters = {p.name: p for r in rows for p in r.search}
    if parameters:
        parameters = {p.name: p for p in COMMON} | parameters
        said["searchParam"] = [
            _parameter(name, p.type, p.definition, p.words)
            for p in parameters.values()
            for name in (p.name, *p.listed_as)
        ]
    for name, by in (("searchInclude", "_include"), ("searchRevInclude", "_revinclude")):
        offered = [i.said for r in rows for i in r.inclusions if i.by == by]
        if offered:
            said[name] = offered
    operations = [r for r in rows if r.interaction == "operation"]
    if operations:
        # PIXm writes the name with its dollar sign and PDQm without (PIX digest §1.1): list both.
        said["operation"] = [
            {"name": name, "definition": r.definition}
            for r in operations
            for name in (r.operation, f"${r.operation}")
        ]
    return said


def _parameter(name: str, kind: str, definition: str, words: str) -> Mapping[str, str]:
    said = {"name": name, "type": kind}
    if definition:
        said["definition"] = definition
    if words:
        said["documentation"] = words
    return said
