"""The URLs of links are URLs (RFC 3986), whatever was asked."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from standards.bundle import asking

# query = *( pchar / "/" / "?" ), RFC 3986 §3.4
QUERY = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-F]{2})*").fullmatch
URL = "https://a.example/fhir/Patient"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(st.lists(st.tuples(TEXTS.filter(bool), TEXTS), max_size=5))
def test_what_a_link_asks_is_read_as_it_was_asked(pairs: list[tuple[str, str]]) -> None:
    url = asking(URL, pairs)
    assert url.isascii()
    assert QUERY(urlsplit(url).query)
    assert parse_qsl(url.partition("?")[2], keep_blank_values=True) == pairs


def test_bars_are_escaped_and_what_reads_well_is_not() -> None:
    pairs = [
        ("patient.identifier", "https://a.example/Id|1,2"),
        ("date", "ge2020"),
        ("_sort", "-x"),
    ]
    assert asking(URL, pairs) == (
        f"{URL}?patient.identifier=https://a.example/Id%7C1,2&date=ge2020&_sort=-x"
    )
    assert asking(URL, []) == URL
