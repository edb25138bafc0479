"""What a server must refuse: request, code and verifier (security digest 1.21, 2.8, 2.10, 7.1).

Each check is one wrong thing in an otherwise right launch. An answer counts as a refusal when it is an
error at the redirect URI or a page that leads nowhere; no code may come of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from conformance.check import Check, Failed, Group, Run, Skipped, expect
from conformance.smart import client
from conformance.smart.launch import authorized, launched, redeemed
from conformance.target import App
from conformance.visitor import Lost

_SEE = "SMART App Launch 2.2; RFC 6749 §4.1.2.1, §5.2; RFC 9700"


def _app(run: Run) -> App:
    app = run.target.apps.get("public") or next(iter(run.target.apps.values()), None)
    if app is None:
        raise Skipped("no app is stated")
    return app


async def _no_code(run: Run, error: str, **changes: str) -> None:
    """The request with these changes comes back as this error, with state and iss."""
    app = _app(run)
    try:
        back = await authorized(
            run, app, scope=run.target.standalone, proof=client.verifier(), changes=changes
        )
    except Lost:
        run.warn(False, "the refusal is a page; the app at its redirect URI never hears of it.")
        return
    expect("code" not in back, "a code came back.")
    expect(back.get("error") == error, f"error is {back.get('error')}, not {error}.")
    expect(back.get("iss"), "iss is missing beside the error (RFC 9207).")


def _redirected(error: str, **changes: str) -> Callable[[Run], Awaitable[None]]:
    async def check(run: Run) -> None:
        await _no_code(run, error, **changes)

    return check


def _elsewhere(change: Callable[[str], str]) -> Callable[[Run], Awaitable[None]]:
    async def check(run: Run) -> None:
        app = _app(run)
        wrong = change(app.redirect_uri)
        said = client.request(
            app, scope=run.target.standalone, aud=run.target.aud, proof=client.verifier(),
            state="a-state-of-some-length", changes={"redirect_uri": wrong},
        )  # fmt: skip
        url = client.address(run.known.endpoint("authorization_endpoint"), said)
        answer = await run.wire.get(url, Accept="text/html")
        expect(not answer.is_redirect, f"it redirects to {answer.headers.get('location')}.")
        expect(answer.status_code == 400, f"it answers {answer.status_code}, not 400.")

    return check


async def unknown_client(run: Run) -> None:
    """A client nobody registered is told so on a page, and never redirected."""
    app = _app(run)
    said = client.request(
        app,
        scope="openid",
        aud=run.target.aud,
        proof=client.verifier(),
        state="s",
        changes={"client_id": "nobody"},
    )
    url = client.address(run.known.endpoint("authorization_endpoint"), said)
    answer = await run.wire.get(url, Accept="text/html")
    expect(answer.status_code == 400, f"it answers {answer.status_code}, not 400.")


async def repeated(run: Run) -> None:
    """A repeated parameter is refused."""
    app = _app(run)
    said = client.request(
        app, scope=run.target.standalone, aud=run.target.aud, proof=client.verifier(), state="s"
    )
    url = client.address(run.known.endpoint("authorization_endpoint"), said) + "&scope=openid"
    answer = await run.wire.get(url, Accept="text/html")
    where = answer.headers.get("location", "")
    expect(
        answer.status_code == 400 or "error=invalid_request" in where,
        f"it answers {answer.status_code}.",
    )


async def framed(run: Run) -> None:
    """No other site may frame the pages (clickjacking)."""
    app = _app(run)
    said = client.request(
        app, scope=run.target.standalone, aud=run.target.aud, proof=client.verifier(), state="s"
    )
    url = client.address(run.known.endpoint("authorization_endpoint"), said)
    answer = await run.wire.get(url, Accept="text/html")
    policy = answer.headers.get("content-security-policy", "")
    expect(
        "frame-ancestors 'none'" in policy
        or answer.headers.get("x-frame-options", "").upper() == "DENY",
        "neither frame-ancestors 'none' nor X-Frame-Options: DENY.",
    )
    expect(
        answer.headers.get("referrer-policy") == "no-referrer",
        "Referrer-Policy is not no-referrer.",
    )


async def _code(run: Run) -> tuple[App, str, str]:
    app, proof = _app(run), client.verifier()
    back = await authorized(run, app, scope=run.target.standalone, proof=proof)
    if "code" not in back:
        raise Failed(f"no code came back: {back.get('error')} {back.get('error_description')}")
    return app, back["code"], proof


def _verifier(change: Callable[[str], str | None]) -> Callable[[Run], Awaitable[None]]:
    async def check(run: Run) -> None:
        app, code, proof = await _code(run)
        endpoint = run.known.endpoint("token_endpoint")
        form, headers = client.proofs(app, endpoint)
        said = client.code_form(app, code, proof) | form
        changed = change(proof)
        if changed is None:
            del said["code_verifier"]
        else:
            said["code_verifier"] = changed
        answer = await run.wire.form(endpoint, said, **headers)
        expect(answer.status_code in (400, 401), f"it answers {answer.status_code}.")
        wanted = ("invalid_request", "invalid_grant")
        expect(answer.json().get("error") in wanted, f"error is {answer.json().get('error')}.")
        if app.origin:
            expect(
                answer.headers.get("access-control-allow-origin"), "a page cannot read the refusal."
            )

    return check


async def bad_code(run: Run) -> None:
    """A code nobody issued is exactly 400."""
    app = _app(run)
    status, body, headers = await redeemed(run, app, "not-a-code", client.verifier())
    expect(status == 400, f"it answers {status}, not 400.")
    expect(body.get("error") == "invalid_grant", f"error is {body.get('error')}.")
    expect("no-store" in headers.get("cache-control", ""), "the refusal may be stored.")


async def bad_client(run: Run) -> None:
    """A code redeemed by a client nobody registered is refused."""
    app, code, proof = await _code(run)
    endpoint = run.known.endpoint("token_endpoint")
    said = client.code_form(app, code, proof) | {"client_id": "nobody"}
    answer = await run.wire.form(endpoint, said)
    expect(answer.status_code in (400, 401), f"it answers {answer.status_code}.")


async def replay(run: Run) -> None:
    """A code redeemed twice is refused, and what the first gave is taken back (RFC 6749 §4.1.2)."""
    app, code, proof = await _code(run)
    status, body, _ = await redeemed(run, app, code, proof)
    expect(status == 200, f"the first use answers {status}.")
    status, refusal, _ = await redeemed(run, app, code, proof)
    expect(status == 400, f"the second use answers {status}, not 400.")
    expect(refusal.get("error") == "invalid_grant", f"error is {refusal.get('error')}.")
    for _ in range(20):
        answer = await run.wire.get(
            f"{run.target.fhir}/Patient/{body.get('patient', 'none')}",
            Authorization=f"Bearer {body['access_token']}",
        )
        if answer.status_code == 401:
            return
        await asyncio.sleep(0.1)
    raise Failed("two seconds after the replay the first token still works.")


async def race(run: Run) -> None:
    """Of two redemptions at the same moment at most one gets tokens."""
    app, code, proof = await _code(run)
    both = await asyncio.gather(*(redeemed(run, app, code, proof) for _ in range(2)))
    won = [status for status, _, _ in both if status == 200]
    expect(len(won) <= 1, "both got tokens.")


async def no_token(run: Run) -> None:
    """The FHIR API without a token is 401 with a Bearer challenge."""
    answer = await run.wire.get(f"{run.target.fhir}/Patient/example")
    expect(answer.status_code == 401, f"it answers {answer.status_code}, not 401.")
    told = answer.headers.get("www-authenticate", "")
    expect(told.lower().startswith("bearer"), "there is no Bearer challenge.")


async def id_token_as_access(run: Run) -> None:
    """An id_token is no access token."""
    found = await launched(run, _app(run), scope=run.target.standalone)
    token = found.answer.get("id_token")
    if not token:
        raise Skipped("there is no id_token")
    answer = await run.wire.get(
        f"{run.target.fhir}/Patient/example", Authorization=f"Bearer {token}"
    )
    expect(answer.status_code == 401, f"it answers {answer.status_code}, not 401.")


_FRONT: Mapping[str, tuple[str, Callable[[Run], Awaitable[None]]]] = {
    "client": ("an unknown client", unknown_client),
    "slash": ("a redirect URI with a slash more", _elsewhere(lambda u: u + "/")),
    "query": ("a redirect URI with a query more", _elsewhere(lambda u: u + "?next=https://other.example")),
    "host": ("a redirect URI elsewhere", _elsewhere(lambda _: "https://other.example/return")),
    "path": ("a redirect URI one path deeper", _elsewhere(lambda u: u.rstrip("/") + "/../x")),
    "repeated": ("a repeated parameter", repeated),
    "aud": ("the audience of another server", _redirected("invalid_request", aud="https://other.example/fhir")),
    "no-aud": ("no audience", _redirected("invalid_request", aud="")),
    "plain": ("PKCE with plain", _redirected("invalid_request", code_challenge_method="plain")),
    "no-pkce": ("no PKCE", _redirected("invalid_request", code_challenge="", code_challenge_method="")),
    "no-method": ("a challenge without method", _redirected("invalid_request", code_challenge_method="")),
    "response": ("another response type", _redirected("unsupported_response_type", response_type="token")),
    "launch": ("a launch nobody made", _redirected("invalid_request", launch="not-a-launch")),
    "scope": ("scopes nobody knows", _redirected("invalid_scope", scope="nonsense/more.x")),
    "frame": ("a frame around the pages", framed),
}  # fmt: skip
_BACK: Mapping[str, tuple[str, Callable[[Run], Awaitable[None]]]] = {
    "no-verifier": ("a code without verifier", _verifier(lambda _: None)),
    "blank-verifier": ("a blank verifier", _verifier(lambda _: "")),
    "wrong-verifier": ("another verifier", _verifier(lambda _: client.verifier())),
    "challenge": ("the challenge as verifier", _verifier(client.challenge)),
    "code": ("a code nobody issued", bad_code),
    "other-client": ("a client nobody registered", bad_client),
    "replay": ("a code used again", replay),
    "race": ("two uses at once", race),
    "no-token": ("the API without a token", no_token),
    "id-token": ("an id_token at the API", id_token_as_access),
}

GROUP = Group(
    "refusals",
    "What must be refused",
    tuple(
        Check(id_, words, _SEE, check) for id_, (words, check) in (*_FRONT.items(), *_BACK.items())
    ),
)
