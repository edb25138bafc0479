"""Ceilings, served by the same HTTP server on the same machine in the same run.

`trivial` answers 2 KB from memory: what HTTP alone costs. `raw` answers the bytes of one raw driver
find, with no parsing, no token, no policy and no audit: what the answer's bytes alone cost. `blob`
answers the stored bytes of one document, `megabyte` as much from memory.
"""

from __future__ import annotations

import json
import os
from typing import Any

from bson import json_util
from pymongo import AsyncMongoClient

_MEGABYTE = os.urandom(1024 * 1024)
_HEAD = [(b"content-type", b"application/fhir+json")]
_TRIVIAL = json.dumps({"resourceType": "Bundle", "type": "searchset", "note": "x" * 1950}).encode()


class Ceilings:
    """An ASGI application: /trivial, /megabyte, /raw/N and /blob/N, where N picks one of the given finds
    or contents."""

    def __init__(self) -> None:
        self.finds: list[dict[str, Any]] = json_util.loads(os.environ.get("CEILING_FINDS", "[]"))
        self.blobs: list[str] = json_util.loads(os.environ.get("CEILING_BLOBS", "[]"))
        self.client: AsyncMongoClient[dict[str, Any]] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        path = scope["path"]
        body = await self._body(path)
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

    async def _body(self, path: str) -> bytes:
        if path == "/trivial":
            return _TRIVIAL
        if path == "/megabyte":
            return _MEGABYTE
        kind, _, number = path.rpartition("/")
        return await (self._blob if kind == "/blob" else self._raw)(int(number))

    async def _blob(self, number: int) -> bytes:
        assert self.client is not None
        name = self.blobs[number % len(self.blobs)]
        found = await self.client["repository"]["blobs"].find_one({"_id": name})
        return bytes(found["data"]) if found else b""

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
