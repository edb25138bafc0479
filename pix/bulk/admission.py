"""Whether a line may be loaded: the checks of ITI-104, and what the record is then. PURE.

A line is a FHIR Patient in JSON or a row of a CSV file. It is held to what a body of ITI-104 is held to:
JSON without doubled keys, legal R4, the profile of PIXm, known domains, check digits. All that is wrong
is told at once. Work is handed to other processes in blocks of lines.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import orjson

from affinity.pack import load as load_pack
from chassis.body import parse_json
from pix import claims, showing
from pix.bulk import mapping
from pix.bulk.files import LONGEST, Line
from pix.bulk.mapping import Columns
from pix.identifiers import Domains, Identifier
from standards.outcome import (
    CODE_INVALID,
    REQUIRED,
    STRUCTURE,
    TOO_LONG,
    Issue,
    Refused,
)  # fmt: skip
from standards.r4.check import check_structure


class Admitted(NamedTuple):
    """A record as it waits to be linked: where it stands in the file, whose it is, what its source
    says, and whether it says that another replaces it."""

    number: int
    system: str
    value: str
    own: bytes
    digest: bytes
    merge: bool


class Rejected(NamedTuple):
    """A line that is refused: its number, and (place, why) for everything that is wrong with it."""

    number: int
    issues: tuple[tuple[str, str], ...]


class Block(NamedTuple):
    """Consecutive lines and the place behind them."""

    lines: tuple[Line, ...]
    after: int
    number: int


class Judged(NamedTuple):
    """What became of a block. `blank` lines are neither loaded nor refused."""

    after: int
    number: int
    admitted: tuple[Admitted, ...]
    rejected: tuple[Rejected, ...]
    blank: int


class Desk:
    """Where lines are judged: the domains of a community, the source's domain if it is one for all
    lines, and what the columns say if it is a CSV file."""

    def __init__(
        self, affinity: str, base: str, domain: str = "", columns: Columns | None = None
    ) -> None:
        self.domains = Domains(load_pack(affinity), base, remembers=False)
        self.domain = self.domains.system(domain) if domain else ""
        self.columns = columns

    def judge(self, block: Block) -> Judged:
        """Every line of a block."""
        admitted: list[Admitted] = []
        rejected: list[Rejected] = []
        blank = 0
        for line in block.lines:
            if not line.text.strip():
                blank += 1
                continue
            found = self.line(line)
            if isinstance(found, Admitted):
                admitted.append(found)
            else:
                rejected.append(Rejected(line.number, tuple((i.where, i.words) for i in found)))
        return Judged(block.after, block.number, tuple(admitted), tuple(rejected), blank)

    def line(self, line: Line) -> Admitted | tuple[Issue, ...]:
        """One line: the record, or everything that is wrong with it."""
        if line.long:
            return (Issue(TOO_LONG, f"A line may hold {LONGEST} bytes, as much as one request."),)
        found: tuple[Issue, ...] = ()
        try:
            if self.columns is None:
                patient = parse_json(line.text)
            else:
                patient, found = mapping.patient(line.text, self.columns, self.domain)
        except Refused as refusal:
            if not line.whole:
                words = "The file ends in the middle of this line; was it cut off?"
                return (Issue(STRUCTURE, words), *refusal.issues)
            return refusal.issues
        if found:
            return found
        return self.patient(patient, line.number)

    def patient(self, patient: dict[str, object], number: int) -> Admitted | tuple[Issue, ...]:
        """One Patient, as ITI-104 would take it."""
        if patient.get("resourceType") != "Patient":
            return (Issue(STRUCTURE, "A line must be a Patient.", "resourceType"),)
        structure = check_structure(patient)
        if structure:
            return structure
        carried = claims.said(patient, self.domains)
        primary, wrong = self._primary(carried)
        if primary is None:
            return wrong
        found = claims.faults(patient, primary, self.domains, carried)
        faults = [i for i in found if i.severity == "error"]
        if patient.get("id") is not None:
            patient = {k: v for k, v in patient.items() if k != "id"}
        if faults:
            return tuple(faults)
        own = showing.canonical(patient)
        merge = claims.survivor(patient) is not None
        digest = hashlib.blake2b(own, digest_size=16).digest()
        return Admitted(number, primary.system, primary.value, own, digest, merge)

    def _primary(self, said: Sequence[Identifier]) -> tuple[Identifier | None, tuple[Issue, ...]]:
        """The identifier that the record is fed under: the one of the source's domain, else the first."""
        if self.domain:
            mine = [i for i in said if i.system == self.domain]
            if len(mine) == 1 or len(set(mine)) == 1:
                return mine[0], ()
            words = (
                "No identifier is of the domain that this file is loaded for (--domain)."
                if not mine
                else "Two identifiers are of the domain that this file is loaded for; which is it?"
            )
            return None, (
                Issue(REQUIRED if not mine else CODE_INVALID, words, "Patient.identifier"),
            )
        if not said:
            words = "At least one identifier is needed: the one that your system gave."
            return None, (Issue(REQUIRED, words, "Patient.identifier"),)
        if not self.domains.known(said[0].system):
            words = (
                "The first identifier says who feeds the record, and its domain is not in the pack."
            )
            return None, (Issue(CODE_INVALID, words, "Patient.identifier[0].system"),)
        return said[0], ()


# -- in other processes -----------------------------------------------------------------------------

_DESK: list[Desk] = []
_ENCODER, _BLOCKS = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(Block)
JUDGED = msgspec.msgpack.Decoder(Judged)


def settle(affinity: str, base: str, domain: str, columns: Columns | None) -> None:
    """Set up a desk, in a process of its own unless there is only one."""
    _DESK[:] = [Desk(affinity, base, domain, columns)]


def judged(block: bytes) -> bytes:
    """Judge a packed block at this process's desk."""
    return _ENCODER.encode(_DESK[0].judge(_BLOCKS.decode(block)))


def packed_block(lines: Sequence[Line]) -> bytes:
    """Lines as they travel to another process."""
    return _ENCODER.encode(Block(tuple(lines), lines[-1].after, lines[-1].number))


def rejects(rejected: Sequence[Rejected]) -> bytes:
    """Refused lines as the rejects file holds them: one JSON object a line, and nothing of the record."""
    return b"".join(
        orjson.dumps(
            {
                "line": r.number,
                "issues": [{"where": where, "why": why} for where, why in r.issues],
            }
        )
        + b"\n"
        for r in rejected
    )
