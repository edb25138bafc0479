"""Tokens that are bound to a key of their client, for clients that want it (RFC 9449 §5)."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import httpx
import pytest
import pytest_asyncio
from joserfc.jwk import ECKey

from tests.auth.authority import Server, a_backend, sign
from tests.auth.authorize.browser import App, Browser, a_browser, an_app
from tests.auth.authorize.test_code import introspected

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Holder:
    """The holder of a key, who proves it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.key = ECKey.generate_key("P-256", {"alg": "ES256"})

    def proof(self, **changes: Any) -> str:
        said = {
            "jti": str(uuid.uuid4()), "htm": "POST", "htu": f"{self.server.settings.issuer}/token",
            "iat": int(time.time()),
        } | changes  # fmt: skip
        jwk = {
            k: v
            for k, v in self.key.as_dict(private=False).items()
            if k in ("kty", "crv", "x", "y")
        }
        return sign({"alg": "ES256", "typ": "dpop+jwt", "jwk": jwk}, said, self.key)


@pytest_asyncio.fixture(loop_scope="module")
async def browser(server: Server) -> Browser:
    return await a_browser(server.http, server.settings, server.mongo)


@pytest_asyncio.fixture(loop_scope="module")
async def app(server: Server) -> App:
    return await an_app(server.settings, server.mongo)


async def ask(server: Server, app: App, proof: str | None, **form: str) -> httpx.Response:
    fields, headers = app.proof()
    headers = headers | ({"DPoP": proof} if proof is not None else {})
    return await server.http.post("/auth/token", data={**fields, **form}, headers=headers)


async def redeem(server: Server, browser: Browser, app: App, proof: str | None) -> httpx.Response:
    code = await browser.code(app)
    return await ask(
        server, app, proof, grant_type="authorization_code", code=code,
        code_verifier=browser.verifier, redirect_uri=app.client.redirect_uris[0],
    )  # fmt: skip


async def test_a_token_is_bound_to_the_key_that_was_proved(
    server: Server, browser: Browser, app: App
) -> None:
    holder = Holder(server)
    answer = await redeem(server, browser, app, holder.proof())
    assert answer.status_code == 200, answer.text
    made = answer.json()
    assert made["token_type"] == "DPoP"
    said = await introspected(server, made["access_token"])
    assert said["cnf"] == {"jkt": holder.key.thumbprint()}


async def test_a_public_apps_refresh_token_wants_the_same_key(
    server: Server, browser: Browser, app: App
) -> None:
    holder, thief = Holder(server), Holder(server)
    token = (await redeem(server, browser, app, holder.proof())).json()["refresh_token"]
    for proof in (None, thief.proof()):
        answer = await ask(server, app, proof, grant_type="refresh_token", refresh_token=token)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    again = await ask(server, app, holder.proof(), grant_type="refresh_token", refresh_token=token)
    assert again.status_code == 200, again.text
    assert again.json()["token_type"] == "DPoP"


async def test_a_bad_proof_is_refused_and_a_proof_counts_once(
    server: Server, other: Server, browser: Browser, app: App
) -> None:
    holder = Holder(server)
    for proof in (
        "x",
        holder.proof(htm="GET"),
        holder.proof(htu="https://else.example/token"),
        holder.proof(iat=int(time.time()) - 1000),
        holder.proof() + ", " + holder.proof(),
    ):
        answer = await redeem(server, browser, app, proof)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_dpop_proof")
        assert answer.headers["cache-control"] == "no-store"
    proof = holder.proof()
    assert (await redeem(server, browser, app, proof)).status_code == 200
    answer = await redeem(other, browser, app, proof)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_dpop_proof")


async def test_a_system_may_bind_its_token_too_and_cannot_show_it_as_bearer(
    server: Server,
) -> None:
    backend, holder = await a_backend(server), Holder(server)
    answer = await server.http.post(
        "/auth/token", data=backend.form(), headers={"DPoP": holder.proof()}
    )
    made = answer.json()
    assert made["token_type"] == "DPoP"
    shown = await server.http.post(
        "/auth/introspect", data={"token": made["access_token"]},
        headers={"Authorization": f"Bearer {made['access_token']}"},
    )  # fmt: skip
    assert shown.status_code == 401
    told = await server.http.post(
        "/auth/introspect", data={**_only_proof(backend), "token": made["access_token"]}
    )
    assert told.json()["token_type"] == "DPoP"
    assert "jkt" in json.dumps(told.json()["cnf"])


def _only_proof(backend: Any) -> dict[str, str]:
    return {k: v for k, v in backend.form().items() if k.startswith("client_assertion")}
