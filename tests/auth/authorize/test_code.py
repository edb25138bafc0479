"""From an authorization request to a code and tokens, for each kind of app."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
import pytest_asyncio
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.auth.authority import Server
from tests.auth.authorize.browser import SCOPE, Browser, a_browser, an_app, told

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def browser(server: Server) -> Browser:
    return await a_browser(server.http, server.settings, server.mongo)


async def introspected(server: Server, token: str) -> dict[str, Any]:
    try:
        caller = await server.authority.verifier.caller(token)
    except Exception:
        return {"active": False}
    return {"active": True, **caller.claims}


@pytest.mark.parametrize("kind", ["public", "symmetric", "asymmetric"])
async def test_an_app_of_every_kind_gets_tokens(
    server: Server, browser: Browser, kind: str
) -> None:
    app = await an_app(server.settings, server.mongo, kind)
    answer = await browser.redeem(app, await browser.code(app))
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    made = answer.json()
    assert made["token_type"] == "Bearer"
    assert made["expires_in"] == 900
    assert made["scope"] == SCOPE
    assert made["access_token"].startswith("to_")
    assert made["refresh_token"].startswith("tr_")
    again = await browser.refresh(app, made["refresh_token"])
    assert again.status_code == 200, again.text
    assert again.json()["refresh_token"] != made["refresh_token"]


async def test_the_answer_carries_code_state_and_issuer(server: Server, browser: Browser) -> None:
    app = await an_app(server.settings, server.mongo)
    page = await browser.begin(app)
    answer = await browser.press(page, "approve", **{"0": "yes", "2": "yes"})
    said = told(answer)
    assert said.keys() == {"code", "state", "iss"}
    assert said["state"] == browser.state
    assert said["iss"] == server.settings.issuer
    assert answer.headers["location"].startswith("https://app.example/callback?")


async def test_a_post_is_as_good_as_a_get(server: Server, browser: Browser) -> None:
    app = await an_app(server.settings, server.mongo)
    page = await browser.follow(await browser.post("/auth/authorize", browser.asking(app)))
    assert (await browser.redeem(app, await browser.approve(page))).status_code == 200


async def test_the_id_token_says_who_signed_in(server: Server, browser: Browser) -> None:
    app = await an_app(server.settings, server.mongo)
    made = await browser.tokens(app)
    keys = KeySet.import_key_set((await server.http.get("/auth/jwks")).json())
    token = jwt.decode(made["id_token"], keys, algorithms=["RS256"])
    session = browser.session
    assert session is not None
    assert token.header["kid"]
    assert token.claims["iss"] == server.settings.issuer
    assert token.claims["sub"] == session.person
    assert token.claims["aud"] == app.id
    assert token.claims["nonce"] == "n-1"
    assert token.claims["auth_time"] == session.auth_time
    assert token.claims["sid"] == session.id
    assert token.claims["amr"] == ["pwd", "otp", "mfa"]
    assert token.claims["acr"] == "AAL2"
    assert token.claims["fhirUser"] == f"{server.settings.fhir_base}/Practitioner/{session.person}"


async def test_the_id_token_can_be_read_with_plain_base64(server: Server, browser: Browser) -> None:
    app = await an_app(server.settings, server.mongo)
    for filler in ("", "a", "ab"):
        made = await browser.tokens(app, nonce=filler + "~?>~?>~~~???>>>\u00e9")
        payload = made["id_token"].split(".")[1]
        assert "-" not in payload
        assert "_" not in payload
        said = json.loads(base64.b64decode(payload + "=" * (-len(payload) % 4)))
        assert said["nonce"] == filler + "~?>~?>~~~???>>>\u00e9"


async def test_id_tokens_verify_while_the_key_is_changed(server: Server, browser: Browser) -> None:
    app = await an_app(server.settings, server.mongo)
    before = (await browser.tokens(app))["id_token"]
    await server.authority.keys.rotate()
    after = (await browser.tokens(app))["id_token"]
    keys = KeySet.import_key_set((await server.http.get("/auth/jwks")).json())
    for token in (before, after):
        assert jwt.decode(token, keys, algorithms=["RS256"]).claims["aud"] == app.id


async def test_the_token_says_who_in_which_role_and_for_what(
    server: Server, browser: Browser
) -> None:
    app = await an_app(server.settings, server.mongo)
    made = await browser.tokens(app)
    said = await introspected(server, made["access_token"])
    assert browser.session is not None
    assert said["sub"] == browser.session.person
    assert said["iss"] == server.settings.issuer
    assert said["client_id"] == app.id
    assert said["scope"] == made["scope"]
    told_of = said["extensions"]["ihe_iua"]
    assert told_of["subject_name"] == "Dr Ada Achebe"
    assert told_of["subject_role"][0]["code"] == "R-HV"
    assert told_of["purpose_of_use"][0]["code"] == "P-CARE"
    assert told_of["subject_organization_id"].endswith("/RM3")
    assert said["fhirUser"].endswith(browser.session.person)


async def test_a_code_that_is_used_twice_ends_everything_that_came_of_it(
    server: Server, browser: Browser
) -> None:
    app = await an_app(server.settings, server.mongo)
    code = await browser.code(app)
    made = (await browser.redeem(app, code)).json()
    assert (await introspected(server, made["access_token"]))["active"]
    again = await browser.redeem(app, code)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert not (await introspected(server, made["access_token"]))["active"]
    refreshed = await browser.refresh(app, made["refresh_token"])
    assert (refreshed.status_code, refreshed.json()["error"]) == (400, "invalid_grant")


async def test_of_two_that_race_for_a_code_at_most_one_gets_tokens_and_none_keeps_them(
    server: Server, other: Server, browser: Browser
) -> None:
    app = await an_app(server.settings, server.mongo)
    elsewhere = Browser(
        other.http, other.settings, browser.sessions, browser.people, verifier=browser.verifier
    )
    for _ in range(5):
        code = await browser.code(app)
        answers = await asyncio.gather(browser.redeem(app, code), elsewhere.redeem(app, code))
        good = [a.json() for a in answers if a.status_code == 200]
        assert len(good) <= 1
        assert all(a.json()["error"] == "invalid_grant" for a in answers if a.status_code != 200)
        for made in good:
            await server.authority.revocations.here.refresh()
            assert not (await introspected(server, made["access_token"]))["active"]
            assert (await browser.refresh(app, made["refresh_token"])).status_code == 400


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_verifier": None}, "invalid_request"),
        ({"code_verifier": ""}, "invalid_request"),
        ({"code_verifier": "w" * 64}, "invalid_grant"),
        ({"code_verifier": "short"}, "invalid_request"),
        ({"redirect_uri": "https://app.example/callback/"}, "invalid_grant"),
        ({"redirect_uri": None}, "invalid_request"),
        ({"code": "made-up"}, "invalid_grant"),
        ({"code": None}, "invalid_request"),
        ({"grant_type": "not_a_grant_type"}, "unsupported_grant_type"),
    ],
)
async def test_a_code_is_given_for_the_right_request_only(
    server: Server, browser: Browser, changes: dict[str, str | None], error: str
) -> None:
    app = await an_app(server.settings, server.mongo)
    answer = await browser.redeem(app, await browser.code(app), **changes)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


@pytest.mark.parametrize("kind", ["symmetric", "asymmetric"])
@pytest.mark.parametrize("verifier", [None, "w" * 64])
async def test_pkce_is_for_apps_with_a_proof_of_their_own_too(
    server: Server, browser: Browser, kind: str, verifier: str | None
) -> None:
    app = await an_app(server.settings, server.mongo, kind)
    answer = await browser.redeem(app, await browser.code(app), code_verifier=verifier)
    assert answer.status_code == 400


async def test_the_challenge_is_no_verifier(server: Server, browser: Browser) -> None:
    app = await an_app(server.settings, server.mongo)
    code = await browser.code(app)
    challenge = browser.asking(app)["code_challenge"]
    answer = await browser.redeem(app, code, code_verifier=challenge)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    # A wrong verifier burns the code: the right one comes too late.
    assert (await browser.redeem(app, code)).json()["error"] == "invalid_grant"


async def test_a_code_is_its_own_clients_only(server: Server, browser: Browser) -> None:
    app = await an_app(server.settings, server.mongo)
    other_app = await an_app(server.settings, server.mongo)
    code = await browser.code(app)
    stolen = await browser.redeem(other_app, code)
    assert (stolen.status_code, stolen.json()["error"]) == (400, "invalid_grant")
    assert (await browser.redeem(app, code)).status_code == 200


async def test_a_code_is_good_for_a_minute(server: Server, browser: Browser) -> None:
    app = await an_app(server.settings, server.mongo)
    code = await browser.code(app)
    await server.authority.codes._table.update({"used": None}, {"$set": {"until": 1.0}}, many=True)
    answer = await browser.redeem(app, code)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize("kind", ["symmetric", "asymmetric"])
async def test_a_confidential_app_must_prove_itself(
    server: Server, browser: Browser, kind: str
) -> None:
    app = await an_app(server.settings, server.mongo, kind)
    code = await browser.code(app)
    said = {
        "grant_type": "authorization_code", "code": code, "code_verifier": browser.verifier,
        "redirect_uri": app.client.redirect_uris[0], "client_id": app.id,
    }  # fmt: skip
    bare = await server.http.post("/auth/token", data=said)
    assert (bare.status_code, bare.json()["error"]) == (401, "invalid_client")
    posted = await server.http.post(
        "/auth/token", data={**said, "client_secret": app.secret or "x"}
    )
    assert (posted.status_code, posted.json()["error"]) == (401, "invalid_client")
    assert (await browser.redeem(app, code)).status_code == 200


async def test_a_wrong_secret_is_told_in_the_words_of_basic(
    server: Server, browser: Browser
) -> None:
    app = await an_app(server.settings, server.mongo, "symmetric")
    app.secret = "wrong"
    answer = await browser.redeem(app, await browser.code(app))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert answer.headers["www-authenticate"].startswith("Basic ")


async def test_no_row_holds_a_secret_that_opens_anything(server: Server, browser: Browser) -> None:
    app = await an_app(server.settings, server.mongo)
    code = await browser.code(app)
    made = (await browser.redeem(app, code)).json()
    for name in ("codes", "access_tokens", "refresh_tokens", "grants", "requests", "launches"):
        rows = str(await server.mongo.table("auth", name).many({}))
        for secret in (code, made["access_token"], made["refresh_token"], browser.verifier):
            assert secret not in rows


async def test_approval_code_and_token_are_audited_with_the_person(
    server: Server, browser: Browser
) -> None:
    app = await an_app(server.settings, server.mongo)
    server.ledger.events.clear()
    made = await browser.tokens(app)
    assert browser.session is not None
    told_of = json.dumps(server.ledger.events)
    assert len(server.ledger.events) == 3  # the approval, the request and the token
    assert told_of.count(f'"value": "{browser.session.person}"') == 3
    for secret in (made["access_token"], made["refresh_token"], browser.verifier):
        assert secret not in told_of
