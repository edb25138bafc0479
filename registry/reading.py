"""PURE. What a document says of itself, and how it becomes metadata [ITI-106].

A reader (`from_fhir_document.py`, `from_questionnaire.py`, `from_cda.py`, `from_pdf.py`) gives a
`Reading` in the document's own words; `completed` makes the DocumentReference of it, with what the
community has agreed about documents of that type.

    bytes ──reader──► Reading ──completed, with the pack──► DocumentReference ──► single.py
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from affinity.pack import DocumentType, Pack
from standards.lens import at
from standards.mhd import URI
from standards.outcome import REQUIRED, UNRESOLVED, Issue

Json = Mapping[str, Any]
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
_RANKS = "ULMNRV"
_NOISE = ("id", "extension", "modifierExtension", "reference", "text", "meta", "contained", "div")
_KEPT: Mapping[str, tuple[str, ...]] = {
    "Patient": ("identifier", "name", "gender", "birthDate", "address"),
    "Practitioner": ("identifier", "name"),
    "PractitionerRole": ("identifier", "code", "specialty"),
    "Organization": ("identifier", "name"),
    "Device": ("identifier", "deviceName"),
}


@dataclass(frozen=True, slots=True)
class Related:
    """A document that this one replaces, appends, transforms or signs, by its identifier."""

    code: str
    system: str
    value: str
    where: str


@dataclass(slots=True)
class Reading:
    """What one document says. `elements` are those of a DocumentReference, `attachment` those of its
    attachment, `patient` the Patient it describes, `subject` a reference where it only names one.
    `format` is the pack's short name of how it is written, `origin` where in it each element stands."""

    format: str
    elements: dict[str, Any] = field(default_factory=dict)
    attachment: dict[str, Any] = field(default_factory=dict)
    contained: list[dict[str, Any]] = field(default_factory=list)
    patient: Json | None = None
    subject: Json | None = None
    related: list[Related] = field(default_factory=list)
    origin: dict[str, str] = field(default_factory=dict)
    issues: list[Issue] = field(default_factory=list)

    def say(self, name: str, value: Any, where: str) -> None:
        """Note an element (`type`, `context.period`, `attachment.title`) unless there is nothing to say."""
        if value in (None, "", [], {}):
            return
        first, _, rest = name.partition(".")
        if first == "attachment":
            self.attachment[rest] = value
            self.origin[f"content[0].attachment.{rest}"] = where
            return
        if rest:
            self.elements.setdefault(first, {})[rest] = value
        else:
            self.elements[first] = value
        self.origin[name] = where

    def hold(self, resource: Json, name: str) -> dict[str, str]:
        """Contain what a registry needs of a person or organisation; the reference to it."""
        kind = str(resource["resourceType"])
        kept = {k: bare(resource[k]) for k in _KEPT[kind] if k in resource}
        made = {"resourceType": kind, "id": name, **{k: v for k, v in kept.items() if v}}
        self.contained.append(made)
        return {"reference": f"#{name}"}


def holds(resource: Json | None) -> bool:
    """Whether `Reading.hold` takes it."""
    return resource is not None and resource.get("resourceType") in _KEPT


def bare(value: Any) -> Any:
    """A value without extensions, narrative and references into the document it is taken from."""
    if isinstance(value, Mapping):
        made = {k: bare(v) for k, v in value.items() if k not in _NOISE and k[0] != "_"}
        if "text" in value and isinstance(value["text"], str):  # of a name, an address, a concept
            made["text"] = value["text"]
        return {k: v for k, v in made.items() if v not in ({}, [], None)}
    if isinstance(value, list):
        return [m for m in map(bare, value) if m not in ({}, [], None)]
    return value


def logical(reference: Json, resource: Json | None = None) -> dict[str, Any]:
    """A reference by identifier and name, for what is not taken along."""
    made = {k: bare(reference[k]) for k in ("type", "identifier", "display") if k in reference}
    if resource is not None:
        made.setdefault("type", resource["resourceType"])
        identifiers, names = at(resource, "identifier"), at(resource, "name")
        if identifiers:
            made.setdefault("identifier", bare(identifiers[0]))
        if names:
            made.setdefault("display", shown_name(names[0]))
    return {k: v for k, v in made.items() if v}


def shown_name(name: Any) -> str:
    """A name in one line."""
    if isinstance(name, str):
        return name
    parts = [*at(name, "given"), name.get("family")]
    return str(name.get("text") or " ".join(str(p) for p in parts if p))


# -- with what the community has agreed ------------------------------------------------------------


def completed(reading: Reading, pack: Pack, *, media: str, digest: bytes) -> dict[str, Any]:
    """The DocumentReference of a reading, its `content[0].attachment` without hash, size and url.

    The type is the community's: a code of its own, or one that it has mapped (`foreign_types.csv`).
    Category, confidentiality and labels of that type are the least that applies; what the document asks
    for may only be stricter. Optional codes that the community does not know are left out: the document
    still says them. A document without an identifier of its own has one made from its bytes.
    """
    said = reading.elements
    kind = _type(reading, pack)
    made: dict[str, Any] = {"resourceType": "DocumentReference"}
    if reading.contained:
        made["contained"] = reading.contained
    own = {"system": URI, "value": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest.hex())}"}
    made |= {"masterIdentifier": said.get("masterIdentifier") or own, "status": "current"}
    if said.get("type"):
        made["type"] = said["type"]
    category = _known(said.get("category"), pack, "category")
    if kind is not None:
        category = category or _concept(
            f"{pack.namespace}/CodeSystem/document-class", kind.category
        )
    if category:
        made["category"] = [category]
    if reading.subject:
        made["subject"] = dict(reading.subject)
    made |= {k: said[k] for k in ("author", "authenticator", "custodian") if k in said}
    made["securityLabel"] = _labels(said.get("securityLabel") or [], kind, pack)
    attachment = {"contentType": media, "language": pack.language, **reading.attachment}
    if kind is not None:
        attachment.setdefault("title", kind.display)
    system, code = pack.formats[reading.format]
    made["content"] = [{"attachment": attachment, "format": {"system": system, "code": code}}]
    context = dict(said.get("context") or {})
    for name, value_set in (("facilityType", "facility"), ("practiceSetting", "setting")):
        concept = _known(context.pop(name, None), pack, value_set)
        if concept:
            context[name] = concept
    if reading.patient is not None:
        held = reading.hold(reading.patient, "source")
        made["contained"] = reading.contained
        context["sourcePatientInfo"] = held
    if context:
        made["context"] = context
    return made


def _type(reading: Reading, pack: Pack) -> DocumentType | None:
    """The community's document type; its own code is put before the document's."""
    system = f"{pack.namespace}/CodeSystem/document-type"
    concept = reading.elements.get("type") or {}
    codings = list(concept.get("coding") or ())
    for coding in codings:
        code = str(coding.get("code"))
        if coding.get("system") == system and code in pack.document_types:
            return pack.document_types[code]
    for coding in codings:
        mapped = pack.foreign_types.get((coding.get("system") or "", coding.get("code") or ""))
        if mapped is not None:
            ours = {
                "system": system,
                "code": mapped,
                "display": pack.document_types[mapped].display,
            }
            reading.elements["type"] = {**concept, "coding": [ours, *codings]}
            return pack.document_types[mapped]
    if not codings:
        words = "The document does not say in a code what kind of document it is."
        reading.issues.append(Issue(REQUIRED, words, reading.origin.get("type", "")))
    return None  # a code that nobody has mapped is refused as every such code is


def _concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def _known(concepts: Any, pack: Pack, value_set: str) -> Any:
    allowed = pack.value_set(value_set)
    for concept in concepts if isinstance(concepts, list) else [concepts] if concepts else []:
        if any(allowed.contains(c.get("system"), c.get("code")) for c in at(concept, "coding")):
            return concept
    return None


def _labels(said: Sequence[Json], kind: DocumentType | None, pack: Pack) -> list[dict[str, Any]]:
    """One confidentiality, the highest of the document's and its type's, and every other label once."""
    codings = [c for label in said for c in at(label, "coding")]
    asked = [str(c.get("code")) for c in codings if c.get("system") == CONFIDENTIALITY]
    strange = [code for code in asked if code not in _RANKS]
    ranks = [code for code in asked if code in _RANKS]
    ranks.append(kind.confidentiality if kind is not None else "N")
    highest = max(ranks, key=_RANKS.index)
    others = [
        (c.get("system") or "", c.get("code") or "")
        for c in codings
        if c.get("system") != CONFIDENTIALITY
    ]
    wanted = set(kind.labels) if kind is not None else set()
    others += [pair for pair in pack.value_set("label").codes if pair[1] in wanted]
    pairs = [(CONFIDENTIALITY, c) for c in [highest, *strange]] + others
    return [_concept(system, code) for system, code in dict.fromkeys(pairs)]


def unnamed(reading: Reading) -> Iterable[Issue]:
    """A document that names nobody cannot be filed."""
    if reading.patient is not None:
        named = [i for i in at(reading.patient, "identifier") if i.get("system") and i.get("value")]
        if not named:
            words = "The patient in the document has no identifier with system and value."
            yield Issue(REQUIRED, words, reading.origin.get("subject", ""))
    elif reading.subject is None:
        words = (
            "The document does not say whom it is about; name the Patient in it, or in "
            "Binary.securityContext, or publish it by ITI-105."
        )
        yield Issue(REQUIRED, words, reading.origin.get("subject", ""))


def unfiled(related: Related, found: int) -> Issue:
    """The finding on a related document of which `found` are current here, when it is not one."""
    words = (
        f"It {related.code} a document of which {found or 'none'} "
        f"{'are' if found > 1 else 'is'} current here under that identifier; there must be one."
    )
    return Issue(UNRESOLVED, words, related.where)
