"""An app, a person at a browser, and the way from the authorization request to tokens, over real HTTP."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import secrets
import uuid
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx

from auth.client import Client, new_secret
from auth.clients import Clients
from auth.people.people import People
from auth.people.person import Appointment, Person
from auth.people.reception import people_of
from auth.people.sessions import Session, Sessions, cookie_name
from auth.revocations import Revocations
from chassis.mongo import Mongo
from chassis.settings import Settings
from standards.iua import JWT_BEARER
from tests.auth.authority import Backend, a_key, public

BEGAN = date(2020, 1, 1)
REDIRECT = "https://app.example/callback"
SCOPE = "openid fhirUser user/DocumentReference.rs offline_access"
CEILING = (
    "openid fhirUser profile launch launch/patient launch/encounter offline_access online_access "
    "patient/*.rs user/*.rs user/DocumentReference.c ITI-67"
)


@dataclass
class App:
    """A registered app, with what proves it."""

    client: Client
    settings: Settings
    secret: str = ""
    backend: Backend | None = None

    @property
    def id(self) -> str:
        return self.client.client_id

    def proof(self) -> tuple[dict[str, str], dict[str, str]]:
        """Form fields and headers that prove it."""
        if self.client.kind == "public":
            return {"client_id": self.id}, {}
        if self.client.kind == "symmetric":
            basic = base64.b64encode(f"{self.id}:{self.secret}".encode()).decode()
            return {}, {"Authorization": f"Basic {basic}"}
        assert self.backend is not None
        shown = {
            "client_assertion_type": JWT_BEARER,
            "client_assertion": self.backend.assertion(),
        }
        return shown, {}


async def an_app(settings: Settings, mongo: Mongo, kind: str = "public", **changes: Any) -> App:
    """A freshly registered app."""
    name = f"app-{uuid.uuid4().hex[:8]}"
    fields: dict[str, Any] = {
        "name": "Growth Charts", "publisher": "Example Health", "kind": kind, "scope": CEILING,
        "grants": ("authorization_code", "refresh_token"), "redirect_uris": (REDIRECT,),
        "launch_uris": ("https://app.example/launch",),
    }  # fmt: skip
    made = App(Client(client_id=name, name=""), settings)
    if kind == "symmetric":
        made.secret, fields["secret_digest"] = new_secret()
    if kind == "asymmetric":
        key = a_key()
        fields["jwks"] = public(key)
        made.backend = Backend(name, key, "ES384", settings)
    made.client = Client(client_id=name, **(fields | changes))
    await Clients(mongo).add(made.client)
    return made


@dataclass
class Browser:
    """A browser that follows no redirect by itself, and the person who is signed in to it."""

    http: httpx.AsyncClient
    settings: Settings
    sessions: Sessions
    people: People
    jar: dict[str, str] = field(default_factory=dict)
    session: Session | None = None
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    state: str = field(default_factory=lambda: secrets.token_urlsafe(12))

    async def sign_in(self, **changes: Any) -> Session:
        """Sign a practitioner in, as the sign-in pages do at their end."""
        said: dict[str, Any] = {
            "person": f"p-{uuid.uuid4().hex[:8]}", "name": "Dr Ada Achebe", "organisation": "RM3",
            "role": "R-HV", "purpose": "P-CARE", "amr": ("pwd", "otp", "mfa"), "acr": "AAL2",
        }  # fmt: skip
        said |= changes
        await self._known(said["person"], Appointment(said["role"], said["organisation"], BEGAN))
        self.session, cookie = await self.sessions.open(**said)
        self.jar[cookie_name(secure=False)] = cookie
        return self.session

    def asking(self, app: App, scope: str = SCOPE, **changes: str | None) -> dict[str, str]:
        """The parameters of an authorization request."""
        challenge = hashlib.sha256(self.verifier.encode()).digest()
        said: dict[str, str | None] = {
            "response_type": "code", "client_id": app.id, "redirect_uri": app.client.redirect_uris[0],
            "scope": scope, "state": self.state, "aud": self.settings.fhir_base,
            "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
            "code_challenge_method": "S256", "nonce": "n-1",
        }  # fmt: skip
        return {k: v for k, v in (said | changes).items() if v is not None}

    async def get(self, url: str, **more: Any) -> httpx.Response:
        return self._kept(await self.http.get(url, headers=self._headers(), **more))

    async def post(self, url: str, data: dict[str, str]) -> httpx.Response:
        return self._kept(await self.http.post(url, data=data, headers=self._headers()))

    async def begin(self, app: App, scope: str = SCOPE, **changes: str | None) -> httpx.Response:
        """Send the request and go on until there is a page, or a redirect to somewhere else."""
        return await self.follow(
            await self.get("/auth/authorize", params=self.asking(app, scope, **changes))
        )

    async def follow(self, answer: httpx.Response) -> httpx.Response:
        """Follow redirects while they stay within the pages of authorization."""
        while answer.status_code == 303 and "/auth/authorize/" in answer.headers["location"]:
            answer = await self.get(answer.headers["location"])
        return answer

    async def press(self, page: httpx.Response, button: str, **more: str) -> httpx.Response:
        """Press a button of a page, with the fields ticked or filled in that `more` names."""
        data = {"csrf": csrf(page), "do": button, **more}
        return await self.follow(await self.post(str(page.request.url), data))

    async def approve(self, page: httpx.Response) -> str:
        """Allow everything on the page; the code."""
        assert page.status_code == 200, page.text
        boxes = re.findall(r'name="(\d+)" type="checkbox"', page.text)
        answer = await self.press(page, "approve", **dict.fromkeys(boxes, "yes"))
        return told(answer)["code"]

    async def code(self, app: App, scope: str = SCOPE, **changes: str | None) -> str:
        """A code, approved by the person at the browser."""
        page = await self.begin(app, scope, **changes)
        if page.status_code == 303:
            return told(page)["code"]
        return await self.approve(page)

    async def redeem(self, app: App, code: str | None, /, **changes: str | None) -> httpx.Response:
        """The token request for a code."""
        fields, headers = app.proof()
        said: dict[str, str | None] = {
            "grant_type": "authorization_code", "code": code, "code_verifier": self.verifier,
            "redirect_uri": app.client.redirect_uris[0], **fields,
        }  # fmt: skip
        data = {k: v for k, v in (said | changes).items() if v is not None}
        return await self.http.post("/auth/token", data=data, headers=headers)

    async def refresh(self, app: App, token: str, **changes: str | None) -> httpx.Response:
        """The token request for a refresh token."""
        fields, headers = app.proof()
        said: dict[str, str | None] = {
            "grant_type": "refresh_token",
            "refresh_token": token,
            **fields,
        }
        data = {k: v for k, v in (said | changes).items() if v is not None}
        return await self.http.post("/auth/token", data=data, headers=headers)

    async def tokens(self, app: App, scope: str = SCOPE, **changes: str | None) -> dict[str, Any]:
        """The whole way: the token response."""
        answer = await self.redeem(app, await self.code(app, scope, **changes))
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def _known(self, person: str, appointment: Appointment) -> None:
        """Have the person in the store, in this role."""
        found = await self.people.get(person)
        if found is None:
            await self.people.add(
                Person(person, person, "Ada", "Achebe", appointments=(appointment,))
            )
        elif appointment not in found.appointments:
            await self.people.appoint(person, appointment)

    def _headers(self) -> dict[str, str]:
        held = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        return {"Cookie": held} if held else {}

    def _kept(self, answer: httpx.Response) -> httpx.Response:
        self.jar.update(answer.cookies.items())
        self.http.cookies.clear()  # the client is shared with other browsers of the test
        return answer


async def a_browser(
    http: httpx.AsyncClient, settings: Settings, mongo: Mongo, **changes: Any
) -> Browser:
    """A browser with a practitioner signed in."""
    revocations = Revocations(mongo)
    sessions = Sessions(settings, mongo, revocations)
    made = Browser(
        http, settings, sessions, people_of(settings, mongo, sessions, revocations, make=False)
    )
    await made.sign_in(**changes)
    return made


def csrf(page: httpx.Response) -> str:
    """The CSRF token of a page."""
    found = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert found, page.text
    return html.unescape(found[1])


def told(answer: httpx.Response) -> dict[str, str]:
    """What a redirect to the app says."""
    assert answer.status_code == 303, (answer.status_code, answer.text)
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))
