"""One message at the door, and what comes of it: the values that the stories share."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from affinity.partners import Sender
from chassis.call import Account, Caller, instant
from pix.change import Acting, Actor
from pix.hl7v2.acknowledge import Envelope
from pix.hl7v2.admission import Peer
from pix.hl7v2.message import Message
from standards import balp, hl7v2
from standards.hl7v2 import Ack, Fault
from standards.rows import AuditPattern

_LONGEST = 250  # of a control id in the register; longer ones are refused


@dataclass(frozen=True, slots=True)
class House:
    """What every message of one exchange has in common: our names, and the words of its audit."""

    application: str
    facility: str
    base: str
    words: balp.Vocabulary
    processing: str


@dataclass(frozen=True, slots=True)
class Visit:
    """One message that was let in, with everything its story takes from its surroundings."""

    house: House
    message: Message
    row: hl7v2.Message
    sender: Sender
    peer: Peer
    now: datetime
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    again: bool = False  # a parked message that is tried again

    @property
    def caller(self) -> Caller:
        """The sender as a caller: what it may feed and see is decided as for any client."""
        return caller_of(self.sender)

    @property
    def acting(self) -> Acting:
        """The sender as the actor of a change."""
        actor = Actor(
            self.sender.client, self.sender.organisation, self.sender.role, self.message.control_id
        )
        return Acting(actor, self.now, lambda: str(uuid.uuid4()))

    @property
    def envelope(self) -> Envelope:
        """What the answer takes from here."""
        return envelope(self.house, self.now)

    @property
    def key(self) -> str:
        """What a message is known by: its sender and its control id (HL7 2.5 §2.15.9.10)."""
        return f"{self.sender.name}|{self.message.control_id[:_LONGEST]}"

    @property
    def digest(self) -> str:
        """The content without the time of sending, so that a message sent again is known as the same."""
        head, _, rest = self.message.raw.partition(b"\r")
        fields = head.split(head[3:4])
        fields[6:7] = [b""]
        return hashlib.sha256(b"|".join(fields) + b"\r" + rest.rstrip(b"\r\n")).hexdigest()


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a message: the bytes that go back, how it was acknowledged, the AuditEvents that
    must be durable first, and the number of the person it spoke of ("" for none)."""

    answer: bytes
    said: Ack
    events: tuple[dict[str, object], ...] = ()
    key: str = ""


class Unfit(Exception):  # noqa: N818  the ordinary end of a story
    """The message is refused for these reasons. `key` is the number it spoke of, as far as known."""

    def __init__(self, faults: Iterable[Fault], key: str = "") -> None:
        self.faults = tuple(faults)
        self.key = key
        super().__init__(", ".join(sorted({f.error.code for f in self.faults})))


def caller_of(sender: Sender | None) -> Caller:
    """The sender as a caller; a stranger is nobody."""
    if sender is None:
        return Caller()
    return Caller(
        client_id=sender.client,
        organisation=sender.organisation,
        role=sender.role,
        purpose=sender.purpose,
    )


def envelope(house: House, now: datetime) -> Envelope:
    """A fresh envelope for one answer."""
    return Envelope(house.application, house.facility, now, uuid.uuid4().hex[:20].upper())


def moment() -> datetime:
    """Now, as precise as MongoDB keeps it."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def audited(
    house: House,
    pattern: AuditPattern,
    caller: Caller,
    account: Account,
    *,
    now: datetime,
    peer: str,
    control_id: str,
    raw: bytes = b"",
    faults: Sequence[Fault] = (),
    many: bool = False,
) -> list[dict[str, object]]:
    """The AuditEvents of one message (PIX digest §4.1); `many`: one for each patient."""
    outcome: balp.Outcome = "0"
    if faults:
        outcome = "12" if any(f.error is hl7v2.INTERNAL for f in faults) else "4"
        if not caller.client_id:
            outcome = "8"
    request = balp.Request(
        event_id=str(uuid.uuid4()),
        recorded=instant(now),
        server=house.base,
        outcome=outcome,
        words=faults[0].words if faults else "",
        client_address=peer,
        request_id=control_id,
        raw=raw,
    )
    if many:
        return list(balp.events(pattern, caller, account, request, house.words))
    return [balp.event(pattern, caller, account, request, house.words)]
