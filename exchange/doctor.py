"""`throughline doctor`: the effective settings, and whether this machine has what the exchange needs.

Each check is a function that returns a `Finding`; nothing is changed on the machine.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pymongo import MongoClient
from pymongo.errors import PyMongoError
from rich.console import Console
from rich.table import Table

from affinity.pack import PackError, load
from chassis.settings import Settings, rows
from exchange import hl7v2, mongod, ports, whereabouts
from exchange.exits import Trouble
from pix import model as models
from repository import credentials

LIBRARIES = ("pymongo", "granian", "fastapi", "msgspec", "orjson", "lxml", "joserfc")
ENOUGH_DISK = 2 * 1024**3


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. `advice` says what to do when it is not well."""

    what: str
    well: bool
    said: str
    advice: str = ""


def show(settings: Settings, console: Console) -> bool:
    """Print the settings and the findings; True when nothing is broken."""
    table = Table("Setting", "Value", "From", title="Effective settings")
    for row in rows():
        table.add_row(row.flag, shown(settings, row.name, secret=row.secret), _origin(row.variable))
    console.print(table)
    found = [check(settings) for check in CHECKS]
    report = Table("Check", "", "Found", "What to do", title="This machine")
    for finding in found:
        mark = "[green]well[/green]" if finding.well else "[bold red]not well[/bold red]"
        report.add_row(finding.what, mark, finding.said, finding.advice)
    console.print(report)
    return all(finding.well for finding in found)


def shown(settings: Settings, name: str, *, secret: bool) -> str:
    """A setting's value as it may be printed: secrets only as set or empty."""
    value = getattr(settings, name)
    if secret:
        return "(set)" if value.get_secret_value() else "(empty)"
    return str(value)


def _origin(variable: str) -> str:
    return variable if variable in os.environ else "default or flag"


def _python(settings: Settings) -> Finding:  # noqa: ARG001
    said = ", ".join(f"{name} {_version(name)}" for name in LIBRARIES)
    well = sys.version_info >= (3, 11)
    return Finding(
        "Python",
        well,
        f"{sys.version.split()[0]}; {said}",
        "" if well else "Use Python 3.11 or newer.",
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _pack(settings: Settings) -> Finding:
    try:
        pack = load(settings.affinity)
    except PackError as fault:
        return Finding("Affinity pack", False, settings.affinity, str(fault))
    try:
        credentials.load(settings.retrieval_credentials, pack.organisations)
    except ValueError as fault:
        return Finding("Affinity pack", False, "retrieval credentials", str(fault))
    said = f"{pack.title}: {len(pack.domains)} identifier domains, {len(pack.document_types)} document types"
    return Finding("Affinity pack", True, said)


def _model(settings: Settings) -> Finding:
    try:
        model = models.load(settings.matching_model or models.LATEST)
    except models.ModelError as fault:
        return Finding("Matching model", False, settings.matching_model, str(fault))
    join, ask = model.thresholds.join, model.thresholds.review
    said = f"{model.version}: joins from {join:+g} bits, asks people from {ask:+g}"
    return Finding("Matching model", True, said)


def _mongodb(settings: Settings) -> Finding:
    uri = settings.mongodb.get_secret_value()
    if not uri:
        try:
            binary = mongod.find_mongod()
            return Finding("MongoDB", True, f"embedded {mongod.version(binary)}")
        except mongod.CannotStart as fault:
            return Finding("MongoDB", False, "none to embed", str(fault))
    try:
        with MongoClient[dict[str, object]](uri, serverSelectionTimeoutMS=3000) as client:
            hello = client.admin.command("hello")
            release = client.server_info()["version"]
    except (PyMongoError, Trouble) as fault:
        return Finding(
            "MongoDB", False, type(fault).__name__, "Check --mongodb and that the server runs."
        )
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        return Finding(
            "MongoDB",
            False,
            f"{release}, standalone",
            "Make it a replica set; transactions need one.",
        )
    return Finding("MongoDB", True, f"{release}, replica set or sharded cluster")


def _port(settings: Settings) -> Finding:
    running = whereabouts.read(settings.data)
    if running is not None:
        return Finding("Exchange", True, f"runs here (process {running.pid}) at {running.fhir}")
    if settings.port == 0:
        return Finding("Port", True, "any free one will be picked")
    try:
        free = ports.free(settings.host, settings.port)
    except OSError as fault:
        return Finding(
            "Port",
            False,
            f"{settings.host}:{settings.port}",
            f"{fault.strerror}; choose --host or --port.",
        )
    advice = "" if free else "Stop the other program, or choose --port N (0 for any free one)."
    return Finding("Port", free, f"{settings.port} is {'free' if free else 'taken'}", advice)


def _folder(settings: Settings) -> Finding:
    place = settings.data.absolute()
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK):
        return Finding(
            "Data folder", False, str(settings.data), f"{place} is not writable; choose --data DIR."
        )
    free = shutil.disk_usage(place).free
    said = f"{settings.data}: {free / 1024**3:.1f} GiB free"
    advice = (
        ""
        if free > ENOUGH_DISK
        else "Make room: under 2 GiB the database will soon refuse to write."
    )
    return Finding("Data folder", free > ENOUGH_DISK, said, advice)


def _keys(settings: Settings) -> Finding:
    key = settings.data / "keys" / "master.key"
    if not key.exists():
        return Finding("Master key", True, "none yet; the first start makes one")
    open_to_others = key.stat().st_mode & 0o077
    advice = f"chmod 600 {key}" if open_to_others else ""
    return Finding(
        "Master key",
        not open_to_others,
        "readable by others" if open_to_others else "for its owner only",
        advice,
    )


def _clock(settings: Settings) -> Finding:
    newest = max((p.stat().st_mtime for p in _files(settings.data)), default=0.0)
    ahead = newest - time.time()
    well = ahead < settings.clock_skew
    said = "agrees with the files" if well else f"{ahead:.0f} s behind the newest file"
    return Finding("Clock", well, said, "" if well else "Set the clock (NTP); tokens depend on it.")


def _files(data: Path) -> list[Path]:
    return [p for p in data.glob("*") if p.is_file()] if data.is_dir() else []


def _hl7v2(settings: Settings) -> Finding:
    try:
        load(settings.affinity)
    except PackError:  # said once, by the pack's own line
        return Finding("HL7 v2", True, "not looked at: the affinity pack cannot be read")
    try:
        hl7v2.check(settings)
    except Trouble as fault:
        return Finding("HL7 v2", False, "cannot be opened", str(fault))
    return Finding("HL7 v2", True, hl7v2.door(settings) or "shut (--hl7v2-port 0)")


CHECKS: tuple[Callable[[Settings], Finding], ...] = (
    _python, _pack, _model, _mongodb, _port, _hl7v2, _folder, _keys, _clock,
)  # fmt: skip
