"""An unmodified JavaScript client (npm `fhirclient`, see examples/smart-app/vendor) in a real Chromium,
against the exchange as an operator starts it: both launches, reading, refreshing, signing out.

`SCREENSHOTS=folder make test-browser` leaves a picture of each page.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import http.server
import os
import shutil
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from exchange.exits import Exit
from tests.exchange.test_cli import ROOT, Run, Serving, run  # noqa: F401  a fixture
from tests.makers_mhd import NHS, a_bundle, a_document, a_patient, nhs_number, publish

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]
CHROMIUM = os.environ.get("CHROMIUM", shutil.which("chromium") or "/usr/bin/chromium")
APP = ROOT / "examples" / "smart-app"
OWN = "seven lanterns over salford quays"
SCOPE = "launch launch/patient openid fhirUser offline_access online_access user/*.rs patient/*.rs"
WAIT = 60_000
CLIENT = "658dec434e308a6ba682158f1e94bfaa0f600bb500e78443369bfe7818133d90"


@dataclass
class Scene:
    """What the tests play with."""

    fhir: str
    auth: str
    app: str
    username: str
    once: str
    number: str
    patient: str
    host: str  # a token of another system that may launch apps


@pytest.fixture(scope="module")
def serving(
    mongod_uri: str, database_prefix: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serving]:
    made = Serving(tmp_path_factory.mktemp("smart-app"), mongod_uri, database_prefix)
    yield made
    if made.process.poll() is None:
        made.end()


@pytest.fixture(scope="module")
def site(serving: Serving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The example app, served from an origin of its own."""
    folder = tmp_path_factory.mktemp("app") / "site"
    shutil.copytree(APP, folder)
    (folder / "config.js").write_text(
        f'const CONFIG = {{ iss: "{serving.ready["fhir"]}", clientId: "smart-app" }};\n'
    )

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            return

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", port), functools.partial(Quiet, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{port}"
    server.shutdown()
    server.server_close()


async def fed(fhir: str, token: str, number: str) -> str:
    """A patient with three documents: its id."""
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/fhir+json"}
    async with httpx.AsyncClient(base_url=fhir, headers=headers, timeout=60) as api:
        patient = await a_patient(api, identifier=[{"system": NHS, "value": number}])
        for _ in range(3):
            await publish(api, a_bundle(a_document(patient)))
    return patient.rpartition("/")[2]


@pytest.fixture
def scene(
    run: Run, serving: Serving, site: str, mongod_uri: str, database_prefix: str, tmp_path: Path  # noqa: F811
) -> Scene:  # fmt: skip
    """Registered through the command line, fed through the API, as README and docs/auth.md say."""
    near = ("--data", serving.data, "--mongodb", mongod_uri, "--database-prefix", database_prefix)
    known = run("clients", "show", "smart-app", *near)
    if known[0] != Exit.OK:
        told = run(
            "clients", "add", "smart-app", "--kind", "public", "--title", "Documents of a person",
            "--publisher", "Example", "--redirect-uri", f"{site}/app.html",
            "--launch-uri", f"{site}/launch.html", "--sign-out-uri", f"{site}/index.html",
            "--scope", SCOPE, *near,
        )  # fmt: skip
        assert told[0] == Exit.OK, told
    username = f"ann{os.urandom(3).hex()}"
    told = run(
        "practitioners", "add", username, "--given", "Ann", "--family", "Example", "--role", "R-HV",
        "--organisation", "R0A", *near,
    )  # fmt: skip
    assert told[0] == Exit.OK, told
    tokens = {}
    for kind, scope in (("feeder", "system/*.cruds"), ("host", "launch-mint")):
        name = f"{kind}-{username}"
        key = tmp_path / f"{name}.jwk"
        assert run("clients", "keygen", key)[0] == Exit.OK
        more = ("--organisation", "R0A", "--role", "R-SYS", *near)
        added = run(
            "clients",
            "add",
            name,
            "--jwks",
            key.with_name(f"{name}.jwks.json"),
            "--scope",
            scope,
            *more,
        )
        assert added[0] == Exit.OK, added
        said = run(
            "token", "--client", name, "--key", key, "--scope", scope, "--data", serving.data
        )
        assert said[0] == Exit.OK, said
        tokens[scope] = said[1].strip()
    number = nhs_number(int.from_bytes(os.urandom(2)) * 100 + 17)
    patient = asyncio.run(fed(serving.ready["fhir"], tokens["system/*.cruds"], number))
    return Scene(
        fhir=serving.ready["fhir"], auth=serving.ready["auth"], app=site, username=username,
        once=told[1].split()[-1], number=number, patient=patient,
        host=tokens["launch-mint"],
    )  # fmt: skip


@pytest_asyncio.fixture
async def page() -> AsyncIterator[Any]:
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        made = await browser.new_page()
        made.set_default_timeout(WAIT)
        yield made
        await browser.close()


async def picture(page: Any, name: str) -> None:
    folder = os.environ.get("SCREENSHOTS")
    if folder:
        await page.screenshot(path=f"{folder}/{name}.png", full_page=True, timeout=WAIT)


async def press(page: Any, words: str) -> None:
    await page.get_by_role("button", name=words).first.click()


async def signed_in(page: Any, scene: Scene, *, first: bool) -> None:
    """From the sign-in page until the sign-in pages are done, with the one-time password at first."""
    await page.fill("#username", scene.username)
    await page.fill("#password", scene.once if first else OWN)
    await press(page, "Sign in")
    if first:
        await page.wait_for_selector("h1:has-text('Choose your own password')")
        for field in await page.query_selector_all("input[type=password]"):
            await field.fill(OWN)
        await press(page, "Save and continue")
    await page.wait_for_selector("h1:has-text('What do you need the records for?')")
    await page.check("#purpose-P-CARE")
    await press(page, "Continue")


async def documents(page: Any) -> str:
    """What the app says once it has read."""
    await page.wait_for_function(
        "document.getElementById('state')?.textContent.startsWith('Reading') === false",
        timeout=WAIT,
    )
    return str(await page.inner_text("#state"))


async def tokens(page: Any) -> dict[str, Any]:
    """What the app was given."""
    held: dict[str, Any] = await page.evaluate(
        "() => { const k = JSON.parse(sessionStorage.getItem('SMART_KEY'));"
        " return JSON.parse(sessionStorage.getItem(k)).tokenResponse; }"
    )
    return held


async def status(scene: Scene, token: str) -> int:
    async with httpx.AsyncClient(base_url=scene.fhir, timeout=60) as api:
        answer = await api.get(
            f"/Patient/{scene.patient}", headers={"Authorization": f"Bearer {token}"}
        )
        return answer.status_code


def test_the_client_is_as_it_was_published() -> None:
    body = (APP / "vendor" / "fhir-client.pure.min.js").read_bytes()
    assert hashlib.sha256(body).hexdigest() == CLIENT


async def test_standalone_launch_reads_refreshes_and_signs_out(scene: Scene, page: Any) -> None:
    await page.goto(f"{scene.app}/index.html")
    await press(page, "Sign in")
    await page.wait_for_selector("#username")
    await picture(page, "1-sign-in")
    await signed_in(page, scene, first=True)
    await page.wait_for_selector("h1:has-text('Whose record do you want to open?')")
    await page.fill("#number", scene.number)
    await press(page, "Search")
    await page.wait_for_selector("#found")
    await picture(page, "2-choose-a-person")
    await press(page, "Choose")
    await page.wait_for_selector("h1:has-text('Allow Documents of a person')")
    await picture(page, "3-allow")
    await page.get_by_role("button", name="Allow", exact=True).click()
    assert await documents(page) == "3 documents"
    await picture(page, "4-app")
    assert await page.inner_text("#user") == "Signed in: Practitioner Example"
    before = await tokens(page)
    assert before["patient"] == scene.patient
    assert {"openid", "fhirUser", "offline_access"} <= set(before["scope"].split())
    await press(page, "Refresh the token")
    await page.wait_for_function(
        "document.getElementById('state')?.textContent.startsWith('refreshed')"
    )
    after = await tokens(page)
    assert after["access_token"] != before["access_token"]
    assert after["refresh_token"] != before["refresh_token"]
    assert await status(scene, after["access_token"]) == 200
    await press(page, "Sign out")
    await page.wait_for_url(f"{scene.app}/index.html")
    assert await status(scene, after["access_token"]) == 401
    await press(page, "Sign in")  # the session is over as well
    await page.wait_for_selector("#username")


async def test_a_launch_from_another_system_opens_the_patient_it_names(
    scene: Scene, page: Any
) -> None:
    async with httpx.AsyncClient(timeout=60) as api:
        answer = await api.post(
            f"{scene.auth}/launches",
            json={
                "client_id": "smart-app", "user": scene.username, "patient": scene.patient,
                "need_patient_banner": True, "intent": "review",
            },
            headers={"Authorization": f"Bearer {scene.host}"},
        )  # fmt: skip
    assert answer.status_code == 201, answer.text
    await page.goto(answer.json()["launch_url"])
    await page.wait_for_selector("#username")
    await signed_in(page, scene, first=True)
    await page.wait_for_selector("h1:has-text('Allow Documents of a person')")
    await page.get_by_role("button", name="Allow", exact=True).click()
    assert await documents(page) == "3 documents"
    held = await tokens(page)
    assert (held["patient"], held["intent"]) == (scene.patient, "review")
    assert held["need_patient_banner"] is True
    await press(page, "Refresh the token")
    await page.wait_for_function(
        "document.getElementById('state')?.textContent.startsWith('refreshed')"
    )
    await page.goto(answer.json()["launch_url"])  # a launch is good once
    await page.wait_for_function("document.body?.textContent.includes('Failed')")


async def test_a_launch_by_a_server_the_app_does_not_know_goes_nowhere(
    scene: Scene, page: Any
) -> None:
    await page.goto(f"{scene.app}/launch.html?iss=https://elsewhere.example/fhir&launch=x")
    assert "does not know" in await page.inner_text("body")
