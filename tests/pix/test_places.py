"""Where a protected person lives is told to nobody but the source that said it."""

from __future__ import annotations

from typing import Any

import pytest

from chassis.call import Caller
from pix import places
from tests.pix.makers import COUNCIL, NHS, NS, TRUST, Pix, identifier, name_of, nhs_number, patient

GP = Caller(
    client_id="gp", scope="system/Patient.rs", role="R-GP", purpose="P-CARE", organisation="P99000"
)
SOURCE = Caller(client_id="council", scope="system/*.cruds", organisation="352")
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
SENSITIVITY = "https://throughline.example/fhir/CodeSystem/sensitivity"
LABELS = [(CONFIDENTIALITY, "R"), (CONFIDENTIALITY, "V"), (SENSITIVITY, "ADDRCONF")]
TOLD = ("Refuge Lane", "M4 7ZZ", "0161 4960555", "Aunt", "Surgery", "100012345678", "Nowheretown")


def labelled(system: str, code: str) -> dict[str, Any]:
    return {"security": [{"system": system, "code": code}]}


def somebody(value: str, **more: Any) -> dict[str, Any]:
    made = patient(
        COUNCIL,
        value,
        name=[name_of(f"place {value}")],
        address=[{"line": ["1 Refuge Lane"], "city": "Nowheretown", "postalCode": "M4 7ZZ"}],
        telecom=[{"system": "phone", "value": "0161 4960555"}],
        contact=[{"name": {"family": "Aunt"}}],
        generalPractitioner=[{"display": "Surgery"}],
        extension=[{"url": places.BIRTH_PLACE, "valueAddress": {"city": "Nowheretown"}}],
        **more,
    )
    made["identifier"].append(identifier(NS + "uprn", "100012345678"))
    return made


@pytest.mark.parametrize(("system", "code"), LABELS)
async def test_who_may_not_know_reads_who_somebody_is_and_not_where(
    pix: Pix, system: str, code: str
) -> None:
    value = f"97000{LABELS.index((system, code))}1"
    body = somebody(value, meta=labelled(system, code))
    made = (await pix.feed(body)).json()["id"]
    await pix.feed({**body, "gender": "male"})
    family = body["name"][0]["family"]
    ways = (
        f"/Patient/{made}",
        f"/Patient/{made}/_history",
        f"/Patient/{made}/_history/1",
        f"/Patient?family={family}",
        f"/Patient?_id={made}&_elements=address,telecom",
    )
    pix.caller = GP
    for url in ways:
        answer = await pix.http.get(url)
        assert answer.status_code == 200, answer.text
        assert made in answer.text
        for word in TOLD:
            assert word not in answer.text, (url, word)
    pix.caller = SOURCE
    for word in TOLD:
        assert word in (await pix.http.get(f"/Patient/{made}")).text


async def test_nobody_is_found_by_a_place_that_is_not_told(pix: Pix) -> None:
    open_, hidden = "9700101", "9700102"
    for value, label in ((open_, "N"), (hidden, "R")):
        await pix.feed(somebody(value, meta=labelled(CONFIDENTIALITY, label)))
    for asked in (
        "address=1 refuge", "address-postalcode=M4 7ZZ", "address-city=nowheretown",
        "telecom=0161 4960555",
    ):  # fmt: skip
        for caller in (GP, SOURCE):
            pix.caller = caller
            found = (await pix.http.get(f"/Patient?{asked}&_count=200")).text
            assert name_of(f"place {open_}")["family"] in found
            assert name_of(f"place {hidden}")["family"] not in found


async def test_a_match_does_not_rise_with_the_right_postcode(pix: Pix) -> None:
    number = nhs_number(97002)
    body = somebody("9700201", nhs=number, meta=labelled(CONFIDENTIALITY, "R"))
    # another agency's word of the same person must not tell it either
    other = patient(TRUST, "H97002", name=body["name"], nhs=number, address=body["address"])
    mine = {(await pix.feed(one)).json()["id"] for one in (body, other)}
    asked = {
        "resourceType": "Patient", "name": body["name"], "birthDate": body["birthDate"],
        "identifier": [identifier(NHS, number)],
    }  # fmt: skip

    async def scores(**more: Any) -> list[tuple[float, str]]:
        answer = await pix.http.post("/Patient/$match", json={**asked, **more})
        assert answer.status_code == 200, answer.text
        entries = answer.json().get("entry", [])
        return [
            (e["search"]["score"], e["search"]["extension"][0]["valueCode"])
            for e in entries
            if e["resource"]["id"] in mine  # others of this module live at that address too
        ]

    pix.caller = GP
    alone = await scores()
    assert len(alone) == 2
    assert await scores(address=body["address"]) == alone
    assert await scores(telecom=body["telecom"]) == alone
    assert await scores(address=[{"postalCode": "OL1 1AA", "line": ["9 Elsewhere"]}]) == alone


def test_contained_resources_keep_what_they_are_and_lose_where_they_are(pix: Pix) -> None:
    said = {
        "resourceType": "Patient",
        "meta": labelled(SENSITIVITY, "ADDRCONF"),
        "contained": [
            {"resourceType": "RelatedPerson", "id": "a", "address": [{"city": "Nowheretown"}]}
        ],
        "text": {"div": "<div>Nowheretown</div>"},
    }
    assert places.secret(said)
    register = pix.near.domains.pack.register
    made = places.without(said, register)
    assert made["contained"] == [{"resourceType": "RelatedPerson", "id": "a"}]
    assert "text" not in made
    assert not places.secret({"meta": labelled(CONFIDENTIALITY, "N")})
    assert not places.secret({"meta": labelled("https://another.example", "R")})
