"""The admin API of clients: who may, what it answers, what it refuses, and what is told of it."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from standards import registration
from standards.outcome import BUSY, Issue, Refused
from tests.auth.authority import CEILING, Server, a_backend, a_key, a_token, public
from tests.auth.registration.asking import Admin, a_lab, an_app, an_invitation, members

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def still_good(server: Server, token: str) -> bool:
    try:
        await server.authority.verifier.caller(token)
    except Refused:
        return False
    return True


async def test_an_app_is_registered_read_changed_and_ended(admin: Admin, other: Server) -> None:
    said = an_app()
    made = await admin.ask("POST", "/auth/clients", said)
    assert made.status_code == 201, made.text
    assert made.headers["cache-control"] == "no-store"
    body, where = made.json(), made.headers["location"]
    assert body | said == body
    assert where.endswith("/auth/clients/" + said["client_id"])
    assert "client_secret" not in body
    found = await admin.ask("GET", where, server=other)
    assert (found.status_code, found.headers["etag"]) == (200, made.headers["etag"])
    said["scope"] = "openid fhirUser"
    changed = await admin.ask("PUT", where, said, If_Match=made.headers["etag"])
    assert changed.status_code == 200, changed.text
    assert changed.json()["scope"] == "openid fhirUser"
    assert changed.headers["etag"] != made.headers["etag"]
    ended = await admin.ask("DELETE", where, If_Match=changed.headers["etag"])
    assert (ended.status_code, ended.content) == (204, b"")
    assert (await admin.ask("GET", where)).json()["status"] == "revoked"
    assert (await admin.ask("PUT", where, said, If_Match="*")).status_code == 410
    assert (await admin.ask("DELETE", where)).status_code == 204
    assert (await admin.ask("POST", "/auth/clients", said)).status_code == 409
    listed = (await admin.ask("GET", "/auth/clients")).json()["clients"]
    assert said["client_id"] in [one["client_id"] for one in listed]


async def test_a_secret_is_shown_once_and_renewed_on_demand(admin: Admin) -> None:
    made = (await admin.add(token_endpoint_auth_method="client_secret_basic")).json()
    where, clients = f"/auth/clients/{made['client_id']}", admin.server.authority.clients
    first = made["client_secret"]
    assert len(first) >= 43
    assert made["client_secret_expires_at"] == 0
    assert first not in (await admin.ask("GET", where)).text
    assert first not in (await admin.ask("GET", "/auth/clients")).text
    second = (await admin.ask("POST", where + "/secret")).json()["client_secret"]
    kept = await clients.get(made["client_id"])
    assert kept is not None
    assert kept.proves(second)
    assert not kept.proves(first)
    told = str(admin.server.ledger.events)
    assert first not in told
    assert second not in told


async def test_only_a_client_with_a_secret_gets_a_new_one(admin: Admin) -> None:
    made = (await admin.add()).json()
    answer = await admin.ask("POST", f"/auth/clients/{made['client_id']}/secret")
    assert (answer.status_code, answer.json()["error"]) == (409, "invalid_request")
    assert (await admin.ask("POST", "/auth/clients/nobody/secret")).status_code == 404


async def test_a_bad_registration_is_refused_with_all_its_faults(admin: Admin) -> None:
    bad = an_app(
        client_id="a b", client_name="", redirect_uris=["http://app.example", "https://x/*"],
        scope="system/*.rs ITI-9999 nonsense/x", contacts=["nobody"], purposes=["P-NONE"],
        organisations=["NOWHERE"], colour="blue", logo_uri=5, origins=["x"],
    )  # fmt: skip
    answer = await admin.ask("POST", "/auth/clients", bad)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")
    assert members(answer) == {
        "client_id", "client_name", "redirect_uris", "scope", "contacts", "purposes",
        "organisations", "colour", "logo_uri", "origins",
    }  # fmt: skip
    for words in ("system/*.rs", "ITI-9999", "nonsense/x", "NOWHERE", "colour"):
        assert words in answer.json()["error_description"]


async def test_a_bad_redirect_uri_has_its_own_error(admin: Admin) -> None:
    answer = await admin.add(redirect_uris=["https://app.example/#x"])
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_redirect_uri")


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/jwks", "http://localhost/jwks"])
async def test_keys_are_not_to_be_published_where_nobody_may_fetch_them(
    admin: Admin, url: str
) -> None:
    answer = await admin.ask("POST", "/auth/clients", a_lab(jwks=None, jwks_uri=url))
    assert answer.status_code == 400
    assert members(answer) == {"jwks_uri"}


async def test_a_change_needs_the_etag_it_starts_from(admin: Admin) -> None:
    said = an_app()
    made = await admin.ask("POST", "/auth/clients", said)
    where = made.headers["location"]
    assert (await admin.ask("PUT", where, said)).status_code == 428
    for stale in ('"x"', f"W/{made.headers['etag']}", '""'):
        answer = await admin.ask("PUT", where, said, If_Match=stale)
        assert answer.status_code == 412
        assert (await admin.ask("DELETE", where, If_Match=stale)).status_code == 412
        answer = await admin.ask("POST", where + "/secret", If_Match=stale)
        assert answer.status_code == 412
    assert (await admin.ask("GET", where)).headers["etag"] == made.headers["etag"]


async def test_of_two_changes_from_one_etag_one_wins(admin: Admin, other: Server) -> None:
    said = an_app()
    made = await admin.ask("POST", "/auth/clients", said)
    where, etag = made.headers["location"], made.headers["etag"]
    answers = await asyncio.gather(
        *(
            admin.ask(
                "PUT", where, said | {"client_name": f"Name {n}"}, If_Match=etag,
                server=(admin.server, other)[n % 2],
            )
            for n in range(6)
        )
    )  # fmt: skip
    assert sorted(a.status_code for a in answers) == [200, 412, 412, 412, 412, 412]


async def test_a_client_id_never_changes(admin: Admin) -> None:
    said = an_app()
    made = await admin.ask("POST", "/auth/clients", said)
    answer = await admin.ask(
        "PUT", made.headers["location"], said | {"client_id": "other"}, If_Match="*"
    )
    assert members(answer) == {"client_id"}


async def test_a_scope_that_is_taken_away_is_gone_within_a_second(
    admin: Admin, other: Server
) -> None:
    backend = await a_backend(admin.server, scope=CEILING.replace(" ITI-67", ""))
    token = await a_token(other, backend)
    said = a_lab(client_id=backend.client_id, jwks=public(backend.key), scope="system/Patient.r")
    where = f"/auth/clients/{backend.client_id}"
    assert (await admin.ask("PUT", where, said, If_Match="*")).status_code == 200
    started = monotonic()
    while await still_good(other, token):
        assert monotonic() - started < 1.0
        await asyncio.sleep(0.02)
    form = backend.form(scope="system/DocumentReference.rs")
    assert (await other.http.post("/auth/token", data=form)).json()["error"] == "invalid_scope"
    await a_token(other, backend, scope="system/Patient.r")


@pytest.mark.parametrize("scope", ["clients-admin", "throughline.internal"])
async def test_an_administrator_can_neither_make_another_nor_touch_one(
    admin: Admin, scope: str
) -> None:
    answer = await admin.ask("POST", "/auth/clients", a_lab(scope=f"system/*.rs {scope}"))
    assert answer.status_code == 400
    assert "command line" in answer.json()["error_description"]
    powerful = await a_backend(admin.server, scope=scope)
    where = f"/auth/clients/{powerful.client_id}"
    said = a_lab(client_id=powerful.client_id, jwks=public(a_key()))
    for asked in (
        admin.ask("PUT", where, said, If_Match="*"),
        admin.ask("DELETE", where),
        admin.ask("POST", where + "/secret"),
    ):
        assert (await asked).status_code == 403
    kept = await admin.server.authority.clients.get(powerful.client_id)
    assert kept is not None
    assert kept.jwks == public(powerful.key)
    answer = await admin.ask("POST", "/auth/invitations", an_invitation(scope=scope))
    assert answer.status_code == 400


async def test_nobody_else_gets_in(admin: Admin) -> None:
    backend = await a_backend(admin.server)
    plain = Admin(admin.server, await a_token(admin.server, backend))
    nobody = Admin(admin.server, "")
    made = (await admin.add()).json()
    for row in registration.TRANSACTIONS:
        ((method, path),) = row.routes
        if path.startswith("/auth/register"):
            continue
        path = path.replace("{id}", made["client_id"])
        refused = await plain.ask(method, path, {}, If_Match="*")
        assert (refused.status_code, refused.json()["error"]) == (403, "insufficient_scope")
        assert 'scope="clients-admin"' in refused.headers["www-authenticate"]
        refused = await nobody.ask(method, path, {})
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Bearer")
    assert (await admin.ask("GET", f"/auth/clients/{made['client_id']}")).json() == made


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({"Content-Type": "text/plain"}, b"{}", 415),
        ({"Content-Type": "application/json"}, b"", 400),
        ({"Content-Type": "application/json"}, b"[]", 400),
        ({"Content-Type": "application/json"}, b'{"client_id": "a", "client_id": "b"}', 400),
        ({"Content-Type": "application/json"}, b'{"client_name": 1.5}', 400),
        ({"Content-Type": "application/json"}, b"[" * 5000, 400),
        ({"Content-Type": "application/json"}, b'{"a": "' + b"x" * 70_000 + b'"}', 413),
    ],
)
async def test_a_body_that_is_no_registration_is_refused(
    admin: Admin, headers: dict[str, str], content: bytes, status: int
) -> None:
    said = headers | {"Authorization": f"Bearer {admin.token}"}
    answer = await admin.server.http.post("/auth/clients", content=content, headers=said)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]


async def test_the_methods_of_a_path_are_told(admin: Admin) -> None:
    answer = await admin.ask("PATCH", "/auth/clients/x")
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "PUT", "DELETE"}


async def test_everything_is_told_to_the_audit_trail_once(admin: Admin) -> None:
    events = admin.server.ledger.events
    events.clear()
    said = an_app()
    where = (await admin.ask("POST", "/auth/clients", said)).headers["location"]
    await admin.ask("PUT", where, said | {"scope": "openid"}, If_Match="*")
    await admin.ask("PUT", where, said, If_Match='"stale"')
    await admin.ask("DELETE", where)
    assert [(e["action"], e["outcome"]) for e in events] == [
        ("C", "0"), ("U", "0"), ("U", "4"), ("D", "0"),
    ]  # fmt: skip
    for event in events:
        assert event["subtype"][0]["code"] == "110137"
    (entity,) = events[1]["entity"]
    assert entity["what"]["identifier"]["value"] == said["client_id"]
    assert {d["type"]: d["valueString"] for d in entity["detail"]} == {
        "changed": "scope",
        "scope": "openid",
    }
    assert "changed since" in events[2]["outcomeDesc"]
    outbox = admin.server.mongo.table("auth", "audit_outbox")
    waiting = {row["_id"] for row in await outbox.many({})}
    assert {events[0]["id"], events[1]["id"], events[3]["id"]} <= waiting
    assert events[2]["id"] not in waiting


async def test_a_change_whose_event_cannot_be_recorded_now_stays_told_in_the_outbox(
    admin: Admin,
) -> None:
    ledger = admin.server.ledger
    ledger.fault = Refused(Issue(BUSY, "no"))
    try:
        made = await admin.add()
        assert made.status_code == 201
        assert (await admin.ask("GET", "/auth/clients")).status_code == 503
        ledger.fault = AutoReconnect("no")
        assert (await admin.ask("GET", "/auth/clients")).status_code == 503
    finally:
        ledger.fault = None
    outbox = admin.server.mongo.table("auth", "audit_outbox")
    said = [row["b"].decode() for row in await outbox.many({})]
    recorded = [str(event) for event in ledger.events]
    assert any(made.json()["client_id"] in one for one in said + recorded)


@pytest.mark.parametrize(
    ("changes", "member"),
    [
        ({"label": ""}, "label"),
        ({"label": 5}, "label"),
        ({"uses": 0}, "uses"),
        ({"uses": True}, "uses"),
        ({"uses": 5000}, "uses"),
        ({"days": -1}, "days"),
        ({"days": 500}, "until"),
        ({"scope": ""}, "scope"),
        ({"scope": "nonsense/x"}, "scope"),
        ({"scope": "ITI-9999"}, "scope"),
        ({"kinds": ["secret"]}, "kinds"),
        ({"grants": []}, "grants"),
        ({"places": ["https://app.example/path"]}, "places"),
        ({"places": ["*"]}, "places"),
        ({"purposes": ["P-NONE"]}, "purposes"),
        ({"role": "R-NONE"}, "role"),
        ({"colour": "blue"}, "colour"),
    ],
)
async def test_a_bad_invitation_is_refused(
    admin: Admin, changes: dict[str, Any], member: str
) -> None:
    answer = await admin.ask("POST", "/auth/invitations", an_invitation(**changes))
    assert answer.status_code == 400, answer.text
    assert member in members(answer)


async def test_an_invitation_is_listed_without_its_token_and_can_be_ended(admin: Admin) -> None:
    made = await admin.invite(uses=3, days=2, places=["https://app.example"])
    listed = await admin.ask("GET", "/auth/invitations")
    assert made["initial_access_token"] not in listed.text
    (found,) = [one for one in listed.json()["invitations"] if one["id"] == made["id"]]
    assert (found["uses"], found["places"]) == (3, ["https://app.example"])
    where = f"/auth/invitations/{made['id']}"
    assert (await admin.ask("DELETE", where)).status_code == 204
    assert (await admin.ask("DELETE", where)).status_code == 204
    assert (await admin.ask("DELETE", "/auth/invitations/none")).status_code == 404
    assert made["initial_access_token"] not in str(admin.server.ledger.events)
