"""PURE. The header of a CDA document (HL7 v3, ClinicalDocument) as metadata.

CDA R2 §4.2; which element becomes which is that of XDS (PCC TF-2 4.1). The parser is disarmed: no
DTD, hence no entities, and no network. Only the header is read; the body is the reader's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from lxml import etree

from registry.reading import CONFIDENTIALITY, Reading, Related
from standards.fhir_xml import disarmed
from standards.mhd import URI
from standards.outcome import PROFILE, REQUIRED, VALUE, Issue

Canonical = Callable[[str], str]
"""The community's name of an identifier system that is said as `urn:oid:…`."""

V3 = "urn:hl7-org:v3"
_NS = {"h": V3}
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_OID = re.compile(r"[0-2](?:\.(?:0|[1-9][0-9]*))+")
_TS = re.compile(
    r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(\d\d)(?:(\d\d)(\.\d{1,9})?)?(?:([+-]\d\d)(\d\d))?)?)?)?"
)
_SYSTEMS = {
    "2.16.840.1.113883.6.1": "http://loinc.org",
    "2.16.840.1.113883.6.96": "http://snomed.info/sct",
    "2.16.840.1.113883.5.25": CONFIDENTIALITY,
    "2.16.840.1.113883.5.4": "http://terminology.hl7.org/CodeSystem/v3-ActCode",
    "1.3.6.1.4.1.19376.1.2.3": "http://ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode",
}
_RELATIONS = {"RPLC": "replaces", "APND": "appends", "XFRM": "transforms"}
_GENDERS = {"M": "male", "F": "female", "UN": "other"}
_SCANS = "1.3.6.1.4.1.19376.1.2.20"  # XDS-SD


def parsed(data: bytes) -> etree._Element | str:
    """The root of an XML document, or what is wrong with it in words."""
    if data[:4].count(0) or data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "is not in UTF-8 or another encoding that begins like ASCII"
    if re.search(rb"<!(?:DOCTYPE|ENTITY)", data, re.IGNORECASE):
        return "has a DOCTYPE, which is not read here"
    try:
        return etree.fromstring(data, disarmed(len(data)))
    except (etree.XMLSyntaxError, ValueError) as fault:
        line = getattr(fault, "lineno", None)
        return "is not well-formed XML" + (f" (line {line})" if line else "")


def read_cda(root: etree._Element, canonical: Canonical) -> Reading:
    """What a ClinicalDocument says of itself."""
    made = Reading("XML")
    if root.tag != f"{{{V3}}}ClinicalDocument":
        made.issues.append(Issue(PROFILE, "The XML is no ClinicalDocument of HL7 v3.", "/"))
        return made
    identifier = next((i for i in map(_id(lambda s: s), _all(root, "h:id")) if i), None)
    made.say("masterIdentifier", identifier, "ClinicalDocument/id")
    if identifier is None:
        words = "A CDA document has an id with a root."
        made.issues.append(Issue(REQUIRED, words, "ClinicalDocument/id"))
    made.origin["type"] = "ClinicalDocument/code"
    made.say("type", _concept(_first(root, "h:code")), "ClinicalDocument/code")
    label = _concept(_first(root, "h:confidentialityCode"))
    made.say("securityLabel", [label] if label else [], "ClinicalDocument/confidentialityCode")
    made.say("attachment.title", _text(_first(root, "h:title")), "ClinicalDocument/title")
    language = _first(root, "h:languageCode")
    code = language.get("code") if language is not None else None
    made.say("attachment.language", code, "ClinicalDocument/languageCode")
    _time(made, "attachment.creation", root, "effectiveTime")
    _patient(made, root, canonical)
    _authors(made, root, canonical)
    _others(made, root, canonical)
    _context(made, root)
    _relations(made, root)
    _written(made, root)
    return made


def _all(node: etree._Element, path: str) -> list[etree._Element]:
    found = node.xpath(path, namespaces=_NS)
    return [n for n in found if isinstance(n, etree._Element)] if isinstance(found, list) else []


def _first(node: etree._Element, path: str) -> etree._Element | None:
    found = _all(node, path)
    return found[0] if found else None


def _text(node: etree._Element | None) -> str:
    return " ".join("".join(map(str, node.itertext())).split()) if node is not None else ""


def _id(canonical: Canonical) -> Callable[[etree._Element], dict[str, str] | None]:
    """An instance identifier (II) as an Identifier; the community's system where it has one."""

    def made(node: etree._Element) -> dict[str, str] | None:
        root, extension = (node.get("root") or "").strip(), (node.get("extension") or "").strip()
        urn = f"urn:uuid:{root.lower()}" if _UUID.fullmatch(root) else f"urn:oid:{root}"
        if not (_UUID.fullmatch(root) or _OID.fullmatch(root)):
            return None
        if not extension:
            return {"system": URI, "value": urn}
        return {"system": canonical(urn), "value": extension}

    return made


def _concept(node: etree._Element | None) -> dict[str, Any] | None:
    """A coded value (CE) with its translations."""
    if node is None:
        return None
    codings = []
    for said in [node, *_all(node, "h:translation")]:
        code, system = said.get("code"), said.get("codeSystem")
        if code and system:
            coding = {"system": _SYSTEMS.get(system, f"urn:oid:{system}"), "code": code}
            display = said.get("displayName")
            codings.append(coding | ({"display": display} if display else {}))
    return {"coding": codings} if codings else None


def moment(said: str) -> str | None:
    """A TS as a FHIR dateTime; a time of day without its zone is left out, as FHIR wants both. None:
    it is none."""
    found = _TS.fullmatch(said.strip())
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, zone, minutes = found.groups()
    date = "-".join(p for p in (year, month, day) if p)
    if not (hour and zone):
        return date
    return f"{date}T{hour}:{minute}:{second or '00'}{fraction or ''}{zone}:{minutes}"


def _time(made: Reading, name: str, node: etree._Element, path: str) -> None:
    held = _first(node, f"h:{path}")
    said = held.get("value") if held is not None else None
    if said:
        found = moment(said)
        where = f"ClinicalDocument/{path}"
        if found is None:
            made.issues.append(Issue(VALUE, "This is no point in time of HL7 v3.", where))
        made.say(name, found, where)


def _name(node: etree._Element | None) -> list[dict[str, Any]]:
    if node is None:
        return []
    family = " ".join(_text(n) for n in _all(node, "h:family"))
    given = [_text(n) for n in _all(node, "h:given")]
    if not (family or given):
        whole = _text(node)
        return [{"text": whole}] if whole else []
    made: dict[str, Any] = {"family": family} if family else {}
    return [made | ({"given": given} if given else {})]


def _patient(made: Reading, root: etree._Element, canonical: Canonical) -> None:
    where = made.origin["subject"] = "ClinicalDocument/recordTarget"
    roles = _all(root, "h:recordTarget/h:patientRole")
    if len(roles) > 1:
        words = "The document is about several people; a document here has one patient."
        made.issues.append(Issue(PROFILE, words, where))
    if not roles:
        return
    role = roles[0]
    person = _first(role, "h:patient")
    patient: dict[str, Any] = {
        "resourceType": "Patient",
        "identifier": [i for i in map(_id(canonical), _all(role, "h:id")) if i],
    }
    if person is not None:
        patient["name"] = [n for node in _all(person, "h:name") for n in _name(node)]
        gender, birth = _first(person, "h:administrativeGenderCode"), _first(person, "h:birthTime")
        patient["gender"] = _GENDERS.get((gender.get("code") if gender is not None else "") or "")
        born = moment(birth.get("value") or "") if birth is not None else None
        patient["birthDate"] = born.partition("T")[0] if born else None
    patient["address"] = list(_addresses(role))
    made.patient = {k: v for k, v in patient.items() if v}


def _addresses(role: etree._Element) -> Iterator[dict[str, Any]]:
    for node in _all(role, "h:addr"):
        lines = [_text(n) for n in _all(node, "h:streetAddressLine")]
        made = {"line": lines, "city": _text(_first(node, "h:city"))}
        made["postalCode"] = _text(_first(node, "h:postalCode"))
        held = {k: v for k, v in made.items() if v}
        if held:
            yield held


def _person(
    made: Reading, entity: etree._Element, canonical: Canonical, name: str
) -> dict[str, Any]:
    """An assigned author or entity: a person, at an organisation where one is named, or a device."""
    identifiers = [i for i in map(_id(canonical), _all(entity, "h:id")) if i]
    device = _first(entity, "h:assignedAuthoringDevice")
    if device is not None:
        title = _text(_first(device, "h:softwareName|h:manufacturerModelName"))
        named = [{"name": title, "type": "user-friendly-name"}] if title else []
        resource = {"resourceType": "Device", "identifier": identifiers, "deviceName": named}
        return made.hold(resource, name)
    person = {
        "resourceType": "Practitioner",
        "identifier": identifiers,
        "name": _name(_first(entity, "h:assignedPerson/h:name")),
    }
    organisation = _first(entity, "h:representedOrganization")
    if organisation is None or not (_all(organisation, "h:id") or _all(organisation, "h:name")):
        return made.hold(person, name)
    said = made.hold({"resourceType": "PractitionerRole"}, name)
    role = made.contained[-1]
    role["practitioner"] = made.hold(person, f"{name}-practitioner")
    role["organization"] = _organisation(made, organisation, canonical, f"{name}-organization")
    return said


def _organisation(
    made: Reading, node: etree._Element, canonical: Canonical, name: str
) -> dict[str, str]:
    resource = {
        "resourceType": "Organization",
        "identifier": [i for i in map(_id(canonical), _all(node, "h:id")) if i],
        "name": _text(_first(node, "h:name")),
    }
    return made.hold(resource, name)


def _authors(made: Reading, root: etree._Element, canonical: Canonical) -> None:
    entities = _all(root, "h:author/h:assignedAuthor")
    authors = [_person(made, e, canonical, f"author{n}") for n, e in enumerate(entities, start=1)]
    made.say("author", authors, "ClinicalDocument/author")


def _others(made: Reading, root: etree._Element, canonical: Canonical) -> None:
    legal = _first(root, "h:legalAuthenticator/h:assignedEntity")
    if legal is not None:
        held = _person(made, legal, canonical, "authenticator")
        made.say("authenticator", held, "ClinicalDocument/legalAuthenticator")
    custodian = _first(root, "h:custodian/h:assignedCustodian/h:representedCustodianOrganization")
    if custodian is not None:
        held = _organisation(made, custodian, canonical, "custodian")
        made.say("custodian", held, "ClinicalDocument/custodian")


def _context(made: Reading, root: etree._Element) -> None:
    services = _all(root, "h:documentationOf/h:serviceEvent")
    where = "ClinicalDocument/documentationOf"
    codes = [c for c in (_concept(_first(s, "h:code")) for s in services) if c]
    made.say("context.event", codes, where)
    encounter = _first(root, "h:componentOf/h:encompassingEncounter")
    spans = [*services, *([encounter] if encounter is not None else [])]
    period = next((p for p in map(_period, spans) if p), None)
    made.say("context.period", period, where)
    if encounter is not None:
        facility = _concept(_first(encounter, "h:location/h:healthCareFacility/h:code"))
        made.say("context.facilityType", facility, "ClinicalDocument/componentOf")


def _period(node: etree._Element) -> dict[str, str]:
    time = _first(node, "h:effectiveTime")
    if time is None:
        return {}
    low, high = _first(time, "h:low"), _first(time, "h:high")
    said = {
        "start": time.get("value") or (low.get("value") if low is not None else None),
        "end": time.get("value") or (high.get("value") if high is not None else None),
    }
    return {k: found for k, v in said.items() if v and (found := moment(v))}


def _relations(made: Reading, root: etree._Element) -> None:
    for n, node in enumerate(_all(root, "h:relatedDocument"), start=1):
        code = _RELATIONS.get(node.get("typeCode") or "")
        parents = [i for i in map(_id(lambda s: s), _all(node, "h:parentDocument/h:id")) if i]
        where = f"ClinicalDocument/relatedDocument[{n}]"
        if code is None or not parents:
            words = "A related document is replaced (RPLC), appended (APND) or transformed (XFRM), by id."
            made.issues.append(Issue(VALUE, words, where))
        else:
            made.related.append(Related(code, parents[0]["system"], parents[0]["value"], where))


def _written(made: Reading, root: etree._Element) -> None:
    """Scanned paper in a CDA wrapper says so by its template (XDS-SD)."""
    templates = {t.get("root") for t in _all(root, "h:templateId")}
    body = _first(root, "h:component/h:nonXMLBody/h:text")
    if _SCANS in templates:
        scanned_text = body is not None and body.get("mediaType") == "text/plain"
        made.format = "SCANTXT" if scanned_text else "SCANPDF"
