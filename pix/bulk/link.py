"""`people link`: whose the loaded records are, found for all of them together.

    loaded ─┬─ meets somebody known ──────────────────────────────► the online path, one by one
            └─ the others ─► pairs.py ─► clusters.py ─► persons ─► the store, a hundred records at a time
    merges that the file told ─────────────────────────────────────► the online path, last

What is written is what the online path writes, by the same `Change`: records, links with their weights,
explanations, decisions, questions, identifiers, cards, portraits and postings, and the AuditEvents. Each
batch is one transaction that also takes its records off the waiting list, so that a linkage that was
killed leaves a valid store, and the same command does the rest. No notices go out for single records.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from pix import linking
from pix.bulk import accounts, loads, saying
from pix.bulk.accounts import Operator
from pix.bulk.admission import Admitted
from pix.bulk.clusters import Persons, Rules, clustered, frequencies
from pix.bulk.crew import crew
from pix.bulk.engine import workplace
from pix.bulk.load import revised
from pix.bulk.loads import Loads, Waiting
from pix.bulk.pairs import Found, paired
from pix.change import Acting, Change, person_number
from pix.links import Link
from pix.matching import Rival
from pix.people import People
from pix.profiles import keys_of, texts
from pix.record import Record
from standards.outcome import CONFLICT, Issue, Refused

Told = Callable[[str, int, int], None]
STEPS = (
    "traits",
    "columns",
    "pairs",
    "words",
    "alike",
    "scoring",
    "persons",
    "writing",
    "one by one",
)
BATCH = 100
WORTH_PROCESSES = 10_000  # a process needs a second to begin, in which one reads so many
UNFINISHED = (
    "A load was interrupted: run the same `people load` again, which goes on where it stood."
)


def _now() -> datetime:
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Who links, where DuckDB may use the disk, what it may take of memory ("" for its default) and of
    processors (0: all). `now` is the day by which ages are reckoned."""

    operator: Operator
    folder: Path | None = None
    memory: str = ""
    threads: int = 0
    now: datetime = field(default_factory=_now)


@dataclass(slots=True)
class Linked:
    """What came of it."""

    records: int = 0
    persons: int = 0
    joined: int = 0
    questions: int = 0
    one_by_one: int = 0
    merges: int = 0
    passed_over: int = 0
    pairs: int = 0
    within_reach: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)


async def link(people: People, wanted: Wanted, told: Told) -> Linked:
    """Find whose everything that waits is, and enter it. Raises `Refused` (409) while a load is
    unfinished."""
    store, made = Loads(people), Linked()
    if await store.unfinished():
        raise Refused(Issue(CONFLICT, UNFINISHED))
    await people.counted.refresh()
    fresh, known = await _parted(people, store, wanted, told)
    if fresh:
        fresh.sort()
        said = [traits for _, traits, _ in fresh]
        found, persons = _found(people, said, wanted, told)
        made.pairs, made.within_reach = found.compared, len(found.pairs)
        keys = [key for _, _, key in fresh]
        await _enter(people, store, wanted, persons, keys, made, told)
    await _one_by_one(people, store, wanted, known, made, told)
    await _merge(people, store, wanted, made)
    await people.counted.count(_now())
    await _close(people, store, wanted, made)
    return made


Fresh = tuple[int, bytes, str]


async def _parted(
    people: People, store: Loads, wanted: Wanted, told: Told
) -> tuple[list[Fresh], list[str]]:
    """What waits, parted: (order, traits, key) of those of whom no key leads to anybody, and the keys of
    those who may be somebody known."""
    first = await people.profiles.one({}, {"_id": 1}) is None
    fresh: list[Fresh] = []
    known: list[tuple[int, str]] = []
    async for batch, said in _heard(people, store, wanted, told):
        led: set[str] = set()
        keys: list[set[str]] = [set() for _ in batch]
        if not first:
            keys = [texts(keys_of(traits)) for traits in said]
            every = sorted(set().union(*keys))
            rows = await people.postings.many({"_id": {"$in": every}}, {"_id": 1})
            led = {row["_id"] for row in rows}
        for one, traits, mine in zip(batch, said, keys, strict=True):
            if led.isdisjoint(mine):
                fresh.append((one.order, traits, one.key))
            else:
                known.append((one.order, one.key))
    return fresh, [key for _, key in sorted(known)]


async def _heard(
    people: People, store: Loads, wanted: Wanted, told: Told
) -> AsyncIterator[tuple[list[Waiting], tuple[bytes, ...]]]:
    """Everyone who waits, some thousands at a time, with their traits."""
    count, done = await store.waiting(merges=False), 0
    processes = (wanted.threads or os.cpu_count() or 1) if count >= WORTH_PROCESSES else 1
    settled = (people.domains.pack, people.domains.base)
    with crew(processes, saying.said, saying.settle, *settled) as hands:
        async for some in _windows(store, processes * 3):
            blocks = ([one.own for one in batch] for batch in some)
            for batch, said in zip(some, saying.asked(hands, blocks), strict=True):
                yield batch, said
                done += len(batch)
                told("traits", done, count)


async def _windows(store: Loads, size: int) -> AsyncIterator[list[list[Waiting]]]:
    """Batches of who waits, so many at a time, that all processes have something to do."""
    some: list[list[Waiting]] = []
    async for batch in store.all(merges=False):
        some.append(batch)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some


def _found(
    people: People, said: Sequence[bytes], wanted: Wanted, told: Told
) -> tuple[Found, list[Persons]]:
    """The persons that these records are."""
    model = people.model
    with workplace(wanted.folder, wanted.memory, wanted.threads) as bench:
        found = paired(bench, said, model, max(model.people, people.counted.current.people), told)
    shares = people.counted.current
    if shares.version == model.frequencies.version:
        # Nobody was counted yet: count these, before any of them is compared.
        sure = ((p.left, p.right) for p in found.pairs if p.plain >= model.thresholds.join)
        shares = frequencies(said, sure, model, f"load-{_now():%Y%m%dT%H%M%S}")
        people.counted.current = shares
    rules = Rules(model, shares, wanted.now.date())
    pairs = [(p.left, p.right) for p in found.pairs]
    made, done = [], 0
    for persons in clustered(said, pairs, rules):
        made.append(persons)
        done += sum(map(len, persons.members.values()))
        if len(made) % 500 == 0:
            told("persons", done, len(said))
    told("persons", len(said), len(said))
    return found, made


# -- entering -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Person:
    """One person to enter: its number, its records (places) in order, and the group it comes from."""

    number: str
    records: list[int]
    group: Persons
    numbers: Mapping[int, str]


def _persons(groups: Sequence[Persons]) -> Iterator[_Person]:
    for group in groups:
        numbers = {person: person_number() for person in group.members}
        for person, records in group.members.items():
            yield _Person(numbers[person], sorted(records), group, numbers)


def _batches(persons: Iterator[_Person]) -> Iterator[list[_Person]]:
    batch: list[_Person] = []
    size = 0
    for person in persons:
        batch.append(person)
        size += len(person.records)
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


async def _enter(
    people: People,
    store: Loads,
    wanted: Wanted,
    groups: Sequence[Persons],
    keys: Sequence[str],
    made: Linked,
    told: Told,
) -> None:
    for batch in _batches(_persons(groups)):
        entered = await entering(people, store, wanted.operator, batch, keys)
        made.records += entered.records
        made.persons += entered.persons
        made.joined += entered.joined
        made.questions += entered.questions
        made.passed_over += entered.passed_over
        told("writing", made.records + made.passed_over, len(keys))


async def entering(
    people: People,
    store: Loads,
    operator: Operator,
    batch: Sequence[_Person],
    keys: Sequence[str],
) -> Linked:
    """Enter these persons in one transaction, again when somebody else changed what it touches."""
    job = f"link-{uuid.uuid4()}"

    async def attempt(session: AsyncClientSession) -> Linked:
        change = Change(people, session, Acting(operator.actor(job), _now(), _id))
        change.quiet = True
        return await _written(change, store, operator, batch, keys)

    for _ in range(12):
        try:
            return await people.mongo.transaction(attempt, tries=24)
        except DuplicateKeyError:  # fed meanwhile by another door; now it is there
            continue
    raise Refused(Issue(CONFLICT, "Others changed the same records again and again; link anew."))


def _id() -> str:
    return str(uuid.uuid4())


async def _written(
    change: Change,
    store: Loads,
    operator: Operator,
    batch: Sequence[_Person],
    keys: Sequence[str],
) -> Linked:
    made = Linked()
    people, session = change.people, change.session
    mine = [keys[r] for p in batch for r in p.records]
    waiting = await store.some(mine, session)
    rows = await people.records.many({"claim": {"$in": mine}}, {"claim": 1}, session=session)
    fed = {row["claim"] for row in rows}  # by their source itself, since the file was written
    made.passed_over = len(fed & waiting.keys())
    entered: dict[int, Record] = {}
    for person in batch:
        for place in person.records:
            one = waiting.get(keys[place])
            if one is not None and one.key not in fed:
                entered[place] = _record(change, one)
    claimed = {place: people.claim(r.primary, r.own) for place, r in entered.items()}
    await change.read_identifiers(
        {h.identifier.key for claim in claimed.values() for h in claim.held}
    )
    events = []
    for person in batch:
        there = [p for p in person.records if p in entered]
        if there:
            change.begin(person.number)
            made.persons += 1
        for place in there:
            record = entered[place]
            change.traits[record.id] = people.says(record.own)
            match = _match(change, person, place, record)
            await change.settle(record, claimed[place], person.number, match)
            events.append(
                accounts.fed(
                    operator, record.id, *record.primary, change.actor.request, change.now, new=True
                )
            )
        await _told(change, person, entered, there, made)
    made.records += len(entered)
    if entered:
        await change.write()
        await loads.tell(people, events, session)
    await people.loaded.delete({"_id": {"$in": list(waiting)}}, session=session, many=True)
    return made


def _record(change: Change, one: Waiting) -> Record:
    record = Record(
        id=change.ids(), system=one.primary.system, value=one.primary.value, own=one.own,
        client=one.load.client, organisation=one.load.organisation,
    )  # fmt: skip
    change.add(record)
    change.touch(record)
    return record


def _match(change: Change, person: _Person, place: int, record: Record) -> Link:
    """The record's link to its person, with why where it was compared."""
    joined = person.group.joined.get(place)
    if joined is None:
        return Link(record.id, person.number, "MATCH", change.now)
    decision = joined.decision
    named = replace(
        decision,
        others=tuple(
            replace(r, person=person.numbers.get(int(r.person), "")) for r in decision.others
        ),
    )
    why = linking.explain(change, record.id, person.number, decision.kind, named)
    version = change.people.model.version
    return Link(
        record.id, person.number, "MATCH", change.now, "automatic", decision.weight, version, why,
        reason=decision.reason,
    )  # fmt: skip


async def _told(
    change: Change,
    person: _Person,
    entered: Mapping[int, Record],
    there: Sequence[int],
    made: Linked,
) -> None:
    """The log of what was joined, and the questions that are left."""
    ids = [entered[p].id for p in there]
    for place in there:
        joined, record = person.group.joined.get(place), entered[place]
        if joined is None or len(ids) < 2:
            continue
        made.joined += 1
        link = change.links.matches[record.id]
        number = change.decide(
            "bridge" if joined.merged else "join",
            sorted(ids),
            reason=joined.decision.reason or "What they say agrees.",
            evidence={
                "record": record.id,
                "person": person.number,
                "weight": joined.decision.weight,
                "margin": joined.decision.margin,
                "model": change.people.model.version,
                "explanation": link.explanation,
                "anchor": record.anchor,
                "bulk": True,
            },
        )
        change.links.match(replace(link, decision=number))
    for asked in person.group.asked:
        if asked.record in there and asked.person in person.numbers:
            rival: Rival = replace(asked.rival, person=person.numbers[asked.person])
            await linking.ask(change, entered[asked.record].id, rival, "possible")
            made.questions += 1


# -- one by one ---------------------------------------------------------------------------------------


async def _one_by_one(
    people: People,
    store: Loads,
    wanted: Wanted,
    known: Sequence[str],
    made: Linked,
    told: Told,
) -> None:
    for place, key in enumerate(known):
        for one in (await store.some([key])).values():
            await _fed(people, wanted.operator, one, made)
            made.one_by_one += 1
        told("one by one", place + 1, len(known))


async def _merge(people: People, store: Loads, wanted: Wanted, made: Linked) -> None:
    """Merges come last, when everyone they name is there; one that names the survivor of another goes
    after it."""
    waiting = [w async for batch in store.all(merges=True) for w in batch]
    for one in sorted(waiting, key=lambda w: w.order):
        await _fed(people, wanted.operator, one, made)
        made.merges += 1


async def _fed(people: People, operator: Operator, one: Waiting, made: Linked) -> None:
    """Through the online path, and off the waiting list. A refusal is told and not tried again."""
    operator = replace(operator, client=one.load.client, organisation=one.load.organisation)
    admitted = Admitted(0, *one.primary, one.own, b"", one.merge)
    if one.merge or await people.records.one({"claim": one.key}, {"_id": 1}) is None:
        kind = await revised(people, operator, admitted, one.load.id)
        if not isinstance(kind, str):
            made.refused += [(i.where, i.words) for i in kind.issues]
    else:
        made.passed_over += 1
    await people.loaded.delete({"_id": one.key})


async def _close(people: People, store: Loads, wanted: Wanted, made: Linked) -> None:
    facts = {
        "records": made.records, "persons": made.persons, "joined": made.joined,
        "questions": made.questions, "one by one": made.one_by_one, "merges": made.merges,
        "model": people.model.version, "frequencies": people.counted.current.version,
    }  # fmt: skip

    async def story(session: AsyncClientSession) -> None:
        await store.linked(session)
        await loads.tell(people, [accounts.job(wanted.operator, "link", facts, _now())], session)

    await people.mongo.transaction(story)
