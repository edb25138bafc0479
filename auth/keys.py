"""The keys that sign access tokens: one active, one waiting, the retired ones as long as they matter.

    next ──rotate──► active ──rotate──► retired ──(its last token expired)──► no longer published

The next key is published long before it signs, so that nobody who caches the JWK Set meets a token it
cannot verify. Unique indexes allow one active and one next key, whichever process comes first.

Private keys lie in MongoDB, where every process of the service can use them. With a master key file
(`<data>/keys/master.key`, always there with the embedded mongod) they are sealed with AES-256-GCM
under it; without, the database's own access control and encryption at rest protect them
(docs/decisions/0006-access-tokens.md).
"""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from joserfc.jwk import RSAKey
from pymongo import IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from chassis import telemetry
from chassis.mongo import Doc, Mongo
from chassis.settings import Settings

_REFRESH = 5.0  # another process's rotation is seen this soon; its key has long been published
_UNKNOWN_KID_EVERY = 3.0
_BITS = 2048


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The key that signs now."""

    kid: str
    key: RSAKey


class KeysSealed(RuntimeError):  # noqa: N818  says what is the matter
    """The signing keys are sealed and the master key file is missing or another one."""


class Keys:
    """The store of signing keys, in `auth.signing_keys`. `keep` is how long a retired key is published."""

    def __init__(self, mongo: Mongo, *, keep: timedelta, master: bytes | None = None) -> None:
        self._mongo = mongo
        self._table = mongo.table("auth", "signing_keys")
        self._keep, self._master = keep, master
        self._public: dict[str, RSAKey] = {}
        self._active: SigningKey | None = None
        self._loaded = float("-inf")
        self._one = asyncio.Lock()

    @classmethod
    def of(cls, settings: Settings, mongo: Mongo) -> Keys:
        """The keys as the settings protect them. Makes the master key file when mongod is embedded."""
        file = settings.data / "keys" / "master.key"
        embedded = not settings.mongodb.get_secret_value()
        # Longer than the last token or id_token of a key lives, and than another process may keep signing
        # with it.
        longest = max(settings.token_seconds, settings.app_token_seconds)
        keep = timedelta(seconds=longest + settings.clock_skew + 60)
        return cls(mongo, keep=keep, master=master_key(file, make=embedded))

    async def prepare(self) -> None:
        """Indexes, and an active and a next key when there are none. Any number of processes may do
        this at once; one of each key comes of it."""
        await self._table.ensure(
            *(
                IndexModel(
                    [("state", 1)], name=f"one_{state}", unique=True,
                    partialFilterExpression={"state": state},
                )
                for state in ("active", "next")
            )
        )  # fmt: skip
        for state in ("active", "next"):
            if await self._table.one({"state": state}, {"_id": 1}) is None:
                with suppress(DuplicateKeyError):  # another process was first
                    await self._table.insert(self._made(state))
        await self._load()

    async def signing(self) -> SigningKey:
        """The active key."""
        if self._active is None or monotonic() - self._loaded > _REFRESH:
            await self._load()
        if self._active is None:
            raise RuntimeError("there is no active signing key; prepare() makes one")
        return self._active

    async def key(self, kid: str) -> RSAKey | None:
        """The published key of this id, or None. Unknown ids make the store look again, at most once
        in a few seconds."""
        if kid not in self._public and monotonic() - self._loaded > _UNKNOWN_KID_EVERY:
            await self._load()
        return self._public.get(kid)

    async def jwks(self) -> dict[str, Any]:
        """The JWK Set that everyone may see: next, active, and retired while their tokens live."""
        if monotonic() - self._loaded > _REFRESH:
            await self._load()
        return {"keys": [key.as_dict(private=False) for key in self._public.values()]}

    async def rotate(self) -> str:
        """Retire the active key, put the next one in its place and publish a new next one. Returns the
        id of the key that signs from now on."""

        async def story(session: AsyncClientSession) -> str:
            now = datetime.now(UTC)
            await self._table.update(
                {"state": "active"},
                # A retired key signs nothing again, so its private part is not kept.
                {"$set": {"state": "retired", "retired": now}, "$unset": {"private": ""}},
                session=session,
            )
            row = await self._table.claim(
                {"state": "next"}, {"$set": {"state": "active", "activated": now}}, session
            )
            if row is None:
                row = self._made("active")
                await self._table.insert(row, session)
            await self._table.insert(self._made("next"), session)
            return str(row["_id"])

        kid = await self._mongo.transaction(story)
        telemetry.log(telemetry.ROTATED, kid=kid)
        await self._load()
        return kid

    def _published(self) -> Mapping[str, Any]:
        after = datetime.now(UTC) - self._keep
        return {"$or": [{"state": {"$in": ["next", "active"]}}, {"retired": {"$gt": after}}]}

    async def _load(self) -> None:
        asked = monotonic()
        async with self._one:
            if self._loaded >= asked:  # another task loaded while this one waited
                return
            started = monotonic()
            rows = await self._table.many(self._published(), sort=[("created", 1)])
            self._public = {row["_id"]: RSAKey.import_key(row["public"]) for row in rows}
            for row in rows:
                if row["state"] == "active" and (
                    self._active is None or self._active.kid != row["_id"]
                ):
                    self._active = SigningKey(row["_id"], self._opened(row))
            self._loaded = started

    def _made(self, state: str) -> Doc:
        now = datetime.now(UTC)
        kid = secrets.token_urlsafe(12)
        key = RSAKey.generate_key(_BITS, {"kid": kid, "use": "sig", "alg": "RS256"}, private=True)
        made: Doc = {
            "_id": kid,
            "state": state,
            "public": key.as_dict(private=False),
            "private": self._sealed(kid, orjson.dumps(key.as_dict(private=True))),
            "created": now,
        }
        return made | ({"activated": now} if state == "active" else {})

    def _sealed(self, kid: str, jwk: bytes) -> Doc:
        if self._master is None:
            return {"jwk": jwk}
        nonce = secrets.token_bytes(12)
        return {"nonce": nonce, "sealed": AESGCM(self._master).encrypt(nonce, jwk, kid.encode())}

    def _opened(self, row: Doc) -> RSAKey:
        private = row["private"]
        jwk = private.get("jwk")
        if jwk is None:
            if self._master is None:
                raise KeysSealed("The signing keys are sealed; put the file keys/master.key back.")
            try:
                kid = row["_id"].encode()
                jwk = AESGCM(self._master).decrypt(private["nonce"], private["sealed"], kid)
            except InvalidTag:
                raise KeysSealed(
                    "The signing keys are sealed with another master key; put the file "
                    "keys/master.key back that was there when they were made."
                ) from None
        return RSAKey.import_key(orjson.loads(jwk))


def master_key(file: Path, *, make: bool) -> bytes | None:
    """The 32 bytes of the master key file, made first (mode 0600) when it is missing and `make` says
    so; None when there is no file. Processes that make it at once end up with the same one."""
    if make and not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = file.with_name(f".{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(base64.b64encode(secrets.token_bytes(32)) + b"\n")
            out.flush()
            os.fsync(out.fileno())
        with suppress(FileExistsError):
            os.link(draft, file)  # whole or not at all, and never over another's
        draft.unlink()
    if not file.exists():
        return None
    made = base64.b64decode(file.read_bytes())
    if len(made) != 32:
        raise KeysSealed(f"{file} is no master key: 32 bytes in base64 are expected.")
    return made
