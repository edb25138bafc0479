"""Every search parameter of every row is served over HTTP, by GET and by POST, and by an index."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from exchange.rows import ROWS
from pix.frequencies import COUNTING
from standards.rows import SearchParameter, Transaction
from tests.makers_mhd import a_bundle, a_document, a_patient, publish
from tests.running import Exchange
from tests.standards.test_bundle import QUERY

SEARCHES = [r for r in ROWS if r.search]
NHS = "https://fhir.nhs.uk/Id/nhs-number"
NEEDED = {
    "nrl/producer/DocumentReference": {"subject:identifier": f"{NHS}|9990000069"},
    "nrl/consumer/DocumentReference": {"subject:identifier": f"{NHS}|9990000069"},
    "DocumentReference": {"patient": "Patient/x", "status": "current"},
    "List": {"patient": "Patient/x", "status": "current", "code": "submissionset"},
    "AuditEvent": {"date": "ge2026-01-01"},
    "Patient": {},
    "Subscription": {"status": "active"},
    "Practitioner": {},
    "PractitionerRole": {"role": "urn:x|1"},
    "Organization": {},
}
VALUES = {
    "token": "urn:x|1", "reference": "Patient/x", "string": "abc", "date": "2026-01-02", "uri": "urn:x", "special": "x",
    "composite": "a$b",
}  # fmt: skip
# What of the authorization server's collections is searched; the others are its own business.
DIRECTORY = (".practitioners", ".practitioner_roles", ".organisations")
# Half the city has the same value: an index would not help, another parameter has to.
BROAD = {"active", "gender", "address-country", "address-state"}


def path(row: Transaction) -> str:
    """Where a search is asked, below the FHIR base."""
    return f"{row.door}/{row.resource}".lstrip("/")


PAIRS = [(row, parameter) for row in SEARCHES for parameter in row.search]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(exchange: Exchange) -> AsyncIterator[httpx.AsyncClient]:
    async with exchange.as_client(organisation="R0A") as made:
        person = await a_patient(made)
        assert (await publish(made, a_bundle(a_document(person)))).status_code == 200
        databases = [
            exchange.mongo.client[f"{exchange.mongo.prefix}{d}"]
            for d in ("pix", "registry", "audit", "auth")
        ]
        for database in databases:
            await database.command("profile", 2)
        yield made
        for database in databases:
            await database.command("profile", 0)


async def unindexed(exchange: Exchange, since: int) -> tuple[int, list[Any]]:
    """Every read of a whole collection that MongoDB has noted, after the first `since`."""
    found: list[Any] = []
    for name in ("pix", "registry", "audit", "auth"):
        profile = exchange.mongo.client[f"{exchange.mongo.prefix}{name}"]["system.profile"]
        noted = await profile.find({"planSummary": {"$regex": "COLLSCAN"}}).to_list(None)
        found += [
            (op["ns"], op["command"].get("pipeline") or op["command"].get("filter"))
            for op in noted
            if not op["ns"].endswith("system.profile")
            and op["command"].get("comment") != COUNTING  # in the background, and over everybody
            and (name != "auth" or op["ns"].endswith(DIRECTORY))
        ]
    return len(found), found[since:]


def named(pair: Any) -> str:
    return f"{path(pair[0])}-{pair[1].name}" if isinstance(pair, tuple) else str(pair)


@pytest.mark.parametrize("pair", PAIRS, ids=named)
async def test_a_parameter_is_served_by_get_and_post_and_by_an_index(
    exchange: Exchange, client: httpx.AsyncClient, pair: tuple[Transaction, SearchParameter]
) -> None:
    row, parameter = pair
    before, _ = await unindexed(exchange, 0)
    value = VALUES[parameter.type]
    if parameter.type == "reference" and parameter.targets:
        value = f"{parameter.targets[0]}/x"
    asked = NEEDED[path(row)] | {parameter.name: value}
    if row.resource == "Patient" and parameter.name in BROAD:
        asked["family"] = "abc"
    got = await client.get(path(row), params=asked)
    sent = await client.post(f"{path(row)}/_search", data=asked)
    assert got.status_code == sent.status_code, (got.text, sent.text)
    assert got.status_code in (200, 404), got.text
    if got.status_code == 200:
        assert got.json()["total"] == sent.json()["total"]
        self_link = next(x["url"] for x in got.json()["link"] if x["relation"] == "self")
        assert f"{parameter.name}=" in self_link
        for link in (*got.json()["link"], *sent.json()["link"]):
            assert QUERY(link["url"].partition("?")[2]), link
    _, scanned = await unindexed(exchange, before)
    assert not scanned


@pytest.mark.parametrize("row", SEARCHES, ids=path)
async def test_what_every_search_takes_is_taken_by_every_row(
    client: httpx.AsyncClient, row: Transaction
) -> None:
    base = NEEDED[path(row)] or {"identifier": "urn:x|1"}
    for said, count in (
        ({"_summary": "count"}, True), ({"_count": "0"}, True), ({"_total": "accurate"}, False), ({"_summary": "false"}, False),
        ({"_sort": "-_lastUpdated"}, False), ({"_id": "x"}, False), ({"_lastUpdated": "ge2020"}, False),
        ({"_format": "json"}, False), ({"_count": "5"}, False), ({"_summary": "true"}, False),
        ({"_summary": "text"}, False), ({"_summary": "data"}, False), ({"_elements": "id"}, False),
    ):  # fmt: skip
        answer = await client.get(path(row), params=base | said)
        if row.resource == "Patient" and answer.status_code == 404:
            continue  # a domain nobody agreed on
        assert answer.status_code == 200, (said, answer.text)
        bundle = answer.json()
        assert isinstance(bundle["total"], int)
        if count:
            assert not bundle.get("entry")
    for said in (
        {"_include": "*"},
        {"_revinclude": "x"},
        {"_sort": "shoe"},
        {"_summary": "all"},
        {"_elements": "shoe"},
    ):
        answer = await client.get(path(row), params=base | said)
        assert answer.status_code == 400, (said, answer.text)
        (name,) = said
        assert any(name in p for i in answer.json()["issue"] for p in i["expression"])


READS = [
    (row, row.routes[0][1].format(id="x", vid="1"))
    for row in ROWS
    if row.interaction in ("read", "vread", "history-instance", "history-type")
    and row.resource != "Binary"
]


@pytest.mark.parametrize(("row", "where"), READS, ids=lambda p: p if isinstance(p, str) else "")
async def test_every_read_takes_a_summary_or_elements(
    client: httpx.AsyncClient, row: Transaction, where: str
) -> None:
    """FHIR R4 http.html#parameters: they are of every interaction that gives resources."""
    asked = {"patient": "Patient/x"} if row.interaction == "history-type" else {}
    for said, right in (
        ({"_summary": "true"}, True), ({"_elements": "id"}, True), ({"_elements": "id", "_summary": "false"}, True),
        ({"_summary": "count"}, False), ({"_elements": "shoe"}, False), ({"_elements": "id", "_summary": "text"}, False),
    ):  # fmt: skip
        answer = await client.get(where, params=asked | said)
        assert (answer.status_code != 400) == right, answer.text
        if not right:
            places = [p for i in answer.json()["issue"] for p in i["expression"]]
            assert places == [next(n for n in ("_elements", "_summary") if n in said)]
