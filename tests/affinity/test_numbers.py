"""Check digits that are worked out here are those of the library whose rule they follow."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from stdnum.gb import nhs

from affinity.numbers import CHECKS

_DIGITS = st.text("0123456789", min_size=10, max_size=10)
_ARABIC = "".join(map(chr, range(0x660, 0x66A)))  # digits to Python, and to no NHS number
_ODD = st.one_of(
    st.text("0123456789 -", max_size=14),
    st.text(max_size=12),
    st.text(_ARABIC, min_size=10, max_size=10),
)


@given(st.one_of(_DIGITS, _ODD))
def test_an_nhs_number_is_valid_where_the_library_says_so(value: str) -> None:
    assert CHECKS["mod11"].holds(value) is nhs.is_valid(value)


@given(_DIGITS)
def test_one_check_digit_of_ten_fits(value: str) -> None:
    fitting = [d for d in "0123456789" if CHECKS["mod11"].holds(value[:9] + d)]
    assert fitting == [d for d in "0123456789" if nhs.is_valid(value[:9] + d)]
    assert len(fitting) <= 1
