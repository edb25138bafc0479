"""The words that make a refusal readable."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from standards.words import LONGEST, nearest, one_of, shown

NAMES = ["birthDate", "name", "gender", "active"]


def test_the_nearest_name_is_found_whatever_its_case() -> None:
    assert nearest("birthdate", NAMES) == "birthDate"
    assert nearest("nmae", NAMES) == "name"


def test_nothing_is_suggested_for_something_else() -> None:
    assert nearest("zzz", NAMES) is None
    assert nearest("", NAMES) is None
    assert nearest("name", []) is None
    assert nearest("n" * 1000, NAMES) is None


@given(st.text())
def test_a_shown_name_is_short_and_printable(name: str) -> None:
    assert shown(name).isprintable()
    assert len(shown(name)) <= LONGEST + 2


def test_a_list_reads_as_a_sentence_and_a_long_one_is_cut() -> None:
    assert one_of(["a"]) == "a"
    assert one_of(["a", "b"]) == "a or b"
    assert one_of("abc") == "a, b or c"
    assert one_of("abcd", most=2) == "a, b … (4 in all)"
    assert one_of([]) == ""
