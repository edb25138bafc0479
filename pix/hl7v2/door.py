"""One message in, one answer out: the five words of a request, as HL7 v2 has them.

    read → admit → (known already?) → take or ask → account → answer

Whatever comes, an answer goes back: AA when it is done and durable, AE when the message is at fault, AR
when it is not for this door or cannot be taken now. Messages of one sender are worked on one after the
other, in the order in which they came, whatever lines they came on.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from weakref import WeakValueDictionary

from pymongo.errors import PyMongoError

from affinity.partners import Partners
from chassis import telemetry
from chassis.audit import AuditFailed
from chassis.call import Account
from chassis.mongo import unavailable
from pix.hl7v2 import acknowledge
from pix.hl7v2.admission import Peer, admitted
from pix.hl7v2.feed import Feed
from pix.hl7v2.message import Message, read
from pix.hl7v2.parked import Held, Parked
from pix.hl7v2.queries import Queries
from pix.hl7v2.taken import Taken, repeated
from pix.hl7v2.visit import Done, House, Unfit, Visit, audited, caller_of, envelope, moment
from standards.hl7v2 import INTERNAL, LOCKED, UNREAD_AUDIT, Fault
from standards.outcome import Refused

_FEEDS = ("feed", "merge", "rename")


class Record(Protocol):
    """What is needed of `chassis.audit.AuditWriter`."""

    async def record(self, *events: Mapping[str, Any]) -> None:
        """Return when these events are durable."""
        ...


@dataclass
class Door:
    """The door of one process."""

    house: House
    partners: Partners
    feed: Feed
    queries: Queries
    taken: Taken
    parked: Parked
    audit: Record
    parallel: int = 16
    _turns: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    def __post_init__(self) -> None:
        self._room = asyncio.Semaphore(self.parallel)

    async def answer(self, raw: bytes, peer: Peer, *, again: bool = False) -> bytes:
        """The acknowledgement or response to one message. `again`: a parked one that is tried again.

        Nothing is raised but the end of the process; what failed here is answered AR with a reference.
        """
        now = moment()
        message, written = read(raw)
        if message is None:
            return await self._unread(None, written, peer, now)
        admission = admitted(message, self.partners, peer, self.house.processing)
        faults = (*written, *admission.faults)
        row, sender = admission.row, admission.sender
        if row is None or sender is None:
            caller = caller_of(sender)
            return await self._unread(message, faults, peer, now, caller.client_id)
        visit = Visit(self.house, message, row, sender, peer, now, again=again)
        async with AsyncExitStack() as stack:
            turn = self._turns.setdefault(sender.name, asyncio.Lock())
            await stack.enter_async_context(turn)
            await stack.enter_async_context(self._room)
            return await self._served(visit, faults)

    async def refuse_length(self, began: bytes, limit: int, peer: Peer) -> bytes:
        """The refusal of a message that is longer than is taken; `began` are its first bytes."""
        message, _ = read(began.partition(b"\r")[0])
        words = f"A message may have {limit} bytes; this one is longer and was not read."
        return await self._unread(message, (Fault(INTERNAL, words, ack="AR"),), peer, moment())

    async def retry(self, held: Held) -> bool:
        """Try a parked message again, as it was asked for; whether it was taken."""
        if await self.taken.later(held.sender, held.key, held.at):
            words = "A later message of this sender about the same person was taken; drop this one."
            await self.parked.refuse(held, words, moment())
            return False
        answer = await self.answer(held.raw, held.peer, again=True)
        message, _ = read(answer)
        if message is not None and message.first("MSA").value(1) == "AA":
            await self.parked.drop([held.id])
            return True
        left = [h for h in await self.parked.asked() if h.id == held.id]
        for one in left:  # it did not come as far as being parked anew
            words = message.first("ERR").value(8) if message is not None else ""
            await self.parked.refuse(one, words or "It was refused at the door.", moment())
        return False

    # -- one message, in its sender's turn -----------------------------------------------------------

    async def _served(self, visit: Visit, faults: tuple[Fault, ...]) -> bytes:
        try:
            done = await self._done(visit, faults)
            await self.audit.record(*done.events)
        except Unfit as unfit:
            return await self._refused(visit, unfit.faults, unfit.key)
        except AuditFailed as fault:
            _log(telemetry.AUDIT_FAILED, visit, fault)
            words = "The audit trail cannot be written, so nothing may be answered; send it again."
            return self._answered(visit, (Fault(INTERNAL, words, ack="AR"),))
        except Exception as fault:
            return await self._failed(visit, fault)
        telemetry.HL7V2.labels(visit.row.trigger, done.said).inc()
        return done.answer

    async def _done(self, visit: Visit, faults: tuple[Fault, ...]) -> Done:
        """The story of the message. Raises `Unfit` when it is not fit to be taken."""
        if faults:
            raise Unfit(faults)
        if visit.row.act not in _FEEDS:
            return await self.queries.answer(visit)
        earlier = await self.taken.earlier(visit)
        answer, fault = repeated(visit, earlier)
        if fault is not None:
            raise Unfit([fault])
        if answer is not None and earlier is not None:
            return Done(answer, earlier.said)
        if visit.row.act == "feed":
            return await self.feed.person(visit)
        return await self.feed.pair(visit)

    async def _refused(self, visit: Visit, faults: tuple[Fault, ...], key: str) -> bytes:
        """Refused for what it says: parked when it is a feed, audited, registered, answered."""
        answer = self._answered(visit, faults)
        said = acknowledge.verdict(faults)
        try:
            if visit.row.act in _FEEDS:
                await self._park(
                    visit, [f"{f.error.code} {f.where or ''} {f.words}" for f in faults], key
                )
                if said == "AE":
                    earlier = await self.taken.earlier(visit)
                    if earlier is None or earlier.said != "AA":
                        await self.taken.keep(visit, Done(answer, said, key=key))
            query = visit.row.act not in _FEEDS
            await self.audit.record(
                *audited(
                    self.house, visit.row.audit, visit.caller, Account(), now=visit.now,
                    peer=visit.peer.address, control_id=visit.message.control_id, faults=faults,
                    raw=visit.message.raw if query else b"",
                )
            )  # fmt: skip
        except (PyMongoError, Refused) as fault:
            return await self._failed(visit, fault)
        return answer

    async def _failed(self, visit: Visit, fault: Exception) -> bytes:
        """This side could not take it. What may pass is to be sent again; what may not is parked."""
        busy = isinstance(fault, Refused)
        if busy or unavailable(fault):
            _log(telemetry.UNAVAILABLE, visit, fault)
            words = "This exchange cannot take the message now; nothing was lost, send it again."
            return self._answered(visit, (Fault(LOCKED if busy else INTERNAL, words, ack="AR"),))
        telemetry.log(
            telemetry.FAULT, row=visit.row.trigger, request_id=visit.id, fault=type(fault).__name__,
            at=telemetry.place(fault.__traceback__),
        )  # fmt: skip
        words = f"This exchange failed on the message. Quote {visit.id} to its operators."
        faults = (Fault(INTERNAL, words, ack="AR"),)
        try:
            if visit.row.act in _FEEDS:
                await self._park(visit, [f"{INTERNAL.code} {words}"], "")
            await self.audit.record(
                *audited(
                    self.house, visit.row.audit, visit.caller, Account(), now=visit.now,
                    peer=visit.peer.address, control_id=visit.message.control_id, faults=faults,
                )
            )  # fmt: skip
        except (PyMongoError, Refused) as another:
            _log(telemetry.AUDIT_FAILED, visit, another)
        return self._answered(visit, faults)

    async def _park(self, visit: Visit, reasons: list[str], key: str) -> None:
        message = visit.message
        await self.parked.keep(
            sender=visit.sender.name,
            control_id=message.control_id,
            event=f"{message.type}^{message.trigger}",
            raw=message.raw,
            digest=visit.digest,
            peer=visit.peer,
            reasons=reasons,
            key=key,
            now=visit.now,
        )
        telemetry.log(telemetry.PARKED, trigger=visit.row.trigger, error=reasons[0][:3])

    async def _unread(
        self,
        message: Message | None,
        faults: tuple[Fault, ...],
        peer: Peer,
        now: datetime,
        client: str = "",
    ) -> bytes:
        """Nobody's message, or none of those that are taken: answered and audited, and no more."""
        caller = (
            caller_of(self.partners.sender(*message.sender))
            if client and message
            else caller_of(None)
        )
        answer = acknowledge.acknowledgement(message, faults, envelope(self.house, now))
        telemetry.HL7V2.labels("other", acknowledge.verdict(faults)).inc()
        try:
            await self.audit.record(
                *audited(
                    self.house, UNREAD_AUDIT, caller, Account(), now=now, peer=peer.address,
                    control_id=message.control_id if message else "", faults=faults,
                )
            )  # fmt: skip
        except (PyMongoError, Refused) as fault:
            telemetry.log(
                telemetry.AUDIT_FAILED, row="hl7v2", request_id=str(uuid.uuid4()),
                fault=type(fault).__name__,
            )  # fmt: skip
        return answer

    def _answered(self, visit: Visit, faults: tuple[Fault, ...]) -> bytes:
        """The refusal in the shape that its message asks for: a query is answered by a response."""
        said = acknowledge.verdict(faults)
        telemetry.HL7V2.labels(visit.row.trigger, said).inc()
        if visit.row.type == "QBP" and said != "AA":
            return acknowledge.response(visit.message, visit.row, faults, said, (), visit.envelope)
        return acknowledge.acknowledgement(visit.message, faults, visit.envelope)


def _log(event: telemetry.LogEvent, visit: Visit, fault: Exception) -> None:
    telemetry.log(event, row=visit.row.trigger, request_id=visit.id, fault=type(fault).__name__)
