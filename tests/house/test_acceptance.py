"""What the pages of promises name exists: tests and commands, and no row is without one.

docs/acceptance.md says what a user may rely on, docs/information-governance.md what is signed for.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLACES = [
    p.name for p in ROOT.iterdir() if p.is_dir() and p.name[0] not in "._" and p.name != "data"
]
PAGES = ("acceptance.md", "information-governance.md")
SHOWN = re.compile(r"\| Shown by \|$")


def rows(page: str) -> list[str]:
    """The rows of the tables of a page whose last column says what shows them."""
    found: list[str] = []
    shown = False
    lines = (ROOT / "docs" / page).read_text().splitlines()
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        if after.startswith("| ---"):
            shown = bool(SHOWN.search(line)) or page == "acceptance.md"
        elif shown and line.startswith("| ") and not line.startswith("| ---"):
            found.append(line)
    return found


ROWS = [row for page in PAGES for row in rows(page)]


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


@pytest.mark.parametrize(
    "page",
    [
        "docs/house.md",
        "docs/information-governance.md",
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
    ],
)
def test_every_file_that_a_page_names_is_there(page: str) -> None:
    """Paths in backquotes, and the target of every link that stays in the house."""
    text = (ROOT / page).read_text()
    quoted = re.findall(r"`((?:[\w.-]+/)+[\w.-]*)`", text)
    linked = [x for x in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) if "://" not in x]
    for name in quoted:
        if name.split("/")[0] in PLACES:
            assert (ROOT / name).exists(), f"{page} names {name}"
    for name in linked:
        assert ((ROOT / page).parent / name).exists(), f"{page} links to {name}"


@pytest.mark.parametrize("page", ["docs/house.md"])
def test_every_function_that_the_house_names_is_in_the_code(page: str) -> None:
    text = (ROOT / page).read_text()
    sources = "\n".join(p.read_text() for place in PLACES for p in (ROOT / place).rglob("*.py"))
    for name in re.findall(r"`([A-Za-z_]\w+)(?:\([^`]*\))?`", text):
        assert re.search(rf"\b{name}\b", sources), f"{page} names {name}"
