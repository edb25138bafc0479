"""The CapabilityStatement declares what PIXm's Manager and PDQm's Supplier must declare."""

from __future__ import annotations

from typing import Any

import pytest

from exchange.rows import ROWS
from standards import capability, definitions
from standards.r4.check import check_structure

STATEMENT = capability.statement(ROWS, base="http://x/fhir", auth="http://x/auth")
PATIENT: dict[str, Any] = next(
    r for r in STATEMENT["rest"][0]["resource"] if r["type"] == "Patient"
)
ITI = "https://profiles.ihe.net/ITI"


def test_it_instantiates_the_actors_it_plays() -> None:
    assert {
        f"{ITI}/PIXm/CapabilityStatement/IHE.PIXm.Manager",
        f"{ITI}/PDQm/CapabilityStatement/IHE.PDQm.PatientDemographicsSupplier",
        f"{ITI}/PDQm/CapabilityStatement/IHE.PDQm.PatientDemographicsSupplierMatch",
    } <= set(STATEMENT["instantiates"])
    assert {"application/fhir+xml", "application/fhir+json"} <= set(STATEMENT["format"])


def test_patients_are_fed_by_condition() -> None:
    assert PATIENT["conditionalCreate"] is True
    assert PATIENT["conditionalUpdate"] is True
    assert PATIENT["conditionalDelete"] == "single"
    codes = {i["code"] for i in PATIENT["interaction"]}
    assert {"update", "delete", "read", "search-type", "vread", "history-instance"} <= codes
    assert {
        f"{ITI}/PIXm/StructureDefinition/IHE.PIXm.Patient",
        f"{ITI}/PDQm/StructureDefinition/IHE.PDQm.Patient",
    } <= set(PATIENT["supportedProfile"])


@pytest.mark.parametrize(
    ("name", "definition"),
    [
        ("ihe-pix", f"{ITI}/PIXm/OperationDefinition/IHE.PIXm.pix"),
        ("$ihe-pix", f"{ITI}/PIXm/OperationDefinition/IHE.PIXm.pix"),
        ("match", f"{ITI}/PDQm/OperationDefinition/PDQmMatch"),
    ],
)  # fmt: skip
def test_operations_are_listed_under_the_names_that_testers_compare(
    name: str, definition: str
) -> None:
    assert {"name": name, "definition": definition} in PATIENT["operation"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("_id", "token"), ("_lastUpdated", "date"), ("active", "token"), ("family", "string"),
        ("family:exact", "string"), ("given", "string"), ("given:exact", "string"), ("identifier", "token"),
        ("telecom", "token"), ("birthdate", "date"), ("address", "string"), ("address:exact", "string"),
        ("address-city", "string"), ("address-city:exact", "string"), ("address-country", "string"),
        ("address-country:exact", "string"), ("address-postalcode", "string"),
        ("address-postalcode:exact", "string"), ("address-state", "string"), ("address-state:exact", "string"),
        ("gender", "token"), ("mothersMaidenName", "string"), ("mothersMaidenName:exact", "string"),
    ],
)  # fmt: skip
def test_every_search_parameter_is_listed(name: str, kind: str) -> None:
    (found,) = [p for p in PATIENT["searchParam"] if p["name"] == name]
    assert found["type"] == kind
    assert found["definition"].startswith("http://hl7.org/fhir/SearchParameter/")


DOCUMENTS, LISTS = (
    next(r for r in STATEMENT["rest"][0]["resource"] if r["type"] == kind)
    for kind in ("DocumentReference", "List")
)
MHD = f"{ITI}/MHD/CapabilityStatement/IHE.MHD"


def test_it_plays_mhd_as_far_as_its_rows_go() -> None:
    claimed = {c for c in STATEMENT["instantiates"] if c.startswith(MHD)}
    always = {
        "DocumentRecipient", "DocumentRecipient.Comprehensive", "DocumentRecipient.UnContained",
        "DocumentRecipient.Fdoc", "DocumentResponder", "DocumentResponder.Target",
    }  # fmt: skip
    codes = {r.code for r in ROWS}
    if "ITI-105" in codes:
        always.add("DocumentRecipient.Simplified")
    if "ITI-106" in codes:
        always.add("DocumentRecipient.Generate")
    assert claimed == {f"{MHD}.{name}" for name in always}
    assert f"{ITI}/MHD/ImplementationGuide/ihe.iti.mhd" in STATEMENT["implementationGuide"]


@pytest.mark.parametrize("gone", ["ITI-65", "ITI-68", "ITI-83", "ITI-78", "ITI-119", "ITI-94"])
def test_it_claims_no_actor_whose_transaction_is_not_served(gone: str) -> None:
    rest = [r for r in ROWS if r.code != gone]
    made = capability.statement(rest, base="http://x/fhir", auth="http://x/auth")
    lost = {a.canonical for a in capability.ACTORS if gone in a.codes} - set(made["instantiates"])
    assert lost == {a.canonical for a in capability.ACTORS if gone in a.codes}
    assert set(made["instantiates"]) < set(STATEMENT["instantiates"])


def test_what_a_find_brings_along_is_declared() -> None:
    assert "DocumentReference:patient" in DOCUMENTS["searchInclude"]
    assert {"List:item", "DocumentReference:relatesto"} <= set(DOCUMENTS["searchRevInclude"])
    assert "List:item" in LISTS["searchInclude"]


@pytest.mark.parametrize(
    ("resource", "name", "kind", "definition"),
    [
        (DOCUMENTS, "creation", "date", "DocumentReference-Creation"),
        (LISTS, "designationType", "token", "List-DesignationType"),
        (LISTS, "sourceId", "token", "List-SourceId"),
        (LISTS, "targetCommunityIdList", "uri", "IHE-TargetCommunityIdList"),
        (DOCUMENTS, "targetCommunityIdList", "uri", "IHE-TargetCommunityIdList"),
    ],
)
def test_the_parameters_that_mhd_defines_are_declared_by_its_canonicals(
    resource: dict[str, Any], name: str, kind: str, definition: str
) -> None:
    (found,) = [p for p in resource["searchParam"] if p["name"] == name]
    assert found["type"] == kind
    assert found["definition"] == f"{ITI}/MHD/SearchParameter/{definition}"


KNOWN = definitions.definitions(ROWS, capability.DATE)


def test_every_profile_defined_operation_and_parameter_is_there_to_read() -> None:
    named = {
        o["definition"] for r in STATEMENT["rest"][0]["resource"] for o in r.get("operation", ())
    }
    named |= {
        p["definition"]
        for r in STATEMENT["rest"][0]["resource"]
        for p in r.get("searchParam", ())
        if "definition" in p
    }
    ours = {d for d in named if d.startswith("https://profiles.ihe.net/")}
    assert ours
    read = {d["url"] for d in KNOWN.values()}
    assert ours == {url for url in read if url.startswith("https://profiles.ihe.net/")}
    both = KNOWN["SearchParameter", "IHE-TargetCommunityIdList"]
    assert both["base"] == ["DocumentReference", "List"] or both["base"] == [
        "List",
        "DocumentReference",
    ]


@pytest.mark.parametrize("key", sorted(KNOWN), ids="/".join)
def test_a_definition_is_a_legal_resource(key: tuple[str, str]) -> None:
    made = KNOWN[key]
    assert check_structure(made) == ()
    assert (made["resourceType"], made["id"]) == key
    assert made["url"].endswith("/".join(key))
    assert made["description"]


def test_the_statement_is_a_legal_resource() -> None:
    assert check_structure(STATEMENT) == ()
