"""The files that pages are dressed with: from memory, at addresses that change with their content.

`/auth/assets/{digest}/…` may be kept for ever, because another content has another digest.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PLACE = "/auth/assets"
_FOLDER = Path(__file__).resolve().parents[1] / "assets"
_KINDS = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file: its media type, its bytes, and the same bytes packed."""

    media: str
    content: bytes
    packed: bytes


@lru_cache(maxsize=1)
def assets() -> tuple[str, dict[str, Asset]]:
    """The digest of all of them together, and each by its path below `auth/assets`."""
    found: dict[str, Asset] = {}
    whole = hashlib.sha256()
    for file in sorted(_FOLDER.rglob("*")):
        if file.suffix in _KINDS:
            name, content = file.relative_to(_FOLDER).as_posix(), file.read_bytes()
            whole.update(name.encode() + b"\0" + content)
            found[name] = Asset(_KINDS[file.suffix], content, gzip.compress(content, mtime=0))
    return whole.hexdigest()[:16], found


def asset(name: str) -> str:
    """The path under which this file is served. Raises `KeyError` for a file there is not."""
    digest, known = assets()
    known[name]
    return f"{PLACE}/{digest}/{name}"


async def _serve(request: Request) -> Response:
    digest, known = assets()
    found = known.get(request.path_params["name"])
    if found is None:
        return Response("There is no such file.\n", 404, media_type="text/plain")
    current = request.path_params["digest"] == digest
    headers = {
        "Cache-Control": _FOR_EVER if current else "no-cache",
        "Content-Type": found.media,
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Content-Security-Policy": "default-src 'none'",
        "Vary": "Accept-Encoding",
    }
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(found.packed, headers=headers | {"Content-Encoding": "gzip"})
    return Response(found.content, headers=headers)


ROUTE = Route(PLACE + "/{digest}/{name:path}", _serve, methods=["GET"], include_in_schema=False)
"""The route of every asset."""
