"""What the neighbours of pix are told: who a Patient or an identifier is.

`Neighbour` is handed to neighbours in the same process; far ones call the rows `pixm.WHO`,
`pixm.PATIENTS` and `pixm.FIND`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from chassis import search
from chassis.body import parse_json
from chassis.call import Account, Answer, Call, Caller, dumps, fresh_id
from chassis.far import heard
from chassis.mongo import Filter
from governance.identifiers import Sight
from governance.permit import Permit
from pix import showing
from pix.crossreference import CrossReference, told_of
from pix.demographics import Demographics
from pix.events import MOVING
from pix.people import People
from pix.sources import Sources
from standards import pdqm, pixm
from standards.outcome import INVALID, TOO_COSTLY, Issue, Refused
from standards.records import LIVED
from standards.search import parse as parse_search

_SHOWN = 20  # as many as a person looks through on a page

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


@dataclass(frozen=True, slots=True)
class Found:
    """What a search for people found; `more` says that there are more than are told."""

    patients: tuple[bytes, ...]
    more: bool


class Neighbour:
    """The near object of pix."""

    def __init__(
        self, people: People, crossing: CrossReference, sources: Sources, demographics: Demographics
    ) -> None:
        self.people, self.crossing, self.sources = people, crossing, sources
        self.demographics = demographics
        self.domains = crossing.domains

    async def who(
        self, asked: Sequence[Asked], viewer: Caller | None = None
    ) -> Mapping[Asked, Who]:
        """Who each of these is; what nobody is known by is left out.

        With a `viewer`, numbers and records that this caller may not know of are as if nobody had
        them (`pix/sight.py`); without one the question is a service's own.
        """
        once = list(dict.fromkeys(asked))
        sight = await self.crossing.sights.of(viewer) if viewer is not None else None
        found = await asyncio.gather(*(self._one(one, sight) for one in once))
        return {one: who for one, who in zip(once, found, strict=True) if who is not None}

    async def patients(self, ids: Collection[str], viewer: Caller, permit: Permit) -> list[bytes]:
        """The Patients with these ids that lie within the permit, as this viewer may see them; what it
        may not know of is left out."""
        sight = await self.crossing.sights.of(viewer)
        where: Filter = {"_id": {"$in": sorted(ids)}, "state": {"$in": ["active", "subsumed"]}}
        parts = [where, {"system": {"$nin": sorted(sight.closed)}} if sight.closed else {}]
        parts.append(search.narrow(permit, pdqm.PARAMETERS))
        rows = await self.people.records.many(
            search.all_of(parts), {"b": 1, "system": 1, "secret": 1}, sort=[("_id", 1)]
        )
        base = self.domains.base
        shown = [
            showing.stripped(
                bytes(row["b"]), base, sight, fed=row["system"], secret=bool(row.get("secret"))
            )
            for row in rows
        ]
        return [await self.crossing.sights.cleared(body, sight) for body in shown]

    async def feeds(self, client: str) -> frozenset[str]:
        """The systems of the identifier domains that this client is the source of."""
        return await self.crossing.sights.fed(client)

    async def find(self, asked: Sequence[tuple[str, str]], viewer: Caller) -> Found:
        """The people that these search parameters of ITI-78 find, as this viewer may see them: for each
        person the first of their records. A search that finds too many tells nobody."""
        pairs = tuple(asked)
        call = Call(
            row=pdqm.ITI_78, method="GET", path={}, query=pairs, headers={}, base=self.domains.base,
            caller=viewer, permit=Permit(), now=datetime.now(UTC), request_id=fresh_id(),
            account=Account(),
        )  # fmt: skip
        call.search = parse_search(
            (*pairs, ("_count", str(_SHOWN * 5))), pdqm.PARAMETERS,
            resource="Patient", base=self.domains.base, now=call.now,
        )  # fmt: skip
        try:
            answer = await self.demographics.search(call)
        except Refused as refusal:
            if refusal.issues[0].kind is TOO_COSTLY:
                return Found((), more=True)
            raise
        bundle = parse_json(answer.body)
        matched = [e["resource"] for e in bundle.get("entry", ()) if e["search"]["mode"] == "match"]
        shown = [patient for patient in matched if patient.get("active") is not False]
        who = await self.who([("id", patient["id"]) for patient in shown], viewer)
        first: dict[str, Any] = {}
        for patient in shown:
            known = who.get(("id", patient["id"]))
            first.setdefault(known.person if known else patient["id"], patient)
        told = tuple(dumps(patient) for patient in first.values())
        return Found(
            told[:_SHOWN], more=len(told) > _SHOWN or bundle.get("total", 0) > len(matched)
        )

    async def happened(self, since: str) -> list[tuple[str, str]]:
        """(event id, record) of merges and revisions from an event id on, in their order, at most
        1,000: whose documents may have to be shown under another Patient (`pix/events.py`)."""
        where = {"_id": {"$gte": since}, "type": {"$in": list(MOVING)}}
        fields = {"record": 1}
        rows = await self.people.events.many(where, fields, sort=[("_id", 1)], limit=1_000)
        return [(str(row["_id"]), str(row["record"])) for row in rows]

    async def lived(self, records: Sequence[str]) -> Mapping[str, tuple[str, str]]:
        """Birth date and date of death that each of these records says, "" where it says none."""
        rows = await self.people.records.many({"_id": {"$in": list(records)}}, {"b": 1})
        return {r["_id"]: _lived(parse_json(bytes(r["b"]))) for r in rows}

    async def assign(self, system: str, client: str) -> None:
        """Make a client the Source of a domain."""
        if not self.domains.known(self.domains.system(system)):
            raise Refused(Issue(INVALID, "The affinity pack has no such domain.", "system"))
        await self.sources.assign(system, client)

    async def _one(self, asked: Asked, sight: Sight | None) -> Who | None:
        if sight is not None and not self._sees(sight, asked):
            return None
        key = self._key(asked)
        card = await self.crossing.cards.get(key) if key else None
        found = card.found(key) if card else None
        if card is None or found is None:
            return await self._removed(key, sight)
        if sight is not None and not told_of(sight, card, found, by_id=key.startswith("Patient/")):
            return None
        return Who(found.record, card.person, found.state, found.survivor or None, card.same)

    def _sees(self, sight: Sight, asked: Asked) -> bool:
        return asked[0] == "id" or sight.sees(self.domains.identifier(asked[1], asked[2]).system)

    def _key(self, asked: Asked) -> str:
        if asked[0] == "id":
            return f"Patient/{asked[1]}"
        return self.crossing.key(self.domains.identifier(asked[1], asked[2]))

    async def _removed(self, key: str, sight: Sight | None) -> Who | None:
        if not key.startswith("Patient/"):
            return None
        where = {"_id": key.removeprefix("Patient/"), "state": "removed"}
        row = await self.people.records.one(where, {"person": 1, "system": 1})
        if row is None or (sight is not None and not sight.tells_of(row["system"])):
            return None
        return Who(row["_id"], row["person"], "removed", None, ())

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
        found = await self.who(asked, _viewer((call.resource or {}).get("viewer")))
        told = [asdict(found[one]) if one in found else None for one in asked]
        return Answer(200, dumps({"who": told}), media="application/json")

    async def answer_patients(self, call: Call) -> Answer:
        """`patients` over HTTP."""
        said = call.resource or {}
        viewer = _viewer(said.get("viewer"))
        try:
            ids = [str(i) for i in said["ids"]]
            permit = Permit.heard(said["permit"])
        except (KeyError, TypeError, ValueError):
            raise Refused(Issue(INVALID, pixm.PATIENTS.words)) from None
        if viewer is None:
            raise Refused(Issue(INVALID, pixm.PATIENTS.words, "viewer"))
        found = await self.patients(ids, viewer, permit)
        told = {"patients": [body.decode() for body in found]}
        return Answer(200, dumps(told), media="application/json")

    async def answer_feeds(self, call: Call) -> Answer:
        """`feeds` over HTTP."""
        client = (call.resource or {}).get("client")
        if not isinstance(client, str):
            raise Refused(Issue(INVALID, pixm.FEEDS.words, "client"))
        told = {"feeds": sorted(await self.feeds(client))}
        return Answer(200, dumps(told), media="application/json")

    async def answer_find(self, call: Call) -> Answer:
        """`find` over HTTP."""
        said = call.resource or {}
        viewer, asked = _viewer(said.get("viewer")), said.get("asked")
        if (
            viewer is None
            or not isinstance(asked, list)
            or not all(
                isinstance(pair, list) and len(pair) == 2 and all(isinstance(p, str) for p in pair)
                for pair in asked
            )
        ):
            raise Refused(Issue(INVALID, pixm.FIND.words))
        found = await self.find([(pair[0], pair[1]) for pair in asked], viewer)
        told = {"patients": [body.decode() for body in found.patients], "more": found.more}
        return Answer(200, dumps(told), media="application/json")

    async def answer_happened(self, call: Call) -> Answer:
        """`happened` over HTTP."""
        since = (call.resource or {}).get("since")
        if not isinstance(since, str):
            raise Refused(Issue(INVALID, pixm.HAPPENED.words, "since"))
        told = {"happened": [list(one) for one in await self.happened(since)]}
        return Answer(200, dumps(told), media="application/json")

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


def _viewer(said: object) -> Caller | None:
    """The caller that a far neighbour asks for, from what `registry.neighbours.FarPeople` sent."""
    if said is None:
        return None
    try:
        return heard(said)
    except ValueError:
        raise Refused(Issue(INVALID, pixm.WHO.words, "viewer")) from None


def _lived(patient: Mapping[str, Any]) -> tuple[str, str]:
    return str(patient.get("birthDate") or ""), str(patient.get("deceasedDateTime") or "")
