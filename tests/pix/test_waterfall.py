"""The picture says what the numbers say, to every reader, and lets no markup in."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from pix import explaining
from pix.explaining import Explained, Line
from pix.matching import Comparison, Field, Veto
from pix.model import load
from pix.waterfall import drawn
from tests.pix.test_explain import ADELINA, BEATRIX, MOVED, an_explanation, laid, whole

SVG = "{http://www.w3.org/2000/svg}"


def parsed(told: Explained) -> Any:
    """The picture, read back by a parser that allows no DTD and no entity."""
    return etree.fromstring(drawn(told), etree.XMLParser(resolve_entities=False, no_network=True))


def texts(picture: Any) -> str:
    return " ".join(t.strip() for t in picture.itertext() if t.strip())


def test_it_has_a_title_and_a_description_that_tell_all_of_it() -> None:
    told = an_explanation(laid(ADELINA, BEATRIX))
    picture = parsed(told)
    assert picture.get("aria-labelledby") == picture.find(f"{SVG}title").get("id")
    assert picture.get("aria-describedby") == picture.find(f"{SVG}desc").get("id")
    assert picture.find(f"{SVG}desc").text == explaining.words(told)


def test_every_line_is_a_row_of_a_table_with_its_number() -> None:
    comparison = laid(ADELINA, BEATRIX)
    picture = parsed(an_explanation(comparison))
    (table,) = picture.findall(f"{SVG}g[@role='table']")
    rows = table.findall(f"{SVG}g[@role='row']")
    assert len(rows) == len(comparison.fields) + 3  # head, start and sum
    assert len(rows[0].findall(f"{SVG}text[@role='columnheader']")) == 5
    assert all(len(r.findall(f"{SVG}text[@role='cell']")) == 5 for r in rows[1:])
    said = texts(picture)
    for field in comparison.fields:
        assert explaining.number(field.points) in said
    assert explaining.number(comparison.weight) in said


def test_nothing_is_said_by_colour_alone() -> None:
    picture = parsed(an_explanation(laid(ADELINA, BEATRIX)))
    style = picture.find(f"{SVG}style").text
    assert "url(#against)" in re.search(r"\.n\{[^}]*\}", style)[0]  # type: ignore[index]  # it is there
    strokes = {re.search(rf"\.{k}\{{[^}}]*\}}", style)[0].partition("{")[2] for k in "jrf"}  # type: ignore[index]  # as above
    assert len(strokes) == 3
    said = texts(picture)
    limits = load().thresholds
    named = {"join": limits.join, "ask people": limits.review, "leave": limits.fracture}
    for name in (*(f"{n}: {explaining.number(v)}" for n, v in named.items()), "Veto"):
        assert name in said
    negative = len(picture.findall(f".//{SVG}rect[@class='n']"))
    assert negative == sum(f.points < 0 for f in laid(ADELINA, BEATRIX).fields)


def test_the_bars_run_from_the_prior_to_the_sum() -> None:
    comparison = laid(ADELINA, MOVED)
    picture = parsed(an_explanation(comparison))
    bars = [
        (r.get("class"), float(r.get("x")), float(r.get("x")) + float(r.get("width")))
        for r in picture.iter(f"{SVG}rect")
        if r.get("class") in ("p", "n", "s")
    ]
    assert bars[0][0] == bars[-1][0] == "s"
    at = bars[0][1]  # the prior is negative: its bar ends left
    for kind, left, right in bars[1:-1]:
        start, end = (left, right) if kind == "p" else (right, left)
        assert abs(start - at) < 0.2, "each bar begins where the one before ended"
        at = end
    assert min(abs(at - x) for x in bars[-1][1:]) < 0.2


def test_without_a_comparison_there_is_a_title_and_no_table() -> None:
    picture = parsed(an_explanation(None))
    assert picture.findall(f"{SVG}g[@role='table']") == []
    assert "Nothing of the two could be compared." in texts(picture)


def test_hidden_values_are_said_to_be_hidden() -> None:
    comparison = laid(ADELINA, BEATRIX)
    lines = explaining.lines(comparison, lambda a: "level" if a == "nhs" else "whole")
    said = texts(parsed(an_explanation(comparison, lines=lines)))
    assert "hidden from you" in said
    assert "999" not in said


_TEXT = st.text(max_size=300)
_LINES = st.lists(
    st.builds(
        Field, _TEXT, st.just("x"), _TEXT, st.floats(-60, 60), _TEXT, _TEXT, st.floats(-20, 20)
    ),
    max_size=16,
)


@settings(deadline=None, max_examples=150)
@given(_LINES, st.floats(-40, 40), st.lists(_TEXT, max_size=3), _TEXT)
def test_whatever_people_are_called_it_is_one_picture_and_nothing_lies_outside(
    fields: list[Field], prior: float, vetoes: list[str], name: str
) -> None:
    weight = prior + sum(f.points for f in fields)
    comparison = Comparison(weight, prior, tuple(fields), tuple(Veto("v", v, "x") for v in vetoes))
    picture = parsed(an_explanation(comparison, left=name))
    assert {e.tag for e in picture.iter()} <= {
        SVG + t for t in ("svg", "title", "desc", "style", "defs", "pattern", "rect", "line", "g",
                          "text", "tspan")
    }  # fmt: skip
    _, _, width, height = map(float, picture.get("viewBox").split())
    for box in picture.iter(f"{SVG}rect"):
        if box.get("x"):
            assert 0 <= float(box.get("x")) <= width + 0.1
            assert float(box.get("x")) + float(box.get("width")) <= width + 2
            assert 0 <= float(box.get("y")) <= height


def test_markup_in_a_name_stays_a_name() -> None:
    line = Line(
        "Name", "x", "<script>alert(1)</script>", 1.0, 0.0, "</text><script>", "&amp;", False
    )
    comparison = laid(ADELINA, BEATRIX)
    picture = drawn(an_explanation(comparison, lines=(line,), left="<b>\x00", kept=True,
                                   since=datetime(2026, 1, 1, tzinfo=UTC), state="MATCH"))  # fmt: skip
    assert b"<script" not in picture
    assert b"\x00" not in picture
    assert whole("name") == "whole"
