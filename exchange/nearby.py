"""The MongoDB of the exchange that an operator's command means, for as long as the command lasts."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from chassis.mongo import Mongo
from chassis.settings import Settings
from exchange import whereabouts
from exchange.database import check, database

T = TypeVar("T")


def with_mongo(settings: Settings, story: Callable[[Mongo], Awaitable[T]], *, pool: int = 2) -> T:
    """What the story gives, told over the MongoDB of the exchange that these settings mean.

    Raises `Trouble` when there is none, and what the story raises.
    """

    async def run(uri: str, prefix: str) -> T:
        mongo = Mongo(uri, pool=pool, prefix=prefix)
        try:
            return await story(mongo)
        finally:
            await mongo.close()

    with _database(settings) as (uri, prefix):
        return asyncio.run(run(uri, prefix))


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
