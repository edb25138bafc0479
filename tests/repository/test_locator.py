"""The record locator: what another organisation keeps comes through whole and verified, or not at all."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha1
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from chassis.call import Service
from chassis.mongo import Mongo
from chassis.onion import create
from chassis.service import Rider
from chassis.settings import Settings
from repository import locator as locator_module
from repository.app import open_service
from repository.credentials import load
from repository.neighbours import Away, Cited
from repository.outside import resolve
from repository.passage import DiffersError, Promise, verified
from standards.mhd_retrieve import TRANSACTIONS
from tests.archive import LETTER, Archive, Authority, archive, the_pack
from tests.repository.conftest import ORIGIN, ByToken, Notebook
from tests.repository.shelf import Shelf, all_of
from tests.running import serving

SCOPE = "system/Binary.r system/DocumentReference.rs"
LARGE = os.urandom(3 * 1024 * 1024 + 17)
TRUST = "R0A"


@dataclass
class Far:
    """The repository, with an organisation outside."""

    shelf: Shelf
    notebook: Notebook
    app: Any
    there: Archive

    def listed(
        self,
        path: str,
        content: bytes = LETTER,
        *,
        media: str = "text/plain",
        url: str = "",
        **said: Any,
    ) -> str:
        """Register a document that is kept there; the id of its Binary."""
        binary_id = f"far-{len(self.shelf.documents)}"
        measures = {"sha1": sha1(content).hexdigest(), "size": len(content)} | said
        away = Away(
            url or self.there.url(path),
            TRUST,
            media,
            at=datetime(2026, 3, 4, tzinfo=UTC),
            **measures,
        )
        self.shelf.documents[binary_id] = Cited(f"doc-{binary_id}", "Patient/p", away=away)
        return binary_id

    async def get(self, binary_id: str, method: str = "GET", **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, raise_app_exceptions=True), base_url=ORIGIN + "/fhir",
            headers={"Authorization": "Bearer " + SCOPE.replace(" ", "+")},
        ) as client:  # fmt: skip
            said = {k.replace("_", "-"): v for k, v in headers.items()}
            return await client.request(method, f"/Binary/{binary_id}", headers=said)


@asynccontextmanager
async def far(
    mongo: Mongo, folder: Path, there: Archive, *rows: str, credentials: Any = None, **changes: Any
) -> AsyncIterator[Far]:
    pack = the_pack(folder, *(rows or (f"{TRUST},{there.url('/kept/')},proxy,127.0.0.0/8,test",)))
    if credentials is not None:
        (folder / "credentials.json").write_text(json.dumps(credentials))
        changes["retrieval_credentials"] = str(folder / "credentials.json")
    settings = Settings(
        public_url=ORIGIN, data=folder, log_level="error", **{"retrieval_wait": 1, "retrieval_seconds": 2, **changes}
    )  # fmt: skip
    shelf, notebook = Shelf(), Notebook()

    @asynccontextmanager
    async def opening() -> AsyncIterator[tuple[list[Service], Rider]]:
        async with open_service(settings, mongo, pack, registry=shelf, audit=notebook) as service:
            yield [service], Rider(settings, ByToken(), notebook)

    async with serving(create(opening, TRANSACTIONS)) as app:
        yield Far(shelf, notebook, app, there)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outside(mongo: Mongo, tmp_path_factory: Any) -> AsyncIterator[Far]:
    async with archive() as there, far(mongo, tmp_path_factory.mktemp("far"), there) as made:
        yield made


def refused(answer: httpx.Response) -> str:
    """The words of a 502."""
    assert answer.status_code == 502, answer.text
    (issue,) = answer.json()["issue"]
    assert issue["code"] == "transient"
    assert TRUST in issue["diagnostics"]
    assert "stays listed" in issue["diagnostics"]
    assert "127.0.0.1" not in answer.text
    return issue["diagnostics"]


# -- what comes through ----------------------------------------------------------------------------
@pytest.mark.parametrize("content", [LETTER, b"x", LARGE], ids=["letter", "byte", "large"])
async def test_a_document_comes_through_as_if_it_were_held_here(
    outside: Far, content: bytes
) -> None:
    outside.there.documents["/kept/1"] = content
    binary = outside.listed("/kept/1", content)
    answer = await outside.get(binary)
    assert (answer.status_code, answer.content) == (200, content)
    headers = answer.headers
    assert headers["content-type"].startswith("text/plain")
    assert headers["content-length"] == str(len(content))
    assert headers["etag"] == f'"sha1-{sha1(content).hexdigest()}"'
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-disposition"] == f'attachment; filename="doc-{binary}.txt"'
    assert headers["cache-control"] == "private, no-store"
    asked = outside.there.asked[-1].headers
    assert asked["accept"].startswith("text/plain")
    assert asked["host"] == f"127.0.0.1:{outside.there.port}"
    assert "authorization" not in asked, "the caller's token stays here"


async def test_it_comes_as_a_binary_resource_too(outside: Far) -> None:
    outside.there.documents["/kept/1"] = LETTER
    binary = outside.listed("/kept/1")
    answer = await outside.get(binary, Accept="application/fhir+json")
    assert base64.b64decode(answer.json()["data"]) == LETTER
    assert answer.headers["content-length"] == str(len(answer.content))
    in_xml = await outside.get(binary, Accept="application/fhir+xml")
    root = etree.fromstring(in_xml.content)
    assert etree.QName(root).localname == "Binary"


async def test_head_and_what_the_reader_has_already_ask_nobody(outside: Far) -> None:
    binary = outside.listed("/kept/never")
    before = len(outside.there.asked)
    head = await outside.get(binary, "HEAD")
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(LETTER)))
    same = await outside.get(binary, If_None_Match=head.headers["etag"])
    assert same.status_code == 304
    assert len(outside.there.asked) == before


async def test_what_is_made_on_demand_has_no_hash_to_be_held_to(outside: Far) -> None:
    outside.there.documents["/kept/made"] = b"made just now"
    binary = outside.listed("/kept/made", sha1="", size=None)
    answer = await outside.get(binary)
    assert (answer.status_code, answer.content) == (200, b"made just now")
    assert "etag" not in answer.headers
    assert "content-length" not in answer.headers
    resource = await outside.get(binary, Accept="application/fhir+json")
    assert base64.b64decode(resource.json()["data"]) == b"made just now"


@pytest.mark.parametrize("content", [LETTER, LARGE], ids=["letter", "large"])
async def test_what_is_assembled_late_is_verified_from_its_second_retrieval_on(
    outside: Far, content: bytes
) -> None:
    outside.there.documents["/kept/late"] = content
    binary = outside.listed("/kept/late", sha1="", size=None, delayed=True)
    head = await outside.get(binary, "HEAD")
    assert (head.status_code, "etag" in head.headers) == (200, False)
    assert (await outside.get(binary, Range="bytes=0-3")).content == content
    second = await outside.get(binary)
    assert second.content == content
    assert second.headers["etag"] == f'"sha1-{sha1(content).hexdigest()}"'
    assert (await outside.get(binary, Range="bytes=0-3")).content == content[:4]
    outside.there.documents["/kept/late"] = b"!" + content[1:]
    if content is LETTER:
        assert "hash" in refused(await outside.get(binary))
    else:
        with pytest.raises(DiffersError):
            await outside.get(binary)


async def test_what_is_assembled_late_and_comes_as_a_resource_is_known_too(outside: Far) -> None:
    outside.there.documents["/kept/late"] = LETTER
    binary = outside.listed("/kept/late", sha1="", size=None, delayed=True)
    answer = await outside.get(binary, Accept="application/fhir+json")
    assert base64.b64decode(answer.json()["data"]) == LETTER
    assert outside.shelf.documents[binary].away.size == len(LETTER)  # type: ignore[union-attr]


async def test_a_source_that_has_not_assembled_it_yet_is_asked_again(outside: Far) -> None:
    outside.there.documents["/kept/late"] = b""
    binary = outside.listed("/kept/late", sha1="", size=None, delayed=True)
    assert "not assembled it yet" in refused(await outside.get(binary))
    outside.there.documents["/kept/late"] = LETTER
    assert (await outside.get(binary)).content == LETTER


@pytest.mark.parametrize("content", [LETTER, LARGE], ids=["letter", "large"])
async def test_of_first_readers_at_once_the_later_one_gets_no_other_bytes(
    outside: Far, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    outside.there.documents["/kept/late"] = content
    binary = outside.listed("/kept/late", sha1="", size=None, delayed=True)
    assembled = outside.shelf.assembled

    async def slower(binary_id: str, digest: str, size: int) -> tuple[str, int] | None:
        await assembled(binary_id, sha1(b"what the other one got").hexdigest(), 22)
        return await assembled(binary_id, digest, size)

    monkeypatch.setattr(outside.shelf, "assembled", slower)
    if content is LETTER:
        assert "somebody else other bytes" in refused(await outside.get(binary))
    else:
        with pytest.raises(DiffersError):
            await outside.get(binary)


async def test_a_document_that_its_organisation_took_back_is_gone_and_nobody_is_asked(
    outside: Far,
) -> None:
    outside.there.documents["/kept/1"] = LETTER
    binary = outside.listed("/kept/1", withdrawn=True)
    before = len(outside.there.asked)
    assert (await outside.get(binary)).status_code == 410
    assert len(outside.there.asked) == before


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("bytes=0-9", 0, 10), ("bytes=-5", -5, None), ("bytes=20-", 20, None)],
)
async def test_a_range_is_asked_for_as_a_range(
    outside: Far, asked: str, start: int, stop: int | None
) -> None:
    outside.there.documents["/kept/1"] = LARGE
    answer = await outside.get(outside.listed("/kept/1", LARGE), Range=asked)
    assert (answer.status_code, answer.content) == (206, LARGE[start:stop])
    assert answer.headers["content-range"].endswith(f"/{len(LARGE)}")
    assert outside.there.asked[-1].headers["range"].startswith("bytes=")


async def test_a_source_without_ranges_gives_the_whole(outside: Far) -> None:
    outside.there.documents["/kept/1"] = LETTER
    outside.there.ranges = False
    try:
        answer = await outside.get(outside.listed("/kept/1"), Range="bytes=0-9")
    finally:
        outside.there.ranges = True
    assert (answer.status_code, answer.content) == (200, LETTER)
    assert answer.headers["content-length"] == str(len(LETTER))


async def test_a_range_beyond_the_end_is_a_416_and_another_part_a_502(outside: Far) -> None:
    outside.there.documents["/kept/odd"] = LETTER
    outside.there.manners["/kept/odd"] = "wrongrange"
    binary = outside.listed("/kept/odd")
    assert (await outside.get(binary, Range=f"bytes={len(LETTER)}-")).status_code == 416
    assert "another part" in refused(await outside.get(binary, Range="bytes=1-3"))


async def test_a_redirect_within_the_list_is_followed(outside: Far) -> None:
    outside.there.documents["/kept/moved"] = LETTER
    outside.there.manners["/kept/old"] = "redirect /kept/moved"
    assert (await outside.get(outside.listed("/kept/old"))).content == LETTER


# -- what does not ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("manner", "words"),
    [
        ("status 401", "credentials"), ("status 403", "does not let"), ("status 404", "no such document"),
        ("status 410", "no longer has it"), ("status 500", "answers with 500"), ("status 204", "answers with 204"),
        ("status 429", "too busy"), ("silent", "in time"), ("pausing", "in time"), ("trickling", "in time"),
        ("hangup", "cannot be reached"), ("nonsense", "cannot be reached"), ("early", "breaks off"),
        ("endless", "more bytes"), ("packed", "packed"), ("redirect https://other.example/kept/1", "not on the list"),
        ("redirect /private/1", "not on the list"), ("redirect /kept/../private/1", "not on the list"),
        ("redirect /kept/bad", "one address to the next"), ("redirect http://169.254.169.254/kept/1", "not on the list"),
    ],
)  # fmt: skip
async def test_whatever_goes_wrong_there_is_a_clear_502(
    outside: Far, manner: str, words: str
) -> None:
    outside.there.documents["/kept/bad"] = LETTER
    outside.there.manners["/kept/bad"] = manner
    binary = outside.listed("/kept/bad")
    assert words in refused(await outside.get(binary))
    event = outside.notebook.events[-1]
    assert (event["action"], event["outcome"]) == ("R", "12")
    assert binary in outside.shelf.documents
    outside.there.manners["/kept/bad"] = ""
    assert (await outside.get(binary)).content == LETTER, "and it is there again when the source is"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"sha1": "0" * 40}, "the hash differs"),
        ({"size": len(LETTER) + 1}, "fewer bytes"),
        ({"size": len(LETTER) - 1}, "more bytes"),
    ],
)
async def test_other_bytes_than_were_registered_are_never_passed_on(
    outside: Far, said: dict[str, Any], words: str
) -> None:
    outside.there.documents["/kept/1"] = LETTER
    assert words in refused(await outside.get(outside.listed("/kept/1", **said)))


async def test_a_large_document_that_proves_wrong_at_its_end_is_cut_short_logged_and_audited(
    outside: Far,
) -> None:
    outside.there.documents["/kept/forged"] = LARGE[:-1] + bytes([LARGE[-1] ^ 1])
    binary = outside.listed("/kept/forged", LARGE)
    sent: list[bytes] = []
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": f"/fhir/Binary/{binary}", "raw_path": b"", "root_path": "", "query_string": b"", "state": {},
        "headers": [(b"authorization", b"Bearer " + SCOPE.replace(" ", "+").encode())],
        "server": ("x", 80), "client": ("127.0.0.1", 1),
    }  # fmt: skip
    last = False

    async def send(message: Any) -> None:
        nonlocal last
        sent.append(message.get("body", b""))
        last = message["type"] == "http.response.body" and not message["more_body"]

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    with pytest.raises(DiffersError):
        await outside.app(scope, receive, send)
    assert not last, "the answer was never said to be complete"
    assert 0 < sum(map(len, sent)) < len(LARGE)
    given, broken = outside.notebook.events[-2:]
    assert (given["outcome"], broken["outcome"]) == ("0", "12")
    assert given["id"] != broken["id"]


async def test_a_document_that_is_larger_than_this_server_passes_on_is_stopped(
    mongo: Mongo, tmp_path: Path
) -> None:
    async with archive() as there, far(mongo, tmp_path, there, max_document=10_000) as small:
        there.manners["/kept/endless"] = "endless"
        assert "too much" in refused(
            await small.get(small.listed("/kept/endless", sha1="", size=None))
        )


# -- where it goes, and as whom --------------------------------------------------------------------
async def test_an_address_that_has_left_the_list_is_no_longer_asked(outside: Far) -> None:
    before = len(outside.there.asked)
    for url in (
        outside.there.url("/elsewhere/1"), outside.there.url("/kept/..%2fprivate"), "https://127.0.0.1/kept/1",
        f"http://u@127.0.0.1:{outside.there.port}/kept/1", f"http://127.0.0.1:{outside.there.port}/kept/1#x",
    ):  # fmt: skip
        assert "no longer on the list" in refused(await outside.get(outside.listed("", url=url)))
    assert len(outside.there.asked) == before


async def test_loopback_and_private_addresses_are_not_asked_unless_listed(
    mongo: Mongo, tmp_path: Path
) -> None:
    async with archive() as there:
        base = there.url("/kept/", scheme="https", host="localhost")
        async with far(mongo, tmp_path, there, f"{TRUST},{base},proxy,,public only") as public:
            url = there.url("/kept/1", scheme="https", host="localhost")
            assert "not on the list" in refused(await public.get(public.listed("", url=url)))
            assert there.asked == []


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255",
     "::1", "::", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "not an address"],
)  # fmt: skip
async def test_no_name_leads_to_an_inner_address(tmp_path: Path, address: str) -> None:
    async def lying(_host: str, _port: int) -> list[str]:
        return ["93.184.216.34", address]

    async with archive() as there:
        outside = locator_module.Outside({}, silence=1, seconds=1, resolving=lying)
        pack = the_pack(tmp_path, f"{TRUST},https://far.example/kept/,proxy,,public only")
        with pytest.raises(locator_module.UnreachableError, match="not on the list"):
            await outside.get(pack.sources[0], "https://far.example/kept/1", {})
        assert there.asked == []


async def test_a_name_is_resolved_once_and_the_connection_goes_where_it_said(
    tmp_path: Path,
) -> None:
    answers = [["127.0.0.1"], ["203.0.113.9"]]

    async def rebinding(_host: str, _port: int) -> list[str]:
        return answers.pop(0)

    async with archive() as there:
        there.documents["/kept/1"] = LETTER
        base = f"http://far.example:{there.port}/kept/"
        pack = the_pack(tmp_path, f"{TRUST},{base},proxy,127.0.0.0/8,test")
        outside = locator_module.Outside({}, silence=1, seconds=2, resolving=rebinding)
        fetched = await outside.get(pack.sources[0], base + "1", {})
        assert await all_of(fetched.pieces) == LETTER
        assert there.asked[0].headers["host"] == f"far.example:{there.port}"
        assert len(answers) == 1
        await outside.close()


async def test_a_reader_who_does_not_read_lets_the_connection_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repository.outside._SLOWEST", 0.05)
    async with archive() as there:
        there.documents["/kept/1"] = LARGE * 4
        pack = the_pack(tmp_path, f"{TRUST},{there.url('/kept/')},proxy,127.0.0.0/8,test")
        outside = locator_module.Outside({}, silence=5, seconds=10)
        fetched = await outside.get(pack.sources[0], there.url("/kept/1"), {})
        assert await anext(fetched.pieces)
        await asyncio.sleep(1)
        with pytest.raises(locator_module.UnreachableError, match="not waited for"):
            await all_of(fetched.pieces)
        await outside.close()


async def test_the_system_resolver_knows_this_machine() -> None:
    assert "127.0.0.1" in await resolve("127.0.0.1", 80)


async def test_each_organisation_is_shown_its_own_credentials_read_anew(
    mongo: Mongo, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("one\n")
    async with (
        archive() as there,
        far(mongo, tmp_path, there, credentials={TRUST: {"bearer_file": str(token)}}) as made,
    ):
        there.documents["/kept/1"] = LETTER
        binary = made.listed("/kept/1")
        await made.get(binary)
        token.write_text("two\n")
        await made.get(binary)
        assert [r.headers["authorization"] for r in there.asked] == ["Bearer one", "Bearer two"]
        token.unlink()
        assert "credentials are missing" in refused(await made.get(binary))


async def test_a_client_certificate_is_shown_where_it_is_wanted(
    mongo: Mongo, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("us")
    async with archive(authority.server("localhost", mutual=True)) as there:
        there.documents["/kept/1"] = LETTER
        base = there.url("/kept/", scheme="https", host="localhost")
        row = f"{TRUST},{base},proxy,127.0.0.0/8|::1/128,test"
        shown = {"certificate": certificate, "key": key, "authorities": str(authority.file)}
        async with far(mongo, tmp_path, there, row, credentials={TRUST: shown}) as made:
            answer = await made.get(made.listed("", url=base + "1"))
            assert answer.content == LETTER
        without = {TRUST: {"authorities": str(authority.file)}}
        async with far(mongo, tmp_path, there, row, credentials=without) as made:
            refused(await made.get(made.listed("", url=base + "1")))


@pytest.mark.parametrize(
    "hosts", [("other.example",), ("localhost",)], ids=["another name", "unknown authority"]
)
async def test_a_certificate_that_does_not_prove_the_name_ends_it(
    mongo: Mongo, tmp_path: Path, hosts: tuple[str, ...]
) -> None:
    authority = Authority(tmp_path)
    async with archive(authority.server(*hosts)) as there:
        base = there.url("/kept/", scheme="https", host="localhost")
        row = f"{TRUST},{base},proxy,127.0.0.0/8|::1/128,test"
        trusted = {TRUST: {"authorities": str(authority.file)}} if hosts[0] != "localhost" else None
        async with far(mongo, tmp_path, there, row, credentials=trusted) as made:
            assert "TLS fails" in refused(await made.get(made.listed("", url=base + "1")))
        assert there.asked == []


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("no JSON", "cannot be read"), ("[]", "maps organisation codes"), ('{"XXX": {}}', "no organisation 'XXX'"),
        ('{"R0A": {"password": "x"}}', "may have bearer_file"), ('{"R0A": {"bearer_file": "/nowhere/at/all"}}', "is no file"),
    ],
)  # fmt: skip
def test_credentials_that_cannot_be_used_are_told_at_the_start(
    tmp_path: Path, said: str, words: str
) -> None:
    file = tmp_path / "credentials.json"
    file.write_text(said)
    with pytest.raises(ValueError, match=words):
        load(str(file), {"R0A"})


# -- what is told of it ----------------------------------------------------------------------------
async def test_the_audit_names_both_ends(outside: Far) -> None:
    outside.there.documents["/kept/1"] = LETTER
    binary = outside.listed("/kept/1")
    await outside.get(binary)
    event = outside.notebook.events[-1]
    assert {s["code"] for s in event["subtype"]} == {"read", "ITI-68"}
    holder = event["agent"][-1]
    assert holder["type"]["coding"][0]["code"] == "custodian"
    assert holder["who"]["identifier"]["value"] == TRUST
    assert holder["network"]["address"] == outside.there.url("")
    said = {e["what"].get("reference") for e in event["entity"]}
    assert {f"Binary/{binary}", "Patient/p"} <= said
    assert event["agent"][0]["who"]["identifier"]["value"] == "client"


async def test_who_may_not_see_the_document_is_not_told_where_it_is(outside: Far) -> None:
    before = len(outside.there.asked)
    assert (await outside.get("far-unknown")).status_code == 404
    assert len(outside.there.asked) == before


# -- the passage alone -----------------------------------------------------------------------------
@given(
    pieces=st.lists(st.binary(max_size=20), max_size=8),
    registered=st.one_of(st.none(), st.binary(max_size=60)),
    limit=st.integers(0, 100),
)
async def test_what_passes_whole_is_what_was_promised_and_all_else_is_cut(
    pieces: list[bytes], registered: bytes | None, limit: int
) -> None:
    whole = b"".join(pieces)
    promised = whole if registered is None else registered
    promise = Promise(len(promised), sha1(promised).hexdigest(), limit)

    async def coming() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    passed = b""
    try:
        async for piece in verified(coming(), promise):
            passed += piece
    except DiffersError:
        assert whole != promised or len(whole) > limit
        assert len(passed) < max(len(whole), 1)
    else:
        assert passed == whole == promised
