"""HL7 v2 as the IHE profiles PIX, PDQ and PAM use it: messages, errors, tables and audit, as rows. Pure.

ITI-8 (HL7 2.3.1) and ITI-30 (2.5) tell of people, ITI-9 asks for cross-references, ITI-21 for
demographics, ITI-10 tells others what changed. The door that speaks them is `pix/hl7v2`.

One reading for both versions: the profiles say which version goes with which event, senders mix them,
so every event is taken in 2.3.1 and 2.5, and acknowledgements have the shape of 2.5 (PIX digest §7.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from standards.balp import DCM, ITI
from standards.rows import AuditPattern

Ack = Literal["AA", "AE", "AR"]
Act = Literal["feed", "merge", "rename", "cross-reference", "find", "cancel"]

VERSIONS = ("2.3.1", "2.5")
QUERY_VERSIONS = ("2.5",)
UTF8 = "UNICODE UTF-8"
COUNTRY = "GBR"  # MSH-17
# HL7 table 0211 and the codec that reads it; "" is what a sender means who says nothing.
CHARSETS: Mapping[str, str] = {
    "ASCII": "ascii", UTF8: "utf-8", "UTF-8": "utf-8", "8859/1": "iso-8859-1",
    **{f"8859/{part}": f"iso-8859-{part}" for part in (2, 3, 4, 5, 6, 7, 8, 9, 15)},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One row of HL7 table 0357 and the acknowledgement that goes with it where no case says other."""

    code: str
    words: str
    ack: Ack
    see: str = "HL7 2.5 table 0357; ITI TF-2x Appendix C.2.4"


def _e(code: str, words: str, ack: Ack) -> ErrorCode:
    return ErrorCode(code, words, ack)


SEQUENCE = _e("100", "Segment sequence error", "AE")
REQUIRED = _e("101", "Required field missing", "AE")
DATA_TYPE = _e("102", "Data type error", "AE")
TABLE_VALUE = _e("103", "Table value not found", "AE")
UNSUPPORTED_TYPE = _e("200", "Unsupported message type", "AR")
UNSUPPORTED_EVENT = _e("201", "Unsupported event code", "AR")
UNSUPPORTED_PROCESSING = _e("202", "Unsupported processing id", "AR")
UNSUPPORTED_VERSION = _e("203", "Unsupported version id", "AR")
UNKNOWN_KEY = _e("204", "Unknown key identifier", "AE")
DUPLICATE_KEY = _e("205", "Duplicate key identifier", "AE")
LOCKED = _e("206", "Application record locked", "AR")
INTERNAL = _e("207", "Application internal error", "AR")

ERRORS: tuple[ErrorCode, ...] = (
    SEQUENCE, REQUIRED, DATA_TYPE, TABLE_VALUE, UNSUPPORTED_TYPE, UNSUPPORTED_EVENT,
    UNSUPPORTED_PROCESSING, UNSUPPORTED_VERSION, UNKNOWN_KEY, DUPLICATE_KEY, LOCKED, INTERNAL,
)  # fmt: skip


class Location(NamedTuple):
    """Where an error lies, as ERR-2 writes it: `QPD^1^3^2^4` (HL7 2.5, data type ERL). A 0 and
    everything after it is left out."""

    segment: str
    sequence: int = 1
    field: int = 0
    repetition: int = 0
    component: int = 0
    subcomponent: int = 0

    def __str__(self) -> str:
        parts = [self.segment]
        for number in self[1:]:
            if not number:
                break
            parts.append(str(number))
        return "^".join(parts)


@dataclass(frozen=True, slots=True)
class Fault:
    """One finding about a message: where, which error, and words for the sender's engineer. `ack`
    overrides the code's own acknowledgement."""

    error: ErrorCode
    words: str
    where: Location | None = None
    ack: Ack | None = None

    @property
    def said(self) -> Ack:
        """The acknowledgement that this finding leads to."""
        return self.ack or self.error.ack


# -- audit: who told or asked what (PIX digest §4.1) ---------------------------------------------------

_RECORD = (DCM, "110110", "Patient Record")
_QUERY = (DCM, "110112", "Query")


def _audit(
    code: str,
    name: str,
    action: Literal["C", "U", "D", "E"],
    entities: tuple[Literal["query", "data", "patient"], ...],
    see: str,
) -> AuditPattern:
    kind = _QUERY if "query" in entities else _RECORD
    return AuditPattern(
        kind, action, ((ITI, code, name),), "110153", "110152", None, entities, see=see,
    )  # fmt: skip


_FEEDS = {
    "ITI-8": ("Patient Identity Feed", "ITI TF-2a 3.8.5.1"),
    "ITI-30": ("Patient Identity Management", "ITI TF-2b 3.30.5.1"),
}
_ACTIONS: tuple[Literal["C", "U", "D"], ...] = ("C", "U", "D")
FEED_AUDIT: Mapping[tuple[str, str], AuditPattern] = {
    (code, action): _audit(code, name, action, ("data", "patient"), see)
    for code, (name, see) in _FEEDS.items()
    for action in _ACTIONS
}
ITI_9_AUDIT = _audit("ITI-9", "PIX Query", "E", ("query", "patient"), "ITI TF-2a 3.9.5.1")
# We are the source here: the roles of the two sides change about.
ITI_10_AUDIT = AuditPattern(
    _RECORD, "U", ((ITI, "ITI-10", "PIX Update Notification"),), "110152", "110153", None,
    ("patient",), see="ITI TF-2a 3.10.5.1",
)  # fmt: skip
ITI_21_AUDIT = _audit(
    "ITI-21", "Patient Demographics Query", "E", ("query", "patient"), "ITI TF-2a 3.21.5.1"
)
# A message that cannot be told to belong to a transaction is still somebody at the door.
UNREAD_AUDIT = AuditPattern(
    _RECORD, "E", (), "110153", "110152", None, (), see="ATNA, security alert"
)


# -- the messages that are taken ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Message:
    """One message that the door takes.

    `structures` are the values of MSH-9.3 that are accepted (it may be left out in 2.3.1), `segments`
    what it must hold, in this order, `fields` those that may not be empty beside what its story reads,
    `reply` MSH-9 of the answer. `action` is what a feed is audited as when it is refused: a success is
    audited as what it did.
    """

    type: str
    trigger: str
    transaction: str
    act: Act
    structures: tuple[str, ...]
    segments: tuple[str, ...]
    versions: tuple[str, ...]
    reply: tuple[str, str, str]
    words: str
    see: str
    action: Literal["C", "U", "D", "E"] = "U"
    fields: tuple[tuple[str, int], ...] = ()

    @property
    def audit(self) -> AuditPattern:
        """How it is audited when nothing more is known."""
        patterns = {"ITI-9": ITI_9_AUDIT, "ITI-21": ITI_21_AUDIT}
        return patterns.get(self.transaction) or FEED_AUDIT[self.transaction, self.action]


_PERSON = ("MSH", "EVN", "PID")
_PAIR = ("MSH", "EVN", "PID", "MRG")
_ASKED = ("MSH", "QPD", "RCP")


def _adt(
    trigger: str, transaction: str, act: Act, structures: tuple[str, ...], words: str, see: str,
    *, action: Literal["C", "U", "D"] = "U", versions: tuple[str, ...] = VERSIONS,
) -> Message:  # fmt: skip
    segments = _PERSON if act == "feed" else _PAIR
    return Message(
        "ADT", trigger, transaction, act, structures, segments, versions, ("ACK", trigger, "ACK"), words,
        see, action, (("EVN", 2),) if transaction == "ITI-30" else (),  # when it was recorded (PAM)
    )  # fmt: skip


_ITI_8 = "ITI TF-2a 3.8.4.1"
_ITI_8_MERGE = "ITI TF-2a 3.8.4.2"
_ITI_30 = "ITI TF-2b 3.30.4"

_A40 = ("ADT_A39", "ADT_A40")  # OpenHIE sends the second (PIX digest §11 row 17)
_MERGED = "Two numbers are one person: MRG-1 is replaced by PID-3"

MESSAGES: tuple[Message, ...] = (
    _adt(
        "A01",
        "ITI-8",
        "feed",
        ("ADT_A01",),
        "Somebody is admitted: added, or brought up to date",
        _ITI_8,
        action="C",
    ),
    _adt(
        "A04",
        "ITI-8",
        "feed",
        ("ADT_A01", "ADT_A04"),
        "Somebody is registered: added, or brought up to date",
        _ITI_8,
        action="C",
    ),
    _adt(
        "A05",
        "ITI-8",
        "feed",
        ("ADT_A01", "ADT_A05"),
        "Somebody is pre-admitted: added, or brought up to date",
        _ITI_8,
        action="C",
    ),
    _adt(
        "A08",
        "ITI-8",
        "feed",
        ("ADT_A01", "ADT_A08"),
        "What is known of somebody has changed",
        _ITI_8,
    ),
    _adt("A28", "ITI-30", "feed", ("ADT_A05", "ADT_A28"), "A person is added", _ITI_30, action="C"),
    _adt(
        "A31",
        "ITI-30",
        "feed",
        ("ADT_A05", "ADT_A31"),
        "A person is brought up to date, or added when unknown",
        _ITI_30,
    ),
    _adt("A40", "ITI-8", "merge", _A40, _MERGED, _ITI_8_MERGE, versions=("2.3.1",)),
    _adt("A40", "ITI-30", "merge", _A40, _MERGED, _ITI_30, versions=("2.5",)),
    _adt(
        "A47",
        "ITI-30",
        "rename",
        ("ADT_A30", "ADT_A47"),
        "A person's number changes from MRG-1 to PID-3",
        _ITI_30,
    ),
    Message(
        "QBP",
        "Q23",
        "ITI-9",
        "cross-reference",
        ("QBP_Q21",),
        _ASKED,
        QUERY_VERSIONS,
        ("RSP", "K23", "RSP_K23"),
        "The other numbers of a person",
        "ITI TF-2a 3.9.4",
        "E",
    ),
    Message(
        "QBP",
        "Q22",
        "ITI-21",
        "find",
        ("QBP_Q21",),
        _ASKED,
        QUERY_VERSIONS,
        ("RSP", "K22", "RSP_K21"),
        "People by their demographics",
        "ITI TF-2a 3.21.4",
        "E",
    ),
    Message(
        "QCN",
        "J01",
        "ITI-21",
        "cancel",
        ("QCN_J01",),
        ("MSH", "QID"),
        QUERY_VERSIONS,
        ("ACK", "J01", "ACK"),
        "No more pages of a query are wanted",
        "ITI TF-2a 3.21.4.3",
        "E",
    ),
)

# The Link/Unlink option of ITI-30 is not claimed: linking is this manager's own decision, explained and
# reversible. PAM has such messages rejected (AR), as any other event.
NOT_CLAIMED: Mapping[str, str] = {
    "A24": "Links are decided by matching and by stewards here, not by message (PAM Link/Unlink option)",
    "A37": "Links are decided by matching and by stewards here, not by message (PAM Link/Unlink option)",
}
TYPES = frozenset(m.type for m in MESSAGES)
TRANSACTIONS = ("ITI-8", "ITI-30", "ITI-9", "ITI-21")

NOTICE = ("ADT", "A31", "ADT_A05")
"""ITI-10 is an A31 of HL7 2.5 (ITI TF-2a 3.10.4.1)."""


def messages(type_: str, trigger: str) -> tuple[Message, ...]:
    """The rows of a message type and event; none when it is not taken."""
    return tuple(m for m in MESSAGES if (m.type, m.trigger) == (type_, trigger))


# -- tables: v2 codes and what FHIR says ----------------------------------------------------------------

ADMINISTRATIVE_SEX: Mapping[str, str] = {
    "M": "male", "F": "female", "O": "other", "A": "other", "N": "other", "U": "unknown",
}  # fmt: skip
"""Table 0001 (PID-8)."""

NAME_USE: Mapping[str, str] = {
    "L": "official", "D": "usual", "C": "official", "B": "official", "M": "maiden", "N": "nickname",
    "A": "anonymous", "T": "temp", "S": "anonymous",
}  # fmt: skip
"""Table 0200 (XPN-7)."""

ADDRESS_USE: Mapping[str, str] = {
    "H": "home", "P": "home", "L": "home", "C": "temp", "O": "work", "B": "work", "BA": "old",
}  # fmt: skip
"""Table 0190 (XAD-7)."""

CONTACT_USE: Mapping[str, str] = {
    "PRN": "home",
    "ORN": "home",
    "VHN": "temp",
    "WPN": "work",
    "NET": "",
}
"""Table 0201 (XTN-2)."""

CONTACT_SYSTEM: Mapping[str, str] = {
    "PH": "phone", "CP": "phone", "FX": "fax", "BP": "pager", "MD": "other", "TDD": "other",
    "TTY": "other", "INTERNET": "email", "X.400": "email",
}  # fmt: skip
"""Table 0202 (XTN-3)."""

MARITAL_SYSTEM = "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus"
MARITAL_STATUS: Mapping[str, str] = {
    "A": "L", "D": "D", "M": "M", "S": "S", "W": "W", "N": "A", "P": "T", "C": "T", "G": "T",
    "I": "I", "B": "U", "R": "T", "E": "L", "U": "UNK",
}  # fmt: skip
"""Table 0002 (PID-16) in the words of v3 MaritalStatus."""

IDENTIFIER_TYPES = "http://terminology.hl7.org/CodeSystem/v2-0203"


@dataclass(frozen=True, slots=True)
class QueryField:
    """One field of PID that ITI-21 may ask by (QPD-3), and what of a Patient it is compared with."""

    path: str
    kind: Literal[
        "number", "namespace", "universal", "universal type", "text", "date", "sex", "contact"
    ]
    parameter: str
    see: str = "ITI TF-2a 3.21.4.1.2, table of QPD-3"


_NUMBER: tuple[tuple[str, Literal["number", "namespace", "universal", "universal type"]], ...] = (
    ("1", "number"), ("4", "namespace"), ("4.1", "namespace"), ("4.2", "universal"),
    ("4.3", "universal type"),
)  # fmt: skip

QUERY_FIELDS: Mapping[str, QueryField] = {
    f.path: f
    for f in (
        *(QueryField(f"{n}.{c}", kind, "identifier") for n in ("3", "18") for c, kind in _NUMBER),
        QueryField("5.1", "text", "family"), QueryField("5.1.1", "text", "family"),
        QueryField("5.2", "text", "given"),
        QueryField("6.1", "text", "mothersMaidenName"), QueryField("6.1.1", "text", "mothersMaidenName"),
        QueryField("7", "date", "birthdate"), QueryField("7.1", "date", "birthdate"),
        QueryField("8", "sex", "gender"),
        QueryField("11.1", "text", "address"), QueryField("11.1.1", "text", "address"),
        QueryField("11.2", "text", "address"), QueryField("11.3", "text", "address-city"),
        QueryField("11.4", "text", "address-state"), QueryField("11.5", "text", "address-postalcode"),
        QueryField("11.6", "text", "address-country"),
        QueryField("13", "contact", "telecom"), QueryField("13.1", "contact", "telecom"),
        QueryField("13.4", "contact", "telecom"), QueryField("13.12", "contact", "telecom"),
    )
}  # fmt: skip

# Table 0445 (PID-32) as HL7 UK extends it: the tracing status of the NHS number.
TRACED: Mapping[str, str] = {f"NSTS{n:02d}": f"{n:02d}" for n in range(1, 9)}
NULL = '""'
"""A field that says: what was known here is no longer so (HL7 2.5 §2.5.3)."""
