"""`throughline people load`, `train`, `link` and `export`: files in, models and persons out.

What they do is in pix/bulk; here it is given a store, a terminal and an audit. Imports of pix.bulk are
inside the stories, so that nothing else of the command line waits for them. The file is long because
four commands and the shadow run share one store, one progress and one audit here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

import audit.app
from affinity.pack import Pack, PackError
from affinity.pack import load as load_pack
from chassis import telemetry
from chassis.audit import AuditWriter
from chassis.mongo import Mongo
from chassis.outbox import Forwarder
from chassis.settings import Settings
from exchange.exits import Exit, Trouble
from exchange.nearby import with_mongo
from exchange.progress import progress
from pix import model as models
from pix.app import prepared
from pix.bulk.accounts import Operator
from pix.bulk.files import FileFault, Source, described
from pix.people import DATABASE, People
from standards.outcome import Refused

if TYPE_CHECKING:
    from pix.bulk.export import Filter
    from pix.bulk.link import Linked
    from pix.bulk.loads import Load
    from pix.bulk.shadow import Shadow
    from pix.model import Model

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class File:
    """A file to load and how: its source's domain, its mapping, where rejects go, how many processes."""

    path: Path
    domain: str = ""
    mapping: Path | None = None
    rejects: Path | None = None
    processes: int = 2


@dataclass(frozen=True, slots=True)
class Room:
    """What a linkage may take: a folder on a disk with room, memory like "4GB" (both for DuckDB), threads
    (0: all)."""

    folder: Path | None = None
    memory: str = ""
    threads: int = 0


# -- load -------------------------------------------------------------------------------------------


def load(settings: Settings, file: File, operator: tuple[str, str], console: Console) -> Exit:
    """Take in a file of people; they wait for `people link`. Raises `Trouble`."""
    from pix.bulk import load as loading
    from pix.bulk.loads import Loads

    _known_domain(settings, file.domain)
    source = _described(file.path, console)
    rejects = file.rejects or file.path.with_suffix(".rejects.ndjson")

    async def story(people: People) -> tuple[Load, int]:
        wanted = loading.Wanted(
            source, settings.affinity, settings.fhir_base, Operator(*operator, settings.fhir_base),
            rejects, file.domain, file.mapping, file.processes,
        )  # fmt: skip
        with progress(console) as bars:
            bar = bars.add_task("bytes", total=source.size)

            def told(load: Load) -> None:
                rate = f"{load.line} lines, {load.counts['refused']} refused"
                bars.update(bar, completed=load.after, description=rate)

            made = await loading.load(people, wanted, told)
        return made, await Loads(people).waits(made)

    made, waiting = _run(settings, story)
    _say_load(made, waiting, rejects, console)
    return Exit.OK


def _known_domain(settings: Settings, domain: str) -> None:
    from pix.identifiers import Domains

    if not domain:
        return
    domains = Domains(_pack(settings), settings.fhir_base)
    system = domains.system(domain)
    if not domains.known(system):
        raise Trouble(
            Exit.USAGE,
            f"--domain {domain} is no identifier domain of the pack {settings.affinity}. Name its system as"
            " the records do, a URI such as https://fhir.nhs.uk/Id/nhs-number; identifier_domains.csv of the"
            " pack lists them.",
        )
    if why := domains.unfeedable(system):
        raise Trouble(Exit.USAGE, f"--domain {domain}: people cannot be fed under it: {why}.")


def _described(path: Path, console: Console) -> Source:
    with progress(console) as bars:
        bar = bars.add_task("reading", total=None)
        try:
            return described(
                path, lambda done, total: bars.update(bar, completed=done, total=total)
            )
        except FileFault as fault:
            raise Trouble(Exit.USAGE, str(fault)) from fault


def _say_load(made: Load, waiting: int, rejects: Path, console: Console) -> None:
    """What became of the lines, whether just now or when the file was loaded before; `waiting` is how
    many of its records nobody has linked yet."""
    counts = {**made.counts, "staged": max(made.counts["staged"] - waiting, 0)}
    table = Table("Lines", "", title=f"{made.file}")
    if waiting:
        table.add_row(f"{waiting}", "wait to be linked")
    words = {
        "staged": "are linked, or fed anew since", "repeated": "said again what was said before",
        "revised": "said something newer of somebody", "unchanged": "were known as they are",
        "refused": "were refused", "blank": "were blank",
    }  # fmt: skip
    for name, said in words.items():
        if counts[name]:
            table.add_row(f"{counts[name]}", said)
    console.print(table)
    if counts["refused"]:
        console.print(f"Why, line by line: {rejects}", soft_wrap=True)
    if waiting:
        console.print("Now run `throughline people link`: until then nobody is told of them.")
    elif made.state == "linked":
        console.print(
            f"This file was loaded on {made.at:%Y-%m-%d} and is linked: nothing waits, and nothing was"
            " done again.",
            soft_wrap=True,
        )


# -- link -------------------------------------------------------------------------------------------


def link(settings: Settings, room: Room, operator: tuple[str, str], console: Console) -> Exit:
    """Find whose the loaded records are, and enter them. Raises `Trouble`."""
    from pix.bulk import link as linkage

    async def story(people: People) -> Linked:
        wanted = linkage.Wanted(
            Operator(*operator, settings.fhir_base), room.folder, room.memory, room.threads
        )
        with progress(console) as bars:
            return await linkage.link(people, wanted, _steps(bars))

    made = _run(settings, story)
    table = Table("", "Linked")
    for name, count in (
        ("records entered", made.records), ("persons made", made.persons),
        ("records joined to others", made.joined), ("questions for stewards", made.questions),
        ("went one by one, for somebody known was near", made.one_by_one),
        ("merges made", made.merges), ("passed over: fed by their source meanwhile", made.passed_over),
        ("pairs compared", made.pairs), ("pairs within reach", made.within_reach),
    ):  # fmt: skip
        table.add_row(name, f"{count}")
    console.print(table)
    for where, why in made.refused[:20]:
        console.print(f"Refused at {where}: {why}", markup=False)
    return Exit.OK if not made.refused else Exit.REFUSED


def shadow(settings: Settings, version: str, report: Path, room: Room, console: Console) -> Exit:
    """Say what another model would make of the people who are here; nothing is changed."""
    from pix.bulk import link as linkage
    from pix.bulk import shadow as shadows

    other = _model(version)

    async def story(people: People) -> Shadow:
        operator = Operator("shadow", "", settings.fhir_base)
        wanted = linkage.Wanted(operator, room.folder, room.memory, room.threads)
        with progress(console) as bars:
            return await shadows.shadow(people, other, wanted, _steps(bars))

    made = _run(settings, story)
    _write(report, json.dumps(made.document(), indent=1) + "\n")
    table = Table("", f"{made.model} beside {made.beside}")
    for name, count in (
        ("records", made.records), ("persons now", made.persons), ("persons then", made.would_be),
        ("unchanged", made.unchanged), ("persons that would part", made.parting),
        ("persons that would be joined ones", made.joining),
        ("pairs of records parted", made.pairs_parted), ("pairs joined", made.pairs_joined),
        ("questions then", made.questions),
    ):  # fmt: skip
        table.add_row(name, f"{count}")
    console.print(table)
    console.print(f"Which they are: {report}. Nothing was changed.", soft_wrap=True)
    return Exit.OK


# -- train ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Training:
    """What to learn from and to write: a file of Patients or "" for the store, a file of labels
    (`system|value,person` a line) or the store's own decisions, and the new model's file and version."""

    version: str
    out: Path
    base: str = ""
    file: Path | None = None
    labels: Path | None = None
    unlabelled: bool = False
    most: int = 100_000
    pairs: int = 2_000_000
    seed: int = 1
    settings_out: Path | None = None


def train(settings: Settings, wanted: Training, room: Room, console: Console) -> Exit:
    """Estimate a model and write it with a report. Raises `Trouble`."""
    from pix.bulk import train as training
    from pix.bulk.levels import settings as splink_settings

    if wanted.out.exists():
        raise Trouble(
            Exit.USAGE, f"{wanted.out} exists; a model is versioned and never overwritten."
        )
    base = wanted.base or settings.matching_model or models.LATEST
    present, shown = _model(base), _shown(base)
    if wanted.version in (*models.shipped(), present.version):
        raise Trouble(
            Exit.USAGE,
            f"There is a model {wanted.version} already; every decision names the version it was made by,"
            " so give the new one a version of its own.",
        )
    said, labels = (
        _of_file(settings, wanted)
        if wanted.file
        else _run(settings, lambda p: _of_store(p, wanted))
    )
    if wanted.unlabelled:
        labels = []
    plan = training.Wanted(
        wanted.version, wanted.pairs, wanted.seed, room.folder, room.memory, room.threads
    )
    with progress(console) as bars, _needing():
        try:
            made = training.train(said, labels, present, shown, plan, _steps(bars))
        except training.CannotTrain as fault:
            raise Trouble(Exit.FAILED, str(fault)) from fault
    new = models.read(made)
    _write(wanted.out, training.written(made))
    if wanted.settings_out is not None:
        _write(wanted.settings_out, json.dumps(splink_settings(new), indent=1) + "\n")
    table = Table(
        "Aspect",
        "Level",
        "m",
        "u",
        "bits",
        "change",
        "kept",
        title=f"{wanted.version} beside {present.version}",
    )
    rows = training.changed(made, present)
    for row in rows:
        table.add_row(
            row.aspect,
            row.words,
            f"{row.m:.3g}",
            f"{row.u:.3g}",
            f"{row.bits:+.1f}",
            f"{row.by:+.1f}",
            ", ".join(f"{share}: {pairs:g}" for share, pairs in row.kept.items()),
        )
    console.print(table)
    if few := sum(1 for row in rows if row.kept):
        console.print(
            f"Warning: {few} of {len(rows)} levels were shown by too few pairs to learn from: fewer than"
            f" {training.FEW}, or no more than may be pairs of one person. They keep what {present.version}"
            " has. The table and the file (`kept`) say which: m for pairs of one person, u for pairs of two,"
            " and how many pairs showed it. With more records they can be learnt too.",
            soft_wrap=True,
        )
    console.print(
        f"Learnt from {len(said)} records, {'with labels' if any(labels) else 'without labels'}."
        f" Try it before it is used: `throughline people link --shadow {wanted.out}`."
        f" It is used when the exchange is started with --matching-model {wanted.out}.",
        soft_wrap=True,
    )
    return Exit.OK


def _of_file(settings: Settings, wanted: Training) -> tuple[list[bytes], list[str]]:
    """Traits of a file's records, and their labels."""
    from itertools import islice

    from pix.bulk import saying
    from pix.bulk.admission import Admitted, Desk
    from pix.bulk.files import lines

    path = wanted.file or Path()
    try:
        source = described(path)
        labels = _labels(wanted.labels)
        desk = Desk(settings.affinity, settings.fhir_base)
        if source.kind != "ndjson":
            raise FileFault(
                "--file is NDJSON of Patients; load CSV first and train from the store."
            )
        found = [
            one
            for line in islice(lines(source), wanted.most)
            if isinstance(one := desk.line(line), Admitted)
        ]
    except FileFault as fault:
        raise Trouble(Exit.USAGE, str(fault)) from fault
    return (
        [saying.of(one.own, desk.domains) for one in found],
        [labels.get(f"{one.system}|{one.value}", "") for one in found] if labels else [],
    )


def _labels(path: Path | None) -> dict[str, str]:
    import csv

    if path is None:
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError) as fault:
        raise Trouble(Exit.USAGE, f"--labels {path} cannot be read: {fault}.") from fault
    wrong = [n for n, row in enumerate(rows, 1) if len(row) != 2 or "|" not in row[0]]
    if wrong:
        raise Trouble(Exit.USAGE, f"--labels {path}: line {wrong[0]} is not `system|value,person`.")
    return dict(rows)


async def _of_store(people: People, wanted: Training) -> tuple[list[bytes], list[str]]:
    """Traits of the store's records; as labels the persons that people or verified numbers settled."""
    labels = _labels(wanted.labels)
    said: list[bytes] = []
    told: list[str] = []
    anchored: dict[str, str] = {}
    fields = {"own": 1, "anchor": 1, "system": 1, "value": 1, "person": 1}
    cursor = people.records.raw.find({"state": "active"}, fields, limit=wanted.most)
    manual = {
        edge[side]
        for edge in await people.inclusions.many({}, {"a": 1, "b": 1})
        for side in ("a", "b")
    }
    async for row in cursor:
        said.append(people.says(bytes(row["own"])))
        label = labels.get(f"{row['system']}|{row['value']}", "")
        if not labels and row["anchor"]:
            label = anchored.setdefault(row["anchor"], row["person"])
        if not label and row["_id"] in manual:
            label = row["person"]
        told.append(label)
    return said, told


def _model(version: str) -> Model:
    try:
        return models.load(version)
    except (models.ModelError, ValueError) as fault:
        raise Trouble(Exit.USAGE, str(fault)) from fault


def in_use(settings: Settings) -> Model:
    """The model that these settings mean. Raises `Trouble`."""
    try:
        return models.load(settings.matching_model or models.LATEST)
    except models.ModelError as fault:
        raise Trouble(Exit.USAGE, f"--matching-model: {fault}") from fault


def _shown(version: str) -> dict[str, object]:
    from importlib.resources import files

    path = Path(version)
    shipped = files("pix").joinpath("models", f"{version}.json")
    text = path.read_text("utf-8") if path.suffix == ".json" else shipped.read_text("utf-8")
    made: dict[str, object] = json.loads(text)
    return made


# -- export -----------------------------------------------------------------------------------------


def export(
    settings: Settings, out: Path | None, chosen: Filter, kind: str, console: Console
) -> Exit:
    """Write who is whom. Raises `Trouble` for a domain that is none and for numbers that nobody can be
    between."""
    from pix.bulk import accounts, loads
    from pix.bulk import export as exporting

    for system in chosen.systems:
        _known_domain(settings, system)
    if chosen.most and chosen.most < chosen.least:
        raise Trouble(Exit.USAGE, f"--most {chosen.most} is less than --least {chosen.least}.")

    async def story(people: People) -> exporting.Exported:
        with _opened(out) as file, progress(console) as bars:
            bar = bars.add_task("persons", total=None)
            made = await exporting.export(
                people, file, "csv" if kind == "csv" else "ndjson", chosen,
                lambda done, total: bars.update(bar, completed=done, total=total),
            )  # fmt: skip
        operator = Operator("people-export", "", settings.fhir_base)
        facts = {"persons": made.persons, "records": made.records, "format": kind}
        event = accounts.job(operator, "export", facts, datetime.now(UTC), out=True)
        await loads.tell(people, [event], None)
        return made

    made = _run(settings, story)
    console.print(
        f"{made.persons} persons with {made.records} records; {made.sealed} sealed ones left out."
    )
    return Exit.OK


@contextmanager
def _opened(out: Path | None) -> Iterator[IO[str]]:
    if out is None:
        yield sys.stdout
        return
    part = out.with_name(out.name + ".part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            yield file
        part.replace(out)
    except OSError as fault:
        raise Trouble(Exit.FAILED, f"{out} cannot be written: {fault.strerror}.") from fault
    finally:
        part.unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as fault:
        raise Trouble(Exit.USAGE, f"{path} cannot be written: {fault.strerror}.") from fault


# -- shared -----------------------------------------------------------------------------------------


def _pack(settings: Settings) -> Pack:
    try:
        return load_pack(settings.affinity)
    except PackError as fault:
        raise Trouble(Exit.USAGE, f"--affinity: {fault}") from fault


@contextmanager
def _needing() -> Iterator[None]:
    """What the operator can put right, as `Trouble`."""
    from pix.bulk.engine import Missing

    try:
        yield
    except Missing as fault:
        raise Trouble(Exit.USAGE, str(fault)) from fault
    except FileFault as fault:
        raise Trouble(Exit.USAGE, str(fault)) from fault
    except Refused as refusal:
        raise Trouble(Exit.REFUSED, refusal.issues[0].words) from refusal


def _run(settings: Settings, story: Callable[[People], Awaitable[T]]) -> T:
    """A story over the People store of the exchange that these settings mean, its audit recorded."""

    async def run(mongo: Mongo) -> T:
        async with _people(settings, mongo) as people:
            return await story(people)

    with _needing():
        return with_mongo(settings, run, pool=8)


@asynccontextmanager
async def _people(settings: Settings, mongo: Mongo) -> AsyncIterator[People]:
    pack = _pack(settings)
    in_use(settings)
    telemetry.configure(
        "warning"
    )  # what the audit does in the background would run through the bars
    people = await prepared(settings, mongo, pack)
    async with audit.app.open_service(settings, mongo) as trail:
        writer = AuditWriter(trail.near)
        try:
            async with Forwarder(mongo, DATABASE, writer, grace=2.0):
                yield people
            await Forwarder(mongo, DATABASE, writer, grace=0.0).forward()
        finally:
            await writer.close()


def _steps(bars: Progress) -> Callable[[str, int, int], None]:
    known: dict[str, TaskID] = {}

    def told(step: str, done: int, total: int) -> None:
        if step not in known:
            known[step] = bars.add_task(step, total=total)
        bars.update(known[step], completed=done, total=total)

    return told
