"""The door of a real server process, and `throughline hl7v2` against it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from pydantic import SecretStr
from pymongo import MongoClient

from affinity.pack import load
from affinity.partners import PartnersError
from affinity.partners import load as partners_of
from chassis.settings import Settings
from exchange import hl7v2, ports
from exchange.cli import main
from exchange.exits import Exit, Trouble
from exchange.options import settings_of
from standards.hl7v2 import TRANSACTIONS
from tests.hl7v2.makers import MFT, a_person, msh, q22, unique
from tests.hl7v2.test_lines import certificates

ROOT = Path(__file__).parents[2]


class Served:
    """`throughline serve together` in a process of its own, and other commands beside it."""

    def __init__(self, uri: str, folder: Path, prefix: str) -> None:
        self.port = ports.pick("127.0.0.1")
        self.folder = folder
        self.variables = os.environ | {
            "THROUGHLINE_DATA": str(folder), "THROUGHLINE_PORT": "0", "THROUGHLINE_MONGODB": uri,
            "THROUGHLINE_DATABASE_PREFIX": prefix, "THROUGHLINE_LOG_LEVEL": "error",
        }  # fmt: skip
        from auth.keys import master_key

        master_key(folder / "keys" / "master.key", make=True)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "exchange", "serve", "--hl7v2-port", str(self.port)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=self.variables,
        )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(self.process.communicate()[1])
        self.ready = json.loads(line)

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """The command line in this process: what it prints and the code it ends with."""
        out, errors = io.StringIO(), io.StringIO()
        typed = io.TextIOWrapper(io.BytesIO(stdin.encode()))
        code: str | int | None = 0
        with (
            patch.dict(os.environ, self.variables),
            patch.object(sys, "stdin", typed),
            redirect_stdout(out),
            redirect_stderr(errors),
        ):
            try:
                main(["hl7v2", *arguments])
            except SystemExit as ended:
                code = ended.code
        return subprocess.CompletedProcess(
            arguments, int(code or 0), out.getvalue(), errors.getvalue()
        )


@pytest.fixture(scope="module")
def served(mongod_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    prefix = f"h{os.getpid()}_"
    made = Served(mongod_uri, tmp_path_factory.mktemp("served"), prefix)
    yield made
    made.process.terminate()
    assert made.process.wait(60) == 0
    with MongoClient[dict[str, Any]](mongod_uri) as client:
        for name in client.list_database_names():
            if name.startswith(prefix):
                client.drop_database(name)


def test_the_ready_line_says_where_the_door_is(served: Served) -> None:
    assert served.ready["hl7v2"] == f"mllp://127.0.0.1:{served.port}"
    import httpx

    ready = httpx.get(served.ready["admin"] + "/readyz").json()
    assert ready["checks"]["hl7v2"] == "ok"


def test_a_file_of_messages_is_said_and_counted(served: Served, tmp_path: Path) -> None:
    number = unique("F")
    file = tmp_path / "messages.hl7"
    file.write_text(
        a_person(f"{number}^^^{MFT}").replace("\r", "\n")
        + "\n\n"
        + q22([f"@PID.3.1^{number}", "@PID.3.4.1^MRN-R0A"])
    )
    done = served.run("send", str(file))
    assert done.returncode == Exit.OK, done.stderr
    assert "2 said, 2 accepted" in done.stderr
    assert f"PID|||{number}^^^MRN-R0A&" in done.stdout


def test_a_refused_message_is_listed_tried_again_and_dropped(
    served: Served, tmp_path: Path
) -> None:
    said = a_person(f"{unique('F')}^^^{MFT}", sex="X", id_="CLI1")
    done = served.run(
        "send", "-", "--port", str(served.port), "--quiet", stdin=said.replace("\r", "\n")
    )
    assert done.returncode == Exit.REFUSED
    (held,) = json.loads(served.run("parked", "list", "--json").stdout)
    assert (held["control"], held["partner"], held["tries"]) == ("CLI1", "PAS|R0A", 1)
    assert "Ashworth" not in json.dumps(held)
    again = served.run("parked", "retry", held["id"])
    assert again.returncode == Exit.FAILED
    assert "0 of 1" in again.stderr
    assert "PID^1^8" in again.stderr
    assert "CLI1" in served.run("parked", "list").stdout
    neither = served.run("parked", "drop")
    assert neither.returncode == Exit.USAGE
    assert served.run("parked", "drop", "--all").returncode == Exit.OK
    assert json.loads(served.run("parked", "list", "--json").stdout) == []
    assert served.run("parked", "drop", "--all").returncode == Exit.REFUSED
    assert served.run("parked", "retry", "x").returncode == Exit.REFUSED


def test_metrics_count_messages_by_event_and_acknowledgement(served: Served) -> None:
    import httpx

    said = "\r".join([msh("ADT^A24", version="2.5")])
    served.run("send", "-", "--port", str(served.port), stdin=said)
    text = httpx.get(served.ready["admin"] + "/metrics").text
    assert 'throughline_hl7v2_messages_total{acknowledgement="AR",event="other"}' in text


def test_nothing_and_nobody_are_said_plainly(served: Served, tmp_path: Path) -> None:
    empty = tmp_path / "empty.hl7"
    empty.write_text("hello")
    assert served.run("send", str(empty)).returncode == Exit.USAGE
    assert served.run("send", str(tmp_path / "none.hl7")).returncode == Exit.USAGE
    free = str(ports.pick("127.0.0.1"))
    nobody = served.run("send", "-", "--port", free, stdin=msh("ADT^A01"))
    assert nobody.returncode == Exit.NOT_RUNNING
    assert free in nobody.stderr


# -- what is checked before anything starts ------------------------------------------------------------------


def test_a_door_that_others_can_reach_needs_certificates_on_both_sides(tmp_path: Path) -> None:
    open_ = Settings(hl7v2_host="0.0.0.0", hl7v2_port=2575)
    with pytest.raises(Trouble, match="MLLP knows no tokens"):
        hl7v2.check(open_)
    files = certificates(tmp_path)
    secured = open_.model_copy(
        update={
            "hl7v2_certificate": str(files["localhost.pem"]), "hl7v2_key": SecretStr(str(files["localhost.key"])),
            "hl7v2_authority": str(files["ca.pem"]),
        }
    )  # fmt: skip
    hl7v2.check(secured)
    assert hl7v2.door(secured) == "mllps://0.0.0.0:2575"
    with pytest.raises(Trouble, match="cannot be used"):
        hl7v2.check(secured.model_copy(update={"hl7v2_certificate": str(tmp_path / "no.pem")}))
    assert hl7v2.door(Settings()) == ""


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"hl7v2_port": 8080, "port": 8080}, "must differ"),
        ({"hl7v2_certificate": "x.pem"}, "belong together"),
        ({"hl7v2_processing": "X"}, "may hold P, T and D"),
        ({"hl7v2_lines": 0}, "at least 1"),
        ({"hl7v2_port": 70_000}, "from 0 to 65535"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(flags: dict[str, Any], words: str) -> None:
    with pytest.raises(Trouble, match=words):
        settings_of(flags)


def test_a_table_of_partners_says_everything_that_is_wrong_with_it(tmp_path: Path) -> None:
    pack = load("greater_manchester")
    senders, consumers = tmp_path / "s.csv", tmp_path / "c.csv"
    senders.write_text(
        "application,facility,client,organisation,role,purpose,transactions,domain,national,certificate\n"
        "A,,c,R0A,R-NOBODY,P-NONE,ITI-8 ITI-99,NS/Id/none,,\n"
    )
    consumers.write_text(
        "name,host,port,application,facility,domains,tls\nC,h,0,a,f,urn:x,maybe\nC,h,1,a,f,*,no\n"
    )
    with pytest.raises(PartnersError) as fault:
        partners_of(
            pack, pack.id, transactions=TRANSACTIONS, senders=str(senders), consumers=str(consumers)
        )
    for word in (
        "facility is empty",
        "R-NOBODY",
        "P-NONE",
        "ITI-99",
        "NS/Id/none",
        "port is a number",
        "urn:x",
        "yes or no",
        "listed twice",
    ):
        assert word in str(fault.value)
    with pytest.raises(PartnersError, match="is not a file"):
        partners_of(pack, pack.id, transactions=TRANSACTIONS, senders=str(tmp_path / "no.csv"))
    consumers.write_text("name,host\n")
    with pytest.raises(PartnersError, match="lacks the columns"):
        partners_of(pack, pack.id, transactions=TRANSACTIONS, consumers=str(consumers))
    ours = partners_of(pack, pack.id, transactions=TRANSACTIONS)
    assert ours.sender("PAS", "R0A") is not None
    assert ours.consumers == ()


def test_a_file_is_parted_at_its_headers_framed_or_not() -> None:
    one, two = msh("ADT^A01") + "\rEVN|", msh("ADT^A08")
    for text in (
        f"{one}\r{two}\r",
        f"{one}\r\n\r\n{two}",
        f"\x0b{one}\r\x1c\r\x0b{two}\r\x1c\r",
        f"{one}\n{two}\n",
    ):
        assert [m.decode() for m in hl7v2.parts(text.encode())] == [one + "\r", two + "\r"]
    assert hl7v2.parts(b"nothing here") == []
