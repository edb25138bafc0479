"""ADT over a real line: what sources tell, what becomes of it, and how it is acknowledged."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from unittest.mock import patch

import pytest

from chassis.mongo import Mongo
from exchange import ports
from pix.hl7v2.speaking import speaking
from tests.hl7v2.makers import (
    COUNCIL,
    MFT,
    MFT_FULL,
    MFT_OID,
    NCA,
    NHS,
    SYSTEM,
    Hl7,
    a_merge,
    a_person,
    adt,
    hl7v2_service,
    msh,
    pid,
    q23,
    unique,
)
from tests.pix.makers import nhs_number

NHS_SYSTEM = "https://fhir.nhs.uk/Id/nhs-number"


@pytest.mark.parametrize("event", ["A01", "A04", "A05", "A08", "A28", "A31"])
@pytest.mark.parametrize("version", ["2.3.1", "2.5"])
async def test_a_person_is_added_by_every_event_in_both_versions(
    hl7: Hl7, event: str, version: str
) -> None:
    number = unique("P")
    answer = await hl7.say(a_person(f"{number}^^^{MFT}", event, version=version, id_="X1" + number))
    assert answer.ack == "AA"
    assert answer.message.first("MSA").value(2) == "X1" + number
    assert answer.message.msh.value(9) == "ACK"
    assert answer.message.msh.value(9, component=2) == event
    assert answer.message.msh.value(9, component=3) == ("" if version == "2.3.1" else "ACK")
    assert answer.message.version == version
    assert answer.message.sender == ("THROUGHLINE", "EXCHANGE")
    assert answer.message.receiver == ("PAS", "R0A")
    found = await hl7.patient(SYSTEM, number)
    assert (
        found["name"] == [{"use": "official", "family": "Ashworth", "given": ["Zoë", "May"]}]
        or found["name"][0]["family"] == "Ashworth"
    )
    assert (found["birthDate"], found["gender"]) == ("1980-02-03", "female")
    assert found["address"][0]["postalCode"] == "M1 1AA"
    assert found["telecom"] == [{"system": "phone", "value": "0161 496 0000", "use": "home"}]


@pytest.mark.parametrize(
    "authority",
    [MFT, f"&{MFT_OID}&ISO", MFT_FULL, f"OURS&{MFT_OID}&ISO", f"&{SYSTEM}&URI", ""],
)
async def test_an_authority_is_known_by_namespace_by_oid_by_uri_or_by_the_sender(
    hl7: Hl7, authority: str
) -> None:
    number = unique("P")
    await hl7.fed(a_person(f"{number}^^^{authority}"))
    assert (await hl7.patient(SYSTEM, number))["identifier"][0]["system"] == SYSTEM


async def test_a_number_without_authority_is_refused_where_the_sender_has_no_domain(
    hl7: Hl7,
) -> None:
    answer = await hl7.say(a_person("123", sender="ENGINE|GMICB"))
    assert (answer.ack, answer.errors) == ("AE", [("PID^1^3^1^4", "101")])


@pytest.mark.parametrize(
    "authority", ["NOBODY", "&1.2.3.4&ISO", f"MRN-RM3&{MFT_OID}&ISO", "&1.2.3.4&DNS"]
)
async def test_an_unknown_or_contradictory_authority_is_rejected(hl7: Hl7, authority: str) -> None:
    answer = await hl7.say(a_person(f"5^^^{MFT}~12^^^{authority}"))
    assert (answer.ack, answer.errors) == ("AR", [("PID^1^3^2^4", "204")])


async def test_a_source_may_not_assign_in_the_domain_of_another_but_may_carry_its_numbers(
    hl7: Hl7,
) -> None:
    alone = await hl7.say(a_person(f"999^^^{NCA}"))
    assert (alone.ack, alone.errors) == ("AE", [("PID^1^3^1^4", "204")])
    number = unique("P")
    await hl7.fed(a_person(f"999^^^{NCA}~{number}^^^{MFT}"))
    kept = (await hl7.patient(SYSTEM, number))["identifier"]
    assert [i["value"] for i in kept] == ["999", number]


async def test_a_minimal_person_is_accepted(hl7: Hl7) -> None:
    number = unique("P")
    await hl7.fed("\r".join([msh("ADT^A04", charset=""), "EVN|", f"PID|||{number}||Doe"]))
    found = await hl7.patient(SYSTEM, number)
    assert found["name"] == [{"family": "Doe"}]


async def test_a_person_without_name_is_refused_unless_it_is_said_to_be_unknown(hl7: Hl7) -> None:
    refused = await hl7.say(a_person(f"{unique()}^^^{MFT}", name=""))
    assert (refused.ack, refused.errors) == ("AE", [("PID^1^5", "101")])
    number = unique("P")
    await hl7.fed(a_person(f"{number}^^^{MFT}", name="", unknown="Y", flags="AL"))
    assert "family" not in (await hl7.patient(SYSTEM, number))["name"][0]


async def test_everything_that_is_wrong_is_said_at_once(hl7: Hl7) -> None:
    answer = await hl7.say(a_person("", name="", born="19800231", sex="X"))
    assert answer.ack == "AE"
    assert sorted(answer.errors) == [
        ("PID^1^3", "101"), ("PID^1^5", "101"), ("PID^1^7", "102"), ("PID^1^8", "103"),
    ]  # fmt: skip
    assert all(answer.words)


@pytest.mark.parametrize(
    ("born", "kept"),
    [
        ("1984", "1984"),
        ("198403", "1984-03"),
        ("19840312", "1984-03-12"),
        ("198403121530+0000", "1984-03-12"),
    ],
)
async def test_a_birth_date_may_be_partial(hl7: Hl7, born: str, kept: str) -> None:
    number = unique("P")
    await hl7.fed(a_person(f"{number}^^^{MFT}", born=born))
    assert (await hl7.patient(SYSTEM, number))["birthDate"] == kept


async def test_what_an_update_does_not_speak_of_stays_and_the_null_value_removes(hl7: Hl7) -> None:
    number = unique("P")
    await hl7.fed(a_person(f"{number}^^^{MFT}", maiden="Kaya"))
    await hl7.fed(
        a_person(
            f"{number}^^^{MFT}", "A08", name="Bell^Zoë", address='""', phone="", born="", sex=""
        )
    )
    found = await hl7.patient(SYSTEM, number)
    assert found["name"] == [{"family": "Bell", "given": ["Zoë"]}]
    assert "address" not in found
    assert (found["birthDate"], found["gender"]) == ("1980-02-03", "female")
    assert found["telecom"][0]["value"] == "0161 496 0000"
    assert found["extension"][0]["valueString"] == "Kaya"


async def test_the_same_content_again_makes_no_new_version(hl7: Hl7) -> None:
    number = unique("P")
    await hl7.fed(a_person(f"{number}^^^{MFT}"), a_person(f"{number}^^^{MFT}", "A08"))
    assert (await hl7.patient(SYSTEM, number))["meta"]["versionId"] == "1"


async def test_escapes_repetitions_and_foreign_delimiters_are_understood(hl7: Hl7) -> None:
    number = unique("P")
    message = a_person(
        f"{number}^^^{MFT}", name="Smith \\T\\ Jones^O\\X27\\Neil~Al\\S\\ias^Bo^^^^^N"
    )
    other = message.replace("|", "\0").replace("^", "*").replace("~", "%").replace("&", "$")
    other = other.replace("\0", "#").replace("MSH#*%\\$", "MSH#*%\\$")
    await hl7.fed(other)
    names = (await hl7.patient(SYSTEM, number))["name"]
    assert (names[0]["family"], names[0]["given"]) == ("Smith $ Jones", ["O'Neil"])
    assert (names[1]["family"], names[1]["use"]) == ("Al*ias", "nickname")


async def test_a_name_keeps_its_letters_in_every_character_set(hl7: Hl7) -> None:
    for charset, codec in [
        ("UNICODE UTF-8", "utf-8"),
        ("8859/1", "latin-1"),
        ("", "utf-8"),
        ("", "latin-1"),
    ]:
        number = unique("P")
        said = adt("A01", pid(f"{number}^^^{MFT}", name="Müller^Zoë"), charset=charset)
        answer = await hl7.say(said.encode(codec))
        assert answer.ack == "AA", answer.raw
        assert (await hl7.patient(SYSTEM, number))["name"][0]["family"] == "Müller"


async def test_bytes_that_are_not_of_the_declared_character_set_are_refused(hl7: Hl7) -> None:
    said = adt("A01", pid(f"{unique()}^^^{MFT}", name="Müller^Zoë"), charset="UNICODE UTF-8")
    answer = await hl7.say(said.encode("latin-1"))
    assert (answer.ack, answer.errors) == ("AE", [("MSH^1^18", "102")])
    strange = await hl7.say(adt("A01", pid(f"{unique()}^^^{MFT}"), charset="KLINGON"))
    assert strange.errors == [("MSH^1^18", "103")]


async def test_a_verified_nhs_number_joins_people_of_two_sources(hl7: Hl7) -> None:
    nhs, one, two = nhs_number(71001), unique("P"), unique("P")
    who = {
        "flags": "NSTS01",
        "name": "Verified^Valerie",
        "born": "19551231",
        "address": "",
        "phone": "",
    }
    await hl7.fed(
        a_person(f"{one}^^^{MFT}~{nhs}^^^{NHS}^NH", **who),
        a_person(f"{two}^^^{NCA}~{nhs}^^^{NHS}^NH", sender="PAS|RM3", **who),
    )
    assert await hl7.others(SYSTEM, one) == sorted([nhs, two])
    # An update that does not speak of the tracing status leaves it as it was.
    await hl7.fed(a_person(f"{one}^^^{MFT}~{nhs}^^^{NHS}", "A08", **{**who, "flags": ""}, sex="F"))
    assert await hl7.others(SYSTEM, one) == sorted([nhs, two])


async def test_a_wrong_check_digit_of_a_verified_number_is_refused_where_it_stands(
    hl7: Hl7,
) -> None:
    wrong = f"{unique()}^^^{MFT}~9990000060^^^{NHS}"
    answer = await hl7.say(a_person(wrong, flags="NSTS01"))
    assert (answer.ack, answer.errors) == ("AE", [("PID^1^3^2^1", "102")])
    # Without the claim that it was verified it is what the source was told: kept, never matched on.
    assert (await hl7.say(a_person(wrong, flags="NSTS02"))).ack == "AA"
    own = await hl7.say(a_person(f"9990000060^^^{NHS}", sender="ENGINE|GMICB"))
    assert (own.ack, own.errors) == ("AE", [("PID^1^3^1^1", "102")])


# -- merges -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "structure"), [("2.3.1", ""), ("2.5", "^ADT_A39"), ("2.5", "^ADT_A40")]
)
async def test_after_a_merge_the_replaced_number_leads_nowhere_and_the_survivor_answers(
    hl7: Hl7, version: str, structure: str
) -> None:
    nhs, stays, goes = (
        nhs_number(72000 + hash((version, structure)) % 900),
        unique("P"),
        unique("P"),
    )
    await hl7.fed(
        a_person(f"{stays}^^^{MFT}~{nhs}^^^{NHS}", flags="NSTS01"), a_person(f"{goes}^^^{MFT}"),
        a_merge(f"{stays}^^^{MFT}", f"{goes}^^^{MFT}", f"A40{structure}", version=version),
    )  # fmt: skip
    replaced = await hl7.say(q23(f"{goes}^^^{MFT}"))
    assert (replaced.ack, replaced.standing) == ("AA", "NF")
    found = await hl7.patient(SYSTEM, stays)
    assert {"use": "old", "system": SYSTEM, "value": goes} in found["identifier"]
    actions = [(e["action"], e["subtype"][0]["code"]) for e in hl7.audited if e["action"] == "D"]
    assert actions == [("D", "ITI-8" if version == "2.3.1" else "ITI-30")]


async def test_a_merge_takes_no_demographics(hl7: Hl7) -> None:
    stays, goes = unique("P"), unique("P")
    await hl7.fed(
        a_person(f"{stays}^^^{MFT}"), a_person(f"{goes}^^^{MFT}"),
        adt("A40", f"PID|||{stays}^^^{MFT}||Changed^Name||19990101", f"MRG|{goes}^^^{MFT}"),
    )  # fmt: skip
    assert (await hl7.patient(SYSTEM, stays))["name"][0]["family"] == "Ashworth"


async def test_a_merge_told_again_in_another_message_changes_nothing(hl7: Hl7) -> None:
    stays, goes = unique("P"), unique("P")
    await hl7.fed(a_person(f"{stays}^^^{MFT}"), a_person(f"{goes}^^^{MFT}"))
    await hl7.fed(a_merge(f"{stays}^^^{MFT}", f"{goes}^^^{MFT}"))
    version = (await hl7.patient(SYSTEM, stays))["meta"]["versionId"]
    await hl7.fed(a_merge(f"{stays}^^^{MFT}", f"{goes}^^^{MFT}"))
    assert (await hl7.patient(SYSTEM, stays))["meta"]["versionId"] == version


async def test_a_replaced_number_that_nobody_knows_is_no_error_and_changes_nothing(
    hl7: Hl7,
) -> None:
    stays, ghost = unique("P"), unique("P")
    await hl7.fed(a_person(f"{stays}^^^{MFT}"), a_merge(f"{stays}^^^{MFT}", f"{ghost}^^^{MFT}"))
    assert (await hl7.patient(SYSTEM, stays))["meta"]["versionId"] == "1"
    both = await hl7.say(a_merge(f"{unique()}^^^{MFT}", f"{unique()}^^^{MFT}"))
    assert both.ack == "AA"


@pytest.mark.parametrize("event", ["A40", "A47"])
async def test_a_surviving_number_that_nobody_knows_is_a_change_of_number(
    hl7: Hl7, event: str
) -> None:
    nhs, old, new, other = (
        nhs_number(73000 + len(event) * 7 + int(event[1:])),
        unique("P"),
        unique("P"),
        unique("P"),
    )
    who = {
        "flags": "NSTS01",
        "name": f"Renamed{event}^Rhoda",
        "born": f"1955{event[1:3].replace('40', '11').replace('47', '12')}07",
    }
    await hl7.fed(
        a_person(f"{old}^^^{MFT}~{nhs}^^^{NHS}", **who, phone="0161 496 0777", address=""),
        a_person(f"{other}^^^{NCA}~{nhs}^^^{NHS}", sender="PAS|RM3", **who, phone="", address=""),
        a_merge(f"{new}^^^{MFT}", f"{old}^^^{MFT}", event),
    )
    found = await hl7.patient(SYSTEM, new)
    assert found["telecom"][0]["value"] == "0161 496 0777"
    assert await hl7.others(SYSTEM, new) == sorted([nhs, other])
    again = await hl7.say(a_merge(f"{new}^^^{MFT}", f"{old}^^^{MFT}", event))
    assert again.ack == "AA"


async def test_a_number_cannot_become_one_that_somebody_else_has(hl7: Hl7) -> None:
    one, two = unique("P"), unique("P")
    await hl7.fed(a_person(f"{one}^^^{MFT}"), a_person(f"{two}^^^{MFT}"))
    answer = await hl7.say(a_merge(f"{two}^^^{MFT}", f"{one}^^^{MFT}", "A47"))
    assert (answer.ack, answer.errors) == ("AE", [("PID^1^3^1^1", "205")])
    ghost = await hl7.say(a_merge(f"{two}^^^{MFT}", f"{unique()}^^^{MFT}", "A47"))
    assert ghost.ack == "AA"


async def test_a_merge_that_contradicts_an_earlier_one_is_refused(hl7: Hl7) -> None:
    one, two, three = unique("P"), unique("P"), unique("P")
    for number in (one, two, three):
        await hl7.fed(a_person(f"{number}^^^{MFT}"))
    await hl7.fed(a_merge(f"{one}^^^{MFT}", f"{two}^^^{MFT}"))
    answer = await hl7.say(a_merge(f"{three}^^^{MFT}", f"{two}^^^{MFT}"))
    assert (answer.ack, answer.errors) == ("AE", [("MRG^1^1^1^1", "205")])
    revived = await hl7.say(a_person(f"{two}^^^{MFT}", "A08"))
    assert (revived.ack, revived.errors) == ("AE", [("PID^1^3^1^1", "205")])


@pytest.mark.parametrize(
    ("survivor", "replaced", "errors"),
    [
        (f"1^^^{MFT}", f"1^^^{MFT}", [("MRG^1^1^1^1", "205")]),
        (f"1^^^{MFT}", f"1^^^{NCA}", [("MRG^1^1^1^4", "204")]),
        (f"1^^^{MFT}", "", [("MRG^1^1", "101")]),
        ("", f"1^^^{MFT}", [("PID^1^3", "101")]),
        (f"1^^^{MFT}", f"2^^^{MFT}~3^^^{MFT}", [("MRG^1^1^2", "100")]),
        (f"1^^^{COUNCIL}", f"2^^^{COUNCIL}", [("PID^1^3^1^4", "204")]),
    ],
)
async def test_a_merge_that_cannot_be_is_refused_with_its_place(
    hl7: Hl7, survivor: str, replaced: str, errors: list[tuple[str, str]]
) -> None:
    answer = await hl7.say(a_merge(survivor, replaced))
    assert (answer.ack, answer.errors) == ("AE", errors)


async def test_chains_of_merges_lead_to_the_last_survivor(hl7: Hl7) -> None:
    numbers = [unique("P") for _ in range(5)]
    for number in numbers:
        await hl7.fed(a_person(f"{number}^^^{MFT}"))
    for goes, stays in itertools.pairwise(numbers):
        await hl7.fed(a_merge(f"{stays}^^^{MFT}", f"{goes}^^^{MFT}"))
    kept = {i["value"] for i in (await hl7.patient(SYSTEM, numbers[-1]))["identifier"]}
    assert kept == set(numbers)


# -- the header ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "ack", "errors"),
    [
        ({"event": "ADT^A24"}, "AR", [("MSH^1^9^1^2", "201")]),
        ({"event": "ADT^A37"}, "AR", [("MSH^1^9^1^2", "201")]),
        ({"event": "ADT^A99"}, "AR", [("MSH^1^9^1^2", "201")]),
        ({"event": "ADT"}, "AR", [("MSH^1^9^1^2", "201")]),
        ({"event": "ORU^R01"}, "AR", [("MSH^1^9^1^1", "200")]),
        ({"event": "ADT^A01^ORU_R01"}, "AE", [("MSH^1^9^1^3", "103")]),
        ({"version": "2.7"}, "AR", [("MSH^1^12", "203")]),
        ({"mode": "T"}, "AR", [("MSH^1^11", "202")]),
        ({"sender": "NOBODY|X"}, "AR", [("MSH^1^3", "103")]),
        ({"sender": "|"}, "AR", [("MSH^1^3", "103")]),
    ],
)
async def test_a_header_that_is_not_for_this_door_is_turned_away(
    hl7: Hl7, change: dict[str, str], ack: str, errors: list[tuple[str, str]]
) -> None:
    header = {"event": "ADT^A01", "version": "2.3.1", **change}
    message = "\r".join(
        [msh(header.pop("event"), **header), "EVN||2026", pid(f"{unique()}^^^{MFT}")]
    )  # type: ignore[arg-type]
    answer = await hl7.say(message)
    assert (answer.ack, answer.errors) == (ack, errors)


async def test_missing_and_misplaced_segments_are_named(hl7: Hl7) -> None:
    answer = await hl7.say("\r".join([msh("ADT^A01"), pid(f"{unique()}^^^{MFT}")]))
    assert (answer.ack, answer.errors) == ("AE", [("EVN^1", "100")])
    turned = await hl7.say("\r".join([msh("ADT^A01"), pid(f"{unique()}^^^{MFT}"), "EVN||2026"]))
    assert turned.errors == [("PID^1", "100")]
    twice = await hl7.say(adt("A01", pid(f"{unique()}^^^{MFT}"), pid(f"{unique()}^^^{MFT}")))
    assert twice.errors == [("PID^2", "100")]


@pytest.mark.parametrize("event", ["A28", "A31", "A40", "A47"])
@pytest.mark.parametrize("said", ["EVN|", "EVN||", 'EVN||""'])
async def test_pam_wants_to_know_when_an_event_was_recorded(
    hl7: Hl7, event: str, said: str
) -> None:
    number = unique("E")
    more = [f"MRG|{unique('E')}^^^{MFT}"] if event in ("A40", "A47") else []
    message = adt(event, pid(f"{number}^^^{MFT}"), *more).replace("EVN||20261125120000", said)
    answer = await hl7.say(message)
    assert (answer.ack, answer.errors) == ("AE", [("EVN^1^2", "101")])
    asked = {"identifier": f"{SYSTEM}|{number}"}
    assert (await hl7.http.get("/Patient", params=asked)).json()["total"] == 0


async def test_a_message_without_control_id_is_refused(hl7: Hl7) -> None:
    message = adt("A01", pid(f"{unique()}^^^{MFT}"), id_="GONE").replace("|GONE|", "||")
    answer = await hl7.say(message)
    assert (answer.ack, answer.errors) == ("AE", [("MSH^1^10", "101")])


async def test_a_sender_may_use_only_what_it_was_granted(hl7: Hl7) -> None:
    answer = await hl7.say(a_person("1^^^SCN-352", sender="PORTAL|GMICB"))
    assert (answer.ack, answer.errors) == ("AE", [("MSH^1^3", "204")])


# -- sent again ------------------------------------------------------------------------------------------


async def test_a_message_sent_again_gets_the_same_answer_and_does_nothing(hl7: Hl7) -> None:
    number = unique("P")
    message = a_person(f"{number}^^^{MFT}")
    first = await hl7.say(message)
    await hl7.fed(a_person(f"{number}^^^{MFT}", "A08", name="Later^Name"))
    again = await hl7.say(message.replace("20261125120000||ADT", "20261125130000||ADT"))
    assert again.raw == first.raw
    assert (await hl7.patient(SYSTEM, number))["name"][0]["family"] == "Later"


async def test_a_control_id_that_is_used_for_another_message_is_refused(hl7: Hl7) -> None:
    id_ = unique("C")
    await hl7.fed(a_person(f"{unique()}^^^{MFT}", id_=id_))
    answer = await hl7.say(a_person(f"{unique()}^^^{MFT}", id_=id_))
    assert (answer.ack, answer.errors) == ("AE", [("MSH^1^10", "205")])
    # Another sender's ids are its own.
    await hl7.fed(a_person(f"{unique()}^^^{NCA}", id_=id_, sender="PAS|RM3"))


async def test_a_refused_message_may_be_corrected_under_its_control_id(hl7: Hl7) -> None:
    id_, number = unique("C"), unique("P")
    assert (await hl7.say(a_person(f"{number}^^^{MFT}", id_=id_, sex="X"))).ack == "AE"
    assert (await hl7.say(a_person(f"{number}^^^{MFT}", id_=id_, sex="F"))).ack == "AA"


# -- audit ---------------------------------------------------------------------------------------------


async def test_every_message_is_audited_before_it_is_acknowledged(hl7: Hl7) -> None:
    number, id_ = unique("P"), unique("C")
    await hl7.fed(
        a_person(f"{number}^^^{MFT}", id_=id_), a_person(f"{number}^^^{MFT}", "A08", name="B^C")
    )
    created, _ = hl7.audited
    assert created["type"] == {
        "system": "http://dicom.nema.org/resources/ontology/DCM", "code": "110110", "display": "Patient Record",
    }  # fmt: skip
    assert [e["action"] for e in hl7.audited] == ["C", "U"]
    assert created["subtype"][0]["code"] == "ITI-8"
    assert created["agent"][0]["who"]["identifier"]["value"] == "pas-r0a"
    assert created["agent"][0]["network"]["address"] == "127.0.0.1"
    entities = [e["what"].get("identifier", {}).get("value") for e in created["entity"]]
    assert id_ in entities
    assert number in entities


async def test_a_refusal_and_a_stranger_are_audited_too(hl7: Hl7) -> None:
    await hl7.say(a_person(f"{unique()}^^^{MFT}", sex="X"))
    await hl7.say(a_person(f"{unique()}^^^{MFT}", sender="NOBODY|X"))
    refused, stranger = hl7.audited
    assert (refused["outcome"], stranger["outcome"]) == ("4", "8")
    assert stranger["agent"][0]["who"] == {"display": "unidentified caller"}


async def test_what_cannot_be_audited_is_not_acknowledged_and_can_be_sent_again(hl7: Hl7) -> None:
    message = a_person(f"{unique()}^^^{MFT}")
    hl7.audit_fails = True
    try:
        answer = await hl7.say(message)
    finally:
        hl7.audit_fails = False
    assert (answer.ack, answer.errors) == ("AR", [("MSH^1", "207")])
    assert (await hl7.say(message)).ack == "AA"


async def test_an_audit_event_is_legal_fhir(hl7: Hl7) -> None:
    from standards.r4.check import check_structure

    stays, goes = unique("P"), unique("P")
    await hl7.fed(
        a_person(f"{stays}^^^{MFT}"),
        a_person(f"{goes}^^^{MFT}"),
        a_merge(f"{stays}^^^{MFT}", f"{goes}^^^{MFT}"),
    )
    await hl7.say(q23(f"{stays}^^^{MFT}"))
    await hl7.say(a_person("1", sex="X"))
    assert len(hl7.audited) == 6
    for event in hl7.audited:
        assert check_structure(dict(event)) == ()


# -- what a table of senders adds -----------------------------------------------------------------------


async def test_a_national_number_in_pid_19_joins_where_the_table_says_whose_it_is(
    mongo: Mongo, tmp_path: Path
) -> None:
    senders = tmp_path / "senders.csv"
    senders.write_text(
        "application,facility,client,organisation,role,purpose,transactions,domain,national,certificate\n"
        "OLD,R0A,pas-r0a,R0A,,,ITI-8,NS/Id/local-patient-identifier/R0A,https://fhir.nhs.uk/Id/nhs-number,\n"
        "NEW,RM3,pas-rm3,RM3,,,ITI-8,NS/Id/local-patient-identifier/RM3,,\n"
    )
    nhs, one, two = nhs_number(74001), unique("P"), unique("P")
    who = {"flags": "NSTS01", "name": "Nation^Al", "born": "19440404", "address": "", "phone": ""}
    async with hl7v2_service(mongo, hl7v2_senders=str(senders)) as hl7:
        await hl7.fed(
            a_person(f"{one}^^^{MFT}", sender="OLD|R0A", pid19=nhs, **who),
            a_person(
                f"{two}^^^{NCA}~{nhs}^^^{NHS}",
                sender="NEW|RM3",
                pid19="7",
                **{**who, "name": "Other^Al"},
            ),
        )
        assert await hl7.others(SYSTEM, one) == sorted([nhs, two])
        # PID-19 of a sender whose table does not say whose it is says nothing.
        assert [
            i["value"] for i in (await hl7.patient(SYSTEM.replace("R0A", "RM3"), two))["identifier"]
        ] == [two, nhs]


async def test_a_message_for_training_is_taken_where_the_exchange_is_for_that(mongo: Mongo) -> None:
    async with hl7v2_service(mongo, hl7v2_processing="TD") as hl7:
        assert (await hl7.say(a_person(f"{unique()}^^^{MFT}", mode="T"))).ack == "AA"
        answer = await hl7.say(a_person(f"{unique()}^^^{MFT}"))
        assert answer.errors == [("MSH^1^11", "202")]


async def test_apart_the_pix_service_has_the_door_and_the_far_audit_hears_of_it(
    mongo: Mongo, mongod_uri: str, database_prefix: str, tmp_path: Path
) -> None:
    from tests.hl7v2.makers import answered
    from tests.neighbours.apart import apart

    port = ports.pick("127.0.0.1")
    with patch.dict(os.environ, {"THROUGHLINE_HL7V2_PORT": str(port)}):
        async with apart(mongo, mongod_uri, database_prefix, tmp_path) as (exchange, roads):
            async with speaking("127.0.0.1", port, patience=60) as line:
                number = unique("P")
                answer = answered(
                    await line.say(a_person(f"{number}^^^{MFT}", id_="APART1").encode())
                )
                assert answer.ack == "AA"
            assert "audit/internal/audit/append" in roads.passed
            async with exchange.as_client() as client:
                asked = {"date": "ge2020-01-01", "patient.identifier": f"{SYSTEM}|{number}"}
                found = await client.get("AuditEvent", params=asked)
            assert found.status_code == 200, found.text
            (event,) = [e["resource"] for e in found.json()["entry"]]
            assert (event["subtype"][0]["code"], event["action"]) == ("ITI-8", "C")
