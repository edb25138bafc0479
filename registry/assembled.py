"""A document whose assembly was delayed gets its hash and size when it is first retrieved (IHE TF-3
4.2.3.2, Delayed Document Assembly; MHD digest §2.3).

Until then its metadata say size 0 and the hash of no bytes. Who retrieves it first tells what came: the
metadata become those of these bytes, in a new version, and every later retrieval is held to them. Of
two first retrievals at once one is the first, and the other is told what the first one said.

One transaction writes the version, the one before into the history, a Provenance and the AuditEvent.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession

from chassis import outbox
from chassis.body import parse_json
from chassis.call import Account, Caller, dumps, fresh_id, instant
from chassis.mongo import Doc
from registry.documents import DATABASE, Documents, MovedError
from registry.elsewhere import ORGANISATIONS
from registry.submission import Change, revised
from standards import balp
from standards.index import token
from standards.lens import at
from standards.outcome import BUSY, Issue, Refused

Json = Mapping[str, Any]
_TRIES = 8
_ITSELF = Caller(client_id="registry", subject="registry", name="Throughline document registry")
_PATTERN = balp.rest("U", "update", ("data", "patient"))
_OPERATION = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
_PARTICIPANT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"


class Assembly:
    """The story over the registry's store."""

    def __init__(self, store: Documents, audit: outbox.Writer, base: str) -> None:
        self.store, self.audit, self.base = store, audit, base

    async def assembled(self, binary: str, sha1: str, size: int) -> tuple[str, int] | None:
        """These bytes came at a first retrieval. Answers with the SHA-1 (hex) and size that the document
        is held to from now on, which are others when somebody else was first; None when there is no such
        document any more.

        Raises `Refused` (503) when others keep changing the document.
        """
        for _ in range(_TRIES):
            row = await self.store.documents.one({"binary": binary})
            place = place_of(row, binary) if row is not None else None
            if row is None or place is None:
                return None
            if not place.get("delayed"):
                return b64decode(place["hash"]).hex(), int(place["size"] or 0)
            try:
                await self._write(row, binary, place, sha1, size)
            except MovedError:
                continue
            return sha1, size
        raise Refused(Issue(BUSY, "Others keep changing the same document; try again."))

    async def _write(self, row: Doc, binary: str, place: Json, sha1: str, size: int) -> None:
        now = datetime.now(UTC)
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        hash_ = b64encode(bytes.fromhex(sha1)).decode()
        known = {**{k: v for k, v in place.items() if k != "delayed"}, "hash": hash_, "size": size}
        after = measured(row, binary, known, now, self.base)
        proof = provenance(fresh_id(), after, known["organisation"], now)
        account = Account(data=[f"DocumentReference/{row['_id']}"])
        if row["subject"]:
            account.patients = [f"Patient/{row['subject']}"]
        event = balp.event(
            _PATTERN, _ITSELF, account, balp.Request(fresh_id(), instant(now), self.base)
        )

        async def story(session: AsyncClientSession) -> None:
            await self.store.change([Change(row, after)], "DocumentReference", session)
            target = [f"DocumentReference/{row['_id']}"]
            kept = {"_id": proof["id"], "at": now, "b": dumps(proof), "target": target}
            await self.store.provenances.insert(kept, session)
            await self._renamed(row, hash_, size, session)
            await outbox.put(session, self.store.mongo, DATABASE, event)

        await self.store.mongo.transaction(story)
        await self.audit.record(event)

    async def _renamed(self, row: Doc, hash_: str, size: int, session: AsyncClientSession) -> None:
        """The uniqueId now stands for these bytes, and may occur again over them only."""
        master = parse_json(bytes(row["b"])).get("masterIdentifier") or {}
        name = token(master.get("system") or "", str(master.get("value") or ""))
        change = {"$set": {"hash": hash_, "size": size}}
        where = {"_id": name, "of": row["_id"]}
        await self.store.registered.update(where, change, session=session)


# -- PURE ---------------------------------------------------------------------------------------------


def place_of(row: Doc, binary: str) -> Json | None:
    """What a row remembers of where a document is kept that is given out as this Binary."""
    held = row.get("away")
    if isinstance(held, list):  # a pointer may have several contents
        return next((place for place in held if place["id"] == binary), None)
    return held if held is not None else None


def measured(row: Doc, binary: str, known: Json, now: datetime, base: str) -> Doc:
    """The next version of a document, with the hash and size that are now known."""
    contents = parse_json(bytes(row["b"]))["content"]
    for attachment in at({"content": contents}, "content.attachment"):
        if attachment.get("url") == f"{base}/Binary/{binary}":
            attachment |= {"hash": known["hash"], "size": known["size"]}
    away: Any = known
    if isinstance(row["away"], list):
        away = [known if place["id"] == binary else place for place in row["away"]]
    return revised(row | {"away": away}, now, base, content=contents)


def provenance(id_: str, row: Doc, holder: str, now: datetime) -> dict[str, Any]:
    """Why there is a version that nobody submitted."""
    return {
        "resourceType": "Provenance",
        "id": id_,
        "meta": {"versionId": "1", "lastUpdated": instant(now)},
        "target": [{"reference": f"DocumentReference/{row['_id']}/_history/{row['v']}"}],
        "recorded": instant(now),
        "reason": [{"text": "The document was assembled when it was first retrieved."}],
        "activity": {"coding": [{"system": _OPERATION, "code": "UPDATE"}]},
        "agent": [
            _agent("performer", {"display": _ITSELF.name}),
            _agent("assembler", {"identifier": {"system": ORGANISATIONS, "value": holder}}),
        ],
    }


def _agent(kind: str, who: Json) -> dict[str, Any]:
    return {"type": {"coding": [{"system": _PARTICIPANT, "code": kind}]}, "who": dict(who)}
