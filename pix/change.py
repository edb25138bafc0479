"""One change to the People store: what was read, what differs, and what follows from it.

The acts (acts.py) change the working set in memory; `write` brings the difference to MongoDB in a few
batches of one transaction: records with their earlier versions, identifiers, cards, decisions, events.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pymongo import DeleteOne, InsertOne, ReplaceOne
from pymongo.asynchronous.client_session import AsyncClientSession

from chassis.call import dumps
from chassis.mongo import Doc
from pix import joining, showing
from pix.cards import Card, Member, Told, dealt
from pix.claims import Claim
from pix.events import Event, moves
from pix.identifiers import Identifier
from pix.joining import Known
from pix.people import People, Record


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: the client, the organisation and role it acts for, and the request or message."""

    client: str
    organisation: str = ""
    role: str = ""
    request: str = ""

    def document(self) -> Doc:
        """As decisions keep it."""
        return {
            "client": self.client,
            "organisation": self.organisation,
            "role": self.role,
            "request": self.request,
        }


@dataclass(frozen=True, slots=True)
class Acting:
    """Who acts, when, and where new logical ids come from."""

    actor: Actor
    now: datetime
    ids: Callable[[], str]


class Change:
    """The working set of one transaction: what was read, what of it changed, and why.

    Acts change it in memory; `write` brings the difference to MongoDB in a few batches.
    """

    def __init__(self, people: People, session: AsyncClientSession, acting: Acting) -> None:
        self.people, self.session, self.domains = people, session, people.domains
        self.actor, self.now, self.ids = acting.actor, acting.now, acting.ids
        self.records: dict[str, Record] = {}
        self.before: dict[str, Doc] = {}
        self.known: dict[str, Known] = {}
        self.stored: dict[str, Doc] = {}
        self._claims: set[str] = set()
        self._persons: set[str] = set()
        self._fresh: set[str] = set()  # persons made here: nothing of them is stored yet
        self._seen: set[str] = set()
        self._touched: set[str] = set()
        self._decisions: list[Doc] = []
        self._told: list[tuple[str, str]] = []
        self._redirects: dict[str, str] = {}

    # -- reading --------------------------------------------------------------------------------

    def add(self, record: Record) -> None:
        """Take a record that is not stored yet into the working set."""
        self.records[record.id] = record

    def touch(self, record: Record) -> None:
        """The record is shown anew and so gets a new version when the change is written."""
        self._touched.add(record.id)

    async def read(self, where: Mapping[str, Any]) -> list[Record]:
        """Records into the working set; one that is there already is not read again."""
        found = await self.people.records.many(where, session=self.session)
        for document in found:
            if document["_id"] not in self.records:
                self.before[document["_id"]] = document
                self.records[document["_id"]] = Record.of(document)
        return [self.records[d["_id"]] for d in found]

    async def claimed(self, identifier: Identifier) -> Record | None:
        """The record that is fed under an identifier, active or subsumed."""
        if identifier.key not in self._claims:
            self._claims.add(identifier.key)
            await self.read({"claim": identifier.key})
        for record in self.records.values():
            if record.primary == identifier and record.state != "removed":
                return record
        return None

    async def known_as(self, logical: str) -> Record | None:
        """The record with a logical id, whatever its state."""
        if logical not in self.records:
            await self.read({"_id": logical})
        return self.records.get(logical)

    async def was_removed(self, identifier: Identifier) -> bool:
        """Whether a record was once fed under this identifier and is removed."""
        here = any(r.primary == identifier and r.state == "removed" for r in self.records.values())
        return here or await self.people.removed(identifier, self.session)

    async def read_persons(self, persons: Iterable[str]) -> None:
        """Every record of these persons into the working set."""
        missing = [p for p in set(persons) if p and p not in self._persons]
        if missing:
            await self.read({"person": {"$in": missing}, "state": {"$ne": "removed"}})
            self._persons.update(missing)

    async def read_identifiers(self, keys: Iterable[str]) -> None:
        """These identifiers into the working set."""
        missing = [k for k in set(keys) if k not in self._seen]
        if missing:
            rows = await self.people.identifiers.many(
                {"_id": {"$in": missing}}, session=self.session
            )
            for row in rows:
                self.known[row["_id"]] = Known.of(row)
                self.stored[row["_id"]] = row
            self._seen.update(missing)

    def members(self, person: str) -> list[Record]:
        """The active records of a person, as far as they were read."""
        return sorted(
            (r for r in self.records.values() if r.person == person and r.state == "active"),
            key=lambda r: r.id,
        )

    def everyone(self, person: str) -> list[str]:
        """The ids of all records of a person, with those merged into them."""
        return sorted(
            r.id for r in self.records.values() if r.person == person and r.state != "removed"
        )

    def _formerly(self, person: str) -> list[str]:
        return sorted(
            d["_id"]
            for d in self.before.values()
            if d["person"] == person and d["state"] != "removed"
        )

    # -- changing -------------------------------------------------------------------------------

    async def hold(self, record: Record, claim: Claim, fresh: str) -> None:
        """The record claims this now: its identifiers, its person and all that follows from it."""
        await self.read_identifiers({*record.holds, *(h.identifier.key for h in claim.held)})
        joined = joining.companions(record.id, claim, self.known)
        await self.read_persons([record.person, joined or ""])
        was = record.person
        others = [r for r in self.members(was) if r.id != record.id] if was else []
        record.person = joining.place(
            record.id, claim, self.known, person=was, alone=not others, fresh=fresh
        )
        if record.person == fresh:
            self._persons.add(fresh)
            self._fresh.add(fresh)
        self._let_go(record)
        for key, holder in joining.holders(record.id, record.person, claim):
            held = next(h.identifier for h in claim.held if h.identifier.key == key)
            known = self.known.setdefault(key, Known(key, held.system, held.value))
            known.hold(holder)
            if holder.rank == "primary":
                known.record, known.state = record.id, "active"
        record.holds = [h.identifier.key for h in claim.held]
        record.anchor = f"{claim.anchor} {claim.born}" if claim.anchor else ""
        self.follow(record)
        if was and was != record.person and not others:
            self._redirects[was] = record.person

    def _let_go(self, record: Record) -> None:
        for key in record.holds:
            if key in self.known:
                self.known[key].drop(record.id)

    def follow(self, root: Record) -> None:
        """Records that were merged into this one belong to its person."""
        for record in self.tail(root):
            record.person = root.person

    def tail(self, root: Record) -> list[Record]:
        """The records that were merged into this one, directly or through others; they share its
        person, so they were read with it."""
        return [r for r in self.records.values() if r.root == root.id and r.state == "subsumed"]

    async def retire(self, record: Record, state: str) -> None:
        """The record stands for nobody any more: it is subsumed or removed."""
        await self.read_identifiers([*record.holds, record.primary.key])
        await self.read_persons([record.person])
        self._let_go(record)
        key = record.primary.key
        known = self.known.setdefault(key, Known(key, record.system, record.value))
        if state == "subsumed":
            known.record, known.state = record.id, state
        else:
            known.record, known.state = "", ""
        record.state, record.holds, record.anchor, record.links = state, [], "", []

        self.touch(record)

    async def subsume(self, record: Record, survivor: Record) -> None:
        """One record is replaced by another: it leaves its person and belongs to the survivor's, with
        what had been merged into it; the survivor carries its numbers."""
        await self.read_persons([record.person, survivor.person])
        emptied = record.person
        await self.retire(record, "subsumed")
        record.into = survivor.id
        for absorbed in [*self.tail(record), record]:
            absorbed.root, absorbed.person = survivor.id, survivor.person
        gained = [record.primary, *record.absorbed]
        survivor.absorbed += [i for i in gained if i not in survivor.absorbed]
        self.touch(survivor)
        if emptied and emptied != survivor.person and not self.members(emptied):
            self._redirects[emptied] = survivor.person

    def decide(self, kind: str, records: Sequence[str], **words: Any) -> None:
        """Log a decision; what it changed is added when it is written."""
        self._decisions.append(
            {
                "_id": self.ids(),
                "at": self.now,
                "type": kind,
                "records": list(records),
                "actor": self.actor.document(),
                **words,
            }
        )

    def tell(self, kind: str, record: Record) -> None:
        """Something happened to a record that others may want to be told of (events.py)."""
        if kind != "unchanged":
            self._told.append((kind, record.id))

    # -- writing --------------------------------------------------------------------------------

    async def write(self) -> None:
        """Relink everyone whose person changed, show anew what differs, and write all of it."""
        self._touched |= self._relink()
        for id_ in self._touched:
            self._show(self.records[id_])
        await self._write_cards()
        await self._write_records()
        await self._write_identifiers()
        await self._write_decisions()
        await self.people.events.insert_many(self._events(), self.session)

    def _relink(self) -> set[str]:
        """The records whose links are others than before."""
        relinked: set[str] = set()
        changed = {
            p
            for r in self.records.values()
            for p in (r.person, self.before.get(r.id, {}).get("person"))
            if p
        }
        for person in changed:
            linked = joining.links([r.id for r in self.members(person)])
            for id_, others in linked.items():
                record = self.records[id_]
                if record.links != list(others):
                    record.links = list(others)
                    relinked.add(id_)
        return relinked

    def _show(self, record: Record) -> None:
        stored = self.before.get(record.id)
        record.v = (stored["v"] if stored else 0) + 1
        record.at = self.now
        if record.state == "removed":
            record.b, record.ix, record.own = b"", {}, b""
            return
        patient = showing.shown(
            record.own,
            id_=record.id,
            version=record.v,
            at=self.now,
            domains=self.people.domains,
            links=record.links,
            absorbed=record.absorbed,
            into=record.into,
        )
        record.b, record.ix = dumps(patient), showing.indexed(patient)

    async def _write_records(self) -> None:
        changes: list[InsertOne[Doc] | ReplaceOne[Doc]] = []
        versions: list[Doc] = []
        for id_, record in self.records.items():
            document, stored = record.document(), self.before.get(id_)
            if stored is None:
                changes.append(InsertOne(document))
            elif document != stored:
                changes.append(ReplaceOne({"_id": id_}, document))
                if record.v != stored["v"]:
                    versions.append(_version(stored))
        if changes:
            await self.people.records.raw.bulk_write(changes, session=self.session)
        await self.people.history.insert_many(versions, self.session)

    async def _write_identifiers(self) -> None:
        changes: list[InsertOne[Doc] | ReplaceOne[Doc] | DeleteOne] = []
        for key, known in self.known.items():
            if known.empty:
                if key in self.stored:
                    changes.append(DeleteOne({"_id": key}))
            elif key in self.stored:
                changes.append(ReplaceOne({"_id": key}, known.document()))
            else:
                changes.append(InsertOne(known.document()))
        if changes:
            await self.people.identifiers.raw.bulk_write(changes, session=self.session)

    async def _write_decisions(self) -> None:
        for decision in self._decisions:
            decision["persons"] = sorted(
                {self.records[r].person for r in decision["records"] if r in self.records}
                | {
                    self.before[r]["person"]
                    for r in decision["records"]
                    if self.before.get(r, {}).get("person")
                }
            )
            decision["before"] = {p: self._formerly(p) for p in decision["persons"]}
            decision["after"] = {p: self.everyone(p) for p in decision["persons"]}
        await self.people.decisions.insert_many(self._decisions, self.session)

    def _events(self) -> list[Doc]:
        """What happened, in order: what the acts told, then who moved from person to person."""
        happened = [
            Event(kind, id_, self.records[id_].person, self.before.get(id_, {}).get("person", ""))
            for kind, id_ in self._told
        ]
        was = {i: d["person"] for i, d in self.before.items() if d["state"] == "active"}
        now = {i: r.person for i, r in self.records.items() if r.state == "active"}
        stem = f"{time.time_ns() // 1_000_000:012x}-{secrets.token_hex(5)}"
        return [
            event.document(f"{stem}-{place:04d}", self.now, self.records[event.record])
            for place, event in enumerate([*happened, *moves(was, now)])
        ]

    async def _write_cards(self) -> None:
        affected = self._affected()
        await self.read_persons(affected)
        old: dict[str, Doc] = {}
        stored = sorted(affected - self._fresh)
        if stored:
            rows = await self.people.persons.many({"_id": {"$in": stored}}, session=self.session)
            old = {row["_id"]: row for row in rows}
        touched = frozenset(self.known)
        changes: list[ReplaceOne[Doc]] = []
        for person in sorted(affected):
            card = dealt(
                person,
                Card.of(old[person]) if person in old else None,
                touched,
                self._told_of(person),
                self._members_of(person),
            )
            document = card.document() | self._standing(person, card, old.get(person))
            if document != {**old.get(person, {}), "at": self.now}:
                changes.append(ReplaceOne({"_id": person}, document, upsert=True))
        if changes:
            await self.people.persons.raw.bulk_write(changes, session=self.session)

    def _affected(self) -> set[str]:
        """Every person whose records or identifiers are others than before."""
        made = {d["person"] for d in self.before.values() if self._changed(d)}
        made |= {r.person for r in self.records.values() if self._changed(self.before.get(r.id))}
        for key, known in self.known.items():
            stored = self.stored.get(key)
            if stored is None or stored != known.document():
                made |= {p for p in (known.owner(), stored and stored["person"]) if p}
        return made - {""}

    def _changed(self, stored: Doc | None) -> bool:
        if stored is None:
            return True
        now = self.records[stored["_id"]]
        return (stored["person"], stored["state"], stored["root"]) != (
            now.person,
            now.state,
            now.root,
        )

    def _told_of(self, person: str) -> list[Told]:
        made = []
        for known in self.known.values():
            best = known.best()
            if best is not None and known.owner() == person:
                record = known.record if known.state == "active" else ""
                made.append(Told(known.system, known.value, record, best.record, best.told))
        return made

    def _members_of(self, person: str) -> list[Member]:
        return [
            Member(r.id, r.primary.key, "subsumed" if r.state == "subsumed" else "active", r.root)
            for r in self.records.values()
            if r.person == person and r.state != "removed"
        ]

    def _standing(self, person: str, card: Card, stored: Doc | None) -> Doc:
        if card.members:
            return {"state": "current", "redirect": None, "at": self.now}
        to = self._redirects.get(person)
        if to is None and stored is not None and stored["state"] == "redirected":
            to = stored["redirect"]
        return {"state": "redirected" if to else "empty", "redirect": to, "at": self.now}


def _version(stored: Doc) -> Doc:
    kept = ("v", "at", "b", "state", "person", "system", "value", "client", "organisation", "own")
    return {
        "_id": f"{stored['_id']}/{stored['v']}",
        "of": stored["_id"],
        **{k: stored[k] for k in kept},
    }
