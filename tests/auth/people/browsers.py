"""A browser that fills forms in, people to sign in, and an app's request to sign in for."""

from __future__ import annotations

import re
import secrets
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pyotp
from lxml import html

from auth.people.people import People
from auth.people.person import Appointment, Password, Person
from tests.auth.authority import ORIGIN, Server

GOOD = "purple kettle ninety moss"
YEAR = timedelta(days=365)


def an_appointment(
    role: str = "R-HV",
    organisation: str = "R0A",
    starts: date | None = None,
    ends: date | None = None,
) -> Appointment:
    return Appointment(role, organisation, starts or date(2020, 1, 1), ends)


@dataclass
class Somebody:
    """A person, their password and the seed of their app."""

    person: Person
    password: str
    seed: str = ""
    recovery: list[str] = field(default_factory=list)

    def code(self, ahead: int = 0) -> str:
        return pyotp.TOTP(self.seed).generate_otp(int(time.time()) // 30 + ahead)


async def somebody(
    server: Server,
    *appointments: Appointment,
    password: str = GOOD,
    once: bool = False,
    until: float | None = None,
    app: bool = False,
) -> Somebody:
    """A new person who can sign in."""
    desk = server.authority.reception
    held = appointments or (an_appointment(),)
    person = await desk.people.add(
        Person("", f"user-{uuid.uuid4().hex[:10]}", "Ann", "Example", appointments=held)
    )
    kept = Password(await desk.passwords.hash(password), time.time(), once, until)
    await desk.people.set_password(person.id, kept)
    made = Somebody(person, password)
    if app:
        made.seed = await with_app(desk.people, person)
    found = await desk.people.get(person.id)
    assert found is not None
    made.person = found
    return made


async def with_app(people: People, person: Person) -> str:
    seed = pyotp.random_base32(32)
    await people.draft_codes(person.id, seed.encode())
    await people.start_codes(person.id, 0, [])
    return seed


async def a_request(server: Server, **asked: Any) -> str:
    """The request of an app that waits for somebody to sign in."""
    id_ = secrets.token_urlsafe(24)
    row = {
        "_id": id_,
        "asked": {
            "client_id": "an-app",
            "redirect_uri": "https://app.example/cb",
            "login_hint": "",
        },
        "launch": None,
        "stale": None,
        "answered": None,
        "until": time.time() + 600,
        "expires": datetime.now(UTC) + timedelta(minutes=10),
    }
    row["asked"] |= {k: v for k, v in asked.items() if k in ("login_hint", "redirect_uri")}
    row |= {k: v for k, v in asked.items() if k in ("stale", "launch", "until", "answered")}
    await server.mongo.table("auth", "requests").insert(row)
    return id_


class Browser:
    """Holds cookies, follows nothing by itself, and sends the forms of the page it looks at."""

    def __init__(self, server: Server, address: str = "10.1.2.3") -> None:
        transport = httpx.ASGITransport(server.app, client=(address, 1234))
        origin = server.settings.origin
        self.http = httpx.AsyncClient(transport=transport, base_url=origin)
        self.answer: httpx.Response = httpx.Response(200)

    async def open(self, path: str, **headers: str) -> httpx.Response:
        self.answer = await self.http.get(path, headers=headers)
        return self.answer

    async def follow(self) -> httpx.Response:
        assert self.answer.status_code == 303, (self.answer.status_code, self.text)
        return await self.open(self.answer.headers["location"])

    async def send(
        self, action: str = "", *, headers: dict[str, str] | None = None, **given: str
    ) -> httpx.Response:
        """Send the form of the page that goes to `action` (the first of main, when none is named)."""
        form = self.form(action)
        fields = {
            i.get("name"): i.get("value") or ""
            for i in form.xpath(".//input[@type='hidden'][@name]")
        }
        fields |= {k.replace("__", "-"): v for k, v in given.items()}
        where = form.get("action")
        if form.get("method") == "get":
            self.answer = await self.http.get(where, params=fields)
        else:
            self.answer = await self.http.post(where, data=fields, headers=headers or {})
        return self.answer

    def form(self, action: str = "") -> Any:
        forms = html.fromstring(self.answer.content).xpath("//main//form | //header//form")
        found = [f for f in forms if not action or f.get("action") == action]
        assert found, self.text
        # The form of the page comes before that of the header's sign-out.
        inside = [f for f in found if f.xpath("ancestor::main")]
        return (inside or found)[0]

    @property
    def text(self) -> str:
        return " ".join(html.fromstring(self.answer.content).text_content().split())

    @property
    def title(self) -> str:
        return str(html.fromstring(self.answer.content).findtext(".//title"))

    @property
    def heading(self) -> str:
        found = html.fromstring(self.answer.content).xpath("//h1")
        return " ".join(found[0].text_content().split()) if found else ""

    @property
    def errors(self) -> list[str]:
        found = html.fromstring(self.answer.content).xpath(
            "//*[contains(@class,'error-summary__list')]//li"
        )
        return [" ".join(e.text_content().split()) for e in found]

    def items(self, list_class: str) -> list[str]:
        found = html.fromstring(self.answer.content).xpath(f"//ul[@class='{list_class}']/li")
        return [str(i.text_content()) for i in found]

    @property
    def cookie(self) -> str:
        return (
            self.http.cookies.get("throughline")
            or self.http.cookies.get("__Host-throughline")
            or ""
        )

    async def password(
        self, who: Somebody, continuing: str = "", password: str = ""
    ) -> httpx.Response:
        """Type username and password."""
        await self.open("/auth/sign-in" + (f"?continue={continuing}" if continuing else ""))
        return await self.send(
            "/auth/sign-in", username=who.person.username, password=password or who.password
        )

    async def sign_in(
        self, who: Somebody, continuing: str = "", purpose: str = "P-CARE", role: str = ""
    ) -> httpx.Response:
        """All of it, up to the redirect that ends it."""
        await self.password(who, continuing)
        await self.follow()
        if who.seed:
            await self.send(code=who.code())
            await self.follow()
        if role:
            await self.send("/auth/sign-in/role", **{"as": role})
        await self.send("/auth/sign-in/role", purpose=purpose)
        assert self.answer.status_code == 303, self.text
        return self.answer


def leads_to(answer: httpx.Response) -> str:
    """Where a redirect goes, below the origin."""
    assert answer.status_code == 303, (answer.status_code, answer.text[:2000])
    return re.sub(f"^{re.escape(ORIGIN)}", "", answer.headers["location"])
