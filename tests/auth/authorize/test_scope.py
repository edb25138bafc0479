"""What of a scope an app may be given, and what a person may leave of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.authorize.scope import categories, lasting, narrowed, needs_patient, negotiated
from governance.scopes import outside
from standards.smart import plain

CEILING = ("openid", "offline_access", "online_access", "ITI-67", "patient/*.rs",
           "user/DocumentReference.rs", "user/Patient.r", "system/*.cruds")  # fmt: skip
TABLE = {"DocumentReference": [("s|PLAN", "plans"), ("s|NOTE", "notes"), ("s|TEST", "tests")]}


@pytest.mark.parametrize(
    ("asked", "given_"),
    [
        ("openid ITI-67", "openid ITI-67"),
        ("openid openid", "openid"),
        ("fhirUser ITI-65", ""),
        ("patient/*.rs", "patient/*.rs"),
        ("patient/*.read", "patient/*.read"),
        ("patient/*.*", "patient/*.read"),
        ("patient/*.write", ""),
        ("patient/Observation.cruds", "patient/Observation.rs"),
        ("patient/Observation.r?category=x", "patient/Observation.r?category=x"),
        ("patient/Observation.cr?category=x", "patient/Observation.r?category=x"),
        ("user/*.rs", "user/DocumentReference.rs user/Patient.r"),
        ("user/*.read", "user/DocumentReference.read user/Patient.r"),
        ("user/Patient.rs", "user/Patient.r"),
        ("user/Observation.rs", ""),
        ("system/*.rs", ""),
        ("patient/*.sr", ""),
        ("online_access offline_access", "offline_access"),
        ("online_access", "online_access"),
    ],
)
def test_less_is_given_where_more_was_asked(asked: str, given_: str) -> None:
    assert " ".join(negotiated(asked.split(), CEILING)) == given_


def test_a_ceiling_with_a_query_narrows_a_whole_type() -> None:
    made = negotiated(["user/Observation.rs"], ["user/Observation.rs?category=lab"])
    assert made == ("user/Observation.rs?category=lab",)


levels = st.sampled_from(["patient", "user", "system"])
kinds = st.sampled_from(["*", "Patient", "Observation", "DocumentReference"])
letters = st.sampled_from(["r", "s", "rs", "cud", "cruds", "read", "write", "*"])
queries = st.sampled_from(["", "", "?category=a", "?category=a&code=b"])
tokens = st.builds(
    lambda level, kind, acts, query: f"{level}/{kind}.{acts}" + ("" if acts in ("read", "write", "*") else query),
    levels, kinds, letters, queries,
)  # fmt: skip


@given(st.lists(tokens, max_size=4), st.lists(tokens, max_size=4))
def test_what_is_given_lies_within_both(asked: list[str], ceiling: list[str]) -> None:
    made = negotiated(asked, ceiling)
    assert outside(made, ceiling) == ()
    assert outside(made, asked) == ()
    assert not any(t.startswith("system/") for t in made)


@given(st.lists(tokens, max_size=4), st.sets(st.text(max_size=4)))
def test_nothing_that_is_posted_can_add_to_an_offer(offered: list[str], kept: set[str]) -> None:
    made = narrowed(offered, kept | {"0", "1.0", "99"}, TABLE)
    assert outside(made, offered) == ()


def test_a_person_may_leave_parts_of_a_type() -> None:
    offer = ("openid", "fhirUser", "launch/patient", "patient/DocumentReference.rs")
    assert narrowed(offer, {"0", "1", "3"}, TABLE) == offer
    assert narrowed(offer, {"3.0", "3.2"}, TABLE) == (
        "launch/patient",
        "patient/DocumentReference.rs?category=s|PLAN",
        "patient/DocumentReference.rs?category=s|TEST",
    )
    assert narrowed(offer, {"1"}, TABLE) == ("launch/patient",)  # fhirUser says nothing alone
    assert narrowed(offer, set(), TABLE) == ("launch/patient",)


def test_only_a_whole_type_in_v2_spelling_has_parts() -> None:
    assert len(categories("user/DocumentReference.rs", TABLE)) == 3
    for token in ("user/DocumentReference.read", "user/*.rs", "openid", "user/Patient.rs"):
        assert categories(token, TABLE) == ()


def test_a_patient_must_be_in_view_for_patient_scopes() -> None:
    assert needs_patient(["openid", "patient/Observation.r"])
    assert needs_patient(["launch/patient"])
    assert not needs_patient(["launch", "user/*.rs"])
    assert lasting(["offline_access"]) == "offline"
    assert lasting(["online_access"]) == "online"
    assert lasting(["openid"]) == ""


@pytest.mark.parametrize(
    ("token", "words"),
    [
        (
            "patient/*.rs",
            "Read all information, of the kinds there are today and of any that come later",
        ),
        ("user/DocumentReference.cruds", "Read, add, change and delete documents"),
        ("user/Patient.s", "Search names, birth dates, addresses and numbers of people"),
        ("patient/Observation.read", "Read measurements and observations"),
        ("patient/Observation.r?category=x", "Read measurements and observations (some of them)"),
        ("offline_access", "Keep this access when you have signed out"),
        ("ITI-67", "Find documents"),
    ],
)
def test_a_scope_reads_in_plain_english(token: str, words: str) -> None:
    assert plain(token, 90).title == words
