"""The grammar of searches."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standards import dates
from standards.outcome import Refused
from standards.rows import SearchParameter
from standards.search import (
    LONGEST,
    MOST,
    Search,
    Target,
    Token,
    When,
    escaped,
    parse,
    unescaped,
)
from standards.subset import Subset

BASE = "https://exchange.example/fhir"


def _row(name: str, type_: str, *modifiers: str, targets: tuple[str, ...] = ()) -> SearchParameter:
    return SearchParameter(
        name,
        type_,
        "Thing",
        name,
        "",
        "",
        modifiers=modifiers,
        targets=targets,  # type: ignore[arg-type]
    )


ROWS = (
    _row("code", "token", "missing", "not"),
    _row("telecom", "token"),
    _row("name", "string", "exact", "contains", "missing"),
    _row("author.given", "string", "exact"),
    _row("date", "date", "missing"),
    _row("author", "reference", targets=("Practitioner", "Patient")),
    _row("patient", "reference", "missing", targets=("Patient",)),
    _row("patient.identifier", "token"),
    _row("related", "reference", "identifier"),
    _row("community", "uri"),
)


def read(*pairs: tuple[str, str], strict: bool = True) -> Search:
    return parse(
        pairs,
        ROWS,
        resource="Thing",
        strict=strict,
        base=BASE,
        now=datetime(2026, 1, 1, tzinfo=UTC),
    )


def only(name: str, value: str) -> tuple[object, ...]:
    return read((name, value)).clauses[0].values


def faults(*pairs: tuple[str, str], strict: bool = True) -> list[tuple[str, str, str]]:
    with pytest.raises(Refused) as refusal:
        read(*pairs, strict=strict)
    assert refusal.value.status() == 400
    return [(i.kind.name, i.where, i.words) for i in refusal.value.issues]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("a", Token(None, "a")),
        ("s|a", Token("s", "a")),
        ("|a", Token("", "a")),
        ("s|", Token("s", "")),
        ("s|a|b", Token("s", "a|b")),
        (r"a\|b", Token(None, "a|b")),
        (r"s\|t|a\|b", Token("s|t", "a|b")),
        (r"s|a\,b\$c\\d", Token("s", r"a,b$c\d")),
        ("$where", Token(None, "$where")),
        ('{"$ne":null}', Token(None, '{"$ne":null}')),
        (r"a\b", Token(None, r"a\b")),
        ("a\\", Token(None, "a\\")),
    ],
)
def test_a_token_has_four_forms_and_escapes(written: str, meant: Token) -> None:
    assert only("code", written) == (meant,)


@given(st.lists(st.text(r"ab,|$\ é", min_size=1, max_size=8), min_size=1, max_size=4))
def test_what_is_escaped_comes_back_as_it_was(codes: list[str]) -> None:
    written = ",".join("urn:s|" + escaped(c) for c in codes)
    assert only("code", written) == tuple(Token("urn:s", c) for c in codes)


@given(st.text())
def test_escaping_is_undone_by_unescaping(text: str) -> None:
    assert unescaped(escaped(text)) == text


NAMES = [
    *(r.name for r in ROWS), "_count", "_sort", "_total", "_summary", "_include", "_id", "_lastUpdated",
    "name:exact", "x", "a.b:c.d:",
]  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.text(max_size=12)), max_size=5), st.booleans())
def test_any_query_is_understood_or_refused(pairs: list[tuple[str, str]], strict: bool) -> None:
    try:
        found = read(*pairs, strict=strict)
    except Refused as refusal:
        assert refusal.status() == 400
        assert all(i.words for i in refusal.issues)
    else:
        assert read(*found.used).clauses == found.clauses, "the self link finds the same"


def test_repeating_means_and_while_a_comma_means_or() -> None:
    found = read(("code", "a,b"), ("code", "c"))
    assert [len(c.values) for c in found.clauses] == [2, 1]
    assert [len(c.values) for c in found.of("code")] == [2, 1]


@pytest.mark.parametrize(
    ("name", "written", "keys"),
    [
        ("patient", "1", ("Patient/1",)),
        ("patient", "Patient/1", ("Patient/1",)),
        ("patient", "Patient/1/_history/2", ("Patient/1",)),
        ("patient", f"{BASE}/Patient/1", ("Patient/1",)),
        ("patient", "https://other/fhir/Patient/1", ("https://other/fhir/Patient/1",)),
        ("patient", "urn:uuid:1", ("urn:uuid:1",)),
        ("patient:Patient", "1", ("Patient/1",)),
        ("author", "1", ("Practitioner/1", "Patient/1")),
        ("author:Practitioner", "1", ("Practitioner/1",)),
        ("related", "Thing/1", ("Thing/1",)),
    ],
)
def test_a_reference_is_an_id_a_type_with_id_or_a_url(
    name: str, written: str, keys: tuple[str, ...]
) -> None:
    clause = read((name, written)).clauses[0]
    assert clause.values == (Target(keys),)
    assert clause.modifier == ""


def test_a_logical_reference_is_asked_for_by_identifier_in_both_spellings() -> None:
    for name in ("related:identifier", "related.identifier"):
        clause = read((name, "urn:s|7")).clauses[0]
        assert (clause.name, clause.modifier, clause.values) == (
            "related",
            "identifier",
            (Token("urn:s", "7"),),
        )


def test_a_chain_may_say_the_type_it_goes_through() -> None:
    assert read(("author:Practitioner.given:exact", "Ann")).clauses[0].name == "author.given"
    assert read(("patient:Patient.identifier", "s|1")).clauses[0].name == "patient.identifier"
    assert faults(("author:Device.given", "Ann"))


@pytest.mark.parametrize("prefix", ["eq", "ne", "lt", "gt", "le", "ge", "sa", "eb"])
def test_a_date_has_a_prefix_and_its_own_precision(prefix: str) -> None:
    assert only("date", prefix + "2020-02") == (When(prefix, dates.parse("2020-02")),)  # type: ignore[arg-type]


def test_a_date_without_prefix_is_equal_and_an_approximate_one_is_wider() -> None:
    assert only("date", "2020") == (When("eq", dates.parse("2020")),)
    (when,) = only("date", "ap2025")
    assert isinstance(when, When)
    assert when.span.lo < datetime(2024, 12, 1, tzinfo=UTC)
    assert only("date", "ap0001") != only("date", "0001")


def test_a_number_is_found_however_it_was_punctuated() -> None:
    assert only("telecom", "0161 496 0000") == (Token(None, "+441614960000"),)


@pytest.mark.parametrize(
    ("pair", "kind", "hint"),
    [
        (("dat", "2020"), "unknown-parameter", 'Did you mean "date"?'),
        (("_lastupdated", "2020"), "unknown-parameter", '"_lastUpdated"'),
        (("$where", "1"), "unknown-parameter", "It takes"),
        (("date:above", "2020"), "not-supported", ":missing"),
        (("name:phonetic", "x"), "not-supported", ":exact"),
        (("name:", "x"), "not-supported", "no modifier"),
        (("_sort", "code"), "not-supported", "sort by"),
        (("_include", "Other:x"), "not-supported", "leads"),
    ],
)
def test_what_is_not_offered_is_refused_or_left_out_and_told(
    pair: tuple[str, str], kind: str, hint: str
) -> None:
    ((found, _, words),) = faults(pair)
    assert (found, hint in words) == (kind, True)
    lenient = read(pair, ("code", "a"), strict=False)
    assert lenient.used == (("code", "a"),)
    assert [i.severity for i in lenient.ignored] == ["warning"]


@pytest.mark.parametrize(
    "pair",
    [
        ("code", ""),
        ("code", "|"),
        ("code", "a,,b"),
        ("code", "a\0b"),
        ("code", "\ud800"),
        ("code", "x" * (LONGEST + 1)),
        ("code", ",".join(["x"] * (MOST + 1))),
        ("code:missing", "maybe"),
        ("name", "-"),
        ("date", "0000"),
        ("date", "99999"),
        ("date", "2023-02-31"),
        ("date", "xx2020"),
        ("patient", "Practitioner/1"),
        ("patient", "Patient/"),
        ("patient:Patient", "Device/1"),
        ("related", "1"),
        ("_id", "s|1"),
        ("_count", "-1"),
        ("_count", "ten"),
        ("_count", "١"),
        ("_count", ""),
        ("_sort", "nothing"),
        ("_sort", "date,-date"),
        ("_sort", "date,"),
        ("_sort", "date,name,_id,_lastUpdated,author.given"),
        ("_total", "maybe"),
        ("_summary", "some"),
        ("_include", "Thing"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_in_either_mode(pair: tuple[str, str]) -> None:
    for strict in (True, False):
        ((kind, where, words),) = faults(pair, strict=strict)
        assert kind == "invalid"
        assert where == pair[0].partition(":")[0]
        assert words.endswith(".")


def test_all_mistakes_are_told_at_once() -> None:
    told = faults(
        ("dat", "1"), ("date", "0000"), ("_count", "x"), ("_count", "1"), ("name:foo", "x")
    )
    assert [where for _, where, _ in told] == ["dat", "date", "_count", "_count", "name"]


def test_the_page_is_never_larger_than_the_server_allows() -> None:
    found = parse([("_count", "00000000005000")], ROWS, resource="Thing", max_count=100)
    assert found.count == 100
    assert found.used == (("_count", "100"),)
    assert parse([("_count", "9" * 400)], ROWS, resource="Thing", max_count=100).count == 100
    assert parse([], ROWS, resource="Thing", max_count=7).count == 7


def test_nothing_but_the_count_is_asked_by_count_zero_or_summary() -> None:
    assert read(("_count", "0")).only_count
    assert read(("_summary", "count")).only_count
    assert not read(("_summary", "false"), ("_format", "xml")).only_count


def test_a_part_of_each_resource_is_asked_for_by_summary_or_by_elements() -> None:
    assert read(("_summary", "true")).subset == Subset(
        "true", "Thing", pairs=(("_summary", "true"),)
    )
    assert read(("_summary", "false")).subset is None
    assert read(("_summary", "count")).subset is None
    asked = parse([("_elements", "status,type")], ROWS, resource="DocumentReference")
    assert asked.subset is not None
    assert asked.subset.elements == {"status", "type"}
    assert asked.used == (("_elements", "status,type"),)


def test_a_narrative_alone_brings_nothing_along() -> None:
    ((kind, where, _),) = faults(("_summary", "text"), ("_include", "Thing:patient"))
    assert (kind, where) == ("invalid", "_summary")


def test_the_order_may_have_several_keys_and_directions() -> None:
    assert [k.said for k in read(("_sort", "-date,name,_id")).sort] == ["-date", "name", "_id"]


def test_a_cursor_stands_alone() -> None:
    assert read(("_cursor", "abc")).cursor == "abc"
    assert faults(("_cursor", "abc"), ("code", "a"))


def test_a_query_as_a_whole_has_a_limit() -> None:
    assert "longer" in faults(*[("code", "x" * LONGEST)] * 9)[0][2]


def test_limits_on_presence_do_not_count_as_limits() -> None:
    assert read(("date", "2020")).has("date")
    assert not read(("date:missing", "true")).has("date")
