"""ITI-78: every parameter, the domain restriction, merged records, reads and pages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from chassis.call import Caller
from pix.rebuild import rebuild
from tests.pix.makers import (
    BASE,
    COUNCIL,
    HOSPITAL,
    NHS,
    NS,
    SALFORD,
    TRUST,
    Pix,
    diagnostics,
    nhs_number,
    patient,
    replaced,
)  # fmt: skip

ZOE = patient(
    TRUST,
    "Z1",
    nhs=nhs_number(8001),
    born="1984-05-06",
    name=[{"family": "Müller-O'Neil", "given": ["Zoë", "May"]}],
    telecom=[{"system": "phone", "value": "0161 496 0001"}, {"system": "email", "value": "zoe@x.example"}],
    address=[
        {
            "line": ["7 Canal Street"], "city": "Salford", "district": "Greater Manchester",
            "state": "Lancashire", "postalCode": "M5 4WT", "country": "GB",
        }
    ],
    active=True,
    extension=[
        {
            "url": "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName",
            "valueString": "Fitzgerald",
        }
    ],
)  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def town(service: Pix) -> Mapping[str, str]:
    """Zoë, and Adam who shares nothing with her but the town."""
    zoe = await service.feed(ZOE)
    adam = await service.feed(
        patient(
            COUNCIL,
            "8000002",
            born="1984",
            gender="male",
            name=[{"family": "Mull", "given": ["Adam"]}],
        )
    )
    return {"zoe": zoe.json()["id"], "adam": adam.json()["id"]}


async def found(pix: Pix, query: str) -> list[str]:
    answer = await pix.http.get(f"/Patient?{query}")
    assert answer.status_code == 200, answer.text
    bundle = answer.json()
    assert bundle["type"] == "searchset"
    entries = [e for e in bundle.get("entry", []) if e["search"]["mode"] == "match"]
    assert bundle["total"] == len(entries)
    assert all(e["fullUrl"] == f"{BASE}/Patient/{e['resource']['id']}" for e in entries)
    return [e["resource"]["id"] for e in entries]


@pytest.mark.parametrize(
    "query",
    [
        f"identifier={TRUST}%7CZ1", "identifier=Z1", "family=muller", "family=MÜLLER", "family=müller-o'neil",
        "family:exact=Müller-O'Neil", "family:contains=oneil", "given=zoe", "given=zoe&given=may",
        "telecom=01614960001", "telecom=%2B441614960001", "telecom=zoe@x.example",
        "telecom=phone%7C0161 496 0001", "birthdate=1984-05-06", "birthdate=1984-05",
        "birthdate=ge1984-05-01&birthdate=lt1984-06&family=muller",
        "address=7 canal", "address-city=salford", "address-country=GB",
        "address-postalcode=M5", "address-state=lanc", "gender=female&telecom=zoe@x.example",
        "mothersMaidenName=fitz",
        "family=muller&gender=female", "birthdate=1984-05-06&family=muller", "active=true&family=muller",
        "family=nobody,muller", f"identifier={NHS}%7C999 008 0015,{TRUST}%7CZ1",
    ],
)  # fmt: skip
async def test_each_parameter_finds_zoe_alone(
    pix: Pix, town: Mapping[str, str], query: str
) -> None:
    assert await found(pix, query) == [town["zoe"]]


@pytest.mark.parametrize(
    "query",
    [
        "family:exact=muller", "family:exact=Müller", "given:exact=zoe", "family=uller", "birthdate=1985",
        "given=adam&given=zoe", "identifier=z1", "family=muller&gender=male", "birthdate=1983,1982",
    ],
)  # fmt: skip
async def test_what_does_not_match_is_an_empty_bundle(pix: Pix, query: str) -> None:
    assert await found(pix, query) == []


async def test_a_year_covers_days_and_a_day_does_not_cover_a_year(
    pix: Pix, town: Mapping[str, str]
) -> None:
    assert set(await found(pix, "birthdate=1984")) == set(town.values())
    assert await found(pix, "birthdate=1984-05-06") == [town["zoe"]]


async def test_an_nhs_number_is_found_however_it_is_written(
    pix: Pix, town: Mapping[str, str]
) -> None:
    number = nhs_number(8001)
    spaced = f"{number[:3]} {number[3:6]}-{number[6:]}"
    for said in (f"{NHS}%7C{spaced}", spaced, f"urn:oid:2.16.840.1.113883.2.1.4.1%7C{number}"):
        assert await found(pix, f"identifier={said}") == [town["zoe"]]


async def test_a_search_that_finds_or_reads_a_city_is_refused(
    pix: Pix, town: Mapping[str, str]
) -> None:
    records = pix.mongo.table("pix", "records")
    crowd = [
        {
            "_id": f"crowd-{n}",
            "state": "active",
            "ix": {"family": {"f": ["crowdedname"]}},
            "crowd": 1,
        }
        for n in range(10_001)
    ]
    await records.insert_many(crowd)
    refused = await pix.http.get("/Patient?family=crowded")
    alone = [
        await pix.http.get(f"/Patient?{query}")
        for query in ("gender=other", "active=true&address-country=ZZ", "address-state:contains=x",
                      "family:missing=true", "identifier:not=urn:x%7C1", "_summary=count")
    ]  # fmt: skip
    led = await found(pix, "gender=female&family=muller&address-country=GB&address-state=lanc")
    await records.delete({"crowd": 1}, many=True)
    assert led == [town["zoe"]]
    for answer in alone:
        assert answer.status_code == 403, answer.url
        assert answer.json()["issue"][0]["code"] == "too-costly"
        assert "add a family name" in diagnostics(answer)[0]
    assert await found(pix, "gender=female&address-country=GB") == [
        town["zoe"]
    ]  # among a few people
    assert refused.status_code == 403
    assert refused.json()["issue"][0]["code"] == "too-costly"
    assert "birth date" in diagnostics(refused)[0]


async def test_a_search_is_audited_once_and_for_each_patient(
    pix: Pix, town: Mapping[str, str]
) -> None:
    await found(pix, "family=muller")
    references = [
        e["what"]["reference"]
        for event in pix.audited
        for e in event["entity"]
        if e.get("what", {}).get("type") == "Patient"
    ]
    assert references == [f"Patient/{town['zoe']}"]
    assert all(event["outcome"] == "0" for event in pix.audited)


async def test_a_search_by_id_and_by_time(pix: Pix, town: Mapping[str, str]) -> None:
    assert await found(pix, f"_id={town['adam']}") == [town["adam"]]
    assert set(await found(pix, "_lastUpdated=ge2020-01-01&family=mull")) == set(town.values())


async def test_a_posted_search_finds_the_same(pix: Pix, town: Mapping[str, str]) -> None:
    answer = await pix.http.post("/Patient/_search", data={"family": "muller", "birthdate": "1984"})
    assert [e["resource"]["id"] for e in answer.json()["entry"]] == [town["zoe"]]


async def test_an_unknown_parameter_names_the_nearest(pix: Pix) -> None:
    refused = await pix.http.get("/Patient?famly=x")
    assert refused.status_code == 400
    assert "family" in diagnostics(refused)[0]


async def test_a_search_by_domain_filters_and_strips(pix: Pix, town: Mapping[str, str]) -> None:
    answer = (await pix.http.get(f"/Patient?identifier={NHS}%7C&family=m")).json()
    (entry,) = answer["entry"]
    assert entry["resource"]["id"] == town["zoe"]
    assert {i["system"] for i in entry["resource"]["identifier"]} == {NHS}
    several = f"/Patient?identifier={NHS}%7C,{COUNCIL}%7C"
    listed = (await pix.http.get(several)).json()["entry"]
    assert {i["system"] for e in listed for i in e["resource"]["identifier"]} == {NHS, COUNCIL}
    whole = (await pix.http.get(f"/Patient?identifier={TRUST}%7CZ1")).json()["entry"][0]
    assert len(whole["resource"]["identifier"]) == 2


async def test_an_unknown_domain_is_a_404_with_a_warning(pix: Pix) -> None:
    answer = await pix.http.get(f"/Patient?identifier=urn:oid:1.2.3%7C,{NHS}%7C")
    assert answer.status_code == 404
    (issue,) = answer.json()["issue"]
    assert (issue["severity"], issue["code"]) == ("warning", "not-found")
    assert issue["diagnostics"] == "targetSystem not found"


async def test_merged_records_are_found_by_name_only(pix: Pix) -> None:
    gone = (await pix.feed(patient(SALFORD, "8100001", name=[{"family": "Merged"}]))).json()["id"]
    kept = (await pix.feed(patient(SALFORD, "8100002", name=[{"family": "Merged"}]))).json()["id"]
    other = {"identifier": {"system": SALFORD, "value": "8100002"}}
    await pix.feed(replaced(patient(SALFORD, "8100001", name=[{"family": "Merged"}]), other))
    assert await found(pix, "family=merged") == [kept]
    assert set(await found(pix, f"identifier={SALFORD}%7C8100001")) == {gone, kept}
    for query in (f"_id={gone}", "active=false"):
        bundle = (await pix.http.get(f"/Patient?{query}")).json()
        modes = {e["resource"]["id"]: e["search"]["mode"] for e in bundle["entry"]}
        assert modes == {gone: "match", kept: "include"}
        assert bundle["total"] == 1


async def test_pages_are_whole_and_do_not_repeat(pix: Pix) -> None:
    made = {
        (await pix.feed(patient(HOSPITAL, f"P{n}", name=[{"family": "Paging"}]))).json()["id"]
        for n in range(7)
    }
    seen: list[str] = []
    url: str | None = f"{BASE}/Patient?family=paging&_count=3"
    while url:
        bundle: dict[str, Any] = (await pix.http.get(url)).json()
        assert bundle["total"] == 7
        seen += [e["resource"]["id"] for e in bundle["entry"]]
        url = next((k["url"] for k in bundle["link"] if k["relation"] == "next"), None)
    assert sorted(seen) == sorted(made)


async def test_a_token_for_some_patients_finds_and_reads_these_only(
    pix: Pix, town: Mapping[str, str]
) -> None:
    pix.caller = Caller(client_id="c", scope=f"system/Patient.rs?identifier={TRUST}|")
    assert await found(pix, "family=mull") == [town["zoe"]]
    assert (await pix.http.get(f"/Patient/{town['zoe']}")).status_code == 200
    for path in ("", "/_history", "/_history/1"):
        assert (await pix.http.get(f"/Patient/{town['adam']}{path}")).status_code == 404


async def test_an_unknown_patient_is_not_found(pix: Pix) -> None:
    for path in ("nobody", "nobody/_history", "nobody/_history/1"):
        assert (await pix.http.get(f"/Patient/{path}")).status_code == 404


async def test_a_removal_ends_the_history(pix: Pix) -> None:
    id_ = (await pix.feed(patient(HOSPITAL, "GONE1"))).json()["id"]
    await pix.remove(HOSPITAL, "GONE1")
    assert (await pix.http.get(f"/Patient/{id_}/_history/2")).status_code == 410
    assert (await pix.http.get(f"/Patient/{id_}/_history/1")).status_code == 200
    assert (await pix.http.get(f"/Patient/{id_}/_history/9")).status_code == 404
    bundle = (await pix.http.get(f"/Patient/{id_}/_history")).json()
    assert [e["request"]["method"] for e in bundle["entry"]] == ["DELETE", "PUT"]


async def test_a_read_is_not_repeated_to_who_has_it(pix: Pix, town: Mapping[str, str]) -> None:
    tag = (await pix.http.get(f"/Patient/{town['zoe']}")).headers["etag"]
    again = await pix.http.get(f"/Patient/{town['zoe']}", headers={"If-None-Match": tag})
    assert again.status_code == 304


async def test_plain_create_is_not_offered(pix: Pix) -> None:
    assert (await pix.http.post("/Patient", json=patient(NS + "x", "1"))).status_code == 405


async def test_xml_goes_in_and_comes_out(pix: Pix) -> None:
    xml = (
        f'<Patient xmlns="http://hl7.org/fhir"><identifier><system value="{HOSPITAL}"/>'
        '<value value="XML1"/></identifier><name><family value="Ashworth"/></name></Patient>'
    )
    made = await pix.http.put(
        "/Patient",
        params={"identifier": f"{HOSPITAL}|XML1"},
        content=xml,
        headers={"Content-Type": "application/fhir+xml", "Accept": "application/fhir+xml"},
    )
    assert made.status_code == 201
    assert made.text.startswith("<?xml")
    body = {
        "resourceType": "Patient",
        "identifier": [{"system": HOSPITAL, "value": "XML1"}],
        "name": [{"family": "Ashworth"}],
    }
    assert (await pix.feed(body)).headers["etag"] == 'W/"1"'


@pytest.mark.parametrize(
    "query",
    [
        "family=Mül*&given=Zo*", "address-postalcode=M5*", "family=muller*&birthdate=ge1984&birthdate=le1985",
        "_id={zoe}", "_id=nobody,{zoe}&gender=female", "_lastUpdated=ge2020&family=muller",
        "telecom=zoe@x.example&address-city=salford&given=may&active=true&mothersMaidenName=fitz*",
        "family:exact=Müller-O'Neil&given:exact=Zoë&address-state:exact=Lancashire&address-city:exact=Salford",
        "address:exact=7 Canal Street&address-country:exact=GB&address-postalcode:exact=M5 4WT",
        "mothersMaidenName:exact=Fitzgerald", f"identifier={TRUST}%7C&family=muller&birthdate=1984-05",
        f"identifier={TRUST}%7CZ1&identifier={NHS}%7C{nhs_number(8001)}",
    ],
)  # fmt: skip
async def test_parameters_combine(pix: Pix, town: Mapping[str, str], query: str) -> None:
    assert await found(pix, query.format(**town)) == [town["zoe"]]


async def test_a_search_may_be_posted_and_answered_in_xml(
    pix: Pix, town: Mapping[str, str]
) -> None:
    form = {"family": "muller", "identifier": f"{NHS}|"}
    answer = await pix.http.post("/Patient/_search?gender=female", data=form)
    assert answer.status_code == 200, answer.text
    (entry,) = answer.json()["entry"]
    assert entry["resource"]["id"] == town["zoe"]
    assert {i["system"] for i in entry["resource"]["identifier"]} == {NHS}
    self_link = next(k["url"] for k in answer.json()["link"] if k["relation"] == "self")
    assert all(part in self_link for part in ("gender=female", "family=muller", "identifier="))
    for asked in ({"_format": "xml"}, {}):
        accept = {"Accept": "application/fhir+xml"} if not asked else {}
        xml = await pix.http.post("/Patient/_search", data=form | asked, headers=accept)
        assert '<total value="1"/>' in xml.text
    refused = await pix.http.post("/Patient/_search", json=form)
    assert refused.status_code == 415


@pytest.mark.parametrize("path", ["/Patient?family=muller", "/Patient/{zoe}"])
async def test_a_format_that_cannot_be_given_is_a_406(
    pix: Pix, town: Mapping[str, str], path: str
) -> None:
    answer = await pix.http.get(path.format(**town), headers={"Accept": "text/turtle"})
    assert answer.status_code == 406
    assert answer.json()["issue"][0]["code"] == "not-supported"


async def test_an_unknown_domain_beside_a_number_is_a_404_too(pix: Pix) -> None:
    answer = await pix.http.get(f"/Patient?identifier={TRUST}%7CZ1,urn:oid:1.2.3%7C")
    assert answer.status_code == 404
    assert answer.json()["issue"][0]["severity"] == "warning"


async def test_pages_stay_whole_while_others_write(pix: Pix) -> None:
    name = [{"family": "Shifting"}]
    made = [
        (await pix.feed(patient(HOSPITAL, f"SHIFT{n}", name=name))).json()["id"] for n in range(9)
    ]
    seen: list[str] = []
    url: str | None = f"{BASE}/Patient?family=shifting&_count=2"
    page = 0
    while url:
        bundle: dict[str, Any] = (await pix.http.get(url)).json()
        seen += [e["resource"]["id"] for e in bundle["entry"]]
        page += 1
        await pix.feed(patient(HOSPITAL, f"SHIFTNEW{page}", name=name))
        await pix.feed(patient(HOSPITAL, "SHIFT0", name=name, gender=("male", "other")[page % 2]))
        url = next((k["url"] for k in bundle["link"] if k["relation"] == "next"), None)
    assert len(seen) == len(set(seen))
    assert set(made) <= set(seen)


async def test_a_merged_record_is_kept_from_a_domain_search_with_its_survivors_numbers(
    pix: Pix,
) -> None:
    await pix.feed(patient(SALFORD, "8900001", name=[{"family": "Domainmerged"}]))
    await pix.feed(
        patient(SALFORD, "8900002", nhs=nhs_number(8901), name=[{"family": "Domainmerged"}])
    )
    other = {"identifier": {"system": SALFORD, "value": "8900002"}}
    await pix.feed(replaced(patient(SALFORD, "8900001", name=[{"family": "Domainmerged"}]), other))
    bundle = (await pix.http.get(f"/Patient?identifier={SALFORD}%7C&family=domainmerged")).json()
    (entry,) = bundle["entry"]
    values = {(i["system"], i["value"], i.get("use")) for i in entry["resource"]["identifier"]}
    await pix.remove(SALFORD, "8900001")  # other tests ask for everybody who is inactive
    assert values == {(SALFORD, "8900002", None), (SALFORD, "8900001", "old")}


async def test_whoever_has_no_identifier_to_show_gets_one() -> None:
    from datetime import UTC, datetime

    from affinity.pack import load
    from pix import showing
    from pix.identifiers import Domains

    own = showing.canonical(
        {
            "resourceType": "Patient",
            "identifier": [
                {"system": TRUST},
                {"value": "1"},
                {"system": NS + "upn-former", "value": "X"},
            ],
            "name": [{"family": "Nobody"}],
        }
    )
    shown = showing.shown(
        own, id_="p1", version=1, at=datetime.now(UTC),
        domains=Domains(load("greater_manchester"), BASE),
    )  # fmt: skip
    assert shown["identifier"] == [{"system": "urn:ietf:rfc:3986", "value": f"{BASE}/Patient/p1"}]


@pytest.mark.parametrize(
    ("asked", "there"),
    [
        ("address=canal", True), ("address=Canal Street", True), ("address=STREET", True),
        ("address=anal", False), ("address=M54WT", True), ("address=4WT", True),
        ("address-postalcode=M54WT", True), ("address-postalcode=m5 4wt", True),
        ("address-postalcode=M5-4WT", True), ("address-postalcode=M5 4", True),
        ("address-postalcode=M54", True), ("address-postalcode=4WT", False),
        ("address-postalcode:exact=M5 4WT", True), ("address-postalcode:exact=M54WT", False),
        ("address:exact=7 Canal Street", True), ("address:exact=Canal Street", False),
    ],
)  # fmt: skip
async def test_an_address_is_found_by_its_words_and_a_postcode_with_or_without_its_blank(
    pix: Pix, town: Mapping[str, str], asked: str, there: bool
) -> None:
    assert (town["zoe"] in await found(pix, asked)) is there


async def test_a_postcode_that_was_sent_without_its_blank_is_found_with_it(pix: Pix) -> None:
    body = patient(COUNCIL, "7860001", address=[{"line": ["9 Lock Row"], "postalCode": "OL149XX"}])
    id_ = (await pix.feed(body)).json()["id"]
    for asked in ("address-postalcode=OL14 9XX", "address-postalcode=ol149xx", "address=OL14 9"):
        assert await found(pix, asked) == [id_]


async def test_a_rebuild_makes_the_words_of_addresses_that_were_stored_without(pix: Pix) -> None:
    body = patient(
        COUNCIL, "7860002", address=[{"line": ["3 Wherry Yard"], "postalCode": "OL14 8XX"}]
    )
    id_ = (await pix.feed(body)).json()["id"]
    records = pix.near.people.records
    old = {
        "$set": {
            "ix.address.f": ["3 wherry yard", "ol14 8xx"],
            "ix.address_postalcode.f": ["ol14 8xx"],
        }
    }
    await records.update({"_id": id_}, old)
    assert await found(pix, "address=wherry") == []
    assert (await rebuild(pix.near.people, datetime.now(UTC), lambda *_: None)).differed[
        "records"
    ] == 1
    for asked in ("address=wherry", "address-postalcode=OL148XX"):
        assert await found(pix, asked) == [id_]
    assert (await rebuild(pix.near.people, datetime.now(UTC), lambda *_: None)).changed == 0
