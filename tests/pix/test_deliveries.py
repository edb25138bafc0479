"""ITI-93 out: who is told what, in which order, whatever endpoints and processes do meanwhile.

The endpoint is a real HTTP server of this module. Most tests turn a worker of their own by hand; the
last ones let the service and other processes do it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from affinity.pack import load
from chassis.call import Caller
from chassis.destinations import allowed
from chassis.mongo import Mongo
from pix import acts, stewarding
from pix.change import Acting, Actor, Change
from pix.deliveries import Deliveries, Pace, verdict
from pix.endpoints import Sender
from pix.identifiers import Domains
from pix.masters import Masters
from pix.people import People
from pix.sight import Sights
from pix.subscriptions import Subscriptions
from pix.wire import Received, trusting
from standards import pmir_message
from standards.r4.check import check_structure
from tests.pix.makers import (
    BASE,
    COUNCIL,
    FEEDER,
    NS,
    SALFORD,
    TRUST,
    Pix,
    identifier,
    nhs_number,
    patient,
    pix_service,
    replaced,
)  # fmt: skip
from tests.pix.makers_pmir import Consumer, Got, consuming, eventually, subscription

_COUNT = itertools.count()
HASTE = Pace(
    first=0.01, longest=0.04, patience=60, idle=0.02, lease=1.5, batch=5, at_once=2, late=0
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def consumer() -> AsyncIterator[Consumer]:
    """The endpoint of this module."""
    async with consuming() as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(mongo: Mongo, consumer: Consumer) -> AsyncIterator[Pix]:
    """A service that leaves the sending to others."""
    async with pix_service(mongo, notify_allow=consumer.origin, notify_at_once=0) as made:
        yield made


def worker(mongo: Mongo, audit: Any, listed: str, pace: Pace = HASTE, **more: Any) -> Deliveries:
    """A worker over these databases, as another process would have it."""
    domains = Domains(load("greater_manchester"), BASE)
    subs = Subscriptions(mongo, domains, allowed(listed))
    sender = Sender(allowed(listed), trusting(), deadline=more.pop("deadline", 1.0))
    people = People(mongo, domains)
    masters = Masters(people, Sights(people, domains))
    return Deliveries(subs, masters, sender, audit, BASE, pace=pace, **more)


@dataclass
class Feed:
    """The service, its endpoint, and a worker that is turned by hand."""

    pix: Pix
    there: Consumer
    mongo: Mongo
    audited: list[Mapping[str, Any]] = field(default_factory=list)
    worker: Deliveries = field(init=False)

    def __post_init__(self) -> None:
        self.worker = worker(self.mongo, self, self.there.origin)

    async def record(self, *events: Mapping[str, Any]) -> None:
        """Where the worker's AuditEvents go."""
        self.audited += events

    async def asked(self, criteria: str = "Patient", path: str = "/in", **more: Any) -> str:
        """A subscription that is requested."""
        body = subscription(self.there.origin + path, criteria, **more)
        answer = await self.pix.http.post("/Subscription", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def subscribe(self, criteria: str = "Patient", path: str = "/in", **more: Any) -> str:
        """A subscription that is active; what it was sent so far is forgotten."""
        id_ = await self.asked(criteria, path, **more)
        await self.turn()
        assert (await self.read(id_))["status"] == "active"
        self.there.got.clear()
        self.audited.clear()
        return id_

    async def read(self, id_: str) -> dict[str, Any]:
        """The subscription as its subscriber reads it."""
        body: dict[str, Any] = (await self.pix.http.get(f"/Subscription/{id_}")).json()
        return body

    async def switch(self, id_: str, status: str, **more: Any) -> None:
        """PUT with another status."""
        body = await self.read(id_)
        body.pop("error", None)
        body |= {"status": status, **more}
        answer = await self.pix.http.put(f"/Subscription/{id_}", json=body)
        assert answer.status_code == 200, answer.text

    async def turn(self) -> None:
        """Let the worker do all that is due now."""
        while await self.worker.fan_out():
            pass
        while await self.worker.deliver():
            pass

    async def until(self, true: Callable[[], Any], seconds: float = 10) -> None:
        """Turn the worker until something holds."""

        async def turned() -> bool:
            await self.turn()
            held = true()
            return bool(await held if asyncio.iscoroutine(held) else held)

        await eventually(turned, seconds)

    @asynccontextmanager
    async def in_the_air(self) -> AsyncIterator[asyncio.Task[bool]]:
        """While a message is at its endpoint, which answers afterwards."""
        inside, go = asyncio.Event(), asyncio.Event()

        async def waiting(_: Got) -> int:
            inside.set()
            await go.wait()
            return 200

        self.there.behave = waiting
        sending = asyncio.create_task(self.worker.deliver())
        await inside.wait()
        try:
            yield sending
        finally:
            self.there.behave = lambda _: 200
            go.set()

    async def is_now(self, id_: str, status: str) -> bool:
        """Whether the subscription has this status."""
        return bool((await self.read(id_))["status"] == status)

    async def notices(self, id_: str) -> int:
        """How many persons are still to be told of."""
        return await self.worker.subscriptions.notices.count({"sub": id_})

    async def person(self, system: str, value: str) -> str:
        """The number of the person with an identifier."""
        found = await self.pix.near.who([("identifier", system, value)])
        return found[("identifier", system, value)].person


@pytest_asyncio.fixture
async def feed(mongo: Mongo, service: Pix, consumer: Consumer) -> Feed:
    """A fresh start: no subscription of another test is left, and the endpoint takes everything."""
    service.caller, consumer.behave = FEEDER, lambda _: 200
    consumer.got.clear()
    made = Feed(service, consumer, mongo)
    await made.worker.prepare()
    leases = mongo.table("pix", "leases")
    for table in (made.worker.subscriptions.table, made.worker.subscriptions.notices, leases):
        await table.delete({}, many=True)
    return made


# -- the handshake ------------------------------------------------------------------------------------


async def test_a_subscription_is_active_only_after_its_endpoint_took_a_test_message(
    feed: Feed,
) -> None:
    feed.there.behave = lambda _: 500
    id_ = await feed.asked()
    await feed.turn()
    assert (await feed.read(id_))["status"] == "requested"
    feed.there.behave = lambda _: 200
    await feed.until(lambda: feed.is_now(id_, "active"))
    assert feed.there.told == []
    assert check_structure(feed.there.got[-1].message) == ()


async def test_an_answer_from_a_consumer_that_wants_a_patient_passes_the_test(feed: Feed) -> None:
    feed.there.behave = lambda _: "reply:fatal-error"
    id_ = await feed.asked()
    await feed.turn()
    assert (await feed.read(id_))["status"] == "active"


async def test_a_redirect_passes_no_test(feed: Feed) -> None:
    feed.there.behave = lambda _: (302, "Location: http://127.0.0.1:1/\r\n")
    id_ = await feed.asked()
    await feed.turn()
    assert (await feed.read(id_))["status"] == "error"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
async def test_a_refused_test_message_is_an_error_at_once(feed: Feed, status: int) -> None:
    feed.there.behave = lambda _: status
    id_ = await feed.asked()
    await feed.turn()
    shown = await feed.read(id_)
    assert (shown["status"], str(status) in shown["error"]) == ("error", True)
    assert check_structure(shown) == ()
    assert len(feed.there.got) == 1
    assert [e["outcome"] for e in feed.audited] == ["8"]
    feed.there.behave = lambda _: 200
    await feed.switch(id_, "requested")
    await feed.turn()
    shown = await feed.read(id_)
    assert (shown["status"], shown.get("error")) == ("active", None)


@pytest.mark.parametrize("fault", [500, 503, 408, 429, "reply:transient-error", "slow"])
async def test_a_test_message_that_may_be_taken_later_is_sent_again(feed: Feed, fault: Any) -> None:
    feed.worker = worker(feed.mongo, feed, feed.there.origin, deadline=0.3)
    failing = iter([fault])
    feed.there.behave = lambda _: next(failing, 200)
    id_ = await feed.asked()
    await feed.worker.deliver()
    assert (await feed.read(id_))["status"] == "requested"
    await feed.until(lambda: feed.is_now(id_, "active"))
    assert len(feed.there.got) == 2


# -- what is told -------------------------------------------------------------------------------------


async def test_a_new_person_is_told_as_created_and_a_change_as_updated(feed: Feed) -> None:
    await feed.subscribe()
    await feed.pix.feed(patient(COUNCIL, "3100001"))
    await feed.turn()
    person = await feed.person(COUNCIL, "3100001")
    assert feed.there.told == [("POST", person)]
    (told,) = feed.there.got[0].patients
    assert told["id"] == person
    assert (COUNCIL, "3100001") in [(i["system"], i["value"]) for i in told["identifier"]]
    await feed.pix.feed(patient(COUNCIL, "3100001", gender="other"))
    await feed.turn()
    assert feed.there.told[1:] == [("PUT", person)]
    assert feed.there.got[-1].patients[0]["gender"] == "other"


async def test_a_message_breaks_no_rule_and_is_legal_in_json_and_xml(feed: Feed) -> None:
    await feed.subscribe(path="/json")
    await feed.subscribe(path="/xml", channel={"payload": "application/fhir+xml"})
    await feed.pix.feed(patient(COUNCIL, "3100002"))
    await feed.turn()
    assert {g.path: g.headers["content-type"] for g in feed.there.got} == {
        "/json": "application/fhir+json",
        "/xml": "application/fhir+xml",
    }
    for got in feed.there.got:
        assert check_structure(got.message) == ()
        assert pmir_message.check(got.message) == ()
        assert got.header["destination"] == [{"endpoint": feed.there.origin + got.path}]


async def test_the_master_that_is_told_can_be_read_and_is_in_no_search(feed: Feed) -> None:
    await feed.subscribe()
    await feed.pix.feed(patient(COUNCIL, "3100003"))
    await feed.turn()
    (told,) = feed.there.got[0].patients
    answer = await feed.pix.http.get(f"/Patient/{told['id']}")
    assert answer.status_code == 200
    assert answer.json() == told
    found = await feed.pix.http.get("/Patient", params={"identifier": f"{COUNCIL}|3100003"})
    assert [e["resource"]["id"] for e in found.json()["entry"]] != [told["id"]]
    assert found.json()["total"] == 1
    by_id = await feed.pix.http.get("/Patient", params={"_id": told["id"]})
    assert by_id.json()["total"] == 0


async def test_two_persons_that_become_one_are_told_as_a_merge_and_an_update(feed: Feed) -> None:
    number = nhs_number(3104)
    await feed.pix.feed(patient(COUNCIL, "3100004", nhs=number))
    await feed.pix.feed(patient(TRUST, "T3104"))
    kept, gone = await feed.person(COUNCIL, "3100004"), await feed.person(TRUST, "T3104")
    await feed.subscribe()
    await feed.pix.feed(patient(TRUST, "T3104", nhs=number))
    await feed.turn()
    assert sorted(feed.there.told) == sorted([("PUT", kept), ("PUT", gone)])
    told = {p["id"]: p for g in feed.there.got for p in g.patients}
    assert told[gone]["active"] is False
    assert told[gone]["link"] == [
        {"other": {"reference": f"Patient/{kept}"}, "type": "replaced-by"}
    ]
    assert "T3104" in [i["value"] for i in told[kept]["identifier"]]
    merged = (await feed.pix.http.get(f"/Patient/{gone}")).json()
    assert merged["active"] is False


async def test_a_person_that_parts_is_told_as_created_and_the_other_as_updated(feed: Feed) -> None:
    number = nhs_number(3105)
    await feed.pix.feed(patient(COUNCIL, "3100005", nhs=number))
    await feed.pix.feed(patient(TRUST, "T3105", nhs=number))
    await feed.subscribe()
    await feed.pix.feed(patient(TRUST, "T3105", nhs=number, born="1970-05-05"))
    await feed.turn()
    kept, other = await feed.person(COUNCIL, "3100005"), await feed.person(TRUST, "T3105")
    assert {id_ for _, id_ in feed.there.told} == {kept, other}


async def test_a_merge_at_the_source_is_told_with_the_survivors_numbers(feed: Feed) -> None:
    await feed.pix.feed(patient(COUNCIL, "3100006"))
    await feed.pix.feed(patient(COUNCIL, "3100007"))
    kept, gone = await feed.person(COUNCIL, "3100006"), await feed.person(COUNCIL, "3100007")
    await feed.subscribe()
    other = {"identifier": {"system": COUNCIL, "value": "3100006"}}
    await feed.pix.feed(replaced(patient(COUNCIL, "3100007"), other))
    await feed.turn()
    assert {id_ for _, id_ in feed.there.told} == {kept, gone}
    told = {p["id"]: p for g in feed.there.got for p in g.patients}
    old = [i["value"] for i in told[kept]["identifier"] if i.get("use") == "old"]
    assert old == ["3100007"]


async def test_a_removed_person_is_told_as_deleted_even_when_never_told_before(feed: Feed) -> None:
    await feed.pix.feed(patient(COUNCIL, "3100008"))
    person = await feed.person(COUNCIL, "3100008")
    await feed.subscribe(f"Patient?identifier={COUNCIL}|3100008")
    await feed.pix.remove(COUNCIL, "3100008")
    await feed.turn()
    assert feed.there.told == [("DELETE", person)]
    assert (await feed.pix.http.get(f"/Patient/{person}")).status_code == 410


async def test_a_person_that_came_and_went_before_anybody_was_told_is_not_told_of(
    feed: Feed,
) -> None:
    await feed.subscribe()
    await feed.pix.feed(patient(COUNCIL, "3100009"))
    await feed.pix.remove(COUNCIL, "3100009")
    await feed.turn()
    assert feed.there.told == []


async def test_a_sealed_person_is_told_of_to_nobody_and_one_who_is_sealed_is_withdrawn(
    feed: Feed,
) -> None:
    await feed.subscribe()
    seal = {"security": [{"system": NS + "label", "code": "WITPROT"}]}
    await feed.pix.feed(patient(COUNCIL, "3100010", meta=seal))
    hidden = await feed.person(COUNCIL, "3100010")
    await feed.pix.feed(patient(COUNCIL, "3100011"))
    await feed.turn()
    person = await feed.person(COUNCIL, "3100011")
    assert feed.there.told == [("POST", person)]
    assert (await feed.pix.http.get(f"/Patient/{hidden}")).status_code == 404
    await feed.pix.feed(patient(COUNCIL, "3100011", meta=seal))
    await feed.turn()
    assert feed.there.told[1:] == [("DELETE", person)]
    assert "3100011" not in feed.there.got[-1].body.decode()


async def test_the_same_words_again_are_not_told(feed: Feed) -> None:
    await feed.pix.feed(patient(COUNCIL, "3100012"))
    await feed.subscribe()
    await feed.pix.feed(patient(COUNCIL, "3100012", gender="other"))
    await feed.turn()
    hidden = identifier(NS + "upn-former", "A123456789012")
    body = patient(COUNCIL, "3100012", gender="other")
    body["identifier"].append(hidden)  # a new version of the record, and nothing that is published
    await feed.pix.feed(body)
    await feed.turn()
    assert len(feed.there.told) == 1


async def test_what_happened_before_the_subscription_is_not_told(feed: Feed) -> None:
    await feed.pix.feed(patient(COUNCIL, "3100013"))
    await feed.subscribe()
    await feed.turn()
    assert feed.there.told == []


# -- to whom ------------------------------------------------------------------------------------------


async def test_each_criteria_is_told_of_its_own_people_only(feed: Feed) -> None:
    first = (await feed.pix.feed(patient(COUNCIL, "3100020"))).json()["id"]
    person = await feed.person(COUNCIL, "3100020")
    asked = {
        "/all": "Patient",
        "/record": f"Patient?_id={first}",
        "/person": f"Patient?_id={person}",
        "/system": f"Patient?identifier={SALFORD}|",
        "/number": f"Patient?identifier={COUNCIL}%7C3100020",
        "/org": "Patient?organization=Organization/7",
    }
    for path, criteria in asked.items():
        await feed.subscribe(criteria, path)
    await feed.pix.feed(patient(COUNCIL, "3100020", gender="other"))
    await feed.pix.feed(patient(SALFORD, "3100021"))
    managed = {"reference": "https://hr.example/fhir/Organization/7"}
    await feed.pix.feed(patient(TRUST, "T3122", managingOrganization=managed))
    await feed.turn()
    told: dict[str, set[str]] = {}
    for got in feed.there.got:
        told.setdefault(got.path, set()).update(id_ for _, id_ in got.told)
    salford, other = await feed.person(SALFORD, "3100021"), await feed.person(TRUST, "T3122")
    assert told == {
        "/all": {person, salford, other},
        "/record": {person},
        "/person": {person},
        "/system": {salford},
        "/number": {person},
        "/org": {other},
    }


async def test_whom_only_the_police_know_is_told_of_to_nobody(feed: Feed) -> None:
    """That there is such a record may not be known, so it neither makes a master nor adds to one."""
    police = NS + "pnc"
    for path, criteria in (("/all", "Patient"), ("/police", "Patient?organization=GMP")):
        await feed.subscribe(criteria, path)
    number = nhs_number(31025)
    feed.pix.caller = replace(FEEDER, organisation="GMP")
    await feed.pix.feed(patient(police, "2002/0073319Z"))
    await feed.pix.feed(patient(police, "2004/0073320F", nhs=number, gender="other"))
    await feed.turn()
    assert feed.there.got == []
    feed.pix.caller = FEEDER
    await feed.pix.feed(patient(COUNCIL, "3100025", nhs=number))
    await feed.turn()
    assert [got.path for got in feed.there.got] == ["/all"]
    (told,) = feed.there.got[0].patients
    assert told["gender"] == "female"
    assert "GMP" not in str(told)
    feed.pix.caller = replace(FEEDER, organisation="GMP")
    await feed.pix.feed(patient(police, "2002/0073319Z", gender="male"))
    await feed.turn()
    assert [got.path for got in feed.there.got] == ["/all"]
    feed.pix.caller = FEEDER


async def test_a_person_that_leaves_the_criteria_is_told_of_once_more(feed: Feed) -> None:
    await feed.subscribe("Patient?organization=7")
    managed = {"managingOrganization": {"reference": "Organization/7"}}
    await feed.pix.feed(patient(COUNCIL, "3100030", **managed))
    await feed.turn()
    await feed.pix.feed(patient(COUNCIL, "3100030"))
    await feed.turn()
    await feed.pix.feed(patient(COUNCIL, "3100030", gender="male"))
    await feed.turn()
    assert [m for m, _ in feed.there.told] == ["POST", "PUT"]


async def test_off_and_deleted_subscriptions_are_told_nothing_and_start_anew(feed: Feed) -> None:
    off, gone = await feed.subscribe(path="/off"), await feed.subscribe(path="/gone")
    await feed.pix.feed(patient(COUNCIL, "3100040"))
    await feed.worker.fan_out()
    await feed.switch(off, "off")
    await feed.pix.http.delete(f"/Subscription/{gone}")
    await feed.turn()
    assert feed.there.got == []
    await feed.switch(off, "requested")
    await feed.turn()
    await feed.pix.feed(patient(COUNCIL, "3100041"))
    await feed.turn()
    assert [g.path for g in feed.there.got] == ["/off", "/off"]
    person = await feed.person(COUNCIL, "3100041")
    assert feed.there.told == [("POST", person)]


async def test_a_subscription_whose_end_has_come_is_off(feed: Feed) -> None:
    end = datetime.now(UTC) + timedelta(seconds=1)
    id_ = await feed.subscribe(end=end.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    await feed.until(lambda: feed.is_now(id_, "off"))
    assert "end" in (await feed.read(id_))["error"]
    await feed.pix.feed(patient(COUNCIL, "3100042"))
    await feed.turn()
    assert feed.there.got == []


# -- when endpoints fail ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [500, 503, 429, 404, "close", "garbage", "reply:transient-error", (307, "Location: http://127.0.0.1:1/\r\n")],
)  # fmt: skip
async def test_a_message_that_was_not_taken_is_sent_again_until_it_is(
    feed: Feed, fault: Any
) -> None:
    await feed.subscribe()
    number = str(3150000 + next(_COUNT))
    await feed.pix.feed(patient(COUNCIL, number))
    await feed.pix.feed(patient(COUNCIL, number, gender="other"))
    failing = iter([fault, fault])
    feed.there.behave = lambda _: next(failing, 200)
    await feed.until(lambda: len(feed.there.got) >= 3)
    await feed.turn()
    assert len(feed.there.got) == 3
    assert len({g.header["id"] for g in feed.there.got}) == 1
    assert [e["outcome"] for e in feed.audited] == ["8", "8", "0"]


async def test_a_slow_endpoint_is_given_its_time_and_no_more(feed: Feed) -> None:
    feed.worker = worker(feed.mongo, feed, feed.there.origin, deadline=0.3)
    id_ = await feed.subscribe()
    await feed.pix.feed(patient(COUNCIL, "3100051"))
    slow = iter(["slow"])
    feed.there.behave = lambda _: next(slow, 200)
    started = time.monotonic()
    await feed.until(lambda: len(feed.there.got) >= 2)
    assert time.monotonic() - started < 5
    assert await feed.notices(id_) == 0


async def test_a_subscription_whose_endpoint_stays_away_is_in_error_and_says_why(
    feed: Feed,
) -> None:
    id_ = await feed.subscribe()
    feed.worker.pace = replace(HASTE, patience=0.1)
    feed.there.behave = lambda _: 500
    await feed.pix.feed(patient(COUNCIL, "3100052"))
    await feed.until(lambda: feed.is_now(id_, "error"))
    shown = await feed.read(id_)
    assert "500" in shown["error"]
    assert check_structure(shown) == ()
    sent = len(feed.there.got)
    await feed.pix.feed(patient(COUNCIL, "3100053"))
    await feed.turn()
    assert len(feed.there.got) == sent
    feed.there.behave = lambda _: 200
    feed.there.got.clear()
    await feed.switch(id_, "requested")
    await feed.turn()
    told = {id_ for _, id_ in feed.there.told}
    assert told == {await feed.person(COUNCIL, v) for v in ("3100052", "3100053")}
    assert "error" not in await feed.read(id_)


async def test_one_person_that_is_refused_does_not_hold_up_the_others(feed: Feed) -> None:
    id_ = await feed.subscribe()

    def picky(got: Got) -> Any:
        return "reply:fatal-error" if "3100060" in got.body.decode() else 200

    feed.there.behave = picky
    for number in range(3100060, 3100067):
        await feed.pix.feed(patient(COUNCIL, str(number)))
    refused = await feed.person(COUNCIL, "3100060")
    others = {await feed.person(COUNCIL, str(n)) for n in range(3100061, 3100067)}

    def taken() -> bool:
        told = {i for g in feed.there.got if picky(g) == 200 for _, i in g.told}
        return told == others

    await feed.until(taken)
    assert await feed.notices(id_) == 1
    feed.there.behave = lambda _: 200
    await feed.until(lambda: ("POST", refused) in feed.there.got[-1].told)


async def test_an_endpoint_that_is_no_longer_listed_is_not_called(feed: Feed) -> None:
    await feed.subscribe()
    feed.worker.sender = Sender(allowed("https://other.example"), trusting())
    await feed.pix.feed(patient(COUNCIL, "3100068"))
    await feed.turn()
    assert feed.there.got == []


async def test_a_hundred_changes_while_an_endpoint_is_away_are_one_entry(feed: Feed) -> None:
    await feed.subscribe()
    feed.there.behave = lambda _: 503
    for n in range(20):
        await feed.pix.feed(patient(COUNCIL, "3100070", gender=("male", "female")[n % 2]))
        await feed.turn()
    feed.there.behave = lambda _: 200
    feed.there.got.clear()
    await feed.until(lambda: feed.there.told)
    (told,) = [p for g in feed.there.got for p in g.patients]
    assert told["gender"] == "female"
    assert feed.there.told[0][0] == "POST"


async def test_a_change_while_a_message_is_in_the_air_is_told_afterwards(feed: Feed) -> None:
    id_ = await feed.subscribe()
    await feed.pix.feed(patient(COUNCIL, "3100071", gender="male"))
    await feed.worker.fan_out()
    async with feed.in_the_air() as sending:
        await feed.pix.feed(patient(COUNCIL, "3100071", gender="other"))
        await feed.worker.fan_out()
    await sending
    await feed.turn()
    assert [m for m, _ in feed.there.told] == ["POST", "PUT"]
    assert feed.there.got[-1].patients[0]["gender"] == "other"
    assert await feed.notices(id_) == 0


async def test_many_people_are_sent_in_batches(feed: Feed) -> None:
    await feed.subscribe()
    for n in range(12):
        await feed.pix.feed(patient(COUNCIL, str(3100080 + n)))
    await feed.turn()
    assert [len(g.told) for g in feed.there.got] == [5, 5, 2]
    assert len({id_ for _, id_ in feed.there.told}) == 12


# -- several workers, and processes that die ----------------------------------------------------------


async def test_four_workers_send_every_change_once_and_each_person_in_order(feed: Feed) -> None:
    await feed.subscribe(path="/a")
    await feed.subscribe(path="/b")
    others = [worker(feed.mongo, feed, feed.there.origin) for _ in range(4)]
    seen: dict[tuple[str, str], list[int]] = {}
    for one in others:
        await one.__aenter__()
    try:
        for n in range(15):
            for who in range(3):
                number = {"telecom": [{"system": "phone", "value": f"0161 496 {n:04d}"}]}
                await feed.pix.feed(patient(COUNCIL, str(3100100 + who), **number))

        def all_told() -> bool:
            seen.clear()
            for got in feed.there.got:
                for told in got.patients:
                    last = int(told["telecom"][0]["value"][-4:])
                    seen.setdefault((got.path, told["id"]), []).append(last)
            return len(seen) == 6 and all(told[-1] == 14 for told in seen.values())

        await eventually(all_told)
        await asyncio.sleep(0.2)
        all_told()
    finally:
        for one in others:
            await one.__aexit__(None, None, None)
    assert all(told == sorted(set(told)) for told in seen.values())
    assert [e["outcome"] for e in feed.audited] == ["0"] * len(feed.there.got)


CHILD = """
import asyncio, sys
from chassis.mongo import Mongo
from tests.pix.test_deliveries import worker

class Nobody:
    async def record(self, *events): pass

async def main(uri, prefix, origin):
    mongo = Mongo(uri, prefix=prefix)
    made = worker(mongo, Nobody(), origin, deadline=30)
    async with made:
        await asyncio.sleep(60)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_process_that_is_killed_in_mid_message_leaves_it_to_the_next(
    feed: Feed, mongod_uri: str, database_prefix: str
) -> None:
    id_ = await feed.subscribe()
    await feed.pix.feed(patient(COUNCIL, "3100200"))
    person = await feed.person(COUNCIL, "3100200")
    feed.there.behave = lambda _: "slow"
    root = Path(__file__).resolve().parents[2]
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, mongod_uri, database_prefix, feed.there.origin],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    try:
        await eventually(lambda: feed.there.got, 30)  # the endpoint has it and has not answered
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    first = feed.there.got[-1]
    assert first.told == [("POST", person)]
    assert await feed.notices(id_) == 1
    feed.there.behave = lambda _: 200
    feed.there.got.clear()
    await feed.turn()
    assert feed.there.got == []  # the lease of the dead still holds
    await feed.until(lambda: feed.there.got)
    assert [g.header["id"] for g in feed.there.got] == [first.header["id"]]
    assert await feed.notices(id_) == 0


async def test_a_worker_that_lost_its_lease_does_not_settle(feed: Feed) -> None:
    id_ = await feed.subscribe()
    await feed.pix.feed(patient(COUNCIL, "3100201"))
    await feed.worker.fan_out()

    async with feed.in_the_air() as sending:
        await feed.worker.subscriptions.table.update({"_id": id_}, {"$set": {"holder": "another"}})
    await sending
    assert await feed.notices(id_) == 1
    stored = await feed.worker.subscriptions.table.one({"_id": id_})
    assert stored is not None
    assert (stored["holder"], stored["waiting"]) == ("another", True)
    assert [e["outcome"] for e in feed.audited] == ["0"]  # it was sent, whoever settles it


async def test_what_was_switched_off_in_mid_message_stays_off(feed: Feed) -> None:
    id_ = await feed.subscribe()
    await feed.pix.feed(patient(COUNCIL, "3100202"))
    await feed.worker.fan_out()
    async with feed.in_the_air() as sending:
        await feed.switch(id_, "off")
    await sending
    assert (await feed.read(id_))["status"] == "off"
    assert await feed.notices(id_) == 0


# -- the trail ----------------------------------------------------------------------------------------


async def test_every_message_is_audited_as_sent_with_everyone_in_it(feed: Feed) -> None:
    await feed.subscribe()
    await feed.pix.feed(patient(COUNCIL, "3100300"))
    await feed.pix.feed(patient(COUNCIL, "3100301"))
    await feed.turn()
    (event,) = feed.audited
    assert check_structure(dict(event)) == ()
    assert event["meta"]["profile"] == [
        "https://profiles.ihe.net/ITI/PMIR/StructureDefinition/IHE.PMIR.Feed.Audit"
    ]
    source, destination = event["agent"]
    assert source["who"] == event["source"]["observer"]
    assert destination["network"]["address"] == feed.there.origin + "/in"
    whom = {e["what"]["reference"] for e in event["entity"] if e["type"]["code"] == "1"}
    assert whom == {f"Patient/{id_}" for _, id_ in feed.there.told}
    rows = await feed.mongo.table("pix", "audit_outbox").many({"_id": event["id"]})
    assert [json.loads(r["b"])["id"] for r in rows] in ([event["id"]], [])


# -- pure ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "taken", "whole"),
    [
        (200, "ok", True, True),
        (204, None, True, True),
        (200, "fatal-error", False, False),
        (422, "fatal-error", False, False),
        (200, "transient-error", False, True),
        (500, None, False, True),
        (429, None, False, True),
        (400, None, False, False),
        (302, None, False, True),
    ],
)
def test_an_answer_is_weighed_by_what_it_says_before_its_status(
    status: int, code: Any, *, taken: bool, whole: bool
) -> None:
    body = b""
    if code:
        said = pmir_message.response(
            "m1", code, id_="r", base=BASE, instant="2026-11-25T10:00:00.000Z"
        )
        body = json.dumps(said).encode()
    found = verdict(Received(status, "application/fhir+json", body), "m1")
    assert (found.words == "", found.whole) == (taken, whole)


def test_an_answer_to_another_message_counts_by_its_status() -> None:
    said = pmir_message.response(
        "m2", "fatal-error", id_="r", base=BASE, instant="2026-11-25T10:00:00.000Z"
    )
    received = Received(200, "application/fhir+json", json.dumps(said).encode())
    assert verdict(received, "m1").words == ""


@pytest.mark.parametrize("drawn", [0.0, 0.5, 0.999])
def test_waits_double_up_to_the_longest_and_never_undercut_what_was_asked(drawn: float) -> None:
    pace = Pace(first=2, longest=3600)
    waits = [pace.wait(n, drawn).total_seconds() for n in range(1, 40)]
    assert waits == sorted(waits)
    assert 1 <= waits[0] <= 2
    assert 1800 <= waits[-1] <= 3600
    assert pace.wait(1, drawn, asked=90).total_seconds() == 90
    assert pace.wait(1, drawn, asked=999_999).total_seconds() == 3600


# -- the service itself -------------------------------------------------------------------------------


async def test_the_service_sends_by_itself_and_records_it(mongo: Mongo, feed: Feed) -> None:
    async with pix_service(mongo, notify_allow=feed.there.origin) as pix:
        pix.caller = Caller(
            client_id="subscriber", scope="system/Subscription.cruds system/Patient.r"
        )
        body = subscription(feed.there.origin + "/own")
        id_ = (await pix.http.post("/Subscription", json=body)).json()["id"]

        async def active() -> bool:
            answer = await pix.http.get(f"/Subscription/{id_}")
            return bool(answer.json()["status"] == "active")

        await eventually(active, 20)
        pix.caller = FEEDER
        await pix.feed(patient(COUNCIL, "3100400"))
        await eventually(lambda: feed.there.told, 20)

        def audited() -> bool:
            return any(
                "IHE.PMIR.Feed.Audit" in str(e.get("meta")) and e["outcome"] == "0"
                for e in pix.audited
            )

        await eventually(audited, 20)


# -- what stewards do ---------------------------------------------------------------------------------


async def test_a_stewards_parting_of_two_records_is_told_of_both_persons(feed: Feed) -> None:
    number = nhs_number(3500)
    await feed.pix.feed(patient(COUNCIL, "3100500", nhs=number))
    moved = (await feed.pix.feed(patient(TRUST, "T3500", nhs=number))).json()["id"]
    kept = await feed.person(COUNCIL, "3100500")
    assert await feed.person(TRUST, "T3500") == kept
    await feed.subscribe()
    people = feed.pix.near.people
    acting = Acting(Actor("steward"), datetime.now(UTC), lambda: str(uuid.uuid4()))

    async def story(change: Change) -> None:
        await stewarding.unlink(change, moved, kept, "another person of that name")
        await change.write()

    await acts.committed(people, acting, [], story)
    await feed.turn()
    parted = await feed.person(TRUST, "T3500")
    assert parted != kept
    assert {id_ for _, id_ in feed.there.told} == {kept, parted}
    told = {
        p["id"]: [i["value"] for i in p["identifier"]] for g in feed.there.got for p in g.patients
    }
    assert "T3500" in told[parted]
    assert "T3500" not in told[kept]
