"""What it costs to tell subscribers: CPU of this process per person, for fan-out and for delivery.

    python -m benchmarks.identity.notices [persons]

A real mongod, the real store and worker, and a real HTTP endpoint; the endpoint runs in this process,
so that the figure of delivery is an upper bound.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from chassis.mongo import Mongo
from exchange.mongod import embedded
from pix.deliveries import Pace
from tests.pix.makers import COUNCIL, patient, pix_service
from tests.pix.makers_pmir import consuming, subscription
from tests.pix.test_deliveries import worker


class _Nobody:
    async def record(self, *events: Any) -> None:
        """Take and forget."""


async def measured(uri: str, persons: int) -> dict[str, float]:
    """Feed so many persons to one subscription of everybody, and take the times."""
    mongo = Mongo(uri, prefix="notices_")
    async with (
        consuming() as there,
        pix_service(mongo, notify_allow=there.origin, notify_at_once=0) as pix,
    ):
        made = worker(mongo, _Nobody(), there.origin, Pace())
        await made.prepare()
        answer = await pix.http.post("/Subscription", json=subscription(there.origin))
        answer.raise_for_status()
        await made.deliver()
        for number in range(persons):
            born = (date(1940, 1, 1) + timedelta(days=number * 37)).isoformat()
            await pix.feed(patient(COUNCIL, str(4_000_000 + number), born=born))
        spent = {"persons": float(persons)}
        for name, step in (("fan-out", made.fan_out), ("delivery", made.deliver)):
            cpu, wall = time.process_time(), time.perf_counter()
            while await step():
                pass
            spent[f"{name}, ms of CPU per person"] = (time.process_time() - cpu) * 1e3 / persons
            spent[f"{name}, persons per second"] = persons / (time.perf_counter() - wall)
        current = await mongo.table("pix", "persons").count({"state": "current"})
        if len(there.told) != current or len({id_ for _, id_ in there.told}) != current:
            raise AssertionError(f"{len(there.told)} told of {current}")
    await mongo.close()
    return spent


def main() -> None:
    """Print the figures."""
    persons = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    with tempfile.TemporaryDirectory() as folder, embedded(Path(folder)) as uri:
        spent = asyncio.run(measured(uri, persons))
    sys.stdout.write(f"{datetime.now(UTC):%Y-%m-%d}\n")
    for name, figure in spent.items():
        sys.stdout.write(f"{name}: {figure:.2f}\n")


if __name__ == "__main__":
    main()
