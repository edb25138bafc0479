"""ITI-102 and RFC 7009: asking about tokens, and taking them back."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.auth.authority import Backend, Server, a_backend, a_token, sign

INACTIVE = {"active": False}


async def ask(server: Server, token: str, asker: Backend, **changes: str | None) -> Any:
    form = asker.form(grant_type=None, scope=None, token=token, **changes)
    answer = await server.http.post("/auth/introspect", data=form)
    assert answer.headers["cache-control"] == "no-store"
    return answer


async def bearing(server: Server, token: str, bearer: str, **more: str) -> Any:
    return await server.http.post(
        "/auth/introspect",
        data={"token": token, **more},
        headers={"Authorization": f"Bearer {bearer}"},
    )


async def test_an_active_token_is_told_with_all_its_claims(server: Server) -> None:
    backend = await a_backend(server, organisation="R0A", role="R-HV")
    token = await a_token(server, backend, scope="ITI-67 system/Patient.r", purpose_of_use="P-CARE")
    caller = await server.authority.verifier.caller(token)
    told = (await ask(server, token, backend)).json()
    assert told == {"active": True, "token_type": "Bearer", **caller.claims}
    assert told["active"] is True
    assert isinstance(told["exp"], int)
    assert (told["client_id"], told["scope"]) == (backend.client_id, "ITI-67 system/Patient.r")
    assert told["extensions"]["ihe_iua"]["purpose_of_use"] == [{"code": "P-CARE"}]


async def test_a_resource_server_may_ask_about_every_token_with_its_own(server: Server) -> None:
    backend, resource_server = (
        await a_backend(server),
        await a_backend(server, scope="ITI-102 ITI-67"),
    )
    token = await a_token(server, backend)
    bearer = await a_token(server, resource_server, scope="ITI-102")
    assert (await bearing(server, token, bearer)).json()["client_id"] == backend.client_id
    assert (await ask(server, token, resource_server)).json()["client_id"] == backend.client_id
    weak = await a_token(server, resource_server, scope="ITI-67")
    assert (await bearing(server, token, weak)).json() == INACTIVE


async def test_a_foreign_asker_learns_nothing_and_is_audited(server: Server) -> None:
    backend, foreign = await a_backend(server), await a_backend(server)
    token = await a_token(server, backend)
    server.ledger.events.clear()
    answer = await ask(server, token, foreign)
    assert (answer.status_code, answer.json()) == (200, INACTIVE)
    (event,) = server.ledger.events
    assert event["subtype"][0]["code"] == "ITI-102"
    assert event["outcome"] == "8"
    assert "ITI-102" in event["outcomeDesc"]
    assert event["agent"][0]["who"]["identifier"]["value"] == foreign.client_id
    assert token not in str(server.ledger.events)


async def test_what_is_not_active_is_only_not_active(server: Server) -> None:
    backend = await a_backend(server, scope="ITI-102 ITI-67")
    signing = await server.authority.keys.signing()
    claims = dict(
        (
            await server.authority.verifier.caller(await a_token(server, backend, scope="ITI-67"))
        ).claims
    )
    head = {"alg": "RS256", "kid": signing.kid, "typ": "at+jwt"}
    just_past = sign(head, claims | {"exp": int(time.time()) - 5, "jti": "past"}, signing.key)
    revoked = await a_token(server, backend, scope="ITI-67")
    form = backend.form(grant_type=None, scope=None, token=revoked)
    assert (await server.http.post("/auth/revoke", data=form)).status_code == 200
    for token in ("invalid_token_value", just_past, revoked, backend.assertion(), "a.b.c"):
        answer = await ask(server, token, backend)
        assert (answer.status_code, answer.json()) == (200, INACTIVE), token


async def test_an_asker_must_prove_itself(server: Server) -> None:
    backend = await a_backend(server)
    token = await a_token(server, backend)
    server.ledger.events.clear()
    nobody = await server.http.post("/auth/introspect", data={"token": token})
    basic = await server.http.post("/auth/introspect", data={"token": token}, auth=("x", "y"))
    bad = await bearing(server, token, "rubbish")
    both = await bearing(server, token, token, client_assertion=backend.assertion())
    none = await ask(server, "", backend)
    assert [a.status_code for a in (nobody, basic, bad, both, none)] == [401, 401, 401, 400, 400]
    assert 'error="invalid_token"' in bad.headers["www-authenticate"]
    assert all("active" not in a.json() for a in (nobody, basic, bad, both, none))
    assert [e["outcome"] for e in server.ledger.events] == ["8", "8", "8", "4", "4"]
    assert token not in str(server.ledger.events)


async def test_a_replayed_assertion_does_not_introspect(server: Server, other: Server) -> None:
    backend = await a_backend(server)
    token, compact = await a_token(server, backend), backend.assertion()
    assert (await ask(server, token, backend, client_assertion=compact)).status_code == 200
    assert (await ask(other, token, backend, client_assertion=compact)).status_code == 401


# -- revocation ------------------------------------------------------------------------------------
async def take_back(server: Server, token: str, backend: Backend, **changes: str | None) -> Any:
    form = backend.form(grant_type=None, scope=None, token=token, **changes)
    return await server.http.post("/auth/revoke", data=form)


async def test_revoking_is_answered_with_200_also_when_there_is_nothing_to_revoke(
    server: Server,
) -> None:
    backend = await a_backend(server)
    token = await a_token(server, backend)
    for given in (token, token, "rubbish"):
        answer = await take_back(server, given, backend, token_type_hint="refresh_token")
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert (await ask(server, token, backend)).json() == INACTIVE


async def test_another_clients_token_cannot_be_revoked(server: Server) -> None:
    backend, foreign = await a_backend(server), await a_backend(server)
    token = await a_token(server, backend)
    answer = await take_back(server, token, foreign)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert (await ask(server, token, backend)).json()["active"] is True


@pytest.mark.parametrize("path", ["/auth/introspect", "/auth/revoke"])
async def test_the_form_is_read_as_strictly_as_for_tokens(server: Server, path: str) -> None:
    backend = await a_backend(server)
    get = await server.http.get(path)
    assert (get.status_code, get.headers["allow"]) == (405, "POST")
    json_body = await server.http.post(path, json=backend.form(token="x"))
    missing = await server.http.post(path, data=backend.form(grant_type=None, scope=None))
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    twice = await server.http.post(path, content="token=a&token=b", headers=headers)
    assert [a.status_code for a in (json_body, missing, twice)] == [400, 400, 400]
    assert {a.json()["error"] for a in (json_body, missing, twice)} == {"invalid_request"}


async def test_a_revocation_is_audited_with_its_token(server: Server) -> None:
    backend = await a_backend(server)
    token = await a_token(server, backend)
    jti = (await server.authority.verifier.caller(token)).jti
    server.ledger.events.clear()
    await take_back(server, token, backend)
    request, about = server.ledger.events
    assert request["outcome"] == "0"
    assert about["entity"][0]["what"]["identifier"]["value"] == f"urn:ietf:params:oauth:jti:{jti}"
    assert token not in str(server.ledger.events)
