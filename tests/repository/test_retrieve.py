"""ITI-68: a document comes back as it was given, to those who may have it, in the form they ask for."""

from __future__ import annotations

import base64
import os
from hashlib import sha256
from typing import Any

import httpx
import pytest
from lxml import etree

from repository.vault import CHUNK, WHOLE
from tests.repository.conftest import Alone
from tests.repository.shelf import some

LARGE = WHOLE + CHUNK + 12345


def tag(content: bytes) -> str:
    return f'"{sha256(content).hexdigest()}"'


async def get(alone: Alone, binary_id: str, scope: str = "", **headers: str) -> httpx.Response:
    async with alone.client(*([scope] if scope else [])) as http:
        return await http.get(
            f"/Binary/{binary_id}", headers={k.replace("_", "-"): v for k, v in headers.items()}
        )


@pytest.mark.parametrize("size", [1, 20_000, LARGE])
async def test_the_bytes_come_back_with_headers_that_keep_them_harmless(
    alone: Alone, size: int
) -> None:
    content = os.urandom(size)
    kept = await alone.holding(content, "text/html")
    answer = await get(alone, kept.binary_id)
    assert answer.status_code == 200
    assert answer.content == content
    headers = answer.headers
    document = alone.shelf.documents[kept.binary_id].document
    assert headers["content-type"] == "text/html"
    assert headers["content-length"] == str(size)
    assert headers["etag"] == tag(content)
    assert headers["accept-ranges"] == "bytes"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-disposition"] == f'attachment; filename="{document}.html"'
    assert headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert headers["cache-control"] == "private, no-store"


async def test_head_says_what_get_would_without_the_bytes(alone: Alone) -> None:
    kept = await alone.holding(b"a letter")
    async with alone.client() as http:
        answer = await http.head(f"/Binary/{kept.binary_id}")
        whole = await http.get(f"/Binary/{kept.binary_id}")
    assert (answer.status_code, answer.content) == (200, b"")
    differing = {k for k in whole.headers if whole.headers[k] != answer.headers.get(k)}
    assert differing == {"x-request-id"}


# -- form ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("size", [1, 2, 3, 1000, LARGE])
async def test_fhir_json_gives_the_binary_resource(alone: Alone, size: int) -> None:
    content = os.urandom(size)
    kept = await alone.holding(content)
    answer = await get(alone, kept.binary_id, Accept="application/fhir+json")
    assert answer.headers["content-type"].startswith("application/fhir+json")
    assert answer.headers["content-length"] == str(len(answer.content))
    resource = answer.json()
    assert base64.b64decode(resource.pop("data"), validate=True) == content
    assert resource.pop("meta")["versionId"] == "1"
    assert resource == {
        "resourceType": "Binary",
        "id": kept.binary_id,
        "contentType": "application/pdf",
        "securityContext": {
            "reference": f"DocumentReference/{alone.shelf.documents[kept.binary_id].document}"
        },
    }


@pytest.mark.parametrize("content", [b"<x/>", b""])
async def test_fhir_xml_gives_the_binary_resource(alone: Alone, content: bytes) -> None:
    kept = await alone.holding(content, 'text/plain; charset="utf-8"')
    answer = await get(alone, kept.binary_id, Accept="application/fhir+xml")
    assert answer.headers["content-length"] == str(len(answer.content))
    root = etree.fromstring(answer.content)
    said = {etree.QName(e).localname: e.get("value") for e in root}
    assert etree.QName(root).localname == "Binary"
    assert said["contentType"] == 'text/plain; charset="utf-8"'
    assert base64.b64decode(said.get("data") or "") == content


@pytest.mark.parametrize(
    ("kind", "accept", "gives"),
    [
        ("application/pdf", "*/*", "application/pdf"),
        ("application/pdf", "application/*", "application/pdf"),
        ("application/pdf", "text/html,application/xhtml+xml,*/*;q=0.8", "application/pdf"),
        ("text/csv", "text/csv;q=0.5, application/fhir+json", "application/fhir+json;charset=utf-8"),
        ("application/pdf", "application/pdf, application/fhir+json", "application/pdf"),
        ("application/pdf", "application/json", "application/fhir+json;charset=utf-8"),
        ("application/json", "application/json", "application/json"),
        ("image/png", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "image/png"),
        ("text/plain", "application/*", "application/fhir+json;charset=utf-8"),
        ("application/pdf", "application/fhir+xml;q=0.2, text/plain", "application/fhir+xml;charset=utf-8"),
        ("text/plain; charset=utf-8", "text/plain", "text/plain; charset=utf-8"),
        ("application/fhir+json", "application/fhir+json", "application/fhir+json"),
        ("application/fhir+json", "application/fhir+xml", "application/fhir+xml;charset=utf-8"),
        ("no type", "*/*", "application/octet-stream"),
    ],
)  # fmt: skip
async def test_accept_chooses_between_bytes_and_resource(
    alone: Alone, kind: str, accept: str, gives: str
) -> None:
    kept = await alone.holding(os.urandom(20), kind)
    answer = await get(alone, kept.binary_id, Accept=accept)
    assert (answer.status_code, answer.headers["content-type"]) == (200, gives)


@pytest.mark.parametrize(
    "accept", ["image/png", "text/*", "application/pdf;q=0", "application/pdf;q=x"]
)
async def test_an_accept_that_excludes_every_form_is_406(alone: Alone, accept: str) -> None:
    kept = await alone.holding(os.urandom(20))
    answer = await get(alone, kept.binary_id, Accept=accept)
    assert answer.status_code == 406
    assert answer.json()["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    ("wanted", "gives"),
    [
        ("json", "application/fhir+json"), ("xml", "application/fhir+xml"),
        ("application/fhir+json", "application/fhir+json"), ("application/pdf", "application/pdf"),
    ],
)  # fmt: skip
async def test_the_format_parameter_beats_accept(alone: Alone, wanted: str, gives: str) -> None:
    kept = await alone.holding(os.urandom(20))
    answer = await get(alone, f"{kept.binary_id}?_format={wanted}", Accept="application/pdf")
    assert answer.headers["content-type"].partition(";")[0] == gives
    assert (await get(alone, f"{kept.binary_id}?_format=text/csv")).status_code == 406


# -- ranges and conditions -------------------------------------------------------------------------
@pytest.mark.parametrize("size", [1000, LARGE])
async def test_a_range_gives_that_part(alone: Alone, size: int) -> None:
    content = os.urandom(size)
    kept = await alone.holding(content)
    for asked, start, stop in (
        ("bytes=0-0", 0, 1),
        ("bytes=10-", 10, size),
        ("bytes=-7", size - 7, size),
        (f"bytes={size - 5}-{size + 50}", size - 5, size),
        (f"bytes=-{size * 3}", 0, size),
        ("BYTES=2-4", 2, 5),
        (f"bytes={size // 2}-{size - 1}", size // 2, size),
    ):
        answer = await get(alone, kept.binary_id, Range=asked)
        assert answer.status_code == 206, asked
        assert answer.content == content[start:stop]
        assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
        assert answer.headers["content-length"] == str(stop - start)


@pytest.mark.parametrize(
    "asked", ["bytes=5-", "bytes=-0", "bytes=99999999999999999999999-", "bytes=5-9"]
)
async def test_a_range_beyond_the_end_is_416(alone: Alone, asked: str) -> None:
    kept = await alone.holding(b"12345")
    answer = await get(alone, kept.binary_id, Range=asked)
    assert answer.status_code == 416
    assert answer.headers["content-range"] == "bytes */5"


@pytest.mark.parametrize(
    "asked", ["bytes=3-1", "bytes=0-1,3-4", "lines=1-2", "bytes=-", "bytes=x", "bytes"]
)
async def test_other_ranges_give_the_whole(alone: Alone, asked: str) -> None:
    kept = await alone.holding(b"12345")
    answer = await get(alone, kept.binary_id, Range=asked)
    assert (answer.status_code, answer.content) == (200, b"12345")


async def test_a_range_of_another_version_gives_the_whole(alone: Alone) -> None:
    kept = await alone.holding(b"12345")
    same = await get(alone, kept.binary_id, Range="bytes=1-2", If_Range=tag(b"12345"))
    other = await get(alone, kept.binary_id, Range="bytes=1-2", If_Range=tag(b"older"))
    assert (same.status_code, other.status_code) == (206, 200)


async def test_what_the_caller_has_is_not_sent_again(alone: Alone) -> None:
    kept = await alone.holding(b"12345")
    for known in (tag(b"12345"), f'"x", W/{tag(b"12345")}', "*"):
        answer = await get(alone, kept.binary_id, If_None_Match=known)
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == tag(b"12345")
    assert (await get(alone, kept.binary_id, If_None_Match=tag(b"1"))).status_code == 200
    wrapped = await get(
        alone, kept.binary_id, Accept="application/fhir+json", If_None_Match='W/"1"'
    )
    assert wrapped.status_code == 304


async def test_if_unmodified_since_is_ignored(alone: Alone) -> None:
    kept = await alone.holding(b"12345")
    answer = await get(alone, kept.binary_id, If_Unmodified_Since="Thu, 01 Jan 1970 00:00:00 GMT")
    assert answer.status_code == 200


# -- rights ----------------------------------------------------------------------------------------
async def test_an_unknown_a_pending_and_a_released_document_look_alike(alone: Alone) -> None:
    pending = await alone.vault.deposit("text/plain", some(b"pending"))
    released = await alone.holding(b"released")
    await alone.vault.deposits.update({"_id": released.binary_id}, {"$set": {"state": "released"}})
    answers = [
        await get(alone, i) for i in ("nothing", "a" * 64, pending.binary_id, released.binary_id)
    ]
    assert {a.status_code for a in answers} == {404}
    assert len({a.text for a in answers}) == 1


async def test_a_committed_document_is_there_before_keep_was_heard(alone: Alone) -> None:
    kept = await alone.vault.deposit("text/plain", some(b"committed"))
    alone.shelf.documents[kept.binary_id] = alone.shelf.documents.get("x") or _cited()
    assert (await get(alone, kept.binary_id)).content == b"committed"


def _cited() -> Any:
    from repository.neighbours import Cited

    return Cited("d", "Patient/p")


@pytest.mark.parametrize(
    ("scope", "status"),
    [
        ("system/Binary.r system/DocumentReference.rs", 200),
        ("user/*.r", 200),
        ("ITI-68", 200),
        ("system/Binary.r system/DocumentReference.rs?category=housing", 200),
        ("system/Binary.r system/DocumentReference.rs?category=police", 404),
        ("system/Binary.r", 403),
        ("system/DocumentReference.rs", 403),
        ("system/Binary.c system/DocumentReference.rs", 403),
        ("ITI-67", 403),
    ],
)
async def test_a_document_inherits_the_rights_of_its_document_reference(
    alone: Alone, scope: str, status: int
) -> None:
    kept = await alone.holding(b"rights", category="housing")
    assert (await get(alone, kept.binary_id, scope)).status_code == status


async def test_without_a_token_there_is_nothing(alone: Alone) -> None:
    kept = await alone.holding(b"rights")
    async with alone.client() as http:
        answer = await http.get(f"/Binary/{kept.binary_id}", headers={"Authorization": ""})
    assert answer.status_code == 401


async def test_the_audit_names_the_patient_and_the_document(alone: Alone) -> None:
    kept = await alone.holding(b"audited")
    alone.notebook.events.clear()
    await get(alone, kept.binary_id)
    (event,) = alone.notebook.events
    named = {
        e.get("what", {}).get("reference", "").rpartition("/fhir/")[2] for e in event["entity"]
    }
    assert f"Binary/{kept.binary_id}" in named
    assert alone.shelf.documents[kept.binary_id].subject in named


async def test_damaged_bytes_are_a_fault_and_not_an_answer(alone: Alone) -> None:
    kept = await alone.holding(b"about to be damaged")
    await alone.vault.blobs.update(
        {"_id": kept.sha256.hex()}, {"$set": {"data": b"damaged             "[:19]}}
    )
    answer = await get(alone, kept.binary_id)
    assert answer.status_code == 500
    assert answer.json()["issue"][0]["code"] == "exception"
