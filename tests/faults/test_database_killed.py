"""mongod is killed with -9 in the middle of a publishing storm, twice, and started again."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from chassis.mongo import Mongo
from exchange.mongod import EmbeddedMongod
from tests.faults import storm
from tests.running import running

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]


async def test_nothing_acknowledged_is_lost_when_mongod_is_killed_and_restarted(tmp_path) -> None:
    prefix = f"f{uuid.uuid4().hex[:8]}_"
    with EmbeddedMongod(tmp_path / "mongod") as mongod:
        mongo = Mongo(mongod.uri, prefix=prefix)

        def hurt() -> None:
            mongod.kill()
            mongod.restart()

        async with running(mongo, mongod.uri, prefix, tmp_path / "data") as exchange:
            async with exchange.as_client() as client:
                bundles = await storm.sow(client)
                blowing = asyncio.create_task(storm.blow(client, bundles, seconds=20))
                await storm.hurting((4, 6), hurt)
                blown = await blowing
                assert len(blown.published) > 50, blown.statuses
                token = await exchange.token(next(iter(exchange.keys)))
                client.headers["Authorization"] = f"Bearer {token}"
                await storm.assert_acknowledged_is_whole(client, blown)
            await storm.assert_nothing_is_half_there(mongo, blown)
            await storm.assert_audited(mongo, blown)
        await mongo.close()
