"""Feeds that arrive together share transactions, and none is left waiting (`pix/flights.py`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from chassis import telemetry
from pix import linking
from pix.change import Change
from pix.flights import IN_THE_AIR, MOST, Flights
from pix.people import People
from pix.rebuild import rebuild
from pix.record import Record
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


def _outcomes(pix: Pix, mark: str) -> list[str]:
    """What was audited of the feeds whose numbers begin so; the outbox may tell one event again."""
    told = {e["id"]: e["outcome"] for e in pix.audited if mark in str(e["entity"])}
    return sorted(told.values())


def _trips_when_read(pix: Pix, at: pytest.MonkeyPatch) -> None:
    """Before the transaction, where turns are found, and again where what it says is read."""
    says = pix.near.people.says

    def trip(own: bytes, patient: Mapping[str, Any] | None = None) -> bytes:
        if b"Stumble" in own:
            raise ZeroDivisionError(own)
        return says(own, patient)

    at.setattr(pix.near.people, "says", trip)


def _trips_when_placed(pix: Pix, at: pytest.MonkeyPatch) -> None:
    """In the transaction, when others of the flight are in the working set already."""
    place = linking.place

    async def trip(change: Change, record: Record, patient: Mapping[str, Any]) -> None:
        if b"Stumble" in record.own:
            raise ZeroDivisionError(record.id)
        await place(change, record, patient)

    at.setattr(linking, "place", trip)


@pytest.mark.parametrize("trips", [_trips_when_read, _trips_when_placed])
async def test_of_a_flight_only_the_feed_that_trips_fails(
    pix: Pix,
    monkeypatch: pytest.MonkeyPatch,
    trips: Callable[[Pix, pytest.MonkeyPatch], None],
) -> None:
    people, mark = pix.near.people, trips.__name__
    trips(pix, monkeypatch)
    bodies = [patient(COUNCIL, f"{mark}{n}", born=f"19{50 + n}-03-04") for n in range(40)]
    bodies[17]["name"] = [{"family": "Stumble", "given": ["Over"]}]
    # The logger of a process remembers how it was set up first, so this test has its own.
    capture = structlog.testing.LogCapture()
    own = structlog.wrap_logger(
        structlog.PrintLogger(), processors=[capture], wrapper_class=structlog.BoundLogger
    )
    monkeypatch.setattr(telemetry, "_logger", own)
    answers = await asyncio.wait_for(asyncio.gather(*map(pix.feed, bodies)), 120)
    logged = capture.entries
    codes = [a.status_code for a in answers]
    assert codes[17] == 500
    assert "Quote" in answers[17].json()["issue"][0]["diagnostics"]
    assert codes[:17] + codes[18:] == [201] * 39
    # each is audited once, with its own outcome
    assert _outcomes(pix, mark) == ["0"] * 39 + ["12"]
    # the fault is told where it was met, without a word of whom it met
    shared = [line for line in logged if line["code"] == "THL029"]
    assert shared
    assert all(line["fault"] == "ZeroDivisionError" for line in shared)
    assert "Stumble" not in str(logged)
    # nobody holds a turn, and what was fed is whole
    assert people.turns._turns == {}
    monkeypatch.undo()
    again = await rebuild(people, datetime.now(UTC), lambda *_: None)
    assert again.changed == 0
    assert (await pix.feed(bodies[17])).status_code == 201


async def test_a_fault_of_sharing_alone_fails_nobody(pix: Pix) -> None:
    people, left = pix.near.people, 1

    def trip(place: str) -> None:
        nonlocal left
        if place == "commit" and left:
            left -= 1
            raise ZeroDivisionError

    people.between = trip
    try:
        bodies = [patient(COUNCIL, f"Shared{n}", born=f"19{50 + n}-05-06") for n in range(20)]
        answers = await asyncio.wait_for(asyncio.gather(*map(pix.feed, bodies)), 120)
    finally:
        people.between = None
    assert not left
    assert [a.status_code for a in answers] == [201] * 20
    assert _outcomes(pix, "Shared") == ["0"] * 20


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
