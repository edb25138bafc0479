"""Pages never skip or repeat what stays, whatever writers do between them.

Writers publish, replace and remove; readers page through one person's documents in every order, each
at its own pace. After every step: a page's total is what matches now; nothing is given twice; whoever
has come to the end has been given everything that matched throughout. Only a search by `_lastUpdated`
of current and superseded documents together has some that move: what is superseded then goes to where
its new time is. By default the order is one in which nothing moves.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import httpx
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from chassis.mongo import Mongo
from tests.makers_mhd import a_bundle, a_document, a_patient, locations, publish, related
from tests.running import Exchange, running

T = TypeVar("T")
DATES = ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z")
# Ids are drawn by the server, so where they fall in an order is chance: what is drawn here must not
# depend on it.
PLACES = st.integers(0, 50)
EXAMPLES = int(os.environ.get("THROUGHLINE_TEST_EXAMPLES", "12"))
SORTS = (
    "",
    "date",
    "-date",
    "_lastUpdated",
    "-_lastUpdated",
    "_id",
    "-_id",
    "creation",
    "-date,_id",
)


@dataclass
class Reader:
    """Someone who pages: what it has seen, what it must see, what has moved under it."""

    sort: str
    statuses: frozenset[str]
    following: str
    seen: list[str] = field(default_factory=list)
    owed: set[str] = field(default_factory=set)
    moved: set[str] = field(default_factory=set)


class Pages(RuleBasedStateMachine):
    """One person's documents, writers and readers."""

    loop: ClassVar[asyncio.AbstractEventLoop]
    exchange: ClassVar[Exchange]
    client: ClassVar[httpx.AsyncClient]

    def wait(self, story: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(story)

    @initialize()
    def somebody(self) -> None:
        self.person = self.wait(a_patient(self.client))
        self.status: dict[str, str] = {}
        self.dates: dict[str, str] = {}
        self.readers: list[Reader] = []

    # -- writers --------------------------------------------------------------------------------

    @rule(many=st.integers(1, 4), date=st.sampled_from(DATES))
    def publish(self, many: int, date: str) -> None:
        self._sent(*(a_document(self.person, date=date) for _ in range(many)))

    @rule(place=PLACES, date=st.sampled_from(DATES))
    def replace(self, place: int, date: str) -> None:
        current = [i for i, s in self.status.items() if s == "current"]
        if not current:
            return
        old = current[place % len(current)]
        replacing = related("replaces", f"DocumentReference/{old}")
        self._sent(a_document(self.person, date=date, **replacing))
        self.status[old] = "superseded"
        for reader in self.readers:
            if "superseded" not in reader.statuses:
                reader.owed.discard(old)
            elif "_lastUpdated" in reader.sort:
                reader.moved.add(old)
                reader.owed.discard(old)

    @rule(place=PLACES)
    def remove(self, place: int) -> None:
        if not self.status:
            return
        gone = list(self.status)[place % len(self.status)]
        table = self.exchange.mongo.table("registry", "documents")
        assert self.wait(table.delete({"_id": gone})) == 1
        del self.status[gone]
        for reader in self.readers:
            reader.owed.discard(gone)

    def _sent(self, *documents: dict[str, Any]) -> None:
        answer = self.wait(publish(self.client, a_bundle(*documents)))
        made = [x for x in locations(answer) if x.startswith("DocumentReference/")]
        for said, document in zip(made, documents, strict=True):
            self.status[said.partition("/")[2]] = "current"
            self.dates[said.partition("/")[2]] = document["date"]

    # -- readers --------------------------------------------------------------------------------

    @rule(sort=st.sampled_from(SORTS), both=st.booleans(), count=st.integers(1, 4))
    def begin(self, sort: str, both: bool, count: int) -> None:
        statuses = frozenset({"current", "superseded"} if both else {"current"})
        query = {"patient": self.person, "status": ",".join(sorted(statuses)), "_count": str(count)}
        if sort:
            query["_sort"] = sort
        reader = Reader(sort, statuses, f"/DocumentReference?{httpx.QueryParams(query)}")
        reader.owed = {i for i, s in self.status.items() if s in statuses}
        self.readers.append(reader)
        self.turn(reader)

    @rule(place=PLACES)
    def turn_over(self, place: int) -> None:
        if self.readers:
            self.turn(self.readers[place % len(self.readers)])

    def turn(self, reader: Reader) -> None:
        answer = self.wait(self.client.get(reader.following))
        assert answer.status_code == 200, answer.text
        page = answer.json()
        matching = {i for i, s in self.status.items() if s in reader.statuses}
        assert page["total"] == len(matching)
        given = [e["resource"]["id"] for e in page.get("entry", ())]
        assert set(given) <= matching
        again = set(given) & set(reader.seen)
        assert again <= reader.moved, "nothing that stays is given twice"
        assert len(given) == len(set(given))
        reader.seen += given
        following = [x["url"] for x in page["link"] if x["relation"] == "next"]
        if following:
            reader.following = following[0]
            return
        self.readers.remove(reader)
        assert reader.owed <= set(reader.seen), "nothing that stays is left out"
        if reader.sort.lstrip("-") in ("", "date"):
            said = [self.dates[i] for i in reader.seen]
            assert said == sorted(said, reverse=reader.sort != "date"), "the order holds"

    def teardown(self) -> None:
        while getattr(self, "readers", None):
            self.turn(self.readers[0])


def test_pages_never_skip_or_repeat_what_stays_while_writers_write(
    mongod_uri: str, database_prefix: str, tmp_path: Path
) -> None:
    loop = asyncio.new_event_loop()
    stack = AsyncExitStack()

    async def opened() -> None:
        prefix = f"{database_prefix}p"
        mongo = Mongo(mongod_uri, prefix=prefix)
        stack.push_async_callback(mongo.close)
        for name in ("pix", "registry", "repository", "audit", "auth"):
            stack.push_async_callback(mongo.client.drop_database, f"{prefix}{name}")
        Pages.exchange = await stack.enter_async_context(
            running(mongo, mongod_uri, prefix, tmp_path, token_seconds=3600)
        )
        Pages.client = await stack.enter_async_context(Pages.exchange.as_client())

    Pages.loop = loop
    try:
        loop.run_until_complete(opened())
        Pages.TestCase.settings = settings(
            max_examples=EXAMPLES, stateful_step_count=25, deadline=None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        Pages.TestCase().runTest()
    finally:
        loop.run_until_complete(stack.aclose())
        loop.close()
