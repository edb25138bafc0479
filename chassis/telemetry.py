"""Logs and metrics: what operators see, and never a payload, an identifier or a query value.

Every log line is one of the rows below: a stable code, a level and the names of the fields it may
carry. `log` refuses any other field, so a payload cannot slip in by a later edit.
"""

from __future__ import annotations

import logging
import sys
import traceback
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

import structlog
from prometheus_client import Counter, Histogram

Level = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One thing worth a line: its code, level, words, and the only fields it may carry."""

    code: str
    level: Level
    words: str
    fields: tuple[str, ...] = ()


REQUEST = LogEvent("THL001", "debug", "request served", ("row", "status", "ms", "request_id"))
FAULT = LogEvent("THL002", "error", "unexpected fault", ("row", "request_id", "fault", "at"))
UNAVAILABLE = LogEvent("THL003", "warning", "database unavailable", ("row", "request_id", "fault"))
AUDIT_FAILED = LogEvent(
    "THL004", "error", "audit could not be made durable", ("row", "request_id", "fault")
)
STARTED = LogEvent("THL005", "info", "service open", ("service",))
STOPPED = LogEvent("THL006", "info", "service closed", ("service",))
SWEPT = LogEvent("THL007", "info", "orphaned bytes swept", ("service", "count"))
FORWARDED = LogEvent("THL008", "info", "left-over audit events forwarded", ("service", "count"))
BACKGROUND = LogEvent(
    "THL009", "error", "background work failed and will be tried again", ("work", "fault")
)
NEIGHBOUR = LogEvent("THL010", "warning", "neighbour did not answer", ("neighbour", "fault"))
ROTATED = LogEvent("THL011", "info", "signing key rotated", ("kid",))
CHAIN = LogEvent("THL012", "info", "audit chain opened", ("chain",))
ANCHORED = LogEvent("THL013", "info", "head of an audit chain", ("chain", "seq", "hash"))
FLIGHT = LogEvent(
    "THL029", "error", "feeds that shared a transaction are fed one by one: unexpected fault",
    ("feeds", "fault", "at"),
)  # fmt: skip
UNDELIVERED = LogEvent(
    "THL030", "warning", "endpoint did not take a message", ("subscription", "failures")
)
GIVEN_UP = LogEvent("THL031", "error", "subscription is in error", ("subscription", "failures"))
DOOR = LogEvent("THL040", "info", "HL7 v2 door open", ("host", "port", "tls"))
DOOR_WAITS = LogEvent("THL041", "info", "another process holds the HL7 v2 door", ("port",))
LINE_ENDED = LogEvent("THL042", "warning", "HL7 v2 line ended by this side", ("reason",))
PARKED = LogEvent("THL043", "warning", "HL7 v2 message parked", ("trigger", "error"))
NOTICE_LATE = LogEvent(
    "THL044",
    "warning",
    "HL7 v2 consumer cannot be told and will be tried again",
    ("consumer", "fault"),
)
NOTICE_PARKED = LogEvent(
    "THL045", "error", "HL7 v2 consumer refused a notice, which is parked", ("consumer", "error")
)
SOURCE = LogEvent(
    "THL014",
    "warning",
    "a source outside gave no document, or not the right one",
    ("source", "fault"),
)
QUARANTINED = LogEvent(
    "THL015", "warning", "a document was kept in quarantine; operators list it", ("service",)
)

EVENTS: tuple[LogEvent, ...] = (
    REQUEST, FAULT, UNAVAILABLE, AUDIT_FAILED, STARTED, STOPPED, SWEPT, FORWARDED, BACKGROUND,
    NEIGHBOUR, ROTATED, CHAIN, ANCHORED, FLIGHT, UNDELIVERED, GIVEN_UP, DOOR, DOOR_WAITS, LINE_ENDED, PARKED,
    NOTICE_LATE, NOTICE_PARKED, SOURCE, QUARANTINED,
)  # fmt: skip

REQUESTS = Counter("throughline_requests", "Requests served", ("transaction", "status"))
SECONDS = Histogram(
    "throughline_request_seconds", "Time from first byte read to answer ready", ("transaction",),
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 15),
)  # fmt: skip
AUDIT_BATCH = Histogram(
    "throughline_audit_batch_events", "AuditEvents made durable together",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)  # fmt: skip

HL7V2 = Counter(
    "throughline_hl7v2_messages", "HL7 v2 messages answered", ("event", "acknowledgement")
)
HL7V2_NOTICES = Counter(
    "throughline_hl7v2_notices", "HL7 v2 notices to consumers (ITI-10)", ("consumer", "outcome")
)

_logger = structlog.get_logger("throughline")


def configure(level: str) -> None:
    """JSON lines on standard error from `level` up."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def log(event: LogEvent, **fields: str | int | float) -> None:
    """Write one line. Raises `ValueError` for a field the event does not declare."""
    extra = fields.keys() - set(event.fields)
    if extra:
        raise ValueError(f"{event.code} may not carry {', '.join(sorted(extra))}")
    getattr(_logger, event.level)(event.words, code=event.code, **fields)


def place(trace: TracebackType | None) -> str:
    """Where a fault came from, innermost first, as file:line names only: messages may quote data."""
    frames = traceback.extract_tb(trace)[-4:]
    return " < ".join(
        f"{f.filename.rsplit('/', 1)[-1]}:{f.lineno} {f.name}" for f in reversed(frames)
    )
