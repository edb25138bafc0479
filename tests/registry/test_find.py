"""ITI-66 and ITI-67: every parameter finds and leaves out, by GET and by POST; reads within the scope."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from tests.makers_mhd import (
    NHS,
    NS,
    a_bundle,
    a_document,
    a_folder,
    a_patient,
    concept,
    locations,
    nhs_number,
    publish,
    unique,
)
from tests.running import Exchange

NUMBER = nhs_number(777777)
MASTER = unique("urn:oid:2.25.777")
SET = unique("urn:oid:2.25.778")
CASE = f"{NS}/Id/case"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whom(source: httpx.AsyncClient) -> AsyncIterator[str]:
    """A patient with one document that the searches below look for, and a Folder."""
    person = await a_patient(source, identifier=[{"system": NHS, "value": NUMBER}])
    document = a_document(person, masterIdentifier=MASTER)
    document["context"] |= {
        "event": [
            concept(f"{NS}/CodeSystem/event", "EYS1"),
            concept(f"{NS}/CodeSystem/event", "EYS2"),
        ],
        "related": [{"identifier": {"system": CASE, "value": "7"}}],
    }
    bundle = a_bundle(document, folders=(a_folder(person),))
    bundle["entry"][0]["resource"]["identifier"] = [SET]
    answer = await publish(source, bundle)
    assert answer.status_code == 200, answer.text
    yield person


async def total(client: httpx.AsyncClient, kind: str, pairs: list[tuple[str, str]]) -> int:
    got = await client.get(f"/{kind}", params=pairs)
    assert got.status_code == 200, got.text
    posted = (
        await client.post(f"/{kind}/_search", data=dict(pairs))
        if len(dict(pairs)) == len(pairs)
        else got
    )
    assert posted.json()["total"] == got.json()["total"]
    for entry in got.json().get("entry", ()):
        assert entry["fullUrl"].endswith(entry["resource"]["id"])
    return int(got.json()["total"])


FOUND = [
    ("author.given", "zoe"), ("author.family", "OZTURK"), ("author.family:exact", "Öztürk"),
    ("author:Practitioner.family", "Özt"), ("category", "DISCH"),
    ("category", f"{NS}/CodeSystem/document-class|DISCH"), ("type", "GN-DISCH,GN-OPLET"),
    ("creation", "2026-03-03"), ("creation", "lt2026-03-04"), ("date", "ge2026-03-04"),
    ("date", "2026-03"), ("event", "EYS1"), ("facility", "HOSP"),
    ("format", "urn:ihe:iti:xds:2017:mimeTypeSufficient"), ("identifier", MASTER["value"]),
    ("identifier", f"urn:ietf:rfc:3986|{MASTER['value']}"), ("period", "2026-03"), ("period", "ge2026-03-02"),
    ("related:identifier", f"{CASE}|7"), ("related.identifier", f"{CASE}|7"), ("security-label", "N"),
    ("setting", "310000008"), ("status", "current,superseded"), ("_lastUpdated", "ge2026"), ("event:missing", "false"),
]  # fmt: skip
NOT_FOUND = [
    ("author.given", "ruth"), ("author.family:exact", "öztürk"), ("category", "PLAN"), ("type", "urn:x|GN-DISCH"),
    ("creation", "2026-03-04"), ("date", "lt2026-03-04"), ("event", "EYS3"), ("facility", "GP"),
    ("format", "x"), ("identifier", "urn:oid:2.25.1"), ("period", "gt2026-04"), ("related:identifier", f"{CASE}|8"),
    ("security-label", "R"), ("setting", "1"), ("_lastUpdated", "lt2020"), ("event:missing", "true"),
]  # fmt: skip


@pytest.mark.parametrize("pair", FOUND, ids=str)
async def test_a_document_is_found_by(
    source: httpx.AsyncClient, whom: str, pair: tuple[str, str]
) -> None:
    rest = [] if pair[0] == "status" else [("status", "current")]
    assert await total(source, "DocumentReference", [("patient", whom), *rest, pair]) == 1


@pytest.mark.parametrize("pair", NOT_FOUND, ids=str)
async def test_a_document_is_not_found_by(
    source: httpx.AsyncClient, whom: str, pair: tuple[str, str]
) -> None:
    pairs = [("patient", whom), ("status", "current"), pair]
    assert await total(source, "DocumentReference", pairs) == 0


async def test_a_repeated_event_means_both(source: httpx.AsyncClient, whom: str) -> None:
    pairs = [("patient", whom), ("status", "current"), ("event", "EYS1")]
    assert await total(source, "DocumentReference", [*pairs, ("event", "EYS2")]) == 1
    assert await total(source, "DocumentReference", [*pairs, ("event", "EYS3")]) == 0


@pytest.mark.parametrize(
    ("code", "pair", "expected"),
    [
        ("submissionset", ("source.given", "ruth"), 1), ("submissionset", ("source.family", "mar"), 1),
        ("submissionset", ("sourceId", "urn:oid:2.25.7"), 1), ("submissionset", ("designationType", "GN-DISCH"), 1),
        ("submissionset", ("date", "2026-03-04"), 1), ("submissionset", ("identifier", SET["value"]), 1),
        ("submissionset", ("date", "gt2026-03-04"), 0), ("submissionset", ("source.given", "zoe"), 0),
        ("folder", ("designationType", "case"), 1), ("folder", ("designationType", "GN-DISCH"), 0),
        ("https://profiles.ihe.net/ITI/MHD/CodeSystem/MHDlistTypes|folder", ("_lastUpdated", "ge2026"), 1),
    ],
    ids=str,
)  # fmt: skip
async def test_a_list_is_found_by(
    source: httpx.AsyncClient, whom: str, code: str, pair: tuple[str, str], expected: int
) -> None:
    pairs = [("patient", whom), ("status", "current"), ("code", code), pair]
    assert await total(source, "List", pairs) == expected


@pytest.mark.parametrize(
    ("query", "missing"),
    [
        ({"status": "current"}, {"patient"}), ({"patient": "Patient/1"}, {"status"}), ({}, {"patient", "status"}),
        ({"type": "GN-DISCH"}, {"patient", "status"}),
    ],
)  # fmt: skip
async def test_a_search_of_everybody_is_refused(
    source: httpx.AsyncClient, query: dict[str, str], missing: set[str]
) -> None:
    answer = await source.get("/DocumentReference", params=query)
    assert answer.status_code == 400
    assert {i["expression"][0] for i in answer.json()["issue"]} == missing
    assert {i["code"] for i in answer.json()["issue"]} == {"required"}


async def test_lists_also_need_a_code(source: httpx.AsyncClient, whom: str) -> None:
    answer = await source.get("/List", params={"patient": whom, "status": "current"})
    assert [i["expression"] for i in answer.json()["issue"]] == [["code"]]


async def test_a_patient_may_be_named_in_every_form(
    exchange: Exchange, source: httpx.AsyncClient, whom: str
) -> None:
    forms = [
        ("patient", whom), ("patient", whom.split("/")[1]), ("patient", f"{exchange.base}/{whom}"),
        ("patient:Patient", whom.split("/")[1]), ("patient.identifier", f"{NHS}|{NUMBER}"),
        ("patient:identifier", f"{NHS}|{NUMBER}"), ("patient:Patient.identifier", f"{NHS}|{NUMBER}"),
        ("patient.identifier", f"{NHS}|{NUMBER[:3]} {NUMBER[3:6]} {NUMBER[6:]}"),
    ]  # fmt: skip
    for form in forms:
        assert await total(source, "DocumentReference", [form, ("status", "current")]) == 1, form


async def test_an_unknown_patient_has_no_documents(source: httpx.AsyncClient) -> None:
    for form in (("patient", "Patient/nobody"), ("patient.identifier", f"{NHS}|9999999999")):
        assert await total(source, "DocumentReference", [form, ("status", "current")]) == 0


async def test_patients_asked_together_must_be_one(source: httpx.AsyncClient, whom: str) -> None:
    other = await a_patient(source)
    both = [("patient", whom), ("patient.identifier", f"{NHS}|{NUMBER}"), ("status", "current")]
    assert await total(source, "DocumentReference", both) == 1
    assert await total(source, "DocumentReference", [("patient", other), *both[1:]]) == 0


async def test_documents_of_every_record_of_a_person_are_found(source: httpx.AsyncClient) -> None:
    number, survivor = nhs_number(888111), nhs_number(888222)
    old = await a_patient(source, identifier=[{"system": NHS, "value": number}])
    new = await a_patient(source, identifier=[{"system": NHS, "value": survivor}])
    for whose in (old, new):
        await publish(source, a_bundle(a_document(whose)))
    link = [{"other": {"identifier": {"system": NHS, "value": survivor}}, "type": "replaced-by"}]
    await a_patient(source, identifier=[{"system": NHS, "value": number}], active=False, link=link)
    for form in (("patient", old), ("patient", new), ("patient.identifier", f"{NHS}|{number}")):
        assert await total(source, "DocumentReference", [form, ("status", "current")]) == 2, form
    refused = await publish(source, a_bundle(a_document(old)))
    assert refused.status_code == 400
    assert new in refused.text


async def test_pages_follow_one_another_in_both_orders(source: httpx.AsyncClient) -> None:
    person = await a_patient(source)
    dates = [f"2026-0{m}-01T00:00:00Z" for m in range(1, 8)]
    await publish(source, a_bundle(*(a_document(person, date=d) for d in dates)))
    for sort, order in (("date", dates), ("-date", dates[::-1])):
        url, seen = "/DocumentReference", []
        query: dict[str, str] | None = {
            "patient": person, "status": "current", "_sort": sort, "_count": "3", "date": "ge2026-01-01",
        }  # fmt: skip
        while url:
            page = (await source.get(url, params=query)).json()
            assert page["total"] == 7
            seen += [e["resource"]["date"] for e in page["entry"]]
            url = next((ln["url"] for ln in page["link"] if ln["relation"] == "next"), "")
            query = None
        assert seen == order


async def test_a_scope_with_a_query_narrows_searches_and_reads(
    exchange: Exchange, source: httpx.AsyncClient
) -> None:
    person = await a_patient(source)
    answer = await publish(
        source, a_bundle(a_document(person), a_document(person, kind="GN-OPLET"))
    )
    _, summary, binary, letter, other = locations(answer)
    scope = "system/DocumentReference.rs?type=GN-OPLET system/Binary.r"
    async with exchange.as_client(scope) as narrow:
        assert (
            await total(narrow, "DocumentReference", [("patient", person), ("status", "current")])
            == 1
        )
        assert (await narrow.get(letter)).status_code == 200
        for hidden in (summary, f"{summary}/_history", f"{summary}/_history/1", binary):
            assert (await narrow.get(hidden)).status_code == 404
        assert (await narrow.get(other)).status_code == 200
        assert (await narrow.get("/List", params={"identifier": "x"})).status_code == 403


async def test_reads_say_what_version_they_are(source: httpx.AsyncClient, whom: str) -> None:
    found = await source.get("/DocumentReference", params={"identifier": MASTER["value"]})
    document = f"DocumentReference/{found.json()['entry'][0]['resource']['id']}"
    read = await source.get(document)
    assert read.headers["etag"] == 'W/"1"'
    assert (await source.get(document, headers={"If-None-Match": 'W/"1"'})).status_code == 304
    assert (await source.get(f"{document}/_history/1")).content == read.content
    assert (await source.get(f"{document}/_history/2")).status_code == 404
    assert (await source.get("DocumentReference/nothing")).status_code == 404
    assert (await source.get(f"{document}/_history", params={"_count": "0"})).status_code == 400
