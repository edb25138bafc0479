"""Who may feed a domain (PIXm 2:3.104: a domain has exactly one Source).

A client may feed a domain when it has the role of a system feeder (`R-SYS`: the integration engine
that speaks for every source), when the domain is its own organisation's (the last part of the
system is the organisation's code), or when the domain was assigned to it. Nobody becomes a source by
feeding first.
"""

from __future__ import annotations

from dataclasses import dataclass

from chassis.call import Caller
from pix.identifiers import Domains
from pix.people import People

FEEDER = "R-SYS"


@dataclass(frozen=True, slots=True)
class Sources:
    """The assignments of domains to clients."""

    people: People
    domains: Domains

    async def may_feed(self, caller: Caller, system: str) -> bool:
        """Whether this caller is the Source of a domain."""
        if caller.role == FEEDER or self.owns(caller.organisation, system):
            return True
        assigned = await self.people.sources.one({"_id": system, "client": caller.client_id})
        return assigned is not None

    def owns(self, organisation: str, system: str) -> bool:
        """Whether a domain of a family (`…/social-care-id/352`) is this organisation's.

        A council's code has two parts (`352/E08000003`); the domain is named by either.
        """
        domain = self.domains.of(system)
        if domain is None or not domain.prefix or not organisation:
            return False
        return system.rpartition("/")[2] in (organisation, *organisation.split("/"))

    async def assign(self, system: str, client: str) -> None:
        """Make a client the one assigned Source of a domain; an earlier assignment ends."""
        system = self.domains.system(system)
        row = {"_id": system, "client": client}
        await self.people.sources.replace({"_id": system}, row, upsert=True)
