"""What the neighbours of pix are told: who a Patient or an identifier is.

`Neighbour.who` is handed to neighbours in the same process; `pixm.WHO` is the row that far ones call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from chassis.body import parse_json
from chassis.call import Answer, Call, dumps
from pix.crossreference import CrossReference
from pix.people import People
from pix.sources import Sources
from standards import pixm
from standards.outcome import INVALID, Issue, Refused
from standards.records import LIVED

Asked = tuple[str, ...]
"""`("id", patient_id)` or `("identifier", system, value)`."""


@dataclass(frozen=True, slots=True)
class Who:
    """A record and its person. `same` are all records of the person, subsumed ones included;
    `survivor` is set for a subsumed record."""

    record: str
    person: str
    state: Literal["active", "subsumed", "removed"]
    survivor: str | None
    same: tuple[str, ...]


class Neighbour:
    """The near object of pix."""

    def __init__(self, people: People, crossing: CrossReference, sources: Sources) -> None:
        self.people, self.crossing, self.sources = people, crossing, sources
        self.domains = crossing.domains

    async def who(self, asked: Sequence[Asked]) -> Mapping[Asked, Who]:
        """Who each of these is; what nobody is known by is left out."""
        once = list(dict.fromkeys(asked))
        found = await asyncio.gather(*map(self._one, once))
        return {one: who for one, who in zip(once, found, strict=True) if who is not None}

    async def lived(self, records: Sequence[str]) -> Mapping[str, tuple[str, str]]:
        """Birth date and date of death that each of these records says, "" where it says none."""
        rows = await self.people.records.many({"_id": {"$in": list(records)}}, {"b": 1})
        return {r["_id"]: _lived(parse_json(bytes(r["b"]))) for r in rows}

    async def assign(self, system: str, client: str) -> None:
        """Make a client the Source of a domain."""
        if not self.domains.known(self.domains.system(system)):
            raise Refused(Issue(INVALID, "The affinity pack has no such domain.", "system"))
        await self.sources.assign(system, client)

    async def _one(self, asked: Asked) -> Who | None:
        key = self._key(asked)
        card = await self.crossing.cards.get(key) if key else None
        found = card.found(key) if card else None
        if card is None or found is None:
            return await self._removed(key)
        return Who(found.record, card.person, found.state, found.survivor or None, card.same)

    def _key(self, asked: Asked) -> str:
        if asked[0] == "id":
            return f"Patient/{asked[1]}"
        return self.crossing.key(self.domains.identifier(asked[1], asked[2]))

    async def _removed(self, key: str) -> Who | None:
        if not key.startswith("Patient/"):
            return None
        id_ = key.removeprefix("Patient/")
        row = await self.people.records.one({"_id": id_, "state": "removed"}, {"person": 1})
        return Who(id_, row["person"], "removed", None, ()) if row else None

    # -- the far door ---------------------------------------------------------------------------

    async def answer_who(self, call: Call) -> Answer:
        """`who` over HTTP: the answers in the order of the questions, null for nobody."""
        said = (call.resource or {}).get("asked")
        lengths = {"id": 2, "identifier": 3}
        if not isinstance(said, list) or not all(
            isinstance(one, list)
            and one
            and lengths.get(str(one[0])) == len(one)
            and all(isinstance(part, str) for part in one)
            for one in said
        ):
            raise Refused(Issue(INVALID, pixm.WHO.words, "asked"))
        asked = [tuple(one) for one in said]
        found = await self.who(asked)
        told = [asdict(found[one]) if one in found else None for one in asked]
        return Answer(200, dumps({"who": told}), media="application/json")

    async def answer_lived(self, call: Call) -> Answer:
        """`lived` over HTTP."""
        said = (call.resource or {}).get("records")
        if not isinstance(said, list) or not all(isinstance(one, str) for one in said):
            raise Refused(Issue(INVALID, LIVED.words, "records"))
        told = {k: list(v) for k, v in (await self.lived(said)).items()}
        return Answer(200, dumps({"lived": told}), media="application/json")

    async def answer_source(self, call: Call) -> Answer:
        """`assign` over HTTP."""
        said = call.resource or {}
        system, client = said.get("system"), said.get("client")
        if not isinstance(system, str) or not isinstance(client, str) or not client:
            raise Refused(Issue(INVALID, pixm.SOURCE.words))
        await self.assign(system, client)
        return Answer(200, dumps({"system": system, "client": client}), media="application/json")


def _lived(patient: Mapping[str, Any]) -> tuple[str, str]:
    return str(patient.get("birthDate") or ""), str(patient.get("deceasedDateTime") or "")
