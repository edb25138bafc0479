"""Exact totals of people with very many documents: whatever is asked, and while others write."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis.filters import all_of, compiled, narrow
from chassis.mongo import Doc, Mongo, Table
from chassis.pages import FEW
from governance.permit import Permit
from registry import tallies
from registry.documents import Documents
from standards.index import moments, tokens
from standards.mhd import DOCUMENT_PARAMETERS, DOCUMENT_STATUS
from standards.search import parse
from tests.makers_mhd import a_bundle, a_document, a_folder, a_patient, locations, publish, related
from tests.running import Exchange, running

pytestmark = pytest.mark.timeout(240)
EXAMPLES = int(os.environ.get("THROUGHLINE_TEST_EXAMPLES", "12"))


@pytest.fixture(scope="module", autouse=True)
def hurried() -> Iterator[None]:
    """Tallies are begun as always, but sooner: a write here takes no minute."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tallies, "LEASE", 0.2)
        patch.setattr(tallies, "SETTLE", 2.0)
        patch.setattr(tallies, "EVERY", 0.2)
        patch.setattr(tallies, "MOST_OPEN", 100)
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def exchange(
    hurried: None,
    mongo: Mongo,
    mongod_uri: str,
    database_prefix: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Exchange]:
    folder: Path = tmp_path_factory.mktemp("data")
    async with running(mongo, mongod_uri, database_prefix, folder) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def store(exchange: Exchange) -> Documents:
    """The store of another process."""
    return await Documents.opened(exchange.mongo)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bare(mongo: Mongo, mongod_uri: str, database_prefix: str) -> AsyncIterator[Documents]:
    """A store with no exchange over it."""
    opened = Mongo(mongod_uri, prefix=f"{database_prefix}bare_")
    yield await Documents.opened(opened)
    await opened.close()


QUERIES = (
    "status=current",
    "status=current,superseded&type=urn:t|a",
    "status=current&type=a,b&category=urn:c|",
    "status:not=superseded&type:missing=true",
    "status=current&date=ge2026-02-03&date=lt2026-06-20",
    "date=2026-03",
    "date=ne2026-03",
    "date=gt2026-03-31T23:59:59Z",
    "date=le2026-02&security-label=R",
    "date=sa2026-02-28&status=current",
    "date:missing=true",
    "date=eb2026-04&type=a",
    "date=ap2026-04-01",
    "date=ge0001&date=le9999",
    "date=lt0002",
    "date=gt9999-06",
    "date=ge2026-02-28T12:00:00Z&date=lt2026-03-31T23:59:59.500Z",
)
SCOPES = ((), ({"type": "a"},), ({"type": "a", "status": "current"}, {"category": "urn:c|x"}))


def asked(query: str, subjects: Sequence[str], scope: Sequence[dict[str, str]] = ()) -> Doc:
    """The filter of a search of these records under a narrowed scope."""
    pairs = [tuple(p.split("=", 1)) for p in query.split("&")]
    found = parse(pairs, DOCUMENT_PARAMETERS, resource="DocumentReference")
    permit = Permit(("x",), tuple(frozenset(s.items()) for s in scope))
    return all_of(
        [
            {"subject": subjects[0] if len(subjects) == 1 else {"$in": list(subjects)}},
            *(compiled(c) for c in found.clauses),
            {"seen": {"$in": ["", "R0A"]}},
            *([narrow(permit, DOCUMENT_PARAMETERS)] if scope else []),
        ]
    )


def concepts(codes: Sequence[str], system: str) -> list[str]:
    return tokens([{"coding": [{"system": system, "code": c}]} for c in codes])


EDGES = [
    datetime(2026, 3, 1, tzinfo=UTC) + timedelta(milliseconds=n)
    for n in (-1001, -1000, -999, -1, 0, 1)
]
DATES: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.sampled_from(EDGES),
    st.sampled_from(["2026", "2026-02", "2026-03-31", "2026-01-31T23:59:59Z", "2026-05-01T00:00:00Z", "0001", "0001-01-01T00:00:00Z", "9999-12-31", "9999"]),
    st.timedeltas(timedelta(-90), timedelta(120)).map(lambda d: datetime(2026, 3, 1, tzinfo=UTC) + d),
)  # fmt: skip


@st.composite
def rows(draw: st.DrawFn) -> Doc:
    """A row as far as a tally goes by it."""
    given = {
        "status": tokens(draw(st.sampled_from(["current", "superseded"])), DOCUMENT_STATUS),
        "type": concepts(draw(st.lists(st.sampled_from("abc"), max_size=2)), "urn:t"),
        "category": concepts(draw(st.lists(st.sampled_from("xy"), max_size=1)), "urn:c"),
        "security_label": concepts(draw(st.lists(st.sampled_from("NR"), max_size=2)), "urn:l"),
        "date": moments(draw(DATES)),
    }
    return {
        "subject": draw(st.sampled_from(["one", "two"])),
        "seen": draw(st.sampled_from(["", "R0A", "RM3"])),
        "ix": {k: v for k, v in given.items() if v},
    }


async def said(totals: tallies.Totals, table: Table, filters: Doc) -> tuple[int | None, int]:
    return await totals.total(filters, -1), await table.count(filters)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    made=st.lists(rows(), min_size=1, max_size=40),
    first=st.integers(0, 40),
    queries=st.lists(st.sampled_from(QUERIES), min_size=5, max_size=8, unique=True),
)
async def test_a_tally_counts_what_mongodb_counts(
    bare: Documents, made: list[Doc], first: int, queries: list[str]
) -> None:
    """Begun over some documents and kept up over the others, under every query and scope."""
    store = bare
    await store.documents.delete({}, many=True)
    await store.tallies.table.delete({}, many=True)
    await store.tallies.learn()
    given = [{**row, "_id": str(n), "binary": str(n)} for n, row in enumerate(made)]
    await store.documents.insert_many(given[:first])
    store.tallies.want(store.documents, ["one", "two"])
    await store.tallies.turn()
    await store.tallies.table.update(
        {}, {"$set": {"since": datetime(2020, 1, 1, tzinfo=UTC)}}, many=True
    )
    await store.tallies.turn()

    async def story(session: Any) -> None:
        await store.documents.insert_many(given[first:], session)
        await store.tallies.note(session, store.documents, [], given[first:])

    await store.mongo.transaction(story)
    await right(store, queries)  # from slips
    await store.tallies.turn()
    assert await store.tallies.table.count({"slip": True}) == 0
    await right(store, queries)  # folded


async def right(store: Documents, queries: Sequence[str]) -> None:
    totals = store.tallies.of(store.documents)
    for number, query in enumerate(queries):
        scope, subjects = SCOPES[number % 3], (["one", "two"], ["one"])[number % 2]
        kept, counted = await said(totals, store.documents, asked(query, subjects, scope))
        assert kept == counted, (query, scope, subjects)


async def ready(store: Documents, table: Table, subjects: Sequence[str]) -> None:
    """Wait until these tallies are."""
    store.tallies.want(table, subjects)
    for _ in range(200):
        await store.tallies.turn()
        if store.tallies.ready(table, subjects):
            return
        await asyncio.sleep(0.1)
    pytest.fail("the tallies were not begun")


async def test_totals_are_exact_while_writers_write_and_tallies_are_begun(
    source: httpx.AsyncClient, store: Documents
) -> None:
    """The writers are one process, whoever begins the tallies is another."""
    person = await a_patient(source)
    subject = [person.partition("/")[2]]
    until = asyncio.Event()

    async def write(number: int) -> int:
        made = 0
        while not until.is_set():
            document = a_document(person, date=f"2026-0{number}-0{1 + made % 9}T10:00:00Z")
            bundle = a_bundle(document, folders=(a_folder(person),) if made % 2 else ())
            (old,) = locations(await publish(source, bundle))[1:2]
            if made % 3 == 0:
                newer = a_document(person, kind="GN-OPLET", **related("replaces", old))
                answer = await publish(source, a_bundle(newer))
                assert answer.status_code == 200, answer.text
            made += 1
        return made

    writers = [asyncio.create_task(write(n)) for n in (2, 3, 4)]
    await asyncio.sleep(1)
    await ready(store, store.documents, subject)
    await ready(store, store.lists, subject)
    await asyncio.sleep(2)
    until.set()
    assert all(await asyncio.gather(*writers))
    for query in (*QUERIES, "status=superseded", "type=GN-DISCH"):
        filters = asked(query, subject)
        kept, counted = await said(store.tallies.of(store.documents), store.documents, filters)
        assert kept == counted, query
    for status in ("current", "retired"):
        lists = {"subject": subject[0], "ix.status": status, "seen": {"$in": [""]}}
        kept, counted = await said(store.tallies.of(store.lists), store.lists, lists)
        assert kept == counted
    assert counted == 0


async def test_many_documents_are_counted_by_their_tally_and_not_one_by_one(
    source: httpx.AsyncClient, exchange: Exchange, store: Documents
) -> None:
    person = await a_patient(source)
    subject = person.partition("/")[2]
    await publish(source, a_bundle(a_document(person)))
    (row,) = await store.documents.many({"subject": subject})
    copies = [{**row, "_id": f"{subject}-{n}", "binary": f"{subject}-{n}"} for n in range(FEW)]
    await store.documents.insert_many(copies)
    query = {"patient": person, "status": "current", "_count": "2"}

    async def total(client: httpx.AsyncClient, **more: str) -> int:
        answer = await client.get("/DocumentReference", params=query | more)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["total"])

    assert await total(source) == FEW + 1  # and the exchange wants a tally now
    for _ in range(100):
        await store.tallies.learn()
        if store.tallies.ready(store.documents, [subject]):
            break
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.5)  # the exchange, too, learns that it is ready
    await publish(source, a_bundle(a_document(person)))
    assert await total(source) == FEW + 2
    assert await total(source, _summary="count") == FEW + 2
    narrow = "system/DocumentReference.rs?type=GN-OPLET system/DocumentReference.rs?category=DISCH"
    async with exchange.as_client(scope=narrow) as client:
        assert await total(client) == FEW + 2
    held = await store.tallies.table.one({"_id": f"documents/{subject}"})
    assert held is not None
    (short,) = held["cells"]
    (month,) = held["cells"][short]
    change = {"$inc": {f"cells.{short}.{month}": 5}}
    await store.tallies.table.update({"_id": held["_id"]}, change)  # as no transaction does
    assert await total(source) == FEW + 7
    assert await total(source, creation="ge2026") == FEW + 2  # is none of its matters
