"""The queue: what comes first, who works on it, who signs, and how it stands against its deadlines."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.stewards import Matter, Stewards, forbidden, signed, two_must_agree
from pix.links import REVIEWS as ASKED
from pix.model import load
from pix.reviews import WEIGHTS, priority
from standards import stewardship
from tests.pix.makers import COUNCIL, SALFORD, TRUST, Pix, diagnostics, nhs_number
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
from tests.pix.test_linking import SENSITIVITY

LIMITS = load().thresholds


async def asked_about(pix: Pix, place: int) -> tuple[str, list[str]]:
    """A record that may be either of two persons, and these."""
    numbers = [nhs_number(7000 + 20 * place), nhs_number(7010 + 20 * place)]
    seed = f"doubtful {place}"
    await fed(pix, COUNCIL, f"7{place:05d}1", seed, nhs=numbers[0])
    await fed(pix, SALFORD, f"7{place:05d}2", seed, nhs=numbers[1])
    third = await fed(pix, TRUST, f"Q7{place:03d}", seed)
    rows = await pix.near.people.links.many({"record": third, "state": "POSSIBLE"})
    assert len(rows) == 2
    return third, sorted(r["person"] for r in rows)


async def queue(pix: Pix, who: Any = JO, **said: Any) -> dict[str, Any]:
    """The first page of the queue."""
    return await done(pix, who, "reviews", _count=200, **said)


async def items_of(pix: Pix, record: str, who: Any = JO, **said: Any) -> list[dict[str, Any]]:
    """The questions of the queue that are about a record."""
    answer = await queue(pix, who, **said)
    return [
        i for i in answer.get("item", []) if f"Patient/{record}" in i.get("sourceResourceId", [])
    ]


async def test_the_queue_says_what_is_asked_why_how_weighty_and_until_when(pix: Pix) -> None:
    third, persons = await asked_about(pix, 1)
    items = await items_of(pix, third)
    assert sorted(i["goldenResourceId"][0] for i in items) == persons
    for item in items:
        assert item["type"][0] in ASKED
        assert 0 < item["priority"][0] <= 10
        assert item["question"] == [ASKED[item["type"][0]].words]
        assert item["reason"]
        assert item["due"] > item["opened"]
        assert item["overdue"] == [False]
    everything = (await queue(pix))["item"]
    ranks = [i["priority"][0] for i in everything]
    assert ranks == sorted(ranks, reverse=True)


async def test_pages_of_the_queue_tell_every_question_once(pix: Pix) -> None:
    for place in (2, 3):
        await asked_about(pix, place)
    whole = [i["review"][0] for i in (await queue(pix))["item"]]
    url: str | None = "/Patient/$reviews?_count=1"
    seen = []
    while url and len(seen) <= len(whole):
        answer = read((await get(pix, JO, url)).json())
        seen += [i["review"][0] for i in answer.get("item", [])]
        url = answer.get("next", [None])[0]
    assert seen == whole


async def test_a_claimed_question_is_its_claimants_until_the_claim_runs_out(pix: Pix) -> None:
    third, _ = await asked_about(pix, 4)
    one = (await items_of(pix, third))[0]["review"][0]
    claimed = await done(pix, JO, "review", action="claim", review=one)
    assert claimed["item"][0]["claimedBy"] == ["jo"]
    for action in ("claim", "release"):
        refused = await ask(pix, KIM, "review", action=action, review=one)
        assert (refused.status_code, "jo works on this" in diagnostics(refused)[0]) == (409, True)
    decide = {"action": "decide", "review": one, "answer": "different", **WHY}
    assert (await ask(pix, KIM, "review", **decide)).status_code == 409
    assert [i["review"][0] for i in await items_of(pix, third, mine=True)] == [one]
    assert await items_of(pix, third, KIM, mine=True) == []
    past = datetime.now(UTC) - timedelta(seconds=1)
    await pix.near.people.reviews.update({"_id": one}, {"$set": {"lease.until": past}})
    assert (await done(pix, KIM, "review", action="claim", review=one))["outcome"] == ["done"]
    assert (await done(pix, KIM, "review", action="release", review=one))["outcome"] == ["done"]
    assert (await done(pix, JO, "review", action="claim", review=one))["outcome"] == ["done"]


async def test_of_many_who_claim_at_once_one_has_it(pix: Pix) -> None:
    third, _ = await asked_about(pix, 5)
    one = (await items_of(pix, third))[0]["review"][0]
    answers = []
    for who in (JO, KIM):
        pix.caller = who
        answers.append(asyncio.create_task(
            pix.http.post("/Patient/$review", json=parameters(action="claim", review=one))
        ))  # fmt: skip
        await asyncio.sleep(0.002)  # the caller of a request is read when it arrives
    assert sorted([(await a).status_code for a in answers]) == [200, 409]


async def test_a_question_is_decided_by_the_act_that_answers_it(pix: Pix) -> None:
    third, persons = await asked_about(pix, 6)
    by_person = {i["goldenResourceId"][0]: i["review"][0] for i in await items_of(pix, third)}
    different = {"action": "decide", "answer": "different", "review": by_person[persons[1]], **WHY}
    assert (await done(pix, JO, "review", **different))["outcome"] == ["done"]
    same = {"action": "decide", "answer": "same", "review": by_person[persons[0]], **WHY}
    answer = await done(pix, JO, "review", **same)
    assert answer["outcome"] == ["done"]
    assert await person(pix, third) == persons[0]
    assert await items_of(pix, third) == []
    rows = await pix.near.people.reviews.many({"records": third})
    assert {r["state"] for r in rows} == {"decided"}
    assert all(r["closed"] and r["decision"] for r in rows)
    again = await ask(pix, JO, "review", **same)
    assert (again.status_code, "decided" in diagnostics(again)[0]) == (409, True)


async def test_an_act_closes_the_question_that_it_names_and_no_stranger(pix: Pix) -> None:
    third, persons = await asked_about(pix, 7)
    fourth, _ = await asked_about(pix, 8)
    foreign = (await items_of(pix, fourth))[0]["review"][0]
    said = {"resourceId": f"Patient/{third}", "goldenResourceId": persons[0], **WHY}
    refused = await ask(pix, JO, "link", **said, review=foreign)
    assert (refused.status_code, "other records" in diagnostics(refused)[0]) == (400, True)
    mine = next(i for i in await items_of(pix, third) if i["goldenResourceId"] == [persons[0]])
    assert (await done(pix, JO, "link", **said, review=mine["review"][0]))["outcome"] == ["done"]
    row = await pix.near.people.reviews.one({"_id": mine["review"][0]})
    assert row is not None
    assert row["state"] == "decided"


async def test_a_deferred_question_rests_until_its_day_and_its_deadline_goes_on(pix: Pix) -> None:
    third, _ = await asked_about(pix, 9)
    one = (await items_of(pix, third))[0]["review"][0]
    until = (datetime.now(UTC) + timedelta(days=3)).isoformat()
    for wrong in ({}, {"until": "2020-01-01"}, {"until": "2099-01-01"}):
        answer = await ask(pix, JO, "review", action="defer", review=one, reason="more-evidence",
                           comment="Asked the school.", **wrong)  # fmt: skip
        assert answer.status_code == 400
    why = {"reason": "more-evidence", "comment": "Asked the school."}
    assert (
        await ask(pix, JO, "review", action="defer", review=one, until=until)
    ).status_code == 400
    rested = await done(pix, JO, "review", action="defer", review=one, until=until, **why)
    assert rested["item"][0]["deferredUntil"]
    assert one not in [i["review"][0] for i in await items_of(pix, third)]
    past = datetime.now(UTC) - timedelta(seconds=1)
    await pix.near.people.reviews.update(
        {"_id": one}, {"$set": {"deferred.until": past, "due": past}}
    )
    (back,) = [i for i in await items_of(pix, third, overdue=True) if i["review"] == [one]]
    assert back["overdue"] == [True]


async def test_a_colleague_agrees_or_refuses_in_the_queue(pix: Pix) -> None:
    one = await fed(pix, COUNCIL, "7900001", "signed for")
    two = await fed(pix, TRUST, "Q79001", "signed for")
    target = await person(pix, one)
    said = {"resourceId": f"Patient/{two}", "goldenResourceId": target, **WHY}
    first = await done(pix, JO, "unlink", **said)
    (waiting,) = first["review"]
    (item,) = await items_of(pix, two, type="approval")
    assert (item["review"], item["act"]) == ([waiting], ["unlink"])
    assert [a["by"] for a in item["approval"]] == [["jo"]]
    why = {"reason": "records-compared", "comment": "Not convinced."}
    wrong = await ask(pix, KIM, "review", action="decide", answer="same", review=waiting, **why)
    assert wrong.status_code == 422
    refused = await done(
        pix, KIM, "review", action="decide", answer="refuse", review=waiting, **why
    )
    assert refused["outcome"] == ["done"]
    assert await person(pix, two) == target
    log = await pix.near.people.decisions.one({"_id": refused["decision"][0]})
    assert log is not None
    assert (log["type"], log["reason"], log["actor"]["subject"]) == (
        "refused",
        "Not convinced.",
        "kim",
    )
    await done(pix, JO, "unlink", **said)
    agree = {"action": "decide", "answer": "agree", "review": waiting, **WHY}
    assert (await done(pix, JO, "review", **agree))["outcome"] == ["waiting"]  # her own
    assert (await done(pix, KIM, "review", **agree))["outcome"] == ["done"]
    assert await person(pix, two) != target


async def test_what_needs_no_answer_is_noted_with_its_reason(pix: Pix) -> None:
    third, _ = await asked_about(pix, 10)
    one = (await items_of(pix, third))[0]["review"][0]
    why = {"reason": "not-needed", "comment": "Tested by the supplier."}
    unsuited = await ask(pix, JO, "review", action="decide", answer="refuse", review=one, **why)
    assert unsuited.status_code == 422
    noted = await done(pix, JO, "review", action="decide", answer="noted", review=one, **why)
    row = await pix.near.people.decisions.one({"_id": noted["decision"][0]})
    assert row is not None
    assert (row["type"], row["code"]) == ("noted", "not-needed")
    wrong = await ask(pix, JO, "review", action="decide", answer="same", review=one, **why)
    assert wrong.status_code == 409


async def test_counts_say_what_is_open_overdue_and_was_decided_in_time(pix: Pix) -> None:
    third, _ = await asked_about(pix, 11)
    first, second = [i["review"][0] for i in await items_of(pix, third)]
    past = datetime.now(UTC) - timedelta(days=1)
    await pix.near.people.reviews.update({"_id": {"$in": [first, second]}}, {"$set": {"due": past}},
                                         many=True)  # fmt: skip
    before = {c["type"][0]: c for c in (await queue(pix))["count"]}
    kind = (await items_of(pix, third))[0]["type"][0]
    assert before[kind]["overdue"][0] >= 2
    await done(pix, JO, "review", action="decide", answer="noted", review=first, **WHY)
    await pix.near.people.reviews.update({"_id": second}, {"$set": {"due": past + timedelta(9)}})
    await done(pix, JO, "review", action="decide", answer="noted", review=second, **WHY)
    after = {c["type"][0]: c for c in (await queue(pix))["count"]}
    assert after[kind]["open"][0] == before[kind]["open"][0] - 2
    assert after[kind]["late"][0] == before[kind]["late"][0] + 1
    assert after[kind]["inTime"][0] == before[kind]["inTime"][0] + 1


async def test_a_question_about_what_has_become_sealed_is_shown_to_nobody(pix: Pix) -> None:
    third, persons = await asked_about(pix, 12)
    await pix.near.people.reviews.update(
        {"records": third, "state": "gone"}, {"$set": {"state": "open"}}, many=True
    )
    (one, *_) = await items_of(pix, third)
    row = await pix.near.people.records.one({"_id": third})
    assert row is not None
    own = row["own"].replace(b'"gender"', b'"meta":{"security":[{"system":"%s","code":"WITPROT"}]},'
                             b'"gender"' % SENSITIVITY.encode())  # fmt: skip
    await pix.near.people.records.update({"_id": third}, {"$set": {"own": own}})
    for who in (JO, WATCH, GUARD):
        assert await items_of(pix, third, who) == []
    refused = await ask(pix, JO, "review", action="claim", review=one["review"][0])
    assert refused.status_code == 404
    assert persons


async def test_the_second_key_is_asked_for_in_the_guardians_queue_only(pix: Pix) -> None:
    sealed = await fed(pix, COUNCIL, "7900002", "hidden",
                       meta={"security": [{"system": SENSITIVITY, "code": "ADOPTION"}]})  # fmt: skip
    why = {"resourceId": f"Patient/{sealed}", "reason": "audit", "comment": "Incident 4."}
    (waiting,) = (await done(pix, GUARD, "unseal", **why))["review"]
    assert [i["review"][0] for i in await items_of(pix, sealed, OTHER_GUARD)] == [waiting]
    for who in (JO, WATCH):
        answer = await get(pix, who, "/Patient/$reviews")
        assert sealed not in answer.text
        assert "unseal" not in answer.text
    no = {"action": "decide", "answer": "refuse", "review": waiting, "reason": "not-needed",
          "comment": "No such incident."}  # fmt: skip
    assert (await ask(pix, JO, "review", **no)).status_code == 404
    assert (await done(pix, OTHER_GUARD, "review", **no))["outcome"] == ["done"]
    assert (await done(pix, OTHER_GUARD, "unseal", **why))["outcome"] == ["waiting"]


async def test_actions_that_do_not_fit_are_refused_with_everything_that_is_missing(
    pix: Pix,
) -> None:
    answer = await ask(pix, JO, "review", action="decide", review="none")
    assert answer.status_code == 400
    assert len(diagnostics(answer)) == 3
    assert (await ask(pix, JO, "review", action="claim", review="none")).status_code == 404
    assert (await ask(pix, JO, "review", action="eat", review="none")).status_code == 400
    assert (await ask(pix, WATCH, "review", action="claim", review="none")).status_code == 403


# -- pure -------------------------------------------------------------------------------------------

STEWARDS = Stewards.of({"stewards": {"decide": ["R-ADM"], "guard": ["R-IGO"], "watch": ["R-SYS"]}})


@given(
    st.sampled_from(sorted(WEIGHTS)), st.one_of(st.none(), st.floats(-60, 60)), st.integers(0, 40)
)
def test_priority_is_between_nothing_and_ten_and_grows_with_doubt_and_agencies(
    type_: str, weight: float | None, agencies: int
) -> None:
    found = priority(type_, weight, agencies, LIMITS)
    assert 0 < found <= 10
    assert priority(type_, weight, agencies + 1, LIMITS) >= found
    if weight is not None:
        assert priority(type_, weight + 1, agencies, LIMITS) >= found


def test_every_kind_of_question_has_a_weight_and_a_place_in_the_grammar() -> None:
    assert set(WEIGHTS) == set(stewardship.TYPES)
    assert set(ASKED) < set(WEIGHTS)


@pytest.mark.parametrize(
    ("matter", "two", "never"),
    [
        (Matter(True), False, False),
        (Matter(False), False, False),
        (Matter(True, sealed=True), True, True),
        (Matter(False, sealed=True), True, False),
        (Matter(False, False, (frozenset("a"), frozenset("a"))), False, False),
        (Matter(False, False, (frozenset("a"), frozenset("ab"))), True, False),
        (Matter(True, False, (frozenset("a"), frozenset("b"))), True, False),
        (Matter(False, False, (frozenset("a"), frozenset())), False, False),
    ],
)
def test_two_must_agree_where_it_parts_agencies_or_touches_a_seal(
    matter: Matter, two: bool, never: bool
) -> None:
    assert bool(two_must_agree(matter)) is two
    assert bool(forbidden(matter)) is never


def test_who_may_guard_may_decide_and_who_may_decide_may_watch() -> None:
    for role, duties in {
        "R-IGO": {"watch", "decide", "guard"}, "R-ADM": {"watch", "decide"}, "R-SYS": {"watch"},
        "R-GP": set(), "": set(),
    }.items():  # fmt: skip
        assert {d for d in STEWARDS.roles if STEWARDS.may(role, d)} == duties
        assert all(bool(STEWARDS.refusal(role, d)) != (d in duties) for d in STEWARDS.roles)
    assert not Stewards.of({}).may("R-IGO", "watch")
    assert signed([{"by": "jo"}], "jo")
    assert not signed([{"by": "jo"}], "kim")
