"""Parts of resources: what `_summary` and `_elements` keep, and that what is kept is legal R4."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standards.r4.check import check_structure
from standards.r4.definition import definition
from standards.subset import SUMMARY, TAG, Subset, wanted
from tests.makers_mhd import a_document, a_folder

WHOLE = {k: v for k, v in a_document().items() if k != "_content"} | {
    "id": "1",
    "meta": {"versionId": "3", "tag": [{"system": "urn:x", "code": "kept"}]},
    "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'},
    "description": "What it is about",
    "_description": {"extension": [{"url": "https://x.example/e", "valueString": "y"}]},
}
PERSON = {
    "resourceType": "Patient", "id": "1", "active": True, "birthDate": "1980-01-01", "gender": "female",
    "_birthDate": {"extension": [{"url": "https://x.example/e", "valueString": "y"}]},
    "deceasedBoolean": False, "name": [{"family": "Nobody"}], "communication": [{"language": {"text": "Cymraeg"}}],
}  # fmt: skip


def part(resource: dict[str, Any], *pairs: tuple[str, str], kind: str = "") -> dict[str, Any]:
    made, issues = wanted(kind or resource["resourceType"], pairs, searching=True)
    assert not issues
    assert made is not None
    return dict(made.of(resource))


@pytest.mark.parametrize("kind", sorted(SUMMARY))
def test_the_summary_elements_are_those_of_the_definitions(kind: str) -> None:
    """The oracle is R4B, which marks these types as R4 does."""
    module = importlib.import_module(f"fhir.resources.R4B.{kind.lower()}")
    paths = {n: e.path for n, e in definition(kind).elements.items()}
    marked = {paths[n] for n in getattr(module, kind).summary_elements_sequence() if n in paths}
    assert SUMMARY[kind] == marked - {"id", "meta", "implicitRules"}


def test_a_summary_has_what_is_marked_and_what_it_refers_to() -> None:
    made = part(WHOLE, ("_summary", "true"))
    assert {"text", "language"}.isdisjoint(made)
    assert made["description"] == WHOLE["description"]
    assert made["_description"] == WHOLE["_description"]
    assert [c["id"] for c in made["contained"]] == ["author", "source"]
    assert made["meta"]["tag"] == [{"system": "urn:x", "code": "kept"}, TAG]
    assert list(made)[:3] == ["resourceType", "contained", "masterIdentifier"]


def test_text_is_the_narrative_and_data_is_the_rest() -> None:
    text, data = part(WHOLE, ("_summary", "text")), part(WHOLE, ("_summary", "data"))
    assert text.keys() == {"resourceType", "id", "meta", "text", "status", "content"}
    assert data.keys() == WHOLE.keys() - {"text"}


def test_elements_keep_what_is_mandatory_and_what_changes_the_meaning() -> None:
    made = part(WHOLE, ("_elements", "type"))
    assert made.keys() == {"resourceType", "id", "meta", "status", "type", "content"}
    person = part(PERSON, ("_elements", "birthDate"))
    assert person.keys() == {
        "resourceType", "id", "meta", "active", "birthDate", "_birthDate", "deceasedBoolean",
    }  # fmt: skip
    assert part(PERSON, ("_elements", "deceased[x],gender")).keys() >= {"deceasedBoolean", "gender"}
    assert "contained" in part(WHOLE, ("_elements", "author"))


@given(
    names=st.sets(st.sampled_from(sorted({e.path for e in definition("DocumentReference").elements.values()})), min_size=1),
    resource=st.sampled_from([WHOLE, {**a_folder(), "id": "2"}]),
)  # fmt: skip
def test_every_part_is_legal_r4_and_says_that_it_is_one(
    names: set[str], resource: dict[str, Any]
) -> None:
    known = {e.path for e in definition(resource["resourceType"]).elements.values()}
    for pair in (
        ("_elements", ",".join(sorted(names & known)) or "id"),
        *(("_summary", s) for s in ("true", "text", "data")),
    ):
        made = part(resource, pair)
        assert check_structure(made) == ()
        assert TAG in made["meta"]["tag"]


def test_a_bundle_has_parts_and_whole_outcomes_and_whole_company() -> None:
    outcome = {"resourceType": "OperationOutcome", "issue": [{"severity": "warning"}]}
    bundle = {
        "resourceType": "Bundle",
        "entry": [{"resource": r} for r in (WHOLE, PERSON, outcome)],
    }
    first, second, third = part(bundle, ("_elements", "type"), kind="DocumentReference")["entry"]
    assert "text" not in first["resource"]
    assert (second["resource"], third["resource"]) == (PERSON, outcome)
    _, second, third = part(bundle, ("_summary", "true"))["entry"]
    assert "communication" not in second["resource"]
    assert third["resource"] == outcome


@pytest.mark.parametrize(
    ("pairs", "searching", "hint"),
    [
        ([("_elements", "shoe")], True, "It has"),
        ([("_elements", "typ")], True, 'Did you mean "type"?'),
        ([("_elements", "content.attachment")], True, "at the root"),
        ([("_elements", "type"), ("_summary", "true")], True, "not for both"),
        ([("_elements", "type"), ("_elements", "id")], True, "more than once"),
        ([("_elements", "")], True, "no value"),
        ([("_elements", ",".join(["id"] * 101))], True, "at most"),
        ([("_summary", "count")], False, "true, text, data or false"),
        ([("_summary", "all")], True, "true, text, data, false or count"),
    ],
)
def test_what_names_no_part_is_told(
    pairs: list[tuple[str, str]], searching: bool, hint: str
) -> None:
    made, issues = wanted("DocumentReference", pairs, searching=searching)
    assert made is None
    assert hint in issues[0].words


def test_a_whole_resource_is_asked_for_by_nothing_and_by_false() -> None:
    for pairs in ([], [("_summary", "false")], [("_summary", "count")]):
        assert wanted("List", pairs, searching=True) == (None, [])
    assert wanted("List", [("_summary", "false"), ("_elements", "date")], searching=True)[0] == (
        Subset("", "List", frozenset(("date",)), (("_summary", "false"), ("_elements", "date")))
    )
