"""A small application for trying the launcher: says who and with which settings it is."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

from prometheus_client import Counter

from chassis.settings import Settings

ASKED = Counter("small_asked", "Requests to the small application")


def create_app(*arguments: str) -> Any:
    settings = Settings()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            if "broken" in arguments:
                await send({"type": "lifespan.startup.failed", "message": "it is broken"})
                return
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        ASKED.inc()
        if scope["path"] == "/slow":
            await asyncio.sleep(1.0)
        said = {
            "pid": os.getpid(),
            "arguments": arguments,
            "port": settings.port,
            "mongodb": settings.mongodb.get_secret_value(),
            "origin": settings.origin,
        }
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(said).encode()})

    return app
