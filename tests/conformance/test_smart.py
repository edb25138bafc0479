"""The SMART App Launch 2.2 suite against the running exchange, with every kind of app, all of it green."""

from __future__ import annotations

import time
import uuid
from datetime import date

import httpx
import pytest_asyncio
from argon2 import PasswordHasher
from joserfc.jwk import RSAKey

from auth.client import Client, new_secret
from auth.clients import Clients
from auth.people.person import Appointment, Password, Person
from auth.people.reception import people_of
from auth.people.sessions import Sessions
from auth.revocations import Revocations
from conformance.check import Result, Run, Verdict
from conformance.runner import run_suite
from conformance.smart.suite import BACKEND, SMART
from conformance.target import EHR, STANDALONE, App, Backend, Target, Walk
from conformance.visitor import Walker
from conformance.wire import Wire
from tests.makers_mhd import NHS, a_bundle, a_document, a_patient, nhs_number, publish
from tests.running import Exchange

PASSWORD = "purple kettle ninety moss"
RETURN = "http://127.0.0.1:4567/app.html"
ORIGIN = "http://127.0.0.1:4567"
CEILING = (
    "launch launch/patient openid fhirUser offline_access online_access user/*.rs patient/*.rs"
)
PRESS = ("Sign in", "Continue", "Choose", "Search", "Allow")


def of_verdict(results: list[Result], *verdicts: Verdict) -> list[str]:
    """What came to these verdicts, in words."""
    return [f"{r.group}/{r.check}: {'; '.join(r.words)}" for r in results if r.verdict in verdicts]


async def a_practitioner(exchange: Exchange, username: str) -> Person:
    """Somebody who may sign in with `PASSWORD`."""
    revocations = Revocations(exchange.mongo)
    sessions = Sessions(exchange.settings, exchange.mongo, revocations)
    people = people_of(exchange.settings, exchange.mongo, sessions, revocations, make=True)
    held = (Appointment("R-HV", "R0A", date(2020, 1, 1), None),)
    person = await people.add(Person("", username, "Ann", "Example", appointments=held))
    hashed = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1).hash(PASSWORD)
    await people.set_password(person.id, Password(hashed, time.time(), False, None))
    return person


async def backend(exchange: Exchange, name: str, scope: str) -> Backend:
    """A registered backend service as the kit knows one."""
    await exchange.register(name, scope)
    return Backend(name, exchange.keys[name].as_dict(private=True), scope)


async def apps(exchange: Exchange) -> dict[str, App]:
    """One registered app of each kind."""
    told = {
        "name": "Conformance", "publisher": "Testers", "scope": CEILING, "redirect_uris": (RETURN,),
        "launch_uris": ("http://127.0.0.1:4567/launch.html",),
        "grants": ("authorization_code", "refresh_token"),
    }  # fmt: skip
    secret, digest = new_secret()
    key = RSAKey.generate_key(2048, {"kid": "conformance-1", "use": "sig", "alg": "RS384"})
    more = {
        "public": {},
        "symmetric": {"secret_digest": digest},
        "asymmetric": {"jwks": {"keys": [key.as_dict(private=False)]}},
    }
    made = {}
    for kind, fields in more.items():
        name = f"kit-{kind}-{uuid.uuid4().hex[:6]}"
        await Clients(exchange.mongo).add(Client(client_id=name, kind=kind, **told, **fields))
        made[kind] = App(
            kind=kind, client_id=name, redirect_uri=RETURN, origin=ORIGIN,
            secret=secret if kind == "symmetric" else "",
            key=key.as_dict(private=True) if kind == "asymmetric" else {},
        )  # fmt: skip
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def results(exchange: Exchange) -> list[Result]:
    """What the whole suite comes to."""
    number = nhs_number(777_001)
    async with exchange.as_client() as client:
        patient = await a_patient(client, identifier=[{"system": NHS, "value": number}])
        documents = [a_document(patient, kind=kind) for kind in ("HL-APPR", "ED-EHCP")]
        for document in documents:
            await publish(client, a_bundle(document))
    categories = {
        f"{c['system']}|{c['code']}"
        for d in documents
        for concept in d["category"]
        for c in concept["coding"]
    }
    person = await a_practitioner(exchange, f"kit-{uuid.uuid4().hex[:6]}")
    host = await backend(exchange, "kit-host", "launch-mint")
    target = Target(
        exchange.base,
        apps=await apps(exchange),
        backend=await backend(exchange, "kit-backend", "system/DocumentReference.rs"),
        introspector=await backend(exchange, "kit-introspector", "ITI-102"),
        walk=Walk(
            {
                "username": person.username,
                "password": PASSWORD,
                "number": number,
                "purpose": "P-CARE",
            },
            PRESS,
        ),
        standalone=f"{STANDALONE} user/Practitioner.r",
        ehr=f"{EHR} user/Practitioner.r",
        granular=tuple(f"patient/DocumentReference.rs?category={c}" for c in sorted(categories)),
        granular_with="status=current",
    )

    async def launcher(app: App) -> str:
        token = await exchange.token(host.client_id, host.scope)
        answer = await exchange.http.post(
            "/auth/launches",
            json={
                "client_id": app.client_id, "user": person.id, "patient": patient.rpartition("/")[2],
                "need_patient_banner": True, "intent": "review-documents",
            },
            headers={"Authorization": f"Bearer {token}"},
        )  # fmt: skip
        assert answer.status_code == 201, answer.text
        return str(answer.json()["launch"])

    transport = httpx.ASGITransport(exchange.app)
    async with httpx.AsyncClient(transport=transport, timeout=60) as http:
        walker = Walker(target.walk, transport=httpx.ASGITransport(exchange.app))
        return await run_suite(Run(target, Wire(http), walker, launcher), SMART)


def test_nothing_of_the_suite_fails(results: list[Result]) -> None:
    failed = of_verdict(results, Verdict.FAIL, Verdict.FAULT)
    assert not failed, "\n".join(failed)


def test_only_what_has_nothing_to_look_at_is_skipped(results: list[Result]) -> None:
    skipped = [r for r in results if r.verdict is Verdict.SKIP and r.check != "origin"]
    assert not skipped, "\n".join(of_verdict(skipped, Verdict.SKIP))


def test_no_secret_is_in_what_a_tester_is_shown(results: list[Result]) -> None:
    told = repr(results)
    assert PASSWORD not in told
    assert '"access_token":"to_' not in told


async def test_backend_services_pass_every_check_by_themselves(exchange: Exchange) -> None:
    client = await backend(exchange, "kit-alone", "system/DocumentReference.rs")
    target = Target(exchange.base, backend=client)
    transport = httpx.ASGITransport(exchange.app)
    async with httpx.AsyncClient(transport=transport, timeout=60) as http:
        results = await run_suite(Run(target, Wire(http), None), BACKEND)
    assert of_verdict(results, Verdict.FAIL, Verdict.FAULT) == []
