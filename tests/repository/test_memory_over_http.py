"""50 MB go in and out of the running exchange over HTTP, and its process hardly grows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(240)
def test_fifty_megabytes_over_http_take_less_than_thirty_of_memory(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.retrieving", "--memory", "--json", str(out)],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    memory = json.loads(out.read_text())["memory"]
    assert len(memory) == 3
    for what, more in memory.items():
        assert more < 30 * 1024 * 1024, what
