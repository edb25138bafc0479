"""Feeds that arrive together share transactions, and none is left waiting (`pix/flights.py`)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from pix.flights import IN_THE_AIR, MOST, Flights
from pix.people import People
from pix.rebuild import rebuild
from tests.pix.makers import COUNCIL, Pix, patient


async def test_a_flight_beside_another_takes_off_when_it_is_half_full(pix: Pix) -> None:
    flights = Flights(pix.near.people)
    flights._waiting = [None] * (MOST // 2 - 1)  # type: ignore[list-item]
    assert flights._may_fly(besides=0)
    assert not flights._may_fly(besides=1)
    flights._waiting.append(None)  # type: ignore[arg-type]
    assert flights._may_fly(besides=1)
    assert not flights._may_fly(besides=IN_THE_AIR)


async def test_nobody_is_left_waiting_however_feeds_arrive(pix: Pix) -> None:
    people: People = pix.near.people

    async def fed(number: int) -> int:
        await asyncio.sleep(0.003 * (number % 23))
        return (await pix.feed(patient(COUNCIL, f"F{number}"))).status_code

    answers = await asyncio.wait_for(asyncio.gather(*map(fed, range(90))), 120)
    assert set(answers) == {201}
    again = await rebuild(people, datetime.now(UTC), lambda *_: None)
    assert again.changed == 0


async def test_the_registry_reads_no_event_but_those_that_move_documents(pix: Pix) -> None:
    people: People = pix.near.people
    for number in range(30):
        await pix.feed(patient(COUNCIL, f"E{number}"))
    await pix.feed(patient(COUNCIL, "E3", name=[{"family": "Other", "given": ["Ann"]}]))
    told = await pix.near.happened("0" * 12)
    where = {"_id": {"$gte": "0" * 12}, "type": {"$in": ["merged", "revised"]}}
    cursor = people.events.raw.find(where).sort("_id", 1).limit(1_000)
    looked = (await cursor.explain())["executionStats"]
    assert len(told) == looked["nReturned"] == looked["totalDocsExamined"]
    assert len(told) < await people.events.count({})
