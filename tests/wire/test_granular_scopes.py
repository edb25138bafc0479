"""Scopes with a query: what is found, read, counted, brought along and put is what they say, and the
sum of several scopes is the sum of what each of them says (SMART App Launch 2.2; US Core's granular
steps, security digest 2.9)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis.mongo import Mongo
from tests.makers_mhd import (
    NS,
    a_bundle,
    a_document,
    a_folder,
    a_patch,
    a_patient,
    concept,
    locations,
    publish,
    related,
)  # fmt: skip
from tests.running import Exchange, running
from tests.wire.launched import found, launched

CLASS = f"{NS}/CodeSystem/document-class"
FHIR = {"Content-Type": "application/fhir+json"}
CODES = ("DISCH", "LETTER", "NOTE")


@dataclass(frozen=True)
class Held:
    """A document of these tests: whose, and of which categories and type."""

    name: str
    binary: str
    whose: str
    categories: frozenset[str]
    kind: str


@dataclass(frozen=True)
class Shelf:
    anna: str
    ben: str
    documents: tuple[Held, ...]

    @property
    def ids(self) -> str:
        return ",".join(d.name.partition("/")[2] for d in self.documents)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def source(exchange: Exchange) -> AsyncIterator[httpx.AsyncClient]:
    async with exchange.as_client() as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shelf(source: httpx.AsyncClient) -> Shelf:
    people = [await a_patient(source) for _ in range(2)]
    kinds = [
        (("DISCH",), "GN-DISCH"), (("LETTER",), "GN-OPLET"), (("LETTER",), "GN-DISCH"), (("NOTE",), "GN-DISCH"),
    ]  # fmt: skip
    made = []
    for person in people:
        documents = [
            a_document(person, kind=kind, category=[concept(CLASS, c) for c in categories])
            for categories, kind in kinds
        ]
        answer = await publish(source, a_bundle(*documents))
        names = locations(answer)[1:]
        for place, (categories, kind) in enumerate(kinds):
            made.append(
                Held(names[2 * place], names[2 * place + 1], person, frozenset(categories), kind)
            )
    return Shelf(*people, tuple(made))


Says = Callable[[Held], bool]
# What a query says, and what it means to whoever reads the specification. None: not of this type.
QUERIES: dict[str, Says | None] = {
    "": lambda d: True,
    f"category={CLASS}|DISCH": lambda d: "DISCH" in d.categories,
    f"category={quote(CLASS + '|LETTER', safe='')}": lambda d: "LETTER" in d.categories,
    "category=DISCH%2CNOTE": lambda d: bool(d.categories & {"DISCH", "NOTE"}),
    "category=DISCH&category=LETTER": lambda d: d.categories >= {"DISCH", "LETTER"},
    "type=GN-OPLET": lambda d: d.kind == "GN-OPLET",
    "category=LETTER&type=GN-OPLET&status=current": lambda d: (
        "LETTER" in d.categories and d.kind == "GN-OPLET"
    ),
    "category:not=NOTE": lambda d: "NOTE" not in d.categories,
    "category=urn:another|DISCH": lambda d: False,
    "status=superseded": lambda d: False,
    "gender=female": None,
    "_count=1": None,
    "category=DISCH&colour=red": None,
    "category=": None,
}
PHRASES = st.tuples(
    st.sampled_from(["patient", "user", "system"]), st.sampled_from(["DocumentReference", "*", "List"]),
    st.sampled_from(["r", "s", "rs", "cruds", "u"]), st.sampled_from(sorted(QUERIES)),
)  # fmt: skip


def means(phrase: tuple[str, str, str, str], letter: str, patient: str) -> Says | None:
    """The documents that one scope grants this letter on; None when it grants nothing on their type."""
    level, kind, letters, query = phrase
    says = QUERIES[query]
    if letter not in letters or kind == "List" or (level == "patient" and not patient):
        return None
    if says is None:
        return lambda d: False
    return lambda d: says(d) and (level != "patient" or d.whose == patient)


def spelled(phrase: tuple[str, str, str, str]) -> str:
    level, kind, letters, query = phrase
    return f"{level}/{kind}.{letters}" + (f"?{query}" if query else "")


@settings(
    max_examples=40, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(st.lists(PHRASES, min_size=1, max_size=3), st.sampled_from(["", "anna", "ben"]))
async def test_what_is_granted_is_the_sum_of_what_each_scope_says(
    exchange: Exchange, shelf: Shelf, phrases: list[tuple[str, str, str, str]], whose: str
) -> None:
    patient = {"": "", "anna": shelf.anna, "ben": shelf.ben}[whose]
    scope = " ".join(map(spelled, phrases))
    async with launched(exchange, scope, patient=patient) as app:
        says = [m for p in phrases if (m := means(p, "s", patient)) is not None]
        if says:
            expected = {d.name for d in shelf.documents if any(m(d) for m in says)}
            assert await found(app, "/DocumentReference", {"_id": shelf.ids}) == expected, scope
        else:
            answer = await app.get("/DocumentReference", params={"_id": shelf.ids})
            assert answer.status_code == 403, scope
        says = [m for p in phrases if (m := means(p, "r", patient)) is not None]
        for document in shelf.documents:
            reached = any(m(document) for m in says)
            status = 200 if reached else 404 if says else 403
            for path in (document.name, f"{document.name}/_history/1", f"{document.name}/_history"):
                assert (await app.get(path)).status_code == status, (scope, path)


async def test_two_launches_with_different_categories_see_their_own(
    exchange: Exchange, shelf: Shelf
) -> None:
    """The steps of US Core's granular tests: the searches that were made with a full scope are made
    again, and every resource is read."""
    whole = [{"patient": shelf.anna, "status": "current"}]
    whole += [{**whole[0], "category": f"{CLASS}|{c}"} for c in CODES]
    whole += [{**whole[0], "type": "GN-OPLET"}]
    for granted in (("DISCH",), ("LETTER", "NOTE")):
        scopes = [f"patient/DocumentReference.rs?category={CLASS}|{code}" for code in granted]
        async with (
            launched(exchange, " ".join(scopes), patient=shelf.anna) as app,
            launched(exchange, "patient/DocumentReference.rs", patient=shelf.anna) as full,
        ):
            mine = {
                d.name
                for d in shelf.documents
                if d.whose == shelf.anna and d.categories & set(granted)
            }
            for query in whole:
                before = await found(full, "/DocumentReference", query)
                assert await found(app, "/DocumentReference", query) == before & mine
            for document in shelf.documents:
                read = await app.get(document.name)
                assert (read.status_code == 200) == (document.name in mine)


async def test_bytes_come_with_the_documents_that_are_granted(
    exchange: Exchange, shelf: Shelf
) -> None:
    scope = f"patient/Binary.r patient/DocumentReference.rs?category={CLASS}|NOTE"
    async with launched(exchange, scope, patient=shelf.anna) as app:
        for document in shelf.documents:
            mine = document.whose == shelf.anna and "NOTE" in document.categories
            assert (await app.get(document.binary)).status_code == (200 if mine else 404)
    async with launched(exchange, "user/Binary.r?category=NOTE user/DocumentReference.r") as app:
        answer = await app.get(shelf.documents[3].binary)
        assert answer.status_code == 404, "Binary has no category, so the scope grants nothing"


async def test_what_comes_along_is_granted_too(
    exchange: Exchange, source: httpx.AsyncClient
) -> None:
    person = await a_patient(source)
    first = a_document(person, category=[concept(CLASS, "NOTE")])
    _, note, _ = locations(await publish(source, a_bundle(first)))
    second = a_document(person, category=[concept(CLASS, "LETTER")], **related("appends", note))
    _, letter, _ = locations(await publish(source, a_bundle(second)))
    pairs = [("_id", letter.partition("/")[2]), ("_include", "DocumentReference:relatesto")]
    back = [("_id", note.partition("/")[2]), ("_revinclude", "DocumentReference:relatesto")]
    for codes, ways in ((("LETTER",), (1, 0)), (("NOTE",), (0, 1)), (("LETTER", "NOTE"), (2, 2))):
        scope = " ".join(f"patient/DocumentReference.rs?category={c}" for c in codes)
        async with launched(exchange, scope, patient=person) as app:
            for query, count in zip((pairs, back), ways, strict=True):
                made = (await app.get("/DocumentReference", params=query)).json()
                assert len(made.get("entry", ())) == count, (codes, query)


async def test_what_is_made_or_replaced_must_be_what_the_scope_says(
    exchange: Exchange, source: httpx.AsyncClient
) -> None:
    person = await a_patient(source)
    documents = exchange.mongo.table("registry", "documents")
    scope = "patient/List.cu patient/Binary.c patient/DocumentReference.cu?category=NOTE"
    note = a_document(person, category=[concept(CLASS, "NOTE")])
    letter = a_document(person, category=[concept(CLASS, "LETTER")])
    async with launched(exchange, scope, patient=person) as app:
        assert (await publish(app, a_bundle(letter))).status_code == 403
        assert (await publish(app, a_bundle(note, letter))).status_code == 403, "all or nothing"
        assert await documents.count({"subject": person.partition("/")[2]}) == 0
        _, kept, _ = locations(await publish(app, a_bundle(note)))
    _, other, _ = locations(await publish(source, a_bundle(letter)))
    async with launched(exchange, scope, patient=person) as app:
        new = a_document(person, category=[concept(CLASS, "NOTE")], **related("replaces", other))
        refused = await publish(app, replacing(new, other))
        assert refused.status_code == 403, "it would change a letter"
        new = a_document(person, category=[concept(CLASS, "NOTE")], **related("replaces", kept))
        assert (await publish(app, replacing(new, kept))).status_code == 200
        folder = a_folder(person)
        assert (await publish(app, a_bundle(folders=(folder,), subject=person))).status_code == 200
    assert (await source.get(other)).json()["status"] == "current"
    assert (await source.get(kept)).json()["status"] == "superseded"


def replacing(document: dict[str, object], target: str) -> dict[str, object]:
    return a_bundle(document, extra=(a_patch(target),))


async def test_an_earlier_version_is_reached_without_a_query_only(
    exchange: Exchange, source: httpx.AsyncClient
) -> None:
    person = await a_patient(source)
    _, old, _ = locations(await publish(source, a_bundle(a_document(person))))
    new = a_document(person, **related("replaces", old))
    assert (await publish(source, replacing(new, old))).status_code == 200
    for query, total in (("", 2), ("?type=GN-DISCH", 1)):
        async with launched(
            exchange, f"patient/DocumentReference.rs{query}", patient=person
        ) as app:
            assert (await app.get(old)).json()["status"] == "superseded"
            assert (await app.get(f"{old}/_history")).json()["total"] == total
            assert (await app.get(f"{old}/_history/2")).status_code == 200
            first = await app.get(f"{old}/_history/1")
            assert first.status_code == (200 if not query else 404)
            everything = await app.get("/DocumentReference/_history", params={"patient": person})
            assert everything.json()["total"] == total + 1


async def test_a_community_may_have_401_for_everything_as_iua_says(
    mongo: Mongo, mongod_uri: str, database_prefix: str, tmp_path: Path
) -> None:
    """IUA 3.72.4.1.3, for the transactions that are named; RFC 6750 for the others."""
    own = Mongo(mongod_uri, prefix=f"{database_prefix}iua_")
    named = "ITI-67, ITI-68"
    async with running(own, mongod_uri, f"{database_prefix}iua_", tmp_path, iua_401=named) as iua:
        async with iua.as_client("system/Patient.r") as client:
            for path, code in (("DocumentReference/x", "67"), ("Binary/x", "68"), ("List/x", "66")):
                answer = await client.get(path)
                assert answer.status_code == (401 if code in named else 403), path
                assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
                assert answer.json()["issue"][0]["code"] == "forbidden"
        async with iua.as_client("system/Binary.r") as client:
            assert (await client.get("/Binary/x")).status_code == 401, "what the story refuses, too"
    await own.close()
