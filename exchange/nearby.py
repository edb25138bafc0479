"""The MongoDB of the exchange that an operator's command means, for as long as the command lasts."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from pymongo.errors import PyMongoError

from chassis.mongo import Mongo, unavailable
from chassis.settings import Settings
from exchange import whereabouts
from exchange.database import check, database
from exchange.exits import Exit, Trouble
from standards.outcome import Refused

T = TypeVar("T")
_GONE = (
    "MongoDB does not answer. Is it, or this machine, too busy, or gone? `throughline doctor` looks; what"
    " was begun may or may not be done, and every command may be run again."
)


def with_mongo(settings: Settings, story: Callable[[Mongo], Awaitable[T]], *, pool: int = 2) -> T:
    """What the story gives, told over the MongoDB of the exchange that these settings mean.

    Raises `Trouble` when there is none or it stops answering, and what the story raises.
    """

    async def run(uri: str, prefix: str) -> T:
        # Connections are made when needed: a command that loses MongoDB says so, and only once.
        mongo = Mongo(uri, pool=pool, prefix=prefix, ready=0)
        try:
            return await story(mongo)
        finally:
            await mongo.close()

    with _database(settings) as (uri, prefix):
        try:
            return asyncio.run(run(uri, prefix))
        except (PyMongoError, Refused) as fault:
            # a transaction that MongoDB lost over and over is told as one that others were faster than
            why = fault.__cause__ if isinstance(fault, Refused) else fault
            if why is None or not unavailable(why):
                raise
            raise Trouble(Exit.NO_DATABASE, _GONE) from fault


@contextmanager
def _database(settings: Settings) -> Iterator[tuple[str, str]]:
    """URI and prefix of the databases: of --mongodb if it is given; else of the exchange that runs in the
    data folder; else of an embedded one, started for as long as this lasts."""
    running = whereabouts.read(settings.data)
    if settings.mongodb.get_secret_value():
        check(settings.mongodb.get_secret_value())
        yield settings.mongodb.get_secret_value(), settings.database_prefix
    elif running is not None:
        yield running.uri, running.database_prefix
    else:
        words = f"No exchange runs in {settings.data}; its MongoDB is started for the moment."
        print(words, file=sys.stderr)
        with database(settings) as uri:
            yield uri, settings.database_prefix
