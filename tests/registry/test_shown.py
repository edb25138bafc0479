"""Numbers in documents' metadata are shown to who may see them, and stay as they came."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from affinity.pack import load
from chassis.call import dumps
from governance.identifiers import Sight, Viewer, sight
from registry.shown import cleared, numbers
from standards.r4.check import check_structure
from tests.makers_mhd import (
    NHS,
    NS,
    a_bundle,
    a_document,
    a_folder,
    a_patient,
    locations,
    publish,
    related,
)
from tests.registry.makers_nrl import CONSUMER, OURS, a_number, a_pointer, made
from tests.running import Exchange

ID = f"{NS}/Id/"
PNC, CRN, VICTIM, FORMER = (
    ID + "pnc",
    ID + "probation-crn",
    ID + "victim-support-id",
    ID + "upn-former",
)
COURT, COUNCIL = ID + "court-case-reference", ID + "social-care-id/352"
VALUES = {
    NHS: "9990000018", PNC: "02/73319Z", CRN: "X123456", VICTIM: "VS-9501", FORMER: "X352999918001",
    COURT: "12/3456/123456A", COUNCIL: "77001",
}  # fmt: skip
PACK = load("greater_manchester")
PNC_OID = "urn:oid:" + str(PACK.register.names(PNC).oid)  # type: ignore[union-attr]
SCOPE = "system/DocumentReference.rs system/List.rs system/Patient.rs"


def number(system: str) -> dict[str, str]:
    return {"system": system, "value": VALUES[system]}


def told(patient: str, **changes: Any) -> dict[str, Any]:
    """A document whose metadata carry every kind of number."""
    document = a_document(patient, **changes)
    source = document["contained"][1]
    source["identifier"] = [number(s) for s in (NHS, PNC, CRN, VICTIM, FORMER, COUNCIL)]
    source["identifier"] += [
        {"system": PNC_OID, "value": VALUES[PNC]},
        {"value": "S-1 of no system"},
    ]
    source["text"] = {
        "status": "generated",
        "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{VALUES[PNC]}</div>',
    }
    source["telecom"] = [{"system": "phone", "value": "0161 496 0000"}]
    document["subject"] = {"reference": patient, "identifier": number(PNC)}
    document["context"]["sourcePatientInfo"]["identifier"] = number(VICTIM)
    document["context"]["related"] = [{"identifier": number(COURT)}]
    return document


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def viewers(exchange: Exchange) -> AsyncIterator[Mapping[str, httpx.AsyncClient]]:
    """Callers of several agencies, by role."""
    kinds = {
        "R-SYS": ("", ""), "R-GP": ("P99000", "P-CARE"), "R-POL": ("GMP", "P-LEP"),
        "R-VSW": ("VCS-05", "P-VICT"), "": ("", ""),
    }  # fmt: skip
    async with AsyncExitStack() as stack:
        made_ = {}
        for role, (organisation, purpose) in kinds.items():
            name = f"viewer-{role or 'none'}"
            await exchange.register(name, SCOPE, role=role, organisation=organisation)
            form = {"purpose_of_use": purpose} if purpose else {}
            token = await exchange.token(name, SCOPE, **form)
            made_[role] = await stack.enter_async_context(
                httpx.AsyncClient(
                    transport=httpx.ASGITransport(exchange.app), base_url=exchange.base,
                    headers={"Authorization": f"Bearer {token}", "Accept": "application/fhir+json"},
                )
            )  # fmt: skip
        yield made_


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(source: httpx.AsyncClient, person: str) -> tuple[str, str, str]:
    """The person, a document that was superseded by another, and a Folder."""
    old = locations(await publish(source, a_bundle(told(person))))[1]
    new = a_bundle(
        told(person, **related("replaces", old)),
        folders=(a_folder(person) | {"subject": {"reference": person, "identifier": number(PNC)}},),
    )
    answer = await publish(source, new)
    assert answer.status_code == 200, answer.text
    return person, old, next(p for p in locations(answer)[2:] if p.startswith("List/"))


SEEN = {
    "R-SYS": {NHS, PNC, CRN, VICTIM, COURT, COUNCIL, PNC_OID},
    "R-GP": {NHS},
    "R-POL": {PNC, CRN, COURT, PNC_OID},
    "R-VSW": {VICTIM},
    "": {NHS},
}


def systems(resource: Any) -> set[str]:
    return {s for s in numbers(resource) if s != f"{NS}/Id/local"}


async def everywhere(client: httpx.AsyncClient, city: tuple[str, str, str]) -> list[dict[str, Any]]:
    """The documents by every way in which they are shown."""
    person, old, _ = city
    shown = [(await client.get(old)).json(), (await client.get(f"{old}/_history/1")).json()]
    asked = {"patient": person, "status": "current,superseded"}
    for path, params in (
        ("DocumentReference", asked),
        ("DocumentReference", {"_id": old.partition("/")[2], "_include": "DocumentReference:relatesto",
                               "_revinclude": "DocumentReference:relatesto"}),
        (f"{old}/_history", {}),
        ("DocumentReference/_history", {"patient": person}),
    ):  # fmt: skip
        answer = await client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        shown += [e["resource"] for e in answer.json()["entry"]]
    return [r for r in shown if r["resourceType"] == "DocumentReference"]


@pytest.mark.parametrize("role", SEEN)
async def test_a_number_is_shown_to_who_may_see_it_by_whatever_way(
    viewers: Mapping[str, httpx.AsyncClient], city: tuple[str, str, str], role: str
) -> None:
    shown = await everywhere(viewers[role], city)
    assert len(shown) > 8
    for resource in shown:
        assert systems(resource) - {""} == SEEN[role]
        assert check_structure(resource) == ()
        assert resource["context"]["sourcePatientInfo"]["reference"] == "#source"
        assert resource["contained"][1]["telecom"]  # what is no number stays
        hidden = {VALUES[s] for s in VALUES.keys() - SEEN[role]}
        assert not [value for value in hidden if value in json.dumps(resource)]


async def test_it_is_the_same_in_xml(
    viewers: Mapping[str, httpx.AsyncClient], city: tuple[str, str, str]
) -> None:
    xml = {"Accept": "application/fhir+xml"}
    for path in (
        city[1],
        f"{city[1]}/_history",
        f"DocumentReference?patient={city[0]}&status=superseded",
    ):
        doctor = (await viewers["R-GP"].get(path, headers=xml)).text
        police = (await viewers["R-POL"].get(path, headers=xml)).text
        assert VALUES[NHS] in doctor
        assert not [s for s in (PNC, CRN, VICTIM, FORMER, COURT) if VALUES[s] in doctor]
        assert VALUES[PNC] in police
        assert not [s for s in (NHS, VICTIM, FORMER) if VALUES[s] in police]


async def test_lists_too(
    viewers: Mapping[str, httpx.AsyncClient], city: tuple[str, str, str]
) -> None:
    assert systems((await viewers["R-POL"].get(city[2])).json()) == {PNC}
    assert systems((await viewers["R-GP"].get(city[2])).json()) == set()
    asked = {"patient": city[0], "status": "current", "code": "folder"}
    bundle = (await viewers["R-GP"].get("List", params=asked)).json()
    assert systems(bundle["entry"][0]["resource"]) == set()


async def test_what_is_stored_stays_as_it_came_and_a_version_is_one_version_to_everyone(
    exchange: Exchange, viewers: Mapping[str, httpx.AsyncClient], city: tuple[str, str, str]
) -> None:
    tags = set()
    for client in viewers.values():
        answer = await client.get(city[1])
        tags.add(answer.headers["etag"])
        assert answer.headers["cache-control"] == "no-store"
        assert answer.json()["meta"]["versionId"] == "2"
    assert len(tags) == 1
    id_ = city[1].partition("/")[2]
    row = await exchange.mongo.table("registry", "documents").one({"_id": id_})
    assert row is not None
    stored = json.loads(bytes(row["b"]))["contained"][1]
    assert [i.get("system") for i in stored["identifier"]][:5] == [NHS, PNC, CRN, VICTIM, FORMER]


async def test_rows_of_before_are_looked_through_when_they_are_shown(
    exchange: Exchange, viewers: Mapping[str, httpx.AsyncClient], source: httpx.AsyncClient
) -> None:
    person = await a_patient(source)
    path = locations(await publish(source, a_bundle(told(person))))[1]
    documents = exchange.mongo.table("registry", "documents")
    await documents.update({"_id": path.partition("/")[2]}, {"$unset": {"ix.numbers": ""}})
    asked = {"patient": person, "status": "current"}
    bundle = (await viewers["R-GP"].get("DocumentReference", params=asked)).json()
    assert systems(bundle["entry"][0]["resource"]) == {NHS}
    assert systems((await viewers["R-GP"].get(path)).json()) == {NHS}


@pytest.mark.parametrize("value", [f"{COURT}|{VALUES[COURT]}", VALUES[COURT]])
async def test_a_hidden_number_finds_no_document(
    viewers: Mapping[str, httpx.AsyncClient], city: tuple[str, str, str], value: str
) -> None:
    asked = {"patient": city[0], "status": "current,superseded", "related:identifier": value}
    found = {
        role: (await viewers[role].get("DocumentReference", params=asked)).json()["total"]
        for role in ("R-SYS", "R-GP")
    }
    assert found["R-GP"] == 0
    assert found["R-SYS"] == (2 if "|" in value else found["R-SYS"])


async def test_who_feeds_a_domain_sees_its_numbers(
    exchange: Exchange, source: httpx.AsyncClient, city: tuple[str, str, str]
) -> None:
    await exchange.register("victims-desk", f"{SCOPE} throughline.internal", role="")
    token = await exchange.token("victims-desk", f"{SCOPE} throughline.internal")
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(exchange.app), base_url=exchange.base,
        headers={"Authorization": f"Bearer {token}"},
    ) as client:  # fmt: skip
        row = {"_id": VICTIM, "client": "victims-desk"}
        await exchange.mongo.table("pix", "sources").insert(row)
        try:
            assert VICTIM in systems((await client.get(city[1])).json())
        finally:
            await exchange.mongo.table("pix", "sources").delete({"_id": VICTIM})


async def test_the_nrl_door_keeps_to_it(exchange: Exchange, source: httpx.AsyncClient) -> None:
    async with exchange.as_client(organisation=OURS) as producer:
        nhs = await a_number(source)
        id_ = await made(producer, a_pointer(nhs))
    async with exchange.as_client(role="R-POL", organisation="GMP") as police:
        pointer = (await police.get(f"{CONSUMER}/{id_}")).json()
        assert "identifier" not in pointer["subject"]
        assert nhs not in json.dumps(pointer)


# -- the rule itself --------------------------------------------------------------------------------


def seen_by(role: str, purpose: str = "", organisation: str = "") -> Sight:
    return sight(Viewer(role, purpose, organisation), PACK.register, PACK.openings)


_NUMBERS = st.sampled_from(sorted(VALUES)).map(number)
_INNER = st.recursive(
    st.one_of(
        _NUMBERS,
        st.just({"system": "phone", "value": "1"}),
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=5),
        st.none(),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["a", "b", "identifier", "extension"]), inner, max_size=3),
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(st.sampled_from(["context", "contained", "subject", "x"]), _INNER, max_size=4)
)
def test_nothing_hidden_is_left_and_nothing_else_is_taken(content: dict[str, Any]) -> None:
    resource = {"resourceType": "DocumentReference", "identifier": [number(PNC)], **content}
    doctor = seen_by("R-GP", "P-CARE")
    body = dumps(resource)
    made_ = json.loads(cleared(body, doctor))
    assert made_["identifier"] == resource["identifier"]  # its own names are not a person's
    assert set(numbers(made_)) == {s for s in numbers(resource) if doctor.sees(s)}
    if set(numbers(resource)) == set(numbers(made_)):
        assert cleared(body, doctor) == body


def test_of_a_relative_without_a_name_it_is_still_said_that_there_is_one() -> None:
    relative = {
        "resourceType": "RelatedPerson",
        "id": "r",
        "patient": {"identifier": number(PNC)},
        "identifier": [number(PNC)],
    }
    document = a_document()
    document.pop("_content")
    document["contained"].append(relative)
    document["author"].append({"reference": "#r"})
    made_ = json.loads(cleared(dumps(document), seen_by("R-GP")))
    assert check_structure(made_) == ()
    assert made_["contained"][2]["patient"] == {"display": "not shown"}
