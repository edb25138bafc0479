"""What the audit trail is told about tokens: everything but the secrets, before the answer leaves."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

from standards import balp
from standards.outcome import BUSY, Issue, Refused
from tests.auth.authority import Server, a_backend, a_key, a_token


def query_of(event: dict[str, Any]) -> str:
    return base64.b64decode(event["entity"][0]["query"]).decode()


async def test_a_token_issued_is_told_in_two_events(server: Server) -> None:
    backend = await a_backend(server)
    server.ledger.events.clear()
    form = backend.form(scope="ITI-67", reason="handover")
    answer = await server.http.post("/auth/token", data=form)
    token = answer.json()["access_token"]
    jti = (await server.authority.verifier.caller(token)).jti
    request, about = server.ledger.events
    assert request["meta"]["profile"] == [balp.BALP + "StructureDefinition/IHE.IUA.71"]
    assert request["subtype"] == [
        {"system": "urn:ihe:event-type-code", "code": "ITI-71", "display": "Get Access Token"}
    ]
    assert (request["action"], request["outcome"], len(request["agent"])) == ("E", "0", 2)
    assert request["agent"][0]["who"]["identifier"]["value"] == backend.client_id
    assert request["agent"][1]["who"]["identifier"]["value"] == server.settings.issuer
    assert [e["role"]["code"] for e in request["entity"]] == ["24"]
    said = query_of(request)
    assert said.startswith("POST /auth/token\n\n")
    assert "grant_type=client_credentials" in said
    assert "client_assertion=***" in said
    assert "meta" not in about
    (entity,) = about["entity"]
    assert entity["role"]["code"] == "13"
    assert entity["what"]["identifier"]["value"] == f"urn:ietf:params:oauth:jti:{jti}"
    assert {d["type"]: d["valueString"] for d in entity["detail"]} == {
        "scope": "ITI-67",
        "reason": "handover",
    }
    assert request["id"] != about["id"]
    everything = str(server.ledger.events) + said
    assert form["client_assertion"] not in everything
    assert token not in everything


async def test_a_refusal_is_told_with_its_reason_and_the_client_that_was_claimed(
    server: Server,
) -> None:
    backend = await a_backend(server)
    server.ledger.events.clear()
    answer = await server.http.post(
        "/auth/token", data=backend.form(backend.assertion(key=a_key()))
    )
    assert answer.status_code == 401
    (event,) = server.ledger.events
    assert (event["outcome"], "meta" in event) == ("8", False)
    assert event["outcomeDesc"].startswith("invalid_client: ")
    assert backend.client_id in event["outcomeDesc"]
    assert event["agent"][0]["who"] == {"display": "unidentified caller"}


async def test_a_refusal_of_a_proven_client_names_it_as_agent(server: Server) -> None:
    backend = await a_backend(server)
    server.ledger.events.clear()
    await server.http.post("/auth/token", data=backend.form(scope="system/*.cruds"))
    (event,) = server.ledger.events
    assert event["outcome"] == "4"
    assert event["outcomeDesc"].startswith("invalid_scope: ")
    assert event["agent"][0]["who"]["identifier"]["value"] == backend.client_id


async def test_a_claimed_client_id_cannot_write_lines_into_the_trail(server: Server) -> None:
    backend = await a_backend(server)
    evil = "x\r\nforged: line\u2028" + "y" * 1000
    server.ledger.events.clear()
    await server.http.post("/auth/token", data=backend.form(backend.assertion(iss=evil, sub=evil)))
    (event,) = server.ledger.events
    assert event["outcomeDesc"].isprintable()
    assert len(event["outcomeDesc"]) < 400


async def test_no_token_leaves_when_it_cannot_be_audited(server: Server) -> None:
    backend = await a_backend(server)
    await a_token(server, backend)
    server.ledger.fault = Refused(Issue(BUSY, "not now"))
    try:
        answer = await server.http.post("/auth/token", data=backend.form())
    finally:
        server.ledger.fault = None
    assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
    assert "access_token" not in answer.text
    assert answer.headers["retry-after"] == "2"


async def test_a_service_gets_its_first_token_before_the_audit_service_can_be_reached(
    server: Server,
) -> None:
    service = await a_backend(server, scope="throughline.internal")
    server.ledger.events.clear()
    server.ledger.fault = Refused(Issue(BUSY, "no token yet"))
    try:
        assert await a_token(server, service, scope="throughline.internal")
        kept = await server.mongo.table("auth", "audit_outbox").count({})
    finally:
        server.ledger.fault = None
    assert kept == 2
    async with asyncio.timeout(15):
        while len(server.ledger.events) < 2:
            await asyncio.sleep(0.1)
    assert {e["entity"][0]["role"]["code"] for e in server.ledger.events} == {"24", "13"}
    assert server.ledger.events[0]["agent"][0]["who"]["identifier"]["value"] == service.client_id
