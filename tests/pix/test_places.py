"""Where a protected person lives is told to nobody but the source that said it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from chassis.call import Caller
from governance.permit import Permit
from pix import places
from pix.rebuild import rebuild
from tests.pix.makers import (
    COUNCIL,
    FEEDER,
    NHS,
    NS,
    SALFORD,
    TRUST,
    Pix,
    identifier,
    name_of,
    nhs_number,
    patient,
    replaced,
)

GP = Caller(
    client_id="gp", scope="system/Patient.rs", role="R-GP", purpose="P-CARE", organisation="P99000"
)
SOURCE = Caller(client_id="council", scope="system/*.cruds", organisation="352")
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
SENSITIVITY = "https://throughline.example/fhir/CodeSystem/sensitivity"
LABELS = [(CONFIDENTIALITY, "R"), (CONFIDENTIALITY, "V"), (SENSITIVITY, "ADDRCONF")]
TOLD = ("Refuge Lane", "M4 7ZZ", "0161 4960555", "Aunt", "Surgery", "100012345678", "Nowheretown")


def labelled(system: str, code: str) -> dict[str, Any]:
    return {"security": [{"system": system, "code": code}]}


def somebody(value: str, **more: Any) -> dict[str, Any]:
    made = patient(
        COUNCIL,
        value,
        name=[name_of(f"place {value}")],
        address=[{"line": ["1 Refuge Lane"], "city": "Nowheretown", "postalCode": "M4 7ZZ"}],
        telecom=[{"system": "phone", "value": "0161 4960555"}],
        contact=[{"name": {"family": "Aunt"}}],
        generalPractitioner=[{"display": "Surgery"}],
        extension=[{"url": places.BIRTH_PLACE, "valueAddress": {"city": "Nowheretown"}}],
        **more,
    )
    made["identifier"].append(identifier(NS + "uprn", "100012345678"))
    return made


@pytest.mark.parametrize(("system", "code"), LABELS)
async def test_who_may_not_know_reads_who_somebody_is_and_not_where(
    pix: Pix, system: str, code: str
) -> None:
    value = f"97000{LABELS.index((system, code))}1"
    body = somebody(value, meta=labelled(system, code))
    made = (await pix.feed(body)).json()["id"]
    await pix.feed({**body, "gender": "male"})
    family = body["name"][0]["family"]
    ways = (
        f"/Patient/{made}",
        f"/Patient/{made}/_history",
        f"/Patient/{made}/_history/1",
        f"/Patient?family={family}",
        f"/Patient?_id={made}&_elements=address,telecom",
    )
    pix.caller = GP
    for url in ways:
        answer = await pix.http.get(url)
        assert answer.status_code == 200, answer.text
        assert made in answer.text
        for word in TOLD:
            assert word not in answer.text, (url, word)
    pix.caller = SOURCE
    for word in TOLD:
        assert word in (await pix.http.get(f"/Patient/{made}")).text


async def test_nobody_is_found_by_a_place_that_is_not_told(pix: Pix) -> None:
    open_, hidden = "9700101", "9700102"
    for value, label in ((open_, "N"), (hidden, "R")):
        await pix.feed(somebody(value, meta=labelled(CONFIDENTIALITY, label)))
    for asked in (
        "address=1 refuge", "address-postalcode=M4 7ZZ", "address-city=nowheretown",
        "telecom=0161 4960555",
    ):  # fmt: skip
        for caller in (GP, SOURCE):
            pix.caller = caller
            found = (await pix.http.get(f"/Patient?{asked}&_count=200")).text
            assert name_of(f"place {open_}")["family"] in found
            assert name_of(f"place {hidden}")["family"] not in found


async def test_a_match_does_not_rise_with_the_right_postcode(pix: Pix) -> None:
    number = nhs_number(97002)
    body = somebody("9700201", nhs=number, meta=labelled(CONFIDENTIALITY, "R"))
    # another agency's word of the same person must not tell it either
    other = patient(TRUST, "H97002", name=body["name"], nhs=number, address=body["address"])
    mine = {(await pix.feed(one)).json()["id"] for one in (body, other)}
    asked = {
        "resourceType": "Patient", "name": body["name"], "birthDate": body["birthDate"],
        "identifier": [identifier(NHS, number)],
    }  # fmt: skip

    async def scores(**more: Any) -> list[tuple[float, str]]:
        answer = await pix.http.post("/Patient/$match", json={**asked, **more})
        assert answer.status_code == 200, answer.text
        entries = answer.json().get("entry", [])
        return [
            (e["search"]["score"], e["search"]["extension"][0]["valueCode"])
            for e in entries
            if e["resource"]["id"] in mine  # others of this module live at that address too
        ]

    pix.caller = GP
    alone = await scores()
    assert len(alone) == 2
    assert await scores(address=body["address"]) == alone
    assert await scores(telecom=body["telecom"]) == alone
    assert await scores(address=[{"postalCode": "OL1 1AA", "line": ["9 Elsewhere"]}]) == alone


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def two(service: Pix) -> list[tuple[str, str]]:
    """A person whom two councils know: one protects where she lives, the other says it without a word."""
    service.caller = FEEDER
    number = nhs_number(97003)
    made = []
    for system, value, meta in (
        (COUNCIL, "9700301", labelled(CONFIDENTIALITY, "R")), (SALFORD, "9700302", {}),
    ):  # fmt: skip
        made.append((system, (await service.feed(same(system, value, number, meta))).json()["id"]))
    return made


def same(system: str, value: str, number: str, meta: dict[str, Any]) -> dict[str, Any]:
    """The word of one agency on a person whom others know by this NHS number."""
    body = somebody(value, nhs=number)
    body["identifier"][0]["system"] = system
    body["name"] = [name_of(f"place {number}")]
    return body | ({"meta": meta} if meta else {})


def tells(text: str) -> set[str]:
    return {word for word in TOLD if word in text}


async def test_another_agencys_record_of_the_same_person_does_not_tell_it_either(
    pix: Pix, two: list[tuple[str, str]]
) -> None:
    family = name_of(f"place {nhs_number(97003)}")["family"]
    for viewer in (GP, SOURCE):
        pix.caller = viewer
        other = two[1][1]
        for url in (
            f"/Patient/{other}", f"/Patient/{other}/_history", f"/Patient/{other}/_history/1",
            f"/Patient?_id={other}",
        ):  # fmt: skip
            answer = await pix.http.get(url)
            assert answer.status_code == 200, answer.text
            assert tells(answer.text) == set(), url
    pix.caller = GP
    found = await pix.http.get(f"/Patient?family={family}")
    assert found.json()["total"] == 2
    assert tells(found.text) == set()
    seen = await pix.near.patients([two[1][1]], GP, Permit())
    assert tells(seen[0].decode()) == set()
    number = (await pix.near.who([("id", two[1][1])]))["id", two[1][1]].person
    assert tells((await pix.http.get(f"/Patient/{number}")).text) == set()
    for system, id_ in two:  # each source reads its own word whole, and the exchange's own jobs all
        pix.caller = Caller(client_id="c", scope="system/*.rs", organisation=system[-3:])
        for url in (f"/Patient/{id_}", f"/Patient/{id_}/_history/1"):
            assert tells((await pix.http.get(url)).text) == set(TOLD)
        pix.caller = FEEDER
        assert tells((await pix.http.get(f"/Patient/{id_}")).text) == set(TOLD)


async def found_at(pix: Pix, asked: str) -> set[str]:
    answer = (await pix.http.get(f"/Patient?{asked}&_count=200")).json()
    return {e["resource"]["id"] for e in answer.get("entry", ())}


async def test_nobody_is_found_by_what_another_agency_says_of_the_place(
    pix: Pix, two: list[tuple[str, str]]
) -> None:
    for asked in ("address=1 refuge", "address-postalcode=M4 7ZZ", "telecom=0161 4960555"):
        for caller in (GP, FEEDER):
            pix.caller = caller
            assert (await found_at(pix, asked)).isdisjoint(id_ for _, id_ in two)


async def test_it_is_told_again_when_no_record_of_the_person_asks_for_silence(pix: Pix) -> None:
    number, asked = nhs_number(97004), "address-postalcode=M4 7ZZ"
    quiet, open_ = labelled(CONFIDENTIALITY, "V"), labelled(CONFIDENTIALITY, "N")

    async def feed(system: str, value: str, meta: dict[str, Any]) -> str:
        pix.caller = FEEDER
        return str((await pix.feed(same(system, value, number, meta))).json()["id"])

    async def told(id_: str) -> bool:
        pix.caller = GP
        read = tells((await pix.http.get(f"/Patient/{id_}")).text) == set(TOLD)
        assert (id_ in await found_at(pix, asked)) is read
        return read

    one = await feed(COUNCIL, "9700401", open_)
    two = await feed(SALFORD, "9700402", open_)
    assert [await told(one), await told(two)] == [True, True]
    await feed(COUNCIL, "9700401", quiet)
    assert [await told(one), await told(two)] == [False, False]
    three = await feed(NS + "social-care-id/343", "9700403", open_)  # who joins later is quiet too
    assert await told(three) is False
    await feed(COUNCIL, "9700401", open_)
    assert [await told(one), await told(two), await told(three)] == [True, True, True]
    await feed(SALFORD, "9700402", quiet)
    assert [await told(one), await told(two), await told(three)] == [False, False, False]
    pix.caller = FEEDER
    lone = same(SALFORD, "9700402", number, quiet) | {"birthDate": "1931-07-08", "gender": "male"}
    lone["identifier"] = lone["identifier"][:1]
    lone["name"] = [name_of("somebody else altogether")]
    await pix.feed(lone)  # the one who asks for it turns out to be another person
    assert [await told(one), await told(two), await told(three)] == [True, False, True]


async def test_a_label_of_a_merged_record_still_counts_and_goes_with_its_removal(pix: Pix) -> None:
    body = somebody("9700501", meta=labelled(SENSITIVITY, "ADDRCONF"))
    await pix.feed(body)
    kept = {**somebody("9700502"), "name": body["name"]}
    id_ = (await pix.feed(kept)).json()["id"]
    other = {"identifier": {"system": COUNCIL, "value": "9700502"}}
    assert (await pix.feed(replaced(body, other))).status_code == 200
    pix.caller = GP
    assert tells((await pix.http.get(f"/Patient/{id_}")).text) == set()
    pix.caller = FEEDER
    await pix.remove(COUNCIL, "9700501")
    pix.caller = GP
    assert tells((await pix.http.get(f"/Patient/{id_}")).text) == set(TOLD)


async def test_a_store_of_before_gets_it_by_a_rebuild(pix: Pix, two: list[tuple[str, str]]) -> None:
    people = pix.near.people
    before = await people.records.many({"_id": {"$in": [id_ for _, id_ in two]}}, sort=[("_id", 1)])
    assert [row["secret"] for row in before] == [True, True]
    old = {"$unset": {"secret": ""}, "$set": {"ix.address_postalcode": {"f": ["m4 7zz"]}}}
    await people.records.update({"_id": two[1][1]}, old)
    made = await rebuild(people, datetime.now(UTC), lambda *_: None)
    assert made.differed["records"] == 1
    after = await people.records.many({"_id": {"$in": [id_ for _, id_ in two]}}, sort=[("_id", 1)])
    assert after == before
    assert (await rebuild(people, datetime.now(UTC), lambda *_: None)).changed == 0


async def test_labels_that_go_at_the_same_moment_leave_nobody_silent(pix: Pix) -> None:
    number = nhs_number(97006)
    said = [
        (COUNCIL, "9700601"), (SALFORD, "9700602"), (NS + "social-care-id/343", "9700603"),
    ]  # fmt: skip
    for system, value in said:
        await pix.feed(same(system, value, number, labelled(CONFIDENTIALITY, "R")))
    made = await asyncio.gather(*(pix.feed(same(s, v, number, {})) for s, v in said))
    assert [answer.status_code for answer in made] == [200, 200, 200]
    ids = [answer.json()["id"] for answer in made]
    rows = await pix.near.people.records.many({"_id": {"$in": ids}})
    assert [row.get("secret") for row in rows] == [None, None, None]
    assert all("address" in row["ix"] for row in rows)


def test_contained_resources_keep_what_they_are_and_lose_where_they_are(pix: Pix) -> None:
    said = {
        "resourceType": "Patient",
        "meta": labelled(SENSITIVITY, "ADDRCONF"),
        "contained": [
            {"resourceType": "RelatedPerson", "id": "a", "address": [{"city": "Nowheretown"}]}
        ],
        "text": {"div": "<div>Nowheretown</div>"},
    }
    assert places.secret(said)
    register = pix.near.domains.pack.register
    made = places.without(said, register)
    assert made["contained"] == [{"resourceType": "RelatedPerson", "id": "a"}]
    assert "text" not in made
    assert not places.secret({"meta": labelled(CONFIDENTIALITY, "N")})
    assert not places.secret({"meta": labelled("https://another.example", "R")})
