"""Any order of adding, revising, merging and removing keeps the index true to a simple model.

Every record says one of three people, whole: name, birth date and NHS number. Two records are one
person when they say the same one, whatever they said before and in whatever order it was said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any, ClassVar, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from chassis.mongo import Mongo
from tests.pix.makers import (
    COUNCIL,
    HOSPITAL,
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

T = TypeVar("T")
SYSTEMS = (COUNCIL, TRUST, HOSPITAL)
Key = tuple[str, str]


class Feeds(RuleBasedStateMachine):
    """A handful of records that say now one person, now another, merge and go."""

    loop: ClassVar[asyncio.AbstractEventLoop]
    pix: ClassVar[Pix]
    runs: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        Feeds.runs += 1
        self.space = f"9{Feeds.runs:05d}"
        self.active: dict[Key, str] = {}
        self.merged: dict[Key, Key] = {}

    def wait(self, story: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(story)

    def key(self, system: int, number: int) -> Key:
        return SYSTEMS[system], f"{self.space}{number}"

    def body(
        self, key: Key, who: int, number: bool = True, verified: bool = True
    ) -> dict[str, Any]:
        """What a record says of person `who` of this run; of nobody known for 0."""
        seed = f"{Feeds.runs}/{who}" if who else f"{Feeds.runs}/{key}"
        nhs = nhs_number(3 * Feeds.runs + who) if who and number else ""
        born = f"{1930 + 23 * who + Feeds.runs % 20}-0{who + 1}-1{who}"
        return patient(
            *key, nhs=nhs, status="01" if verified else "02", born=born, name=[name_of(seed)]
        )

    @rule(
        system=st.integers(0, 2),
        number=st.integers(0, 2),
        who=st.integers(0, 2),
        nhs=st.booleans(),
        verified=st.booleans(),
    )
    def feed(self, system: int, number: int, who: int, nhs: bool, verified: bool) -> None:
        key = self.key(system, number)
        answer = self.wait(self.pix.feed(self.body(key, who, nhs, verified)))
        if key in self.merged:
            assert answer.status_code == 409
            return
        assert answer.status_code == (200 if key in self.active else 201), answer.text
        self.active[key] = str(who) if who else ""

    @rule(system=st.integers(0, 2), gone=st.integers(0, 2), kept=st.integers(0, 2))
    def merge(self, system: int, gone: int, kept: int) -> None:
        one, other = self.key(system, gone), self.key(system, kept)
        if one in self.merged:
            return
        named = {"identifier": {"system": other[0], "value": other[1]}}
        answer = self.wait(self.pix.feed(replaced(self.body(one, 0), named)))
        if one == other or other not in self.active:
            assert answer.status_code == (409 if other in self.merged else 422), answer.text
            return
        assert answer.status_code in (200, 201), answer.text
        self.active.pop(one, None)
        self.merged[one] = other

    @rule(system=st.integers(0, 2), number=st.integers(0, 2))
    def remove(self, system: int, number: int) -> None:
        key = self.key(system, number)
        answer = self.wait(self.pix.remove(*key))
        assert answer.status_code in (204, 404)
        if key in self.merged:
            into = self.merged.pop(key)
            self.merged = {k: into if v == key else v for k, v in self.merged.items()}
        elif key in self.active:
            del self.active[key]
            gone = {key}
            while more := {k for k, v in self.merged.items() if v in gone} - gone:
                gone |= more
            self.merged = {k: v for k, v in self.merged.items() if k not in gone}

    def root(self, key: Key) -> Key:
        while key in self.merged:
            key = self.merged[key]
        return key

    @invariant()
    def the_index_says_what_was_fed(self) -> None:
        everyone = [self.key(s, n) for s in range(3) for n in range(3)]
        asked = [("identifier", *key) for key in everyone]
        who = self.wait(self.pix.near.who(asked))
        answers = {key: self.wait(self.pix.ask(*key)) for key in everyone}
        owner: dict[Key, str] = {}
        for key in everyone:
            found, answer = who.get(("identifier", *key)), answers[key]
            if key not in self.active and key not in self.merged:
                assert found is None
                assert answer.status_code == 404
                continue
            assert found is not None
            assert answer.status_code == 200
            told = set(identifiers(answer.json()))
            root = who["identifier", *self.root(key)]
            assert found.person == root.person
            assert found.record in found.same
            if key in self.merged:
                assert (found.state, found.survivor) == ("subsumed", root.record)
                assert not told
                continue
            friends = {k for k, one in self.active.items() if one and one == self.active[key]} | {
                key
            }
            assert {k for k in told if k[0] != NHS} == friends - {key}
            for one in told | {key}:
                assert owner.setdefault(one, found.person) == found.person
            family = {k for k in (*self.active, *self.merged) if self.root(k) in friends}
            assert set(found.same) == {who["identifier", *k].record for k in family}


def test_the_index_stays_true_whatever_is_fed(mongod_uri: str, database_prefix: str) -> None:
    loop = asyncio.new_event_loop()
    stack = AsyncExitStack()

    async def opened() -> Pix:
        mongo = Mongo(mongod_uri, prefix=f"{database_prefix}i")
        stack.push_async_callback(mongo.close)
        stack.push_async_callback(mongo.client.drop_database, f"{database_prefix}ipix")
        return await stack.enter_async_context(pix_service(mongo))

    Feeds.loop = loop
    try:
        Feeds.pix = loop.run_until_complete(opened())
        Feeds.TestCase.settings = settings(
            max_examples=12, stateful_step_count=12, deadline=None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        case = Feeds.TestCase()
        case.runTest()
    finally:
        loop.run_until_complete(stack.aclose())
        loop.close()
