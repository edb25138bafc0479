"""Documents follow their subject when its source merges it into another (MHDS 5.4; decision 0022).

Who is who is asked at every find, so nothing waits for this: a document is found by every identifier of
its person at once. But a merged Patient is no longer in use, so the documents and lists that name it are
rewritten to its last survivor, and back when the merge is undone. What a find goes by stays the same:

    subject   the Patient that it was submitted for, whose person is asked for at every find
    moved     {of: that Patient, to: the one that it is shown under}, while they are two

Every rewriting is one transaction: new versions, the old ones in the history, one Provenance that names
them all and one AuditEvent. Source patient information stays what the source said.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession

from chassis import outbox
from chassis.background import repeating
from chassis.body import parse_json
from chassis.call import Account, Caller, dumps, fresh_id, instant
from chassis.mongo import Doc
from registry import indexed
from registry.documents import DATABASE, Documents, MovedError
from registry.neighbours import People, Who
from registry.submission import Change
from standards import balp

# Events are in the order of their writing, not of their commit: each look begins a little (ms) before
# the last event seen, and every so often as far before it as a transaction can last.
NARROW, WIDE, OFTEN = 3_000, 90_000, 60
PAGE = 1_000
LEASE = timedelta(seconds=15)
EVERY = 1.0
TOGETHER = 400  # documents and lists of one transaction
_ITSELF = Caller(client_id="registry", subject="registry", name="Throughline document registry")
_PATTERN = balp.rest("U", "update", ("data", "patient"))
_OPERATION = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
_PARTICIPANT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"


class Subjects:
    """The follower of one process: `async with Subjects(…).following(): …`. One process at a time works."""

    def __init__(self, store: Documents, people: People, audit: outbox.Writer, base: str) -> None:
        self.store, self.people, self.audit, self.base = store, people, audit, base
        self.marks = store.mongo.table(DATABASE, "marks")
        self.me = fresh_id()
        self._handled: dict[str, None] = {}
        self._turns = 0

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Follow for as long as the block runs."""
        if await self.marks.one({"_id": "people"}, {"_id": 1}) is None:
            first = {"_id": "people", "seen": "0" * 12, "until": datetime.now(UTC), "by": ""}
            await self.marks.update({"_id": "people"}, {"$setOnInsert": first}, upsert=True)
        async with repeating("subjects", self.turn, EVERY, besides=(MovedError,)):
            yield

    async def turn(self) -> int:
        """Look at what happened to people since the last time; how many resources were rewritten."""
        mark = await self._claimed()
        if mark is None:
            return 0
        self._turns += 1
        seen = str(mark["seen"])
        since, count = _before(seen, WIDE if self._turns % OFTEN == 1 else NARROW), 0
        while True:
            happened = await self.people.happened(since)
            new = dict.fromkeys(r for id_, r in happened if id_ not in self._handled)
            count += await self.settle(list(new))
            self._handled.update(dict.fromkeys(id_ for id_, _ in happened))
            if happened and happened[-1][0] > seen:
                seen = happened[-1][0]
                await self.marks.update({"_id": "people", "by": self.me}, {"$set": {"seen": seen}})
            if len(happened) < PAGE:
                break
            since = happened[-1][0]
        oldest = _before(seen, WIDE)
        self._handled = {id_: None for id_ in self._handled if id_ >= oldest}
        return count

    async def _claimed(self) -> Doc | None:
        """The mark, if this process is the one that works now."""
        now = datetime.now(UTC)
        free = {"_id": "people", "$or": [{"by": self.me}, {"until": {"$lte": now}}]}
        return await self.marks.claim(free, {"$set": {"by": self.me, "until": now + LEASE}})

    async def settle(self, records: Sequence[str]) -> int:
        """Rewrite what these records' merges, or their undoing, leave under another subject."""
        if not records:
            return 0
        known = await self.people.who([("id", r) for r in records])
        merged = sorted(w.record for w in known.values() if w.state == "subsumed")
        near = sorted({*records, *(r for w in known.values() for r in w.same)})
        ways: list[Doc] = [{"moved.of": {"$in": near}}]
        if merged:
            ways.append({"subject": {"$in": merged}})
        count = 0
        for resource in ("DocumentReference", "List"):
            rows = await self.store.current(resource).many({"$or": ways})
            subjects = sorted({str(row["subject"]) for row in rows})
            roots = await self.people.who([("id", s) for s in subjects])
            groups: dict[tuple[str, str], list[Doc]] = {}
            for row in rows:
                to = _survivor(roots.get(("id", row["subject"])))
                if to and to != shown_under(row):
                    groups.setdefault((shown_under(row), to), []).append(row)
            for (was, now), those in sorted(groups.items()):
                for start in range(0, len(those), TOGETHER):
                    await self._rewrite(resource, was, now, those[start : start + TOGETHER])
                count += len(those)
        return count

    async def _rewrite(self, resource: str, was: str, to: str, rows: Sequence[Doc]) -> None:
        now = datetime.now(UTC)
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        changes = [Change(row, rewritten(row, to, now, self.base)) for row in rows]
        proof = provenance(fresh_id(), resource, was, to, [c.after for c in changes], now)
        targets = [f"{resource}/{row['_id']}" for row in rows]
        account = Account(patients=[f"Patient/{was}", f"Patient/{to}"], data=targets)
        request = balp.Request(fresh_id(), instant(now), self.base)
        event = balp.event(_PATTERN, _ITSELF, account, request)

        async def story(session: AsyncClientSession) -> None:
            await self.store.change(changes, resource, session)
            kept = {"_id": proof["id"], "at": now, "b": dumps(proof), "target": targets}
            await self.store.provenances.insert(kept, session)
            await outbox.put(session, self.store.mongo, DATABASE, event)

        await self.store.mongo.transaction(story)
        await self.audit.record(event)


def _before(event: str, milliseconds: int) -> str:
    """What the ids of events begin with that were written so long before this one."""
    return f"{max(0, int(event[:12], 16) - milliseconds):012x}"


# -- what is written. PURE ------------------------------------------------------------------------


def shown_under(row: Doc) -> str:
    """The Patient that a document or list is shown under; "" for none."""
    return str((row.get("moved") or {}).get("to") or row["subject"])


def _survivor(who: Who | None) -> str:
    """The Patient that a record's documents are shown under; "" for a removed one, whose stay."""
    if who is None or who.state == "removed":
        return ""
    return who.survivor or who.record


def rewritten(row: Doc, to: str, now: datetime, base: str) -> Doc:
    """The next version of a document or list, under another subject."""
    made = parse_json(bytes(row["b"]))
    made["subject"] = {**made["subject"], "reference": f"Patient/{to}"}
    version = row["v"] + 1
    made["meta"] = {**made["meta"], "versionId": str(version), "lastUpdated": instant(now)}
    index = indexed.listed if made["resourceType"] == "List" else indexed.document
    after = {
        **row, "v": version, "at": now, "b": dumps(made), "ix": index(made, base),
        "moved": {"of": row["subject"], "to": to},
    }  # fmt: skip
    if row["subject"] == to:
        del after["moved"]
    return after


def provenance(
    id_: str, resource: str, was: str, to: str, rows: Sequence[Doc], now: datetime
) -> Mapping[str, Any]:
    """The one Provenance of everything that one merge, or its undoing, rewrote."""
    return {
        "resourceType": "Provenance",
        "id": id_,
        "meta": {"versionId": "1", "lastUpdated": instant(now)},
        "target": [{"reference": f"{resource}/{r['_id']}/_history/{r['v']}"} for r in rows],
        "recorded": instant(now),
        "reason": [{"text": f"Patient/{to} is now who Patient/{was} stood for, says its source"}],
        "activity": {"coding": [{"system": _OPERATION, "code": "UPDATE"}]},
        "agent": [
            {
                "type": {"coding": [{"system": _PARTICIPANT, "code": "performer"}]},
                "who": {"display": _ITSELF.name},
            }
        ],
        "entity": [{"role": "source", "what": {"reference": f"Patient/{was}"}}],
    }
