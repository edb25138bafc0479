"""Identifier domains in use: a new one is a CSV row, every name leads to it, placeholders join nobody."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import affinity
from affinity.pack import load
from chassis.mongo import Mongo
from tests.pix.makers import (
    COUNCIL,
    HOSPITAL,
    NHS,
    NS,
    TRUST,
    Pix,
    diagnostics,
    identifier,
    nhs_number,
    patient,
    patients,
    pix_service,
)  # fmt: skip

PNC, CRO, NINO, UPN = NS + "pnc", NS + "cro", NS + "nino", NS + "upn"
PACK = load("greater_manchester")


def carrying(system: str, value: str, *more: tuple[str, str]) -> dict[str, object]:
    made = patient(system, value)
    made["identifier"] += [identifier(s, v) for s, v in more]
    return made


async def test_a_new_domain_is_a_row_of_the_pack(
    mongod_uri: str, database_prefix: str, mongo: Mongo, tmp_path: Path
) -> None:
    home = Path(affinity.__file__).parent / "greater_manchester"
    shutil.copytree(home, tmp_path / "pack")
    with (tmp_path / "pack" / "identifier_domains.csv").open("a") as lines:
        lines.write(
            "food,Food bank member,NS/Id/food-bank/<site>,^F\\d{4}$,none,none,compact,the food bank,site,"
            "member,person,C,same issuer only,open,ARC.90,FOOD-,https://food.example/id/|,never,none known\n"
        )
    other = Mongo(mongod_uri, prefix=database_prefix + "food_")  # dropped with the module's own
    system = NS + "food-bank/ancoats"
    async with pix_service(other, affinity=str(tmp_path / "pack")) as pix:
        fed = await pix.feed(patient(system, "f 0001", nhs=nhs_number(9001)))
        assert fed.status_code == 201, fed.text
        assert fed.json()["identifier"][0]["value"] == "F0001"
        await pix.feed(patient(TRUST, "H9001", nhs=nhs_number(9001)))
        assert await pix.others(TRUST, "H9001", system) == [(system, "F0001")]
        names = load(tmp_path / "pack").register.names(system)
        assert names is not None
        for said in (system, f"urn:oid:{names.oid}", "https://food.example/id/ancoats"):
            assert (TRUST, "H9001") in await pix.others(said, "F0001")
            found = (await pix.http.get(f"/Patient?identifier={said}%7Cf0001")).json()
            assert [e["resource"]["id"] for e in found["entry"]] == [fed.json()["id"]]
    await other.close()


async def test_a_number_is_one_number_under_all_its_spellings_and_names(pix: Pix) -> None:
    await pix.feed(carrying(PNC, "02/73319Z", (CRO, "65656/91H")))
    names = PACK.register.names(PNC)
    assert names is not None
    for system in (PNC, f"urn:oid:{names.oid}"):
        for value in ("02/73319Z", "2002/0073319Z", "2002/73319z"):
            assert await pix.others(system, value) == [(CRO, "065656/91H")]
    again = await pix.put(PNC, "2002/0073319Z", carrying(PNC, "02/73319Z", (CRO, "65656/91H")))
    assert (again.status_code, again.headers["etag"]) == (200, 'W/"1"')


@pytest.mark.parametrize(
    ("system", "value"),
    [(NHS, "9999999999"), (CRO, "000000/00Z"), (UPN, "UN4"), (NS + "uln", "9999999999"), (NINO, "UNKNOWN")],
)  # fmt: skip
async def test_a_placeholder_is_kept_and_stands_for_nobody(
    pix: Pix, system: str, value: str
) -> None:
    mark = f"{abs(hash((system, value))) % 10**8:08d}"
    for source, number in ((TRUST, "H" + mark), (HOSPITAL, "R" + mark)):
        fed = await pix.feed(carrying(source, number, (system, value)))
        assert {"system": system, "value": value} in fed.json()["identifier"]
        assert await pix.others(source, number) == []
    assert (await pix.ask(system, value)).status_code == 404
    refused = await pix.feed(patient(system, value))
    assert refused.status_code == 422
    assert any("says nothing about who it is" in words for words in diagnostics(refused))


async def test_a_number_out_of_form_is_kept_and_stands_for_nobody(pix: Pix) -> None:
    wrong = ((NHS, "9434765918"), (PNC, "02/73319A"), (NINO, "GB123456A"), (UPN, "A801200005001"))
    fed = await pix.feed(carrying(TRUST, "H9201", *wrong))
    assert fed.status_code == 201
    assert await pix.others(TRUST, "H9201") == []
    for system, value in wrong:
        assert (await pix.ask(system, value)).status_code == 404
        assert (await pix.feed(patient(system, value))).status_code == 422


@pytest.mark.parametrize(
    "system",
    [
        "urn:oid:1.2.3", NS + "never-heard-of", NS + "social-care-id/", NS + "social-care-id/a/b",
        f"urn:oid:{PACK.constants['identifier_arc']}.999", "NHS", "https://fhir.nhs.uk/Id/NHS-NUMBER",
    ],
)  # fmt: skip
async def test_an_unknown_domain_is_refused_as_the_tables_say(pix: Pix, system: str) -> None:
    fed = await pix.feed(patient(system, "1"))
    assert (fed.status_code, fed.json()["issue"][0]["code"]) == (400, "code-invalid")
    asked = await pix.ask(system, "1")
    assert (asked.status_code, diagnostics(asked)) == (
        400,
        ["sourceIdentifier Assigning Authority not found"],
    )
    target = await pix.ask(COUNCIL, "1", system)
    assert (target.status_code, diagnostics(target)) == (403, ["targetSystem not found"])
    found = await pix.http.get("/Patient", params={"identifier": f"{system}|"})
    assert (found.status_code, diagnostics(found)) == (404, ["targetSystem not found"])


@pytest.mark.parametrize(
    ("system", "words"),
    [
        (NS + "uprn", "place"), (NS + "homelessness-case/352", "case"), (NS + "crime-reference", "event"),
        (NS + "solicitor-matter/999999", "matter"), (NS + "laa-ufn", "file"), (NS + "uk-passport", "document"),
        (NS + "enterprise-person", "Identity Manager"), (NS + "upn-former", "sealed"),
    ],
)  # fmt: skip
async def test_people_are_not_fed_under_what_names_no_person(
    pix: Pix, system: str, words: str
) -> None:
    refused = await pix.feed(patient(system, "1"))
    assert refused.status_code == 422
    assert any(words in said for said in diagnostics(refused))


async def test_another_servers_own_ids_are_a_domain(pix: Pix) -> None:
    server = "https://fhir.northern-care.example/R4"
    fed = (await pix.feed(patient(server, "Patient/77", nhs=nhs_number(9401)))).json()
    ours = (await pix.feed(patient(TRUST, "H9401", nhs=nhs_number(9401)))).json()
    asked = await pix.ask(server, "Patient/77")
    assert asked.status_code == 200
    assert await pix.others(server + "/", "Patient/77", TRUST) == [(TRUST, "H9401")]
    there = await pix.ask(TRUST, "H9401", server)
    assert patients(there.json()) == [f"{server}/Patient/77"]
    assert await pix.others(TRUST, "H9401", server) == []
    everywhere = patients((await pix.ask(TRUST, "H9401")).json())
    assert f"{server}/Patient/77" in everywhere
    assert any(p.endswith(f"/Patient/{fed['id']}") for p in everywhere)
    assert not any(p.endswith(f"/Patient/{ours['id']}") for p in everywhere)
    refused = await pix.feed(patient(server, "77"))
    assert refused.status_code == 422


async def test_two_hospitals_cannot_share_one_case_number(pix: Pix) -> None:
    local = "https://fhir.nhs.uk/Id/local-patient-identifier"

    def of(ods: str, **more: object) -> dict[str, object]:
        made = patient(local, "H9801", **more)
        named = {"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": ods}
        made["identifier"][0]["assigner"] = {"identifier": named}
        return made

    assert (await pix.feed(of("RM3"))).status_code == 201
    assert (await pix.feed(of("rm3", gender="male"))).status_code == 200
    refused = await pix.feed(of("R0A"))
    assert refused.status_code == 409
    assert any("another organisation" in words for words in diagnostics(refused))
