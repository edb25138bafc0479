"""The store of the registry: documents, lists, every earlier version of both, and taken names.

    documents   {_id, v, at, b, status, subject, seen, links, binary, away, labels, rel, ix, pointer}
    lists       {_id, v, at, b, status, subject, seen, kind, unique, members, ix}
    *_history   {_id: "<id>/<v>", of, v, at, b, status, subject, seen}      every version but the newest
    registered  {_id: uniqueId or entryUUID, kind, of, …}
    tallies     how many there are of whom has very many (tallies.py)
    provenances {_id, at, b, target}                       why versions were made that nobody submitted

`subject` is the Patient record that was submitted for ("" when none); a search by patient asks for all
records of the person. `moved` says that it is shown under another since (`registry/subjects.py`).
`links` counts relations that rest on a document being current, so that a racing replace and a racing
relation cannot both succeed. `seen` is "" or the key of the only submitter who may see an unclassified
document. `pointer` marks what came by the NRL door: its custodian's code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pymongo import IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import BulkWriteError, DuplicateKeyError

from chassis import outbox, search
from chassis.call import Call, Caller
from chassis.mongo import Coalesced, Doc, Filter, Gathered, Mongo, Table
from governance.permit import WHOSE, Permit
from registry.sent import Draft
from registry.standing import Known
from registry.submission import Change, Submission
from registry.tallies import Tallies

DATABASE = "registry"
SYSTEM = "R-SYS"
_DUPLICATE = 11000
_HISTORY = ("v", "at", "b", "status", "subject", "seen")

# A search without a patient goes by identifier or _id; with one, the person's documents are few enough
# that only the two orders they are read in earn an index (design 5: every index must earn its place).
_BOTH = (
    IndexModel([("subject", 1), ("at", -1), ("_id", -1)], name="subject_at"),
    IndexModel([("subject", 1), ("ix.date.lo", -1), ("_id", -1)], name="subject_date"),
    IndexModel([("ix.identifier", 1)], name="identifier"),
    IndexModel([("ix.targetCommunityIdList", 1)], name="community", sparse=True),
    IndexModel([("moved.of", 1)], name="moved", sparse=True),
)
_DOCUMENTS = (
    *_BOTH,
    IndexModel([("binary", 1)], name="binary", unique=True, sparse=True),
    IndexModel([("rel", 1)], name="relations", sparse=True),
    IndexModel([("ix.beside", 1)], name="beside", sparse=True),
)
_LISTS = (
    *_BOTH,
    IndexModel([("members", 1)], name="members", sparse=True),
    IndexModel([("ix.item", 1)], name="item", sparse=True),
)


class MovedError(Exception):
    """What a submission was planned on is no longer so; plan again."""


class Documents:
    """Documents, submission sets and folders."""

    def __init__(self, mongo: Mongo, tables: Mapping[str, Table]) -> None:
        self.mongo = mongo
        self.documents, self.lists = tables["documents"], tables["lists"]
        self.documents_history = tables["documents_history"]
        self.lists_history = tables["lists_history"]
        self.registered = tables["registered"]
        self.provenances = tables["provenances"]
        self.tallies = Tallies(mongo, tables["tallies"])
        self.names: Coalesced[str, Doc] = Coalesced(self._names)
        self._new: Gathered[tuple[Submission, Call], None] = Gathered(self._add)

    @classmethod
    async def opened(cls, mongo: Mongo) -> Documents:
        """The store over its collections, created on first use."""
        names = (
            "documents",
            "lists",
            "documents_history",
            "lists_history",
            "registered",
            "provenances",
            "tallies",
        )
        made = cls(mongo, await mongo.create_all(DATABASE, (*names, outbox.COLLECTION)))
        versions = IndexModel([("of", 1), ("v", -1)], name="versions")
        await asyncio.gather(
            made.documents.ensure(*_DOCUMENTS),
            made.lists.ensure(*_LISTS),
            made.provenances.ensure(IndexModel([("target", 1)], name="target")),
            made.tallies.table.ensure(
                IndexModel([("of", 1), ("month", 1)], name="of"),
                IndexModel([("slip", 1)], name="slips", sparse=True),
                IndexModel([("ready", 1)], name="ready", sparse=True),
            ),
            made.documents_history.ensure(versions),
            made.lists_history.ensure(versions),
        )
        return made

    def current(self, resource: str) -> Table:
        """The table of DocumentReferences or Lists as they are now."""
        return self.documents if resource == "DocumentReference" else self.lists

    def history(self, resource: str) -> Table:
        """The table of their earlier versions."""
        return self.documents_history if resource == "DocumentReference" else self.lists_history

    async def proofs(self, where: Filter, permit: Permit, seen: Filter, limit: int) -> list[bytes]:
        """The Provenances that match and lie within the permit, if all that they name lies within
        `seen`, and within the patient's record when the permit ends there."""
        made: dict[bytes, None] = {}
        for group in permit.narrow or (frozenset[tuple[str, str]](),):
            whose = Permit(narrow=(frozenset(p for p in group if p[0] == WHOSE),))
            rest = Permit(narrow=(frozenset(p for p in group if p[0] != WHOSE),))
            within = search.all_of([where, search.narrow(rest, (), "Provenance")])
            named = search.all_of([seen, search.narrow(whose, (), "Provenance")])
            made |= dict.fromkeys(await self._proofs(within, named, limit))
        return list(made)[:limit]

    async def _proofs(self, where: Filter, seen: Filter, limit: int) -> list[bytes]:
        found = await self.provenances.many(where, sort=[("_id", 1)], limit=limit)
        named = {t for row in found for t in row["target"]}
        known: set[str] = set()
        for kind in ("DocumentReference", "List"):
            ids = sorted(t.partition("/")[2] for t in named if t.startswith(kind + "/"))
            inside: Filter = {"$and": [{"_id": {"$in": ids}}, seen]}
            rows = await self.current(kind).many(inside, {"_id": 1}) if ids else []
            known |= {f"{kind}/{row['_id']}" for row in rows}
        return [bytes(row["b"]) for row in found if known.issuperset(row["target"])]

    # -- reading what a draft names ---------------------------------------------------------------

    async def known(self, draft: Draft) -> Known:
        """All that is registered and that a draft names."""
        items = draft.items.values()
        uuids = [i.entry_uuid for i in items if i.entry_uuid]
        bare = {u.removeprefix("urn:uuid:") for u in uuids}
        outside = [link for i in items for link in (*i.links, *i.cited) if link.inside is None]
        replaced = sorted({link.id for link in outside if link.code == "replaces"})
        documents = bare | {ln.id for ln in outside if ln.type == "DocumentReference"}
        lists = bare | {ln.id for ln in outside if ln.type == "List"}
        lists |= {f.id for f in draft.folders if f.entry.method == "PUT"}
        names = {*uuids, *(i.unique_id for i in items if i.unique_id)}
        return Known(
            registered=await self._taken(sorted(names)),
            documents=await _by_id(self.documents, documents),
            lists=await _by_id(self.lists, lists),
            children={r: await self._children(r) for r in replaced},
            holding={r: await self._holding(r) for r in replaced},
        )

    async def standing(self, ids: Collection[str], names: Sequence[str]) -> Known:
        """What is registered under these names and document ids, with all that goes with each document
        when it is replaced."""
        once = sorted(set(ids))
        return Known(
            registered=await self._taken(names),
            documents=await _by_id(self.documents, once),
            children={r: await self._children(r) for r in once},
            holding={r: await self._holding(r) for r in once},
        )

    async def _taken(self, names: Sequence[str]) -> Mapping[str, Doc]:
        rows = await asyncio.gather(*(self.names.get(name) for name in names))  # one query for all
        return {name: row for name, row in zip(names, rows, strict=True) if row is not None}

    async def _names(self, names: Sequence[str]) -> Mapping[str, Doc]:
        return await _by_id(self.registered, names)

    async def _children(self, id_: str) -> list[Doc]:
        related = {"$in": [f"transforms|{id_}", f"appends|{id_}"]}
        return await self.documents.many({"rel": related, "status": "current"})

    async def _holding(self, id_: str) -> list[Doc]:
        return await self.lists.many({"members": id_, "status": "current", "kind": "folder"})

    # -- writing one ------------------------------------------------------------------------------

    async def commit(self, submission: Submission, call: Call, checks: Sequence[Check]) -> None:
        """Write all of a submission with its AuditEvent in one transaction, or nothing.

        Submissions that only add something and arrive together share a transaction; where that fails,
        each gets its own. Raises `MovedError` when something it rests on has changed meanwhile, and
        what a check raises.
        """
        s = submission
        alone = bool(checks or s.changed_documents or s.changed_lists or s.touched)
        try:
            if alone:
                await self._change(submission, call, checks)
            else:
                await self._new.get((submission, call))
        except DuplicateKeyError as refusal:
            raise MovedError from refusal
        except BulkWriteError as refusal:
            if any(e.get("code") == _DUPLICATE for e in refusal.details.get("writeErrors", ())):
                raise MovedError from refusal
            raise

    async def _add(self, many: Sequence[tuple[Submission, Call]]) -> list[None]:
        async def story(session: AsyncClientSession) -> None:
            await self._inserted([submission for submission, _ in many], session)
            events = [call.seal() for _, call in many]
            await outbox.put(session, self.mongo, DATABASE, *events)

        await self.mongo.transaction(story)
        return [None] * len(many)

    async def _inserted(self, many: Sequence[Submission], session: AsyncClientSession) -> None:
        await self.registered.insert_all([r for s in many for r in s.registered], session)
        await self.documents.insert_all([r for s in many for r in s.documents], session)
        await self.lists.insert_all([r for s in many for r in s.lists], session)
        for table, rows in (
            (self.documents, [r for s in many for r in s.documents]),
            (self.lists, [r for s in many for r in s.lists]),
        ):
            await self.tallies.note(session, table, [], rows)

    async def _change(self, submission: Submission, call: Call, checks: Sequence[Check]) -> None:
        async def story(session: AsyncClientSession) -> None:
            await self.change(submission.changed_documents, "DocumentReference", session)
            await self.change(submission.changed_lists, "List", session)
            for row in submission.touched:
                where = {"_id": row["_id"], "v": row["v"], "links": row["links"]}
                if not await self.documents.update(where, {"$inc": {"links": 1}}, session=session):
                    raise MovedError
            await self._inserted([submission], session)
            for check in checks:
                await check(session)
            await outbox.put(session, self.mongo, DATABASE, call.seal())

        await self.mongo.transaction(story)

    async def change(
        self, changes: Sequence[Change], resource: str, session: AsyncClientSession
    ) -> None:
        """Rows become others in the session's transaction, and what they were goes to the history.
        Raises `MovedError` when one is no longer as it was."""
        table, history = self.current(resource), self.history(resource)
        earlier = []
        for change in changes:
            before = change.before
            where: Doc = {"_id": before["_id"], "v": before["v"]}
            if "links" in before:
                where["links"] = before["links"]
            if not await table.replace(where, change.after, session=session):
                raise MovedError
            kept = {k: before[k] for k in _HISTORY}
            earlier.append({"_id": f"{before['_id']}/{before['v']}", "of": before["_id"], **kept})
        await history.insert_all(earlier, session)
        await self.tallies.note(
            session, table, [c.before for c in changes], [c.after for c in changes]
        )


class Check:
    """Inside the transaction: every one of these rows lies within a filter, or `refusal` is raised."""

    def __init__(
        self, table: Table, ids: Collection[str], within: Filter, refusal: Exception
    ) -> None:
        self.table, self.ids, self.within, self.refusal = table, list(ids), within, refusal

    async def __call__(self, session: AsyncClientSession) -> None:
        """Count the rows that are."""
        where: dict[str, Any] = {"$and": [{"_id": {"$in": self.ids}}, self.within]}
        found = await self.table.many(where, {"_id": 1}, session=session)
        if len(found) != len(self.ids):
            raise self.refusal


async def _by_id(table: Table, ids: Collection[str]) -> Mapping[str, Doc]:
    if not ids:
        return {}
    return {r["_id"]: r for r in await table.many({"_id": {"$in": sorted(ids)}})}


def submitter(caller: Caller) -> str:
    """The key under which an unclassified document stays visible: its organisation, else its client."""
    return caller.organisation or f"client:{caller.client_id}"


def visible(viewer: Caller) -> Filter:
    """Unclassified documents are for their submitter and for system roles only (design 6)."""
    if viewer.role == SYSTEM:
        return {}
    return {"seen": {"$in": ["", submitter(viewer)]}}
