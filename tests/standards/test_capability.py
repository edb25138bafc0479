"""The CapabilityStatement declares what PIXm's Manager and PDQm's Supplier must declare."""

from __future__ import annotations

from typing import Any

import pytest

from exchange.rows import ROWS
from standards import capability

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
