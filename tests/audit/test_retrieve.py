"""ITI-20 and ITI-81 over HTTP: what is fed is found, by every parameter, and nothing else is."""

from __future__ import annotations

import base64
import copy
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio
from fhir.resources.R4B.auditevent import AuditEvent

from audit.app import open_service
from audit.events import Events
from audit.retrieve import hints
from audit.verify import verify
from chassis import onion
from chassis.audit import AuditWriter, FarSink, Sink
from chassis.call import Account, Caller
from chassis.far import Far
from chassis.mongo import Mongo
from chassis.service import Rider
from chassis.settings import Settings
from standards import atna, balp
from standards.outcome import TOKEN, Issue, Refused
from standards.search import parse
from tests.running import serving

ORIGIN = "http://exchange.test"
BASE = ORIGIN + "/fhir"
NHS = "https://fhir.nhs.uk/Id/nhs-number"
SCOPES = {
    "auditor": "system/AuditEvent.rs",
    "iti-81": "ITI-81",
    "feeder": "ITI-20",
    "service": "throughline.internal",
    "clinician": "system/DocumentReference.rs",
    "narrow": "system/AuditEvent.rs?action=E",
}


class Doorkeeper:
    """Knows the callers of these tests by name."""

    async def caller(self, token: str) -> Caller:
        if token not in SCOPES:
            raise Refused(Issue(TOKEN, "no such token"))
        return Caller(
            client_id=token,
            subject=token,
            issuer=ORIGIN + "/auth",
            jti=f"j-{token}",
            scope=SCOPES[token],
        )


@dataclass
class Trail:
    http: httpx.AsyncClient
    events: Events

    async def ask(
        self, method: str, path: str, who: str = "auditor", **more: Any
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {who}"} | more.pop("headers", {})
        return await self.http.request(method, path, headers=headers, **more)

    async def find(self, query: str, who: str = "auditor") -> dict[str, Any]:
        answer = await self.ask("GET", f"/fhir/AuditEvent?{query}", who)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def found(self, query: str, who: str = "auditor") -> set[str]:
        bundle = await self.find(query, who)
        return {
            e["resource"]["id"] for e in bundle.get("entry", []) if e["search"]["mode"] == "match"
        }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def trail(mongo: Mongo) -> AsyncIterator[Trail]:
    settings = Settings(public_url=ORIGIN)
    stores: list[Events] = []

    @asynccontextmanager
    async def opening() -> AsyncIterator[Any]:
        async with open_service(settings, mongo) as service:
            assert isinstance(service.near, Events)
            stores.append(service.near)
            yield (service,), Rider(settings, Doorkeeper(), AuditWriter(service.near))

    async with serving(onion.create(opening, atna.TRANSACTIONS)) as app:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as http:
            yield Trail(http, stores[0])


DAY = "2031-03-04"
WINDOW = f"date=ge{DAY}&date=lt2031-03-05"


def a_find(
    patients: list[Any], client: str = "viewer", at: str = f"{DAY}T10:00:00.000Z", status: int = 200
) -> dict[str, Any]:
    request = balp.Request(
        str(uuid.uuid4()), at, BASE, balp.outcome_of(status), client_address="192.0.2.17",
        request_id="r-1", raw=b"GET /fhir/DocumentReference?patient=a",
    )  # fmt: skip
    caller = Caller(
        client_id=client, subject="dr-7", issuer=ORIGIN + "/auth", jti="j", organisation="RM3",
        role="R-HV", purpose="P-CARE",
    )  # fmt: skip
    vocabulary = balp.Vocabulary("urn:role", "urn:purpose")
    return balp.event(balp.ITI_67, caller, Account(patients=patients), request, vocabulary)


def a_foreign_event(**changes: Any) -> dict[str, Any]:
    return {
        "resourceType": "AuditEvent",
        "type": {"system": balp.DCM, "code": "110114"},
        "recorded": "2032-01-01T00:00:00Z",
        "outcome": "0",
        "agent": [{"who": {"identifier": {"value": "legacy"}}, "requestor": True}],
        "source": {"observer": {"identifier": {"system": "urn:sys", "value": "old-box"}}},
        **changes,
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def known(trail: Trail) -> dict[str, str]:
    """Three events of one day: a find about two forms of a patient, a refused one, and a sign-in."""
    whole = a_find(["Patient/alice", (NHS, "9990000018"), ("urn:council", "C|7")])
    refused = a_find([(NHS, "9990000026")], "other-app", f"{DAY}T11:00:00.000Z", 403)
    refused["agent"][0]["network"]["address"] = "198.51.100.4"
    refused["agent"][2]["who"]["identifier"]["value"] = "dr-8"
    del refused["agent"][3], refused["agent"][2]["role"], refused["purposeOfEvent"]
    del refused["agent"][2]["purposeOfUse"]
    login = a_foreign_event(recorded=f"{DAY}T12:00:00Z", action="E", id=str(uuid.uuid4()))
    login["entity"] = [
        {
            "what": {
                "reference": "Device/door-3",
                "identifier": {"system": "urn:door", "value": "d3"},
            },
            "type": {"system": balp.ENTITY_TYPE, "code": "2"},
            "role": {"system": balp.OBJECT_ROLE, "code": "13"},
        }
    ]
    login["agent"][0]["who"]["reference"] = "Practitioner/p1"
    login["action"] = "R"
    await trail.events.append([whole, refused, login])
    return {"find": whole["id"], "refused": refused["id"], "login": login["id"]}


FIND = "http://hl7.org/fhir/audit-event-outcome"
NEW = "http://terminology.hl7.org/CodeSystem/audit-event-outcome"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"find", "refused", "login"}),
        (f"date={DAY}T10:00:00.000Z", {"find"}),
        (f"date=gt{DAY}T10:00:00.000Z", {"refused", "login"}),
        (f"date=le{DAY}T11:00:00.000Z", {"find", "refused"}),
        (f"date=ap{DAY}", {"find", "refused", "login"}),
        (f"date=ne{DAY}T10:00:00.000Z", {"refused", "login"}),
        (f"date=sa{DAY}T11:00:00.000Z", {"login"}),
        (f"date=eb{DAY}T11:00:00.000Z", {"find"}),
        ("date=2031-03-06", set()),
        ("address=192.0.2.17", {"find"}),
        ("address=0.2.", {"find"}),
        ("address=51.100,0.2", {"find", "refused"}),
        ("address=203.0.113", set()),
        ("agent.identifier=dr-7", {"find"}),
        (f"agent.identifier={ORIGIN}/auth|dr-7", {"find"}),
        (f"agent.identifier={ORIGIN}/auth|", {"find", "refused"}),
        ("agent.identifier=|other-app", {"refused"}),
        ("agent.identifier=legacy,other-app", {"login", "refused"}),
        ("agent.identifier=urn:else|dr-7", set()),
        (f"agent.identifier={BASE}", {"find", "refused"}),
        ("patient.identifier=9990000018", {"find"}),
        (f"patient.identifier={NHS}|9990000018", {"find"}),
        (f"patient.identifier={NHS}|9990000018,{NHS}|9990000026", {"find", "refused"}),
        (f"patient.identifier={NHS}|", {"find", "refused"}),
        ("patient.identifier=urn:council|C\\|7", {"find"}),
        (f"patient.identifier={NHS}|9990000034", set()),
        ("patient=Patient/alice", {"find"}),
        ("patient=alice", {"find"}),
        (f"patient={BASE}/Patient/alice", {"find"}),
        ("patient=Patient/bob", set()),
        ("entity.identifier=urn:door|d3", {"login"}),
        ("entity.identifier=9990000018", {"find"}),
        ("entity.identifier=d4", set()),
        ("entity-id=d3", {"login"}),
        ("entity=Device/door-3", {"login"}),
        ("entity=Device/door-4", set()),
        ("entity-type=2", {"find", "refused", "login"}),
        (f"entity-type={balp.ENTITY_TYPE}|1", {"find", "refused"}),
        ("entity-type=4", set()),
        ("entity-role=24", {"find", "refused"}),
        (f"entity-role={balp.OBJECT_ROLE}|13", {"login"}),
        ("entity-role=20", set()),
        ("source.identifier=urn:sys|old-box", {"login"}),
        ("source=old-box", {"login"}),
        ("source.identifier=new-box", set()),
        ("type=rest", {"find", "refused"}),
        (f"type={balp.DCM}|110114", {"login"}),
        ("type=110101", set()),
        ("subtype=urn:ihe:event-type-code|ITI-67", {"find", "refused"}),
        ("subtype=search-type", {"find", "refused"}),
        ("subtype=ITI-68", set()),
        ("outcome=0", {"find", "login"}),
        (f"outcome={FIND}|4,8,12", {"refused"}),
        (f"outcome={NEW}|8", {"refused"}),
        ("outcome=12", set()),
        ("action=E", {"find", "refused"}),
        ("action=http://hl7.org/fhir/audit-event-action|R", {"login"}),
        ("action=D", set()),
        ("agent=Practitioner/p1", {"login"}),
        ("agent=Practitioner/p2", set()),
        ("agent-role=urn:role|R-HV", {"find"}),
        ("agent-role=R-GP", set()),
        ("purpose=P-CARE", {"find"}),
        ("purpose=urn:purpose|P-JUST", set()),
        ("_lastUpdated=ge2031-01-01", {"find", "refused", "login"}),
        ("_lastUpdated=lt2031-01-01", set()),
        ("patient=alice&outcome=8", set()),
        ("patient=alice&outcome=0&subtype=ITI-67&agent.identifier=viewer", {"find"}),
    ],
)  # fmt: skip
async def test_every_parameter_finds_and_leaves_out(
    trail: Trail, known: dict[str, str], query: str, expected: set[str]
) -> None:
    assert await trail.found(f"{WINDOW}&{query}") == {known[name] for name in expected}


async def test_an_event_is_found_by_its_id(trail: Trail, known: dict[str, str]) -> None:
    assert await trail.found(f"{WINDOW}&_id={known['find']}") == {known["find"]}
    assert await trail.found(f"{WINDOW}&_id=nobody") == set()


async def test_a_search_without_a_date_is_refused_by_name(
    trail: Trail, known: dict[str, str]
) -> None:
    for path in (
        "/fhir/AuditEvent",
        "/fhir/AuditEvent?patient=alice",
        "/fhir/AuditEvent?date:missing=false",
    ):
        answer = await trail.ask("GET", path)
        assert answer.status_code == 400
        assert "date" in answer.json()["issue"][0]["diagnostics"]


async def test_post_search_is_the_same_search(trail: Trail, known: dict[str, str]) -> None:
    form = {"date": [f"ge{DAY}", "lt2031-03-05"], "patient.identifier": f"{NHS}|9990000018"}
    answer = await trail.ask("POST", "/fhir/AuditEvent/_search", data=form)
    assert [e["resource"]["id"] for e in answer.json()["entry"]] == [known["find"]]


async def test_pages_are_newest_first_and_follow_one_another(
    trail: Trail, known: dict[str, str]
) -> None:
    page = await trail.find(f"{WINDOW}&_count=2")
    assert page["total"] == 3
    assert [e["resource"]["id"] for e in page["entry"]] == [known["login"], known["refused"]]
    following = next(link["url"] for link in page["link"] if link["relation"] == "next")
    answer = await trail.ask("GET", following.removeprefix(ORIGIN))
    assert [e["resource"]["id"] for e in answer.json()["entry"]] == [known["find"]]


async def test_what_is_found_is_what_was_recorded_and_legal(
    trail: Trail, known: dict[str, str]
) -> None:
    for entry in (await trail.find(WINDOW))["entry"]:
        AuditEvent.model_validate(copy.deepcopy(entry["resource"]))
        answer = await trail.ask("GET", f"/fhir/AuditEvent/{entry['resource']['id']}")
        assert answer.status_code == 200
        assert answer.json() == entry["resource"]
        assert answer.headers["etag"] == 'W/"1"'


async def test_xml_is_spoken_too(trail: Trail, known: dict[str, str]) -> None:
    answer = await trail.ask(
        "GET", f"/fhir/AuditEvent?{WINDOW}", headers={"Accept": "application/fhir+xml"}
    )
    assert answer.status_code == 200
    assert answer.content.lstrip().startswith(b"<")
    assert known["find"] in answer.text


async def test_reading_the_trail_is_itself_recorded(trail: Trail, known: dict[str, str]) -> None:
    mark = uuid.uuid4().hex
    await trail.found(f"{WINDOW}&agent.identifier={mark}")
    rows = await trail.events.table.many(
        {"ix.subtype": "ITI-81"}, {"b": 1}, sort=[("at", -1)], limit=5
    )
    told = [orjson.loads(row["b"]) for row in rows]
    queries = [
        base64.b64decode(e["query"]).decode()
        for event in told
        for e in event["entity"]
        if "query" in e
    ]
    assert any(mark in query for query in queries)
    assert {event["type"]["code"] for event in told} == {"110101"}
    assert all("13" in {e.get("role", {}).get("code") for e in event["entity"]} for event in told)


async def test_a_refused_read_of_the_trail_is_recorded_as_serious(trail: Trail) -> None:
    before = await trail.events.table.count({"ix.outcome": "8", "ix.who": "clinician"})
    answer = await trail.ask("GET", f"/fhir/AuditEvent?{WINDOW}", "clinician")
    assert answer.status_code == 403
    assert await trail.events.table.count({"ix.outcome": "8", "ix.who": "clinician"}) == before + 1


async def test_the_scopes_are_kept_apart(trail: Trail, known: dict[str, str]) -> None:
    assert await trail.found(WINDOW, "iti-81") == set(known.values())
    assert (await trail.ask("GET", f"/fhir/AuditEvent?{WINDOW}", "feeder")).status_code == 403
    assert (
        await trail.ask("POST", "/fhir/AuditEvent", "auditor", json=a_foreign_event())
    ).status_code == 403
    assert (await trail.ask("GET", f"/fhir/AuditEvent?{WINDOW}", "stranger")).status_code == 401
    assert (
        await trail.ask("POST", "/internal/audit/append", "auditor", json={"events": []})
    ).status_code == 403


async def test_a_narrowed_scope_narrows_what_is_found_and_read(
    trail: Trail, known: dict[str, str]
) -> None:
    assert await trail.found(WINDOW, "narrow") == {known["find"], known["refused"]}
    assert (await trail.find(WINDOW, "narrow"))["total"] == 2
    assert (
        await trail.ask("GET", f"/fhir/AuditEvent/{known['login']}", "narrow")
    ).status_code == 404
    assert (
        await trail.ask("GET", f"/fhir/AuditEvent/{known['find']}", "narrow")
    ).status_code == 200


async def test_an_unknown_event_is_not_found(trail: Trail) -> None:
    answer = await trail.ask("GET", "/fhir/AuditEvent/nobody")
    assert answer.status_code == 404
    assert answer.json()["resourceType"] == "OperationOutcome"


async def test_a_fed_event_is_kept_and_found(trail: Trail) -> None:
    event = a_foreign_event(recorded="2033-05-05T05:05:05+01:00")
    answer = await trail.ask(
        "POST",
        "/fhir/AuditEvent",
        "feeder",
        json=event,
        headers={"Content-Type": "application/fhir+json"},
    )
    assert answer.status_code == 201, answer.text
    where = answer.headers["location"]
    event_id = where.removeprefix(f"{BASE}/AuditEvent/").removesuffix("/_history/1")
    assert await trail.found("date=2033-05-05T04:05:05Z") == {event_id}
    kept = (await trail.ask("GET", f"/fhir/AuditEvent/{event_id}")).json()
    assert kept["meta"].keys() == {"versionId", "lastUpdated"}
    assert {k: v for k, v in kept.items() if k not in ("id", "meta")} == event


async def test_feeding_the_same_event_again_makes_no_second_record(trail: Trail) -> None:
    event = a_foreign_event(id="mine-1", recorded="2034-05-05T05:05:05Z")
    headers = {"Content-Type": "application/fhir+json"}
    places = {
        (
            await trail.ask("POST", "/fhir/AuditEvent", "feeder", json=event, headers=headers)
        ).headers["location"]
        for _ in range(3)
    }
    assert len(places) == 1
    assert len(await trail.found("date=2034")) == 1
    other = event | {"outcome": "4"}
    await trail.ask("POST", "/fhir/AuditEvent", "feeder", json=other, headers=headers)
    assert len(await trail.found("date=2034")) == 2


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"agent": []}, 400),
        ({"recorded": "2035-01-01"}, 400),
        ({"outcome": "7"}, None),
        ({"resourceType": "Patient"}, 400),
        ({"entity": [{"name": "x", "query": "eA=="}]}, 422),
        ({"surprise": True}, 400),
    ],
)
async def test_an_event_that_is_not_legal_is_refused(
    trail: Trail, changes: dict[str, Any], status: int | None
) -> None:
    before = await trail.events.table.count({"ix.source": "old-box"})
    answer = await trail.ask(
        "POST", "/fhir/AuditEvent", "feeder", json=a_foreign_event(**changes),
        headers={"Content-Type": "application/fhir+json"},
    )  # fmt: skip
    assert 400 <= answer.status_code < 500
    assert status in (None, answer.status_code), answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert await trail.events.table.count({"ix.source": "old-box"}) == before


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_an_event_can_be_neither_changed_nor_deleted(
    trail: Trail, known: dict[str, str], method: str
) -> None:
    answer = await trail.ask(method, f"/fhir/AuditEvent/{known['find']}", "auditor")
    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]


async def test_the_internal_door_keeps_a_batch_once(trail: Trail) -> None:
    batch = {"events": [a_find(["Patient/x"], at="2036-01-01T00:00:00.000Z") for _ in range(3)]}
    for _ in range(2):
        answer = await trail.ask("POST", "/internal/audit/append", "service", json=batch)
        assert answer.json() == {"recorded": 3}
    assert await trail.found("date=2036") == {event["id"] for event in batch["events"]}
    answer = await trail.ask(
        "POST", "/internal/audit/append", "service", json={"events": [{"id": 1}]}
    )
    assert answer.status_code == 400


class Badge:
    async def token(self) -> str:
        return "service"


@pytest.mark.parametrize("kind", ["near", "far"])
async def test_a_sink_keeps_each_event_once_near_and_far(trail: Trail, kind: str) -> None:
    sinks: dict[str, Sink] = {
        "near": trail.events,
        "far": FarSink(Far(trail.http, ORIGIN, Badge())),
    }
    sink = sinks[kind]
    batch = [a_find(["Patient/y"], at="2037-01-01T00:00:00.000Z") for _ in range(5)]
    await sink.append(batch[:3])
    await sink.append(batch)
    for event in batch:
        kept = orjson.loads(await trail.events.read(event["id"]) or b"{}")
        assert kept["meta"].pop("versionId") == "1"
        assert kept["meta"].pop("lastUpdated") == event["recorded"]
        assert kept == event


async def test_a_far_sink_that_gets_no_answer_asks_to_be_tried_again(trail: Trail) -> None:
    class Silence(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("nobody there")

    async with httpx.AsyncClient(transport=Silence()) as http:
        with pytest.raises(Refused) as refusal:
            await FarSink(Far(http, ORIGIN, Badge(), seconds=0.5, tries=2)).append([a_find([])])
        assert refusal.value.status() == 503


async def test_the_trail_of_all_this_is_sound(trail: Trail) -> None:
    report = await verify(trail.events)
    assert report.sound, report.breaks


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (WINDOW, "recorded"),
        (f"{WINDOW}&outcome=8", "recorded"),
        (f"{WINDOW}&patient=alice", "patient"),
        (f"{WINDOW}&patient.identifier={NHS}|9990000018", "patient"),
        (f"{WINDOW}&agent.identifier={ORIGIN}/auth|dr-7", "agent"),
    ],
)
async def test_each_common_search_reads_a_stretch_of_one_index(
    trail: Trail, known: dict[str, str], query: str, index: str
) -> None:
    pairs = [tuple(pair.split("=", 1)) for pair in query.split("&")]
    asked = parse([(a, b) for a, b in pairs], atna.SEARCH, resource="AuditEvent")
    conditions = {**hints(asked)}
    plan = (
        await trail.events.table.raw.find(conditions)
        .sort([("ix.date.lo", -1), ("_id", -1)])
        .hint(index)
        .explain()
    )
    assert index in str(plan["queryPlanner"]["winningPlan"])
    best = await trail.events.table.raw.find(conditions).explain()
    assert f"'indexName': '{index}'" in str(best["queryPlanner"]["winningPlan"])
