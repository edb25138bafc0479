"""Who is linked, who is signed in, and what the audit trail was told."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request

from auth.people.person import Person
from auth.people.sessions import Session
from auth.upstream.identities import Link
from auth.upstream.providers import plain_issuer
from tests.auth.authority import Server
from tests.auth.people.browsers import Browser, an_appointment, somebody
from tests.auth.upstream.elsewhere import Elsewhere


async def linked(server: Server, there: Elsewhere, *held: Any, app: bool = False) -> Person:
    """Somebody here who is linked to the one whom the provider knows."""
    made = await somebody(server, *(held or (an_appointment(),)), app=app)
    link = Link(
        plain_issuer(there.issuer), there.subject, made.person.id, there.name, "test",
        datetime.now(UTC),
    )  # fmt: skip
    await server.authority.federation.identities.link(link)
    return made.person


async def signed_in(server: Server, browser: Browser) -> Session | None:
    cookies = "; ".join(f"{name}={value}" for name, value in browser.http.cookies.items())
    scope = {"type": "http", "headers": [(b"cookie", cookies.encode())]}
    return await server.authority.sessions.of(Request(scope))


async def choose(browser: Browser) -> None:
    """Choose the first role and purpose that are offered."""
    await browser.follow()
    assert browser.answer.status_code == 200, browser.text
    await browser.send(purpose="P-CARE")
    assert browser.answer.status_code == 303, browser.text


def told(server: Server) -> str:
    return " ".join(str(event.get("outcomeDesc")) for event in server.ledger.events)
