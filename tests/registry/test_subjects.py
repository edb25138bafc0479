"""When its source merges a Patient, documents follow, provably, and come back when that is undone."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from chassis.mongo import Mongo
from pix import stewarding
from registry.subjects import rewritten
from tests.makers_mhd import (
    NHS,
    a_bundle,
    a_document,
    a_folder,
    a_patient,
    locations,
    nhs_number,
    publish,
)
from tests.registry.test_find_identity import Stewards, found
from tests.running import Exchange


def named(value: str) -> list[dict[str, Any]]:
    return [{"system": NHS, "value": value}]


async def merged(source: httpx.AsyncClient, gone: str, into: str) -> None:
    """The source says that one number replaces another."""
    other = {"identifier": {"system": NHS, "value": into}}
    link = [{"other": other, "type": "replaced-by"}]
    await a_patient(source, identifier=named(gone), active=False, link=link)


async def shown_under(source: httpx.AsyncClient, resource: str, subject: str) -> dict[str, Any]:
    """The resource, once it is shown under this subject."""
    for _ in range(80):
        made: dict[str, Any] = (await source.get(resource)).json()
        if made["subject"]["reference"] == subject:
            return made
        await asyncio.sleep(0.1)
    raise AssertionError(f"{resource} stayed with {made['subject']}")


async def test_documents_and_lists_follow_a_merge_with_proof_and_come_back(
    exchange: Exchange, source: httpx.AsyncClient, mongo: Mongo
) -> None:
    numbers = [nhs_number(510_000), nhs_number(510_050)]
    old, new = [await a_patient(source, identifier=named(n)) for n in numbers]
    documents = [a_document(old), a_document(old)]
    for number, document in enumerate(documents):
        document["_url"] = f"urn:uuid:00000000-0000-4000-8000-00000000000{number}"
    folder_ = a_folder(old, members=(documents[0]["_url"],))
    answer = await publish(source, a_bundle(*documents, folders=(folder_,)))
    submission, one, _, two, _, folder = locations(answer)
    before = (await source.get(one)).json()

    await merged(source, *numbers)
    assert await found(source, old) == await found(source, numbers[1]) == 2, "at once"
    for resource in (one, two, submission, folder):
        made = await shown_under(source, resource, new)
        assert made["meta"]["versionId"] == "2"
    after = (await source.get(one)).json()
    assert after["context"]["sourcePatientInfo"] == before["context"]["sourcePatientInfo"]
    assert after["contained"] == before["contained"]
    assert (await source.get(f"{one}/_history/1")).json() == before

    query = {"patient": new, "status": "current", "_revinclude": "Provenance:target"}
    bundle = (await source.get("/DocumentReference", params=query)).json()
    (proof,) = [e["resource"] for e in bundle["entry"] if e["search"]["mode"] == "include"]
    assert {t["reference"] for t in proof["target"]} == {f"{d}/_history/2" for d in (one, two)}
    assert proof["entity"][0]["what"]["reference"] == old
    assert (await source.get(f"Provenance/{proof['id']}")).json() == proof
    async with exchange.as_client("system/Provenance.r", role="R-GP") as client:
        assert (await client.get(f"Provenance/{proof['id']}")).status_code == 200
        table = mongo.table("registry", "documents")
        hidden = {"_id": two.partition("/")[2]}
        await table.update(hidden, {"$set": {"seen": "somebody else"}})
        assert (await client.get(f"Provenance/{proof['id']}")).status_code == 404
        await table.update(hidden, {"$set": {"seen": ""}})
    events = await mongo.table("audit", "events").many({"ix.entity": one, "ix.action": "U"})
    assert len(events) == 1

    stewards = Stewards(exchange)
    decision = await stewarding.latest_merge(stewards.people, record=old.partition("/")[2])
    await stewards.decide(lambda c: stewarding.unmerge(c, decision, "two women"))
    assert await found(source, new) == 0, "at once"
    for resource in (one, two, submission, folder):
        made = await shown_under(source, resource, old)
        assert made["meta"]["versionId"] == "3"
    assert {k: v for k, v in (await source.get(one)).json().items() if k != "meta"} == {
        k: v for k, v in before.items() if k != "meta"
    }


async def test_documents_follow_a_chain_of_merges_to_its_end(source: httpx.AsyncClient) -> None:
    numbers = [nhs_number(520_000 + 40 * n) for n in range(3)]
    people = [await a_patient(source, identifier=named(n)) for n in numbers]
    made = [locations(await publish(source, a_bundle(a_document(p))))[1] for p in people]
    await merged(source, numbers[0], numbers[1])
    await shown_under(source, made[0], people[1])
    await merged(source, numbers[1], numbers[2])
    for document in made:
        await shown_under(source, document, people[2])


async def test_links_and_merges_of_persons_rewrite_nothing(
    exchange: Exchange, source: httpx.AsyncClient
) -> None:
    one, other = [
        await a_patient(source, identifier=named(nhs_number(530_000 + 40 * n))) for n in (0, 1)
    ]
    document = locations(await publish(source, a_bundle(a_document(one))))[1]
    stewards = Stewards(exchange)
    gone, kept = await stewards.person(one), await stewards.person(other)
    await stewards.decide(lambda c: stewarding.merge_persons(c, gone, kept, "one woman"))
    assert await found(source, other) == 1
    await asyncio.sleep(2.5)
    made = (await source.get(document)).json()
    assert made["subject"]["reference"] == one
    assert made["meta"]["versionId"] == "1"


async def test_a_move_is_remembered_only_while_it_lasts(
    source: httpx.AsyncClient, person: str, mongo: Mongo
) -> None:
    from datetime import UTC, datetime

    document = locations(await publish(source, a_bundle(a_document(person))))[1]
    row = await mongo.table("registry", "documents").one({"_id": document.partition("/")[2]})
    assert row is not None
    now = datetime.now(UTC)
    there = rewritten(rewritten(row, "b", now, ""), "c", now, "")
    assert there["subject"] == row["subject"]
    assert there["moved"] == {"of": row["subject"], "to": "c"}
    back = rewritten(there, row["subject"], now, "")
    assert "moved" not in back
    assert back["ix"] == row["ix"]
    assert back["v"] == row["v"] + 3
