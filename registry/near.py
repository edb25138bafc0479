"""What the repository is told: which binaries are referenced, and to which document one belongs."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from chassis import search
from chassis.call import Answer, Call, Caller, dumps, instant
from chassis.far import heard
from chassis.mongo import Doc
from governance.permit import Permit
from registry.assembled import Assembly, place_of
from registry.documents import Documents, visible
from standards.mhd import DOCUMENT_OF, DOCUMENT_PARAMETERS, REFERENCED
from standards.mhd_retrieve import ASSEMBLED
from standards.outcome import STRUCTURE, Issue, Refused

_SHA1 = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Away:
    """Where a document is kept that is not held here: URL, whose it is, media type, and what it is held
    to: SHA-1 in hex and size, "" and None when it is made on demand. `at`: when it was registered.
    `delayed`: its first retrieval says what SHA-1 and size are. `withdrawn`: its organisation took the
    pointer back."""

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
    """The document that a binary belongs to: its id, whose it is (`Patient/x` or ""), its security
    labels as (system, code), and whether it is current."""

    document: str
    subject: str
    labels: tuple[tuple[str, str], ...]
    current: bool
    away: Away | None = None


class Neighbour:
    """The near object of the registry."""

    def __init__(self, store: Documents, assembly: Assembly) -> None:
        self.store, self.assembly = store, assembly

    async def referenced(self, binary_ids: Collection[str]) -> AbstractSet[str]:
        """Which of these binaries some DocumentReference points to, whatever its status."""
        where = {"binary": {"$in": list(binary_ids)}}
        rows = await self.store.documents.many(where, {"binary": 1})
        return {id_ for row in rows for id_ in binaries(row)}

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
        current = row["status"] == "current"
        return Cited(row["_id"], subject, labels, current, _away(row, binary_id))

    async def assembled(self, binary_id: str, sha1: str, size: int) -> tuple[str, int] | None:
        """What a document of delayed assembly is held to after a first retrieval brought these bytes
        (`registry/assembled.py`)."""
        return await self.assembly.assembled(binary_id, sha1, size)

    # -- the far doors ----------------------------------------------------------------------------

    async def answer_assembled(self, call: Call) -> Answer:
        """`assembled` over HTTP."""
        said = call.resource or {}
        id_, sha1, size = said.get("id"), said.get("sha1"), said.get("size")
        if not (isinstance(id_, str) and isinstance(sha1, str) and isinstance(size, int)):
            raise Refused(Issue(STRUCTURE, ASSEMBLED.words))
        if not _SHA1.fullmatch(sha1) or size < 1:
            raise Refused(Issue(STRUCTURE, ASSEMBLED.words))
        found = await self.assembled(id_, sha1, size)
        return _said({"held": list(found) if found is not None else None})

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
            permit, viewer, binary_id = Permit.heard(said), heard(said["viewer"]), str(said["id"])
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


def binaries(row: Doc) -> list[str]:
    """The ids of the Binaries as which a document is given out: a pointer may have several."""
    held = row.get("binary") or []
    return [held] if isinstance(held, str) else list(held)


def _away(row: Doc, binary_id: str) -> Away | None:
    held = place_of(row, binary_id)
    if held is None:
        return None
    return Away(
        held["url"],
        held["organisation"],
        held["type"],
        b64decode(held["hash"]).hex(),
        held["size"],
        row["at"],
        bool(held.get("delayed")),
        row["status"] == "entered-in-error",
    )


def _said(answer: Mapping[str, Any]) -> Answer:
    return Answer(200, dumps(answer), media="application/json")
