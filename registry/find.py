"""ITI-66 and ITI-67: find document lists and document references, by GET and by POST.

A search by patient finds what was submitted for any record of that person. It is never left open: it
names a patient and a status (and a code, for lists), or identifies what it looks for.
"""

from __future__ import annotations

from dataclasses import dataclass

from chassis import search
from chassis.call import Answer, Call
from chassis.mongo import Filter
from registry.documents import DATABASE, Documents, visible
from registry.neighbours import Asked, People
from standards.index import reference
from standards.outcome import REQUIRED_PARAMETER, Issue, Refused
from standards.search import Clause, Search, Target, Token


@dataclass(frozen=True, slots=True)
class Find:
    """The stories of ITI-66 and ITI-67 over the store."""

    store: Documents
    people: People

    async def __call__(self, call: Call) -> Answer:
        """One page of what matches, newest first unless `_sort` says otherwise.

        An unknown patient gives an empty searchset. Raises `Refused` (400) when a mandatory parameter
        is missing.
        """
        await search.resume(call, self.store.mongo, DATABASE)
        asked = call.search or Search()
        _mandatory(call.row.resource, asked)
        replace: dict[str, Filter] = {}
        whose = asked.of("patient")
        if whose:
            replace["patient"] = {"subject": _one_of(await self._records(call, whose))}
        if status := asked.of("status"):
            replace["status"] = _status(status)
        return await search.searchset(
            call,
            self.store.current(call.row.resource),
            where=visible(call.caller),
            replace=replace,
            few=bool(whose),
        )

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
