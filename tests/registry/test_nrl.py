"""The NRL-shaped door: publish, supersede, update, withdraw, read and find pointers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from standards.fhir_xml import render
from standards.r4.check import check_structure
from tests.makers_mhd import NHS, SNOMED, a_bundle, a_document, concept, publish, related, unique
from tests.registry.makers_nrl import (
    CONSUMER,
    JSON,
    ODS,
    OURS,
    PRODUCER,
    THEIRS,
    a_number,
    a_pointer,
    change,
    code,
    made,
    post,
    relating,
)
from tests.running import Exchange


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def producer(exchange: Exchange) -> AsyncIterator[httpx.AsyncClient]:
    async with exchange.as_client(organisation=OURS) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def other(exchange: Exchange) -> AsyncIterator[httpx.AsyncClient]:
    async with exchange.as_client(organisation=THEIRS) as client:
        yield client


@pytest_asyncio.fixture
async def number(producer: httpx.AsyncClient) -> str:
    return await a_number(producer)


async def found(
    client: httpx.AsyncClient, number: str, path: str = CONSUMER, **more: str
) -> list[str]:
    asked = {"subject:identifier": f"{NHS}|{number}", **more}
    answer = await client.get(path, params=asked)
    assert answer.status_code == 200, answer.text
    bundle = answer.json()
    entries = [e["resource"]["id"] for e in bundle.get("entry", ())]
    assert bundle["total"] == len(entries)
    return entries


# -- publish ----------------------------------------------------------------------------------------


async def test_a_pointer_is_created_found_and_read_in_its_own_shape(
    producer: httpx.AsyncClient, number: str
) -> None:
    sent = a_pointer(number)
    answer = await post(producer, sent)
    assert (answer.status_code, code(answer)) == (201, "RESOURCE_CREATED")
    assert check_structure(answer.json()) == ()
    id_ = answer.headers["location"].rpartition("/")[2]
    assert id_.startswith(f"{OURS}-")
    assert await found(producer, number) == [id_]
    shown = (await producer.get(f"{CONSUMER}/{id_}")).json()
    assert check_structure(shown) == ()
    for name in sent.keys() - {"subject"}:
        assert shown[name] == sent[name], name
    assert shown["subject"]["identifier"] == sent["subject"]["identifier"]


async def test_a_pointer_is_a_document_of_the_registry_like_any_other(
    producer: httpx.AsyncClient, number: str
) -> None:
    id_ = await made(producer, a_pointer(number))
    asked = {"patient.identifier": f"{NHS}|{number}", "status": "current"}
    bundle = (await producer.get("DocumentReference", params=asked)).json()
    assert [e["resource"]["id"] for e in bundle["entry"]] == [id_]
    person = bundle["entry"][0]["resource"]["subject"]["reference"]
    new = a_document(person, **related("replaces", f"DocumentReference/{id_}"))
    assert (await publish(producer, a_bundle(new))).status_code == 200
    assert await found(producer, number) == []  # what MHD superseded is superseded here too


async def test_what_is_replaced_is_superseded_in_the_same_step_and_kept(
    producer: httpx.AsyncClient, number: str
) -> None:
    first, second = [await made(producer, a_pointer(number)) for _ in range(2)]
    answer = await post(producer, a_pointer(number, **relating("replaces", first, second)))
    assert (answer.status_code, code(answer)) == (201, "RESOURCE_SUPERSEDED")
    newest = answer.headers["location"].rpartition("/")[2]
    assert await found(producer, number) == [newest]
    for old in (first, second):
        assert (await producer.get(f"{CONSUMER}/{old}")).status_code == 404
        now = (await producer.get(f"DocumentReference/{old}")).json()
        assert (now["status"], now["meta"]["versionId"]) == ("superseded", "2")
        before = (await producer.get(f"DocumentReference/{old}/_history/1")).json()
        assert before["status"] == "current"


async def test_of_racing_supersedes_exactly_one_wins(
    producer: httpx.AsyncClient, number: str
) -> None:
    first = await made(producer, a_pointer(number))
    new = a_pointer(number, **relating("replaces", first))
    answers = await asyncio.gather(*(post(producer, new) for _ in range(5)))
    assert sorted(a.status_code for a in answers) == [201, 400, 400, 400, 400]
    assert len(await found(producer, number)) == 1


async def test_an_addendum_leaves_its_target_current_and_goes_with_it(
    producer: httpx.AsyncClient, number: str
) -> None:
    first = await made(producer, a_pointer(number))
    addendum = await made(producer, a_pointer(number, **relating("appends", first)))
    assert sorted(await found(producer, number)) == sorted([first, addendum])
    newest = await made(producer, a_pointer(number, **relating("replaces", first)))
    assert await found(producer, number) == [newest]


async def test_a_producer_may_choose_the_id_and_send_it_again(
    producer: httpx.AsyncClient, number: str
) -> None:
    pointer = a_pointer(number, id=f"{OURS}-plan.{number}")
    answer = await producer.put(PRODUCER, json=pointer, headers=JSON)
    assert (answer.status_code, code(answer)) == (201, "RESOURCE_CREATED")
    assert await found(producer, number) == [pointer["id"]]
    pointer = change(pointer, "description", "Crisis plan, as agreed in March")
    answer = await producer.put(PRODUCER, json=pointer, headers=JSON)
    assert (answer.status_code, code(answer)) == (200, "RESOURCE_UPDATED")
    shown = (await producer.get(f"{PRODUCER}/{pointer['id']}")).json()
    assert shown["description"] == pointer["description"]


@pytest.mark.parametrize("id_", [None, f"{OURS}-", "plan", f"{THEIRS}-1", f"{OURS}-" + "9" * 61])
async def test_an_id_that_is_not_the_organisations_is_refused(
    producer: httpx.AsyncClient, number: str, id_: str | None
) -> None:
    answer = await producer.put(PRODUCER, json=a_pointer(number, id=id_), headers=JSON)
    assert answer.status_code == 400
    assert await found(producer, number) == []


async def test_a_master_identifier_is_taken_once(producer: httpx.AsyncClient, number: str) -> None:
    pointer = a_pointer(number, masterIdentifier=unique(style="none"))
    await made(producer, pointer)
    answer = await post(producer, pointer)
    assert (answer.status_code, code(answer)) == (409, "DUPLICATE_REJECTED")
    assert len(await found(producer, number)) == 1


async def test_nobody_here_with_this_number_is_unprocessable(producer: httpx.AsyncClient) -> None:
    answer = await post(producer, a_pointer("9449306621"))
    assert (answer.status_code, code(answer)) == (422, "UNPROCESSABLE_ENTITY")


async def test_a_number_that_was_merged_into_another_counts_for_its_survivor(
    producer: httpx.AsyncClient, number: str
) -> None:
    merged = await a_number(producer)
    before = await made(producer, a_pointer(merged))
    gone = {
        "resourceType": "Patient",
        "identifier": [{"system": NHS, "value": merged}],
        "name": [{"family": "Gone"}],
        "active": False,
        "link": [
            {"type": "replaced-by", "other": {"identifier": {"system": NHS, "value": number}}}
        ],
    }
    asked = {"identifier": f"{NHS}|{merged}"}
    answer = await producer.put("Patient", params=asked, json=gone, headers=JSON)
    assert answer.status_code == 200, answer.text
    after = await made(producer, a_pointer(merged))
    assert set(await found(producer, number)) == {before, after}
    assert set(await found(producer, merged)) == {before, after}
    newest = await made(producer, a_pointer(number, **relating("replaces", before, after)))
    assert await found(producer, number) == [newest]


async def test_xml_is_taken_and_given(producer: httpx.AsyncClient, number: str) -> None:
    xml = {"Content-Type": "application/fhir+xml", "Accept": "application/fhir+xml"}
    answer = await producer.post(PRODUCER, content=render(a_pointer(number)), headers=xml)
    assert answer.status_code == 201, answer.text
    assert b"RESOURCE_CREATED" in answer.content
    assert answer.headers["content-type"].startswith("application/fhir+xml")
    assert len(await found(producer, number)) == 1


# -- update and withdraw ----------------------------------------------------------------------------


async def test_an_update_makes_a_version_and_keeps_the_one_before(
    producer: httpx.AsyncClient, number: str
) -> None:
    id_ = await made(producer, a_pointer(number))
    shown = (await producer.get(f"{PRODUCER}/{id_}")).json()
    moved = change(shown, "content.0.attachment.url", "https://provider.example/plans/2.pdf")
    answer = await producer.put(f"{PRODUCER}/{id_}", json=moved, headers=JSON)
    assert (answer.status_code, code(answer)) == (200, "RESOURCE_UPDATED")
    now = (await producer.get(f"{CONSUMER}/{id_}")).json()
    assert now["content"] == moved["content"]
    assert (now["date"], now["meta"]["versionId"]) == (shown["date"], "2")
    before = (await producer.get(f"DocumentReference/{id_}/_history/1")).json()
    assert before["content"] == shown["content"]


async def test_all_that_an_update_must_not_change_is_told_at_once(
    producer: httpx.AsyncClient, number: str
) -> None:
    another = await a_number(producer)
    id_ = await made(producer, a_pointer(number))
    pointer = a_pointer(another, id=id_, type=concept(SNOMED, "325691000000100"))
    pointer |= {"author": a_pointer(number, THEIRS)["author"]}
    answer = await producer.put(f"{PRODUCER}/{id_}", json=pointer, headers=JSON)
    assert answer.status_code == 400
    places = {e for i in answer.json()["issue"] for e in i["expression"]}
    assert {"type", "subject", "author"} <= places
    assert (await producer.get(f"{PRODUCER}/{id_}")).json()["meta"]["versionId"] == "1"


async def test_a_withdrawn_pointer_is_gone_at_the_doors_and_kept_as_history(
    producer: httpx.AsyncClient, number: str
) -> None:
    id_ = await made(producer, a_pointer(number))
    answer = await producer.delete(f"{PRODUCER}/{id_}")
    assert (answer.status_code, code(answer)) == (200, "RESOURCE_DELETED")
    assert await found(producer, number) == []
    for again in (producer.get(f"{CONSUMER}/{id_}"), producer.delete(f"{PRODUCER}/{id_}")):
        answer = await again
        assert (answer.status_code, code(answer)) == (404, "NO_RECORD_FOUND")
    now = (await producer.get(f"DocumentReference/{id_}")).json()
    assert now["status"] == "entered-in-error"
    history = (await producer.get(f"DocumentReference/{id_}/_history")).json()
    assert [e["resource"]["status"] for e in history["entry"]] == ["entered-in-error", "current"]
    taken = a_pointer(number, id=id_)
    assert (await producer.put(PRODUCER, json=taken, headers=JSON)).status_code == 409


# -- who may ----------------------------------------------------------------------------------------


async def test_a_producer_acts_for_its_own_organisation_only(
    producer: httpx.AsyncClient, other: httpx.AsyncClient, number: str
) -> None:
    id_ = await made(producer, a_pointer(number))
    foreign = await post(other, a_pointer(number))
    assert (foreign.status_code, code(foreign)) == (400, "INVALID_IDENTIFIER_VALUE")
    changed = a_pointer(number, id=id_)
    for answer in (
        await other.delete(f"{PRODUCER}/{id_}"),
        await other.put(f"{PRODUCER}/{id_}", json=changed, headers=JSON),
        await other.get(f"{PRODUCER}/{id_}"),
    ):
        assert (answer.status_code, code(answer)) == (403, "AUTHOR_CREDENTIALS_ERROR")
    replacing = a_pointer(number, THEIRS, **relating("replaces", id_))
    assert (await post(other, replacing)).status_code == 400
    assert await found(other, number) == [id_]
    assert await found(other, number, PRODUCER) == []
    assert await found(producer, number, PRODUCER) == [id_]


async def test_a_client_of_no_organisation_publishes_nothing(
    source: httpx.AsyncClient, number: str
) -> None:
    answer = await post(source, a_pointer(number))
    assert (answer.status_code, code(answer)) == (403, "AUTHOR_CREDENTIALS_ERROR")
    assert await found(source, number) == []


async def test_scopes_guard_every_verb_and_narrow_what_is_written_and_found(
    exchange: Exchange, producer: httpx.AsyncClient, number: str
) -> None:
    id_ = await made(producer, a_pointer(number))
    async with exchange.as_client("system/DocumentReference.rs", organisation=OURS) as reader:
        answer = await post(reader, a_pointer(number))
        assert (answer.status_code, code(answer)) == (403, "ACCESS_DENIED")
        assert (await reader.delete(f"{PRODUCER}/{id_}")).status_code == 403
        assert await found(reader, number) == [id_]
    async with exchange.as_client("system/DocumentReference.c", organisation=OURS) as creator:
        answer = await post(creator, a_pointer(number, **relating("replaces", id_)))
        assert answer.status_code == 403
    only = f"system/DocumentReference.cruds?type={SNOMED}|325691000000100"
    async with exchange.as_client(only, organisation=OURS) as narrow:
        answer = await post(narrow, a_pointer(number))
        assert (answer.status_code, code(answer)) == (403, "ACCESS_DENIED")
        assert (await narrow.get(f"{CONSUMER}/{id_}")).status_code == 404
        assert (await narrow.delete(f"{PRODUCER}/{id_}")).status_code == 404
        assert await found(narrow, number) == []
        plan = a_pointer(number, type=concept(SNOMED, "325691000000100"))
        taken = await made(narrow, plan)
        assert await found(narrow, number) == [taken]
    assert id_ in await found(producer, number)


async def test_every_act_is_audited_with_its_patient_and_without_the_pointer(
    exchange: Exchange, producer: httpx.AsyncClient, number: str
) -> None:
    id_ = await made(producer, a_pointer(number, description="a private word"))
    await producer.delete(f"{PRODUCER}/{id_}")
    entity = {"entity": f"DocumentReference/{id_}", "date": "ge2026-01-01"}
    bundle = (await producer.get("AuditEvent", params=entity)).json()
    acts = [e["resource"] for e in bundle["entry"]]
    assert sorted(a["action"] for a in acts) == ["C", "D"]
    for act in acts:
        named = [e["what"].get("reference", "") for e in act["entity"] if "what" in e]
        assert any("Patient/" in n for n in named)
        assert "a private word" not in str(act)
    outbox = exchange.mongo.table("registry", "audit_outbox")
    held = await outbox.many({"_id": {"$in": [a["id"] for a in acts]}})
    assert all(b"a private word" not in bytes(row["b"]) for row in held)


# -- find -------------------------------------------------------------------------------------------


async def test_pointers_are_found_by_custodian_type_and_category_and_counted(
    producer: httpx.AsyncClient, other: httpx.AsyncClient, number: str
) -> None:
    plan = await made(producer, a_pointer(number))
    contingency = await made(producer, a_pointer(number, type=concept(SNOMED, "325691000000100")))
    theirs = await made(other, a_pointer(number, THEIRS))
    assert set(await found(producer, number)) == {plan, contingency, theirs}
    custodian = {"custodian:identifier": f"{ODS}|{THEIRS}"}
    assert await found(producer, number, **custodian) == [theirs]
    assert await found(producer, number, type=f"{SNOMED}|325691000000100") == [contingency]
    both = f"{SNOMED}|325691000000100,{SNOMED}|736253002"
    assert len(await found(producer, number, type=both)) == 3
    assert await found(producer, number, category=f"{SNOMED}|823651000000106") == []
    for more, total in (({}, 3), (custodian, 1)):
        asked = {"subject:identifier": f"{NHS}|{number}", "_summary": "count", **more}
        counted = (await producer.get(CONSUMER, params=asked)).json()
        assert (counted["total"], counted.get("entry")) == (total, None)
    sent = await producer.post(
        f"{CONSUMER}/_search", data={"subject:identifier": f"{NHS}|{number}"}
    )
    assert sent.json()["total"] == 3


async def test_pages_lead_on_at_the_same_door(producer: httpx.AsyncClient, number: str) -> None:
    ids = {await made(producer, a_pointer(number)) for _ in range(3)}
    url = f"{CONSUMER}?subject:identifier={NHS}|{number}&_count=2"
    seen: set[str] = set()
    while url:
        bundle = (await producer.get(url)).json()
        assert bundle["total"] == 3
        for entry in bundle["entry"]:
            assert f"/fhir/{CONSUMER}/" in entry["fullUrl"]
            seen.add(entry["resource"]["id"])
        links = {x["relation"]: x["url"] for x in bundle["link"]}
        assert all(f"/fhir/{CONSUMER}?" in link for link in links.values())
        url = links.get("next", "")
    assert seen == ids


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "INVALID_PARAMETER"),
        ({"type": f"{SNOMED}|736253002"}, "INVALID_PARAMETER"),
        ({"subject:identifier": f"{NHS}|1234567890"}, "INVALID_NHS_NUMBER"),
        ({"subject:identifier": "urn:x|9990000069"}, "INVALID_IDENTIFIER_SYSTEM"),
        ({"subject:identifier": f"{NHS}|9990000069", "custodian:identifier": "urn:x|R0A"}, "INVALID_IDENTIFIER_SYSTEM"),
        ({"subject:identifier": f"{NHS}|9990000069", "nhs-number": "1"}, "INVALID_PARAMETER"),
    ],
)  # fmt: skip
async def test_a_search_that_names_no_person_rightly_is_refused(
    producer: httpx.AsyncClient, asked: dict[str, str], said: str
) -> None:
    answer = await producer.get(CONSUMER, params=asked)
    assert (answer.status_code, code(answer)) == (400, said)


async def test_somebody_unknown_has_no_pointers(producer: httpx.AsyncClient) -> None:
    assert await found(producer, "9449306621") == []


async def test_documents_that_are_no_pointers_are_not_shown_here(
    producer: httpx.AsyncClient, number: str
) -> None:
    asked = {"identifier": f"{NHS}|{number}"}
    person = (await producer.get("Patient", params=asked)).json()["entry"][0]["resource"]["id"]
    assert (await publish(producer, a_bundle(a_document(f"Patient/{person}")))).status_code == 200
    assert await found(producer, number) == []


async def test_each_door_says_what_it_does(exchange: Exchange) -> None:
    main = (await exchange.http.get("/fhir/metadata")).json()
    kinds = {r["type"]: r for r in main["rest"][0]["resource"]}
    assert "delete" not in {i["code"] for i in kinds["DocumentReference"]["interaction"]}
    door = (await exchange.http.get("/fhir/nrl/producer/metadata")).json()
    assert check_structure(door) == ()
    assert door["implementation"]["url"].endswith("/fhir/nrl/producer")
    (kind,) = door["rest"][0]["resource"]
    assert {i["code"] for i in kind["interaction"]} == {
        "create", "update", "delete", "read", "search-type",
    }  # fmt: skip
