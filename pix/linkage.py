"""`$query-links` and `$link-history`: what is held of records and persons, and how it came to be.

Who was whom at a moment follows from the kept versions of the records themselves: each says whose it
was from when on. The log of decisions says which records to look at, and why it became so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from chassis.call import Answer, Call
from chassis.mongo import Doc
from pix import operations, pages
from pix.inspection import Inspection, Kind, Steward, names
from pix.links import Link
from pix.operations import Asked, Pair
from pix.people import People
from pix.record import Record
from pix.steward import approval, link_pair
from standards import stewardship
from standards.outcome import REQUIRED_PARAMETER, Issue

_KINDS: dict[str, Kind] = {"resourceId": "record", "goldenResourceId": "person"}
_STATES = {"MATCH": "MATCH", "POSSIBLE_MATCH": "POSSIBLE", "NO_MATCH": "NO_MATCH"}
_SOURCES = {"AUTO": "automatic", "MANUAL": "manual"}
_MANUAL = (
    "link",
    "unlink",
    "no-match",
    "not-duplicate",
    "merge-persons",
    "unmerge",
    "noted",
    "refused",
)
_OF_SOURCE = ("merge", "remove")


class Linkage:
    """The stories of the stewards' queries over the People store."""

    def __init__(self, people: People, inspection: Inspection) -> None:
        self.people, self.inspection = people, inspection

    # -- links ------------------------------------------------------------------------------------

    async def query(self, call: Call) -> Answer:
        """A page of links. Raises `Refused`: 400 for the question or its cursor, 403 for the role, 404
        and 409 for what is named."""
        steward = await self.inspection.enter(call, "watch")
        page = await pages.page(
            call,
            stewardship.QUERY_LINKS,
            self.people.mongo,
            lambda a: names(a, _KINDS, call.base)[1],
        )
        where = await self._where(call, page.asked, steward)
        found, last = await self._links(where, page, steward)
        versions = await self.inspection.standings(link.person for link, _ in found)
        call.account.patients += dict.fromkeys(f"Patient/{r.id}" for _, r in found)
        made = await pages.links(call, stewardship.QUERY_LINKS, self.people.mongo, page, last)
        made += [link_pair(link, r, versions.get(link.person, "")) for link, r in found]
        return Answer.fhir(operations.answer(stewardship.QUERY_LINKS, made))

    async def _where(self, call: Call, asked: Asked, steward: Steward) -> Doc:
        found, _ = names(asked, _KINDS, call.base)
        where: Doc = {}
        for one in found.get("resourceId", ()):
            where["record"] = (await self.inspection.record(one, steward)).id
        for one in found.get("goldenResourceId", ()):
            where["person"], _ = await self.inspection.person(one, steward)
        if asked.text("matchResult"):
            where["state"] = _STATES[asked.text("matchResult")]
        if asked.text("linkSource"):
            where["source"] = _SOURCES[asked.text("linkSource")]
        return where

    async def _links(
        self, where: Doc, page: pages.Page, steward: Steward
    ) -> tuple[list[tuple[Link, Record]], tuple[Any, ...] | None]:
        """The links of this page that the steward may know of, and where the next one begins."""
        found: list[tuple[Link, Record]] = []
        after = page.after
        while True:
            beyond = {"_id": {"$gt": after[0]}} if after else {}
            rows = await self.people.links.many(
                {"$and": [where, beyond]} if beyond else where,
                sort=[("_id", 1)],
                limit=page.count + 1,
            )
            records = await self._known(steward, (row["record"] for row in rows))
            persons = await self._persons(steward, rows)
            for row in rows[: page.count]:
                if len(found) == page.count:
                    return found, after
                after = (row["_id"],)
                if row["record"] in records and row["person"] in persons:
                    found.append((Link.of(row), records[row["record"]]))
            if len(rows) <= page.count:
                return found, None
            if len(found) == page.count:
                return found, after

    async def _known(self, steward: Steward, ids: Iterable[str]) -> Mapping[str, Record]:
        """Those of these records that the steward may know of."""
        rows = await self.people.records.many({"_id": {"$in": sorted(set(ids))}})
        records = [Record.of(row) for row in rows]
        return {r.id: r for r in records if self.inspection.sees(steward, r)}

    async def _persons(self, steward: Steward, rows: Iterable[Doc]) -> set[str]:
        """The persons of these links that the steward may know of. Whose MATCH is seen is known by it."""
        other = sorted({row["person"] for row in rows if row["state"] != "MATCH"})
        held = await self.people.records.many(
            {"person": {"$in": other}, "state": {"$ne": "removed"}}
        ) if other else []  # fmt: skip
        seen = {r.person for r in map(Record.of, held) if self.inspection.sees(steward, r)}
        return seen | {row["person"] for row in rows if row["state"] == "MATCH"}

    # -- history ----------------------------------------------------------------------------------

    async def history(self, call: Call) -> Answer:
        """A page of decisions, newest first; with `at`, who was whom then. Raises as `query` does."""
        steward = await self.inspection.enter(call, "watch")
        page = await pages.page(
            call, stewardship.LINK_HISTORY, self.people.mongo, lambda a: _faults(a, call.base)
        )
        found, _ = names(page.asked, _KINDS, call.base)
        records = [
            (await self.inspection.record(n, steward)).id for n in found.get("resourceId", ())
        ]
        persons = [n.id for n in found.get("goldenResourceId", ())]
        for named in found.get("goldenResourceId", ()):
            await self.inspection.person(named, steward)
        call.account.patients += [f"Patient/{r}" for r in records]
        at = page.asked.moment("at")
        if at is not None:
            then = await self._then(records, persons, at, steward)
            made = await pages.links(call, stewardship.LINK_HISTORY, self.people.mongo, page, None)
            made += [("at", at), *(_set("person", p, rs) for p, rs in sorted(then.items()))]
            return Answer.fhir(operations.answer(stewardship.LINK_HISTORY, made))
        rows, last = await self._decisions(records, persons, page)
        known = await self._known(steward, _mentioned(rows))
        sealed = await self._sealed(_mentioned(rows) - known.keys())
        made = await pages.links(call, stewardship.LINK_HISTORY, self.people.mongo, page, last)
        made += [_revision(row, known) for row in rows if not sealed & _mentioned([row])]
        return Answer.fhir(operations.answer(stewardship.LINK_HISTORY, made))

    async def _sealed(self, unknown: Iterable[str]) -> set[str]:
        """Those of the records that the steward may not know of that are sealed: that anything was ever
        decided about them is not told (domain digest §1.6 P3)."""
        rows = await self.people.records.many({"_id": {"$in": sorted(unknown)}})
        return {r.id for r in map(Record.of, rows) if self.inspection.sealed(r)}

    async def _decisions(
        self, records: Sequence[str], persons: Sequence[str], page: pages.Page
    ) -> tuple[list[Doc], tuple[Any, ...] | None]:
        where: Doc = {"$or": [{"records": {"$in": records}}, {"persons": {"$in": persons}}]}
        if page.after:
            at, last = page.after
            before = {"$or": [{"at": {"$lt": at}}, {"at": at, "_id": {"$lt": last}}]}
            where = {"$and": [where, before]}
        rows = await self.people.decisions.many(
            where, sort=[("at", -1), ("_id", -1)], limit=page.count + 1
        )
        shown = rows[: page.count]
        more = len(rows) > page.count
        return shown, (shown[-1]["at"], shown[-1]["_id"]) if more else None

    async def _then(
        self, records: Sequence[str], persons: Sequence[str], at: datetime, steward: Steward
    ) -> Mapping[str, list[str]]:
        """The persons as they were at a moment: those that are named, and those of the named records."""
        ever = await self._ever(records, persons)
        whose = await self._whose(ever, at)
        wanted = {*persons, *(whose[r] for r in records if r in whose)}
        # A record's person of then may have had records that were never with it before or after.
        more = await self._ever((), sorted(wanted - set(persons))) - ever
        whose |= await self._whose(more, at)
        known = await self._known(steward, whose)
        made: dict[str, list[str]] = {p: [] for p in wanted}
        for record, person in sorted(whose.items()):
            if person in made and record in known:
                made[person].append(record)
        return made

    async def _ever(self, records: Sequence[str], persons: Sequence[str]) -> set[str]:
        """Every record that has ever been one of these persons, and these records."""
        held = await self.people.records.many({"person": {"$in": list(persons)}}, {"_id": 1})
        rows = await self.people.decisions.many(
            {"persons": {"$in": list(persons)}}, {"before": 1, "after": 1}
        )
        sets = (
            s.get(p, ()) for row in rows for s in (row["before"], row["after"]) for p in persons
        )
        return {*records, *(r["_id"] for r in held), *(r for s in sets for r in s)}

    async def _whose(self, records: Iterable[str], at: datetime) -> dict[str, str]:
        """Whose each record was at a moment, by the version that it had then; one that was not fed yet,
        or was merged or removed by then, was nobody's."""
        ids = sorted(records)
        fields = {"v": 1, "at": 1, "state": 1, "person": 1, "of": 1}
        now = await self.people.records.many({"_id": {"$in": ids}, "at": {"$lte": at}}, fields)
        past = await self.people.history.many({"of": {"$in": ids}, "at": {"$lte": at}}, fields)
        latest: dict[str, Doc] = {}
        for row in (*past, *now):
            of = row.get("of") or row["_id"]
            if of not in latest or row["v"] > latest[of]["v"]:
                latest[of] = row
        return {of: row["person"] for of, row in latest.items() if row["state"] == "active"}


def _faults(asked: Asked, base: str) -> list[Issue]:
    _, issues = names(asked, _KINDS, base)
    if not asked.texts("resourceId") and not asked.texts("goldenResourceId"):
        words = "Say whose history: resourceId (Patient/id) or goldenResourceId (TL-…)."
        issues.append(Issue(REQUIRED_PARAMETER, words, "resourceId", xds=""))
    return issues


def _mentioned(rows: Iterable[Doc]) -> set[str]:
    made: set[str] = set()
    for row in rows:
        made.update(row["records"])
        for side in (row.get("before") or {}, row.get("after") or {}):
            made.update(r for rs in side.values() for r in rs)
    return made


def _revision(row: Doc, known: Mapping[str, Record]) -> Pair:
    evidence, actor = row.get("evidence") or {}, row["actor"]
    kind = row["type"]
    source = "MANUAL" if kind in _MANUAL else "SOURCE" if kind in _OF_SOURCE else "AUTO"
    snapshot = evidence.get("snapshot") or {}
    return ("revision", [
        ("decision", row["_id"]),
        ("revisionTimestamp", row["at"]),
        ("type", kind),
        ("linkSource", source),
        ("decidedBy", actor.get("subject") or actor.get("client")),
        ("role", actor.get("role")),
        ("organisation", actor.get("organisation")),
        ("reasonCode", row.get("code")),
        ("reason", row.get("reason")),
        ("score", evidence.get("weight") if source == "AUTO" else snapshot.get("weight")),
        ("modelVersion", row.get("model") or evidence.get("model")),
        ("undoes", evidence.get("undoes")),
        *map(approval, row.get("approvals") or ()),
        *(
            _set(side, p, seen)
            for side in ("before", "after")
            for p, rs in sorted((row.get(side) or {}).items())
            if (seen := [r for r in rs if r in known]) or not rs
        ),
    ])  # fmt: skip


def _set(name: str, person: str, records: Sequence[str]) -> Pair:
    return (name, [
        ("goldenResourceId", person), *(("sourceResourceId", f"Patient/{r}") for r in records),
    ])  # fmt: skip
