"""Who a record may be: the way from its keys to the portraits of candidate persons, and back again
when portraits change.

    traits ─► keys ─► one read of postings ─► at most 500 persons ─► one read of profiles

`Finding` is the working set of one transaction over `postings` and `profiles`; without a session it
only reads (`$match`). What a record reaches is bounded whatever the size of the city: a posting holds
at most 200 persons, and of those reached the 500 that most keys lead to are scored.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pymongo import DeleteOne, InsertOne, ReplaceOne, UpdateOne

from pix.blocking import Key
from pix.profiles import Portrait, Posting, places, reached, texts

if TYPE_CHECKING:
    from pymongo.asynchronous.client_session import AsyncClientSession

    from chassis.mongo import Doc
    from pix.people import People

MOST = 500
Write = InsertOne[dict[str, Any]] | ReplaceOne[dict[str, Any]] | DeleteOne | UpdateOne


@dataclass(frozen=True, slots=True)
class Candidates:
    """The persons that keys lead to, and how many more there were than can be scored."""

    portraits: Mapping[str, Portrait]
    left_out: int = 0


class Finding:
    """Postings and portraits as one transaction sees and changes them."""

    def __init__(self, people: People, session: AsyncClientSession | None = None) -> None:
        self.people, self.session = people, session
        self.portraits: dict[str, Portrait] = {}  # as they are now
        self.stored: dict[str, Portrait] = {}
        self.postings: dict[str, Posting] = {}
        self.quarantined: set[str] = set()  # keys that have just turned out to be bad numbers
        self._read: set[str] = set()
        self._persons: set[str] = set()
        self._stored: set[str] = set()
        self._added: dict[str, list[str]] = {}
        self._rewritten: set[str] = set()

    # -- reading --------------------------------------------------------------------------------

    async def candidates(self, found: tuple[Key, ...], besides: Collection[str] = ()) -> Candidates:
        """The persons that these keys lead to, `besides` excepted."""
        await self.read_postings(texts(found))
        counts = {p: n for p, n in reached(found, self.postings).items() if p not in besides}
        persons = sorted(counts, key=lambda p: (-counts[p], p))
        await self.read_portraits(p for p in persons[:MOST] if p not in self.portraits)
        portraits = {p: self.portraits[p] for p in persons[:MOST] if p in self.portraits}
        return Candidates(portraits, max(0, len(persons) - MOST))

    async def read_postings(self, keys: Collection[str]) -> None:
        """These postings into the working set."""
        missing = [k for k in keys if k not in self._read]
        if missing:
            where = {"_id": {"$in": missing}}
            for row in await self.people.postings.many(where, session=self.session):
                self.postings[row["_id"]] = Posting.of(row)
                self._stored.add(row["_id"])
            self._read.update(missing)

    async def read_portraits(self, persons: Iterable[str]) -> None:
        """These portraits into the working set."""
        missing = [p for p in persons if p and p not in self._persons]
        if missing:
            rows = await self.people.profiles.many(
                {"_id": {"$in": missing}}, {"n": 1, "members": 1}, session=self.session
            )
            for row in rows:
                portrait = Portrait.of(row)
                self.stored[portrait.person] = portrait
                self.portraits.setdefault(portrait.person, portrait)
            self._persons.update(missing)

    # -- writing --------------------------------------------------------------------------------

    async def post(self, drawn: Mapping[str, Portrait]) -> None:
        """These are the portraits now, and the postings follow from them."""
        gone: dict[str, frozenset[Key]] = {}
        come: dict[str, frozenset[Key]] = {}
        for person, new in drawn.items():
            old = self.portraits.get(person) or Portrait(person)
            if new.grown_from(old):
                come[person] = new.keys_beyond(old)
            else:
                come[person] = new.posted()
                gone[person] = old.posted() - come[person]
        every = [k for ks in (*gone.values(), *come.values()) for k in ks]
        await self.read_postings(texts(every))
        for person, lost in gone.items():
            kept = places(come[person], self.postings)
            for text in places(lost, self.postings).keys() - kept.keys():
                self._leave(text, person)
        self.portraits.update(drawn)
        for person, gained in come.items():
            await self._enter(gained, person)

    async def _enter(self, gained: Collection[Key], person: str) -> None:
        for text, key in sorted(places(gained, self.postings).items()):
            posting = self.postings.setdefault(text, Posting(text))
            if person in posting.persons or posting.full:
                continue
            if posting.room(key):
                posting.persons.append(person)
                self._added.setdefault(text, []).append(person)
            else:
                await self._split(posting, key, person)

    async def _split(self, posting: Posting, key: Key, person: str) -> None:
        """The key is full: its persons, and the one that came, are posted under their finer keys. A
        number that is full is a bad number and leads to nobody any more."""
        persons = [*posting.persons, person]
        posting.full, posting.persons = True, []
        self._rewritten.add(posting.key)
        if key.strong:
            self.quarantined.add(posting.key)
            return
        await self.read_portraits(persons)
        finer = {
            p: {
                text
                for one in self.portraits.get(p, Portrait(p)).posted()
                if one.text == posting.key
                for text in one.finer
            }
            for p in persons
        }
        await self.read_postings({text for wanted in finer.values() for text in wanted})
        for one, wanted in finer.items():
            await self._enter([Key(text) for text in wanted], one)

    def drawn(self) -> list[Write]:
        """How the portraits differ."""
        made: list[Write] = []
        for person, portrait in sorted(self.portraits.items()):
            stored = self.stored.get(person)
            if portrait == (stored or Portrait(person)):
                continue
            if not portrait.members:
                made.append(DeleteOne({"_id": person}))
            elif stored is None:
                made.append(InsertOne(portrait.document()))
            else:
                made.append(ReplaceOne({"_id": person}, portrait.document()))
        return made

    def _leave(self, text: str, person: str) -> None:
        posting = self.postings.get(text)
        if posting is not None and person in posting.persons:
            posting.persons.remove(person)
            self._rewritten.add(text)

    def writes(self) -> list[Write]:
        """How the postings differ: appending is one small update; everything else writes them anew."""
        made: list[Write] = []
        for text in sorted({*self._added, *self._rewritten}):
            posting = self.postings[text]
            empty = not posting.persons and not posting.full
            if text not in self._stored:
                made += [] if empty else [InsertOne(posting.document())]
            elif empty:
                made.append(DeleteOne({"_id": text}))
            elif text in self._rewritten:
                made.append(ReplaceOne({"_id": text}, posting.document()))
            else:
                added = self._added[text]
                change: Doc = {"$push": {"p": {"$each": added}}, "$inc": {"n": len(added)}}
                made.append(UpdateOne({"_id": text}, change))
        return made
