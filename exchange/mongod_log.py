"""PURE: why a mongod ended while starting, in words with a way out, from what it logged.

mongod ends with a handful of exit codes and says the true reason somewhere in a few hundred lines of
JSON. Each row below is one reason we have met, its tell-tale words, and what the operator can do.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path


class CannotStart(Exception):  # noqa: N818  reads as what it says
    """MongoDB cannot be started; the message says why and what to do."""


class PortTaken(CannotStart):
    """Another program listens on the port that was asked for."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason: words of the log (lower case, any of them), the message, and its exception."""

    signs: tuple[str, ...]
    message: str
    kind: type[CannotStart] = CannotStart


ELSEWHERE = "choose another folder with --data DIR"

# In order: the first reason that shows wins, because some failures drag others behind them
# (a version mismatch is reported by the storage engine as "permission denied").
REASONS = (
    Reason(("address already in use",), "Port {port} is taken by another program.", PortTaken),
    Reason(
        ("dbpathinuse",),
        "The data folder {data} is in use by another mongod. Stop it, or " + ELSEWHERE + ".",
    ),
    Reason(
        ("no space left on device", "enospc"),
        "The disk of the data folder {data} is full. Make room, or " + ELSEWHERE + ".",
    ),
    Reason(
        (
            "unsupported wiredtiger",
            "under any compatibility version",
            "invalid featurecompatibilityversion",
            "wrong mongod version",
            "upgrade problem",
        ),
        "The data folder {data} was written by a MongoDB version that this mongod cannot read."
        " Use the mongod that wrote it, or " + ELSEWHERE + ".",
    ),
    Reason(
        ("error while loading shared libraries", "cannot execute binary file", "exec format error"),
        "mongod does not run on this machine: {last}. The packaged one needs OpenSSL 3 (Debian 12,"
        " Ubuntu 22.04 or later); install MongoDB for this system, or use --mongodb URI.",
    ),
    Reason(
        ("permission denied", "read-only file system", "operation not permitted"),
        "The data folder {data} cannot be read and written by mongod. Correct its owner and"
        " permissions, or " + ELSEWHERE + ".",
    ),
)


def explain(log: str, code: int | None, *, data: Path, port: int, log_file: Path) -> CannotStart:
    """The reason as an exception to raise.

    `log` is what mongod logged and wrote to stderr in this start, `code` how it ended.
    """
    seen = log.lower()
    for reason in REASONS:
        if any(sign in seen for sign in reason.signs):
            return reason.kind(reason.message.format(data=data, port=port, last=last_line(log)))
    return CannotStart(f"mongod ended with code {code}: {_complaint(log)} (its log is {log_file}).")


def last_line(text: str) -> str:
    """The last line that says something, cut to a length one can read."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else ""


def _complaint(log: str) -> str:
    """The last error or fatal line of a structured log, in its own words."""
    for line in reversed(log.splitlines()):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            entry = json.loads(line)
            if entry["s"] in ("E", "F"):
                return f"{entry['msg']} {json.dumps(entry.get('attr', {}))[:300]}".strip()
    return last_line(log) or "it said nothing"
