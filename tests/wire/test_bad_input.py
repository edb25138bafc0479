"""Every kind of bad input, sent over HTTP to the whole exchange: the right status, an OperationOutcome
that says where and what to do, nothing stored, and never a 500."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio

from tests.running import Exchange

NHS = "https://fhir.nhs.uk/Id/nhs-number"
JSON = {"Content-Type": "application/fhir+json"}
XML = {"Content-Type": "application/fhir+xml"}
WRITES = [
    ("PUT", f"Patient?identifier={quote(NHS)}%7C9990000050"),
    ("POST", ""),
    ("POST", "AuditEvent"),
    ("POST", "Patient/$ihe-pix"),
]
SEARCHES = ["Patient", "DocumentReference", "List", "AuditEvent"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(exchange: Exchange) -> AsyncIterator[httpx.AsyncClient]:
    async with exchange.as_client() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def nothing_stored(exchange: Exchange) -> AsyncIterator[None]:
    """The collections that hold people's things are as they were."""
    before = await _counts(exchange)
    yield
    assert await _counts(exchange) == before


async def _counts(exchange: Exchange) -> dict[str, int]:
    held = {
        "pix": ("records", "identifiers", "persons"),
        "registry": ("documents", "lists"),
        "repository": ("blobs", "deposits"),
    }
    return {
        f"{db}.{name}": await exchange.mongo.table(db, name).count({})
        for db, names in held.items()
        for name in names
    }


def told(answer: httpx.Response, *statuses: int) -> dict[str, Any]:
    """The first issue of a refusal, after checking that it is a proper one."""
    assert answer.status_code in statuses, f"{answer.status_code}: {answer.text[:500]}"
    assert answer.headers["x-request-id"]
    outcome = answer.json()
    assert outcome["resourceType"] == "OperationOutcome"
    for issue in outcome["issue"]:
        assert issue["severity"] in ("error", "fatal", "warning")
        assert len(issue["diagnostics"]) > 10, issue
        assert "Traceback" not in issue["diagnostics"]
    first: dict[str, Any] = outcome["issue"][0]
    return first


BODIES: dict[str, tuple[bytes, dict[str, str]]] = {
    "nothing at all": (b"", JSON),
    "half an object": (b'{"resourceType": "Patient", ', JSON),
    "not JSON": (b"resourceType=Patient", JSON),
    "an array": (b"[]", JSON),
    "a string": (b'"Patient"', JSON),
    "NaN": (b'{"resourceType":"Patient","multipleBirthInteger":NaN}', JSON),
    "a key twice": (b'{"resourceType":"Patient","active":true,"active":false}', JSON),
    "no resourceType": (b'{"active":true}', JSON),
    "a resourceType that is no string": (b'{"resourceType":["Patient"]}', JSON),
    "another resourceType": (b'{"resourceType":"Observation","status":"final"}', JSON),
    "an unknown resourceType": (b'{"resourceType":"Patiant"}', JSON),
    "10,000 levels of arrays": (b'{"resourceType":"Patient","name":' + b"[" * 10_000 + b"]" * 10_000 + b"}", JSON),
    "10,000 levels of objects": (b'{"contact":' * 10_000 + b"1" + b"}" * 10_000, JSON),
    "900 levels": (b'{"a":' * 900 + b"1" + b"}" * 900, JSON),
    "invalid UTF-8": (b'{"resourceType":"Patient","id":"\xff\xfe"}', JSON),
    "a NUL": (b'{"resourceType":"Patient","id":"a\x00b"}', JSON),
    "an escaped NUL": (b'{"resourceType":"Patient","language":"a\\u0000b"}', JSON),
    "a null": (b'{"resourceType":"Patient","active":null}', JSON),
    "an empty list": (b'{"resourceType":"Patient","name":[]}', JSON),
    "an operator for a value": (b'{"resourceType":"Patient","active":{"$ne":true}}', JSON),
    "an operator for a name": (b'{"resourceType":"Patient","$where":"1"}', JSON),
    "half an element": (b'<Patient xmlns="http://hl7.org/fhir"><active', XML),
    "XML without its namespace": (b"<Patient><active value='true'/></Patient>", XML),
    "an unknown XML element": (b'<Patient xmlns="http://hl7.org/fhir"><activ value="true"/></Patient>', XML),
    "an XML entity": (
        b'<!DOCTYPE p [<!ENTITY x "y">]><Patient xmlns="http://hl7.org/fhir"><language value="&x;"/></Patient>', XML,
    ),
    "a billion laughs": (
        (b'<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
        b'<Patient xmlns="http://hl7.org/fhir"><language value="&b;"/></Patient>'), XML,
    ),
    "a file from XML": (
        (b'<!DOCTYPE p [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
        b'<Patient xmlns="http://hl7.org/fhir"><language value="&x;"/></Patient>'), XML,
    ),
    "10,000 levels of XML": (
        b'<Patient xmlns="http://hl7.org/fhir">' + b"<extension>" * 10_000 + b"</extension>" * 10_000 + b"</Patient>",
        XML,
    ),
    "JSON called XML": (b'{"resourceType":"Patient"}', XML),
}  # fmt: skip


@pytest.mark.parametrize("what", BODIES)
@pytest.mark.parametrize(
    ("method", "path"), WRITES, ids=["feed", "provide", "audit feed", "cross-reference"]
)
async def test_a_body_that_cannot_be_is_refused(
    client: httpx.AsyncClient, nothing_stored: None, method: str, path: str, what: str
) -> None:
    body, headers = BODIES[what]
    told(await client.request(method, path, content=body, headers=headers), 400, 413, 422)


@pytest.mark.parametrize(
    "kind",
    ["application/pdf", "text/plain", "multipart/form-data", "application/x-www-form-urlencoded"],
)
@pytest.mark.parametrize(("method", "path"), WRITES)
async def test_a_body_of_another_media_type_is_415(
    client: httpx.AsyncClient, nothing_stored: None, method: str, path: str, kind: str
) -> None:
    told(await client.request(method, path, content=b"{}", headers={"Content-Type": kind}), 415)


async def test_a_body_in_another_charset_is_415(
    client: httpx.AsyncClient, nothing_stored: None
) -> None:
    headers = {"Content-Type": "application/fhir+json; charset=iso-8859-1"}
    told(await client.put(WRITES[0][1], content=b"{}", headers=headers), 415)


async def test_a_huge_array_is_refused_in_linear_time_with_a_bounded_answer(
    client: httpx.AsyncClient, nothing_stored: None
) -> None:
    body = json.dumps({"resourceType": "Patient", "name": [{"famly": "x"}] * 50_000})
    answer = await client.put(WRITES[0][1], content=body, headers=JSON)
    told(answer, 400)
    assert len(answer.json()["issue"]) <= 60


async def test_a_body_larger_than_the_limit_is_413_before_it_is_all_read(
    exchange: Exchange, client: httpx.AsyncClient, nothing_stored: None
) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'{"resourceType":"Patient","name":[{"family":"'
        for _ in range(64):
            sent += 1
            yield b"x" * 1024 * 1024

    told(await client.put(WRITES[0][1], content=endless(), headers=JSON), 413)


async def test_every_fault_of_a_body_is_told_at_once_with_its_place(
    client: httpx.AsyncClient,
) -> None:
    body = {
        "resourceType": "Patient",
        "activ": True,
        "gender": "woman",
        "birthDate": "1990-13-01",
        "name": [{"given": "A"}],
    }
    answer = await client.put(WRITES[0][1], json=body, headers=JSON)
    told(answer, 400)
    places = {e for issue in answer.json()["issue"] for e in issue.get("expression", ())}
    assert {
        "Patient.activ",
        "Patient.gender",
        "Patient.birthDate",
        "Patient.name[0].given",
    } <= places


QUERIES = {
    "an unknown parameter": "famly=x&patient=Patient/1",
    "an unknown modifier": "_id:fuzzy=x",
    "a count that is no number": "_count=many",
    "a negative count": "_count=-1",
    "two counts": "_count=1&_count=2",
    "an unknown sort": "_sort=shoesize",
    "a cursor of nobody": "_cursor=AAAA",
    "a NUL": "_id=a%00b",
    "bytes that are not UTF-8": "_id=%ff%fe",
    "a date of year 0": "_lastUpdated=0000-01-01",
    "a date of year 99999": "_lastUpdated=99999-01-01",
    "the 31st of February": "_lastUpdated=2026-02-31",
    "an unknown date prefix": "_lastUpdated=zz2026",
    "a thousand and one parameters": "&".join(["_id=x"] * 1001),
}


@pytest.mark.parametrize("what", QUERIES)
@pytest.mark.parametrize("kind", SEARCHES)
async def test_a_query_that_cannot_be_is_400(
    client: httpx.AsyncClient, kind: str, what: str
) -> None:
    told(await client.get(f"{kind}?{QUERIES[what]}"), 400, 404)


@pytest.mark.parametrize(
    "value",
    [
        "$where",
        '{"$ne":null}',
        "[$ne]",
        "';return true;//",
        "{$gt: ''}",
        "a\\|b\\,c\\$d",
        "%",
        ".*",
        "x" * 3000,
    ],
)
@pytest.mark.parametrize("parameter", ["identifier", "family", "family:contains", "_id", "telecom"])
async def test_an_operator_in_a_query_is_plain_text(
    client: httpx.AsyncClient, parameter: str, value: str
) -> None:
    answer = await client.get("Patient", params={parameter: value})
    if answer.status_code == 200:
        assert answer.json()["total"] == 0
    else:
        told(answer, 400, 404)


async def test_escapes_in_an_identifier_mean_the_characters_themselves(
    client: httpx.AsyncClient,
) -> None:
    space = "https://throughline.example/fhir/Id/tenancy/VCS-01"
    value = r"T|1,2\3$4"
    escaped = (
        value.replace("\\", "\\\\").replace("|", "\\|").replace(",", "\\,").replace("$", "\\$")
    )
    patient = {
        "resourceType": "Patient", "active": True, "identifier": [{"system": space, "value": value}],
        "name": [{"family": "Escape"}],
    }  # fmt: skip
    made = await client.put(
        "Patient", params={"identifier": f"{space}|{escaped}"}, json=patient, headers=JSON
    )
    assert made.status_code == 201, made.text
    found = await client.get("Patient", params={"identifier": f"{space}|{escaped}"})
    assert found.json()["total"] == 1
    assert (await client.get("Patient", params={"identifier": f"{space}|T|1,2"})).json()[
        "total"
    ] == 0


async def test_the_same_bad_query_by_post_is_refused_the_same_way(
    client: httpx.AsyncClient,
) -> None:
    got = await client.get("Patient?famly=x")
    sent = await client.post("Patient/_search", data={"famly": "x"})
    assert told(got, 400)["diagnostics"] == told(sent, 400)["diagnostics"]


async def test_lenient_handling_ignores_an_unknown_parameter_and_says_so(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get(
        "Patient?family=nobodyhere&famly=x", headers={"Prefer": "handling=lenient"}
    )
    assert answer.status_code == 200
    bundle = answer.json()
    own = next(link["url"] for link in bundle["link"] if link["relation"] == "self")
    assert "famly" not in own
    assert "family" in own


# fhirpy's `.count()` sends a parameter of another server beside what FHIR has for it
COUNTING = "_count=0&_totalMethod=count"


async def test_a_parameter_of_another_server_is_refused_with_the_way_to_send_it(
    client: httpx.AsyncClient,
) -> None:
    for kind in ("Patient?family=nobodyhere", "DocumentReference?patient=Patient/x&status=current"):
        answer = await client.get(f"{kind}&{COUNTING}")
        assert answer.status_code == 400
        (issue,) = answer.json()["issue"]
        for words in ('"_totalMethod"', 'Did you mean "_total"?', "Prefer: handling=lenient"):
            assert words in issue["diagnostics"]
        lenient = await client.get(f"{kind}&{COUNTING}", headers={"Prefer": "handling=lenient"})
        assert lenient.status_code == 200
        assert lenient.json()["total"] == 0
        (told_,) = lenient.json()["entry"]
        assert "_totalMethod" in told_["resource"]["issue"][0]["diagnostics"]
        assert "Prefer" not in told_["resource"]["issue"][0]["diagnostics"]
        for total in ("accurate", "estimate", "none"):  # FHIR's own, and always exact
            counted = await client.get(f"{kind}&_count=0&_total={total}")
            assert counted.status_code == 200
            assert counted.json()["total"] == 0


async def test_an_answer_nobody_can_make_is_406(client: httpx.AsyncClient) -> None:
    told(await client.get("Patient?family=x", headers={"Accept": "image/png"}), 406)
    told(await client.get("Patient?family=x&_format=turtle"), 406)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "Patient"),
        ("DELETE", "DocumentReference/x"),
        ("PATCH", "Patient/x"),
        ("PUT", "AuditEvent/x"),
        ("DELETE", "AuditEvent/x"),
    ],
)
async def test_an_interaction_that_is_not_offered_is_405(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    answer = await client.request(method, path, content=b"{}", headers=JSON)
    told(answer, 405)


async def test_a_path_that_is_not_served_is_404_in_fhir(client: httpx.AsyncClient) -> None:
    told(await client.get("Nothing/here"), 404)


@pytest.mark.parametrize("accept", ["application/fhir+json", "application/fhir+xml"])
@pytest.mark.parametrize("id_", ["%00", "a%01b", "%EF%BF%BE"])
async def test_an_id_that_no_format_can_hold_is_like_an_unknown_one(
    client: httpx.AsyncClient, accept: str, id_: str
) -> None:
    answer = await client.get(f"/AuditEvent/{id_}", headers={"Accept": accept})
    assert answer.status_code == 404
    assert "OperationOutcome" in answer.text


@pytest.mark.parametrize(
    ("method", "path", "served"),
    [
        ("POST", "Patient", {"GET", "HEAD", "PUT", "DELETE"}),
        ("PATCH", "DocumentReference", {"GET", "HEAD", "POST"}),
        ("PUT", "Patient/an-id", {"GET", "HEAD"}),
        ("GET", "Patient/$match", {"POST"}),
        ("GET", "Patient/$link", {"POST"}),
        ("DELETE", "Patient/$ihe-pix", {"GET", "HEAD", "POST"}),
    ],
)
async def test_a_method_that_is_not_served_is_405_and_names_all_that_are(
    client: httpx.AsyncClient, method: str, path: str, served: set[str]
) -> None:
    answer = await client.request(method, path)
    words = told(answer, 405)["diagnostics"]
    assert {m.strip() for m in answer.headers["allow"].split(",")} == served
    for name in served - {"HEAD"}:
        assert name in words


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_an_operation_that_there_is_not_is_no_record_that_is_missing(
    client: httpx.AsyncClient, method: str
) -> None:
    issue = told(await client.request(method, "Patient/$explian"), 404)
    assert "Nothing is served at /fhir/Patient/$explian" in issue["diagnostics"]
