"""An app is opened for a person whom another process knows, and reads from a third one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from chassis.mongo import Mongo
from tests.auth.authorize.browser import a_browser, an_app
from tests.neighbours.apart import apart
from tests.pix.makers import COUNCIL, nhs_number, patient
from tests.running import Exchange

pytestmark = pytest.mark.asyncio(loop_scope="module")
SCOPE = "openid fhirUser launch/patient patient/DocumentReference.rs patient/Patient.r"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def exchange(
    mongo: Mongo, mongod_uri: str, database_prefix: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Exchange]:
    folder: Path = tmp_path_factory.mktemp("apart")
    async with apart(mongo, mongod_uri, database_prefix, folder) as (made, _):
        yield made


async def test_a_patient_is_chosen_from_pix_and_the_token_counts_at_the_registry(
    exchange: Exchange,
) -> None:
    number = nhs_number(42)
    async with exchange.as_client() as source:
        fed = await source.put(
            "/Patient", params={"identifier": f"{COUNCIL}|a1"},
            content=json.dumps(patient(COUNCIL, "a1", nhs=number)),
            headers={"Content-Type": "application/fhir+json"},
        )  # fmt: skip
    id_ = fed.headers["location"].split("/Patient/")[1].split("/")[0]
    app = await an_app(exchange.settings, exchange.mongo)
    browser = await a_browser(exchange.http, exchange.settings, exchange.mongo)
    page = await browser.press(await browser.begin(app, SCOPE), "find", number=number)
    assert "1 person matches" in page.text
    code = await browser.approve(await browser.press(page, "choose", patient=id_))
    made = (await browser.redeem(app, code)).json()
    assert made["patient"] == id_

    page_of = {"Authorization": f"Bearer {made['access_token']}", "Origin": "https://app.example"}
    found = await exchange.http.get(
        f"/fhir/DocumentReference?patient={id_}&status=current", headers=page_of
    )
    assert found.status_code == 200, found.text
    assert found.headers["access-control-allow-origin"] == "https://app.example"
    read = await exchange.http.get(f"/fhir/Patient/{id_}", headers=page_of)
    assert read.status_code == 200, read.text
    strange = await exchange.http.get("/fhir/Patient", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in strange.headers
