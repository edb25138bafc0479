"""Whatever is sent to any row, the answer is an answer: never a 500, and every refusal is a legal
OperationOutcome with words."""

from __future__ import annotations

import asyncio
import copy
import json
import os
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exchange.rows import ROWS
from standards.r4.check import check_structure
from standards.rows import Transaction
from standards.search import RESULT_PARAMETERS
from tests.makers_mhd import a_bundle, a_document, a_folder, a_patch, a_patient
from tests.running import Exchange

EXAMPLES = int(os.environ.get("THROUGHLINE_TEST_EXAMPLES", "40"))
SERVED = [r for r in ROWS if r.surface == "fhir"]
VALUES = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [
            "", "|", "||", "a|", "|b", "a|b|c", "\\", "\\|", "a\\,b", "$where", '{"$ne":null}', "true", "false",
            "0000", "0001", "9999-12-31", "99999", "2026-02-30", "ge", "ap0001", "ap9999", "eq2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00+14:00", "sa9999-12-31T23:59:59Z", "-1", "0", "9" * 400, "Patient/", "Patient/a/b",
            "http://", "http://[", "urn:", "//", "Patient/x", "https://fhir.nhs.uk/Id/nhs-number|9990000069",
            "submissionset", "current", "count", "accurate", "-date", "date,-_id", "DocumentReference:patient",
        ]
    ),
)  # fmt: skip
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Accept": st.sampled_from(
            ["*/*", "application/fhir+xml", "text/html", "a/b;q=x", ";;;", "application/fhir+json;q=0", ","]
        ),
        "Prefer": st.sampled_from(
            ["handling=lenient", "handling=odd", "return=minimal", "return=nothing", "=", "respond-async"]
        ),
        "If-Match": st.sampled_from(['W/"1"', '"1"', "*", "1", "", 'W/"', 'W/"9999999999999999999999"', 'W/"-1"']),
        "If-None-Match": st.sampled_from(['W/"1"', "*", "", '"'])  ,
        "Range": st.sampled_from(["bytes=0-", "bytes=-0", "bytes=9-1", "bytes=x", "lines=1-2", "bytes=" + "9" * 99]),
        "Content-Encoding": st.sampled_from(["gzip", "br", "identity", ""]),
        "Accept-Encoding": st.sampled_from(["gzip", "gzip;q=0", "br"]),
        "X-Request-Id": st.sampled_from(["a", "a" * 500, "<>"]),
    },
)  # fmt: skip
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**30), 10**30), st.text(max_size=20),
    st.sampled_from([[], {}, [[]], [None], {"reference": "#"}, {"reference": ""}, {"$ne": 1}, "urn:uuid:x", "#x"]),
)  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(exchange: Exchange) -> AsyncIterator[httpx.AsyncClient]:
    async with exchange.as_client() as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def person(client: httpx.AsyncClient) -> str:
    return await a_patient(client)


def sound(answer: httpx.Response) -> None:
    """Not a fault of ours; and a refusal says in legal FHIR what is wrong."""
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert answer.headers["x-request-id"]
        if "json" in answer.headers.get("content-type", ""):
            outcome = answer.json()
            assert outcome["resourceType"] == "OperationOutcome"
            assert check_structure(outcome) == (), outcome
            assert all(len(issue["diagnostics"]) > 10 for issue in outcome["issue"])


def names(row: Transaction) -> list[str]:
    """What its query may say, with every modifier, rightly or wrongly."""
    own = [p.name for p in row.search] + list(row.parameters)
    made = [
        *own,
        "_id",
        "_lastUpdated",
        *RESULT_PARAMETERS,
        "_elements",
        "x",
        "",
        "$where",
        "patient.identifier",
    ]
    modifiers = ("missing", "not", "exact", "contains", "identifier", "Patient", "x", "")
    return made + [f"{n}:{m}" for n in own[:12] for m in modifiers]


@pytest.mark.parametrize("row", SERVED, ids=lambda r: f"{r.code}-{r.interaction}-{r.resource}")
async def test_no_request_line_and_no_header_breaks_a_row(
    client: httpx.AsyncClient, row: Transaction
) -> None:
    loop = asyncio.get_running_loop()
    pairs = st.lists(st.tuples(st.sampled_from(names(row)), VALUES), max_size=5)
    ids = st.one_of(st.sampled_from(["x", "$", "_", "a" * 200, "%00", "%ff", "..", "a%2Fb"]))
    bodies = st.sampled_from(
        [b"", b"{}", b"null", b"[]", b"\x1f\x8b", b'{"resourceType":"Bundle"}', b"<a/>"]
    )
    kinds = st.sampled_from(
        ["application/fhir+json", "application/fhir+xml", "application/x-www-form-urlencoded", "", "/", "a/b"]
    )  # fmt: skip

    async def ask(method: str, path: str, said: Any, headers: Any, body: bytes) -> httpx.Response:
        return await client.request(method, path, params=said, headers=headers, content=body)

    @settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=EXAMPLES)
    @given(
        route=st.sampled_from(row.routes), said=pairs, headers=HEADERS, body=bodies, kind=kinds, id_=ids
    )  # fmt: skip
    def check(route: Any, said: Any, headers: Any, body: bytes, kind: str, id_: str) -> None:
        method, path = route
        path = path.replace("{id}", id_).replace("{vid}", id_).lstrip("/")
        said = [(k, "".join(c for c in v if not "\ud800" <= c <= "\udfff")) for k, v in said]
        asking = ask(method, path, said, {**headers, "Content-Type": kind}, body)
        sound(asyncio.run_coroutine_threadsafe(asking, loop).result(30))

    await asyncio.to_thread(check)


PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "a",
    "active": False,
    "identifier": [
        {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990000069", "use": "official"},
        {"system": "https://throughline.example/fhir/Id/tenancy/VCS-01", "value": "T1"},
    ],
    "name": [{"family": "Nobody", "given": ["A", "B"], "period": {"start": "2020"}}],
    "telecom": [{"system": "phone", "value": "01632 960001"}],
    "address": [{"line": ["1 No Street"], "postalCode": "ZZ99 3WZ"}],
    "birthDate": "1988-02-03",
    "multipleBirthInteger": 1,
    "link": [{"other": {"reference": "Patient/x"}, "type": "replaced-by"}],
}  # fmt: skip


def _places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    held = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    made = [path] if path else []
    for key, value in held:
        made += _places(value, (*path, key))
    return made


def _changed(body: Any, path: tuple[Any, ...], how: str, odd: Any) -> Any:
    """The body with one place replaced, removed, doubled or moved into a list."""
    made = copy.deepcopy(body)
    holder = made
    for key in path[:-1]:
        holder = holder[key]
    key = path[-1]
    if how == "without":
        del holder[key]
    elif how == "listed":
        holder[key] = [holder[key], holder[key]]
    else:
        holder[key] = odd
    return made


def _some(bodies: list[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    @st.composite
    def made(draw: Any) -> dict[str, Any]:
        body = draw(st.sampled_from(bodies))
        for _ in range(draw(st.integers(1, 2))):
            places = _places(body)
            if places:
                how = draw(st.sampled_from(["odd", "odd", "without", "listed"]))
                body = _changed(body, draw(st.sampled_from(places)), how, draw(ODD))
        return body

    return made()


EVENT: dict[str, Any] = {
    "resourceType": "AuditEvent",
    "type": {"system": "urn:x", "code": "rest"},
    "subtype": [{"system": "urn:y", "code": "z"}],
    "period": {"start": "2026", "end": "2025"},
    "recorded": "2026-01-01T00:00:00Z",
    "agent": [
        {"requestor": True, "who": {"display": "x"}, "network": {"address": "1", "type": "2"}}
    ],
    "source": {"observer": {"display": "x"}},
    "entity": [{"what": {"reference": "Patient/x"}}],
}
ASKED: dict[str, Any] = {
    "resourceType": "Parameters",
    "parameter": [
        {"name": "sourceIdentifier", "valueIdentifier": {"system": "urn:x", "value": "1"}},
        {"name": "targetSystem", "valueUri": "urn:y"},
    ],
}
WAYS = {
    "feed": ("PUT", "Patient?identifier=https://fhir.nhs.uk/Id/nhs-number%7C9990000069", PATIENT),
    "provide": ("POST", "", {}),
    "audit feed": ("POST", "AuditEvent", EVENT),
    "cross-reference": ("POST", "Patient/$ihe-pix", ASKED),
}


@pytest.mark.parametrize("way", WAYS)
async def test_no_change_of_a_right_body_breaks_a_write(
    client: httpx.AsyncClient, person: str, way: str
) -> None:
    """One or two places of a legal body hold something else."""
    loop = asyncio.get_running_loop()
    method, path, right = WAYS[way]
    if way == "provide":
        patch = a_patch("DocumentReference/y")
        right = a_bundle(a_document(person), folders=(a_folder(person),), extra=(patch,))
        plain = a_bundle(a_document(person), folders=(a_folder(person),))
    bodies = [right, plain] if way == "provide" else [right]

    async def ask(body: bytes) -> httpx.Response:
        headers = {"Content-Type": "application/fhir+json"}
        return await client.request(method, path, content=body, headers=headers)

    @settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=EXAMPLES)
    @given(body=_some(bodies))
    def check(body: Any) -> None:
        sent = json.dumps(body, ensure_ascii=True).encode()
        sound(asyncio.run_coroutine_threadsafe(ask(sent), loop).result(30))

    await asyncio.to_thread(check)
