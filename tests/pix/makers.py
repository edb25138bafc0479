"""Patients, and a way to the pix service over HTTP for callers of any kind.

The service is opened as it is in production, behind the real endpoints; only who is calling is said by
the test (`caller`), because tokens are the auth service's subject.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from affinity.pack import NHS_NUMBER, load
from chassis import onion
from chassis.call import Caller
from chassis.mongo import Mongo
from chassis.service import Rider
from chassis.settings import Settings
from pix.app import ROWS, open_service
from pix.claims import STATUSES, VERIFICATION
from pix.near import Neighbour
from tests.running import ORIGIN, serving

NS = "https://throughline.example/fhir/Id/"
COUNCIL = NS + "social-care-id/352"
SALFORD = NS + "social-care-id/355"
TRUST = NS + "local-patient-identifier/RM3"
HOSPITAL = NS + "local-patient-identifier/R0A"
NHS = NHS_NUMBER
BASE = f"{ORIGIN}/fhir"
_HEADS, _VOWELS = "bcdfghjklmnprstvwxyz", "aeiou"
FEEDER = Caller(client_id="feeder", scope="system/*.cruds throughline.internal", role="R-SYS")


def nhs_number(serial: int) -> str:
    """A valid number of the test range 999…; serials whose check digit would be 10 move on by one."""
    while True:
        nine = f"999{serial:06d}"
        check = 11 - sum(int(d) * w for d, w in zip(nine, range(10, 1, -1), strict=True)) % 11
        if check != 10:
            return nine + str(check % 11)
        serial += 1


def identifier(system: str, value: str, *, status: str = "", **more: Any) -> dict[str, Any]:
    """An Identifier; `status` is the NHS number's verification status."""
    made: dict[str, Any] = {"system": system, "value": value, **more}
    if status:
        concept = {"coding": [{"system": STATUSES[0], "code": status}]}
        made["extension"] = [{"url": VERIFICATION, "valueCodeableConcept": concept}]
    return made


def patient(
    system: str,
    value: str,
    *,
    nhs: str = "",
    status: str = "01",
    born: str = "1980-02-03",
    **more: Any,
) -> dict[str, Any]:
    """A Patient of one domain, with an NHS number when given.

    Who has another number, or without one another local number, has another name: what two records
    say would make one person of them otherwise.
    """
    identifiers = [identifier(system, value)]
    if nhs:
        identifiers.append(identifier(NHS, nhs, status=status))
    made: dict[str, Any] = {
        "resourceType": "Patient",
        "identifier": identifiers,
        "name": [name_of(nhs or f"{system}|{value}")],
        "gender": "female",
        **more,
    }
    if born:
        made["birthDate"] = born
    return made


def name_of(seed: str) -> dict[str, Any]:
    """A name that is like nobody else's, the same for the same seed."""
    drawn = hashlib.sha256(seed.encode()).digest()
    syllables = ["".join((_HEADS[b % 20], _VOWELS[b // 20 % 5])) for b in drawn]
    return {
        "family": "".join(syllables[:4]).title(),
        "given": ["".join(syllables[4:7]).title(), "May"],
    }


def replaced(body: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a merge: this Patient, replaced by another."""
    return {**body, "active": False, "link": [{"type": "replaced-by", "other": dict(other)}]}


@dataclass
class Pix:
    """The running service: `http` speaks as `caller`, which a test may change; `audited` are the
    AuditEvents that were recorded."""

    http: httpx.AsyncClient
    near: Neighbour
    mongo: Mongo
    app: Any
    caller: Caller = FEEDER
    audited: list[Mapping[str, Any]] = field(default_factory=list)

    async def feed(self, body: Mapping[str, Any], **headers: str) -> httpx.Response:
        """PUT a Patient under its first identifier."""
        first = body["identifier"][0]
        return await self.put(first["system"], first["value"], body, **headers)

    async def put(
        self, system: str, value: str, body: Mapping[str, Any], **headers: str
    ) -> httpx.Response:
        """PUT a Patient under an identifier."""
        told = {k.replace("_", "-"): v for k, v in headers.items()}
        criteria = {"identifier": f"{system}|{value}"}
        return await self.http.put("/Patient", params=criteria, json=dict(body), headers=told)

    async def remove(self, system: str, value: str) -> httpx.Response:
        """DELETE by identifier."""
        return await self.http.delete("/Patient", params={"identifier": f"{system}|{value}"})

    async def ask(self, system: str, value: str, *targets: str) -> httpx.Response:
        """`$ihe-pix`."""
        asked = {"sourceIdentifier": f"{system}|{value}", "targetSystem": list(targets)}
        return await self.http.get("/Patient/$ihe-pix", params=asked)

    async def others(self, system: str, value: str, *targets: str) -> list[tuple[str, str]]:
        """The identifiers that `$ihe-pix` tells."""
        answer = await self.ask(system, value, *targets)
        assert answer.status_code == 200, answer.text
        return identifiers(answer.json())


def identifiers(parameters: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The targetIdentifiers of an answer."""
    return [
        (p["valueIdentifier"]["system"], p["valueIdentifier"]["value"])
        for p in parameters.get("parameter", [])
        if p["name"] == "targetIdentifier"
    ]


def patients(parameters: Mapping[str, Any]) -> list[str]:
    """The targetIds of an answer."""
    return [
        p["valueReference"]["reference"]
        for p in parameters.get("parameter", [])
        if p["name"] == "targetId"
    ]


def diagnostics(answer: httpx.Response) -> list[str]:
    """The words of an OperationOutcome."""
    assert answer.json()["resourceType"] == "OperationOutcome"
    return [i["diagnostics"] for i in answer.json()["issue"]]


@asynccontextmanager
async def pix_service(mongo: Mongo, **changes: Any) -> AsyncIterator[Pix]:
    """The pix service behind the real endpoints; `changes` are settings."""
    settings = Settings(public_url=ORIGIN, log_level="error", **changes)
    made: list[Pix] = []

    class Told:
        async def caller(self, token: str) -> Caller:
            return made[0].caller

        async def record(self, *events: Mapping[str, Any]) -> None:
            if made:
                made[0].audited += events

    told = Told()
    near: list[Neighbour] = []

    @asynccontextmanager
    async def opening() -> AsyncIterator[Any]:
        pack = load(settings.affinity)
        async with open_service(settings, mongo, pack, audit=told) as service:
            assert isinstance(service.near, Neighbour)
            near.append(service.near)
            yield (service,), Rider(settings, told, told)

    async with serving(onion.create(opening, ROWS)) as app:
        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        headers = {"Authorization": "Bearer t", "Accept": "application/fhir+json"}
        async with httpx.AsyncClient(transport=transport, base_url=BASE, headers=headers) as http:
            made.append(Pix(http, near[0], mongo, app))
            yield made[0]
