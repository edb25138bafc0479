"""The twenty checks of ITI-65, each with a submission that fails it: the status, the XDS code of TF-3
where there is one, and that an earlier check answers before a later one (MHD digest §2.1)."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.makers_mhd import (
    a_bundle,
    a_document,
    a_folder,
    a_patch,
    a_patient,
    concept,
    entry,
    locations,
    publish,
    related,
    unique,
)
from tests.running import Exchange

Bundle = dict[str, Any]
Made = Callable[[httpx.AsyncClient, str], Awaitable[Bundle]]
CODES = "urn:ihe:iti:tf3:4.2.4.1"


@dataclass(frozen=True)
class Step:
    """A check by its number, what fails it, and the XDS code that says so."""

    number: int
    what: str
    made: Made
    xds: str


def changed(change: Callable[[Bundle], object]) -> Made:
    async def made(client: httpx.AsyncClient, person: str) -> Bundle:
        bundle = a_bundle(a_document(person))
        change(bundle)
        return bundle

    return made


def document(bundle: Bundle) -> Bundle:
    held: Bundle = bundle["entry"][1]["resource"]
    return held


def attachment(bundle: Bundle) -> Bundle:
    held: Bundle = document(bundle)["content"][0]["attachment"]
    return held


async def _published(client: httpx.AsyncClient, person: str, **more: Any) -> tuple[str, Bundle]:
    bundle = a_bundle(a_document(person, **more))
    return locations(await publish(client, bundle))[1], bundle


async def _binary_twice(client: httpx.AsyncClient, person: str) -> Bundle:
    bundle = a_bundle(a_document(person), a_document(person))
    bundle["entry"][3]["resource"]["content"][0]["attachment"]["url"] = attachment(bundle)["url"]
    del bundle["entry"][4]
    return bundle


async def _binary_of_nobody(client: httpx.AsyncClient, person: str) -> Bundle:
    binary = {"resourceType": "Binary", "contentType": "text/plain", "data": "eA=="}
    url = "urn:uuid:5f0a7b0e-0000-4000-8000-0000000000b1"
    return a_bundle(a_document(person), extra=(entry("POST", "Binary", binary, url),))


async def _names_twice(client: httpx.AsyncClient, person: str) -> Bundle:
    master = unique()
    return a_bundle(
        a_document(person, masterIdentifier=master),
        a_document(person, masterIdentifier=dict(master), content=b"2"),
    )


async def _two_people(client: httpx.AsyncClient, person: str) -> Bundle:
    return a_bundle(a_document(person), a_document(await a_patient(client), content=b"2"))


async def _set_name_taken(client: httpx.AsyncClient, person: str) -> Bundle:
    _, earlier = await _published(client, person)
    bundle = a_bundle(a_document(person))
    bundle["entry"][0]["resource"]["identifier"] = earlier["entry"][0]["resource"]["identifier"]
    return bundle


async def _other_bytes(client: httpx.AsyncClient, person: str) -> Bundle:
    _, earlier = await _published(client, person, content=b"these")
    master = document(earlier)["masterIdentifier"]
    return a_bundle(a_document(person, masterIdentifier=master, content=b"those"))


async def _uuid_taken(client: httpx.AsyncClient, person: str) -> Bundle:
    where, _ = await _published(client, person)
    named = {
        "system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{where.split('/')[1]}", "use": "official",
    }  # fmt: skip
    return a_bundle(a_document(person, identifier=[named]))


async def _target_of_another(client: httpx.AsyncClient, person: str) -> Bundle:
    where, _ = await _published(client, await a_patient(client))
    return a_bundle(a_document(person, **related("replaces", where)))


async def _target_superseded(client: httpx.AsyncClient, person: str) -> Bundle:
    where, _ = await _published(client, person)
    locations(await publish(client, a_bundle(a_document(person, **related("replaces", where)))))
    return a_bundle(a_document(person, **related("replaces", where)))


async def _patch_alone(client: httpx.AsyncClient, person: str) -> Bundle:
    where, _ = await _published(client, person)
    return a_bundle(a_document(person), extra=(a_patch(where),))


async def _member_of_another(client: httpx.AsyncClient, person: str) -> Bundle:
    where, _ = await _published(client, await a_patient(client))
    return a_bundle(a_document(person), folders=(a_folder(person, members=(where,)),))


STEPS = (
    Step(4, "no profile", changed(lambda b: b.pop("meta")), "XDSRegistryMetadataError"),
    Step(4, "a batch", changed(lambda b: b.update(type="batch")), "XDSRegistryMetadataError"),
    Step(5, "no set", changed(lambda b: b["entry"].pop(0)), "XDSRegistryMetadataError"),
    Step(
        5,
        "a DELETE",
        changed(lambda b: b["entry"][1]["request"].update(method="DELETE")),
        "XDSRegistryMetadataError",
    ),
    Step(6, "no type", changed(lambda b: document(b).pop("type")), "XDSRegistryMetadataError"),
    Step(
        7,
        "a url to nothing",
        changed(lambda b: attachment(b).update(url="urn:uuid:5f0a7b0e-0000-4000-8000-0000000000b2")),
        "XDSMissingDocument",
    ),
    Step(
        7,
        "a member that is nowhere",
        changed(
            lambda b: b["entry"][0]["resource"]["entry"].append(
                {"item": {"reference": "DocumentReference/nothing"}}
            )
        ),
        "UnresolvedReferenceException",
    ),
    Step(8, "a Binary twice", _binary_twice, "XDSMissingDocumentMetadata"),
    Step(8, "a Binary of no document", _binary_of_nobody, "XDSMissingDocumentMetadata"),
    Step(9, "one name twice", _names_twice, "XDSRegistryDuplicateUniqueIdInMessage"),
    Step(
        10,
        "another media type",
        changed(lambda b: b["entry"][2]["resource"].update(contentType="text/csv")),
        "XDSRepositoryMetadataError",
    ),
    Step(
        10,
        "a size off by one",
        changed(lambda b: attachment(b).update(size=attachment(b)["size"] + 1)),
        "XDSRepositoryMetadataError",
    ),
    Step(11, "two people", _two_people, "XDSPatientIdDoesNotMatch"),
    Step(
        11,
        "an unknown patient",
        changed(lambda b: document(b).update(subject={"reference": "Patient/nobody"})),
        "XDSUnknownPatientId",
    ),
    Step(
        12,
        "a type nobody agreed on",
        changed(lambda b: document(b).update(type=concept("urn:x", "1"))),
        "XDSRegistryMetadataError",
    ),
    Step(
        13,
        "a service that ends before it starts",
        changed(lambda b: document(b)["context"]["period"].update(start="2027-01-01")),
        "XDSRegistryMetadataError",
    ),
    Step(14, "the name of an earlier set", _set_name_taken, "XDSDuplicateUniqueIdInRegistry"),
    Step(15, "a known name over other bytes", _other_bytes, "XDSNonIdenticalHash"),
    Step(16, "an entryUUID in use", _uuid_taken, "XDSDuplicateUniqueIdInRegistry"),
    Step(
        17,
        "a target that is nowhere",
        changed(lambda b: document(b).update(related("replaces", "DocumentReference/nothing"))),
        "UnresolvedReferenceException",
    ),
    Step(17, "a target of another patient", _target_of_another, "XDSPatientIdDoesNotMatch"),
    Step(17, "a target superseded", _target_superseded, "XDSRegistryDeprecatedDocumentError"),
    Step(18, "a PATCH without its replaces", _patch_alone, "UnresolvedReferenceException"),
    Step(19, "a member of another patient", _member_of_another, "XDSPatientIdDoesNotMatch"),
)  # fmt: skip


@pytest.mark.parametrize("step", STEPS, ids=lambda s: f"{s.number} {s.what}")
async def test_each_check_answers_400_with_its_code(
    source: httpx.AsyncClient, person: str, step: Step
) -> None:
    answer = await publish(source, await step.made(source, person))
    assert answer.status_code == 400, answer.text
    said = answer.json()
    codes = [
        c["code"]
        for issue in said["issue"]
        for c in issue.get("details", {}).get("coding", ())
        if c["system"] == CODES
    ]
    assert step.xds in codes, said


async def test_a_replacement_without_a_patch_supersedes_all_the_same(
    source: httpx.AsyncClient, person: str
) -> None:
    """Step 18: a source need not send the PATCH."""
    where, _ = await _published(source, person)
    replacing = a_bundle(a_document(person, **related("replaces", where)))
    assert len(locations(await publish(source, replacing))) == 3
    assert (await source.get(where)).json()["status"] == "superseded"


async def test_who_asks_is_settled_before_what_is_sent(exchange: Exchange, person: str) -> None:
    """Steps 1 to 3: token, scope, media type, then whether it can be read."""
    nothing = b"{ this is no Bundle"
    pdf, fhir = {"Content-Type": "application/pdf"}, {"Content-Type": "application/fhir+json"}
    anonymous = await exchange.http.post("/fhir", content=nothing, headers=pdf)
    assert anonymous.status_code == 401
    async with exchange.as_client("system/Patient.cruds") as other:
        assert (await other.post("", content=nothing, headers=pdf)).status_code == 403
    async with exchange.as_client("system/*.cruds") as able:
        assert (await able.post("", content=nothing, headers=pdf)).status_code == 415
        unread = await able.post("", content=nothing, headers=fhir)
        assert unread.status_code == 400
        assert [i["code"] for i in unread.json()["issue"]] == ["structure"]


async def test_what_is_illegal_fhir_is_told_before_what_breaks_the_profile(
    source: httpx.AsyncClient, person: str
) -> None:
    """Step 3 before 4: whoever sends no legal FHIR is not also told about the profile."""
    bundle = a_bundle(a_document(person, docStatus="final"))
    document(bundle)["status"] = "curent"
    issues = (await publish(source, bundle)).json()["issue"]
    assert [i["code"] for i in issues] == ["structure"]


async def test_what_can_be_judged_alone_is_told_before_anybody_is_looked_up(
    source: httpx.AsyncClient,
) -> None:
    """Steps 4 to 10 before 11: a Bundle that is wrong in itself tells nothing about who is known."""
    bundle = a_bundle(a_document("Patient/nobody", docStatus="final"))
    issues = (await publish(source, bundle)).json()["issue"]
    places = [i["expression"][0] for i in issues]
    assert any(p.endswith("docStatus") for p in places)
    assert not any(p.endswith("subject") for p in places)


@pytest.mark.parametrize(
    ("number", "condition"),
    [
        (1, {"ifNoneExist": "identifier=urn:x|1"}),
        (2, {"ifMatch": 'W/"1"'}),
        (0, {"ifNoneMatch": "*"}),
        (1, {"ifModifiedSince": "2026-01-01T00:00:00Z"}),
    ],
)
async def test_a_condition_on_an_entry_is_refused_rather_than_ignored(
    source: httpx.AsyncClient, person: str, number: int, condition: dict[str, str]
) -> None:
    bundle = a_bundle(a_document(person))
    bundle["entry"][number]["request"].update(condition)
    answer = await publish(source, bundle)
    assert answer.status_code == 400, answer.text
    (name,) = condition
    places = [p for i in answer.json()["issue"] for p in i["expression"]]
    assert places == [f"Bundle.entry[{number}].request.{name}"]


async def test_a_document_keeps_its_bytes_to_the_last_one(
    source: httpx.AsyncClient, person: str
) -> None:
    """Base64 may be padded, wrapped and end on any length."""
    for length in (0, 1, 2, 3, 1024 * 1024 + 1):
        content = bytes(1 + n % 251 for n in range(length))
        bundle = a_bundle(a_document(person, content=content, masterIdentifier=unique()))
        if length == 0:
            assert bundle["entry"][2]["resource"]["data"] == ""
            assert (await publish(source, bundle)).status_code == 400  # FHIR has no empty strings
            continue
        encoded = base64.encodebytes(content).decode() if length > 3 else None
        if encoded:
            bundle["entry"][2]["resource"]["data"] = encoded
        where = locations(await publish(source, bundle))[2]
        assert (await source.get(where, headers={"Accept": "*/*"})).content == content
