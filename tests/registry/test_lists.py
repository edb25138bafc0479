"""Submission sets and folders: what they are found by, and who wrote them (ITI-66)."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.makers_mhd import (
    MHD,
    NS,
    a_bundle,
    a_document,
    a_folder,
    a_patient,
    concept,
    locations,
    publish,
)

GMC = "https://fhir.hl7.org.uk/Id/gmc-number"
ELSEWHERE = "https://directory.example/fhir/Practitioner/1"


async def found(client: httpx.AsyncClient, person: str, **asked: str) -> set[str]:
    """The lists that a search of this person's finds, as `List/x`."""
    answer = await client.get("/List", params={"patient": person, "status": "current", **asked})
    assert answer.status_code == 200, answer.text
    assert answer.json()["total"] == len(answer.json().get("entry", ()))
    return {f"List/{e['resource']['id']}" for e in answer.json().get("entry", ())}


async def submitted(client: httpx.AsyncClient, person: str, **changes: Any) -> str:
    bundle = a_bundle(a_document(person), level="Minimal")
    bundle["entry"][0]["resource"].update(changes)
    return locations(await publish(client, bundle))[0]


async def test_a_source_is_found_by_name_when_contained_and_by_reference_otherwise(
    source: httpx.AsyncClient,
) -> None:
    person = await a_patient(source)
    contained = await submitted(source, person)
    bundle = a_bundle(a_document(person), level="Minimal")
    set_ = bundle["entry"][0]["resource"]
    set_.pop("contained")
    set_["source"] = {"reference": ELSEWHERE}
    literal = locations(await publish(source, bundle))[0]
    bundle = a_bundle(a_document(person), level="Minimal")
    set_ = bundle["entry"][0]["resource"]
    set_.pop("contained")
    set_["source"] = {"type": "Practitioner", "identifier": {"system": GMC, "value": "7"}}
    logical = locations(await publish(source, bundle))[0]
    sets = {"code": "submissionset"}
    assert await found(source, person, **sets, **{"source.family": "marsh"}) == {contained}
    assert await found(source, person, **sets, **{"source.given": "Ru"}) == {contained}
    assert await found(source, person, **sets, source=ELSEWHERE) == {literal}
    assert await found(source, person, **sets, **{"source:identifier": f"{GMC}|7"}) == {logical}
    assert await found(source, person, **sets) == {contained, literal, logical}


async def test_an_organisation_is_a_source_by_its_extension(
    source: httpx.AsyncClient, person: str
) -> None:
    """R4 has no literal for it, so that even a Comprehensive set has nothing contained here."""
    bundle = a_bundle(a_document(person))
    set_ = bundle["entry"][0]["resource"]
    them = {"resourceType": "Organization", "id": "them", "name": "The trust"}
    url = f"{MHD}/StructureDefinition/ihe-authorOrg"
    set_["contained"] = [them]
    set_["source"] = {"extension": [{"url": url, "valueReference": {"reference": "#them"}}]}
    made = locations(await publish(source, bundle))[0]
    assert (await source.get(made)).json()["source"] == set_["source"]


async def test_lists_are_found_by_their_content_type_and_their_system(
    source: httpx.AsyncClient,
) -> None:
    person = await a_patient(source)
    codes = [concept(f"{NS}/CodeSystem/folder", c) for c in ("case", "family")]
    folder = a_folder(person)
    folder["extension"] = [
        {"url": folder["extension"][0]["url"], "valueCodeableConcept": c} for c in codes
    ]
    bundle = a_bundle(a_document(person), folders=(folder, a_folder(person)))
    set_, *_, both, one = locations(await publish(source, bundle))
    folders, sets = {"code": "folder"}, {"code": "submissionset"}
    for code, expected in (("case", {both, one}), ("family", {both}), ("other", set())):
        assert await found(source, person, **folders, designationType=code) == expected
        asked = f"{NS}/CodeSystem/folder|{code}"
        assert await found(source, person, **folders, designationType=asked) == expected
    assert await found(source, person, **sets, designationType="GN-DISCH") == {set_}
    assert await found(source, person, **sets, sourceId="urn:oid:2.25.7") == {set_}
    every = f"{MHD}/CodeSystem/MHDlistTypes|folder,submissionset"
    assert await found(source, person, code=every) == {set_, both, one}


@pytest.mark.parametrize(
    "asked",
    [
        {"sourceId": "urn:oid:2.25.7"},
        {"source.family": "Nobody"},
        {"source.given": "N"},
        {"source": "https://directory.example/fhir/Practitioner/2"},
        {"source:identifier": f"{GMC}|8"},
    ],
)
async def test_what_only_submission_sets_have_is_dropped_when_folders_are_asked_for(
    source: httpx.AsyncClient, asked: dict[str, str]
) -> None:
    person = await a_patient(source)
    made = locations(
        await publish(source, a_bundle(a_document(person), folders=(a_folder(person),)))
    )
    base = {"patient": person, "status": "current", "code": "folder", "_count": "1"}
    answer = await source.get("/List", params=base | asked)
    assert [e["resource"]["id"] for e in answer.json()["entry"]] == [made[-1].split("/")[1]]
    (link,) = [x["url"] for x in answer.json()["link"] if x["relation"] == "self"]
    assert "source" not in link
    if "sourceId" not in asked:
        both = {**base, **asked, "code": "folder,submissionset"}
        assert (await source.get("/List", params=both)).json()["total"] == 0


@pytest.mark.parametrize("kind", ["submissionset", "folder"])
async def test_a_list_is_found_by_each_of_its_names(
    source: httpx.AsyncClient, person: str, kind: str
) -> None:
    made = locations(
        await publish(source, a_bundle(a_document(person), folders=(a_folder(person),)))
    )
    where = made[0] if kind == "submissionset" else made[-1]
    for identifier in (await source.get(where)).json()["identifier"]:
        asked = f"{identifier['system']}|{identifier['value']}"
        assert await found(source, person, code=kind, identifier=asked) == {where}
