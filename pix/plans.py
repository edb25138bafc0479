"""What each act of a steward would do, before it is done: whom it is about, whether it is so already,
what it parts, and how to do it (stewarding.py).

A plan is made inside the act's transaction, with versions guarded and everything read that the act will
need; nothing is written by it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from governance.stewards import Matter
from pix import stewarding
from pix.change import Change
from pix.inspection import (
    Inspection,
    Kind,
    Named,
    Steward,
)
from pix.links import Edge, Link
from pix.operations import Asked
from pix.record import Record
from standards import stewardship
from standards.operation import Operation
from standards.outcome import (
    CONFLICT,
    FORBIDDEN,
    INVALID,
    NOT_FOUND,
    REQUIRED_PARAMETER,
    Issue,
    Refused,
)

Run = Callable[[str], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What an act will do: to whom, whether it is so already (the decision that made it so), how to do
    it, and what it is about. `sides` are the records whose likeness is kept as evidence."""

    words: str
    records: tuple[str, ...]
    persons: tuple[str, ...]
    matter: Matter
    run: Run
    sides: tuple[tuple[Record, ...], tuple[Record, ...]]
    values: Mapping[str, str]  # the question with every name resolved
    shown: tuple[str, ...]  # the records whose links are answered
    already: str = ""


@dataclass(frozen=True, slots=True)
class Act:
    """One kind of act: its operation, what its parameters name, what else is wrong with a question,
    and how it is planned."""

    operation: Operation
    kinds: Mapping[str, Kind]
    plan: Callable[[Desk, dict[str, list[Named]], Asked], Awaitable[Plan]]
    faults: Callable[[dict[str, list[Named]], Asked], list[Issue]] = lambda *_: []


@dataclass(frozen=True, slots=True)
class Desk:
    """One act in the making: the change it works on, who acts, and what they may see."""

    change: Change
    steward: Steward
    inspection: Inspection

    async def record(self, named: Named) -> Record:
        """The record of this name, with everything of its person."""
        found = await self.change.known_as(named.id)
        record = self.inspection.judged(found, named, self.steward)
        await self.change.read_persons([record.person])
        await self.change.read_portraits([record.person])
        await self.change.links.read([record.id])
        return record

    async def person(self, named: Named) -> tuple[str, list[Record]]:
        """The number that this number leads to now, and its active records."""
        number = await self.inspection.current(named.id, self.change.session)
        await self.change.read_persons([number])
        everyone = [self.change.records[r] for r in self.change.everyone(number)]
        self.inspection.gathered(everyone, named, self.steward)
        await self.change.read_portraits([number])
        return number, self.change.members(number)

    def sealed(self, *some: Iterable[Record]) -> bool:
        """Whether any of these is sealed. Who holds no keys may not act on what is."""
        records = [r for group in some for r in group]
        sealed = [r for r in records if self.inspection.sealed(r)]
        if any(not self.inspection.sees(self.steward, r) for r in sealed):
            words = "This person needs the eye of a guardian; ask one to decide."
            raise Refused(Issue(FORBIDDEN, words))
        return bool(sealed)


# -- plans ------------------------------------------------------------------------------------------


async def _plan_link(desk: Desk, found: dict[str, list[Named]], _: Asked) -> Plan:
    change = desk.change
    record = _active(await desk.record(found["resourceId"][0]))
    person, there = await desk.person(found["goldenResourceId"][0])
    rest = [r for r in there if r.id != record.id]
    if not rest:
        raise _conflict("The record is this person, and nobody else is.", "goldenResourceId")
    was = record.person
    mates = [r for r in change.members(was) if r.id != record.id] if was != person else []
    link = change.links.matches.get(record.id)
    tied = await change.links.between("inclusions", {record.id}, {r.id for r in rest})
    so = was == person and link is not None and link.source == "manual" and tied
    parted = (_agencies([record]), _agencies(mates)) if mates else (frozenset[str](),) * 2
    return Plan(
        f"Patient/{record.id} is {person}.", (record.id,), (person,),
        Matter(True, desk.sealed([record], there, mates), parted),
        lambda why: stewarding.link(change, record.id, person, why),
        ((record,), tuple(rest)),
        {"resourceId": f"Patient/{record.id}", "goldenResourceId": person}, (record.id,),
        link.decision if so and link else "",
    )  # fmt: skip


async def _plan_unlink(desk: Desk, found: dict[str, list[Named]], _: Asked) -> Plan:
    change = desk.change
    record = _active(await desk.record(found["resourceId"][0]))
    person, there = await desk.person(found["goldenResourceId"][0])
    rest = [r for r in there if r.id != record.id]
    if not rest:
        raise _conflict("The record is all that this person is.", "goldenResourceId")
    sealed = desk.sealed([record], rest)
    values = {"resourceId": f"Patient/{record.id}", "goldenResourceId": person}
    words = f"Patient/{record.id} is not {person}."
    sides = ((record,), tuple(rest))
    if record.person == person:
        parted = (_agencies([record]), _agencies(rest))
        return Plan(
            words, (record.id,), (person,), Matter(False, sealed, parted),
            lambda why: stewarding.unlink(change, record.id, person, why), sides, values, (record.id,),
        )  # fmt: skip
    apart = await change.links.between("exclusions", {record.id}, {r.id for r in rest})
    where = {"_id": f"{record.id} {person}", "state": "NO_MATCH", "source": "manual"}
    refused = await change.people.links.one(where, session=change.session)
    so = refused["decision"] if refused and len(apart) == len(rest) else ""
    return Plan(
        words, (record.id,), (person,), Matter(False, sealed),
        lambda why: _not_this(change, record, person, rest, why), sides, values, (record.id,), so,
    )  # fmt: skip


async def _not_this(
    change: Change, record: Record, person: str, rest: Sequence[Record], why: str
) -> str:
    """A record that is elsewhere is not this person's either, and never will be by itself."""
    others = {r.id for r in rest}
    loosened = await change.links.between("inclusions", {record.id}, others)
    number = change.decide(
        "no-match",
        sorted({record.id, *others}),
        reason=why,
        evidence={"record": record.id, "person": person, "lifted": [e["_id"] for e in loosened]},
    )
    by, now = change.actor.name, change.now
    change.links.loosen("inclusions", loosened)
    for other in sorted(others):
        change.links.bind(
            "exclusions", Edge.between(record.id, other, by=by, reason=why, decision=number, at=now)
        )
    change.links.answered([record.id], [person], number)
    change.links.refuse(
        Link(record.id, person, "NO_MATCH", now, "manual", decision=number, by=by, reason=why)
    )
    change.lock(record.person, person)
    return number


async def _plan_not_duplicate(desk: Desk, found: dict[str, list[Named]], _: Asked) -> Plan:
    change = desk.change
    one, here = await desk.person(found["goldenResourceId"][0])
    other, there = await desk.person(found["resourceId"][0])
    if one == other:
        words = "They are one person now; unlink the record or undo the merge."
        raise _conflict(words, "resourceId")
    apart = await change.links.between("exclusions", {r.id for r in here}, {r.id for r in there})
    so = len(apart) == len(here) * len(there)
    first, second = sorted((one, other))
    return Plan(
        f"{one} and {other} are two.", tuple(r.id for r in (*here, *there)), (one, other),
        Matter(False, desk.sealed(here, there)),
        lambda why: stewarding.not_duplicate(change, one, other, why),
        (tuple(here), tuple(there)), {"goldenResourceId": first, "resourceId": second},
        _visible(desk, (*here, *there)), apart[-1]["decision"] if so else "",
    )  # fmt: skip


async def _plan_merge(desk: Desk, found: dict[str, list[Named]], _: Asked) -> Plan:
    change, people = desk.change, desk.change.people
    gone_, kept_ = found["fromGoldenResourceId"][0], found["toGoldenResourceId"][0]
    gone, here = await desk.person(gone_)
    kept, there = await desk.person(kept_)
    so = ""
    if gone == kept:
        if kept_.id != kept:
            words = f"{kept_.id} has become {kept}, so nothing can be merged into it; this would go round."
            raise _conflict(words, "toGoldenResourceId")
        where = {"type": {"$in": list(stewarding.MERGES)}, "evidence.person": kept,
                 f"evidence.moved.{gone_.id}": {"$exists": True}}  # fmt: skip
        rows = await people.decisions.many(
            where, {"_id": 1}, sort=[("at", -1)], limit=1, session=change.session
        )
        if not rows:
            raise _conflict("They are one person already.", "toGoldenResourceId")
        so = str(rows[0]["_id"])
    return Plan(
        f"{gone_.id} is {kept}.", tuple(r.id for r in (*here, *there)), (gone, kept),
        Matter(True, desk.sealed(here, there)),
        lambda why: stewarding.merge_persons(change, gone, kept, why),
        (tuple(here), tuple(there)), {"fromGoldenResourceId": gone, "toGoldenResourceId": kept},
        _visible(desk, here), so,
    )  # fmt: skip


async def _plan_unmerge(desk: Desk, found: dict[str, list[Named]], asked: Asked) -> Plan:
    change, people = desk.change, desk.change.people
    number = asked.text("decision")
    if "resourceId" in found:
        record = await desk.record(found["resourceId"][0])
        number = await stewarding.latest_merge(people, record=record.id)
    elif "goldenResourceId" in found:
        await desk.person(found["goldenResourceId"][0])
        number = await stewarding.latest_merge(people, person=found["goldenResourceId"][0].id)
    row = await people.decisions.one({"_id": number}, session=change.session)
    if row is None or row["type"] not in stewarding.MERGES:
        raise Refused(Issue(NOT_FOUND, "No merge has this number.", "decision", xds=""))
    said = row["evidence"]
    ids = (
        [said["record"]]
        if row["type"] == "merge"
        else [r for m in said["moved"].values() for r in m]
    )
    await change.read_records([*ids, *([said["into"]] if row["type"] == "merge" else ())])
    moved = [change.records[i] for i in ids if i in change.records]
    moved = [r for r in moved if r.state != "removed"]
    if moved and not any(desk.inspection.sees(desk.steward, r) for r in moved):
        raise Refused(Issue(NOT_FOUND, "No merge has this number.", "decision", xds=""))
    await change.read_persons(r.person for r in moved)
    for person in sorted({r.person for r in moved}):
        await change.read_portraits([person])
    rest = [
        r for p in sorted({r.person for r in moved}) for r in change.members(p) if r not in moved
    ]
    where = {"type": "unmerge", "evidence.undoes": number}
    undone = await people.decisions.one(where, {"_id": 1}, change.session)
    return Plan(
        f"The merge {number} was wrong.", tuple(ids), tuple(sorted({r.person for r in moved})),
        Matter(False, desk.sealed(moved, rest), _parted(row["type"], moved, rest)),
        lambda why: stewarding.unmerge(change, number, why), (tuple(moved), tuple(rest)),
        {"decision": number}, _visible(desk, moved), undone["_id"] if undone else "",
    )  # fmt: skip


def _parted(
    kind: str, moved: Sequence[Record], rest: Sequence[Record]
) -> tuple[frozenset[str], frozenset[str]]:
    """Whose records an unmerge parts. What one source merged itself is that agency's own affair."""
    if kind == "merge" or not rest:
        return frozenset(), frozenset()
    return _agencies(moved), _agencies(rest)


def _agencies(records: Iterable[Record]) -> frozenset[str]:
    """The sources of these records: a domain has one (PIXm 2:3.104)."""
    return frozenset(r.system for r in records)


def _active(record: Record) -> Record:
    if record.state == "subsumed":
        words = f"This record was merged into Patient/{record.root}; name that one."
        raise _conflict(words, "resourceId")
    return record


def _visible(desk: Desk, records: Iterable[Record]) -> tuple[str, ...]:
    seen = [r.id for r in records if desk.inspection.sees(desk.steward, r)]
    return tuple(sorted(seen))[:100]


def _conflict(words: str, where: str) -> Refused:
    return Refused(Issue(CONFLICT, words, where, xds=""))


# -- the questions --------------------------------------------------------------------------------


def _one_person(found: dict[str, list[Named]], asked: Asked) -> list[Issue]:  # noqa: ARG001  an Act's shape
    ids = [n.id for ns in found.values() for n in ns]
    if len(ids) == 2 and ids[0] == ids[1]:
        where = list(found)[1]
        return [Issue(INVALID, "Both are the same person; name two.", where, xds="")]
    return []


def _one_way(found: dict[str, list[Named]], asked: Asked) -> list[Issue]:  # noqa: ARG001  an Act's shape
    said = [n for n in ("decision", "resourceId", "goldenResourceId") if asked.texts(n)]
    if len(said) == 1:
        return []
    words = "Name what to undo in one way: decision, resourceId or goldenResourceId."
    kind = INVALID if said else REQUIRED_PARAMETER
    return [Issue(kind, words, said[-1] if said else "decision", xds="")]


ACTS: Mapping[str, Act] = {
    act.operation.code: act
    for act in (
        Act(stewardship.LINK, {"resourceId": "record", "goldenResourceId": "person"}, _plan_link),
        Act(stewardship.UNLINK, {"resourceId": "record", "goldenResourceId": "person"}, _plan_unlink),
        Act(stewardship.NOT_DUPLICATE, {"goldenResourceId": "person", "resourceId": "person"},
            _plan_not_duplicate, _one_person),
        Act(stewardship.MERGE, {"fromGoldenResourceId": "person", "toGoldenResourceId": "person"},
            _plan_merge, _one_person),
        Act(stewardship.UNMERGE, {"resourceId": "record", "goldenResourceId": "person"},
            _plan_unmerge, _one_way),
    )
}  # fmt: skip
