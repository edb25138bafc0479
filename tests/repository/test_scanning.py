"""A scanner looks at every document first; what it does not like, or has not seen, is not given out."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from chassis.mongo import Mongo
from repository.intake import UNSCANNED, Intake
from repository.scanning import AwayError, Clamd, scanner
from repository.vault import Vault
from standards.outcome import BUSY, BYTES_DIFFER, Refused
from tests.repository.clamd import clamd
from tests.repository.conftest import Alone
from tests.repository.shelf import RING, all_of, some
from tests.repository.test_disposals import body, values
from tests.running import running


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(content), 100_000):
        yield content[at : at + 100_000]


@pytest.mark.parametrize("socket", [False, True])
@pytest.mark.parametrize("size", [0, 1, 70_000, 1_000_000])
async def test_a_verdict_is_had_over_either_kind_of_socket(
    tmp_path: Path, socket: bool, size: int
) -> None:
    async with clamd(tmp_path / "clamd.ctl" if socket else None) as server:
        scan = scanner(server.address)
        assert scan is not None
        assert (await scan(pieces(bytes(size)))).clean
        verdict = await scan(pieces(bytes(size) + b"EVIL"))
        assert verdict.found == "Test.Evil-1"
        assert server.seen == [size, size + 4]


@pytest.mark.parametrize(
    "how", [{"says": b"stream: Can't open ERROR\0"}, {"says": b"what?\0"}, {"says": b"stream: OK"}, {"limit": 10}]
)  # fmt: skip
async def test_an_answer_that_is_no_verdict_is_none(how: dict[str, object]) -> None:
    async with clamd(**how) as server:
        scan = scanner(server.address)
        assert scan is not None
        with pytest.raises(AwayError):
            await scan(pieces(bytes(3_000_000)))


async def test_a_scanner_that_hangs_or_is_not_there_is_away() -> None:
    import asyncio

    async with clamd(hangs=True) as server:
        port = int(server.address.rpartition(":")[2])
        slow = Clamd(lambda: asyncio.open_connection("127.0.0.1", port), seconds=0.2)
        with pytest.raises(AwayError):
            await slow(pieces(b"x"))
    gone = scanner(server.address)
    assert gone is not None
    with pytest.raises(AwayError):
        await gone(pieces(b"x"))


@pytest.mark.parametrize("address", ["clamd", "tcp://host", "http://host:1", "unix:"])
def test_an_address_that_is_none_is_refused_in_words(address: str) -> None:
    with pytest.raises(ValueError, match="tcp://host:port"):
        scanner(address)
    assert scanner("") is None


# -- what becomes of a document ----------------------------------------------------------------------
async def vault_of(mongo: Mongo) -> Vault:
    return await Vault.opened(mongo, RING)


async def test_a_clean_document_is_held_as_ever_and_an_evil_one_in_quarantine(mongo: Mongo) -> None:
    vault = await vault_of(mongo)
    async with clamd() as server:
        intake = Intake(vault, scanner(server.address))
        clean = await intake.deposit("text/plain", some(b"good"), "R0A")
        evil = await intake.deposit("text/plain", some(b"EVIL"), "R0A")
    held = await vault.find(clean.binary_id)
    assert held is not None
    assert not held.quarantine
    held = await vault.find(evil.binary_id)
    assert held is not None
    assert held.quarantine == "the scanner found Test.Evil-1"


async def test_while_the_scanner_is_away_documents_are_refused_or_held_as_the_setting_says(
    mongo: Mongo,
) -> None:
    vault = await vault_of(mongo)
    async with clamd() as server:
        address = server.address
    with pytest.raises(Refused) as refusal:
        await Intake(vault, scanner(address)).deposit("text/plain", some(b"x"), "R0A")
    assert refusal.value.issues[0].kind is BUSY
    waiting = Intake(vault, scanner(address), "hold")
    good = await waiting.deposit("text/plain", some(b"good, later"), "R0A")
    evil = await waiting.deposit("text/plain", some(b"EVIL, later"), "R0A")
    for made in (good, evil):
        held = await vault.find(made.binary_id)
        assert held is not None
        assert held.quarantine == UNSCANNED
    assert await waiting.catch_up() == 0
    async with clamd() as server:
        back = Intake(vault, scanner(server.address), "hold")
        assert await back.catch_up() == 2
        assert await back.catch_up() == 0
    held = await vault.find(good.binary_id)
    assert held is not None
    assert not held.quarantine
    assert await all_of(vault.read(held)) == b"good, later"
    held = await vault.find(evil.binary_id)
    assert held is not None
    assert "Test.Evil-1" in held.quarantine


async def test_bytes_of_another_type_do_not_reach_the_scanner_or_the_vault(mongo: Mongo) -> None:
    vault = await vault_of(mongo)
    before = await vault.deposits.count({})
    async with clamd() as server:
        with pytest.raises(Refused) as refusal:
            await Intake(vault, scanner(server.address)).deposit(
                "application/pdf", some(b"\x89PNG\r\n\x1a\n" + os.urandom(90)), "R0A"
            )
        assert server.seen == []
    assert refusal.value.issues[0].kind is BYTES_DIFFER
    assert "PNG" in refusal.value.issues[0].words
    assert await vault.deposits.count({}) == before


async def test_a_document_in_quarantine_is_not_given_out(alone: Alone) -> None:
    kept = await alone.holding(b"suspicious")
    await alone.vault.deposits.update(
        {"_id": kept.binary_id}, {"$set": {"quarantine": {"why": "the scanner found X", "at": kept.size}}}
    )  # fmt: skip
    async with alone.client() as http:
        for headers in ({}, {"Accept": "application/fhir+json"}, {"Range": "bytes=0-1"}):
            answer = await http.get(f"/Binary/{kept.binary_id}", headers=headers)
            assert answer.status_code == 403
            assert "quarantine" in answer.text
            assert "found X" not in answer.text


async def test_what_was_found_is_listed_and_released_or_destroyed_by_two(
    mongo: Mongo, mongod_uri: str, database_prefix: str, tmp_path: Path
) -> None:
    from tests.makers_mhd import a_bundle, a_document, a_patient, locations, publish

    scope, form = (
        "records-review records-approve records-destroy system/*.rs",
        "application/fhir+json",
    )

    async def ask(client: httpx.AsyncClient, operation: str, **said: object) -> httpx.Response:
        return await client.post(
            f"/Binary/${operation}", json=body(**said), headers={"Content-Type": form}
        )

    async with (
        clamd() as server,
        running(mongo, mongod_uri, database_prefix, tmp_path, scanner=server.address) as exchange,
        exchange.as_client(organisation="R0A") as source,
        exchange.as_client(scope, role="R-ADM", organisation="R0A") as first,
        exchange.as_client(scope, role="R-ADM", organisation="R0A") as second,
    ):
        person = await a_patient(source)
        evil = a_bundle(*(a_document(person, content=f"EVIL {n}".encode()) for n in range(2)))
        answer = await publish(source, evil)
        _, one, one_bytes, two, two_bytes = locations(answer)
        assert (await first.get(f"/{one_bytes}")).status_code == 403
        listed = await ask(first, "quarantine")
        assert {d[0]["valueString"] for d in values(listed, "document")} == {
            one.partition("/")[2], two.partition("/")[2],
        }  # fmt: skip

        approved = await ask(
            first, "retention-approve", document=one, act="release", reason="a false alarm"
        )
        disposal = values(approved, "disposal")[0]
        alone = await ask(first, "quarantine-release", disposal=disposal, reason="me too")
        wrong = await ask(second, "retention-destroy", disposal=disposal, reason="what?")
        assert (alone.status_code, wrong.status_code) == (403, 409)
        assert (
            await ask(second, "quarantine-release", disposal=disposal, reason="yes")
        ).status_code == 200
        assert (await first.get(f"/{one_bytes}", headers={"Accept": "*/*"})).content == b"EVIL 0"

        approved = await ask(
            first, "retention-approve", document=two, ground="quarantine", reason="it is evil"
        )
        disposal = values(approved, "disposal")[0]
        assert (
            await ask(second, "retention-destroy", disposal=disposal, reason="yes")
        ).status_code == 200
        assert (await first.get(f"/{two_bytes}")).status_code == 410
        again = await ask(first, "retention-approve", document=one, act="release", reason="?")
        assert again.status_code == 422
