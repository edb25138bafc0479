"""A command whose MongoDB stops answering in the middle says so in words."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from exchange import cli
from exchange.exits import Exit

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process: (exit code, standard output, standard error)."""

    def command(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = 0
        try:
            cli.main([str(a) for a in arguments])
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


class Line:
    """A line to MongoDB that is cut for good when these words are first said on it."""

    def __init__(self, uri: str, words: bytes) -> None:
        self.there = urlsplit(uri).netloc.rpartition(":")
        self.words, self.cut = words, threading.Event()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def uri(self) -> str:
        """Where it begins."""
        return f"mongodb://127.0.0.1:{self.server.getsockname()[1]}/?directConnection=true"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.server.accept()
                far = socket.create_connection((self.there[0], int(self.there[2])))
                self.open += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                if self.words in data:
                    self.end()
                    return
                other.sendall(data)

    def end(self) -> None:
        """Nothing passes any more."""
        self.cut.set()
        self.server.close()
        for one in self.open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def line(mongod_uri: str) -> Iterator[Callable[[bytes], Line]]:
    """Lines to the MongoDB of the tests."""
    made: list[Line] = []

    def lay(words: bytes) -> Line:
        made.append(Line(mongod_uri, words))
        return made[-1]

    yield lay
    for one in made:
        one.end()


CLIENT = ("clients", "add", "gone", "--scope", "system/*.rs")
PERSON = (
    "practitioners", "add", "gone.away", "--given", "Gone", "--family", "Away", "--role", "R-HV",
    "--organisation", "R0A",
)  # fmt: skip


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (CLIENT, b"createIndexes"), (CLIENT, b"insert"), (CLIENT, b"commitTransaction"),
        (PERSON, b"createIndexes"), (PERSON, b"insert"), (("keys", "list"), b"distinct"),
    ],
    ids=lambda c: c[0] if isinstance(c, tuple) else c.decode(),
)  # fmt: skip
def test_a_database_that_stops_answering_is_told_in_words(
    run: Run, line: Callable[[bytes], Line], tmp_path: Path, database_prefix: str,
    command: tuple[str, ...], words: bytes,
) -> None:  # fmt: skip
    more: tuple[str, ...] = ()
    if command[0] == "clients":
        run("clients", "keygen", tmp_path / "key.jwk")
        more = ("--jwks", str(tmp_path / "key.jwks.json"))
        assert json.loads((tmp_path / "key.jwks.json").read_text())["keys"]
    laid = line(words)
    prefix = ("--database-prefix", f"{database_prefix}{words.decode().lower()[:3]}")
    code, _, errors = run(*command, *more, "--mongodb", laid.uri, *prefix, "--data", tmp_path)
    assert laid.cut.is_set(), errors
    assert code == Exit.NO_DATABASE, errors
    assert "Traceback" not in errors
    assert "MongoDB" in errors
