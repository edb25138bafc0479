"""The authorization server: sign-in, launch, tokens, and what others need to believe them.

POST /auth/token         token.py          POST /auth/introspect   introspection.py
POST /auth/revoke        revocation.py     GET  /auth/jwks         keys.py
GET  /auth/revocations   (internal door)   discovery documents     discovery.py
/auth/upstream/…         upstream/routes.py
/auth/authorize[/{id}]   authorize/        POST /auth/launches     authorize/launching.py
/auth/apps               authorize/apps.py
/fhir/Practitioner, PractitionerRole, Organization                 practitioners.py, directory.py
/auth/clients, /auth/invitations, /auth/register                   registration/
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from math import isfinite

import httpx
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from affinity.pack import load
from auth import discovery
from auth.assertion import Replays
from auth.authority import Authority
from auth.authorize import approval, apps, authorize, launching
from auth.authorize.codes import Codes
from auth.authorize.grants import Grants
from auth.authorize.launches import Launches
from auth.authorize.refresh import RefreshTokens
from auth.authorize.waiting import Requests
from auth.binding import bearer
from auth.clients import Clients
from auth.directory import Directory
from auth.endpoint import answered, error, form_route
from auth.introspection import introspect
from auth.jwks import ClientKeys
from auth.keys import Keys
from auth.neighbours import Audit, NoPatients, Patients
from auth.opaque_tokens import OpaqueTokens
from auth.pages import door
from auth.people import reception
from auth.people.routes import people_routes
from auth.people.sessions import Sessions
from auth.practitioners import routes
from auth.registration.admin import Admin
from auth.registration.agreed import Agreed
from auth.registration.dynamic import Dynamic
from auth.registration.invitations import Invitations
from auth.revocation import revoke
from auth.revocations import Revocations
from auth.token import get_token
from auth.upstream import federation
from auth.upstream.routes import upstream_routes
from chassis.call import Service
from chassis.caller import Verifier, challenge
from chassis.destinations import allowed, guarded
from chassis.mongo import Mongo
from chassis.outbox import Forwarder
from chassis.proof import Proofs
from chassis.settings import Settings
from governance.permit import Denied, decide
from standards import balp, iua, registration, smart
from standards.outcome import Refused
from standards.rows import Transaction

_PLAIN_CODES = balp.Vocabulary()


@asynccontextmanager
async def open_service(
    settings: Settings,
    mongo: Mongo,
    *,
    audit: Audit,
    patients: Patients | None = None,
    words: balp.Vocabulary = _PLAIN_CODES,
    rows: Iterable[Transaction] = (),
) -> AsyncIterator[Service]:
    """Open the authorization server over the `auth` database.

    `audit` makes AuditEvents durable; `patients` finds the people that an app can be opened for;
    `words` are the code systems of the affinity pack; `rows` are the product's rows, from which discovery
    lists the scopes that reach something. The service's `near` is its `Authority`.
    """
    places, pack = allowed(settings.keys_allow), load(settings.affinity)
    async with AsyncExitStack() as stack:
        context = ssl.create_default_context()
        # Clients say where their keys are; whatever else is called, the operator has configured.
        strange = await stack.enter_async_context(guarded(places.address, context))
        http = await stack.enter_async_context(
            httpx.AsyncClient(verify=context, follow_redirects=False, trust_env=False)
        )
        keys, revocations = Keys.of(settings, mongo), Revocations(mongo)
        replays = Replays(mongo, settings.clock_skew)
        sessions = Sessions(settings, mongo, revocations)
        tokens = OpaqueTokens(mongo, settings.issuer)
        desk = await stack.enter_async_context(
            reception.opened(settings, mongo, http, pack, sessions, revocations)
        )
        authority = Authority(
            settings=settings,
            mongo=mongo,
            clients=Clients(mongo),
            client_keys=ClientKeys(strange, places),
            replays=replays,
            keys=keys,
            revocations=revocations,
            sessions=sessions,
            federation=await federation.opened(settings, mongo, http, pack),
            tokens=tokens,
            verifier=Verifier(settings, keys, revocations.here, tokens=tokens),
            audit=audit,
            words=words,
            requests=Requests(mongo),
            launches=Launches(mongo),
            codes=Codes(mongo),
            grants=Grants(mongo, revocations),
            refresh_tokens=RefreshTokens(mongo),
            proofs=Proofs(mongo, "auth"),
            patients=patients or NoPatients(),
            pack=pack,
            reception=desk,
        )
        invitations = Invitations(mongo)
        known = tuple(rows)
        agreed = Agreed.of(
            pack, (*iua.TRANSACTIONS, *smart.TRANSACTIONS, *registration.TRANSACTIONS, *known)
        )
        doors = (
            Admin(authority, invitations, agreed, places),
            Dynamic(authority, invitations, agreed, places),
        )
        directory = Directory(mongo, pack, words, settings.fhir_base)
        stores = (
            keys, authority.clients, invitations, replays, revocations, sessions, tokens, directory,
            authority.requests, authority.launches, authority.codes, authority.grants,
            authority.refresh_tokens, authority.proofs,
        )  # fmt: skip
        await asyncio.gather(*(store.prepare() for store in stores))
        await stack.enter_async_context(Forwarder(mongo, "auth", audit, grace=1.0))
        await stack.enter_async_context(revocations.here.followed())
        yield Service(
            name="auth",
            routes=routes(directory),
            near=authority,
            ready=mongo.ping,
            plain=(*_routes(authority, known), *(r for door in doors for r in door.routes())),
        )


def _routes(authority: Authority, rows: Iterable[Transaction]) -> tuple[BaseRoute, ...]:
    scopes = discovery.scopes(rows)
    known = discovery.facts(authority.settings, scopes)
    return (
        form_route(iua.GET_TOKEN, get_token, authority, pages=True),
        form_route(iua.INTROSPECT_TOKEN, introspect, authority),
        form_route(iua.REVOKE_TOKEN, revoke, authority, pages=True),
        discovery.open_route(iua.DISCOVER.routes[0][1], discovery.smart_configuration(known)),
        discovery.open_route(iua.GET_METADATA.routes[0][1], discovery.server_metadata(known)),
        *(
            discovery.open_route(path, discovery.openid_configuration(known))
            for _, path in smart.OPENID.routes
        ),
        authorize.route(authority),
        door(smart.APPROVE.routes[0][1], approval.carry_on, authority),
        door(smart.APPS.routes[0][1], apps.apps, authority),
        launching.route(authority),
        discovery.open_route(iua.GET_KEYS.routes[0][1], authority.keys.jwks, seconds=60),
        _news(authority),
        *people_routes(authority),
        *upstream_routes(authority),
    )


def _news(authority: Authority) -> Route:
    """The internal door through which services that run apart follow the revocations."""

    async def serve(request: Request) -> Response:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token:
            return answered(401, error("invalid_token", "A service token is needed."), challenge())
        try:
            caller = await bearer(token.strip(), authority)
        except Refused as refusal:
            words = refusal.issues[0].words
            return answered(refusal.status(), error("invalid_token", words), refusal.headers)
        decision = decide(caller.scope, iua.REVOCATIONS)
        if isinstance(decision, Denied):
            told = challenge("insufficient_scope", decision.words, decision.scope)
            return answered(403, error("insufficient_scope", decision.words), told)
        moment = _moment(request.query_params.get("since", "0"))
        if moment is None:
            return answered(
                400, error("invalid_request", "since is a number of seconds since 1970.")
            )
        ended = await authority.revocations.since(moment)
        return answered(200, {"revoked": [row._asdict() for row in ended]})

    return Route(iua.REVOCATIONS.routes[0][1], serve, methods=["GET"], include_in_schema=False)


def _moment(text: str) -> float | None:
    try:
        moment = float(text)
    except ValueError:
        return None
    return moment if isfinite(moment) and 0 <= moment < 1e11 else None
