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
    from standards import mhd, mhd_bundle, mhd_publish, mhd_retrieve, mhd_rules, search

    rooms = (mhd, mhd_bundle, mhd_publish, mhd_retrieve, mhd_rules, search)
    assert any(hasattr(m, name) for m in rooms) or name in (
        "GET", "POST", "PUT", "PATCH",
    )  # fmt: skip


def tables() -> list[tuple[str, list[str], list[str]]]:
    """(heading, columns, cells) of every row of every table of the page."""
    made, heading, columns = [], "", list[str]()
    for line in TEXT.splitlines():
        if line.startswith("#"):
            heading, columns = line.strip("# "), []
        elif not line.startswith("|"):
            columns = []
        elif not columns:
            columns = [c.strip() for c in line.strip("|").split("|")]
        elif not line.startswith("| ---"):
            made.append((heading, columns, [c.strip() for c in line.strip("|").split(" | ")]))
    return made


LINES = tables()


@pytest.mark.parametrize(
    ("heading", "columns", "cells"), LINES, ids=[f"{h}: {c[0][:40]}" for h, _, c in LINES]
)
def test_every_requirement_names_where_it_is_met_and_a_test_of_its_own(
    heading: str, columns: list[str], cells: list[str]
) -> None:
    assert columns[-1] == "Shown by", heading
    assert len(cells) == len(columns), cells
    assert re.findall(r"`tests/[^`]+`", cells[-1]), cells[0]
    if columns[-2].startswith("Row"):
        assert re.findall(r"`[^`]+`", cells[-2]), cells[0]
    else:
        assert heading.startswith("What the sources contradict"), heading


SECTIONS = ("ITI-65", "ITI-66", "ITI-67", "ITI-68", "ITI-105", "ITI-106")


@pytest.mark.parametrize("code", SECTIONS)
def test_every_transaction_of_mhd_has_its_table(code: str) -> None:
    assert f"\n## {code} " in TEXT


def test_every_search_parameter_of_mhd_is_a_requirement_with_a_test() -> None:
    from standards.mhd import DOCUMENT_PARAMETERS, LIST_PARAMETERS

    for code, parameters in (("ITI-66", LIST_PARAMETERS), ("ITI-67", DOCUMENT_PARAMETERS)):
        said = " ".join(cells[0] for heading, _, cells in LINES if heading.startswith(code))
        for parameter in parameters:
            if parameter.see.startswith("MHD"):
                assert re.search(rf"(?<![\w.-]){re.escape(parameter.name)}(?![\w-])", said), (
                    code, parameter.name,
                )  # fmt: skip


def test_every_function_that_the_page_names_is_in_the_code() -> None:
    sources = "\n".join(
        p.read_text()
        for place in ("standards", "chassis", "registry", "repository")
        for p in (ROOT / place).rglob("*.py")
    )
    for name in {
        n
        for _, c, x in LINES
        if c[-2].startswith("Row")
        for n in re.findall(r"`([a-z_]\w*)`", x[-2])
    }:
        assert re.search(rf"\bdef {name}\b", sources), name
