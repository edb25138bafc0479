"""Introspection and revocation (security digest 1.14, 1.15, 2.6, 3.5)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from conformance.check import Check, Failed, Group, Run, Skipped, expect
from conformance.smart import client, openid

_SEE = "SMART App Launch 2.2, Token introspection; RFC 7662; IUA 3.102"


async def introspected(run: Run, token: str) -> Mapping[str, Any]:
    """What the server says of a token to the tester's own client, by Bearer."""
    who = run.target.introspector
    if who is None:
        raise Skipped("no client that may introspect is stated")
    endpoint = run.known.endpoint("token_endpoint")
    answer = await run.wire.form(endpoint, client.backend_form(who, endpoint))
    expect(
        answer.status_code == 200, f"the introspecting client got no token: {answer.status_code}."
    )
    answer = await run.wire.form(
        run.known.endpoint("introspection_endpoint"),
        {"token": token},
        Authorization=f"Bearer {answer.json()['access_token']}",
    )
    expect(answer.status_code == 200, f"introspection answers {answer.status_code}.")
    found = answer.json()
    expect(
        isinstance(found, dict) and isinstance(found.get("active"), bool),
        "active is not a boolean.",
    )
    return dict(found)


async def active(run: Run, *, group: str) -> None:
    """A live token is told as it was issued."""
    launched = run.known.launch(group)
    found = await introspected(run, launched.token)
    expect(found["active"] is True, "a live token is told inactive.")
    expect(found.get("client_id") == launched.app.client_id, "client_id differs.")
    expect(frozenset(str(found.get("scope", "")).split()) == launched.granted, "scope differs.")
    expect(
        isinstance(found.get("exp"), int) and found["exp"] > time.time() - 600, "exp is missing."
    )
    for name in ("patient", "encounter", "fhirContext", "intent"):
        if name in launched.answer:
            expect(found.get(name) == launched.answer[name], f"{name} differs.")
    if "id_token" in launched.answer:
        claims = openid.claims_of(run, group)
        for name in ("iss", "sub"):
            expect(found.get(name) == claims.get(name), f"{name} differs from the id_token's.")
        run.warn(found.get("fhirUser") == claims.get("fhirUser"), "fhirUser differs or is missing.")


async def inactive(run: Run) -> None:
    """What is no token is told inactive, and nothing else is told."""
    found = await introspected(run, "invalid_token_value")
    expect(found["active"] is False, "an invalid token is told active.")
    run.warn(set(found) == {"active"}, "more is told of an inactive token than that it is.")


async def stranger(run: Run) -> None:
    """Who does not prove itself learns nothing."""
    answer = await run.wire.form(run.known.endpoint("introspection_endpoint"), {"token": "x"})
    expect(answer.status_code in (400, 401), f"it answers {answer.status_code}.")


async def revoked(run: Run, *, group: str) -> None:
    """A token that its app takes back is refused within a second or so, and told inactive."""
    launched = run.known.launch(group)
    endpoint = run.known.endpoint("revocation_endpoint")
    form, headers = client.proofs(launched.app, endpoint)
    if launched.app.kind == "asymmetric":
        form, headers = client.proofs(launched.app, run.known.endpoint("token_endpoint"))
    answer = await run.wire.form(endpoint, {"token": launched.token} | form, **headers)
    expect(answer.status_code == 200, f"revocation answers {answer.status_code}.")
    patient = launched.answer.get("patient", "none")
    deadline = time.monotonic() + 2
    while True:
        answer = await run.wire.get(
            f"{run.target.fhir}/Patient/{patient}", Authorization=f"Bearer {launched.token}"
        )
        if answer.status_code in (401, 403, 404) or time.monotonic() > deadline:
            break
    if answer.status_code not in (401, 403, 404):
        raise Failed(f"two seconds later a revoked token still reads: {answer.status_code}.")
    expect((await introspected(run, launched.token))["active"] is False, "it is told active.")


def group(of: str) -> Group:
    """The checks of the access token that the launch group `of` gave. The last one ends it."""
    return Group(
        f"introspection-{of}",
        f"Introspection of {of}",
        (
            Check(
                "active", "a live token is told as it was issued", _SEE, partial(active, group=of)
            ),
            Check("inactive", "what is no token is inactive", _SEE, inactive),
            Check("stranger", "nobody asks without proof", _SEE, stranger),
            Check(
                "revoked", "a token taken back is refused", "RFC 7009", partial(revoked, group=of)
            ),
        ),
    )
