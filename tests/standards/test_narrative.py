"""Narratives: plain formatting passes, what could run or import something does not."""

from __future__ import annotations

import pytest

from standards.r4 import narrative
from standards.r4.check import check_structure
from tests.standards.r4_resources import DIV


@pytest.mark.parametrize(
    "body",
    [
        "<script>alert(1)</script>",
        '<p onclick="a()">x</p>',
        '<a href="javascript:a()">x</a>',
        '<a href=" java\nscript:a()">x</a>',
        '<img src="data:text/html;base64,QQ=="/>',
        '<p style="width:expression(a())">x</p>',
        '<p style="background:url(java\\script:a)">x</p>',
        "<iframe/>",
        "<form/>",
        "&nbsp;",
        "<?php a?>x",
        "<p>",
        " ",
        '<p xmlns="urn:other">x</p>',
    ],
)
def test_a_narrative_that_could_run_or_load_something_is_refused(body: str) -> None:
    div = f'<div xmlns="http://www.w3.org/1999/xhtml">{body}</div>'
    resource = {"resourceType": "Patient", "text": {"status": "generated", "div": div}}
    assert [i.where for i in check_structure(resource)] == ["Patient.text.div"]


@pytest.mark.parametrize(
    "div",
    ["text", "<div>no namespace</div>", "<!DOCTYPE div [<!ENTITY a 'b'>]>" + DIV, '<p xmlns="http://www.w3.org/1999/xhtml">x</p>'],
)  # fmt: skip
def test_a_narrative_is_one_xhtml_div(div: str) -> None:
    assert narrative.fault(div)


def test_an_ordinary_narrative_is_accepted() -> None:
    assert narrative.fault(DIV) is None
    image = '<div xmlns="http://www.w3.org/1999/xhtml"><img src="data:image/png;base64,QQ==" alt="a"/></div>'
    assert narrative.fault(image) is None
