"""Bodies: what is read is what was written, digit by digit; what is broken says where."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.body import MAX_DEPTH, parse_json
from chassis.call import dumps
from standards.outcome import Refused

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x00")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(alphabet="abcxyz", max_size=5), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(st.dictionaries(st.text(alphabet="abcxyz", max_size=5), JSON, max_size=5))
def test_what_is_written_is_what_is_read(value: dict[str, object]) -> None:
    assert parse_json(json.dumps(value).encode()) == value
    assert parse_json(dumps(value)) == value


@given(st.decimals(allow_nan=False, allow_infinity=False, places=3))
def test_a_decimal_keeps_its_digits_through_a_store_and_back(number: Decimal) -> None:
    assert (
        dumps(parse_json(b'{"value":%s}' % str(number).encode()))
        == b'{"value":%s}' % str(number).encode()
    )


def test_a_broken_body_says_line_and_column() -> None:
    with pytest.raises(Refused) as refused:
        parse_json(b'{\n  "a": 1,\n  "b" 2\n}')
    assert "line 3, column 7" in refused.value.issues[0].words


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 1_000, 10_000, 100_000])
def test_nesting_is_bounded_and_brackets_in_strings_do_not_count(depth: int) -> None:
    with pytest.raises(Refused):
        parse_json(b'{"a":' + b"[" * depth + b"]" * depth + b"}")
    assert parse_json(b'{"a":"' + b"[{" * depth + b'\\""}')


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(body: bytes) -> None:
    try:
        assert isinstance(parse_json(body), dict)
    except Refused as refused:
        assert refused.status() == 400
