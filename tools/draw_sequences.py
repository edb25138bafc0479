"""Draw the sequence pictures of docs/auth.md from rows: who says what to whom, in order.

python tools/draw_sequences.py            # writes docs/pictures/auth-*.svg
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from textwrap import wrap

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
LANE, LEFT, TOP, LINE = 230, 110, 64, 17


@dataclass(frozen=True, slots=True)
class Says:
    """One message: from, to (the same for what a party does by itself), what; `back` is dashed."""

    who: str
    whom: str
    what: str
    back: bool = False


@dataclass(frozen=True, slots=True)
class Flow:
    """One picture: its name, its title, its parties from left to right, its messages."""

    name: str
    title: str
    parties: tuple[str, ...]
    messages: tuple[Says, ...]


APP, BROWSER, AUTH, FHIR, HOST = "App", "Browser", "Sign-in (auth)", "FHIR API", "Other system"
SERVICE, PROVIDER = "Back-end service", "Other provider"

FLOWS = (
    Flow(
        "auth-standalone",
        "Standalone launch",
        (APP, BROWSER, AUTH, FHIR),
        (
            Says(APP, FHIR, "GET /fhir/.well-known/smart-configuration"),
            Says(FHIR, APP, "where to ask, and S256", back=True),
            Says(
                APP, BROWSER, "authorize?client_id, redirect_uri, scope, state, aud, code_challenge"
            ),
            Says(BROWSER, AUTH, "GET /auth/authorize"),
            Says(AUTH, AUTH, "every parameter checked; the request is kept here"),
            Says(AUTH, BROWSER, "sign in, choose role and purpose", back=True),
            Says(BROWSER, AUTH, "password and second factor, or passkey"),
            Says(AUTH, BROWSER, "which patient? what may the app do?", back=True),
            Says(BROWSER, AUTH, "allow, perhaps less than was asked"),
            Says(AUTH, BROWSER, "303 redirect_uri?code, state, iss", back=True),
            Says(BROWSER, APP, "code, state, iss"),
            Says(APP, AUTH, "POST /auth/token: code, code_verifier"),
            Says(AUTH, APP, "access_token, scope, patient, id_token, refresh_token", back=True),
            Says(APP, FHIR, "GET /fhir/DocumentReference?patient=… with the token"),
            Says(FHIR, APP, "what this person may see in this role, for this purpose", back=True),
        ),
    ),
    Flow(
        "auth-ehr",
        "Launch from another system",
        (HOST, APP, BROWSER, AUTH),
        (
            Says(HOST, AUTH, "POST /auth/launches: app, person, patient, purpose"),
            Says(AUTH, HOST, "a handle, good once, for five minutes", back=True),
            Says(HOST, BROWSER, "launch URL?iss, launch"),
            Says(BROWSER, APP, "iss, launch"),
            Says(APP, APP, "is iss one I know?"),
            Says(APP, BROWSER, "authorize?… scope=launch, launch, aud=iss"),
            Says(BROWSER, AUTH, "GET /auth/authorize"),
            Says(AUTH, AUTH, "handle: unused, of this app and this person"),
            Says(AUTH, BROWSER, "sign-in or the session there is; approval", back=True),
            Says(AUTH, BROWSER, "303 redirect_uri?code, state, iss", back=True),
            Says(BROWSER, APP, "code"),
            Says(APP, AUTH, "POST /auth/token: code, code_verifier"),
            Says(AUTH, APP, "access_token with patient, encounter, fhirContext, intent", back=True),
        ),
    ),
    Flow(
        "auth-backend",
        "Backend service",
        (SERVICE, AUTH, FHIR),
        (
            Says(SERVICE, SERVICE, "sign an assertion: RS384 or ES384, five minutes, a jti"),
            Says(SERVICE, AUTH, "POST /auth/token: client_credentials, assertion, scope, purpose"),
            Says(AUTH, AUTH, "key, audience, times; the jti is used up"),
            Says(AUTH, SERVICE, "access_token, 300 seconds", back=True),
            Says(SERVICE, FHIR, "requests with the token"),
            Says(FHIR, SERVICE, "answers within its scopes, audited", back=True),
        ),
    ),
    Flow(
        "auth-refresh",
        "Refresh, and what a thief finds",
        (APP, "Thief", AUTH),
        (
            Says(APP, AUTH, "refresh_token 1"),
            Says(AUTH, APP, "access_token, refresh_token 2; 1 is spent", back=True),
            Says("Thief", AUTH, "refresh_token 1, stolen earlier"),
            Says(AUTH, AUTH, "spent already: the whole family ends"),
            Says(AUTH, "Thief", "400 invalid_grant", back=True),
            Says(APP, AUTH, "refresh_token 2"),
            Says(AUTH, APP, "400 invalid_grant: sign in again", back=True),
        ),
    ),
    Flow(
        "auth-upstream",
        "Sign-in with another provider",
        (BROWSER, AUTH, PROVIDER),
        (
            Says(BROWSER, AUTH, "continue with NHS CIS2"),
            Says(
                AUTH, BROWSER, "303 to the provider: state, nonce, challenge; a cookie", back=True
            ),
            Says(BROWSER, PROVIDER, "sign in there"),
            Says(PROVIDER, BROWSER, "303 return?code, state, iss", back=True),
            Says(BROWSER, AUTH, "code, state, iss, and the cookie"),
            Says(AUTH, PROVIDER, "token request with private_key_jwt and verifier"),
            Says(PROVIDER, AUTH, "id_token", back=True),
            Says(AUTH, AUTH, "signature, issuer, audience, nonce, times, assurance"),
            Says(AUTH, BROWSER, "role and purpose; a session of our own", back=True),
        ),
    ),
    Flow(
        "auth-opaque",
        "What the FHIR API does with an app's token",
        (APP, FHIR, AUTH),
        (
            Says(APP, FHIR, "Authorization: Bearer to_…"),
            Says(FHIR, AUTH, "first time: what does this token stand for?"),
            Says(AUTH, FHIR, "person, role, purpose, patient, scopes, expiry", back=True),
            Says(FHIR, FHIR, "scopes and policy become part of the query"),
            Says(FHIR, APP, "the answer, audited", back=True),
            Says(AUTH, FHIR, "twice a second: what was taken back", back=True),
            Says(APP, FHIR, "the same token, once it was taken back"),
            Says(FHIR, APP, "401 invalid_token", back=True),
        ),
    ),
)


def svg(flow: Flow) -> str:
    """The picture of one flow. PURE."""
    place = {party: LEFT + LANE * i for i, party in enumerate(flow.parties)}
    width = LEFT * 2 + LANE * (len(flow.parties) - 1)
    parts, y = [], TOP + 44
    for number, message in enumerate(flow.messages, 1):
        a, b = place[message.who], place[message.whom]
        room = max(abs(b - a) - 30, LANE - 30)
        lines = wrap(f"{number}. {message.what}", max(int(room / 6.6), 20))
        dash = ' stroke-dasharray="6 4"' if message.back else ""
        if a == b:
            height = LINE * len(lines) + 12
            wide = max(len(text) for text in lines) * 7.2 + 22
            left = min(a - 10, width - wide - 6)
            parts.append(
                f'<rect x="{left:.0f}" y="{y - 14}" width="{wide:.0f}" height="{height}" rx="4" '
                'fill="#fff9c4" stroke="#a37c00"/>'
            )
            parts += _lines(lines, left + 10, y + 5, "start")
            y += height + 16
            continue
        parts += _lines(lines, (a + b) / 2, y, "middle")
        y += LINE * (len(lines) - 1) + 8
        tip = 7 if b > a else -7
        parts.append(
            f'<path d="M{a} {y}H{b}" stroke="#005eb8" stroke-width="1.6" fill="none"{dash}/>'
            f'<path d="M{b} {y}l{-tip} -4v8z" fill="#005eb8"/>'
        )
        y += 28
    height = y + 10
    lanes = []
    for party, x in place.items():
        lanes.append(
            f'<path d="M{x} {TOP + 16}V{height - 10}" stroke="#aeb7bd" stroke-dasharray="2 4"/>'
            f'<rect x="{x - 95}" y="{TOP - 16}" width="190" height="32" rx="4" fill="#005eb8"/>'
            f'<text x="{x}" y="{TOP + 5}" text-anchor="middle" fill="#fff" font-weight="600">'
            f"{escape(party)}</text>"
        )
    steps = "; ".join(f"{m.who} to {m.whom}: {m.what}" for m in flow.messages)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-labelledby="t d" font-family="Arial, sans-serif" '
        'font-size="13" style="max-width:100%;height:auto">'
        f'<title id="t">{escape(flow.title)}</title><desc id="d">{escape(steps)}</desc>'
        f'<rect width="{width}" height="{height}" fill="#fff"/>'
        f'<text x="16" y="26" font-size="17" font-weight="700" fill="#212b32">{escape(flow.title)}</text>'
        + "".join(lanes)
        + "".join(parts)
        + "</svg>\n"
    )


def _lines(lines: list[str], x: float, y: float, anchor: str) -> list[str]:
    return [
        f'<text x="{x:.0f}" y="{y + LINE * i:.0f}" text-anchor="{anchor}" fill="#212b32" '
        f'paint-order="stroke" stroke="#fff" stroke-width="{3 if anchor == "middle" else 0}">'
        f"{escape(text)}</text>"
        for i, text in enumerate(lines)
    ]


def main() -> None:
    """Write every picture."""
    for flow in FLOWS:
        (FOLDER / f"{flow.name}.svg").write_text(svg(flow), encoding="utf-8")
        print(f"docs/pictures/{flow.name}.svg")


if __name__ == "__main__":
    main()
