"""MHD 4.2.4: the rows of ITI-65, ITI-66 and ITI-67, their search parameters and canonical names. Pure.

What a submission must be is in `standards/mhd_rules.py` (its resources) and `standards/mhd_bundle.py`
(the Bundle around them); ITI-68 is in `standards/mhd_retrieve.py`.
"""

from __future__ import annotations

from dataclasses import replace

from standards import balp
from standards.rows import (
    Inclusion,
    Modifier,
    Needs,
    ParameterType,
    SearchParameter,
    Transaction,
    Unaudited,
)

IG = "https://profiles.ihe.net/ITI/MHD"
PROFILES = f"{IG}/StructureDefinition/"
LIST_TYPES = f"{IG}/CodeSystem/MHDlistTypes"
IDENTIFIER_TYPES = f"{IG}/CodeSystem/IHE.MHD.MHDIdentifierType"
DESIGNATION_TYPE = f"{PROFILES}ihe-designationType"
SOURCE_ID = f"{PROFILES}ihe-sourceId"
INTENDED_RECIPIENT = f"{PROFILES}ihe-intendedRecipient"
AUTHOR_ORG = f"{PROFILES}ihe-authorOrg"
HOME_COMMUNITY = f"{PROFILES}ihe-HomeCommunityId"
URI = "urn:ietf:rfc:3986"

MINIMAL_BUNDLE = f"{PROFILES}IHE.MHD.Minimal.ProvideBundle"
UNCONTAINED_BUNDLE = f"{PROFILES}IHE.MHD.UnContained.Comprehensive.ProvideBundle"
COMPREHENSIVE_BUNDLE = f"{PROFILES}IHE.MHD.Comprehensive.ProvideBundle"

DOCUMENT_STATUS = "http://hl7.org/fhir/document-reference-status"
LIST_STATUS = "http://hl7.org/fhir/list-status"
_CORE = "http://hl7.org/fhir/SearchParameter/"
_CLAUSE = {"DocumentReference": "MHD 2:3.67.4.1.2.1", "List": "MHD 2:3.66.4.1.2.1"}


def _parameter(
    resource: str,
    name: str,
    type_: ParameterType,
    expression: str,
    words: str,
    *,
    modifiers: tuple[Modifier, ...] = (),
    targets: tuple[str, ...] = (),
    chain_of: str | None = None,
    definition: str = "",
    array: bool = True,
    see: str = "",
) -> SearchParameter:
    by_type: dict[str, tuple[Modifier, ...]] = {
        "string": ("exact", "contains", "missing"),
        "token": ("missing", "not"),
        "date": ("missing",),
    }
    return SearchParameter(
        name=name,
        type=type_,
        resource=resource,
        field=name.replace("-", "_").replace(".", "_"),
        expression=f"{resource}.{expression}",
        see=see or _CLAUSE[resource],
        array=array,
        modifiers=modifiers or by_type.get(type_, ()),
        targets=targets,
        chain_of=chain_of,
        definition=definition or f"{_CORE}{resource}-{name.partition('.')[0]}",
        words=words,
    )


def _document(
    name: str,
    type_: ParameterType,
    expression: str,
    words: str,
    *,
    chain_of: str | None = None,
    definition: str = "",
    array: bool = True,
) -> SearchParameter:
    return _parameter(
        "DocumentReference", name, type_, expression, words,
        chain_of=chain_of, definition=definition, array=array,
    )  # fmt: skip


def _list(
    name: str,
    type_: ParameterType,
    expression: str,
    words: str,
    *,
    chain_of: str | None = None,
    definition: str = "",
    array: bool = True,
) -> SearchParameter:
    return _parameter(
        "List", name, type_, expression, words,
        chain_of=chain_of, definition=definition, array=array,
    )  # fmt: skip


_R4 = "FHIR R4 documentreference.html#search"
_AUTHORS = (
    "Practitioner", "PractitionerRole", "Organization", "Device", "Patient", "RelatedPerson",
)  # fmt: skip
_COMMUNITY = (
    "The communities to ask; one that this server does not speak for is refused",
    f"{IG}/SearchParameter/IHE-TargetCommunityIdList",
)
_WHOSE = (
    "Whose it is: all records of that person are searched. Also patient.identifier=system|value"
)

DOCUMENT_PARAMETERS: tuple[SearchParameter, ...] = (
    _parameter("DocumentReference", "patient", "reference", "subject.where(resolve() is Patient)", _WHOSE,
               modifiers=("identifier",), targets=("Patient",),
               definition=f"{_CORE}clinical-patient"),
    _document("status", "token", "status", "`current` or `superseded`", array=False),
    _document("author.given", "string", "author.resolve().given", "Start of an author's given name",
              chain_of="author"),
    _document("author.family", "string", "author.resolve().family", "Start of an author's family name",
              chain_of="author"),
    _document("category", "token", "category", "Class of the document"),
    _document("type", "token", "type", "Type of the document", definition=f"{_CORE}clinical-type"),
    _document("creation", "date", "content.attachment.creation", "When the document was made",
              definition=f"{IG}/SearchParameter/DocumentReference-Creation", array=False),
    _document("date", "date", "date", "When the DocumentReference was made", array=False),
    _document("event", "token", "context.event", "What was done; repeat it to ask for several at once"),
    _document("facility", "token", "context.facilityType", "Kind of place"),
    _document("format", "token", "content.format", "Format of the content"),
    _document("identifier", "token", "masterIdentifier | DocumentReference.identifier",
              "uniqueId, entryUUID or another identifier", definition=f"{_CORE}clinical-identifier"),
    _document("period", "date", "context.period", "When the service took place", array=False),
    _parameter("DocumentReference", "related", "reference", "context.related",
               "A related case or event; related:identifier=system|value for its number",
               modifiers=("identifier", "missing")),
    _document("security-label", "token", "securityLabel", "A security label; repeat it for several"),
    _document("setting", "token", "context.practiceSetting", "Practice setting"),
    _document("targetCommunityIdList", "uri", f"extension('{HOME_COMMUNITY}').value", _COMMUNITY[0],
              definition=_COMMUNITY[1]),
    _parameter("DocumentReference", "author", "reference", "author",
               "An author who is not contained; author:identifier=system|value for a number",
               modifiers=("identifier", "missing"), targets=_AUTHORS, see=_R4),
    _parameter("DocumentReference", "relatesto", "reference", "relatesTo.target",
               "The document that it replaces, transforms, appends or signs",
               modifiers=("missing",), targets=("DocumentReference",), see=_R4),
)  # fmt: skip

LIST_PARAMETERS: tuple[SearchParameter, ...] = (
    _parameter("List", "patient", "reference", "subject.where(resolve() is Patient)", _WHOSE,
               modifiers=("identifier",), targets=("Patient",), definition=f"{_CORE}clinical-patient"),
    _list("status", "token", "status", "`current`, or `superseded` for a retired Folder", array=False),
    _list("code", "token", "code", "`submissionset` or `folder`", definition=f"{_CORE}clinical-code"),
    _list("date", "date", "date", "When it was submitted, or a Folder last changed",
          definition=f"{_CORE}clinical-date", array=False),
    _list("designationType", "token", f"extension('{DESIGNATION_TYPE}').value", "Content type",
          definition=f"{IG}/SearchParameter/List-DesignationType"),
    _list("identifier", "token", "identifier", "uniqueId or entryUUID",
          definition=f"{_CORE}clinical-identifier"),
    _list("source.given", "string", "source.resolve().given", "Start of the author's given name",
          chain_of="source"),
    _list("source.family", "string", "source.resolve().family", "Start of the author's family name",
          chain_of="source"),
    _parameter("List", "source", "reference", "source",
               "The author by reference: a full URL, or source:identifier=system|value",
               modifiers=("identifier",), definition=f"{_CORE}List-source"),
    _list("sourceId", "token", f"extension('{SOURCE_ID}').value", "The system that submitted it",
          definition=f"{IG}/SearchParameter/List-SourceId"),
    _list("targetCommunityIdList", "uri", f"extension('{HOME_COMMUNITY}').value", _COMMUNITY[0],
          definition=_COMMUNITY[1]),
    _parameter("List", "item", "reference", "entry.item", "A document or Folder that it lists",
               modifiers=("missing",), targets=("DocumentReference", "List"),
               see="FHIR R4 list.html#search"),
)  # fmt: skip

_INCLUDE = "FHIR R4 search.html#include"
_REVINCLUDE = "FHIR R4 search.html#revinclude"
DOCUMENT_INCLUSIONS: tuple[Inclusion, ...] = (
    Inclusion("_include", "DocumentReference", "patient", ("Patient",), _INCLUDE,
              "Whose the document is, as the caller may see them"),
    Inclusion("_include", "DocumentReference", "author", ("Patient",), _INCLUDE,
              "Authors who are Patients here; contained ones come anyway"),
    Inclusion("_include", "DocumentReference", "related", ("DocumentReference", "List"), _INCLUDE,
              "Documents and lists of the same case"),
    Inclusion("_include", "DocumentReference", "relatesto", ("DocumentReference",), _INCLUDE,
              "What the document replaces, transforms, appends or signs"),
    Inclusion("_revinclude", "DocumentReference", "related", ("DocumentReference",), _REVINCLUDE,
              "Documents that say they belong with it"),
    Inclusion("_revinclude", "DocumentReference", "relatesto", ("DocumentReference",), _REVINCLUDE,
              "What replaces, transforms, appends or signs the document"),
    Inclusion("_revinclude", "List", "item", ("DocumentReference",), _REVINCLUDE,
              "The SubmissionSets and Folders that list the document"),
    Inclusion("_revinclude", "Provenance", "target", ("DocumentReference",), _REVINCLUDE,
              "Why the document was rewritten after its patient was merged"),
)  # fmt: skip
LIST_INCLUSIONS: tuple[Inclusion, ...] = (
    Inclusion("_include", "List", "patient", ("Patient",), _INCLUDE,
              "Whose it is, as the caller may see them"),
    Inclusion("_include", "List", "item", ("DocumentReference", "List"), _INCLUDE,
              "The documents and Folders that it lists"),
    Inclusion("_revinclude", "List", "item", ("List",), _REVINCLUDE,
              "The SubmissionSets that list the Folder"),
    Inclusion("_revinclude", "Provenance", "target", ("List",), _REVINCLUDE,
              "Why it was rewritten after its patient was merged"),
)  # fmt: skip

ITI_65 = Transaction(
    code="ITI-65",
    name="Provide Document Bundle",
    service="registry",
    interaction="transaction",
    resource="Bundle",
    routes=(("POST", "/"),),
    scope=Needs("c", "DocumentReference", ("ITI-65",)),
    audit=balp.ITI_65,
    see="MHD 2:3.65",
    body="bundle",
    profiles=(MINIMAL_BUNDLE, UNCONTAINED_BUNDLE, COMPREHENSIVE_BUNDLE),
    invalid=400,
    words="Takes a submission of documents with their metadata, all or nothing.",
)
ITI_66 = Transaction(
    code="ITI-66",
    name="Find Document Lists",
    service="registry",
    interaction="search-type",
    resource="List",
    routes=(("GET", "/List"), ("POST", "/List/_search")),
    scope=Needs("s", "List", ("ITI-66",)),
    audit=balp.ITI_66,
    see="MHD 2:3.66",
    search=LIST_PARAMETERS,
    inclusions=LIST_INCLUSIONS,
    words="Finds SubmissionSets and Folders. Needs patient, code and status, or identifier or _id.",
)
ITI_67 = Transaction(
    code="ITI-67",
    name="Find Document References",
    service="registry",
    interaction="search-type",
    resource="DocumentReference",
    routes=(("GET", "/DocumentReference"), ("POST", "/DocumentReference/_search")),
    scope=Needs("s", "DocumentReference", ("ITI-67",)),
    audit=balp.ITI_67,
    see="MHD 2:3.67",
    search=DOCUMENT_PARAMETERS,
    inclusions=DOCUMENT_INCLUSIONS,
    words="Finds documents. Needs patient (or patient.identifier) and status, or identifier or _id.",
)
READ_LIST = Transaction(
    code="ITI-66",
    name="Read a SubmissionSet or Folder",
    service="registry",
    interaction="read",
    resource="List",
    routes=(("GET", "/List/{id}"),),
    scope=Needs("r", "List", ("ITI-66",)),
    audit=balp.ITI_66_READ,
    see="MHD 1:33.1.1.2 (Document Responder: List read)",
)
READ_DOCUMENT = Transaction(
    code="ITI-67",
    name="Read a DocumentReference",
    service="registry",
    interaction="read",
    resource="DocumentReference",
    routes=(("GET", "/DocumentReference/{id}"),),
    scope=Needs("r", "DocumentReference", ("ITI-67",)),
    audit=balp.ITI_67_READ,
    see="MHD 1:33.1.1.2 (Document Responder: DocumentReference read)",
)


def _version(of: Transaction) -> Transaction:
    return replace(
        of,
        code="vread",
        name=f"Read one version of a {of.resource}",
        interaction="vread",
        routes=(("GET", f"/{of.resource}/{{id}}/_history/{{vid}}"),),
        audit=balp.rest("R", "vread", ("data", "patient")),
        see="FHIR R4 http.html#vread",
    )


def _versions(of: Transaction) -> Transaction:
    return replace(
        of,
        code="history",
        name=f"Read the versions of a {of.resource}",
        interaction="history-instance",
        routes=(("GET", f"/{of.resource}/{{id}}/_history"),),
        audit=balp.rest("R", "history-instance", ("data", "patient")),
        see="FHIR R4 http.html#history",
        parameters=("_at", "_since", "_count", "status"),
        words="Its versions, newest first. _at: those that stood at that time; _since: those made since.",
    )


READ_PROVENANCE = Transaction(
    code="provenance",
    name="Read a Provenance",
    service="registry",
    interaction="read",
    resource="Provenance",
    routes=(("GET", "/Provenance/{id}"),),
    scope=Needs("r", "Provenance"),
    audit=balp.rest("R", "read", ("data",)),
    see="MHDS 1:50.4.1 (patient merge), FHIR R4 provenance.html",
    words="Why versions were made that nobody submitted. Found by `_revinclude=Provenance:target`.",
)


def _versions_of_person(of: Transaction) -> Transaction:
    return replace(
        of,
        code="history",
        name=f"Read the versions of a person's {of.resource}s",
        interaction="history-type",
        routes=(("GET", f"/{of.resource}/_history"),),
        scope=Needs("s", of.resource, (of.code,)),  # SMART 2: s covers the history of a type
        audit=balp.rest("E", "history-type", ("query", "patient")),
        see="FHIR R4 http.html#history",
        parameters=(
            "patient", "patient.identifier", "patient:identifier", "status", "_at", "_since", "_count",
            "_cursor",
        ),
        words="Needs patient or patient.identifier. What was current in March: status=current and "
        "_at=2026-03.",
    )  # fmt: skip


LIST_VERSION, DOCUMENT_VERSION = _version(READ_LIST), _version(READ_DOCUMENT)
LIST_HISTORY, DOCUMENT_HISTORY = _versions(READ_LIST), _versions(READ_DOCUMENT)
LISTS_HISTORY = _versions_of_person(READ_LIST)
DOCUMENTS_HISTORY = _versions_of_person(READ_DOCUMENT)


def _door(path: str, name: str, words: str) -> Transaction:
    return Transaction(
        code=path,
        name=name,
        service="registry",
        interaction="internal",
        resource="",
        routes=(("POST", f"/internal/registry/{path}"),),
        scope=Needs("", "", ("throughline.internal",)),
        audit=Unaudited("asked by our own services while they serve a request that is audited"),
        see="design 4, together and apart",
        body="json",
        surface="internal",
        words=words,
    )


REFERENCED = _door(
    "referenced", "Which binaries are referenced",
    '{"ids": [...]} gives {"referenced": [...]}: those that some DocumentReference points to.',
)  # fmt: skip
DOCUMENT_OF = _door(
    "document-of", "Which document a binary belongs to",
    '{"id", "by", "narrow", "version", "viewer"} gives {"document": {...} or null}.',
)  # fmt: skip

TRANSACTIONS: tuple[Transaction, ...] = (
    ITI_65, ITI_66, ITI_67, READ_LIST, READ_DOCUMENT, READ_PROVENANCE, LIST_VERSION, DOCUMENT_VERSION,
    LIST_HISTORY, DOCUMENT_HISTORY, LISTS_HISTORY, DOCUMENTS_HISTORY, REFERENCED, DOCUMENT_OF,
)  # fmt: skip
