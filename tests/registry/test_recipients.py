"""Whom a submission is meant for: the extension ihe-intendedRecipient."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.makers_mhd import MHD, a_bundle, a_document, locations, publish

ODS = "https://fhir.nhs.uk/Id/ods-organization-code"
URL = f"{MHD}/StructureDefinition/ihe-intendedRecipient"


def meant_for(
    person: str, *recipients: dict[str, Any], held: tuple[dict[str, Any], ...] = ()
) -> Any:
    bundle = a_bundle(a_document(person))
    submission = bundle["entry"][0]["resource"]
    submission["extension"] += [{"url": URL, "valueReference": r} for r in recipients]
    submission["contained"] += held
    return bundle


def an_organisation(code: str) -> dict[str, Any]:
    return {
        "resourceType": "Organization",
        "id": "them",
        "identifier": [{"system": ODS, "value": code}],
    }


async def test_who_takes_part_is_reached_without_a_word(
    source: httpx.AsyncClient, person: str
) -> None:
    for bundle in (
        meant_for(person, {"reference": "#them"}, held=(an_organisation("RM3"),)),
        meant_for(person, {"type": "Organization", "identifier": {"system": ODS, "value": "RM3"}}),
        meant_for(person, {"reference": person}),
    ):
        answer = await publish(source, bundle)
        assert len(locations(answer)) == 3
        assert "outcome" not in answer.json()["entry"][0]["response"]


async def test_who_does_not_is_named_in_a_warning_and_the_submission_is_kept(
    source: httpx.AsyncClient, person: str
) -> None:
    gp = {"reference": "https://elsewhere.example/fhir/Practitioner/1"}
    answer = await publish(
        source, meant_for(person, {"reference": "#them"}, gp, held=(an_organisation("NOBODY"),))
    )
    made = locations(answer)
    issues = answer.json()["entry"][0]["response"]["outcome"]["issue"]
    assert [(i["severity"], i["code"]) for i in issues] == [("warning", "not-found")] * 2
    assert {i["details"]["coding"][0]["code"] for i in issues} == {"UnknownRecipient"}
    kept = (await source.get(made[0])).json()["extension"]
    assert [e["valueReference"] for e in kept if e["url"] == URL] == [{"reference": "#them"}, gp]


@pytest.mark.parametrize(
    "value",
    [
        {"valueString": "the GP"},
        {"valueReference": {"reference": "https://elsewhere.example/fhir/DocumentReference/1"}},
        {"valueReference": {"reference": "Patient/nobody"}},
    ],
)
async def test_what_can_be_no_recipient_is_refused(
    source: httpx.AsyncClient, person: str, value: dict[str, Any]
) -> None:
    bundle = a_bundle(a_document(person))
    bundle["entry"][0]["resource"]["extension"].append({"url": URL, **value})
    answer = await publish(source, bundle)
    assert answer.status_code == 400
    assert answer.json()["issue"][0]["expression"][0].startswith(
        "Bundle.entry[0].resource.extension[2]"
    )
