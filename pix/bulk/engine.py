"""DuckDB and Splink, which only bulk work needs: loaded when it begins, with a clear word when missing."""

# ruff: noqa: S608 - statements are put together from our own rows, never from what records say

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import orjson

from pix.bulk.levels import MACROS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_FILE = 200_000  # rows a file
MISSING = (
    "Bulk linkage and training need the extra `linkage`, which is not installed:"
    " pip install 'throughline[linkage]'."
)


class Missing(Exception):  # noqa: N818  something for the operator, in words
    """The extra is not installed."""


def needed(name: str) -> Any:
    """A library of the extra `linkage`. Raises `Missing`."""
    try:
        return importlib.import_module(name)
    except ImportError as fault:
        raise Missing(MISSING) from fault


@contextmanager
def workplace(folder: Path | None = None, memory: str = "", threads: int = 0) -> Iterator[Bench]:
    """A DuckDB that may use the disk, in a folder of its own that is gone afterwards."""
    duckdb = needed("duckdb")
    with TemporaryDirectory(prefix="throughline-", dir=folder) as room:
        place = Path(room)
        con = duckdb.connect(str(place / "linkage.duckdb"))
        try:
            con.execute(f"SET temp_directory = '{place / 'spill'}'")
            con.execute("SET preserve_insertion_order = false")
            if memory:
                con.execute(f"SET memory_limit = '{memory}'")
            if threads:
                con.execute(f"SET threads = {int(threads)}")
            for macro in MACROS:
                con.execute(macro)
            yield Bench(con, place)
        finally:
            con.close()


class Bench:
    """A connection and the folder beside it."""

    def __init__(self, con: DuckDBPyConnection, folder: Path) -> None:
        self.con, self.folder = con, folder

    def run(self, sql: str) -> None:
        """A statement without an answer."""
        self.con.execute(sql)

    def rows(self, sql: str, size: int = 100_000) -> Iterator[tuple[Any, ...]]:
        """The rows of an answer, fetched a batch at a time; no other statement may be run meanwhile."""
        found = self.con.execute(sql)
        while batch := found.fetchmany(size):
            yield from batch

    def read(
        self,
        name: str,
        columns: Sequence[str],
        rows: Iterable[Mapping[str, object]],
        told: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Rows into a new table, by way of files that DuckDB reads at its own speed. `columns` are spelt
        as `read_json` takes them; `told` hears how many rows are in."""
        file, spelt, done = self.folder / f"{name}.ndjson", "{" + ", ".join(columns) + "}", 0
        source = f"SELECT * FROM read_json('{file}', format='newline_delimited', columns={spelt})"
        left = iter(rows)
        while True:
            with file.open("wb") as out:
                count = 0
                for one in islice(left, _FILE):
                    out.write(orjson.dumps(one, option=orjson.OPT_APPEND_NEWLINE))
                    count += 1
            self.run(f"INSERT INTO {name} {source}" if done else f"CREATE TABLE {name} AS {source}")
            done += count
            told(done)
            if count < _FILE:
                break
        file.unlink()

    def one(self, sql: str) -> Any:
        """The first value of an answer."""
        row = self.con.execute(sql).fetchone()
        return row[0] if row else None
