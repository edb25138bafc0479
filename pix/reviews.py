"""The queue of questions for stewards: which comes first, who works on it, and who has signed.

    open ──claim──► open, theirs for half an hour ──decide──► decided
      │  ◄─release / expiry─┘                 │
      └──defer──► open, resting until a day ──┘          gone: what was asked has answered itself

What is asked is written by the feed (`links.py`); here it is ranked when it is first listed:
priority = impact × uncertainty. Two further kinds are made here: `approval`, an act that waits for a
second steward, and `unseal`, a sealed identity that waits for a second key.

    {…, rank, sealed, lease: {by, until}, deferred: {until, by, reason, comment}, closed,
     act: {operation, values, standing}, approvals: [{by, role, organisation, at, reason, comment}]}
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pymongo import IndexModel, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession

from chassis.mongo import Doc
from governance.stewards import signed
from pix.inspection import Inspection, Steward
from pix.links import REVIEWS as ASKED
from pix.model import Thresholds
from pix.people import People
from pix.record import Record
from standards.outcome import CONFLICT, NOT_FOUND, Issue, Refused

LEASE = timedelta(minutes=30)
REST = timedelta(days=90)  # how long a question may be deferred; its deadline goes on
WINDOW = timedelta(days=30)  # over which decisions are counted against their deadlines
KEYS = timedelta(hours=1)  # how long two keys open a sealed identity
_BATCH, _ROUNDS = 500, 20
_NAMES = uuid.UUID("a6b1c7a4-59d2-4a0e-9a51-6f5f6c0f3b1e")


@dataclass(frozen=True, slots=True)
class Weight:
    """What a wrong answer to this kind of question does, 0 to 10, and how many days there are."""

    type: str
    impact: float
    days: int
    words: str


_OWN = (
    Weight("approval", 8, 2, "A steward has decided; a second one must agree."),
    Weight(
        "unseal", 9, 1, "A guardian asks to look at a sealed identity; a second one must agree."
    ),
)
_IMPACT = {"conflict": 9, "vetoed": 6, "duplicate": 7, "possible": 4, "number": 5, "kept": 7}
WEIGHTS: Mapping[str, Weight] = {
    **{t: Weight(t, _IMPACT[t], row.days, row.words) for t, row in ASKED.items()},
    **{row.type: row for row in _OWN},
}  # fmt: skip


def priority(type_: str, weight: float | None, agencies: int, limit: Thresholds) -> float:
    """Impact × uncertainty, 0 to 10. PURE.

    Impact grows with the number of agencies whose records are concerned: the more read the answer, the
    more are misled by a wrong one. Uncertainty is 1 where as much speaks for as against it: at the join
    threshold and above it (then only a veto speaks against), falling to 0.1 where people are first
    asked; half where nothing was weighed. A signature that is awaited is never uncertain.
    """
    impact = min(10.0, WEIGHTS[type_].impact + 0.5 * max(0, agencies - 1))
    if type_ in ("approval", "unseal"):
        return impact
    if weight is None:
        return round(impact * 0.5, 3)
    span = max(limit.join - limit.review, 0.1)
    return round(impact * min(1.0, max(0.1, (weight - limit.review) / span)), 3)


class Reviews:
    """The queue over the People store."""

    def __init__(self, people: People, inspection: Inspection) -> None:
        self.people, self.inspection, self.table = people, inspection, people.reviews

    async def prepare(self) -> None:
        """The indexes of the queue and of the stewards' queries."""
        await self.table.ensure(
            IndexModel([("state", 1), ("rank", -1), ("_id", 1)]),
            IndexModel([("decision", 1)], partialFilterExpression={"decision": {"$exists": True}}),
            IndexModel([("closed", 1)], partialFilterExpression={"closed": {"$exists": True}}),
            IndexModel([("approvals.by", 1), ("type", 1)],
                       partialFilterExpression={"type": "unseal"}),
        )  # fmt: skip
        await self.people.links.ensure(
            *(
                IndexModel([("state", 1), ("_id", 1)], name=f"state_{state}",
                           partialFilterExpression={"state": state})
                for state in ("POSSIBLE", "NO_MATCH")
            ),
            IndexModel([("source", 1), ("_id", 1)], name="manual",
                       partialFilterExpression={"source": "manual"}),
        )  # fmt: skip
        await self.people.decisions.ensure(
            IndexModel([("evidence.undoes", 1)],
                       partialFilterExpression={"evidence.undoes": {"$exists": True}}),
        )  # fmt: skip

    # -- listing ------------------------------------------------------------------------------------

    async def ranked(self) -> None:
        """Give every open question that has none its rank."""
        for _ in range(_ROUNDS):
            rows = await self.table.many({"state": "open", "rank": None}, limit=_BATCH)
            if rows:
                weights = await self._weights(rows)
                around = await self._around(rows)
                writes = [
                    UpdateOne({"_id": row["_id"]}, {"$set": self._rank(row, weights, around)})
                    for row in rows
                ]
                async with self.people.mongo.gate:
                    await self.table.raw.bulk_write(writes, ordered=False)
            if len(rows) < _BATCH:
                return

    def _rank(self, row: Doc, weights: Mapping[str, float | None], around: Sequence[Record]) -> Doc:
        mine = _about(row, around)
        found = [
            w
            for r in row["records"]
            for p in row["persons"]
            if (w := weights.get(f"{r} {p}")) is not None
        ]
        agencies = len({r.system for r in mine})
        limit = self.people.model.thresholds
        rank = priority(row["type"], max(found, default=None), agencies, limit)
        return {"rank": rank, "sealed": any(self.inspection.sealed(r) for r in mine)}

    async def _weights(self, rows: Sequence[Doc]) -> Mapping[str, float | None]:
        ids = [f"{r} {p}" for row in rows for r in row["records"] for p in row["persons"]]
        found = await self.people.links.many({"_id": {"$in": ids}}, {"weight": 1})
        return {link["_id"]: link["weight"] for link in found}

    async def _around(self, rows: Sequence[Doc]) -> list[Record]:
        """The records that these questions name, and those of the persons that they name."""
        ids = sorted({r for row in rows for r in row["records"]})
        persons = sorted({p for row in rows for p in row["persons"]})
        where = {
            "$or": [{"_id": {"$in": ids}}, {"person": {"$in": persons}}],
            "state": {"$ne": "removed"},
        }
        return [Record.of(r) for r in await self.people.records.many(where)]

    async def open(
        self, steward: Steward, where: Mapping[str, Any], count: int, after: tuple[Any, ...]
    ) -> tuple[list[Doc], tuple[Any, ...] | None]:
        """A page of the open questions that this steward may know of, the weightiest first, and where
        the next one begins."""
        found: list[Doc] = []
        while True:
            filters: list[Mapping[str, Any]] = [{"state": "open", "rank": {"$ne": None}}, where]
            filters.append({"$or": [{"deferred": None}, {"deferred.until": {"$lte": steward.now}}]})
            if after:
                rank, last = after
                filters.append(
                    {"$or": [{"rank": {"$lt": rank}}, {"rank": rank, "_id": {"$gt": last}}]}
                )
            rows = await self.table.many(
                {"$and": filters}, sort=[("rank", -1), ("_id", 1)], limit=count + 1
            )
            seen = await self.seen(steward, rows[:count])
            for row in rows[:count]:
                if len(found) == count:
                    return found, after
                after = (row["rank"], row["_id"])
                if row["_id"] in seen:
                    found.append(row)
            if len(rows) <= count:
                return found, None
            if len(found) == count:
                return found, after

    async def seen(self, steward: Steward, rows: Sequence[Doc]) -> set[str]:
        """Which of these questions the steward may know of: those of whose records they know every one."""
        around = await self._around(rows) if rows else []
        guard = self.inspection.stewards.may(steward.role, "guard")
        made = set()
        for row in rows:
            if row["type"] == "unseal":
                visible = guard
            else:
                visible = all(self.inspection.sees(steward, r) for r in _about(row, around))
            if visible:
                made.add(row["_id"])
        return made

    async def counts(self, steward: Steward) -> list[Doc]:
        """How many questions of each kind there are, and how they stand against their deadlines."""
        now = steward.now
        guard = self.inspection.stewards.may(steward.role, "guard")
        open_: Doc = {"state": "open"} if guard else {"state": "open", "sealed": {"$ne": True}}
        if not guard:
            open_["type"] = {"$ne": "unseal"}
        closed: Doc = {"closed": {"$gt": now - WINDOW}, "type": open_.get("type", {"$ne": ""})}
        opened = await self._grouped(open_, {
            "open": {"$sum": 1},
            "claimed": _sum({"$gt": ["$lease.until", now]}),
            "deferred": _sum({"$gt": ["$deferred.until", now]}),
            "overdue": _sum({"$lt": ["$due", now]}),
            "oldest": {"$min": "$at"},
        })  # fmt: skip
        done = await self._grouped(closed, {
            "inTime": _sum({"$lte": ["$closed", "$due"]}),
            "late": _sum({"$gt": ["$closed", "$due"]}),
        })  # fmt: skip
        types = [t for t in WEIGHTS if t in opened or t in done]
        nothing = {"open": 0, "claimed": 0, "deferred": 0, "overdue": 0, "oldest": None}
        none = {"inTime": 0, "late": 0}
        return [
            {"type": t, **(nothing | opened.get(t, {})), **(none | done.get(t, {}))} for t in types
        ]

    async def _grouped(self, where: Mapping[str, Any], sums: Mapping[str, Any]) -> dict[str, Doc]:
        stages = [{"$match": dict(where)}, {"$group": {"_id": "$type", **sums}}]
        async with self.people.mongo.gate:
            cursor = await self.table.raw.aggregate(stages, maxTimeMS=15_000)
            rows = await cursor.to_list(None)
        return {row.pop("_id"): row for row in rows}

    # -- working on one -----------------------------------------------------------------------------

    async def one(
        self, id_: str, steward: Steward, session: AsyncClientSession | None = None
    ) -> Doc:
        """An open question that this steward may know of and that nobody else works on.

        Raises `Refused`: 404 when there is none, 409 when it is decided, gone, or somebody else's.
        """
        row = await self.table.one({"_id": id_}, session=session)
        if row is None or row["_id"] not in await self.seen(steward, [row]):
            raise Refused(Issue(NOT_FOUND, "The queue has no such question.", "review"))
        if row["state"] != "open":
            how = "has been decided" if row["state"] == "decided" else "has answered itself"
            raise Refused(Issue(CONFLICT, f"This question {how}; list the queue again.", "review"))
        lease = row.get("lease")
        if lease and lease["until"] > steward.now and lease["by"] != steward.by:
            until = lease["until"].strftime("%H:%M UTC")
            words = f"{lease['by']} works on this question until {until}."
            raise Refused(Issue(CONFLICT, words, "review"))
        return row

    async def set(self, id_: str, session: AsyncClientSession, **values: Any) -> None:
        """Change an open question."""
        await self.table.update({"_id": id_, "state": "open"}, {"$set": values}, session=session)

    async def close(
        self, session: AsyncClientSession, decision: str, now: datetime, *ids: str
    ) -> None:
        """These questions, and whatever the decision has answered, are decided now."""
        named = {"_id": {"$in": list(ids)}, "state": "open"}
        done = {"state": "decided", "decision": decision}
        await self.table.update(named, {"$set": done}, session=session, many=True)
        where = {"decision": decision, "closed": None}
        await self.table.update(where, {"$set": {"closed": now}}, session=session, many=True)

    # -- signatures ---------------------------------------------------------------------------------

    async def sign(
        self,
        session: AsyncClientSession,
        proposal: Proposal,
        signature: Mapping[str, Any],
    ) -> tuple[Doc, bool]:
        """The question that waits for the second signature, with this one on it, and whether two
        different stewards have signed now. Signatures under what has changed since do not count."""
        row = await self.table.one({"_id": proposal.id, "state": "open"}, session=session)
        old = row["approvals"] if row and row["act"]["standing"] == proposal.standing else []
        approvals = old if signed(old, signature["by"]) else [*old, dict(signature)]
        made = proposal.document(signature["at"], approvals)
        if row is not None and old:
            made |= {"at": row["at"], "due": row["due"], "lease": row.get("lease")}
        await self.table.replace({"_id": proposal.id}, made, session=session, upsert=True)
        return made, len(approvals) > 1


@dataclass(frozen=True, slots=True)
class Proposal:
    """An act that waits for a second steward: what is to be done, about whom, and the versions that it
    was decided upon."""

    type: str
    operation: str
    values: Mapping[str, str]
    standing: Mapping[str, str]
    records: tuple[str, ...]
    persons: tuple[str, ...]
    reason: str
    sealed: bool
    agencies: int = 1

    @property
    def id(self) -> str:
        """The same for the same act."""
        said = " ".join(f"{k}={v}" for k, v in sorted(self.values.items()))
        return str(uuid.uuid5(_NAMES, f"{self.type} {self.operation} {said}"))

    def document(self, at: datetime, approvals: Sequence[Mapping[str, Any]]) -> Doc:
        """As its document, open."""
        row = WEIGHTS[self.type]
        return {
            "_id": self.id, "type": self.type, "priority": 1, "state": "open",
            "records": list(self.records), "persons": list(self.persons), "reason": self.reason,
            "lease": None, "at": at, "due": at + timedelta(days=row.days), "sealed": self.sealed,
            "rank": min(10.0, row.impact + 0.5 * max(0, self.agencies - 1)),
            "act": {"operation": self.operation, "values": dict(self.values),
                    "standing": dict(self.standing)},
            "approvals": [dict(a) for a in approvals],
        }  # fmt: skip


def _about(row: Doc, around: Sequence[Record]) -> list[Record]:
    return [r for r in around if r.id in row["records"] or r.person in row["persons"]]


def _sum(condition: Doc) -> Doc:
    return {"$sum": {"$cond": [condition, 1, 0]}}
