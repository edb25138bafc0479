"""A replica set of one: transactions and change streams need a set, not several machines.

The configuration is stored in the data files and names the member as host:port, so a folder that is
started on another port has to be told where it is now.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from exchange.mongod_log import CannotStart

NAME = "throughline"
NOT_YET_INITIALIZED = 94
PATIENCE = 60.0

Client = MongoClient[dict[str, Any]]


def form(port: int, alive: Callable[[], bool]) -> None:
    """Make the mongod on this loopback port the primary of its set, and wait until it is.

    `alive` says whether its process still runs. Raises `CannotStart` with the last answer.
    """
    here = f"127.0.0.1:{port}"
    deadline = time.monotonic() + PATIENCE
    last: PyMongoError | None = None
    with Client("127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=1_000) as client:
        while time.monotonic() < deadline:
            if not alive():
                raise CannotStart("mongod ended while it formed its replica set.")
            try:
                _configure(client, here)
                if client.admin.command("hello")["isWritablePrimary"]:
                    return
            except PyMongoError as fault:
                # It loads its stored configuration in its own time, and a member that changes
                # state closes its connections: ask again.
                last = fault
            time.sleep(0.03)
    raise CannotStart(
        f"mongod did not become primary in {PATIENCE:.0f} seconds: {last or 'no election'}."
    )


def _configure(client: Client, here: str) -> None:
    """Initiate the set in a new folder; in one that was moved to another port, correct it."""
    try:
        config = client.admin.command("replSetGetConfig")["config"]
    except OperationFailure as refusal:
        if refusal.code != NOT_YET_INITIALIZED:
            raise
        member = {"_id": 0, "host": here}
        client.admin.command("replSetInitiate", {"_id": NAME, "members": [member]})
        return
    if [member["host"] for member in config["members"]] != [here]:
        config["members"] = [{**config["members"][0], "host": here}]
        config["version"] += 1
        client.admin.command("replSetReconfig", config, force=True)
