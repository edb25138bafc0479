"""Start the exchange and the ceilings as processes of their own, and find out which process is which."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Running:
    """The exchange under test."""

    address: tuple[str, int]
    fhir: str
    auth: str
    uri: str
    server: tuple[int, ...]
    database: tuple[int, ...]


@contextlib.contextmanager
def exchange(data: Path, environment: Mapping[str, str]) -> Iterator[Running]:
    """`throughline serve together` on free ports over a data folder of its own."""
    command = [
        sys.executable,
        "-m",
        "exchange",
        "serve",
        "together",
        "--port",
        "0",
        "--data",
        str(data),
    ]
    with _started(command, environment) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit("The exchange did not start; the reason is above.")
        ready = json.loads(line)
        where = json.loads((data / "exchange.json").read_text())
        host, port = ready["fhir"].split("//")[1].split("/")[0].split(":")
        family = _descendants(process.pid)
        mongod = tuple(p for p in family if _name(p).startswith("mongod"))
        workers = tuple(p for p in family if p not in mongod)
        yield Running(
            (host, int(port)), ready["fhir"], ready["auth"], where["uri"], workers, mongod
        )


@contextlib.contextmanager
def ceilings(environment: Mapping[str, str]) -> Iterator[tuple[tuple[str, int], tuple[int, ...]]]:
    """The ceilings under the same server, one worker."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-m", "granian", "--interface", "asgi", "--factory", "--port", str(port),
        "--no-ws", "--http", "1", "--log-level", "error", "benchmarks.ceilings:create",
    ]  # fmt: skip
    with _started(command, environment) as process:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                break
            time.sleep(0.05)
        time.sleep(0.5)
        yield ("127.0.0.1", port), tuple(_descendants(process.pid))


@contextlib.contextmanager
def _started(command: list[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def started(pid: int) -> list[int]:
    """The processes that a process and its children have started and that still live."""
    return [p for p in _descendants(pid) if p != pid]


def databases(pid: int) -> tuple[int, ...]:
    """The mongod processes that a process or its children have started."""
    return tuple(p for p in _descendants(pid) if _name(p).startswith("mongod"))


def _descendants(pid: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                parents.setdefault(parent, []).append(int(entry.name))
    found, open_ = [pid], [pid]
    while open_:
        children = parents.get(open_.pop(), [])
        found += children
        open_ += children
    return found


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return (Path("/proc") / str(pid) / "comm").read_text().strip()
    return ""


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        "unknown",
    )
    return {"cpu": model, "cores": os.cpu_count(), "python": sys.version.split()[0]}
