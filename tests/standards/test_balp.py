"""Every pattern makes legal AuditEvents, and claims a profile only when it keeps to it."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from fhir.resources.R4B.auditevent import AuditEvent
from hypothesis import given
from hypothesis import strategies as st

from chassis.call import Account, Caller
from standards import balp
from standards.outcome import FORBIDDEN, Issue, outcome

BASE = "https://exchange.example/fhir"
VOCABULARY = balp.Vocabulary("urn:role", "urn:purpose")
USER = Caller(
    client_id="viewer", subject="dr-7", issuer="https://exchange.example/auth", jti="j-1",
    organisation="RM3", role="R-HV", purpose="P-CARE", name="H. Visitor",
)  # fmt: skip
BACKEND = replace(USER, subject="viewer", name="", role="", purpose="")
REQUEST = balp.Request(
    "e-1", "2026-11-24T04:05:06.789Z", BASE, client_address="10.0.0.9", request_id="r-1",
    raw=b"GET /fhir/DocumentReference?patient=a HTTP/1.1",
)  # fmt: skip
DENIED = replace(
    REQUEST,
    outcome="8",
    words="no",
    issues=outcome([Issue(FORBIDDEN, "The token does not reach this.")]),
)
WHOLE = {
    "patients": ["Patient/a", ("urn:nhs", "9990000018")],
    "data": ["Patient/a"],
    "submission": "List/s",
}
TOKEN_USE = balp.basic("OAUTHaccessTokenUse.Minimal")


def account(**changes: Any) -> Account:
    return Account(
        **{**{name: list(v) if isinstance(v, list) else v for name, v in WHOLE.items()}, **changes}
    )


def made(
    pattern: str, caller: Caller = USER, request: balp.Request = REQUEST, **changes: Any
) -> dict[str, Any]:
    return balp.event(balp.PATTERNS[pattern], caller, account(**changes), request, VOCABULARY)


def entities(event: dict[str, Any], role: str) -> list[dict[str, Any]]:
    return [e for e in event["entity"] if e.get("role", {}).get("code") == role]


def agent(event: dict[str, Any], code: str) -> dict[str, Any]:
    return next(a for a in event["agent"] if code in {c["code"] for c in a["type"]["coding"]})


@pytest.mark.parametrize("name", balp.PATTERNS)
@pytest.mark.parametrize("caller", [USER, BACKEND, Caller()], ids=["user", "backend", "nobody"])
@pytest.mark.parametrize("request_", [REQUEST, DENIED], ids=["done", "refused"])
@pytest.mark.parametrize(
    "touched",
    [WHOLE, {}, {"patients": ["Patient/a", "Patient/b"]}],
    ids=["whole", "nothing", "two"],
)
def test_every_event_is_legal_r4(
    name: str, caller: Caller, request_: balp.Request, touched: dict[str, Any]
) -> None:
    for event in balp.events(balp.PATTERNS[name], caller, Account(**touched), request_, VOCABULARY):
        AuditEvent.model_validate(event)
        assert "modifierExtension" not in event
        assert event["source"]["observer"] in [a.get("who") for a in event["agent"]]
        assert all(not ("name" in e and "query" in e) for e in event.get("entity", []))
        assert event["outcome"] == request_.outcome


@pytest.mark.parametrize(
    ("name", "profile"),
    [
        ("ITI-65", "MHD/StructureDefinition/IHE.MHD.ProvideBundle.Audit.Recipient"),
        ("ITI-66", "MHD/StructureDefinition/IHE.MHD.FindDocumentLists.Audit.Responder"),
        ("ITI-67", "MHD/StructureDefinition/IHE.MHD.FindDocumentReferences.Audit.Responder"),
        ("ITI-68", "MHD/StructureDefinition/IHE.MHD.RetrieveDocument.Audit.Responder"),
        ("ITI-78", "PDQm/StructureDefinition/IHE.PDQm.Query.Audit.Supplier"),
        ("ITI-83", "PIXm/StructureDefinition/IHE.PIXm.Query.Audit.Manager"),
        ("ITI-104 create", "PIXm/StructureDefinition/IHE.PIXm.Feed.Create.Audit.Manager"),
        ("ITI-104 update", "PIXm/StructureDefinition/IHE.PIXm.Feed.Update.Audit.Manager"),
        ("ITI-104 delete", "PIXm/StructureDefinition/IHE.PIXm.Feed.Delete.Audit.Manager"),
        ("ITI-78 read", "BALP/StructureDefinition/IHE.BasicAudit.PatientRead"),
        ("ITI-67 read", "BALP/StructureDefinition/IHE.BasicAudit.PatientRead"),
    ],
)
def test_success_claims_the_profile_of_the_transaction_and_the_token(
    name: str, profile: str
) -> None:
    assert made(name)["meta"]["profile"] == ["https://profiles.ihe.net/ITI/" + profile, TOKEN_USE]


@pytest.mark.parametrize("name", balp.PATTERNS)
def test_a_refusal_claims_nothing_and_carries_its_outcome(name: str) -> None:
    event = made(name, request=DENIED)
    assert "meta" not in event
    assert event["contained"][0]["issue"][0]["code"] == "forbidden"
    assert {"reference": "#outcome"} in [e.get("what") for e in event["entity"]]


def test_a_query_without_a_patient_claims_only_the_generic_profile() -> None:
    assert made("ITI-67", patients=[])["meta"]["profile"][0] == balp.basic("Query")
    assert made("ITI-66", patients=[])["meta"]["profile"][0] == balp.basic("Query")


def test_a_demographics_query_needs_no_patient_for_its_profile() -> None:
    assert "PDQm" in made("ITI-78", patients=[])["meta"]["profile"][0]


def test_a_cross_reference_by_logical_id_alone_claims_the_generic_profile() -> None:
    assert made("ITI-83", patients=["Patient/a"])["meta"]["profile"][0] == balp.basic(
        "PatientQuery"
    )


def test_a_read_that_touched_two_documents_claims_nothing() -> None:
    assert "meta" not in made("ITI-68", data=["Binary/1", "Binary/2"])


def test_a_history_is_no_balp_read() -> None:
    assert "meta" not in made("history")


def test_roles_follow_the_data_and_swap_on_a_read() -> None:
    find, read, gone = made("ITI-67"), made("ITI-68"), made("ITI-104 delete")
    assert agent(find, "110153")["who"]["identifier"]["value"] == "viewer"
    assert agent(read, "110152")["who"]["identifier"]["value"] == "viewer"
    assert agent(read, "110153")["who"] == read["source"]["observer"]
    assert agent(gone, "custodian")["who"] == gone["source"]["observer"]


def test_the_user_is_named_with_token_role_and_purpose() -> None:
    user = agent(made("ITI-67"), "UserOauthAgent")
    assert user["who"]["identifier"] == {"system": USER.issuer, "value": "dr-7"}
    assert user["policy"] == ["urn:ietf:params:oauth:jti:j-1"]
    assert user["role"] == [{"coding": [{"system": "urn:role", "code": "R-HV"}]}]
    assert user["purposeOfUse"] == [{"coding": [{"system": "urn:purpose", "code": "P-CARE"}]}]
    assert user["requestor"] is True
    assert {c["code"] for c in user["type"]["coding"]} == {"UserOauthAgent", "IRCP"}
    assert "network" not in user


def test_the_organisation_takes_part_as_provider() -> None:
    who = agent(made("ITI-67"), "PROV")["who"]
    assert who["identifier"] == {"system": VOCABULARY.organisations, "value": "RM3"}


def test_the_raw_query_is_kept_and_the_request_id_is_an_entity() -> None:
    event = made("ITI-67", query="patient a")
    query = entities(event, "24")[0]
    assert base64.b64decode(query["query"]) == REQUEST.raw
    assert query["description"] == "patient a"
    assert "r-1" in [e.get("what", {}).get("identifier", {}).get("value") for e in event["entity"]]


def test_a_document_is_a_report_and_a_submission_a_job() -> None:
    assert entities(made("ITI-68", data=["Binary/1"]), "3")[0]["what"] == {"reference": "Binary/1"}
    assert entities(made("ITI-65"), "20")[0]["what"] == {"reference": "List/s"}


def test_the_feed_names_its_patient_by_identifier_and_not_by_reference() -> None:
    what = entities(made("ITI-104 create"), "1")[0]["what"]
    assert what == {"type": "Patient", "identifier": {"system": "urn:nhs", "value": "9990000018"}}


def test_further_identifiers_of_a_patient_are_kept() -> None:
    patient = entities(made("ITI-67", patients=["Patient/a", ("s1", "1"), ("s2", "2")]), "1")[0]
    assert patient["what"]["identifier"]["value"] == "1"
    assert patient["detail"] == [{"type": "identifier", "valueString": "s2|2"}]


def test_one_event_per_patient_and_the_same_ids_again() -> None:
    several = account(patients=["Patient/a", "Patient/b"])
    first = balp.events(balp.ITI_67, USER, several, REQUEST)
    assert [entities(e, "1")[0]["what"]["reference"] for e in first] == ["Patient/a", "Patient/b"]
    assert len({e["id"] for e in first}) == 2
    assert first[0]["id"] == "e-1"
    assert first == balp.events(balp.ITI_67, USER, several, REQUEST)


def test_a_demographics_query_is_recorded_once_and_once_per_patient_found() -> None:
    told = balp.events(
        balp.ITI_78, USER, account(patients=["Patient/a", "Patient/b"], data=[]), REQUEST
    )
    assert [len(entities(e, "1")) for e in told] == [0, 1, 1]
    assert all("PDQm" in e["meta"]["profile"][0] for e in told)


def test_a_conditional_update_that_created_is_told_as_a_creation() -> None:
    event = balp.event(balp.ITI_104_UPDATE, USER, account(action="C"), REQUEST)
    assert (event["action"], event["subtype"][0]["code"]) == ("C", "create")
    assert "Create" in event["meta"]["profile"][0]


def test_an_action_without_a_pattern_is_a_fault() -> None:
    with pytest.raises(ValueError, match="no audit pattern"):
        balp.event(balp.ITI_65, USER, account(action="D"), REQUEST)


def test_a_token_request_shows_no_secret() -> None:
    raw = balp.token_request(
        "POST /auth/token HTTP/1.1",
        [("grant_type", "client_credentials"), ("scope", "system/*.rs"), ("client_assertion", "eyJhbGciOi"),
         ("code_verifier", "sesame"), ("refresh_token", "r-secret"), ("client_secret", "s3cret")],
    )  # fmt: skip
    assert b"system/*.rs" in raw
    assert not any(secret in raw for secret in (b"eyJhbGciOi", b"sesame", b"r-secret", b"s3cret"))


def test_a_token_event_keeps_the_closed_lists_of_its_profile() -> None:
    event = balp.event(balp.ITI_71, BACKEND, Account(), REQUEST, VOCABULARY)
    assert event["meta"]["profile"] == [
        "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.IUA.71"
    ]
    assert [a["type"]["coding"][0]["code"] for a in event["agent"]] == [
        "110150",
        "AuthzOauthService",
    ]
    assert [e["role"]["code"] for e in event["entity"]] == ["24"]
    assert [s["code"] for s in event["subtype"]] == ["ITI-71"]


def test_reading_the_audit_trail_names_the_audit_trail() -> None:
    log = entities(made("ITI-81"), "13")[0]
    assert log["name"] == "Security Audit Log"
    assert log["what"]["identifier"]["value"] == BASE + "/AuditEvent"


def test_a_refused_read_keeps_its_request_line() -> None:
    event = made("ITI-68", request=DENIED, data=[])
    details = [d["valueString"] for e in event["entity"] for d in e.get("detail", [])]
    assert details == [REQUEST.raw.decode()]


@pytest.mark.parametrize(
    ("status", "outcome_"),
    [
        (200, "0"),
        (201, "0"),
        (304, "0"),
        (400, "4"),
        (404, "4"),
        (401, "8"),
        (403, "8"),
        (500, "12"),
        (503, "12"),
    ],
)
def test_statuses_are_told_as_outcomes(status: int, outcome_: str) -> None:
    assert balp.outcome_of(status) == outcome_


def test_an_application_start_is_legal() -> None:
    AuditEvent.model_validate(
        balp.activity(
            True, event_id="a", recorded=REQUEST.recorded, server=BASE, detail={"chain": "c"}
        )
    )


FORMS = st.one_of(
    st.sampled_from(["Patient/a", "Patient/b", "Patient/c"]),
    st.tuples(st.sampled_from(["s", "t", ""]), st.sampled_from(["1", "2", "3"])),
)


@given(st.lists(FORMS, max_size=12))
def test_no_form_of_a_patient_is_lost_and_none_is_told_twice(
    forms: list[str | tuple[str, str]],
) -> None:
    patients = balp.patients_of(forms)
    assert {p.reference for p in patients} - {""} == {f for f in forms if isinstance(f, str)}
    assert {i for p in patients for i in p.identifiers} == {
        f for f in forms if isinstance(f, tuple)
    }
    assert len({p.reference for p in patients}) == len(patients)
    assert all(len(set(p.identifiers)) == len(p.identifiers) for p in patients)
