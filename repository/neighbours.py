"""What the repository asks of the registry, in its own words.

*Near* is the registry's own object; *far* is `FarRegistry`, the same questions over HTTP
(`POST /internal/registry/…`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from chassis.call import Caller
from chassis.far import Far, told
from governance.permit import Permit
from repository.retention import Aged, Fellow, latest


class Elsewhere(Protocol):
    """Where a document is kept that is not in the vault; `Away` is one."""

    @property
    def url(self) -> str:
        """Where it is."""
        ...

    @property
    def organisation(self) -> str:
        """Whose it is there."""
        ...

    @property
    def media(self) -> str:
        """Its media type."""
        ...

    @property
    def sha1(self) -> str:
        """Its SHA-1 in hex; "" when it is made on demand."""
        ...

    @property
    def size(self) -> int | None:
        """Its size; None when it is made on demand."""
        ...

    @property
    def at(self) -> datetime:
        """When it was registered."""
        ...

    @property
    def delayed(self) -> bool:
        """Whether its first retrieval says what SHA-1 and size are."""
        ...

    @property
    def withdrawn(self) -> bool:
        """Whether its organisation took the pointer back."""
        ...


@dataclass(frozen=True, slots=True)
class Away:
    """`Elsewhere`, as it came over HTTP."""

    url: str
    organisation: str
    media: str
    sha1: str
    size: int | None
    at: datetime
    delayed: bool = False
    withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class Cited:
    """The document that a binary belongs to: its DocumentReference id, whose it is (`Patient/x`),
    its security labels as (system, code), and whether it is the current one."""

    document: str
    subject: str
    labels: tuple[tuple[str, str], ...] = ()
    current: bool = True
    away: Away | None = None


class Citation(Protocol):
    """What the repository reads of the registry's answer; `Cited` is one."""

    @property
    def document(self) -> str:
        """Id of the DocumentReference."""
        ...

    @property
    def subject(self) -> str:
        """`Patient/x`, or "" when the document names nobody."""
        ...

    @property
    def labels(self) -> Sequence[tuple[str, str]]:
        """Security labels."""
        ...

    @property
    def away(self) -> Elsewhere | None:
        """Where the document is kept, when it is not held here."""
        ...


class Registry(Protocol):
    """The registry, as the repository sees it."""

    async def referenced(self, binary_ids: Collection[str]) -> AbstractSet[str]:
        """Which of these binaries any DocumentReference, whatever its status, points to."""
        ...

    async def document_of(self, binary_id: str, permit: Permit, viewer: Caller) -> Citation | None:
        """The DocumentReference that points to this binary, if there is one within the permit (which
        is narrowed by DocumentReference search parameters) that this viewer may see (unclassified ones
        are for their submitter's organisation and system roles); None hides the rest."""
        ...

    async def assembled(self, binary_id: str, sha1: str, size: int) -> tuple[str, int] | None:
        """A first retrieval of a document of delayed assembly brought these bytes. The SHA-1 (hex) and
        size that it is held to from now on; None when there is no such document any more."""
        ...

    async def aged(
        self, binaries: Collection[str] = (), documents: Collection[str] = ()
    ) -> Sequence[Mapping[str, Any]]:
        """Each of these documents that is registered, with what `age` reads; the rest is left out."""
        ...

    async def entomb(
        self, documents: Collection[str], disposal: str, ground: str, at_: datetime
    ) -> int:
        """Make tombstones of these documents, all or none; those that are already stay as they are."""
        ...


def age(said: Mapping[str, Any]) -> Aged:
    """What the registry says of a document, as dates. Of several births or deaths that the records of
    one person say, the latest counts, which keeps a document longest."""
    births = [d for d in map(latest, said["births"]) if d]
    deaths = [d for d in map(latest, said["deaths"]) if d]
    fellows = tuple(Fellow(_types(f["types"]), latest(f["end"])) for f in said["fellows"])
    return Aged(
        said["document"],
        said["binary"],
        said["subject"],
        said["status"],
        _types(said["types"]),
        latest(said["end"]),
        max(births, default=None),
        max(deaths, default=None),
        tuple(said["same"]),
        fellows,
    )


def _types(said: Sequence[Sequence[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((str(system), str(code)) for system, code in said)


class FarRegistry:
    """The registry in another process."""

    def __init__(self, far: Far) -> None:
        self._far = far

    async def referenced(self, binary_ids: Collection[str]) -> AbstractSet[str]:
        """As `Registry.referenced`; `Refused(BUSY)` when the registry does not answer."""
        answer = await self._far.post("/internal/registry/referenced", {"ids": sorted(binary_ids)})
        return frozenset(str(i) for i in answer["referenced"])

    async def document_of(self, binary_id: str, permit: Permit, viewer: Caller) -> Cited | None:
        """As `Registry.document_of`; `Refused(BUSY)` when the registry does not answer."""
        asked = {"id": binary_id, **permit.told(), "viewer": told(viewer)}
        found = (await self._far.post("/internal/registry/document-of", asked)).get("document")
        if found is None:
            return None
        labels = tuple((str(system), str(code)) for system, code in found["labels"])
        return Cited(
            str(found["id"]),
            str(found["subject"]),
            labels,
            bool(found["current"]),
            _away(found.get("away")),
        )

    async def assembled(self, binary_id: str, sha1: str, size: int) -> tuple[str, int] | None:
        """As `Registry.assembled`; `Refused(BUSY)` when the registry does not answer."""
        asked = {"id": binary_id, "sha1": sha1, "size": size}
        held = (await self._far.post("/internal/registry/assembled", asked))["held"]
        return None if held is None else (str(held[0]), int(held[1]))

    async def aged(
        self, binaries: Collection[str] = (), documents: Collection[str] = ()
    ) -> Sequence[Mapping[str, Any]]:
        """As `Registry.aged`; `Refused(BUSY)` when the registry does not answer."""
        asked = {"binaries": sorted(binaries), "documents": sorted(documents)}
        told: list[Mapping[str, Any]] = (await self._far.post("/internal/registry/aged", asked))[
            "aged"
        ]
        return told

    async def entomb(
        self, documents: Collection[str], disposal: str, ground: str, at_: datetime
    ) -> int:
        """As `Registry.entomb`; `Refused(BUSY)` when the registry does not answer."""
        asked = {
            "documents": sorted(documents), "disposal": disposal, "ground": ground, "at": at_.isoformat(),
        }  # fmt: skip
        return int((await self._far.post("/internal/registry/entomb", asked))["entombed"])


def _away(said: Mapping[str, Any] | None) -> Away | None:
    if said is None:
        return None
    at = datetime.fromisoformat(said["at"])
    return Away(
        said["url"], said["organisation"], said["media"], said["sha1"], said["size"], at,
        said["delayed"], said["withdrawn"],
    )  # fmt: skip
