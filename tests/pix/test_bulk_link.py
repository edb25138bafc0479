"""`people link`: loaded records become the persons that feeding them would have made."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from affinity.pack import load as load_pack
from benchmarks.identity.population import arrivals
from chassis.mongo import Mongo
from chassis.settings import Settings
from pix.app import prepared
from pix.bulk import link as linkage
from pix.bulk.link import Linked, Wanted, link
from pix.people import People
from pix.rebuild import rebuild
from standards.outcome import Refused
from tests.pix.makers import (
    COUNCIL,
    TRUST,
    Pix,
    identifier,
    nhs_number,
    patient,
    pix_service,
    replaced,
)
from tests.pix.test_bulk_load import OPERATOR, loaded, written
from tests.pix.test_linking import told, who
from tests.running import ORIGIN

pytest.importorskip("duckdb")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened(mongo: Mongo) -> AsyncIterator[Pix]:
    async with pix_service(mongo) as pix:
        yield pix


@pytest_asyncio.fixture
async def pix(opened: Pix) -> Pix:
    """The running service over an empty store."""
    people = opened.near.people
    for name in (
        "records", "history", "identifiers", "persons", "links", "explanations", "exclusions",
        "inclusions", "decisions", "events", "reviews", "profiles", "postings", "loads", "loaded",
    ):  # fmt: skip
        await getattr(people, name).delete({}, many=True)
    await people.counted.table.delete({}, many=True)
    people.counted.current = people.model.frequencies
    return opened


async def store(pix: Pix) -> People:
    """The store as the command line opens it, beside the running service."""
    settings = Settings(public_url=ORIGIN, log_level="error")
    return await prepared(settings, pix.mongo, load_pack(settings.affinity))


async def entered(pix: Pix, folder: Path, bodies: list[dict[str, Any]]) -> Linked:
    people = await store(pix)
    await loaded(people, written(folder / "people.ndjson", bodies))
    return await linked(people)


async def linked(people: People) -> Linked:
    return await link(people, Wanted(OPERATOR), lambda *_: None)


async def clusters(people: People) -> dict[str, str]:
    return {
        f"{r['system']}|{r['value']}": r["person"]
        for r in await people.records.many(
            {"state": "active"}, {"system": 1, "value": 1, "person": 1}
        )
    }


def pairs(made: dict[str, str]) -> set[tuple[str, str]]:
    by: dict[str, list[str]] = {}
    for key, person in made.items():
        by.setdefault(person, []).append(key)
    return {pair for keys in by.values() for pair in combinations(sorted(keys), 2)}


async def test_what_is_loaded_is_nobodys_until_it_is_linked(pix: Pix, tmp_path: Path) -> None:
    people = await store(pix)
    bodies = [patient(COUNCIL, "9300001", **told("alma")), patient(TRUST, "H9301", **told("alma"))]
    await loaded(people, written(tmp_path / "p.ndjson", bodies))
    waiting = await pix.ask(COUNCIL, "9300001")
    assert waiting.status_code == 503
    assert waiting.headers["retry-after"] == "60"
    assert (await pix.ask(COUNCIL, "9399999")).status_code == 404
    assert (await pix.http.get("/Patient?_summary=count")).json().get("total", 0) == 0
    made = await linked(people)
    assert (made.records, made.persons, made.joined) == (2, 1, 1)
    assert await pix.others(COUNCIL, "9300001") == [(TRUST, "H9301")]
    (load,) = await people.loads.many({})
    assert load["state"] == "linked"


async def test_links_have_weights_and_why_and_no_notice_goes_out(pix: Pix, tmp_path: Path) -> None:
    bodies = [patient(COUNCIL, "9310001", **told("bela")), patient(TRUST, "H9311", **told("bela"))]
    await entered(pix, tmp_path, bodies)
    people = pix.near.people
    joined = await who(pix, TRUST, "H9311")
    match = await people.links.one({"_id": joined.record})
    assert match is not None
    assert (match["state"], match["source"]) == ("MATCH", "automatic")
    assert match["weight"] > people.model.thresholds.join
    why = await people.explanations.one({"_id": match["explanation"]})
    assert why is not None
    assert why["person"] == joined.person
    decision = await people.decisions.one({"_id": match["decision"]})
    assert decision is not None
    assert decision["actor"]["client"] == "loader"
    assert set(decision["after"][joined.person]) == set(joined.same)
    assert await people.events.count({}) == 0
    rows = await pix.mongo.table("pix", "audit_outbox").many({})
    fed = [json.loads(r["b"]) for r in rows]
    feeds = [e for e in fed if any(s["code"] == "ITI-104" for s in e["subtype"])]
    assert {e["entity"][-1]["what"]["identifier"]["value"] for e in feeds} >= {"9310001", "H9311"}
    read = (await pix.http.get(f"/Patient/{joined.record}")).json()
    assert read["meta"]["versionId"] == "1"
    assert [k["type"] for k in read["link"]] == ["seealso"]


async def test_loading_and_feeding_make_the_same_persons(pix: Pix, tmp_path: Path) -> None:
    city = arrivals(23, 420)
    for record in city:
        answer = await pix.put(record.system, record.value, record.patient)
        assert answer.status_code in (200, 201), answer.text
    people = pix.near.people
    online = await clusters(people)
    for name in (
        "records", "history", "identifiers", "persons", "links", "explanations", "decisions",
        "events", "reviews", "profiles", "postings",
    ):  # fmt: skip
        await getattr(people, name).delete({}, many=True)
    bodies = [{**r.patient} for r in city]
    beside = await store(pix)
    await loaded(beside, written(tmp_path / "p.ndjson", bodies))
    with pytest.MonkeyPatch.context() as patched:  # the same frequencies on both sides
        patched.setattr(linkage, "frequencies", lambda *_: beside.model.frequencies)
        made = await linked(beside)
    bulk = await clusters(people)
    assert made.records == len(bulk)
    assert bulk.keys() == online.keys()
    alike, differ = pairs(bulk) & pairs(online), pairs(bulk) ^ pairs(online)
    assert len(alike) > 100
    assert len(differ) <= 0.01 * len(alike), sorted(differ)


async def test_a_linked_store_is_one_that_a_rebuild_leaves_as_it_is(
    pix: Pix, tmp_path: Path
) -> None:
    city = arrivals(29, 300)
    await entered(pix, tmp_path, [{**r.patient} for r in city])
    people = pix.near.people
    made = await rebuild(people, linkage._now(), lambda *_: None)
    assert made.changed == 0, made.differed
    assert await people.links.count({"state": "MATCH"}) == await people.records.count(
        {"state": "active"}
    )


async def test_the_online_path_goes_on_from_a_linkage(pix: Pix, tmp_path: Path) -> None:
    await entered(pix, tmp_path, [patient(COUNCIL, "9320001", **told("cleo"))])
    await pix.feed(patient(TRUST, "H9321", **told("cleo")))
    assert await pix.others(COUNCIL, "9320001") == [(TRUST, "H9321")]
    again = (await pix.feed(patient(COUNCIL, "9320001", **told("cleo")))).status_code
    assert again == 200


async def test_who_meets_somebody_known_goes_the_online_way(pix: Pix, tmp_path: Path) -> None:
    await pix.feed(patient(TRUST, "H9331", **told("dora")))
    made = await entered(
        pix, tmp_path,
        [patient(COUNCIL, "9330001", **told("dora")), patient(COUNCIL, "9330002", **told("maximilian"))],
    )  # fmt: skip
    assert (made.one_by_one, made.records) == (1, 1)
    assert await pix.others(TRUST, "H9331") == [(COUNCIL, "9330001")]


async def test_what_a_source_feeds_after_the_file_was_written_stands(
    pix: Pix, tmp_path: Path
) -> None:
    people = await store(pix)
    await loaded(
        people, written(tmp_path / "p.ndjson", [patient(COUNCIL, "9340001", born="1970-03-04")])
    )
    await pix.feed(patient(COUNCIL, "9340001", born="1971-03-04"))
    made = await linked(people)
    assert made.passed_over == 1
    found = await who(pix, COUNCIL, "9340001")
    assert (await pix.http.get(f"/Patient/{found.record}")).json()["birthDate"] == "1971-03-04"


async def test_a_file_loaded_again_changes_nothing_and_a_newer_one_revises(
    pix: Pix, tmp_path: Path
) -> None:
    first, second = patient(COUNCIL, "9350001"), patient(COUNCIL, "9350002")
    await entered(pix, tmp_path, [first, second])
    people = await store(pix)
    newer = written(tmp_path / "newer.ndjson", [first, second | {"gender": "male"}])
    made = await loaded(people, newer)
    assert (made.counts["unchanged"], made.counts["revised"], made.counts["staged"]) == (1, 1, 0)
    found = await who(pix, COUNCIL, "9350002")
    read = (await pix.http.get(f"/Patient/{found.record}")).json()
    assert (read["gender"], read["meta"]["versionId"]) == ("male", "2")


async def test_merges_of_the_file_are_made_last(pix: Pix, tmp_path: Path) -> None:
    survivor = {"identifier": {"system": COUNCIL, "value": "9360002"}}
    bodies = [replaced(patient(COUNCIL, "9360001"), survivor), patient(COUNCIL, "9360002")]
    made = await entered(pix, tmp_path, bodies)
    assert (made.merges, made.refused) == (1, [])
    assert (await who(pix, COUNCIL, "9360001")).state == "subsumed"


async def test_a_linkage_waits_for_an_unfinished_load(pix: Pix, tmp_path: Path) -> None:
    people = await store(pix)
    await loaded(people, written(tmp_path / "p.ndjson", [patient(COUNCIL, "9370001")]))
    await people.loads.update({}, {"$set": {"state": "loading"}})
    with pytest.raises(Refused) as refusal:
        await linked(people)
    assert "interrupted" in refusal.value.issues[0].words


@pytest.mark.parametrize("after", [0, 1, 3])
async def test_a_linkage_that_was_killed_is_finished_by_the_same_command(
    pix: Pix, tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = await store(pix)
    city = arrivals(31, 200)
    await loaded(people, written(tmp_path / "p.ndjson", [{**r.patient} for r in city]))
    writes = 0

    def dying(table: str) -> None:
        nonlocal writes
        writes += table == "postings"
        if writes > after:
            raise KeyboardInterrupt

    monkeypatch.setattr(linkage, "BATCH", 40)
    people.between = dying
    with pytest.raises(KeyboardInterrupt):
        await linked(people)
    people.between = None
    await linked(people)
    assert await people.loaded.count({}) == 0
    keys = {f"{r.system}|{r.value}" for r in city}
    assert (await clusters(people)).keys() == keys
    assert (await rebuild(people, linkage._now(), lambda *_: None)).changed == 0


async def test_sealed_identities_stay_alone_whatever_they_say(pix: Pix, tmp_path: Path) -> None:
    sealed = {
        "security": [
            {"system": "https://throughline.example/fhir/CodeSystem/sensitivity", "code": "WITPROT"}
        ]
    }
    nhs = identifier("https://fhir.nhs.uk/Id/nhs-number", nhs_number(9380), status="01")
    one = patient(COUNCIL, "9380001", **told("fritz"))
    other = patient(TRUST, "H9381", **told("fritz"), meta=sealed)
    other["identifier"].append(nhs)
    one["identifier"].append(nhs)
    made = await entered(pix, tmp_path, [one, other])
    assert (made.persons, made.questions) == (2, 0)
