"""ITI-119: all ten cases of PDQm, grades and scores, what is refused, and who is never there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from affinity.pack import load as load_pack
from chassis.call import Caller
from pix.identifiers import Domains
from pix.match import Hit, ranked, rival, shown_weight
from pix.matching import Member, Profile
from pix.model import load
from pix.traits import traits
from standards import pdqm_match
from standards.outcome import Refused
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
    replaced,
)  # fmt: skip

GRADE = "http://hl7.org/fhir/StructureDefinition/match-grade"
HOME = [{"line": ["12 Weaver Row"], "city": "Salford", "postalCode": "M5 4ZZ"}]
PHONE = [{"system": "phone", "value": "07700 900123"}]
ADA: dict[str, Any] = {
    "name": [{"family": "Featherstonehaugh", "given": ["Adelina", "Rose"]}],
    "gender": "female", "birthDate": "1984-03-17", "address": HOME, "telecom": PHONE,
}  # fmt: skip
TWIN = {**ADA, "name": [{"family": "Featherstonehaugh", "given": ["Beatrix"]}]}
SEALED = {
    "name": [{"family": "Quillfeather", "given": ["Ottoline"]}], "gender": "female",
    "birthDate": "1999-09-09",
    "address": [{"line": ["1 Sealed Yard"], "postalCode": "M6 5AB"}],
}  # fmt: skip
ADOPTION = {
    "security": [
        {"system": "https://throughline.example/fhir/CodeSystem/sensitivity", "code": "ADOPTION"}
    ]
}


def person(system: str, value: str, who: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A Patient of a domain with these demographics."""
    made = patient(system, value, born="", **more)
    return {**made, **who}


def asked(who: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    """A match request."""
    values = {"onlyCertainMatches": "valueBoolean", "count": "valueInteger"}
    parameters: list[dict[str, Any]] = [
        {"name": "resource", "resource": {"resourceType": "Patient", **who}}
    ]
    parameters += [{"name": n, values[n]: v} for n, v in options.items()]
    return {"resourceType": "Parameters", "parameter": parameters}


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def town(service: Pix) -> Mapping[str, str]:
    """Adelina at two sources, her twin, a sealed identity, and two records that one number links."""
    number = nhs_number(11_001)
    made = {}
    for name, body in {
        "council": person(COUNCIL, "1100001", ADA, nhs=number),
        "trust": person(TRUST, "H11001", ADA, nhs=number),
        "twin": person(HOSPITAL, "R11002", TWIN, nhs=nhs_number(11_002)),
        "sealed": {**person(HOSPITAL, "R11003", SEALED, nhs=nhs_number(11_003)), "meta": ADOPTION},
    }.items():
        fed = await service.feed(body)
        assert fed.status_code == 201, fed.text
        made[name] = fed.json()["id"]
    return made


async def match(pix: Pix, body: Mapping[str, Any]) -> dict[str, Any]:
    answer = await pix.http.post("/Patient/$match", json=dict(body))
    assert answer.status_code == 200, answer.text
    bundle: dict[str, Any] = answer.json()
    assert bundle["type"] == "searchset"
    scores = []
    for entry in bundle.get("entry", []):
        assert "request" not in entry
        assert "response" not in entry
        if entry["search"]["mode"] == "outcome":
            severities = {i["severity"] for i in entry["resource"]["issue"]}
            assert severities <= {"information", "warning"}
            continue
        assert entry["search"]["mode"] == "match"
        assert entry["fullUrl"] == f"{BASE}/Patient/{entry['resource']['id']}"
        (grade,) = entry["search"]["extension"]
        assert grade["url"] == GRADE
        assert grade["valueCode"] in ("certain", "probable", "possible", "certainly-not")
        scores.append(entry["search"]["score"])
        assert 0 <= scores[-1] <= 1
    assert scores == sorted(scores, reverse=True)
    return bundle


def hits(bundle: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(id, grade) of the matches, in order."""
    return [
        (e["resource"]["id"], e["search"]["extension"][0]["valueCode"])
        for e in bundle.get("entry", [])
        if e["search"]["mode"] == "match"
    ]


def remarks(bundle: Mapping[str, Any]) -> list[str]:
    return [
        i["diagnostics"]
        for e in bundle.get("entry", [])
        if e["search"]["mode"] == "outcome"
        for i in e["resource"]["issue"]
    ]


# -- the ten cases --------------------------------------------------------------------------------------


async def test_one_person_is_found_with_all_records(pix: Pix, town: Mapping[str, str]) -> None:
    bundle = await match(pix, asked(ADA))
    found = dict(hits(bundle))
    assert found[town["council"]] == found[town["trust"]] == "certain"
    assert bundle["total"] == len(found)
    for entry in bundle["entry"]:
        assert entry["resource"]["identifier"]


async def test_a_bare_patient_is_a_question_too(pix: Pix, town: Mapping[str, str]) -> None:
    bare = await match(pix, {"resourceType": "Patient", **ADA})
    assert hits(bare) == hits(await match(pix, asked(ADA)))


async def test_a_twin_is_possible_and_never_certain(pix: Pix, town: Mapping[str, str]) -> None:
    found = dict(hits(await match(pix, asked(ADA))))
    assert found.get(town["twin"], "possible") == "possible"
    other = dict(hits(await match(pix, asked(TWIN))))
    assert other[town["twin"]] == "certain"
    assert other.get(town["council"], "possible") == "possible"


async def test_only_certain_matches_are_given_when_only_these_are_wanted(
    pix: Pix, town: Mapping[str, str]
) -> None:
    found = hits(await match(pix, asked(ADA, onlyCertainMatches=True)))
    assert {id_ for id_, _ in found} == {town["council"], town["trust"]}
    assert {grade for _, grade in found} == {"certain"}


async def test_a_likely_one_is_not_given_when_only_certain_ones_are_wanted(
    pix: Pix, town: Mapping[str, str]
) -> None:
    who = {"birthDate": "1984-03-17", "address": [{"postalCode": "M5 4ZZ"}]}
    likely = hits(await match(pix, asked(who)))
    assert likely
    assert "certain" not in {grade for _, grade in likely}
    bundle = await match(pix, asked(who, onlyCertainMatches=True))
    assert (hits(bundle), bundle["total"]) == ([], 0)


async def test_two_people_who_fit_alike_are_nobody_certain(pix: Pix) -> None:
    # two men of one name and birth date, whose different verified numbers say that they are two
    who = {
        "name": [{"family": "Oglethwaite", "given": ["Barnaby"]}], "gender": "male",
        "birthDate": "1971-11-02",
        "address": [{"line": ["3 Twofold Lane"], "postalCode": "M7 1QQ"}],
    }  # fmt: skip
    one = (await pix.feed(person(COUNCIL, "1200001", who, nhs=nhs_number(12_001)))).json()["id"]
    two = (await pix.feed(person(SALFORD, "1200002", who, nhs=nhs_number(12_102)))).json()["id"]
    found = dict(hits(await match(pix, asked(who))))
    assert set(found) == {one, two}
    assert "certain" not in found.values()
    only = await match(pix, asked(who, onlyCertainMatches=True))
    assert hits(only) == []


async def test_count_cuts_after_ordering(pix: Pix) -> None:
    whole = hits(await match(pix, asked(ADA)))
    bundle = await match(pix, asked(ADA, count=1))
    assert hits(bundle) == whole[:1]
    assert "total" not in bundle
    all_ = await match(pix, asked(ADA, count=5000))
    assert hits(all_) == whole
    assert any("at most 100" in words for words in remarks(all_))


async def test_nobody_is_an_empty_bundle(pix: Pix) -> None:
    nobody = {"name": [{"family": "Zzyzx", "given": ["Xerxes"]}], "birthDate": "1931-01-02"}
    bundle = await match(pix, asked(nobody))
    assert (hits(bundle), bundle["total"]) == ([], 0)
    assert "entry" not in bundle


async def test_too_little_to_look_by_is_said(pix: Pix) -> None:
    bundle = await match(pix, asked({"name": [{"family": "Featherstonehaugh"}]}))
    assert hits(bundle) == []
    assert any("too little" in words for words in remarks(bundle))


async def test_a_merged_record_is_left_out_and_its_survivor_found(pix: Pix) -> None:
    who = {"name": [{"family": "Umberslade", "given": ["Perpetua"]}], "birthDate": "1966-06-16",
           "address": [{"line": ["9 Merged Street"], "postalCode": "M8 2BB"}]}  # fmt: skip
    gone = (await pix.feed(person(SALFORD, "1300001", who))).json()["id"]
    kept = (await pix.feed(person(SALFORD, "1300002", who))).json()["id"]
    other = {"identifier": {"system": SALFORD, "value": "1300002"}}
    await pix.feed(replaced(person(SALFORD, "1300001", who), other))
    found = dict(hits(await match(pix, asked(who))))
    assert found == {kept: "certain"}
    assert gone not in found


async def test_a_number_alone_finds_its_holder(pix: Pix, town: Mapping[str, str]) -> None:
    found = dict(
        hits(await match(pix, asked({"identifier": [identifier(NHS, nhs_number(11_001))]})))
    )
    assert {town["council"], town["trust"]} <= set(found)
    assert "certain" not in found.values()


async def test_xml_goes_in_and_comes_out(pix: Pix, town: Mapping[str, str]) -> None:
    xml = (
        '<Parameters xmlns="http://hl7.org/fhir"><parameter><name value="resource"/><resource><Patient>'
        '<name><family value="Featherstonehaugh"/><given value="Adelina"/></name>'
        '<birthDate value="1984-03-17"/><address><postalCode value="M5 4ZZ"/></address>'
        '</Patient></resource></parameter><parameter><name value="count"/><valueInteger value="1"/>'
        "</parameter></Parameters>"
    )
    headers = {"Content-Type": "application/fhir+xml", "Accept": "application/fhir+xml"}
    answer = await pix.http.post("/Patient/$match", content=xml, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.text.startswith("<?xml")
    assert f'<extension url="{GRADE}">' in answer.text
    assert answer.text.count("<entry>") == 1


# -- refusals -------------------------------------------------------------------------------------------


NAMED = {"name": [{"family": "A"}], "birthDate": "1980-01-02"}
ODD = {"url": "http://x.example/odd", "valueString": "x"}


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (asked(NAMED, count=0), "Parameters.parameter[1]"),
        (asked(NAMED, count=-1), "Parameters.parameter[1]"),
        ({"resourceType": "Parameters"}, "Parameters.parameter"),
        ({"resourceType": "Parameters", "parameter": [{"name": "count", "valueInteger": 1}]}, "Parameters.parameter"),
        ({"resourceType": "Parameters", "parameter": [*asked(NAMED)["parameter"], *asked(NAMED)["parameter"]]}, "Parameters.parameter[1]"),
        ({"resourceType": "Parameters", "parameter": [*asked(NAMED)["parameter"], {"name": "fuzzy", "valueBoolean": True}]}, "Parameters.parameter[1]"),
        ({"resourceType": "Parameters", "parameter": [*asked(NAMED)["parameter"], {"name": "count", "valueString": "1"}]}, "Parameters.parameter[1]"),
        ({"resourceType": "Parameters", "parameter": [*asked(NAMED)["parameter"], {"name": "onlyCertainMatches", "valueString": "true"}]}, "Parameters.parameter[1]"),
        ({"resourceType": "Parameters", "parameter": [{"name": "resource", "valueString": "x"}]}, "Parameters.parameter[0]"),
        ({"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": {"resourceType": "Binary", "contentType": "text/plain"}}]}, "Parameters.parameter[0]"),
        (asked({**NAMED, "modifierExtension": [ODD]}), "Parameters.parameter[0].resource.modifierExtension"),
        ({"resourceType": "Patient", **NAMED, "modifierExtension": [ODD]}, "Patient.modifierExtension"),
        (asked({**NAMED, "contact": [{"name": {"family": "B"}, "modifierExtension": [ODD]}]}), "Parameters.parameter[0].resource.contact[0].modifierExtension"),
        (asked({**NAMED, "implicitRules": "urn:x"}), "Parameters.parameter[0].resource.implicitRules"),
        ({**asked(NAMED), "implicitRules": "urn:x"}, "Parameters.implicitRules"),
        (asked({}), "Patient"), (asked({"gender": "female"}), "Patient"),
        (asked({"name": [{"given": ["Unknown"]}]}), "Patient"),
        ({"resourceType": "Patient", "active": True}, "Patient"),
    ],
)  # fmt: skip
async def test_what_is_no_question_is_a_400_that_says_where(
    pix: Pix, body: dict[str, Any], where: str
) -> None:
    answer = await pix.http.post("/Patient/$match", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert where in [e for i in answer.json()["issue"] for e in i.get("expression", [])]


async def test_an_unknown_extension_changes_nothing(pix: Pix, town: Mapping[str, str]) -> None:
    plain = hits(await match(pix, asked(ADA)))
    odd = {**ADA, "extension": [ODD], "name": [{**ADA["name"][0], "extension": [ODD]}]}
    assert hits(await match(pix, asked(odd))) == plain


async def test_only_posting_is_offered_and_only_to_who_may_search(pix: Pix) -> None:
    assert (await pix.http.get("/Patient/$match")).status_code == 405
    pix.caller = Caller(client_id="c", scope="system/Patient.r ITI-83", role="R-SYS")
    assert (await pix.http.post("/Patient/$match", json=asked(ADA))).status_code == 403
    pix.caller = Caller(client_id="c", scope="ITI-119", role="R-SYS")
    assert hits(await match(pix, asked(ADA)))
    wrong = await pix.http.post("/Patient/$match", json={"resourceType": "Bundle", "type": "batch"})
    assert wrong.status_code == 400
    assert any("Parameters or Patient" in words for words in diagnostics(wrong))


# -- who is never there ----------------------------------------------------------------------------------


async def test_a_sealed_identity_is_in_no_candidate_list(pix: Pix, town: Mapping[str, str]) -> None:
    number = {"identifier": [identifier(NHS, nhs_number(11_003), status="01")]}
    for who in (SEALED, {**SEALED, "meta": ADOPTION}, number, {**SEALED, **number},
                {**SEALED, **number, "meta": ADOPTION}):  # fmt: skip
        bundle = await match(pix, asked(who))
        assert town["sealed"] not in dict(hits(bundle))
        assert hits(bundle) == []
        assert remarks(bundle) == []


async def test_a_hidden_number_finds_nobody_and_is_not_shown(pix: Pix) -> None:
    who = {"name": [{"family": "Pemberthy", "given": ["Ignatius"]}], "birthDate": "1950-05-05",
           "address": [{"line": ["8 Hidden Way"], "postalCode": "M9 3CC"}]}  # fmt: skip
    force = NS + "pnc"
    hidden = (await pix.feed(person(force, "02/73319Z", who))).json()["id"]
    shown = (await pix.feed({**person(TRUST, "H14001", who), "identifier": [
        identifier(TRUST, "H14001"), identifier(force, "02/73319Z")]})).json()["id"]  # fmt: skip
    number = {"identifier": [identifier(force, "02/73319Z")]}
    assert {hidden, shown} <= set(dict(hits(await match(pix, asked(number)))))
    pix.caller = Caller(client_id="gp", scope="system/Patient.s", role="R-GP", purpose="P-CARE")
    assert hits(await match(pix, asked(number))) == []
    bundle = await match(pix, asked(who))
    assert dict(hits(bundle)) == {shown: "certain"}
    assert {i["system"] for i in bundle["entry"][0]["resource"]["identifier"]} == {
        "urn:ietf:rfc:3986"
    }


async def test_a_token_for_some_patients_finds_these_only(
    pix: Pix, town: Mapping[str, str]
) -> None:
    pix.caller = Caller(client_id="c", scope=f"system/Patient.s?identifier={TRUST}|", role="R-SYS")
    assert set(dict(hits(await match(pix, asked(ADA))))) == {town["trust"]}


async def test_every_patient_that_is_given_is_audited(pix: Pix) -> None:
    bundle = await match(pix, asked(ADA))
    events = pix.audited
    assert all(e["subtype"][-1]["code"] == "ITI-119" for e in events)
    about = [
        entity["what"]["reference"]
        for event in events
        for entity in event["entity"]
        if entity.get("what", {}).get("reference", "").startswith("Patient/")
    ]
    assert sorted(about) == sorted(f"Patient/{id_}" for id_, _ in hits(bundle))
    import base64

    profile = "https://profiles.ihe.net/ITI/PDQm/StructureDefinition/IHE.PDQm.Match.Audit.Supplier"
    assert all(profile in e["meta"]["profile"] for e in events)
    queries = [e["query"] for event in events for e in event["entity"] if "query" in e]
    assert b"Featherstonehaugh" in base64.b64decode(queries[0])
    assert base64.b64decode(queries[0]).startswith(b"POST ")


# -- grades, by themselves -----------------------------------------------------------------------------------

DOMAINS = Domains(load_pack("greater_manchester"), BASE)
MODEL = load()
TODAY = date(2026, 11, 25)


def profile(id_: str, who: Mapping[str, Any]) -> Profile:
    return Profile(id_, (Member((f"r-{id_}",), traits(who, DOMAINS)),))


def test_scores_are_chances() -> None:
    for weight in (-100, -1, 0, 1, 10, 100):
        hit = Hit("r", "p", "possible", weight, weight)
        assert 0 <= hit.score <= 1
    assert Hit("r", "p", "possible", 0, 0).score == 0.5
    assert math.isclose(Hit("r", "p", "possible", 3, 3).score, 8 / 9, abs_tol=1e-6)


people = st.fixed_dictionaries(
    {
        "name": st.sampled_from(
            [[{"family": f, "given": [g]}] for f in ("Ashworth", "Khan", "Nowak") for g in ("Zoe", "Ali", "Piotr")]
        ),
        "birthDate": st.sampled_from(["1984-05-06", "1984-06-05", "1984", "2015-02-03"]),
        "address": st.sampled_from([[{"postalCode": p}] for p in ("M5 4WT", "M8 2BB")]),
    },
    optional={"identifier": st.sampled_from([[identifier(NHS, nhs_number(n))] for n in (1, 2)])},
)  # fmt: skip


@given(people, st.lists(people, max_size=6))
def test_grades_fall_with_the_scores_and_a_veto_is_never_certain(
    who: Mapping[str, Any], others: list[Mapping[str, Any]]
) -> None:
    looked = traits(who, DOMAINS)
    profiles = [profile(f"p{n}", other) for n, other in enumerate(others)]
    records = {r for p in profiles for m in p.members for r in m.records}
    found = ranked(looked, profiles, MODEL, MODEL.frequencies, TODAY, records)
    assert [h.weight for h in found] == sorted((h.weight for h in found), reverse=True)
    assert len({h.person for h in found if h.grade == "certain"}) <= 1
    for hit in found:
        mine = next(p for p in profiles if p.person == hit.person)
        found_ = rival(looked, mine, MODEL, MODEL.frequencies, TODAY)
        assert found_ is not None
        assert hit.weight == shown_weight(found_, MODEL.thresholds)
        if found_.vetoes:
            assert hit.grade == "possible"
        if hit.grade == "certain":
            assert found_.weight >= MODEL.thresholds.join
    assert found == ranked(looked, profiles[::-1], MODEL, MODEL.frequencies, TODAY, records)


@given(
    st.lists(
        st.fixed_dictionaries(
            {"name": st.sampled_from(["resource", "onlyCertainMatches", "count", "other"])},
            optional={
                "resource": st.just({"resourceType": "Patient"}),
                "valueBoolean": st.booleans(), "valueInteger": st.integers(-3, 200), "valueString": st.text(),
                "part": st.just([]),
            },
        ),
        max_size=5,
    )
)  # fmt: skip
def test_any_parameters_are_a_question_or_a_400(parameters: list[dict[str, Any]]) -> None:
    try:
        question = pdqm_match.question({"resourceType": "Parameters", "parameter": parameters})
    except Refused as refused:
        assert refused.status() == 400
        assert refused.issues
        return
    assert question.patient == {"resourceType": "Patient"}
    assert question.count >= 0
    assert 1 <= len(parameters) <= 3
