"""docs/acceptance.md names only tests and commands that exist, and no row without one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    line
    for line in (ROOT / "docs" / "acceptance.md").read_text().splitlines()
    if line.startswith("| ") and not re.match(r"\| (?:What |---)", line)
]


def named(row: str) -> list[str]:
    return re.findall(r"`([^`]+)`", row.rstrip("| ").rpartition(" | ")[2])


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.split("|")[1].strip()[:60])
def test_what_a_row_names_exists(row: str) -> None:
    shown = named(row)
    assert shown, "nothing shows this"
    for name in shown:
        if name.startswith("make "):
            makefile = (ROOT / "Makefile").read_text()
            assert re.search(rf"^{re.escape(name.split()[1])}:", makefile, re.MULTILINE), name
            continue
        path, _, test = name.partition("::")
        file = ROOT / path
        assert path.startswith("tests/"), name
        assert file.is_file(), name
        if test:
            assert re.search(rf"^(?:async )?def {test}\(", file.read_text(), re.MULTILINE), name


def test_every_heading_has_rows() -> None:
    text = (ROOT / "docs" / "acceptance.md").read_text()
    for section in text.split("\n## ")[1:]:
        assert section.count("\n| ") >= 3, section.splitlines()[0]
