"""Who works here, for which organisations, and in which roles: Practitioner, PractitionerRole and
Organization as rows. Pure.

SMART App Launch's `fhirUser` is a Practitioner, which its own holder may always read; whoever looks
others up needs `user/` or `system/` scopes. Organisations and roles are those of the affinity pack.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from standards import balp
from standards.index import moments, references, strings, tokens
from standards.rows import Inclusion, Modifier, Needs, ParameterType, SearchParameter, Transaction

FHIR_USER = "fhirUser"
_CORE = "http://hl7.org/fhir/SearchParameter/"
_SEE = "SMART App Launch 2.2 fhirUser; FHIR R4 {}.html#search"
_MODIFIERS: Mapping[str, tuple[Modifier, ...]] = {
    "string": ("exact", "contains", "missing"),
    "token": ("not", "missing"),
    "reference": ("missing",),
    "date": ("missing",),
}


def _p(
    resource: str, name: str, kind: ParameterType, expression: str, words: str, *,
    definition: str = "", array: bool = True, targets: tuple[str, ...] = (),
) -> SearchParameter:  # fmt: skip
    return SearchParameter(
        name=name,
        type=kind,
        resource=resource,
        field=name,
        expression=f"{resource}.{expression}",
        see=_SEE.format(resource.lower()),
        array=array,
        modifiers=_MODIFIERS[kind],
        targets=targets,
        definition=_CORE + (definition or f"{resource}-{name}"),
        words=words,
    )


PRACTITIONER: tuple[SearchParameter, ...] = (
    _p("Practitioner", "identifier", "token", "identifier", "A registration with a professional body"),
    _p("Practitioner", "name", "string", "name", "Start of any part of the name"),
    _p("Practitioner", "family", "string", "name.family", "Start of the family name",
       definition="individual-family"),
    _p("Practitioner", "given", "string", "name.given", "Start of a given name",
       definition="individual-given"),
    _p("Practitioner", "active", "token", "active", "Whether the person still works here", array=False),
)  # fmt: skip
ROLE: tuple[SearchParameter, ...] = (
    _p("PractitionerRole", "practitioner", "reference", "practitioner", "Whose role it is",
       targets=("Practitioner",)),
    _p("PractitionerRole", "organization", "reference", "organization", "In which organisation",
       targets=("Organization",)),
    _p("PractitionerRole", "role", "token", "code", "Which role, as the affinity pack names it"),
    _p("PractitionerRole", "date", "date", "period", "When the role is held", array=False),
    _p("PractitionerRole", "active", "token", "active", "Whether the person still works here",
       array=False),
)  # fmt: skip
ORGANIZATION: tuple[SearchParameter, ...] = (
    _p("Organization", "identifier", "token", "identifier", "The organisation's code"),
    _p("Organization", "name", "string", "name", "Start of the name"),
    _p("Organization", "type", "token", "type", "The kind of organisation, as the affinity pack says"),
    _p("Organization", "active", "token", "active", "Whether it takes part", array=False),
)  # fmt: skip
PARAMETERS: Mapping[str, tuple[SearchParameter, ...]] = {
    "Practitioner": PRACTITIONER, "PractitionerRole": ROLE, "Organization": ORGANIZATION,
}  # fmt: skip
_INCLUDE = "FHIR R4 search.html#include"
_INCLUSIONS: Mapping[str, tuple[Inclusion, ...]] = {
    "PractitionerRole": (
        Inclusion("_include", "PractitionerRole", "practitioner", ("Practitioner",), _INCLUDE,
                  "Whose role it is"),
        Inclusion("_include", "PractitionerRole", "organization", ("Organization",), _INCLUDE,
                  "In which organisation it is held"),
    ),
}  # fmt: skip


def _read(kind: str, words: str, *own: str) -> Transaction:
    return Transaction(
        code="directory",
        name=f"Read {'an' if kind[0] == 'O' else 'a'} {kind}",
        service="auth",
        interaction="read",
        resource=kind,
        routes=(("GET", f"/{kind}/{{id}}"),),
        scope=Needs("r", kind, own=own),
        audit=balp.rest("R", "read", ("data",)),
        see=_SEE.format(kind.lower()).replace("#search", ""),
        words=words,
    )


def _find(kind: str, words: str) -> Transaction:
    return Transaction(
        code="directory",
        name=f"Find {kind}s",
        service="auth",
        interaction="search-type",
        resource=kind,
        routes=(("GET", f"/{kind}"), ("POST", f"/{kind}/_search")),
        scope=Needs("s", kind),
        audit=balp.rest("E", "search-type", ("query",)),
        see=_SEE.format(kind.lower()),
        search=PARAMETERS[kind],
        inclusions=_INCLUSIONS.get(kind, ()),
        words=words,
    )


TRANSACTIONS: tuple[Transaction, ...] = (
    _read("Practitioner", "Somebody who works here; one's own needs the scope `fhirUser` only.", FHIR_USER),
    _find("Practitioner", "Finds people who work here, those who have left included (`active=false`)."),
    _read("PractitionerRole", "A role that somebody holds in an organisation."),
    _find("PractitionerRole", "Finds who holds which role where."),
    _read("Organization", "An organisation of the community."),
    _find("Organization", "Finds organisations of the community."),
)  # fmt: skip


def indexed(resource: Mapping[str, Any], base: str) -> dict[str, Any]:
    """What a resource of one of these types is found by."""
    made: dict[str, Any] = {"active": tokens(resource.get("active"))}
    if resource["resourceType"] == "Practitioner":
        names = resource.get("name") or []
        made |= {
            "identifier": tokens(resource.get("identifier")),
            "family": strings(n.get("family") for n in names),
            "given": strings(g for n in names for g in n.get("given") or ()),
            "name": strings(t for n in names for t in _parts(n)),
        }
    elif resource["resourceType"] == "PractitionerRole":
        made |= {
            "practitioner": references(resource.get("practitioner"), base),
            "organization": references(resource.get("organization"), base),
            "role": tokens(resource.get("code")),
            "date": moments(resource.get("period")),
        }
    else:
        made |= {
            "identifier": tokens(resource.get("identifier")),
            "name": strings(resource.get("name")),
            "type": tokens(resource.get("type")),
        }
    return {k: v for k, v in made.items() if v}


def _parts(name: Mapping[str, Any]) -> list[str]:
    said = [
        name.get("text"),
        name.get("family"),
        *(name.get("given") or ()),
        *(name.get("prefix") or ()),
    ]
    return [one for one in said if one]
