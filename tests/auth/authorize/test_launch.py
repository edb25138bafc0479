"""Launches: from another system's record with what was in view there, and standalone with a choice."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
import pytest_asyncio

from tests.auth.authorize.browser import App, Browser, a_browser, an_app, csrf, told
from tests.pix.makers import COUNCIL, nhs_number, patient
from tests.running import Exchange

pytestmark = pytest.mark.asyncio(loop_scope="module")
EHR = "openid fhirUser launch patient/DocumentReference.rs user/Patient.r offline_access"
ALONE = "openid fhirUser launch/patient patient/DocumentReference.rs patient/Patient.r"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def somebody(exchange: Exchange) -> dict[str, Any]:
    """A Patient that pix knows."""
    return await fed(exchange, "a1", nhs_number(71))


async def fed(exchange: Exchange, value: str, nhs: str) -> dict[str, Any]:
    body = patient(COUNCIL, value, nhs=nhs)
    async with exchange.as_client() as source:
        answer = await source.put(
            "/Patient", params={"identifier": f"{COUNCIL}|{value}"}, content=json.dumps(body),
            headers={"Content-Type": "application/fhir+json"},
        )  # fmt: skip
        assert answer.status_code in (200, 201), answer.text
        id_ = answer.headers["location"].split("/Patient/")[1].split("/")[0]
        made: dict[str, Any] = (await source.get(f"/Patient/{id_}")).json()
        return made


@pytest_asyncio.fixture(loop_scope="module")
async def app(exchange: Exchange) -> App:
    return await an_app(exchange.settings, exchange.mongo)


@pytest_asyncio.fixture(loop_scope="module")
async def browser(exchange: Exchange) -> Browser:
    return await a_browser(exchange.http, exchange.settings, exchange.mongo)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def host(exchange: Exchange) -> str:
    """The token of a host system."""
    await exchange.register("ehr", "launch-mint ITI-102")
    return await exchange.token("ehr", "launch-mint ITI-102")


async def mint(
    exchange: Exchange, host: str, app: App, browser: Browser, **more: Any
) -> httpx.Response:
    assert browser.session is not None
    said = {"client_id": app.id, "user": browser.session.person, **more}
    return await exchange.http.post(
        "/auth/launches",
        json={k: v for k, v in said.items() if v is not None},
        headers={"Authorization": f"Bearer {host}"},
    )


async def handle(exchange: Exchange, host: str, app: App, browser: Browser, **more: Any) -> str:
    answer = await mint(exchange, host, app, browser, **more)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["launch"])


async def test_an_app_opens_with_what_was_in_view(
    exchange: Exchange, host: str, app: App, browser: Browser, somebody: dict[str, Any]
) -> None:
    context = {
        "patient": somebody["id"], "encounter": "e-1", "intent": "summary", "tenant": "west",
        "need_patient_banner": False, "smart_style_url": "https://ehr.example/style.json",
        "fhirContext": [{"reference": "DocumentReference/d-1"}],
    }  # fmt: skip
    answer = await mint(
        exchange, host, app, browser, **context, purpose_of_use="P-CARE", reason="Six-week check"
    )
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    said = answer.json()
    assert said["expires_in"] == 300
    where = dict(parse_qsl(urlsplit(said["launch_url"]).query))
    assert where == {"iss": exchange.settings.fhir_base, "launch": said["launch"]}
    assert somebody["id"] not in said["launch_url"]

    page = await browser.begin(app, EHR, launch=where["launch"], aud=where["iss"])
    assert somebody["name"][0]["family"] in page.text
    made = (await browser.redeem(app, await browser.approve(page))).json()
    assert {k: made[k] for k in context} == context
    assert made["scope"] == EHR

    introspected = await exchange.http.post(
        "/auth/introspect", data={"token": made["access_token"]},
        headers={"Authorization": f"Bearer {host}"},
    )  # fmt: skip
    token = introspected.json()
    assert token["active"] is True
    assert {k: token[k] for k in context} == context
    assert token["extensions"]["ihe_iua"]["person_id"] == somebody["id"]
    assert token["extensions"]["ihe_iua"]["purpose_of_use"][0]["code"] == "P-CARE"
    assert token[f"{exchange.settings.issuer}/claims/reason"] == "Six-week check"
    again = (await browser.refresh(app, made["refresh_token"])).json()
    assert {k: again[k] for k in context} == context


async def test_the_token_reaches_the_record_at_the_fhir_base(
    exchange: Exchange, host: str, app: App, browser: Browser, somebody: dict[str, Any]
) -> None:
    launch = await handle(exchange, host, app, browser, patient=somebody["id"])
    made = await browser.tokens(app, EHR, launch=launch)
    bearer = {"Authorization": f"Bearer {made['access_token']}"}
    answer = await exchange.http.get(f"/fhir/Patient/{somebody['id']}", headers=bearer)
    assert answer.status_code == 200, answer.text


async def test_a_handle_opens_one_app_once(
    exchange: Exchange, host: str, app: App, browser: Browser, somebody: dict[str, Any]
) -> None:
    launch = await handle(exchange, host, app, browser, patient=somebody["id"])
    first = await browser.begin(app, EHR, launch=launch)
    second = await browser.begin(app, EHR, launch=launch)
    answers = await asyncio.gather(
        *(browser.press(page, "approve", **{"0": "y", "3": "y"}) for page in (first, second))
    )
    outcomes = sorted(told(a).get("error", "code") for a in answers)
    assert outcomes == ["code", "invalid_request"]
    late = await browser.begin(app, EHR, launch=launch)
    assert told(late)["error"] == "invalid_request"


async def test_a_handle_is_for_its_app_and_its_user_only(
    exchange: Exchange, host: str, app: App, browser: Browser, somebody: dict[str, Any]
) -> None:
    other_app = await an_app(exchange.settings, exchange.mongo)
    other = await a_browser(exchange.http, exchange.settings, exchange.mongo)
    launch = await handle(exchange, host, app, browser, patient=somebody["id"])
    assert told(await browser.begin(other_app, EHR, launch=launch))["error"] == "invalid_request"
    assert told(await other.begin(app, EHR, launch=launch))["error"] == "invalid_request"
    assert told(await browser.begin(app, EHR, launch="made-up"))["error"] == "invalid_request"
    assert (await browser.begin(app, EHR, launch=launch)).status_code == 200  # nothing was spent


async def test_a_handle_is_good_for_five_minutes(
    exchange: Exchange, host: str, app: App, browser: Browser, somebody: dict[str, Any]
) -> None:
    launch = await handle(exchange, host, app, browser, patient=somebody["id"])
    table = exchange.mongo.table("auth", "launches")
    await table.update({"client_id": app.id}, {"$set": {"until": 1.0}}, many=True)
    assert told(await browser.begin(app, EHR, launch=launch))["error"] == "invalid_request"


async def test_a_launch_for_another_purpose_wants_a_sign_in_for_it(
    exchange: Exchange, host: str, app: App, browser: Browser, somebody: dict[str, Any]
) -> None:
    launch = await handle(
        exchange, host, app, browser, patient=somebody["id"], purpose_of_use="P-SAFE-C"
    )
    answer = await browser.begin(app, EHR, launch=launch)
    assert "/auth/sign-in?" in answer.headers["location"]
    id_ = answer.headers["location"].rpartition("=")[2]
    assert browser.session is not None
    await browser.sign_in(person=browser.session.person, purpose="P-SAFE-C")
    page = await browser.get(f"/auth/authorize/{id_}")
    assert "Safeguarding a child" in page.text


async def test_without_a_patient_in_the_launch_patient_scopes_need_a_choice(
    exchange: Exchange, host: str, app: App, browser: Browser, somebody: dict[str, Any]
) -> None:
    launch = await handle(exchange, host, app, browser, intent="summary")
    page = await browser.begin(app, EHR, launch=launch)
    assert "Whose record" in page.text
    approval = await browser.press(page, "choose", patient=somebody["id"])
    made = (await browser.redeem(app, await browser.approve(approval))).json()
    assert (made["patient"], made["intent"]) == (somebody["id"], "summary")
    assert made["need_patient_banner"] is True


@pytest.mark.parametrize(
    ("more", "member"),
    [
        ({"client_id": "nobody"}, "client_id"),
        ({"user": "nobody"}, "user"),
        ({"user": None}, "user"),
        ({"patient": "nobody"}, "patient"),
        ({"patient": 7}, "patient"),
        ({"encounter": "a b"}, "encounter"),
        ({"purpose_of_use": "P-NONE"}, "purpose_of_use"),
        ({"reason": "two\nlines"}, "reason"),
        ({"need_patient_banner": "yes"}, "need_patient_banner"),
        ({"smart_style_url": "javascript:x"}, "smart_style_url"),
        ({"fhirContext": "x"}, "fhirContext"),
        ({"fhirContext": ["DocumentReference/1"]}, "fhirContext[0]"),
        ({"fhirContext": [{"reference": "Patient/1"}]}, "fhirContext[0]"),
        ({"fhirContext": [{"reference": "https://x.example/A/1"}]}, "fhirContext[0]"),
        ({"fhirContext": [{"role": "x"}]}, "fhirContext[0]"),
        ({"fhirContext": [{"reference": "List/1", "role": ""}]}, "fhirContext[0]"),
        ({"colour": "blue"}, "colour"),
    ],
)
async def test_each_mistake_of_a_host_is_told_with_its_place(
    exchange: Exchange, host: str, app: App, browser: Browser, more: dict[str, Any], member: str
) -> None:
    answer = await mint(exchange, host, app, browser, **more)
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_request"
    assert [issue["member"] for issue in answer.json()["issues"]] == [member]


async def test_all_mistakes_are_told_at_once(
    exchange: Exchange, host: str, app: App, browser: Browser
) -> None:
    answer = await mint(exchange, host, app, browser, user="x", patient=1, intent="")
    assert len(answer.json()["issues"]) == 3


async def test_only_a_host_mints(exchange: Exchange, app: App, browser: Browser) -> None:
    for headers, status in (
        ({}, 401),
        ({"Authorization": "Bearer made-up"}, 401),
        ({"Authorization": "Basic eDp5"}, 401),
    ):
        answer = await exchange.http.post("/auth/launches", json={}, headers=headers)
        assert answer.status_code == status
        assert answer.headers["www-authenticate"].startswith("Bearer")
    await exchange.register("other-system", "system/*.rs")
    token = await exchange.token("other-system", "system/*.rs")
    answer = await mint(exchange, token, app, browser)
    assert answer.status_code == 403
    assert "launch-mint" in answer.headers["www-authenticate"]


# -- standalone ------------------------------------------------------------------------------------


async def test_a_person_chooses_whose_record_an_app_opens(
    exchange: Exchange, app: App, browser: Browser, somebody: dict[str, Any]
) -> None:
    page = await browser.begin(app, ALONE)
    assert "Whose record do you want to open?" in page.text
    number = next(i["value"] for i in somebody["identifier"] if "nhs-number" in i["system"])
    found = await browser.press(page, "find", number=f"{number[:3]} {number[3:6]} {number[6:]}")
    assert found.status_code == 200
    assert somebody["name"][0]["family"] in found.text
    assert number not in str(found.request.url)
    approval = await browser.press(found, "choose", patient=somebody["id"])
    assert "Allow Growth Charts" in approval.text
    made = (await browser.redeem(app, await browser.approve(approval))).json()
    assert made["patient"] == somebody["id"]
    assert made["need_patient_banner"] is True
    assert "encounter" not in made


async def test_the_search_is_by_name_and_birth_date_too(
    exchange: Exchange, app: App, browser: Browser, somebody: dict[str, Any]
) -> None:
    page = await browser.begin(app, ALONE)
    family = somebody["name"][0]["family"]
    found = await browser.press(page, "find", family=family, birthdate="3 2 1980")
    assert "1 person matches" in found.text
    nobody = await browser.press(page, "find", family="Nobodyatall")
    assert "Nobody matches" in nobody.text
    wrong = await browser.press(page, "find", birthdate="31 2 1980")
    assert wrong.status_code == 400
    assert "There is a problem" in wrong.text


async def test_nobody_is_chosen_whom_the_person_may_not_see(
    exchange: Exchange, app: App, browser: Browser
) -> None:
    page = await browser.begin(app, ALONE)
    for id_ in ("nobody", "", "../x", "{$ne: 1}"):
        answer = await browser.press(page, "choose", patient=id_)
        assert answer.status_code == 400
        assert "You cannot choose this person" in answer.text


async def test_a_choice_is_gone_with_the_sign_in_it_was_made_in(
    exchange: Exchange, app: App, browser: Browser, somebody: dict[str, Any]
) -> None:
    page = await browser.begin(app, ALONE)
    approval = await browser.press(page, "choose", patient=somebody["id"])
    assert "Allow Growth Charts" in approval.text
    await browser.sign_in()
    assert "Whose record" in (await browser.get(str(approval.request.url))).text


async def test_a_person_may_go_back_without_a_choice(app: App, browser: Browser) -> None:
    page = await browser.begin(app, ALONE)
    assert told(await browser.press(page, "refuse"))["error"] == "access_denied"


async def test_the_search_is_audited_with_everyone_it_showed(
    exchange: Exchange, app: App, browser: Browser, somebody: dict[str, Any]
) -> None:
    page = await browser.begin(app, ALONE)
    await browser.press(page, "find", family=somebody["name"][0]["family"])
    assert browser.session is not None
    rows = await exchange.mongo.table("audit", "events").many({"b": {"$exists": True}}, {"b": 1})
    told_of = [bytes(row["b"]).decode() for row in rows]
    mine = [t for t in told_of if "ITI-78" in t and browser.session.person in t]
    assert any(f"Patient/{somebody['id']}" in t for t in mine), len(told_of)


async def test_the_form_of_a_choice_needs_the_browsers_token(
    app: App, browser: Browser, somebody: dict[str, Any]
) -> None:
    page = await browser.begin(app, ALONE)
    assert csrf(page)
    answer = await browser.post(
        str(page.request.url), {"do": "choose", "patient": somebody["id"], "csrf": "x"}
    )
    assert answer.status_code == 403


async def test_a_launch_that_is_too_large_is_told_so(
    exchange: Exchange, host: str, app: App, browser: Browser
) -> None:
    answer = await mint(exchange, host, app, browser, reason="x" * 70_000)
    assert answer.status_code == 413
    assert "longer than 65536 bytes" in answer.json()["error_description"]
