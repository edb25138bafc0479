"""What the authorization service asks of its neighbours, in its own words.

*Near* are the neighbours' own objects (`chassis.audit.AuditWriter`, `pix.near.Neighbour`); *far* is
`FarPatients`, the same questions over HTTP.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from chassis.call import Caller
from chassis.far import Far, told
from governance.permit import Permit


class Audit(Protocol):
    """The audit trail, near or far (`chassis.audit.AuditWriter`)."""

    async def record(self, *events: Mapping[str, Any]) -> None:
        """Return when these AuditEvents are durable; raises `Refused` (503) when they cannot be."""
        ...


class Found(Protocol):
    """What a search for people found."""

    @property
    def patients(self) -> Sequence[bytes]:
        """Patients, one for each person, as the viewer may see them."""
        ...

    @property
    def more(self) -> bool:
        """True when there are more than are told."""
        ...


class Patients(Protocol):
    """The identity cross-reference manager, as the choice of a patient sees it."""

    async def find(self, asked: Sequence[tuple[str, str]], viewer: Caller) -> Found:
        """The people that these search parameters of ITI-78 find, within the viewer's rights."""
        ...

    async def patients(
        self, ids: Collection[str], viewer: Caller, permit: Permit
    ) -> Sequence[bytes]:
        """The Patients with these ids that lie within the permit, as this viewer may see them."""
        ...


@dataclass(frozen=True, slots=True)
class FarFound:
    """`Found`, as it came over HTTP."""

    patients: Sequence[bytes]
    more: bool


class FarPatients:
    """The identity manager in another process."""

    def __init__(self, far: Far) -> None:
        self._far = far

    async def find(self, asked: Sequence[tuple[str, str]], viewer: Caller) -> FarFound:
        """As `Patients.find`; `Refused(BUSY)` when it does not answer."""
        said = {"asked": [list(pair) for pair in asked], "viewer": told(viewer)}
        answer = await self._far.post("/internal/pix/find", said)
        return FarFound([str(p).encode() for p in answer["patients"]], bool(answer["more"]))

    async def patients(self, ids: Collection[str], viewer: Caller, permit: Permit) -> list[bytes]:
        """As `Patients.patients`; `Refused(BUSY)` when it does not answer."""
        said = {"ids": sorted(ids), "permit": permit.told(), "viewer": told(viewer)}
        answer = await self._far.post("/internal/pix/patients", said)
        return [str(body).encode() for body in answer["patients"]]


class NoPatients:
    """The authorization server without an identity manager beside it: there is nobody to choose."""

    async def find(self, asked: Sequence[tuple[str, str]], viewer: Caller) -> FarFound:  # noqa: ARG002
        """Nobody."""
        return FarFound((), more=False)

    async def patients(self, ids: Collection[str], viewer: Caller, permit: Permit) -> list[bytes]:  # noqa: ARG002
        """None."""
        return []
