"""Documents are kept for their time, held when the law says so, and destroyed by two people at once."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest_asyncio

from repository.certificate import genuine
from standards.r4.check import check_structure
from tests.makers_mhd import a_bundle, a_document, a_patient, locations, publish
from tests.running import Exchange

RAW = {"Accept": "*/*"}
SCOPE = "records-review records-approve records-destroy records-hold system/*.rs ITI-68"


@dataclass
class People:
    """A source, and two records managers of the same trust, and one of another."""

    source: httpx.AsyncClient
    first: httpx.AsyncClient
    second: httpx.AsyncClient
    other: httpx.AsyncClient


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def people(exchange: Exchange) -> AsyncIterator[People]:
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                exchange.as_client("system/*.cruds", organisation="R0A")
            )
        ]
        for organisation in ("R0A", "R0A", "RM3"):
            opening = exchange.as_client(SCOPE, role="R-ADM", organisation=organisation)
            clients.append(await stack.enter_async_context(opening))
        yield People(*clients)


def body(**said: Any) -> dict[str, Any]:
    kinds = {"act": "valueCode", "ground": "valueCode", "cls": "valueCode", "until": "valueDate",
             "all": "valueBoolean", "count": "valueInteger", "ended": "valueBoolean"}  # fmt: skip
    made = [
        {"name": "class" if name == "cls" else name, kinds.get(name, "valueString"): one}
        for name, value in said.items()
        for one in (value if isinstance(value, list) else [value])
    ]
    return {"resourceType": "Parameters"} | ({"parameter": made} if made else {})


async def ask(client: httpx.AsyncClient, operation: str, **said: Any) -> httpx.Response:
    answer = await client.post(
        f"/Binary/${operation}",
        json=body(**said),
        headers={"Content-Type": "application/fhir+json"},
    )
    if answer.content:
        assert check_structure(json.loads(answer.content)) == ()
    return answer


def values(answer: httpx.Response, name: str) -> list[Any]:
    return [
        next((v for k, v in p.items() if k.startswith("value")), p.get("part", p.get("resource")))
        for p in answer.json().get("parameter", ())
        if p["name"] == name
    ]


def parts(answer: httpx.Response) -> dict[str, dict[str, list[Any]]]:
    """The documents of a list by id."""
    found = {}
    for shown in values(answer, "document"):
        told: dict[str, list[Any]] = {}
        for p in shown:
            told.setdefault(p["name"], []).append(next(v for k, v in p.items() if k != "name"))
        found[told["id"][0]] = told
    return found


async def a_kept(
    people: People,
    *,
    kind: str = "HL-APPR",
    end: str = "2015-05-01",
    content: bytes = b"",
    **more: Any,
) -> tuple[str, str, str]:
    """A published document: its id, the path of its bytes, and whose it is."""
    person = more.pop("person", None) or await a_patient(people.source)
    document = a_document(person, content=content or f"about {person}".encode())
    document["type"]["coding"][0]["code"] = kind
    document["context"]["period"] = {"start": "2000-01-01", "end": end}
    answer = await publish(people.source, a_bundle(document))
    assert answer.status_code == 200, answer.text
    _, reference, binary = locations(answer)
    return reference.partition("/")[2], f"/{binary}", person


async def approved(people: People, *documents: str, **said: Any) -> str:
    answer = await ask(
        people.first,
        "retention-approve",
        document=list(documents),
        reason="Its time is over",
        **said,
    )
    assert answer.status_code == 201, answer.text
    return str(values(answer, "disposal")[0])


async def destroyed(people: People, disposal: str) -> dict[str, Any]:
    """The certificate of a disposal that the second manager confirms."""
    answer = await ask(people.second, "retention-destroy", disposal=disposal, reason="I agree")
    assert answer.status_code == 200, answer.text
    (binary,) = values(answer, "certificate")
    return dict(json.loads(base64.b64decode(binary["data"])))


async def test_a_document_whose_time_is_over_is_listed_and_destroyed_by_two(
    exchange: Exchange, people: People
) -> None:
    content = b"What the housing officer wrote down about nobody."
    id_, bytes_, person = await a_kept(people, content=content)
    later, _, _ = await a_kept(people, end="2025-01-01")
    listed = await ask(people.first, "retention-review", count=1000)
    assert id_ in parts(listed)
    assert later not in parts(listed)
    told = parts(listed)[id_]
    assert (told["class"], told["due"], told["action"]) == (
        ["RC-HOME"],
        ["2021-05-01"],
        ["destroy"],
    )
    assert later in parts(
        await ask(people.first, "retention-review", until="2031-01-01", count=1000)
    )

    disposal = await approved(people, id_)
    assert (await people.second.get(bytes_, headers=RAW)).content == content, (
        "nothing happens before the second"
    )
    listed = await ask(people.first, "retention-review", count=1000)
    assert parts(listed)[id_]["disposal"] == [disposal]
    before = await exchange.mongo.table("repository", "blobs").count({})
    certificate = await destroyed(people, disposal)

    assert await exchange.mongo.table("repository", "blobs").count({}) == before - 1
    gone = await people.second.get(bytes_)
    assert gone.status_code == 410
    assert gone.json()["issue"][0]["code"] == "deleted"
    assert genuine(certificate)
    assert not genuine(certificate | {"ground": "erasure"})
    assert certificate["approved"]["reason"] == "Its time is over"
    assert certificate["confirmed"]["subject"] != certificate["approved"]["subject"]
    (document,) = certificate["documents"]
    assert document["document"] == f"DocumentReference/{id_}"
    assert document["outcome"].startswith("Key and bytes destroyed")
    assert len(document["keyFingerprint"]) == 64
    again = await ask(people.first, "retention-certificate", disposal=disposal)
    (page,) = values(again, "printable")
    html = base64.b64decode(page["data"]).decode()
    assert "Certificate of destruction" in html
    assert certificate["sha256"] in html
    assert person in document["subject"]
    assert id_ not in parts(await ask(people.first, "retention-review", all=True, count=1000))
    deposit = await exchange.mongo.table("repository", "deposits").one(
        {"_id": bytes_.rpartition("/")[2]}
    )
    assert deposit is not None
    assert (deposit["state"], deposit["digest"], deposit["blob"]) == ("destroyed", "", "")


async def test_the_tombstone_says_what_was_here_and_nothing_of_what_it_said(people: People) -> None:
    id_, _, person = await a_kept(people)
    await destroyed(people, await approved(people, id_))
    tombstone = (await people.second.get(f"/DocumentReference/{id_}")).json()
    assert tombstone["status"] == "entered-in-error"
    assert tombstone["subject"] == {"reference": person}
    assert tombstone["type"]["coding"][0]["code"] == "HL-APPR"
    assert tombstone["meta"]["versionId"] == "2"
    attachment = tombstone["content"][0]["attachment"]
    assert attachment.keys() == {"contentType", "_url"}
    for path in (f"/DocumentReference/{id_}", f"/DocumentReference/{id_}/_history/1",
                 f"/DocumentReference/{id_}/_history"):  # fmt: skip
        said = await people.second.get(path)
        assert said.status_code == 200
        assert not any(
            word in said.text for word in ("Marsh", "ztürk", "Binary/", "hash", "contained")
        )
    assert check_structure(tombstone) == ()
    found = await people.second.get(
        "/DocumentReference", params={"patient": person, "status": "current"}
    )
    assert found.json()["total"] == 0
    replacing = a_document(person, relatesTo=[{"code": "replaces", "target": {"reference": f"DocumentReference/{id_}"}}])  # fmt: skip
    assert (await publish(people.source, a_bundle(replacing))).status_code == 400


async def test_whoever_approved_a_disposal_cannot_confirm_it(people: People) -> None:
    id_, bytes_, _ = await a_kept(people)
    disposal = await approved(people, id_)
    answer = await ask(people.first, "retention-destroy", disposal=disposal, reason="me again")
    assert answer.status_code == 403
    assert "second person" in answer.text
    assert (await people.first.get(bytes_)).status_code == 200
    assert (
        await ask(people.first, "retention-withdraw", disposal=disposal, reason="no")
    ).is_success
    answer = await ask(people.second, "retention-destroy", disposal=disposal, reason="late")
    assert answer.status_code == 409
    await destroyed(people, await approved(people, id_))


async def test_a_document_goes_early_only_by_the_custodians_decision(people: People) -> None:
    id_, bytes_, _ = await a_kept(people, end="2025-06-30")
    early = await ask(people.first, "retention-approve", document=id_, reason="tidying up")
    assert early.status_code == 422
    assert "2031-06-30" in early.text
    certificate = await destroyed(people, await approved(people, id_, ground="erasure"))
    assert certificate["ground"] == "erasure"
    assert (await people.first.get(bytes_)).status_code == 410


async def test_a_legal_hold_beats_everything_even_an_approved_erasure(people: People) -> None:
    id_, bytes_, person = await a_kept(people)
    number = await people.second.get(f"/{person}")
    assert number.status_code == 200
    disposal = await approved(people, id_, ground="erasure")
    placed = await ask(
        people.first, "legal-hold", ground="INQUIRY", patient=person, reason="asked by the inquiry"
    )
    assert placed.status_code == 201
    (hold,) = values(placed, "hold")
    refused = await ask(people.second, "retention-destroy", disposal=disposal, reason="go on")
    assert refused.status_code == 409
    assert hold in refused.text
    assert (await people.second.get(bytes_)).status_code == 200
    told = parts(await ask(people.first, "retention-review", count=1000))[id_]
    assert told["hold"] == [hold]
    by_class = await ask(people.first, "legal-hold", ground="SAR", cls="RC-HOME", reason="wide")
    ended = await ask(people.first, "legal-hold-end", hold=hold, reason="the inquiry is over")
    assert ended.status_code == 200
    assert (
        await ask(people.second, "retention-destroy", disposal=disposal, reason="?")
    ).status_code == 409
    await ask(people.first, "legal-hold-end", hold=values(by_class, "hold")[0], reason="narrowed")
    again = await ask(people.first, "legal-hold-end", hold=hold, reason="twice")
    assert again.status_code == 409
    await destroyed(people, disposal)
    standing = await ask(people.first, "legal-holds")
    assert hold not in standing.text
    assert hold in (await ask(people.first, "legal-holds", ended=True)).text


async def test_a_hold_and_a_destruction_at_once_never_both_win(people: People) -> None:
    for _ in range(4):
        id_, bytes_, _ = await a_kept(people)
        disposal = await approved(people, id_)
        held, gone = await asyncio.gather(
            ask(people.first, "legal-hold", ground="LITIGATION", document=id_, reason="pending"),
            ask(people.second, "retention-destroy", disposal=disposal, reason="go"),
        )
        assert held.status_code == 201
        there = (await people.second.get(bytes_)).status_code
        assert (gone.status_code, there) in ((200, 410), (409, 200))
        ended = await ask(
            people.first, "legal-hold-end", hold=values(held, "hold")[0], reason="over"
        )
        assert ended.status_code == 200


async def test_another_organisations_documents_are_not_ours_to_dispose_of(people: People) -> None:
    id_, _, _ = await a_kept(people)
    assert id_ not in parts(await ask(people.other, "retention-review", all=True, count=1000))
    answer = await ask(people.other, "retention-approve", document=id_, reason="mine")
    assert answer.status_code == 404
    disposal = await approved(people, id_)
    for operation in ("retention-destroy", "retention-withdraw"):
        answer = await ask(people.other, operation, disposal=disposal, reason="mine")
        assert answer.status_code == 404, operation
    assert (await ask(people.other, "retention-certificate", disposal=disposal)).status_code == 404


async def test_equal_documents_of_one_organisation_go_one_by_one(people: People) -> None:
    content = b"The same letter to the whole family."
    one, first, _ = await a_kept(people, content=content)
    two, second, _ = await a_kept(people, content=content)
    certificate = await destroyed(people, await approved(people, one))
    assert "for 1 other document" in certificate["documents"][0]["outcome"]
    assert (await people.first.get(first)).status_code == 410
    assert (await people.first.get(second, headers=RAW)).content == content
    certificate = await destroyed(people, await approved(people, two))
    assert certificate["documents"][0]["outcome"].startswith("Key and bytes destroyed")


async def test_a_set_is_destroyed_whole_or_not_at_all(people: People) -> None:
    made = [await a_kept(people) for _ in range(3)]
    ids = [id_ for id_, _, _ in made]
    refused = await ask(people.first, "retention-approve", document=[*ids, "nobody"], reason="x")
    assert refused.status_code == 404
    disposal = await approved(people, *ids)
    twice = await ask(people.second, "retention-approve", document=ids[0], reason="x")
    assert twice.status_code == 409
    held = await ask(people.first, "legal-hold", ground="COMPLAINT", document=ids[1], reason="x")
    assert (
        await ask(people.second, "retention-destroy", disposal=disposal, reason="x")
    ).status_code == 409
    assert [(await people.first.get(b)).status_code for _, b, _ in made] == [200] * 3
    await ask(people.first, "legal-hold-end", hold=values(held, "hold")[0], reason="over")
    await destroyed(people, disposal)
    assert [(await people.first.get(b)).status_code for _, b, _ in made] == [410] * 3


async def test_send_makes_a_questionnaire_stay_longer_as_of_the_day_it_would_go(
    people: People,
) -> None:
    id_, _, person = await a_kept(people, kind="EY-ASQ3", end="2005-01-01")
    disposal = await approved(people, id_)
    await a_kept(people, kind="EY-SENDN", person=person)
    answer = await ask(people.second, "retention-destroy", disposal=disposal, reason="x")
    assert answer.status_code == 422
    assert "2030-01-01" in answer.text


async def test_every_mistake_of_a_body_is_told_at_once(people: People) -> None:
    answer = await ask(people.first, "retention-approve", nonsense="x", act="destroy")
    assert answer.status_code == 400
    said = answer.text
    assert (
        all(word in said for word in ("nonsense", "document", "reason"))
        or said.count("diagnostics") == 3
    )
    answer = await ask(people.first, "legal-hold", ground="WHIM", cls="RC-NONE", reason="x")
    assert len(answer.json()["issue"]) == 2
    for operation, more in (
        ("retention-review", {"count": 0}), ("retention-review", {"until": "2030"}),
        ("retention-approve", {"document": "x", "act": "burn", "reason": "x"}),
    ):  # fmt: skip
        assert (await ask(people.first, operation, **more)).status_code in (400, 422), operation


async def test_each_operation_needs_its_own_scope(exchange: Exchange) -> None:
    async with exchange.as_client("records-review system/*.cruds") as client:
        assert (await ask(client, "retention-review")).status_code == 200
        for operation in (
            "retention-approve",
            "retention-destroy",
            "legal-hold",
            "quarantine-release",
        ):
            assert (await ask(client, operation)).status_code == 403, operation


async def test_everything_is_in_the_audit_trail_with_whose_document_it_was(
    exchange: Exchange, people: People
) -> None:
    id_, _, person = await a_kept(people)
    await destroyed(people, await approved(people, id_))
    async with exchange.as_client("system/AuditEvent.rs") as auditor:
        found = await auditor.get("/AuditEvent", params={"patient": person, "date": "ge2020-01-01"})
        events = [e["resource"] for e in found.json()["entry"]]
    told = {
        (e["action"], e["outcome"]) for e in events if f"DocumentReference/{id_}" in json.dumps(e)
    }
    assert {("U", "0"), ("D", "0")} <= told
