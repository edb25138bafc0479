"""ITI-106: a document says itself what it is, and is published as ITI-65 publishes."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import httpx
import pytest

from chassis.body import parse_json
from chassis.call import dumps
from standards import fhir_xml
from tests.makers_documents import a_cda, a_fhir_document, a_pdf, a_response, an_xmp
from tests.makers_mhd import NHS, NS, a_patient, concept, nhs_number, sha1
from tests.running import Exchange

TABLES = ("documents", "lists", "registered", "documents_history", "lists_history")
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
Json = dict[str, Any]
_serial = itertools.count(5000)


async def somebody(client: httpx.AsyncClient) -> tuple[str, str]:
    """A person who is known: reference and NHS number."""
    number = nhs_number(next(_serial) * 13)
    return await a_patient(client, identifier=[{"system": NHS, "value": number}]), number


def a_binary(content: bytes, media: str, **elements: Any) -> Json:
    data = base64.b64encode(content).decode()
    return {"resourceType": "Binary", "contentType": media, **elements, "data": data}


def parameters(*documents: Json, name: str = "document") -> Json:
    return {
        "resourceType": "Parameters",
        "parameter": [{"name": name, "resource": d} for d in documents],
    }


async def ask(client: httpx.AsyncClient, body: Json, kind: str = "json") -> httpx.Response:
    whole = dumps(body)
    return await client.post(
        "/DocumentReference/$generate-metadata",
        content=whole if kind == "json" else fhir_xml.render(parse_json(whole)),
        headers={"Content-Type": f"application/fhir+{kind}"},
    )


async def generate(client: httpx.AsyncClient, document: Json, kind: str = "json") -> Json:
    """The DocumentReference that comes of a document."""
    answer = await ask(client, parameters(document), kind)
    assert answer.status_code == 200, answer.text
    (parameter,) = answer.json()["parameter"]
    assert parameter["name"] == "DocumentReference"
    found = await client.get("/" + parameter["valueReference"]["reference"])
    assert found.status_code == 200
    return found.json()


async def content_of(client: httpx.AsyncClient, document: Json) -> bytes:
    attachment = document["content"][0]["attachment"]
    answer = await client.get(attachment["url"], headers={"Accept": attachment["contentType"]})
    assert attachment["hash"] == sha1(answer.content)
    return answer.content


async def stored(exchange: Exchange) -> list[int]:
    counts = [await exchange.mongo.table("registry", t).count({}) for t in TABLES]
    return [*counts, await exchange.mongo.table("repository", "deposits").count({"state": "kept"})]


def codes(document: Json) -> set[str]:
    return {c["code"] for label in document["securityLabel"] for c in label["coding"]}


def held(document: Json, reference: Json) -> Json:
    return next(c for c in document["contained"] if "#" + c["id"] == reference["reference"])


# -- FHIR documents --------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["json", "xml"])
async def test_a_fhir_document_becomes_a_document_with_its_metadata(
    source: httpx.AsyncClient, kind: str
) -> None:
    person, number = await somebody(source)
    bundle = a_fhir_document(number)
    made = await generate(source, bundle, kind)
    assert made["masterIdentifier"]["value"] == bundle["identifier"]["value"]
    assert made["subject"]["reference"] == person
    assert made["type"]["coding"][0]["code"] == "GN-GPSUM"
    assert made["category"][0]["coding"][0]["code"] == "RECORD"
    assert codes(made) == {"N"}
    attachment = made["content"][0]["attachment"]
    assert attachment["contentType"] == f"application/fhir+{kind}"
    assert (attachment["title"], attachment["language"]) == ("Summary of nobody", "en-GB")
    assert attachment["creation"] == "2026-03-03T09:00:00Z"
    assert made["content"][0]["format"]["code"] == "throughline:fhir:document-bundle:r4"
    assert made["context"]["period"] == {"start": "2026-03-01", "end": "2026-03-02"}
    assert made["context"]["event"][0]["coding"][0]["code"] == "EYS1"
    role = held(made, made["author"][0])
    assert role["resourceType"] == "PractitionerRole"
    assert held(made, role["organization"])["name"] == "Canal Street Surgery"
    assert held(made, made["authenticator"])["resourceType"] == "PractitionerRole"
    patient = held(made, made["context"]["sourcePatientInfo"])
    assert patient["identifier"] == [{"system": NHS, "value": number}]
    assert patient["name"][0]["family"] == "Nobody"
    again = await content_of(source, made)
    read = parse_json(again) if kind == "json" else fhir_xml.parse(again)
    assert read == parse_json(dumps(bundle))


async def test_a_fhir_document_in_a_binary_keeps_its_bytes(source: httpx.AsyncClient) -> None:
    _, number = await somebody(source)
    content = dumps(a_fhir_document(number)) + b"\n "
    made = await generate(source, a_binary(content, "application/fhir+json"))
    assert await content_of(source, made) == content


async def test_a_document_is_found_by_its_metadata_and_has_a_submission_set(
    source: httpx.AsyncClient,
) -> None:
    person, number = await somebody(source)
    made = await generate(source, a_fhir_document(number))
    found = await source.get(
        "/DocumentReference", params={"patient": person, "status": "current", "event": "EYS1", "period": "ge2026-03-01"}
    )  # fmt: skip
    assert [e["resource"]["id"] for e in found.json()["entry"]] == [made["id"]]
    sets = await source.get(
        "/List", params={"patient": person, "status": "current", "code": "submissionset"}
    )
    (submission,) = [e["resource"] for e in sets.json()["entry"]]
    assert submission["entry"] == [{"item": {"reference": f"DocumentReference/{made['id']}"}}]


async def test_the_same_document_again_is_the_same_documentreference(
    exchange: Exchange, source: httpx.AsyncClient
) -> None:
    _, number = await somebody(source)
    bundle = a_fhir_document(number)
    first = await generate(source, bundle)
    before = await stored(exchange)
    assert await generate(source, bundle) == first
    assert await stored(exchange) == before


async def test_a_stricter_confidentiality_stands_and_a_laxer_one_gives_way_to_the_types(
    source: httpx.AsyncClient,
) -> None:
    _, number = await somebody(source)
    assert codes(await generate(source, a_fhir_document(number, confidentiality="V"))) == {"V"}
    plan = a_fhir_document(number, kind="GN-MHCRIS", confidentiality="N")
    assert codes(await generate(source, plan)) == {"R", "MH"}


async def test_codes_of_others_are_mapped_and_optional_unknown_ones_left_out(
    source: httpx.AsyncClient,
) -> None:
    _, number = await somebody(source)
    summary = a_fhir_document(
        number, type=concept("http://loinc.org", "60591-5"), category=[concept("urn:x", "y")]
    )
    made = await generate(source, summary)
    assert [c["code"] for c in made["type"]["coding"]] == ["GN-GPSUM", "60591-5"]
    assert made["category"][0]["coding"][0]["code"] == "RECORD"
    assert made["content"][0]["format"]["code"] == "urn:ihe:pcc:ips:2020"


async def test_a_composition_that_replaces_supersedes_what_it_names(
    source: httpx.AsyncClient,
) -> None:
    _, number = await somebody(source)
    first = a_fhir_document(number)
    old = await generate(source, first)
    relation = [{"code": "replaces", "targetIdentifier": first["identifier"]}]
    new = await generate(source, a_fhir_document(number, relatesTo=relation))
    assert new["relatesTo"][0]["target"]["reference"] == f"DocumentReference/{old['id']}"
    now = await source.get(f"/DocumentReference/{old['id']}")
    assert now.json()["status"] == "superseded"


async def test_a_subject_that_is_a_patient_of_this_server_needs_no_entry(
    source: httpx.AsyncClient, person: str
) -> None:
    bundle = a_fhir_document("", subject={"reference": person})
    bundle["entry"].pop(1)
    assert (await generate(source, bundle))["subject"]["reference"] == person


# -- QuestionnaireResponses ------------------------------------------------------------------------
async def test_a_questionnaire_response_is_of_the_type_of_its_questionnaire(
    source: httpx.AsyncClient,
) -> None:
    person, number = await somebody(source)
    answers = a_response({"identifier": {"system": NHS, "value": number}})
    content = fhir_xml.render(parse_json(dumps(answers)))
    made = await generate(source, a_binary(content, "application/fhir+xml"))
    assert made["subject"]["reference"] == person
    assert made["type"]["coding"][0]["code"] == "EY-HLE"
    assert made["category"][0]["coding"][0]["code"] == "ASSESS"
    assert made["masterIdentifier"]["value"] == answers["identifier"]["value"]
    assert made["author"] == [{"display": "H. Visitor"}]
    assert made["content"][0]["format"]["code"] == "throughline:fhir:questionnaireresponse:r4"
    assert made["content"][0]["attachment"]["creation"] == "2026-03-03T09:00:00Z"
    assert await content_of(source, made) == content


async def test_a_response_without_an_identifier_gets_one_of_its_bytes(
    source: httpx.AsyncClient, person: str
) -> None:
    answers = dumps(a_response({"reference": person}, identifier=None))
    made = await generate(source, a_binary(answers, "application/fhir+json"))
    assert made["masterIdentifier"]["value"].startswith("urn:uuid:")


# -- CDA -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("media", ["text/xml", "application/xml", "application/hl7-v3+xml"])
async def test_the_header_of_a_cda_document_becomes_its_metadata(
    source: httpx.AsyncClient, media: str
) -> None:
    person, number = await somebody(source)
    root = f"1.2.840.7.{number}"
    content = a_cda(number, identifier=root)
    made = await generate(source, a_binary(content, media))
    assert made["subject"]["reference"] == person
    assert made["masterIdentifier"]["value"] == f"urn:oid:{root}"
    assert [c["code"] for c in made["type"]["coding"]] == ["GN-DISCH", "18842-5", "373942005"]
    assert made["category"][0]["coding"][0]["code"] == "DISCH"
    assert codes(made) == {"R"}
    attachment = made["content"][0]["attachment"]
    assert (attachment["title"], attachment["language"]) == ("Discharge of nobody", "en-GB")
    assert attachment["creation"] == "2026-03-03T09:15:00+00:00"
    assert made["context"]["period"] == {"start": "2026-03-01", "end": "2026-03-03"}
    role = held(made, made["author"][0])
    practitioner = held(made, role["practitioner"])
    assert practitioner["name"] == [{"family": "Öztürk", "given": ["Zoë"]}]
    assert practitioner["identifier"] == [{"system": "urn:oid:1.2.3", "value": "doc-7"}]
    assert held(made, made["custodian"])["name"] == "Manchester Trust"
    assert held(made, made["authenticator"])["name"] == [{"text": "Dr Legal"}]
    patient = held(made, made["context"]["sourcePatientInfo"])
    assert patient["birthDate"] == "1980-01-02"
    assert patient["identifier"] == [{"system": NHS, "value": number}]
    assert await content_of(source, made) == content


async def test_a_cda_that_replaces_its_parent_supersedes_it(source: httpx.AsyncClient) -> None:
    _, number = await somebody(source)
    old = await generate(source, a_binary(a_cda(number, identifier="1.2.840.8"), "text/xml"))
    relation = '<relatedDocument typeCode="RPLC"><parentDocument><id root="1.2.840.8"/></parentDocument></relatedDocument>'
    await generate(source, a_binary(a_cda(number, relation=relation), "text/xml"))
    now = await source.get(f"/DocumentReference/{old['id']}")
    assert now.json()["status"] == "superseded"


# -- PDF -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("packed", [False, True], ids=["1.4", "1.5"])
async def test_a_pdf_says_in_its_xmp_what_it_is(source: httpx.AsyncClient, packed: bool) -> None:
    person, number = await somebody(source)
    xmp = an_xmp(
        patient=f"{NHS}|{number}",
        type="GN-OPLET",
        practiceSetting="788007007",
        label=f"{CONFIDENTIALITY}|R",
    )
    content = a_pdf(xmp, packed=packed)
    made = await generate(source, a_binary(content, "application/pdf"))
    assert made["subject"]["reference"] == person
    assert made["type"]["coding"][0]["code"] == "GN-OPLET"
    assert made["category"][0]["coding"][0]["code"] == "LETTER"
    assert codes(made) == {"R"}
    attachment = made["content"][0]["attachment"]
    assert (attachment["title"], attachment["language"]) == ("Letter about nobody", "cy")
    assert attachment["creation"] == "2026-03-03T09:15:00+01:00"
    assert [held(made, a)["name"][0]["text"] for a in made["author"]] == ["Zoë Öztürk", "A. Second"]
    assert made["context"]["practiceSetting"]["coding"][0]["code"] == "788007007"
    assert made["content"][0]["format"]["code"] == "urn:ihe:iti:xds:2017:mimeTypeSufficient"
    assert await content_of(source, made) == content


async def test_the_security_context_of_a_binary_says_whom_it_is_about(
    source: httpx.AsyncClient, person: str
) -> None:
    binary = a_binary(
        a_pdf(an_xmp(type="GN-OPLET")), "application/pdf", securityContext={"reference": person}
    )
    assert (await generate(source, binary))["subject"]["reference"] == person


# -- what is refused -------------------------------------------------------------------------------
WITHIN = "Parameters.parameter[0].resource"


def _composition(**changes: Any) -> Callable[[str], Json]:
    return lambda number: parameters(a_fhir_document(number, **changes))


def _bundle(change: Callable[[Json], object]) -> Callable[[str], Json]:
    def made(number: str) -> Json:
        bundle = a_fhir_document(number)
        change(bundle)
        return parameters(bundle)

    return made


def _in_binary(
    media: str, content: Callable[[str], bytes], **elements: Any
) -> Callable[[str], Json]:
    return lambda number: parameters(a_binary(content(number), media, **elements))


def _cda(**changes: str) -> Callable[[str], Json]:
    return _in_binary("text/xml", lambda number: a_cda(number, **changes))


def _pdf(xmp: Callable[[str], bytes | None], **changes: Any) -> Callable[[str], Json]:
    return _in_binary("application/pdf", lambda number: a_pdf(xmp(number), **changes))


def _answers(**changes: Any) -> Callable[[str], Json]:
    def made(number: str) -> bytes:
        subject = {"identifier": {"system": NHS, "value": number}}
        return dumps(a_response(**{"subject": subject, **changes}))

    return _in_binary("application/fhir+json", made)


def _whole(number: str) -> bytes:
    return an_xmp(patient=f"{NHS}|{number}", type="GN-OPLET")


ENTITY = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
TWO = "<recordTarget><patientRole/></recordTarget>" * 2
BREACHES: dict[str, tuple[Callable[[str], Json], str, str]] = {
    "no parameter": (lambda _: {"resourceType": "Parameters", "parameter": [{"name": "x", "valueString": "y"}]}, "Parameters.parameter[0].name", "named document"),
    "two documents": (lambda n: parameters(a_fhir_document(n), a_fhir_document(n)), "Parameters.parameter[1]", "one document only"),
    "a resource that is no document": (lambda _: parameters({"resourceType": "Basic", "code": {"text": "x"}}), WITHIN, "into a Binary"),
    "a binary without data": (lambda _: parameters({"resourceType": "Binary", "contentType": "text/xml"}), f"{WITHIN}.data", "no data"),
    "a binary of no base64": (lambda _: parameters({"resourceType": "Binary", "contentType": "text/xml", "data": "A=B"}), f"{WITHIN}.data", "base64"),
    "a media type nobody reads": (_in_binary("text/plain", lambda _: b"x"), f"{WITHIN}.contentType", "ITI-105"),
    "a bundle of another type": (_bundle(lambda b: b.update(type="collection")), WITHIN, "type document"),
    "no composition": (_bundle(lambda b: b["entry"].pop(0)), WITHIN, "Composition"),
    "no identifier": (_bundle(lambda b: b.pop("identifier")), f"{WITHIN}.identifier", "identifier"),
    "a draft": (_composition(status="preliminary"), f"{WITHIN}.entry[0].resource.status", "preliminary"),
    "entered in error": (_composition(status="entered-in-error"), f"{WITHIN}.entry[0].resource.status", "entered-in-error"),
    "a type nobody mapped": (_composition(type=concept("http://loinc.org", "1-8")), f"{WITHIN}.entry[0].resource.type", "Document type"),
    "a type in words": (_composition(type={"text": "letter"}), f"{WITHIN}.entry[0].resource.type", "in a code"),
    "a group": (_composition(subject={"reference": "Group/1"}), f"{WITHIN}.entry[0].resource.subject", "is a Patient"),
    "nobody": (_composition(subject=None), f"{WITHIN}.entry[0].resource.subject", "whom it is about"),
    "a patient without a number": (_bundle(lambda b: b["entry"][1]["resource"].pop("identifier")), f"{WITHIN}.entry[0].resource.subject", "no identifier"),
    "a stranger": (lambda _: parameters(a_fhir_document("9990000000")), f"{WITHIN}.entry[0].resource.subject", "not known here"),
    "a replaced document that is not here": (_composition(relatesTo=[{"code": "replaces", "targetIdentifier": {"system": "urn:x", "value": "y"}}]), f"{WITHIN}.entry[0].resource.relatesTo[0]", "none is current"),
    "a related document without a name": (_composition(relatesTo=[{"code": "appends", "targetReference": {"reference": "Composition/1"}}]), f"{WITHIN}.entry[0].resource.relatesTo[0]", "by its identifier"),
    "answers in progress": (_answers(status="in-progress"), f"{WITHIN}.data", "QuestionnaireResponse.status"),
    "answers to an unknown questionnaire": (_answers(questionnaire="https://x.example/Questionnaire/1"), f"{WITHIN}.data", "Document type"),
    "answers to nothing": (_answers(questionnaire=None), f"{WITHIN}.data", "in a code"),
    "answers of nobody": (_answers(subject=None), f"{WITHIN}.data", "whom it is about"),
    "broken JSON": (_in_binary("application/fhir+json", lambda _: b"{"), f"{WITHIN}.data", "JSON"),
    "a resource in JSON that is no document": (_in_binary("application/fhir+json", lambda _: b'{"resourceType":"Patient"}'), f"{WITHIN}.data", "takes Bundle"),
    "broken XML": (_in_binary("text/xml", lambda _: b"<a>"), f"{WITHIN}.data", "well-formed"),
    "other XML": (_in_binary("text/xml", lambda _: b"<a/>"), f"{WITHIN}.data", "neither a CDA"),
    "XML with a DTD": (_in_binary("text/xml", lambda n: ENTITY + a_cda(n).partition(b"?>")[2]), f"{WITHIN}.data", "DOCTYPE"),
    "XML in UTF-16": (_in_binary("text/xml", lambda n: a_cda(n).decode().replace("UTF-8", "UTF-16").encode("utf-16")), f"{WITHIN}.data", "UTF-8"),
    "another HL7 document": (_in_binary("text/xml", lambda _: b'<x xmlns="urn:hl7-org:v3"/>'), f"{WITHIN}.data", "no ClinicalDocument"),
    "two record targets": (_cda(patient=TWO), f"{WITHIN}.data", "several people"),
    "no record target": (_cda(patient="<!-- -->"), f"{WITHIN}.data", "ClinicalDocument/recordTarget"),
    "a CDA type nobody mapped": (_cda(code='<code code="1-8" codeSystem="2.16.840.1.113883.6.1"/>'), f"{WITHIN}.data", "ClinicalDocument/code"),
    "no CDA type": (_cda(code='<code nullFlavor="UNK"/>'), f"{WITHIN}.data", "ClinicalDocument/code"),
    "a CDA without an id": (_cda(identifier="no-oid"), f"{WITHIN}.data", "ClinicalDocument/id"),
    "a relation nobody knows": (_cda(relation='<relatedDocument typeCode="XXX"/>'), f"{WITHIN}.data", "relatedDocument[1]"),
    "a PDF of nobody": (_pdf(lambda _: an_xmp(type="GN-OPLET")), f"{WITHIN}.data", "property patient"),
    "a PDF of no type": (_pdf(lambda n: an_xmp(patient=f"{NHS}|{n}")), f"{WITHIN}.data", "property type"),
    "a PDF of a type nobody knows": (_pdf(lambda n: an_xmp(patient=f"{NHS}|{n}", type="ZZ")), f"{WITHIN}.data", "property type"),
    "an encrypted PDF": (_pdf(_whole, trailer=b"/Encrypt 3 0 R"), f"{WITHIN}.data", "encrypted"),
    "no PDF at all": (_in_binary("application/pdf", lambda _: b"GIF89a"), f"{WITHIN}.data", "no PDF header"),
    "a PDF cut short": (_in_binary("application/pdf", lambda n: a_pdf(_whole(n))[:-40]), f"{WITHIN}.data", "damaged"),
    "XMP with a DTD": (_pdf(lambda n: ENTITY + _whole(n).partition(b"?>")[2]), f"{WITHIN}.data", "DOCTYPE"),
    "a label nobody knows": (_pdf(lambda n: an_xmp(patient=f"{NHS}|{n}", type="GN-OPLET", label="urn:x|y")), f"{WITHIN}.data", "property label"),
    "a patient that is no identifier": (_pdf(lambda n: an_xmp(patient="no number", type="GN-OPLET")), f"{WITHIN}.data", "system|value"),
}  # fmt: skip


@pytest.mark.parametrize("name", BREACHES)
async def test_a_document_that_does_not_say_enough_is_refused_and_nothing_is_stored(
    exchange: Exchange, source: httpx.AsyncClient, name: str
) -> None:
    made, where, words = BREACHES[name]
    _, number = await somebody(source)
    body = made(number)
    before = await stored(exchange)
    answer = await ask(source, body)
    assert answer.status_code == 422, answer.text
    issues = answer.json()["issue"]
    assert any(i["expression"] == [where] and words in i["diagnostics"] for i in issues), issues
    assert await stored(exchange) == before


async def test_another_patient_in_the_security_context_than_in_the_document_is_refused(
    exchange: Exchange, source: httpx.AsyncClient, person: str
) -> None:
    _, number = await somebody(source)
    binary = a_binary(a_cda(number), "text/xml", securityContext={"reference": person})
    before = await stored(exchange)
    answer = await ask(source, parameters(binary))
    assert answer.status_code == 422, answer.text
    assert answer.json()["issue"][0]["details"]["coding"][0]["code"] == "XDSPatientIdDoesNotMatch"
    assert await stored(exchange) == before


async def test_all_faults_of_a_document_are_told_at_once(source: httpx.AsyncClient) -> None:
    bundle = a_fhir_document("x", status="preliminary", subject=None, type=concept("urn:x", "y"))
    bundle.pop("identifier")
    answer = await ask(source, parameters(deepcopy(bundle)))
    places = {i["expression"][0].removeprefix(f"{WITHIN}.") for i in answer.json()["issue"]}
    entry = "entry[0].resource"
    assert {"identifier", f"{entry}.status", f"{entry}.subject", f"{entry}.type"} <= places


@pytest.mark.parametrize(
    ("scope", "status"),
    [
        ("system/DocumentReference.c", 200),
        ("ITI-106", 200),
        ("ITI-65", 403),
        ("system/DocumentReference.u", 403),
    ],
)
async def test_the_scope_is_that_of_creating_a_documentreference(
    exchange: Exchange, source: httpx.AsyncClient, scope: str, status: int
) -> None:
    _, number = await somebody(source)
    async with exchange.as_client(scope) as client:
        assert (await ask(client, parameters(a_fhir_document(number)))).status_code == status


async def test_replacing_needs_the_scope_to_update(
    exchange: Exchange, source: httpx.AsyncClient
) -> None:
    _, number = await somebody(source)
    first = a_fhir_document(number)
    await generate(source, first)
    relation = [{"code": "replaces", "targetIdentifier": first["identifier"]}]
    async with exchange.as_client("system/DocumentReference.c") as client:
        answer = await ask(client, parameters(a_fhir_document(number, relatesTo=relation)))
        assert answer.status_code == 403


async def test_the_audit_names_the_document_and_the_patient_and_not_the_content(
    source: httpx.AsyncClient,
) -> None:
    person, number = await somebody(source)
    made = await generate(source, a_fhir_document(number))
    answer = await source.get(
        "/AuditEvent", params={"date": "ge2026-01-01", "patient": person, "_count": "20"}
    )
    events = [e["resource"] for e in answer.json()["entry"]]
    (event,) = [e for e in events if any(s["code"] == "ITI-106" for s in e["subtype"])]
    said = {e["what"].get("reference") for e in event["entity"]}
    assert {f"DocumentReference/{made['id']}", person} <= said
    assert any(
        p.endswith("IHE.MHD.GenerateMetadata.Audit.Recipient") for p in event["meta"]["profile"]
    )
    assert "Nobody" not in str(event)


async def test_the_operation_is_in_the_capability_statement(source: httpx.AsyncClient) -> None:
    statement = (await source.get("/metadata")).json()
    documents = next(
        r for r in statement["rest"][0]["resource"] if r["type"] == "DocumentReference"
    )
    assert "generate-metadata" in {o["name"] for o in documents["operation"]}
    assert "create" in {i["code"] for i in documents["interaction"]}
    assert any(u.endswith("IHE.MHD.DocumentRecipient.Generate") for u in statement["instantiates"])
    assert NS


async def test_the_operation_says_what_it_takes_and_gives(source: httpx.AsyncClient) -> None:
    said = (await source.get("/OperationDefinition/generate-metadata")).json()
    (taken, given) = said["parameter"]
    assert (taken["name"], taken["use"], taken["min"], taken["max"]) == ("document", "in", 1, "1")
    assert (given["name"], given["use"], given["type"]) == ("DocumentReference", "out", "Reference")
    assert said["affectsState"] is True
