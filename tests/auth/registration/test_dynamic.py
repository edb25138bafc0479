"""Dynamic registration: by invitation only, within its limits, and managed by whoever registered."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from auth.registration.invitations import Invitation, Invitations, Limits
from tests.auth.authority import Backend, Server, a_key, a_token, public
from tests.auth.registration.asking import Admin, a_lab, an_app, members

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def ask(
    server: Server, method: str, path: str, token: str, body: Any = None, **headers: str
) -> httpx.Response:
    said = {"Authorization": f"Bearer {token}"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return await server.http.request(method, path, json=body, headers=said)


async def register(admin: Admin, body: dict[str, Any], **limits: Any) -> httpx.Response:
    token = (await admin.invite(**limits))["initial_access_token"]
    return await ask(admin.server, "POST", "/auth/register", token, body)


def themselves(**changes: Any) -> dict[str, Any]:
    return an_app(**({"client_id": None} | changes))


async def test_a_client_registers_reads_changes_and_ends_itself(
    admin: Admin, other: Server
) -> None:
    made = await register(admin, themselves(software_id="x"))
    assert made.status_code == 201, made.text
    assert made.headers["cache-control"] == "no-store"
    body = made.json()
    where, token = body["registration_client_uri"], body["registration_access_token"]
    assert where.endswith("/auth/register/" + body["client_id"])
    assert "client_secret" not in body
    found = await ask(other, "GET", where, token)
    assert found.json() == {k: v for k, v in body.items() if k != "registration_access_token"}
    said = themselves(client_id=body["client_id"], client_name="New name", scope="openid")
    changed = await ask(other, "PUT", where, token, said)
    assert changed.status_code == 200, changed.text
    assert (changed.json()["client_name"], changed.json()["scope"]) == ("New name", "openid")
    assert (await ask(other, "DELETE", where, token)).status_code == 204
    for method in ("GET", "PUT", "DELETE"):
        assert (await ask(other, method, where, token, said)).status_code == 401


async def test_a_system_registers_itself_and_gets_a_token(admin: Admin) -> None:
    key = a_key()
    said = a_lab(client_id=None, jwks=public(key), scope="system/Patient.rs", role="R-GP")
    made = await register(admin, said, role="R-SYS", organisation="R0A", purposes=["P-CARE"])
    assert made.status_code == 201, made.text
    body = made.json()
    assert (body["role"], body["organisation"], body["purposes"]) == ("R-SYS", "R0A", ["P-CARE"])
    backend = Backend(body["client_id"], key, "ES384", admin.server.settings)
    token = await a_token(admin.server, backend, scope="system/Patient.rs")
    caller = await admin.server.authority.verifier.caller(token)
    assert (caller.role, caller.organisation, caller.purpose) == ("R-SYS", "R0A", "P-CARE")


async def test_a_client_that_asks_for_no_scope_gets_what_its_grants_can_use(admin: Admin) -> None:
    body = (await register(admin, themselves(scope=None))).json()
    assert body["scope"] == "launch openid fhirUser offline_access patient/*.rs"


async def test_a_secret_is_shown_once_and_kept_over_a_change(admin: Admin) -> None:
    body = (await register(admin, themselves(token_endpoint_auth_method=None))).json()
    where, token = body["registration_client_uri"], body["registration_access_token"]
    secret = body["client_secret"]
    assert "client_secret" not in (await ask(admin.server, "GET", where, token)).json()
    said = themselves(token_endpoint_auth_method=None, client_id=body["client_id"])
    wrong = await ask(admin.server, "PUT", where, token, said | {"client_secret": "guessed"})
    assert members(wrong) == {"client_secret"}
    right = await ask(admin.server, "PUT", where, token, said | {"client_secret": secret})
    assert right.status_code == 200, right.text
    assert "client_secret" not in right.json()
    kept = await admin.server.authority.clients.get(body["client_id"])
    assert kept is not None
    assert kept.proves(secret)
    told = str(admin.server.ledger.events)
    for hidden in (secret, token):
        assert hidden not in told


async def test_an_invitation_is_used_up_by_registrations_and_not_by_mistakes(admin: Admin) -> None:
    invited = await admin.invite(uses=2)
    token, server = invited["initial_access_token"], admin.server
    assert (await ask(server, "POST", "/auth/register", token, {"scope": 1})).status_code == 400
    for expected in (201, 201, 401):
        answer = await ask(server, "POST", "/auth/register", token, themselves())
        assert answer.status_code == expected


async def test_a_single_use_serves_one_of_many_who_come_at_once(
    admin: Admin, other: Server
) -> None:
    token = (await admin.invite())["initial_access_token"]
    before = len(await admin.server.authority.clients.all())
    answers = await asyncio.gather(
        *(
            ask((admin.server, other)[n % 2], "POST", "/auth/register", token, themselves())
            for n in range(8)
        )
    )
    assert sorted(a.status_code for a in answers) == [201] + [401] * 7
    assert len(await admin.server.authority.clients.all()) == before + 1


async def test_no_invitation_no_registration(admin: Admin) -> None:
    server = admin.server
    ended = await admin.invite()
    await admin.ask("DELETE", f"/auth/invitations/{ended['id']}")
    now = datetime.now(UTC)
    old = Invitation("", "old", Limits("openid"), 1, now - timedelta(1), "me", now - timedelta(2))
    _, late = await Invitations(server.mongo).make(old)
    for token in ("", "ti_made-up", ended["initial_access_token"], late, admin.token):
        answer = await ask(server, "POST", "/auth/register", token, themselves())
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")
        assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_registration_beyond_its_invitation_is_refused_with_all_that_is_beyond(
    admin: Admin,
) -> None:
    said = themselves(
        client_name="", redirect_uris=["https://evil.example/back", "com.evil.app:/x"],
        scope="openid user/*.cruds", purposes=["P-CARE"], organisations=["RM3"],
        origins=["https://evil.example"], launch_uris=["https://app.example/launch"],
    )  # fmt: skip
    answer = await register(
        admin, said, scope="openid", kinds=["asymmetric"], grants=["authorization_code"],
        places=["https://app.example"], purposes=["P-SAFE-C"], organisations=["R0A"],
    )  # fmt: skip
    assert answer.status_code == 400, answer.text
    assert members(answer) == {
        "client_name", "redirect_uris", "scope", "purposes", "organisations", "origins",
        "token_endpoint_auth_method", "grant_types",
    }  # fmt: skip
    for words in ("evil.example", "com.evil.app", "user/*.cruds", "P-CARE", "RM3", "public"):
        assert words in answer.json()["error_description"]


async def test_a_change_stays_within_the_invitation_also_when_that_has_ended(admin: Admin) -> None:
    invited = await admin.invite(scope="openid patient/*.rs", organisations=["R0A"])
    server = admin.server
    token = invited["initial_access_token"]
    said = themselves(grant_types=["authorization_code"], scope="openid")
    body = (await ask(server, "POST", "/auth/register", token, said)).json()
    assert body["organisations"] == ["R0A"]
    await admin.ask("DELETE", f"/auth/invitations/{invited['id']}")
    where, token = body["registration_client_uri"], body["registration_access_token"]
    said["client_id"] = body["client_id"]
    wide = await ask(server, "PUT", where, token, said | {"scope": "openid patient/*.cruds"})
    assert members(wide) == {"scope"}
    more = await ask(server, "PUT", where, token, said | {"organisations": ["R0A", "RM3"]})
    assert members(more) == {"organisations"}
    none = await ask(server, "PUT", where, token, said | {"organisations": []})
    assert none.json()["organisations"] == ["R0A"]
    fine = await ask(server, "PUT", where, token, said | {"scope": "openid patient/*.rs"})
    assert fine.status_code == 200, fine.text


async def test_what_is_not_the_clients_to_say_is_refused_in_a_change(admin: Admin) -> None:
    body = (await register(admin, themselves())).json()
    where, token = body["registration_client_uri"], body["registration_access_token"]
    answer = await ask(admin.server, "PUT", where, token, body | {"client_id": "other"})
    assert members(answer) == {
        "client_id", "registration_access_token", "registration_client_uri", "client_id_issued_at",
    }  # fmt: skip
    mine = {k: v for k, v in body.items() if not k.startswith("registration")}
    del mine["client_id_issued_at"]
    assert (await ask(admin.server, "PUT", where, token, mine)).status_code == 200
    stale = await ask(admin.server, "PUT", where, token, mine, If_Match='"stale"')
    assert stale.status_code == 412


async def test_one_client_cannot_see_or_touch_another(admin: Admin) -> None:
    mine = (await register(admin, themselves())).json()
    theirs = (await register(admin, themselves())).json()
    token = mine["registration_access_token"]
    by_hand = (await admin.add()).json()["client_id"]
    for where in (
        theirs["registration_client_uri"],
        f"/auth/register/{by_hand}",
        "/auth/register/nobody",
    ):
        for method in ("GET", "PUT", "DELETE"):
            for shown in (token, "", admin.token):
                answer = await ask(admin.server, method, where, shown, themselves())
                assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")
    assert (
        await ask(admin.server, "GET", theirs["registration_client_uri"],
                  theirs["registration_access_token"])
    ).status_code == 200  # fmt: skip


@pytest.mark.parametrize("scope", ["clients-admin", "throughline.internal"])
async def test_no_client_registers_itself_to_power(admin: Admin, scope: str) -> None:
    answer = await register(admin, a_lab(client_id=None, scope=f"system/*.rs {scope}"))
    assert answer.status_code == 400
    assert members(answer) == {"scope"}
