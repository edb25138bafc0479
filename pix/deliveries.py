"""ITI-93 out: what has happened to persons is told to those who subscribe to them.

    events ──fan_out──► masters   one per person told of: what was published last
                        notices   one per subscription and person: "to be told", not what is to be told
    notices ──deliver──► one message ──taken──► notices deleted, AuditEvent

Both steps are one transaction each, and a process that dies in one leaves it to be done again.

*In order per person, without a backlog per event.* A notice says only that somebody is to be told
of; the message carries the master as it is then. So a person cannot be told of in the wrong order, and
a hundred changes while an endpoint is away are one entry when it is back.
*Once at a time.* A subscription is claimed under a lease that is longer than a sending may last; who
lost it may not settle. A message that was taken but not settled is sent again with the same id when
nothing changed in between, which its receiver can tell.
*No gaps.* Events carry a mark that they were handled, because the order of their ids is not the order
of their commits.

The file is long because claiming, sending and settling must agree; they are read together.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from pymongo import IndexModel, ReplaceOne, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError, PyMongoError

from chassis import body as bodies
from chassis import outbox, telemetry
from chassis.background import ended
from chassis.call import dumps, instant
from chassis.mongo import Doc, Table
from pix.endpoints import Sender
from pix.master import matches
from pix.masters import Masters, Standing
from pix.people import DATABASE
from pix.showing import opened
from pix.subscriptions import Subscriptions, shown
from pix.wire import Received, Unsent
from standards import balp, fhir_xml, pmir, pmir_message
from standards.outcome import Refused
from standards.pmir_message import Told

_MEDIA = {"json": "application/fhir+json", "xml": "application/fhir+xml"}
_SPACE = uuid.UUID("6f0c1a52-0e0c-5c7e-9f0d-2d8d3c3c9a01")  # of message ids


@dataclass(frozen=True, slots=True)
class Pace:
    """How often and how long. `first` and `longest` bound the wait after a failure, which doubles and
    is drawn at random from its upper half; after `patience` of failures a subscription is in error."""

    first: float = 2.0
    longest: float = 3600.0
    patience: float = 86_400.0
    idle: float = 0.5
    lease: float = 60.0
    batch: int = 50
    events: int = 200
    at_once: int = 8
    parting: float = 5.0  # what is in the air when the process stops has this long to be settled
    late: float = 120.0  # an event may be committed this long after its `at`

    def wait(self, failures: int, drawn: float, asked: int = 0) -> timedelta:
        """How long to wait after so many failures; never less than the endpoint asked for."""
        ceiling = min(self.first * 2 ** min(failures - 1, 30), self.longest)
        return timedelta(seconds=max(ceiling * (0.5 + drawn / 2), min(asked, self.longest)))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer means: `words` is "" when the message was taken; `whole` is False when its
    content was refused, so that fewer Patients may do better; `final` that the same message will not be
    taken later either."""

    words: str = ""
    whole: bool = True
    final: bool = False


def verdict(received: Received, message_id: str, *, test: bool = False) -> Verdict:
    """What an answer to our message says. PURE.

    An answer that is a message of its own counts as what it says; else the status decides. A test
    message is passed by any message that answers it, because no Patients is less than the profile
    lets a history have, and whoever says so has shown to be a consumer of this feed.
    """
    code = pmir_message.reply(_parsed(received), message_id)
    if code == "ok" and received.status < 300:
        return Verdict()
    if code is not None and test and code != "transient-error":
        return Verdict()
    if code is not None and code != "ok":
        return Verdict(f"The endpoint answered {code} ({received.status}).", code != "fatal-error")
    if 200 <= received.status < 300:
        return Verdict()
    if 300 <= received.status < 400:
        return Verdict("The endpoint redirects elsewhere, which is not followed.", final=True)
    words = f"The endpoint answered {received.status}."
    later = received.status in (408, 425, 429) or received.status >= 500
    return Verdict(words, later or received.status in (401, 403, 404), final=not later)


def _parsed(received: Received) -> Mapping[str, Any]:
    try:
        if "xml" in received.media:
            return fhir_xml.parse(received.body)
        return bodies.parse_json(received.body)
    except Refused:
        return {}


class Deliveries:
    """The worker of one process. `async with Deliveries(...)` runs it in the background."""

    def __init__(
        self,
        subscriptions: Subscriptions,
        masters: Masters,
        sender: Sender,
        audit: outbox.Writer,
        base: str,
        *,
        pace: Pace | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.subscriptions, self.masters, self.sender = subscriptions, masters, sender
        self.audit, self.base, self.pace, self.now = audit, base, pace or Pace(), now
        self.mongo = subscriptions.mongo
        self.holder = str(uuid.uuid4())
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()

    @property
    def events(self) -> Table:
        """What has happened (events.py)."""
        return self.mongo.table(DATABASE, "events")

    @property
    def published(self) -> Table:
        """The masters as they were published last."""
        return self.mongo.table(DATABASE, "masters")

    async def prepare(self) -> None:
        """Make the collections and their indexes; what exists is kept."""
        await self.mongo.create_all(DATABASE, ("masters", "leases"))
        await self.events.ensure(IndexModel([("pmir", 1), ("at", 1), ("_id", 1)]))

    async def __aenter__(self) -> Self:
        idle = self.pace.idle
        works = [("feed fan-out", self.fan_out, idle), ("feed delivery", self.deliver, idle)]
        # One asks often whether something is due; the others come to help when they find that it is.
        rest = [("feed delivery", self.deliver, idle * self.pace.at_once)]
        works += rest * (self.pace.at_once - 1)
        self._tasks = [
            asyncio.create_task(self._until_stopped(work, step, wait), name=work)
            for work, step, wait in works
        ]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # What is in the air is settled first, so that it need not be sent again after a restart.
        self._stopping.set()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self.pace.parting)
        await ended(self._tasks)

    async def _until_stopped(
        self, work: str, step: Callable[[], Awaitable[bool]], idle: float
    ) -> None:
        while not self._stopping.is_set():
            try:
                if await step():
                    continue
            except (PyMongoError, Refused) as fault:
                telemetry.log(telemetry.BACKGROUND, work=work, fault=type(fault).__name__)
            wait = idle * random.uniform(0.7, 1.3)  # noqa: S311  no secret
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait)

    # -- events to notices ----------------------------------------------------------------------

    async def fan_out(self) -> bool:
        """Turn some events into notices; False when there is nothing to do."""
        collecting = await self._collecting()
        if not collecting or not await self._leased("fan-out"):
            return False
        earliest = min(sub["began"] for sub in collecting) - timedelta(seconds=self.pace.late)

        async def story(session: AsyncClientSession) -> bool:
            where = {"pmir": None, "at": {"$gte": earliest}}
            order = [("at", 1), ("_id", 1)]
            some = await self.events.many(
                where, sort=order, limit=self.pace.events, session=session
            )
            if not some:
                return False
            collecting_now = await self._collecting(session)
            await self._publish(some, collecting_now, session)
            handled = {"_id": {"$in": [event["_id"] for event in some]}}
            await self.events.update(handled, {"$set": {"pmir": True}}, many=True, session=session)
            return True

        return await self.mongo.transaction(story)

    async def _collecting(self, session: AsyncClientSession | None = None) -> list[Doc]:
        where = {"collects": True, "gone": False}
        fields = {"by": 1, "value": 1, "system": 1, "began": 1}
        return await self.subscriptions.table.many(where, fields, session=session)

    async def _publish(
        self, events: Sequence[Doc], subs: Sequence[Doc], session: AsyncClientSession
    ) -> None:
        persons = {p for e in events for p in (e["person"], e["before"]) if p}
        created = {e["record"] for e in events if e["type"] == "created"}
        standing = await self.masters.of(persons, session)
        rows = await self.published.many({"_id": {"$in": sorted(persons)}}, session=session)
        before = {row["_id"]: row for row in rows}
        said = await self._said(events, session)
        masters: list[ReplaceOne[Doc]] = []
        notices: list[UpdateOne] = []
        told: set[str] = set()
        for person in sorted(persons):
            old, new = before.get(person), _row(person, standing[person])
            known = said.get(person)
            arrived = known is None or known["records"] <= created
            if _same(old, new) or (old is None and new["state"] == "gone" and arrived):
                continue
            masters.append(ReplaceOne({"_id": person}, new, upsert=True))
            fresh = old["state"] == "gone" if old else set(new["records"]) <= created
            fresh = fresh and new["state"] == "current"
            for sub in subs:
                asked = pmir.Criteria(sub["by"], sub["value"], sub["system"])
                stood = old or known
                if matches(asked, new) or (stood is not None and matches(asked, stood)):
                    told.add(sub["_id"])
                    notices.append(self._notice(sub["_id"], person, fresh=fresh))
        if masters:
            await self.published.raw.bulk_write(masters, session=session)
        if notices:
            await self.subscriptions.notices.raw.bulk_write(notices, session=session)
            waiting = {"_id": {"$in": sorted(told)}}
            # Counted, because setting what is set already would not be a write, and so would not
            # conflict with a worker that finds at the same time that nothing is left.
            change = {"$set": {"waiting": True}, "$inc": {"calls": 1}}
            await self.subscriptions.table.update(waiting, change, many=True, session=session)

    async def _said(self, events: Sequence[Doc], session: AsyncClientSession) -> dict[str, Doc]:
        """What the events themselves say of each person: all that is known of someone who was never
        published and is gone now. Events of records that not everybody may know of say nothing."""
        events = [e for e in events if e["system"] not in self.masters.unspoken]
        where = {"_id": {"$in": sorted({e["record"] for e in events})}}
        fields = {"organisation": 1}
        rows = await self.masters.people.records.many(where, fields, session=session)
        organisation = {row["_id"]: row["organisation"] for row in rows}
        made: dict[str, Doc] = {}
        for event in events:
            for person in {event["person"], event["before"]} - {""}:
                known = made.setdefault(
                    person,
                    {"person": person, "records": set(), "identifiers": [], "organisations": []},
                )
                known["records"].add(event["record"])
                known["identifiers"].append((event["system"], event["value"]))
                known["organisations"].append(organisation.get(event["record"], ""))
        return made

    def _notice(self, sub: str, person: str, *, fresh: bool) -> UpdateOne:
        return UpdateOne(
            {"_id": f"{sub}|{person}"},
            {
                "$inc": {"n": 1},
                "$setOnInsert": {"sub": sub, "person": person, "fresh": fresh, "at": self.now()},
            },
            upsert=True,
        )

    async def _leased(self, work: str) -> bool:
        """Whether this process may do a work that one process does at a time. The lease only saves
        work: two that do it at once conflict in their transactions."""
        now = self.now()
        table = self.mongo.table(DATABASE, "leases")
        until = now + timedelta(seconds=self.pace.lease)
        free = {"_id": work, "$or": [{"until": {"$lte": now}}, {"holder": self.holder}]}
        try:
            change = {"$set": {"holder": self.holder, "until": until}}
            return bool(await table.update(free, change, upsert=True))
        except DuplicateKeyError:
            return False

    # -- notices to messages --------------------------------------------------------------------

    async def deliver(self) -> bool:
        """Send one message for one subscription; False when nothing is due."""
        now = self.now()
        due = {
            "$or": [{"waiting": True}, {"end": {"$lte": now, "$ne": None}}],
            "due": {"$lte": now}, "lease": {"$lte": now},
            "status": {"$in": ["requested", "active"]}, "gone": False,
        }  # fmt: skip
        holder = str(uuid.uuid4())
        until = now + timedelta(seconds=self.pace.lease)
        claimed = await self.subscriptions.table.claim(
            due, {"$set": {"holder": holder, "lease": until}}
        )
        if claimed is None:
            return False
        sub = {**claimed, "holder": holder}
        if sub["end"] is not None and sub["end"] <= now:
            await self._ended(sub)
        elif sub["status"] == "requested":
            await self._handshake(sub)
        else:
            await self._message(sub)
        return True

    async def _ended(self, sub: Doc) -> None:
        notices = {"sub": sub["_id"]}
        await self.subscriptions.notices.delete(notices, many=True)
        words = "The subscription has reached its end."
        await self._settled(sub, "off", {"waiting": False, "collects": False}, error=words)

    async def _handshake(self, sub: Doc) -> None:
        """A test message without Patients; whoever takes it wants the others."""
        id_ = str(uuid.uuid4())
        verdict_, asked = await self._sent(sub, [], id_, test=True)
        event = self._event(sub, id_, [], verdict_.words)
        if verdict_.final:  # who refuses a message without content refuses what comes after it
            telemetry.log(telemetry.GIVEN_UP, subscription=sub["_id"], failures=sub["failures"] + 1)
            words = f"{verdict_.words} It refused the test message; send status “requested” to try again."
            await self._settled(sub, "error", {"waiting": False}, error=words, event=event)
            return
        if verdict_.words:
            await self._failed(sub, verdict_, asked, event)
            return
        begun = {
            "collects": True, "began": sub.get("began") if sub["collects"] else self.now(),
            "waiting": True, "failures": 0, "since": None, "due": self.now(),
        }  # fmt: skip
        await self._settled(sub, "active", begun, event=event)

    async def _message(self, sub: Doc) -> None:
        size = sub["size"] or self.pace.batch
        rows = await self.subscriptions.notices.many(
            {"sub": sub["_id"]}, sort=[("at", 1), ("_id", 1)], limit=size
        )
        persons = [row["person"] for row in rows]
        masters = {m["_id"]: m for m in await self.published.many({"_id": {"$in": persons}})}
        told = [t for row in rows if (t := _told(row, masters.get(row["person"]))) is not None]
        if not told:
            await self._taken(sub, rows, None)
            return
        id_ = _message_id(sub, told)
        verdict_, asked = await self._sent(sub, told, id_)
        event = self._event(sub, id_, [f"Patient/{t.id}" for t in told], verdict_.words)
        if verdict_.words:
            await self._failed(sub, verdict_, asked, event, rows)
        else:
            await self._taken(sub, rows, event)

    async def _sent(
        self, sub: Doc, told: Sequence[Told], id_: str, *, test: bool = False
    ) -> tuple[Verdict, int]:
        made = pmir_message.message(
            told, id_=id_, base=self.base, destination=sub["endpoint"], instant=instant(self.now())
        )
        json = dumps(made)
        body = fhir_xml.render(bodies.parse_json(json)) if sub["payload"] == "xml" else json
        try:
            received = await self.sender.send(sub["endpoint"], body, _MEDIA[sub["payload"]])
        except Unsent as why:
            return Verdict(str(why)), why.after
        return verdict(received, id_, test=test), received.after

    async def _taken(self, sub: Doc, rows: Sequence[Doc], event: Doc | None) -> None:
        """The message was taken: its notices go, unless somebody changed again meanwhile."""

        async def story(session: AsyncClientSession) -> bool:
            for row in rows:
                mine = {"_id": row["_id"], "n": row["n"]}
                if not await self.subscriptions.notices.delete(mine, session=session):
                    # It was told of in this message: from now on it is not new to the endpoint.
                    known = {"$set": {"fresh": False}}
                    await self.subscriptions.notices.update(
                        {"_id": row["_id"]}, known, session=session
                    )
            left = await self.subscriptions.notices.one({"sub": sub["_id"]}, {"_id": 1}, session)
            change = {
                "waiting": left is not None, "failures": 0, "since": None,
                "size": 0 if sub["size"] * 2 >= self.pace.batch else sub["size"] * 2,
                "lease": self.now(), "holder": "", "due": self.now(),
            }  # fmt: skip
            where = {"_id": sub["_id"], "holder": sub["holder"]}
            kept = await self.subscriptions.table.update(where, {"$set": change}, session=session)
            if not kept:
                raise _LostError
            if event is not None:
                await outbox.put(session, self.mongo, DATABASE, event)
            return True

        await self._audited(story, event)

    async def _failed(
        self, sub: Doc, verdict_: Verdict, asked: int, event: Doc, rows: Sequence[Doc] = ()
    ) -> None:
        """The message was not taken: again later, or never."""
        now, failures = self.now(), sub["failures"] + 1
        since = sub["since"] or now
        telemetry.log(telemetry.UNDELIVERED, subscription=sub["_id"], failures=failures)
        if (now - since).total_seconds() >= self.pace.patience:
            telemetry.log(telemetry.GIVEN_UP, subscription=sub["_id"], failures=failures)
            words = (
                f"{verdict_.words} {failures} messages in a row failed; send status “requested” to "
                "try again."
            )
            await self._settled(sub, "error", {"waiting": False}, error=words, event=event)
            return
        wait = self.pace.wait(failures, random.random(), asked)  # noqa: S311  no secret
        change: Doc = {
            "failures": failures, "since": since, "due": now + wait, "lease": now, "holder": "",
        }  # fmt: skip
        if not verdict_.whole:
            change["size"] = max(
                1, len(rows) // 2
            )  # one who is refused must not hold up all others

        async def story(session: AsyncClientSession) -> bool:
            where = {"_id": sub["_id"], "holder": sub["holder"]}
            if not await self.subscriptions.table.update(where, {"$set": change}, session=session):
                raise _LostError
            if not verdict_.whole and len(rows) == 1:
                last = {"$set": {"at": now}}
                await self.subscriptions.notices.update(
                    {"_id": rows[0]["_id"]}, last, session=session
                )
            await outbox.put(session, self.mongo, DATABASE, event)
            return True

        await self._audited(story, event)

    async def _settled(
        self, sub: Doc, status: str, change: Doc, *, error: str = "", event: Doc | None = None
    ) -> None:
        """The subscription has another status, which is a new version of it."""

        async def story(session: AsyncClientSession) -> bool:
            where = {"_id": sub["_id"], "holder": sub["holder"]}
            stored = await self.subscriptions.table.one(where, session=session)
            if stored is None:
                raise _LostError
            freed = {"holder": "", "lease": self.now(), "v": stored["v"] + 1}
            made = shown({**stored, **change, **freed}, status, self.now(), error)
            await self.subscriptions.table.replace(where, made, session=session)
            if event is not None:
                await outbox.put(session, self.mongo, DATABASE, event)
            return True

        await self._audited(story, event)

    async def _audited(
        self, story: Callable[[AsyncClientSession], Awaitable[bool]], event: Doc | None
    ) -> None:
        """Settle, with the AuditEvent in the outbox of the same transaction; then record it."""
        try:
            await self.mongo.transaction(story)
        except _LostError:
            # Switched off, changed or taken over while the message was in the air. It was sent all
            # the same, so the event is recorded; whoever holds the subscription settles it.
            if event is None:
                return
        if event is not None:
            await self.audit.record(event)

    def _event(self, sub: Doc, id_: str, patients: Sequence[str], failure: str) -> Doc:
        return balp.message_sent(
            event_id=str(uuid.uuid4()),
            recorded=instant(self.now()),
            server=self.base,
            destination=sub["endpoint"],
            message=f"MessageHeader/{id_}",
            patients=patients,
            failure=failure,
        )


class _LostError(Exception):
    """The lease is another's."""


# -- what is told. PURE ---------------------------------------------------------------------------


def _row(person: str, standing: Standing) -> Doc:
    """A master as it is kept: what was published, and what it is found by. A person of whom nothing
    may be told is kept as gone, without what was known."""
    made = standing.master
    if made is None:
        return {
            "_id": person, "person": person, "state": "gone", "digest": "", "b": b"",
            "records": [], "identifiers": [], "organisations": [],
        }  # fmt: skip
    return {
        "_id": person, "person": person, "state": standing.state, "digest": made.digest,
        "b": dumps(made.patient), "records": list(made.records),
        "identifiers": [list(i) for i in made.identifiers],
        "organisations": list(made.organisations),
    }  # fmt: skip


def _same(old: Doc | None, new: Doc) -> bool:
    return old is not None and (old["state"], old["digest"]) == (new["state"], new["digest"])


def _told(notice: Mapping[str, Any], master: Mapping[str, Any] | None) -> Told | None:
    """What a message says of a person; None when there is nothing to say: somebody who came and went
    before the endpoint was told."""
    if master is None or (notice["fresh"] and master["state"] != "current"):
        return None
    if master["state"] == "gone":
        return Told("DELETE", notice["person"])
    method: pmir_message.Method = "POST" if notice["fresh"] else "PUT"
    return Told(method, notice["person"], opened(bytes(master["b"])))


def _message_id(sub: Mapping[str, Any], told: Sequence[Told]) -> str:
    """The id of a message: the same for the same content to the same subscription, so that a message
    which is sent again after a crash is known as the same."""
    said = hashlib.sha256()
    for one in told:
        said.update(f"{one.method} {one.id}\n".encode())
        said.update(dumps(one.patient or {}))
    return str(uuid.uuid5(_SPACE, f"{sub['_id']} {said.hexdigest()}"))
