"""The tokens that endpoints want to see: where the exchange gets them, and how long it keeps them.

PMIR exchanges no credentials in a Subscription (PIX digest §3.2), so the operators say, in a JSON file,
which endpoints want a token and of which authorisation server (OAuth 2.0 client credentials, RFC 6749
§4.4; SMART Backend Services):

    [{"endpoint": "https://consumer.example/fhir/", "token_endpoint": "https://login.example/token",
      "client_id": "throughline", "scope": "system/*.c", "key": "consumer.jwk"},
     {"endpoint": "https://other.example/", "token_endpoint": "https://other.example/token",
      "client_id": "tl-7", "method": "client_secret_basic", "secret": "other.secret"}]

Keys and secrets lie in files beside it and are read whenever a token is asked for, so that they can be
renewed; tokens lie in memory only.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson

from affinity.sources import parts
from chassis.client_authentication import (
    ALGORITHMS,
    METHODS,
    Proof,
    UnprovenError,
    proof_of,
    shown,
)
from chassis.destinations import Allowed, origin_of
from pix.wire import Received, Unsent, Wire

SERVER = "The authorisation server of the endpoint"
_EARLY = 30.0  # seconds before its end a token is no longer shown
_UNSAID = 60.0  # how long a token is kept whose answer does not say
_LONGEST = 86_400.0  # and at most, whatever it says
_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")
_ERROR = re.compile(r"[a-z_]{1,40}")
_FORM = "application/x-www-form-urlencoded"


class CredentialsInvalid(ValueError):  # noqa: N818  says what is the matter
    """The file of credentials cannot be used; the text says everything that is wrong with it."""


@dataclass(frozen=True, slots=True)
class Credential:
    """Where the token for every endpoint at or below `endpoint` comes from.

    `method` is how we prove ourselves at its token endpoint: `private_key_jwt` with the private key in
    the file `key` (a JWK or PEM), or `client_secret_basic` or `client_secret_post` with the secret in the
    file `secret`. `audience` is the `aud` of the assertion, the token endpoint unless it is said.
    """

    endpoint: str
    token_endpoint: str
    client_id: str
    scope: str = ""
    method: str = "private_key_jwt"
    key: str = ""
    key_id: str = ""
    key_alg: str = ""
    secret: str = ""
    audience: str = ""
    folder: Path = Path()

    def covers(self, url: str) -> bool:
        """Whether the token is for this endpoint: same scheme, host and port, and at or below its path.
        A path with dots that lead elsewhere is below nothing."""
        said, ours = parts(url), parts(self.endpoint)
        if said is None or ours is None or origin_of(said) != origin_of(ours):
            return False
        path = said.path or "/"
        return path == (ours.path or "/") or path.startswith(ours.path.rstrip("/") + "/")

    def proof(self) -> Proof:
        """What proves us, as it lies in its file now. Raises `UnprovenError`."""
        file = self.folder / (self.key or self.secret)
        return proof_of(file, self.method, kid=self.key_id, alg=self.key_alg)


def load(file: str, allowed: Allowed) -> tuple[Credential, ...]:
    """The credentials in this file; none for an empty name. Raises `CredentialsInvalid`.

    A token endpoint must be on the operators' list as endpoints must.
    """
    if not file:
        return ()
    path = Path(file)
    try:
        made, faults = read(path.read_text(), allowed)
    except (OSError, UnicodeDecodeError) as fault:
        words = getattr(fault, "strerror", None) or "it is not text"
        raise CredentialsInvalid(f"{file} cannot be read: {words}.") from None
    placed = tuple(replace(one, folder=path.parent) for one in made)
    for one in placed if not faults else ():
        try:
            one.proof()
        except UnprovenError as fault:
            faults.append(f"{one.endpoint}: {fault}")
    if faults:
        raise CredentialsInvalid(f"{file}:\n" + "\n".join(faults))
    return placed


def read(text: str, allowed: Allowed) -> tuple[list[Credential], list[str]]:
    """The rows of the file's text, and everything that is wrong with them. PURE."""
    try:
        rows = json.loads(text)
    except ValueError as fault:
        return [], [f"The file is not JSON: {fault}."]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return [], ["The file is a JSON array of objects, one for each endpoint."]
    made: list[Credential] = []
    faults: list[str] = []
    for place, row in enumerate(rows, 1):
        name = str(row.get("endpoint") or f"row {place}")
        wrong = _strange(row)
        if not wrong:
            one = Credential(**row)
            wrong = _check(one, allowed)
            if one.endpoint in {other.endpoint for other in made}:
                wrong.append("it is named twice.")
            made.append(one)
        faults += [f"{name}: {words}" for words in wrong]
    return made, faults


_MEMBERS = tuple(f.name for f in fields(Credential) if f.name != "folder")


def _strange(row: Mapping[str, Any]) -> list[str]:
    named = [n for n in ("endpoint", "token_endpoint", "client_id") if not row.get(n)]
    return [
        *(f"{n!r} is not a member that is known here." for n in row if n not in _MEMBERS),
        *(f"{n} must be a string." for n, v in row.items() if not isinstance(v, str)),
        *(f"{n} is missing." for n in named),
    ]


def _check(one: Credential, allowed: Allowed) -> list[str]:
    rules = (
        (_plain(one.endpoint) and allowed.covers(one.endpoint),
         "the endpoint is no place that --notify-allow lists, or has a query or dots in its path."),
        (allowed.covers(one.token_endpoint),
         "the token_endpoint is no place that --notify-allow lists; add its origin."),
        (one.method in METHODS, f"method is one of {', '.join(METHODS)}."),
        (one.key_alg in ("", *ALGORITHMS), f"key_alg is one of {', '.join(ALGORITHMS)}."),
        ((one.method == "private_key_jwt") == bool(one.key),
         "key names a file exactly when method is private_key_jwt."),
        (one.method.startswith("client_secret") == bool(one.secret),
         "secret names a file exactly when method has client_secret."),
    )  # fmt: skip
    return [words for right, words in rules if not right]


def _plain(url: str) -> bool:
    said = parts(url)
    return said is not None and not said.query


def credential_of(credentials: Sequence[Credential], url: str) -> Credential | None:
    """The credential for this endpoint: the nearest that covers it; None for one that wants no token.
    PURE."""
    covering = [one for one in credentials if one.covers(url)]
    return max(covering, key=lambda one: len(one.endpoint), default=None)


@dataclass(slots=True)
class _Kept:
    """A token that is kept, and until when it is shown; one at a time asks for another."""

    token: str = ""
    until: float = 0.0

    def good(self, now: float, stale: str) -> bool:
        """Whether it can still be shown, to whom `stale` did not do."""
        return bool(self.token) and self.token != stale and now < self.until


class Tokens:
    """The tokens of one process. `clock` is epoch seconds."""

    def __init__(self, wire: Wire, *, clock: Callable[[], float] = time.time) -> None:
        self._wire, self._clock = wire, clock
        self._kept: dict[Credential, _Kept] = {}
        self._turns: dict[Credential, asyncio.Lock] = {}

    async def get(self, credential: Credential, until: float, *, stale: str = "") -> str:
        """A token, which is new when the one kept is about to end or is the `stale` one.

        `until` is the deadline of the sending (`Wire.until`). Raises `Unsent`, in words that hold
        nothing of what was sent, when the authorisation server is not reached or gives none.
        """
        turn = self._turns.setdefault(credential, asyncio.Lock())
        try:
            async with asyncio.timeout_at(until), turn:
                kept = self._kept.get(credential, _Kept())
                if not kept.good(self._clock(), stale):
                    kept = self._kept[credential] = await self._asked(credential, until)
                return kept.token
        except TimeoutError:
            raise self._wire.late(SERVER) from None

    async def _asked(self, credential: Credential, until: float) -> _Kept:
        now = self._clock()
        try:
            headers, proving = shown(
                credential.method, credential.client_id, credential.proof(),
                audience=credential.audience or credential.token_endpoint, now=now,
            )  # fmt: skip
        except UnprovenError:
            words = "The exchange's credentials for the endpoint cannot be read; its operators must act."
            raise Unsent(words) from None
        form = {"grant_type": "client_credentials"}
        form |= {"scope": credential.scope} if credential.scope else {}
        received = await self._wire.post(
            credential.token_endpoint,
            urlencode(form | proving).encode(),
            {"Content-Type": _FORM, "Accept": "application/json", **headers},
            until=until,
            who=SERVER,
        )
        return given(received, now)


def given(received: Received, now: float) -> _Kept:
    """The token in an answer of a token endpoint (RFC 6749 §5.1). Raises `Unsent`. PURE."""
    try:
        said = orjson.loads(received.body)
    except ValueError:
        said = None
    said = said if isinstance(said, dict) else {}
    if received.status != 200:
        error = said.get("error")
        named = f" ({error})" if isinstance(error, str) and _ERROR.fullmatch(error) else ""
        words = f"{SERVER} gave no token: it answered {received.status}{named}."
        raise Unsent(words, received.after)
    token, kind = said.get("access_token"), said.get("token_type")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise Unsent(f"{SERVER} gave no bearer token.")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise Unsent(f"{SERVER} gave a token that cannot be shown.")
    return _Kept(token, now + _shown_for(said.get("expires_in")))


def _shown_for(said: object) -> float:
    """For how many seconds a token is shown: until shortly before its end, or half of a short life."""
    if isinstance(said, str) and said.isdecimal() and len(said) < 10:
        said = int(said)  # some servers quote it
    if isinstance(said, bool) or not isinstance(said, int | float):
        return _UNSAID / 2
    life = min(max(float(said), 0.0), _LONGEST)
    return max(life - _EARLY, life / 2)
