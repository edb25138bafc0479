"""Two ceilings, served by the same HTTP server on the same machine in the same run.

`trivial` answers 2 KB from memory: what HTTP alone costs. `raw` answers the bytes of one raw driver
find, with no parsing, no token, no policy and no audit: what the answer's bytes alone cost.
"""

from __future__ import annotations

import json
import os
from typing import Any

from bson import json_util
from pymongo import AsyncMongoClient

_HEAD = [(b"content-type", b"application/fhir+json")]
_TRIVIAL = json.dumps({"resourceType": "Bundle", "type": "searchset", "note": "x" * 1950}).encode()


class Ceilings:
    """An ASGI application with two paths: /trivial and /raw/N, where N picks one of the given finds."""

    def __init__(self) -> None:
        self.finds: list[dict[str, Any]] = json_util.loads(os.environ.get("CEILING_FINDS", "[]"))
        self.client: AsyncMongoClient[dict[str, Any]] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        path = scope["path"]
        body = _TRIVIAL if path == "/trivial" else await self._raw(int(path.rsplit("/", 1)[1]))
        length = (b"content-length", str(len(body)).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [*_HEAD, length]})
        await send({"type": "http.response.body", "body": body})

    async def _lifespan(self, receive: Any, send: Any) -> None:
        await receive()
        uri = os.environ.get("CEILING_URI")
        if uri:
            self.client = AsyncMongoClient(uri, maxPoolSize=36, minPoolSize=8)
            await self.client.admin.command("ping")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self.client is not None:
            await self.client.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _raw(self, number: int) -> bytes:
        assert self.client is not None
        asked = self.finds[number % len(self.finds)]
        collection = self.client[asked["database"]][asked["collection"]]
        cursor = collection.find(
            asked["filter"], {"b": 1, "_id": 0}, sort=[tuple(s) for s in asked.get("sort", [])] or None,
            limit=asked.get("limit", 1), batch_size=asked.get("limit", 1) + 1,
        )  # fmt: skip
        rows = await cursor.to_list(None)
        return b'{"resourceType":"Bundle","entry":[' + b",".join(r["b"] for r in rows) + b"]}"


def create() -> Ceilings:
    """What the server loads."""
    return Ceilings()
