"""Every rule of a pointer takes what it should and refuses what it should, all at once, storing nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from standards.nrl import SPINE, coded
from standards.nrl_rules import ASID, MEDIA, RULES, TYPES, Agreed, checked, own_id
from standards.outcome import KINDS
from standards.r4.check import check_structure
from tests.makers_mhd import CONFIDENTIALITY, SNOMED, concept
from tests.registry.makers_nrl import (
    CONSUMER,
    OURS,
    a_number,
    a_pointer,
    change,
    code,
    extension,
    organisation,
    post,
    relating,
)
from tests.running import Exchange

NUMBER = "9990000069"
BASE = a_pointer(NUMBER)
AGREED = Agreed(
    OURS,
    setting=lambda _, c: c == "788002001",
    label=lambda _, c: c == "V",
    number=lambda n: "" if n == NUMBER else "Not one.",
)
STABLE, DIRECT = BASE["content"][0]["extension"]
CONTENT = BASE["content"][0]
HTML = {"contentType": "text/html", "url": "http://provider.example/crisis-team"}
CONTACT = {"system": CONTENT["format"]["system"], "code": "urn:nhs-ic:record-contact"}
SSP = change(BASE, "content.0.attachment.url", "ssp://provider.example/plan/1")


def asid(*values: str) -> dict[str, Any]:
    related = [{"identifier": {"system": ASID, "value": v}} for v in values]
    return BASE["context"] | {"related": related}


def two(pointer: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        pointer["content"][0],
        change(pointer["content"][0], "attachment.url", "https://x.example/2"),
    ]


# rule: pointers that it takes, and (path, value, the code it is refused with)
TAKEN: dict[str, list[dict[str, Any]]] = {
    "status": [BASE],
    "type": [change(BASE, "type", concept(SNOMED, "736253002") | {"text": "Crisis plan"})],
    "category": [change(BASE, "type", concept(SNOMED, "824321000000109")) | {"category": [concept(SNOMED, "823651000000106")]}],
    "subject": [change(BASE, "subject.display", "Somebody")],
    "custodian": [change(BASE, "custodian.display", "The trust")],
    "author": [change(BASE, "author", [organisation("RXV")])],
    "attachment": [change(BASE, "content.0.attachment.contentType", "application/fhir+json")],
    "url": [change(BASE, "content", two(BASE)), change(BASE, "content.0", CONTENT | {"attachment": HTML, "format": CONTACT})],
    "format": [change(BASE, "content.0.format.code", "urn:nhs-ic:structured")],
    "stability": [change(BASE, "content.0.extension", [extension("ContentStability", "NRLContentStability", "dynamic")])],
    "mechanism": [change(BASE, "content.0.extension", [STABLE]), change(BASE, "content.0.extension", [DIRECT, STABLE])],
    "setting": [BASE],
    "label": [BASE | {"securityLabel": [concept(CONFIDENTIALITY, "V")]}],
    "asid": [SSP | {"context": asid("200000000115")}, change(BASE, "context", asid("200000000115"))],
    "relates": [BASE | relating("replaces", f"{OURS}-1", f"{OURS}-2")],
}  # fmt: skip
REFUSED: dict[str, list[tuple[str, Any, str]]] = {
    "status": [("status", "superseded", "INVALID_RESOURCE"), ("status", "entered-in-error", "INVALID_RESOURCE")],
    "type": [
        ("type", None, "INVALID_RESOURCE"),
        ("type", concept("http://loinc.org", "71354-5"), "INVALID_CODE_SYSTEM"),
        ("type", concept(SNOMED, "404684003"), "INVALID_CODE_VALUE"),
        ("type.coding", BASE["type"]["coding"] * 2, "INVALID_RESOURCE"),
    ],
    "category": [
        ("category", None, "INVALID_RESOURCE"),
        ("category", BASE["category"] * 2, "INVALID_RESOURCE"),
        ("category.0.coding", BASE["category"][0]["coding"] * 2, "INVALID_RESOURCE"),
        ("category.0", concept("http://loinc.org", "x"), "INVALID_CODE_SYSTEM"),
        ("category.0", concept(SNOMED, "404684003"), "INVALID_CODE_VALUE"),
        ("category.0", concept(SNOMED, "721981007"), "INVALID_CODE_VALUE"),
    ],
    "subject": [
        ("subject", None, "INVALID_RESOURCE"),
        ("subject", {"reference": "Patient/1"}, "INVALID_RESOURCE"),
        ("subject.identifier.system", "urn:x", "INVALID_IDENTIFIER_SYSTEM"),
        ("subject.identifier.value", "1234567890", "INVALID_NHS_NUMBER"),
        ("subject.identifier.value", None, "INVALID_RESOURCE"),
    ],
    "custodian": [
        ("custodian", None, "INVALID_RESOURCE"),
        ("custodian.identifier.system", "urn:x", "INVALID_IDENTIFIER_SYSTEM"),
        ("custodian", organisation("RXV"), "INVALID_IDENTIFIER_VALUE"),
    ],
    "author": [
        ("author", None, "INVALID_RESOURCE"),
        ("author", [organisation("R0A"), organisation("RXV")], "INVALID_RESOURCE"),
        ("author.0.identifier.system", "urn:x", "INVALID_IDENTIFIER_SYSTEM"),
    ],
    "attachment": [
        ("content.0.attachment.contentType", None, "INVALID_RESOURCE"),
        ("content.0.attachment.contentType", "image/png", "INVALID_CODE_VALUE"),
        ("content.0.attachment.data", "AAAA", "INVALID_RESOURCE"),
    ],
    "url": [
        ("content.0.attachment.url", None, "INVALID_RESOURCE"),
        ("content.0.attachment.url", "plans/1.pdf", "INVALID_RESOURCE"),
        ("content.0.attachment.url", "javascript:alert(1)", "INVALID_RESOURCE"),
        ("content.0.attachment.url", "http://provider.example/1.pdf", "INVALID_RESOURCE"),
    ],
    "format": [
        ("content.0.format", None, "INVALID_RESOURCE"),
        ("content.0.format.system", "urn:x", "INVALID_CODE_SYSTEM"),
        ("content.0.format.code", "urn:x", "INVALID_CODE_VALUE"),
        ("content.0.format", CONTACT, "INVALID_RESOURCE"),
        ("content.0.attachment.contentType", "text/html", "INVALID_RESOURCE"),
    ],
    "stability": [
        ("content.0.extension", None, "INVALID_RESOURCE"),
        ("content.0.extension", [STABLE, STABLE], "INVALID_RESOURCE"),
        ("content.0.extension", [extension("ContentStability", "NRLContentStability", "shaky")], "INVALID_CODE_VALUE"),
        ("content.0.extension", [extension("ContentStability", "x", "static")], "INVALID_CODE_SYSTEM"),
    ],
    "mechanism": [
        ("content.0.extension", [STABLE, DIRECT, DIRECT], "INVALID_RESOURCE"),
        ("content.0.extension", [STABLE, extension("NRLRetrievalMechanism", "x", "Direct")], "INVALID_CODE_SYSTEM"),
        ("content.0.extension.1.valueCodeableConcept", {"text": "by post"}, "INVALID_RESOURCE"),
    ],
    "setting": [
        ("context", None, "INVALID_RESOURCE"),
        ("context.practiceSetting", concept("urn:x", "788002001"), "INVALID_CODE_SYSTEM"),
        ("context.practiceSetting", concept(SNOMED, "1"), "INVALID_CODE_VALUE"),
    ],
    "label": [
        ("securityLabel", [concept(CONFIDENTIALITY, "V"), concept(CONFIDENTIALITY, "Z")], "INVALID_CODE_VALUE"),
        ("securityLabel", [concept("urn:x", "secret")], "INVALID_CODE_VALUE"),
    ],
    "asid": [
        ("content.0.attachment.url", "ssp://provider.example/plan/1", "INVALID_RESOURCE"),
        ("context", asid("200000000115", "200000000116"), "INVALID_RESOURCE"),
        ("context", asid("1"), "INVALID_IDENTIFIER_VALUE"),
    ],
    "relates": [
        ("relatesTo", [{"code": "replaces", "target": {"reference": "DocumentReference/1"}}], "INVALID_RESOURCE"),
        ("relatesTo", relating("replaces", "RXV-1")["relatesTo"], "INVALID_IDENTIFIER_VALUE"),
        ("relatesTo", relating("appends", f"{OURS}-1", f"{OURS}-1")["relatesTo"], "INVALID_RESOURCE"),
    ],
}  # fmt: skip
BROKEN = [(rule, *case) for rule, cases in REFUSED.items() for case in cases]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def producer(exchange: Exchange) -> AsyncIterator[httpx.AsyncClient]:
    async with exchange.as_client(organisation=OURS) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def number(producer: httpx.AsyncClient) -> str:
    return await a_number(producer)


async def stored(exchange: Exchange) -> list[int]:
    """How much the registry holds of everything that a publish writes."""
    names = ("documents", "documents_history", "lists", "registered")
    return [await exchange.mongo.table("registry", n).count({}) for n in names]


def test_every_rule_has_an_accepted_and_a_rejected_example() -> None:
    assert {r.name for r in RULES} == TAKEN.keys() == REFUSED.keys()


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.name)
def test_a_rule_takes_what_it_should(rule: Any) -> None:
    for pointer in TAKEN[rule.name]:
        assert check_structure(pointer) == ()
        assert checked(pointer, AGREED) == []


@pytest.mark.parametrize(("rule", "path", "value", "said"), BROKEN)
async def test_a_broken_rule_is_told_and_nothing_is_stored(
    exchange: Exchange, producer: httpx.AsyncClient, number: str, rule: str, path: str, value: Any, said: str
) -> None:  # fmt: skip
    pointer = change(a_pointer(number), path, value)
    (own,) = [r for r in RULES if r.name == rule]
    assert list(own.check(pointer, AGREED)), "the rule says nothing"
    before = await stored(exchange)
    answer = await post(producer, pointer)
    assert answer.status_code == 400, answer.text
    assert check_structure(answer.json()) == ()
    codes = [i["details"]["coding"][0] for i in answer.json()["issue"]]
    assert said in [c["code"] for c in codes]
    assert {c["system"] for c in codes} == {SPINE}
    assert await stored(exchange) == before


async def test_all_that_is_wrong_is_told_at_once(
    exchange: Exchange, producer: httpx.AsyncClient, number: str
) -> None:
    pointer = a_pointer(number, type=None, author=None, **relating("replaces", f"{OURS}-none"))
    pointer = change(change(pointer, "status", "superseded"), "content.0.attachment.url", "x")
    before = await stored(exchange)
    answer = await post(producer, pointer)
    places = [e for i in answer.json()["issue"] for e in i["expression"]]
    assert {
        "status", "type.coding", "author", "content[0].attachment.url",
        "relatesTo[0].target.identifier.value",
    } <= set(places)  # fmt: skip
    assert await stored(exchange) == before


@pytest.mark.parametrize(
    ("code_", "what"),
    [("replaces", "nothing"), ("replaces", "person"), ("replaces", "type"), ("appends", "person"), ("replaces", "withdrawn")],
)  # fmt: skip
async def test_a_pointer_relates_to_a_current_one_of_its_own_kind(
    exchange: Exchange, producer: httpx.AsyncClient, number: str, code_: str, what: str
) -> None:
    whose = await a_number(producer) if what == "person" else number
    target = a_pointer(whose)
    if what == "type":
        target = change(target, "type", concept(SNOMED, "325691000000100"))
    id_ = (await post(producer, target)).headers["location"].rpartition("/")[2]
    if what == "withdrawn":
        await producer.delete(f"nrl/producer/DocumentReference/{id_}")
    if what == "nothing":
        id_ = f"{OURS}-nothing"
    before = await stored(exchange)
    answer = await post(producer, a_pointer(number, **relating(code_, id_)))
    assert answer.status_code == 400
    (issue,) = answer.json()["issue"]
    assert issue["expression"] == ["relatesTo[0].target.identifier.value"]
    assert await stored(exchange) == before


async def test_a_reference_to_another_person_than_the_number_is_refused(
    exchange: Exchange, producer: httpx.AsyncClient, number: str
) -> None:
    before = await stored(exchange)
    answer = await post(producer, change(a_pointer(number), "subject.reference", "Patient/other"))
    assert (answer.status_code, code(answer)) == (400, "UNPROCESSABLE_ENTITY")
    assert await stored(exchange) == before


async def test_what_is_no_resource_gets_a_spine_code_too(producer: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "application/fhir+json"}
    answer = await producer.post("nrl/producer/DocumentReference", content=b"{", headers=headers)
    assert (answer.status_code, code(answer)) == (400, "INVALID_RESOURCE")
    anonymous = {"Authorization": "Bearer nonsense"}
    answer = await producer.get(f"{CONSUMER}/R0A-1", headers=anonymous)
    assert (answer.status_code, code(answer)) == (401, "ACCESS_DENIED")


def test_every_error_kind_has_a_spine_code() -> None:
    assert all(coded(kind)[0] == SPINE and coded(kind)[2] for kind in KINDS)


@given(st.sampled_from(sorted(TYPES)), st.sampled_from(sorted(TYPES)), st.sampled_from(MEDIA))
@settings(max_examples=100, deadline=None)
def test_a_type_goes_with_its_category_and_no_other(
    type_: tuple[str, str], other: tuple[str, str], media: str
) -> None:
    pointer = a_pointer(NUMBER, type=concept(*type_), category=[concept(SNOMED, TYPES[other])])
    pointer["content"][0]["attachment"]["contentType"] = media
    if media == "text/html":
        pointer["content"][0]["format"] = CONTACT
    assert (checked(pointer, AGREED) == []) == (TYPES[type_] == TYPES[other])


@given(st.text(max_size=80))
@settings(max_examples=200, deadline=None)
def test_an_own_id_is_the_organisations_or_refused(text: str) -> None:
    fine = all(c.isascii() and (c.isalnum() or c in "-.") for c in text) and 0 < len(text) <= 60
    assert (list(own_id(f"{OURS}-{text}", OURS)) == []) == fine
    assert list(own_id(text.replace(OURS, ""), OURS))


def test_the_page_shows_every_rule_and_a_pointer_that_is_taken() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "nrl.md").read_text()
    pointer = json.loads(page.split("```json")[1].split("```")[0])
    assert check_structure(pointer) == ()
    assert checked(pointer, AGREED) == []
    table = page.split("| Rule |")[1].split("\n\n")[0]
    assert [line.split("|")[1].strip() for line in table.splitlines()[2:]] == [
        r.name for r in RULES
    ]
