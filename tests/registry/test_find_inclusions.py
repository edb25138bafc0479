"""What a find brings along: each once, uncounted, and only what the caller could have searched for."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from lxml import etree

from tests.makers_mhd import (
    a_bundle,
    a_document,
    a_folder,
    a_patient,
    locations,
    publish,
    related,
)
from tests.running import Exchange

FHIR = {"f": "http://hl7.org/fhir"}


async def bundle(client: httpx.AsyncClient, kind: str, *pairs: tuple[str, str]) -> dict[str, Any]:
    """A searchset, the same by GET and by POST, and in XML."""
    answer = await client.get(f"/{kind}", params=list(pairs))
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    body = httpx.QueryParams(list(pairs))
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    posted = await client.post(f"/{kind}/_search", content=str(body), headers=form)
    assert posted.json()["entry"] == made["entry"]
    xml = await client.get(f"/{kind}", params=[*pairs, ("_format", "xml")])
    tree = etree.fromstring(xml.content)
    modes = [m.get("value") for m in tree.findall("f:entry/f:search/f:mode", FHIR)]
    assert modes == [e["search"]["mode"] for e in made["entry"]]
    return made


def brought(made: dict[str, Any]) -> list[str]:
    """`Type/id` of what came along."""
    return [
        f"{e['resource']['resourceType']}/{e['resource']['id']}"
        for e in made["entry"]
        if e["search"]["mode"] == "include"
    ]


async def test_whose_a_document_is_comes_along_once_and_uncounted(
    source: httpx.AsyncClient,
) -> None:
    person = await a_patient(source)
    await publish(source, a_bundle(a_document(person), a_document(person)))
    pairs = [("patient", person), ("status", "current")]
    for said in ("DocumentReference:patient", "DocumentReference:patient:Patient"):
        made = await bundle(source, "DocumentReference", *pairs, ("_include", said))
        assert made["total"] == 2
        assert brought(made) == [person]
        assert f"_include={said}" in made["link"][0]["url"]


async def test_an_author_who_is_a_patient_comes_along(source: httpx.AsyncClient) -> None:
    person, mother = await a_patient(source), await a_patient(source)
    document = a_document(person, author=[{"reference": mother}])
    del document["contained"][0]  # the author that it has otherwise
    answer = await publish(source, a_bundle(document, level="UnContained.Comprehensive"))
    assert answer.status_code == 200, answer.text
    pairs = [("patient", person), ("status", "current"), ("author", mother)]
    made = await bundle(
        source, "DocumentReference", *pairs, ("_include", "DocumentReference:author")
    )
    assert made["total"] == 1
    assert brought(made) == [mother]


async def test_what_replaced_what_is_one_query_in_both_directions(
    source: httpx.AsyncClient,
) -> None:
    person = await a_patient(source)
    _, old, _ = locations(await publish(source, a_bundle(a_document(person))))
    answer = await publish(source, a_bundle(a_document(person, **related("replaces", old))))
    _, new, _ = locations(answer)
    now = [("patient", person), ("status", "current")]
    made = await bundle(
        source, "DocumentReference", *now, ("_include", "DocumentReference:relatesto")
    )
    assert [made["total"], brought(made)] == [1, [old]]
    was = [("patient", person), ("status", "superseded")]
    made = await bundle(
        source, "DocumentReference", *was, ("_revinclude", "DocumentReference:relatesto")
    )
    assert [made["total"], brought(made)] == [1, [new]]
    by = [*now, ("relatesto", old)]
    assert (await bundle(source, "DocumentReference", *by))["total"] == 1
    both = [("patient", person), ("status", "current,superseded")]
    made = await bundle(
        source, "DocumentReference", *both, ("_include", "DocumentReference:relatesto")
    )
    assert [made["total"], brought(made)] == [2, []], "what matches does not come along as well"


async def test_related_documents_and_the_lists_that_hold_one_come_along(
    source: httpx.AsyncClient,
) -> None:
    person = await a_patient(source)
    _, first, _ = locations(await publish(source, a_bundle(a_document(person))))
    document = a_document(person, kind="GN-OPLET")
    document["context"]["related"] = [{"reference": first}]
    folders = (a_folder(person, members=(first,)),)
    answer = await publish(source, a_bundle(document, folders=folders))
    submission, second, _, folder = locations(answer)
    pairs = [("patient", person), ("status", "current")]
    kinds = [
        ("type", "GN-OPLET", "_include", "DocumentReference:related", [first]),
        ("type", "GN-DISCH", "_revinclude", "DocumentReference:related", [second]),
        ("type", "GN-OPLET", "_revinclude", "List:item", [submission]),
    ]
    for name, value, how, said, expected in kinds:
        made = await bundle(source, "DocumentReference", *pairs, (name, value), (how, said))
        assert brought(made) == expected, said
    made = await bundle(
        source, "DocumentReference", *pairs, ("type", "GN-DISCH"), ("_revinclude", "List:item")
    )
    assert len(brought(made)) == 2  # its own SubmissionSet, and the Folder
    assert folder in brought(made)
    made = await bundle(source, "List", *pairs, ("code", "folder"), ("_include", "List:item"))
    assert brought(made) == [first]
    made = await bundle(source, "List", *pairs, ("code", "folder"), ("_revinclude", "List:item"))
    assert brought(made) == [submission]
    made = await bundle(source, "List", *pairs, ("code", "folder"), ("item", first))
    assert made["total"] == 1


async def test_only_what_the_token_could_search_for_comes_along(
    exchange: Exchange, source: httpx.AsyncClient
) -> None:
    person = await a_patient(source)
    _, old, _ = locations(await publish(source, a_bundle(a_document(person))))
    document = a_document(person, kind="GN-OPLET", **related("appends", old))
    _, new, _ = locations(await publish(source, a_bundle(document)))
    pairs = [
        ("patient", person), ("status", "current"), ("type", "GN-OPLET"),
        ("_include", "DocumentReference:patient"), ("_include", "DocumentReference:relatesto"),
        ("_revinclude", "List:item"),
    ]  # fmt: skip
    assert len(brought(await bundle(source, "DocumentReference", *pairs))) == 3
    narrow = "system/DocumentReference.rs?type=GN-OPLET"
    async with exchange.as_client(narrow) as client:
        made = await bundle(client, "DocumentReference", *pairs)
        assert [made["total"], brought(made)] == [1, []]
        (told,) = [e["resource"] for e in made["entry"] if e["search"]["mode"] == "outcome"]
        said = [(i["severity"], i["diagnostics"].split(":")[0]) for i in told["issue"]]
        assert said == [
            ("information", "No Patient is included"), ("information", "No List is included"),
        ]  # fmt: skip
    async with exchange.as_client(f"{narrow} system/Patient.s?gender=male ITI-66") as client:
        made = await bundle(client, "DocumentReference", *pairs)
        assert [b.partition("/")[0] for b in brought(made)] == ["List"]
    assert new not in brought(made)


async def test_an_unclassified_document_comes_along_for_its_submitter_only(
    exchange: Exchange, source: httpx.AsyncClient
) -> None:
    person = await a_patient(source)
    _, old, _ = locations(await publish(source, a_bundle(a_document(person))))
    _, new, _ = locations(
        await publish(source, a_bundle(a_document(person, **related("appends", old))))
    )
    documents = exchange.mongo.table("registry", "documents")
    await documents.update({"_id": new.partition("/")[2]}, {"$set": {"seen": "somebody else"}})
    pairs = [("identifier", f"urn:uuid:{old.partition('/')[2]}")]
    pairs.append(("_revinclude", "DocumentReference:relatesto"))
    assert brought(await bundle(source, "DocumentReference", *pairs)) == [new]
    async with exchange.as_client("system/DocumentReference.rs", role="R-GP") as client:
        made = await bundle(client, "DocumentReference", *pairs)
        assert [made["total"], brought(made)] == [1, []]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("_include", "DocumentReference:encounter"), ("_include", "DocumentReference:patient:Group"),
        ("_include", "Patient:link"), ("_revinclude", "Provenance:agent"),
        ("_revinclude", "DocumentReference:patient"),
    ],
)  # fmt: skip
async def test_what_no_row_offers_is_refused_or_left_out_and_told(
    source: httpx.AsyncClient, person: str, how: str, said: str
) -> None:
    query = {"patient": person, "status": "current", how: said}
    refused = await source.get("/DocumentReference", params=query)
    assert refused.status_code == 400
    (issue,) = refused.json()["issue"]
    assert issue["expression"] == [how]
    lenient = {"Prefer": "handling=lenient"}
    answer = await source.get("/DocumentReference", params=query, headers=lenient)
    assert answer.status_code == 200
    made = answer.json()
    assert how not in made["link"][0]["url"]
    assert made["entry"][-1]["resource"]["issue"][0]["severity"] == "warning"


async def test_pages_bring_along_what_belongs_to_their_own_matches(
    source: httpx.AsyncClient,
) -> None:
    person = await a_patient(source)
    sets = [locations(await publish(source, a_bundle(a_document(person))))[0] for _ in range(4)]
    query = {"patient": person, "status": "current", "_count": "3", "_sort": "_lastUpdated",
             "_revinclude": "List:item"}  # fmt: skip
    page = (await source.get("/DocumentReference", params=query)).json()
    assert sorted(brought(page)) == sorted(sets[:3])
    following = next(x["url"] for x in page["link"] if x["relation"] == "next")
    assert brought((await source.get(following)).json()) == sets[3:]
