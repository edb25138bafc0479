"""The store: each event once, chained, durable; and the check that finds what was done to it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
import pytest_asyncio
from fhir.resources.R4B.auditevent import AuditEvent
from pymongo import AsyncMongoClient, monitoring
from pymongo.errors import AutoReconnect

from audit.chain import Head
from audit.events import Events, closing_id
from audit.verify import heads_in_log, verify, verify_chain
from chassis.audit import AuditWriter
from chassis.call import Account, Caller
from chassis.mongo import Mongo
from standards import balp
from standards.outcome import Refused

BASE = "https://exchange.example/fhir"


def an_event(event_id: str = "", patient: str = "Patient/a") -> dict[str, Any]:
    request = balp.Request(
        event_id or str(uuid.uuid4()), "2026-11-24T04:05:06.789Z", BASE, client_address="10.0.0.1",
        request_id="r", raw=b"GET /fhir/DocumentReference HTTP/1.1",
    )  # fmt: skip
    caller = Caller(client_id="c", subject="c", issuer=BASE, jti="j")
    return balp.event(balp.ITI_67, caller, Account(patients=[patient]), request)


@pytest_asyncio.fixture(loop_scope="module")
async def events(mongo: Mongo) -> AsyncIterator[Events]:
    """A trail of its own with an open chain."""
    await mongo.client.drop_database(mongo.prefix + "audit")
    store = Events(mongo, BASE)
    async with store.open():
        yield store


async def chain_of(events: Events) -> str:
    return str((await events.announcements.many({}, sort=[("_id", -1)], limit=1))[0]["_id"])


async def test_opening_and_closing_leave_a_sound_chain_of_legal_events(
    mongo: Mongo, events: Events
) -> None:
    other = Events(mongo, BASE)
    async with other.open():
        await other.append([an_event() for _ in range(3)])
    rows = await events.table.many({}, {"b": 1, "c": 1, "n": 1}, sort=[("c", 1), ("n", 1)])
    for row in rows:
        AuditEvent.model_validate(orjson.loads(row["b"]))
    assert len(rows) == 1 + 5
    assert rows[-1]["_id"] == closing_id(rows[-1]["c"])
    report = await verify(events)
    assert report.sound, report.breaks
    assert (report.chains, report.records) == (2, 6)


async def test_an_event_sent_again_is_kept_once(events: Events) -> None:
    first, second, third = an_event(), an_event(), an_event()
    await events.append([first, second])
    await events.append([second, third, first, third])
    assert await events.table.count({"n": {"$gt": 0}}) == 3
    assert (await verify(events)).sound


async def test_two_processes_that_record_the_same_event_both_stay_sound(
    mongo: Mongo, events: Events
) -> None:
    batch = [an_event() for _ in range(40)]
    other = Events(mongo, BASE)
    async with other.open():
        await asyncio.gather(
            *(store.append(batch[n : n + 8]) for n in range(0, 40, 4) for store in (events, other))
        )
        assert await events.table.count({"_id": {"$in": [event["id"] for event in batch]}}) == 40
        report = await verify(events)
    assert report.sound, report.breaks


async def test_another_event_with_a_taken_id_is_refused(events: Events) -> None:
    event = an_event()
    await events.append([event])
    with pytest.raises(Refused) as refusal:
        await events.append([an_event(), an_event(event["id"], "Patient/b"), an_event()])
    assert refusal.value.status() == 409
    await events.append([an_event()])
    report = await verify(events)
    assert report.sound, report.breaks
    assert report.chains == 1


async def test_a_batch_of_which_most_is_kept_already_is_settled_in_few_rounds(
    events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = [an_event() for _ in range(60)]
    await events.append(batch[::2])
    rounds = 0
    insert = events.table.insert_many

    async def counted(*given: Any, **more: Any) -> None:
        nonlocal rounds
        rounds += 1
        await insert(*given, **more)

    monkeypatch.setattr(events.table, "insert_many", counted)
    await events.append(batch)
    assert rounds == 2
    assert (await verify(events)).records == 61


async def test_after_an_uncertain_failure_a_new_chain_goes_on(
    events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = events.table.insert_many
    batch = [an_event() for _ in range(3)]

    async def kept_but_not_told(documents: Any, *rest: Any, **more: Any) -> None:
        await insert(documents[:2], *rest, **more)
        monkeypatch.undo()
        raise AutoReconnect("connection closed")

    monkeypatch.setattr(events.table, "insert_many", kept_but_not_told)
    await AuditWriter(events).record(*batch)
    assert await events.table.count({"_id": {"$in": [event["id"] for event in batch]}}) == 3
    report = await verify(events)
    assert report.sound, report.breaks
    assert report.chains == 2


async def test_sixty_four_recorders_make_few_batches_and_one_chain(events: Events) -> None:
    writer = AuditWriter(events)
    await asyncio.gather(*(writer.record(an_event()) for _ in range(64)))
    assert writer.batches < 16
    assert (await verify(events)).records == 65


async def test_the_bytes_are_final_fhir(events: Events) -> None:
    event = an_event()
    await events.append([event])
    kept = orjson.loads(await events.read(event["id"]) or b"")
    assert kept["meta"] == {
        "versionId": "1", "lastUpdated": event["recorded"], "profile": event["meta"]["profile"],
    }  # fmt: skip
    assert {k: v for k, v in kept.items() if k != "meta"} == {
        k: v for k, v in event.items() if k != "meta"
    }
    assert await events.read("unknown") is None


async def tampered(events: Events, how: str) -> None:
    """What somebody with the rights of an administrator might do."""
    raw = events.table.raw
    place = await raw.find_one({"n": 3})
    assert place is not None
    if how == "edited":
        await raw.update_one(
            {"_id": place["_id"]}, {"$set": {"b": place["b"].replace(b"Patient/a", b"Patient/b")}}
        )
    elif how == "removed":
        await raw.delete_one({"_id": place["_id"]})
    elif how == "index":
        await raw.update_one({"_id": place["_id"]}, {"$set": {"ix.whose": ["Patient/b"]}})
    elif how == "inserted":
        await raw.insert_one({**place, "_id": "x", "c": None, "n": 1})
    elif how == "unannounced":
        await raw.insert_one({**place, "_id": "x", "c": "elsewhere", "n": 0})
    elif how == "truncated":
        await raw.delete_many({"n": {"$gte": 3}})
    elif how == "announcement":
        await events.announcements.raw.delete_many({})


@pytest.mark.parametrize("how", ["edited", "removed", "index", "inserted", "unannounced"])
async def test_what_was_done_to_the_trail_shows(events: Events, how: str) -> None:
    await events.append([an_event() for _ in range(6)])
    assert (await verify(events)).sound
    await tampered(events, how)
    report = await verify(events)
    assert not report.sound
    assert report.breaks[0].kind == how
    if how in ("edited", "removed", "index"):
        assert (report.breaks[0].chain, report.breaks[0].seq) == (await chain_of(events), 3)
        assert (await verify_chain(events, report.breaks[0].chain)).breaks == report.breaks


async def test_swapped_records_show(events: Events) -> None:
    await events.append([an_event() for _ in range(6)])
    raw = events.table.raw
    one, two = [await raw.find_one({"n": n}) for n in (2, 4)]
    assert one is not None
    assert two is not None
    await raw.delete_many({"n": {"$in": [2, 4]}})
    await raw.insert_many([{**one, "n": 4}, {**two, "n": 2}])
    found = (await verify(events)).breaks
    assert (found[0].seq, found[0].kind) == (2, "edited")


async def test_a_missing_end_shows_from_the_anchor_on(events: Events) -> None:
    await events.append([an_event() for _ in range(6)])
    head = await events.anchor()
    assert head == Head(await chain_of(events), 6, head.hash if head else b"")
    assert await events.anchor() is None
    await tampered(events, "truncated")
    assert [b.kind for b in (await verify(events)).breaks] == ["truncated"]


async def test_a_missing_end_shows_from_a_line_of_the_log(events: Events) -> None:
    await events.append([an_event() for _ in range(6)])
    head = await events.anchor()
    assert head is not None
    await events.anchors.raw.delete_many({})
    await tampered(events, "truncated")
    assert (await verify(events)).sound
    line = {
        "code": "THL013",
        "chain": head.chain,
        "seq": head.seq,
        "hash": head.hash.hex(),
        "level": "info",
    }
    log = ["started", orjson.dumps(line).decode(), '{"code": "THL012"}', "THL013 is not JSON"]
    assert list(heads_in_log(log)) == [head]
    assert [b.kind for b in (await verify(events, heads=heads_in_log(log))).breaks] == ["truncated"]


async def test_a_missing_end_of_an_earlier_chain_shows_from_the_next_announcement(
    mongo: Mongo, events: Events
) -> None:
    await events.append([an_event() for _ in range(6)])
    before = await chain_of(events)
    async with Events(mongo, BASE).open():
        await events.table.raw.delete_many({"c": before, "n": {"$gte": 5}})
        found = (await verify(events)).breaks
    assert [(b.chain, b.seq, b.kind) for b in found] == [(before, 6, "truncated")]


async def test_a_removed_announcement_shows_from_the_next_one(mongo: Mongo, events: Events) -> None:
    before = await chain_of(events)
    async with Events(mongo, BASE).open():
        await events.announcements.raw.delete_one({"_id": before})
        assert {b.kind for b in (await verify(events)).breaks} == {"announcement", "unannounced"}


async def test_closed_chains_are_announced_once_and_open_ones_again(
    mongo: Mongo, events: Events
) -> None:
    opened = await chain_of(events)
    for _ in range(3):
        async with Events(mongo, BASE).open():
            pass
    said = await events.announcements.many({}, sort=[("at", 1)])
    assert [len(doc["before"]) for doc in said] == [0, 1, 2, 2]
    assert all(opened in {head["c"] for head in doc["before"]} for doc in said[1:])


async def test_a_check_of_an_unknown_chain_says_so(events: Events) -> None:
    assert (await verify_chain(events, "nowhere")).breaks[0].kind == "unannounced"


async def test_the_store_never_updates_or_deletes(mongo: Mongo, mongod_uri: str) -> None:
    commands: list[str] = []

    class Watch(monitoring.CommandListener):
        def started(self, event: monitoring.CommandStartedEvent) -> None:
            commands.append(event.command_name)

        def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
            """Of no interest."""

        def failed(self, event: monitoring.CommandFailedEvent) -> None:
            """Of no interest."""

    watched = Mongo(mongod_uri, prefix=mongo.prefix)
    await watched.client.close()
    watched.client = AsyncMongoClient(mongod_uri, tz_aware=True, event_listeners=[Watch()])
    store = Events(watched, BASE)
    async with store.open(anchor_every=0.01):
        await store.append([an_event() for _ in range(3)])
        await asyncio.sleep(0.05)
    await verify(store)
    await watched.close()
    assert {"insert", "find"} <= set(commands)
    assert not set(commands) & {"update", "delete", "findAndModify", "drop", "dropIndexes"}
