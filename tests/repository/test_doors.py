"""A registry in another process deposits, keeps and releases as one in this process does, and the
repository asks it the same questions either way."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from hashlib import sha1, sha256
from typing import Any

import httpx
import pytest

from chassis.call import Answer, Call, Caller, Route, Service, dumps
from chassis.far import Far
from chassis.onion import create
from chassis.service import Rider
from chassis.settings import Settings
from governance.permit import Permit
from registry import neighbours
from repository.neighbours import Cited, FarRegistry, Registry
from repository.vault import WHOLE
from standards.outcome import Refused
from standards.rows import Needs, Transaction, Unaudited
from tests.repository.conftest import ORIGIN, Alone, ByToken, Notebook
from tests.repository.shelf import Shelf, all_of, some
from tests.running import serving

VIEWER = Caller(client_id="c", organisation="RM3", role="R-HV")


class Internal:
    """The token of a service."""

    async def token(self) -> str:
        return "throughline.internal"


@asynccontextmanager
async def far_to(app: Any) -> AsyncIterator[Far]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as http:
        yield Far(http, ORIGIN, Internal(), tries=2)


async def in_pieces(content: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(content), 50_000):
        yield content[at : at + 50_000]


def claims(content: bytes, **changes: str) -> dict[str, str]:
    return {
        "Content-Type": "application/octet-stream",
        "X-Document-Type": "application/octet-stream",
        "X-Document-Size": str(len(content)),
        "X-Document-Sha1": sha1(content).hexdigest(),
        "X-Document-Sha256": sha256(content).hexdigest(),
    } | changes


@pytest.mark.parametrize("size", [0, 1000, WHOLE + 1000])
async def test_a_far_deposit_is_held_like_a_near_one(alone: Alone, size: int) -> None:
    content = os.urandom(size)
    async with far_to(alone.app) as far:
        said = await far.stream("/internal/repository/deposit", claims(content), in_pieces(content))
        assert (said["size"], said["sha1"]) == (size, sha1(content).hexdigest())
        held = await alone.vault.find(said["id"])
        assert held is not None
        assert held.pending
        assert await all_of(alone.vault.read(held)) == content
        await far.post("/internal/repository/keep", {"documents": {said["id"]: "d1"}})
        held = await alone.vault.find(said["id"])
        assert held is not None
        assert not held.pending


async def test_a_far_release_is_as_good_as_a_near_one(alone: Alone) -> None:
    async with far_to(alone.app) as far:
        said = await far.stream("/internal/repository/deposit", claims(b"x"), in_pieces(b"x"))
        await far.post("/internal/repository/release", {"ids": [said["id"]]})
    assert await alone.vault.find(said["id"]) is None


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"X-Document-Sha1": "00"}, 422),
        ({"X-Document-Size": "7"}, 422),
        ({"X-Document-Sha256": ""}, 400),
        ({"X-Document-Type": ""}, 400),
    ],
)
async def test_a_deposit_of_other_bytes_is_refused(
    alone: Alone, changes: dict[str, str], status: int
) -> None:
    before = await alone.vault.deposits.count({})
    async with alone.client("throughline.internal") as http:
        answer = await http.post(
            ORIGIN + "/internal/repository/deposit",
            headers=claims(b"bytes", **changes),
            content=b"bytes",
        )
    assert answer.status_code == status
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert await alone.vault.deposits.count({}) == before


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("keep", {}), ("keep", {"documents": {"a": 1}}),
        ("release", {"ids": "a"}), ("release", {"ids": [{"$ne": 1}]}),
    ],
)  # fmt: skip
async def test_a_door_takes_only_what_it_knows(
    alone: Alone, path: str, body: dict[str, Any]
) -> None:
    async with alone.client("throughline.internal") as http:
        answer = await http.post(f"{ORIGIN}/internal/repository/{path}", json=body)
    assert answer.status_code == 400


@pytest.mark.parametrize("path", ["deposit", "keep", "release"])
async def test_the_doors_are_shut_to_everyone_else(alone: Alone, path: str) -> None:
    async with alone.client("system/*.cruds ITI-65 ITI-68") as http:
        answer = await http.post(f"{ORIGIN}/internal/repository/{path}", json={})
    assert answer.status_code == 403


@pytest.mark.parametrize("kind", ["near", "far"])
async def test_the_vault_serves_the_registry_alike_near_and_far(alone: Alone, kind: str) -> None:
    content = os.urandom(150_000)
    async with far_to(alone.app) as far:
        vault: neighbours.Vault = alone.vault if kind == "near" else neighbours.FarVault(far)
        first = await vault.deposit("application/octet-stream", some(content))
        second = await vault.deposit("text/plain", some(b""))
        await vault.keep({first.binary_id: "d1"})
        await vault.keep({})
        await vault.release([first.binary_id, second.binary_id])
    held = await alone.vault.find(first.binary_id)
    assert held is not None
    assert not held.pending
    assert await all_of(alone.vault.read(held)) == content
    assert await alone.vault.find(second.binary_id) is None


# -- what the repository asks, near and far ----------------------------------------------------------
def _door(path: str) -> Transaction:
    return Transaction(
        code="", name=path, service="registry", interaction="internal", resource="",
        routes=(("POST", f"/internal/registry/{path}"),), scope=Needs("", "", ("throughline.internal",)),
        audit=Unaudited("a test's registry"), see="design 4", body="json", surface="internal",
    )  # fmt: skip


@asynccontextmanager
async def registry(kind: str, shelf: Shelf) -> AsyncIterator[Registry]:
    if kind == "near":
        yield shelf
        return

    async def referenced(call: Call) -> Answer:
        found = await shelf.referenced((call.resource or {})["ids"])
        return Answer(body=dumps({"referenced": sorted(found)}), media="application/json")

    async def document_of(call: Call) -> Answer:
        asked = call.resource or {}
        narrow = tuple(frozenset((n, v) for n, v in group) for group in asked["narrow"])
        permit = Permit(tuple(asked["by"]), narrow, asked["version"])
        who = asked["viewer"]
        viewer = Caller(client_id=who["client"], organisation=who["organisation"], role=who["role"])
        found = await shelf.document_of(asked["id"], permit, viewer)
        said = found and {
            "id": found.document,
            "subject": found.subject,
            "labels": found.labels,
            "current": found.current,
        }
        return Answer(body=dumps({"document": said}), media="application/json")

    routes = (Route(_door("referenced"), referenced), Route(_door("document-of"), document_of))

    async def ready() -> None: ...

    @asynccontextmanager
    async def opening() -> AsyncIterator[tuple[Sequence[Service], Rider]]:
        settings = Settings(public_url=ORIGIN, log_level="error")
        yield [Service("registry", routes, shelf, ready)], Rider(settings, ByToken(), Notebook())

    async with serving(create(opening, [r.row for r in routes])) as app, far_to(app) as far:
        yield FarRegistry(far)


@pytest.mark.parametrize("kind", ["near", "far"])
async def test_the_registry_answers_alike_near_and_far(kind: str) -> None:
    shelf = Shelf()
    cited = Cited("d1", "Patient/1", (("http://labels", "R"),), current=False)
    shelf.documents, shelf.category = {"a": cited}, {"a": "housing"}
    async with registry(kind, shelf) as asked:
        assert await asked.referenced(["a", "b"]) == {"a"}
        assert await asked.referenced([]) == set()
        assert await asked.document_of("b", Permit(), VIEWER) is None
        assert await asked.document_of("a", Permit(), VIEWER) == cited
        narrowed = Permit(
            ("x",), (frozenset({("category", "housing")}), frozenset({("category", "y")}))
        )
        assert await asked.document_of("a", narrowed, VIEWER) == cited
        elsewhere = Permit(("x",), (frozenset({("category", "y")}),))
        assert await asked.document_of("a", elsewhere, VIEWER) is None
        shelf.only_for["a"] = "R0A"
        assert await asked.document_of("a", Permit(), VIEWER) is None
        assert await asked.document_of("a", Permit(), Caller("c", organisation="R0A")) == cited


async def test_a_registry_that_does_not_answer_is_busy(alone: Alone) -> None:
    async with far_to(alone.app) as far:
        with pytest.raises(Refused, match="busy"):
            await FarRegistry(far).referenced(["a"])
