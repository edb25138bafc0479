"""An authorisation server that stands in for that of an endpoint, as a real HTTP server."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

from joserfc import jwt
from joserfc.jwk import ECKey

from standards.iua import JWT_BEARER

CLIENT = "throughline"


@dataclass
class Login:
    """Gives tokens by client credentials to whoever proves to be CLIENT: with an assertion under `key`,
    for this very token endpoint, used once, or with the secret. `behave` may answer instead."""

    key: ECKey | None = None
    secret: str = ""
    lives: Any = 300
    behave: Callable[[], Any] = lambda: None
    asked: list[dict[str, str]] = field(default_factory=list)
    given: list[str] = field(default_factory=list)
    port: int = 0
    _used: set[str] = field(default_factory=set)

    @property
    def origin(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def token_endpoint(self) -> str:
        """Where tokens are asked for."""
        return f"{self.origin}/token"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        with suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, *lines = head.strip().split("\r\n")
            headers = {k.lower(): v.strip() for k, _, v in (x.partition(":") for x in lines)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            assert line.startswith("POST /token HTTP/1.1")
            assert headers["content-type"] == "application/x-www-form-urlencoded"
            form = dict(parse_qsl(body.decode(), strict_parsing=True))
            self.asked.append(form)
            said = self.behave()
            if said == "slow":
                await asyncio.sleep(30)
            status, extra, answer = said or self._answer(form, headers)
            sent = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            writer.write(
                f"HTTP/1.1 {status} Said\r\nContent-Length: {len(sent)}\r\nConnection: close\r\n"
                f"Content-Type: application/json\r\n{extra}\r\n".encode()
                + sent
            )
            await writer.drain()
        writer.close()

    def _answer(self, form: Mapping[str, str], headers: Mapping[str, str]) -> tuple[int, str, Any]:
        if form.get("grant_type") != "client_credentials":
            return 400, "", {"error": "unsupported_grant_type"}
        if not self._proven(form, headers):
            return 401, "", {"error": "invalid_client"}
        token = f"token-{len(self.given) + 1}"
        self.given.append(token)
        made = {"access_token": token, "token_type": "Bearer", "scope": form.get("scope", "")}
        return 200, "", made | ({} if self.lives is None else {"expires_in": self.lives})

    def _proven(self, form: Mapping[str, str], headers: Mapping[str, str]) -> bool:
        if self.key is None:
            if "client_secret" in form:
                return (form["client_id"], form["client_secret"]) == (CLIENT, self.secret)
            pair = base64.b64decode(
                headers.get("authorization", "").removeprefix("Basic ")
            ).decode()
            return [unquote(half) for half in pair.split(":")] == [CLIENT, self.secret]
        assert form["client_assertion_type"] == JWT_BEARER
        claims = jwt.decode(form["client_assertion"], self.key, algorithms=["ES384"]).claims
        fresh = claims["jti"] not in self._used
        self._used.add(claims["jti"])
        right = claims["iss"] == claims["sub"] == CLIENT and claims["aud"] == self.token_endpoint
        return fresh and right and 0 < claims["exp"] - time.time() <= 300


@asynccontextmanager
async def logging_in(**made: Any) -> AsyncIterator[Login]:
    """An authorisation server that listens on a free port of this machine."""
    login = Login(**made)
    server = await asyncio.start_server(login.serve, "127.0.0.1", 0)
    login.port = server.sockets[0].getsockname()[1]
    try:
        yield login
    finally:
        server.close()


def a_key(folder: Path, name: str = "our.jwk") -> ECKey:
    """A new key of the exchange, in a file; what it is known by is handed back, as a public key."""
    key = ECKey.generate_key("P-384")
    private = {**key.as_dict(private=True), "kid": "ours"}
    (folder / name).write_text(json.dumps(private))
    return ECKey.import_key(key.as_dict(private=False))
