"""The pages of a request: who sees which, what their forms can do, and what they cannot."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
import pytest_asyncio

from auth.authorize.picker import described
from tests.auth.authority import Server
from tests.auth.authorize.browser import SCOPE, App, Browser, a_browser, an_app, csrf, told
from tests.auth.authorize.test_code import introspected

HL7 = "http://terminology.hl7.org/CodeSystem"
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def browser(server: Server) -> Browser:
    return await a_browser(server.http, server.settings, server.mongo)


@pytest_asyncio.fixture(loop_scope="module")
async def stranger(server: Server) -> Browser:
    made = await a_browser(server.http, server.settings, server.mongo)
    made.jar.clear()
    return made


@pytest_asyncio.fixture(loop_scope="module")
async def app(server: Server) -> App:
    return await an_app(server.settings, server.mongo)


async def test_who_is_not_signed_in_goes_to_sign_in_and_comes_back(
    server: Server, stranger: Browser, app: App
) -> None:
    answer = await stranger.begin(app, login_hint="ada")
    assert answer.status_code == 303
    where = answer.headers["location"]
    found = re.fullmatch(
        re.escape(server.settings.issuer) + r"/sign-in\?continue=([\w-]{32})", where
    )
    assert found, where
    waiting = await server.authority.requests.get(found[1], server.authority.clock())
    assert waiting is not None
    assert waiting.login_hint == "ada"
    await stranger.sign_in()
    page = await stranger.get(f"/auth/authorize/{found[1]}")
    assert (await stranger.redeem(app, await stranger.approve(page))).status_code == 200


async def test_the_page_says_what_is_asked_by_whom_and_for_how_long(
    browser: Browser, app: App
) -> None:
    page = await browser.begin(app, SCOPE)
    for words in (
        "Growth Charts", "Example Health", "Read documents", "Health visitor",
        "Northern Care Alliance", "Direct health or adult-social care", "at most 90 days",
    ):  # fmt: skip
        assert words in page.text, words


async def test_no_page_can_be_framed_stored_or_told_of(browser: Browser, app: App) -> None:
    for page in (await browser.begin(app), await browser.get("/auth/apps"),
                 await browser.get("/auth/authorize")):  # fmt: skip
        policy = page.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert page.headers["x-frame-options"] == "DENY"
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in page.headers
        assert "<script>" not in page.text
    redirected = await browser.get("/auth/authorize", params=browser.asking(app))
    assert redirected.status_code == 303
    assert redirected.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("token", ["", "0" * 64, None])
async def test_a_form_without_this_browsers_token_does_nothing(
    server: Server, browser: Browser, app: App, token: str | None
) -> None:
    page = await browser.begin(app)
    data = {"do": "approve", "0": "yes"} | ({"csrf": token} if token is not None else {})
    answer = await browser.post(str(page.request.url), data)
    assert answer.status_code == 403
    assert not await server.authority.grants.of(_person(browser), server.authority.clock())


async def test_another_persons_token_is_no_good(server: Server, browser: Browser, app: App) -> None:
    attacker = await a_browser(server.http, server.settings, server.mongo)
    page = await browser.begin(app)
    theirs = await attacker.begin(app)
    answer = await browser.post(
        str(page.request.url), {"csrf": csrf(theirs), "do": "approve", "0": "yes"}
    )
    assert answer.status_code == 403


async def test_a_form_from_another_site_does_nothing(browser: Browser, app: App) -> None:
    page = await browser.begin(app)
    for header in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = await browser.http.post(
            str(page.request.url), data={"csrf": csrf(page), "do": "approve", "0": "yes"},
            headers={**browser._headers(), **header},
        )  # fmt: skip
        assert answer.status_code == 403


async def test_a_request_that_another_person_takes_up_is_theirs_alone(
    server: Server, browser: Browser, app: App
) -> None:
    page = await browser.begin(app)
    other = await a_browser(server.http, server.settings, server.mongo)
    await other.get(str(page.request.url))
    # The first person's form is shown again, and approves nothing the second time round either.
    answer = await browser.press(page, "approve", **{"0": "yes"})
    assert answer.status_code == 200
    assert not await server.authority.grants.of(_person(other), server.authority.clock())


async def test_nothing_that_is_posted_adds_to_what_was_asked(
    server: Server, browser: Browser, app: App
) -> None:
    page = await browser.begin(app, "openid user/DocumentReference.rs")
    answer = await browser.press(
        page, "approve",
        **{"1": "yes", "scope": "user/*.cruds", "99": "yes", "redirect_uri": "https://evil.example/",
           "client_id": "else", "patient": "x"},
    )  # fmt: skip
    assert answer.headers["location"].startswith("https://app.example/callback?")
    made = (await browser.redeem(app, told(answer)["code"])).json()
    assert made["scope"] == "user/DocumentReference.rs"
    assert "patient" not in made
    assert "id_token" not in made


async def test_a_person_may_leave_parts_of_a_type(
    server: Server, browser: Browser, app: App
) -> None:
    page = await browser.begin(app, "openid user/Observation.rs user/Condition.rs user/Patient.rs")
    assert "Only laboratory results" in page.text
    answer = await browser.press(page, "approve", **{"0": "y", "1.0": "y", "2.1": "y", "3": "y"})
    granted = (await browser.redeem(app, told(answer)["code"])).json()["scope"].split()
    assert granted == [
        "openid",
        f"user/Observation.rs?category={HL7}/observation-category|laboratory",
        f"user/Condition.rs?category={HL7}/condition-category|problem-list-item",
        "user/Patient.rs",
    ]


async def test_documents_are_narrowed_to_the_classes_of_the_community(
    browser: Browser, app: App
) -> None:
    page = await browser.begin(app, "user/DocumentReference.rs")
    assert "Only Assessment" in page.text
    answer = await browser.press(page, "approve", **{"0.0": "y"})
    scope = (await browser.redeem(app, told(answer)["code"])).json()["scope"]
    assert scope.startswith("user/DocumentReference.rs?category=http")
    assert "document-class|" in scope


async def test_with_nothing_ticked_the_page_asks_again(browser: Browser, app: App) -> None:
    page = await browser.begin(app)
    answer = await browser.press(page, "approve")
    assert answer.status_code == 400
    assert "There is a problem" in answer.text


async def test_a_no_goes_back_as_access_denied(server: Server, browser: Browser, app: App) -> None:
    page = await browser.begin(app)
    said = told(await browser.press(page, "refuse"))
    assert said["error"] == "access_denied"
    assert said["state"] == browser.state
    assert said["iss"] == server.settings.issuer
    assert "code" not in said
    assert (await browser.get(str(page.request.url))).status_code == 404


async def test_a_request_is_answered_once(browser: Browser, app: App) -> None:
    page = await browser.begin(app)
    first = await browser.press(page, "approve", **{"0": "y"})
    assert "code" in told(first)
    again = await browser.press(page, "approve", **{"0": "y"})
    assert again.status_code == 404


async def test_mistakes_go_back_with_state_and_issuer(
    server: Server, browser: Browser, app: App
) -> None:
    answer = await browser.get(
        "/auth/authorize",
        params=browser.asking(app, aud="https://inferno.healthit.gov/invalid_aud"),
    )
    said = told(answer)
    assert said["error"] == "invalid_request"
    assert said["state"] == browser.state
    assert said["iss"] == server.settings.issuer


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "nobody"},
        {"client_id": None},
        {"redirect_uri": None},
        {"redirect_uri": "https://app.example/callback/"},
        {"redirect_uri": "https://evil.example/callback"},
        {"redirect_uri": "https://app.example/callback\r\nX-Injected: 1"},
    ],
)
async def test_without_a_registered_place_the_browser_stays_here(
    browser: Browser, app: App, changes: Mapping[str, Any]
) -> None:
    answer = await browser.get("/auth/authorize", params=browser.asking(app, **changes))
    assert answer.status_code == 400
    assert "location" not in answer.headers
    assert "evil" not in answer.text
    assert "x-injected" not in answer.headers


async def test_a_repeated_parameter_is_told_to_the_app_by_post_too(
    browser: Browser, app: App
) -> None:
    pairs = [*browser.asking(app).items(), ("scope", "openid")]
    answer = await browser.http.post(
        "/auth/authorize", content="&".join(f"{k}={v}" for k, v in _quoted(pairs)),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )  # fmt: skip
    assert told(answer)["error"] == "invalid_request"


async def test_what_an_app_sends_is_escaped_and_stays_on_one_line(
    server: Server, browser: Browser
) -> None:
    app = await an_app(server.settings, server.mongo, name="<script>alert(1)</script>")
    state = "a b&c=\"'<x>%0d%0a"
    page = await browser.begin(app, state=state)
    assert "<script>alert" not in page.text
    answer = await browser.press(page, "approve", **{"0": "y"})
    assert told(answer)["state"] == state
    assert "\n" not in answer.headers["location"]


# -- prompt and max_age ----------------------------------------------------------------------------


async def test_prompt_none_never_shows_a_page(
    server: Server, browser: Browser, stranger: Browser
) -> None:
    app = await an_app(server.settings, server.mongo, "symmetric")
    assert told(await stranger.begin(app, prompt="none"))["error"] == "login_required"
    assert told(await browser.begin(app, prompt="none"))["error"] == "consent_required"
    wants = await browser.begin(app, "openid patient/*.rs launch/patient", prompt="none")
    assert told(wants)["error"] == "interaction_required"
    await browser.code(app)
    said = told(await browser.begin(app, prompt="none"))
    assert (await browser.redeem(app, said["code"])).status_code == 200


async def test_prompt_login_wants_a_new_sign_in(server: Server, browser: Browser, app: App) -> None:
    answer = await browser.begin(app, prompt="login")
    where = answer.headers["location"]
    assert "/auth/sign-in?continue=" in where
    id_ = where.rpartition("=")[2]
    # The sign-in there was does not do, however often it comes back.
    assert "/sign-in?" in (await browser.get(f"/auth/authorize/{id_}")).headers["location"]
    await browser.sign_in(person=_person(browser))
    page = await browser.get(f"/auth/authorize/{id_}")
    assert page.status_code == 200
    assert "Allow Growth Charts" in page.text


async def test_max_age_counts_from_the_last_proof(
    server: Server, browser: Browser, app: App
) -> None:
    now = int(server.authority.clock())
    await browser.sign_in(auth_time=now - 100)
    assert (await browser.begin(app, max_age="200")).status_code == 200
    answer = await browser.begin(app, max_age="50")
    assert "/auth/sign-in?" in answer.headers["location"]
    assert told(await browser.begin(app, max_age="50", prompt="none"))["error"] == "login_required"
    id_ = answer.headers["location"].rpartition("=")[2]
    await browser.sign_in(person=_person(browser), auth_time=now)
    page = await browser.get(f"/auth/authorize/{id_}")
    made = (await browser.redeem(app, await browser.approve(page))).json()
    assert (await introspected(server, made["access_token"]))["auth_time"] == now


async def test_max_age_zero_always_wants_a_new_sign_in(browser: Browser, app: App) -> None:
    answer = await browser.begin(app, max_age="0")
    id_ = answer.headers["location"].rpartition("=")[2]
    await browser.sign_in(person=_person(browser))
    assert (await browser.get(f"/auth/authorize/{id_}")).status_code == 200


# -- what is remembered ----------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "remembered"), [("symmetric", True), ("public", False)])
async def test_only_apps_that_prove_themselves_are_remembered(
    server: Server, browser: Browser, kind: str, remembered: bool
) -> None:
    app = await an_app(server.settings, server.mongo, kind)
    await browser.code(app)
    again = await browser.begin(app)
    assert (again.status_code == 303) is remembered
    if remembered:
        assert (await browser.redeem(app, told(again)["code"])).status_code == 200
        assert (await browser.begin(app, prompt="consent")).status_code == 200
        assert (await browser.begin(app, SCOPE + " ITI-67")).status_code == 200  # more than before
        await browser.sign_in(person=_person(browser), role="R-SN")
        assert (await browser.begin(app)).status_code == 200  # in another role


async def test_an_app_is_limited_to_its_purposes_and_organisations(
    server: Server, browser: Browser
) -> None:
    every: list[dict[str, Any]] = [{"purposes": ("P-LEGAL",)}, {"organisations": ("R0A",)}]
    for limits in every:
        app = await an_app(server.settings, server.mongo, **limits)
        assert told(await browser.begin(app))["error"] == "access_denied"


# -- what I have allowed ---------------------------------------------------------------------------


async def test_a_person_sees_and_ends_what_they_allowed(
    server: Server, browser: Browser, stranger: Browser, app: App
) -> None:
    assert "/sign-in" in (await stranger.get("/auth/apps")).headers["location"]
    made = await browser.tokens(app)
    page = await browser.get("/auth/apps")
    assert "Growth Charts" in page.text
    assert "read documents" in page.text
    other = await a_browser(server.http, server.settings, server.mongo)
    theirs = await other.get("/auth/apps")
    assert "Growth Charts" not in theirs.text
    await other.tokens(app)
    await other.post("/auth/apps", {"csrf": csrf(await other.get("/auth/apps")), "app": app.id})
    assert (await introspected(server, made["access_token"]))["active"]  # only their own ended
    answer = await browser.post("/auth/apps", {"csrf": csrf(page), "app": app.id})
    assert answer.status_code == 303
    assert not (await introspected(server, made["access_token"]))["active"]
    assert (await browser.refresh(app, made["refresh_token"])).status_code == 400
    assert "You have allowed no app" in (await browser.get("/auth/apps")).text


# -- pages of other origins ------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/auth/token", "/auth/revoke"])
async def test_pages_of_registered_origins_may_read_answers_and_refusals(
    server: Server, app: App, path: str
) -> None:
    ours = {"Origin": "https://app.example"}
    for data in ({}, {"grant_type": "refresh_token", "refresh_token": "x", "token": "x"}):
        answer = await server.http.post(path, data=data, headers=ours)
        assert answer.status_code in (200, 400, 401)
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert answer.headers["vary"] == "Origin"
        assert "access-control-allow-credentials" not in answer.headers
    ask = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    preflight = await server.http.options(path, headers=ours | ask)
    assert preflight.status_code == 204
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    for origin in ("https://evil.example", "https://app.example.evil.example", "null"):
        strange = await server.http.options(path, headers={"Origin": origin} | ask)
        assert "access-control-allow-origin" not in strange.headers
        answer = await server.http.post(path, data={}, headers={"Origin": origin})
        assert "access-control-allow-origin" not in answer.headers


def _person(browser: Browser) -> str:
    assert browser.session is not None
    return browser.session.person


def _quoted(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    from urllib.parse import quote

    return [(k, quote(v)) for k, v in pairs]


@pytest.mark.parametrize(
    ("birth_date", "told"),
    [("1980-01-02", "2 January 1980"), ("1980-01", "January 1980"), ("1980", "1980"), ("", "")],
)
async def test_a_birth_date_is_told_as_people_write_it(birth_date: str, told: str) -> None:
    assert described({"id": "x", "birthDate": birth_date})["born"] == told
