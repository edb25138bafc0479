"""What the authorization service asks of its neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Audit(Protocol):
    """The audit trail, near or far (`chassis.audit.AuditWriter`)."""

    async def record(self, *events: Mapping[str, Any]) -> None:
        """Return when these AuditEvents are durable; raises `Refused` (503) when they cannot be."""
        ...
