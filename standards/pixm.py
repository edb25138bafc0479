"""PIXm 3.1.0: the rows of ITI-104 and ITI-83, of pix's inner doors, and what a fed Patient must be. Pure.

Checks hand back every issue at once, each with its FHIRPath. Patient issues carry no XDS error code
(`xds=""`): ITI TF-3 Table 4.2.4.1-2 speaks about documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from standards import balp
from standards.outcome import PROFILE, REQUIRED, ErrorKind, Issue
from standards.rows import Needs, Operand, Transaction, Unaudited

IG = "https://profiles.ihe.net/ITI/PIXm"
PATIENT_PROFILE = f"{IG}/StructureDefinition/IHE.PIXm.Patient"
OPERATION = f"{IG}/OperationDefinition/IHE.PIXm.pix"
MANAGER = f"{IG}/CapabilityStatement/IHE.PIXm.Manager"

DATA_ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
MAIDEN_NAME = "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName"

# The three diagnostics of ITI-83, word for word (PIXm 2:3.83.4.2.2); details.text says the same,
# because the specification's prose and its example disagree about the place.
SOURCE_UNKNOWN = "sourceIdentifier Patient Identifier not found"
SOURCE_DOMAIN_UNKNOWN = "sourceIdentifier Assigning Authority not found"
TARGET_DOMAIN_UNKNOWN = "targetSystem not found"

ITI_83 = Transaction(
    code="ITI-83",
    name="Mobile Patient Identifier Cross-reference Query",
    service="pix",
    interaction="operation",
    resource="Patient",
    routes=(("GET", "/Patient/$ihe-pix"), ("POST", "/Patient/$ihe-pix")),
    scope=Needs("s", "Patient", ("ITI-83",)),
    narrows=True,
    audit=balp.ITI_83,
    see="PIXm 2:3.83",
    body="parameters",
    parameters=("sourceIdentifier", "targetSystem"),
    operation="ihe-pix",
    operands=(
        Operand(
            "sourceIdentifier", "in", 1, "1", "string", "The identifier that is known", "token"
        ),
        Operand("targetSystem", "in", 0, "*", "string", "Domains to answer in; none: all", "uri"),
        Operand("_format", "in", 0, "1", "string", "Media type of the answer", "token"),
        Operand(
            "targetIdentifier", "out", 0, "*", "Identifier", "An identifier of the same person"
        ),
        Operand("targetId", "out", 0, "*", "Reference", "A Patient of the same person"),
    ),
    definition=OPERATION,
    profiles=(PATIENT_PROFILE,),
    max_body=64 * 1024,
    words="Translates one identifier (or `serverBase|Patient/id`) into the others of the same person.",
)
ITI_104 = Transaction(
    code="ITI-104",
    name="Patient Identity Feed FHIR",
    service="pix",
    interaction="update",
    resource="Patient",
    routes=(("PUT", "/Patient"),),
    scope=Needs("u", "Patient", ("ITI-104",)),
    audit=balp.ITI_104_UPDATE,
    see="PIXm 2:3.104",
    body="resource",
    parameters=("identifier",),
    profiles=(PATIENT_PROFILE,),
    max_body=1024 * 1024,
    words=(
        "Adds or revises a person by its source's identifier; a body with a `replaced-by` link "
        "resolves a duplicate."
    ),
)
ITI_104_REMOVE = Transaction(
    code="ITI-104",
    name="Patient Identity Feed FHIR: remove",
    service="pix",
    interaction="delete",
    resource="Patient",
    routes=(("DELETE", "/Patient"),),
    scope=Needs("d", "Patient", ("ITI-104",)),
    audit=balp.ITI_104_DELETE,
    see="PIXm 2:3.104.4.4 (Remove Patient option)",
    parameters=("identifier",),
    profiles=(PATIENT_PROFILE,),
    words="Removes the person that a source fed under this identifier.",
)

WHO = Transaction(
    code="who",
    name="Who is this",
    service="pix",
    interaction="internal",
    resource="",
    routes=(("POST", "/internal/pix/who"),),
    scope=Needs("", "", ("throughline.internal",)),
    audit=Unaudited("asked by our own services while they serve a request that is audited"),
    see="docs/decisions/0005-near-and-far-neighbours.md",
    body="json",
    surface="internal",
    words='{"asked": [["id", "…"], ["identifier", "system", "value"]], "viewer": {"client", "role", '
    '"organisation", "purpose"} or null} gives {"who": [… or null]}: whom this viewer may know of.',
)
PATIENTS = Transaction(
    code="patients",
    name="Patients as a caller may see them",
    service="pix",
    interaction="internal",
    resource="",
    routes=(("POST", "/internal/pix/patients"),),
    scope=Needs("", "", ("throughline.internal",)),
    audit=Unaudited("asked by our own services while they serve a request that is audited"),
    see="docs/decisions/0005-near-and-far-neighbours.md",
    body="json",
    surface="internal",
    words='{"ids": […], "permit": {"by", "narrow", "version"}, "viewer": {"client", "role", "organisation", '
    '"purpose"}} gives {"patients": [their JSON as text]}: those within the permit and sight of the viewer.',
)
FEEDS = Transaction(
    code="feeds",
    name="Which domains a client feeds",
    service="pix",
    interaction="internal",
    resource="",
    routes=(("POST", "/internal/pix/feeds"),),
    scope=Needs("", "", ("throughline.internal",)),
    audit=Unaudited("asked by our own services, and about a client and nobody's record"),
    see="docs/decisions/0027-numbers-in-documents.md",
    body="json",
    surface="internal",
    words='{"client": its id} gives {"feeds": [systems of the domains that it is the source of]}.',
)
FIND = Transaction(
    code="find-people",
    name="People for a choice",
    service="pix",
    interaction="internal",
    resource="",
    routes=(("POST", "/internal/pix/find"),),
    scope=Needs("", "", ("throughline.internal",)),
    audit=Unaudited("the service that shows them to somebody audits the search and each of them"),
    see="docs/decisions/0005-near-and-far-neighbours.md; SMART App Launch 2.2 launch/patient",
    body="json",
    surface="internal",
    words='{"asked": [["family", "…"], …] (parameters of ITI-78), "viewer": {"client", "role", '
    '"organisation", "purpose"}} gives {"patients": [their JSON as text], "more"}: one for each person.',
)
HAPPENED = Transaction(
    code="happened",
    name="What happened to records",
    service="pix",
    interaction="internal",
    resource="",
    routes=(("POST", "/internal/pix/happened"),),
    scope=Needs("", "", ("throughline.internal",)),
    audit=Unaudited("asked by our own services, which audit what they do upon it"),
    see="docs/decisions/0022-subjects-after-a-merge.md",
    body="json",
    surface="internal",
    words='{"since": event id or its beginning} gives {"happened": [[event id, record], …]}: merges and '
    "revisions from there on, in their order, at most 1,000.",
)
SOURCE = Transaction(
    code="source",
    name="Assign a domain to its source",
    service="pix",
    interaction="internal",
    resource="",
    routes=(("POST", "/internal/pix/source"),),
    scope=Needs("", "", ("throughline.internal",)),
    audit=Unaudited("an operator's act at the command line; the assignment itself is stored"),
    see="PIXm 2:3.104 (one Source per domain)",
    body="json",
    surface="internal",
    words='{"system": "…", "client": "…"} makes the client the Source of the domain.',
)

TRANSACTIONS: tuple[Transaction, ...] = (
    ITI_83,
    ITI_104,
    ITI_104_REMOVE,
    WHO,
    PATIENTS,
    FIND,
    HAPPENED,
    FEEDS,
    SOURCE,
)


def check(patient: Mapping[str, Any]) -> tuple[Issue, ...]:
    """Everything in which a structurally legal Patient breaks IHE.PIXm.Patient and its parent
    IHE.PDQm.Patient (PIXm 2:3.104.4.1.2; PDQm 3.2.0)."""
    plain = (*_identifiers(patient), *_names(patient))
    if patient.keys().isdisjoint(_SELDOM):
        return plain
    return (*_modifiers(patient), *plain, *_links(patient), *_extensions(patient))


# The elements that a rule looks at, besides identifiers and names, which every Patient has.
_SELDOM = frozenset(
    ("implicitRules", "modifierExtension", "contact", "communication", "link", "extension")
)


def _issue(kind: ErrorKind, words: str, where: str) -> Issue:
    return Issue(kind, words, where, xds="")


def _modifiers(patient: Mapping[str, Any]) -> Iterator[Issue]:
    if "implicitRules" in patient:
        yield _issue(
            PROFILE,
            "implicitRules is not allowed; leave it out.",
            "Patient.implicitRules",
        )
    if patient.get("modifierExtension"):
        yield _issue(
            PROFILE,
            "modifierExtension is not allowed: it could change the meaning of what is read here.",
            "Patient.modifierExtension",
        )
    for name in ("contact", "communication", "link"):
        for place, item in enumerate(patient.get(name) or ()):
            if item.get("modifierExtension"):
                yield _issue(
                    PROFILE,
                    "This modifierExtension is not understood here; leave it out.",
                    f"Patient.{name}[{place}].modifierExtension",
                )


def _identifiers(patient: Mapping[str, Any]) -> Iterator[Issue]:
    found = patient.get("identifier") or ()
    if not found:
        yield _issue(
            REQUIRED,
            "At least one identifier is needed: the one that your system gave.",
            "Patient.identifier",
        )
    for place, identifier in enumerate(found):
        for part in ("system", "value"):
            if not str(identifier.get(part) or "").strip():
                yield _issue(
                    REQUIRED,
                    f"Every identifier needs a {part}.",
                    f"Patient.identifier[{place}].{part}",
                )


def _names(patient: Mapping[str, Any]) -> Iterator[Issue]:
    names = patient.get("name") or ()
    if not names:
        yield _issue(
            REQUIRED,
            "A name is needed; for someone without a known name send a name that holds only a "
            "data-absent-reason extension.",
            "Patient.name",
        )
    for place, name in enumerate(names):
        said = any(name.get(part) for part in ("family", "given", "text"))
        absent = any(e.get("url") == DATA_ABSENT for e in name.get("extension") or ())
        if said and absent:
            yield _issue(
                PROFILE,
                "A name that is given cannot also be absent: remove the data-absent-reason extension "
                "or the name (iti-pdqm-patname).",
                f"Patient.name[{place}]",
            )
        if not said and not absent:
            yield _issue(
                PROFILE,
                "A name needs family, given or text, or a data-absent-reason extension in their place "
                "(iti-pdqm-patname).",
                f"Patient.name[{place}]",
            )


def _links(patient: Mapping[str, Any]) -> Iterator[Issue]:
    links = patient.get("link") or ()
    if links and "active" not in patient:
        yield _issue(
            PROFILE,
            "A Patient with a link must say whether it is active (iti-pdqm-linkstatus).",
            "Patient.active",
        )
    replacing = [n for n, link in enumerate(links) if link.get("type") == "replaced-by"]
    if replacing and patient.get("active") is True:
        yield _issue(
            PROFILE,
            "A Patient that is replaced must have active=false.",
            "Patient.active",
        )
    for extra in replacing[1:]:
        yield _issue(
            PROFILE,
            "A Patient can be replaced by one other only.",
            f"Patient.link[{extra}]",
        )
    for place in replacing[:1]:
        other = links[place].get("other") or {}
        named = other.get("identifier") or {}
        if not other.get("reference") and not (named.get("system") and named.get("value")):
            yield _issue(
                REQUIRED,
                "Name the survivor by other.identifier with system and value, or by other.reference.",
                f"Patient.link[{place}].other",
            )


def _extensions(patient: Mapping[str, Any]) -> Iterator[Issue]:
    places = [
        place
        for place, extension in enumerate(patient.get("extension") or ())
        if extension.get("url") == MAIDEN_NAME
    ]
    for extra in places[1:]:
        yield _issue(
            PROFILE,
            "Mother's maiden name may be given once.",
            f"Patient.extension[{extra}]",
        )
