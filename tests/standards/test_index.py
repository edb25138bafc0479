"""The values a resource is found by."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standards import dates
from standards.index import (
    contact,
    fold,
    moments,
    reference,
    references,
    strings,
    token,
    tokens,
    uris,
)

BASE = "https://exchange.example/fhir"


@pytest.mark.parametrize(
    ("value", "made"),
    [
        ("current", ["current", "|current"]),
        (True, ["true", "|true"]),
        ({"system": "urn:s", "code": "A"}, ["A", "urn:s|A", "urn:s|"]),
        ({"code": "A"}, ["A", "|A"]),
        ({"coding": [{"code": "A"}, {"system": "s", "code": "A"}]}, ["A", "|A", "s|A", "s|"]),
        ({"text": "in words only"}, [""]),
        ({"system": "urn:s", "value": "9"}, ["9", "urn:s|9", "urn:s|"]),
        ({"system": "urn:s", "value": r"a|b\c"}, [r"a\|b\\c", r"urn:s|a\|b\\c", "urn:s|"]),
        (
            {"system": "phone", "use": "home", "value": "0161 496 0000"},
            ["+441614960000", "phone|+441614960000", "home|+441614960000", "phone|", "home|"],
        ),
        (None, []),
        ([], []),
    ],
)
def test_tokens_have_every_form_a_search_may_take(value: Any, made: list[str]) -> None:
    assert tokens(value) == made


def test_a_bare_code_has_the_system_that_its_value_set_implies() -> None:
    assert tokens("male", "urn:gender") == ["male", "urn:gender|male", "urn:gender|"]


@given(st.text("ab|\\", max_size=4), st.text("ab|\\", min_size=1, max_size=4))
def test_a_token_never_passes_for_another(system: str, code: str) -> None:
    others = {token(s, c): (s, c) for s in (None, "", system) for c in ("", code) if s or c}
    assert len(others) == len({(s, c) for s in (None, "", system) for c in ("", code) if s or c})


@pytest.mark.parametrize(
    ("written", "folded"),
    [
        ("Ünal", "unal"),
        ("O’Brien", "obrien"),
        ("O'Brien", "obrien"),
        ("Smith-Jones", "smith jones"),
        ("  van   der Berg ", "van der berg"),
        ("Straße", "strasse"),
        ("Łódź", "lodz"),
        ("ﬁnch", "finch"),
        ("İnci", "inci"),
        ("---", ""),
        ("王小明", "王小明"),
    ],
)
def test_names_are_folded_to_what_people_type(written: str, folded: str) -> None:
    assert fold(written) == folded


@given(st.text(max_size=30))
def test_folding_twice_is_folding_once(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.text(max_size=20), st.integers(0, 20))
def test_the_start_of_a_text_folds_to_a_start_of_its_folding(text: str, length: int) -> None:
    assert fold(text).startswith(fold(text[:length]))


def test_strings_keep_what_was_written_and_their_ends_in_order() -> None:
    assert strings(["Zoë", "Ann", "Zoë", None, ""]) == {
        "f": ["zoe", "ann"], "x": ["Zoë", "Ann"], "lo": "ann", "hi": "zoe",
    }  # fmt: skip
    assert strings([]) is None
    assert strings(None) is None


def test_moments_take_dates_periods_and_clock_times() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
    assert moments("2026") == {
        "lo": datetime(2026, 1, 1, tzinfo=UTC),
        "hi": datetime(2027, 1, 1, tzinfo=UTC),
    }
    assert moments({"start": "2026"}) == {"lo": datetime(2026, 1, 1, tzinfo=UTC), "hi": dates.END}
    made = moments(now)
    assert made is not None
    assert made["hi"] - made["lo"] == dates.TICK
    assert moments(None) is None
    assert moments([]) is None
    assert moments({}) is None
    assert moments(["2020", "2022"]) == {
        "lo": datetime(2020, 1, 1, tzinfo=UTC), "hi": datetime(2023, 1, 1, tzinfo=UTC),
    }  # fmt: skip


def test_references_to_this_server_are_relative_and_have_no_version() -> None:
    assert reference(f"{BASE}/Patient/1/_history/3", BASE) == "Patient/1"
    assert reference("Patient/1") == "Patient/1"
    assert (
        reference("https://other.example/fhir/Patient/1", BASE)
        == "https://other.example/fhir/Patient/1"
    )
    assert reference("https://exchange.example/fhirx/Patient/1", BASE).startswith("https:")
    said = [
        {"reference": "Patient/1", "identifier": {"system": "s", "value": "v"}},
        {"reference": "#a"},
    ]
    assert references(said, BASE) == ["Patient/1", "?v", "?s|v", "?s|"]


def test_contacts_are_compared_without_their_punctuation() -> None:
    assert contact("tel:+44 (161) 496-0000") == "+441614960000"
    assert contact("0044 161 496 0000") == contact("0161 496 0000") == "+441614960000"
    assert contact("MAILTO:Ann@Example.ORG ") == "ann@example.org"
    assert contact("") == ""


def test_uris_are_kept_as_they_are() -> None:
    assert uris(["urn:a", "urn:a", None]) == ["urn:a"]
