"""A registry that keeps its documents in a dictionary, for tests of the repository alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from chassis.attachment import Attachment
from chassis.call import Caller
from governance.permit import Permit
from repository.keys import KeyRing
from repository.neighbours import Cited


class Shelf:
    """Implements `repository.neighbours.Registry`."""

    def __init__(self) -> None:
        self.documents: dict[str, Cited] = {}
        self.category: dict[str, str] = {}
        self.only_for: dict[str, str] = {}
        self.asked: list[str] = []

    async def referenced(self, binary_ids: Collection[str]) -> frozenset[str]:
        self.asked.extend(binary_ids)
        return frozenset(binary_ids) & self.documents.keys()

    async def assembled(self, binary_id: str, sha1: str, size: int) -> tuple[str, int] | None:
        found = self.documents.get(binary_id)
        if found is None or found.away is None:
            return None
        if found.away.delayed:
            known = replace(found.away, sha1=sha1, size=size, delayed=False)
            self.documents[binary_id] = replace(found, away=known)
            return sha1, size
        return found.away.sha1, found.away.size or 0

    async def aged(
        self, binaries: Collection[str] = (), documents: Collection[str] = ()
    ) -> list[Mapping[str, Any]]:
        return []

    async def entomb(
        self, documents: Collection[str], disposal: str, ground: str, at_: datetime
    ) -> int:
        return 0

    async def document_of(self, binary_id: str, permit: Permit, viewer: Caller) -> Cited | None:
        found = self.documents.get(binary_id)
        if viewer.organisation != self.only_for.get(binary_id, viewer.organisation):
            return None
        wanted = ("category", self.category.get(binary_id, ""))
        if permit.narrow and not any(group <= {wanted} for group in permit.narrow):
            return None
        return found


some = Attachment.of
RING = KeyRing({"test": bytes(range(32))}, "test")
"""Master keys for tests that open a vault of their own."""


async def all_of(pieces: Any) -> bytes:
    """Everything an asynchronous iterator gives."""
    return b"".join([piece async for piece in pieces])
