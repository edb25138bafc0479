"""ITI-66 and ITI-67: find document lists and document references, by GET and by POST.

A search by patient finds what was submitted for any record of that person. It is never left open: it
names a patient and a status (and a code, for lists), or identifies what it looks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chassis import search
from chassis.call import Answer, Call
from chassis.mongo import Doc, Filter
from registry import lists
from registry.documents import DATABASE, Documents, visible
from registry.inclusions import FIELDS, Inclusions
from registry.neighbours import Asked, People
from registry.shown import FIELD, Shown
from standards.index import reference
from standards.outcome import NOT_FOUND, REQUIRED_PARAMETER, Issue, Refused
from standards.search import Clause, Search, Target, Token

# A document keeps its date when it is superseded, so that no page misses one that changes meanwhile.
NEWEST = {"DocumentReference": "-date", "List": "-_lastUpdated"}


@dataclass(frozen=True, slots=True)
class Find:
    """The stories of ITI-66 and ITI-67 over the store."""

    store: Documents
    people: People
    shown: Shown
    community: str = ""  # our own, as targetCommunityIdList names it

    async def __call__(self, call: Call) -> Answer:
        """One page of what matches with what it brings along, newest first unless `_sort` says
        otherwise.

        An unknown patient gives an empty searchset. Raises `Refused`: 400 when a mandatory parameter
        is missing, 404 for a community that nobody here speaks for.
        """
        await search.resume(call, self.store.mongo, DATABASE)
        asked = call.search or Search()
        if call.row.resource == "List":
            asked = call.search = lists.asked(asked)
        _mandatory(call.row.resource, asked)
        replace = await self.shown.asked(call, asked)
        whose = asked.of("patient")
        if whose:
            replace["patient"] = {"subject": _one_of(await self._records(call, whose))}
        if status := asked.of("status"):
            replace["status"] = _status(status)
        if asked.has("targetCommunityIdList"):
            replace["targetCommunityIdList"] = await self._communities(call, asked)
        told: list[Issue] = []
        show = await self.shown.to(call)

        async def beside(rows: Sequence[Doc]) -> list[bytes]:
            return await Inclusions(self.store, self.people, show).beside(call, rows, told)

        brings = bool(asked.include or asked.revinclude)
        return await search.searchset(
            call,
            self.store.current(call.row.resource),
            where=visible(call.caller),
            replace=replace,
            include=beside if brings else None,
            show=show,
            issues=told,
            default_sort=NEWEST[call.row.resource],
            fields=FIELDS if brings else ("b", FIELD),
            few=bool(whose),
            totals=self.store.tallies.of(self.store.current(call.row.resource)) if whose else None,
        )

    async def _communities(self, call: Call, asked: Search) -> Filter:
        """What lies in the communities that are asked for: everything without a community is our own.
        Raises `Refused` (404) when a community is neither ours nor that of anything here (MHD 1:33.2,
        Target Communities Option)."""
        table = self.store.current(call.row.resource)
        parts: list[Filter] = []
        for clause in asked.of("targetCommunityIdList"):
            ways: list[Filter] = []
            for value in map(str, clause.values):
                where: Filter = {"ix.targetCommunityIdList": value}
                if value == self.community:
                    ways += [where, {"ix.targetCommunityIdList": {"$exists": False}}]
                elif await table.one(where, {"_id": 1}) is not None:
                    ways.append(where)
                else:
                    words = "This server speaks for no community of this id; leave it out."
                    place = "targetCommunityIdList"
                    raise Refused(Issue(NOT_FOUND, words, place, xds="XDSUnknownCommunity"))
            parts.append(search.any_of(ways))
        return search.all_of(parts)

    async def _records(self, call: Call, clauses: tuple[Clause, ...]) -> list[str]:
        """The records of the people that all of these clauses name."""
        each = [[_question(call.base, v) for v in clause.values] for clause in clauses]
        known = await self.people.who([q for questions in each for q in questions], call.caller)
        found: set[str] | None = None
        for questions in each:
            records: set[str] = set()
            for question in questions:
                who = known.get(question)
                if who is not None:
                    call.account.patients.append(f"Patient/{who.record}")
                    records |= {who.record, *who.same}
                elif question[0] == "id":
                    call.account.patients.append(f"Patient/{question[1]}")
                else:
                    call.account.patients.append((question[1], question[2]))
            found = records if found is None else found & records
        return sorted(found or ())


def _question(base: str, value: object) -> Asked:
    if isinstance(value, Token):
        return ("identifier", value.system or "", value.code)
    said = reference(value.keys[0], base) if isinstance(value, Target) else str(value)
    return ("id", said.removeprefix("Patient/"))


def _mandatory(resource: str, asked: Search) -> None:
    """MHD 2:3.66.4.1.2, 2:3.67.4.1.2: what a client must send. It names no server answer, so this one
    refuses rather than search everybody (digest §2.3)."""
    if asked.has("_id") or asked.has("identifier"):
        return
    issues = []
    if not asked.has("patient"):
        words = "Name the patient: patient=Patient/id or patient.identifier=system|value."
        issues.append(Issue(REQUIRED_PARAMETER, words, "patient"))
    if not asked.has("status"):
        words = "Say which status: status=current, superseded or both with a comma."
        issues.append(Issue(REQUIRED_PARAMETER, words, "status"))
    if resource == "List" and not asked.has("code"):
        words = "Say which lists: code=submissionset or folder."
        issues.append(Issue(REQUIRED_PARAMETER, words, "code"))
    if issues:
        raise Refused(issues)


def _status(clauses: tuple[Clause, ...]) -> Filter:
    return search.all_of(search.compiled(c) for c in clauses)


def _one_of(records: list[str]) -> object:
    return records[0] if len(records) == 1 else {"$in": records}
