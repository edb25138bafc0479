"""POST /auth/launches: a host system mints a launch for its user (security digest 1.5).

The host shows a token of its own with the scope `launch-mint`. The app must be one that people open
from other systems, the patient one that the host may know of, and the purpose one that host, app and
community agree on. All that is wrong is said at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from auth import accounts, binding
from auth.authority import Authority
from auth.authorize.request import answer_uri
from auth.client import Client
from auth.endpoint import answered, error
from auth.people.person import Person
from chassis import telemetry
from chassis.body import parse_json
from chassis.call import Caller
from chassis.caller import challenge
from chassis.spool import read_plain
from governance.permit import Denied, Permit, decide
from standards import smart
from standards.outcome import Refused

_LARGEST = 64 * 1024
_MEMBERS = frozenset({"client_id", "user", "purpose_of_use", "reason", *smart.CONTEXT})
_REASON = 500


def route(authority: Authority) -> Route:
    """The Starlette route of the API."""
    (_, path) = smart.LAUNCH.routes[0]

    async def serve(request: Request) -> Response:
        answer = await _serve(request, authority)
        telemetry.REQUESTS.labels(smart.LAUNCH.code, str(answer.status_code)).inc()
        return answer

    return Route(path, serve, methods=["POST"], include_in_schema=False)


async def _serve(request: Request, authority: Authority) -> Response:
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token.strip():
        return answered(401, error("invalid_token", "A token is needed."), challenge())
    try:
        caller = await binding.bearer(token.strip(), authority)
        decision = decide(caller.scope, smart.LAUNCH)
        if isinstance(decision, Denied):
            told = challenge("insufficient_scope", decision.words, decision.scope)
            return answered(403, error("insufficient_scope", decision.words), told)
        said = parse_json(await read_plain(request.receive, _LARGEST))
        return await _mint(said, caller, authority, _address(request))
    except Refused as refusal:
        status = refusal.status()
        code = "invalid_token" if status == 401 else "invalid_request"
        code = "temporarily_unavailable" if status >= 500 else code
        return answered(status, error(code, refusal.issues[0].words), refusal.headers)


async def _mint(
    said: Mapping[str, Any], caller: Caller, authority: Authority, address: str
) -> Response:
    app = await authority.clients.get(str(said.get("client_id", "")))
    host = await authority.clients.get(caller.client_id)
    faults = [*check(said, app, host, authority), *smart.context_faults(said)]
    user = await _person(said.get("user"), authority)
    if user is None:
        faults.append(("user", "user is the id or the username of a person who signs in here."))
    patient = said.get("patient")
    sound = isinstance(patient, str) and not any(name == "patient" for name, _ in faults)
    if sound and not await authority.patients.patients([str(patient)], caller, Permit()):
        faults.append(("patient", "There is no such Patient that you may know of."))
    if faults or app is None or user is None:
        body = error("invalid_request", " ".join(words for _, words in faults))
        told = [{"member": member, "words": words} for member, words in faults]
        return answered(400, {**body, "issues": told})
    purpose, reason = str(said.get("purpose_of_use", "")), str(said.get("reason", ""))
    handle = await authority.launches.mint(
        client_id=app.client_id,
        person=user.id,
        host=caller.client_id,
        context={name: said[name] for name in smart.CONTEXT if said.get(name) is not None},
        purpose=purpose,
        reason=reason,
        now=authority.clock(),
    )
    event = accounts.deed(
        smart.LAUNCH,
        caller,
        authority.settings.issuer,
        authority.words,
        now=datetime.now(UTC),
        address=address,
        said=f"Opened the app {app.client_id} for the user {user.id}.",
        patient=patient if isinstance(patient, str) else "",
    )
    await authority.audit.record(event)
    made: dict[str, Any] = {"launch": handle, "expires_in": smart.LAUNCH_SECONDS}
    if app.launch_uris:
        base = authority.settings.fhir_base
        made["launch_url"] = answer_uri(app.launch_uris[0], iss=base, launch=handle)
    return answered(201, made)


def check(
    said: Mapping[str, Any], app: Client | None, host: Client | None, authority: Authority
) -> list[tuple[str, str]]:
    """Everything that is wrong with the request but its context: (member, words). PURE."""
    faults = [
        (name, f"{name[:64]} is not known; there are {', '.join(sorted(_MEMBERS))}.")
        for name in said
        if name not in _MEMBERS
    ]
    if app is None or app.revoked is not None:
        faults.append(("client_id", "There is no such app."))
    elif not app.allows("authorization_code") or "launch" not in app.scope.split():
        faults.append(("client_id", "The app is not registered to be opened from other systems."))
    purpose = said.get("purpose_of_use", "")
    if not isinstance(purpose, str) or (purpose and purpose not in authority.purposes):
        agreed = ", ".join(sorted(authority.purposes))
        faults.append(("purpose_of_use", f"purpose_of_use is one of {agreed}."))
    else:
        for whose, client in (("This client", host), ("The app", app)):
            if (
                purpose
                and client is not None
                and client.purposes
                and purpose not in client.purposes
            ):
                faults.append(("purpose_of_use", f"{whose} is not registered for this purpose."))
    reason = said.get("reason", "")
    if not isinstance(reason, str) or len(reason) > _REASON or not reason.isprintable():
        faults.append(("reason", f"reason is one line of at most {_REASON} characters."))
    return faults


async def _person(user: object, authority: Authority) -> Person | None:
    """Who the host means: its user's id here, or their username."""
    if not isinstance(user, str) or not 0 < len(user) <= 256:
        return None
    people = authority.reception.people
    found = await people.get(user) or await people.by_username(user)
    return found if found is not None and found.active else None


def _address(request: Request) -> str:
    return request.client.host if request.client else ""
