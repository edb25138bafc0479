"""Operators keep keys and destroy documents at the command line, against a running exchange."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from chassis.mongo import Mongo
from exchange.exits import Exit
from repository.custody import RING
from tests.exchange.test_cli import Run, Serving, run  # noqa: F401  a fixture
from tests.makers_mhd import a_bundle, a_document, a_patient, locations, publish


@pytest.fixture(scope="module")
def serving(
    mongod_uri: str, database_prefix: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serving]:
    made = Serving(tmp_path_factory.mktemp("keeping"), mongod_uri, database_prefix)
    yield made
    if made.process.poll() is None:
        made.end()


@pytest.fixture
def near(serving: Serving, mongod_uri: str, database_prefix: str) -> tuple[object, ...]:
    return ("--data", serving.data, "--mongodb", mongod_uri, "--database-prefix", database_prefix)


def client(run: Run, near: tuple[object, ...], folder: Path, name: str, scope: str) -> Path:  # noqa: F811
    key = folder / f"{name}.jwk"
    assert run("clients", "keygen", key)[0] == Exit.OK
    jwks = key.with_name(f"{name}.jwks.json")
    told = run(
        "clients", "add", name, "--jwks", jwks, "--scope", scope, "--organisation", "R0A",
        "--role", "R-SYS" if "cruds" in scope else "R-ADM", *near,
    )  # fmt: skip
    assert told[0] == Exit.OK, told
    return key


async def published(fhir: str, token: str) -> tuple[str, str]:
    """A document whose time is over: its id and the path of its bytes."""
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/fhir+json"}
    async with httpx.AsyncClient(base_url=fhir, headers=headers, timeout=60) as http:
        document = a_document(await a_patient(http), kind="HL-APPR")
        document["context"]["period"] = {"start": "2000-01-01", "end": "2001-01-01"}
        _, reference, binary = locations(await publish(http, a_bundle(document)))
        return reference.partition("/")[2], binary


def due(run: Run, reviewer: tuple[object, ...]) -> int:  # noqa: F811
    """How many documents the review lists; other tests of this module publish some too."""
    code, out, errors = run("retention", "review", *reviewer)
    assert code == Exit.OK, errors
    told = re.search(r"(\d+) documents\.", out)
    assert told, out
    return int(told[1])


async def read(fhir: str, token: str, path: str) -> int:
    async with httpx.AsyncClient(base_url=fhir, timeout=60) as http:
        answer = await http.get(f"/{path}", headers={"Authorization": f"Bearer {token}"})
        return answer.status_code


def test_a_document_is_reviewed_destroyed_by_two_clients_and_certified(
    run: Run, serving: Serving, near: tuple[object, ...], tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    fhir, at = serving.ready["fhir"], ("--data", serving.data)
    records = "records-review records-approve records-destroy"
    source = client(run, near, tmp_path, "source", "system/*.cruds")
    first = ("--client", "first", "--key", client(run, near, tmp_path, "first", records), *at)
    second = ("--client", "second", "--key", client(run, near, tmp_path, "second", records), *at)
    token = run("token", "--client", "source", "--key", source, "--scope", "system/*.cruds", *at)[
        1
    ].strip()
    before = due(run, first)
    id_, binary = asyncio.run(published(fhir, token))

    assert due(run, first) == before + 1
    code, out, errors = run("retention", "approve", id_, "--reason", "its time is over", *first)
    assert code == Exit.OK, errors
    disposal = out.strip()
    code, _, errors = run("retention", "certificate", disposal, *second)
    assert (code, "no certificate yet" in errors) == (Exit.REFUSED, True)
    code, _, errors = run("retention", "destroy", disposal, "--reason", "myself", *first)
    assert (code, "second person" in errors) == (Exit.REFUSED, True)
    assert asyncio.run(read(fhir, token, binary)) == 200
    code, out, errors = run("retention", "destroy", disposal, "--reason", "agreed", *second)
    assert (code, out.strip()) == (Exit.OK, "done"), errors
    assert asyncio.run(read(fhir, token, binary)) == 410
    code, out, _ = run("retention", "certificate", disposal, *second)
    assert json.loads(out)["certificate"] == disposal
    page = tmp_path / "certificate.html"
    assert run("retention", "certificate", disposal, "--out", page, *second)[0] == Exit.OK
    assert page.read_text().startswith("<!doctype html>")
    code, _, errors = run("retention", "approve", id_, "--reason", "again", *first)
    assert (code, "destroyed already" in errors) == (Exit.REFUSED, True)


def test_master_keys_are_rotated_and_retired_beside_a_running_exchange(
    run: Run, serving: Serving, near: tuple[object, ...], tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    fhir, at = serving.ready["fhir"], ("--data", serving.data)
    key = client(run, near, tmp_path, "feeder", "system/*.cruds")
    token = run("token", "--client", "feeder", "--key", key, "--scope", "system/*.cruds", *at)[
        1
    ].strip()
    _, before = asyncio.run(published(fhir, token))
    old = json.loads((serving.data / RING).read_text())["current"]
    code, _, errors = run("keys", "new", *near)
    assert (code, "there already" in errors) == (Exit.USAGE, True)
    code, _, errors = run("keys", "retire", old, *near)
    assert (code, "rotate first" in errors) == (Exit.REFUSED, True)
    code, out, errors = run("keys", "rotate", *near)
    assert code == Exit.OK, errors
    assert re.search(r"\b[1-9]\d* data keys were wrapped anew", out)
    new = json.loads((serving.data / RING).read_text())["current"]
    assert new != old
    for _ in range(4):  # every worker has read the ring anew
        assert asyncio.run(read(fhir, token, before)) == 200
        _, after = asyncio.run(published(fhir, token))
        assert asyncio.run(read(fhir, token, after)) == 200
    assert run("keys", "retire", old, *near)[0] == Exit.OK
    assert asyncio.run(read(fhir, token, before)) == 200
    code, out, _ = run("keys", "list", *near)
    assert (code, new in out, old in out) == (Exit.OK, True, False)
    assert run("keys", "encrypt", *near)[0] == Exit.OK


def test_what_was_stored_before_is_sealed_at_the_command_line(
    run: Run, serving: Serving, near: tuple[object, ...], mongod_uri: str, database_prefix: str  # noqa: F811
) -> None:  # fmt: skip
    from hashlib import sha256

    async def plain(find: bool) -> int:
        mongo = Mongo(mongod_uri, prefix=database_prefix)
        blobs = mongo.table("repository", "blobs")
        try:
            if not find:
                digest = sha256(b"of before").hexdigest()
                await blobs.insert({"_id": digest, "size": 9, "data": b"of before"})
            return await blobs.count({"key.m": None})
        finally:
            await mongo.close()

    assert asyncio.run(plain(find=False)) == 1
    assert "none: stored before" in run("keys", "list", *near)[1]
    code, out, errors = run("keys", "encrypt", *near)
    assert (code, "1 contents were sealed" in out) == (Exit.OK, True), errors
    assert asyncio.run(plain(find=True)) == 0
