"""What of the identifiers a caller may be shown: one `Sight` per kind of caller, kept for a while.

The rule is `governance/identifiers.py`; here it gets what it needs from the pack and the store.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from chassis.call import Caller, dumps
from governance.identifiers import SYSTEM_ROLE, Sight, Viewer, codes, sight
from pix import showing
from pix.identifiers import Domains
from pix.people import People

_LIFE = 30.0  # seconds after which an assignment of a domain to a client is looked up again
_MOST = 2000


class Sights:
    """The sights of this process."""

    def __init__(
        self, people: People, domains: Domains, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.people, self.domains, self.clock = people, domains, clock
        self._system = self._made(Viewer(role=SYSTEM_ROLE))
        self._kept: OrderedDict[tuple[str, ...], tuple[float, Sight]] = OrderedDict()

    async def of(self, caller: Caller) -> Sight:
        """What this caller may be shown."""
        if caller.role == SYSTEM_ROLE:
            return self._system
        key = (caller.client_id, caller.role, caller.purpose, caller.organisation)
        kept = self._kept.get(key)
        if kept is not None and kept[0] > self.clock():
            return kept[1]
        rows = await self.people.sources.many({"client": caller.client_id}, {"_id": 1})
        made = self._made(
            Viewer(
                caller.role,
                caller.purpose,
                caller.organisation,
                self._kind(caller.organisation),
                frozenset(row["_id"] for row in rows),
            )
        )
        self._kept[key] = (self.clock() + _LIFE, made)
        self._kept.move_to_end(key)
        if len(self._kept) > _MOST:
            self._kept.popitem(last=False)
        return made

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

    def _made(self, viewer: Viewer) -> Sight:
        pack = self.domains.pack
        return sight(viewer, pack.register, pack.openings)

    def _kind(self, organisation: str) -> str:
        found = self.domains.pack.organisations
        return next((found[c].kind for c in codes(organisation) if c in found), "")


def _patients(resource: dict[str, Any]) -> list[dict[str, Any]]:
    entries = resource.get("entry")
    every = [resource] if entries is None else [e.get("resource") or {} for e in entries]
    return [r for r in every if r.get("resourceType") == "Patient"]
