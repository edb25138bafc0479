"""When a document's time is over, as the affinity pack says."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affinity.pack import load
from affinity.retention import read
from repository.retention import Aged, Fellow, Hold, due, holding, latest, years_after

PACK = load("greater_manchester")
SYSTEM = f"{PACK.namespace}/CodeSystem/document-type"
BY_CLASS = {kind.retention: kind.code for kind in PACK.document_types.values()}
days = st.dates(date(1930, 1, 1), date(2030, 12, 31))


def types(*classes: str) -> tuple[tuple[str, str], ...]:
    return tuple((SYSTEM, BY_CLASS[c]) for c in classes)


def aged(*classes: str, fellows: tuple[Fellow, ...] = (), **dates: date | None) -> Aged:
    known = {"end": date(2010, 6, 1), "birth": date(2004, 2, 29), "death": None} | dates
    return Aged("d", "b", "Patient/p", "current", types(*classes), known["end"], known["birth"],
                known["death"], ("p", "q"), (Fellow(types(*classes), known["end"]), *fellows))  # fmt: skip


@pytest.mark.parametrize(
    ("classes", "more", "on"),
    [
        (["RC-CHILD"], {}, date(2029, 3, 1)),  # no 29 February in 2029
        (["RC-CHILD"], {"end": date(2021, 6, 1)}, date(2030, 3, 1)),  # aged 17 at the end
        (["RC-CHILD"], {"end": date(2022, 2, 28)}, date(2030, 3, 1)),
        (["RC-CHILD"], {"end": date(2022, 3, 1)}, date(2029, 3, 1)),
        (["RC-CHILD"], {"birth": None}, None),
        (["RC-CHILD"], {"end": None}, date(2030, 3, 1)),
        (["RC-ASQ"], {}, date(2028, 6, 1)),
        (["RC-ASQ"], {"fellows": (Fellow(types("RC-SEND"), None),)}, date(2035, 6, 1)),
        (["RC-SEND"], {}, date(2035, 3, 1)),
        (["RC-GP"], {}, None),
        (["RC-GP"], {"death": date(2015, 1, 1)}, date(2025, 1, 1)),
        (["RC-HOME"], {}, date(2016, 6, 1)),
        (["RC-HOME"], {"fellows": (Fellow(types("RC-HOME"), date(2019, 1, 1)),)}, date(2025, 1, 1)),
        (["RC-HOME"], {"fellows": (Fellow(types("RC-ADULT"), date(2019, 1, 1)),)}, date(2016, 6, 1)),
        (["RC-HOME"], {"end": None}, None),
        (["RC-CSC"], {}, date(2045, 6, 1)),
        (["RC-CSC"], {"birth": date(2025, 1, 1)}, date(2050, 1, 1)),
        (["RC-VICT"], {"birth": None}, None),
        (["RC-HOME", "RC-SEND"], {}, date(2035, 3, 1)),  # the longer of two
        (["RC-HOME", "RC-GP"], {}, None),
        (["RC-LAC"], {}, date(2079, 3, 1)),
    ],
)  # fmt: skip
def test_the_day_follows_from_the_class_and_the_dates(
    classes: list[str], more: dict[str, object], on: date | None
) -> None:
    found = due(aged(*classes, **more), PACK)  # type: ignore[arg-type]
    assert found.on == on, found.why
    assert found.reached(date(2100, 1, 1)) is (on is not None)


def test_a_type_without_a_class_is_never_due() -> None:
    unknown = replace(aged("RC-HOME"), types=(("http://x", "HL-APPR"),))
    assert due(unknown, PACK).on is None


@pytest.mark.parametrize("code", sorted(PACK.retention))
def test_every_class_can_be_worked_out_when_everything_is_known(code: str) -> None:
    cls = PACK.retention[code]
    if code not in BY_CLASS:
        pytest.fail(f"no document type is kept as {code}")
    found = due(aged(code, death=date(2020, 1, 1)), PACK)
    assert found.on is not None
    assert found.cls == cls


@given(days, days, days, st.sampled_from(sorted(BY_CLASS)))
def test_knowing_more_of_the_person_never_brings_the_day_forward(
    end: date, birth: date, other: date, code: str
) -> None:
    one = aged(code, end=end, birth=birth, death=end)
    more = replace(one, fellows=(*one.fellows, Fellow(types(code), other), Fellow(types("RC-SEND"), None)))  # fmt: skip
    before, after = due(one, PACK).on, due(more, PACK).on
    assert before is not None
    assert after is not None
    assert after >= before


@given(days, st.integers(0, 100))
def test_years_later_is_never_a_day_too_early(day: date, years: int) -> None:
    later = years_after(day, years)
    assert later.year == day.year + years
    assert (later.month, later.day) in ((day.month, day.day), (3, 1))


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2020-02-03", date(2020, 2, 3)), ("2020-02", date(2020, 2, 29)), ("2020", date(2020, 12, 31)),
        ("2020-12", date(2020, 12, 31)), ("2020-02-03T23:59:00+01:00", date(2020, 2, 3)), ("", None),
        ("soon", None), ("2020-13", None), ("2021-02-30", None),
    ],
)  # fmt: skip
def test_of_a_partial_date_the_last_day_counts(text: str, day: date | None) -> None:
    assert latest(text) == day


def test_a_hold_covers_documents_all_records_of_a_person_and_classes() -> None:
    one, cls = aged("RC-HOME"), PACK.retention["RC-HOME"]
    holds = [
        Hold("1", "SAR", documents=("d",)), Hold("2", "SAR", subjects=("Patient/q",)),
        Hold("3", "SAR", classes=("RC-HOME",)), Hold("4", "SAR", ("e",), ("Patient/r",), ("RC-GP",)),
    ]  # fmt: skip
    assert [h.id for h in holding(one, cls, holds)] == ["1", "2", "3"]
    assert [h.id for h in holding(one, None, holds)] == ["1", "2"]


ROW = {
    "code": "A", "title": "", "years": "1", "since": "end", "least_years": "", "least_since": "",
    "longer_when": "", "longer_years": "", "action": "destroy", "mark": "", "rule": "",
}  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        {"years": ""}, {"years": "x"}, {"since": "noon"}, {"least_years": "2"}, {"action": "burn"},
        {"longer_when": "A"}, {"longer_when": "B", "longer_years": "2"}, {"longer_years": "-1"},
    ],
)  # fmt: skip
def test_a_row_that_is_not_whole_is_refused_and_named(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="retention_classes"):
        read([ROW | wrong])


def test_the_latest_of_what_the_records_of_one_person_say_counts() -> None:
    from repository.neighbours import age

    said = {
        "document": "d", "binary": "b", "subject": "Patient/p", "status": "current", "types": [["s", "c"]],
        "end": "2020-05", "births": ["2001-01-01", "2001", ""], "deaths": [], "same": ["p"],
        "fellows": [{"types": [], "end": ""}],
    }  # fmt: skip
    found = age(said)
    assert (found.end, found.birth, found.death) == (date(2020, 5, 31), date(2001, 12, 31), None)
    assert found.end - date(2020, 5, 1) == timedelta(days=30)
