"""Opaque paging cursors: everything the next page needs, sealed so that only this server reads it.

A cursor carries the filter, the sort key and the last values of a page, so names and identifiers
would otherwise stand in URLs and access logs. AES-256-GCM hides and authenticates it at once; the
key lives beside the data (`<database>.secrets`), so that every process of a service opens what
another sealed. It is good for one caller, one transaction, one policy version and one hour.
"""

from __future__ import annotations

import os
import zlib
from base64 import b64decode, urlsafe_b64encode
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pymongo.errors import DuplicateKeyError

from chassis.mongo import Mongo
from standards.outcome import INVALID, Issue, Refused
from standards.search import CURSOR

LIFE = timedelta(hours=1)
_NONCE = 12
_PLAIN, _PACKED = b"\x01", b"\x02"  # the first byte: format version, and whether it is compressed
_PACK_OVER = 400
_LARGEST = 1 << 20

_keys: WeakKeyDictionary[Mongo, dict[str, bytes]] = WeakKeyDictionary()


class Place(msgspec.Struct, frozen=True, array_like=True):
    """A place in a search. `asked` is when its first page was asked for, which `ap` dates need to
    stay the same; `order` is the sort as it was in force; `after` are the last page's last values;
    `total` matched a filter with the digest `counted` (None: to be counted)."""

    pairs: tuple[tuple[str, str], ...]
    count: int
    order: str
    after: tuple[Any, ...]
    client: str
    policy: str
    asked: datetime
    until: datetime
    total: int | None = None
    counted: bytes = b""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Place).decode


def seal(key: bytes, row: str, place: Place) -> str:
    """The cursor of a place in the search of one transaction row, fit for a URL."""
    said = _encode(place)
    mark = _PLAIN
    if len(said) > _PACK_OVER:
        mark, said = _PACKED, zlib.compress(said, 6)
    nonce = os.urandom(_NONCE)
    sealed = AESGCM(key).encrypt(nonce, said, mark + row.encode())
    return urlsafe_b64encode(mark + nonce + sealed).rstrip(b"=").decode()


def unseal(key: bytes, row: str, text: str, *, client: str, policy: str, now: datetime) -> Place:
    """The place that a cursor names. Raises `Refused` (400) when it was changed, was made for another
    search or caller or under another policy, or has expired."""
    place = _opened(key, row, text)
    if place is None:
        raise _refused(
            "This _cursor was not made by this server for this search; start the search again."
        )
    if place.client != client:
        raise _refused("This _cursor was made for another caller; start the search again.")
    if place.until <= now:
        raise _refused("This _cursor has expired; start the search again.")
    if place.policy != policy:
        raise _refused(
            "The access rules changed since this _cursor was made; start the search again."
        )
    return place


def _opened(key: bytes, row: str, text: str) -> Place | None:
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        if b"+" in padded or b"/" in padded:  # the decoder would take them for - and _
            return None
        raw = b64decode(padded, b"-_", validate=True)
        mark, nonce, sealed = raw[:1], raw[1 : 1 + _NONCE], raw[1 + _NONCE :]
        if len(nonce) != _NONCE or mark not in (_PLAIN, _PACKED):
            return None
        said = AESGCM(key).decrypt(nonce, sealed, mark + row.encode())
        if mark == _PACKED:
            said = zlib.decompressobj().decompress(said, _LARGEST)
        return _decode(said)
    except (ValueError, InvalidTag, zlib.error, msgspec.MsgspecError):
        return None


def _refused(words: str) -> Refused:
    return Refused(Issue(INVALID, words, CURSOR))


async def cursor_key(mongo: Mongo, database: str) -> bytes:
    """The key of one service's cursors: made by whichever process needs it first, then the same for
    all of them and for as long as the database lives."""
    held = _keys.setdefault(mongo, {})
    if database not in held:
        secrets = mongo.table(database, "secrets")
        found = await secrets.one({"_id": "cursor"})
        if found is None:
            with suppress(DuplicateKeyError):  # another process was first
                await secrets.insert({"_id": "cursor", "key": AESGCM.generate_key(256)})
            found = await secrets.one({"_id": "cursor"})
        if found is None:
            raise RuntimeError(f"the cursor key of {database} vanished while it was being made")
        held[database] = bytes(found["key"])
    return held[database]
