"""PURE. The hash chain over AuditEvents, and what its checking can tell.

    announcement ──seed──► 0 (application start) ──► 1 ──► 2 ──► … ──► n (application stop)

One chain belongs to one process (and one life of its connection to MongoDB): each record's hash covers
the hash before it, its place, its id and its bytes. So a changed, missing, swapped or slipped-in record
shows at its place or at the next one. docs/decisions/0008-audit-chain.md says what does not show.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

Kind = Literal["edited", "removed", "inserted", "unannounced", "truncated", "index", "announcement"]


@dataclass(frozen=True, slots=True)
class Link:
    """One record as the chain sees it. `last` marks the record that says that the chain is closed."""

    chain: str
    seq: int
    event_id: str
    body: bytes
    hash: bytes
    last: bool = False


@dataclass(frozen=True, slots=True)
class Head:
    """The place and hash of a record, noted somewhere else (an anchor, a later chain, a log line)."""

    chain: str
    seq: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Break:
    """One thing that is wrong: in which chain, at which place, and what it means."""

    chain: str
    seq: int
    kind: Kind
    words: str
    event_id: str = ""


def seal(previous: bytes, chain: str, seq: int, event_id: str, body: bytes) -> bytes:
    """The hash of a record. The lengths are part of it, so that no two records spell the same bytes."""
    told = hashlib.sha256(previous)
    for part in (chain.encode(), str(seq).encode(), event_id.encode()):
        told.update(len(part).to_bytes(4, "big"))
        told.update(part)
    told.update(body)
    return told.digest()


def seed(announcement: Mapping[str, Any]) -> bytes:
    """What the first record's hash starts from: the announcement of the chain, which names the heads of
    the chains before it. `announcement` holds JSON values only."""
    return hashlib.sha256(orjson.dumps(announcement, option=orjson.OPT_SORT_KEYS)).digest()


def walk(
    chain: str, start: bytes, records: Iterable[Link], heads: Iterable[Head] = ()
) -> Iterator[Break]:
    """Everything that is wrong with one chain, in order.

    `records` and `heads` come ordered by place and may be streams. After a break the walk goes on from
    the hash that it finds, so that one edit is told once and not for every record after it.
    """
    walker = Walker(chain, start, heads)
    for record in records:
        yield from walker.step(record)
    yield from walker.end()


class Walker:
    """The walk of one chain, fed record by record, for callers that cannot hold a chain in memory."""

    def __init__(self, chain: str, start: bytes, heads: Iterable[Head] = ()) -> None:
        self._chain = chain
        self._hash: bytes | None = start
        self._next = 0
        self._closed = False
        self._heads = iter(heads)
        self._head = next(self._heads, None)

    def step(self, record: Link) -> Iterator[Break]:
        """The breaks that the next record shows."""
        if record.seq < self._next:
            yield self._broken(record, "inserted", "a second record at this place")
            return
        if self._closed:
            yield self._broken(record, "inserted", "a record after the one that closed the chain")
        if record.seq > self._next:
            yield from self._missing(record.seq)
        due = None if self._hash is None else seal(
            self._hash, record.chain, record.seq, record.event_id, record.body
        )  # fmt: skip
        if due is not None and due != record.hash:
            words = "does not follow from the record before it: edited, swapped or slipped in"
            yield self._broken(record, "edited", words)
        yield from self._compare(record)
        self._hash, self._next, self._closed = record.hash, record.seq + 1, record.last

    def end(self) -> Iterator[Break]:
        """The breaks that only the end of the chain shows."""
        if self._next == 0:
            yield Break(self._chain, 0, "removed", "the announced chain has no records")
        while self._head is not None:
            if self._head.seq >= self._next:
                words = f"the chain ends at {self._next - 1}, but this place was noted elsewhere"
                yield Break(self._chain, self._head.seq, "truncated", words)
                return
            self._head = next(self._heads, None)

    def _missing(self, until: int) -> Iterator[Break]:
        gone = until - self._next
        words = "1 record is missing" if gone == 1 else f"{gone} records are missing"
        yield Break(self._chain, self._next, "removed", words)
        self._hash = None  # what the next record followed is gone with them

    def _compare(self, record: Link) -> Iterator[Break]:
        while self._head is not None and self._head.seq <= record.seq:
            if self._head.seq == record.seq and self._head.hash != record.hash:
                yield self._broken(
                    record, "edited", "differs from the hash that was noted elsewhere"
                )
            self._head = next(self._heads, None)

    def _broken(self, record: Link, kind: Kind, words: str) -> Break:
        return Break(self._chain, record.seq, kind, words, record.event_id)
