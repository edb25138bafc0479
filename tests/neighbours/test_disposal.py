"""Documents are destroyed with repository and registry apart, and an interruption is made up for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from chassis.mongo import Mongo
from exchange.apart import application
from tests.makers_mhd import a_bundle, a_document, a_patient, locations, publish
from tests.neighbours.apart import apart
from tests.repository.test_disposals import SCOPE, ask, values
from tests.running import serving

ENTOMB = "/internal/registry/entomb"


async def settled(client: httpx.AsyncClient, disposal: str) -> str:
    """The state of a disposal once it is done, or what it is after a while."""
    state = ""
    for _ in range(100):
        answer = await ask(client, "retention-certificate", disposal=disposal)
        state = values(answer, "state")[0]
        if state == "done":
            break
        await asyncio.sleep(0.1)
    return state


async def test_a_destruction_that_was_interrupted_is_finished_by_whoever_comes_next(
    mongo: Mongo, mongod_uri: str, database_prefix: str, tmp_path: Path
) -> None:
    prefix = f"{database_prefix}d_"
    own = Mongo(mongod_uri, prefix=prefix)
    async with (
        apart(own, mongod_uri, prefix, tmp_path) as (exchange, roads),
        exchange.as_client(organisation="R0A") as source,
        exchange.as_client(SCOPE, role="R-ADM", organisation="R0A") as first,
        exchange.as_client(SCOPE, role="R-ADM", organisation="R0A") as second,
    ):
        document = a_document(await a_patient(source), kind="HL-APPR")
        document["context"]["period"] = {"start": "2000-01-01", "end": "2001-01-01"}
        _, reference, binary = locations(await publish(source, a_bundle(document)))
        approved = await ask(first, "retention-approve", document=reference, reason="over")
        (disposal,) = values(approved, "disposal")

        roads.closed.add(ENTOMB)
        answer = await ask(second, "retention-destroy", disposal=disposal, reason="agreed")
        assert answer.status_code == 202, answer.text
        assert values(answer, "state") == ["executing"]
        assert (await second.get(f"/{binary}")).status_code == 410, "it is decided"
        assert (await second.get(f"/{reference}")).json()["status"] == "current", "and not yet done"
        twice = await ask(second, "retention-destroy", disposal=disposal, reason="again")
        assert twice.status_code == 409
        withdrawn = await ask(first, "retention-withdraw", disposal=disposal, reason="too late")
        assert withdrawn.status_code == 409
        assert await own.table("repository", "blobs").count({}) == 1

        roads.closed.clear()
        async with serving(
            application(roads.settings["repository"], "repository", transport=roads)
        ):
            assert await settled(second, disposal) == "done"
        assert (await second.get(f"/{reference}")).json()["status"] == "entered-in-error"
        assert await own.table("repository", "blobs").count({}) == 0
        assert values(await ask(second, "retention-certificate", disposal=disposal), "certificate")
        assert {"registry/internal/registry/aged", "pix/internal/pix/lived"} <= set(roads.passed)
    await own.close()
