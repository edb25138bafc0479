"""Legal holds: what forbids destroying documents, whatever their time (domain digest 8.11).

holds    {_id, ground, documents, subjects, classes, reference, reason, by, at, ended?}
guards   {_id: "holds", n}: written by whoever places a hold and by whoever destroys, so that of the
         two at once one comes first and the other sees it
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession

from affinity.pack import Pack
from chassis import outbox
from chassis.call import Answer, Call, Caller, instant
from chassis.mongo import Doc, Mongo, Table
from repository.retention import Hold, classes_of, covering
from standards import records
from standards.outcome import (
    CODE_INVALID,
    CONFLICT,
    INVALID,
    NOT_FOUND,
    REQUIRED,
    Issue,
    Refused,
    refuse_if,
)

DATABASE = "repository"


class Holds:
    """The holds that stand and those that have ended."""

    def __init__(self, mongo: Mongo, pack: Pack, holds: Table, guards: Table) -> None:
        self.mongo, self.pack = mongo, pack
        self.holds, self.guards = holds, guards

    @classmethod
    async def opened(cls, mongo: Mongo, pack: Pack) -> Holds:
        """The holds over their collections, created on first use."""
        holds, guards = (await mongo.create_all(DATABASE, ("holds", "guards"))).values()
        await guards.update({"_id": "holds"}, {"$inc": {"n": 1}}, upsert=True)
        return cls(mongo, pack, holds, guards)

    async def standing(self, session: AsyncClientSession | None = None) -> list[Hold]:
        """Every hold that has not ended. Within a transaction, none can be placed until it is over."""
        if session is not None:
            await self.guards.update({"_id": "holds"}, {"$inc": {"n": 1}}, session=session)
        rows = await self.holds.many({"ended": {"$exists": False}}, session=session)
        return [
            Hold(
                r["_id"], r["ground"], tuple(r["documents"]), tuple(r["subjects"]), tuple(r["classes"])
            )
            for r in rows
        ]  # fmt: skip

    async def on(
        self, document: str, records: Collection[str], types: Collection[tuple[str, str]]
    ) -> list[str]:
        """The ids of the holds that stand on a document, about any of these Patient records, of these
        types, whether or not it is kept here."""
        about = [f"Patient/{record}" for record in records]
        found = covering(document, about, classes_of(types, self.pack), await self.standing())
        return [hold.id for hold in found]

    # -- the operations ---------------------------------------------------------------------------

    async def place(self, call: Call) -> Answer:
        """$legal-hold: 201 with the hold's id. Raises `Refused` for an unknown ground or class, and
        when it says neither documents, nor people, nor classes."""
        said = records.asked(records.HOLD, call.resource or {})
        documents = [bare(d, "DocumentReference") for d in said["document"]]
        subjects = [f"Patient/{bare(p, 'Patient')}" for p in said["patient"]]
        refuse_if(self._wrong(said, any((documents, subjects, said["class"]))))
        row: Doc = {
            "_id": call.ids(), "ground": said["ground"][0], "documents": documents, "subjects": subjects,
            "classes": said["class"], "reference": (said["reference"] or [""])[0],
            "reason": said["reason"][0], "by": who(call.caller), "at": call.now,
        }  # fmt: skip
        call.account.data += [f"DocumentReference/{d}" for d in documents]
        call.account.patients += subjects

        async def story(session: AsyncClientSession) -> None:
            await self.guards.update({"_id": "holds"}, {"$inc": {"n": 1}}, session=session)
            await self.holds.insert(row, session)
            await outbox.put(session, self.mongo, DATABASE, call.seal(201))

        await self.mongo.transaction(story)
        return Answer.fhir(records.parameters([("hold", row["_id"])]), 201)

    def _wrong(self, said: Mapping[str, list[Any]], anything: bool) -> list[Issue]:
        issues = []
        if said["ground"][0] not in self.pack.hold_grounds:
            words = f"The grounds are {', '.join(self.pack.hold_grounds)}."
            issues.append(Issue(CODE_INVALID, words, "Parameters.parameter.where(name='ground')"))
        for code in said["class"]:
            if code not in self.pack.retention:
                words = "The affinity pack has no such retention class."
                issues.append(
                    Issue(CODE_INVALID, words, "Parameters.parameter.where(name='class')")
                )
        if not anything:
            words = "Say what is held: documents, patients or retention classes."
            issues.append(Issue(REQUIRED, words, "Parameters.parameter"))
        return issues

    async def end(self, call: Call) -> Answer:
        """$legal-hold-end: 200. Raises `Refused` for an unknown hold (404) or an ended one (409)."""
        said = records.asked(records.END_HOLD, call.resource or {})
        ended = {"by": who(call.caller), "at": call.now, "reason": said["reason"][0]}

        async def story(session: AsyncClientSession) -> None:
            row = await self.holds.one({"_id": said["hold"][0]}, session=session)
            if row is None:
                raise Refused(Issue(NOT_FOUND, "There is no such hold.", "hold"))
            if "ended" in row:
                raise Refused(Issue(CONFLICT, "This hold has ended already.", "hold"))
            call.account.data = [f"DocumentReference/{d}" for d in row["documents"]]
            call.account.patients = list(row["subjects"])
            call.account.sealed = None
            await self.holds.update(
                {"_id": row["_id"]}, {"$set": {"ended": ended}}, session=session
            )
            await outbox.put(session, self.mongo, DATABASE, call.seal())

        await self.mongo.transaction(story)
        return Answer.fhir(records.parameters([("hold", said["hold"][0]), ("ended", True)]))

    async def list(self, call: Call) -> Answer:
        """$legal-holds: every hold with what it covers, by whom and why."""
        said = records.asked(records.HOLDS, call.resource or {})
        where: Doc = {} if (said["ended"] or [False])[0] else {"ended": {"$exists": False}}
        rows = await self.holds.many(where, sort=[("_id", 1)])
        return Answer.fhir(records.parameters(("hold", _shown(row)) for row in rows))


def _shown(row: Doc) -> list[tuple[str, Any]]:
    ended = row.get("ended")
    return [
        ("id", row["_id"]), ("ground", row["ground"]), ("reason", row["reason"]),
        ("reference", row["reference"]),
        *(("document", d) for d in row["documents"]), *(("patient", s) for s in row["subjects"]),
        *(("class", c) for c in row["classes"]),
        ("by", row["by"]["client"]), ("at", instant(row["at"])),
        ("ended", instant(ended["at"]) if ended else ""),
    ]  # fmt: skip


def who(caller: Caller) -> Doc:
    """Who acts, as it is kept with what they did: the client, and the person where there is one."""
    return {
        "client": caller.client_id, "subject": caller.subject or caller.client_id, "issuer": caller.issuer,
        "name": caller.name, "role": caller.role, "organisation": caller.organisation,
    }  # fmt: skip


def bare(said: str, kind: str) -> str:
    """The id of `Kind/id` or of `id`. Raises `Refused` for anything else."""
    start, _, id_ = said.rpartition("/")
    if start not in ("", kind) or not id_:
        raise Refused(Issue(INVALID, f"Give the id of a {kind}.", "Parameters.parameter"))
    return id_
