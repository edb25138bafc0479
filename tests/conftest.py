"""What every test shares: one real mongod a session, one database set a module, one exchange a module.

`THROUGHLINE_TEST_MONGODB` names a replica set to use instead of the embedded one.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from chassis import garbage
from chassis.mongo import Mongo
from tests.running import Exchange, running

# Thousands of tests are made and none goes away while they are collected; afterwards they are no garbage
# that every look for some has to walk through, as in a server process (chassis/garbage.py).
gc.disable()

# Where Python is told to keep no bytecode (containers often do), every worker and each of some forty
# processes would compile the same modules again.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_collection_finish() -> None:
    """Look for garbage as a server process does."""
    gc.enable()
    garbage.seldom()


@pytest.fixture(scope="session")
def mongod_uri() -> Iterator[str]:
    """The URI of a real replica set, started once a session on a free port."""
    given = os.environ.get("THROUGHLINE_TEST_MONGODB")
    if given:
        yield given
        return
    from exchange.mongod import embedded

    with embedded() as uri:
        yield uri


@pytest.fixture(scope="module")
def database_prefix() -> str:
    """One database set per module."""
    return f"t{uuid.uuid4().hex[:10]}_"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mongo(mongod_uri: str, database_prefix: str) -> AsyncIterator[Mongo]:
    """A way to MongoDB with databases of this module only; they are dropped afterwards."""
    opened = Mongo(mongod_uri, prefix=database_prefix)
    yield opened
    names = await opened.client.list_database_names()
    ours = [name for name in names if name.startswith(database_prefix)]
    await asyncio.gather(*(opened.client.drop_database(name) for name in ours))
    await opened.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def exchange(
    mongo: Mongo, mongod_uri: str, database_prefix: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Exchange]:
    """The whole exchange in this process, spoken to over HTTP (ASGI) under real tokens."""
    folder: Path = tmp_path_factory.mktemp("data")
    async with running(mongo, mongod_uri, database_prefix, folder) as made:
        yield made
