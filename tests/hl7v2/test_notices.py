"""ITI-10: consumers are told what changed, in order, once it can be told, and only what is theirs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from affinity.partners import Consumer as Row
from chassis.mongo import Mongo
from pix.cards import Told
from pix.hl7v2.notice import control_id, digest, interesting, worth_telling
from pix.hl7v2.queue import Queue
from pix.identifiers import Identifier
from tests.hl7v2.makers import (
    MFT,
    NCA,
    NHS,
    Answer,
    Consumer,
    Hl7,
    a_merge,
    a_person,
    consumers_file,
    hl7v2_service,
    unique,
)
from tests.hl7v2.test_message import DOMAINS
from tests.pix.makers import nhs_number

SPACE = "NS/Id/local-patient-identifier"
BOTH = f"{SPACE}/R0A {SPACE}/RM3"


def said(notice: Answer) -> list[str]:
    return sorted(cx[0][0] for cx in notice.message.first("PID").field(3))


@pytest_asyncio.fixture(loop_scope="module")
async def consumer() -> AsyncIterator[Consumer]:
    made = Consumer()
    await made.start()
    yield made
    if made.server is not None:
        await made.stop()


async def clear(mongo: Mongo) -> None:
    for name in ("hl7v2_notices", "hl7v2_told", "hl7v2_reader"):
        await mongo.table("pix", name).delete({}, many=True)


def like(one: str, two: str, serial: int) -> dict[str, str]:
    """What is said of the person of a pair."""
    born = f"19{serial % 90 + 10}0311"
    return {"flags": "NSTS01", "address": "", "phone": "", "name": f"Told{one}^{two}", "born": born}


async def pair(hl7: Hl7, serial: int) -> tuple[str, str, str]:
    """One person known to two trusts, like nobody else."""
    nhs, one, two = nhs_number(serial), unique("N"), unique("N")
    who = like(one, two, serial)
    await hl7.fed(
        a_person(f"{one}^^^{MFT}~{nhs}^^^{NHS}", **who),
        a_person(f"{two}^^^{NCA}~{nhs}^^^{NHS}", sender="PAS|RM3", **who),
    )
    return one, two, nhs


async def test_a_join_is_told_with_all_numbers_and_a_split_with_two_notices(
    mongo: Mongo, tmp_path: Path, consumer: Consumer
) -> None:
    file = consumers_file(tmp_path, consumer.port, BOTH)
    async with hl7v2_service(mongo, hl7v2_consumers=file) as hl7:
        await ready(mongo)
        one, two, nhs = await pair(hl7, 91001)
        (joined,) = await consumer.until(1)
        message = joined.message
        assert [message.msh.value(9, component=n) for n in (1, 2, 3)] == ["ADT", "A31", "ADT_A05"]
        assert (message.version, message.sender, message.receiver) == (
            "2.5",
            ("THROUGHLINE", "EXCHANGE"),
            ("REG", "GM"),
        )
        assert [s.name for s in message.segments] == ["MSH", "EVN", "PID", "PV1"]
        assert said(joined) == sorted(
            [one, two]
        )  # the NHS number is not in its domains of interest
        for cx in message.first("PID").field(3):
            assert all(cx[3])
            assert len(cx[3]) == 3
        raw = joined.raw.decode().split("\r")
        assert raw[2].endswith("|| ")
        assert raw[2].split("|")[5] == " "
        assert raw[1].startswith("EVN||2")
        assert raw[3] == "PV1||N"
        # The second trust takes the number back: each stands alone, and each is told.
        await hl7.fed(
            a_person(
                f"{two}^^^{NCA}",
                "A08",
                sender="PAS|RM3",
                **{**like(one, two, 91001), "born": "20190909", "name": "Splitter^Una"},
            )
        )
        both = await consumer.until(3)
        assert sorted(said(n)[0] for n in both[1:]) == sorted([one, two])
        assert [len(said(n)) for n in both[1:]] == [1, 1]
        assert nhs
        told: list[Any] = []
        for _ in range(100):
            told = [e for e in hl7.audited if e["subtype"][0]["code"] == "ITI-10"]
            if len(told) == 3:
                break
            await asyncio.sleep(0.05)
        assert len(told) == 3
        assert told[0]["agent"][1]["who"] == told[0]["source"]["observer"]
    await clear(mongo)


async def ready(mongo: Mongo) -> None:
    """Wait until the events are read: what happened before that is nobody's news."""
    for _ in range(200):
        row = await Queue(mongo).reader.one({"_id": "events"}) or {}
        if row.get("token") is not None:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("nobody reads the events")


async def test_people_with_one_number_and_changes_of_demographics_are_not_news(
    mongo: Mongo, tmp_path: Path, consumer: Consumer
) -> None:
    file = consumers_file(tmp_path, consumer.port, BOTH)
    async with hl7v2_service(mongo, hl7v2_consumers=file) as hl7:
        await ready(mongo)
        await hl7.fed(a_person(f"{unique('N')}^^^{MFT}"))
        one, two, nhs = await pair(hl7, 91101)
        await consumer.until(1)
        await hl7.fed(
            a_person(
                f"{one}^^^{MFT}~{nhs}^^^{NHS}",
                "A08",
                **{**like(one, two, 91101), "phone": "0161 496 0123"},
            )
        )
        three, four, _ = await pair(hl7, 91102)
        heard = await consumer.until(2)
        assert [said(n) for n in heard] == [sorted([one, two]), sorted([three, four])]
    await clear(mongo)


async def test_a_merge_is_told_for_the_survivor(
    mongo: Mongo, tmp_path: Path, consumer: Consumer
) -> None:
    file = consumers_file(tmp_path, consumer.port, "*")
    async with hl7v2_service(mongo, hl7v2_consumers=file) as hl7:
        await ready(mongo)
        one, two, nhs = await pair(hl7, 91201)
        await consumer.until(1)
        goes = unique("N")
        await hl7.fed(a_person(f"{goes}^^^{MFT}~{nhs}^^^{NHS}", **like(one, two, 91201)))
        await consumer.until(2)
        await hl7.fed(a_merge(f"{one}^^^{MFT}", f"{goes}^^^{MFT}"))
        heard = await consumer.until(3)
        assert [said(n) for n in heard] == [
            sorted([one, two, nhs]),
            sorted([goes, one, two, nhs]),
            sorted([one, two, nhs]),
        ]
    await clear(mongo)


async def test_a_consumer_that_is_down_is_told_later_and_holds_up_no_other(
    mongo: Mongo, tmp_path: Path, consumer: Consumer
) -> None:
    down = Consumer()
    await down.start()
    await down.stop()
    first = Path(consumers_file(tmp_path, consumer.port, BOTH))
    second = Path(consumers_file(tmp_path, down.port, BOTH, "LATE")).read_text().splitlines()[1]
    first.write_text(first.read_text() + second + "\n")
    async with hl7v2_service(mongo, hl7v2_consumers=str(first)) as hl7:
        await ready(mongo)
        one, two, _ = await pair(hl7, 91301)
        await consumer.until(1)
        assert down.heard == []
        await down.start()
        try:
            (late,) = await down.until(1)
            assert said(late) == sorted([one, two])
        finally:
            await down.stop()
    await clear(mongo)


async def test_a_line_that_is_cut_before_the_answer_is_opened_again_with_the_same_message(
    mongo: Mongo, tmp_path: Path, consumer: Consumer
) -> None:
    consumer.acks = ["hang up", "hang up"]
    async with hl7v2_service(
        mongo, hl7v2_consumers=consumers_file(tmp_path, consumer.port, BOTH)
    ) as hl7:
        await ready(mongo)
        await pair(hl7, 91401)
        await consumer.until(1)
        assert consumer.lines >= 3
        assert len(consumer.heard) == 1
    await clear(mongo)


async def test_a_rejected_notice_is_tried_again_and_a_refused_one_is_parked_until_somebody_asks(
    mongo: Mongo, tmp_path: Path, consumer: Consumer
) -> None:
    async with hl7v2_service(
        mongo, hl7v2_consumers=consumers_file(tmp_path, consumer.port, BOTH)
    ) as hl7:
        await ready(mongo)
        consumer.acks = ["AR", "AR", "AA"]
        one, two, _ = await pair(hl7, 91501)
        heard = await consumer.until(3)
        assert len({n.message.control_id for n in heard}) == 1
        consumer.acks = ["AE"]
        three, four, _ = await pair(hl7, 91502)
        await consumer.until(4)
        queue = Queue(mongo)
        for _ in range(100):
            if await queue.parked():
                break
            await asyncio.sleep(0.05)
        (parked,) = await queue.parked()
        assert "204" in parked.reason
        from pix.hl7v2.visit import moment

        assert await queue.ask(None, moment()) == 1
        heard = await consumer.until(5)
        assert said(heard[4]) == sorted([three, four])
        assert one
        assert two
    await clear(mongo)


async def test_what_happens_while_nobody_reads_is_told_by_the_next_who_does(
    mongo: Mongo, tmp_path: Path, consumer: Consumer
) -> None:
    file = consumers_file(tmp_path, consumer.port, BOTH)
    async with hl7v2_service(mongo, hl7v2_consumers=file):
        await ready(mongo)
    async with hl7v2_service(mongo) as hl7:
        one, two, _ = await pair(hl7, 91601)
    async with hl7v2_service(mongo, hl7v2_consumers=file):
        (late,) = await consumer.until(1)
        assert said(late) == sorted([one, two])
    await clear(mongo)


async def test_when_the_stream_is_lost_the_events_themselves_are_read(
    mongo: Mongo, tmp_path: Path, consumer: Consumer
) -> None:
    from pix.hl7v2.notices import Notices
    from pix.hl7v2.visit import House, moment
    from pix.people import People
    from standards.balp import Vocabulary

    people = People(mongo, DOMAINS)
    rows = (Row("REG", "127.0.0.1", consumer.port, "REG", "GM", ("*",)),)
    async with hl7v2_service(mongo) as hl7:
        notices = Notices(
            people, House("T", "E", "x", Vocabulary(), "P"), rows, hl7.settings, audit=None
        )  # type: ignore[arg-type]  # nothing is told here
        await notices.prepare()
        before = moment()
        await pair(hl7, 91701)
        await notices._catch_up(before)
        assert len(await notices.queue.due("REG", moment())) >= 1
    await clear(mongo)


# -- the thinking ----------------------------------------------------------------------------------------

A, B = Identifier("s", "1"), Identifier("s", "2")


@pytest.mark.parametrize(
    ("numbers", "last", "parted", "worth"),
    [
        ([A, B], None, False, True), ([A], None, False, False), ([A], None, True, True), ([], None, True, False),
        ([A, B], digest([A, B]), True, False), ([A], digest([A, B]), False, True), ([], digest([A]), False, False),
    ],
)  # fmt: skip
def test_what_is_worth_telling(
    numbers: list[Identifier], last: str | None, parted: bool, worth: bool
) -> None:
    assert worth_telling(numbers, last, parted) is worth


def test_a_consumer_hears_of_its_domains_only_and_never_of_sealed_ones() -> None:
    sealed = next(d.system for d in DOMAINS.pack.domains if d.tier == "X" and not d.prefix)
    nino = "https://throughline.example/fhir/Id/nino"
    told = [Told(s, "1", "", "r", b"") for s in (sealed, nino, "https://fhir.nhs.uk/Id/nhs-number")]
    everything = Row("C", "h", 1, "a", "f", ("*",))
    assert [n.system for n in interesting(told, everything, DOMAINS)] == [
        "https://fhir.nhs.uk/Id/nhs-number",
        nino,
    ]
    some = Row("C", "h", 1, "a", "f", (nino, sealed))
    assert [n.system for n in interesting(told, some, DOMAINS)] == [nino]


def test_a_notice_said_again_has_the_same_control_id_and_a_newer_one_another() -> None:
    assert control_id("C", "P", [A], 0) == control_id("C", "P", [A], 0)
    assert (
        len(
            {
                control_id("C", "P", [A], 0),
                control_id("C", "P", [A], 1),
                control_id("C", "P", [A, B], 0),
            }
        )
        == 3
    )
