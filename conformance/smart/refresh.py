"""Refresh: new tokens for old, never more than was granted, and no reuse (security digest 1.11, 2.4, 2.8)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from conformance.check import Check, Group, Launched, Run, Skipped, expect
from conformance.smart import client

_SEE = "SMART App Launch 2.2, Refresh access token; RFC 6749 §6"


async def asked(
    run: Run, found: Launched, token: str, scope: str = ""
) -> tuple[int, Mapping[str, Any], Mapping[str, str]]:
    """The answer to one refresh: status, body, headers."""
    endpoint = run.known.endpoint("token_endpoint")
    form, headers = client.proofs(found.app, endpoint)
    said = {"grant_type": "refresh_token", "refresh_token": token} | form
    answer = await run.wire.form(endpoint, said | ({"scope": scope} if scope else {}), **headers)
    try:
        body = answer.json()
    except ValueError:
        body = {}
    return answer.status_code, body, answer.headers


async def refresh(run: Run, *, group: str, with_scope: bool) -> None:
    """A refresh gives a token of at most the same scopes; the next check uses the rotated token."""
    found = run.known.launch(group)
    token = found.answer.get("refresh_token")
    if not token:
        raise Skipped("no refresh token was granted")
    scope = " ".join(sorted(found.granted)) if with_scope else ""
    status, body, headers = await asked(run, found, str(token), scope)
    expect(status == 200, f"refresh answers {status} {body.get('error', '')}.")
    for name in ("access_token", "token_type", "expires_in", "scope"):
        expect(body.get(name) not in (None, ""), f"{name} is missing.")
    gained = set(str(body["scope"]).split()) - found.granted
    expect(not gained, f"the refresh gained scopes: {' '.join(sorted(gained))}.")
    expect("no-store" in headers.get("cache-control", ""), "Cache-Control does not say no-store.")
    expect("no-cache" in headers.get("pragma", ""), "Pragma does not say no-cache.")
    answer = dict(found.answer) | dict(body)
    run.known.launches[group] = Launched(found.app, found.asked, answer, headers, found.verifier)


async def wider(run: Run, *, group: str) -> None:
    """A refresh that asks for more than was granted is refused, and the grant lives on."""
    found = run.known.launch(group)
    token = found.answer.get("refresh_token")
    if not token:
        raise Skipped("no refresh token was granted")
    status, body, _ = await asked(run, found, str(token), "system/*.cruds user/*.cruds")
    expect(status == 400, f"it answers {status}, not 400.")
    expect(body.get("error") == "invalid_scope", f"error is {body.get('error')}.")


async def reuse(run: Run, *, group: str) -> None:
    """A spent refresh token is refused, and with it its successors (RFC 9700 §4.14)."""
    found = run.known.launch(group)
    spent = found.answer.get("refresh_token")
    if not spent:
        raise Skipped("no refresh token was granted")
    status, body, _ = await asked(run, found, str(spent))
    expect(status == 200, f"the refresh answers {status}.")
    heir = body.get("refresh_token")
    if not heir or heir == spent:
        raise Skipped("the server does not rotate refresh tokens")
    status, body, _ = await asked(run, found, str(spent))
    expect(status in (400, 401), f"a spent refresh token answers {status}.")
    expect(body.get("error") == "invalid_grant", f"error is {body.get('error')}.")
    status, _, _ = await asked(run, found, str(heir))
    expect(status in (400, 401), "the successor of a reused refresh token still works.")


async def unknown(run: Run, *, group: str) -> None:
    """A refresh token that nobody issued is refused."""
    status, body, _ = await asked(run, run.known.launch(group), "not-a-refresh-token")
    expect(status in (400, 401), f"it answers {status}.")
    expect(body.get("error") == "invalid_grant", f"error is {body.get('error')}.")


def group(of: str) -> Group:
    """The checks of the refresh token that the launch group `of` gave. They end its grant."""
    return Group(
        f"refresh-{of}",
        f"Refresh of {of}",
        (
            Check("plain", "without scope", _SEE, partial(refresh, group=of, with_scope=False)),
            Check(
                "scoped",
                "with all granted scopes",
                _SEE,
                partial(refresh, group=of, with_scope=True),
            ),
            Check("wider", "never with more", "RFC 6749 §6", partial(wider, group=of)),
            Check("unknown", "an unknown token is refused", _SEE, partial(unknown, group=of)),
            Check(
                "reuse", "a spent token ends its family", "RFC 9700 §4.14", partial(reuse, group=of)
            ),
        ),
    )
