"""Documents leave a body as it streams in, and nothing else does."""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import sys
from hashlib import sha1, sha256
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from chassis.attachment import KEPT_AS_SENT
from chassis.body import parse_json, parse_resource
from chassis.call import dumps
from chassis.spool import Attachment, by_token, read_body, read_plain, settle, stream_body
from standards import fhir_xml
from standards.outcome import MEDIA_TYPE, STRUCTURE, TOO_LONG, VALUE, Refused

ROOMY = {"max_body": 1 << 22, "max_document": 1 << 26}


def arriving(*chunks: bytes, lost: bool = False) -> Any:
    """An ASGI receive that gives these chunks and then, when `lost`, a disconnect."""
    left = list(chunks)

    async def receive() -> dict[str, Any]:
        if left:
            return {"type": "http.request", "body": left.pop(0), "more_body": bool(left) or lost}
        return {"type": "http.disconnect"} if lost else {"type": "http.request"}

    return receive


def cut(body: bytes, places: list[int]) -> list[bytes]:
    at = sorted({p % (len(body) + 1) for p in places})
    return [body[a:b] for a, b in zip([0, *at], [*at, len(body)], strict=True)]


async def read(body: bytes, places: list[int] = [], kind: Any = "json", **limits: Any) -> Any:  # noqa: B006
    return await read_body(arriving(*cut(body, places)), kind=kind, **{**ROOMY, **limits})


def content(attachment: Attachment) -> bytes:
    return b"".join(attachment.chunks())


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


# -- JSON: the same resource as json.loads gives, however it is cut and spelled ---------------------
TEXTS = st.sampled_from(
    [
        "",
        "data",
        '"data":"QUJD"',
        '{"data":"QUJD"}',
        ',\n"data" : "',
        "\\",
        '\\"',
        "ÿ",
        "𝄞",
        "\n",
        "x" * 300,
    ]
) | st.text(max_size=20)
DOCUMENTS = st.binary(max_size=200)
KEYS = st.sampled_from(
    ["data", "dat", "_data", "Data", "url", '"data', 'x,"data":"', "value"]
) | st.text(max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS | DOCUMENTS.map(b64),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


def spelled(value: Any, draw: Any) -> str:
    """JSON text of a value with escapes and white space where the drawn choices put them."""
    gap = lambda: draw(st.sampled_from(["", "", " ", "\n\t", "\r\n"]))  # noqa: E731
    if isinstance(value, str):
        style = draw(st.integers(0, 3))
        if style == 0:
            return json.dumps(value)
        if style == 1:
            return json.dumps(value, ensure_ascii=False).replace("/", "\\/")
        return (
            '"'
            + "".join(
                f"\\u{ord(c):04{'x' if style == 2 else 'X'}}"
                if ord(c) < 0x10000
                else json.dumps(c)[1:-1]
                for c in value
            )
            + '"'
        )
    if isinstance(value, dict):
        return (
            "{"
            + gap()
            + ",".join(
                gap() + spelled(k, draw) + gap() + ":" + gap() + spelled(v, draw) + gap()
                for k, v in value.items()
            )
            + "}"
        )
    if isinstance(value, list):
        return "[" + ",".join(gap() + spelled(v, draw) + gap() for v in value) + "]"
    return json.dumps(value)


@st.composite
def spelled_bodies(draw: Any) -> tuple[dict[str, Any], bytes]:
    entries = draw(
        st.lists(
            st.builds(
                lambda d: {"resourceType": "Binary", "data": b64(d)},
                st.binary(min_size=1, max_size=200),
            )
            | st.builds(lambda v: {"resourceType": "Basic", "value": v}, VALUES),
            max_size=4,
        )
    )
    body = {"resourceType": "Bundle", "entry": [{"resource": e} for e in entries]}
    return body, spelled(body, draw).encode("utf-8")


@given(spelled_bodies(), st.lists(st.integers(0, 5000), max_size=6))
@settings(deadline=None, max_examples=300)
async def test_any_cutting_and_spelling_of_a_body_gives_what_json_says(
    made: tuple[dict[str, Any], bytes], places: list[int]
) -> None:
    resource, body = made
    remaining, attachments = await read(body, places)
    parsed = json.loads(remaining)
    settle(parsed, attachments)
    taken = by_token(attachments)
    for was, now in zip(resource["entry"], parsed["entry"], strict=True):
        if was["resource"]["resourceType"] == "Binary":
            attachment = taken[now["resource"]["data"]]
            document = base64.b64decode(was["resource"]["data"])
            assert content(attachment) == document
            assert attachment.size == len(document)
            assert attachment.sha1 == sha1(document).digest()
            assert attachment.sha256 == sha256(document).digest()
        else:
            assert now == was


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=5))
async def test_bytes_that_are_not_json_are_left_to_the_parser(
    body: bytes, places: list[int]
) -> None:
    try:
        resource = json.loads(body)
    except ValueError:
        resource = None
    remaining, attachments = await read(b'[{"data":"QUJD"},' + body + b"]", places)
    if resource is None and not _loads(b'[{"data":"QUJD"},' + body + b"]"):
        assert not _loads(remaining)
    assert attachments[0].sha1 == sha1(b"ABC").digest()


def _loads(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    "spelling", ['"data"', '"\\u0064ata"', '"d\\u0061t\\u0061"', '"\\u0064\\u0061\\u0074\\u0061"']
)
async def test_every_spelling_of_the_name_is_found(spelling: str) -> None:
    remaining, attachments = await read(
        f'{{"resourceType":"Binary",{spelling} :\n"QUJD"}}'.encode()
    )
    assert content(attachments[0]) == b"ABC"
    assert json.loads(remaining)["data"] == attachments[0].token


async def test_a_token_is_legal_base64_and_of_no_use_in_the_next_request() -> None:
    (_, first), (_, second) = await read(b'{"data":"QUJD"}'), await read(b'{"data":"QUJD"}')
    base64.b64decode(first[0].token, validate=True)
    assert first[0].token != second[0].token


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("QUJ", "multiple of four"),
        ("QUJD QUJD", None),
        ("QUJDQ UJD", "white space"),
        ("QUI=QUI=", "padding"),
        ("QU-_", "base64"),
        ("=QUJ", "base64"),
        ("QUJDQQ=", "multiple of four"),
        ("Ä", "base64"),
        ("", "empty"),
    ],
)  # fmt: skip
async def test_a_binary_that_is_not_base64_is_refused_with_its_place(
    value: str, words: str | None
) -> None:
    body = json.dumps(
        {
            "resourceType": "Bundle",
            "entry": [{}, {"resource": {"resourceType": "Binary", "data": value}}],
        }
    )
    remaining, attachments = await read(body.encode(), [20, 90, 92])
    if words is None:
        settle(json.loads(remaining), attachments)
        return
    with pytest.raises(Refused) as refusal:
        settle(json.loads(remaining), attachments)
    issue = refusal.value.issues[0]
    assert issue.kind is VALUE
    assert issue.where == "Bundle.entry[1].resource.data"
    assert words in issue.words
    with pytest.raises(Refused):
        _ = [chunk async for chunk in attachments[0].open()]


@pytest.mark.parametrize("value", [b"QUJD\nQUJD", b"QUJD\\x", b"QUJD\\", b"\\u00"])
async def test_a_value_that_is_not_a_json_string_is_refused(value: bytes) -> None:
    remaining, attachments = await read(b'{"resourceType":"Binary","data":"' + value + b'"}')
    with pytest.raises((Refused, ValueError)):
        settle(json.loads(remaining), attachments)
    for attachment in attachments:
        attachment.close()


async def test_line_ends_within_base64_are_taken_when_json_spells_them_out() -> None:
    document = os.urandom(500)
    lines = base64.encodebytes(document).decode().replace("\n", "\r\n")
    body = json.dumps({"resourceType": "Binary", "data": lines}).encode()
    for places in ([], list(range(0, len(body), 7)), list(range(len(body)))):
        remaining, attachments = await read(body, places)
        settle(json.loads(remaining), attachments)
        assert content(attachments[0]) == document


async def test_only_a_binary_keeps_its_token() -> None:
    resource = {
        "resourceType": "Bundle",
        "entry": [
            {
                "resource": {
                    "resourceType": "Patient",
                    "photo": [{"data": "QUJD\r\nQUJD", "title": "portrait"}],
                }
            },
            {
                "resource": {
                    "resourceType": "Basic",
                    "valueSampledData": {"data": "1 2 E 4", "dimensions": 1},
                }
            },
            {"resource": {"resourceType": "Basic", "photo": {"data": b64(b"x" * KEPT_AS_SENT)}}},
            {"resource": {"resourceType": "Binary", "data": "QUJD"}},
        ],
    }
    remaining, attachments = await read(json.dumps(resource).encode())
    parsed = json.loads(remaining)
    settle(parsed, attachments)
    assert parsed["entry"][:3] == resource["entry"][:3]
    assert content(by_token(attachments)[parsed["entry"][3]["resource"]["data"]]) == b"ABC"


async def test_a_row_may_say_where_else_a_body_carries_documents() -> None:
    inside = {
        "resourceType": "Bundle",
        "entry": [{"resource": {"resourceType": "Binary", "data": b64(b"kept")}}],
    }
    binary = {"resourceType": "Binary", "data": b64(b"taken")}
    body = {"resourceType": "Parameters", "parameter": [{"resource": binary}, {"resource": inside}]}
    raw, attachments = await read(dumps(body))
    said = parse_json(raw)
    settle(said, attachments, places=("Parameters.parameter.resource.data",))
    assert content(by_token(attachments)[said["parameter"][0]["resource"]["data"]]) == b"taken"
    assert said["parameter"][1]["resource"] == inside
    body = {"resourceType": "DocumentReference", "content": [{"attachment": {"data": "A=B"}}]}
    raw, attachments = await read(dumps(body))
    with pytest.raises(Refused) as refusal:
        settle(parse_json(raw), attachments, places=("DocumentReference.content.attachment.data",))
    assert refusal.value.issues[0].where == "DocumentReference.content[0].attachment.data"


async def test_a_binary_whose_data_was_not_taken_off_is_refused() -> None:
    with pytest.raises(Refused, match="value"):
        settle({"resourceType": "Binary", "data": "QUJD"}, ())


# -- XML -----------------------------------------------------------------------------------------
NS = "{http://hl7.org/fhir}"


@given(
    st.lists(st.binary(min_size=1, max_size=200), max_size=4),
    st.sampled_from(["", "f:"]),
    st.sampled_from(
        [
            "<!-- <data value='A'/> -->",
            "<?x <data value='A'?>",
            "<text><div><![CDATA[<data value='A'/>]]></div></text>",
            "",
        ]
    ),
    st.sampled_from(
        ["{} value={}", "{} id='>a\"' value = {}", "{}\n\tvalue={}\n", "{} value={} id='x'"]
    ),
    st.lists(st.integers(0, 5000), max_size=6),
)
@settings(deadline=None)
async def test_any_cutting_and_spelling_of_xml_gives_what_a_parser_says(
    documents: list[bytes], prefix: str, decoy: str, style: str, places: list[int]
) -> None:
    name = "xmlns:f" if prefix else "xmlns"
    values = [b64(d) for d in documents]
    tags = "".join(
        "<{}{}/>".format(
            prefix, style.format("data", quoteattr(v).replace("+", "&#x2B;").replace("/", "&#47;"))
        )
        for v in values
    )
    body = f'<?xml version="1.0"?><{prefix}Binary {name}="http://hl7.org/fhir">{decoy}{tags}</{prefix}Binary>'.encode()
    remaining, attachments = await read(body, places, kind="xml")
    before, after = etree.fromstring(body), etree.fromstring(remaining)
    tokens = [e.get("value") for e in after.iter(NS + "data")]
    assert tokens == [a.token for a in attachments]
    assert [content(a) for a in attachments] == documents
    for element, token in zip(before.iter(NS + "data"), tokens, strict=True):
        element.set("value", token)
    assert etree.tostring(before) == etree.tostring(after)


async def test_xml_with_a_document_type_is_refused_before_it_is_parsed() -> None:
    bomb = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa">]><Binary><data value="&a;"/></Binary>'
    with pytest.raises(Refused) as refusal:
        await read(bomb, kind="xml")
    assert refusal.value.issues[0].kind is STRUCTURE


async def test_an_entity_in_a_document_is_refused() -> None:
    remaining, attachments = await read(
        b'<Binary><data value="QU&eacute;JD"/></Binary>', [24, 26], kind="xml"
    )
    token = etree.fromstring(remaining)[0].get("value")
    with pytest.raises(Refused, match="structure"):
        settle({"resourceType": "Binary", "data": token}, attachments, "xml")


async def test_a_narrative_that_quotes_a_data_tag_is_left_as_it_was() -> None:
    body = b'<Patient><text><div><p>&lt;data value="QUJD"/&gt;</p></div></text></Patient>'
    remaining, attachments = await read(body, kind="xml")
    assert (remaining, attachments) == (body, ())


@pytest.mark.parametrize("kind", ["json", "xml"])
async def test_what_remains_passes_the_structure_check(kind: Any) -> None:
    entry = {
        "resource": {
            "resourceType": "Binary",
            "contentType": "text/plain",
            "data": b64(b"a letter"),
        }
    }
    body = dumps({"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    if kind == "xml":
        body = fhir_xml.render(parse_json(body))
    remaining, attachments = await read(body, kind=kind)
    parsed = parse_resource(remaining, kind, ("Bundle",))
    settle(parsed, attachments, kind)
    assert parsed["entry"][0]["resource"]["data"] == attachments[0].token
    assert content(attachments[0]) == b"a letter"


# -- limits ----------------------------------------------------------------------------------------
async def test_a_body_over_the_limit_is_refused_before_more_is_read() -> None:
    asked = 0

    async def receive() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        return {"type": "http.request", "body": b" " * 100_000, "more_body": True}

    for reading in (
        read_plain(receive, 250_000),
        read_body(receive, kind="json", max_body=250_000, max_document=9),
        read_body(receive, kind="xml", max_body=250_000, max_document=9),
    ):
        asked = 0
        with pytest.raises(Refused) as refusal:
            await reading
        assert refusal.value.issues[0].kind is TOO_LONG
        assert asked <= 4


async def test_document_bytes_do_not_count_towards_the_body() -> None:
    body = json.dumps({"data": b64(b"x" * 100_000)}).encode()
    _, attachments = await read(body, max_body=200)
    assert attachments[0].size == 100_000
    with pytest.raises(Refused, match="too-long"):
        await read(body, max_document=99_999)
    with pytest.raises(Refused, match="too-long"):
        await read(body, max_total=99_999)
    with pytest.raises(Refused, match="too-long"):
        await read(b'{"data":"' + b"!" * 400_000, max_document=99_999)
    with pytest.raises(Refused, match="too-long"):
        await read(b"[" + b'{"data":"QUJD"},' * 10_001)


async def test_a_spool_on_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there yet"
    document = os.urandom(1 << 20)
    body = json.dumps([{"data": b64(document)}, {"data": "QUJD"}]).encode()
    _, (large, small) = await read(body, spool_dir=folder)
    assert content(large) == document
    assert [c async for c in small.open()] == [b"ABC"]
    large.close()
    large.close()
    assert content(small) == b"ABC"
    small.close()
    assert list(folder.iterdir()) == []


async def test_a_connection_lost_in_the_middle_is_no_body() -> None:
    with pytest.raises(Refused, match="structure"):
        await read_body(arriving(b'{"data":"QUJD', lost=True), kind="json", **ROOMY)
    with pytest.raises(Refused, match="structure"):
        await read_plain(arriving(b"{", lost=True), 10)


# -- gzip ------------------------------------------------------------------------------------------
@given(st.binary(max_size=3000), st.lists(st.integers(0, 3000), max_size=4))
async def test_gzip_bodies_are_unpacked(body: bytes, places: list[int]) -> None:
    packed = gzip.compress(body[:1000]) + gzip.compress(body[1000:])
    assert await read_plain(arriving(*cut(packed, places)), 5000, "gzip") == body
    pieces = [p async for p in stream_body(arriving(*cut(packed, places)), 5000, "GZIP")]
    assert b"".join(pieces) == body


@pytest.mark.parametrize("body", [b"plain", gzip.compress(b"whole", mtime=0)[:-3], b""])
async def test_a_body_that_is_not_whole_gzip_is_refused(body: bytes) -> None:
    with pytest.raises(Refused, match="structure"):
        await read_plain(arriving(body), 1000, "gzip")


async def test_another_encoding_is_refused_naming_the_one_taken() -> None:
    with pytest.raises(Refused) as refusal:
        await read_plain(arriving(b""), 1000, "br")
    assert refusal.value.issues[0].kind is MEDIA_TYPE
    assert refusal.value.headers == {"Accept-Encoding": "gzip"}


async def test_a_gzip_bomb_goes_off_harmlessly() -> None:
    bomb = gzip.compress(b'{"resourceType":"Binary","data":"' + b"A" * 60_000_000)
    with pytest.raises(Refused, match="too-long"):
        await read_body(arriving(*cut(bomb, [1000, 20_000])), kind="json", encoding="gzip", **ROOMY)


# -- memory ----------------------------------------------------------------------------------------
_FIFTY = """
import asyncio, base64, resource, sys
from chassis.spool import read_body
kind, head, tail = sys.argv[1], sys.argv[2].encode(), sys.argv[3].encode()
line = base64.b64encode(bytes(range(256)) * 192)
def chunks():
    yield head
    for _ in range(1068):
        yield line
    yield tail
async def main():
    left = chunks()
    async def receive():
        chunk = next(left, None)
        return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _, (made,) = await read_body(receive, kind=kind, max_body=1000, max_document=1 << 27)
    size = 0
    async for chunk in made.open():
        size += len(chunk)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    made.close()
    assert size == made.size == 1068 * 49152, size
    print(after - before)
asyncio.run(main())
"""


@pytest.mark.parametrize(
    "arguments", [("json", '{"data":"', '"}'), ("xml", '<Binary><data value="', '"/></Binary>')]
)
def test_fifty_megabytes_come_in_within_a_few_megabytes_of_memory(
    arguments: tuple[str, str, str],
) -> None:
    said = subprocess.run(
        [sys.executable, "-c", _FIFTY, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert int(said.stdout) < 10_000  # KB
