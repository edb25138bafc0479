"""Signing keys: made once, rotated without a token lost, sealed where there is a master key."""

from __future__ import annotations

import asyncio
import stat
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from joserfc.jws import extract_compact
from pydantic import SecretStr

from auth.keys import Keys, KeysSealed, master_key
from chassis.mongo import Mongo
from tests.auth.authority import Server, a_backend, a_token, serving

KEEP = timedelta(minutes=10)


@pytest_asyncio.fixture(loop_scope="module")
async def fresh(mongod_uri: str) -> AsyncIterator[Mongo]:
    """A database of its own for one test."""
    opened = Mongo(mongod_uri, prefix=f"k{uuid.uuid4().hex[:10]}_")
    yield opened
    await opened.client.drop_database(opened.prefix + "auth")
    await opened.close()


def kid_of(token: str) -> str:
    return str(extract_compact(token.encode()).headers()["kid"])


async def published(server: Server) -> list[str]:
    answer = await server.http.get("/auth/jwks")
    assert answer.headers["access-control-allow-origin"] == "*"
    keys = answer.json()["keys"]
    assert all(k["kty"] == "RSA" and k["alg"] == "RS256" and k["use"] == "sig" for k in keys)
    assert all(not {"d", "p", "q", "dp", "dq", "qi"} & set(k) for k in keys)
    return [k["kid"] for k in keys]


async def test_processes_that_start_at_once_make_one_active_key(fresh: Mongo) -> None:
    several = [Keys(fresh, keep=KEEP) for _ in range(6)]
    await asyncio.gather(*(keys.prepare() for keys in several))
    assert len({(await keys.signing()).kid for keys in several}) == 1
    states = [row["state"] for row in await fresh.table("auth", "signing_keys").many({})]
    assert sorted(states) == ["active", "next"]


async def test_rotation_keeps_old_tokens_good_and_signs_new_ones_with_the_next_key(
    fresh: Mongo, tmp_path: Path
) -> None:
    async with serving(fresh, tmp_path) as server, serving(fresh, tmp_path) as other:
        backend = await a_backend(server)
        before = await published(server)
        old = await a_token(server, backend)
        made = await server.authority.keys.rotate()
        new = await a_token(server, backend)
        assert kid_of(old) != kid_of(new) == made
        assert made in before, "the key that signs now was published before it signed"
        assert set(before) < set(await published(server))
        for process in (server, other):
            for token in (old, new):
                assert (
                    await process.authority.verifier.caller(token)
                ).client_id == backend.client_id


async def test_a_retired_key_loses_its_private_part_and_in_time_its_place(fresh: Mongo) -> None:
    keys = Keys(fresh, keep=timedelta(0))
    await keys.prepare()
    old = (await keys.signing()).kid
    await keys.rotate()
    assert old not in [k["kid"] for k in (await keys.jwks())["keys"]]
    assert await keys.key(old) is None
    row = await fresh.table("auth", "signing_keys").one({"_id": old})
    assert row is not None
    assert row["state"] == "retired"
    assert "private" not in row


async def test_rotating_at_once_leaves_one_active_and_one_next_key(fresh: Mongo) -> None:
    several = [Keys(fresh, keep=KEEP) for _ in range(3)]
    await several[0].prepare()
    await asyncio.gather(*(keys.rotate() for keys in several))
    states = [row["state"] for row in await fresh.table("auth", "signing_keys").many({})]
    assert sorted(states) == ["active", "next", "retired", "retired", "retired"]


async def test_with_a_master_key_no_private_key_lies_open(fresh: Mongo, tmp_path: Path) -> None:
    master = master_key(tmp_path / "keys" / "master.key", make=True)
    keys = Keys(fresh, keep=KEEP, master=master)
    await keys.prepare()
    for row in await fresh.table("auth", "signing_keys").many({}):
        assert set(row["private"]) == {"nonce", "sealed"}
        assert b'"d"' not in row["private"]["sealed"]
    assert (await Keys(fresh, keep=KEEP, master=master).signing()).kid == (await keys.signing()).kid
    for wrong in (None, b"x" * 32):
        with pytest.raises(KeysSealed, match=r"master\.key"):
            await Keys(fresh, keep=KEEP, master=wrong).signing()


async def test_the_embedded_exchange_makes_its_master_key(fresh: Mongo, tmp_path: Path) -> None:
    async with serving(fresh, tmp_path, mongodb=SecretStr("")):
        file = tmp_path / "keys" / "master.key"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    async with serving(fresh, tmp_path) as server:  # the same data folder, the URI given this time
        assert await server.authority.keys.signing()


def test_the_master_key_is_made_once_and_only_on_request(tmp_path: Path) -> None:
    file = tmp_path / "keys" / "master.key"
    assert master_key(file, make=False) is None
    first = master_key(file, make=True)
    assert first is not None
    assert (len(first), master_key(file, make=True), master_key(file, make=False)) == (
        32,
        first,
        first,
    )
    assert [p.name for p in file.parent.iterdir()] == ["master.key"]
    file.write_text("c2hvcnQ=")
    with pytest.raises(KeysSealed):
        master_key(file, make=False)
