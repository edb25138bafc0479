"""ITI-94: what may be subscribed to, by whom, and what a subscriber reads afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from chassis.call import Caller
from chassis.mongo import Mongo
from standards import fhir_xml
from standards.r4.check import check_structure
from tests.pix.makers import BASE, FEEDER, Pix, diagnostics, pix_service
from tests.pix.makers_pmir import subscription

ENDPOINT = "https://consumer.invalid/in"  # listed, and leads nowhere: nothing is ever sent
MINE = Caller(client_id="subscriber", scope="system/Subscription.cruds system/Patient.r")
MODIFIER = [{"url": "https://a.example/not", "valueBoolean": True}]
OTHER = Caller(client_id="stranger", scope="system/*.cruds")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def listing(mongo: Mongo) -> AsyncIterator[Pix]:
    """A service that may send to the endpoint of these tests."""
    async with pix_service(
        mongo, notify_allow="https://consumer.invalid https://*.b.invalid"
    ) as made:
        yield made


@pytest.fixture
def sub(listing: Pix) -> Pix:
    """That service, spoken to by the subscriber."""
    listing.caller = MINE
    listing.audited.clear()
    return listing


async def ask(pix: Pix, **changes: Any) -> httpx.Response:
    body = subscription(
        changes.pop("endpoint", ENDPOINT), changes.pop("criteria", "Patient"), **changes
    )
    return await pix.http.post("/Subscription", json=body)


async def test_a_subscription_is_created_requested_and_located(sub: Pix) -> None:
    answer = await ask(sub)
    assert answer.status_code == 201
    body = answer.json()
    assert answer.headers["location"] == f"{BASE}/Subscription/{body['id']}"
    assert body["status"] == "requested"
    assert body["meta"]["versionId"] == "1"
    assert check_structure(body) == ()
    read = await sub.http.get(f"/Subscription/{body['id']}")
    assert read.status_code == 200
    assert read.json()["criteria"] == "Patient"


@pytest.mark.parametrize(
    "criteria",
    [
        "Patient",
        "Patient?_id=abc",
        "Patient?organization=352",
        "Patient?identifier=https://a.example|1",
    ],
)
async def test_the_four_criteria_are_taken(sub: Pix, criteria: str) -> None:
    assert (await ask(sub, criteria=criteria)).status_code == 201


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"criteria": "Patient?name=a"}, "Subscription.criteria"),
        ({"criteria": "Observation"}, "Subscription.criteria"),
        ({"status": "active"}, "Subscription.status"),
        ({"status": "off"}, "Subscription.status"),
        ({"contact": [{"system": "email"}]}, "Subscription.contact[0].value"),
        ({"channel": {"type": "rest-hook"}}, "Subscription.channel.type"),
        ({"channel": {"payload": "text/csv"}}, "Subscription.channel.payload"),
        ({"channel": {"header": ["Authorization: Bearer x"]}}, "Subscription.channel.header"),
        ({"endpoint": "https://elsewhere.example/"}, "Subscription.channel.endpoint"),
        ({"endpoint": "http://consumer.invalid/"}, "Subscription.channel.endpoint"),
        ({"end": "2020-01-01T00:00:00Z"}, "Subscription.end"),
        ({"modifierExtension": MODIFIER}, "Subscription.modifierExtension"),
        ({"channel": {"modifierExtension": MODIFIER}}, "Subscription.channel.modifierExtension"),
    ],
)
async def test_what_cannot_be_subscribed_to_is_refused_with_its_place(
    sub: Pix, changes: dict[str, Any], where: str
) -> None:
    answer = await ask(sub, **changes)
    assert answer.status_code == 422
    assert [i["expression"] for i in answer.json()["issue"]] == [[where]]


async def test_everything_wrong_is_told_at_once(sub: Pix) -> None:
    answer = await ask(sub, criteria="Observation", status="off", channel={"type": "email"})
    assert len(answer.json()["issue"]) == 3


async def test_an_exchange_that_lists_no_endpoint_takes_no_subscription(
    mongo_apart: Pix,
) -> None:
    answer = await ask(mongo_apart)
    assert answer.status_code == 422
    assert "allowed no endpoint" in diagnostics(answer)[0]
    assert "--notify-allow" in diagnostics(answer)[0]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mongo_apart(mongo: Mongo) -> AsyncIterator[Pix]:
    """A service as it is by default."""
    async with pix_service(mongo) as made:
        made.caller = MINE
        yield made


async def test_a_subscription_needs_a_token_that_reaches_every_patient(sub: Pix) -> None:
    for scope in ("system/Subscription.c", "system/Subscription.c system/Patient.r?gender=male"):
        sub.caller = Caller(client_id="subscriber", scope=scope)
        assert (await ask(sub)).status_code == 403
    sub.caller = Caller(client_id="subscriber", scope="ITI-94")
    assert (await ask(sub)).status_code == 201


async def test_others_do_not_know_of_a_subscription_and_the_operators_do(sub: Pix) -> None:
    id_ = (await ask(sub)).json()["id"]
    body = (await sub.http.get(f"/Subscription/{id_}")).json() | {"status": "off"}
    sub.caller = OTHER
    assert (await sub.http.get(f"/Subscription/{id_}")).status_code == 404
    assert (await sub.http.put(f"/Subscription/{id_}", json=body)).status_code == 404
    assert (await sub.http.delete(f"/Subscription/{id_}")).status_code == 404
    found = await sub.http.get("/Subscription", params={"_id": id_})
    assert found.json()["total"] == 0
    sub.caller = FEEDER
    assert (await sub.http.get(f"/Subscription/{id_}")).status_code == 200


async def test_a_subscription_is_switched_off_and_on_with_new_versions(sub: Pix) -> None:
    body = (await ask(sub)).json()
    url = f"/Subscription/{body['id']}"
    off = await sub.http.put(url, json=body | {"status": "off"})
    assert off.status_code == 200
    assert off.json()["status"] == "off"
    assert off.headers["etag"] == 'W/"2"'
    stale = await sub.http.put(
        url, json=body | {"status": "requested"}, headers={"If-Match": 'W/"1"'}
    )
    assert stale.status_code == 412
    again = await sub.http.put(
        url, json=body | {"status": "requested"}, headers={"If-Match": 'W/"2"'}
    )
    assert again.json()["status"] == "requested"


async def test_nobody_makes_a_subscription_active_but_the_server(sub: Pix) -> None:
    body = (await ask(sub)).json()
    answer = await sub.http.put(f"/Subscription/{body['id']}", json=body | {"status": "active"})
    assert answer.status_code == 422
    wrong = await sub.http.put("/Subscription/other", json=body | {"status": "off"})
    assert wrong.status_code == 400


async def test_a_deleted_subscription_is_gone_and_may_be_deleted_again(sub: Pix) -> None:
    id_ = (await ask(sub)).json()["id"]
    assert (await sub.http.delete(f"/Subscription/{id_}")).status_code == 204
    assert (await sub.http.get(f"/Subscription/{id_}")).status_code == 410
    assert (await sub.http.delete(f"/Subscription/{id_}")).status_code == 204
    assert (await sub.http.get("/Subscription", params={"_id": id_})).json()["total"] == 0
    assert (await sub.http.delete("/Subscription/never")).status_code == 404


async def test_subscriptions_are_searched_by_status_and_endpoint(sub: Pix) -> None:
    sub.caller = Caller(client_id="searcher", scope="system/*.cruds")
    first = (await ask(sub, endpoint="https://one.b.invalid/")).json()
    await ask(sub, endpoint="https://two.b.invalid/")
    await sub.http.put(f"/Subscription/{first['id']}", json=first | {"status": "off"})
    found = (await sub.http.get("/Subscription", params={"status": "off"})).json()
    assert [e["resource"]["id"] for e in found["entry"]] == [first["id"]]
    by_url = await sub.http.post("/Subscription/_search", data={"url": "https://two.b.invalid/"})
    assert by_url.json()["total"] == 1


async def test_a_subscription_is_taken_and_shown_in_xml(sub: Pix) -> None:
    told = {"Content-Type": "application/fhir+xml", "Accept": "application/fhir+xml"}
    body = fhir_xml.render(subscription(ENDPOINT))
    answer = await sub.http.post("/Subscription", content=body, headers=told)
    assert answer.status_code == 201
    assert fhir_xml.parse(answer.content)["status"] == "requested"


async def test_a_client_may_have_a_hundred_subscriptions(sub: Pix) -> None:
    sub.caller = Caller(client_id="greedy", scope="ITI-94")
    for _ in range(100):
        assert (await ask(sub)).status_code == 201
    assert (await ask(sub)).status_code == 422


async def test_every_act_on_a_subscription_is_audited_as_its_profile_says(sub: Pix) -> None:
    body = (await ask(sub)).json()
    url = f"/Subscription/{body['id']}"
    await sub.http.get(url)
    await sub.http.put(url, json=body | {"status": "off"})
    await sub.http.delete(url)
    mine = f"Subscription/{body['id']}"  # the outbox may tell events of tests before only now
    acts = [
        e
        for e in {e["id"]: e for e in sub.audited}.values()
        if "ITI-94" in [s["code"] for s in e["subtype"]] and mine in str(e["entity"])
    ]
    said = [(e["action"], e["meta"]["profile"][0].rpartition(".")[2]) for e in acts]
    assert said == [("C", "Create"), ("R", "Read"), ("U", "Update"), ("D", "Delete")]
    for event in acts:
        assert check_structure(dict(event)) == ()
