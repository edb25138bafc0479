"""`$explain`: why a record is, or is not, a person; as Parameters or drawn.

What was kept when it was decided is told as it was then; what nobody decided is worked out now, by the
same rules as a feed would use. Both are what the caller may see (`explaining.py`, `inspection.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from chassis.call import Answer, Call
from pix import explaining, operations, places, showing
from pix.explaining import Explained, Showing, Tie
from pix.identifiers import parts
from pix.inspection import Inspection, Kind, Named, Steward, names
from pix.links import Link
from pix.matching import Comparison
from pix.operations import Asked, Pair
from pix.people import People
from pix.profiles import opened
from pix.record import Record
from pix.waterfall import drawn
from standards import stewardship
from standards.outcome import INVALID, Issue

_KINDS: dict[str, Kind] = {
    "resourceId": "record", "otherResourceId": "record", "goldenResourceId": "person",
}  # fmt: skip
STATES = {"MATCH": "MATCH", "POSSIBLE": "POSSIBLE_MATCH", "NO_MATCH": "NO_MATCH", "": ""}
SOURCES = {"automatic": "AUTO", "manual": "MANUAL", "": ""}
_NUMBERS = {"nhs": "nhs", "upn": "upn", "nino": "nino", "pnc": "pnc", "cro": "cro"}


@dataclass(frozen=True, slots=True)
class Beside:
    """What is laid beside a record: a person's records, or one record; and under which name."""

    name: str
    person: str
    records: tuple[Record, ...]


class Explain:
    """The story of `$explain` over the People store."""

    def __init__(self, people: People, inspection: Inspection) -> None:
        self.people, self.inspection = people, inspection

    async def ask(self, call: Call) -> Answer:
        """Why the record and the person (or the other record, or its own person) are or are not one.

        Raises `Refused`: 400 for the question, 403 for the role, 404 for what is not known here, 409
        for an old version.
        """
        steward = await self.inspection.enter(call, "watch")
        asked = operations.read(
            stewardship.EXPLAIN, call.query, call.resource, strict=call.strict,
            also=lambda said: _faults(said, call.base),
        )  # fmt: skip
        found, _ = names(asked, _KINDS, call.base)
        record = await self.inspection.record(found["resourceId"][0], steward)
        beside = await self._beside(found, record, steward)
        told = await self._told(record, beside, steward)
        call.account.patients += [f"Patient/{record.id}"]
        if beside.name == "otherResourceId":
            call.account.patients += [f"Patient/{beside.records[0].id}"]
        call.account.query = f"Explain {told.left} and {told.right}: {told.verdict}"
        if call.media:
            headers = {
                "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox"
            }
            return Answer(200, drawn(told), headers, media=f"{call.media};charset=utf-8")
        return Answer.fhir(operations.answer(stewardship.EXPLAIN, _pairs(told, beside)))

    async def _beside(
        self, found: dict[str, list[Named]], record: Record, steward: Steward
    ) -> Beside:
        if "otherResourceId" in found:
            other = await self.inspection.record(found["otherResourceId"][0], steward)
            return Beside("otherResourceId", other.person, (other,))
        named = found.get("goldenResourceId", [Named(record.person, "", "resourceId")])[0]
        person, members = await self.inspection.person(named, steward)
        rest = tuple(r for r in members if r.id != record.id and r.state == "active")
        return Beside("goldenResourceId", person, rest)

    async def _told(self, record: Record, beside: Beside, steward: Steward) -> Explained:
        people = self.people
        link = await self._link(record, beside)
        kept = await self._kept(link, beside)
        ties = await self._ties(record, beside)
        comparison, other = (kept[0], None) if kept else self._compared(record, beside, steward)
        at, model = kept[1:] if kept else (steward.now, people.model.version)
        sealed = any(self.inspection.sealed(r) for r in (record, *beside.records))
        sides = [record, *([other] if other else beside.records)]
        show = self._showing(sides, steward)
        verdict = explaining.verdict(
            comparison, people.model.thresholds, one=record.person == beside.person, sealed=sealed,
            ties=ties,
        )  # fmt: skip
        right = (
            f"Patient/{beside.records[0].id}" if beside.name == "otherResourceId" else beside.person
        )
        if comparison is not None:
            comparison = Comparison(
                comparison.weight, comparison.prior, comparison.fields,
                explaining.vetoes_shown(comparison, show),
            )  # fmt: skip
        return Explained(
            f"Patient/{record.id}", right, verdict,
            link.state if link else "", link.source if link else "", comparison,
            explaining.lines(comparison, show) if comparison else (), tuple(ties),
            people.model.thresholds, model, at, kept is not None, link.at if link else None,
        )  # fmt: skip

    async def _link(self, record: Record, beside: Beside) -> Link | None:
        """What is held of the two now."""
        if beside.name == "otherResourceId":
            other = beside.records[0]
            if record.person != other.person:
                return None
            row = await self.people.links.one({"_id": record.id})
        else:
            ids = [record.id, f"{record.id} {beside.person}"]
            rows = await self.people.links.many({"_id": {"$in": ids}, "person": beside.person})
            row = next((r for r in rows if r["state"] == "MATCH"), rows[0] if rows else None)
        return Link.of(row) if row else None

    async def _kept(
        self, link: Link | None, beside: Beside
    ) -> tuple[Comparison, datetime, str] | None:
        """The comparison that the link rests on, as it was then; for two records there is none."""
        if link is None or not link.explanation or beside.name == "otherResourceId":
            return None
        row = await self.people.explanations.one({"_id": link.explanation})
        if row is None:
            return None
        return explaining.reopened(row["comparison"]), row["at"], row["model"]

    def _compared(
        self, record: Record, beside: Beside, steward: Steward
    ) -> tuple[Comparison | None, Record | None]:
        """The record beside the closest of the others, as it would be scored now."""
        people = self.people
        by_id = {r.id: r for r in beside.records if r.state != "removed"}
        found = explaining.closest(
            opened(people.says(record.own)),
            ((r.id, opened(people.says(r.own))) for r in by_id.values()),
            people.model, people.counted.current, steward.now.date(),
        )  # fmt: skip
        return (found[1], by_id[found[0]]) if found else (None, None)

    async def _ties(self, record: Record, beside: Beside) -> list[Tie]:
        """What people decided about the record and these."""
        ids = {r.id for r in beside.records} - {record.id}
        made: list[Tie] = []
        for apart, table in ((True, self.people.exclusions), (False, self.people.inclusions)):
            where = {"$or": [{"a": record.id}, {"b": record.id}]}
            rows = await table.many(where, sort=[("at", 1), ("_id", 1)])
            mine = {e["decision"]: e for e in rows if e["a"] in ids or e["b"] in ids}
            made += [Tie(apart, e["by"], e["at"], e["reason"]) for e in mine.values()]
        return made

    # -- who may see what -------------------------------------------------------------------------

    def _showing(self, sides: Sequence[Record], steward: Steward) -> Callable[[str], Showing]:
        """How much of each aspect this steward may see, given the records on both sides."""
        domains, sight = self.people.domains, steward.sight
        by_domain = {d.id: d.system for d in domains.pack.domains}
        patients = [showing.opened(r.own) for r in sides if r.own]
        systems = {domains.system(parts(i)[0]) for p in patients for i in p.get("identifier") or ()}
        others = {s for s in systems if (d := domains.of(s)) is None or d.id not in _NUMBERS}
        secret = any(r.secret for r in sides) or any(map(places.secret, patients))

        def show(aspect: str) -> Showing:
            if aspect in _NUMBERS:
                system = by_domain.get(aspect, "")
                if not sight.tells_of(system):
                    return "nothing"
                return "whole" if sight.sees(system) else "level"
            if aspect in ("others", "local"):
                if not all(map(sight.tells_of, others)):
                    return "nothing"
                return "whole" if all(map(sight.sees, others)) else "level"
            if explaining.is_place(aspect) and secret:
                return "level"
            return "whole"

        return show


# -- asking and answering -----------------------------------------------------------------------------


def _faults(asked: Asked, base: str) -> list[Issue]:
    found, issues = names(asked, _KINDS, base)
    if "goldenResourceId" in found and "otherResourceId" in found:
        words = "Name a person or another record, not both."
        issues.append(Issue(INVALID, words, "otherResourceId", xds=""))
    one, other = found.get("resourceId"), found.get("otherResourceId")
    if one and other and one[0].id == other[0].id:
        words = "A record is itself; name another one."
        issues.append(Issue(INVALID, words, "otherResourceId", xds=""))
    return issues


def _pairs(told: Explained, beside: Beside) -> list[Pair]:
    comparison, limits = told.comparison, told.limits
    made: list[Pair] = [
        ("resourceId", told.left),
        (beside.name, told.right),
        ("matchResult", STATES[told.state]),
        ("linkSource", SOURCES[told.source]),
        ("verdict", told.verdict),
        ("explanation", explaining.words(told)),
        ("asOf", told.at),
        ("modelVersion", told.model),
        ("joinThreshold", limits.join),
        ("reviewThreshold", limits.review),
        ("fractureThreshold", limits.fracture),
    ]
    if comparison is None:
        return made
    made += [
        ("score", comparison.weight),
        ("probability", comparison.probability),
        ("prior", comparison.prior),
    ]
    for line in told.lines:
        made.append(("field", [
            ("name", line.name), ("level", line.level), ("words", line.words),
            ("points", line.points), ("frequencyAdjustment", line.adjusted),
            ("left", line.left), ("right", line.right), ("masked", line.masked),
        ]))  # fmt: skip
    for veto in comparison.vetoes:
        made.append(("veto", [("code", veto.id), ("words", veto.words), ("see", veto.see)]))
    return made
