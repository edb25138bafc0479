"""HTTP manners of every FHIR route: versions, conditions, preferences, compression, XML, ids, HEAD."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from lxml import etree

from tests.running import Exchange

NHS = "https://fhir.nhs.uk/Id/nhs-number"
JSON = {"Content-Type": "application/fhir+json"}
PATIENT = {
    "resourceType": "Patient",
    "active": True,
    "identifier": [{"system": NHS, "value": "9990000069"}],
    "name": [{"family": "Nováková", "given": ["Jana"]}],
    "birthDate": "1988-02-03",
    "gender": "female",
}
WHERE = {"identifier": f"{NHS}|9990000069"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(exchange: Exchange) -> AsyncIterator[httpx.AsyncClient]:
    async with exchange.as_client() as made:
        answer = await made.put("Patient", params=WHERE, json=PATIENT, headers=JSON)
        assert answer.status_code == 201
        made.headers["X-Patient"] = answer.json()["id"]
        yield made


async def test_a_read_has_its_version_and_an_unchanged_one_is_304(
    client: httpx.AsyncClient,
) -> None:
    read = await client.get(f"Patient/{client.headers['X-Patient']}")
    assert read.status_code == 200
    assert read.headers["etag"].startswith('W/"')
    assert "last-modified" in read.headers
    again = await client.get(
        f"Patient/{client.headers['X-Patient']}", headers={"If-None-Match": read.headers["etag"]}
    )
    assert again.status_code == 304
    assert again.content == b""


async def test_an_update_with_a_stale_version_is_412_and_with_the_right_one_is_200(
    client: httpx.AsyncClient,
) -> None:
    stale = await client.put(
        "Patient", params=WHERE, json=PATIENT, headers=JSON | {"If-Match": 'W/"99"'}
    )
    assert stale.status_code == 412
    read = await client.get(f"Patient/{client.headers['X-Patient']}")
    right = await client.put(
        "Patient", params=WHERE, json=PATIENT, headers=JSON | {"If-Match": read.headers["etag"]}
    )
    assert right.status_code == 200


async def test_prefer_return_decides_what_a_write_answers(client: httpx.AsyncClient) -> None:
    minimal = await client.put(
        "Patient", params=WHERE, json=PATIENT, headers=JSON | {"Prefer": "return=minimal"}
    )
    assert minimal.content == b""
    told = await client.put(
        "Patient", params=WHERE, json=PATIENT, headers=JSON | {"Prefer": "return=OperationOutcome"}
    )
    assert told.json()["resourceType"] == "OperationOutcome"
    whole = await client.put(
        "Patient", params=WHERE, json=PATIENT, headers=JSON | {"Prefer": "return=representation"}
    )
    assert whole.json()["resourceType"] == "Patient"


async def test_if_none_exist_is_refused_rather_than_ignored(client: httpx.AsyncClient) -> None:
    answer = await client.put(
        "Patient", params=WHERE, json=PATIENT, headers=JSON | {"If-None-Exist": "identifier=x"}
    )
    assert answer.status_code == 400
    assert "If-None-Exist" in answer.json()["issue"][0]["expression"]


async def test_large_answers_are_compressed_for_those_who_ask(client: httpx.AsyncClient) -> None:
    packed = await client.get("metadata", headers={"Accept-Encoding": "gzip"})
    plain = await client.get("metadata", headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.json() == plain.json()


async def test_xml_goes_in_and_comes_out(client: httpx.AsyncClient) -> None:
    read = await client.get(
        f"Patient/{client.headers['X-Patient']}", headers={"Accept": "application/fhir+xml"}
    )
    assert read.headers["content-type"].startswith("application/fhir+xml")
    root = etree.fromstring(read.content)
    assert root.tag == "{http://hl7.org/fhir}Patient"
    for child in root.findall("{*}id") + root.findall("{*}meta"):
        root.remove(child)
    back = await client.put(
        "Patient",
        params=WHERE,
        content=etree.tostring(root),
        headers={"Content-Type": "application/fhir+xml"},
    )
    assert back.status_code == 200, back.text
    assert back.json()["name"] == PATIENT["name"]


async def test_an_error_is_said_in_the_wanted_format(client: httpx.AsyncClient) -> None:
    answer = await client.get("Patient?famly=x", headers={"Accept": "application/fhir+xml"})
    assert answer.status_code == 400
    assert etree.fromstring(answer.content).tag == "{http://hl7.org/fhir}OperationOutcome"


async def test_a_request_id_is_kept_or_made(client: httpx.AsyncClient) -> None:
    given = await client.get("metadata", headers={"X-Request-Id": "trace-7"})
    assert given.headers["x-request-id"] == "trace-7"
    made = await client.get("metadata", headers={"X-Request-Id": "not <one>"})
    assert made.headers["x-request-id"] != "not <one>"


async def test_head_answers_as_get_without_a_body(client: httpx.AsyncClient) -> None:
    head = await client.head(f"Patient/{client.headers['X-Patient']}")
    assert head.status_code == 200
    assert head.content == b""
    assert int(head.headers["content-length"]) > 100


async def test_no_answer_may_be_stored_or_sniffed(client: httpx.AsyncClient) -> None:
    read = await client.get(f"Patient/{client.headers['X-Patient']}")
    assert read.headers["cache-control"] == "no-store"
    assert read.headers["x-content-type-options"] == "nosniff"


async def test_nobody_gets_a_packed_answer_who_refuses_it(client: httpx.AsyncClient) -> None:
    plain = await client.get("metadata", headers={"Accept-Encoding": "gzip;q=0, identity"})
    assert "content-encoding" not in plain.headers
    assert plain.json()["resourceType"] == "CapabilityStatement"


async def test_a_packed_body_is_unpacked_and_an_unknown_packing_is_415(
    client: httpx.AsyncClient,
) -> None:
    packed = gzip.compress(json.dumps(PATIENT).encode())
    taken = await client.put(
        "Patient", params=WHERE, content=packed, headers=JSON | {"Content-Encoding": "gzip"}
    )
    assert taken.status_code == 200, taken.text
    other = await client.put(
        "Patient", params=WHERE, content=packed, headers=JSON | {"Content-Encoding": "br"}
    )
    assert other.status_code == 415
    assert "gzip" in other.json()["issue"][0]["diagnostics"]


async def test_headers_in_several_lines_are_read_as_one(client: httpx.AsyncClient) -> None:
    lines = [("Accept", "image/png"), ("Accept", "application/fhir+xml")]
    bare = {k: v for k, v in client.headers.items() if k.lower() != "accept"}
    request = httpx.Request("GET", f"{client.base_url}metadata", headers=[*bare.items(), *lines])
    answer = await client.send(request)
    assert answer.headers["content-type"].startswith("application/fhir+xml")


@pytest.mark.parametrize("second", ["Bearer x", "Basic eDp5", ""])
async def test_of_two_tokens_neither_is_believed(client: httpx.AsyncClient, second: str) -> None:
    for lines in (
        [client.headers["authorization"], second],
        [second, client.headers["authorization"]],
    ):
        headers = [("Accept", "application/fhir+json"), *(("Authorization", v) for v in lines)]
        request = httpx.Request("GET", f"{client.base_url}Patient?family=x", headers=headers)
        answer = await client.send(request)
        assert answer.status_code == 401, answer.text


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"_format": "json"}, "json"),
        ({"_format": "xml"}, "xml"),
        ({"_format": "application/fhir+xml"}, "xml"),
        ({"_format": "application/fhir xml"}, "xml"),
        ({"_format": "text/xml"}, "xml"),
    ],
)
async def test_format_beats_accept_on_every_kind_of_answer(
    client: httpx.AsyncClient, said: dict[str, str], kind: str
) -> None:
    other = "application/fhir+json" if kind == "xml" else "application/fhir+xml"
    for path in (
        "metadata", f"Patient/{client.headers['X-Patient']}", "Patient?family=novakova",
        f"Patient/$ihe-pix?sourceIdentifier={WHERE['identifier']}", "Patient?famly=x", "Patient/nobody",
    ):  # fmt: skip
        answer = await client.get(
            httpx.URL(path).copy_merge_params(said), headers={"Accept": other}
        )
        assert answer.headers["content-type"] == f"application/fhir+{kind};charset=utf-8", path
        if kind == "xml":
            assert etree.fromstring(answer.content).tag.startswith("{http://hl7.org/fhir}")
        else:
            assert "resourceType" in answer.json()
    posted = await client.post(
        "Patient/_search", data={"family": "novakova"} | said, headers={"Accept": other}
    )
    assert posted.headers["content-type"] == f"application/fhir+{kind};charset=utf-8"
