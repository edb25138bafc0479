"""The application around the endpoints: routes from rows, and FHIR-shaped answers for the rest.

Layers, outermost first, all pure ASGI: `Guard` (last resort) → `cors.serve` (pages of other origins) →
FastAPI's router → `Endpoint` per FHIR row (chassis/service.py) or a service's plain routes.
FastAPI carries the OpenAPI document, which is fed from the rows; no FHIR request passes through its
dependency machinery.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.routing import Route as Path
from starlette.types import ASGIApp, Receive, Scope, Send

from chassis import cors, telemetry
from chassis.call import Answer, Call, Route, Service, dumps
from chassis.cors import Origins
from chassis.negotiate import MEDIA, Format, wanted_format
from chassis.service import Endpoint, Rider
from standards import capability, definitions, fhir_xml, openapi
from standards.outcome import EXCEPTION, METHOD, NOT_FOUND, ROUTE, Issue, Refused, outcome
from standards.rows import Transaction

_BRACE = re.compile(r"\{[a-z]+\}").fullmatch

Opening = Callable[[], AbstractAsyncContextManager[tuple[Sequence[Service], Rider]]]


def create(opening: Opening, rows: Iterable[Transaction]) -> ASGIApp:
    """The ASGI application of one process.

    `opening` opens the services when the server starts and closes them when it stops (mounted apps'
    own lifespans would not run); `rows` are all rows of the product, so that /metadata and OpenAPI
    say the same wherever they are asked.
    """
    every = tuple(rows)

    doors = Doors()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with opening() as (services, rider):
            routes = _routes(services, rider, every)
            app.router.routes[:0] = routes
            doors.open(routes)
            doors.origins = rider.origins
            for service in services:
                telemetry.log(telemetry.STARTED, service=service.name)
            yield
            for service in services:
                telemetry.log(telemetry.STOPPED, service=service.name)

    app = FastAPI(
        title="Throughline",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        exception_handlers={404: _nowhere, 405: _nowhere},
    )
    app.add_route("/openapi.json", _openapi(every), methods=["GET"], include_in_schema=False)
    doors.otherwise = app
    return Guard(app, doors)


def _routes(
    services: Sequence[Service], rider: Rider, every: tuple[Transaction, ...]
) -> list[Path]:
    made: list[Path] = []
    statement = Route(capability.METADATA, _metadata(rider, every))
    known = definitions.definitions(every, capability.DATE)
    defined = [Route(row, _defined(known)) for row in definitions.TRANSACTIONS]
    routes = [r for s in services for r in s.routes]
    for route in sorted([*routes, statement, *defined], key=_heat):
        endpoint = Endpoint(route, rider)
        prefix = "/fhir" if route.row.surface == "fhir" else ""
        for method, path in route.row.routes:
            where = prefix + ("" if path == "/" and prefix else path)
            methods = [method, "HEAD"] if method == "GET" else [method]
            made.append(_path(where, endpoint, methods))
            if path == "/" and prefix:
                made.append(_path(prefix + "/", endpoint, methods))
    plain = [p for s in services for p in s.plain]
    return made + plain  # type: ignore[operator]  # plain routes are Starlette's as well


class Doors:
    """Straight to the endpoint of a row, by one look-up instead of a walk through every route.

    Literal paths and those whose only brace is their last piece (`/fhir/Patient/{id}`) are known here;
    anything else, and every refusal, goes the way of the application, which has the same routes in the
    same order.
    """

    def __init__(self) -> None:
        self.otherwise: ASGIApp | None = None
        self.origins: Origins | None = None
        self._literal: dict[tuple[str, str], ASGIApp] = {}
        self._last: dict[tuple[str, str], tuple[str, ASGIApp]] = {}

    def open(self, routes: Iterable[Path]) -> None:
        """Know the rows among these; of two for one path the first counts, as in the application."""
        for route in routes:
            endpoint = getattr(route, "app", None)
            if not isinstance(endpoint, Endpoint):
                continue
            stem, _, last = route.path.rpartition("/")
            for method in route.methods or ():
                if "{" not in route.path:
                    self._literal.setdefault((method, route.path), endpoint)
                elif "{" not in stem and _BRACE(last):
                    self._last.setdefault((method, stem), (last[1:-1], endpoint))

    def known(self, method: str, path: str) -> tuple[ASGIApp, dict[str, str]] | None:
        """The endpoint behind a path with its path parameters; None when another must look."""
        endpoint = self._literal.get((method, path))
        if endpoint is not None:
            return endpoint, {}
        stem, _, last = path.rpartition("/")
        found = self._last.get((method, stem)) if last and last[0] not in "$_" else None
        return (found[1], {found[0]: last}) if found is not None else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request by its endpoint, or pass it on."""
        if scope["type"] == "http" and not scope.get("root_path"):
            path: str = scope["path"]
            if path.endswith("/") and path.startswith("/fhir/") and not path.endswith("//"):
                # A blank piece at the end names nothing else, and a redirect would lose a PUT's body.
                scope["path"] = path if path == "/fhir/" else path[:-1]
            door = self.known(scope["method"], scope["path"])
            if door is not None:
                endpoint, scope["path_params"] = door
                await endpoint(scope, receive, send)
                return
        if self.otherwise is None:
            raise RuntimeError("the doors are open before there is a house")
        await self.otherwise(scope, receive, send)


def _path(where: str, endpoint: ASGIApp, methods: list[str]) -> Path:
    path = Path(where, endpoint, include_in_schema=False)
    path.methods = set(methods)  # Starlette leaves the methods of a bare ASGI endpoint open
    # No id begins with `$` or `_` (FHIR R4 datatypes.html#id): GET Patient/$match is an operation
    # asked the wrong way (405), and no Patient whom nobody knows.
    if where.startswith("/fhir"):
        path.path_regex = re.compile(path.path_regex.pattern.replace("[^/]+", "[^/$_][^/]*"))
    return path


def _heat(route: Route) -> tuple[bool, int]:
    """Hot rows first, because routes are tried in order; literal paths before those with braces."""
    order = ("ITI-67", "ITI-83", "ITI-68", "ITI-78", "ITI-65", "ITI-104", "ITI-66")
    braces = any("{" in path for _, path in route.row.routes)
    return braces, order.index(route.row.code) if route.row.code in order else len(order)


def _metadata(rider: Rider, every: tuple[Transaction, ...]) -> Callable[[Call], Any]:
    body = dumps(
        capability.statement(every, base=rider.settings.fhir_base, auth=rider.settings.issuer)
    )

    async def handle(call: Call) -> Answer:  # noqa: ARG001  the statement is the same for everyone
        return Answer(
            200, body, {"Cache-Control": "public, max-age=60", "Access-Control-Allow-Origin": "*"}
        )

    return handle


def _defined(known: Mapping[tuple[str, str], Mapping[str, Any]]) -> Callable[[Call], Any]:
    async def handle(call: Call) -> Answer:
        found = known.get((call.row.resource, call.path["id"]))
        if found is None:
            ids = ", ".join(sorted(i for kind, i in known if kind == call.row.resource))
            words = f"No {call.row.resource} has this id; there are {ids}."
            raise Refused(Issue(NOT_FOUND, words))
        return Answer.fhir(found, Cache_Control="public, max-age=60")

    return handle


def _openapi(every: tuple[Transaction, ...]) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:  # noqa: ARG001
        return Response(dumps(openapi.document(every)), media_type="application/json")

    return answer


async def _nowhere(request: Request, refusal: Exception) -> Response:
    status = refusal.status_code if isinstance(refusal, HTTPException) else 404
    headers = dict(refusal.headers or {}) if isinstance(refusal, HTTPException) else {}
    headers["X-Request-Id"] = str(uuid.uuid4())
    headers["Vary"] = "Accept"
    path = "".join(c if c.isprintable() else "?" for c in request.url.path[:100])
    if status == 405:
        served = _served(request)
        headers["Allow"] = ", ".join(served)
        takes = ", ".join(m for m in served if m != "HEAD")
        issue = Issue(
            METHOD,
            f"{request.method} is not served at {path}, which takes {takes};"
            " GET /fhir/metadata lists what there is.",
        )
    else:
        issue = Issue(ROUTE, f"Nothing is served at {path}; GET /fhir/metadata lists what is.")
    made, form = outcome([issue]), _format(request)
    body = fhir_xml.render(made) if form == "xml" else dumps(made)
    return Response(body, status, headers, media_type=MEDIA[form])


def _format(request: Request) -> Format:
    """The format of a refusal outside every row; JSON when what is wanted cannot be made."""
    try:
        return wanted_format(request.headers.get("accept", ""), request.query_params.get("_format"))
    except Refused:
        return "json"


def _served(request: Request) -> list[str]:
    """Every method of every route for this path: the first route alone would name its own (RFC 9110)."""
    routes = request.app.router.routes
    found = [r for r in routes if r.matches(request.scope)[0] is not Match.NONE]
    return sorted({m for r in found for m in getattr(r, "methods", None) or ()})


class Guard:
    """The outermost layer: a fault outside every endpoint becomes a plain 500 without a trace."""

    def __init__(self, app: ASGIApp, doors: Doors) -> None:
        self.app, self.doors = app, doors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; answer 500 if nothing was sent and something broke."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def sending(message: Any) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await cors.serve(self.doors, self.doors.origins, scope, receive, sending)
        except Exception as fault:
            telemetry.log(
                telemetry.FAULT, row="-", request_id="-", fault=type(fault).__name__,
                at=telemetry.place(fault.__traceback__),
            )  # fmt: skip
            if begun:
                raise
            issue = Issue(EXCEPTION, "This server failed while reading the request.")
            answer = Response(dumps(outcome([issue])), 500, media_type="application/fhir+json")
            await answer(scope, receive, send)
