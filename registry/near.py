"""What the repository is told: which binaries are referenced, and to which document one belongs."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from chassis import search
from chassis.call import Answer, Call, Caller, dumps, instant
from chassis.mongo import Doc
from governance.permit import Permit
from registry.documents import Documents, visible
from standards.mhd import DOCUMENT_OF, DOCUMENT_PARAMETERS, REFERENCED
from standards.outcome import STRUCTURE, Issue, Refused


@dataclass(frozen=True, slots=True)
class Away:
    """Where a document is kept that is not held here: URL, whose it is, media type, and what it is held
    to: SHA-1 in hex and size, "" and None when it is made on demand. `at`: when it was registered."""

    url: str
    organisation: str
    media: str
    sha1: str
    size: int | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Cited:
    """The document that a binary belongs to: its id, whose it is (`Patient/x` or ""), its security
    labels as (system, code), and whether it is current."""

    document: str
    subject: str
    labels: tuple[tuple[str, str], ...]
    current: bool
    away: Away | None = None


class Neighbour:
    """The near object of the registry."""

    def __init__(self, store: Documents) -> None:
        self.store = store

    async def referenced(self, binary_ids: Collection[str]) -> AbstractSet[str]:
        """Which of these binaries some DocumentReference points to, whatever its status."""
        where = {"binary": {"$in": list(binary_ids)}}
        return {r["binary"] for r in await self.store.documents.many(where, {"binary": 1})}

    async def document_of(self, binary_id: str, permit: Permit, viewer: Caller) -> Cited | None:
        """The DocumentReference that points to this binary, if it lies within the permit and this
        viewer may see it."""
        parts = [{"binary": binary_id}, visible(viewer), search.narrow(permit, DOCUMENT_PARAMETERS)]
        fields = {"subject": 1, "labels": 1, "status": 1, "away": 1, "at": 1}
        row = await self.store.documents.one(search.all_of(parts), fields)
        if row is None:
            return None
        labels = tuple((system, code) for system, code in row["labels"])
        subject = f"Patient/{row['subject']}" if row["subject"] else ""
        return Cited(row["_id"], subject, labels, row["status"] == "current", _away(row))

    # -- the far doors ----------------------------------------------------------------------------

    async def answer_referenced(self, call: Call) -> Answer:
        """`referenced` over HTTP."""
        ids = (call.resource or {}).get("ids")
        if not isinstance(ids, list) or not all(isinstance(i, str) for i in ids):
            raise Refused(Issue(STRUCTURE, REFERENCED.words, "ids"))
        return _said({"referenced": sorted(await self.referenced(ids))})

    async def answer_document_of(self, call: Call) -> Answer:
        """`document_of` over HTTP."""
        said = call.resource or {}
        try:
            permit = Permit(
                tuple(str(b) for b in said["by"]),
                tuple(frozenset((str(n), str(v)) for n, v in group) for group in said["narrow"]),
                str(said["version"]),
            )
            who = said["viewer"]
            viewer = Caller(
                client_id=str(who["client"]),
                organisation=str(who["organisation"]),
                role=str(who["role"]),
            )
            binary_id = str(said["id"])
        except (KeyError, TypeError, ValueError):
            raise Refused(Issue(STRUCTURE, DOCUMENT_OF.words)) from None
        found = await self.document_of(binary_id, permit, viewer)
        if found is None:
            return _said({"document": None})
        return _said(
            {
                "document": {
                    "id": found.document,
                    "subject": found.subject,
                    "labels": [list(label) for label in found.labels],
                    "current": found.current,
                    "away": None
                    if found.away is None
                    else {**asdict(found.away), "at": instant(found.away.at)},
                }
            }
        )


def _away(row: Doc) -> Away | None:
    held = row.get("away")
    if held is None:
        return None
    sha1 = b64decode(held["hash"]).hex()
    return Away(held["url"], held["organisation"], held["type"], sha1, held["size"], row["at"])


def _said(answer: Mapping[str, Any]) -> Answer:
    return Answer(200, dumps(answer), media="application/json")
