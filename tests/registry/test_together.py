"""Requests that arrive at the same time share commands; no one can tell from the answers."""

from __future__ import annotations

import asyncio

import httpx

from chassis.mongo import Mongo
from tests.makers_mhd import a_bundle, a_document, a_patient, locations, publish, unique


def ids(answer: httpx.Response) -> list[str]:
    """The ids of a searchset in order."""
    assert answer.status_code == 200, answer.text
    return [e["resource"]["id"] for e in answer.json().get("entry", ())]


async def test_finds_at_the_same_time_answer_what_they_answer_alone(
    source: httpx.AsyncClient,
) -> None:
    people = [await a_patient(source) for _ in range(6)]
    for number, person in enumerate(people):
        for _ in range(number):  # the first has none
            await publish(source, a_bundle(a_document(person)))
    asked = [
        {"patient": person, "status": "current", "_sort": sort, "_count": count}
        for person in people
        for sort in ("-date", "date", "-_lastUpdated", "_id")
        for count in ("2", "50", "51")
    ]
    alone = [await source.get("/DocumentReference", params=p) for p in asked]
    together = await asyncio.gather(*(source.get("/DocumentReference", params=p) for p in asked))
    for one, other in zip(alone, together, strict=True):
        assert ids(one) == ids(other)
        assert one.json()["total"] == other.json()["total"]
        links = [{link["relation"] for link in a.json()["link"]} for a in (one, other)]
        assert links[0] == links[1]
    assert [a.json()["total"] for a in together[::12]] == [0, 1, 2, 3, 4, 5]


async def test_a_first_page_leads_on_to_all_the_others(source: httpx.AsyncClient) -> None:
    person = await a_patient(source)
    for _ in range(5):
        await publish(source, a_bundle(a_document(person)))
    first = {"patient": person, "status": "current", "_count": "2"}
    answer = await source.get("/DocumentReference", params=first)
    found, totals = ids(answer), [answer.json()["total"]]
    while following := [li["url"] for li in answer.json()["link"] if li["relation"] == "next"]:
        answer = await source.get(following[0])
        found += ids(answer)
        totals.append(answer.json()["total"])
    assert len(set(found)) == len(found) == 5
    assert totals == [5, 5, 5]


async def test_submissions_at_the_same_time_are_each_whole_and_audited(
    source: httpx.AsyncClient, mongo: Mongo
) -> None:
    people = [await a_patient(source) for _ in range(4)]
    bundles = [a_bundle(a_document(people[n % 4], content=b"%d" % (n // 2))) for n in range(24)]
    answers = await asyncio.gather(*(publish(source, bundle) for bundle in bundles))
    sets = {locations(answer)[0].split("/")[1] for answer in answers}
    assert len(sets) == 24
    for person in people:
        asked = {"patient": person, "status": "current"}
        assert (await source.get("/DocumentReference", params=asked)).json()["total"] == 6
    told = await mongo.table("audit", "events").many(
        {"ix.entity": {"$in": [f"List/{set_}" for set_ in sets]}}, {"_id": 1}
    )
    assert len(told) == 24
    kept = await mongo.table("repository", "deposits").many({"state": "pending"}, {"_id": 1})
    assert kept == []


async def test_a_submission_twice_among_others_is_registered_once(
    source: httpx.AsyncClient,
) -> None:
    person = await a_patient(source)
    bundles = [a_bundle(a_document(person)) for _ in range(6)]
    answers = await asyncio.gather(*(publish(source, b) for b in [*bundles, *bundles]))
    for first, second in zip(answers[:6], answers[6:], strict=True):
        assert locations(first) == locations(second)
    asked = {"patient": person, "status": "current"}
    assert (await source.get("/DocumentReference", params=asked)).json()["total"] == 6


async def test_two_that_clash_do_not_fail_those_they_travel_with(
    source: httpx.AsyncClient,
) -> None:
    person = await a_patient(source)
    name = unique()
    clashing = [
        a_bundle(a_document(person, masterIdentifier=name, content=content))
        for content in (b"one", b"other")
    ]
    others = [a_bundle(a_document(person)) for _ in range(5)]
    answers = await asyncio.gather(*(publish(source, b) for b in [*clashing, *others]))
    assert sorted(a.status_code for a in answers[:2]) == [200, 400]
    assert [a.status_code for a in answers[2:]] == [200] * 5
    asked = {"patient": person, "status": "current"}
    assert (await source.get("/DocumentReference", params=asked)).json()["total"] == 6
