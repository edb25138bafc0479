"""Opaque tokens: what they stand for, near and far, how fast they are known, and what ends them."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any

import httpx
import pytest
from pymongo.asynchronous.client_session import AsyncClientSession

from auth.opaque_tokens import digest
from chassis.caller import Verifier
from chassis.trust import FarAuth
from standards import balp, iua
from standards.outcome import Refused
from tests.auth.authority import Server, a_backend, a_token
from tests.auth.test_caller import Held, until_refused, why_not


def claimed(server: Server, **changes: Any) -> dict[str, Any]:
    """The claims of an app's token, with changes."""
    made = iua.claims(
        iua.Identity("R0A", "R-HV", "P-CARE", "", "Ada Byron"), issuer=server.settings.issuer,
        audience=server.settings.fhir_base, client_id="app", scope="openid fhirUser patient/Patient.rs",
        jti=str(uuid.uuid4()), now=int(time.time()), seconds=300, words=balp.Vocabulary(),
    )  # fmt: skip
    person = "person-1"
    return made | {
        "sub": person, "patient": "p1", "fhirUser": f"{server.settings.fhir_base}/Practitioner/{person}",
    } | changes  # fmt: skip


async def issued(server: Server, **hangs: str) -> str:
    given = {"grant": str(uuid.uuid4()), "session": str(uuid.uuid4()), "person": "person-1"} | hangs
    return await server.authority.tokens.issue(claimed(server), **given)  # type: ignore[arg-type]


async def test_an_opaque_token_stands_for_a_person_in_front_of_a_patient(server: Server) -> None:
    token = await issued(server, grant="g", session="s")
    caller = await server.authority.verifier.caller(token)
    assert (caller.client_id, caller.subject, caller.person) == ("app", "person-1", "person-1")
    assert (caller.patient, caller.grant, caller.session) == ("p1", "g", "s")
    assert caller.fhir_user.endswith("/fhir/Practitioner/person-1")
    assert (caller.organisation, caller.role, caller.purpose) == ("R0A", "R-HV", "P-CARE")
    assert caller.name == "Ada Byron"


async def test_the_database_holds_the_digest_of_a_token_only(server: Server) -> None:
    token = await issued(server)
    row = await server.mongo.table("auth", "access_tokens").one({"_id": digest(token)})
    assert row is not None
    assert token not in str(row)
    assert token.startswith("to_")
    assert len(token) == 3 + 43, "256 random bits"


@pytest.mark.parametrize(
    "token", ["to_", "to_x", "to_" + "x" * 43, "to_" + "é" * 43, "to_" + "x" * 500, "to_a.b.c"]
)
async def test_a_token_that_was_never_issued_is_refused(server: Server, token: str) -> None:
    await why_not(server.authority.verifier, token)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"exp": time.time() - 600}, "expired"),
        ({"aud": ["https://elsewhere.example/fhir"]}, "another server"),
        ({"iss": "https://elsewhere.example/auth"}, "another server"),
        ({"scope": 5}, "lacks"),
    ],
)
async def test_what_an_opaque_token_stands_for_is_checked_like_a_signed_one(
    server: Server, changes: dict[str, Any], words: str
) -> None:
    token = await server.authority.tokens.issue(claimed(server, **changes), grant="g")
    assert words in await why_not(server.authority.verifier, token)


async def test_a_token_issued_in_a_transaction_that_fails_was_never_issued(server: Server) -> None:
    made: list[str] = []

    async def story(session: AsyncClientSession) -> None:
        made.append(
            await server.authority.tokens.issue(claimed(server), grant="g", transaction=session)
        )
        raise LookupError

    with pytest.raises(LookupError):
        await server.mongo.transaction(story)
    await why_not(server.authority.verifier, made[0])


async def test_a_known_opaque_token_is_checked_in_30_microseconds(server: Server) -> None:
    verifier, token = server.authority.verifier, await issued(server)
    await server.authority.revocations.end_grant("another")
    await server.authority.revocations.here.refresh()
    await verifier.caller(token)
    took = []
    for _ in range(20):
        started = time.thread_time()
        for _ in range(100):
            await verifier.caller(token)
        took.append((time.thread_time() - started) / 100)
    assert min(took) < 30e-6


@pytest.mark.parametrize("kind", ["grant", "session", "person"])
async def test_what_a_token_hangs_on_ends_it_everywhere_within_a_second(
    server: Server, other: Server, kind: str
) -> None:
    end = str(uuid.uuid4())
    token, kept = await issued(server, **{kind: end}), await issued(server)
    for process in (server, other):
        assert (await process.authority.verifier.caller(token)).client_id == "app"
    await getattr(server.authority.revocations, f"end_{kind}")(end)
    assert await until_refused(other.authority.verifier, token) < 1.0
    assert await until_refused(server.authority.verifier, token) < 1.0
    assert (await other.authority.verifier.caller(kept)).person == "person-1"


async def test_a_person_who_was_signed_out_everywhere_may_sign_in_again(server: Server) -> None:
    person = str(uuid.uuid4())
    await server.authority.revocations.end_person(person)
    await server.authority.revocations.here.refresh()
    claims = claimed(server, iat=int(time.time()) + 2)
    token = await server.authority.tokens.issue(claims, grant="g", person=person)
    assert (await server.authority.verifier.caller(token)).person == person
    await asyncio.sleep(2.1)
    await server.authority.revocations.end_person(person)  # and out again, by a row that was there
    assert await until_refused(server.authority.verifier, token) < 1.0


async def test_introspection_tells_of_an_opaque_token_what_it_stands_for(server: Server) -> None:
    backend = await a_backend(server, scope="ITI-102")
    token = await issued(server, grant="g-9")
    form = backend.form(grant_type=None, scope=None, token=token)
    said = (await server.http.post("/auth/introspect", data=form)).json()
    assert said["active"] is True
    assert (said["patient"], said["sub"], said["client_id"]) == ("p1", "person-1", "app")
    assert said["fhirUser"].endswith("Practitioner/person-1")
    assert "g-9" not in str(said), "what it hangs on is for our own services"


async def test_a_service_apart_asks_once_and_remembers(server: Server) -> None:
    service = await a_backend(server, scope="throughline.internal")
    held = Held(await a_token(server, service, scope="throughline.internal"))
    far = FarAuth(server.http, server.settings.origin, held)
    grant = str(uuid.uuid4())
    token = await issued(server, grant=grant, session="s-1")
    async with far.followed():
        verifier = Verifier(server.settings, far, far.revocations, tokens=far)
        near = await server.authority.verifier.caller(token)
        caller = await verifier.caller(token)
        assert (caller.patient, caller.grant, caller.session) == ("p1", grant, "s-1")
        assert (caller.person, caller.role, caller.scope) == (near.person, near.role, near.scope)
        await server.mongo.table("auth", "access_tokens").delete({"_id": digest(token)})
        assert (await verifier.caller(token)).patient == "p1", "remembered"
        await why_not(verifier, "to_" + "x" * 43)
        await server.authority.revocations.end_grant(grant)
        assert await until_refused(verifier, token) < 1.0


async def test_a_service_apart_takes_no_opaque_token_while_it_cannot_ask(server: Server) -> None:
    async def nobody(request: httpx.Request) -> httpx.Response:
        return httpx.Response(
            502 if "introspect" in request.url.path else 200, json={"revoked": []}
        )

    async with httpx.AsyncClient(transport=httpx.MockTransport(nobody)) as down:
        far = FarAuth(down, "http://auth.test", Held("x"))
        async with far.followed():
            with pytest.raises(Refused) as refusal:
                await Verifier(server.settings, far, far.revocations, tokens=far).caller(
                    await issued(server)
                )
    assert refusal.value.status() == 503


async def test_a_verifier_without_an_issuer_to_ask_takes_no_opaque_token(server: Server) -> None:
    verifier = Verifier(server.settings, server.authority.keys, server.authority.revocations.here)
    await why_not(verifier, await issued(server))
