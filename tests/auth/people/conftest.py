"""One authorization server a module, with the cheapest hashing that is still allowed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from chassis.mongo import Mongo
from tests.auth.authority import Server, serving
from tests.auth.people.browsers import Browser


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(mongo: Mongo, folder: Path) -> AsyncIterator[Server]:
    async with serving(mongo, folder, password_memory=19) as made:
        yield made


@pytest.fixture
def browser(server: Server) -> Browser:
    return Browser(server)
