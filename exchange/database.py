"""The launcher's side of MongoDB: the embedded one and its keeper, or the one of --mongodb."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pymongo import MongoClient
from pymongo.errors import ConfigurationError, InvalidURI, OperationFailure, PyMongoError

from chassis.settings import Settings
from exchange.exits import Exit, Trouble
from exchange.mongod import CannotStart, EmbeddedMongod

RESTARTS = 3  # in a minute; a mongod that ends more often needs a person


@contextmanager
def database(settings: Settings, *, give_up: Callable[[str], None] | None = None) -> Iterator[str]:
    """The MongoDB URI to use: a running one of the settings, else an embedded one for as long as this lasts.

    With `give_up` an embedded mongod that dies is started again; `give_up` is called with the reason
    when that does not help. Raises `Trouble` when there is no usable MongoDB.
    """
    given = settings.mongodb.get_secret_value()
    if given:
        check(given)
        yield given
        return
    server = EmbeddedMongod(settings.data)
    try:
        uri = server.start()
    except CannotStart as fault:
        raise Trouble(Exit.NO_DATABASE, str(fault)) from fault
    over = threading.Event()
    keeper = threading.Thread(
        target=_keep, args=(server, over, give_up), name="mongod keeper", daemon=True
    )
    try:
        if give_up is not None:
            keeper.start()
        yield uri
    finally:
        over.set()
        if keeper.is_alive():
            keeper.join()
        server.stop()


def check(uri: str) -> None:
    """Raise `Trouble` unless a replica set or a sharded cluster answers at this URI."""
    try:
        with MongoClient[dict[str, Any]](uri, serverSelectionTimeoutMS=10_000) as client:
            hello = client.admin.command("hello")
    except (InvalidURI, ConfigurationError, ValueError) as fault:
        raise Trouble(Exit.USAGE, f"--mongodb is not a usable MongoDB URI: {fault}") from fault
    except OperationFailure as fault:
        raise Trouble(
            Exit.NO_DATABASE,
            f"MongoDB at {masked(uri)} does not let the exchange in ({_said(fault)}). Check the user, the"
            " password and authSource in --mongodb.",
        ) from fault
    except PyMongoError as fault:
        raise Trouble(
            Exit.NO_DATABASE,
            f"MongoDB does not answer at {masked(uri)} within 10 seconds. Is it running, and may this"
            " machine reach it?",
        ) from fault
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        raise Trouble(
            Exit.NO_DATABASE,
            f"The MongoDB at {masked(uri)} stands alone, and the exchange needs transactions. Start it"
            " with --replSet and run rs.initiate() once.",
        )


def _said(fault: OperationFailure) -> str:
    return str((fault.details or {}).get("errmsg", f"code {fault.code}")).rstrip(".")


def masked(uri: str) -> str:
    """A MongoDB URI without the user's name and password."""
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://***@{rest.rpartition('@')[2]}" if "@" in rest else uri


def _keep(
    server: EmbeddedMongod, over: threading.Event, give_up: Callable[[str], None] | None
) -> None:
    """Start an embedded mongod again that was killed (by the kernel when memory is short, say)."""
    restarts: list[float] = []
    while not over.wait(0.2):
        if server.running:
            continue
        restarts = [at for at in restarts if time.monotonic() - at < 60]
        reason = f"mongod ended {RESTARTS + 1} times in a minute; its log is {server.log}."
        if len(restarts) < RESTARTS:
            restarts.append(time.monotonic())
            print("mongod ended unexpectedly and is started again.", file=sys.stderr, flush=True)
            try:
                server.restart()
                continue
            except CannotStart as fault:
                reason = str(fault)
        if give_up is not None:
            give_up(reason)
        return
