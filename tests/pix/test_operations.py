"""What stewards decide over FHIR: what it does, what it keeps, how it is undone, and what is refused."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pix import operations
from standards import stewardship
from standards.operation import MANY, Operation, Parameter
from standards.outcome import Refused
from standards.r4.check import check_structure
from tests.pix.makers import (
    COUNCIL,
    SALFORD,
    TRUST,
    Pix,
    diagnostics,
    nhs_number,
    patient,
    replaced,
)
from tests.pix.makers_steward import (
    GUARD,
    JO,
    KIM,
    OTHER_GUARD,
    WATCH,
    WHY,
    ask,
    done,
    fed,
    get,
    parameters,
    person,
    read,
)
from tests.pix.test_linking import SENSITIVITY, told
from tests.pix.test_stewarding import state

ADOPTION = {"meta": {"security": [{"system": SENSITIVITY, "code": "ADOPTION"}]}}


# -- acts ---------------------------------------------------------------------------------------------


async def test_a_link_is_kept_with_its_reason_evidence_and_model_and_outlives_the_record(
    pix: Pix,
) -> None:
    one = await fed(pix, COUNCIL, "6000001", "abel")
    two = await fed(pix, TRUST, "S6001", "abel of another name")
    target = await person(pix, one)
    answer = await done(
        pix, JO, "link", resourceId=f"Patient/{two}", goldenResourceId=target, **WHY
    )
    assert answer["outcome"] == ["done"]
    (link,) = answer["link"]
    assert (link["matchResult"], link["linkSource"], link["decidedBy"]) == (
        ["MATCH"], ["MANUAL"], ["jo"],
    )  # fmt: skip
    assert await person(pix, two) == target
    row = await pix.near.people.decisions.one({"_id": answer["decision"][0]})
    assert row is not None
    assert (row["code"], row["reason"]) == ("records-compared", "Both passports were seen.")
    assert row["actor"]["subject"] == "jo"
    assert row["model"] == pix.near.people.model.version
    assert {row["evidence"]["snapshot"]["left"], row["evidence"]["snapshot"]["right"]} == {one, two}
    await fed(pix, TRUST, "S6001", "somebody else again")
    assert await person(pix, two) == target


async def test_the_audit_says_who_decided_what_and_why(pix: Pix) -> None:
    one = await fed(pix, COUNCIL, "6000011", "berta")
    two = await fed(pix, TRUST, "S6011", "berta of another name")
    target = await person(pix, one)
    pix.audited.clear()
    answer = await done(
        pix, JO, "link", resourceId=f"Patient/{two}", goldenResourceId=target, **WHY
    )
    (event,) = pix.audited
    assert check_structure(dict(event)) == ()
    assert [s["code"] for s in event["subtype"]] == ["operation", "link"]
    assert any(a.get("who", {}).get("identifier", {}).get("value") == "jo" for a in event["agent"])
    query = next(e for e in event["entity"] if "query" in e)
    for said in (
        two,
        target,
        "records-compared",
        "Both passports were seen.",
        answer["decision"][0],
    ):
        assert said in query["description"]
    patients = [e["what"]["reference"] for e in event["entity"] if "reference" in e.get("what", {})]
    assert patients == [f"Patient/{two}"]


async def test_what_is_so_already_is_said_and_changes_nothing(pix: Pix) -> None:
    one = await fed(pix, COUNCIL, "6000021", "carol")
    two = await fed(pix, TRUST, "S6021", "carol of another name")
    three = await fed(pix, SALFORD, "6000022", "carol the third")
    target, third = await person(pix, one), await person(pix, three)
    acts: list[tuple[str, dict[str, str]]] = [
        ("link", {"resourceId": f"Patient/{two}", "goldenResourceId": target}),
        ("unlink", {"resourceId": f"Patient/{two}", "goldenResourceId": third}),
        ("not-duplicate", {"goldenResourceId": target, "resourceId": third}),
    ]
    for operation, said in acts:
        first = await done(pix, JO, operation, **said, **WHY)
        assert first["outcome"] == ["done"], operation
        log = await pix.near.people.decisions.count({})
        version = (await pix.http.get(f"/Patient/{two}")).headers["etag"]
        again = await done(pix, KIM, operation, **said, **WHY)
        assert (again["outcome"], again["decision"]) == (["already"], first["decision"])
        assert await pix.near.people.decisions.count({}) == log
        assert (await pix.http.get(f"/Patient/{two}")).headers["etag"] == version


async def test_records_of_different_agencies_are_parted_by_two_stewards_and_not_by_one(
    pix: Pix,
) -> None:
    one = await fed(pix, COUNCIL, "6000031", "dora")
    two = await fed(pix, TRUST, "S6031", "dora")
    target = await person(pix, one)
    assert await person(pix, two) == target
    said: dict[str, Any] = {"resourceId": f"Patient/{two}", "goldenResourceId": target}
    why = {"reason": "relatives", "comment": "Her cousin."}
    first = await done(pix, JO, "unlink", **said, **why)
    assert first["outcome"] == ["waiting"]
    assert "two stewards" in first["why"][0]
    assert await person(pix, two) == target
    again = await done(pix, JO, "unlink", **said, **why)  # nobody signs twice
    assert again["outcome"] == ["waiting"]
    assert [a["by"] for a in again["approval"]] == [["jo"]]
    second = await done(
        pix, KIM, "unlink", **said, reason="source-confirmed", comment="The trust says so."
    )
    assert second["outcome"] == ["done"]
    assert [a["by"][0] for a in second["approval"]] == ["jo", "kim"]
    assert await person(pix, two) != target
    row = await pix.near.people.decisions.one({"_id": second["decision"][0]})
    assert row is not None
    assert [(a["by"], a["comment"]) for a in row["approvals"]] == [
        ("jo", "Her cousin."), ("kim", "The trust says so."),
    ]  # fmt: skip
    # and it stays so (SanteDB 10, HAPI #11): the same words do not bring it back
    await fed(pix, TRUST, "S6031", "dora", gender="other")
    assert await person(pix, two) != target


async def test_a_first_signature_does_not_count_for_what_has_changed_since(pix: Pix) -> None:
    one = await fed(pix, COUNCIL, "6000041", "edgar")
    two = await fed(pix, TRUST, "S6041", "edgar")
    target = await person(pix, one)
    said: dict[str, Any] = {"resourceId": f"Patient/{two}", "goldenResourceId": target}
    await done(pix, JO, "unlink", **said, **WHY)
    await fed(pix, TRUST, "S6041", "edgar", gender="male")
    late = await done(pix, KIM, "unlink", **said, **WHY)
    assert late["outcome"] == ["waiting"]
    assert [a["by"] for a in late["approval"]] == [["kim"]]
    assert (await done(pix, JO, "unlink", **said, **WHY))["outcome"] == ["done"]


async def test_one_agencys_own_records_are_parted_by_one_steward(pix: Pix) -> None:
    one = await fed(pix, COUNCIL, "6000051", "fritz")
    two = await fed(pix, COUNCIL, "6000052", "fritz")
    target = await person(pix, one)
    assert await person(pix, two) == target
    said: dict[str, Any] = {"resourceId": f"Patient/{two}", "goldenResourceId": target}
    assert (await done(pix, JO, "unlink", **said, **WHY))["outcome"] == ["done"]


async def test_merge_and_unmerge_are_exact_inverses_and_both_may_be_sent_twice(pix: Pix) -> None:
    a = [await fed(pix, COUNCIL, "6000061", "gerda"), await fed(pix, COUNCIL, "6000062", "gerda")]
    b = [await fed(pix, COUNCIL, "6000063", "hilda")]
    gone, kept = await person(pix, a[0]), await person(pix, b[0])
    before = await state(pix, *a, *b)
    said = {"fromGoldenResourceId": gone, "toGoldenResourceId": kept}
    merged = await done(pix, JO, "merge", **said, **WHY)
    assert {await person(pix, r) for r in (*a, *b)} == {kept}
    again = await done(pix, JO, "merge", **said, **WHY)
    assert (again["outcome"], again["decision"]) == (["already"], merged["decision"])
    other = await ask(pix, JO, "unmerge", goldenResourceId=kept, **WHY)
    assert other.status_code == 404
    (words,) = diagnostics(other)
    assert f"the person {kept} were given to another" in words
    assert "not what was kept" in words
    undone = await done(pix, JO, "unmerge", decision=merged["decision"][0], **WHY)
    assert undone["outcome"] == ["done"]
    assert await state(pix, *a, *b) == before
    again = await done(pix, JO, "unmerge", goldenResourceId=gone, **WHY)
    assert (again["outcome"], again["decision"]) == (["already"], undone["decision"])


async def test_an_unmerge_across_agencies_needs_two(pix: Pix) -> None:
    one = await fed(pix, COUNCIL, "6000071", "ida")
    two = await fed(pix, TRUST, "S6071", "jakob")
    gone, kept = await person(pix, one), await person(pix, two)
    merged = await done(pix, JO, "merge", fromGoldenResourceId=gone, toGoldenResourceId=kept, **WHY)
    (number,) = merged["decision"]
    assert (await done(pix, JO, "unmerge", decision=number, **WHY))["outcome"] == ["waiting"]
    assert await person(pix, one) == kept
    assert (await done(pix, KIM, "unmerge", decision=number, **WHY))["outcome"] == ["done"]
    assert await person(pix, one) == gone


async def test_a_sources_own_merge_is_undone_by_naming_the_record(pix: Pix) -> None:
    gone = await fed(pix, COUNCIL, "6000081", "karl")
    await fed(pix, COUNCIL, "6000082", "lotte")
    other = {"identifier": {"system": COUNCIL, "value": "6000082"}}
    body = patient(COUNCIL, "6000081", **told("karl"))
    assert (await pix.feed(replaced(body, other))).status_code == 200
    answer = await done(pix, JO, "unmerge", resourceId=f"Patient/{gone}", **WHY)
    assert answer["outcome"] == ["done"]
    assert (await pix.http.get(f"/Patient/{gone}")).json().get("active") is not False


# -- what users of other products complained about (PIX digest §6) --------------------------------------


async def test_after_a_merge_no_link_names_the_loser_or_points_at_itself(pix: Pix) -> None:
    """HAPI #4287, in both directions: the possible link was the loser's, or the winner's record's."""
    for place, turned in enumerate((False, True)):
        seed = f"moritz {place}"
        first = await fed(pix, COUNCIL, f"61000{place}1", seed, nhs=nhs_number(6100 + 40 * place))
        second = await fed(pix, SALFORD, f"61000{place}2", seed, nhs=nhs_number(6120 + 40 * place))
        third = await fed(pix, TRUST, f"S610{place}", seed)
        home = await person(pix, third)
        rows = await pix.near.people.links.many({"record": third, "state": "POSSIBLE"})
        persons = {await person(pix, first), await person(pix, second)}
        assert {r["person"] for r in rows} == persons
        other = min(persons)
        gone, kept = (other, home) if turned else (home, other)
        why = {"fromGoldenResourceId": gone, "toGoldenResourceId": kept, **WHY}
        assert (await done(pix, JO, "merge", **why))["outcome"] == ["done"]
        assert await pix.near.people.links.count({"person": gone}) == 0
        states = await pix.near.people.links.many({"record": third, "person": kept})
        assert [link["state"] for link in states] == ["MATCH"]
        reviews = await pix.near.people.reviews.many({"persons": gone, "state": "open"})
        assert reviews == []


async def test_of_two_candidates_one_is_accepted_and_the_other_rejected_in_any_order(
    pix: Pix,
) -> None:
    """HAPI #4745; and one record never has two MATCHes, #4156."""
    for place, rejected_first in enumerate((False, True)):
        number = [nhs_number(6200 + 10 * place), nhs_number(6201 + 10 * place)]
        seed = f"nadia {place}"
        await fed(pix, COUNCIL, f"62000{place}1", seed, nhs=number[0])
        await fed(pix, SALFORD, f"62000{place}2", seed, nhs=number[1])
        third = await fed(pix, TRUST, f"S620{place}", seed)
        rows = await pix.near.people.links.many({"record": third, "state": "POSSIBLE"})
        right, wrong = sorted(r["person"] for r in rows)
        accept = ("link", {"resourceId": f"Patient/{third}", "goldenResourceId": right})
        reject = ("unlink", {"resourceId": f"Patient/{third}", "goldenResourceId": wrong})
        for operation, said in (reject, accept) if rejected_first else (accept, reject):
            assert (await done(pix, JO, operation, **said, **WHY))["outcome"] == ["done"]
        states = await pix.near.people.links.many({"record": third})
        assert sorted((r["person"], r["state"]) for r in states) == sorted(
            [(right, "MATCH"), (wrong, "NO_MATCH")]
        )
        await fed(pix, TRUST, f"S620{place}", seed, gender="other")
        assert await person(pix, third) == right


async def test_pairs_that_are_not_duplicates_do_not_come_back(pix: Pix) -> None:
    """Rock #985, client-registry #2: negative decisions are permanent, for pairs and for clusters."""
    one = await fed(pix, COUNCIL, "6000091", "oskar", nhs=nhs_number(6301))
    two = await fed(pix, TRUST, "S6091", "oskar", nhs=nhs_number(6321))
    first, second = await person(pix, one), await person(pix, two)
    await done(pix, JO, "not-duplicate", goldenResourceId=first, resourceId=second, **WHY)
    for _ in range(2):
        await fed(pix, TRUST, "S6091", "oskar")
        await fed(pix, COUNCIL, "6000091", "oskar")
    assert await person(pix, one) != await person(pix, two)
    refused = await ask(
        pix, JO, "merge", fromGoldenResourceId=first, toGoldenResourceId=second, **WHY
    )
    assert refused.status_code == 409


async def test_a_person_without_records_is_gone_and_a_removal_sent_again_changes_nothing(
    pix: Pix,
) -> None:
    """HAPI #5037, and DELETE replayed after a decision."""
    one = await fed(pix, COUNCIL, "6000101", "paula")
    two = await fed(pix, TRUST, "S6101", "paula of another name")
    target = await person(pix, one)
    await done(pix, JO, "link", resourceId=f"Patient/{two}", goldenResourceId=target, **WHY)
    for _ in range(2):
        assert (await pix.remove(TRUST, "S6101")).status_code == 204
    assert (await ask(pix, JO, "link", resourceId=f"Patient/{two}", goldenResourceId=target, **WHY)
            ).status_code == 410  # fmt: skip
    assert (await pix.remove(COUNCIL, "6000101")).status_code == 204
    answer = await get(pix, JO, f"/Patient/$query-links?goldenResourceId={target}")
    assert answer.status_code == 404


async def test_what_people_tied_is_not_undone_by_the_scoring_and_is_explained(pix: Pix) -> None:
    """ehealth #1674: everyone can say why two are one."""
    one = await fed(pix, COUNCIL, "6000111", "quirin")
    two = await fed(pix, TRUST, "S6111", "quirin of another name")
    target = await person(pix, one)
    await done(pix, JO, "link", resourceId=f"Patient/{two}", goldenResourceId=target, **WHY)
    answer = read((await get(pix, WATCH, f"/Patient/$explain?resourceId=Patient/{two}")).json())
    assert answer["verdict"] == ["tied"]
    assert (
        "jo decided that they are one person: Both passports were seen." in answer["explanation"][0]
    )


# -- refused ------------------------------------------------------------------------------------------


async def test_everything_that_is_wrong_with_a_question_is_said_at_once(pix: Pix) -> None:
    body = parameters(
        resourceId="https://elsewhere.example/fhir/Patient/1", goldenResourceId="Patient/1",
        reason="becuase", coment="typo",
    )  # fmt: skip
    pix.caller = JO
    answer = await pix.http.post("/Patient/$link", json=body)
    assert answer.status_code == 400
    said = " ".join(diagnostics(answer))
    for words in ("on another server", "must be TL-…", "'becuase' is not one of", "the nearest is comment",
                  "needs comment"):  # fmt: skip
        assert words in said
    assert all(check_structure(answer.json()) == () for _ in (0,))


async def test_a_decision_without_a_reason_is_refused(pix: Pix) -> None:
    one = await fed(pix, COUNCIL, "6000121", "rudolf")
    mine = await person(pix, one)
    for operation in ("link", "unlink", "not-duplicate", "merge", "unmerge"):
        answer = await ask(pix, JO, operation, review="x")
        assert answer.status_code == 400
        assert sum("needs reason" in d or "needs comment" in d for d in diagnostics(answer)) == 2
    blank = await ask(pix, JO, "link", resourceId=f"Patient/{one}", goldenResourceId=mine,
                      reason="twins", comment="  ")  # fmt: skip
    assert {"comment is empty.", *diagnostics(blank)} == set(diagnostics(blank))
    assert any("'twins' is not one of" in d for d in diagnostics(blank))


async def test_what_cannot_be_is_refused_in_words(pix: Pix) -> None:
    one = await fed(pix, COUNCIL, "6000131", "sarah")
    two = await fed(pix, TRUST, "S6131", "sarah of another name")
    mine, other = await person(pix, one), await person(pix, two)
    nobody = "TL-000000000000"
    cases: list[tuple[str, dict[str, str], int, str]] = [
        ("link", {"resourceId": "Patient/nobody", "goldenResourceId": mine}, 404, "no patient"),
        ("link", {"resourceId": f"Patient/{one}", "goldenResourceId": nobody}, 404, "person number"),
        ("link", {"resourceId": f"Patient/{one}", "goldenResourceId": mine}, 409, "nobody else"),
        ("unlink", {"resourceId": f"Patient/{one}", "goldenResourceId": mine}, 409, "all that"),
        ("not-duplicate", {"goldenResourceId": mine, "resourceId": mine}, 400, "same person"),
        ("merge", {"fromGoldenResourceId": mine, "toGoldenResourceId": mine}, 400, "same person"),
        ("merge", {"fromGoldenResourceId": mine, "toGoldenResourceId": nobody}, 404, "person number"),
        ("unmerge", {"decision": "no-such-decision"}, 404, "no merge"),
        ("unmerge", {"goldenResourceId": mine}, 404, "no merge is known"),
        ("unmerge", {"goldenResourceId": mine, "decision": "x"}, 400, "one way"),
        ("unmerge", {}, 400, "one way"),
        ("link", {"resourceId": f"Patient/{one}/_history/9", "goldenResourceId": other}, 409, "version"),
        ("link", {"resourceId": f"Patient/{one}", "goldenResourceId": f"{other}/_history/x"}, 409,
         "version"),
        ("link", {"resourceId": f"Patient/{one}", "goldenResourceId": other, "review": "none"}, 404,
         "queue"),
    ]  # fmt: skip
    log = await pix.near.people.decisions.count({})
    for operation, said, status, words in cases:
        answer = await ask(pix, JO, operation, **said, **WHY)
        assert answer.status_code == status, (operation, said, answer.text)
        assert words in diagnostics(answer)[0].lower()
    assert await pix.near.people.decisions.count({}) == log


async def test_a_merge_that_goes_round_is_refused(pix: Pix) -> None:
    ids = [await fed(pix, COUNCIL, f"600014{n}", f"theo {n}") for n in range(3)]
    a, b, c = [await person(pix, i) for i in ids]
    for gone, kept in ((a, b), (b, c)):
        said = {"fromGoldenResourceId": gone, "toGoldenResourceId": kept}
        assert (await done(pix, JO, "merge", **said, **WHY))["outcome"] == ["done"]
    answer = await ask(pix, JO, "merge", fromGoldenResourceId=c, toGoldenResourceId=a, **WHY)
    assert answer.status_code == 409
    assert "go round" in diagnostics(answer)[0]


async def test_what_changed_since_cannot_be_unmerged(pix: Pix) -> None:
    await fed(pix, COUNCIL, "6000151", "ulrich")
    await fed(pix, COUNCIL, "6000152", "vera")
    other = {"identifier": {"system": COUNCIL, "value": "6000152"}}
    gone = patient(COUNCIL, "6000151", **told("ulrich"))
    record = (await pix.feed(replaced(gone, other))).json()["id"]
    found = await get(pix, JO, f"/Patient/$link-history?resourceId=Patient/{record}")
    merge = next(r for r in read(found.json())["revision"] if r["type"] == ["merge"])
    await pix.remove(COUNCIL, "6000151")
    answer = await ask(pix, JO, "unmerge", decision=merge["decision"][0], **WHY)
    assert answer.status_code == 409
    assert "cannot be undone" in diagnostics(answer)[0]


async def test_versions_are_told_so_that_they_can_be_guarded(pix: Pix) -> None:
    one = await fed(pix, COUNCIL, "6000161", "willi")
    two = await fed(pix, TRUST, "S6161", "willi of another name")
    target = await person(pix, one)
    answer = read((await get(pix, JO, f"/Patient/$query-links?goldenResourceId={target}")).json())
    (link,) = answer["link"]
    (golden,), (source,) = link["goldenResourceId"], link["sourceResourceId"]
    assert source == f"Patient/{one}/_history/1"
    await fed(pix, COUNCIL, "6000161", "willi", gender="male")
    stale = await ask(pix, JO, "link", resourceId=f"Patient/{two}", goldenResourceId=golden, **WHY)
    assert stale.status_code == 409
    fresh = read((await get(pix, JO, f"/Patient/$query-links?goldenResourceId={target}")).json())
    (golden,) = fresh["link"][0]["goldenResourceId"]
    said = {
        "resourceId": f"{pix.http.base_url}Patient/{two}/_history/1",
        "goldenResourceId": golden,
    }
    assert (await done(pix, JO, "link", **said, **WHY))["outcome"] == ["done"]


async def test_only_stewards_decide_and_jobs_only_look(pix: Pix) -> None:
    one = await fed(pix, COUNCIL, "6000171", "xaver")
    mine = await person(pix, one)
    said = {"resourceId": f"Patient/{one}", "goldenResourceId": mine}
    assert (await ask(pix, WATCH, "link", **said, **WHY)).status_code == 403
    assert (
        await get(pix, WATCH, f"/Patient/$query-links?goldenResourceId={mine}")
    ).status_code == 200
    from dataclasses import replace

    no_role = replace(JO, role="R-GP")
    refused = await get(pix, no_role, f"/Patient/$query-links?goldenResourceId={mine}")
    assert (refused.status_code, "R-ADM" in diagnostics(refused)[0]) == (403, True)
    no_scope = replace(JO, scope="system/*.cruds")
    refused = await get(pix, no_scope, f"/Patient/$query-links?goldenResourceId={mine}")
    assert refused.status_code == 403
    assert "throughline.steward" in refused.headers["www-authenticate"]


async def test_of_two_stewards_who_decide_at_once_one_comes_second(pix: Pix) -> None:
    one = await fed(pix, COUNCIL, "6000181", "yvonne")
    others = [await fed(pix, COUNCIL, f"600018{n}", f"yvonne {n}") for n in (2, 3)]
    record = await fed(pix, TRUST, "S6181", "yvonne of another name")
    targets = [await person(pix, r) for r in others]
    assert await person(pix, one)
    pix.caller = JO
    answers = await asyncio.gather(*(
        pix.http.post("/Patient/$link", json=parameters(
            resourceId=f"Patient/{record}/_history/1", goldenResourceId=target, **WHY))
        for target in targets
    ))  # fmt: skip
    assert sorted(a.status_code for a in answers) == [200, 409]
    assert len(await pix.near.people.links.many({"record": record, "state": "MATCH"})) == 1


# -- sealed identities -----------------------------------------------------------------------------


async def test_a_sealed_identity_is_unknown_until_two_guardians_turn_their_keys(pix: Pix) -> None:
    sealed = await fed(pix, COUNCIL, "6000191", "zelda", **ADOPTION)
    number = await person(pix, sealed)
    asked = f"/Patient/$explain?resourceId=Patient/{sealed}"
    for who in (JO, GUARD, WATCH):
        assert (await get(pix, who, asked)).status_code == 404
        links = await get(pix, who, f"/Patient/$query-links?goldenResourceId={number}")
        assert links.status_code == 404
    why = {
        "resourceId": f"Patient/{sealed}",
        "reason": "court-order",
        "comment": "Order 12 of today.",
    }
    assert (await ask(pix, JO, "unseal", **why)).status_code == 403
    assert (await done(pix, GUARD, "unseal", **why))["outcome"] == ["waiting"]
    assert (await done(pix, GUARD, "unseal", **why))["outcome"] == ["waiting"]
    assert (await get(pix, GUARD, asked)).status_code == 404
    opened = await done(pix, OTHER_GUARD, "unseal", **why)
    assert opened["outcome"] == ["done"]
    for who in (GUARD, OTHER_GUARD):
        assert (await get(pix, who, asked)).status_code == 200
    assert (await get(pix, JO, asked)).status_code == 404
    await pix.near.people.reviews.update(
        {"type": "unseal", "records": sealed}, {"$set": {"until": datetime.now(UTC) - timedelta(1)}}
    )
    assert (await get(pix, GUARD, asked)).status_code == 404  # an hour, and both keys again


async def test_a_sealed_identity_is_parted_by_two_guardians_and_joined_by_nobody(pix: Pix) -> None:
    before = await fed(pix, COUNCIL, "6000201", "anton the younger")
    after = await fed(pix, COUNCIL, "6000202", "bruno the younger", **ADOPTION)
    old, new = await person(pix, before), await person(pix, after)
    why = {"resourceId": f"Patient/{after}", "reason": "protection", "comment": "Adoption team."}
    for who in (GUARD, OTHER_GUARD):
        await done(pix, who, "unseal", **why)
    join = await ask(pix, GUARD, "link", resourceId=f"Patient/{after}", goldenResourceId=old, **WHY)
    assert join.status_code == 422
    assert "never joined" in diagnostics(join)[0]
    two = {
        "goldenResourceId": old,
        "resourceId": new,
        "reason": "protection",
        "comment": "Adoption.",
    }
    assert (await ask(pix, JO, "not-duplicate", **two)).status_code == 404
    assert (await done(pix, GUARD, "not-duplicate", **two))["outcome"] == ["waiting"]
    assert (await done(pix, OTHER_GUARD, "not-duplicate", **two))["outcome"] == ["done"]
    for who in (JO, WATCH):
        for query in ("link-history", "query-links"):
            rows = await get(pix, who, f"/Patient/${query}?goldenResourceId={old}")
            assert rows.status_code == 200
            for secret in (after, new, "Adoption", "protection"):
                assert secret not in rows.text
        queue = await get(pix, who, "/Patient/$reviews?_count=200")
        assert after not in queue.text


# -- queries ----------------------------------------------------------------------------------------


LINK = ("sourceResourceId", "goldenResourceId", "matchResult")


async def test_links_are_paged_without_an_offset_and_each_is_told_once(pix: Pix) -> None:
    for n in range(7):
        await fed(
            pix, COUNCIL, f"60003{n}", "cuno of many", name=[{"family": f"Cuno{n}", "given": ["A"]}]
        )
    url: str | None = "/Patient/$query-links?linkSource=AUTO&_count=3"
    seen: list[str] = []
    pages = 0
    while url and pages < 200:
        answer = read((await get(pix, JO, url)).json())
        links = answer.get("link", [])
        assert len(links) <= 3
        seen += [" ".join(link[n][0] for n in LINK) for link in links]
        url = answer["next"][0] if "next" in answer else None
        pages += 1
    assert len(seen) == len(set(seen)), sorted(x for x in seen if seen.count(x) > 1)
    pairs = [x.rpartition(" ")[0] for x in seen]
    assert len(pairs) == len(set(pairs)), sorted(
        x for x in seen if pairs.count(x.rpartition(" ")[0]) > 1
    )
    everyone = await pix.near.people.links.count({"source": "automatic"})
    assert 7 <= len(seen) <= everyone


async def test_a_page_is_its_callers_alone_and_a_changed_cursor_is_refused(pix: Pix) -> None:
    for n in range(3):
        await fed(pix, COUNCIL, f"60004{n}", f"dieter {n}")
    answer = read((await get(pix, JO, "/Patient/$query-links?_count=1")).json())
    (following,) = answer["next"]
    assert (await get(pix, KIM, following)).status_code == 400
    assert (await get(pix, JO, following[:-4] + "AAAA")).status_code == 400
    assert (await get(pix, JO, following)).status_code == 200
    for bad in (
        "_count=0",
        "_count=201",
        "_count=x",
        "matchResult=MAYBE",
        "offset=3",
        "_count=1&_count=2",
    ):
        assert (await get(pix, JO, f"/Patient/$query-links?{bad}")).status_code == 400, bad


async def a_moment() -> datetime:
    """A moment between what was done before and what will be done: the store keeps milliseconds."""
    await asyncio.sleep(0.004)
    now = datetime.now(UTC)
    await asyncio.sleep(0.004)
    return now


async def test_history_tells_every_decision_and_who_was_who_at_any_moment(pix: Pix) -> None:
    one = await fed(pix, COUNCIL, "6000411", "emil")
    start = await a_moment()
    two = await fed(pix, TRUST, "S6411", "emil")
    target = await person(pix, one)
    joined = await a_moment()
    said: dict[str, Any] = {"resourceId": f"Patient/{two}", "goldenResourceId": target, **WHY}
    await done(pix, JO, "unlink", **said)
    await done(pix, KIM, "unlink", **said)
    parted = await a_moment()
    await done(pix, JO, "link", **said)

    async def then(at: datetime) -> dict[str, set[str]]:
        asked = {"goldenResourceId": target, "at": at.isoformat()}
        answer = await done(pix, JO, "link-history", **asked)
        return {
            p["goldenResourceId"][0]: {
                r.removeprefix("Patient/") for r in p.get("sourceResourceId", [])
            }
            for p in answer["person"]
        }

    assert (await then(start))[target] == {one}
    assert (await then(joined))[target] == {one, two}
    assert (await then(parted))[target] == {one}
    assert (await then(datetime.now(UTC)))[target] == {one, two}
    assert (await then(datetime(2020, 1, 1, tzinfo=UTC)))[target] == set()
    rows = await done(pix, JO, "link-history", resourceId=f"Patient/{two}")
    assert [r["type"][0] for r in rows["revision"]] == ["link", "unlink", "join"]
    link, unlink, join = rows["revision"]
    assert (link["linkSource"], join["linkSource"]) == (["MANUAL"], ["AUTO"])
    assert [a["by"][0] for a in unlink["approval"]] == ["jo", "kim"]
    assert link["reasonCode"] == ["records-compared"]
    before = {
        s["goldenResourceId"][0]: set(s.get("sourceResourceId", [])) for s in unlink["before"]
    }
    assert before[target] == {f"Patient/{one}", f"Patient/{two}"}
    paged = await done(pix, JO, "link-history", resourceId=f"Patient/{two}", _count=2)
    rest = read((await get(pix, JO, paged["next"][0])).json())
    assert [r["type"][0] for r in (*paged["revision"], *rest["revision"])] == [
        "link",
        "unlink",
        "join",
    ]


async def test_operations_speak_xml_too(pix: Pix) -> None:
    one = await fed(pix, COUNCIL, "6000421", "falk")
    two = await fed(pix, TRUST, "S6421", "falk of another name")
    target = await person(pix, one)
    parts = "".join(
        f'<parameter><name value="{n}"/><valueString value="{v}"/></parameter>'
        for n, v in {"resourceId": f"Patient/{two}", "goldenResourceId": target, **WHY}.items()
    )
    pix.caller = JO
    answer = await pix.http.post(
        "/Patient/$link", content=f'<Parameters xmlns="http://hl7.org/fhir">{parts}</Parameters>',
        headers={"Content-Type": "application/fhir+xml", "Accept": "application/fhir+xml"},
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    assert '<valueCode value="done"' in answer.text
    assert answer.headers["content-type"].startswith("application/fhir+xml")


async def test_ids_are_taken_in_every_form_that_hapis_clients_send(pix: Pix) -> None:
    one = await fed(pix, COUNCIL, "6000431", "gesa")
    target = await person(pix, one)
    for form in ({"valueUri": f"Patient/{one}"}, {"valueId": one}, {"valueString": one},
                 {"valueReference": {"reference": f"Patient/{one}"}}):  # fmt: skip
        body = {"resourceType": "Parameters", "parameter": [{"name": "resourceId", **form}]}
        pix.caller = JO
        answer = await pix.http.post("/Patient/$query-links", json=body)
        assert answer.status_code == 200, answer.text
        assert target in answer.text
    wrong = {"resourceType": "Parameters", "parameter": [{"name": "resourceId", "valueInteger": 7}]}
    assert (await pix.http.post("/Patient/$query-links", json=wrong)).status_code == 400


async def test_every_operation_has_a_definition_that_is_served_and_legal(pix: Pix) -> None:
    for operation in stewardship.OPERATIONS:
        answer = await pix.http.get(f"/OperationDefinition/{operation.id}")
        assert answer.status_code == 200
        assert check_structure(answer.json()) == ()
        assert answer.json()["url"] == operation.canonical
        assert answer.json()["affectsState"] is operation.writes
        xml = await pix.http.get(f"/OperationDefinition/{operation.id}?_format=xml")
        assert xml.status_code == 200
    statement = (await pix.http.get("/metadata")).json()
    (kind,) = [r for r in statement["rest"][0]["resource"] if r["type"] == "Patient"]
    told_ = {o["definition"] for o in kind["operation"]}
    assert {o.canonical for o in stewardship.OPERATIONS} <= told_
    assert (await pix.http.get("/OperationDefinition/Patient-lnik")).status_code == 404


# -- the grammar ------------------------------------------------------------------------------------

_NOTHING: dict[str, Any] = {
    "string": "a", "uri": "a", "id": "a", "code": "a", "integer": 1, "decimal": 1.5, "boolean": True,
    "instant": datetime(2026, 1, 1, tzinfo=UTC),
}  # fmt: skip


def _least(rows: tuple[Parameter, ...]) -> list[operations.Pair]:
    return [
        (
            r.name,
            _least(r.parts) if r.type == "part" else (r.codes[0] if r.codes else _NOTHING[r.type]),
        )
        for r in rows
        if r.least
    ]


@pytest.mark.parametrize("operation", stewardship.OPERATIONS, ids=lambda o: o.code)
def test_an_answer_gives_what_its_definition_promises_and_nothing_else(
    operation: Operation,
) -> None:
    least = _least(operation.gives)
    made = operations.answer(operation, least)
    assert check_structure(made) == ()
    assert len(made.get("parameter", [])) == len(least)
    with pytest.raises(ValueError, match="gives no"):
        operations.answer(operation, [*least, ("surprise", "x")])
    for place, (name, _) in enumerate(least):
        with pytest.raises(ValueError, match=name):
            operations.answer(operation, least[:place] + least[place + 1 :])
    for row in operation.gives:
        if row.codes:
            with pytest.raises(ValueError, match="cannot be"):
                operations.answer(operation, [*least, (row.name, "no such code")])


_VALUES = st.one_of(
    st.text(max_size=30), st.integers(-5, 500), st.booleans(), st.none(),
    st.sampled_from(["Patient/1", "TL-000000000000", "claim", "list", "MATCH", "2026-01-01", "twins"]),
)  # fmt: skip
_SAID = st.lists(
    st.fixed_dictionaries({
        "name": st.sampled_from([p.name for o in stewardship.OPERATIONS for p in o.takes] + ["x"]),
        "form": st.sampled_from(["valueString", "valueCode", "valueInteger", "valueBoolean",
                                 "valueDateTime", "valueReference", "part"]),
        "value": _VALUES,
    }), max_size=6,
)  # fmt: skip


@given(st.sampled_from(stewardship.OPERATIONS), _SAID)
def test_whatever_is_asked_is_read_or_refused_with_every_issue_placed(
    operation: Operation, said: list[dict[str, Any]]
) -> None:
    body = {
        "resourceType": "Parameters",
        "parameter": [{"name": s["name"], s["form"]: s["value"]} for s in said],
    }
    if check_structure(orjson.loads(orjson.dumps(body))):
        return
    try:
        asked = operations.read(operation, (), body)
    except Refused as refusal:
        assert refusal.status() == 400
        assert all(i.words and i.where for i in refusal.issues)
        return
    for parameter in operation.takes:
        values = asked.values.get(parameter.name, ())
        assert len(values) >= parameter.least
        assert parameter.most == MANY or len(values) <= parameter.most
        assert not parameter.codes or set(values) <= set(parameter.codes)
