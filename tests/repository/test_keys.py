"""Master keys come from a file, from the environment or from a key management service, and the wrong
ones stop the repository before it takes anything."""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr

from chassis.mongo import Mongo
from chassis.settings import Settings
from repository.custody import RING, master_keys
from repository.keys import FileRing, KeyRing, KeyTroubleError, MasterKeys, ring_made, ring_of
from repository.kms import TransitKeys
from repository.rotation import rewrap
from repository.vault import Vault
from standards.outcome import BUSY, EXCEPTION, Refused
from tests.repository.shelf import all_of, some
from tests.repository.test_vault import found
from tests.repository.transit import TOKEN, Transit


def spelled(*names: str) -> str:
    return ",".join(f"{n}:{base64.b64encode(n.encode().ljust(32)).decode()}" for n in names)


@asynccontextmanager
async def transit(server: Transit, token: str = TOKEN) -> AsyncIterator[TransitKeys]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(server)) as client:
        yield TransitKeys(client, "http://bao/v1/transit/", "throughline", lambda: token)


async def emptied(mongo: Mongo) -> None:
    for name in ("blobs", "deposits", "chunks", "uploads"):
        await mongo.table("repository", name).delete({}, many=True)


# -- any kind --------------------------------------------------------------------------------------
@pytest_asyncio.fixture(params=["file", "environment", "kms"])
async def keys(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MasterKeys]:
    if request.param == "file":
        assert ring_made(tmp_path / "ring.json")
        yield FileRing(tmp_path / "ring.json")
    elif request.param == "environment":
        yield ring_of(spelled("new", "old"))
    else:
        async with transit(Transit()) as made:
            yield made


async def test_a_data_key_comes_back_under_its_name_and_no_other(keys: MasterKeys) -> None:
    key = os.urandom(32)
    wrapped = await keys.wrap(key, "a")
    assert wrapped.master == await keys.current()
    assert await keys.knows(wrapped.master)
    assert not await keys.knows("another")
    assert await keys.unwrap(wrapped, "a") == key
    assert key not in wrapped.sealed
    with pytest.raises(Refused) as refusal:
        await keys.unwrap(wrapped, "b")
    assert refusal.value.issues[0].kind is EXCEPTION


# -- a file ----------------------------------------------------------------------------------------
async def test_a_ring_is_made_once_for_its_owner_only_and_rotated_in_place(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "ring.json"
    assert ring_made(path)
    assert not ring_made(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    one, other = FileRing(path), FileRing(path)  # two processes
    old = await one.wrap(b"k" * 32, "a")
    name = one.add()
    new = await one.wrap(b"k" * 32, "a")
    assert (old.master != name, new.master) == (True, name)
    assert await other.unwrap(new, "a") == b"k" * 32, "the other process reads the file again"
    assert await other.current() == name
    with pytest.raises(KeyTroubleError, match="rotate first"):
        one.retire(name)
    one.retire(old.master)
    with pytest.raises(KeyTroubleError, match="no master key"):
        one.retire(old.master)
    assert not await other.knows(old.master)
    with pytest.raises(Refused):
        await one.unwrap(old, "a")
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"current":"a"}', '{"current":"a","keys":{}}', '{"current":"a","keys":{"a":"eA=="}}',
             '{"current":"a","keys":{"a":"*"}}']
)  # fmt: skip
def test_a_file_that_is_no_ring_is_refused_in_words(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ring.json"
    path.write_text(text)
    with pytest.raises(KeyTroubleError, match=r"ring|base64|bytes"):
        FileRing(path)


@pytest.mark.parametrize("text", ["", "a", "a:", ":eA==", "a:eA==", "a:*"])
def test_an_environment_that_spells_no_ring_is_refused_in_words(text: str) -> None:
    with pytest.raises(KeyTroubleError, match=r"base64|bytes"):
        ring_of(text)


# -- a key management service ------------------------------------------------------------------------
async def test_keys_are_rotated_in_the_service_and_then_wrapped_anew_here(mongo: Mongo) -> None:
    await emptied(mongo)
    server = Transit()
    async with transit(server) as keys:
        vault = await Vault.opened(mongo, keys)
        kept = await vault.deposit("text/plain", some(b"kept"), "R0A")
        server.versions.append(os.urandom(32))
        assert await keys.current() == "vault:v2"
        assert await rewrap(vault.contents) == 1
        server.least = 2  # what is still wrapped under version 1, in any backup, is lost now
        assert await all_of(vault.read(await found(vault, kept.binary_id))) == b"kept"
        assert not await keys.knows("vault:v1")


async def test_a_service_that_is_away_for_a_moment_is_asked_again_and_one_that_stays_away_is_busy() -> (
    None
):
    server = Transit(down=2)
    async with transit(server) as keys:
        wrapped = await keys.wrap(b"k" * 32, "a")
        assert len(server.asked) == 3
        server.down = 100
        with pytest.raises(Refused) as refusal:
            await keys.unwrap(wrapped, "a")
        assert refusal.value.issues[0].kind is BUSY


async def test_a_service_that_refuses_us_is_a_fault_that_says_where_to_look() -> None:
    async with transit(Transit(), token="wrong") as keys:
        with pytest.raises(Refused) as refusal:
            await keys.wrap(b"k" * 32, "a")
    assert "403" in refusal.value.issues[0].words


async def test_a_document_is_not_taken_while_its_key_cannot_be_wrapped(mongo: Mongo) -> None:
    await emptied(mongo)
    async with transit(Transit(down=1000)) as keys:
        vault = await Vault.opened(mongo, keys)
        with pytest.raises(Refused):
            await vault.deposit("text/plain", some(b"x"), "R0A")
        assert await vault.blobs.count({}) == 0
        assert await vault.deposits.count({"state": "released"}) == 1


# -- which ones the repository opens with --------------------------------------------------------------
async def test_without_settings_a_ring_is_made_in_the_data_folder(
    mongo: Mongo, tmp_path: Path
) -> None:
    await emptied(mongo)
    for _ in range(2):
        async with master_keys(Settings(data=tmp_path), mongo) as keys:
            assert await keys.current() in (tmp_path / RING).read_text()


async def test_a_repository_does_not_open_with_keys_that_do_not_fit_what_it_holds(
    mongo: Mongo, tmp_path: Path
) -> None:
    await emptied(mongo)
    ring = ring_of(spelled("mine"))
    await (await Vault.opened(mongo, ring)).deposit("text/plain", some(b"x"), "R0A")
    for settings, words in (
        (Settings(data=tmp_path), "Put the ring"),
        (Settings(master_keys=tmp_path / "gone.json"), "Put the ring"),
        (Settings(master_key=SecretStr(spelled("other"))), "mine"),
        (Settings(kms_url="http://bao/v1/transit"), "token"),
    ):
        with pytest.raises(KeyTroubleError, match=words):
            async with master_keys(settings, mongo):
                pass
    assert not list(tmp_path.iterdir()), "no second ring was made beside the lost one"
    async with master_keys(Settings(master_key=SecretStr(spelled("next", "mine"))), mongo) as keys:
        assert isinstance(keys, KeyRing)
        assert await keys.current() == "next"
    await emptied(mongo)
    with pytest.raises(KeyTroubleError, match="keys new"):
        async with master_keys(Settings(master_keys=tmp_path / "gone.json"), mongo):
            pass


async def test_the_settings_lead_to_the_service_with_a_token_from_a_file(
    mongo: Mongo, tmp_path: Path
) -> None:
    await emptied(mongo)
    (tmp_path / "token").write_text(TOKEN + "\n")
    settings = Settings(
        kms_url="http://bao/v1/transit", kms_token=SecretStr(str(tmp_path / "token"))
    )
    async with master_keys(settings, mongo, httpx.ASGITransport(Transit())) as keys:
        assert await keys.current() == "vault:v1"
