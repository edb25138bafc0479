"""ITI-104: every row of the conditional-update, validation and merge tables."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from chassis.call import Caller
from chassis.mongo import Mongo
from pix.likening import BORN, births_alike
from tests.pix.makers import (
    BASE,
    COUNCIL,
    HOSPITAL,
    NHS,
    NS,
    SALFORD,
    TRUST,
    Pix,
    diagnostics,
    identifier,
    nhs_number,
    patient,
    pix_service,
    replaced,
)  # fmt: skip


async def test_a_new_person_is_created_and_located(pix: Pix) -> None:
    made = await pix.feed(patient(COUNCIL, "1000001"))
    assert made.status_code == 201
    body = made.json()
    assert made.headers["location"] == f"{BASE}/Patient/{body['id']}/_history/1"
    assert made.headers["etag"] == 'W/"1"'
    assert made.headers["last-modified"].endswith("GMT")
    assert body["meta"]["versionId"] == "1"
    read = await pix.http.get(f"/Patient/{body['id']}")
    assert read.status_code == 200
    assert read.json() == body


async def test_the_same_body_again_makes_no_new_version(pix: Pix) -> None:
    body = patient(COUNCIL, "1000002")
    await pix.feed(body)
    shuffled = dict(reversed(body.items()))
    again = await pix.feed(shuffled)
    assert again.status_code == 200
    assert again.headers["etag"] == 'W/"1"'


async def test_a_changed_body_is_the_next_version_and_the_earlier_one_is_kept(pix: Pix) -> None:
    first = (await pix.feed(patient(COUNCIL, "1000003"))).json()
    second = await pix.feed(patient(COUNCIL, "1000003", gender="other"))
    assert second.status_code == 200
    assert second.headers["etag"] == 'W/"2"'
    assert second.json()["id"] == first["id"]
    earlier = await pix.http.get(f"/Patient/{first['id']}/_history/1")
    assert earlier.json() == first
    history = (await pix.http.get(f"/Patient/{first['id']}/_history")).json()
    assert [e["resource"]["meta"]["versionId"] for e in history["entry"]] == ["2", "1"]
    assert history["total"] == 2


async def test_decimals_keep_their_digits_through_a_relink(pix: Pix) -> None:
    number = nhs_number(1004)
    place = '"extension":[{"url":"https://example.org/lat","valueDecimal":53.4800}]'
    raw = (
        f'{{"resourceType":"Patient","identifier":[{{"system":"{COUNCIL}","value":"1000004"}},'
        '{"system":"%s","value":"%s","extension":[{"url":"%s","valueCodeableConcept":{"coding":'
        '[{"system":"%s","code":"01"}]}}]}],"name":[{"text":"X"}],"birthDate":"1980-02-03",%s}'
    ) % (
        NHS,
        number,
        "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-NHSNumberVerificationStatus",
        "https://fhir.hl7.org.uk/CodeSystem/UKCore-NHSNumberVerificationStatusEngland",
        place,
    )
    made = await pix.http.put(
        "/Patient",
        params={"identifier": f"{COUNCIL}|1000004"},
        content=raw,
        headers={"Content-Type": "application/fhir+json"},
    )
    assert made.status_code == 201, made.text
    await pix.feed(patient(TRUST, "H1004", nhs=number))
    read = await pix.http.get(f"/Patient/{made.json()['id']}")
    assert "53.4800" in read.text
    assert read.headers["etag"] == 'W/"2"'


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "Say whom you mean"),
        ("identifier=", "system|value"),
        ("identifier=1000005", "system|value"),
        (f"identifier={COUNCIL}|", "system|value"),
        ("identifier=|1000005", "system|value"),
        (f"identifier={COUNCIL}|1,{COUNCIL}|2", "comma"),
        (f"identifier={COUNCIL}|1&identifier={COUNCIL}|2", "once"),
        (f"identifier={COUNCIL}|1&family=x", "no parameter"),
        ("identifier=urn:oid:1.2.3|1", "No domain"),
    ],
)
async def test_bad_criteria_are_refused(pix: Pix, query: str, words: str) -> None:
    refused = await pix.http.put(f"/Patient?{query}", json=patient(COUNCIL, "1"))
    assert refused.status_code == 400
    assert words in diagnostics(refused)[0]


async def test_a_body_id_is_refused_unless_it_is_the_patients(pix: Pix) -> None:
    body = patient(COUNCIL, "1000006")
    assert (await pix.feed({**body, "id": "mine"})).status_code == 400
    made = (await pix.feed(body)).json()
    assert (await pix.feed({**body, "id": "other", "gender": "male"})).status_code == 400
    revised = await pix.feed({**body, "id": made["id"], "gender": "male"})
    assert revised.status_code == 200
    assert revised.json()["id"] == made["id"]


async def test_if_none_match_says_only_if_nobody_is_there_yet(pix: Pix) -> None:
    body = patient(COUNCIL, "1000911")
    assert (await pix.feed(body, If_None_Match="*")).status_code == 201
    revised = {**body, "gender": "male"}
    for tags in ("*", 'W/"1"', 'W/"7", "1"'):
        refused = await pix.feed(revised, If_None_Match=tags)
        assert refused.status_code == 412
        assert refused.json()["issue"][0]["expression"] == ["If-None-Match"]
    assert (await pix.feed(revised, If_None_Match='W/"7"')).status_code == 200
    assert (await pix.feed(body, If_Match='W/"1", W/"2"')).headers["etag"] == 'W/"3"'


async def test_if_match_is_honoured_and_never_required(pix: Pix) -> None:
    body = patient(COUNCIL, "1000007")
    assert (await pix.feed(body, If_Match='W/"1"')).status_code == 412
    await pix.feed(body)
    assert (await pix.feed({**body, "gender": "male"}, If_Match='W/"7"')).status_code == 412
    assert (await pix.feed({**body, "gender": "male"}, If_Match='W/"1"')).status_code == 200


async def test_prefer_says_what_comes_back(pix: Pix) -> None:
    body = patient(COUNCIL, "1000008")
    minimal = await pix.feed(body, Prefer="return=minimal")
    assert minimal.status_code == 201
    assert minimal.content == b""
    told = await pix.feed({**body, "gender": "male"}, Prefer="return=OperationOutcome")
    assert told.json()["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    ("change", "places"),
    [
        ({"identifier": None}, {"Patient.identifier"}),
        ({"name": None}, {"Patient.name"}),
        ({"name": [{"use": "usual"}]}, {"Patient.name[0]"}),
        (
            {"modifierExtension": [{"url": "urn:x", "valueBoolean": True}]},
            {"Patient.modifierExtension"},
        ),
        ({"implicitRules": "urn:x"}, {"Patient.implicitRules"}),
        ({"link": [{"other": {"reference": "Patient/x"}, "type": "seealso"}]}, {"Patient.active"}),
        ({"name": None, "implicitRules": "urn:x"}, {"Patient.name", "Patient.implicitRules"}),
    ],
)
async def test_a_body_that_breaks_the_profile_is_refused_with_every_place(
    pix: Pix, change: dict[str, object], places: set[str]
) -> None:
    body = {k: v for k, v in {**patient(COUNCIL, "1000009"), **change}.items() if v is not None}
    refused = await pix.put(COUNCIL, "1000009", body)
    assert refused.status_code == 422
    found = {e for i in refused.json()["issue"] for e in i["expression"]}
    assert places <= found
    assert "coding" not in refused.text
    assert (await pix.ask(COUNCIL, "1000009")).status_code == 404


async def test_a_name_may_be_absent_but_not_both_absent_and_given(pix: Pix) -> None:
    url = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
    absent = {"extension": [{"url": url, "valueCode": "unknown"}]}
    assert (await pix.feed(patient(COUNCIL, "1000010", name=[absent]))).status_code == 201
    both = await pix.feed(patient(COUNCIL, "1000011", name=[{**absent, "family": "X"}]))
    assert both.status_code == 422


async def test_the_body_must_hold_the_identifier_of_the_request(pix: Pix) -> None:
    refused = await pix.put(COUNCIL, "1000012", patient(COUNCIL, "1000013"))
    assert refused.status_code == 422
    assert refused.json()["issue"][0]["expression"] == ["Patient.identifier"]


@pytest.mark.parametrize("number", ["9990000019", "12345", "999000001X"])
async def test_a_wrong_nhs_number_is_refused(pix: Pix, number: str) -> None:
    refused = await pix.feed(patient(COUNCIL, "1000014", nhs=number))
    assert refused.status_code == 422
    assert refused.json()["issue"][0]["expression"] == ["Patient.identifier[1].value"]


async def test_an_nhs_number_is_stored_as_ten_digits(pix: Pix) -> None:
    made = await pix.feed(patient(COUNCIL, "1000015", nhs="999 000-0018"))
    assert made.json()["identifier"][1]["value"] == "9990000018"


@pytest.mark.parametrize("domain", ["crime-reference", "upn-former", "enterprise-person"])
async def test_numbers_that_name_no_person_cannot_be_fed(pix: Pix, domain: str) -> None:
    refused = await pix.feed(patient(NS + domain, "TL-000000000000"))
    assert refused.status_code == 422


async def test_sealed_numbers_are_kept_and_not_shown(pix: Pix) -> None:
    body = patient(COUNCIL, "1000016")
    body["identifier"].append(identifier(NS + "upn-former", "A123456789012"))
    made = await pix.feed(body)
    assert made.status_code == 201
    assert "A123456789012" not in made.text
    assert (await pix.ask(NS + "upn-former", "A123456789012")).status_code == 404


async def test_only_its_source_feeds_a_domain(pix: Pix) -> None:
    pix.caller = Caller(client_id="council", scope="system/Patient.cruds", organisation="352")
    assert (await pix.feed(patient(COUNCIL, "1000017"))).status_code == 201
    foreign = await pix.feed(patient(SALFORD, "1000017"))
    assert foreign.status_code == 403
    assert (await pix.remove(SALFORD, "1000017")).status_code == 403
    await pix.near.assign(SALFORD, "council")
    assert (await pix.feed(patient(SALFORD, "1000017"))).status_code == 201


async def test_a_source_cannot_mint_in_anothers_domain(pix: Pix) -> None:
    body = patient(TRUST, "H1018")
    body["identifier"].append(identifier(COUNCIL, "1000018"))
    await pix.feed(body)
    assert (await pix.ask(COUNCIL, "1000018")).status_code == 404
    assert await pix.others(TRUST, "H1018") == []


async def test_a_token_for_some_patients_neither_makes_nor_changes_others(pix: Pix) -> None:
    await pix.feed(patient(TRUST, "H1019"))
    scope = f"system/Patient.cruds?identifier={COUNCIL}|"
    pix.caller = Caller(client_id="feeder", scope=scope, role="R-SYS")
    assert (await pix.feed(patient(COUNCIL, "1000019"))).status_code == 201
    assert (await pix.feed(patient(TRUST, "H1019", gender="male"))).status_code == 403
    assert (await pix.feed(patient(TRUST, "H1019b"))).status_code == 403
    assert (await pix.ask(TRUST, "H1019b")).status_code == 404


async def test_a_duplicate_is_resolved(pix: Pix) -> None:
    gone = (await pix.feed(patient(COUNCIL, "2000001"))).json()
    kept = (await pix.feed(patient(COUNCIL, "2000002"))).json()
    other = {"identifier": {"system": COUNCIL, "value": "2000002"}}
    merged = await pix.feed(replaced(patient(COUNCIL, "2000001"), other))
    assert merged.status_code == 200
    read = (await pix.http.get(f"/Patient/{gone['id']}")).json()
    assert read["active"] is False
    assert read["link"][0]["type"] == "replaced-by"
    assert read["link"][0]["other"]["reference"] == f"Patient/{kept['id']}"
    survivor = (await pix.http.get(f"/Patient/{kept['id']}")).json()
    assert {"use": "old", "system": COUNCIL, "value": "2000001"} in survivor["identifier"]
    answer = await pix.ask(COUNCIL, "2000001")
    assert (answer.status_code, answer.json()) == (200, {"resourceType": "Parameters"})
    assert await pix.others(COUNCIL, "2000002") == []
    again = await pix.feed(replaced(patient(COUNCIL, "2000001"), other))
    assert again.status_code == 200
    revised = (await pix.feed(patient(COUNCIL, "2000002", gender="male"))).json()
    assert {"use": "old", "system": COUNCIL, "value": "2000001"} in revised["identifier"]


async def test_a_survivor_may_be_named_by_reference(pix: Pix) -> None:
    await pix.feed(patient(COUNCIL, "2000003"))
    kept = (await pix.feed(patient(COUNCIL, "2000004"))).json()
    body = patient(COUNCIL, "2000003")
    merged = await pix.feed(replaced(body, {"reference": f"{BASE}/Patient/{kept['id']}"}))
    assert merged.status_code == 200


async def test_a_chain_of_merges_leads_to_the_last_survivor(pix: Pix) -> None:
    values = [f"20001{n:02d}" for n in range(6)]
    ids = [(await pix.feed(patient(COUNCIL, v))).json()["id"] for v in values]
    for gone, kept in pairwise(values):
        other = {"identifier": {"system": COUNCIL, "value": kept}}
        assert (await pix.feed(replaced(patient(COUNCIL, gone), other))).status_code == 200
    for n, value in enumerate(values[:-1]):
        who = (await pix.near.who([("identifier", COUNCIL, value)]))["identifier", COUNCIL, value]
        assert (who.record, who.state, who.survivor) == (ids[n], "subsumed", ids[-1])
        assert set(who.same) == set(ids)
        assert (await pix.ask(COUNCIL, value)).json() == {"resourceType": "Parameters"}
    # told again with the survivor that it has by now, the link says so in both of its words
    other = {"identifier": {"system": COUNCIL, "value": values[-1]}}
    told = (await pix.feed(replaced(patient(COUNCIL, values[0]), other))).json()
    assert told["link"][0]["other"] == {**other, "reference": f"Patient/{ids[-1]}"}
    cycle = {"identifier": {"system": COUNCIL, "value": values[0]}}
    refused = await pix.feed(replaced(patient(COUNCIL, values[-1]), cycle))
    assert refused.status_code == 409
    assert (await pix.ask(COUNCIL, values[-1])).status_code == 200


@pytest.mark.parametrize(
    ("other", "status"),
    [
        ({"identifier": {"system": COUNCIL, "value": "2000201"}}, 422),  # itself
        ({"identifier": {"system": COUNCIL, "value": "2000999"}}, 422),  # unknown
        ({"identifier": {"system": TRUST, "value": "H2002"}}, 422),  # another domain
        ({"reference": "Patient/nobody"}, 422),
        ({"display": "someone"}, 422),
    ],
)
async def test_an_impossible_merge_changes_nothing(
    pix: Pix, other: dict[str, object], status: int
) -> None:
    body = patient(COUNCIL, "2000201")
    await pix.feed(body)
    await pix.feed(patient(TRUST, "H2002"))
    assert (await pix.feed(replaced(body, other))).status_code == status
    again = await pix.feed(body)
    assert again.status_code == 200
    assert again.headers["etag"] == 'W/"1"'


async def test_a_replaced_patient_must_be_inactive(pix: Pix) -> None:
    other = {"identifier": {"system": COUNCIL, "value": "2000301"}}
    body = {**replaced(patient(COUNCIL, "2000302"), other), "active": True}
    assert (await pix.feed(body)).status_code == 422


async def test_a_subsumed_record_is_not_revived(pix: Pix) -> None:
    await pix.feed(patient(COUNCIL, "2000401"))
    await pix.feed(patient(COUNCIL, "2000402"))
    other = {"identifier": {"system": COUNCIL, "value": "2000402"}}
    await pix.feed(replaced(patient(COUNCIL, "2000401"), other))
    assert (await pix.feed(patient(COUNCIL, "2000401", gender="male"))).status_code == 409


async def test_a_removed_person_is_gone_and_may_be_fed_anew(pix: Pix) -> None:
    made = (await pix.feed(patient(COUNCIL, "3000001"))).json()
    assert (await pix.remove(COUNCIL, "3000001")).status_code == 204
    assert (await pix.remove(COUNCIL, "3000001")).status_code == 204
    assert (await pix.ask(COUNCIL, "3000001")).status_code == 404
    assert (await pix.http.get(f"/Patient/{made['id']}")).status_code == 410
    assert (await pix.ask(BASE, f"Patient/{made['id']}")).status_code == 404
    found = (await pix.http.get("/Patient", params={"identifier": f"{COUNCIL}|3000001"})).json()
    assert found["total"] == 0
    again = await pix.feed(patient(COUNCIL, "3000001"))
    assert again.status_code == 201
    assert again.json()["id"] != made["id"]


async def test_removing_a_stranger_is_not_found(pix: Pix) -> None:
    assert (await pix.remove(COUNCIL, "3999999")).status_code == 404


async def test_removing_a_survivor_removes_what_was_merged_into_it(pix: Pix) -> None:
    for value in ("3000101", "3000102"):
        await pix.feed(patient(COUNCIL, value))
    other = {"identifier": {"system": COUNCIL, "value": "3000102"}}
    await pix.feed(replaced(patient(COUNCIL, "3000101"), other))
    assert (await pix.remove(COUNCIL, "3000102")).status_code == 204
    assert (await pix.ask(COUNCIL, "3000101")).status_code == 404


async def test_removing_a_subsumed_record_takes_its_number_from_the_survivor(pix: Pix) -> None:
    values = ("3000201", "3000202", "3000203")
    ids = [(await pix.feed(patient(COUNCIL, v))).json()["id"] for v in values]
    for gone, kept in pairwise(values):
        other = {"identifier": {"system": COUNCIL, "value": kept}}
        await pix.feed(replaced(patient(COUNCIL, gone), other))
    assert (await pix.remove(COUNCIL, "3000202")).status_code == 204
    survivor = (await pix.http.get(f"/Patient/{ids[2]}")).text
    assert "3000202" not in survivor
    assert "3000201" in survivor
    first = (await pix.http.get(f"/Patient/{ids[0]}")).json()
    assert first["link"][0]["other"]["reference"] == f"Patient/{ids[2]}"


async def test_racing_feeds_of_a_new_person_make_one_record(pix: Pix) -> None:
    body = patient(COUNCIL, "4000001")
    answers = await asyncio.gather(*(pix.feed(body) for _ in range(32)))
    assert sorted(a.status_code for a in answers) == [200] * 31 + [201]
    assert len({a.json()["id"] for a in answers}) == 1


async def test_two_records_of_one_person_arriving_together_become_one_person(pix: Pix) -> None:
    number = nhs_number(4002)
    bodies = [patient(HOSPITAL, f"R4{n:03d}", nhs=number) for n in range(32)]
    answers = await asyncio.gather(*map(pix.feed, bodies))
    assert {a.status_code for a in answers} == {201}
    asked = [("identifier", HOSPITAL, f"R4{n:03d}") for n in range(32)]
    assert len({w.person for w in (await pix.near.who(asked)).values()}) == 1
    assert len(await pix.others(HOSPITAL, "R4000")) == 32


async def test_writers_in_two_processes_make_one_person_too(pix: Pix, mongo: Mongo) -> None:
    number = nhs_number(4102)
    async with pix_service(mongo) as other:  # its own turns, as another process has
        writers = [
            (pix, other)[n % 2].feed(patient(HOSPITAL, f"Q{n}", nhs=number)) for n in range(12)
        ]
        writers += [(pix, other)[n % 2].feed(patient(COUNCIL, "4100001")) for n in range(12)]
        answers = await asyncio.gather(*writers)
    assert [a.status_code for a in answers[:12]] == [201] * 12
    assert sorted(a.status_code for a in answers[12:]) == [200] * 11 + [201]
    assert len(await pix.others(HOSPITAL, "Q0")) == 12


async def test_racing_merges_into_each_other_leave_one_survivor(pix: Pix) -> None:
    pair = ("4000101", "4000102")
    for value in pair:
        await pix.feed(patient(COUNCIL, value))

    async def merge(gone: str, kept: str) -> int:
        other = {"identifier": {"system": COUNCIL, "value": kept}}
        return (await pix.feed(replaced(patient(COUNCIL, gone), other))).status_code

    assert sorted(await asyncio.gather(merge(*pair), merge(*reversed(pair)))) == [200, 409]


async def test_every_feed_is_audited_by_identifier(pix: Pix) -> None:
    body = patient(COUNCIL, "5000001")
    await pix.feed(body)
    await pix.feed({**body, "gender": "male"})
    await pix.remove(COUNCIL, "5000001")
    refused = await pix.feed(patient(COUNCIL, "5000001", implicitRules="urn:x"))
    assert refused.status_code == 422
    assert [e["action"] for e in pix.audited] == ["C", "U", "D", "U"]
    assert [e["outcome"] for e in pix.audited] == ["0", "0", "0", "4"]
    for event in pix.audited:
        people = [e["what"] for e in event["entity"] if e["what"].get("type") == "Patient"]
        assert [p["identifier"] for p in people] == [{"system": COUNCIL, "value": "5000001"}]
        assert all("reference" not in p for p in people)


async def test_a_body_that_would_fill_the_index_is_refused(pix: Pix) -> None:
    body = patient(COUNCIL, "5000002")
    body["identifier"] += [identifier(NS + "nino", f"AA{n:06d}A") for n in range(300)]
    body["identifier"].append(identifier(NS + "nino", "A" * 1000))
    refused = await pix.feed(body)
    assert refused.status_code == 422
    assert len(refused.json()["issue"]) == 2


async def test_a_placeholder_carried_by_a_crowd_identifies_nobody(pix: Pix) -> None:
    nino = NS + "nino"
    for n in range(40):
        body = patient(COUNCIL, f"51{n:05d}", born=f"{1930 + n}-{n % 12 + 1:02d}-{n % 28 + 1:02d}")
        body["identifier"].append(identifier(nino, "QQ123456C"))
        assert (await pix.feed(body)).status_code == 201
    assert (await pix.ask(nino, "QQ123456C")).status_code == 404
    assert await pix.others(COUNCIL, "5100000") == []


async def test_a_number_carried_by_one_person_leads_to_them_and_by_two_to_nobody(pix: Pix) -> None:
    nino = NS + "nino"
    one, two = patient(COUNCIL, "5200001"), patient(TRUST, "H5200002", born="1951-11-30")
    for body in (one, two):
        body["identifier"].append(identifier(nino, "AB123456C"))
    await pix.feed(one)
    assert await pix.others(COUNCIL, "5200001") == [(nino, "AB123456C")]
    assert (await pix.ask(nino, "AB123456C")).status_code == 200
    await pix.feed(two)
    assert await pix.others(COUNCIL, "5200001") == []
    assert (await pix.ask(nino, "AB123456C")).status_code == 404
    await pix.remove(TRUST, "H5200002")
    assert await pix.others(COUNCIL, "5200001") == [(nino, "AB123456C")]


async def test_joins_and_merges_are_logged_with_their_evidence(pix: Pix) -> None:
    number = nhs_number(5301)
    one = (await pix.feed(patient(COUNCIL, "5300001", nhs=number))).json()["id"]
    two = (await pix.feed(patient(TRUST, "H5301", nhs=number))).json()["id"]
    decisions = pix.mongo.table("pix", "decisions")
    (join,) = await decisions.many({"records": two})
    assert (join["type"], join["actor"]["client"]) == ("join", "feeder")
    assert join["evidence"]["anchor"] == f"{NHS}|{number} 1980-02-03"
    (person,) = join["persons"]
    assert join["before"][person] == [one]
    assert join["after"][person] == sorted([one, two])
    await pix.remove(COUNCIL, "5300001")
    last = (await decisions.many({"records": one}, sort=[("at", 1)]))[-1]
    assert (last["type"], last["after"][person]) == ("remove", [two])


async def test_the_audit_of_a_feed_is_in_its_transaction(pix: Pix) -> None:
    made = await pix.feed(patient(COUNCIL, "5400001"))
    assert made.status_code == 201
    (event,) = pix.audited
    outbox = pix.mongo.table("pix", "audit_outbox")
    assert await outbox.one({"_id": event["id"]}) is not None


async def test_escaped_characters_are_part_of_the_value(pix: Pix) -> None:
    odd = r"A|B,C$D\E"
    body = patient(TRUST, odd)
    criteria = {"identifier": TRUST + r"|A\|B\,C\$D\\E"}
    made = await pix.http.put("/Patient", params=criteria, json=body)
    assert made.status_code == 201, made.text
    asked = {"sourceIdentifier": TRUST + r"|A\|B\,C\$D\\E"}
    assert (await pix.http.get("/Patient/$ihe-pix", params=asked)).status_code == 200
    found = (await pix.http.get("/Patient", params=criteria)).json()
    assert found["total"] == 1


async def test_a_birth_date_in_the_future_is_kept_as_it_was_said_for_it_may_be_a_slip_of_the_century(
    pix: Pix,
) -> None:
    made = await pix.feed(patient(COUNCIL, "1000967", born="2067-03-04"))
    assert made.status_code == 201
    assert made.json()["birthDate"] == "2067-03-04"
    assert births_alike("2067-03-04", "1967-03-04") == BORN["slip"]
