"""MHD 4.2.4, Simplified Publish [ITI-105] and Generate Metadata [ITI-106]: their rows and rules. Pure.

Both publish one document by itself. What the DocumentReference must be beyond this is what ITI-65 asks
of a Minimal one (`standards/mhd_rules.py`), because both go the same way afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from standards import balp
from standards.mhd import IG, PROFILES
from standards.mhd_rules import ALWAYS, Rule
from standards.outcome import PROFILE, REQUIRED, Issue
from standards.rows import Needs, Operand, Transaction

SIMPLIFIED = f"{PROFILES}IHE.MHD.SimplifiedPublish.DocumentReference"
GENERATE_IN = f"{PROFILES}IHE.MHD.GenerateMetadata.Parameters.In"
AUTHOR_ORG = f"{PROFILES}ihe-authorOrg"
DATA = "content.attachment.data"

ITI_105 = Transaction(
    code="ITI-105",
    name="Simplified Publish",
    service="registry",
    interaction="create",
    resource="DocumentReference",
    routes=(("POST", "/DocumentReference"),),
    scope=Needs("c", "DocumentReference", ("ITI-105",)),
    audit=balp.ITI_105,
    see="MHD 2:3.105",
    body="resource",
    profiles=(SIMPLIFIED,),
    documents=(f"DocumentReference.{DATA}",),
    words="Publishes one document whose bytes are in content.attachment.data. The exchange makes the "
    "Binary and the SubmissionSet. The same document sent again by the same client is answered with 200 "
    "and changes nothing.",
)
ITI_106 = Transaction(
    code="ITI-106",
    name="Generate Metadata",
    service="registry",
    interaction="operation",
    resource="DocumentReference",
    routes=(("POST", "/DocumentReference/$generate-metadata"),),
    scope=Needs("c", "DocumentReference", ("ITI-106",)),
    narrows=True,
    audit=balp.ITI_106,
    see="MHD 2:3.106",
    body="parameters",
    operation="generate-metadata",
    operands=(
        Operand(
            "document",
            "in",
            1,
            "1",
            "Resource",
            "The document: a Bundle of type document, or a Binary of one, of a QuestionnaireResponse, "
            "of a CDA document or of a PDF",
        ),
        Operand(
            "DocumentReference",
            "out",
            1,
            "1",
            "Reference",
            "The DocumentReference that was made of it",
        ),
    ),
    definition=f"{IG}/OperationDefinition/generate-metadata",
    documents=("Parameters.parameter.resource.data",),
    words="Publishes one document that says itself what it is: a FHIR document (Bundle, or Binary), a "
    "QuestionnaireResponse, a CDA document or a PDF with metadata, the last three in a Binary.",
)
TRANSACTIONS: tuple[Transaction, ...] = (ITI_105, ITI_106)


def is_only_current(_: Mapping[str, Any], value: Any) -> str:
    """Pattern `current`."""
    return "" if value == "current" else "A document is published as current."


def is_not_replacing(_: Mapping[str, Any], relation: Any) -> str:
    """The option has no Replace: the other side of a replacement is a PATCH, which only ITI-65 has
    (digest §0.3 row 6)."""
    if relation.get("code") != "replaces":
        return ""
    return "Simplified Publish does not replace; send the new document by ITI-65."


_SEE = "MHD 4.2.4 SimplifiedPublish.DocumentReference"
RULES: tuple[Rule, ...] = (
    Rule("DocumentReference", "subject", _SEE, ALWAYS, 1,
         words="Name the Patient the document is about in subject."),
    Rule("DocumentReference", "status", _SEE, check=is_only_current),
    Rule("DocumentReference", "identifier(entryUUID)", _SEE, most=0),
    Rule("DocumentReference", "relatesTo", _SEE, check=is_not_replacing),
    Rule("DocumentReference", DATA, _SEE, ALWAYS,
         words="The document itself comes as base64 in content.attachment.data."),
    Rule("DocumentReference", "content.attachment.url", _SEE, most=0),
)  # fmt: skip


def asked(body: Mapping[str, Any]) -> tuple[str, Mapping[str, Any], list[Issue]]:
    """The document of a structurally legal Parameters [ITI-106]: its FHIRPath, the Binary or Bundle, and
    everything in which the body breaks GenerateMetadata.Parameters.In (digest §3.5)."""
    issues: list[Issue] = []
    found: list[tuple[str, Mapping[str, Any]]] = []
    for n, parameter in enumerate(body.get("parameter") or ()):
        where = f"Parameters.parameter[{n}]"
        if parameter.get("name") != "document":
            words = "This operation takes one parameter, named document."
            issues.append(Issue(PROFILE, words, f"{where}.name"))
            continue
        if found:
            issues.append(Issue(PROFILE, "Give one document only.", where))
        issues += _form(parameter, where)
        found.append((f"{where}.resource", parameter.get("resource") or {}))
    if not found:
        words = "Give the document: a parameter named document that holds a Binary or a Bundle."
        issues.append(Issue(REQUIRED, words, "Parameters.parameter"))
    place, resource = found[0] if found else ("Parameters.parameter[0].resource", {})
    return place, resource, issues


def _form(parameter: Mapping[str, Any], where: str) -> Iterator[Issue]:
    for name in parameter:
        if name.startswith("value") or name == "part":
            yield Issue(PROFILE, "The document is a resource, no value or part.", f"{where}.{name}")
    resource = parameter.get("resource")
    if resource is None:
        yield Issue(REQUIRED, "Give the document as a Binary or a Bundle.", f"{where}.resource")
        return
    kind = resource.get("resourceType")
    if kind not in ("Binary", "Bundle"):
        words = f"A {kind} is no document by itself; put its JSON or XML into a Binary."
        yield Issue(PROFILE, words, f"{where}.resource")
    elif kind == "Binary" and not resource.get("data"):
        yield Issue(REQUIRED, "This Binary has no data.", f"{where}.resource.data")
