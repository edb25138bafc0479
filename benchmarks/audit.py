"""What an AuditEvent costs, one insert per request against group commit, on a real MongoDB.

    python -m benchmarks.audit --mongodb mongodb://127.0.0.1:27017/?replicaSet=rs0 [--events 4000]

Both ways are durable at majority before a request goes on. The numbers are ratios of one machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from audit.events import Events
from audit.verify import verify
from chassis.audit import AuditWriter
from chassis.call import Account, Caller, instant
from chassis.mongo import Mongo
from standards import balp

BASE = "https://exchange.example/fhir"
CLIENTS = 64


def an_event() -> dict[str, Any]:
    """The audit event of a find, as the chassis builds it."""
    request = balp.Request(
        str(uuid.uuid4()), instant(datetime.now(UTC)), BASE, client_address="10.0.0.1",
        request_id=str(uuid.uuid4()),
        raw=b"GET /fhir/DocumentReference?patient=Patient/1&status=current&_count=20 HTTP/1.1",
    )  # fmt: skip
    caller = Caller(
        client_id="viewer", subject="viewer", issuer=BASE, jti=str(uuid.uuid4()), organisation="RM3"
    )
    account = Account(
        patients=[f"Patient/{uuid.uuid4()}", ("https://fhir.nhs.uk/Id/nhs-number", "9990000018")]
    )
    return balp.event(balp.ITI_67, caller, account, request)


async def run(record: Callable[[dict[str, Any]], Awaitable[None]], count: int) -> dict[str, float]:
    """Record `count` events by 64 clients; events per second, CPU per event and the slowest wait."""
    left = iter(range(count))
    waits: list[float] = []

    async def client() -> None:
        for _ in left:
            started = time.perf_counter()
            await record(an_event())
            waits.append(time.perf_counter() - started)

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    waits.sort()
    return {
        "events_per_second": round(count / wall),
        "cpu_us_per_event": round(cpu / count * 1e6),
        "p50_ms": round(waits[len(waits) // 2] * 1e3, 1),
        "p99_ms": round(waits[int(len(waits) * 0.99)] * 1e3, 1),
    }


async def main() -> None:
    """Measure both and print JSON."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--mongodb", required=True)
    asked.add_argument("--events", type=int, default=4000)
    options = asked.parse_args()
    mongo = Mongo(options.mongodb, prefix=f"bench{uuid.uuid4().hex[:8]}_")
    try:
        async with Events(mongo, BASE).open() as events:
            writer = AuditWriter(events)

            async def alone(event: dict[str, Any]) -> None:
                await events.append([event])

            told: dict[str, Any] = {
                "alone": await run(alone, max(options.events // 8, CLIENTS)),
                "grouped": await run(writer.record, options.events),
            }
            started = time.process_time()
            for _ in range(1000):
                an_event()
            told["building_us_per_event"] = round((time.process_time() - started) * 1000)
            told["events_per_batch"] = round(writer.recorded / writer.batches, 1)
            started = time.perf_counter()
            told["sound"] = (await verify(events)).sound
            told["verify_seconds"] = round(time.perf_counter() - started, 2)
        print(json.dumps(told, indent=1))
    finally:
        await mongo.client.drop_database(mongo.prefix + "audit")
        await mongo.close()


if __name__ == "__main__":
    asyncio.run(main())
