"""MongoDB: one client per process, a fair gate before its pool, and tables that go through it.

Every acknowledged write is `w:majority, j:true` and every read is at majority, so that nothing
acknowledged is lost and nothing read can be rolled back (design §3; tests/faults).
PyMongo's async pool serves waiters unfairly when tasks outnumber connections (p99 1,200 ms against
45 ms with a fair semaphore), so `Mongo.gate` is taken before the driver is asked for anything.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Hashable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from pymongo import AsyncMongoClient, IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import ConnectionFailure, ExecutionTimeout, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from standards.outcome import BUSY, Issue, Refused

Doc = dict[str, Any]
Filter = Mapping[str, Any]
Sort = Sequence[tuple[str, int]]
K = TypeVar("K", bound=Hashable)
A = TypeVar("A")
V = TypeVar("V")
T = TypeVar("T")

DURABLE = WriteConcern(w="majority", j=True, wtimeout=20_000)


class Table:
    """One collection. Reads return plain dicts; every call passes the gate once."""

    def __init__(self, mongo: Mongo, collection: AsyncCollection[Doc]) -> None:
        self.mongo = mongo
        self.raw = collection
        self.name = collection.name

    async def one(
        self,
        where: Filter,
        fields: Mapping[str, Any] | None = None,
        session: AsyncClientSession | None = None,
    ) -> Doc | None:
        """The one matching document, or None."""
        async with self.mongo.pass_(session):
            return await self.raw.find_one(where, fields, session=session)

    async def many(
        self,
        where: Filter,
        fields: Mapping[str, Any] | None = None,
        *,
        sort: Sort = (),
        limit: int = 0,
        hint: str | Sequence[tuple[str, int]] | None = None,
        session: AsyncClientSession | None = None,
        max_ms: int = 15_000,
    ) -> list[Doc]:
        """All matching documents (at most `limit`, 0 for no limit) in one batch where they fit."""
        async with self.mongo.pass_(session):
            cursor = self.raw.find(
                where, fields, sort=list(sort) or None, limit=limit, hint=hint, session=session,
                batch_size=limit + 1 if limit else 0, max_time_ms=max_ms,
            )  # fmt: skip
            return await cursor.to_list(None)

    async def count(self, where: Filter, *, limit: int | None = None, max_ms: int = 15_000) -> int:
        """How many match; counting stops at `limit`."""
        async with self.mongo.gate:
            options: Doc = {"maxTimeMS": max_ms}
            if limit is not None:
                options["limit"] = limit
            return await self.raw.count_documents(where, **options)

    async def size(self) -> int:
        """About how many documents there are, from what MongoDB knows without looking."""
        async with self.mongo.gate:
            return await self.raw.estimated_document_count()

    async def insert(self, document: Doc, session: AsyncClientSession | None = None) -> None:
        """Insert one; `DuplicateKeyError` when a unique index says no."""
        async with self.mongo.pass_(session):
            await self.raw.insert_one(document, session=session)

    async def insert_many(
        self,
        documents: Sequence[Doc],
        session: AsyncClientSession | None = None,
        *,
        ordered: bool = True,
    ) -> None:
        """Insert all of them in one round trip."""
        if documents:
            async with self.mongo.pass_(session):
                await self.raw.insert_many(documents, ordered=ordered, session=session)

    async def insert_all(
        self, documents: Sequence[Doc], session: AsyncClientSession | None = None
    ) -> None:
        """As `insert_many`, in any order; one goes without the driver's bulk machinery, which costs as
        much as the round trip."""
        if len(documents) == 1:
            await self.insert(documents[0], session)
        else:
            await self.insert_many(documents, session, ordered=False)

    async def update(
        self,
        where: Filter,
        change: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        session: AsyncClientSession | None = None,
        many: bool = False,
        upsert: bool = False,
    ) -> int:
        """Update and say how many documents matched (upserts count as one)."""
        async with self.mongo.pass_(session):
            act = self.raw.update_many if many else self.raw.update_one
            result = await act(where, change, upsert=upsert, session=session)
            return result.matched_count + (1 if result.upserted_id is not None else 0)

    async def replace(
        self,
        where: Filter,
        document: Doc,
        *,
        session: AsyncClientSession | None = None,
        upsert: bool = False,
    ) -> int:
        """Replace one document and say how many matched."""
        async with self.mongo.pass_(session):
            result = await self.raw.replace_one(where, document, upsert=upsert, session=session)
            return result.matched_count + (1 if result.upserted_id is not None else 0)

    async def claim(
        self, where: Filter, change: Mapping[str, Any], session: AsyncClientSession | None = None
    ) -> Doc | None:
        """Atomically change one matching document and return it as it was before, or None."""
        async with self.mongo.pass_(session):
            return await self.raw.find_one_and_update(where, change, session=session)

    async def delete(
        self, where: Filter, *, session: AsyncClientSession | None = None, many: bool = False
    ) -> int:
        """Delete and say how many went."""
        async with self.mongo.pass_(session):
            act = self.raw.delete_many if many else self.raw.delete_one
            return (await act(where, session=session)).deleted_count

    async def ensure(self, *indexes: IndexModel) -> None:
        """Create the indexes that are not there yet."""
        if indexes:
            async with self.mongo.gate:
                await self.raw.create_indexes(list(indexes))


class Mongo:
    """The process's way to MongoDB. `ready` connections are kept open also when nobody needs them; when
    they cannot be, the driver prints a traceback of its own."""

    def __init__(
        self, uri: str, *, pool: int = 32, prefix: str = "", ready: int | None = None
    ) -> None:
        self.client: AsyncMongoClient[Doc] = AsyncMongoClient(
            uri,
            maxPoolSize=pool + 4,
            minPoolSize=min(pool, 8) if ready is None else ready,
            tz_aware=True,
            serverSelectionTimeoutMS=10_000,
            connectTimeoutMS=5_000,
            retryWrites=True,
            retryReads=True,
            appname="throughline",
        )
        self.gate = asyncio.Semaphore(pool)
        self.prefix = prefix

    def table(self, database: str, name: str) -> Table:
        """A collection of one service's database."""
        db = self.client.get_database(
            self.prefix + database, write_concern=DURABLE, read_concern=ReadConcern("majority")
        )
        return Table(self, db[name])

    async def create(self, database: str, name: str, **options: Any) -> Table:
        """A collection made with options (clusteredIndex, storage engine); kept when it exists."""
        db = self.client.get_database(self.prefix + database, write_concern=DURABLE)
        try:
            await db.create_collection(
                name,
                storageEngine={"wiredTiger": {"configString": "block_compressor=zstd"}},
                check_exists=False,
                **options,
            )
        except OperationFailure as refusal:
            if refusal.code != 48:  # NamespaceExists
                raise
        return self.table(database, name)

    async def create_all(self, database: str, names: Iterable[str]) -> dict[str, Table]:
        """As `create`, for many at once: each alone waits for MongoDB's journal, together they share it."""
        each = tuple(names)
        made = await asyncio.gather(*(self.create(database, name) for name in each))
        return dict(zip(each, made, strict=True))

    @asynccontextmanager
    async def pass_(self, session: AsyncClientSession | None) -> AsyncIterator[None]:
        """Through the gate, unless the session (and so its transaction) already is."""
        if session is not None:
            yield
        else:
            async with self.gate:
                yield

    async def transaction(
        self, story: Callable[[AsyncClientSession], Awaitable[T]], *, tries: int = 12
    ) -> T:
        """Run `story` in one transaction, again from the start when MongoDB says it lost a race.

        A commit whose result is unknown is repeated until it is known. `Refused` and duplicate keys
        end the transaction and pass through. After `tries` attempts: `Refused(BUSY)`, because of what
        the last one met.
        """
        last: PyMongoError | None = None
        for attempt in range(tries):
            try:
                async with self.gate, self.client.start_session() as session:
                    await session.start_transaction(
                        read_concern=ReadConcern("snapshot"), write_concern=DURABLE
                    )
                    try:
                        made = await story(session)
                    except BaseException:
                        if session.in_transaction:
                            await session.abort_transaction()
                        raise
                    await _commit(session)
                    return made
            except PyMongoError as fault:
                if not fault.has_error_label("TransientTransactionError"):
                    raise
                last = fault
                await asyncio.sleep(random.uniform(0, min(0.01 * 2**attempt, 1.0)))  # noqa: S311
        raise Refused(
            Issue(BUSY, "Too many changes to the same records at once; send the request again.")
        ) from last

    async def ping(self) -> None:
        """Raise when MongoDB does not answer."""
        await self.client.admin.command("ping")

    async def warm(self) -> None:
        """Open the pool's connections before the first caller needs them."""
        await asyncio.gather(*(self.ping() for _ in range(8)))

    async def close(self) -> None:
        """Close every connection."""
        await self.client.close()


async def _commit(session: AsyncClientSession) -> None:
    for wait in (0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0):
        try:
            await asyncio.sleep(wait)
            return await session.commit_transaction()
        except PyMongoError as fault:
            if not fault.has_error_label("UnknownTransactionCommitResult"):
                raise
    return await session.commit_transaction()


class Coalesced(Generic[K, V]):
    """Concurrent look-ups by key that share one query.

    While one query is in the air the next gathers; nobody waits longer than one round trip and no
    delay is added (single flight). `fetch` takes the keys and returns what it found.
    """

    def __init__(
        self, fetch: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]], limit: int = 256
    ) -> None:
        self._fetch = fetch
        self._limit = limit
        self._waiting: dict[K, asyncio.Future[V | None]] = {}
        self._runner: asyncio.Task[None] | None = None

    async def get(self, key: K) -> V | None:
        """What is stored under `key`, or None."""
        future = self._waiting.get(key)
        if future is None:
            future = asyncio.get_running_loop().create_future()
            self._waiting[key] = future
            if self._runner is None or self._runner.done():
                self._runner = asyncio.create_task(self._run())
        return await asyncio.shield(future)

    async def _run(self) -> None:
        while self._waiting:
            batch = dict(list(self._waiting.items())[: self._limit])
            for key in batch:
                del self._waiting[key]
            try:
                found = await self._fetch(list(batch))
            except Exception as fault:
                for future in batch.values():
                    if not future.done():
                        future.set_exception(fault)
                        future.exception()
            else:
                for key, future in batch.items():
                    if not future.done():
                        future.set_result(found.get(key))


class Gathered(Generic[A, V]):
    """Concurrent questions that go to MongoDB in one command.

    At most `flights` commands are in the air; what is asked meanwhile gathers for the next, at most
    `largest` together, so that nobody waits for a timer. `act` answers its questions in their order.
    Where a command that carried several fails, each of them is asked again by itself, so that one
    cannot fail its neighbours.
    """

    def __init__(
        self,
        act: Callable[[Sequence[A]], Awaitable[Sequence[V]]],
        *,
        largest: int = 16,
        flights: int = 2,
    ) -> None:
        self._act = act
        self._largest, self._flights = largest, flights
        self._waiting: deque[tuple[A, asyncio.Future[V]]] = deque()
        self._flying = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def get(self, asked: A) -> V:
        """The answer to this question; raises what `act` raises for it alone."""
        future: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, future))
        if self._flying < self._flights:
            self._flying += 1
            task = asyncio.create_task(self._fly())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    async def _fly(self) -> None:
        try:
            while self._waiting:
                many = min(len(self._waiting), self._largest)
                group = [self._waiting.popleft() for _ in range(many)]
                await self._answer([g for g in group if not g[1].done()])
        finally:
            # In the same breath as the last look at who waits: whoever comes next starts a flight.
            self._flying -= 1

    async def _answer(self, group: Sequence[tuple[A, asyncio.Future[V]]]) -> None:
        if not group:
            return
        try:
            answers = await self._act([asked for asked, _ in group])
        except Exception as fault:
            if len(group) > 1:
                await asyncio.gather(*(self._answer([one]) for one in group))
            elif not group[0][1].done():
                group[0][1].set_exception(fault)
        except BaseException:
            for _, future in group:
                future.cancel()
            raise
        else:
            for (_, future), answer in zip(group, answers, strict=True):
                if not future.done():
                    future.set_result(answer)


def unavailable(fault: BaseException) -> bool:
    """Whether this fault means that MongoDB cannot be reached or is changing primaries."""
    if isinstance(fault, ConnectionFailure | ExecutionTimeout):
        return True
    return isinstance(fault, PyMongoError) and (
        fault.has_error_label("RetryableWriteError")
        or fault.has_error_label("TransientTransactionError")
    )
