"""The master records of persons: worked out from the store, and read as `Patient/TL-…`.

A master is not a record: it is in no search, has no history, and nobody feeds it. It is derived when
it is asked for, and published (master.py, deliveries.py) to those who subscribe to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pymongo.asynchronous.client_session import AsyncClientSession

from chassis import search
from chassis.call import Answer, Call, dumps
from chassis.mongo import Doc, Filter
from governance.identifiers import unspoken
from pix import showing
from pix.cards import Told
from pix.identifiers import Identifier
from pix.master import Master, Number, Word, master, merged
from pix.people import People
from pix.sight import Sights
from standards import pdqm
from standards.outcome import GONE, NOT_FOUND, Issue, Refused

PREFIX = "TL-"
_FIELDS = {
    "person": 1, "own": 1, "said": 1, "at": 1, "anchor": 1, "organisation": 1, "absorbed": 1,
    "secret": 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Standing:
    """How a person stands: `current` and `merged` have a master; `sealed` has none to tell of;
    `removed` had records once, `unknown` never."""

    state: Literal["current", "merged", "sealed", "removed", "unknown"]
    master: Master | None = None


class Masters:
    """Masters, derived from the People store."""

    def __init__(self, people: People, sights: Sights) -> None:
        self.people, self.domains, self.sights = people, people.domains, sights
        self.unspoken = sorted(unspoken(people.domains.pack.register))

    async def of(
        self,
        persons: Iterable[str],
        session: AsyncClientSession | None = None,
        *,
        within: Filter | None = None,
    ) -> dict[str, Standing]:
        """How these persons stand. `within` limits the records that contribute; without it the master
        is the one that is broadcast, to which contributes what everybody may know of: whom only the
        police or a service for victims knows is told of to nobody."""
        wanted = sorted(set(persons))
        cards = await self.people.persons.many({"_id": {"$in": wanted}}, session=session)
        if within is None:
            within = {"system": {"$nin": self.unspoken}}
        where: Filter = {"$and": [{"person": {"$in": wanted}, "state": "active"}, within]}
        rows = await self.people.records.many(where, _FIELDS, session=session)
        made = {person: Standing("unknown") for person in wanted}
        for card in cards:
            mine = [row for row in rows if row["person"] == card["_id"]]
            made[card["_id"]] = self._standing(card, mine)
        return made

    def _standing(self, card: Doc, rows: list[Doc]) -> Standing:
        person = str(card["_id"])
        if card["state"] == "redirected":
            return Standing("merged", merged(person, card["redirect"], card["at"], self.domains))
        if card["state"] != "current":
            return Standing("removed")
        made = master(person, map(_word, rows), _numbers(card, rows), self.domains)
        return Standing("current", made) if made else Standing("sealed")

    async def read(self, call: Call) -> Answer:
        """The master of a person. Only records contribute to it that the token covers and of which the
        caller may know, and it shows no identifier that the caller may not be shown.

        Raises `Refused`: 404 for a person who is unknown, not covered or sealed, 410 for one without
        records.
        """
        person = call.path["id"]
        call.account.data.append(f"Patient/{person}")
        call.account.patients.append(f"Patient/{person}")
        sight = await self.sights.of(call.caller)
        parts: list[Filter] = []
        if call.permit.narrow:
            parts.append(search.narrow(call.permit, pdqm.PARAMETERS))
        if sight.closed:
            parts.append({"system": {"$nin": sorted(sight.closed)}})
        within = search.all_of(parts)
        found = (await self.of([person], within=within))[person]
        if found.state == "removed" and not within:
            raise Refused(Issue(GONE, "This person has no records any more."))
        if found.master is None or (found.state == "merged" and within):
            raise Refused(Issue(NOT_FOUND, "No Patient has this id."))
        made = found.master
        body = showing.stripped(dumps(made.patient), call.base, sight, fed="", secret=False)
        body = await self.sights.cleared(body, sight)
        return Answer(200, body, {"ETag": f'W/"{made.digest[:16]}"'})


def _word(row: Mapping[str, object]) -> Word:
    document: Doc = dict(row)
    return Word(
        record=document["_id"],
        patient=showing.opened(bytes(document["own"])),
        said=document.get("said") or document["at"],
        verified=bool(document["anchor"]),
        organisation=document["organisation"],
        secret=bool(document.get("secret")),
    )


def _numbers(card: Doc, rows: list[Doc]) -> list[Number]:
    told = [Told(*t) for t in card["told"]]
    current = [Number(Identifier(t.system, t.value), t.record or t.by) for t in told]
    absorbed = [
        Number(Identifier(*number), row["_id"], old=True)
        for row in rows
        for number in row["absorbed"]
    ]
    return [*current, *absorbed]
