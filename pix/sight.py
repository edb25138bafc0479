"""What of the identifiers a caller may be shown, and Patients without what it may not.

The rule is `governance/identifiers.py`; `chassis/sights.py` keeps what it came to.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from chassis import sights
from chassis.call import dumps
from governance.identifiers import Sight
from pix import showing
from pix.identifiers import Domains
from pix.people import People


class Sights(sights.Sights):
    """The sights of this process."""

    def __init__(
        self, people: People, domains: Domains, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(domains.pack, self.fed, clock=clock)
        self.people, self.domains = people, domains

    async def fed(self, client: str) -> frozenset[str]:
        """The systems of the domains that this client is the source of."""
        rows = await self.people.sources.many({"client": client}, {"_id": 1})
        return frozenset(row["_id"] for row in rows)

    async def cleared(self, body: bytes, seen: Sight) -> bytes:
        """A Patient or a Bundle of them without links to records that this viewer may not know of:
        that a link leads to nothing would tell of them."""
        if not seen.closed or b'"other":{' not in body:
            return body
        resource = showing.opened(body)
        linked = {id_ for p in _patients(resource) for id_ in showing.linked(p)}
        where = {"_id": {"$in": sorted(linked)}, "system": {"$in": sorted(seen.closed)}}
        rows = await self.people.records.many(where, {"_id": 1}) if linked else []
        if not rows:
            return body
        hidden = frozenset(row["_id"] for row in rows)
        for patient in _patients(resource):
            showing.unlink(patient, hidden)
        return dumps(resource)


def _patients(resource: dict[str, Any]) -> list[dict[str, Any]]:
    entries = resource.get("entry")
    every = [resource] if entries is None else [e.get("resource") or {} for e in entries]
    return [r for r in every if r.get("resourceType") == "Patient"]
