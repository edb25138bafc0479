"""The HL7 v2 door of a test module."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from chassis.mongo import Mongo
from tests.hl7v2.makers import Hl7, hl7v2_service


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(mongo: Mongo) -> AsyncIterator[Hl7]:
    """One running service for the module."""
    async with hl7v2_service(mongo) as made:
        yield made


@pytest.fixture
def hl7(service: Hl7) -> Hl7:
    """The running service with an empty audit list."""
    service.audited.clear()
    return service
