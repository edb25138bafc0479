"""One change to the People store: the working set of one transaction.

The acts (acts.py, stewarding.py) change it in memory; `write` (writing.py) brings the difference to
MongoDB in a few batches. Links, edges and reviews are its `links`, portraits and postings its
`finding`; who a record is follows from linking.py.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession

from chassis.mongo import Doc
from pix import joining, showing, writing
from pix.candidates import MOST, Finding
from pix.claims import Claim
from pix.events import Event, moves
from pix.identifiers import Identifier
from pix.joining import Known
from pix.links import Link, Links
from pix.people import People
from pix.profiles import Portrait, Said, drawn, keys_of, reached, texts
from pix.record import Record

# From so many keys on, a person is likely to be the one (matching digest §4.3: most true pairs share four).
_SEVERAL = 3
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: the client, the organisation and role it acts for, the request or message, and the
    user where there is one."""

    client: str
    organisation: str = ""
    role: str = ""
    request: str = ""
    subject: str = ""

    @property
    def name(self) -> str:
        """Under whose name it is kept."""
        return self.subject or self.client

    def document(self) -> Doc:
        """As decisions keep it."""
        return {
            "client": self.client,
            "organisation": self.organisation,
            "role": self.role,
            "request": self.request,
            "subject": self.subject,
        }


@dataclass(frozen=True, slots=True)
class Acting:
    """Who acts, when, and where new logical ids come from."""

    actor: Actor
    now: datetime
    ids: Callable[[], str]


class Change:
    """The working set of one transaction: what was read, what of it changed, and why."""

    def __init__(self, people: People, session: AsyncClientSession, acting: Acting) -> None:
        self.people, self.session, self.domains = people, session, people.domains
        self.actor, self.now, self.ids = acting.actor, acting.now, acting.ids
        self.records: dict[str, Record] = {}
        self._under: dict[Identifier, list[Record]] = {}  # the same, by what they are fed under
        self.before: dict[str, Doc] = {}
        self.known: dict[str, Known] = {}
        self.stored: dict[str, Doc] = {}
        self.links = Links(people, session, acting.now)
        self.finding = Finding(people, session)
        self.quiet = False  # a bulk load tells nobody of single records (bulk/link.py)
        self.fresh: set[str] = set()  # persons made here: nothing of them is stored yet
        self.redirects: dict[str, str] = {}
        self.decisions: list[Doc] = []
        self.events: list[Event] = []
        self._told: list[tuple[str, str]] = []
        self._deciding = 0  # how many decisions are complete
        self._was: dict[str, str] = {}  # whose each record was before the act in hand
        self._dirty: set[str] = set()  # persons whose portrait may be another now
        self.touched: set[str] = set()
        self.locked: set[str] = set()
        self.traits: dict[str, bytes] = {}
        self.edges: dict[str, float | None] = {}
        self._claims: set[str] = set()
        self._persons: set[str] = set()
        self._seen: set[str] = set()

    # -- reading --------------------------------------------------------------------------------

    async def read(self, where: Mapping[str, Any]) -> list[Record]:
        """Records into the working set; one that is there already is not read again."""
        found = await self.people.records.many(where, session=self.session)
        for document in found:
            if document["_id"] not in self.records:
                record = Record.of(document)
                self.before[record.id] = document
                self._hold(record)
                self._was[record.id] = record.person
        return [self.records[d["_id"]] for d in found]

    async def prefetch(self, fed: Sequence[tuple[Identifier, Mapping[str, Any]]]) -> None:
        """Read at once what feeding these Patients will ask for: whoever is fed under their
        identifiers, whose these are, whom their keys find, and the records of those whom several of
        their keys find, for it is probably them."""
        claimed = [identifier.key for identifier, _ in fed]
        self._claims.update(claimed)
        await self.read({"claim": {"$in": claimed}})
        owns = [(i, showing.canonical(p), p) for i, p in fed]
        said = [
            (self.people.claim(i, own, p), keys_of(self.people.says(own, p))) for i, own, p in owns
        ]
        held = {h.identifier.key for claim, _ in said for h in claim.held}
        await self.read_identifiers(held | {k for r in self.records.values() for k in r.holds})
        await self.finding.read_postings(texts([k for _, keys in said for k in keys]))
        known = {r.person for r in self.records.values()}
        likely: set[str] = set()
        for _, keys in said:
            counts = reached(keys, self.finding.postings)
            known.update(sorted(counts, key=lambda p: (-counts[p], p))[:MOST])
            likely.update(p for p, n in counts.items() if n >= _SEVERAL)
        await self.read_portraits(known)
        await self.read_persons({r.person for r in self.records.values()} | likely)

    async def claimed(self, identifier: Identifier) -> Record | None:
        """The record that is fed under an identifier, active or subsumed."""
        if identifier.key not in self._claims:
            self._claims.add(identifier.key)
            await self.read({"claim": identifier.key})
        under = self._under.get(identifier, ())
        return next((r for r in under if r.state != "removed"), None)

    async def known_as(self, logical: str) -> Record | None:
        """The record with a logical id, whatever its state."""
        if logical not in self.records:
            await self.read({"_id": logical})
        return self.records.get(logical)

    async def read_records(self, ids: Iterable[str]) -> None:
        """These records into the working set."""
        missing = sorted({i for i in ids if i not in self.records})
        if missing:
            await self.read({"_id": {"$in": missing}})

    async def was_removed(self, identifier: Identifier) -> bool:
        """Whether a record was once fed under this identifier and is removed."""
        here = any(r.state == "removed" for r in self._under.get(identifier, ()))
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

    def tail(self, root: Record) -> list[Record]:
        """The records that were merged into this one, directly or through others; they share its
        person, so they were read with it."""
        return [r for r in self.records.values() if r.root == root.id and r.state == "subsumed"]

    async def read_portraits(self, persons: Iterable[str]) -> None:
        """These persons as they are scored; what their records say is known from then on."""
        wanted = {p for p in persons if p}
        await self.finding.read_portraits(wanted - self.fresh)
        for person in wanted:
            portrait = self.finding.portraits.get(person)
            for said in portrait.said() if portrait else ():
                self.traits.setdefault(said.record, said.traits)
                self.edges.setdefault(said.record, said.edge)

    def says(self, record: Record) -> bytes:
        """The traits of a record as they are kept in portraits."""
        if record.id not in self.traits:
            self.traits[record.id] = self.people.says(record.own)
        return self.traits[record.id]

    # -- changing -------------------------------------------------------------------------------

    def add(self, record: Record) -> None:
        """Take a record that is not stored yet into the working set."""
        self._hold(record)
        self.links.new(record.id)

    def _hold(self, record: Record) -> None:
        self.records[record.id] = record
        self._under.setdefault(record.primary, []).append(record)

    def touch(self, record: Record) -> None:
        """The record is shown anew and so gets a new version when the change is written."""
        self.touched.add(record.id)

    def act_as(self, acting: Acting) -> None:
        """The next act is somebody else's."""
        self.actor, self.ids = acting.actor, acting.ids
        self.now = self.links.now = max(self.now, acting.now)

    def lock(self, *persons: str) -> None:
        """Nobody else may change these persons at the same moment."""
        self.locked.update(p for p in persons if p)

    def begin(self, person: str) -> str:
        """A new person: nothing of it has to be read."""
        self._persons.add(person)
        self.fresh.add(person)
        return person

    def match(self, link: Link) -> None:
        """This is why the record is in its person."""
        self.links.match(link)
        self._dirty.add(link.person)

    async def settle(self, record: Record, claim: Claim, person: str, link: Link) -> None:
        """The record claims this now, and is this person: its identifiers and what follows from it."""
        await self.read_identifiers({*record.holds, *(h.identifier.key for h in claim.held)})
        was, record.person = record.person, person
        self._let_go(record)
        for key, holder in joining.holders(record.id, person, claim):
            held = next(h.identifier for h in claim.held if h.identifier.key == key)
            known = self.known.setdefault(key, Known(key, held.system, held.value))
            known.hold(holder)
            if holder.rank == "primary":
                known.record, known.state = record.id, "active"
        record.holds = [h.identifier.key for h in claim.held]
        record.anchor = f"{claim.anchor} {claim.born}" if claim.anchor else ""
        self.match(link)
        self.follow(record)
        self._left(was, person)
        self._dirty |= {was, person}

    async def move(self, records: Sequence[Record], person: str) -> None:
        """These records go to another person together, with all that they hold."""
        await self.read_persons([person, *(r.person for r in records)])
        await self.read_identifiers(k for r in records for k in r.holds)
        gone = {r.id for r in records}
        for key in {k for r in records for k in r.holds}:
            if key in self.known:
                self.known[key].moved(gone, person)
        for record in records:
            was, record.person = record.person, person
            await self.links.moved(record.id, person)
            self.follow(record)
            self._left(was, person)
            self._dirty |= {was, person}

    def _left(self, was: str, person: str) -> None:
        """A person without records redirects to where they went."""
        if was and was != person and not self.members(was):
            self.redirects[was] = person
        self.redirects.pop(person, None)

    def _let_go(self, record: Record) -> None:
        for key in record.holds:
            if key in self.known:
                self.known[key].drop(record.id)

    def follow(self, root: Record) -> None:
        """Records that were merged into this one belong to its person."""
        for record in self.tail(root):
            record.person = root.person

    async def retire(self, record: Record, state: str) -> None:
        """The record stands for nobody any more: it is subsumed or removed."""
        await self.read_identifiers([*record.holds, record.primary.key])
        await self.read_persons([record.person])
        await self.links.read([record.id])
        self._let_go(record)
        key = record.primary.key
        known = self.known.setdefault(key, Known(key, record.system, record.value))
        if state == "subsumed":
            known.record, known.state = record.id, state
        else:
            known.record, known.state = "", ""
        record.state, record.holds, record.anchor, record.links = state, [], "", []
        self.links.unmatch(record.id)
        self.links.unask(record.id)
        self.touch(record)
        self._dirty.add(record.person)

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
        self._left(emptied, survivor.person)

    def decide(self, kind: str, records: Sequence[str], **words: Any) -> str:
        """Log a decision and give its id; what it changed is added when it is written."""
        id_ = self.ids()
        self.decisions.append(
            {
                "_id": id_,
                "at": self.now,
                "type": kind,
                "records": list(records),
                "actor": self.actor.document(),
                **words,
            }
        )
        return id_

    def tell(self, kind: str, record: Record) -> None:
        """Something happened to a record that others may want to be told of (events.py)."""
        self._told.append((kind, record.id))

    def done(self) -> None:
        """The act in hand is complete: its decisions say who was with whom before and after, and its
        events who came and went."""
        for decision in self.decisions[self._deciding :]:
            records = decision["records"]
            persons = {self.records[r].person for r in records if r in self.records}
            persons |= {self._was[r] for r in records if r in self._was}
            decision["persons"] = sorted(persons - {""})
            decision["before"] = {p: self._formerly(p) for p in decision["persons"]}
            decision["after"] = {p: self.everyone(p) for p in decision["persons"]}
        self._deciding = len(self.decisions)
        now = {i: r.person for i, r in self.records.items() if r.state == "active"}
        was = {i: p for i, p in self._was.items() if i in now}
        self.events += [
            Event(kind, id_, self.records[id_].person, self._was.get(id_, ""))
            for kind, id_ in self._told
        ]
        self.events += moves(was, now)
        self._told.clear()
        self._was = {i: r.person for i, r in self.records.items() if r.state != "removed"}

    def _formerly(self, person: str) -> list[str]:
        """The ids of all records that were a person's before the act in hand."""
        return sorted(i for i, p in self._was.items() if p == person)

    async def redraw(self) -> None:
        """The portraits of everyone whom the acts so far have changed, and the postings that follow."""
        dirty, self._dirty = self._dirty - {""}, set()
        if not dirty:
            return
        await self.read_persons(dirty)
        await self.read_portraits(dirty)
        mates = {p: self.members(p) for p in dirty}
        await self.links.read(r.id for rs in mates.values() for r in rs if r.id not in self.edges)
        edges = self.edges | self.links.edges_made()
        made: dict[str, Portrait] = {}
        for person, records in mates.items():
            said = [Said(r.id, self.says(r), edges.get(r.id)) for r in records]
            portrait = drawn(person, said)
            if portrait != self.finding.portraits.get(person, Portrait(person)):
                made[person] = portrait
        await self.finding.post(made)

    async def write(self) -> None:
        """Bring all of it to MongoDB as part of the transaction; called once, at the end."""
        await writing.write(self)


def person_number() -> str:
    """A new enterprise person number (domain digest §1.1, `tlid`)."""
    drawn = secrets.randbits(60)
    return "TL-" + "".join(_CROCKFORD[drawn >> shift & 31] for shift in range(55, -5, -5))
