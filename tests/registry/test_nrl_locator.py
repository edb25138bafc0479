"""Pointers of the NRL door whose documents the exchange fetches, as the community has agreed, and those
whose it does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from chassis.mongo import Mongo
from standards.mhd_rules import EMPTY_SHA1 as EMPTY_HASH
from tests.archive import LETTER, Archive, a_pack, archive
from tests.makers_mhd import NHS, NS, sha1
from tests.registry.makers_nrl import (
    CONSUMER,
    JSON,
    PRODUCER,
    THEIRS,
    a_number,
    a_pointer,
    change,
    extension,
    made,
    post,
    relating,
)
from tests.running import Exchange, running

MECHANISM = f"{NS}/StructureDefinition/retrieval-mechanism"
PLAN = b"%PDF-1.7 A crisis plan that the trust keeps.\n"
PDF = {"Accept": "application/pdf"}
TABLES = ("documents", "registered", "documents_history")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def there() -> AsyncIterator[Archive]:
    async with archive() as made_:
        made_.documents["/kept/1"] = PLAN
        made_.documents["/kept/2"] = LETTER
        yield made_


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(
    mongo: Mongo, mongod_uri: str, database_prefix: str, tmp_path_factory: Any, there: Archive
) -> AsyncIterator[Exchange]:
    folder: Path = tmp_path_factory.mktemp("city")
    pack = a_pack(
        folder,
        f"R0A,{there.url('/kept/')},proxy,127.0.0.0/8,test",
        "R0A,https://pages.mft.example/,direct,,test",
        f"{THEIRS},https://records.theirs.example/,proxy,,test",
        "R0A,https://supplier.example/,proxy,,test",
        f"{THEIRS},https://supplier.example/,proxy,,test",
    )
    async with running(
        mongo, mongod_uri, database_prefix, folder, affinity=str(pack), retrieval_wait=1
    ) as made_:
        yield made_


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def producer(city: Exchange) -> AsyncIterator[httpx.AsyncClient]:
    async with city.as_client(role="", organisation="R0A") as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def anyone(city: Exchange) -> AsyncIterator[httpx.AsyncClient]:
    async with city.as_client() as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def number(anyone: httpx.AsyncClient) -> str:
    return await a_number(anyone)


def at(pointer: dict[str, Any], url: str, **attachment: Any) -> dict[str, Any]:
    """The pointer with its document at this address."""
    moved = change(pointer, "content.0.attachment.url", url)
    moved["content"][0]["attachment"] |= attachment
    return moved


def held(content: bytes) -> dict[str, Any]:
    return {"hash": sha1(content), "size": len(content)}


async def shown(client: httpx.AsyncClient, id_: str, door: str = CONSUMER) -> dict[str, Any]:
    answer = await client.get(f"{door}/{id_}")
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


def url_of(pointer: dict[str, Any], number: int = 0) -> str:
    return str(pointer["content"][number]["attachment"]["url"])


def mechanism(pointer: dict[str, Any], number: int = 0) -> tuple[str, str]:
    (found,) = [x for x in pointer["content"][number]["extension"] if x["url"] == MECHANISM]
    said = {x["url"]: x for x in found["extension"]}
    return said["mechanism"]["valueCode"], said["holder"]["valueIdentifier"]["value"]


# -- what the exchange fetches ----------------------------------------------------------------------


async def test_a_pointer_to_an_agreed_address_is_fetched_for_whoever_may_see_it(
    city: Exchange,
    producer: httpx.AsyncClient,
    anyone: httpx.AsyncClient,
    number: str,
    there: Archive,
) -> None:
    id_ = await made(producer, at(a_pointer(number), there.url("/kept/1"), **held(PLAN)))
    pointer = await shown(anyone, id_)
    assert url_of(pointer).startswith(f"{city.base}/Binary/")
    assert mechanism(pointer) == ("proxy", "R0A")
    assert there.url("/") not in str(pointer)
    assert await shown(anyone, id_, "DocumentReference") == pointer
    answer = await anyone.get(url_of(pointer), headers=PDF)
    assert (answer.status_code, answer.content) == (200, PLAN)


async def test_other_bytes_than_the_pointer_says_are_a_502_and_it_stays_listed(
    producer: httpx.AsyncClient, anyone: httpx.AsyncClient, number: str, there: Archive
) -> None:
    id_ = await made(producer, at(a_pointer(number), there.url("/kept/1"), **held(LETTER)))
    answer = await anyone.get(url_of(await shown(anyone, id_)), headers=PDF)
    assert answer.status_code == 502
    assert "R0A" in answer.json()["issue"][0]["diagnostics"]
    asked = {"subject:identifier": f"{NHS}|{number}"}
    entries = (await anyone.get(CONSUMER, params=asked)).json()["entry"]
    assert id_ in [e["resource"]["id"] for e in entries]


async def test_a_source_that_is_down_is_a_502_and_the_pointer_stays_listed(
    producer: httpx.AsyncClient, anyone: httpx.AsyncClient, number: str, there: Archive
) -> None:
    there.manners["/kept/down"] = "hangup"
    id_ = await made(producer, at(a_pointer(number), there.url("/kept/down")))
    answer = await anyone.get(url_of(await shown(anyone, id_)), headers=PDF)
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (502, "transient")
    assert (await shown(anyone, id_))["status"] == "current"


async def test_each_content_of_a_pointer_has_a_binary_of_its_own(
    producer: httpx.AsyncClient, anyone: httpx.AsyncClient, number: str, there: Archive
) -> None:
    pointer = at(a_pointer(number), there.url("/kept/1"), **held(PLAN))
    second = at(a_pointer(number), there.url("/kept/2"), **held(LETTER))["content"]
    page = at(a_pointer(number), "https://pages.mft.example/team")["content"]
    id_ = await made(producer, pointer | {"content": pointer["content"] + second + page})
    now = await shown(anyone, id_)
    assert (await anyone.get(url_of(now, 0), headers=PDF)).content == PLAN
    assert (await anyone.get(url_of(now, 1), headers=PDF)).content == LETTER
    assert url_of(now, 2) == "https://pages.mft.example/team"
    assert mechanism(now, 2) == ("direct", "R0A")


async def test_a_scope_that_does_not_reach_the_pointer_does_not_reach_its_document(
    city: Exchange, producer: httpx.AsyncClient, number: str, there: Archive
) -> None:
    id_ = await made(producer, at(a_pointer(number), there.url("/kept/1")))
    url, before = url_of(await shown(producer, id_)), len(there.asked)
    narrow = "system/DocumentReference.rs?type=http://snomed.info/sct|1363501000000100"
    async with city.as_client(f"{narrow} system/Binary.r") as client:
        assert (await client.get(url)).status_code == 404
    assert len(there.asked) == before


# -- updates ------------------------------------------------------------------------------------------


async def test_a_pointer_sent_back_as_it_was_read_leads_where_it_led(
    producer: httpx.AsyncClient, number: str, there: Archive
) -> None:
    id_ = await made(producer, at(a_pointer(number), there.url("/kept/1"), **held(PLAN)))
    read = await shown(producer, id_, PRODUCER)
    changed = read | {"description": "Crisis plan, reviewed"}
    answer = await producer.put(f"{PRODUCER}/{id_}", json=changed, headers=JSON)
    assert answer.status_code == 200, answer.text
    now = await shown(producer, id_, PRODUCER)
    assert now["description"] == "Crisis plan, reviewed"
    assert now["content"] == read["content"]
    assert (await producer.get(url_of(now), headers=PDF)).content == PLAN


async def test_after_an_update_each_version_leads_to_its_own_document(
    producer: httpx.AsyncClient, number: str, there: Archive
) -> None:
    id_ = await made(producer, at(a_pointer(number), there.url("/kept/1"), **held(PLAN)))
    read = await shown(producer, id_, PRODUCER)
    moved = at(read, there.url("/kept/2"), **held(LETTER))
    answer = await producer.put(f"{PRODUCER}/{id_}", json=moved, headers=JSON)
    assert answer.status_code == 200, answer.text
    now = await shown(producer, id_, PRODUCER)
    before = (await producer.get(f"DocumentReference/{id_}/_history/1")).json()
    assert url_of(now) != url_of(before)
    assert (await producer.get(url_of(now), headers=PDF)).content == LETTER
    assert (await producer.get(url_of(before), headers=PDF)).content == PLAN


async def test_a_superseded_pointer_is_still_fetched_and_a_withdrawn_one_no_longer(
    producer: httpx.AsyncClient, anyone: httpx.AsyncClient, number: str, there: Archive
) -> None:
    old = await made(producer, at(a_pointer(number), there.url("/kept/1")))
    url = url_of(await shown(producer, old))
    answer = await post(
        producer, at(a_pointer(number), there.url("/kept/2")) | relating("replaces", old)
    )
    new = answer.headers["location"].rpartition("/")[2]
    assert (await anyone.get(url, headers=PDF)).content == PLAN
    taken_back = url_of(await shown(producer, new))
    assert (await producer.delete(f"{PRODUCER}/{new}")).status_code == 200
    before = len(there.asked)
    answer = await anyone.get(taken_back, headers=PDF)
    assert answer.status_code == 410
    assert "R0A" in answer.json()["issue"][0]["diagnostics"]
    assert len(there.asked) == before


# -- what it does not fetch -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["https://provider.example/plans/1.pdf", "https://10.0.0.1/plans/1.pdf"]
)
async def test_an_address_that_is_on_no_list_is_kept_as_sent_and_never_asked(
    city: Exchange, producer: httpx.AsyncClient, number: str, url: str
) -> None:
    sent = at(a_pointer(number), url)
    id_ = await made(producer, sent)
    assert (await shown(producer, id_))["content"] == sent["content"]
    row = await city.mongo.table("registry", "documents").one({"_id": id_})
    assert row is not None
    assert not {"binary", "away"} & row.keys()


async def test_two_organisations_may_keep_documents_at_one_suppliers_address(
    city: Exchange, producer: httpx.AsyncClient, number: str
) -> None:
    async with city.as_client(role="", organisation=THEIRS) as other:
        for client, whose in ((producer, "R0A"), (other, THEIRS)):
            id_ = await made(client, at(a_pointer(number, whose), "https://supplier.example/1"))
            assert mechanism(await shown(client, id_)) == ("proxy", whose)


_OURS = {"url": MECHANISM, "valueCode": "direct"}
_DYNAMIC = extension("ContentStability", "NRLContentStability", "dynamic")


def _extended(pointer: dict[str, Any], *extensions: Any) -> dict[str, Any]:
    return change(
        pointer, "content.0.extension", [*pointer["content"][0]["extension"], *extensions]
    )


@pytest.mark.parametrize("name", [
    "another organisation's address", "a hash that is none", "a size without a hash",
    "a hash without a size", "another mechanism", "a mechanism for an address nobody agreed on",
    "a lasting hash of dynamic content", "a document of ours", "http beside the list",
    "to be assembled, with a size",
])  # fmt: skip
async def test_what_cannot_be_served_so_is_refused_and_nothing_is_stored(
    city: Exchange, producer: httpx.AsyncClient, number: str, there: Archive, name: str
) -> None:
    good = at(a_pointer(number), there.url("/kept/1"), **held(PLAN))
    bad, where = {
        "another organisation's address": (
            at(good, "https://records.theirs.example/1"), "attachment.url"),
        "a hash that is none": (at(good, there.url("/kept/1"), hash="AAAA"), "attachment.hash"),
        "a size without a hash": (change(good, "content.0.attachment.hash", None), "attachment.hash"),
        "a hash without a size": (change(good, "content.0.attachment.size", None), "attachment.size"),
        "another mechanism": (_extended(good, _OURS), "extension"),
        "a mechanism for an address nobody agreed on": (
            _extended(at(good, "https://nobody.example/1"), _OURS), "extension"),
        "a lasting hash of dynamic content": (
            change(good, "content.0.extension", [_DYNAMIC]), "attachment.hash"),
        "a document of ours": (at(good, f"{city.base}/Binary/123"), "attachment.url"),
        "http beside the list": (at(good, there.url("/beside/1")), "attachment.url"),
        "to be assembled, with a size": (
            at(good, there.url("/kept/1"), hash=EMPTY_HASH, size=3), "attachment.size"),
    }[name]  # fmt: skip
    before = [await city.mongo.table("registry", t).count({}) for t in TABLES]
    answer = await post(producer, bad)
    assert answer.status_code == 400, answer.text
    (issue,) = answer.json()["issue"]
    assert issue["expression"] == [f"content[0].{where}"]
    assert issue["details"]["coding"][0]["system"].endswith("Spine-ErrorOrWarningCode")
    assert [await city.mongo.table("registry", t).count({}) for t in TABLES] == before


async def test_a_document_that_is_given_out_for_another_pointer_cannot_be_taken_over(
    producer: httpx.AsyncClient, number: str, there: Archive
) -> None:
    first = await made(producer, at(a_pointer(number), there.url("/kept/1")))
    url = url_of(await shown(producer, first))
    second = await made(producer, at(a_pointer(number), there.url("/kept/2")))
    read = await shown(producer, second, PRODUCER)
    answer = await producer.put(f"{PRODUCER}/{second}", json=at(read, url), headers=JSON)
    assert answer.status_code == 400
    assert answer.json()["issue"][0]["expression"] == ["content[0].attachment.url"]


# -- delayed assembly -------------------------------------------------------------------------------


async def test_what_is_assembled_late_is_held_to_what_its_first_reader_got(
    city: Exchange,
    producer: httpx.AsyncClient,
    anyone: httpx.AsyncClient,
    number: str,
    there: Archive,
) -> None:
    there.documents["/kept/late"] = PLAN
    late = at(a_pointer(number), there.url("/kept/late"), hash=EMPTY_HASH, size=0)
    id_ = await made(producer, late)
    pointer = await shown(anyone, id_)
    url = url_of(pointer)
    assert pointer["content"][0]["attachment"]["size"] == 0
    answer = await anyone.get(url, headers=PDF)
    assert (answer.status_code, answer.content) == (200, PLAN)
    now = await shown(anyone, id_)
    attachment = now["content"][0]["attachment"]
    assert (attachment["hash"], attachment["size"]) == (sha1(PLAN), len(PLAN))
    assert attachment["url"] == url
    assert now["meta"]["versionId"] == "2"
    before = (await anyone.get(f"DocumentReference/{id_}/_history/1")).json()
    assert before["content"][0]["attachment"]["hash"] == EMPTY_HASH
    again = await anyone.get(url, headers=PDF)
    assert (again.content, again.headers["content-length"]) == (PLAN, str(len(PLAN)))
    assert (await shown(anyone, id_))["meta"]["versionId"] == "2"
    there.documents["/kept/late"] = PLAN + b"Changed.\n"
    answer = await anyone.get(url, headers=PDF)
    assert answer.status_code == 502
    assert (await shown(anyone, id_))["meta"]["versionId"] == "2"


async def test_an_update_that_says_it_is_to_be_assembled_begins_anew(
    producer: httpx.AsyncClient, number: str, there: Archive
) -> None:
    there.documents["/kept/anew"] = PLAN
    late = at(a_pointer(number), there.url("/kept/anew"), hash=EMPTY_HASH, size=0)
    id_ = await made(producer, late)
    first = url_of(await shown(producer, id_))
    assert (await producer.get(first, headers=PDF)).content == PLAN
    there.documents["/kept/anew"] = LETTER
    answer = await producer.put(f"{PRODUCER}/{id_}", json=late | {"id": id_}, headers=JSON)
    assert answer.status_code == 200, answer.text
    second = url_of(await shown(producer, id_))
    assert second != first
    assert (await producer.get(second, headers=PDF)).content == LETTER
    assert (await producer.get(first, headers=PDF)).status_code == 502  # held to what it was


async def test_of_first_readers_at_once_all_get_the_same_bytes(
    producer: httpx.AsyncClient, anyone: httpx.AsyncClient, number: str, there: Archive
) -> None:
    there.documents["/kept/race"] = PLAN
    late = at(a_pointer(number), there.url("/kept/race"), hash=EMPTY_HASH, size=0)
    id_ = await made(producer, late)
    url = url_of(await shown(anyone, id_))
    answers = await asyncio.gather(*(anyone.get(url, headers=PDF) for _ in range(6)))
    assert {a.content for a in answers if a.status_code == 200} == {PLAN}
    assert any(a.status_code == 200 for a in answers)
    assert (await shown(anyone, id_))["meta"]["versionId"] == "2"
