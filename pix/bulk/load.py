"""`people load`: a file of people into the register, many at a time and never twice.

    lines ─► blocks ─► judged in other processes (admission.py) ─► staged with the place behind them
                                   │                                  (loads.py, one transaction)
                                   └─► refused lines ─► rejects file, with why

A record whose number is known already is revised at once, as ITI-104 would; all others wait until `people
link` has found whose they are. Killed at any point, the same command goes on where it stood.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO

from pix import acts, showing
from pix.bulk import accounts, admission, loads
from pix.bulk.accounts import Operator
from pix.bulk.admission import Admitted, Judged
from pix.bulk.crew import Crew, crew
from pix.bulk.files import FileFault, Line, Source, lines
from pix.bulk.loads import Load, Loads
from pix.bulk.mapping import Columns, mapping
from pix.change import Acting, Change
from pix.identifiers import Identifier
from pix.people import People
from standards.outcome import Refused

Told = Callable[[Load], None]
BLOCK = 1000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to load and how: the file, its source's domain (or "" when each line says it), how its
    columns are read, where refused lines go, who runs it, and in how many processes lines are judged."""

    source: Source
    affinity: str
    base: str
    operator: Operator
    rejects: Path
    domain: str = ""
    mapping: Path | None = None
    processes: int = 2
    block: int = BLOCK


async def load(people: People, wanted: Wanted, told: Told) -> Load:
    """Take in the file and say what became of it; `told` hears after every block.

    Raises `FileFault` for a file, a heading or a rejects file that cannot be used. What was taken in
    before stays, and the same command goes on from there.
    """
    columns = _columns(wanted)
    store, now = Loads(people), _now()
    load = await store.begin(_load(wanted, columns, now))
    if load.state != "loading":
        return load
    with _Rejects(wanted.rejects, load.rejects) as rejects:
        with judging(wanted, columns) as judges:
            for block in judged(judges, _place(wanted, load), wanted.block):
                await _take(people, store, wanted.operator, load, block, rejects)
                told(load)
        facts = {"file": load.file, "sha256": load.digest, "domain": load.domain, **load.counts}
        await store.close(load, accounts.job(wanted.operator, "load", facts, _now()))
    told(load)
    return load


def _now() -> datetime:
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def _load(wanted: Wanted, columns: Columns | None, now: datetime) -> Load:
    source, operator = wanted.source, wanted.operator
    id_ = loads.identity(source.digest, operator, wanted.domain, repr(columns))
    return Load(
        id_, 0, source.path.name, source.digest, source.size, wanted.domain, operator.client,
        operator.organisation, now,
    )  # fmt: skip


def _columns(wanted: Wanted) -> Columns | None:
    if wanted.source.kind != "csv":
        if wanted.mapping is not None:
            raise FileFault("--mapping is for CSV files; lines of NDJSON are Patients.")
        return None
    heading = next(lines(wanted.source), None)
    return mapping(heading.text if heading else b"", wanted.mapping, wanted.domain)


def _place(wanted: Wanted, load: Load) -> Iterator[Line]:
    found = lines(wanted.source, load.after, load.line)
    return islice(found, 1, None) if wanted.source.kind == "csv" and not load.line else found


# -- judging ------------------------------------------------------------------------------------------


def judging(wanted: Wanted, columns: Columns | None) -> AbstractContextManager[Crew]:
    """The processes that judge blocks of lines, as `wanted` has it."""
    settled = (wanted.affinity, wanted.base, wanted.domain, columns)
    return crew(wanted.processes, admission.judged, admission.settle, *settled)


def judged(judges: Crew, start: Iterator[Line], size: int) -> Iterator[Judged]:
    """Judged blocks of so many lines, in the order of the file."""
    blocks = iter(lambda: list(islice(start, size)), [])
    return map(admission.JUDGED.decode, judges(map(admission.packed_block, blocks)))


# -- taking in ----------------------------------------------------------------------------------------


async def _take(
    people: People, store: Loads, operator: Operator, load: Load, judged: Judged, rejects: _Rejects
) -> None:
    keys = {f"{a.system}|{a.value}" for a in judged.admitted}
    known = await store.known(keys) if keys else set()
    counts = dict.fromkeys(("revised", "unchanged"), 0)
    refused = list(judged.rejected)
    for one in judged.admitted:
        if f"{one.system}|{one.value}" in known and not one.merge:
            kind = await revised(people, operator, one, load.id)
            if isinstance(kind, str):
                counts[kind] += 1
            else:
                issues = tuple((i.where, i.words) for i in kind.issues)
                refused.append(admission.Rejected(one.number, issues))
    refused.sort(key=lambda r: r.number)
    load.rejects = rejects.write(refused)
    for kind, n in counts.items():
        load.counts[kind] += n
    load.counts["refused"] += len(refused)
    load.counts["blank"] += judged.blank
    load.after, load.line = judged.after, judged.number
    new = [a for a in judged.admitted if a.merge or f"{a.system}|{a.value}" not in known]
    await store.take(load, new)


async def revised(people: People, operator: Operator, one: Admitted, job: str) -> str | Refused:
    """Feed one record by the online path: "revised", "unchanged", or why it is refused."""
    primary = Identifier(one.system, one.value)
    patient = showing.opened(one.own)
    now = _now()
    acting = Acting(operator.actor(job), now, lambda: str(uuid.uuid4()))

    async def story(change: Change) -> str:
        done = await acts.put(change, primary, patient)
        if done.kind == "unchanged":
            return "unchanged"
        await change.write()
        new = done.kind == "created"
        event = accounts.fed(operator, done.record.id, *primary, job, now, new=new)
        await loads.tell(people, [event], change.session)
        return "revised"

    try:
        return await acts.committed(people, acting, acts.turns(people, primary, patient), story)
    except Refused as refusal:
        return refusal


# -- the rejects file ---------------------------------------------------------------------------------


@dataclass(slots=True)
class _Rejects:
    """Where refused lines are told of. It is cut to the length that the load remembers, so that after an
    interruption no line stands in it twice. Without a refused line there is no file."""

    path: Path
    length: int
    file: IO[bytes] | None = field(default=None, init=False)

    def __enter__(self) -> _Rejects:
        try:
            there = self.path.stat().st_size if self.path.exists() else 0
            if there < self.length:
                raise FileFault(
                    f"{self.path} held what was refused before the interruption, and it is gone or "
                    "shorter now. Put it back and run the same command again."
                )
            self.file = self.path.open("ab")
            self.file.truncate(self.length)
        except OSError as fault:
            raise FileFault(_unwritable(self.path, fault)) from fault
        return self

    def write(self, refused: list[admission.Rejected]) -> int:
        """Add these and give the length of the file, which is on disk when this returns."""
        if not refused or self.file is None:
            return self.length
        text = admission.rejects(refused)
        try:
            self.file.write(text)
            self.file.flush()
            os.fsync(self.file.fileno())
        except OSError as fault:
            raise FileFault(_unwritable(self.path, fault)) from fault
        self.length += len(text)
        return self.length

    def __exit__(self, *_: object) -> None:
        if self.file is not None:
            try:
                self.file.close()
            finally:
                if not self.length:
                    self.path.unlink(missing_ok=True)


def _unwritable(path: Path, fault: OSError) -> str:
    return (
        f"The rejects file {path} cannot be written: {fault.strerror}. Name another with --rejects or make "
        "room; the same command then goes on where it stood."
    )
