"""Constraints beside the rows of RULES: value sets, members of lists, Simplified Publish and Generate
Metadata. Each has drawn examples that keep it and that break it, one element changed at a time; and no
table of the profiles has a constraint without a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from standards import mhd_publish
from standards.mhd import DESIGNATION_TYPE, HOME_COMMUNITY, INTENDED_RECIPIENT, SOURCE_ID
from standards.mhd_rules import CODED, RULES, Coded, Level, Rule
from standards.outcome import KINDS
from tests.makers_mhd import a_bundle, a_document, a_folder, concept, locations, publish
from tests.registry import mutations
from tests.registry.mutations import BAD, FORBIDDEN, GOOD, Case, Strategy, cases, displays, put
from tests.registry.test_refused import stored
from tests.registry.test_simplified import a_publication, post
from tests.running import Exchange

FIRST = settings(database=None, phases=[Phase.generate])
XDS = {k.xds for k in KINDS.values() if k.xds}


def drawn(strategy: Strategy) -> Any:
    return find(strategy, lambda _: True, settings=FIRST)


def refused(answer: httpx.Response, status: int, where: str) -> None:
    """Told with a place and an XDS code, among findings that all have both."""
    assert answer.status_code == status, answer.text
    issues = answer.json()["issue"]
    assert any(i["expression"][0].startswith(where) for i in issues), issues
    for issue in issues:
        assert issue["expression"]
        assert issue["diagnostics"]
        codes = {c["code"] for c in issue.get("details", {}).get("coding", ())}
        assert codes <= XDS
        assert codes or issue["code"] == "structure"  # what is no FHIR has no word in XDS


# -- no constraint of the profiles is without a row (compiled profiles of 4.2.4, digest 3.2 to 3.4) ----

PROFILES: dict[str, tuple[str, ...]] = {
    "DocumentReference": (
        f"extension({HOME_COMMUNITY})", "modifierExtension", "masterIdentifier", "identifier(entryUUID)",
        "identifier(uniqueId)", "status", "docStatus", "type", "category", "subject", "author",
        "authenticator", "securityLabel", "content", "content.attachment.contentType",
        "content.attachment.language", "content.attachment.data", "content.attachment.url",
        "content.attachment.creation", "content.format", "context", "context.facilityType",
        "context.practiceSetting", "context.sourcePatientInfo",
    ),
    "SubmissionSet": (
        f"extension({SOURCE_ID})", f"extension({DESIGNATION_TYPE})", f"extension({INTENDED_RECIPIENT})",
        f"extension({HOME_COMMUNITY})", "modifierExtension", "identifier(uniqueId)",
        "identifier(entryUUID)", "status", "mode", "subject", "encounter", "orderedBy", "emptyReason",
        "date", "source", "note", "entry.flag", "entry.deleted", "entry.date",
    ),
    "Folder": (
        f"extension({DESIGNATION_TYPE})", f"extension({HOME_COMMUNITY})", "modifierExtension",
        "identifier(uniqueId)", "identifier(entryUUID)", "mode", "title", "subject", "source",
        "encounter", "orderedBy", "emptyReason", "note", "entry.flag", "entry.deleted", "entry.date",
        f"extension({SOURCE_ID})", f"extension({INTENDED_RECIPIENT})",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", PROFILES)
def test_every_constraint_of_a_profile_is_a_row(kind: str) -> None:
    assert {r.path for r in RULES if r.of == kind} >= set(PROFILES[kind])


# -- value sets ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", CODED, ids=lambda r: r.path)
async def test_a_code_of_the_value_set_is_taken_and_no_other(
    exchange: Exchange, source: httpx.AsyncClient, person: str, row: Coded
) -> None:
    rule = Rule("DocumentReference", row.path, "")
    for value in (
        drawn(mutations.coded(row.value_set)),
        concept(*sorted(mutations.PACK.value_set(row.value_set).codes)[-1]),
    ):
        if row.path == "content.format":
            value = value["coding"][0]  # noqa: PLW2901  a Coding where the others are concepts
        bundle = a_bundle(a_document(person))
        put(bundle["entry"][1]["resource"], row.path, [value])
        answer = await publish(source, bundle)
        assert answer.status_code == 200, answer.text
        strange = deepcopy(value)
        (strange["coding"][0] if "coding" in strange else strange)["code"] = "nobody-agreed"
        bundle = a_bundle(a_document(person))
        put(bundle["entry"][1]["resource"], row.path, [strange])
        before = await stored(exchange)
        answer = await publish(source, bundle)
        refused(answer, 400, f"Bundle.entry[1].resource.{mutations_head(rule)}")
        assert "XDSRegistryMetadataError" in answer.text
        assert await stored(exchange) == before


def mutations_head(rule: Rule) -> str:
    return rule.path.partition("(")[0].split(".")[0]


# -- members of lists --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["SubmissionSet", "Folder"])
async def test_a_list_holds_documents_and_a_submission_set_folders_too_and_nothing_else(
    exchange: Exchange, source: httpx.AsyncClient, person: str, kind: str
) -> None:
    made = locations(
        await publish(source, a_bundle(a_document(person), folders=(a_folder(person),)))
    )
    document, folder = made[1], made[3]
    for member, right in (
        ({"reference": document}, True),
        ({"reference": folder}, kind == "SubmissionSet"),
        *(({"reference": f"{t}/1"}, False) for t in ("Patient", "Binary", "Basic")),
        (drawn(displays), False),
    ):
        bundle = a_bundle(a_document(person), folders=(a_folder(person),))
        number = 0 if kind == "SubmissionSet" else 3
        bundle["entry"][number]["resource"].setdefault("entry", []).append({"item": member})
        before = await stored(exchange)
        answer = await publish(source, bundle)
        if right:
            assert answer.status_code == 200, answer.text
        else:
            refused(answer, 400, f"Bundle.entry[{number}].resource.entry")
            assert await stored(exchange) == before


# -- Simplified Publish ------------------------------------------------------------------------------------

OWN = {r.path for r in mhd_publish.RULES}


@dataclass(frozen=True)
class Said:
    """One rule of ITI-105 and one way to keep or to break it: values for its path."""

    rule: Rule
    what: str
    accepted: bool
    values: Callable[[str, str], Strategy]  # by the person and a document of theirs

    def __str__(self) -> str:
        return f"{self.rule.path} {self.what}"


def _some(strategy: Strategy) -> Callable[[str, str], Strategy]:
    return lambda _person, _document: strategy.map(lambda v: [v])


def _as_it_is(_person: str, _document: str) -> Strategy:
    return st.none()


def _none(_person: str, _document: str) -> Strategy:
    return st.just([])


def _relating(*codes: str) -> Callable[[str, str], Strategy]:
    return lambda _, document: st.sampled_from(codes).map(
        lambda c: [{"code": c, "target": {"reference": document}}]
    )


def own() -> Iterator[Said]:
    """Every rule that ITI-105 has beside ITI-65."""
    bad = {
        "is_only_current": _some(st.just("superseded")),
        "is_not_replacing": _relating("replaces"),
        "identifier(entryUUID)": _some(mutations.entry_uuids),
        "content.attachment.url": _some(st.just("urn:x")),
    }
    for rule in mhd_publish.RULES:
        needed = any(rule.least)
        yield Said(rule, "left out", not needed and rule.path != "status", _none)
        yield Said(rule, "as it is", True, _as_it_is)
        if rule.path == "relatesTo":
            yield Said(rule, "is right", True, _relating("appends", "transforms", "signs"))
        if rule.check is not None or rule.most == 0:
            name = rule.check.__name__ if rule.check else rule.path
            yield Said(rule, "is wrong", False, bad[name])


def minimal() -> Iterator[Said]:
    """Every rule of a Minimal DocumentReference that ITI-105 has too."""
    for case in cases(Level.MINIMAL):
        rule = case.rule
        if rule.of == "DocumentReference" and rule.path not in OWN | {"content.attachment"}:
            yield Said(rule, case.what, case.accepted, _of(case))


def _of(case: Case) -> Callable[[str, str], Strategy]:
    return lambda person, _document: case.draw(person)


EVERY = [*own(), *minimal()]


def test_every_rule_of_simplified_publish_has_an_accepted_and_a_rejected_case() -> None:
    for rule in mhd_publish.RULES:
        assert {c.accepted for c in EVERY if c.rule is rule} == {True, False}, rule.name


def test_every_value_check_and_every_forbidden_element_has_a_strategy() -> None:
    for rule in RULES:
        if rule.check is not None and rule.check.__name__ != "is_assembled":
            assert rule.check.__name__ in BAD, rule.name
        if rule.most == 0:
            assert rule.path in FORBIDDEN, rule.name
        assert rule.most == 0 or (rule.of, rule.path) in GOOD or not rule.check or rule.path in (
            "content.attachment", "content.attachment.hash", "mode", "status",
        ), rule.name  # fmt: skip


@pytest.mark.parametrize("case", EVERY, ids=str)
async def test_what_breaks_a_rule_of_simplified_publish_is_refused_and_what_keeps_it_is_stored(
    exchange: Exchange, source: httpx.AsyncClient, person: str, case: Said
) -> None:
    document = locations(await publish(source, a_bundle(a_document(person))))[1]
    publication = a_publication(person)
    values = drawn(case.values(person, document))
    if values is not None:
        put(publication, case.rule.path, deepcopy(values))
        mutations._prune(publication)
    before = await stored(exchange)
    answer = await post(source, publication)
    if case.accepted:
        assert answer.status_code == 201, answer.text
        return
    structural = 400 if answer.status_code == 400 else 422
    refused(answer, structural, f"DocumentReference.{mutations_head(case.rule)}")
    if structural == 400:  # base R4 says it already
        assert all(
            i["code"] in ("structure", "required", "code-invalid", "value")
            for i in answer.json()["issue"]
        )
    assert await stored(exchange) == before


# -- Generate Metadata ---------------------------------------------------------------------------------------

BINARY = {"resourceType": "Binary", "contentType": "text/xml", "data": "PGEvPg=="}
DOCUMENT = {"name": "document", "resource": BINARY}
WORDS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=8)
BREACHES: dict[str, tuple[st.SearchStrategy[list[dict[str, Any]]], str]] = {
    "parameter 1..1, none": (st.just([]), "Parameters.parameter"),
    "parameter 1..1, more": (
        st.integers(2, 4).map(lambda n: [DOCUMENT] * n), "Parameters.parameter[1]"),
    "name fixed": (
        WORDS.filter(lambda w: w != "document").map(lambda w: [DOCUMENT, {"name": w, "valueString": w}]),
        "Parameters.parameter[1].name"),
    "value 0..0": (
        st.sampled_from(["valueString", "valueCode", "valueUri"]).map(lambda v: [{"name": "document", v: "x"}]),
        "Parameters.parameter[0].value"),
    "part 0..0": (
        st.just([{"name": "document", "part": [{"name": "x", "valueString": "y"}]}]), "Parameters.parameter[0].part"),
    "resource 1..1": (st.just([{"name": "document"}]), "Parameters.parameter[0].resource"),
    "resource Binary or Bundle": (
        st.sampled_from(["Basic", "Patient", "DocumentReference"]).map(
            lambda t: [{"name": "document", "resource": {"resourceType": t}}]),
        "Parameters.parameter[0].resource"),
    "Binary with data": (
        st.just([{"name": "document", "resource": {k: v for k, v in BINARY.items() if k != "data"}}]),
        "Parameters.parameter[0].resource.data"),
}  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_breaks_the_parameters_of_generate_metadata_is_told_at_its_place(
    data: st.DataObject,
) -> None:
    assert mhd_publish.asked({"parameter": [DOCUMENT]})[2] == []
    bundle = {"name": "document", "resource": {"resourceType": "Bundle", "type": "document"}}
    assert mhd_publish.asked({"parameter": [bundle]})[2] == []
    name = data.draw(st.sampled_from(sorted(BREACHES)))
    strategy, where = BREACHES[name]
    parameters = data.draw(strategy)
    _, _, issues = mhd_publish.asked({"parameter": parameters})
    assert any(i.where.startswith(where) for i in issues), issues
    assert all(i.kind.xds for i in issues)
