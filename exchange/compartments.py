"""Whose record is whose, for tokens that were launched in one patient's record.

Asked once a request, and not remembered: a record that was joined to a person a moment ago belongs to
the compartment now, and one that was parted from it no longer does.
"""

from __future__ import annotations

from dataclasses import dataclass

from chassis.call import Caller
from registry.neighbours import Asked, People


@dataclass(frozen=True, slots=True)
class Compartments:
    """The patient compartments, as the identity manager knows people."""

    people: People

    async def records(self, patient: str, viewer: Caller) -> tuple[str, ...]:
        """The ids of all records of the person who has this one, as far as this viewer may know of it;
        () when nobody has it, or its source removed it."""
        asked: Asked = ("id", patient)
        who = (await self.people.who([asked], viewer)).get(asked)
        if who is None or who.state == "removed":
            return ()
        return tuple(sorted({who.record, *who.same}))
