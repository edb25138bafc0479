"""ITI-81: who did what, to whom, when. And the audit event of having asked is written by the chassis."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace as changed
from datetime import datetime, timedelta
from typing import Any

from audit.events import Events
from audit.neighbours import Asked, People
from chassis.call import Answer, Call
from chassis.filters import compiled
from chassis.mongo import Doc, Filter
from chassis.search import all_of, any_of, narrow, resume, searchset
from standards.atna import SEARCH
from standards.dates import Span
from standards.index import fold, reference
from standards.outcome import NOT_FOUND, REQUIRED_PARAMETER, Issue, Refused
from standards.search import Clause, Search, Target, Token, When

# Search parameters whose bare values MongoDB indexes (audit/facets.py), and under which key.
_KEYS = {
    "patient": "whose",
    "patient.identifier": "whose",
    "agent": "who",
    "agent.identifier": "who",
}
_PATIENTS = ("patient", "patient.identifier")
# `recorded` is an instant: to the second at least, so no stored span is longer than one.
_LONGEST = timedelta(seconds=1)


class Retrieve:
    """The stories that read the trail."""

    def __init__(self, events: Events, people: People | None = None) -> None:
        self._events, self._people = events, people

    async def search(self, call: Call) -> Answer:
        """ITI-81: a page of the events that match, newest first. 400 when no date is given.

        Whoever names a patient means a person: events name whichever record was asked for or touched, so
        those of all records that are this person's now are found (as far as the caller may know of them).
        """
        table = self._events.table
        await resume(call, table.mongo, "audit")
        asked = call.search
        if asked is None or not asked.has("date"):
            words = "Give at least one date, e.g. date=ge2026-11-01&date=lt2026-12-01."
            raise Refused(Issue(REQUIRED_PARAMETER, words, "date"))
        whole = changed(asked, clauses=await self._persons(call, asked.clauses))
        named: dict[str, Filter] = {
            name: all_of(map(compiled, whole.of(name))) for name in _PATIENTS if whole.of(name)
        }
        return await searchset(
            call,
            table,
            where=hints(whole),
            replace={**_substrings(asked), **named},
            default_sort="-date",
        )

    async def _persons(self, call: Call, clauses: tuple[Clause, ...]) -> tuple[Clause, ...]:
        """The clauses, those of a patient widened to all records of the person whom each value names."""
        asked = {
            value: question
            for clause in clauses
            if clause.name in _PATIENTS and not clause.modifier
            for value in clause.values
            if (question := _question(call.base, value)) is not None
        }
        if self._people is None or not asked:
            return clauses
        known = await self._people.who(list(asked.values()), call.caller)

        def widened(clause: Clause) -> Clause:
            found = [known[asked[v]] for v in clause.values if v in asked and asked[v] in known]
            ids = sorted({i for who in found for i in (who.record, *who.same)})
            more = (Target(tuple(f"Patient/{i}" for i in ids)),) if ids else ()
            return changed(clause, values=(*clause.values, *more))

        return tuple(widened(c) if c.name in _PATIENTS and not c.modifier else c for c in clauses)

    async def read(self, call: Call) -> Answer:
        """One event by its id; 404 when there is none or when the token does not reach it."""
        event_id = call.path["id"]
        where = all_of([{"_id": event_id}, narrow(call.permit, SEARCH)])
        found = await self._events.table.one(where, {"b": 1})
        if found is None:
            raise Refused(Issue(NOT_FOUND, f"There is no AuditEvent/{event_id}.", "AuditEvent.id"))
        call.account.data.append(f"AuditEvent/{event_id}")
        return Answer.fhir(bytes(found["b"]), ETag='W/"1"')


def _question(base: str, value: object) -> Asked | None:
    if isinstance(value, Token):
        return ("identifier", value.system or "", value.code) if value.code else None
    if not isinstance(value, Target):
        return None
    said = reference(value.keys[0], base)
    return ("id", said.removeprefix("Patient/")) if said.startswith("Patient/") else None


def hints(asked: Search) -> Filter:
    """Conditions on the indexed keys that follow from a search. They exclude nothing that the search
    itself would find; they are there so that MongoDB reads a stretch of one index."""
    return all_of([*_windows(asked.of("date")), *_named(asked.clauses)])


def _windows(clauses: Sequence[Clause]) -> list[Doc]:
    made: list[Doc] = []
    for clause in clauses:
        if clause.modifier:
            continue
        spans = [_window(value) for value in clause.values if isinstance(value, When)]
        lows = [low for low, _ in spans if low is not None]
        highs = [high for _, high in spans if high is not None]
        if len(lows) == len(spans):
            made.append({"ix.date.lo": {"$gte": min(lows)}})
        if len(highs) == len(spans):
            made.append({"ix.date.lo": {"$lt": max(highs)}})
    return made


def _window(when: When) -> tuple[datetime | None, datetime | None]:
    """Where the beginning of a stored instant lies when it matches; None: not bounded on that side."""
    span: Span = when.span
    match when.prefix:
        case "eq":
            return span.lo, span.hi
        case "gt":
            return _earlier(span.hi), None
        case "ge":
            return _earlier(span.lo), None
        case "sa":
            return span.hi, None
        case "lt" | "eb":
            return None, span.hi
        case "le":
            return None, span.hi
        case "ap":
            return _earlier(span.lo), span.hi
        case _:
            return None, None


def _earlier(moment: datetime) -> datetime:
    return moment - _LONGEST if moment.year > 1 else moment


def _named(clauses: Sequence[Clause]) -> list[Doc]:
    made: list[Doc] = []
    for clause in clauses:
        key = _KEYS.get(clause.name)
        values = [bare for value in clause.values for bare in _bare(value)]
        if key and values and all(values) and not clause.modifier:
            made.append({f"ix.{key}": {"$in": list(dict.fromkeys(values))}})
    return made


def _bare(value: object) -> Sequence[str]:
    if isinstance(value, Token):
        return (value.code,)  # "" for any code of a system: then there is no hint
    return value.keys if isinstance(value, Target) else ()


def _substrings(asked: Search) -> Mapping[str, Filter]:
    # ITI-81 fixes `address` to match any part, where a FHIR string matches from its beginning.
    clauses = [clause for clause in asked.of("address") if not clause.modifier]
    if not clauses or len(clauses) != len(asked.of("address")):
        return {}
    wanted = [any_of([_containing(str(value)) for value in clause.values]) for clause in clauses]
    return {"address": all_of(wanted)}


def _containing(text: str) -> dict[str, Any]:
    return {"ix.address.f": {"$regex": re.escape(fold(text))}}
