"""May this message come in? Who sends it, and is it one that is taken. PURE."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from affinity.partners import Partners, Sender
from pix.hl7v2.message import Message, missing
from standards import hl7v2
from standards.hl7v2 import (
    DATA_TYPE,
    SEQUENCE,
    TABLE_VALUE,
    UNKNOWN_KEY,
    UNSUPPORTED_EVENT,
    UNSUPPORTED_PROCESSING,
    UNSUPPORTED_TYPE,
    UNSUPPORTED_VERSION,
    Fault,
    Location,
)

_LONGEST_ID = 199  # MSH-10: 20 in 2.5, 199 in later versions


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a line: its address, and over TLS the names of its certificate (common name and
    SHA-256 fingerprint); None on a line without TLS."""

    address: str
    certificate: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """What was decided: the row and the sender as far as they are known, and why not."""

    row: hl7v2.Message | None
    sender: Sender | None
    faults: tuple[Fault, ...]


def admitted(message: Message, partners: Partners, peer: Peer, processing: str) -> Admission:
    """Whether the message may come in; `processing` are the values of MSH-11 that are taken.

    A sender that is not known, or that shows a certificate of somebody else, learns nothing more.
    """
    sender, why = _sender(message, partners, peer)
    if sender is None:
        return Admission(None, None, (why,) if why else ())
    faults = [*missing(message.msh, 1, 9, 10, 11, 12), *_header(message, processing)]
    row, more = _row(message)
    faults += more
    if row is not None:
        if row.transaction not in sender.transactions:
            words = f"The table of senders does not grant {row.transaction} to this sender."
            faults.append(Fault(UNKNOWN_KEY, words, Location("MSH", 1, 3), "AE"))
        faults += _structure(message, row)
    return Admission(row, sender, tuple(faults))


def _sender(message: Message, partners: Partners, peer: Peer) -> tuple[Sender | None, Fault | None]:
    sender = partners.sender(*message.sender)
    where = Location("MSH", 1, 3)
    if sender is None:
        words = (
            "MSH-3 and MSH-4 name no sender that this exchange knows; have them entered in its table of "
            "senders."
        )
        return None, Fault(TABLE_VALUE, words, where, "AR")
    if sender.certificate:
        wanted = sender.certificate.replace(":", "").lower()
        shown = [name.replace(":", "").lower() for name in peer.certificate or ()]
        if wanted not in shown:
            words = "The certificate of this line is not that of the sender in MSH-3 and MSH-4."
            return None, Fault(TABLE_VALUE, words, where, "AR")
    return sender, None


def _header(message: Message, processing: str) -> Iterator[Fault]:
    said = message.msh.value(11).upper()
    if said and said not in processing.upper():
        words = f"MSH-11 is {said!r:.5}; this exchange takes {', '.join(processing.upper())}."
        yield Fault(UNSUPPORTED_PROCESSING, words, Location("MSH", 1, 11))
    if message.version and message.version not in hl7v2.VERSIONS:
        words = f"MSH-12 may be {' or '.join(hl7v2.VERSIONS)}."
        yield Fault(UNSUPPORTED_VERSION, words, Location("MSH", 1, 12))
    if len(message.control_id) > _LONGEST_ID:
        words = f"MSH-10 may have {_LONGEST_ID} characters."
        yield Fault(DATA_TYPE, words, Location("MSH", 1, 10))


def _row(message: Message) -> tuple[hl7v2.Message | None, list[Fault]]:
    if not message.type:
        return None, []
    if message.type not in hl7v2.TYPES:
        words = f"This exchange takes {', '.join(sorted(hl7v2.TYPES))}."
        return None, [Fault(UNSUPPORTED_TYPE, words, Location("MSH", 1, 9, 1, 1))]
    rows = hl7v2.messages(message.type, message.trigger)
    if not rows:
        taken = sorted({m.trigger for m in hl7v2.MESSAGES if m.type == message.type})
        words = hl7v2.NOT_CLAIMED.get(message.trigger, f"{message.type} is taken as")
        words = f"{words} {', '.join(taken)}." if words.endswith("as") else f"{words}."
        return None, [Fault(UNSUPPORTED_EVENT, words, Location("MSH", 1, 9, 1, 2))]
    row = next((r for r in rows if message.version in r.versions), None)
    if row is None:
        if message.version not in hl7v2.VERSIONS:
            return rows[0], []  # said already
        words = f"This event is taken in version {' or '.join(rows[0].versions)}."
        return rows[0], [Fault(UNSUPPORTED_VERSION, words, Location("MSH", 1, 12))]
    return row, []


def _structure(message: Message, row: hl7v2.Message) -> Iterator[Fault]:
    said = message.msh.value(9, component=3)
    if said and said not in row.structures:
        words = f"MSH-9.3 of this event is {row.structures[0]}."
        yield Fault(TABLE_VALUE, words, Location("MSH", 1, 9, 1, 3))
    names = [s.name for s in message.segments]
    absent = [name for name in row.segments if name not in names]
    for name in absent:
        words = f"A message of this event holds {' '.join(row.segments)}; {name} is missing."
        yield Fault(SEQUENCE, words, Location(name, 1))
    for name, field in row.fields:
        if name in names:
            yield from missing(message.first(name), 1, field)
    places = [names.index(name) for name in row.segments if name in names]
    if places != sorted(places):
        words = f"The segments of this event come in the order {' '.join(row.segments)}."
        yield Fault(SEQUENCE, words, Location(row.segments[-1], 1))
    for name in ("PID", "MRG", "QPD", "RCP"):
        if names.count(name) > 1 and name in row.segments:
            words = f"One {name} makes a message of this event; send one message for each."
            yield Fault(SEQUENCE, words, Location(name, 2))
