"""Files of people: their lines, whatever they were saved by. NDJSON or CSV, plain or gzip.

A place in a file is the byte after the last whole line that was read, counted in what the file holds
when unpacked; from there it is read on after an interruption.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, cast

_BOM = b"\xef\xbb\xbf"
_BLOCK = 1 << 20
# What one line may hold: as much as one body of ITI-104.
LONGEST = 1 << 20


class FileFault(Exception):  # noqa: N818  something for the operator, in words
    """A file that cannot be loaded, and what to do about it."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file to load: its kind, how many bytes it holds unpacked, and its SHA-256 (of the file as it
    lies on disk)."""

    path: Path
    kind: Literal["ndjson", "csv"]
    packed: bool
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line and its number; `after` is the place behind it. `whole` is false for a last line without
    its end, `long` for one of which only the beginning is held."""

    number: int
    text: bytes
    after: int
    whole: bool = True
    long: bool = False


def described(path: Path, told: Callable[[int, int], None] | None = None) -> Source:
    """What lies at this path. Reads it once, telling how far it is. Raises `FileFault`."""
    if not path.is_file():
        raise FileFault(f"{path} is no file that can be read.")
    bare = path.with_suffix("") if path.suffix == ".gz" else path
    kinds: dict[str, Literal["ndjson", "csv"]] = {
        ".ndjson": "ndjson", ".jsonl": "ndjson", ".csv": "csv",
    }  # fmt: skip
    kind = kinds.get(bare.suffix.lower())
    if kind is None:
        raise FileFault(
            f"{path.name} must end in .ndjson, .jsonl or .csv, with .gz behind it when it is packed."
        )
    whole, seen, digest = path.stat().st_size, 0, hashlib.sha256()
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            while block := file.read(_BLOCK):
                digest.update(block)
                seen += len(block)
                if told:
                    told(seen, whole)
        size = _unpacked(path) if packed else whole
    except (OSError, EOFError) as fault:
        raise FileFault(_unreadable(path, fault)) from fault
    if not size:
        raise FileFault(f"{path.name} is empty: there is nobody to load.")
    return Source(path, kind, packed, size, digest.hexdigest())


def _unpacked(path: Path) -> int:
    size = 0
    with gzip.open(path, "rb") as file:
        while block := file.read(_BLOCK):
            size += len(block)
    return size


def _unreadable(path: Path, fault: Exception) -> str:
    if isinstance(fault, EOFError | gzip.BadGzipFile):
        return f"{path.name} is a damaged or cut off gzip file; fetch it again."
    return f"{path.name} cannot be read: {getattr(fault, 'strerror', None) or fault}."


def _unpacking(bare: IO[bytes], source: Source) -> IO[bytes]:
    return cast("IO[bytes]", gzip.GzipFile(fileobj=bare)) if source.packed else bare


def lines(source: Source, after: int = 0, number: int = 0) -> Iterator[Line]:
    """The lines behind a place, of which `number` came before. A byte-order mark is no part of the
    first. Raises `FileFault` when the file cannot be read on."""
    try:
        with source.path.open("rb") as bare, _unpacking(bare, source) as file:
            file.seek(after)
            while text := file.readline(LONGEST + 1):
                number, after = number + 1, after + len(text)
                whole, long = text.endswith(b"\n"), False
                while not whole and len(text) > LONGEST:
                    more = file.readline(LONGEST)
                    long, after = True, after + len(more)
                    if not more or more.endswith(b"\n"):
                        whole = bool(more)
                        break
                if number == 1:
                    text = text.removeprefix(_BOM)
                yield Line(number, text.rstrip(b"\r\n"), after, whole, long)
    except (OSError, EOFError) as fault:
        raise FileFault(_unreadable(source.path, fault)) from fault
