"""Documents that another organisation keeps: registered by ITI-65, shown as what they are, and fetched."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from chassis.mongo import Mongo
from standards.mhd_rules import EMPTY_SHA1
from tests.archive import LETTER, Archive, a_pack, archive
from tests.makers_mhd import NS, a_bundle, a_document, a_patient, locations, publish, related, sha1
from tests.neighbours.apart import apart
from tests.running import Exchange, running

EXTENSION = f"{NS}/StructureDefinition/retrieval-mechanism"
PLAIN = {"Accept": "text/plain"}
TABLES = ("documents", "lists", "registered")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def there() -> AsyncIterator[Archive]:
    async with archive() as made:
        made.documents["/kept/1"] = LETTER
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(
    mongo: Mongo, mongod_uri: str, database_prefix: str, tmp_path_factory: Any, there: Archive
) -> AsyncIterator[Exchange]:
    """An exchange whose pack lists the organisation outside."""
    folder: Path = tmp_path_factory.mktemp("city")
    pack = a_pack(
        folder,
        f"R0A,{there.url('/kept/')},proxy,127.0.0.0/8,test",
        "GMP,https://records.gmp.example/,direct,,test",
    )
    async with running(
        mongo, mongod_uri, database_prefix, folder, affinity=str(pack), retrieval_wait=1
    ) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def trust(city: Exchange) -> AsyncIterator[httpx.AsyncClient]:
    async with city.as_client(role="", organisation="R0A") as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def anyone(city: Exchange) -> AsyncIterator[httpx.AsyncClient]:
    async with city.as_client() as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def patient(anyone: httpx.AsyncClient) -> str:
    return await a_patient(anyone)


def pointing(patient: str, url: str, content: bytes = LETTER, **changes: Any) -> dict[str, Any]:
    """A Comprehensive bundle of one document without a Binary."""
    bundle = a_bundle(a_document(patient, _content=None, **changes))
    attachment = bundle["entry"][1]["resource"]["content"][0]["attachment"]
    attachment |= {"url": url, "hash": sha1(content), "size": len(content)}
    return bundle


async def made(client: httpx.AsyncClient, bundle: dict[str, Any]) -> dict[str, Any]:
    answer = await publish(client, bundle)
    return (await client.get(f"/{locations(answer)[1]}")).json()


async def test_a_comprehensive_bundle_without_a_binary_points_to_the_organisation_and_is_fetched(
    city: Exchange,
    trust: httpx.AsyncClient,
    anyone: httpx.AsyncClient,
    patient: str,
    there: Archive,
) -> None:
    shown = await made(trust, pointing(patient, there.url("/kept/1")))
    content = shown["content"][0]
    url = content["attachment"]["url"]
    assert url.startswith(f"{city.base}/Binary/")
    assert (content["attachment"]["hash"], content["attachment"]["size"]) == (
        sha1(LETTER),
        len(LETTER),
    )
    (extension,) = content["extension"]
    assert extension["url"] == EXTENSION
    said = {x["url"]: x for x in extension["extension"]}
    assert said["mechanism"]["valueCode"] == "proxy"
    assert said["holder"]["valueIdentifier"]["value"] == "R0A"
    found = await anyone.get("/DocumentReference", params={"patient": patient, "status": "current"})
    assert shown in [e["resource"] for e in found.json()["entry"]]
    answer = await anyone.get(url, headers=PLAIN)
    assert (answer.status_code, answer.content) == (200, LETTER)


async def test_a_document_that_readers_fetch_themselves_keeps_its_url(
    anyone: httpx.AsyncClient, patient: str
) -> None:
    shown = await made(anyone, pointing(patient, "https://records.gmp.example/7"))
    content = shown["content"][0]
    assert content["attachment"]["url"] == "https://records.gmp.example/7"
    assert content["extension"][0]["extension"][0]["valueCode"] == "direct"


async def test_a_document_whose_source_is_down_stays_listed(
    trust: httpx.AsyncClient, anyone: httpx.AsyncClient, patient: str, there: Archive
) -> None:
    there.manners["/kept/down"] = "hangup"
    shown = await made(trust, pointing(patient, there.url("/kept/down")))
    answer = await anyone.get(shown["content"][0]["attachment"]["url"])
    assert answer.status_code == 502
    assert "R0A" in answer.json()["issue"][0]["diagnostics"]
    again = await anyone.get(f"/DocumentReference/{shown['id']}")
    assert again.json()["status"] == "current"


async def test_a_superseded_pointer_is_still_fetched(
    trust: httpx.AsyncClient, patient: str, there: Archive
) -> None:
    old = await made(trust, pointing(patient, there.url("/kept/1")))
    new = pointing(
        patient, there.url("/kept/1"), **related("replaces", f"DocumentReference/{old['id']}")
    )
    await made(trust, new)
    now = (await trust.get(f"/DocumentReference/{old['id']}")).json()
    assert now["status"] == "superseded"
    assert (
        await trust.get(now["content"][0]["attachment"]["url"], headers=PLAIN)
    ).content == LETTER


async def test_the_token_must_reach_the_documentreference(
    city: Exchange, trust: httpx.AsyncClient, patient: str, there: Archive
) -> None:
    shown = await made(trust, pointing(patient, there.url("/kept/1")))
    url = shown["content"][0]["attachment"]["url"]
    before = len(there.asked)
    narrow = (
        f"system/DocumentReference.rs?category={NS}/CodeSystem/document-class|NOTE system/Binary.r"
    )
    for scope, status in ((narrow, 404), ("system/Binary.r", 403)):
        async with city.as_client(scope) as client:
            assert (await client.get(url)).status_code == status
    assert len(there.asked) == before


async def test_a_delayed_document_gets_its_measures_at_its_first_retrieval(
    city: Exchange,
    trust: httpx.AsyncClient,
    anyone: httpx.AsyncClient,
    patient: str,
    there: Archive,
) -> None:
    there.documents["/kept/late"] = LETTER
    bundle = pointing(patient, there.url("/kept/late"))
    document = bundle["entry"][1]["resource"]
    document["content"][0]["attachment"] |= {"hash": EMPTY_SHA1, "size": 0}
    shown = await made(trust, bundle)
    url = shown["content"][0]["attachment"]["url"]
    assert (await anyone.get(url, headers=PLAIN)).content == LETTER
    answer = await anyone.get(
        "/DocumentReference",
        params={"_id": shown["id"], "_revinclude": "Provenance:target"},
    )
    now, proof = [e["resource"] for e in answer.json()["entry"]]
    expected = {"hash": sha1(LETTER), "size": len(LETTER), "url": url}
    assert expected.items() <= now["content"][0]["attachment"].items()
    assert (now["status"], now["meta"]["versionId"]) == ("current", "2")
    assert proof["target"] == [{"reference": f"DocumentReference/{shown['id']}/_history/2"}]
    assert "R0A" in str(proof["agent"])
    there.documents["/kept/late"] = b"Something else.\n"
    assert (await anyone.get(url, headers=PLAIN)).status_code == 502
    # Its uniqueId now stands for these bytes.
    taken = await city.mongo.table("registry", "registered").one(
        {"of": shown["id"], "kind": "document"}
    )
    assert taken is not None
    assert (taken["hash"], taken["size"]) == (sha1(LETTER), len(LETTER))
    # The same submission again is the same, and changes nothing.
    assert (await publish(trust, bundle)).status_code == 200
    assert (await anyone.get(f"/DocumentReference/{shown['id']}")).json() == now


async def test_a_delayed_document_that_is_superseded_before_is_assembled_all_the_same(
    trust: httpx.AsyncClient, patient: str, there: Archive
) -> None:
    there.documents["/kept/late2"] = LETTER
    bundle = pointing(patient, there.url("/kept/late2"))
    attachment = bundle["entry"][1]["resource"]["content"][0]["attachment"]
    attachment |= {"hash": EMPTY_SHA1, "size": 0}
    old = await made(trust, bundle)
    replacing = related("replaces", f"DocumentReference/{old['id']}")
    await made(trust, pointing(patient, there.url("/kept/1"), **replacing))
    assert (
        await trust.get(old["content"][0]["attachment"]["url"], headers=PLAIN)
    ).content == LETTER
    now = (await trust.get(f"/DocumentReference/{old['id']}")).json()
    assert (now["status"], now["meta"]["versionId"]) == ("superseded", "3")
    assert now["content"][0]["attachment"]["size"] == len(LETTER)


# -- what is refused -------------------------------------------------------------------------------
def _extended(code: str) -> Callable[[dict[str, Any]], object]:
    return lambda b: b["entry"][1]["resource"]["content"][0].update(
        extension=[{"url": EXTENSION, "valueCode": code}]
    )


def _attached(**said: Any) -> Callable[[dict[str, Any]], object]:
    return lambda b: b["entry"][1]["resource"]["content"][0]["attachment"].update(said)


BREACHES: dict[str, tuple[Callable[[dict[str, Any]], object], str, str]] = {
    "an address nobody agreed on": (_attached(url="https://nobody.example/1"), "attachment.url", "XDSMissingDocument"),
    "beside the agreed folder": (_attached(url="https://records.gmp.example.evil.example/1"), "attachment.url", "XDSMissingDocument"),
    "an inner address": (_attached(url="http://169.254.169.254/latest"), "attachment.url", "XDSMissingDocument"),
    "somebody else's": (_attached(url="https://records.gmp.example/1"), "attachment.url", ""),
    "another mechanism": (_extended("direct"), "content[0].extension", "XDSRegistryMetadataError"),
    "a size without a hash": (lambda b: b["entry"][1]["resource"]["content"][0]["attachment"].pop("hash"), "attachment.hash", "XDSRepositoryMetadataError"),
    "a hash without a size": (lambda b: b["entry"][1]["resource"]["content"][0]["attachment"].pop("size"), "attachment.size", "XDSRepositoryMetadataError"),
}  # fmt: skip


@pytest.mark.parametrize("name", BREACHES)
async def test_a_pointer_that_breaks_a_rule_is_refused_and_nothing_is_stored(
    city: Exchange, trust: httpx.AsyncClient, patient: str, there: Archive, name: str
) -> None:
    change, where, xds = BREACHES[name]
    bundle = pointing(patient, there.url("/kept/1"))
    change(bundle)
    before = [await city.mongo.table("registry", t).count({}) for t in TABLES]
    answer = await publish(trust, bundle)
    assert answer.status_code == 400, answer.text
    (issue,) = answer.json()["issue"]
    assert issue["expression"][0].startswith("Bundle.entry[1].resource.content[0]")
    assert issue["expression"][0].endswith(where)
    codes = [c["code"] for c in issue.get("details", {}).get("coding", ())]
    assert codes == ([xds] if xds else [])
    assert [await city.mongo.table("registry", t).count({}) for t in TABLES] == before


async def test_the_mechanism_may_be_said_when_it_is_the_agreed_one(
    trust: httpx.AsyncClient, patient: str, there: Archive
) -> None:
    bundle = pointing(patient, there.url("/kept/1"))
    _extended("proxy")(bundle)
    shown = await made(trust, bundle)
    assert len(shown["content"][0]["extension"]) == 1


async def test_a_document_that_comes_with_its_bytes_has_no_mechanism(
    trust: httpx.AsyncClient, patient: str
) -> None:
    bundle = a_bundle(a_document(patient))
    _extended("proxy")(bundle)
    answer = await publish(trust, bundle)
    assert answer.status_code == 400
    assert "held here" in answer.text


async def test_apart_the_repository_learns_from_the_registry_where_a_document_is(
    mongod_uri: str,
    database_prefix: str,
    there: Archive,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pack = a_pack(tmp_path, f"R0A,{there.url('/kept/')},proxy,127.0.0.0/8,test")
    monkeypatch.setenv("THROUGHLINE_AFFINITY", str(pack))
    monkeypatch.setenv("THROUGHLINE_RETRIEVAL_WAIT", "1")
    prefix = database_prefix + "apart_"
    own = Mongo(mongod_uri, prefix=prefix)
    async with (
        apart(own, mongod_uri, prefix, tmp_path) as (exchange, _),
        exchange.as_client() as client,
    ):
        person = await a_patient(client)
        shown = await made(client, pointing(person, there.url("/kept/1")))
        answer = await client.get(shown["content"][0]["attachment"]["url"], headers=PLAIN)
        assert (answer.status_code, answer.content) == (200, LETTER)
        late = pointing(person, there.url("/kept/1"))
        attachment = late["entry"][1]["resource"]["content"][0]["attachment"]
        attachment |= {"hash": EMPTY_SHA1, "size": 0}
        shown = await made(client, late)
        answer = await client.get(shown["content"][0]["attachment"]["url"], headers=PLAIN)
        assert (answer.status_code, answer.content) == (200, LETTER)
        now = (await client.get(f"/DocumentReference/{shown['id']}")).json()
        assert now["content"][0]["attachment"]["hash"] == sha1(LETTER)
    await own.close()
