"""The front channel: who walks the browser's part of a launch, from request to redirect.

`Walker` walks plain HTML pages by itself (fills fields by name, presses buttons by their words), which
serves any server whose pages work without scripts. `ByHand` prints the address and waits on the redirect
URI for a person with a browser, as an app on a laptop would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import httpx
from lxml import etree, html

from conformance.target import Walk

_STEPS = 16
_NOT_FOUND = (
    "No page led back to {redirect}: after {steps} pages the walk is at {at} ({status}, “{title}”)."
)


class Lost(Exception):  # noqa: N818
    """The pages did not lead back to the app; the words say where the walk ended."""


class Visitor(Protocol):
    """Walks one authorization request."""

    async def visit(
        self, url: str, redirect_uri: str, form: Mapping[str, str] | None = None
    ) -> Mapping[str, str]:
        """The parameters that came back to `redirect_uri`. `form` makes it a POST. Raises `Lost`."""
        ...


@dataclass(slots=True)
class Walker:
    """Walks pages without scripts, with a cookie jar of its own so that a session lasts.

    `narrow` may untick fields before the approval is pressed: names or values to leave out.
    """

    walk: Walk
    transport: httpx.AsyncBaseTransport | None = None
    leave_out: frozenset[str] = frozenset()
    http: httpx.AsyncClient = field(init=False)

    def __post_init__(self) -> None:
        self.http = httpx.AsyncClient(
            transport=self.transport, follow_redirects=False, timeout=30, trust_env=False,
            headers={"Accept": "text/html,application/xhtml+xml", "Sec-Fetch-Site": "same-origin"},
        )  # fmt: skip

    async def visit(
        self, url: str, redirect_uri: str, form: Mapping[str, str] | None = None
    ) -> Mapping[str, str]:
        """As `Visitor.visit`."""
        if form is None:
            answer = await self.http.get(url)
        else:
            answer = await self.http.post(url, data=dict(form))
        for _ in range(_STEPS):
            where = answer.headers.get("location")
            if answer.is_redirect and where:
                there = urljoin(str(answer.request.url), where)
                if there.split("?")[0].split("#")[0] == redirect_uri.split("?", maxsplit=1)[0]:
                    return returned(there)
                answer = await self.http.get(there)
                continue
            answer = await self._pressed(answer, redirect_uri)
        raise Lost(_lost(answer, redirect_uri, _STEPS))

    async def _pressed(self, answer: httpx.Response, redirect_uri: str) -> httpx.Response:
        if "html" not in answer.headers.get("content-type", "") or not answer.text.strip():
            raise Lost(_lost(answer, redirect_uri, 0))
        page = html.document_fromstring(answer.text)
        for words in self.walk.press:
            for form in page.iter("form"):
                for button in form.iter("button", "input"):
                    if button.tag == "input" and button.get("type") != "submit":
                        continue
                    if words.lower() not in _label(button).lower():
                        continue
                    fields = self._filled(form, button)
                    action = urljoin(str(answer.request.url), form.get("action") or "")
                    if (form.get("method") or "get").lower() == "post":
                        return await self.http.post(
                            action,
                            content=urlencode(fields),
                            headers={
                                "Content-Type": "application/x-www-form-urlencoded",
                                "Origin": "{0.scheme}://{0.netloc}".format(urlsplit(action)),
                            },
                        )
                    return await self.http.get(f"{action.split('?')[0]}?{urlencode(fields)}")
        raise Lost(_lost(answer, redirect_uri, 0))

    def _filled(self, form: etree._Element, button: etree._Element) -> list[tuple[str, str]]:
        fields: list[tuple[str, str]] = []
        radios: dict[str, tuple[int, str]] = {}  # the best choice so far: stated, ticked, first
        for one in form.iter("input", "select", "textarea"):
            name, kind = one.get("name") or "", (one.get("type") or "").lower()
            given, ticked = self.walk.fields.get(name), one.get("checked") is not None
            if not name or kind in ("submit", "button", "image", "file", "reset"):
                continue
            if kind == "radio":
                value = one.get("value") or "on"
                rank = 2 if value == given else 1 if ticked else 0
                if name not in radios or rank > radios[name][0]:
                    radios[name] = (rank, value)
            elif kind == "checkbox":
                value = one.get("value") or "on"
                if ticked and not {name, value} & self.leave_out:
                    fields.append((name, value))
            else:
                fields.append((name, _value(one) if given is None else given))
        fields += [(name, value) for name, (_, value) in radios.items()]
        if button.get("name"):
            fields.append((button.get("name") or "", button.get("value") or ""))
        return fields


@dataclass(slots=True)
class ByHand:
    """Asks a person: prints the address and waits until the browser comes back to the redirect URI,
    which must be on this machine."""

    say: Callable[[str], None]
    seconds: float = 600.0

    async def visit(
        self, url: str, redirect_uri: str, form: Mapping[str, str] | None = None
    ) -> Mapping[str, str]:
        """As `Visitor.visit`; a POST is spelt as its GET, since a person cannot paste a form."""
        there = f"{url}?{httpx.QueryParams(dict(form))}" if form is not None else url
        self.say(f"Open this in a browser, sign in and allow the app:\n\n{there}\n")
        return await arrival(redirect_uri, self.seconds)


async def arrival(uri: str, seconds: float) -> Mapping[str, str]:
    """The query of the first request that arrives at this local URI. Raises `Lost` after `seconds`."""
    parts = urlsplit(uri)
    if parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise Lost(f"{uri} is not on this machine, so the kit cannot wait there.")
    came: asyncio.Future[Mapping[str, str]] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readline()).decode("latin-1").split()
        while (await reader.readline()).strip():
            pass
        here = len(line) > 1 and urlsplit(line[1]).path == (parts.path or "/")
        text = b"You can close this page and go back to the kit." if here else b"Not found."
        status = b"200 OK" if here else b"404 Not Found"
        writer.write(
            b"HTTP/1.1 " + status + b"\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: "
            + str(len(text)).encode() + b"\r\nConnection: close\r\n\r\n" + text
        )  # fmt: skip
        await writer.drain()
        writer.close()
        if here and not came.done():
            came.set_result(returned(line[1]))

    server = await asyncio.start_server(serve, parts.hostname, parts.port or 80)
    try:
        return await asyncio.wait_for(came, seconds)
    except TimeoutError:
        raise Lost(f"Nobody came to {uri} within {seconds:.0f} seconds.") from None
    finally:
        server.close()


def returned(url: str) -> dict[str, str]:
    """The parameters of a redirect back to the app; a repeated one is its first. PURE."""
    return {k: v[0] for k, v in parse_qs(urlsplit(url).query, keep_blank_values=True).items()}


def _value(one: etree._Element) -> str:
    """What a text field or a list of choices holds already."""
    if one.tag == "textarea":
        return _text(one)
    if one.tag == "select":
        options = list(one.iter("option"))
        picked = next((o for o in options if o.get("selected") is not None), None)
        picked = options[0] if picked is None and options else picked
        return "" if picked is None else picked.get("value") or _text(picked)
    return one.get("value") or ""


def _text(one: etree._Element) -> str:
    return "".join(map(str, one.itertext()))


def _label(button: etree._Element) -> str:
    return " ".join((button.get("value") or "", _text(button))).strip()


def _lost(answer: httpx.Response, redirect_uri: str, steps: int) -> str:
    title = ""
    if "html" in answer.headers.get("content-type", "") and answer.text.strip():
        title = str(html.fromstring(answer.text).findtext(".//title") or "").strip()
    at = str(answer.request.url).split("?")[0]
    return _NOT_FOUND.format(
        redirect=redirect_uri, steps=steps or "some", at=at, status=answer.status_code, title=title
    )
