"""ITI-83: the exact answers and refusals, and when records are one person."""

from __future__ import annotations

from typing import Any

import pytest

from chassis.call import Caller
from tests.pix.makers import (
    BASE,
    COUNCIL,
    HOSPITAL,
    NHS,
    SALFORD,
    TRUST,
    Pix,
    diagnostics,
    identifiers,
    name_of,
    nhs_number,
    patient,
    patients,
)  # fmt: skip


@pytest.fixture(scope="module")
def number() -> str:
    return nhs_number(7001)


@pytest.mark.parametrize(
    ("asked", "status", "code", "words"),
    [
        ([COUNCIL, "nobody"], 404, "not-found", "sourceIdentifier Patient Identifier not found"),
        (
            ["urn:oid:1.2.3", "1"],
            400,
            "code-invalid",
            "sourceIdentifier Assigning Authority not found",
        ),
        ([COUNCIL, "nobody", "urn:oid:1.2.3"], 403, "code-invalid", "targetSystem not found"),
        (
            [COUNCIL, "nobody", TRUST, "urn:oid:1.2.3"],
            403,
            "code-invalid",
            "targetSystem not found",
        ),
        (
            [BASE, "Patient/nobody"],
            404,
            "not-found",
            "sourceIdentifier Patient Identifier not found",
        ),
        ([BASE, "nobody"], 404, "not-found", "sourceIdentifier Patient Identifier not found"),
    ],
)
async def test_refusals_are_word_for_word(
    pix: Pix, asked: list[str], status: int, code: str, words: str
) -> None:
    answer = await pix.ask(*asked)
    assert answer.status_code == status
    assert answer.json() == {
        "resourceType": "OperationOutcome",
        "issue": [
            {"severity": "error", "code": code, "details": {"text": words}, "diagnostics": words}
        ],
    }


@pytest.mark.parametrize(
    "query",
    [
        "", "targetSystem=urn:x", "sourceIdentifier=", "sourceIdentifier=1",
        f"sourceIdentifier={COUNCIL}|", "sourceIdentifier=|1",
        f"sourceIdentifier={COUNCIL}|1&sourceIdentifier={COUNCIL}|2",
        f"sourceIdentifier={COUNCIL}|1&targetSystem=", f"sourceIdentifier={COUNCIL}|1&target=x",
    ],
)  # fmt: skip
async def test_a_question_that_cannot_be_read_is_a_400(pix: Pix, query: str) -> None:
    answer = await pix.http.get(f"/Patient/$ihe-pix?{query}")
    assert answer.status_code == 400
    assert diagnostics(answer)


async def test_records_with_one_verified_number_and_birth_date_are_one_person(
    pix: Pix, number: str
) -> None:
    council = (await pix.feed(patient(COUNCIL, "7000001", nhs=number))).json()
    trust = (await pix.feed(patient(TRUST, "H7001", nhs=number))).json()
    hospital = (await pix.feed(patient(HOSPITAL, "R7001", nhs=number))).json()
    answer = (await pix.ask(COUNCIL, "7000001")).json()
    assert identifiers(answer) == sorted([(NHS, number), (TRUST, "H7001"), (HOSPITAL, "R7001")])
    others = sorted(f"{BASE}/Patient/{p['id']}" for p in (trust, hospital))
    assert patients(answer) == others
    narrowed = (await pix.ask(COUNCIL, "7000001", TRUST)).json()
    assert identifiers(narrowed) == [(TRUST, "H7001")]
    assert patients(narrowed) == [f"{BASE}/Patient/{trust['id']}"]
    both = (await pix.ask(COUNCIL, "7000001", TRUST, HOSPITAL)).json()
    assert identifiers(both) == sorted([(TRUST, "H7001"), (HOSPITAL, "R7001")])
    joined = (await pix.ask(COUNCIL, "7000001", f"{TRUST},{HOSPITAL}")).json()
    assert joined == both
    here = (await pix.ask(COUNCIL, "7000001", BASE)).json()
    assert (identifiers(here), patients(here)) == ([], others)
    by_id = (await pix.ask(BASE, f"Patient/{council['id']}")).json()
    assert (COUNCIL, "7000001") in identifiers(by_id)
    assert patients(by_id) == others
    by_number = (await pix.ask(NHS, f"{number[:3]} {number[3:6]} {number[6:]}")).json()
    assert (NHS, number) not in identifiers(by_number)
    assert len(patients(by_number)) == 3
    named = [p["valueIdentifier"] for p in answer["parameter"] if p["name"] == "targetIdentifier"]
    trusts = next(i for i in named if i["system"] == TRUST)
    assert trusts["assigner"]["display"].startswith("Northern Care Alliance")


async def test_records_of_one_person_show_each_other(pix: Pix) -> None:
    number = nhs_number(7101)
    one = (await pix.feed(patient(COUNCIL, "7100001", nhs=number))).json()
    two = (await pix.feed(patient(TRUST, "H7101", nhs=number))).json()
    read = await pix.http.get(f"/Patient/{one['id']}")
    assert read.json()["link"] == [
        {"other": {"reference": f"Patient/{two['id']}"}, "type": "seealso"}
    ]
    assert read.json()["active"] is True
    assert read.headers["etag"] == 'W/"2"'
    same = await pix.feed(patient(COUNCIL, "7100001", nhs=number))
    assert (same.status_code, same.headers["etag"]) == (200, 'W/"2"')


@pytest.mark.parametrize(
    "change",
    [
        {"status": "02"}, {"status": ""}, {"born": "1980-02-04"}, {"born": "1980"}, {"born": ""},
    ],
)  # fmt: skip
async def test_a_number_joins_nobody_who_is_called_otherwise_and_less_than_verified(
    pix: Pix, change: dict[str, str]
) -> None:
    mark = f"{change}".encode().hex()[-12:]
    number = nhs_number(int(mark, 16) % 900_000)
    stranger = [name_of(f"somebody else {mark}")]
    await pix.feed(patient(TRUST, f"H{mark}".upper(), nhs=number))
    await pix.feed(patient(HOSPITAL, f"R{mark}".upper(), nhs=number, name=stranger, **change))
    assert (HOSPITAL, f"R{mark}".upper()) not in await pix.others(TRUST, f"H{mark}".upper())
    assert (TRUST, f"H{mark}".upper()) not in await pix.others(HOSPITAL, f"R{mark}".upper())


@pytest.mark.parametrize("born", ["1900-01-01", "1970-01-01"])
async def test_placeholders_never_join(pix: Pix, born: str) -> None:
    number = nhs_number(7301)
    await pix.feed(patient(TRUST, f"H{born}", nhs=number, born=born))
    stranger = [name_of(f"somebody else {born}")]
    await pix.feed(patient(HOSPITAL, f"R{born}", nhs=number, born=born, name=stranger))
    assert (HOSPITAL, f"R{born}") not in await pix.others(TRUST, f"H{born}")


async def test_repeated_digits_are_kept_and_never_joined_on(pix: Pix) -> None:
    for value in ("H7302", "H7303"):
        made = await pix.feed(patient(TRUST, value, nhs="9999999999", name=[name_of(value)]))
        assert "9999999999" in made.text
    assert await pix.others(TRUST, "H7302") == []
    assert (await pix.ask(NHS, "9999999999")).status_code == 404


async def test_a_revision_that_ends_agreement_parts_the_records(pix: Pix) -> None:
    number = nhs_number(7401)
    one = (await pix.feed(patient(COUNCIL, "7400001", nhs=number))).json()
    await pix.feed(patient(TRUST, "H7401", nhs=number))
    asked = [("identifier", COUNCIL, "7400001"), ("identifier", TRUST, "H7401")]
    before = await pix.near.who(asked)
    another = patient(TRUST, "H7401", nhs=number, born="1931-12-01", name=[name_of("another")])
    await pix.feed(another)
    assert (TRUST, "H7401") not in await pix.others(COUNCIL, "7400001")
    assert "link" not in (await pix.http.get(f"/Patient/{one['id']}")).json()
    after = await pix.near.who(asked)
    assert after[asked[0]].person == before[asked[0]].person
    assert after[asked[1]].person != before[asked[0]].person
    # a number whose verified holders disagree is nobody's until someone has looked
    assert (await pix.ask(NHS, number)).status_code == 404
    await pix.feed(patient(TRUST, "H7401", nhs=number))
    assert (TRUST, "H7401") in await pix.others(COUNCIL, "7400001")


async def test_a_posted_question_gets_the_same_answer(pix: Pix) -> None:
    number = nhs_number(7501)
    await pix.feed(patient(COUNCIL, "7500001", nhs=number))
    asked = [
        {"name": "sourceIdentifier", "valueString": f"{COUNCIL}|7500001"},
        {"name": "targetSystem", "valueUri": NHS},
    ]
    body = {"resourceType": "Parameters", "parameter": asked}
    posted = await pix.http.post("/Patient/$ihe-pix", json=body)
    assert identifiers(posted.json()) == [(NHS, number)]
    asked.append({"name": "_format", "valueString": "xml"})
    assert (await pix.http.post("/Patient/$ihe-pix", json=body)).text.startswith("<?xml")
    asked.append({"name": "nonsense", "valueString": "x"})
    assert (await pix.http.post("/Patient/$ihe-pix", json=body)).status_code == 400


@pytest.mark.parametrize("media", [None, "application/fhir+json"])
async def test_a_posted_question_may_stand_in_the_url_alone(pix: Pix, media: str | None) -> None:
    number = nhs_number(7511)
    await pix.feed(patient(COUNCIL, "7500011", nhs=number))
    asked = {"sourceIdentifier": f"{COUNCIL}|7500011", "targetSystem": NHS}
    headers = {"Content-Type": media} if media else {}
    answer = await pix.http.post("/Patient/$ihe-pix", params=asked, headers=headers)
    assert answer.status_code == 200, answer.text
    assert identifiers(answer.json()) == [(NHS, number)]
    nothing = await pix.http.post("/Patient/$ihe-pix", headers=headers)
    assert nothing.status_code == 400
    assert "sourceIdentifier=system|value" in diagnostics(nothing)[0]


async def test_a_posted_body_of_no_kind_is_still_refused(pix: Pix) -> None:
    asked = {"sourceIdentifier": f"{COUNCIL}|7500011"}
    answer = await pix.http.post("/Patient/$ihe-pix", params=asked, content=b"hello")
    assert answer.status_code == 415


async def test_xml_by_format_and_by_accept(pix: Pix) -> None:
    await pix.feed(patient(COUNCIL, "7600001"))
    asked = {"sourceIdentifier": f"{COUNCIL}|7600001"}
    by_format = await pix.http.get("/Patient/$ihe-pix", params={**asked, "_format": "xml"})
    accept = {"Accept": "application/fhir+xml"}
    by_accept = await pix.http.get("/Patient/$ihe-pix", params=asked, headers=accept)
    assert by_format.text == by_accept.text
    assert "<Parameters" in by_format.text


async def test_a_token_for_some_patients_learns_of_these_only(pix: Pix) -> None:
    number = nhs_number(7701)
    await pix.feed(patient(COUNCIL, "7700001", nhs=number))
    await pix.feed(patient(TRUST, "H7701", nhs=number))
    pix.caller = Caller(client_id="c", scope=f"system/Patient.rs?identifier={TRUST}|")
    answer = (await pix.ask(TRUST, "H7701")).json()
    assert (COUNCIL, "7700001") not in identifiers(answer)
    assert patients(answer) == []
    assert (await pix.ask(COUNCIL, "7700001")).status_code == 404


async def test_neighbours_hear_the_same_near_and_far(pix: Pix) -> None:
    made = (await pix.feed(patient(SALFORD, "7800001"))).json()
    gone = (await pix.feed(patient(SALFORD, "7800002"))).json()
    await pix.remove(SALFORD, "7800002")
    asked: list[tuple[str, ...]] = [
        ("id", made["id"]), ("identifier", SALFORD, "7800001"),
        ("identifier", BASE, f"Patient/{made['id']}"), ("id", "nobody"),
        ("identifier", "urn:x", "1"), ("id", gone["id"]),
    ]  # fmt: skip
    near = await pix.near.who(asked)
    assert [near.get(a) and near[a].record for a in asked[:5]] == [made["id"]] * 3 + [None] * 2
    assert near[asked[5]].state == "removed"
    origin = BASE.removesuffix("/fhir")
    far = await pix.http.post(f"{origin}/internal/pix/who", json={"asked": asked})
    assert far.status_code == 200
    for one, told in zip(asked, far.json()["who"], strict=True):
        who = near.get(one)
        assert told == (
            None
            if who is None
            else {
                "record": who.record, "person": who.person, "state": who.state,
                "survivor": who.survivor, "same": list(who.same),
            }
        )  # fmt: skip
    bad = await pix.http.post(f"{origin}/internal/pix/who", json={"asked": [["name", "x"]]})
    assert bad.status_code == 400


async def test_a_question_is_audited_by_identifier(pix: Pix) -> None:
    made = (await pix.feed(patient(COUNCIL, "7900001"))).json()["id"]
    pix.audited.clear()
    await pix.ask(COUNCIL, "7900001")
    (event,) = pix.audited
    people = [e["what"] for e in event["entity"] if e.get("what", {}).get("type") == "Patient"]
    assert [p["identifier"]["value"] for p in people] == ["7900001"]
    assert [p["reference"] for p in people] == [f"Patient/{made}"]


def posted(*parameters: tuple[str, str]) -> dict[str, object]:
    said = [{"name": name, "valueString": value} for name, value in parameters]
    return {"resourceType": "Parameters", "parameter": said}


async def test_a_question_posted_in_xml_is_answered_in_xml(pix: Pix) -> None:
    number = nhs_number(7951)
    await pix.feed(patient(COUNCIL, "7950001", nhs=number))
    await pix.feed(patient(TRUST, "H7951", nhs=number))
    await pix.feed(patient(HOSPITAL, "R7951", nhs=number))
    asked = (
        ("sourceIdentifier", f"{COUNCIL}|7950001"),
        ("targetSystem", TRUST),
        ("targetSystem", NHS),
    )
    xml = '<Parameters xmlns="http://hl7.org/fhir">' + "".join(
        f'<parameter><name value="{name}"/><valueString value="{value}"/></parameter>'
        for name, value in asked
    )
    headers = {"Content-Type": "application/fhir+xml", "Accept": "application/fhir+xml"}
    answer = await pix.http.post(
        "/Patient/$ihe-pix", content=xml + "</Parameters>", headers=headers
    )
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/fhir+xml")
    assert 'value="H7951"' in answer.text
    assert 'value="R7951"' not in answer.text
    assert f'value="{COUNCIL}"' not in answer.text
    same = await pix.http.post("/Patient/$ihe-pix", json=posted(*asked))
    assert identifiers(same.json()) == sorted([(NHS, number), (TRUST, "H7951")])


@pytest.mark.parametrize(
    "parameters",
    [
        (), (("sourceIdentifier", ""),), (("sourceIdentifier", f"{COUNCIL}|"),),
        (("sourceIdentifier", f"{COUNCIL}|1"), ("sourceIdentifier", f"{COUNCIL}|2")),
        (("sourceIdentifier", f"{COUNCIL}|1"), ("onlyGood", "true")),
    ],
)  # fmt: skip
async def test_a_posted_question_that_cannot_be_read_is_a_400(
    pix: Pix, parameters: tuple[tuple[str, str], ...]
) -> None:
    body = posted(*parameters)
    if not parameters:
        del body["parameter"]
    answer = await pix.http.post("/Patient/$ihe-pix", json=body)
    assert answer.status_code == 400, answer.text
    assert diagnostics(answer)


async def test_what_could_change_the_meaning_of_a_question_is_refused(pix: Pix) -> None:
    body: dict[str, Any] = dict(posted(("sourceIdentifier", f"{COUNCIL}|1")))
    body["parameter"][0]["modifierExtension"] = [
        {"url": "https://a.example/not", "valueBoolean": True}
    ]
    answer = await pix.http.post("/Patient/$ihe-pix", json=body)
    assert answer.status_code == 400
    where = answer.json()["issue"][0]["expression"]
    assert where == ["Parameters.parameter[0].modifierExtension"]


async def test_merged_and_removed_records_answer_as_decided(pix: Pix) -> None:
    number = nhs_number(7961)
    gone = (await pix.feed(patient(SALFORD, "7960001"))).json()["id"]
    kept = (await pix.feed(patient(SALFORD, "7960002", nhs=number))).json()["id"]
    other = {"identifier": {"system": SALFORD, "value": "7960002"}}
    merged = {**patient(SALFORD, "7960001"), "active": False}
    merged["link"] = [{"type": "replaced-by", "other": other}]
    assert (await pix.feed(merged)).status_code == 200
    for system, value in ((SALFORD, "7960001"), (BASE, f"Patient/{gone}")):
        answer = await pix.ask(system, value)
        assert (answer.status_code, answer.json()) == (200, {"resourceType": "Parameters"})
    assert await pix.others(NHS, number) == [(SALFORD, "7960002")]
    await pix.remove(SALFORD, "7960002")
    for system, value in ((SALFORD, "7960002"), (BASE, f"Patient/{kept}"), (NHS, number)):
        refused = await pix.ask(system, value)
        assert refused.status_code == 404
        assert diagnostics(refused) == ["sourceIdentifier Patient Identifier not found"]


async def test_someone_known_by_one_number_only_has_an_empty_answer(pix: Pix) -> None:
    made = (await pix.feed(patient(SALFORD, "7970001"))).json()["id"]
    answer = await pix.ask(SALFORD, "7970001")
    assert (answer.status_code, answer.json()) == (200, {"resourceType": "Parameters"})
    assert await pix.others(BASE, f"Patient/{made}") == [(SALFORD, "7970001")]
    nobody = await pix.ask(SALFORD, "7970001", NHS)
    assert nobody.json() == {"resourceType": "Parameters"}


async def test_the_order_of_an_answer_is_stable(pix: Pix) -> None:
    number = nhs_number(7981)
    for system, value in (
        (TRUST, "H7981"),
        (COUNCIL, "7980001"),
        (HOSPITAL, "R7981"),
        (SALFORD, "7980001"),
    ):
        await pix.feed(patient(system, value, nhs=number))
    first = (await pix.ask(NHS, number)).json()
    assert identifiers(first) == sorted(identifiers(first))
    assert patients(first) == sorted(patients(first))
    kinds = [p["name"] for p in first["parameter"]]
    assert kinds == sorted(kinds, reverse=True)
    await pix.feed(patient(TRUST, "H7981", nhs=number, gender="male"))
    assert (await pix.ask(NHS, number)).json() == first


async def test_every_answer_names_its_authority_where_it_is_known(pix: Pix) -> None:
    number = nhs_number(7991)
    await pix.feed(patient(COUNCIL, "7990001", nhs=number))
    told = (await pix.ask(COUNCIL, "7990001")).json()["parameter"][0]["valueIdentifier"]
    assert told == {
        "system": NHS, "value": number, "assigner": {"display": "NHS England PDS / NBO at birth"},
    }  # fmt: skip


async def test_a_refusal_in_xml_says_the_same_words(pix: Pix) -> None:
    asked = {"sourceIdentifier": f"{COUNCIL}|nobody", "_format": "xml"}
    answer = await pix.http.get("/Patient/$ihe-pix", params=asked)
    words = "sourceIdentifier Patient Identifier not found"
    assert answer.status_code == 404
    assert f'<text value="{words}"/>' in answer.text
    assert f'<diagnostics value="{words}"/>' in answer.text
