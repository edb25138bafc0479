"""What happened to records and persons, as rows that notices to others are made of. PURE.

Every act appends its events to the collection `events` in its own transaction, so that what happened
and what is told of it cannot differ.

    {_id, at, type, record, v, system, value, person, before, into}

    created  revised  removed   a record; `person` is where it is now, `before` where it was ("" new)
    merged   its source says that another record replaces it: `into` is that record
    joined   the record is one person with records it was not with before: `person`; `before` is the
             person it came from ("" for a new record)
    left     the record is no longer one person with records that it was with: `before` is the person
             that it left, `person` where it is now

`_id` begins with the time of writing, so sorting by it is the order of happening within a process. One
record's events are in the order of `v`, whoever wrote them. Across processes, order of commit is only
told by a change stream on the collection; a reader that polls must therefore keep note of what it has
handled, and never only of the last `_id` it saw.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pix.record import Record

# What may change under which Patient documents are shown (registry/subjects.py).
MOVING = ("merged", "revised")


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a record."""

    type: str
    record: str
    person: str
    before: str

    def document(self, id_: str, at: datetime, record: Record) -> dict[str, Any]:
        """As its document; the record is as the change leaves it."""
        return {
            "_id": id_,
            "at": at,
            "type": self.type,
            "record": self.record,
            "v": record.v,
            "system": record.system,
            "value": record.value,
            "person": self.person,
            "before": self.before,
            "into": record.into,
        }


def moves(was: Mapping[str, str], now: Mapping[str, str]) -> list[Event]:
    """Who left whom and who joined whom: the person of each active record before and after.

    A record that stays while others come or go has not moved, and of those that move together none
    has left the other.
    """
    made: list[Event] = []
    for record, person in sorted((r, p) for r, p in now.items() if was.get(r, "") != p):
        before = was.get(record, "")
        old = {r for r, p in was.items() if before and p == before and r in now} - {record}
        new = {r for r, p in now.items() if p == person} - {record}
        if old - new:
            made.append(Event("left", record, person, before))
        if new - old:
            made.append(Event("joined", record, person, before))
    return made
