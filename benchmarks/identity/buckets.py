"""Rows put in another order by way of files: each goes to the bucket that its key falls into.

Several processes write, each to files of its own; whoever reads a bucket reads what all have written. A
bucket is small enough to be sorted in memory, however many rows there are in all.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any
from zlib import crc32

import orjson

MANY = 64
Row = list[Any]


class Buckets:
    """The buckets of one process under a folder that it shares with others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._waiting: dict[tuple[str, int], list[Row]] = {}

    @staticmethod
    def numbers() -> range:
        """The numbers of the buckets of a stage."""
        return range(MANY)

    def put(self, stage: str, key: str, row: Row) -> None:
        """A row for this stage; rows of one key come together. Written by `flush`."""
        self._waiting.setdefault((stage, crc32(key.encode()) % MANY), []).append(row)

    def flush(self) -> None:
        """Write what waits."""
        for (stage, bucket), rows in self._waiting.items():
            path = self.folder / f"{stage}-{bucket}-{os.getpid()}"
            with path.open("ab") as file:
                file.write(orjson.dumps(rows) + b"\n")
        self._waiting.clear()

    def rows(self, stage: str, bucket: int) -> list[Row]:
        """Every row of a bucket, whoever wrote it."""
        made: list[Row] = []
        for path in sorted(self.folder.glob(f"{stage}-{bucket}-*")):
            with path.open("rb") as file:
                for line in file:
                    made += orjson.loads(line)
        return made


def gathered(rows: Iterable[Row]) -> Iterator[tuple[str, list[Row]]]:
    """Rows of one key (their first part) together, keys in order."""
    for key, group in groupby(sorted(rows, key=lambda r: str(r[0])), key=lambda r: str(r[0])):
        yield key, list(group)
