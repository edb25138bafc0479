"""One client and one known person for all tests of a module."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest_asyncio

from tests.makers_mhd import a_patient
from tests.running import Exchange


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def source(exchange: Exchange) -> AsyncIterator[httpx.AsyncClient]:
    async with exchange.as_client() as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def person(source: httpx.AsyncClient) -> str:
    return await a_patient(source)
