"""The structure check against fhir.resources as oracle, and against itself."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class
from hypothesis import given, settings
from hypothesis import strategies as st

from standards.fhir_xml import parse, render
from standards.outcome import STRUCTURE, Refused
from standards.r4.accept import plainly_right
from standards.r4.check import MOST_ISSUES, check_structure
from standards.r4.containment import MAX_DEPTH
from standards.r4.definition import resource_types
from standards.r4.walk import walk
from tests.standards.r4_resources import (
    FAULTS,
    OURS,
    VALUES,
    WRONG_TEXT,
    Fault,
    a_resource,
    with_fault,
)

SEEDS = st.integers(0, 2**32 - 1)
FEW = settings(max_examples=40, deadline=None)

# Where fhir.resources takes what R4 forbids, and we refuse it: every difference is on purpose.
ORACLE_TAKES = {
    "bogus_code": "it knows the codes of required bindings and does not check them",
    "dangling_reference": "it does not look for contained resources",
    "empty_list": "JSON arrays are never empty (json.html)",
    "empty_object": "an element has a value or children (ele-1)",
    "empty_text": "it refuses an empty string, but takes an empty uri, url or canonical",
    "null": "null only fills places in arrays of primitives (json.html)",
    "number_for_text": "it takes a number for a time or dateTime, as seconds",
    "text_for_number": "it takes '1' for 1 and 'true' for true",
    "wrong_format": "it takes a uri with spaces and an id longer than 64",
}


def oracle_accepts(resource: dict[str, Any]) -> bool:
    model = get_fhir_model_class(resource["resourceType"])
    try:
        model.model_validate_json(json.dumps(resource, default=float))
    except (ValueError, TypeError, AttributeError):  # it stumbles where it wants a url
        return False
    return True


def words(resource: Any) -> list[str]:
    return [i.words for i in check_structure(resource)]


def a_patient(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", **more}


def a_value(kind: str, value: Any) -> dict[str, Any]:
    name = "value" + kind[0].upper() + kind[1:]
    return {"resourceType": "Parameters", "parameter": [{"name": "a", name: value}]}


# -- agreement ------------------------------------------------------------------------------------


@FEW
@given(SEEDS, st.sampled_from(OURS))
def test_a_right_resource_is_accepted_by_us_and_by_the_oracle(seed: int, kind: str) -> None:
    resource = a_resource(Random(seed), kind)
    assert check_structure(resource) == ()
    assert plainly_right(resource), "an ordinary resource must not need the walker"
    assert oracle_accepts(resource)


@FEW
@given(SEEDS, st.sampled_from(OURS))
def test_extensions_on_primitives_are_accepted_by_us_and_by_the_oracle(
    seed: int, kind: str
) -> None:
    resource = a_resource(Random(seed), kind, siblings=True)
    assert check_structure(resource) == ()
    assert oracle_accepts(resource)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.__name__)
def test_a_resource_with_one_fault_is_refused_as_the_oracle_or_on_purpose(fault: Fault) -> None:
    @settings(max_examples=25, deadline=None)
    @given(SEEDS, st.sampled_from(OURS))
    def one_fault(seed: int, kind: str) -> None:
        random = Random(seed)
        broken = with_fault(random, a_resource(random, kind), fault)
        if broken is None:
            return
        assert check_structure(broken), broken
        assert not oracle_accepts(broken) or fault.__name__ in ORACLE_TAKES, broken

    one_fault()


def test_every_listed_difference_from_the_oracle_still_is_one() -> None:
    assert set(ORACLE_TAKES) <= {f.__name__ for f in FAULTS}
    examples = {
        "bogus_code": a_patient(gender="bogus"),
        "dangling_reference": a_patient(managingOrganization={"reference": "#nowhere"}),
        "empty_list": a_patient(name=[]),
        "empty_object": a_patient(name=[{}]),
        "empty_text": a_value("uri", ""),
        "null": a_patient(gender=None),
        "number_for_text": a_value("time", 12),
        "text_for_number": a_patient(active="true"),
        "wrong_format": a_value("uri", "a b"),
    }
    assert set(examples) == set(ORACLE_TAKES)
    for name, resource in examples.items():
        assert oracle_accepts(resource), f"{name}: the oracle refuses it now, strike the row"
        assert check_structure(resource), name


@settings(max_examples=150, deadline=None)
@given(SEEDS, st.sampled_from(OURS), st.sampled_from(FAULTS), st.booleans())
def test_the_fast_path_never_accepts_what_the_walker_refuses(
    seed: int, kind: str, fault: Fault, siblings: bool
) -> None:
    random = Random(seed)
    resource = a_resource(random, kind, siblings=siblings)
    for each in (resource, with_fault(random, resource, fault)):
        if each is not None and plainly_right(each):
            assert walk(each, 5).kept == []


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.sampled_from(sorted(resource_types())))
def test_every_resource_type_of_r4_can_be_made_and_is_accepted(seed: int, kind: str) -> None:
    resource = a_resource(Random(seed), kind)
    assert check_structure(resource) == ()
    # The one type with an element named resourceType, which the fast path leaves to the walker.
    assert plainly_right(resource) or kind == "ExampleScenario"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["resourceType", "id", "name", "_id", "contained", "extension", "url", "zz", ""]
            ),
            inner | st.sampled_from(["Patient", "Bundle"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(JSON, JSON)
def test_no_json_at_all_makes_the_check_fail(top: Any, inside: Any) -> None:
    for resource in (top, a_patient(name=inside, extension=top), a_patient(contained=inside)):
        issues = check_structure(resource)
        assert all(i.kind is STRUCTURE and i.words for i in issues)
        if isinstance(resource, dict) and plainly_right(resource):
            assert walk(resource, 5).kept == []


# -- the words and the places ---------------------------------------------------------------------


def places(resource: Any) -> list[str]:
    return [i.where for i in check_structure(resource)]


def test_all_faults_are_told_at_once_each_with_its_place() -> None:
    resource = a_patient(
        nmae="x", gender="femal", birthDate="2023-02-29", name=[{"given": ["A", ""]}], active="yes"
    )
    assert places(resource) == [
        "Patient.nmae",
        "Patient.gender",
        "Patient.birthDate",
        "Patient.name[0].given[1]",
        "Patient.active",
    ]
    told = words(resource)
    assert "did you mean 'name'?" in told[0]
    assert "male, female, other or unknown" in told[1]
    assert "2024-05-17" in told[2]


def test_a_place_inside_a_bundle_leads_through_entry_and_resource() -> None:
    entry = {"resource": a_patient(name=[{"family": 1}])}
    bundle = {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [{"resource": a_patient()}, entry],
    }
    assert places(bundle) == ["Bundle.entry[1].resource.name[0].family"]


@pytest.mark.parametrize(
    ("resource", "hint"),
    [
        (None, "must be a resource"),
        ([], "must be a resource"),
        ({}, "has no resourceType"),
        ({"resourceType": 1}, "has no resourceType"),
        ({"resourceType": "Patiant"}, "did you mean Patient?"),
        ({"resourceType": "DomainResource"}, "is no resource type"),
        ({"resourceType": "SubscriptionTopic"}, "is no resource type"),
        (a_patient(deceasedBoolean=True, deceasedDateTime="2020"), "keep one"),
        (a_patient(extension=[{"url": "a"}]), "either one value or nested"),
        (
            a_patient(
                extension=[
                    {"url": "a", "valueCode": "b", "extension": [{"url": "c", "valueCode": "d"}]}
                ]
            ),
            "ext-1",
        ),
        (a_patient(extension=[{"valueCode": "a"}]), "is required"),
        (a_patient(name=[{"id": "only"}]), "is empty"),
        (a_patient(multipleBirthInteger=True), "whole number"),
        (a_patient(multipleBirthInteger=Decimal("1.0")), "whole number"),
        (a_patient(_gender={"extension": [{"url": "a"}]}), "either one value"),
        (a_patient(_gender=[{"id": "a"}]), "must be an object"),
        (a_patient(_name=[{"id": "a"}]), "cannot have a sibling"),
        (a_patient(_id={"id": "a"}), "cannot have a sibling"),
        (a_patient(name=[{"given": [None], "_given": [None]}]), "is null"),
        (a_patient(name=[{"given": ["a", "b"], "_given": [{"id": "a"}]}]), "of one length"),
        (a_patient(name=[{"given": ["a", None]}]), "is null"),
        ({"resourceType": "Observation", "code": {"text": "x"}}, "is required"),
    ],
)
def test_what_is_wrong_is_said(resource: Any, hint: str) -> None:
    told = words(resource)
    assert len(told) == 1
    assert hint in told[0]


def test_a_primitive_may_have_only_extensions_and_an_array_gaps() -> None:
    reason = {"extension": [{"url": "http://example.org/reason", "valueCode": "unknown"}]}
    name = {"given": ["A", None], "_given": [None, reason], "_family": reason}
    assert check_structure(a_patient(_birthDate=reason, name=[name])) == ()
    observation = {"resourceType": "Observation", "_status": reason, "code": {"text": "x"}}
    assert check_structure(observation) == ()


@pytest.mark.parametrize(("kind", "value"), [(k, v) for k, vs in WRONG_TEXT.items() for v in vs])
def test_a_primitive_of_a_wrong_format_is_refused(kind: str, value: str) -> None:
    assert "must be" in words(a_value(kind, value))[0]
    assert places(a_value(kind, value)) == ["Parameters.parameter[0].value"]


@pytest.mark.parametrize(
    ("kind", "value"),
    [(k, v) for k, vs in VALUES.items() if k != "xhtml" for v in vs]
    + [
        ("decimal", 1.5),
        ("instant", "2016-12-31T23:59:60Z"),
        ("base64Binary", "QUJD\nQUJD"),
        ("date", "9999-12-31"),
    ],
)
def test_a_primitive_of_a_right_format_is_accepted(kind: str, value: Any) -> None:
    assert check_structure(a_value(kind, value)) == ()


@pytest.mark.parametrize("text", ["", "a\x0bb", "nul\x00", "\ud800", "x" * (1024 * 1024 + 1)])
def test_text_that_fhir_cannot_carry_is_refused(text: str) -> None:
    assert len(words(a_value("string", text))) == 1


# -- contained resources --------------------------------------------------------------------------


def an_organization(known: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Organization", "id": known, "name": "x", **more}


def tied(*contained: dict[str, Any], to: tuple[str, ...]) -> dict[str, Any]:
    return a_patient(contained=list(contained), generalPractitioner=[{"reference": r} for r in to])


PLAIN = an_organization("a")
NESTED = an_organization("a", contained=[an_organization("b")])


@pytest.mark.parametrize(
    ("resource", "where", "hint"),
    [
        (tied(PLAIN, to=("#b", "#a")), "Patient.generalPractitioner[0].reference", "not here"),
        (tied(PLAIN, to=("Patient/1",)), "Patient.contained[0]", "nothing refers"),
        (tied(PLAIN, PLAIN, to=("#a",)), "Patient.contained[1].id", "already used"),
        (tied({"resourceType": "Group"}, to=("Patient/1",)), "Patient.contained[0]", "needs an id"),
        (tied(NESTED, to=("#a", "#b")), "Patient.contained[0].contained[0]", "dom-2"),
        (tied(to=("#",)), "Patient.generalPractitioner[0].reference", "containing"),
    ],
)  # fmt: skip
def test_containment_is_checked(resource: dict[str, Any], where: str, hint: str) -> None:
    found = {i.where: i.words for i in check_structure(resource)}
    assert hint in found[where]


def test_contained_resources_may_refer_to_each_other_and_to_their_container() -> None:
    inner = an_organization("b", partOf={"reference": "#a"})
    assert check_structure(tied(an_organization("a"), inner, to=("#b",))) == ()
    provenance = {
        "resourceType": "Provenance",
        "id": "p",
        "target": [{"reference": "#"}],
        "recorded": "2024-05-17T09:30:00Z",
        "agent": [{"who": {"display": "x"}}],
    }
    assert check_structure(a_patient(contained=[provenance])) == ()


def test_a_bundle_entry_cannot_borrow_what_another_entry_contains() -> None:
    lender = tied(an_organization("a"), to=("#a",))
    borrower = a_patient(managingOrganization={"reference": "#a"})
    bundle = {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [{"resource": lender}, {"resource": borrower}],
    }
    assert places(bundle) == ["Bundle.entry[1].resource.managingOrganization.reference"]


# -- hostile input --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["objects", "arrays"])
def test_ten_thousand_levels_give_one_clear_issue(shape: str) -> None:
    deep: Any = {"url": "a"} if shape == "objects" else []
    for _ in range(10_000):
        deep = {"url": "a", "extension": [deep]} if shape == "objects" else [deep]
    issues = check_structure(a_patient(extension=[deep]))
    assert len(issues) == 1
    assert f"more than {MAX_DEPTH} objects" in issues[0].words


def test_depth_is_allowed_up_to_the_limit_and_not_one_level_more() -> None:
    def nested(levels: int) -> dict[str, Any]:
        inner: dict[str, Any] = {"url": "a", "valueCode": "b"}
        for _ in range(levels - 2):
            inner = {"url": "a", "extension": [inner]}
        return a_patient(extension=[inner])

    assert plainly_right(nested(MAX_DEPTH))
    assert walk(nested(MAX_DEPTH), 5).kept == []
    assert not plainly_right(nested(MAX_DEPTH + 1))
    assert len(check_structure(nested(MAX_DEPTH + 1))) == 1
    assert parse(render(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
    with pytest.raises(Refused):
        parse(render(nested(MAX_DEPTH + 1)))


def test_a_huge_array_takes_linear_time_and_few_words() -> None:
    started = time.perf_counter()
    issues = check_structure(a_patient(name=[{}] * 100_000))
    assert len(issues) == MOST_ISSUES + 1
    assert issues[-1].words.startswith("99950 more")
    right = a_patient(name=[{"family": "x"} for _ in range(100_000)])
    assert check_structure(right) == ()
    assert time.perf_counter() - started < 10


def test_a_huge_name_or_value_is_not_repeated_in_the_answer() -> None:
    for resource in (
        a_patient(**{"x" * 100_000: 1}),
        a_patient(gender="y" * 100_000),
        {"resourceType": "z" * 9999},
    ):
        assert all(len(w) < 300 for w in words(resource))
