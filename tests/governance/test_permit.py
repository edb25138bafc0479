"""What a token's scope permits on a row."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.permit import WHOSE, Denied, Permit, decide, grant
from standards.rows import Needs, Public, Transaction, Unaudited

FIND = Needs("s", "DocumentReference", ("ITI-67",))


def a_row(scope: Needs | Public) -> Transaction:
    return Transaction(
        code="X", name="x", service="registry", interaction="search-type", resource="DocumentReference",
        routes=(), scope=scope, audit=Unaudited("a test"), see="",
    )  # fmt: skip


@pytest.mark.parametrize(
    "scope",
    [
        "system/DocumentReference.s", "system/DocumentReference.rs", "system/*.cruds", "user/*.s", "ITI-67",
        "openid system/DocumentReference.read", "system/Patient.r system/DocumentReference.s",
    ],
)  # fmt: skip
def test_a_scope_that_reaches_permits_the_whole_type(scope: str) -> None:
    decision = decide(scope, a_row(FIND))
    assert isinstance(decision, Permit)
    assert decision.narrow == ()
    assert set(decision.by) <= set(scope.split())


@pytest.mark.parametrize(
    "scope",
    [
        "", "openid", "ITI-66", "system/DocumentReference.r", "system/Patient.cruds", "iti-67", "ITI-67x",
        "patient/DocumentReference.rs", "patient/*.cruds", "system/DocumentReference.sr", "system/*.cud",
        "system/DocumentReference.rs?&",
    ],
)  # fmt: skip
def test_a_scope_that_does_not_reach_is_denied_and_told_what_would(scope: str) -> None:
    decision = decide(scope, a_row(FIND))
    assert isinstance(decision, Denied)
    assert decision.scope == "system/DocumentReference.s"
    assert decision.scope in decision.words


def test_restricted_scopes_narrow_by_any_of_them() -> None:
    decision = grant(
        "system/DocumentReference.s?category=a&status=x system/DocumentReference.s?category=b", FIND
    )
    assert isinstance(decision, Permit)
    assert set(decision.narrow) == {
        frozenset({("category", "a"), ("status", "x")}), frozenset({("category", "b")}),
    }  # fmt: skip


def test_one_unrestricted_scope_lifts_the_restriction_of_the_others() -> None:
    decision = grant("system/DocumentReference.s?category=a system/*.s", FIND)
    assert isinstance(decision, Permit)
    assert decision.narrow == ()


def test_a_transactions_own_name_permits_without_narrowing() -> None:
    decision = grant("system/DocumentReference.s?category=a ITI-67", FIND)
    assert isinstance(decision, Permit)
    assert (decision.by, decision.narrow) == (("ITI-67",), ())


def test_a_patients_scope_reaches_the_patients_record_only() -> None:
    found = grant("patient/*.rs", FIND, ("a", "b"))
    assert isinstance(found, Permit)
    assert found.narrow == (frozenset({(WHOSE, "a,b")}),)
    found = grant(
        "patient/DocumentReference.s?category=x user/DocumentReference.s?type=y", FIND, ("a",)
    )
    assert isinstance(found, Permit)
    assert set(found.narrow) == {
        frozenset({(WHOSE, "a"), ("category", "x")}), frozenset({("type", "y")}),
    }  # fmt: skip
    assert found.unasked.narrow not in ((), found.narrow), "without its queries nothing is left"
    whole = grant("patient/*.rs user/*.s", FIND, ("a",))
    assert isinstance(whole, Permit)
    assert whole.narrow == ()


def test_a_patient_whom_nobody_has_opens_nothing() -> None:
    for patients, word in ((None, "has no patient"), ((), "Nobody is known")):
        denied = grant("patient/*.rs", FIND, patients)
        assert isinstance(denied, Denied)
        assert word in denied.words
    assert isinstance(grant("ITI-67", FIND, ()), Denied)


def test_a_transactions_name_is_the_patients_when_the_token_has_one() -> None:
    found = grant("ITI-67", FIND, ("a",))
    assert isinstance(found, Permit)
    assert found.narrow == (frozenset({(WHOSE, "a")}),)
    assert isinstance(grant("ITI-94", Needs("r", "Subscription", ("ITI-94",)), ("a",)), Denied)
    steward = grant("throughline.steward", Needs("", "", ("throughline.steward",)), ("a",))
    assert steward == Permit(("throughline.steward",)), "what is about no type is about no patient"


def test_an_operation_that_cannot_keep_within_a_part_needs_the_whole() -> None:
    row = replace(a_row(FIND), interaction="operation")
    for scope in ("system/*.s?category=a", "patient/*.rs"):
        denied = decide(scope, row, ("a",))
        assert isinstance(denied, Denied)
        assert "reaches beyond" in denied.words
        assert isinstance(decide(scope, replace(row, narrows=True), ("a",)), Permit)
    assert decide("user/*.s patient/*.rs", row, ("a",)) == Permit(("user/*.s", "patient/*.rs"))


def test_who_lacks_a_right_is_told_of_the_level_at_which_it_has_others() -> None:
    denied = grant("user/Patient.r", FIND)
    assert isinstance(denied, Denied)
    assert denied.scope == "user/DocumentReference.s"


def test_two_permits_together_are_what_both_reach() -> None:
    part = Permit(("x",), (frozenset({("a", "1")}), frozenset({("b", "2")})))
    other = Permit(("y",), (frozenset({("c", "3")}),))
    both = part.both(other)
    assert set(both.narrow) == {
        frozenset({("a", "1"), ("c", "3")}),
        frozenset({("b", "2"), ("c", "3")}),
    }
    assert part.both(Permit()).narrow == Permit().both(part).narrow == part.narrow


def test_an_internal_door_opens_to_its_own_scope_only() -> None:
    door = Needs("", "", ("throughline.internal",))
    assert isinstance(grant("throughline.internal", door), Permit)
    denied = grant("system/*.cruds user/*.cruds", door)
    assert isinstance(denied, Denied)
    assert denied.scope == "throughline.internal"


def test_a_public_row_asks_for_nothing() -> None:
    assert decide("", a_row(Public("a test"))) == Permit()


_GROUPS = st.lists(st.frozensets(st.tuples(st.text(), st.text()), max_size=3), max_size=3)


@given(st.lists(st.text(), max_size=3), _GROUPS, st.text())
def test_a_permit_that_one_service_tells_another_is_the_same_permit(
    by: list[str], narrow: list[frozenset[tuple[str, str]]], version: str
) -> None:
    permit = Permit(tuple(by), tuple(narrow), version)
    assert Permit.heard(json.loads(json.dumps(permit.told()))) == permit


@pytest.mark.parametrize(
    "said",
    [
        {}, {"by": [], "narrow": []}, {"by": [], "version": "2"}, {"narrow": [], "version": "2"},
        {"by": [], "narrow": [[["a"]]], "version": "2"}, {"by": [], "narrow": None, "version": "2"},
        [], None,
    ],
)  # fmt: skip
def test_what_is_no_permit_is_never_heard_as_one_that_reaches_everything(said: Any) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Permit.heard(said)
