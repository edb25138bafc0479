"""The wire: httpx with every exchange noted for the report, its secrets struck out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import httpx

SECRETS = frozenset({
    "access_token", "refresh_token", "id_token", "code", "code_verifier", "client_secret",
    "client_assertion", "password", "token", "launch",
})  # fmt: skip
_STRUCK = "…"
# In JSON, `code` and its like are ordinary members of resources; tokens have names of their own.
_IN_JSON = (
    "access_token",
    "refresh_token",
    "id_token",
    "client_secret",
    "registration_access_token",
)
_JSON_SECRET = re.compile(r'("(?:' + "|".join(_IN_JSON) + r')"\s*:\s*")[^"]*(")')


@dataclass(slots=True)
class Wire:
    """A client without cookies and without redirects of its own; `heard` has what was said on it."""

    http: httpx.AsyncClient
    heard: list[Mapping[str, Any]] = field(default_factory=list)

    async def get(self, url: str, **headers: str) -> httpx.Response:
        """GET with these headers (underscores stand for hyphens)."""
        return await self._ask("GET", url, _spelt(headers))

    async def form(
        self, url: str, fields: Mapping[str, str] | list[tuple[str, str]], **headers: str
    ) -> httpx.Response:
        """POST of a form. A list of pairs may repeat a name."""
        pairs = list(fields.items()) if isinstance(fields, Mapping) else fields
        told = _spelt(headers) | {"Content-Type": "application/x-www-form-urlencoded"}
        return await self._ask("POST", url, told, urlencode(pairs))

    async def send(
        self, method: str, url: str, content: str = "", **headers: str
    ) -> httpx.Response:
        """Any method with any body."""
        return await self._ask(method, url, _spelt(headers), content)

    async def _ask(
        self, method: str, url: str, headers: Mapping[str, str], content: str = ""
    ) -> httpx.Response:
        said = {"Accept": "application/json"} | dict(headers)
        answer = await self.http.request(
            method, url, headers=said, content=content or None, follow_redirects=False
        )
        self.heard.append({
            "request": f"{method} {struck_url(url)}",
            "form": struck_form(content) if "form-urlencoded" in said.get("Content-Type", "") else "",
            "status": answer.status_code,
            "location": struck_url(answer.headers.get("location", "")),
            "body": _JSON_SECRET.sub(rf"\g<1>{_STRUCK}\g<2>", answer.text[:4000]),
        })  # fmt: skip
        return answer


def struck_form(body: str) -> str:
    """A form body without the values of its secrets. PURE."""
    pairs = parse_qsl(body, keep_blank_values=True)
    return "&".join(f"{k}={_STRUCK if k in SECRETS and v else v}" for k, v in pairs)


def struck_url(url: str) -> str:
    """A URL without the values of its query's secrets. PURE."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query=struck_form(parts.query))) if parts.query else url


def _spelt(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
