"""Messages that could not be taken: kept with a reason, tried again when asked, never old over new."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest_asyncio

from pix.hl7v2.parked import Held
from tests.hl7v2.makers import MFT, NCA, SYSTEM, Hl7, a_merge, a_person, q23, unique


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def nothing_parked(service: Hl7) -> None:
    await service.parked.drop(None)


async def settled(hl7: Hl7, ids: Sequence[str]) -> list[Held]:
    """What is parked once the door has done what was asked."""
    for _ in range(200):
        left = await hl7.parked.all()
        if not [h for h in left if h.id in ids and h.state == "retry"]:
            return left
        await asyncio.sleep(0.05)
    raise AssertionError("the door did not try again")


async def test_a_refused_feed_is_parked_with_its_reason_and_without_payload_in_it(hl7: Hl7) -> None:
    message = a_person(f"{unique('K')}^^^{MFT}", sex="X", id_="PARK1")
    await hl7.say(message)
    (held,) = await hl7.parked.all()
    assert (held.sender, held.control_id, held.event, held.attempts) == (
        "PAS|R0A",
        "PARK1",
        "ADT^A01",
        1,
    )
    assert held.raw == message.encode()
    assert held.reasons[0].startswith("103 PID^1^8 ")
    assert "Ashworth" not in " ".join(held.reasons)


async def test_the_same_message_is_parked_once_however_often_it_comes(hl7: Hl7) -> None:
    number = unique("K")
    message = a_person(f"5^^^{NCA}~{number}^^^NOWHERE")
    for _ in range(3):
        assert (await hl7.say(message)).ack == "AR"
    (held,) = await hl7.parked.all()
    assert held.attempts == 3


async def test_queries_and_strangers_are_not_parked(hl7: Hl7) -> None:
    await hl7.say(q23("1^^^NOWHERE"))
    await hl7.say(a_person("1", sender="NOBODY|X"))
    await hl7.say(b"garbage")
    assert await hl7.parked.all() == []


async def test_a_parked_message_is_taken_when_its_reason_is_gone_and_it_is_tried_again(
    hl7: Hl7,
) -> None:
    one, two, three = unique("K"), unique("K"), unique("K")
    for number in (one, two, three):
        await hl7.fed(a_person(f"{number}^^^{MFT}"))
    await hl7.fed(a_merge(f"{two}^^^{MFT}", f"{three}^^^{MFT}"))
    # The survivor was merged elsewhere: refused, until a steward or the source puts that right.
    refused = await hl7.say(a_person(f"{three}^^^{MFT}", "A08", name="Late^Ann"))
    assert refused.ack == "AE"
    (held,) = await hl7.parked.all()
    removed = await hl7.http.delete("/Patient", params={"identifier": f"{SYSTEM}|{three}"})
    assert removed.status_code == 204, removed.text
    assert await hl7.parked.ask([held.id]) == 1
    assert await settled(hl7, [held.id]) == []
    assert (await hl7.patient(SYSTEM, three))["name"][0]["family"] == "Late"
    # The sender's own second try is answered as done.
    assert (await hl7.say(held.raw)).ack == "AA"


async def test_what_is_still_wrong_stays_parked(hl7: Hl7) -> None:
    await hl7.say(a_person(f"{unique('K')}^^^{MFT}", sex="X"))
    (held,) = await hl7.parked.all()
    await hl7.parked.ask(None)
    (again,) = await settled(hl7, [held.id])
    assert (again.id, again.state, again.attempts) == (held.id, "parked", 2)


async def test_old_news_is_not_put_over_new(hl7: Hl7) -> None:
    number = unique("K")
    await hl7.say(a_person(f"{number}^^^{MFT}", sex="X", name="Old^Ann"))
    (held,) = await hl7.parked.all()
    await hl7.fed(a_person(f"{number}^^^{MFT}", name="New^Ann"))
    await hl7.parked.ask([held.id])
    (again,) = await settled(hl7, [held.id])
    assert "later message" in again.reasons[0]
    assert (await hl7.patient(SYSTEM, number))["name"][0]["family"] == "New"


async def test_a_message_this_side_fails_on_is_parked_and_rejected_with_a_reference(
    hl7: Hl7,
) -> None:
    number = unique("K")
    message = a_person(f"{number}^^^{MFT}")
    # A register that refuses every row, as a broken disk or a foreign hand in the database would.
    database = hl7.mongo.table("pix", "hl7v2_messages").raw.database
    await database.command({"collMod": "hl7v2_messages", "validator": {"never": True}})
    try:
        answer = await hl7.say(message)
    finally:
        await database.command({"collMod": "hl7v2_messages", "validator": {}})
    assert (answer.ack, answer.errors) == ("AR", [("MSH^1", "207")])
    reference = answer.words[0].split("Quote ")[1].split(" ")[0]
    (held,) = await hl7.parked.all()
    assert reference in held.reasons[0]
    # Nothing of it was kept: the whole of a message is one transaction.
    assert (await hl7.say(q23(f"{number}^^^{MFT}"))).errors == [("QPD^1^3^1^1", "204")]
    await hl7.parked.ask([held.id])
    assert await settled(hl7, [held.id]) == []
    await hl7.patient(SYSTEM, number)


async def test_a_dropped_message_is_gone(hl7: Hl7) -> None:
    await hl7.say(a_person(f"{unique('K')}^^^{MFT}", sex="X"))
    (held,) = await hl7.parked.all()
    assert await hl7.parked.drop([held.id]) == 1
    assert await hl7.parked.all() == []
