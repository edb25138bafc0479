"""A provider ends sign-ins: a smartcard is pulled there, and nobody is signed in by it here any more."""

from __future__ import annotations

import secrets
import time
from typing import Any

import pytest
from joserfc.jwk import RSAKey

from tests.auth.authority import Server
from tests.auth.people.browsers import Browser, somebody
from tests.auth.upstream.arriving import choose, linked, signed_in, told
from tests.auth.upstream.elsewhere import LOGOUT_EVENT, Elsewhere, back, go, recorded

pytestmark = pytest.mark.asyncio(loop_scope="module")
SID = str(recorded("cis2", "id_token")["sid"])


async def post(server: Server, token: str, name: str = "cis2") -> int:
    answer = await server.http.post(f"/auth/upstream/{name}/logout", data={"logout_token": token})
    assert answer.headers["cache-control"] == "no-store"
    return answer.status_code


async def arrived(server: Server, there: Elsewhere, sid: str = SID) -> Browser:
    """Somebody who came from there and is signed in."""
    there.spoil["sid"] = sid
    made = Browser(server)
    await back(made, there, await go(made, there))
    await choose(made)
    assert await signed_in(server, made) is not None
    return made


async def test_a_pulled_smartcard_signs_out_and_what_hung_on_the_session_ends(
    server: Server, cis2: Elsewhere
) -> None:
    person = await linked(server, cis2)
    browser = await arrived(server, cis2)
    session = await signed_in(server, browser)
    assert session is not None
    server.ledger.events.clear()
    assert await post(server, cis2.logout_token(sid=SID)) == 200
    assert await signed_in(server, browser) is None
    ended = [row.id for row in await server.authority.revocations.since(time.time() - 60)]
    assert f"session:{session.id}" in ended
    assert "Signed out by the provider cis2." in told(server)
    assert person.id in str(server.ledger.events)


async def test_only_the_session_that_is_named_ends(server: Server, cis2: Elsewhere) -> None:
    person = await linked(server, cis2)
    one, two = await arrived(server, cis2, "one"), await arrived(server, cis2, "two")
    assert await post(server, cis2.logout_token(sid="one", sub=None)) == 200
    assert await signed_in(server, one) is None
    assert await signed_in(server, two) is not None
    assert await post(server, cis2.logout_token(sid="another")) == 200
    assert await signed_in(server, two) is not None
    assert await post(server, cis2.logout_token()) == 200  # all of the subject
    assert await signed_in(server, two) is None
    assert person.active


async def test_somebody_elses_sign_ins_and_those_made_here_go_on(
    server: Server, cis2: Elsewhere
) -> None:
    await linked(server, cis2)
    browser = await arrived(server, cis2)
    assert await post(server, cis2.logout_token(sub="somebody-else")) == 200
    assert await signed_in(server, browser) is not None
    here, mine = Browser(server), await somebody(server)
    await here.open("/auth/sign-in")
    await here.send(username=mine.person.username, password=mine.password)
    await choose(here)
    assert await post(server, cis2.logout_token()) == 200
    assert await signed_in(server, here) is not None


async def test_a_sign_in_that_is_still_under_way_ends_too(server: Server, cis2: Elsewhere) -> None:
    await linked(server, cis2)
    browser = Browser(server)
    await back(browser, cis2, await go(browser, cis2))
    assert await post(server, cis2.logout_token()) == 200
    await browser.follow()
    assert browser.answer.status_code == 400
    assert "Sign in again" in browser.text


async def test_an_arrival_that_was_ended_between_proof_and_role_opens_no_session(
    server: Server, cis2: Elsewhere
) -> None:
    await linked(server, cis2)
    browser = Browser(server)
    await back(browser, cis2, await go(browser, cis2))
    await browser.follow()
    # The logout comes after the page was shown; the attempt is gone with it.
    assert await post(server, cis2.logout_token()) == 200
    await browser.send(purpose="P-CARE")
    assert browser.answer.status_code == 400
    assert await signed_in(server, browser) is None


@pytest.mark.parametrize(
    ("changes", "header"),
    [
        ({"iss": "https://evil.example"}, {}),
        ({"aud": "somebody-else"}, {}),
        ({"iat": -3600}, {}),  # seconds from now
        ({"iat": None}, {}),
        ({"exp": -3600}, {}),
        ({"events": None}, {}),
        ({"events": {"other": {}}}, {}),
        ({"events": {LOGOUT_EVENT: "yes"}}, {}),
        ({"nonce": "x"}, {}),
        ({"jti": None}, {}),
        ({"sub": None}, {}),
        ({"sub": 5}, {}),
        ({"sid": ""}, {}),
        ({}, {"alg": "none"}),
        ({}, {"kid": "of-nobody"}),
        ({}, {"jku": "https://evil.example/jwks"}),
    ],
    ids=str,
)
async def test_a_token_that_is_no_logout_token_ends_nothing(
    server: Server, cis2: Elsewhere, changes: dict[str, Any], header: dict[str, Any]
) -> None:
    cis2.header |= header
    now = int(time.time())
    said = {k: now + v if k in ("iat", "exp") and v else v for k, v in changes.items()}
    token = cis2.logout_token(**said)
    assert await post(server, token) == 400
    assert "was refused" in told(server)


async def test_other_keys_other_kinds_and_nonsense_end_nothing(
    server: Server, cis2: Elsewhere
) -> None:
    await linked(server, cis2)
    browser = await arrived(server, cis2)
    good = cis2.logout_token()
    cis2.sign_with = RSAKey.generate_key(2048, {"kid": cis2.key.kid})
    bad = cis2.logout_token()
    cis2.sign_with = None
    for token in (bad, cis2.id_token(), "", "x.y.z", "x" * 100_000, secrets.token_hex(20)):
        assert await post(server, token) in (400, 413)
    assert (await server.http.post("/auth/upstream/cis2/logout")).status_code == 400
    assert (await server.http.get("/auth/upstream/cis2/logout")).status_code == 405
    assert await post(server, good, "nobody") == 404
    assert await signed_in(server, browser) is not None
    assert await post(server, good) == 200
    assert await signed_in(server, browser) is None
    assert await post(server, good) == 400  # it was used


async def test_one_providers_logout_token_is_not_anothers(
    server: Server, cis2: Elsewhere, council: Elsewhere
) -> None:
    await linked(server, cis2)
    browser = await arrived(server, cis2)
    council.subject = cis2.subject
    assert await post(server, cis2.logout_token(), "council") == 400
    assert await post(server, council.logout_token(), "council") == 200
    assert await signed_in(server, browser) is not None
