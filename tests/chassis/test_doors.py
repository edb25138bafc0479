"""The short way to a row's endpoint leads where the application's own routes lead."""

from __future__ import annotations

from typing import Any

from starlette.routing import Match

from chassis.onion import Doors
from chassis.service import Endpoint
from tests.running import Exchange

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def walked(routes: list[Any], method: str, path: str) -> tuple[Any, dict[str, str]] | None:
    """The first route that matches, as the application looks for it."""
    scope = {"type": "http", "method": method, "path": path, "root_path": ""}
    for route in routes:
        match, more = route.matches(scope)
        if match is Match.FULL:
            return getattr(route, "app", None), dict(more.get("path_params", {}))
    return None


async def test_every_row_is_reached_as_the_application_reaches_it(exchange: Exchange) -> None:
    doors: Doors = exchange.app.doors
    routes = exchange.app.app.router.routes
    written = {r.path for r in routes if isinstance(getattr(r, "app", None), Endpoint)}
    paths = {p.replace("{id}", "a.b-1").replace("{vid}", "2") for p in written}
    paths |= {f"{p}/" for p in paths} | {f"{p}/_search" for p in paths} | {"/fhir//", "/", ""}
    reached = 0
    for path in sorted(paths):
        for method in METHODS:
            straight = doors.known(method, path)
            if straight is not None:
                reached += 1
                assert straight == walked(routes, method, path), (method, path)
    assert reached >= len(written)
