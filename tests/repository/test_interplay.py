"""Holds, disposals and quarantine beside documents and pointers whose bytes lie with another organisation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from chassis.mongo import Mongo
from tests.archive import LETTER, Archive, a_pack, archive
from tests.makers_mhd import NHS, a_bundle, a_document, a_patient, locations, publish, related, sha1
from tests.neighbours.apart import apart
from tests.registry.makers_nrl import CONSUMER, PRODUCER, a_pointer, change, code, made
from tests.repository.clamd import clamd
from tests.repository.test_disposals import SCOPE, ask, parts, values
from tests.running import running

PLAIN = {"Accept": "*/*"}


@dataclass
class City:
    """The exchange's own feed, a trust as source and producer, its two records managers, and where it
    keeps documents."""

    feed: httpx.AsyncClient
    trust: httpx.AsyncClient
    first: httpx.AsyncClient
    second: httpx.AsyncClient
    there: Archive

    async def patient(self, **elements: Any) -> tuple[str, str]:
        """A person: `Patient/x`, and the NHS number."""
        person = await a_patient(self.feed, **elements)
        resource = (await self.trust.get(f"/{person}")).json()
        return person, next(i["value"] for i in resource["identifier"] if i["system"] == NHS)

    async def pointer(self, number: str, **changes: Any) -> str:
        sent = change(a_pointer(number), "content.0.attachment.url", self.there.url("/kept/1"))
        return await made(self.trust, sent | changes)

    async def elsewhere(self, person: str, **changes: Any) -> dict[str, Any]:
        """A document that the trust keeps itself, as it is shown."""
        bundle = a_bundle(a_document(person, _content=None, **changes))
        attachment = bundle["entry"][1]["resource"]["content"][0]["attachment"]
        attachment |= {
            "url": self.there.url("/kept/1"), "hash": sha1(LETTER), "size": len(LETTER),
        }  # fmt: skip
        answer = await publish(self.trust, bundle)
        return (await self.trust.get(f"/{locations(answer)[1]}")).json()  # type: ignore[no-any-return]

    async def held_here(self, person: str, content: bytes, **changes: Any) -> tuple[str, str]:
        """A document that the exchange holds: its id and the path of its bytes."""
        answer = await publish(self.trust, a_bundle(a_document(person, content=content, **changes)))
        assert answer.status_code == 200, answer.text
        _, reference, binary = locations(answer)
        return reference.partition("/")[2], f"/{binary}"

    async def withdraw(self, id_: str) -> httpx.Response:
        return await self.trust.delete(f"{PRODUCER}/{id_}")

    async def destroy(self, id_: str, ground: str = "erasure") -> httpx.Response:
        """Two managers destroy a document; the last answer."""
        answer = await ask(
            self.first, "retention-approve", document=id_, ground=ground, reason="A court orders it"
        )
        if answer.status_code != 201:
            return answer
        disposal = values(answer, "disposal")[0]
        return await ask(self.second, "retention-destroy", disposal=disposal, reason="Agreed")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(
    mongo: Mongo, mongod_uri: str, database_prefix: str, tmp_path_factory: Any
) -> AsyncIterator[City]:
    folder: Path = tmp_path_factory.mktemp("city")
    async with AsyncExitStack() as stack:
        there = await stack.enter_async_context(archive())
        there.documents["/kept/1"] = LETTER
        scanner = await stack.enter_async_context(clamd())
        pack = a_pack(folder, f"R0A,{there.url('/kept/')},proxy,127.0.0.0/8,test")
        exchange = await stack.enter_async_context(
            running(
                mongo, mongod_uri, database_prefix, folder, affinity=str(pack), retrieval_wait=1,
                scanner=scanner.address,
            )
        )  # fmt: skip
        clients = [
            await stack.enter_async_context(
                exchange.as_client(scope, role=role, organisation="R0A")
            )
            for scope, role in (
                ("system/*.cruds", "R-SYS"),
                ("system/*.cruds", ""),
                (SCOPE, "R-ADM"),
                (SCOPE, "R-ADM"),
            )
        ]
        yield City(*clients, there)


async def a_hold(city: City, **about: Any) -> str:
    answer = await ask(
        city.first, "legal-hold", ground="INQUIRY", reason="The inquiry asked", **about
    )
    assert answer.status_code == 201, answer.text
    return str(values(answer, "hold")[0])


async def ended(city: City, hold: str) -> None:
    answer = await ask(city.first, "legal-hold-end", hold=hold, reason="It is over")
    assert answer.status_code == 200


# -- holds and the NRL door -------------------------------------------------------------------------


@pytest.mark.parametrize("on", ["the pointer", "the person", "another record of the person"])
async def test_a_held_pointer_is_not_withdrawn_until_the_hold_has_ended(
    city: City, on: str
) -> None:
    person, number = await city.patient()
    id_ = await city.pointer(number)
    about: dict[str, Any] = {"document": id_}
    if on == "the person":
        about = {"patient": person}
    elif on == "another record of the person":
        # Two records with one verified NHS number and birth date are one person (decision 0007).
        about = {"patient": await _record_of(city, number)}
    hold = await a_hold(city, **about)
    answer = await city.withdraw(id_)
    assert (answer.status_code, code(answer)) == (409, "UNPROCESSABLE_ENTITY")
    assert hold in answer.json()["issue"][0]["diagnostics"]
    assert (await city.trust.get(f"{CONSUMER}/{id_}")).json()["meta"]["versionId"] == "1"
    await ended(city, hold)
    assert (await city.withdraw(id_)).status_code == 200


async def _record_of(city: City, number: str) -> str:
    """Another agency's record of the person of this number; both verified."""
    verified = {
        "url": "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-NHSNumberVerificationStatus",
        "valueCodeableConcept": {
            "coding": [
                {
                    "system": "https://fhir.hl7.org.uk/CodeSystem/UKCore-NHSNumberVerificationStatus",
                    "code": "01",
                }
            ]
        },
    }
    nhs = {"system": NHS, "value": number, "extension": [verified]}
    family = {"name": [{"family": "Held", "given": ["Anna"]}], "birthDate": "1980-01-02"}
    await _fed(city, [nhs], **family)
    local = {
        "system": "https://fhir.nhs.uk/Id/local-patient-identifier",
        "value": f"H{number[-6:]}",
    }
    return await _fed(city, [local, nhs], **family)


async def _fed(city: City, identifiers: list[dict[str, Any]], **elements: Any) -> str:
    first = identifiers[0]
    answer = await city.feed.put(
        "/Patient",
        params={"identifier": f"{first['system']}|{first['value']}"},
        json={"resourceType": "Patient", "active": True, "identifier": identifiers, **elements},
        headers={"Content-Type": "application/fhir+json"},
    )
    assert answer.status_code in (200, 201), answer.text
    return f"Patient/{answer.json()['id']}"


async def test_a_held_pointer_may_be_superseded_and_updated_because_history_keeps_it(
    city: City,
) -> None:
    _, number = await city.patient()
    id_ = await city.pointer(number)
    hold = await a_hold(city, document=id_)
    read = (await city.trust.get(f"{PRODUCER}/{id_}")).json()
    changed = read | {"description": "Reviewed"}
    answer = await city.trust.put(
        f"{PRODUCER}/{id_}", json=changed, headers={"Content-Type": "application/fhir+json"}
    )
    assert answer.status_code == 200, answer.text
    newer = await city.pointer(
        number,
        relatesTo=[{"code": "replaces", "target": {"identifier": {"value": id_}}}],
    )
    assert (await city.withdraw(newer)).status_code == 200  # the hold is on the other one
    assert (await city.trust.get(f"DocumentReference/{id_}")).json()["status"] == "superseded"
    await ended(city, hold)


async def test_apart_the_registry_asks_the_repository_for_holds(
    mongod_uri: str, database_prefix: str, tmp_path: Path
) -> None:
    prefix = database_prefix + "apart_"
    own = Mongo(mongod_uri, prefix=prefix)
    async with (
        apart(own, mongod_uri, prefix, tmp_path) as (exchange, _),
        exchange.as_client(organisation="R0A") as trust,
        exchange.as_client(SCOPE, role="R-ADM", organisation="R0A") as manager,
    ):
        person = await a_patient(trust)
        number = (await trust.get(f"/{person}")).json()["identifier"][0]["value"]
        id_ = await made(trust, a_pointer(number))
        answer = await ask(manager, "legal-hold", ground="INQUIRY", reason="x", patient=person)
        assert answer.status_code == 201
        assert (await trust.delete(f"{PRODUCER}/{id_}")).status_code == 409
    await own.close()


# -- disposals ----------------------------------------------------------------------------------------


async def test_what_another_organisation_keeps_is_not_ours_to_destroy_or_review(city: City) -> None:
    person, number = await city.patient()
    for id_ in ((await city.elsewhere(person))["id"], await city.pointer(number)):
        answer = await city.destroy(id_)
        assert answer.status_code == 404
        assert "kept here" in answer.json()["issue"][0]["diagnostics"]
        assert (await city.trust.get(f"DocumentReference/{id_}")).json()["status"] == "current"
    listed = await ask(city.first, "retention-review", all=True, count=1000)
    assert not {id_} & parts(listed).keys()


async def test_a_document_elsewhere_outlives_the_one_it_replaced_or_adds_to(city: City) -> None:
    person, _ = await city.patient()
    old, old_bytes = await city.held_here(person, b"the old letter")
    new = await city.elsewhere(person, **related("replaces", f"DocumentReference/{old}"))
    base, base_bytes = await city.held_here(person, b"the report")
    added = await city.elsewhere(person, **related("appends", f"DocumentReference/{base}"))
    for id_ in (old, base):
        answer = await city.destroy(id_)
        assert answer.status_code == 200, answer.text
    for path in (old_bytes, base_bytes):
        assert (await city.trust.get(path, headers=PLAIN)).status_code == 410
    for shown, target in ((new, old), (added, base)):
        now = (await city.trust.get(f"DocumentReference/{shown['id']}")).json()
        assert now["status"] == "current"
        assert now["relatesTo"][0]["target"]["reference"] == f"DocumentReference/{target}"
        url = now["content"][0]["attachment"]["url"]
        assert (await city.trust.get(url, headers=PLAIN)).content == LETTER
        asked = {"_id": shown["id"], "_include": "DocumentReference:relatesto"}
        bundle = (await city.trust.get("DocumentReference", params=asked)).json()
        tomb = next(e["resource"] for e in bundle["entry"] if e["search"]["mode"] == "include")
        assert (tomb["id"], tomb["status"]) == (target, "entered-in-error")


async def test_nothing_elsewhere_relates_to_a_tombstone(city: City) -> None:
    person, _ = await city.patient()
    id_, _ = await city.held_here(person, b"to be destroyed")
    assert (await city.destroy(id_)).status_code == 200
    for relation in ("replaces", "appends"):
        bundle = a_bundle(a_document(person, **related(relation, f"DocumentReference/{id_}")))
        assert (await publish(city.trust, bundle)).status_code == 400


# -- quarantine ---------------------------------------------------------------------------------------


async def test_a_document_in_quarantine_stays_there_when_a_pointer_replaces_it(city: City) -> None:
    person, _ = await city.patient()
    evil, evil_bytes = await city.held_here(person, b"EVIL letter")
    assert (await city.trust.get(evil_bytes, headers=PLAIN)).status_code == 403
    new = await city.elsewhere(person, **related("replaces", f"DocumentReference/{evil}"))
    assert (await city.trust.get(evil_bytes, headers=PLAIN)).status_code == 403
    listed = await ask(city.first, "quarantine", count=1000)
    assert evil in {d[0]["valueString"] for d in values(listed, "document")}
    url = new["content"][0]["attachment"]["url"]
    assert (await city.trust.get(url, headers=PLAIN)).content == LETTER


async def test_a_hold_keeps_even_what_is_in_quarantine(city: City) -> None:
    person, _ = await city.patient()
    evil, evil_bytes = await city.held_here(person, b"EVIL evidence")
    hold = await a_hold(city, patient=person)
    answer = await city.destroy(evil, "quarantine")
    assert answer.status_code == 409
    assert hold in answer.json()["issue"][0]["diagnostics"]
    await ended(city, hold)
    assert (await city.destroy(evil, "quarantine")).status_code == 200
    assert (await city.trust.get(evil_bytes, headers=PLAIN)).status_code == 410
