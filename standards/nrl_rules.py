"""What a pointer must be, as NHS England's National Record Locator says it. Pure.

Each rule is a row; `checked` runs them all and gives back every issue. The body is structurally legal
R4 by then. Displays are never checked (the national service refuses other wordings of the same code;
here the code decides). Values are as the producer API has them in its public repository.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from standards.lens import at, extensions
from standards.nrl import NHS_NUMBER_SYSTEM, ODS
from standards.outcome import (
    CODE_INVALID,
    CODE_SYSTEM,
    IDENTIFIER_SYSTEM,
    IDENTIFIER_VALUE,
    NHS_NUMBER,
    REQUIRED,
    VALUE,
    Issue,
)

Json = Mapping[str, Any]
SNOMED, NICIP = "http://snomed.info/sct", "https://nicip.nhs.uk"
FORMATS = "https://fhir.nhs.uk/England/CodeSystem/England-NRLFormatCode"
CONTACT = "urn:nhs-ic:record-contact"
FORMAT_CODES = (CONTACT, "urn:nhs-ic:unstructured", "urn:nhs-ic:structured")
_ENGLAND = "https://fhir.nhs.uk/England/StructureDefinition/Extension-England-"
STABILITY = _ENGLAND + "ContentStability"
STABILITY_CODES = "https://fhir.nhs.uk/England/CodeSystem/England-NRLContentStability"
MECHANISM = _ENGLAND + "NRLRetrievalMechanism"
MECHANISM_CODES = "https://fhir.nhs.uk/England/CodeSystem/England-NRLRetrievalMechanism"
ASID = "https://fhir.nhs.uk/Id/nhsSpineASID"
MEDIA = (
    "application/pdf", "text/html", "application/json", "application/fhir+json", "application/json+fhir",
)  # fmt: skip

PLAN, OBSERVATIONS, NOTE = "734163000", "1102421000000108", "823651000000106"
REPORT, PROCEDURE, ARTIFACT, HEADINGS = "721981007", "103693007", "419891008", "716931000000107"
TYPES: Mapping[tuple[str, str], str] = {
    (SNOMED, "736253002"): PLAN,  # mental health crisis plan
    (SNOMED, "887701000000100"): PLAN,  # emergency health care plan
    (SNOMED, "861421000000109"): PLAN,  # end of life care coordination summary
    (SNOMED, "1382601000000107"): PLAN,  # ReSPECT form
    (SNOMED, "325691000000100"): PLAN,  # contingency plan
    (SNOMED, "736373009"): PLAN,  # end of life care plan
    (SNOMED, "16521000000101"): PLAN,  # Lloyd George record folder
    (SNOMED, "736366004"): PLAN,  # advance care plan
    (SNOMED, "735324008"): PLAN,  # treatment escalation plan
    (SNOMED, "2181441000000107"): PLAN,  # personalised care and support plan
    (SNOMED, "1363501000000100"): OBSERVATIONS,  # NEWS2 chart
    (SNOMED, "824321000000109"): NOTE,  # summary record
    (NICIP, "MAULR"): REPORT,
    (NICIP, "MAXIB"): PROCEDURE,
    (SNOMED, "749001000000101"): ARTIFACT,  # appointment
    (SNOMED, "887181000000106"): HEADINGS,  # clinical summary
}
"""Each pointer type and the one category that goes with it."""

_URL = re.compile(r"(https?|ssp)://[^\s/?#]+\S*", re.ASCII)
_ASID = re.compile(r"\d{12}", re.ASCII)
_OWN_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Agreed:
    """What the rules are told: the organisation that asks, which practice settings and security labels
    are known to the community, what is wrong with an NHS number ("" when nothing is), and whether the
    exchange itself gives out what is at an address."""

    organisation: str
    setting: Callable[[str, str], bool]
    label: Callable[[str, str], bool]
    number: Callable[[str], str]
    listed: Callable[[str], bool] = lambda _: False


Check = Callable[[Json, Agreed], Iterator[Issue]]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its name, the check and where it comes from."""

    name: str
    check: Check
    see: str = "NRL producer API, createDocumentReference"


def checked(pointer: Json, agreed: Agreed) -> list[Issue]:
    """Everything that is wrong with a pointer by itself; [] when nothing is."""
    return [issue for rule in RULES for issue in rule.check(pointer, agreed)]


def own_id(said: Any, organisation: str) -> Iterator[Issue]:
    """An id that the producer chose: its organisation's code, a dash, and what it likes."""
    text = str(said or "")
    if not text:
        yield Issue(REQUIRED, f"Give the pointer an id, {organisation}-… .", "id")
    elif not text.startswith(organisation + "-") or text == organisation + "-":
        yield Issue(IDENTIFIER_VALUE, f"The id must begin with {organisation}- .", "id")
    elif not _OWN_ID.fullmatch(text):
        yield Issue(
            IDENTIFIER_VALUE, "An id has at most 64 letters, digits, dashes and dots.", "id"
        )


# -- the rules --------------------------------------------------------------------------------------


def _status(pointer: Json, _: Agreed) -> Iterator[Issue]:
    if pointer.get("status") != "current":
        words = "A pointer is published as current; supersede it or DELETE it to end it."
        yield Issue(VALUE, words, "status")


def _codings(pointer: Json, path: str, words: str) -> tuple[list[Json], list[Issue]]:
    """The single coding at a path, or why there is not one."""
    found = at(pointer, f"{path}.coding")
    if len(found) == 1:
        return found, []
    kind = VALUE if found else REQUIRED
    return [], [Issue(kind, f"{words} has exactly one coding.", f"{path}.coding")]


def _type(pointer: Json, _: Agreed) -> Iterator[Issue]:
    found, issues = _codings(pointer, "type", "The type of a pointer")
    yield from issues
    for coding in found:
        system, code = coding.get("system"), coding.get("code")
        if system not in (SNOMED, NICIP):
            words = f"The type comes from {SNOMED} (or, for imaging, {NICIP})."
            yield Issue(CODE_SYSTEM, words, "type.coding[0].system")
        elif (system, code) not in TYPES:
            words = "This code is not a pointer type of the National Record Locator."
            yield Issue(CODE_INVALID, words, "type.coding[0].code")


def _category(pointer: Json, _: Agreed) -> Iterator[Issue]:
    categories = at(pointer, "category")
    if len(categories) != 1:
        kind = VALUE if categories else REQUIRED
        yield Issue(kind, "A pointer has exactly one category.", "category")
        return
    found, issues = _codings(pointer, "category", "The category of a pointer")
    yield from (Issue(i.kind, i.words, "category[0].coding") for i in issues)
    for coding in found:
        if coding.get("system") != SNOMED:
            words = f"The category comes from {SNOMED}."
            yield Issue(CODE_SYSTEM, words, "category[0].coding[0].system")
            continue
        if coding.get("code") not in TYPES.values():
            words = "This code is not a pointer category of the National Record Locator."
            yield Issue(CODE_INVALID, words, "category[0].coding[0].code")
            continue
        kinds = at(pointer, "type.coding")
        fits = TYPES.get((kinds[0].get("system"), kinds[0].get("code"))) if len(kinds) == 1 else ""
        if fits and coding["code"] != fits:
            words = f"The category of this type of pointer is {fits}."
            yield Issue(CODE_INVALID, words, "category[0].coding[0].code")


def _subject(pointer: Json, agreed: Agreed) -> Iterator[Issue]:
    yield from _identified(pointer.get("subject"), "subject", NHS_NUMBER_SYSTEM)
    identifier = (pointer.get("subject") or {}).get("identifier") or {}
    if identifier.get("system") == NHS_NUMBER_SYSTEM and identifier.get("value"):
        wrong = agreed.number(str(identifier["value"]))
        if wrong:
            yield Issue(NHS_NUMBER, wrong, "subject.identifier.value")


def _identified(reference: Any, where: str, system: str) -> Iterator[Issue]:
    identifier = (reference or {}).get("identifier")
    if not identifier or not identifier.get("value"):
        words = f"Name it by identifier, of the system {system}."
        yield Issue(REQUIRED, words, f"{where}.identifier")
    elif identifier.get("system") != system:
        words = f"Its identifier must be of the system {system}."
        yield Issue(IDENTIFIER_SYSTEM, words, f"{where}.identifier.system")


def _custodian(pointer: Json, agreed: Agreed) -> Iterator[Issue]:
    issues = list(_identified(pointer.get("custodian"), "custodian", ODS))
    yield from issues
    if not issues and pointer["custodian"]["identifier"]["value"] != agreed.organisation:
        words = (
            f"Your token is of the organisation {agreed.organisation}; only it may be custodian."
        )
        yield Issue(IDENTIFIER_VALUE, words, "custodian.identifier.value")


def _author(pointer: Json, _: Agreed) -> Iterator[Issue]:
    authors = at(pointer, "author")
    if len(authors) != 1:
        kind = VALUE if authors else REQUIRED
        yield Issue(kind, "A pointer has exactly one author, an organisation.", "author")
        return
    yield from _identified(authors[0], "author[0]", ODS)


def _attachment(pointer: Json, _: Agreed) -> Iterator[Issue]:
    for place, content in _contents(pointer):
        attachment = content.get("attachment") or {}
        if "data" in attachment:
            words = "A pointer carries no document; send the document itself by ITI-65 or ITI-105."
            yield Issue(VALUE, words, f"{place}.attachment.data")
        if not attachment.get("contentType"):
            words = "Say which media type the document has."
            yield Issue(REQUIRED, words, f"{place}.attachment.contentType")
        elif attachment["contentType"] not in MEDIA:
            words = f"The media type of a pointer's document is one of {', '.join(MEDIA)}."
            yield Issue(CODE_INVALID, words, f"{place}.attachment.contentType")


def _url(pointer: Json, agreed: Agreed) -> Iterator[Issue]:
    for place, content in _contents(pointer):
        url = str((content.get("attachment") or {}).get("url") or "")
        where = f"{place}.attachment.url"
        if not url:
            yield Issue(REQUIRED, "A pointer says where the document is.", where)
        elif not _URL.fullmatch(url):
            words = "Give an absolute URL, https:// or, through the Spine Secure Proxy, ssp://."
            yield Issue(VALUE, words, where)
        elif url.startswith("http://") and _format_of(content) != CONTACT:
            if agreed.listed(url):  # readers do not go there: they get it from the exchange
                continue
            words = "Only contact details may be at an http:// address; documents are at https://."
            yield Issue(VALUE, words, where)


def _contents(pointer: Json) -> Iterator[tuple[str, Json]]:
    for number, content in enumerate(pointer.get("content") or ()):
        yield f"content[{number}]", content


def _format_of(content: Json) -> str:
    return str((content.get("format") or {}).get("code") or "")


def _format(pointer: Json, _: Agreed) -> Iterator[Issue]:
    for place, content in _contents(pointer):
        coding = content.get("format")
        if not coding or not coding.get("code"):
            words = "Say the format of the content: contact details, unstructured or structured."
            yield Issue(REQUIRED, words, f"{place}.format")
            continue
        if coding.get("system") != FORMATS:
            yield Issue(CODE_SYSTEM, f"The format comes from {FORMATS}.", f"{place}.format.system")
        elif coding["code"] not in FORMAT_CODES:
            words = f"The format is one of {', '.join(FORMAT_CODES)}."
            yield Issue(CODE_INVALID, words, f"{place}.format.code")
        elif (coding["code"] == CONTACT) != (_media_of(content) == "text/html"):
            words = f"Contact details are {CONTACT} and text/html, and nothing else is either."
            yield Issue(VALUE, words, f"{place}.format.code")


def _media_of(content: Json) -> str:
    return str((content.get("attachment") or {}).get("contentType") or "")


def _stability(pointer: Json, _: Agreed) -> Iterator[Issue]:
    for place, content in _contents(pointer):
        found = extensions(content, STABILITY)
        if len(found) != 1:
            kind = VALUE if found else REQUIRED
            words = (
                f"Say once whether the content is static or dynamic, by the extension {STABILITY}."
            )
            yield Issue(kind, words, f"{place}.extension")
        for extension in found[:1]:
            yield from _of(extension, STABILITY_CODES, ("static", "dynamic"), f"{place}.extension")


def _mechanism(pointer: Json, _: Agreed) -> Iterator[Issue]:
    for place, content in _contents(pointer):
        found = extensions(content, MECHANISM)
        if len(found) > 1:
            yield Issue(VALUE, "Say once how the content is retrieved.", f"{place}.extension")
        for extension in found[:1]:
            yield from _of(extension, MECHANISM_CODES, (), f"{place}.extension")


def _of(extension: Json, system: str, codes: tuple[str, ...], where: str) -> Iterator[Issue]:
    """The extension's one coding is of this system and, where they are listed, one of these codes."""
    codings = at(extension, "valueCodeableConcept.coding")
    place = f"{where}.valueCodeableConcept.coding"
    if len(codings) != 1 or not codings[0].get("code"):
        yield Issue(REQUIRED, "This extension has exactly one coding, with a code.", place)
    elif codings[0].get("system") != system:
        yield Issue(CODE_SYSTEM, f"Its coding comes from {system}.", f"{place}[0].system")
    elif codes and codings[0]["code"] not in codes:
        words = f"Its code is one of {', '.join(codes)}."
        yield Issue(CODE_INVALID, words, f"{place}[0].code")


def _setting(pointer: Json, agreed: Agreed) -> Iterator[Issue]:
    found, issues = _codings(
        pointer, "context.practiceSetting", "The practice setting of a pointer"
    )
    yield from issues
    where = "context.practiceSetting.coding[0]"
    for coding in found:
        if coding.get("system") != SNOMED:
            yield Issue(
                CODE_SYSTEM, f"The practice setting comes from {SNOMED}.", f"{where}.system"
            )
        elif not agreed.setting(SNOMED, str(coding.get("code") or "")):
            words = "This practice setting is not in the community's list, practice_settings.csv."
            yield Issue(CODE_INVALID, words, f"{where}.code")


def _label(pointer: Json, agreed: Agreed) -> Iterator[Issue]:
    for number, concept in enumerate(at(pointer, "securityLabel")):
        for place, coding in enumerate(at(concept, "coding")):
            if not agreed.label(str(coding.get("system") or ""), str(coding.get("code") or "")):
                words = (
                    "This label is not in the community's list, labels.csv; nobody could heed it."
                )
                where = f"securityLabel[{number}].coding[{place}].code"
                yield Issue(CODE_INVALID, words, where)


def _asid(pointer: Json, _: Agreed) -> Iterator[Issue]:
    found = [
        (number, related["identifier"])
        for number, related in enumerate(at(pointer, "context.related"))
        if (related.get("identifier") or {}).get("system") == ASID
    ]
    urls = [str(u) for u in at(pointer, "content.attachment.url")]
    if len(found) > 1:
        yield Issue(VALUE, "Give one ASID, that of the system which answers.", "context.related")
    if not found and any(u.startswith("ssp://") for u in urls):
        words = f"Content behind ssp:// names its system by ASID in context.related ({ASID})."
        yield Issue(REQUIRED, words, "context.related")
    for number, identifier in found:
        if not _ASID.fullmatch(str(identifier.get("value") or "")):
            words = "An ASID has 12 digits."
            yield Issue(IDENTIFIER_VALUE, words, f"context.related[{number}].identifier.value")


def _relates(pointer: Json, agreed: Agreed) -> Iterator[Issue]:
    seen: set[str] = set()
    for number, related in enumerate(at(pointer, "relatesTo")):
        where = f"relatesTo[{number}].target.identifier.value"
        value = str(((related.get("target") or {}).get("identifier") or {}).get("value") or "")
        if not value:
            yield Issue(REQUIRED, "Name the other pointer by its id, as an identifier.", where)
        elif not value.startswith(agreed.organisation + "-"):
            words = (
                f"A pointer relates to pointers of its own organisation, {agreed.organisation}-… ."
            )
            yield Issue(IDENTIFIER_VALUE, words, where)
        elif value in seen:
            yield Issue(VALUE, "A pointer relates to another one once.", where)
        seen.add(value)


RULES: tuple[Rule, ...] = (
    Rule("status", _status),
    Rule("type", _type, "England-NRLRecordType"),
    Rule("category", _category, "England-NRLRecordCategory"),
    Rule("subject", _subject),
    Rule("custodian", _custodian),
    Rule("author", _author),
    Rule("attachment", _attachment),
    Rule("url", _url),
    Rule("format", _format, "England-NRLFormatCode"),
    Rule("stability", _stability, "Extension-England-ContentStability"),
    Rule("mechanism", _mechanism, "Extension-England-NRLRetrievalMechanism"),
    Rule("setting", _setting, "England-PracticeSetting"),
    Rule("label", _label, "decision 0025"),
    Rule("asid", _asid),
    Rule("relates", _relates),
)
