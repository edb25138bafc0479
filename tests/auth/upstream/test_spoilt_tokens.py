"""Id_tokens that are not what they must be sign nobody in."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.auth.authority import Server
from tests.auth.people.browsers import Browser, an_appointment
from tests.auth.upstream.arriving import linked, signed_in, told
from tests.auth.upstream.conftest import OURS
from tests.auth.upstream.elsewhere import Elsewhere, back, forged, go

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("name", ["cis2", "council"])
@pytest.mark.parametrize("wrong", sorted(forged(Elsewhere("cis2", "RS256", OURS))))
async def test_a_spoilt_id_token_signs_nobody_in(
    server: Server, browser: Browser, cis2: Elsewhere, council: Elsewhere, name: str, wrong: str
) -> None:
    there = {"cis2": cis2, "council": council}[name]
    await linked(server, there, an_appointment("R-HV"), an_appointment("R-CSW", "352"))
    asked = await go(browser, there)
    forged(there)[wrong]()
    server.ledger.events.clear()
    answer = await back(browser, there, asked)
    assert (answer.status_code, browser.title[:21]) == (400, "You are not signed in"), wrong
    assert await signed_in(server, browser) is None
    assert "failed:" in told(server)
    for hidden in (asked["state"], asked["nonce"], there.access, there.forms[-1]["code"]):
        assert hidden not in str(server.ledger.events)
        assert hidden not in answer.text


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("cis2", {"acr": "AAL1_USERPASS"}),
        ("cis2", {"acr": None}),
        ("cis2", {"auth_time": None}),
        ("cis2", {"auth_time": "now"}),
        ("cis2", {"auth_time": int(time.time()) - 3600}),
        ("cis2", {"auth_time": int(time.time()) + 3600}),
        ("nhs_login", {"vot": "P5.Cp.Cd"}),
        ("nhs_login", {"vot": "P9.Cp"}),
        ("nhs_login", {"vot": None}),
        ("nhs_login", {"vot": "P9.P0.Cp.Cd"}),
    ],
)
async def test_a_sign_in_that_is_old_or_weaker_than_asked_for_is_refused(
    server: Server, browser: Browser, cis2: Elsewhere, nhs_login: Elsewhere, name: str,
    spoil: dict[str, Any],
) -> None:  # fmt: skip
    there = {"cis2": cis2, "nhs_login": nhs_login}[name]
    await linked(server, there)
    there.spoil |= spoil
    await back(browser, there, await go(browser, there))
    assert browser.answer.status_code == 400
    assert await signed_in(server, browser) is None
