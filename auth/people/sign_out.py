"""Signing out: by the button of a page, or because an app asks (OpenID Connect RP-Initiated Logout 1.0).

An app's word alone ends nothing: without an id_token of this very sign-in the person is asked. The browser
goes on only to a URI that this app registered for it, compared character by character.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import orjson
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.util import urlsafe_b64decode
from starlette.requests import Request
from starlette.responses import Response

from auth.authority import Authority
from auth.pages import browsing, form_target, page, see_other
from auth.people import trail
from auth.people.sessions import Session
from standards.sign_in import LOGOUT

_LONGEST = 8192


@dataclass(frozen=True, slots=True)
class Wish:
    """What an app asked for: `client` from the id_token (or as it was said), `subject` and `session` that
    the id_token is of ("" without one), `onward` where the browser may go ("" for nowhere)."""

    client: str = ""
    subject: str = ""
    session: str = ""
    onward: str = ""


async def sign_out(request: Request, authority: Authority) -> Response:
    """End the sign-in of this browser, and say so or go on to where the app may send it."""
    at = browsing(request)
    given: Mapping[str, str] = at.form if request.method == "POST" else request.query_params
    wish = await _wish(authority, given)
    session = at.session
    confirmed = request.method == "POST" and at.ours
    proved = (
        session is not None and wish.subject == session.person and wish.session in ("", session.id)
    )
    if session is None and wish.session:
        # A form that another site sends comes without our cookie; its id_token still names the sign-in.
        named = await authority.sessions.live(wish.session)
        if named is not None and named.person == wish.subject:
            session, proved = named, True
    if session is not None and not (confirmed or proved):
        return page(
            request, "sign_out.jinja",
            also_to=(form_target(wish.onward),) if wish.onward else (),
            given={k: given[k] for k in _PARAMETERS if k in given},
        )  # fmt: skip
    if session is not None:
        await _end(request, authority, session)
    if wish.onward:
        state = given.get("state", "")
        query = ("&" if "?" in wish.onward else "?") + urlencode({"state": state}) if state else ""
        answer = see_other(wish.onward + query, secure=at.secure)
    else:
        at.session = None
        answer = page(request, "signed_out.jinja")
    authority.sessions.take(answer)
    at.renew()
    return answer


_PARAMETERS = ("id_token_hint", "client_id", "post_logout_redirect_uri", "state")


async def _end(request: Request, authority: Authority, session: Session) -> None:
    await trail.record(request, authority, LOGOUT, "Signed out.", session=session)
    await authority.sessions.end(session.id)


async def _wish(authority: Authority, given: Mapping[str, str]) -> Wish:
    hint = await _hint(authority, given.get("id_token_hint", ""))
    audience = hint.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    named = [a for a in audiences if isinstance(a, str)]
    client = given.get("client_id", "")
    if named and client not in ("", *named):
        return Wish()
    client = client or (named[0] if len(named) == 1 else "")
    onward = given.get("post_logout_redirect_uri", "")
    return Wish(
        client=client,
        subject=str(hint.get("sub", "")),
        session=str(hint.get("sid", "")),
        onward=onward if onward and onward in await _registered(authority, client) else "",
    )


async def _registered(authority: Authority, client: str) -> list[str]:
    """Where this app may have browsers sent after signing out."""
    if not client:
        return []
    row = await authority.mongo.table("auth", "clients").one(
        {"_id": client, "revoked": None}, {"post_logout_redirect_uris": 1}
    )
    return list((row or {}).get("post_logout_redirect_uris") or [])


async def _hint(authority: Authority, compact: str) -> dict[str, Any]:
    """The claims of an id_token of ours, also of one that has expired (§2); {} for anything else."""
    if not compact or len(compact) > _LONGEST:
        return {}
    try:
        header = orjson.loads(urlsafe_b64decode(compact.partition(".")[0].encode()))
        key = await authority.keys.key(str(header.get("kid", "")))
        if key is None or header.get("typ", "JWT") != "JWT":
            return {}
        payload = orjson.loads(jws.deserialize_compact(compact, key, algorithms=["RS256"]).payload)
    except (JoseError, ValueError, AttributeError):
        return {}
    ours = isinstance(payload, dict) and payload.get("iss") == authority.settings.issuer
    return payload if ours else {}
