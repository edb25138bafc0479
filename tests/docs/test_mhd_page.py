"""docs/mhd.md names only files, rows and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "mhd.md").read_text()
NAMED = sorted(
    set(re.findall(r"`((?:tests|registry|repository|standards|chassis|examples)/[^`]+)`", TEXT))
)
ROWS = sorted(set(re.findall(r"`([A-Z]+(?:_[A-Z0-9]+)*)`", TEXT)))


@pytest.mark.parametrize("name", NAMED)
def test_a_file_or_test_that_the_page_names_is_there(name: str) -> None:
    path, _, test = name.partition("::")
    assert (ROOT / path).is_file()
    if test:
        text = (ROOT / path).read_text()
        assert re.search(rf"^(?:async )?def {test}\(", text, re.MULTILINE)


@pytest.mark.parametrize("name", ROWS)
def test_a_row_that_the_page_names_is_one(name: str) -> None:
    from standards import mhd, mhd_bundle, mhd_retrieve, mhd_rules

    assert any(hasattr(m, name) for m in (mhd, mhd_bundle, mhd_retrieve, mhd_rules)) or name in (
        "GET", "POST", "PUT", "PATCH",
    )  # fmt: skip
