"""Submissions (ITI-65) that cannot be, over HTTP: 400, the place and words that help, nothing stored in
any service, and the refusal in the audit trail."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from copy import deepcopy
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio

from tests.makers_mhd import (
    a_bundle,
    a_document,
    a_folder,
    a_patient,
    entry,
    locations,
    publish,
    related,
    sha1,
    unique,
)
from tests.running import Exchange
from tests.wire.test_who_may import told_of

JSON = {"Content-Type": "application/fhir+json"}
XML = {"Content-Type": "application/fhir+xml"}
Bundle = dict[str, Any]
HELD = {
    "pix": ("records", "identifiers", "persons"),
    "registry": ("documents", "lists", "registered", "documents_history", "lists_history"),
    "repository": ("blobs", "deposits", "chunks", "uploads"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def source(exchange: Exchange) -> AsyncIterator[httpx.AsyncClient]:
    async with exchange.as_client() as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def person(source: httpx.AsyncClient) -> str:
    return await a_patient(source)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def other(source: httpx.AsyncClient) -> str:
    return await a_patient(source)


@pytest_asyncio.fixture(loop_scope="module")
async def nothing_stored(exchange: Exchange, person: str, other: str) -> AsyncIterator[None]:
    before = await _counts(exchange)
    yield
    assert await _counts(exchange) == before


async def _counts(exchange: Exchange) -> dict[str, int]:
    return {
        f"{db}.{name}": await exchange.mongo.table(db, name).count({})
        for db, names in HELD.items()
        for name in names
    }


async def refused(exchange: Exchange, answer: httpx.Response, place: str = "") -> list[str]:
    """The words of a proper refusal that names this place and is in the audit trail."""
    assert answer.status_code in (400, 413), f"{answer.status_code}: {answer.text[:500]}"
    outcome = answer.json()
    assert outcome["resourceType"] == "OperationOutcome"
    issues = outcome["issue"]
    assert all(len(i["diagnostics"]) > 10 for i in issues)
    places = [p for i in issues for p in i.get("expression", ())]
    assert not place or any(place in p for p in places), issues
    events = await told_of(exchange, answer.headers["x-request-id"])  # one for each patient
    assert events
    assert all(e["outcome"] in ("4", "8") for e in events)
    return [i["diagnostics"] for i in issues]


# -- bytes that are no Bundle ---------------------------------------------------------------------


def sent(bundle: Bundle) -> bytes:
    return json.dumps(bundle).encode()


def _with_key_twice(bundle: Bundle) -> bytes:
    return sent(bundle).replace(
        b'"status": "current"', b'"status": "current", "status": "superseded"', 1
    )


def _with_data_twice(bundle: Bundle) -> bytes:
    return sent(bundle).replace(b'"data": ', b'"data": "eA==", "data": ', 1)


def _deep(bundle: Bundle) -> bytes:
    deep = b'{"extension":[' * 10_000 + b"{}" + b"]}" * 10_000
    return sent(bundle).replace(b'"mode": "working"', b'"mode": "working", "text": ' + deep, 1)


def _bundles_in_bundles(bundle: Bundle) -> bytes:
    inner = b'{"resourceType":"Bundle","type":"transaction","entry":[{"resource":'
    return inner * 10_000 + b"{}" + b"}]}" * 10_000


BYTES: dict[str, Callable[[Bundle], bytes]] = {
    "cut in the middle": lambda b: sent(b)[: len(sent(b)) // 2],
    "cut within the document": lambda b: sent(b)[: sent(b).index(b'"data": "') + 20],
    "a comma too many": lambda b: sent(b)[:-1] + b",}",
    "two Bundles": lambda b: sent(b) + sent(b),
    "a key twice": _with_key_twice,
    "data twice": _with_data_twice,
    "10,000 levels": _deep,
    "10,000 Bundles in one another": _bundles_in_bundles,
    "invalid UTF-8": lambda b: sent(b).replace(b"Discharge summary", b"Discharge \xc3\x28"),
    "half a surrogate pair": lambda b: sent(b).replace(b"Discharge summary", b"\\ud800"),
    "a NUL": lambda b: sent(b).replace(b"Discharge summary", b"a\x00b"),
    "an escaped NUL": lambda b: sent(b).replace(b"Discharge summary", b"a\\u0000b"),
    "a NUL in the document's base64": lambda b: sent(b).replace(
        b'"data": "', b'"data": "\\u0000', 1
    ),
    "a UTF-16 body": lambda b: json.dumps(b).encode("utf-16"),
    "another resource": lambda b: sent(b["entry"][1]["resource"]),
    "an operator for a type": lambda b: sent(b | {"type": {"$ne": "batch"}}),
    "an operator for an id": lambda b: sent(b | {"id": {"$gt": ""}}),
}


@pytest.mark.parametrize("what", BYTES)
async def test_bytes_that_are_no_bundle_are_refused(
    exchange: Exchange, source: httpx.AsyncClient, person: str, nothing_stored: None, what: str
) -> None:
    body = BYTES[what](a_bundle(a_document(person)))
    await refused(exchange, await source.post("", content=body, headers=JSON))


@pytest.mark.parametrize(
    "body",
    [
        b'<Bundle xmlns="http://hl7.org/fhir"><type value="transaction"/>',
        b'<Bundle xmlns="http://hl7.org/fhir"><type value="a" value="b"/></Bundle>',
        b'<Bundle xmlns="http://hl7.org/fhir"><type value="a&#0;b"/></Bundle>',
        b'<Bundle xmlns="http://hl7.org/fhir"><type value="\xff"/></Bundle>',
        b'<?xml version="1.0" encoding="utf-16"?><Bundle xmlns="http://hl7.org/fhir"/>',
        b'<!DOCTYPE b SYSTEM "http://127.0.0.1:1/x.dtd"><Bundle xmlns="http://hl7.org/fhir"/>',
        b'<Bundle xmlns="http://hl7.org/fhir">' + b"<entry><resource><Bundle>" * 10_000,
        b'<Bundle xmlns="http://hl7.org/fhir"><type value="batch"/><type value="transaction"/></Bundle>',
        b'<DocumentReference xmlns="http://hl7.org/fhir"><status value="current"/></DocumentReference>',
    ],
    ids=["cut", "an attribute twice", "a NUL", "bad UTF-8", "utf-16", "a DTD", "deep", "an element twice", "no Bundle"],
)  # fmt: skip
async def test_xml_that_is_no_bundle_is_refused(
    exchange: Exchange, source: httpx.AsyncClient, nothing_stored: None, body: bytes
) -> None:
    await refused(exchange, await source.post("", content=body, headers=XML))


@pytest.mark.parametrize("count", [3_000, 100_000])
async def test_a_huge_array_of_entries_is_refused_with_a_bounded_answer(
    exchange: Exchange, source: httpx.AsyncClient, nothing_stored: None, count: int
) -> None:
    entries = [{"request": {"method": "POST", "url": "List"}, "resource": {"resourceType": "List"}}]
    body = sent({"resourceType": "Bundle", "type": "transaction", "entry": entries * count})
    answer = await source.post("", content=body, headers=JSON)
    await refused(exchange, answer)
    assert len(answer.json()["issue"]) <= 60


# -- Bundles that refer to themselves ---------------------------------------------------------------

FIRST = "urn:uuid:5f0a7b0e-0000-4000-8000-0000000000a1"
SECOND = "urn:uuid:5f0a7b0e-0000-4000-8000-0000000000a2"


def _document_in_itself(person: str) -> Bundle:
    return a_bundle(a_document(person, _url=FIRST, **related("appends", FIRST)))


def _circle(person: str) -> Bundle:
    return a_bundle(
        a_document(person, _url=FIRST, content=b"1", **related("appends", SECOND)),
        a_document(person, _url=SECOND, content=b"2", **related("appends", FIRST)),
    )


def _replaces_each_other(person: str) -> Bundle:
    return a_bundle(
        a_document(person, _url=FIRST, content=b"1", **related("replaces", SECOND)),
        a_document(person, _url=SECOND, content=b"2", **related("replaces", FIRST)),
    )


def _folder_in_itself(person: str) -> Bundle:
    return a_bundle(a_document(person), folders=(a_folder(person, _url=FIRST, members=(FIRST,)),))


def _set_in_itself(person: str) -> Bundle:
    bundle = a_bundle(a_document(person))
    bundle["entry"][0]["resource"]["entry"].append(
        {"item": {"reference": bundle["entry"][0]["fullUrl"]}}
    )
    return bundle


def _bundle_in_itself(person: str) -> Bundle:
    bundle = a_bundle(a_document(person))
    bundle["entry"].append(entry("POST", "Bundle", deepcopy(bundle), FIRST))
    return bundle


def _about_itself(person: str) -> Bundle:
    return a_bundle(a_document(FIRST, _url=FIRST), subject=person)


def _its_own_bytes(person: str) -> Bundle:
    bundle = a_bundle(a_document(person, _url=FIRST))
    bundle["entry"][1]["resource"]["content"][0]["attachment"]["url"] = FIRST
    return bundle


def _contained_in_itself(person: str) -> Bundle:
    bundle = a_bundle(a_document(person))
    bundle["entry"][1]["resource"]["contained"][0]["contained"] = [
        {"resourceType": "Practitioner", "id": "author"}
    ]
    return bundle


def _one_url_for_all(person: str) -> Bundle:
    bundle = a_bundle(a_document(person))
    for each in bundle["entry"]:
        each["fullUrl"] = FIRST
    return bundle


SELVES = (
    _document_in_itself, _circle, _replaces_each_other, _folder_in_itself, _set_in_itself, _bundle_in_itself, _about_itself,
    _its_own_bytes, _contained_in_itself, _one_url_for_all,
)  # fmt: skip


@pytest.mark.parametrize("made", SELVES, ids=lambda m: m.__name__.strip("_"))
async def test_a_bundle_that_refers_to_itself_is_refused(
    exchange: Exchange,
    source: httpx.AsyncClient,
    person: str,
    nothing_stored: None,
    made: Callable[[str], Bundle],
) -> None:
    await refused(exchange, await publish(source, made(person)), "Bundle.entry[")


# -- what does not fit the bytes, or the person ------------------------------------------------------


def attachment(bundle: Bundle, number: int = 1) -> Bundle:
    held: Bundle = bundle["entry"][number]["resource"]["content"][0]["attachment"]
    return held


@pytest.mark.parametrize("by", [-1, 1, 10**6])
async def test_a_size_off_by_one_is_refused_with_both_sizes(
    exchange: Exchange, source: httpx.AsyncClient, person: str, nothing_stored: None, by: int
) -> None:
    bundle = a_bundle(a_document(person, content=b"x" * 1000))
    attachment(bundle)["size"] += by
    words = await refused(exchange, await publish(source, bundle), "attachment.size")
    assert any("1000" in w.replace(",", "") and str(1000 + by) in w.replace(",", "") for w in words)


async def test_the_hash_of_other_bytes_is_refused(
    exchange: Exchange, source: httpx.AsyncClient, person: str, nothing_stored: None
) -> None:
    bundle = a_bundle(a_document(person, content=b"these"))
    attachment(bundle)["hash"] = sha1(b"those")
    await refused(exchange, await publish(source, bundle), "attachment.hash")


async def test_hashes_that_were_swapped_are_both_named(
    exchange: Exchange, source: httpx.AsyncClient, person: str, nothing_stored: None
) -> None:
    bundle = a_bundle(a_document(person, content=b"one"), a_document(person, content=b"two"))
    first, second = attachment(bundle, 1), attachment(bundle, 3)
    first["hash"], second["hash"] = second["hash"], first["hash"]
    answer = await publish(source, bundle)
    await refused(exchange, answer, "entry[1].resource.content[0].attachment.hash")
    await refused(exchange, answer, "entry[3].resource.content[0].attachment.hash")


async def test_one_binary_for_two_documents_is_refused(
    exchange: Exchange, source: httpx.AsyncClient, person: str, nothing_stored: None
) -> None:
    bundle = a_bundle(a_document(person, content=b"same"), a_document(person, content=b"same"))
    attachment(bundle, 3)["url"] = attachment(bundle, 1)["url"]
    del bundle["entry"][4]
    await refused(exchange, await publish(source, bundle), "attachment.url")


@pytest.mark.parametrize(
    "subject",
    [
        {"reference": "Patient/nobody"},
        {"identifier": {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9999999468"}},
        {"identifier": {"system": "urn:nowhere", "value": "1"}},
        {"reference": "https://elsewhere.example/fhir/Patient/1"},
        {"display": "That boy"},
    ],
)
async def test_an_unknown_patient_is_refused(
    exchange: Exchange, source: httpx.AsyncClient, nothing_stored: None, subject: Bundle
) -> None:
    await refused(exchange, await publish(source, a_bundle(a_document(subject))), "subject")


async def test_a_subject_that_was_merged_away_or_removed_is_refused(
    exchange: Exchange, source: httpx.AsyncClient
) -> None:
    space = "https://throughline.example/fhir/Id/tenancy/VCS-01"

    async def fed(value: str, **more: Any) -> httpx.Response:
        body = {
            "resourceType": "Patient", "active": True, "name": [{"family": "Gone"}],
            "identifier": [{"system": space, "value": value}], **more,
        }  # fmt: skip
        return await source.put(
            "Patient", params={"identifier": f"{space}|{value}"}, json=body, headers=JSON
        )

    gone, kept = (await fed("gone")).json()["id"], (await fed("kept")).json()["id"]
    link = {"type": "replaced-by", "other": {"reference": f"Patient/{kept}"}}
    assert (await fed("gone", active=False, link=[link])).status_code == 200
    before = await _counts(exchange)
    await refused(
        exchange, await publish(source, a_bundle(a_document(f"Patient/{gone}"))), "subject"
    )
    assert await _counts(exchange) == before
    removed = await source.delete("Patient", params={"identifier": f"{space}|kept"})
    assert removed.status_code == 204
    before = await _counts(exchange)
    await refused(
        exchange, await publish(source, a_bundle(a_document(f"Patient/{kept}"))), "subject"
    )
    assert await _counts(exchange) == before


async def test_two_subjects_are_refused_wherever_the_second_hides(
    exchange: Exchange, source: httpx.AsyncClient, person: str, other: str, nothing_stored: None
) -> None:
    for bundle in (
        a_bundle(a_document(person), a_document(other, content=b"2")),
        a_bundle(a_document(person), subject=other),
        a_bundle(a_document(person), folders=(a_folder(other),)),
    ):
        answer = await publish(source, bundle)
        await refused(exchange, answer, "subject")
        codes = [i["details"]["coding"][0]["code"] for i in answer.json()["issue"]]
        assert "XDSPatientIdDoesNotMatch" in codes


@pytest.mark.parametrize("year", ["0000", "99999", "0", "-001", "10000"])
@pytest.mark.parametrize("where", ["date", "creation", "period", "submission"])
async def test_a_year_that_fhir_cannot_say_is_refused(
    exchange: Exchange,
    source: httpx.AsyncClient,
    person: str,
    nothing_stored: None,
    year: str,
    where: str,
) -> None:
    bundle = a_bundle(a_document(person))
    document, submission = bundle["entry"][1]["resource"], bundle["entry"][0]["resource"]
    if where == "date":
        document["date"] = f"{year}-01-01T00:00:00Z"
    elif where == "creation":
        attachment(bundle)["creation"] = year
    elif where == "period":
        document["context"]["period"] = {"start": f"{year}-01-01"}
    else:
        submission["date"] = f"{year}-06-01"
    place = {"submission": "entry[0].resource.date", "period": "context.period.start"}.get(
        where, where
    )
    await refused(exchange, await publish(source, bundle), place)


@pytest.mark.parametrize("year", ["0001", "9999"])
async def test_the_first_and_the_last_year_that_fhir_can_say_are_kept_and_found(
    source: httpx.AsyncClient, year: str
) -> None:
    person = await a_patient(source)
    document = a_document(person)
    document["context"]["period"] = {"start": f"{year}-01-01", "end": f"{year}-12-31"}
    answer = await publish(source, a_bundle(document))
    assert answer.status_code == 200, answer.text
    asked = {"patient": person, "status": "current", "period": year}
    found = await source.get("DocumentReference", params=asked)
    assert found.json()["total"] == 1


# -- characters that mean something to a query ---------------------------------------------------------

ODD = r"A|1,2\3$4"
ESCAPED = r"A\|1\,2\\3\$4"


async def test_escapes_in_a_documents_identifier_mean_the_characters_themselves(
    source: httpx.AsyncClient,
) -> None:
    person = await a_patient(source)
    system = "https://x.example/case"
    document = a_document(person, identifier=[{"system": system, "value": ODD}])
    assert len(locations(await publish(source, a_bundle(document)))) == 3
    for asked, total in (
        (f"{system}|{ESCAPED}", 1), (ESCAPED, 1), (f"{system}|{ODD}", 0), (f"{system}|A", 0),
        (f"{system}|{ESCAPED},{system}|other", 1), (f"{system}|A%", 0),
    ):  # fmt: skip
        for answer in (
            await source.get("DocumentReference", params={"identifier": asked}),
            await source.post("DocumentReference/_search", data={"identifier": asked}),
        ):
            assert answer.status_code == 200, answer.text
            assert answer.json()["total"] == total, asked


async def test_escapes_in_a_persons_identifier_lead_to_their_documents(
    source: httpx.AsyncClient,
) -> None:
    system = "https://throughline.example/fhir/Id/tenancy/VCS-01"
    patient = {
        "resourceType": "Patient", "active": True, "name": [{"family": "Escape"}],
        "identifier": [{"system": system, "value": ODD}],
    }  # fmt: skip
    named = {"identifier": f"{system}|{ESCAPED}"}
    fed = await source.put("Patient", params=named, json=patient, headers=JSON)
    assert fed.status_code == 201, fed.text
    person = f"Patient/{fed.json()['id']}"
    await publish(source, a_bundle(a_document(person)))
    asked = {"patient.identifier": f"{system}|{ESCAPED}", "status": "current"}
    found = await source.get("DocumentReference", params=asked)
    assert found.json()["total"] == 1
    other = await source.get(
        "DocumentReference", params=asked | {"patient.identifier": f"{system}|{ODD}"}
    )
    assert other.json()["total"] == 0
    told = await source.get("Patient/$ihe-pix", params={"sourceIdentifier": f"{system}|{ESCAPED}"})
    assert told.status_code == 200, told.text


OPERATORS = [
    "$where", '{"$ne":null}', '{"$gt":""}', "[$ne]", "';sleep(9);//", ".*", "^", "x" * 3000, "%", "\\", "|", "||",
    "{$regex: '.*'}", '{"$expr":{"$function":{}}}',
]  # fmt: skip
PLACES = [
    ("DocumentReference", {"status": "current"}, ("patient.identifier", "patient", "identifier", "_id")),
    ("DocumentReference", {"_id": "x"}, ("type", "author.family", "author.family:contains", "event", "related:identifier")),
    ("List", {"status": "current", "code": "folder"}, ("patient", "patient.identifier", "identifier")),
    ("List", {"_id": "x"}, ("source.given", "sourceId", "designationType")),
    ("AuditEvent", {"date": "ge2026"}, ("patient.identifier", "patient", "agent", "action", "entity", "address")),
    ("Patient/$ihe-pix", {}, ("sourceIdentifier",)),
    ("Patient", {}, ("given:exact", "address-city", "address-postalcode", "birthdate", "gender")),
]  # fmt: skip


@pytest.mark.parametrize("value", OPERATORS)
async def test_an_operator_in_any_query_value_is_plain_text(
    source: httpx.AsyncClient, value: str
) -> None:
    for kind, base, parameters in PLACES:
        for parameter in parameters:
            for said in (value, f"{value}|{value}", f"urn:x|{value}"):
                answer = await source.get(kind, params=base | {parameter: said})
                if answer.status_code == 200 and kind == "AuditEvent":
                    # Asking for nonsense is itself in the trail, under the nonsense.
                    # Of a token it is what stands behind the system.
                    sought = {json.dumps(v)[1:-1] for v in (value, said.partition("|")[2]) if v}
                    trail = json.dumps(answer.json().get("entry", []), ensure_ascii=False)
                    found = any(nonsense in trail for nonsense in sought)
                    assert found or not answer.json()["total"] or len(value) > 999
                elif answer.status_code == 200:
                    assert answer.json().get("total", 0) == 0, (kind, parameter, said)
                else:
                    assert answer.status_code in (400, 403, 404), (kind, parameter, answer.text)
                    assert answer.json()["resourceType"] == "OperationOutcome"


async def test_operators_for_parameter_names_are_unknown_parameters(
    source: httpx.AsyncClient,
) -> None:
    for name in (
        "$where",
        "patient[$ne]",
        "_id[$gt]",
        "status[]",
        "$or",
        "ix.subject",
        "patient.$where",
    ):
        answer = await source.get(
            "DocumentReference", params={"status": "current", "_id": "x", name: "1"}
        )
        assert answer.status_code == 400, name
        assert orjson.loads(answer.content)["issue"][0]["code"] == "not-supported"


async def test_a_refused_submission_can_be_sent_again_once_it_is_right(
    source: httpx.AsyncClient, person: str
) -> None:
    """Nothing of a refusal stays in the way: not the uniqueIds, not the bytes."""
    bundle = a_bundle(a_document(person, masterIdentifier=unique(), content=b"again"))
    attachment(bundle)["size"] += 1
    assert (await publish(source, bundle)).status_code == 400
    attachment(bundle)["size"] -= 1
    assert len(locations(await publish(source, bundle))) == 3
