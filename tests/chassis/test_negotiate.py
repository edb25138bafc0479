"""Accept, _format, Content-Type and Prefer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis import negotiate
from standards.outcome import Refused


@pytest.mark.parametrize(
    ("accept", "format_", "wanted"),
    [
        ("", None, "json"),
        ("*/*", None, "json"),
        ("application/fhir+xml", None, "xml"),
        ("application/fhir+json; fhirVersion=4.0", None, "json"),
        ("text/html, application/fhir+xml;q=0.9, */*;q=0.1", None, "xml"),
        ("application/fhir+json;q=0.2, application/fhir+xml;q=0.8", None, "xml"),
        ("application/xml", None, "xml"),
        ("application/fhir+xml", "json", "json"),
        ("image/png", "application/fhir+xml", "xml"),
        ("", "application/fhir json", "json"),
        ("application/*", None, "json"),
        ("text/*", None, "json"),
        # of each format the most specific range counts
        ("application/fhir+json;q=0, */*", None, "xml"),
        ("*/*, application/fhir+xml", None, "xml"),
        ("*/*;q=0.9, application/fhir+xml;q=0.1", None, "json"),
        ("application/fhir+json; fhirVersion=3.0, application/fhir+xml;q=0.1", None, "xml"),
        ("application/fhir+xml; fhirVersion=4.0.1", None, "xml"),
        ("", "application/fhir+json;fhirVersion=4.0", "json"),
    ],
)
def test_format_beats_accept_and_quality_decides(
    accept: str, format_: str | None, wanted: str
) -> None:
    assert negotiate.wanted_format(accept, format_) == wanted


@pytest.mark.parametrize(
    ("accept", "format_"),
    [
        ("image/png", None),
        ("", "ttl"),
        ("application/fhir+json;q=0", None),
        ("*/*;q=0", None),
        ("application/fhir+json; fhirVersion=3.0", None),
        ("", "application/fhir+xml;fhirVersion=5.0"),
    ],
)
def test_what_cannot_be_made_is_406(accept: str, format_: str | None) -> None:
    with pytest.raises(Refused) as refused:
        negotiate.wanted_format(accept, format_)
    assert refused.value.status() == 406


@given(st.text(max_size=80), st.none() | st.text(max_size=30))
def test_no_header_breaks_negotiation(accept: str, format_: str | None) -> None:
    try:
        assert negotiate.wanted_format(accept, format_) in ("json", "xml")
    except Refused as refused:
        assert refused.status() == 406


@given(st.text(max_size=80))
def test_no_content_type_breaks_reading(kind: str) -> None:
    try:
        assert negotiate.body_format(kind) in ("json", "xml")
    except Refused as refused:
        assert refused.status() == 415


def test_prefer_is_read_whole_and_a_wrong_handling_is_refused() -> None:
    assert negotiate.prefer("return=minimal, handling=lenient") == negotiate.Prefer(
        False, "minimal"
    )
    assert negotiate.prefer("respond-async") == negotiate.Prefer(True, "")
    with pytest.raises(Refused):
        negotiate.prefer("handling=relaxed")


@pytest.mark.parametrize(
    ("header", "packed"),
    [
        ("gzip", True),
        ("gzip, deflate, br", True),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", True),
        ("x-gzip", True),
        ("gzip;q=0", False),
        ("gzip;q=0.0, identity", False),
        ("deflate", False),
        ("", False),
        ("gzip;q=much", False),
    ],
)
def test_an_answer_is_packed_only_for_who_takes_it(header: str, packed: bool) -> None:
    assert negotiate.accepts_gzip(header) is packed


def test_a_body_of_another_version_of_fhir_is_415() -> None:
    assert negotiate.body_format("application/fhir+json; fhirVersion=4.0; charset=utf-8") == "json"
    with pytest.raises(Refused) as refused:
        negotiate.body_format("application/fhir+json; fhirVersion=3.0")
    assert refused.value.status() == 415


@pytest.mark.parametrize(
    ("tags", "named"),
    [
        ("*", True), ('W/"3"', True), ('"3"', True), ('W/"1", W/"3"', True), ("3", True),
        ('W/"1"', False), ('W/"33"', False), ("", False), ("W/", False),
    ],
)  # fmt: skip
def test_entity_tags_are_compared_weakly_and_in_lists(tags: str, named: bool) -> None:
    assert negotiate.names(tags, 'W/"3"') is named
