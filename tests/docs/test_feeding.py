"""The pages for integrators and stewards do what they say, in a shell, against a demo like a reader's."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.test_tour import ROOT, demo

__all__ = ["demo"]  # the fixture


def blocks(page: str) -> list[str]:
    return re.findall(r"```bash\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)


def said(demo: tuple[str, Path], folder: Path, page: str) -> list[str]:
    """What each block of a page prints, run one after the other in one shell."""
    base, data = demo
    script = "set -euo pipefail\n" + "\necho ----\n".join(blocks(page))
    script = script.replace("http://127.0.0.1:8080/fhir", base).replace("data/demo-city", str(data))
    script = script.replace("examples/", f"{ROOT}/examples/")
    (folder / "throughline").write_text(f'#!/bin/sh\nexec {sys.executable} -m exchange "$@"\n')
    (folder / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    for name in ("throughline", "python"):
        (folder / name).chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    script = script.replace("$PWD/.venv/bin:$PATH", path)
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, cwd=folder, check=False,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "THROUGHLINE_DATA": str(data)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout.split("----\n")


@pytest.mark.timeout(300)  # a dozen commands, each a process of its own
def test_every_block_of_the_feeding_page_works_as_printed(
    demo: tuple[str, Path], tmp_path: Path
) -> None:
    _, fed, asked, found, merged, removed = said(demo, tmp_path, "feeding.md")
    bodies = [json.loads(line) for line in fed.splitlines()]
    assert [b["resourceType"] for b in bodies] == ["Patient", "Patient"]
    whole, of_the_trust, of_the_council = asked.splitlines()
    assert "HOUR-2" in whole  # joined without an NHS number
    assert "HOUR-2" in of_the_trust
    told = [p["name"] for p in json.loads(of_the_council)["parameter"]]
    assert told == ["targetId"]
    assert "HOUR-2" not in of_the_council
    by_number, by_name, likely = (json.loads(line) for line in found.splitlines())
    assert by_number["total"] == by_name["total"] == 1
    assert by_number["entry"][0]["resource"]["link"][0]["type"] == "seealso"
    grades = [e["search"]["extension"][0]["valueCode"] for e in likely["entry"]]
    assert grades[0] == "certain"
    second, ended = (json.loads(line) for line in merged.splitlines())
    assert second["id"] == ended["id"]
    assert ended["active"] is False
    assert removed.strip() == "204"


@pytest.mark.timeout(300)  # a dozen commands, each a process of its own
def test_the_stewards_page_registers_its_desks_and_tours(
    demo: tuple[str, Path], tmp_path: Path
) -> None:
    (told,) = said(demo, tmp_path, "stewardship.md")
    assert "Linked by decision" in told
    assert "two stewards must agree" in told
