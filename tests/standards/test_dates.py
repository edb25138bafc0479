"""Partial dates as spans."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standards import dates
from standards.outcome import Refused


def _at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("text", "lo", "hi"),
    [
        ("1984", _at(1984, 1, 1), _at(1985, 1, 1)),
        ("2024-02", _at(2024, 2, 1), _at(2024, 3, 1)),
        ("2023-12", _at(2023, 12, 1), _at(2024, 1, 1)),
        ("2024-02-29", _at(2024, 2, 29), _at(2024, 3, 1)),
        ("2024-01-01T10:30", _at(2024, 1, 1, 10, 30), _at(2024, 1, 1, 10, 31)),
        ("2024-01-01T10:30:05Z", _at(2024, 1, 1, 10, 30, 5), _at(2024, 1, 1, 10, 30, 6)),
        ("2024-01-01T00:30:00+01:00", _at(2023, 12, 31, 23, 30), _at(2023, 12, 31, 23, 30, 1)),
        ("2024-01-01T00:30:00-05:30", _at(2024, 1, 1, 6), _at(2024, 1, 1, 6, 0, 1)),
        (
            "2024-01-01T00:00:00.1239Z",
            _at(2024, 1, 1, 0, 0, 0, 123000),
            _at(2024, 1, 1, 0, 0, 0, 124000),
        ),
        ("2016-12-31T23:59:60Z", _at(2017, 1, 1), _at(2017, 1, 1, 0, 0, 1)),
        ("9999", _at(9999, 1, 1), dates.END),
        ("9999-12-31", _at(9999, 12, 31), dates.END),
        ("0001-01-01T00:00:00+14:00", dates.BEGIN, dates.BEGIN + timedelta(seconds=1)),
    ],
)
def test_a_date_covers_what_its_precision_says(text: str, lo: datetime, hi: datetime) -> None:
    assert dates.parse(text) == dates.Span(lo, hi)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("0000", "0000"),
        ("0000-01-01", "0000"),
        ("99999", "four digits"),
        ("99999-01-01", "four digits"),
        ("-0044", "not a date"),
        ("2024-02-30", "no such day"),
        ("2023-02-29", "no such day"),
        ("2024-13", "no such day"),
        ("2024-00", "no such day"),
        ("2024-01-01T24:00:00Z", "midnight"),
        ("2024-01-01T23:60:00Z", "no such time"),
        ("2024-01-01T23:00:61Z", "no such time"),
        ("2024-02-31T23:00:00Z", "no such day"),
        ("2024-01-01T10:00:00+14:01", "-14:00"),
        ("2024-01-01T10:00:00+01:75", "-14:00"),
        ("2024-01-01T10:00:00 01:00", "%2B"),
        ("2024-01-01T10", "not a date"),
        ("2024-1-1", "not a date"),
        ("٢٠٢٤", "not a date"),
        ("2024-01-01\n", "not a date"),
        ("", "not a date"),
        ('{"$gt":""}', "not a date"),
    ],
)
def test_what_is_no_date_is_refused_with_words_that_help(text: str, hint: str) -> None:
    assert hint in (dates.problem(text) or "")
    with pytest.raises(Refused) as refusal:
        dates.parse(text, "DocumentReference.date")
    assert refusal.value.status() == 400
    assert refusal.value.issues[0].where == "DocumentReference.date"


@given(st.text(max_size=40))
def test_any_text_is_either_a_span_or_a_problem(text: str) -> None:
    if dates.problem(text) is None:
        span = dates.parse(text)
        assert dates.BEGIN <= span.lo < span.hi <= dates.END


@given(
    st.datetimes(timezones=st.just(UTC)),
    st.sampled_from(["", "Z", "+14:00", "-14:00", "+00:30"]),
    st.integers(1, 9),
)
def test_every_moment_of_every_year_has_a_span_in_time(
    moment: datetime, offset: str, digits: int
) -> None:
    head = f"{moment.year:04d}" + moment.strftime("-%m-%dT%H:%M:%S")
    fraction = f"{moment.microsecond:06d}000"[:digits]
    span = dates.parse(f"{head}.{fraction}{offset}")
    assert dates.BEGIN <= span.lo < span.hi <= dates.END
    wider = dates.parse(f"{head}{offset}")
    assert wider.contains(span) or wider.lo >= dates.END - timedelta(seconds=2)


@given(st.dates())
def test_a_day_lies_in_its_month_and_its_year(day: datetime) -> None:
    text = f"{day.year:04d}-{day.month:02d}-{day.day:02d}"
    assert dates.parse(text[:4]).contains(dates.parse(text[:7]))
    assert dates.parse(text[:7]).contains(dates.parse(text))
    assert dates.parse(text).hi - dates.parse(text).lo <= timedelta(days=1)


def test_a_period_is_open_where_it_has_no_bound() -> None:
    assert dates.period(None, None) is None
    assert dates.period("2020", None) == dates.Span(_at(2020, 1, 1), dates.END)
    assert dates.period(None, "2020") == dates.Span(dates.BEGIN, _at(2021, 1, 1))
    assert dates.period("2020-01", "2020-02") == dates.Span(_at(2020, 1, 1), _at(2020, 3, 1))


def test_a_period_that_ends_before_it_starts_is_still_a_span() -> None:
    assert dates.period("2021-05-05", "2020") == dates.Span(_at(2021, 5, 5), _at(2021, 5, 6))
