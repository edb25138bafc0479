"""The pix service of a test module."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from chassis.mongo import Mongo
from tests.pix.makers import FEEDER, Pix, pix_service


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(mongo: Mongo) -> AsyncIterator[Pix]:
    """One running service for the module."""
    async with pix_service(mongo) as made:
        yield made


@pytest.fixture
def pix(service: Pix) -> Pix:
    """The running service, spoken to by the feeder, with an empty audit list."""
    service.caller = FEEDER
    service.audited.clear()
    return service
