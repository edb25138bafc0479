"""`throughline people load --over http`: as any source would feed it, to a running exchange."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import processes
from tests.pix.makers import COUNCIL, TRUST, identifier, patient
from tests.pix.test_linking import told

COMMAND = [sys.executable, "-m", "exchange"]


def ran(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ},
    )


def written(file: Path, bodies: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(b) + "\n" for b in bodies))
    return file


def test_a_file_is_fed_resumed_and_linked_online(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with processes.exchange(data, {"THROUGHLINE_LOG_LEVEL": "warning"}) as running:
        key = tmp_path / "feeder.jwk"
        assert ran("clients", "keygen", str(key)).returncode == 0
        public = str(key.with_suffix(".jwks.json"))
        added = ran("clients", "add", "feeder", "--jwks", public, "--scope", "system/*.cruds",
                    "--role", "R-SYS", "--data", str(data))  # fmt: skip
        assert added.returncode == 0, added.stderr
        bodies = [patient(COUNCIL, str(9_500_000 + n)) for n in range(20)]
        bodies += [
            patient(COUNCIL, "9500100", **told("gustav")),
            patient(TRUST, "H9500", **told("gustav")),
        ]
        bodies[3]["gender"] = "sometimes"
        sealed = identifier("https://throughline.example/fhir/Id/unknown-domain", "1")
        bodies.append(patient(COUNCIL, "9500200") | {"identifier": [sealed]})
        file = written(tmp_path / "people.ndjson", bodies)
        words = ("people", "load", str(file), "--over", "http", "--client", "feeder", "--key", str(key),
                 "--fhir", running.fhir, "--data", str(data))  # fmt: skip
        fed = ran(*words)
        assert fed.returncode == 0, fed.stderr
        assert "21 records were fed, 2 refused" in fed.stderr
        refused = [
            json.loads(x) for x in (tmp_path / "people.rejects.ndjson").read_text().splitlines()
        ]
        assert [r["line"] for r in refused] == [4, 23]
        assert not (tmp_path / "people.ndjson.fed").exists()
        out = ran("people", "export", "--data", str(data), "--least", "2")
        (pair,) = [json.loads(line) for line in out.stdout.splitlines()]
        assert {r["value"] for r in pair["records"]} == {"9500100", "H9500"}
        # taken up from the middle: what came before is not sent again, and rejects are not doubled
        source = file.read_bytes().splitlines(keepends=True)
        mark = {"digest": "", "after": len(b"".join(source[:10])), "line": 10, "fed": 9, "refused": 1,
                "rejects": len((tmp_path / "people.rejects.ndjson").read_bytes().splitlines(keepends=True)[0])}  # fmt: skip
        from pix.bulk.files import described

        mark["digest"] = described(file).digest
        (tmp_path / "people.ndjson.fed").write_text(json.dumps(mark))
        again = ran(*words)
        assert "21 records were fed, 2 refused" in again.stderr
        assert len((tmp_path / "people.rejects.ndjson").read_text().splitlines()) == 2
        (tmp_path / "people.ndjson.fed").write_text("{")
        assert "remove it" in " ".join(ran(*words).stderr.split())
        stranger = ran(*(w if w != "feeder" else "nobody" for w in words[:8]), *words[8:])
        assert stranger.returncode != 0
    gone = ran(*words)
    assert gone.returncode in (2, 5)
    assert "Traceback" not in gone.stderr


@pytest.mark.parametrize("missing", ["key", "exchange"])
def test_what_is_missing_is_said(tmp_path: Path, missing: str) -> None:
    file = written(tmp_path / "p.ndjson", [patient(COUNCIL, "9510001")])
    words = ["people", "load", str(file), "--over", "http", "--data", str(tmp_path / "none")]
    if missing == "exchange":
        words += ["--key", str(tmp_path / "absent.jwk")]
    ended = ran(*words)
    assert ended.returncode == (2 if missing == "key" else 5)
    assert {"key": "--key", "exchange": "--fhir"}[missing] in ended.stderr
