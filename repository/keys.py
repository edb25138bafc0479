"""Master keys: what wraps the data key of every stored content (envelope encryption).

    content ──sealed under──► data key ──wrapped under──► master key, in a key ring or in a KMS

A wrapped data key says which master key opens it, so several may be in use while one is rotated. The
vault asks only for the four verbs of `MasterKeys`; a ring of keys held here (a file or an environment
variable) and a key management service over HTTP (`repository/kms.py`) are its two kinds.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from repository.sealing import KEY
from standards.outcome import EXCEPTION, Issue, Refused

_NONCE = 12


class KeyTroubleError(ValueError):
    """The master keys are missing or not whole; the words say what to do."""


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A data key as it is stored: the id of the master key that wraps it, and the wrapping."""

    master: str
    sealed: bytes


class MasterKeys(Protocol):
    """Whoever keeps the master keys."""

    async def current(self) -> str:
        """Id of the master key that new data keys are wrapped under."""
        ...

    async def wrap(self, key: bytes, name: str) -> Wrapped:
        """The data key wrapped for the content of this name; it opens under no other name."""
        ...

    async def unwrap(self, wrapped: Wrapped, name: str) -> bytes:
        """The data key. Raises `Refused(EXCEPTION)` when no master key here opens it."""
        ...

    async def knows(self, master: str) -> bool:
        """Whether data keys wrapped under this master key can be unwrapped here."""
        ...


class KeyRing:
    """Master keys held in this process: {id: 32 bytes} and which of them is current."""

    def __init__(self, keys: Mapping[str, bytes], current: str) -> None:
        if current not in keys:
            raise KeyTroubleError(f"The current master key {current!r} is not in the ring.")
        for name, key in keys.items():
            if len(key) != KEY:
                raise KeyTroubleError(f"Master key {name!r} has {len(key)} bytes; it needs {KEY}.")
        self.keys: dict[str, bytes] = dict(keys)
        self._current = current

    async def current(self) -> str:
        """As `MasterKeys.current`."""
        return self._current

    async def wrap(self, key: bytes, name: str) -> Wrapped:
        """As `MasterKeys.wrap`."""
        nonce = os.urandom(_NONCE)
        sealed = AESGCM(self.keys[self._current]).encrypt(nonce, key, name.encode())
        return Wrapped(self._current, nonce + sealed)

    async def unwrap(self, wrapped: Wrapped, name: str) -> bytes:
        """As `MasterKeys.unwrap`."""
        master = self.keys.get(wrapped.master)
        if master is None:
            raise unopened("The master key that a stored document needs is not in this ring.")
        sealed = wrapped.sealed
        try:
            return AESGCM(master).decrypt(sealed[:_NONCE], sealed[_NONCE:], name.encode())
        except InvalidTag:
            raise unopened("A stored document's key does not open under its master key.") from None

    async def knows(self, master: str) -> bool:
        """As `MasterKeys.knows`."""
        return master in self.keys


class FileRing:
    """A ring in a file, read again when the file has changed, so that rotation needs no restart.

    The file is JSON: {"current": id, "keys": {id: base64 of 32 bytes}}.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen = -1
        self._ring = self._read()

    async def current(self) -> str:
        """As `MasterKeys.current`."""
        return await self._now().current()

    async def wrap(self, key: bytes, name: str) -> Wrapped:
        """As `MasterKeys.wrap`."""
        return await self._now().wrap(key, name)

    async def unwrap(self, wrapped: Wrapped, name: str) -> bytes:
        """As `MasterKeys.unwrap`."""
        ring = self._ring if wrapped.master in self._ring.keys else self._now()
        return await ring.unwrap(wrapped, name)

    async def knows(self, master: str) -> bool:
        """As `MasterKeys.knows`."""
        return await self._now().knows(master)

    def add(self) -> str:
        """Put a new key into the file and make it current; its id."""
        ring = self._now()
        name = named()
        while name in ring.keys:
            name = f"{named()}-{secrets.token_hex(2)}"
        _written(self.path, KeyRing({**ring.keys, name: os.urandom(KEY)}, name), name)
        self._ring = self._read()
        return name

    def retire(self, name: str) -> None:
        """Take a key out of the file for good. Whatever is wrapped under it, in backups too, is lost."""
        ring = self._now()
        if name not in ring.keys:
            raise KeyTroubleError(f"There is no master key {name!r} in {self.path}.")
        if name == ring._current:
            raise KeyTroubleError(f"{name} is the current master key; rotate first.")
        left = {k: v for k, v in ring.keys.items() if k != name}
        _written(self.path, KeyRing(left, ring._current), ring._current)
        self._ring = self._read()

    def _now(self) -> KeyRing:
        try:
            changed = self.path.stat().st_mtime_ns
        except OSError:
            return (
                self._ring
            )  # the file is being put in place; what was read still opens what it did
        if changed != self._seen:
            self._ring = self._read()
        return self._ring

    def _read(self) -> KeyRing:
        try:
            self._seen = self.path.stat().st_mtime_ns
            said = json.loads(self.path.read_text())
            keys = {str(k): decoded(str(v)) for k, v in said["keys"].items()}
            return KeyRing(keys, str(said["current"]))
        except (OSError, KeyError, TypeError, AttributeError, json.JSONDecodeError) as fault:
            raise KeyTroubleError(
                f"{self.path} is no key ring ({type(fault).__name__}). It is JSON with current and keys;"
                " put the right file in its place, for nothing stored can be read without it."
            ) from fault


def ring_of(text: str) -> KeyRing:
    """The ring that an environment variable spells: `id:base64` pairs with commas, the current one
    first. Raises `KeyTroubleError`."""
    pairs = [part.strip().partition(":") for part in text.split(",") if part.strip()]
    if not pairs or not all(name and key for name, _, key in pairs):
        raise KeyTroubleError(
            "Spell master keys as id:base64, the current one first, with commas between them; a key is"
            " 32 random bytes (openssl rand -base64 32)."
        )
    return KeyRing({name: decoded(key) for name, _, key in pairs}, pairs[0][0])


def ring_made(path: Path) -> bool:
    """Make a ring with one new key at `path` unless there is one; whether it was made."""
    if path.exists():
        return False
    name = named()
    path.parent.mkdir(parents=True, exist_ok=True)
    return _written(path, KeyRing({name: os.urandom(KEY)}, name), name, new=True)


def named() -> str:
    """A name for a master key made now."""
    return f"{datetime.now(UTC):%Y-%m-%d}-{secrets.token_hex(3)}"


def decoded(text: str) -> bytes:
    """32 bytes from their base64. Raises `KeyTroubleError`."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise KeyTroubleError(
            "A master key is written in base64 (openssl rand -base64 32)."
        ) from None


def unopened(words: str) -> Refused:
    """A data key that cannot be had is a fault of this server."""
    return Refused(Issue(EXCEPTION, words))


def _written(path: Path, ring: KeyRing, current: str, *, new: bool = False) -> bool:
    """Write whole or not at all, readable by its owner only; `new` never replaces a file."""
    keys = {k: base64.b64encode(v).decode() for k, v in ring.keys.items()}
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"current": current, "keys": keys}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    try:
        if not new:
            beside.replace(path)
            return True
        os.link(beside, path)
    except FileExistsError:
        return False
    finally:
        beside.unlink(missing_ok=True)
    return True
