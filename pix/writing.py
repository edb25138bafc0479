"""How a change is written: everything that follows from it, in a few batches of its transaction.

    links among the records of a person ─► shown anew, next version, earlier one kept
    identifiers ─► whose they are          ─► the cards of the persons concerned
    portraits and postings, as the acts left them; what they did: decisions, events

All of it is derived here and nowhere else, so that no act can leave a part behind.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pymongo import DeleteOne, InsertOne, ReplaceOne

from chassis.call import dumps
from chassis.mongo import Doc
from pix import claims, joining, places, showing
from pix.cards import Card, Member, Told, dealt
from pix.identifiers import parts
from pix.links import Review
from pix.record import Record

if TYPE_CHECKING:
    from pix.change import Change


async def write(change: Change) -> None:
    """Write everything in which the working set differs from what was read."""
    people, session = change.people, change.session
    for person, to in sorted(change.redirects.items()):
        await change.links.redirected(person, to)
    await change.read_persons(_persons(change))
    guarded, shown = _guarded(change), change.touched | _relinked(change)
    for id_ in shown:
        _show(change, change.records[id_], only_links=id_ not in change.touched | guarded)
    for id_ in guarded - shown:  # no other version: only to whom it is told is another
        record = change.records[id_]
        record.ix = showing.indexed(showing.opened(record.b), secret=record.secret)
    cards = await _cards(change)
    await change.redraw()
    change.done()
    for key in sorted(change.finding.quarantined):
        change.links.ask(Review("number", (), (), key))
    versions, records = _records(change)
    await people.each(people.records, records, session)
    await people.bulk(people.history, versions, session)
    await people.each(people.identifiers, _identifiers(change), session)
    await people.each(people.persons, cards, session)
    await people.each(people.postings, change.finding.writes(), session)
    await people.each(people.profiles, change.finding.drawn(), session)
    await change.links.write()
    await people.bulk(people.decisions, [InsertOne(d) for d in change.decisions], session)
    if not change.quiet:
        await people.bulk(people.events, [InsertOne(e) for e in _events(change)], session)
    people.reached("commit")


# -- records --------------------------------------------------------------------------------------


def _persons(change: Change) -> set[str]:
    """Everyone whose records these are or were."""
    now = {r.person for r in change.records.values()}
    return (now | {stored["person"] for stored in change.before.values()}) - {""}


def _guarded(change: Change) -> set[str]:
    """The records of which it is told otherwise than before where somebody lives: one label among the
    records of a person, with those merged into them, holds for all (places.py). What was removed stays as
    it was. Of two that take the last labels away at the same moment, one runs again."""
    made: set[str] = set()
    groups: dict[str, list[Record]] = {}
    for record in change.records.values():
        if record.state != "removed":
            groups.setdefault(record.person, []).append(record)
            stored = change.before.get(record.id)
            if stored and _relabelled(bytes(stored["own"]), record.own):
                change.lock(record.person)
    for records in groups.values():
        secret = any(places.labelled(r.own) for r in records)
        for record in records:
            if record.secret != secret:
                record.secret = secret
                made.add(record.id)
    return made


def _relabelled(was: bytes, now: bytes) -> bool:
    return was != now and places.labelled(was) != places.labelled(now)


def _relinked(change: Change) -> set[str]:
    """The records whose links to the others of their person are others than before."""
    relinked: set[str] = set()
    for person in _persons(change):
        for id_, others in joining.links([r.id for r in change.members(person)]).items():
            record = change.records[id_]
            if record.links != list(others):
                record.links = list(others)
                relinked.add(id_)
    return relinked


def _show(change: Change, record: Record, *, only_links: bool) -> None:
    """The record as it is shown now. What it is found by stays as it was when only its links differ,
    unless these are its first or were its last: a record with links is said to be active."""
    stored = change.before.get(record.id)
    record.v = (stored["v"] if stored else 0) + 1
    record.at = change.now
    if record.state == "removed":
        record.b, record.ix, record.own = b"", {}, b""
        return
    patient = showing.shown(
        record.own,
        id_=record.id,
        version=record.v,
        at=change.now,
        domains=change.domains,
        links=record.links,
        absorbed=record.absorbed,
        into=_followed(change, record),
    )
    record.b = dumps(patient)
    if not (only_links and stored and bool(stored["links"]) == bool(record.links)):
        record.ix = showing.indexed(patient, secret=record.secret)


def _followed(change: Change, record: Record) -> str:
    """The record that a replaced one's link leads to: the one that its source names now, which may be
    further down the chain than the one it was merged into; link.other is to say one thing only."""
    if not record.into:
        return ""
    other = claims.survivor(showing.opened(record.own)) or {}
    said = str(other.get("reference") or "").removeprefix(change.domains.base + "/")
    named = change.domains.identifier(*parts(other.get("identifier") or {}))
    for one in change.records.values():
        stands = one.state != "removed" and record.root in (one.root, one.id)
        if stands and (one.primary == named or f"Patient/{one.id}" == said):
            return one.id
    return record.into


def _records(
    change: Change,
) -> tuple[list[InsertOne[Doc]], list[InsertOne[Doc] | ReplaceOne[Doc]]]:
    """The earlier versions to keep, and the records that differ."""
    versions: list[InsertOne[Doc]] = []
    records: list[InsertOne[Doc] | ReplaceOne[Doc]] = []
    for id_, record in change.records.items():
        document, stored = record.document(), change.before.get(id_)
        if stored is None:
            records.append(InsertOne(document))
        elif document != stored:
            records.append(ReplaceOne({"_id": id_}, document))
            if record.v != stored["v"]:
                versions.append(InsertOne(_version(stored)))
    return versions, records


def _version(stored: Doc) -> Doc:
    kept = ("v", "at", "b", "state", "person", "system", "value", "client", "organisation", "own")
    return {
        "_id": f"{stored['_id']}/{stored['v']}",
        "of": stored["_id"],
        **{k: stored[k] for k in kept},
    }


def _identifiers(change: Change) -> list[InsertOne[Doc] | ReplaceOne[Doc] | DeleteOne]:
    changes: list[InsertOne[Doc] | ReplaceOne[Doc] | DeleteOne] = []
    for key, known in change.known.items():
        if known.empty:
            if key in change.stored:
                changes.append(DeleteOne({"_id": key}))
        elif key not in change.stored:
            changes.append(InsertOne(known.document()))
        elif (document := known.document()) != change.stored[key]:
            changes.append(ReplaceOne({"_id": key}, document))
    return changes


# -- cards ----------------------------------------------------------------------------------------


async def _cards(change: Change) -> list[ReplaceOne[Doc] | InsertOne[Doc]]:
    """The cards of everyone whose records or identifiers differ, and of those that are locked."""
    affected = _affected(change) | change.locked
    await change.read_persons(affected)
    old: dict[str, Doc] = {}
    stored = sorted(affected - change.fresh)
    if stored:
        rows = await change.people.persons.many({"_id": {"$in": stored}}, session=change.session)
        old = {row["_id"]: row for row in rows}
    touched, told = frozenset(change.known), _told(change)
    changes: list[ReplaceOne[Doc] | InsertOne[Doc]] = []
    for person in sorted(affected):
        before = old.get(person)
        card = dealt(
            person,
            Card.of(before) if before else None,
            touched,
            told.get(person, ()),
            _members(change, person),
        )
        document = card.document() | _standing(change, person, card, before)
        if before is None:
            changes.append(InsertOne(document))
        elif person in change.locked or document != {**before, "at": change.now}:
            changes.append(ReplaceOne({"_id": person}, document))
    return changes


def _affected(change: Change) -> set[str]:
    """Every person whose records or identifiers are others than before."""
    made: set[str] = set()
    for record in change.records.values():
        stored = change.before.get(record.id)
        if stored is None:
            made.add(record.person)
        elif (stored["person"], stored["state"], stored["root"]) != (
            record.person,
            record.state,
            record.root,
        ):
            made |= {record.person, stored["person"]}
    for key, known in change.known.items():
        stored = change.stored.get(key)
        if stored is None or stored != known.document():
            made |= {p for p in (known.owner(), stored and stored["person"]) if p}
    return made - {""}


def _told(change: Change) -> dict[str, list[Told]]:
    """What is told of each person, as far as it was read."""
    made: dict[str, list[Told]] = {}
    for known in change.known.values():
        best, owner = known.best(), known.owner()
        if best is not None and owner is not None:
            record = known.record if known.state == "active" else ""
            told = Told(known.system, known.value, record, best.record, best.told)
            made.setdefault(owner, []).append(told)
    return made


def _members(change: Change, person: str) -> list[Member]:
    return [
        Member(r.id, r.primary.key, "subsumed" if r.state == "subsumed" else "active", r.root)
        for r in change.records.values()
        if r.person == person and r.state != "removed"
    ]


def _standing(change: Change, person: str, card: Card, stored: Doc | None) -> Doc:
    if card.members:
        return {"state": "current", "redirect": None, "at": change.now}
    to = change.redirects.get(person)
    if to is None and stored is not None and stored["state"] == "redirected":
        to = stored["redirect"]
    return {"state": "redirected" if to else "empty", "redirect": to, "at": change.now}


# -- the log --------------------------------------------------------------------------------------


def _events(change: Change) -> Iterable[Doc]:
    """What happened, in order."""
    stem = f"{time.time_ns() // 1_000_000:012x}-{secrets.token_hex(5)}"
    for place, event in enumerate(change.events):
        yield event.document(f"{stem}-{place:04d}", change.now, change.records[event.record])
