"""From a template and facts to an HTML answer with the headers that every page carries.

The headers are ASVS 5.0 3.4 and RFC 9700: no script but our own files, no frame around a page, no
referrer, nothing stored. The components come from nhsuk-frontend-jinja; its page template is not used,
because it has an inline script and the NHS logo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jinja2 import (
    ChainableUndefined,
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PackageLoader,
    UndefinedError,
)
from starlette.requests import Request
from starlette.responses import Response

from auth.pages.shelf import asset

SERVICE = "Throughline"
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something to put right in a form: the id of the field ("" for the whole form), and words."""

    field: str
    words: str


class Loud(ChainableUndefined):
    """An undefined value that components may ask about, and that nobody can print by mistake."""

    def __str__(self) -> str:
        raise UndefinedError(self._undefined_message)

    def __html__(self) -> str:
        raise UndefinedError(self._undefined_message)


@lru_cache(maxsize=1)
def environment() -> Environment:
    """The templates of the pages; autoescape is on for every one of them."""
    made = Environment(
        loader=ChoiceLoader([FileSystemLoader(_TEMPLATES), PackageLoader("nhsuk_frontend_jinja")]),
        undefined=Loud,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {"asset": asset, "service": SERVICE}
    return made


def page(
    request: Request,
    template: str,
    status: int = 200,
    *,
    errors: Sequence[Fault] = (),
    also_to: Sequence[str] = (),
    **facts: Any,
) -> Response:
    """The page of this template.

    Every template knows `csrf`, `session` (or None), `errors` and `asset()` beside its facts. `also_to`
    are the places outside (`form_target`) that sending a form of this page may end up at, because some
    browsers hold `form-action` against redirects too. Raises what the template raises, which is a bug.
    """
    at = request.state.browsing
    told = {"csrf": at.csrf, "session": at.session, "errors": errors, "here": request.url.path}
    html = environment().get_template(template).render(**told, **facts)
    return Response(html, status, headers(at.secure, also_to), media_type="text/html")


def headers(secure: bool, also_to: Sequence[str] = ()) -> dict[str, str]:
    """The headers of a page. PURE."""
    made = {
        "Content-Security-Policy": "; ".join(
            (
                "default-src 'none'",
                "script-src 'self'",
                "style-src 'self'",
                "img-src 'self'",
                "font-src 'self'",
                "connect-src 'self'",
                " ".join(("form-action 'self'", *also_to)),
                "frame-ancestors 'none'",
                "base-uri 'none'",
                "object-src 'none'",
            )
        ),
        "X-Frame-Options": "DENY",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), publickey-credentials-get=(self)",
        "Cache-Control": "no-store",
        "Pragma": "no-cache",
    }
    if secure:
        made["Strict-Transport-Security"] = "max-age=63072000; includeSubDomains"
    return made


def form_target(uri: str) -> str:
    """The CSP source that covers a redirect URI: its origin, or its scheme for an app of a device.
    "" when the URI has neither. PURE."""
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        return ""
    if parts.scheme in ("http", "https"):
        host = parts.hostname or ""
        host = f"[{host}]" if ":" in host else host
        safe = host and all(c.isalnum() or c in "-.[]:_" for c in host)
        return f"{parts.scheme}://{host}" + (f":{port}" if port else "") if safe else ""
    safe_scheme = parts.scheme and all(c.isalnum() or c in "+-." for c in parts.scheme)
    return f"{parts.scheme}:" if safe_scheme else ""
