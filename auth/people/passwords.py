"""Passwords: what may be one (ASVS 5.0 6.2, PURE), and argon2id off the event loop.

The cost is RFC 9106's second recommended option: argon2id, 64 MiB (the setting `password_memory`), three
passes, four lanes; a hash made with another cost is replaced at the next sign-in. Hashing
runs in a few threads with a short queue, so that a flood of sign-ins takes neither the memory nor the
loop from anybody else.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import re
import secrets
import unicodedata
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import httpx
from argon2 import Parameters, PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from chassis import telemetry
from standards.outcome import BUSY, Issue, Refused

SHORTEST, LONGEST = 12, 256
_WAITING = 64
_THREADS = 2  # 64 MiB each
_COMMON = Path(__file__).parent / "common" / "passwords.txt.gz"
_EDGES = re.compile(r"^[^a-z]+|[^a-z]+$")
_LEET = str.maketrans("013457@$!", "oleastasi")
_SEQUENCES = ("abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm")
_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Checked:
    """Whether a password was the right one; `rehash` when its hash has another cost than today's."""

    right: bool
    rehash: bool = False


class Passwords:
    """Hashes and checks passwords in threads of its own. `memory` is what one takes, in MiB; `range_url` is a
    service that knows breached passwords by the first five digits of their SHA-1 ("" for none)."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        *,
        memory: int = 64,
        range_url: str = "",
    ) -> None:
        cost = replace(RFC_9106_LOW_MEMORY, memory_cost=memory * 1024)
        self._hasher = PasswordHasher.from_parameters(cost)
        self._http, self._range_url = http, range_url.rstrip("/")
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="argon2")
        self._queued = 0
        # What a password is held against when there is nobody of that name: a hash of nothing, with the
        # cost of the others, so that no sign-in is told from another by its time.
        self._nobody = _impossible(cost)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """The argon2id hash of a password. Raises `Refused` (503) when too many wait."""
        return str(await self._run(self._hasher.hash, normal(password)))

    async def check(self, kept: str | None, password: str) -> Checked:
        """Is this the password? None stands for nobody, and takes as long. Raises `Refused` (503) when
        too many wait."""
        held = kept or self._nobody
        right = bool(await self._run(self._verified, held, normal(password)))
        if kept is None or not right:
            return Checked(right=False)
        return Checked(right=True, rehash=self._hasher.check_needs_rehash(kept))

    async def breached(self, password: str) -> bool:
        """Does the service know the password from a breach? It is told five digits of a digest and
        nothing else. Without a service, or when it does not answer: False."""
        if not self._range_url:
            return False
        digest = hashlib.sha1(normal(password).encode(), usedforsecurity=False).hexdigest().upper()
        try:
            answer = await self._http.get(
                f"{self._range_url}/{digest[:5]}",
                headers={"Add-Padding": "true"},
                timeout=_SECONDS,
            )
            answer.raise_for_status()
            lines = answer.text.splitlines()
        except httpx.HTTPError as fault:
            telemetry.log(
                telemetry.NEIGHBOUR, neighbour="breached passwords", fault=type(fault).__name__
            )
            return False
        known = (line.strip().upper().split(":") for line in lines)
        return any(row[0] == digest[5:] and row[1:] != ["0"] for row in known)

    def _verified(self, kept: str, password: str) -> bool:
        try:
            return self._hasher.verify(kept, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, act: object, *given: str) -> object:
        if self._queued >= _WAITING:
            raise Refused(
                Issue(BUSY, "Too many people sign in at once; try again."),
                headers={"Retry-After": "2"},
            )
        self._queued += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, act, *given)  # type: ignore[arg-type]
        finally:
            self._queued -= 1


def normal(password: str) -> str:
    """The password in one spelling of its characters, whichever keyboard it came from (RFC 8265)."""
    return unicodedata.normalize("NFC", password)


def faults(password: str, about: Iterable[str] = ()) -> list[str]:
    """What is wrong with a new password, each in a sentence. `about` are words that others would try
    first: names and the organisation of the person. No kinds of characters are demanded. PURE."""
    plain = normal(password)
    if len(plain) < SHORTEST:
        return [
            f"Use at least {SHORTEST} characters. Three or four unrelated words make a good password."
        ]
    if len(plain) > LONGEST:
        return [f"Use at most {LONGEST} characters."]
    lower = plain.lower()
    found = []
    if any(text in common() for text in _bare(lower)):
        found.append("This is a common password, or one with something added. Choose another.")
    if _monotonous(lower):
        found.append("This repeats or follows a pattern. Choose another.")
    rest = lower
    for word in sorted(_words(about), key=len, reverse=True):
        rest = rest.replace(word, "")
    if sum(c.isalnum() for c in rest) < 8:
        found.append("This is made of your names or your organisation. Choose another.")
    return found


def new_one_time() -> str:
    """A password that opens one page once: 80 random bits in groups that can be read out."""
    alphabet = "abcdefghjkmnpqrstuvwxyz23456789"
    made = "".join(secrets.choice(alphabet) for _ in range(16))
    return "-".join(made[i : i + 4] for i in range(0, 16, 4))


@lru_cache(maxsize=1)
def common() -> frozenset[str]:
    """The common passwords that come with the product (auth/people/common/NOTICE.md)."""
    return frozenset(gzip.decompress(_COMMON.read_bytes()).decode().split())


def _impossible(cost: Parameters) -> str:
    def random(size: int) -> str:
        return base64.b64encode(secrets.token_bytes(size)).rstrip(b"=").decode()

    numbers = f"m={cost.memory_cost},t={cost.time_cost},p={cost.parallelism}"
    return f"$argon2id$v={cost.version}${numbers}${random(cost.salt_len)}${random(cost.hash_len)}"


def _bare(lower: str) -> Sequence[str]:
    """The password, and what is left of it without what people add to pass such checks."""
    letters = lower.translate(_LEET)
    made = [lower, letters]
    # What was added must be the smaller part: a word among many is no fault.
    for text in (lower, letters):
        stripped = _EDGES.sub("", text)
        if len(stripped) * 2 >= len(text):
            made.append(stripped)
        half = text[: len(text) // 2]
        if half * 2 == text:
            made.append(half)
    return [text for text in made if text]


def _monotonous(lower: str) -> bool:
    if len(set(lower)) < 5:
        return True
    for size in range(1, len(lower) // 3 + 1):
        if (lower[:size] * len(lower))[: len(lower)] == lower:
            return True
    # Runs along the alphabet, the digits or a row of keys, forwards or backwards.
    covered = 0
    place = 0
    while place < len(lower):
        run = _run_at(lower, place)
        covered += run if run >= 4 else 0
        place += max(run, 1)
    return covered * 4 >= len(lower) * 3


def _run_at(text: str, place: int) -> int:
    longest = 1
    for row in _SEQUENCES:
        for line in (row, row[::-1]):
            size = 2
            while place + size <= len(text) and text[place : place + size] in line:
                longest = max(longest, size)
                size += 1
    return longest


def _words(about: Iterable[str]) -> set[str]:
    return {word for text in about for word in re.split(r"[^\w]+", text.lower()) if len(word) >= 3}
