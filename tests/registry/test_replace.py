"""Replacing: what becomes superseded with it, what the new document joins, and who wins a race."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.makers_mhd import (
    NHS,
    a_bundle,
    a_document,
    a_folder,
    a_patch,
    a_patient,
    locations,
    nhs_number,
    publish,
    related,
)
from tests.running import Exchange


async def published(client: httpx.AsyncClient, *documents: dict, **more: object) -> list[str]:
    """The DocumentReferences of a new submission."""
    made = locations(await publish(client, a_bundle(*documents, **more)))  # type: ignore[arg-type]
    return [m for m in made if m.startswith("DocumentReference/")]


async def status(client: httpx.AsyncClient, document: str) -> str:
    return str((await client.get(document)).json()["status"])


@pytest.mark.parametrize("patched", [True, False])
async def test_a_replaced_document_is_no_longer_current(
    source: httpx.AsyncClient, patched: bool
) -> None:
    person = await a_patient(source)
    (old,) = await published(source, a_document(person))
    extra = (a_patch(old),) if patched else ()
    bundle = a_bundle(a_document(person, **related("replaces", old)), extra=extra)
    answer = await publish(source, bundle)
    made = locations(answer)
    assert len(made) == len(bundle["entry"])
    if patched:
        assert made[-1] == old
        assert answer.json()["entry"][-1]["response"]["etag"] == 'W/"2"'
    assert (await status(source, old), await status(source, made[1])) == ("superseded", "current")
    before = (await source.get(f"{old}/_history/1")).json()
    assert before["status"] == "current"
    search = {"patient": person, "status": "superseded"}
    assert (await source.get("/DocumentReference", params=search)).json()["total"] == 1


async def test_a_chain_of_replacements_is_linear(source: httpx.AsyncClient) -> None:
    person = await a_patient(source)
    (first,) = await published(source, a_document(person))
    (second,) = await published(source, a_document(person, **related("replaces", first)))
    (third,) = await published(source, a_document(person, **related("replaces", second)))
    refused = await publish(source, a_bundle(a_document(person, **related("replaces", first))))
    assert refused.status_code == 400
    assert "XDSRegistryDeprecatedDocumentError" in refused.text
    assert [await status(source, d) for d in (first, second, third)] == [
        "superseded",
        "superseded",
        "current",
    ]


async def test_transforms_and_addenda_fall_with_what_they_belong_to(
    source: httpx.AsyncClient,
) -> None:
    person = await a_patient(source)
    (old,) = await published(source, a_document(person))
    children = [
        (await published(source, a_document(person, **related(code, old))))[0]
        for code in ("transforms", "appends", "signs")
    ]
    (grandchild,) = await published(source, a_document(person, **related("appends", children[1])))
    await published(source, a_document(person, **related("replaces", old)))
    said = [await status(source, c) for c in (*children, grandchild)]
    assert said == ["superseded", "superseded", "current", "current"]


@pytest.mark.parametrize("code", ["appends", "transforms", "signs"])
async def test_other_relations_leave_their_target_current(
    source: httpx.AsyncClient, code: str
) -> None:
    person = await a_patient(source)
    (old,) = await published(source, a_document(person))
    (new,) = await published(source, a_document(person, **related(code, old)))
    assert [await status(source, d) for d in (old, new)] == ["current", "current"]
    await published(source, a_document(person, **related("replaces", old)))
    refused = await publish(source, a_bundle(a_document(person, **related(code, old))))
    assert "XDSRegistryDeprecatedDocumentError" in refused.text


async def test_what_transforms_and_replaces_takes_the_place_of_the_old(
    source: httpx.AsyncClient,
) -> None:
    person = await a_patient(source)
    (old,) = await published(source, a_document(person))
    (addendum,) = await published(source, a_document(person, **related("appends", old)))
    both = {"relatesTo": [related(c, old)["relatesTo"][0] for c in ("replaces", "transforms")]}
    (new,) = await published(source, a_document(person, **both))
    said = [await status(source, d) for d in (old, addendum, new)]
    assert said == ["superseded", "superseded", "current"]
    assert len((await source.get(new)).json()["relatesTo"]) == 2
    await published(source, a_document(person, **related("appends", new)))


async def test_a_transformation_takes_no_addendum(source: httpx.AsyncClient) -> None:
    person = await a_patient(source)
    (old,) = await published(source, a_document(person))
    (form,) = await published(source, a_document(person, **related("transforms", old)))
    refused = await publish(source, a_bundle(a_document(person, **related("appends", form))))
    assert refused.status_code == 400
    assert refused.json()["issue"][0]["expression"] == [
        "Bundle.entry[1].resource.relatesTo[0].target"
    ]
    url = "urn:uuid:5f0a7b0e-4444-4000-8000-000000000003"
    inside = a_bundle(
        {**a_document(person, **related("transforms", old)), "_url": url},
        a_document(person, **related("appends", url)),
    )
    assert (await publish(source, inside)).status_code == 400
    await published(source, a_document(person, **related("replaces", form)))
    assert await status(source, old) == "current"


@pytest.mark.parametrize("code", ["appends", "transforms", "signs"])
async def test_nothing_is_related_to_what_the_same_submission_replaces(
    source: httpx.AsyncClient, code: str
) -> None:
    person = await a_patient(source)
    (old,) = await published(source, a_document(person))
    bundle = a_bundle(
        a_document(person, **related("replaces", old)), a_document(person, **related(code, old))
    )
    refused = await publish(source, bundle)
    assert refused.status_code == 400
    assert "XDSRegistryDeprecatedDocumentError" in refused.text
    assert await status(source, old) == "current"


async def test_a_folder_made_with_a_replacement_holds_both(source: httpx.AsyncClient) -> None:
    person = await a_patient(source)
    (old,) = await published(source, a_document(person))
    bundle = a_bundle(
        a_document(person, **related("replaces", old)), folders=(a_folder(person, members=(old,)),)
    )
    made = locations(await publish(source, bundle))
    folder = (await source.get(made[-1])).json()
    assert [e["item"]["reference"] for e in folder["entry"]] == [old, made[1]]


async def test_documents_of_one_submission_may_be_related(source: httpx.AsyncClient) -> None:
    person = await a_patient(source)
    url, other = (f"urn:uuid:5f0a7b0e-4444-4000-8000-00000000000{n}" for n in (1, 2))
    original = {**a_document(person), "_url": url}
    made = await published(source, original, a_document(person, **related("transforms", url)))
    assert (await source.get(made[1])).json()["relatesTo"][0]["target"]["reference"] == made[0]
    inside = await publish(
        source, a_bundle(original, a_document(person, **related("replaces", url)))
    )
    assert inside.status_code == 400
    circle = a_bundle(
        {**a_document(person, **related("appends", other)), "_url": url},
        {**a_document(person, **related("appends", url)), "_url": other},
    )
    assert "circle" in (await publish(source, circle)).text


async def test_the_new_document_joins_the_folders_of_the_old(source: httpx.AsyncClient) -> None:
    person = await a_patient(source)
    (old,) = await published(source, a_document(person))
    folder = locations(
        await publish(source, a_bundle(folders=(a_folder(person, members=(old,)),)))
    )[1]
    before = (await source.get(folder)).json()
    (new,) = await published(source, a_document(person, **related("replaces", old)))
    after = (await source.get(folder)).json()
    assert [e["item"]["reference"] for e in after["entry"]] == [old, new]
    assert after["date"] > before["date"]
    assert after["meta"]["versionId"] == "2"


async def test_a_folder_changed_by_the_submission_that_joins_it_is_found_by_what_it_holds(
    source: httpx.AsyncClient,
) -> None:
    """PUT says what its sender has seen, the replacement adds the new document, and both are one version."""
    person = await a_patient(source)
    old, other = await published(source, a_document(person), a_document(person))
    where = locations(await publish(source, a_bundle(folders=(a_folder(person, members=(old,)),))))[
        1
    ]
    folder = (await source.get(where)).json() | {"title": "Another name"}
    folder["entry"] = [{"item": {"reference": other}}]
    bundle = a_bundle(a_document(person, **related("replaces", old)), folders=(folder,))
    bundle["entry"][3]["request"]["ifMatch"] = 'W/"1"'
    new = locations(await publish(source, bundle))[1]
    held = (await source.get(where)).json()
    assert held["title"] == "Another name"
    assert held["meta"]["versionId"] == "2"
    assert [e["item"]["reference"] for e in held["entry"]] == [other, new]
    for member, found in ((new, [where]), (other, [where]), (old, [])):
        asked = {"patient": person, "status": "current", "code": "folder", "item": member}
        entries = (await source.get("/List", params=asked)).json().get("entry", [])
        assert [f"List/{e['resource']['id']}" for e in entries] == found, member


async def test_a_document_of_another_patient_cannot_be_replaced(source: httpx.AsyncClient) -> None:
    person, other = await a_patient(source), await a_patient(source)
    (old,) = await published(source, a_document(other))
    refused = await publish(source, a_bundle(a_document(person, **related("replaces", old))))
    assert "XDSPatientIdDoesNotMatch" in refused.text
    assert await status(source, old) == "current"


async def test_after_a_merge_the_documents_of_both_numbers_belong_together(
    source: httpx.AsyncClient,
) -> None:
    """Of the same patient is what the identity manager says now, not what was written then."""
    number, survivor = nhs_number(887_111), nhs_number(887_222)
    before = await a_patient(source, identifier=[{"system": NHS, "value": number}])
    after = await a_patient(source, identifier=[{"system": NHS, "value": survivor}])
    (old,) = await published(source, a_document(before))
    made = await publish(source, a_bundle(folders=(a_folder(before, members=(old,)),)))
    folder = locations(made)[1]
    apart = await publish(source, a_bundle(a_document(after, **related("replaces", old))))
    assert "XDSPatientIdDoesNotMatch" in apart.text
    link = [{"other": {"identifier": {"system": NHS, "value": survivor}}, "type": "replaced-by"}]
    await a_patient(source, identifier=[{"system": NHS, "value": number}], active=False, link=link)
    (new,) = await published(source, a_document(after, **related("replaces", old)))
    assert [await status(source, d) for d in (old, new)] == ["superseded", "current"]
    held = (await source.get(folder)).json()
    assert [e["item"]["reference"] for e in held["entry"]] == [old, new]
    versions = await source.get("/DocumentReference/_history", params={"patient": after})
    assert versions.json()["total"] == 3


async def test_of_racing_replacements_exactly_one_wins(source: httpx.AsyncClient) -> None:
    person = await a_patient(source)
    for _ in range(4):
        (old,) = await published(source, a_document(person))
        racing = [a_bundle(a_document(person, **related("replaces", old))) for _ in range(6)]
        answers = await asyncio.gather(*(publish(source, b) for b in racing))
        assert sorted(a.status_code for a in answers) == [200, 400, 400, 400, 400, 400]
        assert all("Deprecated" in a.text for a in answers if a.status_code == 400)
        history = (await source.get(f"{old}/_history")).json()
        assert history["total"] == 2


async def test_an_addendum_racing_a_replacement_is_superseded_or_refused(
    exchange: Exchange, source: httpx.AsyncClient
) -> None:
    person = await a_patient(source)
    for _ in range(4):
        (old,) = await published(source, a_document(person))
        replace = publish(source, a_bundle(a_document(person, **related("replaces", old))))
        append = publish(source, a_bundle(a_document(person, **related("appends", old))))
        replaced, appended = await asyncio.gather(replace, append)
        assert replaced.status_code == 200
        if appended.status_code == 200:
            assert await status(source, locations(appended)[1]) == "superseded"
        else:
            assert "Deprecated" in appended.text


async def test_replacing_needs_the_right_to_update(
    exchange: Exchange, source: httpx.AsyncClient
) -> None:
    person = await a_patient(source)
    (old,) = await published(source, a_document(person))
    bundle = a_bundle(a_document(person, **related("replaces", old)))
    async with exchange.as_client(
        "system/DocumentReference.c system/List.c system/Binary.c"
    ) as client:
        assert (await publish(client, bundle)).status_code == 403
    assert await status(source, old) == "current"
    async with exchange.as_client(
        "system/DocumentReference.cu system/List.c system/Binary.c"
    ) as client:
        assert (await publish(client, bundle)).status_code == 200
