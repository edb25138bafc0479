"""Apps that were launched: clients that hold an opaque token of a person, maybe in a patient's record."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from auth.opaque_tokens import OpaqueTokens
from standards import balp, iua
from tests.running import Exchange

PERSON = "person-1"


async def app_token(
    exchange: Exchange,
    scope: str,
    *,
    patient: str = "",
    person: str = PERSON,
    role: str = "R-SYS",
    organisation: str = "",
    **changes: Any,
) -> str:
    """An opaque token with this scope; `patient` is `Patient/x` or its id, "" for none."""
    issuer = exchange.settings.issuer
    claims = iua.claims(
        iua.Identity(organisation, role, "", "", "Ada Byron"), issuer=issuer, audience=exchange.base,
        client_id="app", scope=scope, jti=str(uuid.uuid4()), now=int(time.time()), seconds=300,
        words=balp.Vocabulary(),
    )  # fmt: skip
    claims["sub"] = person
    if patient:
        claims["patient"] = patient.removeprefix("Patient/")
    tokens = OpaqueTokens(exchange.mongo, issuer)
    return await tokens.issue(claims | changes, grant=str(uuid.uuid4()), session="s", person=person)


@asynccontextmanager
async def launched(
    exchange: Exchange, scope: str, *, patient: str = "", **more: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client at the FHIR base that carries such a token."""
    token = await app_token(exchange, scope, patient=patient, **more)
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/fhir+json"}
    transport = httpx.ASGITransport(exchange.app, raise_app_exceptions=True)
    async with httpx.AsyncClient(
        transport=transport, base_url=exchange.base, headers=headers
    ) as client:
        yield client


async def found(
    client: httpx.AsyncClient, path: str, query: Mapping[str, str | list[str]] | None = None
) -> set[str]:
    """The matches of a search as `Type/id`, by GET and by POST alike, and as many as are counted."""
    pairs = dict(query or {})
    answers = [
        await client.get(path, params=pairs),
        await client.post(f"{path}/_search", data=pairs),
    ]
    seen = []
    for answer in answers:
        assert answer.status_code == 200, answer.text
        bundle = answer.json()
        matches = [e for e in bundle.get("entry", ()) if e["search"]["mode"] == "match"]
        names = {f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in matches}
        assert bundle["total"] == len(names)
        seen.append(names)
    assert seen[0] == seen[1]
    counted = (await client.get(path, params={**pairs, "_summary": "count"})).json()
    assert counted["total"] == len(seen[0])
    return seen[0]
