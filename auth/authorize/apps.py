"""The apps that I have allowed: what they may do, until when, and a button that ends it
(SMART App Launch 2.2 `management_endpoint`, security digest 1.15)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from auth import accounts
from auth.authority import Authority
from auth.authorize.grants import Grant
from auth.authorize.scope import CONTEXT
from auth.client import Client
from auth.pages import browsing, page, see_other
from standards import smart


async def apps(request: Request, authority: Authority) -> Response:
    """The list; or, by POST, the end of everything that one app was allowed."""
    at = browsing(request)
    issuer = authority.settings.issuer
    if at.session is None:
        return see_other(f"{issuer}/sign-in", secure=at.secure)
    every = await authority.grants.of(at.session.person, authority.clock())
    live = [g for g in every if not g.bound_to or await authority.sessions.live(g.bound_to)]
    if request.method == "POST":
        mine = [grant for grant in live if grant.client_id == at.form.get("app", "")]
        for grant in mine:
            await authority.grants.end(grant.id, "its person ended it")
        if mine:
            await authority.audit.record(_event(mine[0], authority, at.address))
        return see_other(f"{issuer}/apps", secure=at.secure)
    clients = {g.client_id: await authority.clients.get(g.client_id) for g in live}
    return page(request, "apps.jinja", apps=listed(live, clients, authority.settings.offline_days))


def listed(
    live: Sequence[Grant], clients: dict[str, Client | None], days: int
) -> list[dict[str, Any]]:
    """One entry an app: its name, what it may do by any grant, when it was last used, how long. PURE."""
    made: list[dict[str, Any]] = []
    for client_id in dict.fromkeys(grant.client_id for grant in live):
        client = clients.get(client_id)
        of_it = [grant for grant in live if grant.client_id == client_id]
        tokens = dict.fromkeys(t for g in of_it for t in g.scope.split() if t not in CONTEXT)
        made.append(
            {
                "id": client_id,
                "name": client.name if client else client_id,
                "publisher": client.publisher if client else "",
                "may": [smart.plain(token, days).title for token in tokens],
                "made": _day(min(g.made for g in of_it)),
                "used": _day(max(g.used for g in of_it)),
                "until": _day(max(g.until for g in of_it)),
                "lasting": any(g.lasting == "offline" for g in of_it),
            }
        )
    return made


def _day(moment: float) -> str:
    when = datetime.fromtimestamp(moment, UTC)
    return f"{when.day} {when:%B %Y}"


def _event(grant: Grant, authority: Authority, address: str) -> dict[str, Any]:
    return accounts.deed(
        smart.APPS,
        accounts.acting(grant, authority.settings.issuer),
        authority.settings.issuer,
        authority.words,
        now=datetime.now(UTC),
        address=address,
        said=f"Ended everything that the app {grant.client_id} was allowed.",
    )
