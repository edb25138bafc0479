"""ITI-93 in: what a message does, what it is answered, and what it may not do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chassis.call import Caller
from standards import fhir_xml, pmir, pmir_message
from standards.r4.check import check_structure
from tests.pix.makers import (
    BASE,
    COUNCIL,
    NHS,
    NS,
    SALFORD,
    TRUST,
    Pix,
    identifier,
    nhs_number,
    patient,
    replaced,
)  # fmt: skip
from tests.pix.makers_pmir import (
    SENDER,
    created,
    deleted,
    details,
    entry,
    header_of,
    ids,
    message,
    send,
    statuses,
    tell,
    updated,
)  # fmt: skip

HISTORY = "Bundle.entry[1].resource.entry"
MINTED = NS + "exchange-minted/"


async def read(pix: Pix, id_: str) -> dict[str, Any]:
    answer = await pix.http.get(f"/Patient/{id_}")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


# -- the answer ---------------------------------------------------------------------------------------


async def test_a_message_is_answered_with_a_message_that_names_it(pix: Pix) -> None:
    sent = message(created(patient(COUNCIL, "2100001")))
    answer = await send(pix, sent)
    assert answer.status_code == 200
    header = header_of(answer)
    assert header["eventUri"] == pmir.RESPONSE_EVENT
    assert header["response"]["identifier"] == sent["entry"][0]["resource"]["id"]
    assert header["response"]["code"] == "ok"
    assert header["definition"] == pmir.FEED_RESPONSE
    assert "destination" not in header
    assert check_structure(answer.json()) == ()
    assert pmir_message.reply(answer.json(), header["response"]["identifier"]) == "ok"


async def test_the_answer_tells_the_id_that_was_assigned(pix: Pix) -> None:
    answer = await tell(pix, created(patient(COUNCIL, "2100002")), created(patient(TRUST, "T2102")))
    assert statuses(answer) == {
        f"{HISTORY}[0].response.status": "201",
        f"{HISTORY}[1].response.status": "201",
    }
    first, second = ids(answer)
    assert (await read(pix, first))["identifier"][0]["value"] == "2100002"
    assert (await read(pix, second))["identifier"][0]["value"] == "T2102"


@pytest.mark.parametrize("path", ["/$process-message", "/Bundle"])
async def test_messages_are_taken_where_fhir_and_where_testers_send_them(
    pix: Pix, path: str
) -> None:
    answer = await send(pix, message(created(patient(COUNCIL, "2100003"))), path)
    assert answer.status_code == 200
    assert header_of(answer)["response"]["code"] == "ok"


async def test_a_message_in_xml_is_answered_in_xml(pix: Pix) -> None:
    body = fhir_xml.render(message(created(patient(COUNCIL, "2100004"))))
    told = {"Content-Type": "application/fhir+xml", "Accept": "application/fhir+xml"}
    answer = await pix.http.post("/$process-message", content=body, headers=told)
    assert answer.status_code == 200
    made = fhir_xml.parse(answer.content)
    assert made["entry"][0]["resource"]["response"]["code"] == "ok"


async def test_a_message_without_entries_is_taken_and_changes_nothing(pix: Pix) -> None:
    answer = await send(pix, message())
    assert answer.status_code == 200
    assert header_of(answer)["response"]["code"] == "ok"
    assert [i["severity"] for i in details(answer)] == ["warning"]


# -- create, update, delete ---------------------------------------------------------------------------


async def test_an_update_finds_its_patient_by_the_senders_own_id(pix: Pix) -> None:
    first = await tell(pix, created(patient(COUNCIL, "2100010"), "p-10"))
    second = await tell(pix, updated("p-10", patient(COUNCIL, "2100010", gender="other")))
    assert ids(first) == ids(second)
    assert statuses(second) == {f"{HISTORY}[0].response.status": "200"}
    assert (await read(pix, ids(first)[0]))["gender"] == "other"


async def test_an_update_finds_its_patient_by_our_id_and_by_a_search(pix: Pix) -> None:
    (id_,) = ids(await tell(pix, created(patient(COUNCIL, "2100011"))))
    await tell(pix, updated(id_, patient(COUNCIL, "2100011", gender="other")))
    assert (await read(pix, id_))["gender"] == "other"
    criteria = f"Patient?identifier={COUNCIL}%7C2100011"
    await tell(pix, entry("PUT", criteria, patient(COUNCIL, "2100011", gender="male")))
    assert (await read(pix, id_))["gender"] == "male"


async def test_ids_of_another_sender_are_other_people(pix: Pix) -> None:
    await tell(pix, created(patient(COUNCIL, "2100012"), "p-12"))
    answer = await send(pix, message(deleted("p-12"), endpoint="https://another.example"))
    assert answer.status_code == 422
    assert details(answer)[0]["code"] == "not-found"
    assert (await pix.ask(COUNCIL, "2100012")).status_code == 200


async def test_a_patient_without_identifier_gets_one_and_keeps_it(pix: Pix) -> None:
    bare = patient(COUNCIL, "x")
    del bare["identifier"]
    (id_,) = ids(await tell(pix, created(bare, "p-13")))
    minted = (await read(pix, id_))["identifier"]
    assert [i["value"] for i in minted] == ["p-13"]
    assert minted[0]["system"].startswith(MINTED)
    again = await tell(pix, updated("p-13", {**bare, "gender": "male"}))
    assert ids(again) == [id_]
    shown = await read(pix, id_)
    assert shown["identifier"] == minted
    assert shown["gender"] == "male"


async def test_a_patient_without_a_name_is_kept_as_unknown_and_the_answer_says_so(pix: Pix) -> None:
    bare = patient(COUNCIL, "2100014")
    del bare["name"]
    answer = await tell(pix, created(bare))
    assert "warning" in {i["severity"] for i in details(answer)}
    assert "extension" in (await read(pix, ids(answer)[0]))["name"][0]


async def test_a_local_number_is_what_a_patient_is_fed_under_and_not_a_national_one(
    pix: Pix,
) -> None:
    number = nhs_number(2115)
    body = patient(COUNCIL, "2100015")
    body["identifier"] = [identifier(NHS, number, status="01"), *body["identifier"]]
    await tell(pix, created(body))
    again = await pix.feed(patient(COUNCIL, "2100015", gender="other"))
    assert again.status_code == 200


async def test_a_deletion_removes_the_patient_and_may_be_told_again(pix: Pix) -> None:
    (id_,) = ids(await tell(pix, created(patient(COUNCIL, "2100016"), "p-16")))
    answer = await tell(pix, deleted("p-16"))
    assert statuses(answer) == {f"{HISTORY}[0].response.status": "204"}
    assert (await pix.http.get(f"/Patient/{id_}")).status_code == 410
    assert (await tell(pix, deleted("p-16"))).status_code == 200


# -- merge, related, unmerge --------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["reference", "absolute", "urn", "identifier", "bare identifier"])
async def test_a_merge_may_name_its_survivor_in_every_form(pix: Pix, form: str) -> None:
    number = 2101100 + len(form)
    survivor, subsumed = f"s-{number}", f"o-{number}"
    one, two = str(number), str(number + 100)
    answer = await tell(
        pix, created(patient(COUNCIL, one), survivor), created(patient(COUNCIL, two), subsumed)
    )
    kept, gone = ids(answer)
    other: dict[str, Any] = {
        "reference": {"reference": f"Patient/{survivor}"},
        "absolute": {"reference": f"{SENDER}/Patient/{survivor}"},
        "urn": {"reference": f"urn:uuid:{survivor}"},
        "identifier": {"identifier": {"system": COUNCIL, "value": one}},
        "bare identifier": {"identifier": {"value": f"urn:uuid:{survivor}"}},
    }[form]
    merged = await tell(pix, updated(subsumed, replaced(patient(COUNCIL, two), other)))
    assert statuses(merged) == {f"{HISTORY}[0].response.status": "200"}
    shown = await read(pix, gone)
    assert shown["active"] is False
    assert shown["link"][0]["other"]["reference"] == f"Patient/{kept}"
    assert (COUNCIL, two) in [
        (i["system"], i["value"]) for i in (await read(pix, kept))["identifier"]
    ]


async def test_a_merge_into_a_patient_of_the_same_message_is_done_whatever_the_order(
    pix: Pix,
) -> None:
    await tell(pix, created(patient(COUNCIL, "2100200"), "p-200"))
    other = {"reference": "Patient/p-201"}
    answer = await tell(
        pix,
        updated("p-200", replaced(patient(COUNCIL, "2100200"), other)),
        created(patient(COUNCIL, "2100201"), "p-201"),
    )
    gone, kept = ids(answer)
    assert (await read(pix, gone))["link"][0]["other"]["reference"] == f"Patient/{kept}"


async def test_a_merge_without_demographics_leaves_what_was_said_before(pix: Pix) -> None:
    await tell(pix, created(patient(COUNCIL, "2100202"), "p-202"))
    (gone,) = ids(await tell(pix, created(patient(COUNCIL, "2100203"), "p-203")))
    bare = {
        "resourceType": "Patient",
        "active": False,
        "link": [{"type": "replaced-by", "other": {"reference": "Patient/p-202"}}],
    }
    await tell(pix, updated("p-203", bare))
    shown = await read(pix, gone)
    assert shown["active"] is False
    assert shown["name"][0]["family"] == patient(COUNCIL, "2100203")["name"][0]["family"]


async def test_an_unmerge_is_refused_with_405_in_the_status_of_its_entry(pix: Pix) -> None:
    await tell(pix, created(patient(COUNCIL, "2100210"), "p-210"))
    await tell(pix, created(patient(COUNCIL, "2100211"), "p-211"))
    link = {"reference": "Patient/p-210"}
    await tell(pix, updated("p-211", replaced(patient(COUNCIL, "2100211"), link)))
    answer = await send(pix, message(updated("p-211", patient(COUNCIL, "2100211", active=True))))
    assert answer.status_code == 422
    assert header_of(answer)["response"]["code"] == "fatal-error"
    (issue,) = details(answer)
    assert issue["details"]["text"] == "405"
    assert issue["expression"] == [f"{HISTORY}[0].resource.link"]


async def test_a_mother_keeps_her_related_person_with_the_baby_named(pix: Pix) -> None:
    (baby,) = ids(await tell(pix, created(patient(COUNCIL, "2100220"), "baby-220")))
    mother = patient(COUNCIL, "2100221", active=True)
    role = {"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "MTH"}
    person = {
        "resourceType": "RelatedPerson",
        "id": "rp-220",
        "patient": {"reference": "Patient/baby-220"},
        "relationship": [{"coding": [role]}],
    }
    await tell(pix, created(mother, "mother-220"))
    await tell(pix, entry("POST", "RelatedPerson", person))
    linked = {
        **mother,
        "link": [{"type": "seealso", "other": {"reference": "RelatedPerson/rp-220"}}],
    }
    (id_,) = ids(await tell(pix, updated("mother-220", linked)))
    shown = await read(pix, id_)
    (inside,) = shown["contained"]
    assert shown["link"][0]["other"] == {"reference": f"#{inside['id']}"}
    assert inside["relationship"] == [{"coding": [role]}]
    assert inside["patient"]["identifier"] == {"system": COUNCIL, "value": "2100220"}
    assert check_structure(shown) == ()
    assert baby != id_


# -- all or nothing, once -----------------------------------------------------------------------------


async def test_every_issue_is_told_and_nothing_is_done_when_one_entry_is_wrong(pix: Pix) -> None:
    wrong = patient("https://unknown.example/id", "1")
    alone = replaced(patient(COUNCIL, "2100302"), {"reference": "Patient/nobody"})
    answer = await send(
        pix,
        message(
            created(patient(COUNCIL, "2100300")),
            created(wrong),
            updated(
                "p-302",
                patient(
                    COUNCIL, "2100302", modifierExtension=[{"url": "x:y", "valueBoolean": True}]
                ),
            ),
            entry("PUT", "Patient/p-303", alone),
        ),
    )
    assert answer.status_code == 422
    assert header_of(answer)["response"]["code"] == "fatal-error"
    where = {i["expression"][0] for i in details(answer)}
    assert f"{HISTORY}[1].resource.identifier" in where
    assert f"{HISTORY}[2].resource.modifierExtension" in where
    assert (await pix.ask(COUNCIL, "2100300")).status_code == 404


async def test_nothing_is_done_when_an_act_fails_after_others_went_well(pix: Pix) -> None:
    alone = replaced(patient(COUNCIL, "2100311"), {"reference": "Patient/nobody"})
    sent = message(created(patient(COUNCIL, "2100310")), entry("PUT", "Patient/p-311", alone))
    answer = await send(pix, sent)
    assert answer.status_code == 422
    assert details(answer)[0]["expression"] == [f"{HISTORY}[1].resource.link[0].other"]
    assert (await pix.ask(COUNCIL, "2100310")).status_code == 404


async def test_the_same_message_again_gets_its_first_answer_and_does_nothing(pix: Pix) -> None:
    sent = message(created(patient(COUNCIL, "2100320"), "p-320"))
    first = await send(pix, sent)
    await tell(pix, updated("p-320", patient(COUNCIL, "2100320", gender="other")))
    second = await send(pix, {**sent, "timestamp": "2026-11-25T10:00:00Z"})
    assert second.json() == first.json()
    assert (await read(pix, ids(first)[0]))["gender"] == "other"


async def test_the_same_message_sixteen_times_at_once_is_done_once(pix: Pix) -> None:
    bare = patient(COUNCIL, "x")
    del bare["identifier"]
    sent = message(created(bare), created(patient(COUNCIL, "2100321")))
    del sent["entry"][1]["resource"]["entry"][0]["fullUrl"]
    answers = await asyncio.gather(*(send(pix, sent) for _ in range(16)))
    assert {a.status_code for a in answers} == {200}
    assert len({a.content for a in answers}) == 1


async def test_an_id_that_was_used_for_another_message_is_refused(pix: Pix) -> None:
    await send(pix, message(created(patient(COUNCIL, "2100330")), id_="used-330"))
    answer = await send(pix, message(created(patient(COUNCIL, "2100331")), id_="used-330"))
    assert answer.status_code == 422
    assert details(answer)[0]["code"] == "conflict"
    assert (await pix.ask(COUNCIL, "2100331")).status_code == 404


async def test_two_entries_of_one_patient_are_refused_by_id_and_by_identifier(pix: Pix) -> None:
    body = patient(COUNCIL, "2100340")
    by_id = await send(pix, message(updated("p-340", body), deleted("p-340")))
    assert by_id.status_code == 422
    assert details(by_id)[0]["code"] == "duplicate"
    by_number = await send(pix, message(created(body, "a-340"), created(body, "b-340")))
    assert by_number.status_code == 422
    assert details(by_number)[0]["expression"] == [f"{HISTORY}[1]"]


# -- what cannot be a message -------------------------------------------------------------------------


async def test_what_is_no_message_of_this_event_is_refused_with_an_outcome(pix: Pix) -> None:
    other = message(created(patient(COUNCIL, "2100400")), eventUri="urn:other")
    for body in ({"resourceType": "Bundle", "type": "transaction"}, other):
        answer = await send(pix, body)
        assert answer.status_code == 422
        assert answer.json()["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize("entry_", [0, 1])
async def test_what_could_change_the_meaning_of_a_message_is_refused(pix: Pix, entry_: int) -> None:
    sent = message(created(patient(COUNCIL, "2100352")))
    held = sent["entry"][entry_]["resource"]
    at = held if entry_ == 0 else held["entry"][0]["request"]
    at["modifierExtension"] = [{"url": "https://a.example/not", "valueBoolean": True}]
    answer = await send(pix, sent)
    assert answer.status_code == 422
    assert details(answer)[0]["expression"][0].endswith(".modifierExtension")
    assert (await pix.ask(COUNCIL, "2100352")).status_code == 404


async def test_a_change_that_failed_at_its_sender_is_refused(pix: Pix) -> None:
    body = entry("POST", "Patient", patient(COUNCIL, "2100401"), status="400")
    answer = await send(pix, message(body))
    assert answer.status_code == 422
    assert details(answer)[0]["expression"] == [f"{HISTORY}[0].response.status"]


async def test_connectathon_habits_are_tolerated_with_a_warning(pix: Pix) -> None:
    loose = message(
        created(patient(COUNCIL, "2100402")),
        entry("POST", "Organization", {"resourceType": "Organization", "name": "A trust"}),
    )
    header = loose["entry"][0]["resource"]
    for name in ("definition", "destination", "focus"):
        del header[name]
    for one in loose["entry"]:
        del one["fullUrl"]
    for one in loose["entry"][1]["resource"]["entry"]:
        del one["response"]
    answer = await send(pix, loose)
    assert answer.status_code == 200, answer.text
    warned = {i["expression"][0] for i in details(answer) if i["severity"] == "warning"}
    assert "Bundle.entry[0].resource.focus" in warned
    assert f"{HISTORY}[1]" in warned


def test_a_message_as_the_makers_make_it_breaks_no_rule() -> None:
    sent = message(
        created(patient(COUNCIL, "1"), "a"),
        updated("b", replaced(patient(COUNCIL, "2"), {"reference": "Patient/a"})),
        deleted("c"),
    )
    assert pmir_message.check(sent) == ()
    assert check_structure(sent) == ()


# -- who may, and the trail ---------------------------------------------------------------------------


async def test_a_source_may_tell_of_its_own_domain_only(pix: Pix) -> None:
    pix.caller = Caller(client_id="salford", scope="system/*.cruds", organisation="355")
    answer = await send(pix, message(created(patient(COUNCIL, "2100500"))))
    assert answer.status_code == 403
    assert header_of(answer)["response"]["code"] == "fatal-error"
    assert details(answer)[0]["code"] == "forbidden"
    await tell(pix, created(patient(SALFORD, "2100501")))


async def test_a_deletion_needs_the_scope_of_a_deletion(pix: Pix) -> None:
    await tell(pix, created(patient(COUNCIL, "2100510"), "p-510"))
    pix.caller = Caller(client_id="feeder", scope="system/Patient.cru", role="R-SYS")
    answer = await send(pix, message(deleted("p-510")))
    assert answer.status_code == 403
    assert details(answer)[0]["expression"] == [f"{HISTORY}[0].request.method"]
    pix.caller = Caller(client_id="feeder", scope="ITI-93", role="R-SYS")
    await tell(pix, deleted("p-510"))


async def test_a_token_for_some_patients_cannot_make_another(pix: Pix) -> None:
    narrow = "system/Patient.cruds?gender=male"
    pix.caller = Caller(client_id="feeder", scope=narrow, role="R-SYS")
    answer = await send(pix, message(created(patient(COUNCIL, "2100520"))))
    assert answer.status_code == 403
    await tell(pix, created(patient(COUNCIL, "2100521", gender="male"), "p-521"))
    await tell(pix, deleted("p-521"))


async def test_a_message_leaves_one_audit_event_with_everyone_in_it(pix: Pix) -> None:
    sent = message(created(patient(COUNCIL, "2100530")), created(patient(COUNCIL, "2100531")))
    answer = await send(pix, sent)
    (event,) = pix.audited
    assert check_structure(dict(event)) == ()
    assert event["meta"]["profile"][0].endswith("IHE.PMIR.Feed.Audit")
    assert event["subtype"][0]["code"] == "ITI-93"
    whom = [e["what"]["reference"] for e in event["entity"] if e["type"]["code"] == "1"]
    assert whom == [f"Patient/{i}" for i in ids(answer)]
    (named,) = [e for e in event["entity"] if e["type"]["code"] == "MessageHeader"]
    assert named["what"]["reference"] == f"MessageHeader/{sent['entry'][0]['resource']['id']}"


async def test_a_refused_message_is_audited_as_refused(pix: Pix) -> None:
    await send(pix, message(created(patient("https://unknown.example", "1"))))
    (event,) = pix.audited
    assert event["outcome"] == "4"
    assert "meta" not in event


async def test_pix_answers_for_what_messages_told(pix: Pix) -> None:
    number = nhs_number(2160)
    await tell(
        pix,
        created(patient(COUNCIL, "2100600", nhs=number)),
        created(patient(TRUST, "T2600", nhs=number)),
    )
    assert (TRUST, "T2600") in await pix.others(COUNCIL, "2100600")
    assert BASE in (await pix.ask(COUNCIL, "2100600")).text
