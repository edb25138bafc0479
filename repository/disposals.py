"""Disposals: documents are destroyed, or released from quarantine, by two people and all or nothing.

    disposals   {_id, act, ground, documents, approved, confirmed, state, at, finished}

                  approved ──somebody else confirms──► executing ──► done
                     └────────withdraw────► withdrawn

One transaction decides: it looks for holds, takes the documents out of reach (ITI-68 answers 410 from
then on), writes the AuditEvent and sets `executing`. What follows cannot be undone and cannot fail for
good: the registry makes its tombstones in one transaction of its own, every key is destroyed, and what
is left of it is noted for the certificate. Each step may be done again; a process that dies in between
is made up for by the sweep of any other.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from pymongo import IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession

from affinity.pack import Pack
from chassis import outbox
from chassis.call import Answer, Call, Caller, dumps
from chassis.mongo import Doc, Mongo, Table
from repository.certificate import certified, printable
from repository.holds import DATABASE, Holds, bare, who
from repository.neighbours import Registry, age
from repository.retention import Aged, Due, Hold, due, holding
from repository.vault import Vault
from standards import records
from standards.outcome import (
    BUSY,
    CODE_INVALID,
    CONFLICT,
    FORBIDDEN,
    NOT_FOUND,
    UNPROCESSABLE,
    Issue,
    Refused,
    refuse_if,
)

SYSTEM = "R-SYS"
ACTS = {"destroy": ("retention", "erasure", "quarantine"), "release": ("quarantine",)}
_BUSY_FOR = timedelta(minutes=1)  # how long another removal of the same content may take


class Disposals:
    """What was approved, confirmed and done."""

    def __init__(
        self, mongo: Mongo, pack: Pack, vault: Vault, registry: Registry, holds: Holds, table: Table
    ) -> None:
        self.mongo, self.pack, self.vault = mongo, pack, vault
        self.registry, self.holds, self.disposals = registry, holds, table

    @classmethod
    async def opened(
        cls, mongo: Mongo, pack: Pack, vault: Vault, registry: Registry, holds: Holds
    ) -> Disposals:
        """The disposals over their collection, created on first use."""
        table = await mongo.create(DATABASE, "disposals")
        await table.ensure(IndexModel([("state", 1)], name="state"))
        return cls(mongo, pack, vault, registry, holds, table)

    # -- the first of two -------------------------------------------------------------------------

    async def approve(self, call: Call) -> Answer:
        """$retention-approve: 201 with the disposal's id.

        Raises `Refused` with an issue for every document that is not the caller's to dispose of, is
        held, is not due, is destroyed already or is in another disposal.
        """
        said = records.asked(records.APPROVE, call.resource or {})
        ids = [bare(d, "DocumentReference") for d in said["document"]]
        act = (said["act"] or ["destroy"])[0]
        ground = (said["ground"] or ["quarantine" if act == "release" else "retention"])[0]
        if ground not in ACTS.get(act, ()):
            words = (
                "An act is destroy (on the ground of retention, erasure or quarantine) or release."
            )
            raise Refused(Issue(CODE_INVALID, words, "Parameters.parameter"))
        found = await self._documents(call.caller, ids)
        holds = await self.holds.standing()
        refuse_if(_unknown(ids, found))
        refuse_if(self._reasons(found, act, ground, holds, call.now))
        disposal: Doc = {
            "_id": call.ids(), "act": act, "ground": ground, "state": "approved", "at": call.now,
            "approved": who(call.caller) | {"at": call.now, "reason": said["reason"][0]},
            "documents": [self._noted(aged, row) for aged, row in found.values()],
        }  # fmt: skip
        _account(call, disposal)

        async def story(session: AsyncClientSession) -> None:
            claimed: Doc = {"_id": {"$in": [d["binary"] for d in disposal["documents"]]}}
            claimed |= {"disposal": {"$exists": False}, "state": "kept"}
            change = {"$set": {"disposal": disposal["_id"]}}
            made = await self.vault.deposits.update(claimed, change, many=True, session=session)
            if made != len(disposal["documents"]):
                words = "One of these documents is in another disposal, or gone, by now."
                raise Refused(Issue(CONFLICT, words, "document"))
            await self.disposals.insert(disposal, session)
            call.account.sealed = None
            await outbox.put(session, self.mongo, DATABASE, call.seal(201))

        await self.mongo.transaction(story)
        return Answer.fhir(records.parameters([("disposal", disposal["_id"])]), 201)

    async def _documents(self, caller: Caller, ids: Collection[str]) -> dict[str, tuple[Aged, Doc]]:
        """The documents that this caller may dispose of, by id, with their deposits."""
        aged = {
            a.document: a for a in map(age, await self.registry.aged(documents=ids)) if a.binary
        }
        where: Doc = {"_id": {"$in": [a.binary for a in aged.values()]}} | own(caller)
        rows = {r["_id"]: r for r in await self.vault.deposits.many(where)}
        return {i: (a, rows[a.binary]) for i, a in aged.items() if a.binary in rows}

    def _reasons(
        self,
        found: Mapping[str, tuple[Aged, Doc]],
        act: str,
        ground: str,
        holds: Sequence[Hold],
        now: datetime,
    ) -> Iterator[Issue]:
        """Why this cannot be done, for every document."""
        for id_, (aged, row) in found.items():
            yield from self._against(id_, aged, row, act, ground, holds, now)

    def _against(
        self,
        id_: str,
        aged: Aged,
        row: Doc,
        act: str,
        ground: str,
        holds: Sequence[Hold],
        now: datetime,
    ) -> list[Issue]:
        """Why this cannot be done to this document."""
        place = f"Parameters.parameter.where(value='{id_}')"
        if row["state"] == "destroyed":
            return [Issue(CONFLICT, "This document is destroyed already.", place)]
        if ground == "quarantine" and "quarantine" not in row:
            return [Issue(UNPROCESSABLE, "This document is not in quarantine.", place)]
        if act == "release":
            return []
        over = due(aged, self.pack)
        issues = [_held(hold, place) for hold in holding(aged, over.cls, holds)]
        if ground == "retention" and not over.reached(now.date()):
            day = f"Its time is over on {over.on}" if over.on else "Its time cannot be worked out"
            issues.append(Issue(UNPROCESSABLE, f"{day}: {over.why}", place))
        return issues

    def _noted(self, aged: Aged, row: Doc) -> Doc:
        over = due(aged, self.pack)
        return {
            "document": aged.document, "binary": aged.binary, "subject": aged.subject,
            "digest": row["digest"], "blob": row["blob"], "size": row["size"], "type": row["type"],
            "outcome": "",
        } | noted(over)  # fmt: skip

    # -- the second of two ------------------------------------------------------------------------

    async def destroy(self, call: Call) -> Answer:
        """$retention-destroy: 200 with the certificate, or 202 while a part of the exchange is away; it
        is then finished without anybody's doing.

        Raises `Refused`: 403 to whoever approved it, 409 when it is not open or a document is held, 422
        when a document is no longer due.
        """
        disposal = await self._confirmed(call, records.DESTROY, "destroy")
        try:
            disposal = await self.execute(disposal)
        except Refused as refusal:
            if refusal.issues[0].kind is not BUSY:
                raise
            return Answer.fhir(_state(disposal), 202)
        return Answer.fhir(_state(disposal, call.base))

    async def release(self, call: Call) -> Answer:
        """$quarantine-release: 200. Raises `Refused` as `destroy` does."""
        return Answer.fhir(_state(await self._confirmed(call, records.RELEASE, "release")))

    async def _confirmed(self, call: Call, operation: records.Operation, act: str) -> Doc:
        said = records.asked(operation, call.resource or {})
        disposal = await self._open(said["disposal"][0], act)
        _account(call, disposal)
        _refuse_the_same(disposal, call.caller)
        ids = [d["document"] for d in disposal["documents"]]
        found = await self._documents(call.caller, ids)
        refuse_if(_unknown(ids, found))
        confirmed = who(call.caller) | {"at": call.now, "reason": said["reason"][0]}
        mine: Doc = {"_id": {"$in": [d["binary"] for d in disposal["documents"]]}}
        mine |= {"disposal": disposal["_id"], "state": "kept"}

        async def story(session: AsyncClientSession) -> Doc:
            holds = await self.holds.standing(session)
            refuse_if(self._reasons(found, act, disposal["ground"], holds, call.now))
            change: Doc = {"$set": {"state": "destroyed"}, "$unset": {"due": ""}}
            if act == "release":
                change = {"$unset": {"quarantine": "", "disposal": ""}}
            made = await self.vault.deposits.update(mine, change, many=True, session=session)
            if made != len(ids):
                raise Refused(Issue(CONFLICT, "One of these documents has changed; look again."))
            after = disposal | {"confirmed": confirmed, "state": "executing"}
            if act == "release":
                after |= {"state": "done", "finished": call.now}
            else:
                after["documents"] = [
                    d | {"key": keys.get(d["blob"])} for d in disposal["documents"]
                ]
            was = {"_id": disposal["_id"], "state": "approved"}
            if not await self.disposals.replace(was, after, session=session):
                raise Refused(Issue(CONFLICT, "This disposal is no longer open."))
            call.account.sealed = None
            await outbox.put(session, self.mongo, DATABASE, call.seal())
            return after

        keys = await self._keys(d["blob"] for d in disposal["documents"])
        return await self.mongo.transaction(story)

    async def _keys(self, blobs: Iterable[str]) -> dict[str, Doc]:
        """The fingerprints of the wrapped keys of these contents."""
        rows = await self.vault.blobs.many({"_id": {"$in": list(blobs)}}, {"key": 1})
        return {
            r["_id"]: {
                "master": r["key"]["m"], "fingerprint": sha256(bytes(r["key"]["w"])).hexdigest(),
            }
            for r in rows
            if "key" in r
        }  # fmt: skip

    async def _open(self, id_: str, act: str) -> Doc:
        disposal = await self.disposals.one({"_id": id_})
        if disposal is None:
            raise Refused(Issue(NOT_FOUND, "There is no such disposal.", "disposal"))
        if disposal["act"] != act:
            words = f"This disposal is there to {disposal['act']} documents."
            raise Refused(Issue(CONFLICT, words, "disposal"))
        if disposal["state"] != "approved":
            words = f"This disposal is {disposal['state']}; nothing is left to confirm."
            raise Refused(Issue(CONFLICT, words, "disposal"))
        return disposal

    # -- what follows -----------------------------------------------------------------------------

    async def execute(self, disposal: Doc) -> Doc:
        """Carry out what two people decided. May be called again at any time, by any process; raises
        `Refused(BUSY)` when a part of the exchange is away."""
        documents, at = disposal["documents"], disposal["confirmed"]["at"]
        ids = [d["document"] for d in documents]
        await self.registry.entomb(ids, disposal["_id"], disposal["ground"], at)
        after = [d | {"outcome": await self._destroyed(d)} for d in documents]
        now = datetime.now(UTC)
        done = disposal | {
            "documents": after, "state": "done",
            "finished": now.replace(microsecond=now.microsecond // 1000 * 1000),
        }  # fmt: skip
        executing = {"_id": disposal["_id"], "state": "executing"}
        if not await self.disposals.replace(executing, done):
            return await self.disposals.one({"_id": disposal["_id"]}) or done
        gone = {"_id": {"$in": [d["binary"] for d in documents]}, "state": "destroyed"}
        bare_ = {"$set": {"digest": "", "blob": ""}, "$unset": {"sha1": ""}}
        await self.vault.deposits.update(gone, bare_, many=True)
        return done

    async def _destroyed(self, document: Doc) -> str:
        """Destroy one content and its key and say what is left of it."""
        now = datetime.now(UTC)
        removal = await self.vault.remove(document["blob"], now, now - _BUSY_FOR)
        if removal == "busy":
            raise Refused(Issue(BUSY, "The same content is being written or removed."))
        if removal == "gone":
            left = await self._keys([document["blob"]])  # the same content may have come in anew
            if left and left[document["blob"]] == document.get("key"):
                raise Refused(Issue(BUSY, "The content is there still."))
            return "Key and bytes destroyed; nothing under this key is left."
        needed = {"blob": document["blob"], "state": {"$nin": ["released", "destroyed"]}}
        others = await self.vault.deposits.count(needed)
        return (
            f"No longer retrievable as this document. Its bytes stay for {others} other documents of the"
            " same organisation."
        )

    async def resume(self) -> int:
        """Finish what a process left unfinished; how many disposals. Raises as `execute` does."""
        done = 0
        for disposal in await self.disposals.many({"state": "executing"}):
            await self.execute(disposal)
            done += 1
        return done

    # -- otherwise ----------------------------------------------------------------------------------

    async def withdraw(self, call: Call) -> Answer:
        """$retention-withdraw: 200. Raises `Refused` when there is none (404) or none open (409)."""
        said = records.asked(records.WITHDRAW, call.resource or {})
        id_ = said["disposal"][0]
        withdrawn = who(call.caller) | {"at": call.now, "reason": said["reason"][0]}

        async def story(session: AsyncClientSession) -> Doc:
            disposal = await self.disposals.one({"_id": id_}, session=session)
            if disposal is None or not may(call.caller, disposal["approved"]["organisation"]):
                raise Refused(Issue(NOT_FOUND, "There is no such disposal.", "disposal"))
            if disposal["state"] != "approved":
                words = f"This disposal is {disposal['state']}; it cannot be withdrawn."
                raise Refused(Issue(CONFLICT, words, "disposal"))
            after = disposal | {"state": "withdrawn", "withdrawn": withdrawn}
            await self.disposals.replace({"_id": id_}, after, session=session)
            await self.vault.deposits.update(
                {"disposal": id_, "_id": {"$in": [d["binary"] for d in disposal["documents"]]}},
                {"$unset": {"disposal": ""}},
                many=True,
                session=session,
            )
            call.account.data, call.account.patients = [], []
            _account(call, disposal)
            call.account.sealed = None
            await outbox.put(session, self.mongo, DATABASE, call.seal())
            return after

        return Answer.fhir(_state(await self.mongo.transaction(story)))

    async def certificate(self, call: Call) -> Answer:
        """$retention-certificate: where a disposal stands; its certificate when it is done."""
        said = records.asked(records.CERTIFICATE, call.resource or {})
        disposal = await self.disposals.one({"_id": said["disposal"][0]})
        if disposal is None or not may(call.caller, disposal["approved"]["organisation"]):
            raise Refused(Issue(NOT_FOUND, "There is no such disposal.", "disposal"))
        _account(call, disposal)
        return Answer.fhir(_state(disposal, call.base))


def own(caller: Caller) -> Doc:
    """The deposits that this caller's organisation keeps; all of them for a system role."""
    if caller.role == SYSTEM:
        return {}
    return {"owner": caller.organisation or f"client:{caller.client_id}"}


def may(caller: Caller, organisation: str) -> bool:
    """Whether this caller acts for that organisation."""
    return caller.role == SYSTEM or caller.organisation == organisation


def noted(over: Due) -> Doc:
    """When a document's time is over, as it is stored and shown."""
    return {
        "class": over.cls.code if over.cls else "",
        "due": over.on.isoformat() if over.on else "",
        "why": over.why,
    }


def _refuse_the_same(disposal: Doc, caller: Caller) -> None:
    first, second = disposal["approved"], who(caller)
    if (first["issuer"], first["subject"]) == (second["issuer"], second["subject"]):
        words = "Whoever approved a disposal cannot confirm it; it takes a second person."
        raise Refused(Issue(FORBIDDEN, words))


def _unknown(ids: Sequence[str], found: Mapping[str, object]) -> list[Issue]:
    words = "No document with this id is kept here by your organisation."
    return [
        Issue(NOT_FOUND, words, f"Parameters.parameter.where(value='{i}')")
        for i in ids
        if i not in found
    ]


def _held(hold: Hold, place: str) -> Issue:
    return Issue(CONFLICT, f"The legal hold {hold.id} ({hold.ground}) forbids it.", place)


def _account(call: Call, disposal: Doc) -> None:
    call.account.data += [f"DocumentReference/{d['document']}" for d in disposal["documents"]]
    subjects = {d["subject"] for d in disposal["documents"] if d["subject"]}
    call.account.patients += sorted(subjects)


def _state(disposal: Doc, base: str = "") -> dict[str, Any]:
    told: list[tuple[str, Any]] = [
        ("disposal", disposal["_id"]), ("act", disposal["act"]), ("ground", disposal["ground"]),
        ("state", disposal["state"]),
        *(("document", d["document"]) for d in disposal["documents"]),
    ]  # fmt: skip
    if base and disposal["state"] == "done" and disposal["act"] == "destroy":
        made = certified(disposal, base)
        told += [
            ("certificate", _binary("application/json", made)),
            ("printable", _binary("text/html;charset=utf-8", printable(made))),
        ]
    return records.parameters(told)


def _binary(kind: str, content: Any) -> dict[str, str]:
    raw = content.encode() if isinstance(content, str) else dumps(content)
    return {"resourceType": "Binary", "contentType": kind, "data": b64encode(raw).decode()}
