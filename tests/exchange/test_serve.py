"""The launcher: one line when ready, an admin port, clean ends, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from pymongo import MongoClient

from chassis.settings import Settings, rows
from exchange import ports, whereabouts
from exchange.database import check, masked
from exchange.exits import Exit, Trouble
from exchange.serve import _metrics_folder, effective, environment
from tests.exchange.test_mongod import alive, within

ROOT = Path(__file__).parents[2]


class Launched:
    """A launcher in a process of its own; `ready` is its line, `ended()` its exit code and errors."""

    def __init__(self, data: Path, *arguments: str, wait: bool = True, **settings: Any) -> None:
        variables = {f"THROUGHLINE_{name.upper()}": str(value) for name, value in settings.items()}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.exchange.launch", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
            env=os.environ | {"THROUGHLINE_DATA": str(data), "THROUGHLINE_PORT": "0"} | variables,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.ready = json.loads(self.process.stdout.readline() or "{}") if wait else {}

    def said(self) -> Any:
        return httpx.get(f"{self.ready['fhir']}/metadata").json()

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        found = [int(pid) for pid in children.split()]
        return [pid for pid in found if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def ended(self, how: signal.Signals | None = None) -> tuple[int, str, str]:
        if how is not None:
            self.process.send_signal(how)
        out, errors = self.process.communicate(timeout=60)
        return self.process.returncode, out, errors


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Launched]]:
    made: list[Launched] = []

    def start(*arguments: str, **settings: Any) -> Launched:
        made.append(Launched(tmp_path, *arguments, **settings))
        return made[-1]

    yield start
    for launched in made:
        launched.process.kill()
        launched.process.communicate()


def test_a_whole_life(launch: Callable[..., Launched], tmp_path: Path) -> None:
    launched = launch("x", workers=2)
    ready = launched.ready
    assert ready["ready"] is True
    assert ready["fhir"].endswith("/fhir")
    assert ready["auth"] == ready["fhir"].removesuffix("/fhir") + "/auth"

    # The workers know the effective settings, and exchange.json says where everything is.
    said = launched.said()
    assert f"http://127.0.0.1:{said['port']}/fhir" == ready["fhir"]
    found = whereabouts.read(tmp_path)
    assert found is not None
    assert found.uri == said["mongodb"]
    assert found.pid == launched.process.pid
    assert (tmp_path / whereabouts.FILE).stat().st_mode & 0o077 == 0
    assert (tmp_path / "keys" / "master.key").stat().st_mode & 0o077 == 0
    assert len(launched.workers()) == 2

    # The admin port.
    assert httpx.get(f"{ready['admin']}/livez").text == "ok\n"
    assert httpx.get(f"{ready['admin']}/readyz").json() == {
        "ready": True, "checks": {"mongodb": "ok", "http": "ok"},
    }  # fmt: skip
    metrics = httpx.get(f"{ready['admin']}/metrics").text
    counted = [line for line in metrics.splitlines() if line.startswith("small_asked_total")]
    assert float(counted[0].split()[1]) >= 3  # over all workers, the launcher's probes included
    assert httpx.get(f"{ready['admin']}/other").status_code == 404

    # An embedded mongod that dies is started again, and requests go on.
    with MongoClient[dict[str, Any]](found.uri) as mongo:
        pid = mongo.admin.command("serverStatus")["pid"]
        os.kill(pid, signal.SIGKILL)
        assert within(5, lambda: not alive(pid))
        assert within(20, lambda: httpx.get(f"{ready['admin']}/readyz").status_code == 200)
        assert mongo.admin.command("serverStatus")["pid"] != pid

    # A worker that dies is started again.
    first = launched.workers()[0]
    os.kill(first, signal.SIGKILL)
    assert within(20, lambda: first not in launched.workers() and len(launched.workers()) == 2)

    # SIGTERM lets a request in flight finish, then ends everything, and says nothing more.
    workers = launched.workers()
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(httpx.get, ready["fhir"].removesuffix("/fhir") + "/slow", timeout=10)
        time.sleep(0.3)
        code, out, errors = launched.ended(signal.SIGTERM)
        assert slow.result().status_code == 200
    assert (code, out) == (Exit.OK, "")
    assert "Traceback" not in errors
    assert not any(alive(pid) for pid in workers)
    assert whereabouts.read(tmp_path) is None
    assert not list((tmp_path / "metrics").iterdir())


def test_ctrl_c_ends_it_as_cleanly(launch: Callable[..., Launched], mongod_uri: str) -> None:
    launched = launch(mongodb=mongod_uri)
    assert launched.ended(signal.SIGINT)[0] == Exit.OK


def test_workers_and_mongod_die_when_the_launcher_is_killed(
    launch: Callable[..., Launched], tmp_path: Path
) -> None:
    launched = launch(workers=2)
    workers = launched.workers()
    with MongoClient[dict[str, Any]](launched.said()["mongodb"]) as mongo:
        workers.append(mongo.admin.command("serverStatus")["pid"])
    assert len(workers) == 3
    launched.process.kill()
    assert within(10, lambda: not any(alive(pid) for pid in workers))
    assert whereabouts.read(tmp_path) is None  # the file is there, the process is not
    assert launch().ended(signal.SIGTERM)[0] == Exit.OK  # and the folder can be used again


def test_sigterm_while_starting_is_a_clean_end(
    launch: Callable[..., Launched], tmp_path: Path
) -> None:
    launched = launch(wait=False)
    assert within(10, (tmp_path / "mongod.log").exists)
    code, out, errors = launched.ended(signal.SIGTERM)
    assert (code, out) == (Exit.OK, "")
    assert "Traceback" not in errors


def test_a_taken_port_is_said_before_anything_starts(
    launch: Callable[..., Launched], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, errors = launch(port=port).ended()
    assert code == Exit.PORT_TAKEN
    assert f"Port {port} is taken by another program" in errors
    assert not (tmp_path / "mongod.log").exists()


def test_a_mongodb_that_does_not_answer_is_said(launch: Callable[..., Launched]) -> None:
    uri = f"mongodb://me:secret@127.0.0.1:{ports.pick()}/?replicaSet=x"
    code, _, errors = launch(mongodb=uri).ended()
    assert code == Exit.NO_DATABASE
    assert "does not answer at mongodb://***@127.0.0.1" in errors
    assert "secret" not in errors


def test_an_application_that_cannot_start_ends_the_launcher(
    launch: Callable[..., Launched], mongod_uri: str
) -> None:
    code, out, errors = launch("broken", mongodb=mongod_uri).ended()
    assert (code, out) == (Exit.FAILED, "")
    assert "it is broken" in errors


def test_a_malformed_uri_is_a_usage_error() -> None:
    with pytest.raises(Trouble) as refused:
        check("mysql://somewhere")
    assert refused.value.code == Exit.USAGE


def test_the_masked_uri_keeps_the_host_and_nothing_secret() -> None:
    assert masked("mongodb://a:p@ss@h:1/?x=1") == "mongodb://***@h:1/?x=1"
    assert masked("mongodb://h:1/?x=1") == "mongodb://h:1/?x=1"


def test_effective_settings_are_fully_said_in_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = effective(Settings(port=0, mongodb=SecretStr("mongodb://h/?x=1"), find_limit=77))
    for name, value in environment(chosen).items():
        monkeypatch.setenv(name, value)
    assert Settings() == chosen
    assert set(environment(chosen)) == {row.variable for row in rows()}


@pytest.mark.parametrize(
    ("host", "origin"), [("0.0.0.0", "http://127.0.0.1:"), ("localhost", "http://127.0.0.1:")]
)
def test_the_origin_can_be_reached_whatever_the_host(host: str, origin: str) -> None:
    assert effective(Settings(host=host, port=0)).origin.startswith(origin)


def test_a_host_that_is_not_this_machine_is_a_usage_error() -> None:
    with pytest.raises(Trouble, match=r"--host nowhere\.invalid"):
        effective(Settings(host="nowhere.invalid", port=0))


def test_launchers_of_several_hosts_keep_their_metrics_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Containers that share a data folder all have a process 1, and see only their own."""
    monkeypatch.setattr(socket, "gethostname", lambda: "one")
    (tmp_path / "metrics" / "one.999999999").mkdir(parents=True)  # of a launcher that was killed
    (tmp_path / "metrics" / "two.999999999").mkdir()  # of one that runs where we cannot look
    with _metrics_folder(tmp_path) as first:
        kept = {p.name for p in (tmp_path / "metrics").iterdir()}
        assert kept == {"two.999999999", Path(first).name}
    monkeypatch.setattr(socket, "gethostname", lambda: "two.example")
    with _metrics_folder(tmp_path) as second:
        assert Path(first).name != Path(second).name
    assert [p.name for p in (tmp_path / "metrics").iterdir()] == ["two.999999999"]
