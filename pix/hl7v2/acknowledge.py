"""What goes back: MSH, MSA, ERR, and for queries QAK and the echoed QPD. PURE.

Original acknowledgement mode (PIX digest §7.1): the answer changes sender and receiver about, echoes
MSH-10 in MSA-2, and says in one ERR per finding where it lies (ERR-2), which error it is (ERR-3) and in
words what to do (ERR-8). ERR-1, MSA-3 and MSA-6 are not used.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pix.hl7v2.message import Message, Segment, escaped, restated
from standards import hl7v2
from standards.hl7v2 import Ack, Fault, Location

_LONGEST = 250  # ERR-8, characters
Standing = Literal["OK", "NF", "AE", "AR"]


@dataclass(frozen=True, slots=True)
class Envelope:
    """What an answer takes from its surroundings: our names, the time, and its own control id."""

    application: str
    facility: str
    at: datetime
    control_id: str


def verdict(faults: Iterable[Fault]) -> Ack:
    """The acknowledgement that findings lead to: the gravest of them, AA for none."""
    said = {fault.said for fault in faults}
    return "AR" if "AR" in said else "AE" if "AE" in said else "AA"


def acknowledgement(message: Message | None, faults: Sequence[Fault], envelope: Envelope) -> bytes:
    """The answer to a message that is no query, or to a query that was not understood as one."""
    trigger = message.trigger if message else ""
    return written([header(message, ("ACK", trigger, "ACK"), envelope), *_said(message, faults)])


def response(
    message: Message,
    row: hl7v2.Message,
    faults: Sequence[Fault],
    standing: Standing,
    segments: Sequence[str],
    envelope: Envelope,
) -> bytes:
    """The answer to a query: `segments` follow the echoed QPD (PID, QRI, DSC)."""
    qpd = message.first("QPD")
    parts = [header(message, row.reply, envelope), *_said(message, faults)]
    parts.append(f"QAK|{escaped(qpd.value(2))}|{standing}")
    if qpd.fields:
        parts.append(restated(qpd))
    return written([*parts, *segments])


def header(message: Message | None, kind: tuple[str, str, str], envelope: Envelope) -> str:
    """The MSH of an answer. What the other side said of itself is echoed as it said it."""
    msh = message.msh if message else Segment("MSH", ())
    version = msh.value(12) if msh.value(12) in hl7v2.VERSIONS else "2.5"
    parts = kind if version != "2.3.1" and kind[1] else kind[: 1 + bool(kind[1])]
    type_ = "^".join(map(escaped, parts))
    us = (
        _echo(msh, 5) or escaped(envelope.application),
        _echo(msh, 6) or escaped(envelope.facility),
    )
    them = (_echo(msh, 3), _echo(msh, 4))
    when = envelope.at.strftime("%Y%m%d%H%M%S") + "+0000"
    mode = escaped(msh.value(11)) or "P"
    fields = [
        "MSH", "^~\\&", *us, *them, when, "", type_, envelope.control_id, mode, version,
        "", "", "", "", hl7v2.COUNTRY,
    ]  # fmt: skip
    return "|".join(fields)


def _echo(msh: Segment, number: int) -> str:
    """A field of the header as it was said, with the standard delimiters."""
    line = restated(Segment("", ((), msh.field(number))))
    return line.removeprefix("|")


def _said(message: Message | None, faults: Sequence[Fault]) -> list[str]:
    control = escaped(message.control_id) if message else ""
    return [f"MSA|{verdict(faults)}|{control}", *map(error, faults)]


def error(fault: Fault) -> str:
    """One ERR segment (HL7 2.5 §2.15.5)."""
    where = str(fault.where or Location("MSH"))
    code = f"{fault.error.code}^{escaped(fault.error.words)}^HL70357"
    return f"ERR||{where}|{code}|E||||{escaped(fault.words[:_LONGEST])}"


def written(segments: Iterable[str]) -> bytes:
    """Segments as bytes; MSH-18 says UTF-8 when there is anything but ASCII in them."""
    lines = list(segments)
    text = "\r".join(lines) + "\r"
    if not text.isascii():
        lines[0] += f"|{hl7v2.UTF8}"
        text = "\r".join(lines) + "\r"
    return text.encode()
