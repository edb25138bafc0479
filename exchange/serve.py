"""The launcher: MongoDB, keys, workers, admin port; one line when ready; a clean end on SIGTERM.

    throughline serve ─┬─ guard ── mongod         (unless --mongodb; exchange/mongod.py)
                       ├─ worker 1 … N            (granian; each makes the application anew)
                       └─ threads: admin port, announcer, mongod keeper

Everything dies with the launcher, even when that is killed. Workers are told the effective settings
in THROUGHLINE_* variables, with the ports that were picked and the URI of the embedded mongod.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from pydantic import SecretStr
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from affinity.pack import PackError, load
from auth.keys import master_key
from chassis.settings import Settings, rows
from exchange import admin, hl7v2, ports, whereabouts, worker
from exchange.database import database
from exchange.exits import Exit, Trouble
from exchange.whereabouts import Whereabouts
from pix import model as models
from repository import credentials

SERVICES = ("together", "pix", "registry", "repository", "auth", "audit")
_WITH_PEOPLE = ("together", "pix")  # where the HL7 v2 door is
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104
DRAIN_SECONDS = 20


class Stop(BaseException):
    """SIGTERM or SIGINT came before the server was up."""


def serve(
    settings: Settings,
    service: str = "together",
    *,
    target: tuple[str, ...] = (),
    ready: Callable[[Whereabouts], None] | None = None,
) -> Exit:
    """Run a server until SIGTERM or SIGINT; must be called in the main thread.

    `target` is the application factory (`module:name`) and its arguments, by default the one of
    `service`. `ready` is called once, in a thread of its own, when the server answers; by default it
    prints the JSON line. Raises `Trouble` when something that the operator can put right is in the way.
    """
    try:
        _on_signals(_stop)
        if not target:
            _refuse_unusable(settings, service)
        return _serve(settings, service, target or _target(service), ready or _announce)
    except Stop:
        return Exit.OK
    finally:
        _on_signals(signal.SIG_DFL)


def _serve(
    settings: Settings, service: str, target: tuple[str, ...], ready: Callable[[Whereabouts], None]
) -> Exit:
    settings = effective(settings)
    if service in _WITH_PEOPLE:
        hl7v2.check(settings)
    else:
        settings = settings.model_copy(update={"hl7v2_port": 0})
    gave_up: list[str] = []

    def give_up(reason: str) -> None:
        gave_up.append(reason)
        os.kill(os.getpid(), signal.SIGTERM)

    with ExitStack() as stack:
        uri = stack.enter_context(database(settings, give_up=give_up))
        if not settings.mongodb.get_secret_value():
            # The workers see a URI like any other, so what belongs to an embedded one is made here.
            master_key(settings.data / "keys" / "master.key", make=True)
        settings = settings.model_copy(update={"mongodb": SecretStr(uri)})
        metrics = stack.enter_context(_metrics_folder(settings.data))
        os.environ.update(environment(settings))
        at = _whereabouts(settings, uri)
        _listen_for_operators(stack, settings, metrics)
        stack.enter_context(_announcing(settings, service, at, ready))
        ended = _run_workers(settings, target)
    if gave_up:
        raise Trouble(Exit.NO_DATABASE, gave_up[0])
    return ended


def effective(settings: Settings) -> Settings:
    """The settings with every open choice made: ports picked, a public origin that can be reached.

    Raises `Trouble` when a port cannot be listened on.
    """
    host = _address(settings.host)
    port = settings.port or ports.pick(host)
    _refuse_taken(host, port, "--port")
    admin_port = settings.admin_port or ports.pick(avoid=frozenset({port}))
    _refuse_taken("127.0.0.1", admin_port, "--admin-port")
    if settings.hl7v2_port:
        _refuse_taken(_address(settings.hl7v2_host), settings.hl7v2_port, "--hl7v2-port")
    changes: dict[str, Any] = {"host": host, "port": port, "admin_port": admin_port}
    changes["data"] = settings.data.absolute()
    if not settings.public_url and (host in WILDCARDS or ":" in host):
        changes["public_url"] = f"http://{_reachable(host)}:{port}"
    return settings.model_copy(update=changes)


def environment(settings: Settings) -> dict[str, str]:
    """These settings as THROUGHLINE_* variables."""
    made = {}
    for row in rows():
        value = getattr(settings, row.name)
        made[row.variable] = (
            value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        )
    return made


# Addresses


def _address(host: str) -> str:
    try:
        found = socket.getaddrinfo(host or "0.0.0.0", None, type=socket.SOCK_STREAM)  # noqa: S104
    except OSError as fault:
        raise Trouble(
            Exit.USAGE, f"--host {host} is not an address of this machine: {fault.strerror}."
        ) from fault
    return str(found[0][4][0])


def _refuse_unusable(settings: Settings, service: str) -> None:
    """What every worker would stumble over is said once, before anything starts."""
    try:
        pack = load(settings.affinity)
    except PackError as fault:
        raise Trouble(Exit.USAGE, f"--affinity: {fault}") from fault
    try:
        credentials.load(settings.retrieval_credentials, pack.organisations)
    except ValueError as fault:
        raise Trouble(Exit.USAGE, f"--retrieval-credentials: {fault}") from fault
    try:
        models.load(settings.matching_model or models.LATEST)
    except models.ModelError as fault:
        raise Trouble(Exit.USAGE, f"--matching-model: {fault}") from fault
    if service == "together":
        return
    key = settings.service_key.get_secret_value()
    if not key or not Path(key).is_file():
        raise Trouble(
            Exit.USAGE,
            f"{service} needs a key of its own to speak to its neighbours. Make one with `throughline clients"
            f" keygen`, register it as service-{service} with the scope throughline.internal, and give its"
            " file with --service-key or THROUGHLINE_SERVICE_KEY.",
        )


def _refuse_taken(host: str, port: int, flag: str) -> None:
    try:
        if ports.free(host, port):
            return
        why = "is taken by another program. Stop it, or choose another"
    except PermissionError:
        why = "needs privileges. Choose one above 1023"
    except OSError as fault:
        why = f"cannot be listened on at {host} ({fault.strerror}). Choose another --host or port"
    raise Trouble(Exit.PORT_TAKEN, f"Port {port} {why}: {flag} N, or 0 for any free one.")


def _reachable(host: str) -> str:
    """How this machine reaches a server that listens on host."""
    near = WILDCARDS.get(host, host)
    return f"[{near}]" if ":" in near else near


def _whereabouts(settings: Settings, uri: str) -> Whereabouts:
    return Whereabouts(
        pid=os.getpid(),
        uri=uri,
        database_prefix=settings.database_prefix,
        fhir=settings.fhir_base,
        auth=settings.issuer,
        admin=f"http://127.0.0.1:{settings.admin_port}",
        hl7v2=hl7v2.door(settings),
    )


# The parts


def _target(service: str) -> tuple[str, ...]:
    if service == "together":
        return ("exchange.together:create_app",)
    return ("exchange.apart:create_app", service)


@contextmanager
def _metrics_folder(data: Path) -> Iterator[str]:
    """Where the workers of this launcher keep their counters; those of dead launchers are removed.

    The host is part of the name: containers that share a data folder all have a process 1.
    """
    folder, host = data / "metrics", socket.gethostname()
    for old in folder.glob(f"{host}.*"):
        pid = old.name.removeprefix(f"{host}.")
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(old, ignore_errors=True)
    own = folder / f"{host}.{os.getpid()}"
    own.mkdir(parents=True, exist_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(own)
    try:
        yield str(own)
    finally:
        del os.environ["PROMETHEUS_MULTIPROC_DIR"]
        shutil.rmtree(own, ignore_errors=True)


def _listen_for_operators(stack: ExitStack, settings: Settings, metrics: str) -> None:
    uri = settings.mongodb.get_secret_value()
    client = stack.enter_context(MongoClient[dict[str, Any]](uri, serverSelectionTimeoutMS=2_000))

    def mongodb() -> str:
        try:
            client.admin.command("ping")
        except PyMongoError as fault:
            return type(fault).__name__
        return ""

    checks = {"mongodb": mongodb, "http": lambda: _probe(settings)}
    if settings.hl7v2_port:
        checks["hl7v2"] = lambda: _reaches(settings.hl7v2_host, settings.hl7v2_port)
    try:
        stack.enter_context(admin.serving("127.0.0.1", settings.admin_port, checks, metrics))
    except OSError as fault:
        raise Trouble(
            Exit.PORT_TAKEN,
            f"The admin port {settings.admin_port} was taken meanwhile; start again.",
        ) from fault


def _probe(settings: Settings) -> str:
    """ "" when the server answers on its port, else what it did instead."""
    url = f"http://{_reachable(settings.host)}:{settings.port}/fhir/metadata"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return "" if answer.status == 200 else f"status {answer.status}"
    except urllib.error.HTTPError as refusal:
        return f"status {refusal.code}"
    except OSError as fault:
        return type(fault).__name__


def _reaches(host: str, port: int) -> str:
    """ "" when the port takes connections, else why not."""
    try:
        with socket.create_connection((WILDCARDS.get(host, host), port), timeout=5):
            return ""
    except OSError as fault:
        return type(fault).__name__


@contextmanager
def _announcing(
    settings: Settings, service: str, at: Whereabouts, ready: Callable[[Whereabouts], None]
) -> Iterator[None]:
    over = threading.Event()
    removals: list[Callable[[], None]] = []

    def announce() -> None:
        while _probe(settings) or (
            settings.hl7v2_port and _reaches(settings.hl7v2_host, settings.hl7v2_port)
        ):
            if over.wait(0.05):
                return
        if service == "together":
            removals.append(whereabouts.publish(settings.data, at))
        ready(at)

    thread = threading.Thread(target=announce, name="announcer", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=10)
        for remove in removals:
            remove()


def _announce(at: Whereabouts) -> None:
    print(at.announcement(), flush=True)


def _run_workers(settings: Settings, target: tuple[str, ...]) -> Exit:
    from granian.constants import HTTPModes, Interfaces, Loops
    from granian.log import LogLevels
    from granian.server import Server

    # Forking a process that has threads is unsafe, and a fresh one starts with less memory.
    multiprocessing.set_start_method("spawn", force=True)
    server = Server(
        target[0],
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        workers=settings.workers,
        loop=Loops.auto,
        http=HTTPModes.http1,
        websockets=False,
        backlog=2048,
        log_level=LogLevels.info if settings.log_level == "debug" else LogLevels.warning,
        log_dictconfig=_logs_to_stderr(),
        log_access=False,
        respawn_failed_workers=True,
        respawn_interval=0.5,
        workers_kill_timeout=DRAIN_SECONDS,
    )
    load = functools.partial(worker.load, target[0], os.getpid(), *target[1:])
    try:
        server.serve(target_loader=load, wrap_loader=False)
    except SystemExit as ended:
        if ended.code:
            raise Trouble(
                Exit.FAILED,
                "The server processes cannot start or keep ending; the reason is above.",
            ) from ended
    return Exit.OK


def _logs_to_stderr() -> dict[str, Any]:
    """Standard output carries the ready line and nothing else."""
    console = {
        "formatter": "generic",
        "class": "logging.StreamHandler",
        "stream": "ext://sys.stderr",
    }
    return {"handlers": {"console": console, "access": {**console, "formatter": "access"}}}


# Signals


def _on_signals(handler: Any) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    _on_signals(signal.SIG_IGN)  # one is enough: let the clean-up finish
    raise Stop


def explain(fault: Trouble) -> Exit:
    """Say on standard error what is in the way and give the exit code."""
    print(fault, file=sys.stderr)
    return fault.code
