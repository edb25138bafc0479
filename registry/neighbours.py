"""What the registry asks of its neighbours, in its own words.

*Near* are the neighbours' own objects (`pix.near.Neighbour`, `repository.vault.Vault`); *far* are
`FarPeople` and `FarVault`, the same questions over HTTP.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from chassis.call import Caller
from chassis.far import Far, told
from governance.permit import Permit

Asked = tuple[str, ...]
"""`("id", patient_id)` or `("identifier", system, value)`."""


class Who(Protocol):
    """A Patient record and its person."""

    @property
    def record(self) -> str:
        """Id of the record that was asked for."""
        ...

    @property
    def person(self) -> str:
        """Key of the person; records of one person share it."""
        ...

    @property
    def state(self) -> str:
        """`active`, `subsumed` or `removed`."""
        ...

    @property
    def survivor(self) -> str | None:
        """The record that a subsumed one was merged into."""
        ...

    @property
    def same(self) -> tuple[str, ...]:
        """Ids of all records of the person."""
        ...


class People(Protocol):
    """The identity cross-reference manager, as the registry sees it."""

    async def who(
        self, asked: Sequence[Asked], viewer: Caller | None = None
    ) -> Mapping[Asked, Who]:
        """Who each of these is; nobody is left out. With a `viewer`, numbers and records that this
        caller may not know of are as if nobody had them."""
        ...

    async def patients(self, ids: Collection[str], viewer: Caller, permit: Permit) -> list[bytes]:
        """The Patients with these ids that lie within the permit, as this viewer may see them."""
        ...

    async def feeds(self, client: str) -> Collection[str]:
        """The systems of the identifier domains that this client is the source of."""
        ...

    async def happened(self, since: str) -> Sequence[tuple[str, str]]:
        """(event id, record) of merges and revisions from an event id on, in their order, at most
        1,000 of them."""
        ...

    async def lived(self, records: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """Birth date and date of death of these records' subjects, "" where it is not known."""
        ...


class Content(Protocol):
    """Bytes with what is claimed of them. `chassis.attachment.Attachment` is one."""

    @property
    def size(self) -> int:
        """How many bytes."""
        ...

    @property
    def sha1(self) -> bytes:
        """SHA-1 of them."""
        ...

    @property
    def sha256(self) -> bytes:
        """SHA-256 of them."""
        ...

    def open(self) -> AsyncIterator[bytes]:
        """The bytes, from the start."""
        ...


class Kept(Protocol):
    """What the vault holds."""

    @property
    def binary_id(self) -> str:
        """Id under which the bytes are retrieved."""
        ...


class Vault(Protocol):
    """The document repository, as the registry sees it."""

    async def deposit(self, content_type: str, content: Content, owner: str = "") -> Kept:
        """Hold these bytes of `owner` under a new id, until `keep` or `release`."""
        ...

    async def keep(self, documents: Mapping[str, str]) -> None:
        """These binaries belong to these DocumentReferences, which are committed."""
        ...

    async def release(self, binary_ids: Collection[str]) -> None:
        """No document will refer to these binaries."""
        ...

    async def held(
        self, document: str, records: Collection[str], types: Collection[tuple[str, str]]
    ) -> Sequence[str]:
        """The ids of the legal holds on this document, about any of these Patient records, of these
        types (system, code)."""
        ...


@dataclass(frozen=True, slots=True)
class FarWho:
    """`Who`, as it came over HTTP."""

    record: str
    person: str
    state: str
    survivor: str | None
    same: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FarKept:
    """`Kept`, as it came over HTTP."""

    binary_id: str


class FarPeople:
    """The identity manager in another process."""

    def __init__(self, far: Far) -> None:
        self._far = far

    async def who(
        self, asked: Sequence[Asked], viewer: Caller | None = None
    ) -> Mapping[Asked, FarWho]:
        """As `People.who`; `Refused(BUSY)` when it does not answer."""
        questions = list(dict.fromkeys(asked))
        if not questions:
            return {}
        seen_by = None if viewer is None else told(viewer)
        said = {"asked": [list(q) for q in questions], "viewer": seen_by}
        answer = await self._far.post("/internal/pix/who", said)
        return {
            question: FarWho(
                said["record"], said["person"], said["state"], said["survivor"], tuple(said["same"])
            )
            for question, said in zip(questions, answer["who"], strict=True)
            if said is not None
        }

    async def patients(self, ids: Collection[str], viewer: Caller, permit: Permit) -> list[bytes]:
        """As `People.patients`; `Refused(BUSY)` when it does not answer."""
        said = {"ids": sorted(ids), "permit": permit.told(), "viewer": told(viewer)}
        answer = await self._far.post("/internal/pix/patients", said)
        return [str(body).encode() for body in answer["patients"]]

    async def feeds(self, client: str) -> Collection[str]:
        """As `People.feeds`; `Refused(BUSY)` when it does not answer."""
        answer = await self._far.post("/internal/pix/feeds", {"client": client})
        return frozenset(str(system) for system in answer["feeds"])

    async def happened(self, since: str) -> Sequence[tuple[str, str]]:
        """As `People.happened`; `Refused(BUSY)` when it does not answer."""
        answer = await self._far.post("/internal/pix/happened", {"since": since})
        return [(str(id_), str(record)) for id_, record in answer["happened"]]

    async def lived(self, records: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """As `People.lived`; `Refused(BUSY)` when it does not answer."""
        answer = await self._far.post("/internal/pix/lived", {"records": list(records)})
        return {str(k): (str(v[0]), str(v[1])) for k, v in answer["lived"].items()}


class FarVault:
    """The repository in another process."""

    def __init__(self, far: Far) -> None:
        self._far = far

    async def deposit(self, content_type: str, content: Content, owner: str = "") -> FarKept:
        """As `Vault.deposit`; `Refused(BUSY)` when it does not answer."""
        headers = {
            "Content-Type": "application/octet-stream",
            "X-Document-Type": content_type,
            "X-Document-Size": str(content.size),
            "X-Document-SHA1": content.sha1.hex(),
            "X-Document-SHA256": content.sha256.hex(),
            "X-Document-Owner": quote(owner),
        }
        said = await self._far.stream("/internal/repository/deposit", headers, content.open())
        return FarKept(said["id"])

    async def keep(self, documents: Mapping[str, str]) -> None:
        """As `Vault.keep`; `Refused(BUSY)` when it does not answer."""
        await self._far.post("/internal/repository/keep", {"documents": dict(documents)})

    async def release(self, binary_ids: Collection[str]) -> None:
        """As `Vault.release`; `Refused(BUSY)` when it does not answer."""
        await self._far.post("/internal/repository/release", {"ids": sorted(binary_ids)})

    async def held(
        self, document: str, records: Collection[str], types: Collection[tuple[str, str]]
    ) -> Sequence[str]:
        """As `Vault.held`; `Refused(BUSY)` when it does not answer."""
        asked = {
            "document": document, "records": sorted(records), "types": sorted(map(list, types)),
        }  # fmt: skip
        answer = await self._far.post("/internal/repository/held", asked)
        return [str(id_) for id_ in answer["held"]]
