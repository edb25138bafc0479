"""ITI-10 out: consumers are told when the numbers of a person change.

    events ──change stream──► hl7v2_notices ──one line per consumer──► AA: told; AR: again; AE: parked

One process of an exchange reads and tells (a lease in `hl7v2_reader`); when it dies another goes on
where it was, because the change stream's token is kept after its notices are. Each consumer has its own
queue and its own patience: one that is down holds up nobody but itself, and loses nothing.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from pymongo.errors import OperationFailure, PyMongoError

from affinity.partners import Consumer
from chassis import telemetry
from chassis.background import ended
from chassis.call import Account, Caller
from chassis.settings import Settings
from pix.cards import Card
from pix.hl7v2.message import read
from pix.hl7v2.mllp import client_tls
from pix.hl7v2.notice import (
    PARTING,
    control_id,
    digest,
    interesting,
    notice,
    worth_telling,
)
from pix.hl7v2.queue import Queue, Waiting
from pix.hl7v2.speaking import Line, Unanswered, opened
from pix.hl7v2.visit import House, audited, moment
from pix.people import People
from standards.hl7v2 import ITI_10_AUDIT
from standards.outcome import Refused

_LEASE = 15.0  # seconds after which another process takes over from one that died
_TRIES = 6  # of a notice that is rejected for now (AR)
_LOOK = 0.25  # seconds between two looks into an empty queue
_LONGEST_PAUSE = 60.0
_HISTORY_LOST = (280, 286)  # the token is older than the log of the database
_OVERLAP = timedelta(minutes=5)


class Record(Protocol):
    """What is needed of `chassis.audit.AuditWriter`."""

    async def record(self, *events: Mapping[str, Any]) -> None:
        """Return when these events are durable."""
        ...


class LeaseLost(Exception):  # noqa: N818  the ordinary end of leading
    """Another process reads and tells now."""


@dataclass
class Notices:
    """The work of telling, as one process does it."""

    people: People
    house: House
    consumers: tuple[Consumer, ...]
    settings: Settings
    audit: Record
    patience: float = 30.0
    _holder: str = field(default_factory=lambda: str(uuid.uuid4()))

    def __post_init__(self) -> None:
        self.queue = Queue(self.people.mongo)

    async def prepare(self) -> None:
        """Make the collections; what exists is kept."""
        await self.queue.prepare()

    @asynccontextmanager
    async def going_out(self) -> AsyncIterator[None]:
        """Tell consumers for as long as the block runs."""
        task = asyncio.create_task(self._for_ever(), name="hl7v2 notices")
        try:
            yield
        finally:
            await ended([task])
            try:
                await self.queue.release(self._holder, moment())
            except PyMongoError as fault:
                _log(fault)

    async def _for_ever(self) -> None:
        while True:
            try:
                if await self.queue.lease(self._holder, moment(), _LEASE):
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self._renew())
                        group.create_task(self._read())
                        for consumer in self.consumers:
                            group.create_task(self._tell(consumer))
            except* (PyMongoError, Refused) as faults:
                _log(faults.exceptions[0])
            except* LeaseLost:
                pass
            await asyncio.sleep(_LEASE / 5)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_LEASE / 3)
            if not await self.queue.lease(self._holder, moment(), _LEASE):
                raise LeaseLost

    # -- what happened --------------------------------------------------------------------------------

    async def _read(self) -> None:
        token, at = await self.queue.place()
        try:
            await self._follow(token)
        except OperationFailure as fault:
            if fault.code not in _HISTORY_LOST:
                raise
            # Too long away for the stream: what happened since is in the events themselves.
            await self._catch_up(at)
            await self.queue.reached(None, moment())

    async def _follow(self, token: Any) -> None:
        inserted = [{"$match": {"operationType": "insert"}}]
        stream = await self.people.events.raw.watch(
            inserted, resume_after=token, max_await_time_ms=500
        )
        async with stream:
            kept: Any = token
            while True:
                events: list[Mapping[str, Any]] = []
                change = await stream.try_next()
                while change is not None:
                    events.append(change["fullDocument"])
                    change = await stream.try_next() if len(events) < 200 else None
                await self._take(events)
                if stream.resume_token is not None and (events or kept is None):
                    kept = stream.resume_token
                    await self.queue.reached(kept, moment())

    async def _catch_up(self, since: datetime | None) -> None:
        if since is None:
            return
        rows = await self.people.events.many({"at": {"$gte": since - _OVERLAP}}, max_ms=120_000)
        for start in range(0, len(rows), 500):
            await self._take(rows[start : start + 500])

    async def _take(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Everyone whom these events touch may have to be told of."""
        touched: dict[str, bool] = {}
        for event in events:
            parted = event["type"] in PARTING
            for person in (event["person"], event["before"]):
                if person:
                    touched[person] = touched.get(person, False) or parted
        names = [c.name for c in self.consumers]
        await self.queue.add(names, sorted(touched.items()), moment())

    # -- what is told ---------------------------------------------------------------------------------

    async def _tell(self, consumer: Consumer) -> None:
        """Work off the queue of one consumer; a consumer that is down is tried again, ever less often."""
        line: Line | None = None
        failures = 0
        try:
            while True:
                waiting = await self.queue.due(consumer.name, moment())
                if not waiting:
                    await asyncio.sleep(_LOOK)
                    continue
                try:
                    for one in waiting:
                        line = await self._one(consumer, one, line)
                    failures = 0
                except Unanswered as fault:
                    if line is not None:
                        await line.close()
                        line = None
                    failures += 1
                    telemetry.log(telemetry.NOTICE_LATE, consumer=consumer.name, fault=fault.why)
                    telemetry.HL7V2_NOTICES.labels(consumer.name, "late").inc()
                    await asyncio.sleep(_pause(failures))
        finally:
            if line is not None:
                await line.close()

    async def _one(self, consumer: Consumer, waiting: Waiting, line: Line | None) -> Line | None:
        """Tell one notice, if it is worth telling; the line that was used."""
        row = await self.people.persons.one({"_id": waiting.person}, {"told": 1, "members": 1})
        told = Card.of(row).told if row else ()
        numbers = interesting(told, consumer, self.people.domains)
        last, count = await self.queue.last(waiting)
        if not worth_telling(numbers, last, waiting.parted):
            if not numbers:
                await self.queue.forget(waiting)
            await self.queue.done(waiting)
            return line
        now = moment()
        control = control_id(consumer.name, waiting.person, numbers, count)
        said = notice(
            numbers, consumer, self.house, self.people.domains,
            when=now.strftime("%Y%m%d%H%M%S") + "+0000", control=control,
        )  # fmt: skip
        line = line or await self._line(consumer)
        try:
            answer = await line.say(said)
        except Unanswered:
            await line.close()  # perhaps it only had been idle too long: once more on a fresh one
            line = await self._line(consumer)
            answer = await line.say(said)
        verdict, reason = _verdict(answer, control)
        await self._audit(consumer, waiting, control, verdict, now)
        telemetry.HL7V2_NOTICES.labels(consumer.name, verdict).inc()
        if verdict == "AA":
            await self.queue.known(waiting, digest(numbers), count + 1, now)
            await self.queue.done(waiting)
        elif verdict == "AR" and waiting.attempts + 1 < _TRIES:
            due = now + timedelta(seconds=_pause(waiting.attempts + 1))
            await self.queue.later(waiting, due, reason)
        else:
            telemetry.log(telemetry.NOTICE_PARKED, consumer=consumer.name, error=verdict)
            await self.queue.park(waiting, reason)
        return line

    async def _line(self, consumer: Consumer) -> Line:
        tls = client_tls(self.settings) if consumer.tls else None
        return await opened(consumer.host, consumer.port, tls, patience=self.patience)

    async def _audit(
        self, consumer: Consumer, waiting: Waiting, control: str, verdict: str, now: datetime
    ) -> None:
        row = await self.people.records.one(
            {"person": waiting.person, "state": "active"}, {"_id": 1}
        )
        account = Account(patients=[f"Patient/{row['_id']}"] if row else [])
        made = audited(
            self.house, ITI_10_AUDIT, Caller(client_id=consumer.name), account, now=now,
            peer=consumer.host, control_id=control,
        )  # fmt: skip
        if verdict != "AA":
            made = [
                {**event, "outcome": "4", "outcomeDesc": "The consumer did not take the notice."}
                for event in made
            ]
        await self.audit.record(*made)


def _verdict(answer: bytes, control: str) -> tuple[str, str]:
    """AA, AE or AR, and the reason in words. Raises `Unanswered` for what answers another message."""
    message, _ = read(answer)
    msa = message.first("MSA") if message is not None else None
    if message is None or msa is None or msa.value(2) != control:
        raise Unanswered("the answer is of another message")
    said = {"CA": "AA", "CE": "AE", "CR": "AR"}.get(msa.value(1), msa.value(1))
    error = message.first("ERR")
    words = " ".join(w for w in (error.value(3), error.value(3, component=2)) if w)
    return said, f"{said} {words}".strip()[:200]


def _pause(failures: int) -> float:
    return float(min(_LONGEST_PAUSE, 0.5 * 2 ** min(failures, 10))) * random.uniform(0.5, 1.0)  # noqa: S311


def _log(fault: BaseException) -> None:
    telemetry.log(telemetry.BACKGROUND, work="hl7v2 notices", fault=type(fault).__name__)
