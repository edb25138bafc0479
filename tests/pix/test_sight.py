"""Identifiers that a caller may not see are neither told nor shown nor found by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from chassis.call import Caller
from tests.pix import makers_pmir as pix_messages
from tests.pix.makers import (
    BASE,
    COUNCIL,
    HOSPITAL,
    NHS,
    NS,
    TRUST,
    Pix,
    identifier,
    identifiers,
    nhs_number,
    patient,
    patients,
    replaced,
)  # fmt: skip

PNC, UPN, VICTIM, FORMER = NS + "pnc", NS + "upn", NS + "victim-support-id", NS + "upn-former"
NUMBER = nhs_number(9501)
GP = Caller(
    client_id="gp", scope="system/Patient.rs", role="R-GP", purpose="P-CARE", organisation="P99000"
)
TEACHER = Caller(
    client_id="school", scope="system/Patient.rs", role="R-TCH", purpose="P-EYRS",
    organisation="URN999000",
)  # fmt: skip
POLICE = Caller(
    client_id="police", scope="system/Patient.rs", role="R-POL", purpose="P-LEP", organisation="GMP"
)
PLAIN = Caller(client_id="plain", scope="system/Patient.rs")


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def ada(service: Pix) -> Mapping[str, str]:
    """Ada, known to a hospital, the police and her school by one verified NHS number."""
    name = [{"family": "Seenonly", "given": ["Ada"]}]
    made = {}
    for system, value in ((TRUST, "H9501"), (PNC, "02/73319Z"), (UPN, "B801200005001")):
        body = patient(system, value, nhs=NUMBER, name=name)
        if system == TRUST:
            body["identifier"] += [
                identifier(VICTIM, "VS-9501"),
                identifier(FORMER, "X352999918001"),
            ]
        fed = await service.feed(body)
        assert fed.status_code == 201, fed.text
        made[system] = fed.json()["id"]
    return made


async def systems(pix: Pix, query: str) -> list[set[str]]:
    answer = await pix.http.get(f"/Patient?{query}")
    assert answer.status_code == 200, answer.text
    bundle = answer.json()
    assert bundle["total"] == len(bundle.get("entry", []))
    return [{i["system"] for i in e["resource"]["identifier"]} for e in bundle.get("entry", [])]


@pytest.mark.parametrize(
    ("caller", "told"),
    [
        (GP, set()), (PLAIN, {(TRUST, "H9501")}), (POLICE, set()),
    ],
)  # fmt: skip
async def test_a_cross_reference_tells_what_the_caller_may_see(
    pix: Pix, caller: Caller, told: set[tuple[str, str]]
) -> None:
    pix.caller = caller
    answer = await pix.ask(NHS, NUMBER)
    if caller is POLICE:  # which may not see NHS numbers
        assert answer.status_code == 404
        answer = await pix.ask(PNC, "2002/0073319Z")
    assert answer.status_code == 200
    assert set(identifiers(answer.json())) == told


async def test_a_record_at_the_police_is_not_even_counted(pix: Pix, ada: Mapping[str, str]) -> None:
    everything = patients((await pix.ask(NHS, NUMBER)).json())
    pix.caller = GP
    answer = await pix.ask(NHS, NUMBER)
    assert set(everything) - set(patients(answer.json())) == {f"{BASE}/Patient/{ada[PNC]}"}
    assert (await pix.http.get(f"/Patient/{ada[PNC]}")).status_code == 404
    assert (await pix.http.get(f"/Patient/{ada[PNC]}/_history")).status_code == 404
    assert (await pix.ask(BASE, f"Patient/{ada[PNC]}")).status_code == 404
    assert len(await systems(pix, "family=seenonly")) == 2
    pix.caller = POLICE
    assert len(await systems(pix, "family=seenonly")) == 3


async def test_no_link_tells_of_a_record_at_the_police(pix: Pix, ada: Mapping[str, str]) -> None:
    def linked(resource: Mapping[str, Any]) -> set[str]:
        return {k["other"]["reference"].removeprefix("Patient/") for k in resource.get("link", [])}

    url = f"/Patient/{ada[TRUST]}"
    assert linked((await pix.http.get(url)).json()) == {ada[PNC], ada[UPN]}
    pix.caller = replace(GP, scope="system/Patient.rs")
    assert linked((await pix.http.get(url)).json()) == {ada[UPN]}
    for path in (url + "/_history", f"/Patient?_id={ada[TRUST]}"):
        for entry in (await pix.http.get(path)).json()["entry"]:
            assert ada[PNC] not in linked(entry["resource"])
    pix.caller = Caller(client_id="hospital", scope="system/*.cruds", organisation="R0A")
    name = [{"family": "Seenonly", "given": ["Ada"]}]
    fed = await pix.feed(patient(HOSPITAL, "R9501", nhs=NUMBER, name=name))
    assert linked(fed.json()) == {ada[TRUST], ada[UPN]}
    await pix.remove(HOSPITAL, "R9501")
    pix.caller = replace(GP, scope="system/Patient.rs")
    who = {"resourceType": "Patient", "identifier": [identifier(NHS, NUMBER)]}
    matched = (await pix.http.post("/Patient/$match", json=who)).json()
    assert {e["resource"]["id"] for e in matched["entry"]} == {ada[TRUST], ada[UPN]}
    assert all(ada[PNC] not in linked(e["resource"]) for e in matched["entry"])


@pytest.mark.parametrize("target", [PNC, UPN, NS + "nino"])
async def test_a_hidden_target_is_answered_as_if_nobody_had_such_numbers(
    pix: Pix, target: str
) -> None:
    pix.caller = GP
    answer = await pix.ask(NHS, NUMBER, target)
    assert answer.json() == {"resourceType": "Parameters"}


@pytest.mark.parametrize("known", [True, False])
async def test_a_hidden_number_is_like_one_that_nobody_has(pix: Pix, known: bool) -> None:
    value = "2002/0073319Z" if known else "2002/0073320A"
    pix.caller = GP
    asked = await pix.ask(PNC, value)
    assert asked.status_code == 404
    assert (
        asked.json()["issue"][0]["diagnostics"] == "sourceIdentifier Patient Identifier not found"
    )
    for query in (f"identifier={PNC}%7C{value}", f"identifier={value}", f"identifier={PNC}%7C"):
        assert await systems(pix, query) == []
    both = await systems(pix, f"identifier={PNC}%7C{value},{NHS}%7C{NUMBER}")
    assert len(both) == 2
    without = await systems(pix, f"identifier:not={PNC}%7C{value}&family=seenonly")
    assert len(without) == 2
    unknown = await pix.ask("urn:oid:1.2.3", value)
    assert unknown.status_code == 400


async def test_a_value_without_its_domain_finds_what_the_caller_may_see(
    pix: Pix, ada: Mapping[str, str]
) -> None:
    pix.caller = TEACHER
    assert len(await systems(pix, "identifier=B801200005001")) == 1
    assert await systems(pix, f"identifier={NUMBER}") == []
    pix.caller = GP
    assert await systems(pix, "identifier=B801200005001") == []
    assert len(await systems(pix, f"identifier={NUMBER}")) == 2
    pix.caller = POLICE
    assert await systems(pix, f"identifier={NUMBER}") == []


async def test_reads_searches_and_histories_show_what_the_caller_may_see(
    pix: Pix, ada: Mapping[str, str]
) -> None:
    def shown(answer: Any) -> set[str]:
        return {i["system"] for i in answer.json()["identifier"]}

    url = f"/Patient/{ada[TRUST]}"
    assert shown(await pix.http.get(url)) == {TRUST, NHS, VICTIM}
    pix.caller = GP
    assert shown(await pix.http.get(url)) == {NHS}
    history = (await pix.http.get(url + "/_history")).json()
    for entry in history["entry"]:
        assert {i["system"] for i in entry["resource"]["identifier"]} == {NHS}
        version = entry["resource"]["meta"]["versionId"]
        assert shown(await pix.http.get(f"{url}/_history/{version}")) == {NHS}
    pix.caller = TEACHER
    found = await systems(pix, "family=seenonly")
    assert sorted(map(sorted, found)) == [[UPN], ["urn:ietf:rfc:3986"]]
    pix.caller = replace(PLAIN, organisation="RM3")
    assert shown(await pix.http.get(url)) == {TRUST, NHS}


async def test_a_source_sees_the_numbers_of_the_domain_it_feeds(pix: Pix) -> None:
    await pix.near.assign(VICTIM, "support")
    pix.caller = Caller(client_id="support", scope="system/*.cruds")
    made = await pix.feed(patient(VICTIM, "VS-9600", nhs=nhs_number(9601)))
    assert made.status_code == 201
    assert await pix.others(NHS, nhs_number(9601)) == [(VICTIM, "VS-9600")]
    pix.caller = PLAIN
    assert (await pix.ask(NHS, nhs_number(9601))).status_code == 404


async def test_a_council_sees_its_own_numbers_and_not_anothers(pix: Pix) -> None:
    await pix.feed(patient(COUNCIL, "9700001", nhs=nhs_number(9701)))
    await pix.feed(patient(HOSPITAL, "R9701", nhs=nhs_number(9701)))
    pix.caller = replace(PLAIN, organisation="352/E08000003")
    assert await pix.others(NHS, nhs_number(9701)) == [(COUNCIL, "9700001")]
    pix.caller = replace(PLAIN, organisation="355")
    assert await pix.others(NHS, nhs_number(9701)) == []


# -- asking by writing --------------------------------------------------------------------------------

SOURCE = Caller(client_id="source", scope="system/*.cruds", organisation="352")


async def refusal(pix: Pix, method: str, url: str, body: Mapping[str, Any] | None = None) -> str:
    """Status and words of a refusal, as one text to compare."""
    answer = await pix.http.request(method, url, json=body)
    assert answer.status_code >= 400, answer.text
    issues = [(i["code"], i["diagnostics"], i.get("expression")) for i in answer.json()["issue"]]
    return f"{answer.status_code} {issues}"


async def test_a_merge_is_no_way_to_ask_whether_the_police_know_a_number(
    pix: Pix, ada: Mapping[str, str]
) -> None:
    pix.caller = SOURCE
    body = patient(COUNCIL, "9501001")
    await pix.feed(body)
    url = f"/Patient?identifier={COUNCIL}|9501001"

    async def told(other: Mapping[str, Any]) -> str:
        return await refusal(pix, "PUT", url, replaced(body, other))

    known, unknown = identifier(PNC, "2002/0073319Z"), identifier(PNC, "2002/0073320A")
    assert await told({"identifier": known}) == await told({"identifier": unknown})
    nobody = await told({"reference": "Patient/nobody"})
    assert await told({"reference": f"Patient/{ada[PNC]}"}) == nobody
    by_base = {"identifier": identifier(BASE, f"Patient/{ada[PNC]}")}
    assert await told(by_base) == await told({"identifier": identifier(BASE, "Patient/nobody")})


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_a_record_that_may_not_be_known_of_cannot_be_told_from_none_by_feeding_its_id(
    pix: Pix, ada: Mapping[str, str], method: str
) -> None:
    pix.caller = SOURCE
    body = patient(COUNCIL, "9501002") if method == "PUT" else None

    async def told(id_: str) -> str:
        return await refusal(pix, method, f"/Patient?identifier={BASE}|Patient/{id_}", body)

    assert await told(ada[PNC]) == await told("nobody")
    assert (await told(ada[TRUST])).startswith("403")  # that may be known of, and is another's


async def test_a_message_cannot_tell_a_hidden_records_id_from_a_name_of_the_senders_own(
    pix: Pix, ada: Mapping[str, str]
) -> None:
    pix.caller = SOURCE

    async def told(name: str) -> tuple[int, str]:
        answer = await pix_messages.send(pix, pix_messages.message(pix_messages.deleted(name)))
        return answer.status_code, pix_messages.details(answer)[0]["diagnostics"]

    assert await told(ada[PNC]) == await told("nobody")


async def test_a_message_does_not_tell_the_number_behind_somebodys_id(
    pix: Pix, ada: Mapping[str, str]
) -> None:
    """A related person is kept with the Patient that they are about named by identifier."""
    pix.caller = SOURCE
    for kept, id_ in enumerate((ada[PNC], ada[TRUST])):
        person = {
            "resourceType": "RelatedPerson",
            "id": f"rp-9501-{kept}",
            "patient": {"reference": f"Patient/{id_}"},
        }
        link = [{"type": "seealso", "other": {"reference": f"RelatedPerson/rp-9501-{kept}"}}]
        mother = patient(COUNCIL, f"950101{kept}", active=True, link=link)
        answer = await pix_messages.tell(
            pix,
            pix_messages.entry("POST", "RelatedPerson", person),
            pix_messages.created(mother, f"mother-{kept}"),
        )
        read = await pix.http.get(f"/Patient/{pix_messages.ids(answer)[0]}")
        assert read.json()["contained"][0]["patient"] == {"reference": f"Patient/{id_}"}
        assert "73319Z" not in read.text
        assert "H9501" not in read.text
