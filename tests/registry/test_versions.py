"""What was there when: histories of one resource and of a person, and what stood at a time."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.makers_mhd import (
    a_bundle,
    a_document,
    a_folder,
    a_patient,
    locations,
    publish,
    related,
)
from tests.running import Exchange

HISTORY = "/DocumentReference/_history"


async def published(client: httpx.AsyncClient, person: str, **changes: Any) -> str:
    return locations(await publish(client, a_bundle(a_document(person, **changes))))[1]


async def updated(client: httpx.AsyncClient, resource: str) -> datetime:
    """When its newest version was made."""
    said = (await client.get(resource)).json()["meta"]["lastUpdated"]
    return datetime.fromisoformat(said)


def instant(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def stood(client: httpx.AsyncClient, path: str = HISTORY, **asked: str) -> list[str]:
    """`Type/id v` of every version in a history."""
    answer = await client.get(path, params=asked)
    assert answer.status_code == 200, answer.text
    bundle = answer.json()
    assert bundle["type"] == "history"
    entries = bundle.get("entry", [])
    assert bundle["total"] >= len(entries)
    made = [e["resource"] for e in entries]
    return [f"{r['resourceType']}/{r['id']} {r['meta']['versionId']}" for r in made]


async def test_what_was_current_at_a_time_is_one_query(source: httpx.AsyncClient) -> None:
    person = await a_patient(source)
    old = await published(source, person)
    await asyncio.sleep(0.02)
    between = await updated(source, old) + timedelta(milliseconds=5)
    new = await published(source, person, **related("replaces", old))
    after = await updated(source, new)
    before = await updated(source, f"{old}/_history/1") - timedelta(seconds=1)
    asked = {"patient": person, "status": "current"}
    assert await stood(source, **asked, _at=instant(before)) == []
    assert await stood(source, **asked, _at=instant(between)) == [f"{old} 1"]
    assert await stood(source, **asked, _at=instant(after)) == [f"{new} 1"]
    assert await stood(source, patient=person, _at=instant(after), status="superseded") == [
        f"{old} 2"
    ]
    assert set(await stood(source, **asked, _at=instant(after)[:4])) == {f"{old} 1", f"{new} 1"}
    assert set(await stood(source, patient=person)) == {f"{old} 1", f"{old} 2", f"{new} 1"}
    assert set(await stood(source, patient=person, _since=instant(after))) == {
        f"{old} 2",
        f"{new} 1",
    }


async def test_one_resource_tells_its_versions_at_a_time_too(source: httpx.AsyncClient) -> None:
    person = await a_patient(source)
    old = await published(source, person)
    await asyncio.sleep(0.02)
    between = await updated(source, old) + timedelta(milliseconds=5)
    await published(source, person, **related("replaces", old))
    assert await stood(source, f"{old}/_history") == [f"{old} 2", f"{old} 1"]
    assert await stood(source, f"{old}/_history", _at=instant(between)) == [f"{old} 1"]
    assert await stood(source, f"{old}/_history", _count="1") == [f"{old} 2"]
    assert await stood(source, f"{old}/_history", _since="2999") == []


async def test_a_folder_tells_what_it_held_at_a_time(source: httpx.AsyncClient) -> None:
    person = await a_patient(source)
    old = await published(source, person)
    made = await publish(source, a_bundle(folders=(a_folder(person, members=(old,)),)))
    folder = locations(made)[1]
    await asyncio.sleep(0.02)
    between = await updated(source, folder) + timedelta(milliseconds=5)
    await published(source, person, **related("replaces", old))
    answer = await source.get("/List/_history", params={"patient": person, "_at": instant(between)})
    lists = [e["resource"] for e in answer.json()["entry"]]
    held = {r["id"]: len(r["entry"]) for r in lists}
    assert held[folder.split("/")[1]] == 1
    assert len((await source.get(folder)).json()["entry"]) == 2


async def test_a_long_history_goes_on_page_by_page(source: httpx.AsyncClient) -> None:
    person = await a_patient(source)
    bundle = a_bundle(*(a_document(person, content=b"%d" % n) for n in range(7)))
    locations(await publish(source, bundle))
    answer = await source.get(HISTORY, params={"patient": person, "_count": "3"})
    found, links = [e["resource"]["id"] for e in answer.json()["entry"]], []
    while following := [li["url"] for li in answer.json()["link"] if li["relation"] == "next"]:
        links += following
        await published(source, person)  # newer ones do not disturb the pages that follow
        answer = await source.get(following[0])
        found += [e["resource"]["id"] for e in answer.json()["entry"]]
    assert len(found) == len(set(found)) == 7
    assert len(links) == 2
    assert (await source.get(f"{links[0]}&_count=2")).status_code == 400


async def test_a_history_is_of_all_records_of_a_person_and_of_no_other(
    source: httpx.AsyncClient,
) -> None:
    person, other = await a_patient(source), await a_patient(source)
    mine = await published(source, person)
    await published(source, other)
    number = (await source.get(person)).json()["identifier"][0]
    asked = f"{number['system']}|{number['value']}"
    assert await stood(source, **{"patient.identifier": asked}) == [f"{mine} 1"]
    whole = await source.get(HISTORY, params={"patient.identifier": asked})
    (link,) = whole.json()["link"]
    assert link["url"].endswith("%7C" + number["value"])
    assert (await source.get(link["url"])).json()["total"] == 1
    assert await stood(source, patient=person.split("/")[1]) == [f"{mine} 1"]
    assert await stood(source, patient="Patient/nobody") == []


@pytest.mark.parametrize(
    ("asked", "where"),
    [
        ({}, "patient"),
        ({"patient": "x", "_at": "March"}, "_at"),
        ({"patient": "x", "_since": "2026-13"}, "_since"),
        ({"patient": "x", "_count": "0"}, "_count"),
        ({"patient": "x", "_count": "two"}, "_count"),
        ({"patient.identifier": "999"}, "patient.identifier"),
        ({"patient": "x", "_cursor": "AAAA"}, "_cursor"),
        ({"_cursor": "AAAA"}, "_cursor"),
        ({"patient": "x", "type": "y"}, "type"),
    ],
)
async def test_a_history_that_cannot_be_asked_for_is_refused(
    source: httpx.AsyncClient, asked: dict[str, str], where: str
) -> None:
    answer = await source.get(HISTORY, params=asked)
    assert answer.status_code == 400
    assert answer.json()["issue"][0]["expression"] == [where]


async def test_a_history_shows_what_the_token_reaches_and_is_audited(
    exchange: Exchange, source: httpx.AsyncClient
) -> None:
    person = await a_patient(source)
    mine = await published(source, person)
    async with exchange.as_client("system/DocumentReference.s?type=GN-DISCH") as able:
        assert await stood(able, patient=person) == [f"{mine} 1"]
    async with exchange.as_client("system/DocumentReference.s?type=GN-OPLET") as unable:
        assert await stood(unable, patient=person) == []
    async with exchange.as_client("system/DocumentReference.r") as reader:
        assert (await reader.get(HISTORY, params={"patient": person})).status_code == 403
    said = await source.get(
        "/AuditEvent", params={"patient": person, "date": "ge2020", "subtype": "history-type"}
    )
    events = [e["resource"] for e in said.json()["entry"]]
    assert any("query" in entity for event in events for entity in event["entity"])
