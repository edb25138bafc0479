"""Launch: from the authorization request to a token, standalone and from another system (digest 2.2, 2.8)."""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from conformance.check import Check, Failed, Group, Launched, Run, Skipped, expect
from conformance.smart import client
from conformance.target import App, Kind

_SEE = "SMART App Launch 2.2, Obtain authorization code; Obtain access token"
_REFERENCE = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64}")
Launcher = Callable[[App], Awaitable[str]]
"""Gives the launch handle that another system would put into the app's launch URL."""


async def authorized(
    run: Run,
    app: App,
    *,
    scope: str,
    proof: str,
    launch: str = "",
    by_post: bool = False,
    changes: Mapping[str, str] = MappingProxyType({}),
) -> Mapping[str, str]:
    """What came back to the app's redirect URI: a code or an error. The state must be the one sent."""
    if run.visitor is None:
        raise Skipped("nobody walks the browser's part; state [sign_in] or run by hand")
    state = str(uuid.uuid4())
    said = client.request(
        app,
        scope=scope,
        aud=run.target.aud,
        proof=proof,
        state=state,
        launch=launch,
        changes=changes,
    )
    endpoint = run.known.endpoint("authorization_endpoint")
    if by_post:
        back = await run.visitor.visit(endpoint, app.redirect_uri, said)
    else:
        back = await run.visitor.visit(client.address(endpoint, said), app.redirect_uri)
    if "state" not in changes:
        expect(back.get("state") == state, "the state that came back is not the one that was sent.")
    return back


async def redeemed(run: Run, app: App, code: str, proof: str) -> tuple[int, Any, Mapping[str, str]]:
    """The token endpoint's answer to this code: status, JSON body, headers."""
    endpoint = run.known.endpoint("token_endpoint")
    form, headers = client.proofs(app, endpoint)
    answer = await run.wire.form(
        endpoint, client.code_form(app, code, proof) | form, **_under(headers)
    )
    try:
        body = answer.json()
    except ValueError:
        body = {}
    return answer.status_code, body, answer.headers


async def launched(
    run: Run, app: App, *, scope: str, launch: str = "", by_post: bool = False
) -> Launched:
    """A whole launch. Raises `Failed` where it breaks."""
    proof = client.verifier()
    back = await authorized(run, app, scope=scope, proof=proof, launch=launch, by_post=by_post)
    expect(
        "error" not in back,
        f"the server answered {back.get('error')}: {back.get('error_description')}",
    )
    expect(back.get("code"), "no code came back.")
    expect(back.get("iss"), "iss is missing beside the code (RFC 9207).")
    status, body, headers = await redeemed(run, app, back["code"], proof)
    expect(status == 200, f"the code was not redeemed: {status} {_error(body)}")
    return Launched(app, scope, body, headers, proof)


async def launch(run: Run, *, kind: Kind, group: str, ehr: bool, by_post: bool) -> None:
    """The app is launched, somebody signs in and allows it, and it gets a token."""
    app = run.target.apps.get(kind)
    if app is None:
        raise Skipped(f"no {kind} app is stated")
    handle = ""
    if ehr:
        if run.launcher is None:
            raise Skipped("nobody launches the app from another system")
        handle = await run.launcher(app)
    scope = run.target.ehr if ehr else run.target.standalone
    run.known.launches[group] = await launched(
        run, app, scope=scope, launch=handle, by_post=by_post
    )


async def body(run: Run, *, group: str) -> None:
    """The token answer's members are there and of their types."""
    found = run.known.launch(group)
    answer = found.answer
    for name in ("access_token", "token_type", "expires_in", "scope"):
        expect(answer.get(name) not in (None, ""), f"{name} is missing.")
    for name in (
        "access_token",
        "token_type",
        "scope",
        "id_token",
        "refresh_token",
        "patient",
        "encounter",
        "intent",
    ):
        expect(isinstance(answer.get(name, ""), str), f"{name} is not a string.")
    expect(
        isinstance(answer["expires_in"], int | float)
        and not isinstance(answer["expires_in"], bool),
        "expires_in is not a number.",
    )
    expect(str(answer["token_type"]).lower() == "bearer", f"token_type is {answer['token_type']}.")
    run.warn(answer["expires_in"] <= 3600, "the access token lives longer than an hour.")
    lacking = set(found.asked.split()) - found.granted
    run.warn(not lacking, f"not granted: {' '.join(sorted(lacking))}")
    expect(
        "patient" in answer or not any(s.startswith("patient/") for s in found.granted),
        "a patient/ scope was granted without a patient.",
    )
    _fhir_context(answer.get("fhirContext", []))


async def headers(run: Run, *, group: str) -> None:
    """Nobody may store the token answer."""
    told = run.known.launch(group).headers
    expect("no-store" in told.get("cache-control", ""), "Cache-Control does not say no-store.")
    expect("no-cache" in told.get("pragma", ""), "Pragma does not say no-cache.")


async def origin(run: Run, *, group: str) -> None:
    """A browser app may read the token answer."""
    found = run.known.launch(group)
    if found.app.kind != "public" or not found.app.origin:
        raise Skipped("only for public apps with an origin")
    allowed = found.headers.get("access-control-allow-origin")
    expect(
        allowed in ("*", found.app.origin), "no Access-Control-Allow-Origin for the app's origin."
    )


async def context(run: Run, *, group: str) -> None:
    """The patient in context can be read with the token."""
    found = run.known.launch(group)
    patient = found.answer.get("patient")
    if not patient:
        raise Skipped("no patient in context")
    await readable(run, found.token, f"Patient/{patient}")


async def banner(run: Run, *, group: str) -> None:
    """The system that launched says whether the app must show the patient's banner."""
    found = run.known.launch(group)
    expect(
        isinstance(found.answer.get("need_patient_banner"), bool),
        "need_patient_banner is not true or false.",
    )


async def readable(run: Run, token: str, reference: str) -> None:
    """Reading this with the token answers 200 and that type. Raises `Failed`."""
    answer = await run.wire.get(
        f"{run.target.fhir}/{reference}",
        Authorization=f"Bearer {token}",
        Accept="application/fhir+json",
    )
    expect(answer.status_code == 200, f"{reference} answers {answer.status_code}.")
    expect(
        answer.json().get("resourceType") == reference.split("/", maxsplit=1)[0],
        "it is of another type.",
    )


def _fhir_context(found: Any) -> None:
    expect(isinstance(found, list), "fhirContext is not an array.")
    for one in found:
        expect(isinstance(one, dict), "fhirContext holds something that is not an object.")
        expect(
            {"reference", "canonical", "identifier"} & set(one),
            "an entry of fhirContext has neither reference, canonical nor identifier.",
        )
        if "reference" in one:
            expect(_REFERENCE.fullmatch(str(one["reference"])), "a reference is not relative.")
        if str(one.get("reference", "")).startswith(("Patient/", "Encounter/")):
            expect(
                one.get("role", "launch") != "launch",
                "a patient or encounter stands in fhirContext.",
            )
        expect(one.get("role", "x"), "a role is empty.")
        expect(isinstance(one.get("identifier", {}), dict), "an identifier is not an object.")


def _error(found: Any) -> str:
    if not isinstance(found, dict):
        return ""
    return f"{found.get('error', '')} {found.get('error_description', '')}".strip()


def _under(told: Mapping[str, str]) -> dict[str, str]:
    return {k.replace("-", "_"): v for k, v in told.items()}


def group(kind: Kind, *, ehr: bool = False, by_post: bool = False) -> Group:
    """The group of one kind of app and one way to launch it."""
    id_ = f"{'ehr' if ehr else 'standalone'}-{kind}{'-post' if by_post else ''}"
    title = f"{'Launch from another system' if ehr else 'Standalone launch'}, {kind} app"
    checks = [
        Check("launch", "sign-in and approval lead to a token", _SEE,
              partial(launch, kind=kind, group=id_, ehr=ehr, by_post=by_post)),
        Check("body", "the token answer is whole", _SEE, partial(body, group=id_)),
        Check("headers", "the token answer is not stored", "RFC 6749 §5.1", partial(headers, group=id_)),
        Check("origin", "the token answer can be read by a page", "SMART App Launch 2.2, CORS",
              partial(origin, group=id_)),
        Check("context", "the patient in context can be read", "SMART App Launch 2.2, Launch context",
              partial(context, group=id_)),
    ]  # fmt: skip
    if ehr:
        checks.append(
            Check(
                "banner", "need_patient_banner is said", "ONC (g)(10)", partial(banner, group=id_)
            )
        )
    return Group(id_, title + (" by POST" if by_post else ""), tuple(checks))


__all__ = ["Failed", "Launcher", "authorized", "group", "launched", "readable", "redeemed"]
