"""What people decide about persons: acts over one Change, like those of a feed, with a reason.

    link            this record is this person's
    unlink          this record is not this person's
    not_duplicate   these two persons are two
    merge_persons   these two persons are one
    unmerge         that merge was wrong: everything is as before it, and stays so

What people decide outranks every weight and outlives every feed and re-scoring; of two decisions about
the same pair of records the newer holds, and the older stays in the log. Each gives the id of its
decision. Who may decide, and with whose consent, is asked before.

One file, because each act is best read beside the one that undoes it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from hashlib import sha256

from chassis.mongo import Doc
from pix import claims, linking, showing
from pix.change import Change, person_number
from pix.links import Edge, Link
from pix.people import People
from pix.record import Record
from standards.outcome import CONFLICT, NOT_FOUND, Issue, Refused

MERGES = ("merge", "merge-persons", "bridge")


async def link(change: Change, record_id: str, person: str, reason: str) -> str:
    """This record is this person's: it goes there and stays there.

    Earlier decisions that the two are not one, or that the record is one with those it leaves, give
    way. Raises `Refused`: 404 for an unknown record or person, 409 for a record that was merged.
    """
    record = await _record(change, record_id)
    to = await _person(change, person)
    was, mine = record.person, _with_tail(change, record)
    rest = set(change.everyone(to)) - mine
    if not rest:
        raise Refused(Issue(CONFLICT, "The record is this person, and nobody else is.", "person"))
    lifted = await change.links.between("exclusions", mine, rest)
    left = set(change.everyone(was)) - mine if was != to else set()
    loosened = await change.links.between("inclusions", mine, left)
    number = change.decide(
        "link",
        sorted({record.id, *rest, *left}),
        reason=reason,
        evidence={"record": record.id, "person": to, "lifted": _ids([*lifted, *loosened])},
    )
    change.links.loosen("exclusions", lifted)
    change.links.loosen("inclusions", loosened)
    closest = next(r.id for r in change.members(to) if r.id != record.id)
    change.links.bind("inclusions", _edge(change, record.id, closest, reason, number))
    change.links.answered([record.id], [to], number)
    change.links.unask(record.id)
    if was != to:
        await change.move([record], to)
        await linking.part(change, was)
    await _manual(change, record, to, reason, number)
    change.lock(was, to)
    return number


async def unlink(change: Change, record_id: str, person: str, reason: str) -> str:
    """This record is not this person's: it becomes a person of its own, never again one with those
    whom it leaves.

    Raises `Refused`: 404 for an unknown record or person, 409 when the record is not there or is all
    that the person is.
    """
    record = await _record(change, record_id)
    was = await _person(change, person)
    if record.person != was:
        raise Refused(Issue(CONFLICT, f"The record is no longer {was}'s; look again.", "person"))
    mine = _with_tail(change, record)
    rest = [r for r in change.members(was) if r.id != record.id]
    if not rest:
        raise Refused(Issue(CONFLICT, "The record is all that this person is.", "person"))
    loosened = await change.links.between("inclusions", mine, {r.id for r in rest})
    number = change.decide(
        "unlink",
        sorted({record.id, *(r.id for r in rest)}),
        reason=reason,
        evidence={"record": record.id, "person": was, "lifted": _ids(loosened)},
    )
    change.links.loosen("inclusions", loosened)
    for mate in rest:
        change.links.bind("exclusions", _edge(change, record.id, mate.id, reason, number))
    change.links.answered([record.id], [was], number)
    own = change.begin(person_number())
    await change.move([record], own)
    await _manual(change, record, own, reason, number)
    change.links.refuse(_no_match(change, record.id, was, reason, number))
    await linking.part(change, was)
    change.lock(was)
    return number


async def not_duplicate(change: Change, one: str, other: str, reason: str) -> str:
    """These two persons are two: none of their records will be one person.

    Raises `Refused`: 404 for an unknown person, 409 when both are one already.
    """
    first, second = await _person(change, one), await _person(change, other)
    if first == second:
        raise Refused(Issue(CONFLICT, "They are one person now; unlink or unmerge them.", "person"))
    here, there = change.members(first), change.members(second)
    loosened = await change.links.between(
        "inclusions", change.everyone(first), change.everyone(second)
    )
    number = change.decide(
        "not-duplicate",
        sorted(r.id for r in (*here, *there)),
        reason=reason,
        evidence={"persons": [first, second], "lifted": _ids(loosened)},
    )
    change.links.loosen("inclusions", loosened)
    _apart(change, here, there, reason, number)
    await _refused(change, here, second, reason, number)
    await _refused(change, there, first, reason, number)
    change.lock(first, second)
    return number


async def merge_persons(change: Change, gone: str, kept: str, reason: str) -> str:
    """These two persons are one: all records of `gone` go to `kept`, which `gone` redirects to. Each of
    them is tied there, whatever it says later.

    Raises `Refused`: 404 for an unknown person, 409 when both are one already or when people decided
    that records of the one are not the other's.
    """
    source, target = await _person(change, gone), await _person(change, kept)
    if source == target:
        raise Refused(Issue(CONFLICT, "They are one person already.", "person"))
    apart = await change.links.between(
        "exclusions", change.everyone(source), change.everyone(target)
    )
    if apart:
        pairs = "; ".join(f"Patient/{e['a']} and Patient/{e['b']}" for e in apart[:3])
        words = (
            f"People decided that these are two: {pairs}. Link the record first if that was wrong."
        )
        raise Refused(Issue(CONFLICT, words, "person"))
    here, there = change.members(source), change.members(target)
    await change.links.read(r.id for r in here)
    number = change.decide(
        "merge-persons",
        sorted(r.id for r in (*here, *there)),
        reason=reason,
        evidence={
            "person": target,
            "moved": {source: [r.id for r in here]},
            # what unmerge needs: by which links they were there, and whether they still say the same
            "held": [change.links.matches[r.id].document() for r in here],
            "said": {r.id: _digest(r) for r in here},
        },
    )
    change.links.answered([r.id for r in here], [target], number)
    change.links.answered([r.id for r in there], [source], number)
    await change.move(here, target)
    for record in here:
        change.links.bind("inclusions", _edge(change, record.id, there[0].id, reason, number))
        await _manual(change, record, target, reason, number)
    change.lock(source, target)
    return number


async def unmerge(change: Change, decision: str, reason: str) -> str:
    """That merge (of records by their source, or of persons by people or by a record that fitted both)
    was wrong: records, links, numbers and persons are as before it, and will not come together again by
    themselves or by the source's repeating itself.

    Raises `Refused`: 404 for no such merge, 409 when it is undone already or what it brought together
    has changed too much since to be parted.
    """
    found = await change.people.decisions.one({"_id": decision}, session=change.session)
    if found is None or found["type"] not in MERGES:
        raise Refused(Issue(NOT_FOUND, "No merge has this number.", "decision"))
    undone = {"type": "unmerge", "evidence.undoes": decision}
    if await change.people.decisions.one(undone, {"_id": 1}, change.session):
        raise Refused(Issue(CONFLICT, "This merge was undone already.", "decision"))
    if found["type"] == "merge":
        return await _unmerge_records(change, found, reason)
    return await _unmerge_persons(change, found, reason)


async def latest_merge(people: People, *, record: str = "", person: str = "") -> str:
    """The decision to undo: the last merge of a subsumed record, or the last that emptied a person.

    Raises `Refused` (404) when there is none.
    """
    where: Doc = (
        {"type": "merge", "evidence.record": record}
        if record
        else {"type": {"$in": MERGES[1:]}, f"evidence.moved.{person}": {"$exists": True}}
    )
    rows = await people.decisions.many(where, {"_id": 1}, sort=[("at", -1), ("_id", -1)], limit=1)
    if not rows:
        ended = f"the record {record} was" if record else f"the records of the person {person} were"
        words = (
            f"No merge is known by which {ended} given to another. Name what ended by the merge, not what was"
            " kept; or the decision, as $link-history tells it."
        )
        raise Refused(Issue(NOT_FOUND, words, "decision"))
    return str(rows[0]["_id"])


# -- undoing ------------------------------------------------------------------------------------------


async def _unmerge_records(change: Change, found: Doc, reason: str) -> str:
    """One record of a source that replaced another: the replaced one is active again."""
    said = found["evidence"]
    record = await change.known_as(said["record"])
    if record is None or record.state != "subsumed" or record.into != said["into"]:
        raise _changed("The record that was replaced is not so any more.")
    await change.read_persons([record.person])
    was = record.person
    children = _beneath(record, change.records.values())
    number = change.decide(
        "unmerge",
        [record.id, record.into],
        reason=reason,
        evidence={"undoes": found["_id"], "record": record.id, "survivor": record.into},
    )
    gone = {record.primary, *record.absorbed}
    for survivor in _above(change, record):
        survivor.absorbed = [i for i in survivor.absorbed if i not in gone]
        change.touch(survivor)
    record.into = record.root = ""
    change.touch(record)
    await change.read_records([said["into"]])
    if not said["version"]:  # it was never fed before it was merged
        for child in children:
            child.root = record.id
        record.state = "subsumed"
        await change.retire(record, "removed")
        return number
    record.state = "active"
    record.own = await _own_before(change, record.id, said["version"])
    change.traits.pop(record.id, None)
    for child in children:
        child.root = record.id
    back = await _back(change, said["person"], was, [record.id])
    claim = claims.claim(showing.opened(record.own), record.primary, change.domains)
    linked = replace(Link.of(said["link"]), person=back) if said["link"] else None
    await change.links.read([record.id])
    await change.settle(record, claim, back, linked or Link(record.id, back, "MATCH", change.now))
    if back != was:
        mates = {r.id for r in change.members(back)}
        others = [r for r in change.members(was) if r.id not in mates]
        _apart(change, [record], others, reason, number)
    await _survivor_back(change, said)
    change.tell("revised", record)
    change.lock(was, back)
    return number


async def _survivor_back(change: Change, said: Doc) -> None:
    """What people had decided about the replaced record moved its survivor; it goes back too."""
    survivor = change.records[said["into"]]
    if (
        survivor.state != "active"
        or survivor.person != said["went"]
        or said["went"] == said["stood"]
    ):
        return
    back = await _back(change, said["stood"], survivor.person, [survivor.id])
    await change.move([survivor], back)
    if said["held"]:
        change.match(replace(Link.of(said["held"]), person=back))


async def _unmerge_persons(change: Change, found: Doc, reason: str) -> str:
    """Several persons that became one: the records of each go back."""
    said = found["evidence"]
    moved: dict[str, list[str]] = said["moved"]
    await change.read_records(r for rs in moved.values() for r in rs)
    number = change.decide(
        "unmerge",
        found["records"],
        reason=reason,
        evidence={"undoes": found["_id"], "person": said["person"], "moved": moved},
    )
    made = await change.people.inclusions.many({"decision": found["_id"]}, session=change.session)
    change.links.loosen("inclusions", made)
    parted = False
    for person, ids in sorted(moved.items()):
        known = [change.records[i] for i in ids if i in change.records]
        still = [r for r in known if r.state == "active"]
        now = {r.person for r in still}
        if len(now) != 1 or now == {person}:
            continue
        was = now.pop()
        await change.read_persons([was])
        stay = {*(r.id for r in change.members(was))} - {r.id for r in still}
        if not stay:
            continue
        back = await _back(change, person, was, [r.id for r in still])
        rest = [change.records[i] for i in sorted(stay)]
        mine = {i for r in still for i in _with_tail(change, r)}
        others = set(change.everyone(was)) - mine
        change.links.loosen("inclusions", await change.links.between("inclusions", mine, others))
        await change.move(still, back)
        await _linked_as_before(change, found, still, back)
        _apart(change, still, rest, reason, number)
        change.lock(was, back)
        parted = True
    if not parted:
        raise _changed("What it brought together is no longer one person.")
    return number


async def _linked_as_before(
    change: Change, found: Doc, records: Collection[Record], person: str
) -> None:
    """The links that the merge took the place of; what people decided later held them where they no
    longer are. Who says something else by now may have been held by the merge alone, so it is looked at
    whether they still hold together."""
    said = found["evidence"]
    before = {link.record: link for link in map(Link.of, said.get("held", ()))}
    for record in records:
        if record.id in before:
            change.match(replace(before[record.id], person=person))
    digests = said.get("said", {})
    if any(digests.get(r.id, _digest(r)) != _digest(r) for r in records):
        await linking.part(change, person)


async def _back(change: Change, person: str, was: str, records: Collection[str]) -> str:
    """The number to go back to: the old one, unless it has become somebody else's since."""
    if person == was:
        return person
    await change.read_persons([person])
    if change.members(person):
        apart = await change.links.between("exclusions", records, change.everyone(person))
        return person if not apart else change.begin(person_number())
    card = await change.people.persons.one({"_id": person}, session=change.session)
    followed = card["redirect"] if card else None
    return person if followed in (None, was) else change.begin(person_number())


async def _own_before(change: Change, record: str, version: int) -> bytes:
    earlier = await change.people.history.one(
        {"_id": f"{record}/{version}"}, session=change.session
    )
    if earlier is None:
        raise _changed("The version before the merge is no longer kept.")
    return bytes(earlier["own"])


def _above(change: Change, record: Record) -> list[Record]:
    """The records that carry the numbers of a subsumed one: its survivor, and theirs."""
    made = []
    into = record.into
    while into and into in change.records:
        made.append(change.records[into])
        into = change.records[into].into
    return made


def _beneath(record: Record, others: Iterable[Record]) -> list[Record]:
    """The records that were merged into this one, directly or through others."""
    made: dict[str, Record] = {}
    waiting = list(others)
    grown = True
    while grown:
        grown = False
        for other in waiting:
            if other.id not in made and (other.into == record.id or other.into in made):
                made[other.id] = other
                grown = True
    return list(made.values())


# -- small steps --------------------------------------------------------------------------------------


async def _record(change: Change, record_id: str) -> Record:
    record = await change.known_as(record_id)
    if record is None or record.state == "removed":
        raise Refused(Issue(NOT_FOUND, "No Patient has this logical id here.", "record"))
    if record.state == "subsumed":
        words = f"This record was merged into Patient/{record.root}; name that one."
        raise Refused(Issue(CONFLICT, words, "record"))
    await change.read_persons([record.person])
    await change.links.read([record.id])
    await change.read_portraits([record.person])
    return record


async def _person(change: Change, number: str) -> str:
    """The person that a number leads to now, with its records read."""
    seen: set[str] = set()
    while number not in seen:
        seen.add(number)
        card = await change.people.persons.one({"_id": number}, {"redirect": 1}, change.session)
        if card is None:
            break
        if not card["redirect"]:
            await change.read_persons([number])
            await change.read_portraits([number])
            if change.members(number):
                return number
            break
        number = card["redirect"]
    raise Refused(Issue(NOT_FOUND, "Nobody has this person number.", "person"))


def _with_tail(change: Change, record: Record) -> set[str]:
    return {record.id, *(r.id for r in change.tail(record))}


async def _manual(change: Change, record: Record, person: str, reason: str, number: str) -> None:
    await change.links.read([record.id])
    by = change.actor.name
    change.match(
        Link(
            record.id, person, "MATCH", change.now, "manual", decision=number, by=by, reason=reason
        )
    )


def _digest(record: Record) -> str:
    """What a record says, to be told whether it says the same later."""
    return sha256(record.own).hexdigest()


def _edge(change: Change, one: str, other: str, reason: str, number: str) -> Edge:
    return Edge.between(
        one, other, by=change.actor.name, reason=reason, decision=number, at=change.now
    )


def _apart(
    change: Change, some: Iterable[Record], others: Iterable[Record], reason: str, number: str
) -> None:
    """None of these is ever one with any of those."""
    there = list(others)
    for one in some:
        for other in there:
            change.links.bind("exclusions", _edge(change, one.id, other.id, reason, number))


def _no_match(change: Change, record: str, person: str, reason: str, number: str) -> Link:
    return Link(
        record, person, "NO_MATCH", change.now, "manual", decision=number, by=change.actor.name,
        reason=reason,
    )  # fmt: skip


async def _refused(
    change: Change, records: Iterable[Record], person: str, reason: str, number: str
) -> None:
    """What was possible between these records and this person is decided: no."""
    ids = [r.id for r in records]
    where = {"record": {"$in": ids}, "person": person, "state": "POSSIBLE"}
    for row in await change.people.links.many(where, {"record": 1}, session=change.session):
        change.links.refuse(_no_match(change, row["record"], person, reason, number))
    change.links.answered(ids, [person], number)


def _ids(edges: Iterable[Doc]) -> list[str]:
    return [e["_id"] for e in edges]


def _changed(words: str) -> Refused:
    return Refused(Issue(CONFLICT, f"{words} This merge cannot be undone.", "decision"))
