"""The server is killed in a storm of messages: what it acknowledged is there, and a resend is harmless."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from pix.hl7v2.speaking import Unanswered, speaking
from tests.hl7v2.makers import MFT, NCA, a_person, answered, unique
from tests.hl7v2.test_command_line import Served

pytestmark = pytest.mark.fault


async def storm(port: int, messages: list[str]) -> set[str]:
    """The messages that were accepted before the line ended. One that is rejected for now (AR) is sent
    again, as a sender would: the database lets go of what a killed process held within a minute."""
    accepted: set[str] = set()
    try:
        async with speaking("127.0.0.1", port, patience=60) as line:
            for message in messages:
                ack = "AR"
                while ack == "AR":
                    ack = answered(await line.say(message.encode())).ack
                    await asyncio.sleep(1.0 if ack == "AR" else 0)
                assert ack == "AA"
                accepted.add(message)
    except Unanswered:
        pass
    return accepted


@pytest.mark.timeout(400)
def test_every_acknowledged_message_is_whole_after_a_kill_and_the_rest_can_be_sent_again(
    mongod_uri: str, tmp_path: Path
) -> None:
    prefix = f"k{os.getpid()}_"
    numbers = {
        "PAS|R0A": [unique("Z") for _ in range(300)],
        "PAS|RM3": [unique("Z") for _ in range(300)],
    }
    domains = {"PAS|R0A": MFT, "PAS|RM3": NCA}
    messages = {
        sender: [
            a_person(
                f"{n}^^^{domains[sender]}",
                sender=sender,
                name=f"{n}^Storm",
                born=f"19{10 + i % 80}0{1 + i % 9}11",
                address="",
                phone="",
            )
            for i, n in enumerate(mine)
        ]
        for sender, mine in numbers.items()
    }
    served = Served(mongod_uri, tmp_path, prefix)

    async def storms_and_a_kill() -> set[str]:
        async def kill() -> None:
            await asyncio.sleep(2.5)
            os.kill(served.process.pid, signal.SIGKILL)

        *made, _ = await asyncio.gather(*(storm(served.port, m) for m in messages.values()), kill())
        return set().union(*(m for m in made if m))

    accepted = asyncio.run(storms_and_a_kill())
    served.process.wait(30)
    everything = [m for mine in messages.values() for m in mine]
    assert 0 < len(accepted) < len(everything)
    again = Served(mongod_uri, tmp_path, prefix)
    try:
        with MongoClient[dict[str, Any]](mongod_uri) as client:
            database = client[prefix + "pix"]
            there = {r["value"] for r in database.records.find({}, {"value": 1})}
            registered = database.hl7v2_messages.count_documents({"said": "AA"})
            assert registered == len(there)  # a message is done and registered, or neither
            for message in accepted:
                assert message.split("PID|||")[1].split("^")[0] in there

            async def resend() -> set[str]:
                made = await asyncio.gather(
                    *(storm(again.port, m[:150]) for m in messages.values())
                )
                return set().union(*made)

            assert len(asyncio.run(resend())) == 300
            versions = database.records.aggregate(
                [{"$group": {"_id": "$value", "n": {"$sum": 1}}}, {"$match": {"n": {"$gt": 1}}}]
            )
            assert list(versions) == []
    finally:
        again.process.terminate()
        again.process.wait(60)
        with MongoClient[dict[str, Any]](mongod_uri) as client:
            for name in client.list_database_names():
                if name.startswith(prefix):
                    client.drop_database(name)
