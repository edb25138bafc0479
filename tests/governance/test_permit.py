"""What a token's scope permits on a row."""

from __future__ import annotations

import pytest

from governance.permit import Denied, Permit, decide, grant
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


def test_an_internal_door_opens_to_its_own_scope_only() -> None:
    door = Needs("", "", ("throughline.internal",))
    assert isinstance(grant("throughline.internal", door), Permit)
    denied = grant("system/*.cruds user/*.cruds", door)
    assert isinstance(denied, Denied)
    assert denied.scope == "throughline.internal"


def test_a_public_row_asks_for_nothing() -> None:
    assert decide("", a_row(Public("a test"))) == Permit()
