"""Asking the doors of registration."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import httpx

from tests.auth.authority import Server, a_backend, a_key, a_token, public


@dataclass
class Admin:
    """Somebody with the scope to administer clients."""

    server: Server
    token: str

    async def ask(
        self, method: str, path: str, body: Any = None, server: Server | None = None, **headers: str
    ) -> httpx.Response:
        said = {"Authorization": f"Bearer {self.token}"}
        said |= {name.replace("_", "-"): value for name, value in headers.items()}
        return await (server or self.server).http.request(method, path, json=body, headers=said)

    async def add(self, **changes: Any) -> httpx.Response:
        return await self.ask("POST", "/auth/clients", an_app(**changes))

    async def invite(self, **changes: Any) -> dict[str, Any]:
        answer = await self.ask("POST", "/auth/invitations", an_invitation(**changes))
        assert answer.status_code == 201, answer.text
        return dict(answer.json())


async def an_admin(server: Server) -> Admin:
    backend = await a_backend(server, scope="clients-admin")
    return Admin(server, await a_token(server, backend, scope="clients-admin"))


def an_app(**changes: Any) -> dict[str, Any]:
    made = {
        "client_id": f"app-{uuid.uuid4().hex[:8]}",
        "client_name": "Ward list",
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "redirect_uris": ["https://app.example/back"],
        "scope": "launch openid fhirUser offline_access patient/*.rs",
    } | changes
    return {name: value for name, value in made.items() if value is not None}


def a_lab(**changes: Any) -> dict[str, Any]:
    made = {
        "client_id": f"lab-{uuid.uuid4().hex[:8]}",
        "client_name": "Lab",
        "token_endpoint_auth_method": "private_key_jwt",
        "grant_types": ["client_credentials"],
        "jwks": public(a_key()),
        "scope": "system/*.rs",
    } | changes
    return {name: value for name, value in made.items() if value is not None}


def an_invitation(**changes: Any) -> dict[str, Any]:
    made = {
        "label": "The hackathon",
        "scope": "launch openid fhirUser offline_access patient/*.rs system/*.rs",
    } | changes
    return {name: value for name, value in made.items() if value is not None}


def members(answer: httpx.Response) -> set[str]:
    """The members that a refusal has faults of."""
    return {fault["member"] for fault in answer.json()["errors"]}
