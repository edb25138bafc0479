"""Two processes of one authorization server, and who administers its clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from chassis.mongo import Mongo
from tests.auth.authority import Server, serving
from tests.auth.registration.asking import Admin, an_admin


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(mongo: Mongo, folder: Path) -> AsyncIterator[Server]:
    async with serving(mongo, folder) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def other(server: Server, mongo: Mongo, folder: Path) -> AsyncIterator[Server]:
    async with serving(mongo, folder) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def admin(server: Server) -> Admin:
    return await an_admin(server)
