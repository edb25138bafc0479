"""Five services as five processes, each started with `throughline serve NAME` as the containers do."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from joserfc.jwk import ECKey
from pydantic import SecretStr

from auth.client import Client
from auth.clients import Clients
from chassis.mongo import Mongo
from chassis.settings import Settings
from examples.a_submission import submission
from exchange import ports
from exchange.apart import SERVICES
from tests.running import ORIGIN, Exchange

ROOT = Path(__file__).parents[2]
NHS = "https://fhir.nhs.uk/Id/nhs-number"
JSON = {"Content-Type": "application/fhir+json"}
pytestmark = pytest.mark.timeout(240)


class Fleet:
    """The processes by service, and what each said when it was ready."""

    def __init__(self, mongo: Mongo, uri: str, prefix: str, folder: Path) -> None:
        self.mongo, self.folder = mongo, folder
        taken: set[int] = set()
        self.port: dict[str, int] = {}
        for name in SERVICES:
            self.port[name] = ports.pick(avoid=frozenset(taken))
            taken.add(self.port[name])
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.variables = {
            "THROUGHLINE_MONGODB": uri, "THROUGHLINE_DATABASE_PREFIX": prefix, "THROUGHLINE_PUBLIC_URL": ORIGIN,
            "THROUGHLINE_DATA": str(folder), "THROUGHLINE_LOG_LEVEL": "error",
        } | {f"THROUGHLINE_{n.upper()}_URL": self.at(n) for n in SERVICES}  # fmt: skip

    def at(self, service: str) -> str:
        return f"http://127.0.0.1:{self.port[service]}"

    async def start(self) -> None:
        for name in SERVICES:
            key = ECKey.generate_key("P-384", {"kid": name, "use": "sig", "alg": "ES384"})
            path = self.folder / f"{name}.jwk"
            path.write_text(json.dumps(key.as_dict(private=True)))
            public = {"keys": [key.as_dict(private=False)]}
            await Clients(self.mongo).add(
                Client(f"service-{name}", name, public, scope="throughline.internal")
            )
            self.processes[name] = subprocess.Popen(
                [
                    sys.executable, "-m", "exchange", "serve", name, "--port", str(self.port[name]),
                    "--service-key", str(path),
                ],
                stdout=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ | self.variables,
            )  # fmt: skip
        for name, process in self.processes.items():
            assert process.stdout is not None
            line = await asyncio.to_thread(process.stdout.readline)
            assert json.loads(line or "{}").get("ready"), f"{name} did not start"

    def end(self) -> dict[str, int]:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        return {n: (p.communicate(timeout=60), p.returncode)[1] for n, p in self.processes.items()}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(
    mongo: Mongo, mongod_uri: str, database_prefix: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Fleet]:
    made = Fleet(mongo, mongod_uri, database_prefix, tmp_path_factory.mktemp("fleet"))
    try:
        await made.start()
        yield made
    finally:
        codes = made.end()
    assert set(codes.values()) == {0}, codes


async def test_a_document_walks_through_five_processes(fleet: Fleet, mongo: Mongo) -> None:
    settings = Settings(public_url=ORIGIN, mongodb=SecretStr("mongodb://x"))
    async with httpx.AsyncClient(base_url=fleet.at("auth"), timeout=60) as http:
        exchange = Exchange(settings, mongo, http, None)
        await exchange.register("source")
        bearer = {"Authorization": f"Bearer {await exchange.token('source')}"}

    async def ask(service: str, method: str, path: str, **more: Any) -> httpx.Response:
        headers = bearer | JSON | more.pop("headers", {})
        async with httpx.AsyncClient(base_url=f"{fleet.at(service)}/fhir", timeout=60) as client:
            return await client.request(method, path, headers=headers, **more)

    patient = {
        "resourceType": "Patient", "active": True, "name": [{"family": "Apart"}], "birthDate": "2020-01-02",
        "identifier": [{"system": NHS, "value": "9990000077"}],
    }  # fmt: skip
    named = {"identifier": f"{NHS}|9990000077"}
    fed = await ask("pix", "PUT", "/Patient", params=named, json=patient)
    assert fed.status_code == 201, fed.text
    subject = f"Patient/{fed.json()['id']}"
    published = await ask("registry", "POST", "", json=submission(subject, b"All well."))
    assert published.status_code == 200, published.text
    asked = {"patient.identifier": f"{NHS}|9990000077", "status": "current"}
    found = await ask("registry", "GET", "/DocumentReference", params=asked)
    assert found.json()["total"] == 1
    url = found.json()["entry"][0]["resource"]["content"][0]["attachment"]["url"]
    assert url.startswith(f"{ORIGIN}/fhir/Binary/")  # of the public URL, wherever it was made
    read = await ask(
        "repository", "GET", url.removeprefix(f"{ORIGIN}/fhir"), headers={"Accept": "*/*"}
    )
    assert read.content == b"All well."
    trail = await ask("audit", "GET", "/AuditEvent", params={"date": "ge2020", "patient": subject})
    assert trail.json()["total"] >= 4
    refused = await ask("pix", "GET", "/Patient?family=x", headers={"Authorization": "Bearer x"})
    assert refused.status_code == 401
