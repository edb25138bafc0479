"""Bodies: what is read is what was written, digit by digit; what is broken says where."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis import body as bodies
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


KEYS = st.sampled_from(["a", "b", "née", ""])
ODD = st.sampled_from(
    [b"1.10", b"-0", b"1e5", b"1E400", b"01", b"1.", b"NaN", b"9" * 5000, b"1e99999999999999999999",
     b"12345678901234567890123456789", b'"\xff"', b'"\xed\xa0\x80"', b'"\t"', b'"\x7f"', b'"\\u0041"',
     b'"\\""', b'"a"', b'" : "', b'""', b"true", b"null", b"[]", b"{}"]
)  # fmt: skip


def _object(members: list[tuple[str, bytes]]) -> bytes:
    return b"{" + b", ".join(f'"{k}" :'.encode() + v for k, v in members) + b"}"


OBJECTS = st.recursive(
    ODD, lambda inner: st.lists(st.tuples(KEYS, inner), max_size=3).map(_object), max_leaves=6
)


@given(
    st.lists(st.tuples(KEYS, OBJECTS), max_size=3),
    st.sampled_from([b"", b" ", b"\xef\xbb\xbf", b"x"]),
)
def test_the_fast_reader_reads_what_the_careful_one_reads_or_leaves_it_to_that(
    members: list[tuple[str, bytes]], around: bytes
) -> None:
    said = around + _object(members) + around
    plain = bodies._plain(said)
    if plain is not None:
        careful = bodies._careful(said)
        assert plain == careful
        assert _kinds(plain) == _kinds(careful)


def _kinds(value: object) -> object:
    if isinstance(value, dict):
        return {k: _kinds(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_kinds(v) for v in value]
    return type(value), str(value)


@pytest.mark.parametrize("where", [b"", b"\\n"])
def test_a_key_given_twice_is_refused_however_deep_and_whichever_reader_meets_it(
    where: bytes,
) -> None:
    said = b'{"note": "' + where + b'", "name": [{"family": "A", "use": "usual", "family": "A"}]}'
    with pytest.raises(Refused) as refused:
        parse_json(said)
    assert "“family” is given twice" in refused.value.issues[0].words


def test_a_number_beyond_all_that_can_be_held_is_no_fault_of_the_server() -> None:
    with pytest.raises(Refused) as refused:
        parse_json(b'{"a": 1e99999999999999999999}')
    assert refused.value.issues[0].words == "The body is not JSON that can be read."
