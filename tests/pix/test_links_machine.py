"""Whatever sources and stewards do, in any order: links stay true, decisions hold, merges undo.

Invariants, after every step: an active record has exactly one MATCH, to the person it is in, and a
merged one none; a MATCH says that people made it exactly when a decision of theirs did; records that people parted are never one person and records that they tied always
are; ITI-83 tells exactly the records of one person, so nothing that is only possible; `who` and ITI-83
agree. At the end of every run a rebuild finds nothing to change.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chassis.mongo import Mongo
from pix import stewarding
from pix.change import Change
from pix.rebuild import rebuild
from standards.outcome import Refused
from tests.pix.makers import (
    COUNCIL,
    NHS,
    TRUST,
    Pix,
    identifiers,
    name_of,
    nhs_number,
    patient,
    pix_service,
    replaced,
)
from tests.pix.test_stewarding import decided, state

T = TypeVar("T")
Key = tuple[str, str]
SYSTEMS = (COUNCIL, TRUST)
# A long run of an evening: THROUGHLINE_TEST_EXAMPLES=500 pytest tests/pix/test_links_machine.py
EXAMPLES = int(os.environ.get("THROUGHLINE_TEST_EXAMPLES", "12"))
PLACES = st.tuples(st.integers(0, 1), st.integers(0, 2))


class Links(RuleBasedStateMachine):
    """Six records of two sources; each says one of three people, or nobody known."""

    loop: ClassVar[asyncio.AbstractEventLoop]
    pix: ClassVar[Pix]
    runs: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        Links.runs += 1
        self.ids: dict[Key, str] = {}
        self.merges: list[str] = []

    def teardown(self) -> None:
        made = self.wait(rebuild(self.pix.near.people, datetime.now(UTC), lambda *_: None))
        assert made.changed == 0, made.differed

    def wait(self, story: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(story)

    def key(self, place: tuple[int, int]) -> Key:
        return SYSTEMS[place[0]], f"9{Links.runs:05d}{place[1]}"

    def body(self, key: Key, who: int, number: bool) -> dict[str, Any]:
        seed = f"machine {Links.runs}/{who}" if who else f"machine {Links.runs}/{key}"
        nhs = nhs_number(500_000 + 4 * Links.runs + who) if who and number else ""
        born = f"{1930 + 20 * who + Links.runs % 20}-0{who + 1}-1{who}"
        return patient(*key, nhs=nhs, born=born, name=[name_of(seed)])

    def act(self, act: Callable[[Change], Awaitable[Any]]) -> Any:
        """A steward's act; None when it was refused."""
        try:
            return self.wait(decided(self.pix, act))
        except Refused as refusal:
            assert refusal.issues[0].words
            return None

    def person(self, id_: str) -> str:
        return self.wait(self.pix.near.who([("id", id_)]))["id", id_].person

    # -- what sources do ------------------------------------------------------------------------

    @rule(place=PLACES, who=st.integers(0, 3), number=st.booleans())
    def feed(self, place: tuple[int, int], who: int, number: bool) -> None:
        key = self.key(place)
        answer = self.wait(self.pix.feed(self.body(key, who, number)))
        assert answer.status_code in (200, 201, 409), answer.text
        if answer.status_code != 409:
            self.ids[key] = answer.json()["id"]

    @rule(place=PLACES)
    def remove(self, place: tuple[int, int]) -> None:
        answer = self.wait(self.pix.remove(*self.key(place)))
        assert answer.status_code in (204, 404)
        if answer.status_code == 204:
            self.ids.pop(self.key(place), None)
            self._forget_removed()

    def _forget_removed(self) -> None:
        rows = self.wait(self.pix.near.people.records.many({"state": "removed"}, {"_id": 1}))
        gone = {row["_id"] for row in rows}
        self.ids = {k: i for k, i in self.ids.items() if i not in gone}

    @rule(system=st.integers(0, 1), gone=st.integers(0, 2), kept=st.integers(0, 2))
    def merge(self, system: int, gone: int, kept: int) -> None:
        one, other = self.key((system, gone)), self.key((system, kept))
        named = {"identifier": {"system": other[0], "value": other[1]}}
        answer = self.wait(self.pix.feed(replaced(self.body(one, 0, False), named)))
        assert answer.status_code in (200, 201, 409, 422), answer.text
        if answer.status_code < 300:
            self.ids[one] = answer.json()["id"]

    # -- what stewards do -----------------------------------------------------------------------

    @precondition(lambda self: len(self.ids) > 1)
    @rule(data=st.data())
    def link(self, data: st.DataObject) -> None:
        one, other = (data.draw(st.sampled_from(sorted(self.ids))) for _ in range(2))
        target = self.person(self.ids[other])
        record = self.ids[one]
        if self.act(lambda c: stewarding.link(c, record, target, "link")):
            assert self.person(record) == target

    @precondition(lambda self: self.ids)
    @rule(data=st.data())
    def unlink(self, data: st.DataObject) -> None:
        record = self.ids[data.draw(st.sampled_from(sorted(self.ids)))]
        before = self.person(record)
        if self.act(lambda c: stewarding.unlink(c, record, before, "unlink")):
            assert self.person(record) != before

    @precondition(lambda self: len(self.ids) > 1)
    @rule(data=st.data())
    def not_duplicate(self, data: st.DataObject) -> None:
        one, other = (data.draw(st.sampled_from(sorted(self.ids))) for _ in range(2))
        first, second = self.person(self.ids[one]), self.person(self.ids[other])
        self.act(lambda c: stewarding.not_duplicate(c, first, second, "two"))

    @precondition(lambda self: len(self.ids) > 1)
    @rule(data=st.data())
    def merge_persons_and_undo_it(self, data: st.DataObject) -> None:
        one, other = (data.draw(st.sampled_from(sorted(self.ids))) for _ in range(2))
        first, second = self.person(self.ids[one]), self.person(self.ids[other])
        before = self.wait(state(self.pix, *self.ids.values()))
        done = self.act(lambda c: stewarding.merge_persons(c, first, second, "one"))
        if done:
            assert self.person(self.ids[one]) == self.person(self.ids[other])
            assert self.act(lambda c: stewarding.unmerge(c, done, "not one"))
            assert self.wait(state(self.pix, *self.ids.values())) == before

    @precondition(lambda self: len(self.ids) > 1)
    @rule(data=st.data())
    def merge_persons(self, data: st.DataObject) -> None:
        one, other = (data.draw(st.sampled_from(sorted(self.ids))) for _ in range(2))
        first, second = self.person(self.ids[one]), self.person(self.ids[other])
        done = self.act(lambda c: stewarding.merge_persons(c, first, second, "one"))
        if done:
            self.merges.append(done)

    @precondition(lambda self: self.merges)
    @rule(data=st.data())
    def unmerge_persons(self, data: st.DataObject) -> None:
        done = data.draw(st.sampled_from(self.merges))
        self.act(lambda c: stewarding.unmerge(c, done, "not one"))

    @precondition(lambda self: self.ids)
    @rule(data=st.data())
    def unmerge_record(self, data: st.DataObject) -> None:
        record = self.ids[data.draw(st.sampled_from(sorted(self.ids)))]
        try:
            done = self.wait(stewarding.latest_merge(self.pix.near.people, record=record))
        except Refused:
            return
        self.act(lambda c: stewarding.unmerge(c, done, "two people"))
        self._forget_removed()

    # -- what always holds ----------------------------------------------------------------------

    @invariant()
    def an_active_record_has_one_match(self) -> None:
        people, ids = self.pix.near.people, list(self.ids.values())
        rows = self.wait(people.records.many({"_id": {"$in": ids}}))
        links = self.wait(people.links.many({"record": {"$in": ids}, "state": "MATCH"}))
        active = {r["_id"]: r["person"] for r in rows if r["state"] == "active"}
        assert sorted(link["record"] for link in links) == sorted(active)
        assert {link["record"]: link["person"] for link in links} == active

    @invariant()
    def a_match_says_whether_people_made_it(self) -> None:
        people, ids = self.pix.near.people, list(self.ids.values())
        where = {"record": {"$in": ids}, "state": "MATCH"}
        links = {link["record"]: link for link in self.wait(people.links.many(where))}
        named = {"_id": {"$in": [link["decision"] for link in links.values()]}}
        kinds = {d["_id"]: d["type"] for d in self.wait(people.decisions.many(named))}
        for link in links.values():
            by_people = kinds.get(link["decision"], "") in ("link", "unlink", "merge-persons")
            assert (link["source"] == "manual") is by_people, link
        # whom a steward's merge moved is tied by people for as long as it stands
        for edge in self.wait(people.inclusions.many({"a": {"$in": ids}, "b": {"$in": ids}})):
            said = self.wait(people.decisions.one({"_id": edge["decision"]}))
            assert said is not None
            if said["type"] != "merge-persons":
                continue
            moved = {r for rs in said["evidence"]["moved"].values() for r in rs}
            for record in {edge["a"], edge["b"]} & moved & links.keys():
                assert links[record]["source"] == "manual", (edge, links[record])

    @invariant()
    def decisions_of_people_hold(self) -> None:
        people, ids = self.pix.near.people, list(self.ids.values())
        rows = self.wait(people.records.many({"_id": {"$in": ids}, "state": {"$ne": "removed"}}))
        person = {r["_id"]: r["person"] for r in rows}
        both = {"a": {"$in": ids}, "b": {"$in": ids}}
        excluded = self.wait(people.exclusions.many(both))
        included = self.wait(people.inclusions.many(both))
        for edge in excluded:
            if edge["a"] in person and edge["b"] in person:
                assert person[edge["a"]] != person[edge["b"]], edge
        if not excluded:
            for edge in included:
                if edge["a"] in person and edge["b"] in person:
                    assert person[edge["a"]] == person[edge["b"]], edge

    @invariant()
    def cross_reference_and_who_tell_one_person_and_nothing_possible(self) -> None:
        keys = sorted(self.ids)
        who = self.wait(self.pix.near.who([("identifier", *k) for k in keys]))
        for key in keys:
            found = who["identifier", *key]
            answer = self.wait(self.pix.ask(*key))
            assert answer.status_code == 200, answer.text
            told = {k for k in identifiers(answer.json()) if k[0] != NHS}
            if found.state == "subsumed":
                assert not told
                continue
            same = {
                k
                for k in keys
                if who["identifier", *k].person == found.person
                and who["identifier", *k].state == "active"
            }
            assert told == same - {key}


def test_links_stay_true_whatever_sources_and_stewards_do(
    mongod_uri: str, database_prefix: str
) -> None:
    loop = asyncio.new_event_loop()
    stack = AsyncExitStack()

    async def opened() -> Pix:
        mongo = Mongo(mongod_uri, prefix=f"{database_prefix}l")
        stack.push_async_callback(mongo.close)
        stack.push_async_callback(mongo.client.drop_database, f"{database_prefix}lpix")
        return await stack.enter_async_context(pix_service(mongo))

    Links.loop = loop
    try:
        Links.pix = loop.run_until_complete(opened())
        Links.TestCase.settings = settings(
            max_examples=EXAMPLES, stateful_step_count=14, deadline=None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        case = Links.TestCase()
        case.runTest()
    finally:
        loop.run_until_complete(stack.aclose())
        loop.close()
