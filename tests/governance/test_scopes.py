"""SMART v2 scopes: the grammar, and what lies inside what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.scopes import Scope, covers, granted, outside, parse, spelled

LETTERS = "cruds"
letters = st.sets(st.sampled_from(LETTERS), min_size=1).map(
    lambda s: "".join(x for x in LETTERS if x in s)
)
levels = st.sampled_from(["patient", "user", "system"])
types = st.sampled_from(["*", "Patient", "Observation", "DocumentReference"])
queries = st.lists(
    st.tuples(st.sampled_from(["category", "status", "type"]), st.sampled_from(["a", "b", "http%3A%2F%2Fc"])),
    max_size=3,
).map(lambda pairs: "&".join(f"{n}={v}" for n, v in pairs))  # fmt: skip
clinical = st.builds(
    lambda level, kind, perms, query: f"{level}/{kind}.{perms}" + (f"?{query}" if query else ""),
    levels, types, letters, queries,
)  # fmt: skip


@given(clinical)
def test_every_well_formed_scope_is_understood(token: str) -> None:
    made = parse(token)
    assert made is not None
    assert made.raw == token
    assert bool(made.query) == ("?" in token)


@pytest.mark.parametrize(
    "token",
    [
        "", "openid", "ITI-67", "launch/patient", "system/Patient", "system/Patient.", "system/Patient.sr",
        "system/Patient.dus", "system/Patient.rr", "system/patient.r", "System/Patient.r", "system/*.x",
        "system/Patient.read?status=x", "system/Patient.r?", "system/Patient.r?&", "system/Patient.r?&&",
        "system/Patient.r?=x", "system/Patient.r?a=%ff", "system/Patient.r\n", "system/Patient.r system/*.s",
        "systemx/Patient.r", "system//Patient.r", "system/Patient2.r", "system/Patient.rs?" + "a=b&" * 50,
    ],
)  # fmt: skip
def test_what_is_no_clinical_scope_is_not_taken_for_one(token: str) -> None:
    assert parse(token) is None


@pytest.mark.parametrize(("v1", "v2"), [("read", "rs"), ("write", "cud"), ("*", "cruds")])
def test_the_words_of_version_one_mean_letters_of_version_two(v1: str, v2: str) -> None:
    old, new = parse(f"system/Patient.{v1}"), parse(f"system/Patient.{v2}")
    assert old is not None
    assert new is not None
    assert (covers(old, new), covers(new, old)) == (True, True)


def test_the_query_part_is_read_as_percent_encoded_pairs() -> None:
    made = parse("patient/Observation.rs?category=http%3A%2F%2Fx%7Clab&status=final")
    assert made is not None
    assert made.query == {("category", "http://x|lab"), ("status", "final")}


@given(clinical)
def test_a_scope_lies_inside_itself(token: str) -> None:
    assert outside([token], [token]) == ()


@given(clinical, clinical, clinical)
def test_lying_inside_is_transitive(a: str, b: str, c: str) -> None:
    if not outside([a], [b]) and not outside([b], [c]):
        assert outside([a], [c]) == ()


def _allows(scope: Scope, kind: str, letter: str, facts: frozenset[tuple[str, str]]) -> bool:
    """What a scope means: this letter on a resource of this type with these facts."""
    return scope.resource in ("*", kind) and letter in scope.letters and scope.query <= facts


@given(
    clinical, st.lists(clinical, max_size=4), st.sampled_from(["Patient", "Observation", "Task"]),
    st.sampled_from(LETTERS),
    st.frozensets(st.tuples(st.sampled_from(["category", "status"]), st.sampled_from("ab"))),
)  # fmt: skip
def test_nothing_inside_the_ceiling_reaches_beyond_it(
    wanted: str, ceiling: list[str], kind: str, letter: str, facts: frozenset[tuple[str, str]]
) -> None:
    if outside([wanted], ceiling):
        return
    asked = parse(wanted)
    assert asked is not None
    held = [s for s in map(parse, ceiling) if s and s.level == asked.level]
    if _allows(asked, kind, letter, facts):
        assert any(_allows(s, kind, letter, facts) for s in held)


def test_the_ceiling_holds_letter_by_letter() -> None:
    assert outside(["system/Patient.rs"], ["system/Patient.r", "system/*.s"]) == ()
    assert outside(["system/Patient.rs"], ["system/*.cruds"]) == ()
    assert outside(["system/*.r"], ["system/Patient.r"]) == ("system/*.r",)
    assert outside(["system/Patient.cr"], ["system/Patient.r"]) == ("system/Patient.cr",)
    assert outside(["patient/Patient.r"], ["system/*.cruds"]) == ("patient/Patient.r",)


def test_a_restricted_scope_lies_inside_the_whole_type_and_not_the_reverse() -> None:
    part, whole = "system/Observation.rs?category=lab", "system/Observation.rs"
    assert outside([part], [whole]) == ()
    assert outside([whole], [part]) == (whole,)
    assert outside([part + "&status=final"], [part]) == ()


def test_other_words_are_compared_as_they_stand() -> None:
    assert outside(["ITI-67", "openid"], ["ITI-67"]) == ("openid",)
    assert outside(["system/Patient.sr"], ["system/*.cruds"]) == ("system/Patient.sr",)
    assert outside([], []) == ()


# -- what is granted of what is asked ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "ceiling", "given"),
    [
        ("patient/*.rs openid", "patient/*.cruds openid fhirUser", "patient/*.rs openid"),
        ("patient/*.cruds", "patient/Patient.rs patient/List.r", "patient/Patient.rs patient/List.r"),
        ("patient/*.read", "patient/Patient.cruds patient/List.r", "patient/Patient.read patient/List.r"),
        ("patient/Patient.*", "patient/*.read", "patient/Patient.read"),
        ("system/Patient.rs", "patient/*.cruds", ""),
        ("offline_access launch", "launch", "launch"),
        ("patient/List.rs", "patient/List.rs?code=folder", "patient/List.rs?code=folder"),
        ("patient/List.rs?status=current", "patient/*.r?code=folder",
         "patient/List.r?code=folder&status=current"),
        ("patient/List.cruds", "patient/List.rs?code=folder patient/List.r patient/*.s",
         "patient/List.rs"),
        ("patient/List.rs", "patient/*.r?code=folder patient/*.rs?code=folder&date=2026",
         "patient/List.r?code=folder patient/List.rs?code=folder&date=2026"),
        ("patient/Observation.rs?category=http://a.example/c|lab", "patient/*.rs",
         "patient/Observation.rs?category=http://a.example/c|lab"),
        ("patient/Observation.sr", "patient/*.cruds", ""),
    ],
)  # fmt: skip
def test_less_is_granted_where_more_is_asked_for_in_the_spelling_of_the_request(
    asked: str, ceiling: str, given: str
) -> None:
    assert granted(asked.split(), ceiling.split()) == tuple(given.split())


@given(st.lists(clinical, max_size=3), st.lists(clinical, max_size=3))
def test_what_is_granted_lies_inside_the_request_and_the_ceiling(
    asked: list[str], ceiling: list[str]
) -> None:
    given = granted(asked, ceiling)
    assert outside(given, ceiling) == ()
    assert outside(given, asked) == ()
    assert granted(given, ceiling) == given


@given(
    st.lists(clinical, max_size=3), st.lists(clinical, max_size=3), levels,
    st.sampled_from(["Patient", "Observation", "Task"]), st.sampled_from(LETTERS),
    st.frozensets(st.tuples(st.sampled_from(["category", "status"]), st.sampled_from("ab"))),
)  # fmt: skip
def test_nothing_that_both_allow_is_withheld(
    asked: list[str], ceiling: list[str], level: str, kind: str, letter: str,
    facts: frozenset[tuple[str, str]],
) -> None:  # fmt: skip
    def allowed(tokens: list[str] | tuple[str, ...]) -> bool:
        scopes = [s for s in map(parse, tokens) if s and s.level == level]
        return any(_allows(s, kind, letter, facts) for s in scopes)

    assert allowed(granted(asked, ceiling)) == (allowed(asked) and allowed(ceiling))


@given(clinical)
def test_a_scope_that_is_spelled_out_again_means_the_same(token: str) -> None:
    made = parse(token)
    assert made is not None
    again = parse(spelled(made))
    assert again is not None
    assert (again.letters, again.query, again.resource) == (made.letters, made.query, made.resource)


def test_a_scope_may_be_written_with_its_full_name() -> None:
    made = parse("http://smarthealthit.org/fhir/scopes/patient/Patient.rs")
    assert made is not None
    assert (made.level, made.resource) == ("patient", "Patient")
