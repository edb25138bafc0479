"""People, roles and organisations as FHIR: found, read, brought along, and nothing told of sign-in."""

from __future__ import annotations

import uuid
from datetime import date

import httpx
import orjson
import pytest

from auth.people.people import People
from auth.people.person import Appointment, Password, Person
from auth.people.reception import people_of
from auth.people.sessions import Sessions
from auth.revocations import Revocations
from standards.r4.check import check_structure
from tests.running import Exchange
from tests.wire.launched import found, launched

STAFF = "user/Practitioner.rs user/PractitionerRole.rs user/Organization.rs"


def store(exchange: Exchange) -> People:
    revocations = Revocations(exchange.mongo)
    sessions = Sessions(exchange.settings, exchange.mongo, revocations)
    return people_of(exchange.settings, exchange.mongo, sessions, revocations, make=False)


async def a_person(exchange: Exchange, **changes: object) -> Person:
    said: dict[str, object] = {
        "id": "", "username": f"secret-{uuid.uuid4().hex[:8]}", "given": "Zoë", "family": "Öztürk",
        "prefix": "Dr", "professional_id": f"NMC-{uuid.uuid4().hex[:6]}",
        "appointments": (
            Appointment("R-HV", "R0A", date(2026, 1, 1)),
            Appointment("R-MW", "RM3", date(2024, 1, 1), date(2025, 6, 30)),
        ),
        "password": Password("$argon2id$hash-of-a-password", 1.0),
    }  # fmt: skip
    return await store(exchange).add(Person(**(said | changes)))  # type: ignore[arg-type]


async def everything(client: httpx.AsyncClient, url: str) -> list[dict[str, object]]:
    answer = await client.get(url)
    assert answer.status_code == 200, answer.text
    return [e["resource"] for e in answer.json().get("entry", ())]


async def test_a_practitioner_and_her_roles_are_read_and_found(exchange: Exchange) -> None:
    person = await a_person(exchange)
    async with launched(exchange, STAFF) as app:
        read = await app.get(f"/Practitioner/{person.id}")
        made = read.json()
        assert check_structure(made) == ()
        assert made["name"][0] == {
            "text": "Dr Zoë Öztürk", "family": "Öztürk", "given": ["Zoë"], "prefix": ["Dr"],
        }  # fmt: skip
        assert made["active"] is True
        assert read.headers["etag"] == f'W/"{made["meta"]["versionId"]}"'
        mine = {f"Practitioner/{person.id}"}
        for query in (
            {"_id": person.id}, {"identifier": person.professional_id},
            {"_id": person.id, "family": "ozt"}, {"_id": person.id, "name": "zoe", "active": "true"},
        ):  # fmt: skip
            assert await found(app, "/Practitioner", query) == mine, query
        roles = await everything(app, f"/PractitionerRole?practitioner=Practitioner/{person.id}")
        assert all(check_structure(r) == () for r in roles)
        held = {(r["code"][0]["coding"][0]["code"], r["organization"]["reference"]) for r in roles}  # type: ignore[index]
        assert held == {("R-HV", "Organization/R0A"), ("R-MW", "Organization/RM3")}
        for day, count in (("2026-03-01", 1), ("2025-06-29", 1), ("2025-09-01", 0), ("2023", 0)):
            then = {"practitioner": person.id, "date": [f"ge{day}", f"le{day}"]}
            assert len(await found(app, "/PractitionerRole", then)) == count, day
        pairs = "_include=PractitionerRole:practitioner&_include=PractitionerRole:organization"
        whole = await everything(app, f"/PractitionerRole?practitioner={person.id}&{pairs}")
        kinds = sorted(str(r["resourceType"]) for r in whole)
        assert kinds == ["Organization"] * 2 + ["Practitioner"] + ["PractitionerRole"] * 2
        role = await app.get(f"/PractitionerRole/{roles[0]['id']}")
        assert role.json() == roles[0]


async def test_nothing_of_how_a_person_signs_in_is_told(exchange: Exchange) -> None:
    person = await a_person(exchange)
    await store(exchange).draft_codes(person.id, b"a seed")
    async with launched(exchange, STAFF) as app:
        for url in (f"/Practitioner/{person.id}", f"/PractitionerRole?practitioner={person.id}"):
            text = (await app.get(url)).text
            for secret in (person.username, "argon2", "draft", "passkey", "totp", "handle"):
                assert secret not in text
        wrong = await app.get("/Practitioner", params={"username": person.username})
        assert wrong.status_code == 400
    for name in ("practitioners", "practitioner_roles"):
        rows = await exchange.mongo.table("auth", name).many({})
        assert person.username not in str(rows)


async def test_ones_own_record_is_always_readable(exchange: Exchange) -> None:
    mine, theirs = await a_person(exchange), await a_person(exchange, family="Marsh")
    for scope, patient in (("openid fhirUser", ""), ("openid fhirUser patient/*.rs", "Patient/x")):
        async with launched(exchange, scope, person=mine.id, patient=patient) as app:
            assert (await app.get(f"/Practitioner/{mine.id}")).status_code == 200
            assert (await app.get(f"/Practitioner/{theirs.id}")).status_code == 404
            assert (await app.get(f"/Practitioner?_id={mine.id}")).status_code == 403
            assert (await app.get("/Organization/R0A")).status_code == 403
    async with launched(exchange, "openid fhirUser user/Practitioner.r", person=mine.id) as app:
        assert (await app.get(f"/Practitioner/{theirs.id}")).status_code == 200
    async with launched(exchange, "openid user/Patient.r", person=mine.id) as app:
        assert (await app.get(f"/Practitioner/{mine.id}")).status_code == 403


async def test_a_change_shows_at_once(exchange: Exchange) -> None:
    person, people = await a_person(exchange), store(exchange)
    async with launched(exchange, STAFF) as app:
        first = await app.get(f"/Practitioner/{person.id}")
        await people.change(person.id, family="Marsh")
        second = await app.get(f"/Practitioner/{person.id}")
        assert second.json()["name"][0]["family"] == "Marsh"
        assert int(second.json()["meta"]["versionId"]) > int(first.json()["meta"]["versionId"])
        await people.appoint(person.id, Appointment("R-SN", "RMC", date(2026, 2, 1)))
        held = {"practitioner": person.id, "organization": "Organization/RMC"}
        assert len(await found(app, "/PractitionerRole", held)) == 1
        await people.deactivate(person.id)
        assert (await app.get(f"/Practitioner/{person.id}")).json()["active"] is False
        assert await found(app, "/Practitioner", {"_id": person.id, "active": "true"}) == set()


async def test_a_scope_with_a_query_reaches_the_roles_that_it_names(exchange: Exchange) -> None:
    person = await a_person(exchange)
    scope = "user/PractitionerRole.rs?organization=Organization/R0A"
    async with launched(exchange, f"{scope} user/Organization.rs?type=police") as app:
        roles = await found(app, "/PractitionerRole", {"practitioner": person.id})
        assert len(roles) == 1
        assert await found(app, "/Organization") == {"Organization/GMP"}
        assert (await app.get("/Organization/R0A")).status_code == 404


async def test_the_organisations_of_the_pack_are_read_and_found(exchange: Exchange) -> None:
    async with launched(exchange, STAFF) as app:
        trust = (await app.get("/Organization/R0A")).json()
        assert check_structure(trust) == ()
        assert trust["name"] == "Manchester University NHS Foundation Trust"
        ods = "https://fhir.nhs.uk/Id/ods-organization-code"
        assert await found(app, "/Organization", {"identifier": f"{ods}|R0A"}) == {
            "Organization/R0A"
        }
        assert "Organization/R0A" in await found(app, "/Organization", {"type": "trust"})
        assert (await app.get("/Organization/NOBODY")).status_code == 404


@pytest.mark.parametrize("kind", ["Practitioner", "PractitionerRole", "Organization"])
async def test_the_directory_is_audited_and_needs_a_token(exchange: Exchange, kind: str) -> None:
    assert (await exchange.http.get(f"/fhir/{kind}")).status_code == 401
    async with launched(exchange, STAFF) as app:
        answer = await app.get(f"/{kind}")
    rows = await exchange.mongo.table("audit", "events").many({}, {"b": 1})
    told = answer.headers["x-request-id"]
    assert any(told in orjson.loads(r["b"]).__repr__() for r in rows)
