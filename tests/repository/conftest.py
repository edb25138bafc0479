"""The repository service behind the real chassis, beside a registry that is a dictionary."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest_asyncio
from pydantic import SecretStr

from affinity.pack import load
from chassis.call import Caller, Service
from chassis.mongo import Mongo
from chassis.onion import create
from chassis.service import Rider
from chassis.settings import Settings
from repository.app import open_service
from repository.intake import Intake
from repository.neighbours import Cited
from repository.vault import Kept, Vault
from standards import records
from standards.mhd_retrieve import TRANSACTIONS
from tests.repository.shelf import Shelf, some
from tests.running import MASTER_KEY, serving

ORIGIN = "http://repository.test"
PACK = load("greater_manchester")


class ByToken:
    """A bearer token is its own scope, with `+` for blanks."""

    async def caller(self, token: str) -> Caller:
        return Caller(client_id="client", subject="client", scope=token.replace("+", " "))


@dataclass
class Notebook:
    """Where AuditEvents go."""

    events: list[Mapping[str, Any]] = field(default_factory=list)

    async def record(self, *events: Mapping[str, Any]) -> None:
        self.events.extend(events)


@dataclass
class Alone:
    """The repository, running."""

    vault: Vault
    shelf: Shelf
    notebook: Notebook
    app: Any

    def client(
        self, scope: str = "system/Binary.r system/DocumentReference.rs"
    ) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, raise_app_exceptions=True),
            base_url=ORIGIN + "/fhir",
            headers={"Authorization": "Bearer " + scope.replace(" ", "+")},
        )

    async def holding(
        self, content: bytes, kind: str = "application/pdf", category: str = ""
    ) -> Kept:
        """A document that was published."""
        kept = await self.vault.deposit(kind, some(content))
        number = len(self.shelf.documents) + 1
        self.shelf.documents[kept.binary_id] = Cited(f"doc-{number}", f"Patient/p{number}")
        self.shelf.category[kept.binary_id] = category
        await self.vault.keep({kept.binary_id: f"doc-{number}"})
        return kept


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def alone(mongo: Mongo, tmp_path_factory: Any) -> AsyncIterator[Alone]:
    settings = Settings(
        master_key=SecretStr(MASTER_KEY),
        public_url=ORIGIN,
        data=Path(tmp_path_factory.mktemp("data")),
        log_level="error",
    )
    shelf, notebook = Shelf(), Notebook()
    vaults: list[Vault] = []

    @asynccontextmanager
    async def opening() -> AsyncIterator[tuple[list[Service], Rider]]:
        async with open_service(settings, mongo, PACK, registry=shelf, audit=notebook) as service:
            assert isinstance(service.near, Intake)
            vaults.append(service.near.vault)
            await service.ready()
            yield [service], Rider(settings, ByToken(), notebook)

    async with serving(create(opening, (*TRANSACTIONS, *records.TRANSACTIONS))) as app:
        yield Alone(vaults[0], shelf, notebook, app)
