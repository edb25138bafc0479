"""Who is who elsewhere: issuer and subject of another provider, and the person here, in `auth.identities`.

One identity leads to one person and to nobody else; a person may have several. A link is made before it
is used, by an administrator, or at the first sign-in where the provider's row lets new people in.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

from pymongo import IndexModel
from pymongo.errors import DuplicateKeyError

from chassis.mongo import Doc, Mongo


@dataclass(frozen=True, slots=True)
class Link:
    """One identity of a person. `by` is who linked it; `made_here` says that the person was admitted by
    this very identity, so that the provider's roles are all that they hold."""

    issuer: str
    subject: str
    person: str
    provider: str
    by: str
    at: datetime
    made_here: bool = False


class IdentityTaken(ValueError):  # noqa: N818  says what is the matter
    """The identity is linked to a person already."""


class Identities:
    """The store of links."""

    def __init__(self, mongo: Mongo) -> None:
        self._table = mongo.table("auth", "identities")

    async def prepare(self) -> None:
        """Make the collection and its index; kept when they exist."""
        await self._table.ensure(IndexModel([("person", 1)], name="person"))

    async def link(self, link: Link) -> None:
        """Keep a link. Raises `IdentityTaken`, also for the same person."""
        row: Doc = {
            "_id": _key(link.issuer, link.subject), "iss": link.issuer, "sub": link.subject,
            "person": link.person, "provider": link.provider, "by": link.by, "at": link.at,
            "made_here": link.made_here,
        }  # fmt: skip
        try:
            await self._table.insert(row)
        except DuplicateKeyError:
            raise IdentityTaken("This identity is linked to a person already.") from None

    async def of(self, issuer: str, subject: str) -> Link | None:
        """The link of this identity, or None."""
        row = await self._table.one({"_id": _key(issuer, subject)})
        return _link(row) if row else None

    async def of_person(self, person: str) -> list[Link]:
        """Every identity of a person."""
        return [_link(row) for row in await self._table.many({"person": person})]

    async def unlink(self, issuer: str, subject: str) -> bool:
        """Forget a link; False when there is none."""
        return bool(await self._table.delete({"_id": _key(issuer, subject)}))


def now() -> datetime:
    """The moment that a link is made."""
    return datetime.now(UTC)


def _key(issuer: str, subject: str) -> str:
    # Two texts are one key: told apart by the length of the first.
    return hashlib.sha256(f"{len(issuer)} {issuer} {subject}".encode()).hexdigest()


def _link(row: Doc) -> Link:
    return Link(
        row["iss"], row["sub"], row["person"], row["provider"], row["by"], row["at"],
        row["made_here"],
    )  # fmt: skip
