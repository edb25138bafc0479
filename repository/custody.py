"""Which master keys this repository works with: taken from the settings, checked against what is stored.

A repository that could not open what it holds must not start: it would take documents under a second
set of keys, and nobody would notice before the first one is lost.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from chassis.mongo import Mongo
from chassis.settings import Settings
from repository.keys import (
    FileRing,
    KeyRing,
    KeyTroubleError,
    MasterKeys,
    ring_made,
    ring_of,
)
from repository.kms import TransitKeys

RING = "master-keys.json"


@asynccontextmanager
async def master_keys(
    settings: Settings, mongo: Mongo, transport: httpx.AsyncBaseTransport | None = None
) -> AsyncIterator[MasterKeys]:
    """The master keys that the settings name. Raises `KeyTroubleError` when they are not whole, or not
    the ones that stored documents are sealed under.

    Without any setting a ring is made in the data folder, once: never beside documents that another
    ring has sealed.
    """
    used = await masters_used(mongo)
    if settings.kms_url:
        async with httpx.AsyncClient(
            transport=transport, trust_env=False, follow_redirects=False
        ) as client:
            token = _token(settings)
            keys = TransitKeys(client, settings.kms_url, settings.kms_key, token)
            await _checked(keys, used)
            yield keys
        return
    ring = _ring(settings, made_before=bool(used))
    await _checked(ring, used)
    yield ring


def ring_path(settings: Settings) -> Path:
    """The file of the key ring."""
    given = settings.master_keys
    return given if given != Path("") else settings.data / RING


async def masters_used(mongo: Mongo) -> list[str]:
    """Ids of the master keys that stored contents are wrapped under, by index alone."""
    blobs = mongo.table("repository", "blobs")
    async with mongo.gate:
        return sorted(m for m in await blobs.raw.distinct("key.m") if m)


def _ring(settings: Settings, *, made_before: bool) -> KeyRing | FileRing:
    if settings.master_key.get_secret_value():
        return ring_of(settings.master_key.get_secret_value())
    path = ring_path(settings)
    if not path.exists():
        if made_before:
            raise KeyTroubleError(
                f"Stored documents are sealed, and there is no key ring at {path}. Put the ring they were"
                " sealed under there, or name it (--master-keys)."
            )
        if settings.master_keys != Path(""):
            raise KeyTroubleError(
                f"There is no key ring at {path}. `throughline keys new` makes one there."
            )
        ring_made(path)
    return FileRing(path)


async def _checked(keys: MasterKeys, used: list[str]) -> None:
    strange = [master for master in used if not await keys.knows(master)]
    if strange:
        raise KeyTroubleError(
            f"Stored documents are sealed under the master key {strange[0]}, which is not among the keys"
            " given. Add it to the ring; without it they cannot be read."
        )


def _token(settings: Settings) -> _TokenFile:
    path = Path(settings.kms_token.get_secret_value())
    if not path.is_file():
        raise KeyTroubleError(
            "The key management service needs a token: name the file it is in (THROUGHLINE_KMS_TOKEN)."
        )
    return _TokenFile(path)


class _TokenFile:
    """Read anew for every request: an agent renews the token in place."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self) -> str:
        return self._path.read_text().strip()
