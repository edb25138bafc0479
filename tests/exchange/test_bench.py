"""`make bench`, as short as it can be: it runs, checks every answer and writes its figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(240)
def test_the_benchmarks_run_and_every_answer_is_right(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    done = subprocess.run(
        [
            sys.executable, "-m", "benchmarks", "--seconds", "0.2", "--clients", "1,2", "--repeats", "1",
            "--people", "2", "--json", str(out),
        ],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    figures = json.loads(out.read_text())
    names = {row["workload"] for row in figures["rows"]}
    for name in (
        "find",
        "read",
        "cross-reference",
        "provide",
        "retrieve",
        "ceiling: raw",
        "ceiling: trivial",
    ):
        assert any(n.startswith(name) for n in names), name
    for row in figures["rows"]:
        assert row["wrong"] == 0
        assert row["rate"] > 0
        assert 0 < row["p50_ms"] <= row["p99_ms"]
    assert figures["machine"]["cores"]
    for column in ("req/s", "p50 ms", "p99 ms", "Server CPU", "Of the"):
        assert column in done.stdout
