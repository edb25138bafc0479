"""Which identifiers a caller may be shown, and may find people by. PURE.

A row of the pack's `identifier_visibility.csv` opens one domain to some roles, purposes and
organisations. What no row opens stays closed, except to its own organisation, to its source and to
the exchange's own jobs; a sealed domain (tier X) is open to nobody (domain digest §1.3, §1.6 P8).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from affinity.domains import Domain, Register
from affinity.visibility import ANY, MEMBER, NONE, Opening

SYSTEM_ROLE = "R-SYS"  # the exchange's own jobs, which carry identifiers between agencies
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks: role, purpose, organisation ("" where the token says none) with its kind, and the
    systems that this client feeds."""

    role: str = ""
    purpose: str = ""
    organisation: str = ""
    kind: str = ""
    feeds: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Sight:
    """What one kind of caller may be shown; made once and asked often.

    `everything` is true where only sealed domains are hidden, so that stored bytes can be served as
    they are; `closed` are the systems of which it may not even learn that somebody has a number.
    """

    register: Register
    viewer: Viewer
    openings: tuple[Opening, ...]
    everything: bool
    closed: frozenset[str]
    _known: dict[str, bool] = field(default_factory=dict, repr=False, compare=False)

    def sees(self, system: str) -> bool:
        """Whether numbers of this canonical system may be shown. Systems that are no domain of the
        exchange (`urn:ietf:rfc:3986`, a source's own) are not its to hide."""
        found = self._known.get(system)
        if found is None:
            if len(self._known) >= _REMEMBERED:  # families have members without end
                self._known.clear()
            found = self._known[system] = self._decide(system)
        return found

    def tells_of(self, system: str) -> bool:
        """Whether it may learn that somebody has a number of this system."""
        return system not in self.closed

    def owns(self, system: str) -> bool:
        """Whether records fed under this system are the viewer's own word, or it carries everybody's."""
        if self.everything or system in self.viewer.feeds:
            return True
        domain = self.register.domain_of(system)
        member = system.removeprefix(domain.system) if domain and domain.prefix else ""
        return bool(member) and member in codes(self.viewer.organisation)

    def _decide(self, system: str) -> bool:
        domain = self.register.domain_of(system)
        if domain is None:
            return True
        if domain.tier == "X":
            return False
        if self.owns(system):
            return True
        member = system.removeprefix(domain.system) if domain.prefix else ""
        return any(opens(o, self.viewer, member) for o in self.openings if o.domain == domain.id)


def sight(viewer: Viewer, register: Register, openings: Collection[Opening]) -> Sight:
    """What this viewer may be shown."""
    everything = viewer.role == SYSTEM_ROLE
    made = Sight(register, viewer, tuple(openings), everything, frozenset())
    closed = frozenset(system for system in unspoken(register) if not made.sees(system))
    return Sight(register, viewer, tuple(openings), everything, closed)


def unspoken(register: Register) -> frozenset[str]:
    """The systems of which not everybody may learn that somebody has a number (police, victims)."""
    return frozenset(d.system for d in register.domains if _closed(d))


def _closed(domain: Domain) -> bool:
    return domain.existence == "closed" and domain.tier != "X" and not domain.prefix


def opens(opening: Opening, viewer: Viewer, member: str = "") -> bool:
    """Whether a row opens its domain to a viewer; `member` is the code of a family's member."""
    return (
        _fits(opening.roles, (viewer.role,))
        and _fits(opening.purposes, (viewer.purpose,))
        and _fits(
            tuple(o.replace(MEMBER, member) if member else o for o in opening.organisations),
            (*codes(viewer.organisation), viewer.kind) if viewer.organisation else ("",),
        )
    )


def _fits(allowed: Iterable[str], said: Iterable[str]) -> bool:
    have = {one or NONE for one in said}
    return any(one == ANY or one in have for one in allowed)


def codes(organisation: str) -> tuple[str, ...]:
    """The codes an organisation goes by: a council's has two parts (`352/E08000003`)."""
    return (organisation, *organisation.split("/")) if organisation else ()
