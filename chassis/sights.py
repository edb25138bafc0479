"""What of the identifiers a caller may be shown: one `Sight` per kind of caller, kept for a while.

The rule is `governance/identifiers.py`; here it gets what it needs: the pack, and which domains a client
feeds, which only the identity manager knows.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection

from affinity.pack import Pack
from chassis.call import Caller
from governance.identifiers import SYSTEM_ROLE, Sight, Viewer, codes, sight

_LIFE = 30.0  # seconds after which an assignment of a domain to a client is looked up again
_MOST = 2000
Feeds = Callable[[str], Awaitable[Collection[str]]]
"""The systems of the domains that a client, by its id, is the source of."""


class Sights:
    """The sights of this process."""

    def __init__(
        self, pack: Pack, feeds: Feeds, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.pack, self.feeds, self.clock = pack, feeds, clock
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
        feeds = frozenset(await self.feeds(caller.client_id))
        kind = self._kind(caller.organisation)
        made = self._made(Viewer(caller.role, caller.purpose, caller.organisation, kind, feeds))
        self._kept[key] = (self.clock() + _LIFE, made)
        self._kept.move_to_end(key)
        if len(self._kept) > _MOST:
            self._kept.popitem(last=False)
        return made

    def _made(self, viewer: Viewer) -> Sight:
        return sight(viewer, self.pack.register, self.pack.openings)

    def _kind(self, organisation: str) -> str:
        found = self.pack.organisations
        return next((found[c].kind for c in codes(organisation) if c in found), "")
