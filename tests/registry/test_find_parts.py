"""Parts of documents and lists, by `_summary` and `_elements`: searches, pages, reads, histories; JSON and
XML."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from lxml import etree

from standards.subset import TAG
from tests.makers_mhd import a_bundle, a_document, a_folder, a_patient, locations, publish, related

FHIR = {"f": "http://hl7.org/fhir"}
LEAST = {"resourceType", "id", "meta", "status"}


async def filed(source: httpx.AsyncClient, count: int = 1) -> tuple[str, list[str]]:
    """A patient with so many documents that have a narrative; the documents' references."""
    person = await a_patient(source)
    words = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">A note</div>'}
    documents = [a_document(person, text=words) for _ in range(count)]
    made = locations(await publish(source, a_bundle(*documents, folders=(a_folder(person),))))
    return person, made[1 : 2 * count : 2]


async def parts(source: httpx.AsyncClient, path: str, **asked: str) -> list[dict[str, Any]]:
    answer = await source.get(path, params=asked)
    assert answer.status_code == 200, answer.text
    entries = answer.json().get("entry", [])
    return [e["resource"] for e in entries if e.get("search", {}).get("mode") != "outcome"]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ({"_elements": "type,date"}, LEAST | {"content", "type", "date"}),
        ({"_summary": "text"}, LEAST | {"content", "text"}),
    ],
    ids=["elements", "summary"],
)
async def test_a_search_shows_the_part_that_is_asked_for(
    source: httpx.AsyncClient, said: dict[str, str], kept: set[str]
) -> None:
    person, (document,) = await filed(source)
    query = {"patient": person, "status": "current", **said}
    (made,) = await parts(source, "/DocumentReference", **query)
    assert made.keys() == kept
    assert TAG in made["meta"]["tag"]
    answer = await source.get("/DocumentReference", params=query)
    self_link = next(x["url"] for x in answer.json()["link"] if x["relation"] == "self")
    assert "&".join(f"{k}={v}" for k, v in said.items()) in self_link
    posted = await source.post("/DocumentReference/_search", data=query | {"_format": "xml"})
    (node,) = etree.fromstring(posted.content).findall(".//f:resource/f:DocumentReference", FHIR)
    assert {etree.QName(child).localname for child in node} == kept - {"resourceType"}
    assert node.find("f:meta/f:tag/f:code", FHIR).get("value") == "SUBSETTED"
    assert node.find("f:id", FHIR).get("value") == document.partition("/")[2]


async def test_a_summary_leaves_out_the_narrative_and_data_leaves_out_nothing_else(
    source: httpx.AsyncClient,
) -> None:
    person, (document,) = await filed(source)
    whole = (await source.get(document)).json()
    for path, asked in (
        ("/DocumentReference", {"patient": person, "status": "current"}),
        (f"/{document}", {}),
        (f"/{document}/_history/1", {}),
        (f"/{document}/_history", {}),
    ):
        for summary in ("true", "data"):
            answer = await source.get(path, params={**asked, "_summary": summary})
            made = answer.json()
            made = made["entry"][0]["resource"] if made["resourceType"] == "Bundle" else made
            assert made.keys() == whole.keys() - {"text"}, path
            assert made["meta"] == {**whole["meta"], "tag": [TAG]}
            assert "ETag" in answer.headers or path.endswith(("Reference", "_history"))


async def test_every_page_of_a_search_and_of_a_history_shows_the_same_part(
    source: httpx.AsyncClient,
) -> None:
    person, documents = await filed(source, 3)
    search = {"patient": person, "status": "current", "_count": "2", "_elements": "type"}
    for path, query in (
        ("/DocumentReference", search),
        ("/DocumentReference/_history", search),
    ):
        page = (await source.get(path, params=query)).json()
        found = page["entry"]
        assert page["total"] == 3
        (following,) = [x["url"] for x in page["link"] if x["relation"] == "next"]
        found = found + (await source.get(following)).json()["entry"]
        assert {f"DocumentReference/{e['resource']['id']}" for e in found} == set(documents)
        for entry in found:
            assert entry["resource"].keys() == LEAST | {"content", "type"}, path
        alone = await source.get(f"{following}&_elements=date")
        assert alone.status_code == 400


async def test_elements_are_those_of_the_type_that_is_searched_and_a_summary_is_of_all(
    source: httpx.AsyncClient,
) -> None:
    person, (old,) = await filed(source)
    await publish(source, a_bundle(a_document(person, **related("appends", old))))
    query = {"patient": person, "status": "current", "_include": "DocumentReference:patient"}
    kinds = {"DocumentReference": [], "Patient": []}
    for made in await parts(source, "/DocumentReference", **query, _elements="date"):
        kinds[made["resourceType"]].append(made)
    assert all("type" not in d for d in kinds["DocumentReference"])
    assert all("tag" not in p["meta"] for p in kinds["Patient"])
    for made in await parts(source, "/DocumentReference", **query, _summary="true"):
        assert TAG in made["meta"]["tag"]
    refused = await source.get("/DocumentReference", params={**query, "_summary": "text"})
    assert refused.status_code == 400
    assert refused.json()["issue"][0]["expression"] == ["_summary"]


async def test_a_list_is_read_in_part(source: httpx.AsyncClient) -> None:
    person, _ = await filed(source)
    query = {"patient": person, "status": "current", "code": "folder"}
    (folder,) = await parts(source, "/List", **query, _elements="title")
    assert folder.keys() == LEAST | {"mode", "title"}
    made = (await source.get(f"/List/{folder['id']}?_elements=title")).json()
    assert made == folder
    refused = await source.get(f"/List/{folder['id']}?_elements=titel,entry.item&_summary=count")
    assert refused.status_code == 400
    words = " ".join(i["diagnostics"] for i in refused.json()["issue"])
    assert 'Did you mean "title"?' in words
    assert "at the root" in words
    assert "_summary takes true, text, data or false" in words
