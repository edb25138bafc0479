"""ITI-67 as a client meets it: both methods, both formats, counting, communities, and what is not taken."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from lxml import etree

from chassis.mongo import Mongo
from standards.mhd import HOME_COMMUNITY
from tests.makers_mhd import a_bundle, a_document, a_folder, a_patient, publish
from tests.running import Exchange, running

OURS, THEIRS = "urn:oid:2.16.840.1.113883.2.1.99", "urn:oid:2.16.840.1.113883.2.1.98"
FHIR = {"f": "http://hl7.org/fhir"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def exchange(
    mongo: Mongo, mongod_uri: str, database_prefix: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Exchange]:
    """An exchange that knows which community it is."""
    folder: Path = tmp_path_factory.mktemp("data")
    async with running(mongo, mongod_uri, database_prefix, folder, home_community=OURS) as made:
        yield made


async def of_two_communities(source: httpx.AsyncClient) -> str:
    """A patient with one document of our own and one that says it is of another community."""
    person = await a_patient(source)
    foreign = a_document(person, extension=[{"url": HOME_COMMUNITY, "valueOid": THEIRS}])
    answer = await publish(source, a_bundle(a_document(person), foreign))
    assert answer.status_code == 200, answer.text
    return person


async def test_communities_are_ours_those_of_what_is_here_and_no_others(
    source: httpx.AsyncClient,
) -> None:
    person = await of_two_communities(source)
    query = {"patient": person, "status": "current"}
    for said, expected in ((OURS, 1), (THEIRS, 1), (f"{OURS},{THEIRS}", 2)):
        asked = {**query, "targetCommunityIdList": said}
        answer = await source.get("/DocumentReference", params=asked)
        assert answer.json()["total"] == expected, said
    asked = {**query, "targetCommunityIdList": f"{OURS},urn:oid:1.2.3"}
    refused = await source.get("/DocumentReference", params=asked)
    assert refused.status_code == 404
    (issue,) = refused.json()["issue"]
    assert issue["details"]["coding"][0]["code"] == "XDSUnknownCommunity"
    assert issue["expression"] == ["targetCommunityIdList"]


async def test_get_and_post_json_and_xml_say_the_same(source: httpx.AsyncClient) -> None:
    person = await a_patient(source)
    await publish(source, a_bundle(a_document(person), a_document(person, kind="GN-OPLET")))
    pairs = {"patient": person, "status": "current", "_sort": "-date", "_count": "1"}
    made = (await source.get("/DocumentReference", params=pairs)).json()
    halves = ({"patient": person}, {k: v for k, v in pairs.items() if k != "patient"})
    for url, form in (({}, pairs), halves, halves[::-1]):
        posted = await source.post("/DocumentReference/_search", params=url, data=form)
        assert posted.status_code == 200, posted.text
        assert posted.json()["entry"] == made["entry"]
        assert posted.json()["total"] == made["total"] == 2
    for how in ({"headers": {"Accept": "application/fhir+xml"}}, {"params": {"_format": "xml"}}):
        answer = await source.post("/DocumentReference/_search", data=pairs, **how)
        assert answer.headers["content-type"].startswith("application/fhir+xml")
        tree = etree.fromstring(answer.content)
        assert [t.get("value") for t in tree.findall("f:total", FHIR)] == ["2"]
        (id_,) = tree.findall("f:entry/f:resource/f:DocumentReference/f:id", FHIR)
        assert id_.get("value") == made["entry"][0]["resource"]["id"]
        following = next(
            link.find("f:url", FHIR).get("value")
            for link in tree.findall("f:link", FHIR)
            if link.find("f:relation", FHIR).get("value") == "next"
        )
        assert (await source.get(following)).json()["total"] == 2


@pytest.mark.parametrize("said", [{"_summary": "count"}, {"_count": "0"}])
async def test_only_the_count_is_given_to_whom_asks_for_it(
    source: httpx.AsyncClient, person: str, said: dict[str, str]
) -> None:
    await publish(source, a_bundle(a_document(person), folders=(a_folder(person),)))
    query = {"patient": person, "status": "current", **said}
    made = (await source.get("/DocumentReference", params=query)).json()
    assert made["total"] >= 1
    assert "entry" not in made
    made = (await source.get("/List", params={**query, "code": "folder"})).json()
    assert made["total"] >= 1
    assert "entry" not in made


@pytest.mark.parametrize(
    ("said", "near"), [("seting", "setting"), ("Type", "type"), ("quux", "It takes")]
)
async def test_an_unknown_parameter_is_refused_with_the_nearest_or_ignored_and_told(
    source: httpx.AsyncClient, person: str, said: str, near: str
) -> None:
    query = {"patient": person, "status": "current", said: "x"}
    refused = await source.get("/DocumentReference", params=query)
    assert refused.status_code == 400
    assert near in refused.json()["issue"][0]["diagnostics"]
    lenient = {"Prefer": "handling=lenient"}
    made = (await source.get("/DocumentReference", params=query, headers=lenient)).json()
    (self_link,) = [x["url"] for x in made["link"] if x["relation"] == "self"]
    assert f"{said}=" not in self_link
    assert "status=current" in self_link
    told = made["entry"][-1]
    assert told["search"]["mode"] == "outcome"
    assert said in told["resource"]["issue"][0]["diagnostics"]


@pytest.mark.parametrize(
    "name", ["related", "author", "relatesto", "creation", "setting", "identifier"]
)
async def test_what_is_missing_can_be_asked_for(
    source: httpx.AsyncClient, person: str, name: str
) -> None:
    query = {"patient": person, "status": "current"}
    whole = (await source.get("/DocumentReference", params=query)).json()["total"]
    parts = [
        (await source.get("/DocumentReference", params={**query, f"{name}:missing": said})).json()
        for said in ("true", "false")
    ]
    assert sum(p["total"] for p in parts) == whole
