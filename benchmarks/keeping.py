"""What sealing costs: CPU for every MB stored and read, and the rate of reading 1 MB against the driver's.

    python -m benchmarks.keeping

All in one process against a mongod of its own, the kinds in a new order every round so that noise hits them alike; bytes
are compared after every read.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path

from chassis.attachment import Attachment
from chassis.mongo import Mongo
from exchange.mongod import embedded
from repository.keys import KeyRing
from repository.vault import Held, Vault

MB = 1024 * 1024
ROUNDS = 60


async def main() -> None:
    """Measure and print a table."""
    with tempfile.TemporaryDirectory() as folder, embedded(Path(folder)) as uri:
        mongo = Mongo(uri, prefix="bench_")
        try:
            await _measured(await Vault.opened(mongo, KeyRing({"k": os.urandom(32)}, "k")))
        finally:
            await mongo.close()


async def _measured(vault: Vault) -> None:
    content = os.urandom(MB)
    kept = await vault.deposit("application/pdf", Attachment.of(content), "bench")
    sealed = await vault.find(kept.binary_id)
    plain_id = sha256(content).hexdigest()
    await vault.blobs.insert({"_id": plain_id, "size": MB, "data": content})
    if sealed is None:
        raise RuntimeError("the document that was stored is not there")
    plain = Held("p", plain_id, MB, "application/pdf", sealed.at, pending=False, blob=plain_id)

    async def raw() -> bytes:
        async with vault.mongo.gate:
            found = await vault.blobs.raw.find_one({"_id": plain_id})
        return bytes(found["data"]) if found else b""

    async def read(held: Held) -> bytes:
        return b"".join([piece async for piece in vault.read(held)])

    async def store() -> bytes:
        await vault.deposit("application/pdf", Attachment.of(os.urandom(MB)), "bench")
        return content

    async def insert() -> bytes:
        data = os.urandom(MB)
        await vault.blobs.insert({"_id": sha256(data).hexdigest(), "size": MB, "data": data})
        return content

    acts: dict[str, Callable[[], Awaitable[bytes]]] = {
        "read, raw driver": raw,
        "read, before encryption": lambda: read(plain),
        "read, sealed": lambda: read(sealed),
        "store, raw driver": insert,
        "store, sealed": store,
    }
    wall: dict[str, list[float]] = {name: [] for name in acts}
    cpu: dict[str, list[float]] = {name: [] for name in acts}
    for number in range(ROUNDS):
        for name, act in random.sample(sorted(acts.items()), len(acts)):
            began, used = time.perf_counter(), time.process_time()
            if await act() != content:
                raise RuntimeError(f"{name} gave other bytes")
            if number >= 5:
                wall[name].append(time.perf_counter() - began)
                cpu[name].append(time.process_time() - used)
    for name in acts:
        base = wall[f"{name.partition(',')[0]}, raw driver"]
        rate = statistics.median(base) / statistics.median(wall[name])
        sys.stdout.write(
            f"{name:26} {statistics.median(wall[name]) * 1e3:7.2f} ms  "
            f"CPU {statistics.median(cpu[name]) * 1e3:6.2f} ms/MB  {rate:5.0%} of the driver's rate\n"
        )


if __name__ == "__main__":
    asyncio.run(main())
