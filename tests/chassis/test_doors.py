"""The short way to a row's endpoint leads where the application's own routes lead."""

from __future__ import annotations

from typing import Any

import pytest
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


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/fhir/Patient", "DELETE, GET, HEAD, PUT"),
        ("PATCH", "/fhir/Patient", "DELETE, GET, HEAD, PUT"),
        ("PUT", "/fhir/Patient/$ihe-pix", "GET, HEAD, POST"),
        ("GET", "/fhir/Patient/$match", "POST"),
        ("HEAD", "/fhir/Patient/$link", "POST"),
        ("GET", "/fhir/Patient/_search", "POST"),
        ("PUT", "/fhir/Patient/17", "GET, HEAD"),
    ],
)
async def test_a_refused_method_is_told_all_that_are_served(
    exchange: Exchange, method: str, path: str, allow: str
) -> None:
    answer = await exchange.http.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == allow


async def test_an_operation_that_there_is_not_is_nowhere(exchange: Exchange) -> None:
    answer = await exchange.http.get("/fhir/Patient/$everything")
    assert answer.status_code == 404
    assert "Nothing is served" in answer.json()["issue"][0]["diagnostics"]


async def test_a_slash_at_the_end_changes_nothing(exchange: Exchange) -> None:
    async with exchange.as_client() as client:
        for path in ("/Patient", "/Patient/nobody", "/Patient/nobody/_history", "/metadata"):
            with_it, without = await client.get(f"{path}/"), await client.get(path)
            assert with_it.status_code == without.status_code
        fed = await client.put(
            "/Patient/", params={"identifier": "http://nowhere.example|1"}, json={}
        )
        assert fed.status_code == 400  # read and refused, not sent elsewhere
        assert fed.headers["content-type"].startswith("application/fhir+json")


async def test_a_head_is_answered_like_the_get_without_its_body(exchange: Exchange) -> None:
    async with exchange.as_client() as client:
        for url in (
            "/Patient/$ihe-pix?sourceIdentifier=http://nowhere.example|1",
            "/Patient/$ihe-pix",
            "/Patient?family=Nobody",
            "/Patient/nobody",
        ):
            got, head = await client.get(url), await client.head(url)
            assert (head.status_code, head.content) == (got.status_code, b"")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/fhir/Nothing"), ("POST", "/fhir/Patient"), ("GET", "/fhir")]
)
async def test_refusals_outside_every_row_are_in_the_format_that_was_asked_for(
    exchange: Exchange, method: str, path: str
) -> None:
    told = {"Accept": "application/fhir+xml"}
    for answer in (
        await exchange.http.request(method, path, headers=told),
        await exchange.http.request(method, path, params={"_format": "xml"}),
    ):
        assert answer.headers["content-type"].startswith("application/fhir+xml")
        assert "<OperationOutcome" in answer.text
    odd = await exchange.http.request(method, path, headers={"Accept": "text/html"})
    assert odd.json()["resourceType"] == "OperationOutcome"
