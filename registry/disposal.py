"""What the registry does for documents that are reviewed and destroyed: it tells how old they are, and
makes tombstones of them.

A tombstone is the DocumentReference with status `entered-in-error`, reduced to what is needed to know
that a document was here, of which kind, about whom, and that it was destroyed. Its earlier versions are
reduced alike, for they say the same things about the same person.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession

from chassis.body import parse_json
from chassis.call import Answer, Call, dumps, instant
from chassis.mongo import Doc
from registry import indexed
from registry.assembled import Assembly
from registry.documents import Documents
from registry.near import Neighbour, binaries
from registry.neighbours import People
from standards.lens import at
from standards.outcome import STRUCTURE, Issue, Refused
from standards.records import AGED, DESTROYED, ENTOMB

_KEPT = (
    "resourceType", "id", "masterIdentifier", "identifier", "type", "category", "subject", "date",
    "securityLabel", "relatesTo",
)  # fmt: skip
_ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"


class Custodian(Neighbour):
    """The near object of the registry, with what the repository needs to destroy documents."""

    def __init__(self, store: Documents, people: People, assembly: Assembly, base: str) -> None:
        super().__init__(store, assembly)
        self.people, self.base = people, base

    async def aged(
        self, binaries: Collection[str] = (), documents: Collection[str] = ()
    ) -> list[dict[str, Any]]:
        """Each of these documents that is registered, with its dates, those of its subject, and what
        else there is about that person; JSON-able."""
        either = [{"binary": {"$in": list(binaries)}}, {"_id": {"$in": list(documents)}}]
        fields = {"b": 1, "subject": 1, "binary": 1, "away": 1}
        rows = await self.store.documents.many({"$or": either}, fields)
        subjects = sorted({r["subject"] for r in rows if r["subject"]})
        known = await self.people.who([("id", s) for s in subjects])
        same = {s: tuple(known[("id", s)].same) if ("id", s) in known else (s,) for s in subjects}
        records = sorted({r for group in same.values() for r in (*group,)} | set(subjects))
        lived = await self.people.lived(records)
        others = await self.store.documents.many(
            {"subject": {"$in": records}}, {"b": 1, "subject": 1}
        )
        told = {r["_id"]: _told(parse_json(bytes(r["b"]))) for r in others}
        return [self._aged(row, same, lived, others, told) for row in rows]

    def _aged(
        self,
        row: Doc,
        same: Mapping[str, Sequence[str]],
        lived: Mapping[str, Sequence[str]],
        others: Sequence[Doc],
        told: Mapping[str, dict[str, Any]],
    ) -> dict[str, Any]:
        whole = parse_json(bytes(row["b"]))
        subject = row["subject"]
        records = {subject, *same.get(subject, ())} if subject else set()
        births, deaths = (
            [lived[r][n] for r in sorted(records) if r in lived and lived[r][n]] for n in (0, 1)
        )
        return {
            "document": row["_id"],
            "binary": next(iter(binaries(row)), "") if "away" not in row else "",
            "subject": f"Patient/{subject}" if subject else "",
            "status": whole["status"],
            "births": births,
            "deaths": deaths,
            "same": sorted(records),
            "fellows": [told[o["_id"]] for o in others if o["subject"] in records],
        } | _told(whole)

    async def entomb(
        self, documents: Collection[str], disposal: str, ground: str, at_: datetime
    ) -> int:
        """Make tombstones of these documents, all in one transaction; those that are already stay as
        they are. How many were made."""

        async def story(session: AsyncClientSession) -> int:
            made = 0
            where = {"_id": {"$in": sorted(documents)}, "destroyed": {"$exists": False}}
            for row in await self.store.documents.many(where, session=session):
                await self._entombed(row, disposal, ground, at_, session)
                made += 1
            return made

        return await self.store.mongo.transaction(story)

    async def _entombed(
        self, row: Doc, disposal: str, ground: str, at_: datetime, session: AsyncClientSession
    ) -> None:
        history = self.store.documents_history
        for earlier in await history.many({"of": row["_id"]}, session=session):
            stub = tombstone(parse_json(bytes(earlier["b"])), disposal, ground, at_)
            stub |= {"status": earlier["status"]}
            change = {"$set": {"b": dumps(stub)}}
            await history.update({"_id": earlier["_id"]}, change, session=session)
        whole = parse_json(bytes(row["b"]))
        before = tombstone(whole, disposal, ground, at_) | {"status": row["status"]}
        kept = {k: row[k] for k in ("v", "at", "status", "subject", "seen")}
        await history.insert(
            {"_id": f"{row['_id']}/{row['v']}", "of": row["_id"], "b": dumps(before), **kept},
            session,
        )
        made = tombstone(whole, disposal, ground, at_)
        made["meta"] |= {"versionId": str(row["v"] + 1), "lastUpdated": instant(at_)}
        after = {
            "v": row["v"] + 1,
            "at": at_,
            "b": dumps(made),
            "status": made["status"],
            "ix": indexed.document(made, self.base),
            "destroyed": disposal,
        }
        documents = self.store.documents
        await documents.update({"_id": row["_id"]}, {"$set": after}, session=session)
        await self.store.tallies.note(session, documents, [row], [row | after])

    # -- the far doors ----------------------------------------------------------------------------

    async def answer_aged(self, call: Call) -> Answer:
        """`aged` over HTTP."""
        said = call.resource or {}
        binaries, documents = said.get("binaries"), said.get("documents")
        if not _texts(binaries) or not _texts(documents):
            raise Refused(Issue(STRUCTURE, AGED.words))
        return _said({"aged": await self.aged(binaries or (), documents or ())})

    async def answer_entomb(self, call: Call) -> Answer:
        """`entomb` over HTTP."""
        said = call.resource or {}
        try:
            documents, when = said["documents"], datetime.fromisoformat(said["at"])
            disposal, ground = str(said["disposal"]), str(said["ground"])
        except (KeyError, TypeError, ValueError):
            raise Refused(Issue(STRUCTURE, ENTOMB.words)) from None
        if not _texts(documents):
            raise Refused(Issue(STRUCTURE, ENTOMB.words))
        return _said({"entombed": await self.entomb(documents, disposal, ground, when)})


def tombstone(
    resource: Mapping[str, Any], disposal: str, ground: str, at_: datetime
) -> dict[str, Any]:
    """What stays of a DocumentReference whose document was destroyed. PURE."""
    made = {k: resource[k] for k in _KEPT if k in resource}
    made["meta"] = {k: v for k, v in (resource.get("meta") or {}).items() if k != "profile"}
    if "subject" in made:
        made["subject"] = {k: v for k, v in made["subject"].items() if k == "reference"}
    made["status"] = "entered-in-error"
    made["extension"] = [
        {
            "url": DESTROYED,
            "extension": [
                {"url": "disposal", "valueString": disposal},
                {"url": "ground", "valueCode": ground},
                {"url": "at", "valueInstant": instant(at_)},
            ],
        }
    ]
    kind = at(resource, "content.attachment.contentType")
    gone = {"extension": [{"url": _ABSENT, "valueCode": "not-permitted"}]}
    attachment = ({"contentType": next(iter(kind))} if kind else {}) | {"_url": gone}
    made["content"] = [{"attachment": attachment}]
    return made


def _told(resource: Mapping[str, Any]) -> dict[str, Any]:
    """The types and the end of one document."""
    codings = (resource.get("type") or {}).get("coding") or ()
    period = (resource.get("context") or {}).get("period") or {}
    created = at(resource, "content.attachment.creation")
    ends = (period.get("end"), period.get("start"), *created, resource.get("date"))
    return {
        "types": [[c.get("system") or "", c.get("code") or ""] for c in codings],
        "end": next((str(e) for e in ends if e), ""),
    }


def _texts(said: object) -> bool:
    return isinstance(said, list) and all(isinstance(one, str) for one in said)


def _said(answer: Mapping[str, Any]) -> Answer:
    return Answer(200, dumps(answer), media="application/json")
