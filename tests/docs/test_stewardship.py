"""The stewards' tour runs as it stands, and the pictures of their page are of the shipped model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from lxml import etree

from examples.steward_tour import tour
from pix.model import load
from pix.waterfall import drawn
from tests.running import Exchange
from tools.draw_explanations import FOLDER, PICTURES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "stewardship.md"
SCOPE = "throughline.steward"
SVG = "{http://www.w3.org/2000/svg}"


async def test_the_stewards_tour_runs_as_it_stands(exchange: Exchange) -> None:
    async with (
        exchange.as_client() as feed,
        exchange.as_client(SCOPE, role="R-ADM", organisation="QOP") as one,
        exchange.as_client(SCOPE, role="R-ADM", organisation="353") as two,
    ):
        said = "\n".join([line async for line in tour(feed, one, two)])
    for words in ("Why they are not one: ", "Linked by decision", "is told T", "two stewards must agree",
                  "Parted by decision", "it had 2 records", "link: Passport", "unlink: Rang",
                  "image/svg+xml"):  # fmt: skip
        assert words in said


async def test_a_steward_token_opens_nothing_else(exchange: Exchange) -> None:
    async with exchange.as_client(SCOPE, role="R-ADM") as steward:
        for url in ("/Patient?family=Begum", "/Patient/$ihe-pix?sourceIdentifier=a|b"):
            assert (await steward.get(url)).status_code == 403
    async with exchange.as_client("system/*.cruds", role="R-ADM") as clerk:
        assert (await clerk.get("/Patient/$reviews")).status_code == 403


@pytest.mark.parametrize("name", PICTURES)
def test_the_pictures_of_the_page_show_what_the_model_says(name: str) -> None:
    assert f"pictures/{name}" in PAGE.read_text()
    told = PICTURES[name]
    assert (FOLDER / name).read_bytes() == drawn(told), "run `python -m tools.draw_explanations`"
    picture = etree.fromstring((FOLDER / name).read_bytes())
    rows = picture.findall(f".//{SVG}g[@role='row']")
    shown = [" ".join(r.find(f"{SVG}text[@role='cell']").itertext()) for r in rows[1:]]
    assert shown[1:-1] == [line.name for line in told.lines]
    (alt,) = re.findall(rf"!\[([^\]]*)\]\(pictures/{name}\)", PAGE.read_text())
    for line in told.lines:
        way = "plus" if line.points > 0 else "minus"
        assert f"{line.name.lower()} {way} {abs(line.points):.1f}" in alt
    assert bool(told.comparison and told.comparison.vetoes) == (name == "a-refusal.svg")
    assert f"Model {load().version}" in " ".join(picture.itertext())
