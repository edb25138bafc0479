"""What an access token costs: the token endpoint in full, and a check of a token that is known.

    python -m benchmarks.tokens --mongodb mongodb://127.0.0.1:27017/?replicaSet=rs0 [--tokens 600]

Assertions are signed beforehand; the endpoint is called as a server would call it (ASGI), over a real
MongoDB with replay protection and AuditEvents made durable by group commit. Target: 150 tokens a second
and core, and 30 µs for a known token. Exits with 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from pydantic import SecretStr
from starlette.applications import Starlette

from audit.app import open_service as open_audit
from auth.app import open_service as open_auth
from auth.client import Client
from chassis.audit import AuditWriter
from chassis.mongo import Mongo
from chassis.settings import Settings
from standards.iua import JWT_BEARER

PER_CORE = 150
KNOWN_US = 30


async def measure(uri: str, tokens: int) -> dict[str, Any]:
    """Run everything over a database set of its own and say what it cost."""
    prefix = f"b{uuid.uuid4().hex[:8]}_"
    mongo = Mongo(uri, prefix=prefix)
    made: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            public_url="http://bench.test",
            mongodb=SecretStr(uri),
            database_prefix=prefix,
            data=Path(folder),
        )
        try:
            async with open_audit(settings, mongo) as trail:
                writer = AuditWriter(trail.near)
                async with open_auth(settings, mongo, audit=writer) as service:
                    app = Starlette(routes=list(service.plain))
                    for alg in ("RS384", "ES384"):
                        for width in (1, 16):
                            row, token = await _issue(
                                app, service.near, settings, alg, width, tokens
                            )
                            made[f"{alg} at {width}"] = row
                    made["known token, µs"] = await _known(service.near, token)
                await writer.close()
        finally:
            for name in await mongo.client.list_database_names():
                if name.startswith(prefix):
                    await mongo.client.drop_database(name)
            await mongo.close()
    return made


async def _issue(
    app: Any, authority: Any, settings: Settings, alg: str, width: int, tokens: int
) -> tuple[dict[str, float], str]:
    parameters: Any = {"kid": "k", "use": "sig", "alg": alg}
    key = (
        ECKey.generate_key("P-384", parameters)
        if alg == "ES384"
        else RSAKey.generate_key(2048, parameters)
    )
    name = f"bench-{alg}-{width}"
    public = {"keys": [key.as_dict(private=False)]}
    await authority.clients.add(
        Client(client_id=name, name=name, jwks=public, scope="system/*.cruds")
    )
    forms = [_form(settings, key, alg, name) for _ in range(tokens)]
    answers: list[bytes] = []
    waiting = iter(forms)

    async def client() -> None:
        for form in waiting:
            status, body = await _post(app, form)
            assert status == 200, body
            answers.append(body)

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(client() for _ in range(width)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    row = {
        "tokens/s": round(tokens / wall),
        "CPU ms/token": round(cpu / tokens * 1000, 2),
        "tokens/s/core": round(tokens / cpu),
    }
    return row, str(json.loads(answers[-1])["access_token"])


def _form(settings: Settings, key: RSAKey | ECKey, alg: str, name: str) -> bytes:
    now = int(time.time())
    claims = {
        "iss": name, "sub": name, "aud": f"{settings.issuer}/token", "exp": now + 290, "iat": now,
        "jti": str(uuid.uuid4()),
    }  # fmt: skip
    assertion = jwt.encode({"alg": alg, "kid": "k", "typ": "JWT"}, claims, key, algorithms=[alg])
    return urlencode(
        {
            "grant_type": "client_credentials",
            "scope": "system/DocumentReference.rs",
            "client_assertion_type": JWT_BEARER,
            "client_assertion": assertion,
        }
    ).encode()


async def _post(app: Any, form: bytes) -> tuple[int, bytes]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": form, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/auth/token", "raw_path": b"/auth/token",
        "query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1",
        "server": ("bench.test", 80), "client": ("127.0.0.1", 1),
        "headers": [(b"content-type", b"application/x-www-form-urlencoded")],
    }  # fmt: skip
    await app(scope, receive, send)
    return int(sent[0]["status"]), b"".join(m.get("body", b"") for m in sent[1:])


async def _known(authority: Any, token: str) -> float:
    rounds = 20_000
    await authority.verifier.caller(token)
    started = time.process_time()
    for _ in range(rounds):
        await authority.verifier.caller(token)
    return round((time.process_time() - started) / rounds * 1e6, 2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the numbers as JSON; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--mongodb", required=True, help="URI of a replica set")
    parser.add_argument("--tokens", type=int, default=600, help="tokens per row")
    given = parser.parse_args(arguments)
    made = asyncio.run(measure(given.mongodb, given.tokens))
    print(json.dumps(made, indent=2, ensure_ascii=False))
    rates = [row["tokens/s/core"] for row in made.values() if isinstance(row, dict)]
    return int(min(rates) < PER_CORE or made["known token, µs"] > KNOWN_US)


if __name__ == "__main__":
    sys.exit(main())
